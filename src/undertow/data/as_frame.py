"""Frames of other libraries as polars frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.data.late import pl
from undertow.data.moments import check_moments
from undertow.data.nested import spread_nested
from undertow.errors import DataError


def as_frame(table: Any) -> pl.DataFrame:
    """A polars frame of a polars or pandas one; of columns or rows that are dictionaries too.

    Args:
        table: a polars DataFrame or LazyFrame; a pandas DataFrame, whose index is left out; a dictionary of columns, or
            of one row; or a list of rows, each a dictionary, in which what is missing is null.

    Returns:
        A polars DataFrame; NaN, NaT, None and pandas.NA are null. Lists and arrays of as many numbers in each row, and
        encoded images, are spread over columns, see `undertow.data.nested`.

    Raises:
        DataError: ``a table must be a polars or pandas DataFrame, got a numpy ndarray. …``, a column
            whose values differ in type, or two columns of one name.

    Example:
        >>> as_frame({"x": [1, None]}).rows()
        [(1,), (None,)]
        >>> as_frame([{"x": 1, "y": "a"}, {"y": "b"}]).rows(), as_frame({"x": 1, "y": "a"}).rows()
        ([(1, 'a'), (None, 'b')], [(1, 'a')])
    """
    return spread_nested(check_moments(_as_plain_frame(table), "the table"), "the table")


def _as_plain_frame(table: Any) -> pl.DataFrame:
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, dict) and table and all(map(_is_one_value, table.values())):
        table = [table]
    if isinstance(table, list | tuple) and table and all(isinstance(row, dict) for row in table):
        rows = [{str(name): value for name, value in row.items()} for row in table]
        columns = dict.fromkeys(name for row in rows for name in row)
        table = {name: [_or_null(row.get(name)) for row in rows] for name in columns}
    if isinstance(table, dict):
        return pl.DataFrame({str(name): _read_values(str(name), values) for name, values in table.items()})
    if type(table).__module__.partition(".")[0] != "pandas" or not hasattr(table, "columns"):
        kind = f"{type(table).__module__.partition('.')[0]} {type(table).__name__}"
        way = "Of one row give frame.iloc[[0]]." if hasattr(table, "to_frame") else "Use read_table for files."
        raise DataError(f"a table must be a polars or pandas DataFrame, got a {kind}. {way}")
    names = [str(name) for name in table.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the table has two columns {twice!r}. Give each its own name.")
    return pl.DataFrame([_read_column(name, table.iloc[:, place]) for place, name in enumerate(names)])


def _is_one_value(value: Any) -> bool:
    """Whether what a dictionary holds is no column: a number, a text, a date, nothing."""
    return np.ndim(value) == 0 and (isinstance(value, str | bytes) or not hasattr(value, "__len__"))


def _or_null(value: Any) -> Any:
    """A value, or None where it is NaN, NaT or pandas.NA: what is not the same as itself, or will not say."""
    try:
        return value if value is None or bool(value == value) else None
    except (TypeError, ValueError):
        return None if np.ndim(value) == 0 else value


def _read_column(name: str, column: Any) -> pl.Series:
    """A pandas column."""
    kind = getattr(column.dtype, "kind", "O")
    if isinstance(column.dtype, np.dtype) and kind in "biuf":
        series = pl.Series(name, column.to_numpy())
        return series.fill_nan(None) if kind == "f" else series
    if kind == "M":
        zone = getattr(column.dt, "tz", None)
        plain = column if zone is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, plain.to_numpy().astype("datetime64[us]"))
    if isinstance(column.dtype, np.dtype) and kind == "m":
        return pl.Series(name, column.to_numpy().astype("timedelta64[us]"))
    present = column.notna().to_numpy()
    values = [value if there else None for value, there in zip(column.astype(object).tolist(), present, strict=True)]
    return _read_values(name, values)


def _read_values(name: str, values: Any) -> pl.Series:
    try:
        return pl.Series(name, values)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(f"column {name!r} cannot be read: {reason}. Give values of one type.") from None
