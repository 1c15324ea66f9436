"""What new rows hold that training did not have, column by column, and summed over the pieces of a large file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from undertow.data.header import offer_no_header
from undertow.data.late import pl
from undertow.data.wording import Origin, count, list_names, name_row, suggest_names
from undertow.errors import DataError

_MOST_TEXTS = 100_000  # different ones that are remembered
_BY_CHANCE = 0.001  # a column that is empty with a larger probability is nothing to tell of
_MOST_TOLD = 4  # columns of which an error is told in full
_FEW = 20  # rows of which nothing is said where it is not known how often training had no value


@dataclass(eq=False)
class ColumnNotes:
    """What some rows of a column hold that training did not have.

    Args:
        n: rows.
        n_missing: of them without a value.
        n_unseen: texts that are no category.
        unseen: the different ones.
        n_far: numbers far outside of training's range.
        farthest: of them, and how far that is from the range.
        place: where it stands.

    Example:
        >>> notes = ColumnNotes(n=2, n_missing=1)
        >>> notes.add(ColumnNotes(n=3))
        >>> notes.n, notes.n_missing
        (5, 1)
    """

    n: int = 0
    n_missing: int = 0
    n_unseen: int = 0
    unseen: list[str] = field(default_factory=list)
    n_far: int = 0
    farthest: tuple[float, float] = (0.0, 0.0)
    place: str = ""

    def add(self, other: ColumnNotes) -> None:
        """Add what other rows of the column hold."""
        self.n += other.n
        self.n_missing += other.n_missing
        self.n_unseen += other.n_unseen
        if other.unseen and len(self.unseen) < _MOST_TEXTS:
            self.unseen = list(dict.fromkeys([*self.unseen, *other.unseen]))
        if other.n_far and (not self.n_far or other.farthest[1] > self.farthest[1]):
            self.farthest, self.place = other.farthest, other.place
        self.n_far += other.n_far

    def look_far(
        self,
        numbers: NDArray[np.float64],
        within: tuple[float, float],
        limits: tuple[float, float],
        origin: Origin | None,
    ) -> None:
        """Count the numbers outside of limits, and find that which is furthest from a range."""
        with np.errstate(invalid="ignore", over="ignore"):
            far = np.flatnonzero((numbers < limits[0]) | (numbers > limits[1]))
            if not far.size:
                return
            distances = np.maximum(within[0] - numbers[far], numbers[far] - within[1])
        at = int(far[np.argmax(distances)])
        self.n_far, self.farthest, self.place = (
            far.size,
            (float(numbers[at]), float(distances.max())),
            name_row(at, origin),
        )

    def is_empty(self, absent: float | None, flag: bool) -> bool:
        """Whether no row has a value, which is not to be expected where this share of training's had none."""
        if self.n_missing < self.n or self.n < 2:
            return False
        if absent is None:
            return not flag or self.n >= _FEW
        return self.n * math.log(absent) < math.log(_BY_CHANCE) if absent else True

    def name_unseen(self) -> str:
        """The texts that are no category."""
        more = ", …" if len(self.unseen) >= _MOST_TEXTS else ""
        return f"{list_names(self.unseen[:3])}{more}" if more else list_names(self.unseen, limit=3)

    def tell_empty(self, name: str, absent: float | None) -> str:
        """The beginning of a sentence about a column without a value."""
        if absent is None:
            had = "had values"
        else:
            had = f"had a value in {1 - absent:.0%} of its rows" if absent else "had a value in every row"
        return f"{name!r}: empty in all {count(self.n, 'row')}, where training {had}"


@dataclass(eq=False)
class EncodingNotes:
    """What `TabularEncoder.transform` finds in the pieces of a table, for `TabularEncoder.tell` to say of all of them.

    Args:
        columns: what each holds that training did not have.
        extra: columns that training did not have.
    """

    columns: dict[str, ColumnNotes] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)

    def add(self, name: str, found: ColumnNotes) -> None:
        """Add what a piece of a column holds."""
        self.columns.setdefault(name, ColumnNotes()).add(found)

    def add_extra(self, names: Sequence[str]) -> None:
        """Add columns that training did not have."""
        self.extra = list(dict.fromkeys([*self.extra, *names]))


def check_columns(frame: pl.DataFrame, known: Sequence[str], origin: Origin | None) -> None:
    """DataError unless every column that training used is there."""
    there = set(frame.columns)  # of which thousands are asked for
    missing = [name for name in known if name not in there]
    if missing:
        file = "the table" if origin is None else origin.file
        others = [name for name in frame.columns if name not in set(known)]
        names = suggest_names(missing, others)
        raise DataError(
            f"{file} lacks {count(len(missing), 'column')} that training had: {names}. "
            f"Its columns are {list_names(frame.columns)}. Add or rename them.{offer_no_header(frame)}"
        )


def join_errors(bad: Mapping[str, DataError]) -> DataError:
    """One error of those of single columns, so that all can be corrected at once.

    Args:
        bad: by the column's name, at least one.

    Returns:
        The error.

    Source: derived here.

    Example:
        >>> print(join_errors({"a": DataError("row 1: …"), "b": DataError("row 7: …")}))
        row 1: … row 7: …
    """
    if len(bad) == 1:
        return next(iter(bad.values()))
    told, others = [str(error) for error in bad.values()], list(bad)[_MOST_TOLD:]
    more = [f"So it is in {count(len(others), 'more column')}: {list_names(others)}."] if others else []
    return DataError(" ".join([*told[:_MOST_TOLD], *more]))
