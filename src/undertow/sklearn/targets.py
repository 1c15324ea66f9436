"""What a loss makes of targets: classes as numbers, and outputs as classes again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.metrics import r2_score

from undertow.errors import ArgumentError, DataError
from undertow.nn import LOSSES, Loss, find_loss, sigmoid, softmax
from undertow.nn.loss_record import find_record

Array = NDArray[Any]
OURS: Final = {"squared_error": "half_squared_error"}  # a name of scikit-learn's → a name of LOSSES
SQUARES: Final = ("half_squared_error", "mean_squared_error")
_INVERSES: Final = {"poisson": "exp", "mean_squared_logarithmic_error": "expm1"}  # of losses that take logarithms
ENDS: Final = {"binary": "logistic", "categorical": "softmax"}


@dataclass(frozen=True)
class Target:
    """How targets go with a loss.

    Attributes:
        loss: the loss, of logits where it is one of classes.
        kind: ``"binary"``, ``"multiclass"``, ``"multilabel"`` or ``"regression"``.
        n_outputs: of the network.
        offset: is added to a mean loss to make it scikit-learn's; what training leaves out, as it does not change it.
    """

    loss: Loss
    kind: str
    n_outputs: int
    offset: float = 0.0

    @property
    def out_activation(self) -> str:
        """scikit-learn's name of what makes predictions of outputs."""
        if self.loss.name in _INVERSES and self.loss.settings.get("log_input", True):
            return _INVERSES[self.loss.name]
        return ENDS.get(self.loss.task, "identity") if self.loss.end else "identity"

    def encode(self, y: Array, dtype: Any) -> Array:
        """Bring codes of classes (m,), rows of 0 and 1 (m, k), or values to what the loss takes."""
        if self.kind == "multiclass" or self.loss.task == "categorical":
            return y if self.loss.task != "own" else np.eye(self.n_outputs, dtype=dtype)[y]
        y = y.astype(dtype, copy=False)
        return y[:, None] if y.ndim == 1 else y

    def decide(self, outputs: Array) -> Array:
        """Codes of classes (m,), rows of 0 and 1 (m, k), or values (m,) or (m, k)."""
        if self.kind == "multiclass" or self.loss.task == "categorical":
            return np.asarray(np.argmax(outputs, axis=1))
        if self.kind == "regression":
            values = np.asarray(self.loss.decide(outputs))
            return values[:, 0] if values.shape[1:] == (1,) else values
        decided = (outputs > 0).astype(np.int64)
        return decided[:, 0] if self.kind == "binary" else decided

    def probabilities(self, outputs: Array) -> Array:
        """Of each class, (m, K)."""
        if self.kind == "multiclass" or self.loss.task == "categorical":
            return np.asarray(softmax(outputs))
        p = np.asarray(sigmoid(outputs))
        return p if self.kind == "multilabel" else np.concatenate([1 - p, p], axis=1)

    def score(self, y: Array, outputs: Array, weights: Array | None) -> float:
        """The accuracy, or R²; NaN of outputs that are not finite."""
        if not np.isfinite(outputs).all():
            return float("nan")
        decided = self.decide(outputs)
        if self.kind == "regression":
            return float(r2_score(y, decided, sample_weight=weights))
        hits = decided == y
        return float(np.average(hits.all(axis=1) if hits.ndim > 1 else hits, weights=weights))


def refuse_texts(name: str, y: Any) -> None:
    """ArgumentError where a regression is given texts that are no numbers, as labels of classes are.

    Source: derived here.

    Example:
        >>> refuse_texts("MLPRegressor", ["red", "blue"])
        Traceback (most recent call last):
        undertow.errors.ArgumentError: MLPRegressor: y holds 'red', but a regression needs numbers. Use MLPClassifier.
    """
    texts = np.ravel(np.asarray(y)) if isinstance(y, list | tuple) or hasattr(y, "__array__") else np.empty(0)
    if not texts.size or not isinstance(texts[0], str):
        return
    try:
        texts.astype(np.float64)
    except (TypeError, ValueError):
        text = str(texts[0])
        raise ArgumentError(f"{name}: y holds {text!r}, but a regression needs numbers. Use MLPClassifier.") from None


def constant_loss(target: Target, y: Array) -> float | None:
    """Compute the loss of a network whose output is the same for all examples and knows the mean, or no class.

    Args:
        target: of the fit.
        y: the targets as they are trained on, (m, …).

    Returns:
        The loss; None of one whose outputs have another meaning, and of targets that are all the same.

    Source: derived here.

    Example:
        >>> round(constant_loss(target_of_classes("log_loss", "multiclass", 4), np.arange(4)), 3)
        1.386
    """
    if target.loss.task in ENDS:
        found = float(np.log(max(target.n_outputs, 2))) * (target.n_outputs if target.kind == "multilabel" else 1)
        return found if "cross_entropy" in target.loss.name else None
    if target.loss.name not in SQUARES:
        return None
    y = y.astype(np.float64).reshape(len(y), -1)
    found = float(target.loss(np.broadcast_to(y.mean(axis=0), y.shape), y))
    return found if found > 0 else None


def balanced_weights(y: Array, weights: Array | None) -> Array:
    """Make weights of examples by which every class that occurs has the same sum.

    Args:
        y: labels, (m,) or (m, K); the weights of several columns are multiplied.
        weights: what the examples count besides, (m,), or None for 1 each. A weight of 2 counts as a row that is there
            twice.

    Returns:
        (m,): Σ weights / (classes · Σ weights of the class).

    Source: scikit-learn's compute_class_weight.

    Example:
        >>> balanced_weights(np.array([0, 0, 1]), None), balanced_weights(np.array([0, 1]), np.array([2.0, 1.0]))
        (array([0.75, 0.75, 1.5 ]), array([0.75, 1.5 ]))
    """
    w = np.ones(len(y)) if weights is None else weights.astype(np.float64)
    result = np.ones(len(y))
    for column in y.reshape(len(y), -1).T:
        classes = np.unique(column, return_inverse=True)[1]
        sums = np.bincount(classes, w)
        result *= (w.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1)))[classes]
    return result


def target_of_classes(loss: Any, kind: str, n_classes: int) -> Target:
    """Pair a loss with classes.

    Args:
        loss: ``"log_loss"``, a loss of `undertow.nn`, its name, or a function (output, y) → one number.
        kind: see `Target`.
        n_classes: how many classes or labels there are.

    Returns:
        The target.

    Raises:
        ArgumentError: ``huber is no loss of classes. …``

    Source: derived here.

    Example:
        >>> target_of_classes("log_loss", "binary", 2).loss
        binary_cross_entropy_with_logits()
    """
    columns = 1 if kind == "binary" else n_classes
    if loss == "log_loss" if isinstance(loss, str) else False:
        name = "categorical_cross_entropy" if kind == "multiclass" else "binary_cross_entropy"
        return Target(LOSSES[f"{name}_with_logits"], kind, columns)
    found = _find(loss)
    if found.task == "own":
        return Target(found, kind, columns)
    if found.task not in ENDS:
        raise ArgumentError(f"{found.name} is no loss of classes. Use log_loss, or a loss of classes of undertow.nn.")
    if found.task == "binary" and kind == "multiclass":
        raise ArgumentError(f"{found.name} knows two classes, y has {n_classes}. Use log_loss or a categorical loss.")
    if found.task == "categorical" and kind == "multilabel":
        raise ArgumentError(f"{found.name} knows one class an example, y has several labels. Use log_loss.")
    return Target(found.on_logits(), kind, n_classes if found.task == "categorical" else columns)


def target_of_values(loss: Any, y: Array) -> Target:
    """Pair a loss with values.

    Args:
        loss: ``"squared_error"``, ``"poisson"``, a loss of `undertow.nn`, its name, or a function (output, y) → one
            number.
        y: values, (m,) or (m, k).

    Returns:
        The target.

    Raises:
        ArgumentError: ``hinge is a loss of classes. …``
        DataError: ``poisson: y holds -1.0, but …``

    Source: derived here.

    Example:
        >>> target_of_values("squared_error", np.zeros(3)).loss
        half_squared_error()
    """
    found, columns, offset = _find(loss), 1 if y.ndim == 1 else y.shape[1], 0.0
    if found.task not in ("regression", "own"):
        raise ArgumentError(f"{found.name} is a loss of classes. Use squared_error, or a loss of values.")
    if found.name in _INVERSES and (y < 0).any():
        what = "counts" if found.name == "poisson" else "targets"
        raise DataError(f"{found.name}: y holds {y.min()}, but {what} are 0 or more. Use squared_error.")
    if found.name == "poisson":
        offset = float(np.sum(xlogy(y, y) - y)) / len(y) if isinstance(loss, str) else 0.0
    return Target(found, "regression", columns * found.columns, offset)


def _find(loss: Any) -> Loss:
    found = find_record(OURS.get(loss, loss) if isinstance(loss, str) else loss)
    return find_loss(loss, None) if found is None else found


def knows_probabilities(loss: Any) -> bool:
    """Tell whether an estimator with this loss can have ``predict_proba``."""
    if isinstance(loss, str) and loss == "log_loss":
        return True
    found = _find(loss)
    return found.knows_probabilities
