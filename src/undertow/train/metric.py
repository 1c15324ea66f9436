"""What a metric is: sums that take in a chunk at a time, and the predictions that they are taken of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError, DataError, ShapeError

Array = NDArray[Any]
TASKS: Final = ("binary", "categorical", "multilabel", "regression", "own")
CLASSES: Final = ("binary", "categorical", "multilabel")


@dataclass(frozen=True)
class Predictions:
    """Targets and what a model makes of the same m examples: all of the data, or a chunk of it.

    Attributes:
        task: ``"binary"``, ``"categorical"``, ``"multilabel"``, ``"regression"`` or ``"own"``.
        targets: binary: (m,), 0, 1 or a probability. categorical: labels (m,) or rows (m, K).
            multilabel: (m, K). regression: (m, K). own: as given.
        labels: the classes decided on, int64: (m,), or (m, K) in a multilabel task; None without classes.
        probabilities: float64: of class 1 (m,), or of each class (m, K); None without classes.
        values: what ranks examples and what a regression predicts: the model's own output, (m,) or (m, K).
        weights: float64 (m,), 0 or more, or None for equal weights.

    Source: derived here.

    Example:
        >>> Predictions("binary", np.array([0, 1]), labels=np.array([1, 1])).n_examples
        2
    """

    task: str
    targets: Array
    labels: Array | None = None
    probabilities: Array | None = None
    values: Array | None = None
    weights: Array | None = None

    @property
    def n_examples(self) -> int:
        """The number of examples, m."""
        return len(self.targets)

    @property
    def target_labels(self) -> Array:
        """The classes that the targets name, int64, of the shape of ``labels``: the likeliest of a row."""
        if self.task == "categorical":
            y = np.argmax(self.targets, axis=1) if self.targets.ndim == 2 else self.targets
            return y.astype(np.int64, copy=False)
        return (self.targets > 0.5).astype(np.int64)

    def target_rows(self, n_classes: int) -> Array:
        """The targets as rows of probabilities, float64 (m, K)."""
        if self.targets.ndim == 2:
            return self.targets.astype(np.float64, copy=False)
        rows = np.zeros((self.n_examples, n_classes))
        rows[np.arange(self.n_examples), self.target_labels] = 1
        return rows

    @property
    def weight(self) -> Array:
        """The weights, float64 (m,); ones where none were given."""
        return np.ones(self.n_examples) if self.weights is None else self.weights

    def chunks(self, size: int) -> Iterator[Predictions]:
        """Cut into pieces of ``size`` examples or fewer."""
        for first in range(0, self.n_examples, size):
            rows = slice(first, first + size)
            p, values, w = (
                None if part is None else part[rows] for part in (self.probabilities, self.values, self.weights)
            )
            labels = None if self.labels is None else self.labels[rows]
            yield Predictions(self.task, self.targets[rows], labels, p, values, w)


@dataclass(frozen=True)
class Metric:
    """A number (or a table) that says how good predictions are; called with `Predictions` it gives it.

    Attributes:
        name: the column of the history that it fills.
        tasks: the tasks that it goes with.
        better: ``"high"`` or ``"low"``; None where neither is better or it is not known.
        init: () → the state before any data.
        add: (state, Predictions) → the state with a chunk taken in; it may write to the state given.
        result: state → a float, or an array of numbers; NaN where the data do not determine it.
        share: whether it lies between 0 and 1 and is read as a percentage.

    Source: derived here.

    Example:
        >>> from undertow.train.metrics import METRICS
        >>> METRICS["accuracy"](make_predictions("binary", [2.0, -1.0], [1, 1]))
        0.5
    """

    name: str
    tasks: tuple[str, ...]
    better: str | None
    init: Callable[[], Any]
    add: Callable[[Any, Predictions], Any]
    result: Callable[[Any], Any]
    share: bool = False

    def __call__(self, predictions: Predictions) -> Any:
        """Compute the metric of data that are all there."""
        check_task(self, predictions.task)
        return self.result(self.add(self.init(), predictions))


def check_task(metric: Metric, task: str) -> None:
    """Check that a metric goes with a task.

    Args:
        metric: the metric.
        task: ``"binary"``, …

    Raises:
        ArgumentError: ``accuracy goes with binary, categorical and multilabel tasks, but this one is regression. …``

    Source: derived here.

    Example:
        >>> from undertow.train.metrics import METRICS
        >>> check_task(METRICS["r2"], "binary")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: r2 goes with regression and own tasks, but this one is binary. Leave it out.
    """
    if task not in metric.tasks:
        *most, last = metric.tasks
        names = f"{', '.join(most)} and {last}" if most else last
        raise ArgumentError(f"{metric.name} goes with {names} tasks, but this one is {task}. Leave it out.")


def find_task(loss_task: str, output_shape: tuple[int, ...]) -> str:
    """Name the task of a loss for metrics: a binary loss of several columns is a multilabel one.

    Args:
        loss_task: the ``task`` of a `undertow.nn.Loss`.
        output_shape: the shape of the model's output without its batch axis.

    Returns:
        One of ``TASKS``.

    Source: derived here.

    Example:
        >>> find_task("binary", (1,)), find_task("binary", (3,))
        ('binary', 'multilabel')
    """
    return "multilabel" if loss_task == "binary" and output_shape not in ((), (1,)) else loss_task


def make_predictions(
    task: str, outputs: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, *, logits: bool = True
) -> Predictions:
    """Make of a model's outputs what metrics take.

    Args:
        task: ``"binary"``, ``"categorical"``, ``"multilabel"``, ``"regression"``, or ``"own"``, see `find_task`.
        outputs: logits, probabilities or values: (m,) or (m, K).
        y: targets: (m,), (m, 1) or (m, K), see `Predictions`; −1, as margin losses have it, is the class 0.
        weights: (m,), 0 or more, finite; None for equal weights.
        logits: whether outputs of classes are logits, not probabilities.

    Returns:
        The predictions. A probability of exactly 0.5 decides for class 0, and of equal classes the first one is
        decided for.

    Raises:
        ShapeError: ``the outputs are (4, 3), y is (5,): they are of 4 and of 5 examples. …``
        DataError: ``weights[2] is -1.0. Give weights that are finite and 0 or more.``; targets that are no classes,
            probabilities that are none.
        ArgumentError: an unknown task.

    Source: derived here.

    Example:
        >>> found = make_predictions("categorical", [[0.0, 2.0], [1.0, 0.0]], [1, 1])
        >>> found.labels, found.probabilities.round(2).tolist()
        (array([1, 0]), [[0.12, 0.88], [0.73, 0.27]])
    """
    if task not in TASKS:
        raise ArgumentError(f"there is no task {task!r}. Use one of {', '.join(TASKS)}.")
    values, targets = np.asarray(outputs), np.asarray(y)
    if values.ndim == 0 or targets.ndim == 0 or len(values) != len(targets):
        raise ShapeError(
            f"the outputs are {values.shape}, y is {targets.shape}: they are not of the same examples. "
            "Give both one row an example."
        )
    w = _read_weights(weights, len(targets))
    if task == "own":
        return Predictions(task, targets, values=values, weights=w)
    if targets.dtype.kind in "USO":
        remedy = "y.astype(float)" if task == "regression" else "np.unique(y, return_inverse=True)[1]"
        raise DataError(f"y is of {targets.dtype}, but a {task} task wants numbers. Give {remedy}.")
    if not logits and task != "regression":
        _check_probabilities(values)
    if task == "categorical":
        return _categorical(values, targets, w, logits)
    shape = (len(values),) if task == "binary" else (len(values), math.prod(values.shape[1:]))
    if values.size != np.prod(shape) or targets.size != values.size:
        raise ShapeError(
            f"the outputs are {values.shape}, y is {targets.shape}: a {task} task wants {shape} of both. "
            "Reshape them, or choose the task that they are of."
        )
    values, targets = values.reshape(shape), targets.reshape(shape)
    if task == "regression":
        return Predictions(task, targets, values=values, weights=w)
    targets = _read_shares(targets)
    p = _sigmoid(values) if logits else values.astype(np.float64, copy=False)
    labels = (values > (0 if logits else 0.5)).astype(np.int64)
    return Predictions(task, targets, labels, p, values, w)


def _read_shares(y: Array) -> Array:
    """Targets of two classes, 0, 1 or between; −1 is 0."""
    bad = ~((y >= 0) & (y <= 1) | (y == -1))
    if bad.any():
        at = ", ".join(map(str, np.argwhere(bad)[0]))
        raise DataError(f"y[{at}] is {y[bad][0]}, but targets are 0, 1 or a probability. Give the classes as 0 and 1.")
    return np.where(y == -1, 0, y) if (y == -1).any() else y


def _check_probabilities(p: Array) -> None:
    """Refuse outputs that are no probabilities, by more than rounding; what is not finite has diverged."""
    bad = np.isfinite(p) & ((p < -1e-5) | (p > 1 + 1e-5))
    if bad.any():
        raise DataError(
            f"the outputs hold {p[bad][0]:g}, but probabilities are 0 to 1. If these are logits: logits=True."
        )


def _categorical(values: Array, targets: Array, weights: Array | None, logits: bool) -> Predictions:
    """Predictions of one class out of several."""
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if values.ndim != 2 or targets.shape not in (values.shape, values.shape[:1]):
        raise ShapeError(
            f"the outputs are {values.shape}, y is {targets.shape}: a categorical task wants outputs (m, K) "
            "and labels (m,) or rows (m, K). Reshape them."
        )
    if targets.ndim == 1:
        bad = (targets < 0) | (targets >= values.shape[1]) | (targets != np.floor(targets))
        if bad.any():
            i = int(np.argmax(bad))
            raise DataError(f"y[{i}] is {targets[i]}, but the outputs are of the classes 0 to {values.shape[1] - 1}.")
        targets = targets.astype(np.int64, copy=False)
    return Predictions(
        "categorical",
        targets,
        np.argmax(values, axis=1),
        _softmax(values) if logits else values.astype(np.float64, copy=False),
        values,
        weights,
    )


def _read_weights(weights: ArrayLike | None, n_examples: int) -> Array | None:
    """Weights as float64 (m,)."""
    if weights is None:
        return None
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (n_examples,):
        raise ShapeError(f"weights are {w.shape}, y has {n_examples} examples. Give one weight an example.")
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(f"weights[{i}] is {w[i]}. Give weights that are finite and 0 or more.")
    return w


def _sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z) in float64, without overflow."""
    z = z.astype(np.float64, copy=False)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1 + e)


def _softmax(z: Array) -> Array:
    """Softmax over the columns in float64."""
    z = z.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):  # rows of infinities become NaN, as they should
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))


def divide(a: Any, b: Any) -> Any:
    """a / b in float64, with 0 wherever b is 0: what scikit-learn calls ``zero_division=0``.

    Args:
        a: the numerator, a number or an array.
        b: the denominator, of the same shape.

    Returns:
        The quotient.

    Source: derived here.

    Example:
        >>> divide(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
        array([0. , 0.5])
    """
    b = np.asarray(b, dtype=np.float64)
    return np.where(b == 0, 0.0, np.asarray(a, dtype=np.float64) / np.where(b == 0, 1.0, b))
