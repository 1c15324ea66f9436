"""The line of column names of a text file: whether there is one, and what columns are called where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from undertow.data.late import pl
from undertow.data.parse import parse_dates, parse_numbers
from undertow.data.wording import Origin, count, list_names
from undertow.errors import ArgumentError, DataError

Header = bool | Sequence[str]
REMEDY = "choose header=False (--no-header), and the columns are column_1, column_2, …"
_ROWS = 200  # that a name is compared with
_ABOVE = 20  # lines that may stand above the names: a title, when it was printed
_NUMBERED = re.compile(r"column_[1-9]\d*")


def check_header(header: object) -> Header:
    """ArgumentError unless this is True, False or names; else the choice."""
    if isinstance(header, bool):
        return header
    if isinstance(header, list | tuple) and header and all(isinstance(name, str) and name for name in header):
        if len(set(header)) < len(header):
            raise ArgumentError("header names a column twice. Give each its own name.")
        return tuple(header)
    raise ArgumentError(
        f"header is {header!r:.60}. Give True, False where a file has no line of names, or a list of names."
    )


def number_columns(n: int) -> list[str]:
    """Names of columns that have none.

    Example:
        >>> number_columns(2)
        ['column_1', 'column_2']
    """
    return [f"column_{number}" for number in range(1, n + 1)]


def are_numbered(names: Sequence[str]) -> bool:
    """Whether names are those that `number_columns` gives."""
    return all(_NUMBERED.fullmatch(name) for name in names)


def name_fields(header: Sequence[str] | bool, n_fields: int, file: str) -> list[str]:
    """The names of the columns of a file without a line of them; DataError where their number is another."""
    if isinstance(header, bool):
        return number_columns(n_fields)
    if len(header) != n_fields:
        raise DataError(
            f"{file}: {count(n_fields, 'column')}, but header names {len(header)}: {list_names(header)}. Name each."
        )
    return list(header)


def look_like_values(frame: pl.DataFrame) -> bool:
    """Whether the names of a table's columns look like a row of its values, so that the table may lack a line of names.

    A name does where it is a number within the range of the numbers below it (or near it), a date above dates, or
    stands below itself as a text. At most a quarter of the names may do otherwise. Numbers that go up or down by whole
    steps or by equal ones are names (years, wavelengths), unless texts beside them look like values too.

    Args:
        frame: as it was read; a table without rows is judged by its numbers alone.

    Returns:
        Whether.

    Source: derived here.

    Example:
        >>> look_like_values(pl.DataFrame({"5.1": [4.9, 4.7], "3.5": [3.0, 3.2], "setosa": ["setosa", "virginica"]}))
        True
        >>> look_like_values(pl.DataFrame({"1960": [3.5, 1.5], "1961": [4.5, 1.0]}))
        False
    """
    names = [name for name in frame.columns if not name.startswith("unnamed_")]
    head = frame.head(_ROWS)
    found = parse_numbers(pl.Series(names, dtype=pl.String)).to_list()  # all at once: a table may have thousands
    read = (_read_number(number, head[name]) for number, name in zip(found, names, strict=True))
    numbers = [number for number in read if number is not None]
    texts = [name for name in names if _stands_below(name, head[name])]
    if not texts and _go_by_steps(numbers):
        numbers = []
    n_values = len(numbers) + len(texts)
    return n_values > 0 and 4 * (len(names) - n_values) <= len(names)


def _read_number(number: float | None, column: pl.Series) -> float | None:
    """A name that is a number, where it may stand in the column."""
    if number is None or not np.isfinite(number):
        return None
    if not len(column):
        return float(number)
    present = column.drop_nulls()
    if not column.dtype.is_numeric() or not len(present):
        return None
    values = present.cast(pl.Float64).to_numpy()
    least, largest = float(np.min(values)), float(np.max(values))
    near = 2 * (largest - least)
    return float(number) if least - near <= number <= largest + near else None


def _stands_below(name: str, column: pl.Series) -> bool:
    """Whether a text or date above a column looks like one of its values."""
    if column.dtype in (pl.Date, pl.Datetime):
        return parse_dates(pl.Series([name])).null_count() == 0
    if column.dtype == pl.Boolean:
        return name.lower() in ("true", "false")
    return column.dtype == pl.String and bool((column == name).any())


def _go_by_steps(numbers: Sequence[float]) -> bool:
    """Whether numbers rise or fall by whole steps, or by equal ones."""
    steps = np.diff(numbers)
    whole = all(number == int(number) for number in numbers)
    if len(numbers) < 3:
        return whole and bool(np.all(steps > 0))
    alike = bool(np.all(np.abs(steps - steps.mean()) <= 0.01 * abs(steps.mean())))
    return (whole and bool(np.all(steps > 0) or np.all(steps < 0))) or (alike and bool(steps.any()))


def tell_names(frame: pl.DataFrame, file: str) -> list[str]:
    """A sentence where names look like values."""
    if not look_like_values(frame):
        return []
    return [
        f"Column names: {list_names(frame.columns, 5)} are the first row of {file}, but look like the values below. If "
        f"they are a row, {REMEDY}."
    ]


def tell_names_below(frame: pl.DataFrame, name: str, origin: Origin | None) -> str:
    """The end of an error about a column that is not there: where its name stands below a title of a spreadsheet.

    Args:
        frame: as it was read, the title's cells for names.
        name: of the column.
        origin: where the rows came from.

    Returns:
        A sentence with a space before it; "" where the name does not stand among the first values.

    Source: derived here.

    Example:
        >>> tell_names_below(pl.DataFrame({"Sales": ["a", "3"], "unnamed_2": ["price", "4"]}), "price", None)
        " Row 1 of the values holds 'price', and seems to be that of the names: remove the lines above it."
    """
    found = [
        int(places[0])
        for column in frame.head(_ABOVE)
        if column.dtype == pl.String and len(places := (column.str.strip_chars() == name).arg_true())
    ]
    if not found:
        return ""
    row = f"Row {found[0] + 1} of the values" if origin is None else f"Row {int(origin.rows[found[0]])}"
    return f" {row} holds {name!r}, and seems to be that of the names: remove the lines above it."


def offer_no_header(frame: pl.DataFrame) -> str:
    """The end of an error about a column that is not there: what to do where the names look like values."""
    return f" These names look like values: if the file has no line of names, {REMEDY}." * look_like_values(frame)
