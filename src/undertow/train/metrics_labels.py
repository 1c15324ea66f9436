"""Metrics of decided classes, all of the counts of (target, label): accuracy, precision, recall, F1."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.train.metric import CLASSES, Array, Metric, Predictions, divide

AVERAGES: Final = ("binary", "macro", "micro", "weighted")


@dataclass
class _Counts:
    """Summed weights of (target, label) pairs, and which classes came up at all."""

    task: str = ""
    table: Array = field(default_factory=lambda: np.zeros((0, 0)))  # (K, K); multilabel: (K, 4) of tn, fp, fn, tp
    present: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))  # (K,)


def _add_counts(state: _Counts, data: Predictions) -> _Counts:
    """Count the pairs of a chunk."""
    y, labels, w = data.target_labels, _labels(data), data.weight
    if data.task == "multilabel":
        code = 2 * y + labels
        chunk = np.stack([w @ (code == i) for i in range(4)], axis=1)
        return _Counts(data.task, state.table + chunk if state.task else chunk, np.ones(len(chunk), dtype=bool))
    known = data.probabilities.shape[1] if data.probabilities is not None and data.probabilities.ndim == 2 else 2
    size = max(known, len(state.table), *(int(part.max(initial=-1)) + 1 for part in (y, labels)))
    table, present = np.zeros((size, size)), np.zeros(size, dtype=bool)
    table[: len(state.table), : len(state.table)] = state.table
    present[: len(state.present)] = state.present
    table += np.bincount(y * size + labels, weights=w, minlength=size * size).reshape(size, size)
    present[y] = present[labels] = True
    return _Counts(data.task, table, present)


def _labels(data: Predictions) -> Array:
    """The labels, which every task of classes has."""
    if data.labels is None:
        raise ArgumentError("these predictions hold no labels. Give them, or use make_predictions.")
    return data.labels


def _outcomes(state: _Counts) -> tuple[Array, Array, Array]:
    """True positives, false positives and false negatives of each class that came up, (K,)."""
    if state.task == "multilabel":
        _, fp, fn, tp = state.table.T
        return tp, fp, fn
    tp = np.diagonal(state.table)
    fp, fn = state.table.sum(axis=0) - tp, state.table.sum(axis=1) - tp
    if state.task == "binary":  # class 1 stays where it did not come up: it is the one that is asked for
        return tp, fp, fn
    return tp[state.present], fp[state.present], fn[state.present]


def _precision(tp: Any, fp: Any, fn: Any) -> Any:
    return divide(tp, tp + fp)


def _recall(tp: Any, fp: Any, fn: Any) -> Any:
    return divide(tp, tp + fn)


def _f1(tp: Any, fp: Any, fn: Any) -> Any:
    return divide(2 * tp, 2 * tp + fp + fn)


def _average(state: _Counts, score: Callable[[Any, Any, Any], Any], average: str | None) -> float:
    """One number of the scores of each class."""
    if not state.task or not state.table.sum():
        return float("nan")
    if average is None:
        average = "binary" if state.task == "binary" else "macro"
    tp, fp, fn = _outcomes(state)
    if average == "binary":
        return float(score(tp[1], fp[1], fn[1]))
    if state.task == "binary":
        tp, fp, fn = tp[state.present], fp[state.present], fn[state.present]
    if average == "micro":
        return float(score(tp.sum(), fp.sum(), fn.sum()))
    scores = score(tp, fp, fn)
    return float(np.mean(scores) if average == "macro" else divide(scores @ (tp + fn), (tp + fn).sum()))


SCORES: Final = {"precision": _precision, "recall": _recall, "f1": _f1}
OF_CLASS: Final = re.compile(rf"({'|'.join(SCORES)})_of_([0-9]+)")


def of_class(which: str, k: int) -> Metric:
    """Precision, recall or F1 of class k alone, as if all others were one: ``"f1_of_1"``; 0 where it never came up.

    Args:
        which: ``"precision"``, ``"recall"`` or ``"f1"``.
        k: the number of the class, 0 or more.

    Returns:
        The metric.

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval, 2008, section 8.3.

    Example:
        >>> data = Predictions("categorical", np.array([0, 1, 2, 1]), labels=np.array([1, 1, 1, 0]))
        >>> of_class("precision", 1)(data), of_class("recall", 1)(data)
        (0.3333333333333333, 0.5)
    """

    def result(state: _Counts) -> float:
        if not state.task or not state.table.sum():
            return float("nan")
        if k >= len(state.present):
            return 0.0
        if state.task == "multilabel":
            _, fp, fn, tp = state.table[k]
        else:
            tp = state.table[k, k]
            fp, fn = state.table[:, k].sum() - tp, state.table[k].sum() - tp
        return float(SCORES[which](tp, fp, fn))

    return Metric(f"{which}_of_{k}", CLASSES, "high", _Counts, _add_counts, result, share=True)


def _make_score(which: str, average: str | None) -> Metric:
    """A metric of the counts of each class."""
    if average is not None and average not in AVERAGES:
        raise ArgumentError(f"{which} has no average {average!r}. Use one of {', '.join(AVERAGES)}, or None.")
    tasks = ("binary",) if average == "binary" else CLASSES
    name = which if average is None else f"{which}_{average}"
    return Metric(name, tasks, "high", _Counts, _add_counts, lambda s: _average(s, SCORES[which], average), share=True)


def precision(average: str | None = None) -> Metric:
    """Of what was called a class, the share that is of it: tp / (tp + fp), and 0 where nothing was called so.

    Args:
        average: ``"binary"`` for class 1 alone; ``"macro"`` for the mean over classes, ``"weighted"`` for that mean
            weighted by how many examples a class has, ``"micro"`` for all classes counted together; None for
            "binary" in a binary task, else "macro". Classes that neither targets nor labels hold are left out.

    Returns:
        The metric.

    Raises:
        ArgumentError: ``precision has no average 'mean'. …``

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval, 2008, sections 8.3 and 13.6.

    Example:
        >>> data = Predictions("binary", np.array([0, 1, 1]), labels=np.array([1, 1, 0]))
        >>> precision()(data), precision("macro")(data)
        (0.5, 0.25)
    """
    return _make_score("precision", average)


def recall(average: str | None = None) -> Metric:
    """Of what is of a class, the share that was called so: tp / (tp + fn), and 0 where there is nothing of it.

    Args:
        average: as in `precision`.

    Returns:
        The metric.

    Raises:
        ArgumentError: ``recall has no average 'mean'. …``

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval, 2008, section 8.3.

    Example:
        >>> recall()(Predictions("binary", np.array([0, 1, 1, 1]), labels=np.array([1, 1, 0, 0])))
        0.3333333333333333
    """
    return _make_score("recall", average)


def f1(average: str | None = None) -> Metric:
    """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn), and 0 where that is 0 / 0.

    Args:
        average: as in `precision`; "macro" is the mean of the classes' own F1.

    Returns:
        The metric.

    Raises:
        ArgumentError: ``f1 has no average 'mean'. …``

    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval, 2008, eq. 8.6.

    Example:
        >>> f1()(Predictions("binary", np.array([0, 1, 1, 1]), labels=np.array([1, 1, 0, 0])))
        0.4
    """
    return _make_score("f1", average)


def _balanced(state: _Counts) -> float:
    """The mean recall over the classes of the targets."""
    if not state.task:
        return float("nan")
    total = state.table.sum(axis=1)
    there = total > 0
    return float(np.mean(np.diagonal(state.table)[there] / total[there])) if there.any() else float("nan")


def _matthews(state: _Counts) -> float:
    """The correlation of targets and labels: Gorodkin's for K classes, 0 where either is of one class alone."""
    table = state.table
    if not state.task or not table.any():
        return float("nan")
    y, labels = table.sum(axis=1), table.sum(axis=0)
    both = np.sum(np.diagonal(table) * table.sum() - y * labels)
    spread = np.sum(y * (y.sum() - y)) * np.sum(labels * (labels.sum() - labels))
    return float(divide(both, np.sqrt(spread)))


def _confusion(state: _Counts) -> Array:
    """The table as people read it."""
    return state.table.reshape(-1, 2, 2) if state.task == "multilabel" else state.table


# Accuracy needs no table: two sums.


@dataclass
class _Share:
    """The weight of what is right, and of all."""

    right: float = 0.0
    total: float = 0.0


def _add_share(state: _Share, right: Array, w: Array) -> _Share:
    return _Share(state.right + float(w @ right), state.total + float(w.sum()))


def _share(state: _Share) -> float:
    return state.right / state.total if state.total else float("nan")


def _add_accuracy(state: _Share, data: Predictions) -> _Share:
    right = (_labels(data) == data.target_labels).astype(np.float64)
    return _add_share(state, right if right.ndim == 1 else right.mean(axis=1), data.weight)


def _add_subset(state: _Share, data: Predictions) -> _Share:
    return _add_share(state, (_labels(data) == data.target_labels).all(axis=1).astype(np.float64), data.weight)


def top_k_accuracy(k: int) -> Metric:
    """The share of examples whose class is among the k that the model holds likeliest.

    Of classes that are held equally likely the first come first, so that ``top_k_accuracy(1)`` is the accuracy.
    scikit-learn's takes the last first; the two differ only where outputs are exactly equal.

    Args:
        k: 1 or more; from the number of classes on, all are right.

    Returns:
        The metric, named ``top_5_accuracy`` for 5.

    Raises:
        ArgumentError: ``top_k_accuracy: k must be a whole number of 1 or more, got 0.``

    Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115, 2015, section 4.1.

    Example:
        >>> p = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        >>> top_k_accuracy(2)(Predictions("categorical", np.array([1, 2]), p.argmax(axis=1), p, p))
        0.5
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ArgumentError(f"top_k_accuracy: k must be a whole number of 1 or more, got {k!r}.")

    def add(state: _Share, data: Predictions) -> _Share:
        scores = data.probabilities if data.values is None else data.values
        if scores is None:
            raise ArgumentError("top_k_accuracy needs probabilities or outputs. Give them, or use make_predictions.")
        y = data.target_labels[:, None]
        own = np.take_along_axis(scores, y, axis=1)
        first = np.arange(scores.shape[1]) < y
        before = np.count_nonzero((scores > own) | ((scores == own) & first), axis=1)
        return _add_share(state, ((before < k) & ~np.isnan(own[:, 0])).astype(np.float64), data.weight)

    return Metric(f"top_{k}_accuracy", ("categorical",), "high", _Share, add, _share, share=True)


ACCURACY: Final = Metric("accuracy", CLASSES, "high", _Share, _add_accuracy, _share, share=True)
SUBSET_ACCURACY: Final = Metric("subset_accuracy", ("multilabel",), "high", _Share, _add_subset, _share, share=True)
BALANCED_ACCURACY: Final = Metric(
    "balanced_accuracy", ("binary", "categorical"), "high", _Counts, _add_counts, _balanced, share=True
)
# Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004, eq. 8
MATTHEWS: Final = Metric("matthews_correlation", ("binary", "categorical"), "high", _Counts, _add_counts, _matthews)
CONFUSION_MATRIX: Final = Metric("confusion_matrix", CLASSES, None, _Counts, _add_counts, _confusion)
