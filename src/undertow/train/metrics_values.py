"""Metrics of predicted numbers. Several columns count equally."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.train.metric import Array, Metric, Predictions, divide


@dataclass
class _Sums:
    """Of the K columns: means of targets y and errors e = y − ŷ, sums of (y − ȳ)², (e − ē)², e² and |e|."""

    count: int = 0
    total: float = 0.0  # of the weights
    means: Any = 0.0  # (2, K): y, e
    spreads: Any = 0.0  # (2, K)
    squared: Any = 0.0  # (K,)
    absolute: Any = 0.0  # (K,)


def _add(state: _Sums, data: Predictions) -> _Sums:
    """Take in a chunk: means and spreads of two parts give those of both, without the cancellation of Σ y² − m ȳ²."""
    y, e, w = *_columns(data), data.weight
    total = float(w.sum())
    count = state.count + len(w)  # R² of a single row is NaN; scikit-learn counts those of weight 0 too
    if not total:
        return replace(state, count=count)
    both = np.stack([y, e])  # (2, m, K)
    means = (w @ both) / total
    centred = both - means[:, None]
    means += (w @ centred) / total  # the rounding of the first mean
    spreads = w @ (both - means[:, None]) ** 2
    whole = state.total + total
    delta = means - state.means
    return _Sums(
        count,
        whole,
        state.means + delta * (total / whole),
        state.spreads + spreads + delta**2 * (state.total * total / whole),
        state.squared + w @ e**2,
        state.absolute + w @ np.abs(e),
    )


def _columns(data: Predictions) -> tuple[Array, Array]:
    """Targets and errors, float64 (m, K)."""
    if data.values is None:
        raise ArgumentError("these predictions hold no values. Give them, or use make_predictions.")
    y, values = data.targets, data.values
    if y.size != values.size or len(y) != len(values):
        raise ShapeError(f"the outputs are {values.shape}, y is {y.shape}: they differ. Give both the same columns.")
    y = y.reshape(len(y), math.prod(y.shape[1:])).astype(np.float64)
    return y, y - values.reshape(y.shape)


def _make(name: str, better: str, formula: Callable[[_Sums], Any]) -> Metric:
    """A metric of the sums: the mean of a formula over the columns."""

    def result(state: _Sums) -> float:
        return float(np.mean(formula(state))) if state.total else float("nan")

    return Metric(name, ("regression", "own"), better, _Sums, _add, result)


def _explained(unexplained: Any, spread: Any) -> Any:
    """1 − unexplained / spread; of a constant target 1 where nothing is unexplained, else 0."""
    return np.where(spread == 0, np.where(unexplained == 0, 1.0, 0.0), 1 - divide(unexplained, spread))


MEAN_SQUARED_ERROR: Final = _make("mean_squared_error", "low", lambda s: s.squared / s.total)
ROOT_MEAN_SQUARED_ERROR: Final = _make("root_mean_squared_error", "low", lambda s: np.sqrt(s.squared / s.total))
MEAN_ABSOLUTE_ERROR: Final = _make("mean_absolute_error", "low", lambda s: s.absolute / s.total)
R2: Final = _make("r2", "high", lambda s: _explained(s.squared, s.spreads[0]) if s.count > 1 else np.nan)
EXPLAINED_VARIANCE: Final = _make("explained_variance", "high", lambda s: _explained(s.spreads[1], s.spreads[0]))

# Relative errors

_LEAST: Final = np.finfo(np.float64).eps  # what a target of 0 counts as, as in scikit-learn


@dataclass
class _Relative:
    """Summed weights, and of the K columns summed |e / y|."""

    total: float = 0.0
    errors: Any = 0.0  # (K,)


def _add_relative(state: _Relative, data: Predictions) -> _Relative:
    y, e, w = *_columns(data), data.weight
    return _Relative(state.total + float(w.sum()), state.errors + w @ np.abs(e / np.maximum(np.abs(y), _LEAST)))


# 0.1 is an error of 10 %, as in scikit-learn; Keras gives 10.
MEAN_ABSOLUTE_PERCENTAGE_ERROR: Final = Metric(
    "mean_absolute_percentage_error", ("regression", "own"), "low", _Relative, _add_relative,
    lambda s: float(np.mean(s.errors / s.total)) if s.total else float("nan"),
)  # fmt: skip
