"""How messages of this package name columns, rows and values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_OF_COLUMN = re.compile(r"(Validation rows: )?('(?:[^'\\]|\\.)*'|\"[^\"]*\"): (.*)", re.DOTALL)
_VALUES = re.compile(r"\(.*?\)|'[^']*'|\bvalues?\b|[-+\d.,:e]+")
_SHORT = 2  # letters of a word that stands in many names by chance
_NO_LETTERS = re.compile(r"[\W_]+")
_MOST_ALIKE, _FIRST_ALIKE = 4, 3  # columns of which the same is said one by one; of more, so many


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the rows of a table came from, so that a message can name the file and the row.

    Args:
        file: the file's name, without its folder.
        rows: int64 array, one number a table row: the 1-based line of a text file on which the row
            starts, or the 1-based row of a Parquet file.

    Example:
        >>> origin = Origin("people.csv", np.array([2, 3, 5]))
        >>> origin.where(2)
        'people.csv, row 5'
        >>> origin.take(np.array([2])).where(0)
        'people.csv, row 5'
    """

    file: str
    rows: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Origin:
        """The origin of the table rows at these indices."""
        return Origin(self.file, self.rows[indices])

    def where(self, index: int) -> str:
        """The place of the table row with this 0-based index, for a message."""
        return f"{self.file}, row {int(self.rows[index])}"


def name_row(index: int, origin: Origin | None) -> str:
    """The place of a table row: file and row where known, else its 1-based number in the table."""
    return f"row {index + 1}" if origin is None else origin.where(index)


def list_names(names: Iterable[object], limit: int = 12) -> str:
    """Names in quotes, with commas; past ``limit`` names, their total."""
    names = list(names)
    text = ", ".join(repr(name) for name in names[:limit])
    return text if len(names) <= limit else f"{text}, … ({len(names)} in all)"


def closest_name(name: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` most like ``name``, whatever the case, or the only one that has it as a word; else None.

    Example:
        >>> closest_name("Pirce", ["price", "size"]), closest_name("start", ["start_date", "end date"])
        ('price', 'start_date')
    """
    folded: dict[str, str] = {}
    for candidate in names:
        folded.setdefault(candidate.casefold().strip(), candidate)
    found = difflib.get_close_matches(name.casefold().strip(), list(folded), n=1, cutoff=0.7)
    if found:
        return folded[found[0]]
    word = name.casefold().strip()
    having = [other for key, other in folded.items() if len(word) > _SHORT and word in _NO_LETTERS.split(key)]
    return having[0] if len(having) == 1 else None


def suggest_name(name: str, names: Sequence[str]) -> str:
    """``name`` in quotes, followed by the closest of ``names`` where there is one."""
    close = closest_name(name, names)
    return repr(name) if close is None else f"{name!r} (did you mean {close!r}?)"


def suggest_names(names: Sequence[str], known: Sequence[str], limit: int = 12) -> str:
    """Names in quotes, each with the known one that was meant; past ``limit`` names, their total.

    Example:
        >>> suggest_names(["agee", "b", "c"], ["age"], limit=2)
        "'agee' (did you mean 'age'?), 'b', … (3 in all)"
    """
    text = ", ".join(suggest_name(name, known) for name in names[:limit])
    return text if len(names) <= limit else f"{text}, … ({len(names)} in all)"


def shorten(value: object, limit: int = 40) -> str:
    """A value as a message shows it: its repr, cut where it is long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``1 row``, ``2 rows``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def join_alike(sentences: Iterable[str]) -> list[str]:
    r"""Sentences about columns, shortened where the same is said of many: three in full, then the names of the others.

    Args:
        sentences: those about a column begin with its name in quotes and a colon.

    Returns:
        The sentences, in their order; two that differ in numbers and texts alone say the same.

    Source: derived here.

    Example:
        >>> print(*join_alike([f"'p{k}': {k} missing values filled with 0." for k in range(2, 10)]), sep="\n")
        'p2': 2 missing values filled with 0.
        'p3': 3 missing values filled with 0.
        'p4': 4 missing values filled with 0.
        The same of 5 more columns, each with its own values: 'p5', 'p6', 'p7', 'p8', 'p9'.
    """
    groups: dict[object, list[tuple[str, str, str, str]]] = {}
    for number, sentence in enumerate(sentences):
        found = _OF_COLUMN.fullmatch(sentence)
        where, name, said = found.groups(default="") if found else ("", "", "")
        key = (where, _VALUES.sub("#", said)) if found else number
        groups.setdefault(key, []).append((sentence, where, name[1:-1], said))
    joined: list[str] = []
    for group in groups.values():
        n_told = _FIRST_ALIKE if len(group) > _MOST_ALIKE else len(group)
        joined += [sentence for sentence, *_ in group[:n_told]]
        if others := [name for _, _, name, _ in group[n_told:]]:
            same = "" if len({said for *_, said in group}) == 1 else ", each with its own values"
            joined.append(f"{group[0][1]}The same of {count(len(others), 'more column')}{same}: {list_names(others)}.")
    return joined
