"""Losses of classes: cross-entropies, their divergence, and the margins of hinge losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import ShapeError
from undertow.graph import show_shape
from undertow.nn.configured import BELOW_ONE, POSITIVE, or_each
from undertow.nn.loss_record import loss, sum_columns
from undertow.nn.targets_of_losses import (
    check_probabilities,
    check_same,
    check_target,
    read_classes,
    read_probabilities,
)
from undertow.primitives.stable import times_log


@loss("binary", end="sigmoid", label_smoothing=BELOW_ONE, pos_weight=or_each(POSITIVE))
def binary_cross_entropy(p: Any, y: Any, *, label_smoothing: float = 0.0, pos_weight: float | list[float] = 1.0) -> Any:
    """−(1/m) Σ (y log p + (1 − y) log(1 − p)); after a sigmoid its gradient by z is (p − y)/m.

    With K columns this is K times what PyTorch reports; with one it is scikit-learn's log_loss.

    Args:
        p: probabilities, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.
        label_smoothing: ε: y is replaced by (1 − ε) y + ε/2.
        pos_weight: a factor of y log p, above 1 where 1 is rare; or a list, one for each column.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``binary_cross_entropy: p is (3, 1), y is (3,): …``, or pos_weight is not one for each column
        DataError: ``binary_cross_entropy: y holds 2, but …``, or p is no probability

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.2.

    Example:
        >>> round(float(binary_cross_entropy(np.array([0.5, 0.5]), np.array([0.0, 1.0]))), 4)
        0.6931
    """
    check_same("binary_cross_entropy", "p", p, y)
    check_probabilities("binary_cross_entropy", y)
    p = read_probabilities("binary_cross_entropy", p)
    y = _smooth(y, label_smoothing, 2)
    right, wrong = times_log(y, p), times_log(1 - y, 1 - p)
    weight = _read_weight("binary_cross_entropy", "p", p, pos_weight)
    e = -((right if weight is None else weight * right) + wrong)
    return sum_columns(e)


@loss("binary", logits=True, end="sigmoid", label_smoothing=BELOW_ONE, pos_weight=or_each(POSITIVE))
def binary_cross_entropy_with_logits(
    z: Any, y: Any, *, label_smoothing: float = 0.0, pos_weight: float | list[float] = 1.0
) -> Any:
    """(1/m) Σ (log(1 + e^z) − y z), without overflow; its gradient by z is (p − y)/m with p = sigmoid(z).

    Args:
        z: logits, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.
        label_smoothing: as in `binary_cross_entropy`.
        pos_weight: as in `binary_cross_entropy` and in PyTorch.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``binary_cross_entropy_with_logits: z is (3, 1), y is (3,): …``
        DataError: ``binary_cross_entropy_with_logits: y holds 2, but …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 6.26 (softplus).

    Example:
        >>> round(float(binary_cross_entropy_with_logits(np.array([0.0, 0.0]), np.array([0.0, 1.0]))), 4)
        0.6931
    """
    check_same("binary_cross_entropy_with_logits", "z", z, y)
    check_probabilities("binary_cross_entropy_with_logits", y)
    y = _smooth(y, label_smoothing, 2)
    weight = _read_weight("binary_cross_entropy_with_logits", "z", z, pos_weight)
    if weight is None:
        e = P.softplus(z) - y * z
    else:
        e = (1 - y) * P.softplus(z) + weight * (y * P.softplus(-z))
    return sum_columns(e)


def _read_weight(name: str, what: str, p: Any, weight: float | list[float]) -> Any:
    """The factor of class 1: a number, (K,) for K columns, or None where it is 1."""
    if not isinstance(weight, list):
        return None if weight == 1 else weight
    shape = P.shape_of(p)
    if shape[1:] != (len(weight),):
        raise ShapeError(
            f"{name}: {what} is {show_shape(shape)}, but pos_weight has {len(weight)} numbers. Give one for each "
            "column, or one number for all."
        )
    return np.asarray(weight, P.dtype_of(p))


@loss("categorical", end="softmax", label_smoothing=BELOW_ONE)
def categorical_cross_entropy(p: Any, y: Any, *, label_smoothing: float = 0.0) -> Any:
    """−(1/m) Σ_i Σ_k y_ik log p_ik; after a softmax its gradient by z is (p − y)/m.

    This is PyTorch's nll_loss of log p, and scikit-learn's log_loss.

    Args:
        p: probabilities, (m, K), floating; each row sums to 1.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).
        label_smoothing: ε: y is replaced by (1 − ε) y + ε/K, as in PyTorch.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``categorical_cross_entropy: p is (3, 4), y is (3, 5): …``
        DataError: ``categorical_cross_entropy: y holds the label 4, but p has 4 classes, 0 to 3.``, or
            ``categorical_cross_entropy: p holds -1.5, but probabilities are 0 to 1. If these are logits, …``

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.3; smoothing: Szegedy et al., Rethinking the
        Inception architecture for computer vision, CVPR 2016, section 7.

    Example:
        >>> round(float(categorical_cross_entropy(np.array([[0.5, 0.5]]), np.array([1]))), 4)
        0.6931
    """
    y = read_classes("categorical_cross_entropy", "p", p, y)
    p = read_probabilities("categorical_cross_entropy", p)
    y = _smooth(y, label_smoothing, P.shape_of(p)[1])
    e = -np.sum(times_log(y, p), axis=1)
    return e


@loss("categorical", logits=True, end="softmax", label_smoothing=BELOW_ONE)
def categorical_cross_entropy_with_logits(z: Any, y: Any, *, label_smoothing: float = 0.0) -> Any:
    """−(1/m) Σ_i Σ_k y_ik log softmax(z_i)_k, without overflow; its gradient by z is (p − y)/m.

    This is PyTorch's cross_entropy.

    Args:
        z: logits, (m, K), floating and finite. A class that is ruled out has a logit such as −1e9: where y is 0,
            y · log p of −∞ would be 0 · ∞, no number.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).
        label_smoothing: as in `categorical_cross_entropy`.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``categorical_cross_entropy_with_logits: z is (3, 4), y is (3, 5): …``
        DataError: ``categorical_cross_entropy_with_logits: y holds the label 4, but z has 4 classes, …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 6.30.

    Example:
        >>> round(float(categorical_cross_entropy_with_logits(np.array([[7.0, 7.0]]), np.array([1]))), 4)
        0.6931
    """
    y = read_classes("categorical_cross_entropy_with_logits", "z", z, y)
    y = _smooth(y, label_smoothing, P.shape_of(z)[1])
    log_p = P.log_softmax(z, axis=1)
    e = -np.sum(y * log_p, axis=1)
    return e


def _smooth(y: Any, share: float, n_classes: Any) -> Any:
    """Targets of which a share is spread over the classes."""
    return y if share == 0 else (1 - share) * y + share / n_classes


@loss("categorical", end="softmax")
def kullback_leibler(p: Any, y: Any) -> Any:
    """(1/m) Σ_i Σ_k y_ik log(y_ik / p_ik): the cross-entropy less the entropy of y, with the same gradient.

    This is PyTorch's kl_div of log p with reduction="batchmean".

    Args:
        p: probabilities, (m, K), floating; each row sums to 1.
        y: rows of probabilities, (m, K), or integer labels 0 … K − 1, (m,).

    Returns:
        One number of 0 or more, 0 where p = y; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``kullback_leibler: p is (3, 4), y is (3, 5): …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 3.50.

    Example:
        >>> kullback_leibler(np.array([[0.25, 0.75]]), np.array([[0.25, 0.75]]))
        np.float64(0.0)
    """
    y = read_classes("kullback_leibler", "p", p, y)
    p = read_probabilities("kullback_leibler", p)
    return np.sum(y * _log_or_zero(y) - times_log(y, p), axis=1)


@loss("categorical", logits=True, end="softmax")
def kullback_leibler_with_logits(z: Any, y: Any) -> Any:
    """(1/m) Σ_i Σ_k y_ik (log y_ik − log softmax(z_i)_k), without overflow; its gradient by z is (p − y)/m.

    Args:
        z: logits, (m, K), floating.
        y: rows of probabilities, (m, K), or integer labels 0 … K − 1, (m,).

    Returns:
        One number of 0 or more; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``kullback_leibler_with_logits: z is (3, 4), y is (3, 5): …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 3.50 and 6.30.

    Example:
        >>> round(float(kullback_leibler_with_logits(np.zeros((1, 2)), np.array([[1.0, 0.0]]))), 4)
        0.6931
    """
    y = read_classes("kullback_leibler_with_logits", "z", z, y)
    return np.sum(y * (_log_or_zero(y) - P.log_softmax(z, axis=1)), axis=1)


def _log_or_zero(y: Any) -> Any:
    """log y, and 0 where y is 0, which it multiplies."""
    return np.log(np.where(y == 0, 1, y))


def _advise_hinge(settings: Mapping[str, Any], end: str) -> str | None:
    """What is odd about a margin after an activation."""
    if end == "identity":
        return None
    return "it takes scores of any size, and a margin of 1 between them. Remove the activation"


@loss("binary", logits=True, advise=_advise_hinge)
def hinge(z: Any, y: Any) -> Any:
    """(1/m) Σ max(0, 1 − s z), s = 1 for the class 1, −1 for the other; its gradient by z is −s/m or 0.

    This is scikit-learn's hinge_loss. The prediction is the class 1 where z > 0.

    Args:
        z: scores, (m,) or (m, K), floating.
        y: 0 and 1, or −1 and 1, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``hinge: z is (3, 1), y is (3,): …``
        DataError: ``hinge: y holds 2, but …``

    Source: Cortes and Vapnik, Support-vector networks, Machine Learning 20, 1995.

    Example:
        >>> hinge(np.array([2.0, 0.5]), np.array([1, 0])), hinge(np.array([2.0, 0.5]), np.array([1, -1]))
        (np.float64(0.75), np.float64(0.75))
    """
    return sum_columns(np.maximum(1 - _find_margin("hinge", z, y), 0))


@loss("binary", logits=True, advise=_advise_hinge)
def squared_hinge(z: Any, y: Any) -> Any:
    """(1/m) Σ max(0, 1 − s z)², s = 1 for the class 1, −1 for the other; its gradient by z is −2s max(0, 1 − s z)/m.

    A `hinge` without corners, which asks more of examples that are far on the wrong side. With K columns this is K
    times Keras' SquaredHinge; scikit-learn's LinearSVC makes it small by default.

    Args:
        z: scores, (m,) or (m, K), floating.
        y: 0 and 1, or −1 and 1, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``squared_hinge: z is (3, 1), y is (3,): …``
        DataError: ``squared_hinge: y holds 2, but …``

    Source: Lee and Mangasarian, SSVM: A smooth support vector machine, Computational Optimization and Applications
        20, 2001, eq. 2.

    Example:
        >>> squared_hinge(np.array([2.0, 0.5]), np.array([1, 0]))
        np.float64(1.125)
    """
    margin = _find_margin("squared_hinge", z, y)
    return sum_columns(np.square(np.maximum(1 - margin, 0)))


def _find_margin(name: str, z: Any, y: Any) -> Any:
    """How far scores are on the right side of 0."""
    check_same(name, "z", z, y)
    check_target(name, y, lambda y: (y == 0) | (abs(y) == 1), "classes are 0 and 1, or -1 and 1.")
    return np.where(y > 0, z, -z)


@loss("categorical", logits=True, advise=_advise_hinge)
def categorical_hinge(z: Any, y: Any) -> Any:
    """(1/m) Σ_i max(0, 1 + max_k≠y z_ik − z_iy); its gradient by z_iy is −1/m, by the best other 1/m, or 0.

    This is scikit-learn's hinge_loss for several classes (PyTorch's multi_margin_loss is another one: it
    sums over all other classes and divides by K).

    Args:
        z: scores, (m, K), floating, K of 2 or more.
        y: one-hot rows, (m, K), or integer labels 0 … K − 1, (m,).

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``categorical_hinge: z is (3, 4), y is (3, 5): …``

    Source: Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector machines,
        JMLR 2, 2001.

    Example:
        >>> categorical_hinge(np.array([[2.0, 1.5, 0.0]]), np.array([0]))
        np.float64(0.5)
    """
    y = read_classes("categorical_hinge", "z", z, y)
    check_target("categorical_hinge", y, lambda y: (y == 0) | (y == 1), "rows are one-hot, of 0 and 1.")
    own = y > 0.5
    best_other = np.max(np.where(own, -np.inf, z), axis=1)
    return np.maximum(1 + best_other - np.sum(np.where(own, z, 0), axis=1), 0)
