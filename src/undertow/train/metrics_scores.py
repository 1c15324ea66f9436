"""Metrics of probabilities and of the order that they put examples in: AUC, average precision, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.train.metric import CLASSES, Array, Metric, Predictions
from undertow.train.ranks import Ranks, add_ranks, find_area, find_average_precision, probabilities_of

SINGLE: Final = ("binary", "categorical")  # tasks where each example is of one class


# Averages of a loss over examples


@dataclass
class _Mean:
    """Summed weighted losses and weights."""

    loss: float = 0.0
    total: float = 0.0

    def plus(self, losses: Array, w: Array) -> _Mean:
        """The sums with a chunk taken in."""
        return _Mean(self.loss + float(w @ losses), self.total + float(w.sum()))


def _mean(state: _Mean) -> float:
    return state.loss / state.total if state.total else float("nan")


def _both(data: Predictions) -> tuple[Array, Array]:
    """Probabilities and targets of every class, (m, K); the two classes of a binary task are columns as well."""
    p = probabilities_of(data)
    if data.task == "binary":
        y = data.targets.astype(np.float64, copy=False)
        return np.stack([1 - p, p], axis=1), np.stack([1 - y, y], axis=1)
    return p, data.target_rows(p.shape[1])


def _add_log_loss(state: _Mean, data: Predictions) -> _Mean:
    p, y = _both(data)
    eps = np.finfo(np.float64).eps
    return state.plus(-np.sum(y * np.log(np.clip(p, eps, 1 - eps)), axis=1), data.weight)


def _add_brier(state: _Mean, data: Predictions) -> _Mean:
    p, y = _both(data)
    halved = 0.5 if data.task == "binary" else 1.0
    return state.plus(halved * np.sum((p - y) ** 2, axis=1), data.weight)


# Calibration


def expected_calibration_error(bins: int = 15) -> Metric:
    """How far confidence is from the share that is right: Σ_b (w_b / w) |right_b − confidence_b|.

    The bins are ((b − 1)/B, b/B], of equal width; 0 belongs to the first. In a categorical task the confidence is the
    largest probability, and right is what has that class. In a binary task it is the probability of class 1, and
    right is what is of class 1, so that low probabilities are tested as well.

    Args:
        bins: their number B, 1 or more.

    Returns:
        The metric.

    Raises:
        ArgumentError: ``expected_calibration_error: bins must be a whole number of 1 or more, got 0.``

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3.

    Example:
        >>> p = np.array([0.9, 0.9, 0.2, 0.2])
        >>> y = np.array([1, 0, 0, 0])
        >>> round(expected_calibration_error(10)(Predictions("binary", y, (p > 0.5) * 1, p)), 6)
        0.3
    """
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise ArgumentError(f"expected_calibration_error: bins must be a whole number of 1 or more, got {bins!r}.")
    edges = np.linspace(0, 1, bins + 1)[1:-1]

    def add(state: Array, data: Predictions) -> Array:
        p, w = probabilities_of(data), data.weight
        if data.task == "binary":
            confidence, right = p, data.target_labels
        else:
            confidence, right = p.max(axis=1), np.argmax(p, axis=1) == data.target_labels
        bin_of = np.searchsorted(edges, confidence)  # left: an edge belongs to the bin below it
        sums = [np.bincount(bin_of, weights=part, minlength=bins) for part in (w, w * right, w * confidence)]
        return np.asarray(state + np.stack(sums))

    def result(state: Array) -> float:
        total, right, confidence = state
        return float(np.abs(right - confidence).sum() / total.sum()) if total.any() else float("nan")

    name = "expected_calibration_error" if bins == 15 else f"expected_calibration_error_{bins}"
    return Metric(name, SINGLE, "low", lambda: np.zeros((3, bins)), add, result, share=True)


AUC: Final = Metric("auc", CLASSES, "high", Ranks, add_ranks, lambda state: state.mean_of(find_area))
AVERAGE_PRECISION: Final = Metric(
    "average_precision", CLASSES, "high", Ranks, add_ranks, lambda state: state.mean_of(find_average_precision)
)
LOG_LOSS: Final = Metric("log_loss", SINGLE, "low", _Mean, _add_log_loss, _mean)
BRIER: Final = Metric("brier_score", SINGLE, "low", _Mean, _add_brier, _mean)
