"""Curves as data: the history by epoch, and numbers by step, thinned to what a page can show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from undertow.report.maps import bin_edges
from undertow.train.columns import CLIPPED, RATES, is_number, is_share, read_columns, scores, spans_decades
from undertow.train.metrics import METRICS, find_direction

if TYPE_CHECKING:
    from undertow.flow.record import Flow

ROWS_AT_MOST: Final = 1000
DIGITS: Final = 6
STEP_CURVES: Final = (
    ("loss", "Loss by step", "of each batch, before its step"),
    ("grad_norm", "Gradient norm", "of all parameters, before clipping"),
    ("clip", "Clip factor", "by which the gradient was multiplied; 1 is not clipped"),
    ("rate", "Learning rate", "of each step"),
)


def plain_number(value: Any) -> float | int | str | None:
    """Make a number plain JSON: six digits, and a word for what is not finite.

    Args:
        value: a number, or anything else.

    Returns:
        The number, ``"nan"``, ``"inf"``, ``"-inf"``, or None for what is no number.

    Source: RFC 8259, section 6: JSON has no NaN and no infinity.

    Example:
        >>> plain_number(1 / 3), plain_number(float("-inf")), plain_number(12), plain_number("x")
        (0.333333, '-inf', 12, None)
    """
    if not is_number(value):
        return None
    number = float(value)
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    if number == int(number) and abs(number) < 1e15:
        return int(number)
    return float(f"{number:.{DIGITS}g}")


def plain_numbers(values: ArrayLike) -> list[float | int | str | None]:
    """Make numbers plain JSON, see `plain_number`.

    Args:
        values: (n,).

    Returns:
        A list.

    Source: derived here.

    Example:
        >>> plain_numbers([0.5, float("nan")])
        [0.5, 'nan']
    """
    return [plain_number(value) for value in np.asarray(values, np.float64).tolist()]


def history_data(rows: list[dict[str, Any]], rates: bool = True) -> dict[str, Any]:
    """Make the data of the curves by epoch.

    Args:
        rows: ``run.history``.
        rates: whether learning rates are among the curves; they need not where they are shown by step.

    Returns:
        Plain data: ``across`` (``"epoch"``, ``"step"`` or ``"row"``), ``x``, and ``panels``: title, whether it is a
        share or logarithmic, and its series by name. At most 1000 rows; the first and the last are among them.

    Source: derived here.

    Example:
        >>> found = history_data([{"epoch": 1, "loss": 0.5, "validation_loss": 0.6}])
        >>> found["x"], [series["name"] for series in found["panels"][0]["series"]]
        ([1], ['training', 'validation'])
    """
    columns = read_columns(rows)
    across, x = _place(columns, len(rows))
    kept = _thin(len(rows))
    numbers = [name for name, values in columns.items() if any(is_number(value) for value in values)]
    panels: dict[str, list[str]] = {}
    wanted = (*scores(numbers), *(RATES if rates else ()), *CLIPPED)
    for name in [name for name in numbers if name in wanted]:
        panels.setdefault(name.removeprefix("validation_"), []).append(name)
    return {
        "across": across,
        "x": [plain_number(x[i]) for i in kept],
        "n_rows": len(rows),
        "panels": [
            {
                "title": base.replace("_", " ").capitalize(),
                "share": is_share(base),
                "most": 1 if base in METRICS and find_direction(base) == "high" else None,
                "log": not is_share(base) and spans_decades(value for name in names for value in columns[name]),
                "series": [
                    {
                        "name": "validation" if name.startswith("validation_") else "training",
                        "column": name,
                        "values": [plain_number(columns[name][i]) for i in kept],
                    }
                    for name in names
                ],
            }
            for base, names in panels.items()
        ],
    }


def _place(columns: dict[str, list[Any]], n_rows: int) -> tuple[str, list[Any]]:
    """What the rows are placed by."""
    for name in ("epoch", "step"):
        values = columns.get(name, [])
        if len(values) == n_rows and all(is_number(v) for v in values) and len(set(values)) == n_rows:
            return name, values
    return "row", list(range(1, n_rows + 1))


def _thin(n_rows: int) -> list[int]:
    """Row numbers, at most 1000 of them."""
    if n_rows <= ROWS_AT_MOST:
        return list(range(n_rows))
    return sorted({round(i) for i in np.linspace(0, n_rows - 1, ROWS_AT_MOST)})


def step_data(flow: Flow) -> dict[str, Any] | None:
    """Make the data of the curves by step: mean, least and largest of each column of steps.

    Args:
        flow: the record.

    Returns:
        Plain data: ``x`` (the middle of each column), ``last``, and ``curves``; None where no step is recorded.

    Source: derived here.
    """
    steps = np.asarray(flow.steps)
    if not len(steps):
        return None
    edges = bin_edges(steps, 1)
    curves = []
    for name, title, explains in STEP_CURVES:
        values = np.asarray(flow.scalars.get(name, np.empty(0)), np.float64)
        if len(values) != len(steps) or np.isnan(values).all() or _is_dull(name, values):
            continue
        curves.append(
            {
                "name": name,
                "title": title,
                "explains": explains,
                "log": name != "clip" and spans_decades(values.tolist()),
                **_bin(values, edges),
            }
        )
    first, last = steps[edges[:-1]], steps[edges[1:] - 1]
    return {"x": plain_numbers((first + last) / 2), "first": first.tolist(), "last": last.tolist(), "curves": curves}


def _is_dull(name: str, values: Any) -> bool:
    """Whether a curve would be a straight line that says nothing."""
    return name in ("clip", "rate") and bool((values == values[0]).all())


def _bin(values: Any, edges: Any) -> dict[str, Any]:
    """Mean, least and largest of what is finite in each column, and where something is not."""
    starts, known = edges[:-1], np.isfinite(values)
    n = np.add.reduceat(known, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.add.reduceat(np.where(known, values, 0.0), starts) / n
    low = np.minimum.reduceat(np.where(known, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), starts)
    none = n == 0
    return {
        "mean": _or_none(mean, none),
        "low": _or_none(low, none),
        "high": _or_none(high, none),
        "broken": np.flatnonzero(n < np.diff(edges)).tolist(),
    }


def _or_none(values: Any, none: Any) -> list[Any]:
    """Plain numbers, None where there are none."""
    return [None if empty else plain_number(value) for value, empty in zip(values.tolist(), none, strict=True)]


def best_row(rows: Iterable[dict[str, Any]], column: str, direction: str) -> dict[str, Any] | None:
    """Find the row in which a column is best.

    Args:
        rows: of a history.
        column: its name.
        direction: ``"low"`` or ``"high"``.

    Returns:
        The first such row; None where the column is finite in none.

    Source: derived here.

    Example:
        >>> best_row([{"loss": 2.0}, {"loss": 1.0}, {"loss": float("nan")}], "loss", "low")
        {'loss': 1.0}
    """
    known = [row for row in rows if is_number(row.get(column)) and math.isfinite(row[column])]
    if not known:
        return None
    return (min if direction == "low" else max)(known, key=lambda row: row[column])
