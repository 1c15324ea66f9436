"""Metrics of probabilities and of the order that they put examples in: AUC, average precision, calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.train.metric import CLASSES, Array, Metric, Predictions

SINGLE: Final = ("binary", "categorical")  # tasks where each example is of one class


def _probabilities(data: Predictions) -> Array:
    """The probabilities, which every task of classes has."""
    if data.probabilities is None:
        raise ArgumentError("these predictions hold no probabilities. Give them, or use make_predictions.")
    return data.probabilities


# The order of all examples has to be known at once: scores are kept, a number a class and example.


@dataclass
class _Kept:
    """Chunks of targets (m, K), scores (m, K) and weights (m,)."""

    targets: list[Array] = field(default_factory=list)
    scores: list[Array] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)


def _keep(state: _Kept, data: Predictions) -> _Kept:
    """Keep a chunk. Where each column stands for itself logits rank finer than probabilities, which round to 1."""
    p = _probabilities(data)
    if data.task == "categorical":
        scores, targets = p, data.target_labels[:, None] == np.arange(p.shape[1])
    else:
        scores, targets = p if data.values is None else data.values, data.target_labels
    m = len(p)
    shape = (m, 1) if p.ndim == 1 else p.shape
    state.targets.append(targets.reshape(shape).astype(bool))
    state.scores.append(scores.reshape(shape).copy())
    state.weights.append(data.weight)
    return state


def _macro(state: _Kept, score: Callable[[Array, Array, Array], float]) -> float:
    """The mean of a score over the columns."""
    if not state.targets:
        return float("nan")
    y, s, w = (np.concatenate(part) for part in (state.targets, state.scores, state.weights))
    y, s, w = y[w > 0], s[w > 0], w[w > 0]
    if np.isnan(s).any() or not len(y):
        return float("nan")
    return float(np.mean([score(y[:, k], s[:, k], w) for k in range(y.shape[1])]))


def _curve(y: Array, s: Array, w: Array) -> tuple[Array, Array]:
    """Weights of true and of false positives at every threshold, the highest first; ties are one threshold."""
    order = np.argsort(-s, kind="stable")
    s, y, w = s[order], y[order], w[order]
    last = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return np.cumsum(w * y)[last], np.cumsum(w * ~y)[last]


def _area(y: Array, s: Array, w: Array) -> float:
    """The area under the ROC curve: trapezoids, so that a tie counts a half."""
    tp, fp = _curve(y, s, w)
    if not tp[-1] or not fp[-1]:
        return float("nan")
    heights = tp + np.append(0, tp[:-1])
    return float(np.sum(np.diff(fp, prepend=0) * heights) / 2 / tp[-1] / fp[-1])


def _average_precision(y: Array, s: Array, w: Array) -> float:
    """Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds; 0 without positives."""
    tp, fp = _curve(y, s, w)
    if not tp[-1]:
        return 0.0
    return float(np.sum(np.diff(tp, prepend=0) * tp / (tp + fp)) / tp[-1])


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
    p = _probabilities(data)
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
        p, w = _probabilities(data), data.weight
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


AUC: Final = Metric("auc", CLASSES, "high", _Kept, _keep, lambda state: _macro(state, _area))
AVERAGE_PRECISION: Final = Metric(
    "average_precision", CLASSES, "high", _Kept, _keep, lambda state: _macro(state, _average_precision)
)
LOG_LOSS: Final = Metric("log_loss", SINGLE, "low", _Mean, _add_log_loss, _mean)
BRIER: Final = Metric("brier_score", SINGLE, "low", _Mean, _add_brier, _mean)
