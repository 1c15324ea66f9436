"""The history of a run, a list of rows, as columns and as a data frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.train.metrics import find_metric

Rows = Sequence[dict[str, Any]]

# Columns that say where and how fast a run is. All other columns of numbers are losses and metrics.
PLACES: Final = ("epoch", "step", "seconds", "examples_per_second", "left")
RATES: Final = ("learning_rate", "rate", "rate_scale")
CLIPPED: Final = ("clipped", "clipped_share")  # of the steps of an epoch
OTHERS: Final = ("clipped_steps", "gradient_norm", "update_norm", "parameter_norm")


def read_columns(history: Rows) -> dict[str, list[Any]]:
    """Take rows apart into columns, in the order in which they first came up.

    Args:
        history: a row an epoch.

    Returns:
        A list for each column, with None where a row does not have it.

    Raises:
        ArgumentError: ``the history is a str, not a list of rows. Give run.history.``

    Source: derived here.

    Example:
        >>> read_columns([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "f1": 1.0}])
        {'epoch': [1, 2], 'loss': [0.5, 0.25], 'f1': [None, 1.0]}
    """
    rows = list(history) if isinstance(history, Iterable) and not isinstance(history, str | dict) else None
    if rows is None or not all(isinstance(row, dict) for row in rows):
        raise ArgumentError(f"the history is a {type(history).__name__}, not a list of rows. Give run.history.")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def frame(history: Rows, kind: str = "polars") -> Any:
    """Make a data frame of a history.

    Args:
        history: a row an epoch; ``run.history``.
        kind: ``"polars"`` or ``"pandas"``.

    Returns:
        The frame, a column for each name; null (in pandas NaN) where a row does not have it.

    Raises:
        ArgumentError: ``frame: pandas is not installed. Install it with pip install pandas, …``

    Source: derived here.

    Example:
        >>> frame([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])["loss"].to_list()
        [0.5, 0.25]
    """
    if kind not in ("polars", "pandas"):
        raise ArgumentError(f"frame: there is no kind {kind!r}. Use 'polars' or 'pandas'.")
    columns = read_columns(history)
    if kind == "polars":
        import polars as pl

        return pl.DataFrame({name: pl.Series(name, values, strict=False) for name, values in columns.items()})
    try:
        import pandas as pd
    except ImportError:
        raise ArgumentError(
            "frame: pandas is not installed. Install it with pip install pandas, or use kind='polars'."
        ) from None
    return pd.DataFrame(columns)


def is_number(value: Any) -> bool:
    """Tell whether a value of a row is one number, NaN included.

    Args:
        value: of a row.

    Returns:
        False for truth values, texts, lists and None.

    Source: derived here.

    Example:
        >>> is_number(0.5), is_number(True), is_number([0.5])
        (True, False, False)
    """
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def scores(columns: Iterable[str]) -> list[str]:
    """Name the losses and metrics among columns of the history.

    Args:
        columns: names.

    Returns:
        Those that tell neither place, time nor learning rate, in their order.

    Source: derived here.

    Example:
        >>> scores(["epoch", "loss", "validation_loss", "f1", "seconds"])
        ['loss', 'validation_loss', 'f1']
    """
    return [name for name in columns if name not in (*PLACES, *RATES, *CLIPPED, *OTHERS)]


@cache
def is_share(column: str) -> bool:
    """Tell whether a column is a share, read as a percentage: an accuracy, a precision, …

    Args:
        column: its name.

    Returns:
        False also for names that are not known.

    Source: derived here.

    Example:
        >>> is_share("validation_accuracy"), is_share("loss")
        (True, False)
    """
    name = column.removeprefix("validation_")
    try:
        return find_metric(name).share
    except ArgumentError:
        return name in CLIPPED


def spans_decades(values: Iterable[Any], decades: float = 2.0) -> bool:
    """Tell whether positive numbers differ so much that a logarithmic scale shows them better.

    Args:
        values: numbers; what is not finite is left out.
        decades: from which factor on, as a power of 10.

    Returns:
        False where a number is 0 or less, or none is left.

    Source: derived here.

    Example:
        >>> spans_decades([1.0, 1e-3]), spans_decades([1.0, 0.5]), spans_decades([1.0, 0.0])
        (True, False, False)
    """
    finite = [float(value) for value in values if is_number(value) and math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and math.log10(max(finite) / min(finite)) >= decades
