"""Focal losses: cross-entropies in which the examples that are right already count less."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.nn.configured import NOT_NEGATIVE, SHARE, or_none
from undertow.nn.loss_record import loss, sum_columns
from undertow.nn.targets_of_losses import check_probabilities, check_same, read_classes, read_probabilities
from undertow.primitives.stable import times_log


@loss("binary", end="sigmoid", gamma=NOT_NEGATIVE, alpha=or_none(SHARE))
def binary_focal(p: Any, y: Any, *, gamma: float = 2.0, alpha: float | None = None) -> Any:
    """−(1/m) Σ (α y (1 − p)^γ log p + (1 − α)(1 − y) p^γ log(1 − p)); both α and 1 − α are 1 if α is None.

    With γ = 0 it is `binary_cross_entropy`.

    Args:
        p: probabilities, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.
        gamma: how much less the easy ones count, 0 or more.
        alpha: the weight of the class 1, from 0 to 1, or None.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``binary_focal: p is (3, 1), y is (3,): …``
        DataError: ``binary_focal: y holds 2, but …``

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 4 and 5 (there γ = 2, α = 0.25).

    Example:
        >>> round(float(binary_focal(np.array([0.5]), np.array([1.0]))), 4)
        0.1733
    """
    check_same("binary_focal", "p", p, y)
    check_probabilities("binary_focal", y)
    p = read_probabilities("binary_focal", p)
    with np.errstate(under="ignore"):  # the power of the smallest p is 0
        right = (1 - p) ** gamma * times_log(y, p)
        wrong = p**gamma * times_log(1 - y, 1 - p)
    return sum_columns(-_weigh(right, wrong, alpha))


@loss("binary", logits=True, end="sigmoid", gamma=NOT_NEGATIVE, alpha=or_none(SHARE))
def binary_focal_with_logits(z: Any, y: Any, *, gamma: float = 2.0, alpha: float | None = None) -> Any:
    """`binary_focal` of p = sigmoid(z), without overflow: with s(z) = log(1 + e^z) it is y e^(−γ s(z)) s(−z) + ….

    Args:
        z: logits, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.
        gamma: how much less the easy ones count, 0 or more.
        alpha: the weight of the class 1, from 0 to 1, or None.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``binary_focal_with_logits: z is (3, 1), y is (3,): …``
        DataError: ``binary_focal_with_logits: y holds 2, but …``

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 4 and 5.

    Example:
        >>> round(float(binary_focal_with_logits(np.array([0.0]), np.array([1.0]))), 4)
        0.1733
    """
    check_same("binary_focal_with_logits", "z", z, y)
    check_probabilities("binary_focal_with_logits", y)
    of_zero, of_one = P.softplus(z), P.softplus(-z)  # −log(1 − p), −log p
    right = y * (np.exp(-gamma * of_zero) * of_one)
    wrong = (1 - y) * (np.exp(-gamma * of_one) * of_zero)
    return sum_columns(_weigh(right, wrong, alpha))


def _weigh(right: Any, wrong: Any, alpha: float | None) -> Any:
    """The sum of the parts of class 1 and of class 0."""
    return right + wrong if alpha is None else alpha * right + (1 - alpha) * wrong


@loss("categorical", end="softmax", gamma=NOT_NEGATIVE)
def categorical_focal(p: Any, y: Any, *, gamma: float = 2.0) -> Any:
    """−(1/m) Σ_i Σ_k y_ik (1 − p_ik)^γ log p_ik; with γ = 0 it is `categorical_cross_entropy`.

    Args:
        p: probabilities, (m, K), floating; each row sums to 1.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).
        gamma: how much less the easy ones count, 0 or more.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``categorical_focal: p is (3, 4), y is (3, 5): …``

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 4.

    Example:
        >>> round(float(categorical_focal(np.array([[0.5, 0.5]]), np.array([1]))), 4)
        0.1733
    """
    y = read_classes("categorical_focal", "p", p, y)
    p = read_probabilities("categorical_focal", p)
    return -np.sum((1 - p) ** gamma * times_log(y, p), axis=1)


@loss("categorical", logits=True, end="softmax", gamma=NOT_NEGATIVE)
def categorical_focal_with_logits(z: Any, y: Any, *, gamma: float = 2.0) -> Any:
    """`categorical_focal` of p = softmax(z), without overflow.

    Args:
        z: logits, (m, K), floating.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).
        gamma: how much less the easy ones count, 0 or more.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``categorical_focal_with_logits: z is (3, 4), y is (3, 5): …``

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017, eq. 4.

    Example:
        >>> round(float(categorical_focal_with_logits(np.zeros((1, 2)), np.array([1]))), 4)
        0.1733
    """
    y = read_classes("categorical_focal_with_logits", "z", z, y)
    log_p = P.log_softmax(z, axis=1)
    # 1 − p is 0 where p rounds to 1, and a power below 1 would have an infinite slope there.
    rest = np.maximum(-np.expm1(log_p), float(np.finfo(P.dtype_of(z)).tiny))
    return -np.sum(y * (rest**gamma * log_p), axis=1)
