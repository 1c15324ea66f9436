"""Losses: plain NumPy functions of the model's output and the target; each averages over the batch.

Outputs of several columns are summed over the columns, then averaged over the m rows, so that the
gradient by the output is (1/m) times the textbook's. Where other libraries differ by a factor, the
docstring says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.graph import show_shape
from undertow.nn.structure import final_activation


def mean_squared_error(p: Any, y: Any) -> Any:
    """(1/m) Σ (p − y)²; its gradient by p is (2/m)(p − y).

    With K columns this is K times what PyTorch and scikit-learn report, which average over columns too.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number.

    Raises:
        ShapeError: ``mean_squared_error: p is (3, 1), y is (3,): … Give y[:, None].``

    Source: Goodfellow et al., Deep Learning, 2016, section 5.1.4.

    Example:
        >>> mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        np.float64(2.0)
    """
    _check_same("mean_squared_error", "p", p, y)
    e = p - y
    return _average(e * e)


def half_squared_error(p: Any, y: Any) -> Any:
    """(1/m) Σ ½(p − y)²: half of `mean_squared_error`; its gradient by p is the textbook's (p − y), over m.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number.

    Raises:
        ShapeError: ``half_squared_error: p is (3, 1), y is (3,): …``

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, eq. 5.14 (there summed over the batch).

    Example:
        >>> half_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        np.float64(1.0)
    """
    _check_same("half_squared_error", "p", p, y)
    e = p - y
    return _average(0.5 * (e * e))


def binary_cross_entropy(p: Any, y: Any) -> Any:
    """−(1/m) Σ (y log p + (1 − y) log(1 − p)); after a sigmoid its gradient by z is (p − y)/m.

    Args:
        p: probabilities strictly between 0 and 1, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.

    Returns:
        One number.

    Raises:
        ShapeError: ``binary_cross_entropy: p is (3, 1), y is (3,): …``
        DataError: ``binary_cross_entropy: y holds 2, but …``

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.2.

    Example:
        >>> round(float(binary_cross_entropy(np.array([0.5, 0.5]), np.array([0.0, 1.0]))), 4)
        0.6931
    """
    _check_same("binary_cross_entropy", "p", p, y)
    _check_unit("binary_cross_entropy", y)
    e = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return _average(e)


def binary_cross_entropy_with_logits(z: Any, y: Any) -> Any:
    """(1/m) Σ (log(1 + e^z) − y z), without overflow; its gradient by z is (p − y)/m with p = sigmoid(z).

    Args:
        z: logits, (m,) or (m, K), floating.
        y: 0, 1 or a probability, of the same shape.

    Returns:
        One number.

    Raises:
        ShapeError: ``binary_cross_entropy_with_logits: z is (3, 1), y is (3,): …``
        DataError: ``binary_cross_entropy_with_logits: y holds 2, but …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 6.26 (softplus).

    Example:
        >>> round(float(binary_cross_entropy_with_logits(np.array([0.0, 0.0]), np.array([0.0, 1.0]))), 4)
        0.6931
    """
    _check_same("binary_cross_entropy_with_logits", "z", z, y)
    _check_unit("binary_cross_entropy_with_logits", y)
    e = P.softplus(z) - y * z
    return _average(e)


def categorical_cross_entropy(p: Any, y: Any) -> Any:
    """−(1/m) Σ_i Σ_k y_ik log p_ik; after a softmax its gradient by z is (p − y)/m.

    Args:
        p: probabilities, (m, K), floating; each row sums to 1.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).

    Returns:
        One number.

    Raises:
        ShapeError: ``categorical_cross_entropy: p is (3, 4), y is (3, 5): …``
        DataError: ``categorical_cross_entropy: y holds the label 4, but p has 4 classes, 0 to 3.``

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.3.

    Example:
        >>> round(float(categorical_cross_entropy(np.array([[0.5, 0.5]]), np.array([1]))), 4)
        0.6931
    """
    y = _read_classes("categorical_cross_entropy", "p", p, y)
    e = -np.sum(y * np.log(p), axis=1)
    return np.mean(e)


def categorical_cross_entropy_with_logits(z: Any, y: Any) -> Any:
    """−(1/m) Σ_i Σ_k y_ik log softmax(z_i)_k, without overflow; its gradient by z is (p − y)/m.

    Args:
        z: logits, (m, K), floating.
        y: one-hot rows or probabilities, (m, K), or integer labels 0 … K − 1, (m,).

    Returns:
        One number.

    Raises:
        ShapeError: ``categorical_cross_entropy_with_logits: z is (3, 4), y is (3, 5): …``
        DataError: ``categorical_cross_entropy_with_logits: y holds the label 4, but z has 4 classes, …``

    Source: Goodfellow et al., Deep Learning, 2016, eq. 6.30.

    Example:
        >>> round(float(categorical_cross_entropy_with_logits(np.array([[7.0, 7.0]]), np.array([1]))), 4)
        0.6931
    """
    y = _read_classes("categorical_cross_entropy_with_logits", "z", z, y)
    log_p = P.log_softmax(z, axis=1)
    e = -np.sum(y * log_p, axis=1)
    return np.mean(e)


def _average(e: Any) -> Any:
    """The mean over the batch of the sum over the columns."""
    axes = tuple(range(1, len(P.shape_of(e))))
    return np.mean(np.sum(e, axis=axes)) if axes else np.mean(e)


def _check_same(loss: str, name: str, p: Any, y: Any) -> None:
    """ShapeError unless both have the same shape, which is not 0-d."""
    a, b = P.shape_of(p), P.shape_of(y)
    if a == b and a:
        return
    if len(a) == 2 and a[1] == 1 and len(b) == 1:
        remedy = "Give y[:, None], or a model output with its last axis removed."
    elif len(b) == 2 and b[1] == 1 and len(a) == 1:
        remedy = "Give y[:, 0]."
    else:
        remedy = f"Give y the shape of {name}, with a batch axis first."
    raise ShapeError(
        f"{loss}: {name} is {show_shape(a)}, y is {show_shape(b)}: they would broadcast to something else. {remedy}"
    )


def _check_unit(loss: str, y: Any) -> None:
    """DataError unless targets lie in [0, 1]; a traced target is checked before tracing."""
    if isinstance(y, P.Traced):
        return
    outside = ~((np.asarray(y) >= 0) & (np.asarray(y) <= 1))
    if outside.any():
        value = np.asarray(y)[outside][0]
        raise DataError(f"{loss}: y holds {value}, but targets are 0, 1 or a probability. Give the classes as 0 and 1.")


def _read_classes(loss: str, name: str, p: Any, y: Any) -> Any:
    """The target as rows of probabilities, after checking it."""
    a, b = P.shape_of(p), P.shape_of(y)
    if len(a) != 2:
        raise ShapeError(f"{loss}: {name} is {show_shape(a)}. Give it a row an example and a column a class.")
    if len(b) == 1 and P.dtype_of(y).kind in "iub":
        if a[0] != b[0]:
            raise ShapeError(f"{loss}: {name} is {show_shape(a)}, y is {show_shape(b)}. Give one label for each row.")
        return _one_hot(loss, name, y, a[1], P.dtype_of(p))
    if a != b:
        raise ShapeError(
            f"{loss}: {name} is {show_shape(a)}, y is {show_shape(b)}. Give y one column for each of the "
            f"{a[1]} "
            "classes (one-hot), or integer labels of one axis."
        )
    return y


def _one_hot(loss: str, name: str, y: Any, n_classes: Any, dtype: np.dtype[Any]) -> Any:
    """Labels (m,) as one-hot rows (m, n_classes)."""
    if not isinstance(y, P.Traced):
        y = np.asarray(y)
        outside = (y < 0) | (y >= n_classes)
        if outside.any():
            raise DataError(
                f"{loss}: y holds the label {y[outside][0]}, but {name} has {n_classes} classes, 0 to {n_classes - 1}."
            )
        y = y.astype(np.int64)
    return P.one_hot(y, n_classes, dtype)


@dataclass(frozen=True)
class Loss:
    """A loss and what it asks of the data.

    Attributes:
        name: its name, or that of the user's function.
        function: ``function(output, y)`` → one number.
        task: ``"regression"``, ``"binary"``, ``"categorical"``, or ``"own"`` for a user's function.
        logits: the model's output is z, not p.
    """

    name: str
    function: Callable[[Any, Any], Any]
    task: str
    logits: bool = False


LOSSES: Final[dict[str, Loss]] = {
    loss.name: loss
    for loss in (
        Loss("mean_squared_error", mean_squared_error, "regression"),
        Loss("half_squared_error", half_squared_error, "regression"),
        Loss("binary_cross_entropy", binary_cross_entropy, "binary"),
        Loss("binary_cross_entropy_with_logits", binary_cross_entropy_with_logits, "binary", logits=True),
        Loss("categorical_cross_entropy", categorical_cross_entropy, "categorical"),
        Loss(
            "categorical_cross_entropy_with_logits",
            categorical_cross_entropy_with_logits,
            "categorical",
            logits=True,
        ),
    )
}


def find_loss(loss: str | Callable[[Any, Any], Any], model: Any) -> Loss:
    """Pair a loss with a model: a cross-entropy takes p if the model ends in softmax or sigmoid, else z.

    Args:
        loss: a name of ``LOSSES``, one of its functions, or a function (output, y) → one number.
        model: the model.

    Returns:
        The loss, with or without logits as the model's end asks for.

    Raises:
        ArgumentError: ``there is no loss 'mse'. …``; or a last activation that does not go with the loss.

    Source: Goodfellow et al., Deep Learning, 2016, section 6.2.2.

    Example:
        >>> from undertow.nn.layers import Dense, Sequential
        >>> find_loss("categorical_cross_entropy", Sequential(Dense(4, 3))).name
        'categorical_cross_entropy_with_logits'
    """
    if callable(loss):
        known = next((record for record in LOSSES.values() if record.function is loss), None)
        if known is None:
            return Loss(getattr(loss, "__name__", type(loss).__name__), loss, "own")
        found = known
    elif isinstance(loss, str) and loss in LOSSES:
        found = LOSSES[loss]
    else:
        raise ArgumentError(f"there is no loss {loss!r}. Use one of {', '.join(LOSSES)}, or a function of (output, y).")
    if found.task == "regression":
        return found
    end, wanted = final_activation(model), "softmax" if found.task == "categorical" else "sigmoid"
    if end not in (wanted, None, "identity"):
        raise ArgumentError(
            f"{found.name} needs a model that ends in {wanted} or in no activation, but it ends in {end}. "
            f"Remove the last {end}."
        )
    if found.logits and end == wanted:
        raise ArgumentError(
            f"{found.name} takes logits, but the model ends in {end}. Remove the {end}, or use "
            f"{found.name.removesuffix('_with_logits')!r}."
        )
    return found if end == wanted or found.logits else LOSSES[f"{found.name}_with_logits"]
