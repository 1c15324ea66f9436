"""Weights of examples by their class, for data in which some classes are rare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError, DataError, ShapeError


def read_labels(what: str, y: ArrayLike, n_classes: int | None) -> tuple[NDArray[np.int64], int]:
    """Read integer labels, or one-hot rows, and the number of classes.

    Args:
        what: the caller, for messages.
        y: labels 0 … n_classes − 1, (m,) or (m, 1), or one-hot rows, (m, n_classes).
        n_classes: how many, or None for the largest label and one.

    Returns:
        Labels (m,), and the number of classes.

    Raises:
        DataError: ``class_weights: y holds the label 2.5. …``

    Source: derived here.

    Example:
        >>> read_labels("class_weights", [0.0, 2.0], None)
        (array([0, 2]), 3)
    """
    rows: NDArray[Any] = np.asarray(y)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    elif rows.ndim == 2:
        if not (((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()):
            raise DataError(f"{what}: y is {rows.shape}, but its rows are not one-hot. Give integer labels.")
        n_classes = rows.shape[1] if n_classes is None else n_classes
        rows = np.argmax(rows, axis=1)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iubf":
        raise ShapeError(f"{what}: y is {rows.shape} of {rows.dtype}. Give one integer label for each example.")
    labels = rows.astype(np.int64)
    n_classes = int(labels.max()) + 1 if n_classes is None else n_classes
    wrong = (labels != rows) | (labels < 0) | (labels >= n_classes)
    if wrong.any():
        raise DataError(
            f"{what}: y holds the label {rows[wrong][0]}, but the {n_classes} classes are 0 to {n_classes - 1}."
        )
    return labels, n_classes


def class_weights(
    y: ArrayLike, weights: str | Mapping[int, float] | ArrayLike = "balanced", n_classes: int | None = None
) -> NDArray[np.float64]:
    """Make weights of examples from weights of classes; their product with other weights combines both.

    Args:
        y: labels 0 … n_classes − 1, (m,) or (m, 1), or one-hot rows, (m, n_classes).
        weights: ``"balanced"``, which is m / (classes that occur · count of the class); a dict of weights by class, in
            which absent classes count 1; or an array (n_classes,).
        n_classes: how many classes there are, or None for the largest label and one.

    Returns:
        One weight for each example, (m,).

    Raises:
        ArgumentError: ``class_weights: there is no rule 'balance'. …``, a class that there is not, a negative weight.
        DataError: ``class_weights: y holds the label 3, but the 3 classes are 0 to 2.``

    Source: King and Zeng, Logistic regression in rare events data, Political Analysis 9, 2001; "balanced" is
        scikit-learn's.

    Example:
        >>> class_weights([0, 0, 0, 1]).round(4), class_weights([0, 0, 0, 1], {1: 5.0})
        (array([0.6667, 0.6667, 0.6667, 2.    ]), array([1., 1., 1., 5.]))
    """
    labels, n_classes = read_labels("class_weights", y, n_classes)
    table: NDArray[Any]
    if isinstance(weights, str):
        if weights != "balanced":
            raise ArgumentError(f"class_weights: there is no rule {weights!r}. Use 'balanced', a dict or an array.")
        counts = np.bincount(labels, minlength=n_classes)
        table = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    elif isinstance(weights, Mapping):
        table = np.ones(n_classes)
        for label, weight in weights.items():
            if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < n_classes:
                raise ArgumentError(f"class_weights: there is no class {label!r}. They are 0 to {n_classes - 1}.")
            table[label] = weight
    else:
        table = np.asarray(weights, np.float64)
        if table.shape != (n_classes,):
            raise ShapeError(f"class_weights: weights is {table.shape}. Give one for each of the {n_classes} classes.")
    if not (np.isfinite(table) & (table >= 0)).all():
        raise ArgumentError(f"class_weights: weights are {table.tolist()}. Give numbers of 0 or more.")
    return np.asarray(table[labels], np.float64)
