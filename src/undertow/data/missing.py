"""Marks that stand for a missing value in a table, beside those that always do: -999, a dot, "unknown"."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from undertow.data.late import pl
from undertow.data.parse import infer_type, parse_dates, parse_numbers
from undertow.data.wording import list_names
from undertow.errors import ArgumentError

_FEW = 3  # different texts among numbers that may be marks
_LONGEST = 20  # characters of one

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
            whole = isinstance(mark, int | np.integer) or float(mark).is_integer()
            found.append(str(int(mark)) if whole else str(mark))
    return tuple(dict.fromkeys(mark for mark in found if mark))  # the empty text is one always


def mark_given(frame: pl.DataFrame, marks: Collection[str], numbers: Collection[str] = ()) -> pl.DataFrame:
    """A table with null where one of the marks stands: the same text, the same number, or the same moment.

    Args:
        frame: the table.
        marks: from `read_missing`.
        numbers: columns whose texts, where they are texts, are read as numbers.

    Returns:
        The table; columns keep their types. ``-999`` is found as -999.0 too, ``1900-01-01`` as midnight of that day.

    Source: derived here.

    Example:
        >>> table = pl.DataFrame({"age": [41, -999], "town": ["Oslo", " ."], "paid": [-999.0, 2.5]})
        >>> mark_given(table, ["-999", "."]).rows()
        [(41, 'Oslo', None), (None, None, 2.5)]
    """
    if not marks:
        return frame
    found = []
    for name, dtype in frame.schema.items():
        is_mark = _find_marks(pl.col(name), dtype, marks, name in numbers)
        if is_mark is not None:
            found.append(pl.when(is_mark).then(None).otherwise(pl.col(name)).alias(name))
    return frame.with_columns(found)


def _find_marks(column: pl.Expr, dtype: pl.DataType, marks: Collection[str], read: bool) -> pl.Expr | None:
    """Where a column of a type holds one of the marks; None where it cannot."""
    numbers = read_numbers(marks)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = column.cast(pl.String).str.strip_chars()
        same = texts.is_in(list(marks))
        return same | texts.cast(pl.Float64, strict=False).is_in(numbers.to_list()) if read else same
    if dtype.is_integer():
        wide = pl.UInt64 if dtype == pl.UInt64 else pl.Int64
        least, end = (0, 2**64) if dtype == pl.UInt64 else (-(2**63), 2**63)
        whole = [x for x in map(_read_whole, marks) if x is not None and least <= x < end]
        return column.cast(wide).is_in(pl.Series(whole, dtype=wide).implode())
    if dtype.is_float():  # a number of float32 is the same as the mark where that, rounded, is
        return column.is_in(numbers.cast(dtype).implode())
    if dtype.is_numeric():
        return column.cast(pl.Float64).is_in(numbers.implode())
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        wall = column.dt.replace_time_zone(None) if isinstance(dtype, pl.Datetime) else column
        return wall.cast(pl.Datetime("us")).is_in(read_moments(marks).implode())
    return None


def read_numbers(marks: Collection[str]) -> pl.Series:
    """The marks that are numbers, Float64."""
    return parse_numbers(pl.Series(list(marks), dtype=pl.String)).drop_nulls().drop_nans()


def read_moments(marks: Collection[str]) -> pl.Series:
    """The marks that are dates, or dates with a time of day, in ISO 8601 order: Datetime in microseconds."""
    found = [parse_dates(pl.Series([mark])).cast(pl.Datetime("us")) for mark in marks]
    return pl.concat([pl.Series(dtype=pl.Datetime("us")), *found]).drop_nulls()


def _read_whole(mark: str) -> int | None:
    """A mark as a whole number, all digits of it; None where it is none."""
    try:
        return int(mark)
    except ValueError:
        number = parse_numbers(pl.Series([mark]))[0]
        return int(number) if number is not None and float(number).is_integer() else None


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
        """Say how they are named as marks; "" where they are none, too many, or too long for marks."""
        if not 0 < len(self.seen) <= _FEW or max(map(len, self.seen)) > _LONGEST:
            return ""
        they, options = "they stand for missing values", " ".join(f"--missing {shlex.quote(x)}" for x in self.seen)
        if len(self.seen) == 1:
            they = f"{next(iter(self.seen))!r} stands for a missing value"
        return f" If {they}: missing={list(self.seen)} ({options})."
