"""Marks that stand for a missing value in a table, beside those that always do: -999, a dot, "unknown"."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from undertow.data.late import pl
from undertow.data.parse import infer_type, parse_numbers
from undertow.data.wording import list_names
from undertow.errors import ArgumentError

_FEW = 3  # different texts among numbers that may be marks

Missing = str | float | Sequence[str | float]


def read_missing(given: Missing) -> tuple[str, ...]:
    """The marks of missing values as texts.

    Args:
        given: a text or a number, or several.

    Returns:
        Texts without outer spaces, each once; a whole number without a point.

    Raises:
        ArgumentError: ``missing has None. Give texts or numbers that stand for a missing value: ['.', -999].``

    Source: derived here.

    Example:
        >>> read_missing(-999.0), read_missing([".", " unknown ", 0.5])
        (('-999',), ('.', 'unknown', '0.5'))
    """
    marks: list[object] = list(given) if np.iterable(given) and not isinstance(given, str) else [given]
    found = []
    for mark in marks:
        if isinstance(mark, bool | np.bool_) or not isinstance(mark, str | int | float | np.number):
            raise ArgumentError(
                f"missing has {mark!r}. Give texts or numbers that stand for a missing value: ['.', -999]."
            )
        if isinstance(mark, str):
            found.append(mark.strip())
        else:
            found.append(str(int(mark)) if float(mark).is_integer() else str(mark))
    return tuple(dict.fromkeys(mark for mark in found if mark))  # the empty text is one always


def mark_given(frame: pl.DataFrame, marks: Collection[str]) -> pl.DataFrame:
    """A table with null where one of the marks stands: the same text, or the same number.

    Args:
        frame: the table.
        marks: from `read_missing`.

    Returns:
        The table; columns keep their types. ``-999`` is found as -999.0 too.

    Source: derived here.

    Example:
        >>> table = pl.DataFrame({"age": [41, -999], "town": ["Oslo", " ."], "paid": [-999.0, 2.5]})
        >>> mark_given(table, ["-999", "."]).rows()
        [(41, 'Oslo', None), (None, None, 2.5)]
    """
    if not marks:
        return frame
    numbers = parse_numbers(pl.Series(list(marks), dtype=pl.String)).drop_nulls().drop_nans().to_list()
    whole = [int(x) for x in numbers if np.isfinite(x) and float(x).is_integer() and abs(x) < 2**63]
    found = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            is_mark = column.cast(pl.String).str.strip_chars().is_in(list(marks))
        elif dtype.is_integer():
            is_mark = column.cast(pl.Int64, strict=False).is_in(whole)
        elif dtype.is_numeric():
            is_mark = column.cast(pl.Float64).is_in(numbers)
        elif dtype == pl.Date or isinstance(dtype, pl.Datetime):
            is_mark = column.cast(pl.String).is_in(list(marks))
        else:
            continue
        found.append(pl.when(is_mark).then(None).otherwise(column).alias(name))
    return frame.with_columns(found)


def mark_and_type(frame: pl.DataFrame, marks: Collection[str], as_text: Collection[str]) -> pl.DataFrame:
    """`mark_given`; and texts among which a mark was found are numbers or dates where all others are.

    Args:
        frame: the table.
        marks: from `read_missing`.
        as_text: columns that stay texts.

    Source: derived here.

    Example:
        >>> mark_and_type(pl.DataFrame({"x": ["1.5", "."], "zip": ["030", "."]}), ["."], ["zip"]).rows()
        [(1.5, '030'), (None, None)]
    """
    marked = mark_given(frame, marks)
    typed = [
        infer_type(column)
        for column in marked
        if column.dtype == pl.String
        and column.name not in as_text
        and column.null_count() > frame[column.name].null_count()
    ]
    return marked.with_columns(typed)


def say_missing(marks: Sequence[str]) -> list[str]:
    """A sentence about marks that were given; none where there are none."""
    return [f"Missing values, as asked for: {list_names(marks)}, beside the usual marks."] if marks else []


@dataclass(eq=False)
class OddTexts:
    """Different texts among those of a column of numbers, part by part: a few may be marks of a missing value.

    Source: derived here.

    Example:
        >>> odd = OddTexts()
        >>> odd.update(pl.Series([".", ".", "not asked"]))
        >>> odd.offer()
        " If they stand for missing values: missing=['.', 'not asked'] (--missing . --missing 'not asked')."
    """

    seen: dict[str, None] = field(default_factory=dict)

    def update(self, texts: pl.Series) -> None:
        """Add texts that are no numbers."""
        if len(self.seen) <= _FEW:
            found = texts.str.strip_chars().unique(maintain_order=True)
            self.seen.update(dict.fromkeys(found.head(_FEW + 1).to_list()))

    def offer(self) -> str:
        """Say how they are named as marks; "" where they are none, or too many."""
        if not 0 < len(self.seen) <= _FEW:
            return ""
        they, options = "they stand for missing values", " ".join(f"--missing {shlex.quote(x)}" for x in self.seen)
        if len(self.seen) == 1:
            they = f"{next(iter(self.seen))!r} stands for a missing value"
        return f" If {they}: missing={list(self.seen)} ({options})."
