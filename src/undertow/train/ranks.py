"""The order that scores put examples in, for the area under the ROC curve and average precision, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.train.metric import Array, Predictions

MOST: Final = 1 << 19  # scores that are kept as they are
_DROPPED: Final = 9  # of the 23 binary digits of a float32, beyond that
_DISTINCT: Final = 1 << 20  # scores that are told apart at most
Curve = tuple[Array, Array]  # weights of true and of false positives at every threshold, the highest first


def probabilities_of(data: Predictions) -> Array:
    """The probabilities, which every task of classes has."""
    if data.probabilities is None:
        raise ArgumentError("these predictions hold no probabilities. Give them, or use make_predictions.")
    return data.probabilities


@dataclass
class Ranks:
    """Chunks of targets (m, K), scores (m, K) and weights (m,); of many, how much weight each score has.

    The order of all examples has to be known at once, so scores are kept. Of more than ``MOST`` numbers scores are
    rounded, probabilities as log-odds, to 14 binary digits, and the weights of equal ones are added up. Examples whose
    scores are told apart no more count as a tie, a half: the area under the curve changes by less than the share of
    such pairs.

    Args:
        targets, scores, weights: as they are.
        n: numbers among the scores.
        sums: of each column the rounded scores, ascending, and the weights of positives and of negatives, (3, n);
            None while there are few.
        lost: whether a score was NaN.
        are_logits: whether scores are log-odds, not probabilities.
    """

    targets: list[Array] = field(default_factory=list)
    scores: list[Array] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    n: int = 0
    sums: list[Array] | None = None
    lost: bool = False
    are_logits: bool = False

    def mean_of(self, score: Callable[[Array, Array], float]) -> float:
        """The mean of a score of the curve over the columns; NaN where there is nothing."""
        if self.sums is not None:
            self.add_up()
            return float("nan") if self.lost else float(np.mean([score(*_curve_of_sums(x)) for x in self.sums]))
        if not self.targets:
            return float("nan")
        y, s, w = (np.concatenate(part) for part in (self.targets, self.scores, self.weights))
        y, s, w = y[w > 0], s[w > 0], w[w > 0]
        if np.isnan(s).any() or not len(y):
            return float("nan")
        return float(np.mean([score(*_curve(y[:, k], s[:, k], w)) for k in range(y.shape[1])]))

    def add_up(self) -> None:
        """Take the chunks in as sums."""
        while self.targets:
            y, s, w = self.targets.pop(), self.scores.pop(), self.weights.pop()
            y, s, w = y[w > 0], s[w > 0], w[w > 0]
            self.lost |= bool(np.isnan(s).any())
            if self.lost or not len(y):
                continue
            rounded = _round(s if self.are_logits else _log_odds(s))
            parts = [np.stack([rounded[:, k], w * y[:, k], w * ~y[:, k]]) for k in range(y.shape[1])]
            before = self.sums or [np.zeros((3, 0))] * len(parts)
            self.sums = [_merge(old, new) for old, new in zip(before, parts, strict=True)]
        self.n = 0


def add_ranks(state: Ranks, data: Predictions) -> Ranks:
    """Keep a chunk. Where each column stands for itself logits rank finer than probabilities, which round to 1."""
    p = probabilities_of(data)
    if data.task == "categorical":
        scores, targets = p, data.target_labels[:, None] == np.arange(p.shape[1])
    else:
        scores, targets = p if data.values is None else data.values, data.target_labels
        state.are_logits = data.values is not None
    shape = (len(p), 1) if p.ndim == 1 else p.shape
    state.targets.append(targets.reshape(shape).astype(bool))
    state.scores.append(scores.reshape(shape).copy())
    state.weights.append(data.weight)
    state.n += scores.size
    if state.n > MOST:
        state.add_up()
    return state


def _log_odds(p: Array) -> Array:
    """log(p / (1 − p)), which tells those near 1 apart too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))


def _round(scores: Array, dropped: int = _DROPPED) -> Array:
    """Scores to fewer binary digits, cut towards 0, as float64."""
    with np.errstate(over="ignore"):
        bits = scores.astype(np.float32).view(np.int32)
    return (bits & np.int32(-1 << dropped)).view(np.float32).astype(np.float64)


def _merge(old: Array, new: Array) -> Array:
    """Sums with others taken in, the scores ascending; of too many, the scores are rounded further."""
    dropped = _DROPPED
    both = _add_equal(np.concatenate([old, new], axis=1))
    while both.shape[1] > _DISTINCT:
        dropped += 1
        both = _add_equal(np.stack([_round(both[0], dropped), both[1], both[2]]))
    return both


def _add_equal(sums: Array) -> Array:
    """Add up the weights of scores that are equal."""
    sums = sums[:, np.argsort(sums[0], kind="stable")]
    first = np.flatnonzero(np.append(True, sums[0, 1:] != sums[0, :-1])[: sums.shape[1]])
    return np.stack([sums[0, first], *np.add.reduceat(sums[1:], first, axis=1)])


def _curve(y: Array, s: Array, w: Array) -> Curve:
    """The curve of targets, scores and weights, (m,); ties are one threshold."""
    order = np.argsort(-s, kind="stable")
    s, y, w = s[order], y[order], w[order]
    last = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    return np.cumsum(w * y)[last], np.cumsum(w * ~y)[last]


def _curve_of_sums(sums: Array) -> Curve:
    """The curve of sums by score, ascending."""
    return np.cumsum(sums[1, ::-1]), np.cumsum(sums[2, ::-1])


def find_area(tp: Array, fp: Array) -> float:
    """The area under the ROC curve: trapezoids, so that a tie counts a half."""
    if not tp[-1] or not fp[-1]:
        return float("nan")
    heights = tp + np.append(0, tp[:-1])
    return float(np.sum(np.diff(fp, prepend=0) * heights) / 2 / tp[-1] / fp[-1])


def find_average_precision(tp: Array, fp: Array) -> float:
    """Σ (Rₙ − Rₙ₋₁) Pₙ over the thresholds; 0 without positives."""
    if not tp[-1]:
        return 0.0
    return float(np.sum(np.diff(tp, prepend=0) * tp / (tp + fp)) / tp[-1])
