"""The temperature of a classifier: what its scores are divided by, so that it is as sure as it is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError
from undertow.nn import Dense, Sequential, softmax

_SUREST: Final = 2.0  # a factor of the scores; where all rows are right, any more would lower their loss
_LEAST_SURE: Final = 1 / 16
_HALVINGS: Final = 40


def fit_temperature(scores: NDArray[Any], y: NDArray[Any], weights: ArrayLike | None = None) -> float:
    """Find the temperature by which the cross-entropy of classes is lowest.

    Args:
        scores: what goes into the softmax, of rows that were not trained on, (m, K).
        y: their classes, whole numbers from 0, (m,).
        weights: how much each row counts, (m,); all alike unless told.

    Returns:
        The temperature, from 1/2 to 16: above 1 for a network that is too sure of itself. The loss is convex in its
        inverse, so where its derivative, Σ w (Σ_k p_k z_k − z_y), changes its sign is the lowest.

    Source: C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, ICML 2017,
        section 4.2.

    Example:
        >>> scores = np.array([[3.0, 0.0]] * 4)  # sure to 95 %, and right in three of four rows: log 3 is right
        >>> round(3 / fit_temperature(scores, np.array([0, 0, 0, 1])), 4), round(float(np.log(3)), 4)
        (1.0986, 1.0986)
    """
    z = np.asarray(scores, np.float64)
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64)
    of_truth = z[np.arange(len(z)), y]

    def slope(factor: float) -> float:
        return float(np.sum(w * (np.sum(softmax(factor * z) * z, axis=1) - of_truth)))

    low, high = _LEAST_SURE, _SUREST
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5


def mean_cross_entropy(scores: NDArray[Any], y: NDArray[Any], weights: ArrayLike | None = None) -> float:
    """Compute the mean of −log p of the true classes.

    Args:
        scores: what goes into the softmax, (m, K).
        y: classes, whole numbers from 0, (m,).
        weights: how much each row counts, (m,); all alike unless told.

    Returns:
        The mean.

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.3.

    Example:
        >>> round(mean_cross_entropy(np.zeros((1, 2)), np.array([0])), 4), round(float(np.log(2)), 4)
        (0.6931, 0.6931)
    """
    z = np.asarray(scores, np.float64)
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(len(z)), y]
    return float(np.average(losses, weights=None if weights is None else np.asarray(weights, np.float64)))


def divide_scores(model: Sequential, temperature: float) -> Sequential:
    """Divide what a network gives by a temperature: the weights and biases of its last layer.

    Args:
        model: it ends in a Dense layer.
        temperature: above 0.

    Returns:
        The network. The classes that it predicts stay the same.

    Raises:
        ArgumentError: ``the network ends in relu, not in scores of classes, …``

    Source: as `fit_temperature`.

    Example:
        >>> divide_scores(Sequential(Dense(1, 1, W=np.array([[3.0]]), b=np.array([1.0]))), 2.0).layers[0].W
        array([[1.5]])
    """
    last = model.layers[-1]
    if not isinstance(last, Dense):
        raise ArgumentError(
            f"the network ends in {last!r}, not in scores of classes, which a temperature divides. Leave one out."
        )
    by = np.asarray(temperature, last.W.dtype)
    divided = replace(last, W=last.W / by, b=None if last.b is None else last.b / by)
    return Sequential(*model.layers[:-1], divided)
