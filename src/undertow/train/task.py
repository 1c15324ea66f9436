"""What a loss makes of the data: targets checked and brought to the output's shape, labels, accuracy."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.wording import count
from undertow.differentiate import grad
from undertow.errors import ArgumentError, DataError, ShapeError, UndertowError
from undertow.nn import Loss, drop_final_activation
from undertow.nn.layer import LayerShapeError
from undertow.nn.parameters import check_fields
from undertow.trace import is_library, trace_function
from undertow.train.crossing import refuse_crossing
from undertow.train.forward import CHUNK
from undertow.train.metric import Metric, Predictions, find_task, make_predictions

Array = NDArray[Any]
Examples = tuple[Array, Array, Array | None]


@dataclass(frozen=True)
class Task:
    """A loss and the shape of the model's output, from which everything about targets follows.

    Attributes:
        loss: the loss, paired with the model.
        output_shape: the shape of the model's output without its batch axis.
        dtype: the dtype of the parameters.
        decode: brings predictions and targets into the unit in which metrics measure them; None where they are in it.
    """

    loss: Loss
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    decode: Callable[[Array], Array] | None = None

    @property
    def classifies(self) -> bool:
        """Whether accuracy means something."""
        return self.loss.task in ("binary", "categorical")

    @property
    def n_classes(self) -> int | None:
        """How many classes metrics know, one that is or is not there counted as two; None where there are none."""
        if not self.classifies:
            return None
        return 2 if self.output_shape in ((), (1,)) else self.output_shape[-1]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of a target of numbers without its batch axis: that of the output, for most losses."""
        *others, last = self.output_shape or (1,)
        return (*others, last // self.loss.columns) if self.output_shape else ()

    def read_target(self, y: Array, what: str = "y") -> Array:
        """Check a whole target before training and bring it to the shape that the loss wants."""
        if self.loss.task == "own":
            refuse_crossing(self.loss.function, self.output_shape, y)
            return y
        if self.loss.task == "categorical":
            return _read_classes(y, self.output_shape, what)
        if self.target_shape == (1,) and y.ndim == 1:
            y = y[:, None]
        elif self.target_shape == () and y.shape[1:] == (1,):
            y = y[:, 0]
        if y.shape[1:] != self.target_shape:
            several = y.ndim == 1 and len(self.output_shape) == 1
            classes = "; labels of classes take loss='categorical_cross_entropy'" if several else ""
            wide = f", for a target of {_show(self.target_shape)}" if self.loss.columns > 1 else ""
            n = self.loss.columns * (y.shape[1] if y.ndim > 1 else 1)
            raise ShapeError(
                f"{what} is {_show(y.shape[1:])}, the model's output is {_show(self.output_shape)}{wide}: they differ. "
                f"Let the last layer give {count(n, 'column')}, or change {what}{classes}."
            )
        if self.loss.task == "binary":
            bad = ~((y >= 0) & (y <= 1)) & ~((y == -1) & (self.loss.end is None))  # a hinge loss takes −1 for 0
            if bad.any():
                index = tuple(int(i) for i in np.argwhere(bad)[0])
                raise DataError(
                    f"{what}[{', '.join(map(str, index))}] is {y[index]}, but {self.loss.name} takes 0, 1 or "
                    "a "
                    "probability. Give the two classes as 0 and 1, or use categorical_cross_entropy."
                )
        return y

    def encode(self, y: Array) -> Array:
        """Make of a batch of targets what the loss function takes; labels stay, the loss makes rows of them."""
        if self.loss.task == "categorical" and y.ndim == 1:
            return y
        return y if self.loss.task == "own" and y.dtype.kind != "f" else y.astype(self.dtype, copy=False)

    def decide(self, outputs: Array) -> Array:
        """Make of outputs what people ask for: labels for classes, else values in the units of the target."""
        return np.asarray(self.loss.decide(outputs))

    def evaluate(
        self,
        model: Any,
        data: Iterable[Examples],
        metrics: Sequence[Metric] = (),
        forward: Callable[[Any, Array], Array] | None = None,
        by_class: Array | None = None,
    ) -> dict[str, float]:
        """Compute the mean loss and the metrics of a model on data.

        A loss of p is computed of z, as the simplified training step does: 0 · log 0 cannot come up.

        Args:
            model: the model.
            data: examples, portion by portion: X (m, …), y as `read_target` returns it, weights (m,) or None.
            metrics: what else to measure.
            forward: computes (model, X) → outputs; the model itself unless told.
            by_class: what an example of each class counts in the loss, (classes,), as in training; the metrics, which
                are shares of examples, count them alike.

        Returns:
            ``loss`` and each metric by its name.
        """
        if self.loss.end is not None and not self.loss.logits:
            on_logits = replace(self, loss=self.loss.on_logits())
            return on_logits.evaluate(drop_final_activation(model), data, metrics, forward, by_class)
        losses: list[float] = []
        total = 0.0
        states = [metric.init() for metric in metrics]
        with np.errstate(all="ignore"):
            for X, y, w in cut(data):
                outputs = model(X) if forward is None else forward(model, X)
                v = w if by_class is None else self.weigh_classes(y, by_class, w)
                losses.append(self.sum_losses(outputs, self.encode(y), v))
                total += float(len(X)) if v is None else float(np.sum(v, dtype=np.float64))
                if metrics:
                    found = self.pair(outputs, y, w)
                    states = [metric.add(state, found) for metric, state in zip(metrics, states, strict=True)]
        results = {metric.name: float(metric.result(x)) for metric, x in zip(metrics, states, strict=True)}
        return {"loss": math.fsum(losses) / total if total else math.nan, **results}

    def pair(self, outputs: Array, y: Array, weights: Array | None = None) -> Predictions:
        """Make of outputs and their targets what metrics take: values are those that are predicted."""
        if self.loss.decision is not None or self.decode is not None:
            outputs = self.decide(outputs)
        if self.decode is not None:
            outputs, y = (np.reshape(self.decode(x), (len(x), -1)) for x in (outputs, y))
        at_zero = self.loss.logits or self.loss.end is None  # where the decision between two classes changes
        return make_predictions(find_task(self.loss.task, self.output_shape), outputs, y, weights, logits=at_zero)

    def find_classes(self, y: Array) -> Array:
        """The class of each example, int64, of a target that is read: labels, one-hot rows, or 0 and 1."""
        rows = self.loss.task == "categorical" and y.ndim == 2
        return np.argmax(y, axis=1) if rows else np.ravel(y).astype(np.int64)

    def weigh_classes(self, y: Array, by_class: Array, weights: Array | None) -> Array:
        """The weights of examples, (m,), times those of their classes."""
        found = np.asarray(by_class)[self.find_classes(y)]
        return found if weights is None else found * weights

    def sum_losses(self, outputs: Array, y: Array, weights: Array | None) -> float:
        """Sum the losses of a chunk of examples."""
        if weights is None:
            return float(self.loss(outputs, y)) * len(outputs)
        per_example: Any = self.loss.per_example
        return float(np.sum(weights * per_example(outputs, y), dtype=np.float64))


def cut(data: Iterable[Examples]) -> Iterator[Examples]:
    """Cut portions of examples into smaller ones, of at most `CHUNK` rows.

    Args:
        data: X, y and weights (or None), portion by portion.

    Source: derived here.

    Example:
        >>> [len(X) for X, y, w in cut([(np.zeros(9000), np.zeros(9000), None)])]
        [4096, 4096, 808]
    """
    for X, y, weights in data:
        for first in range(0, len(X), CHUNK):
            rows = slice(first, first + CHUNK)
            yield X[rows], y[rows], None if weights is None else weights[rows]


def make_task(loss: Loss, model: Any, X: Array) -> Task:
    """Try the model on two rows: wrong sizes are found before training.

    Args:
        loss: the loss, paired with the model.
        model: the initialised model.
        X: inputs, (m, …).

    Returns:
        The task.

    Raises:
        ShapeError: a layer does not fit X, or the output has no batch axis.
        ArgumentError: a categorical loss with a single output.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, find_loss, initialize
        >>> model = initialize(Dense(3, 2))
        >>> make_task(find_loss("mean_squared_error", model), model, np.zeros((5, 3))).output_shape
        (2,)
    """
    rows = X[:2]
    outputs = _try_model(model, rows)
    if not isinstance(outputs, np.ndarray) or outputs.ndim == 0 or len(outputs) != len(rows):
        found = f"{outputs.shape}" if isinstance(outputs, np.ndarray) else type(outputs).__name__
        raise ShapeError(f"the model made {found} of {len(rows)} rows. Let it return an array with one row an example.")
    task = Task(loss, outputs.shape[1:], outputs.dtype)
    if loss.columns > 1 and (outputs.ndim != 2 or outputs.shape[1] % loss.columns):
        raise ShapeError(
            f"{loss.name} takes {loss.columns} columns of the output for each of the target, but the output is "
            f"{_show(outputs.shape[1:])}. Give the last layer {loss.columns} times the columns of the target."
        )
    if loss.task == "categorical":
        if outputs.ndim != 2:
            raise ShapeError(
                f"{loss.name} needs one column a class, but the output is {_show(outputs.shape[1:])}. "
                f"{_tell_flatten(outputs.shape)}"
            )
        if outputs.shape[1] == 1:
            raise ArgumentError(
                f"{loss.name} needs one output a class, but the model has a single one. "
                "Give the last layer one column a class, or use binary_cross_entropy."
            )
    return task


PER_PLACE: Final = "lambda z, y: -np.mean(np.take_along_axis(ut.log_softmax(z, axis=-1), y[..., None], axis=-1))"


def _tell_flatten(shape: tuple[int, ...]) -> str:
    """What to do with an output that is no row an example."""
    if len(shape) == 1:
        return "Give the last layer one column a class."
    rows = int(np.prod(shape[1:-1]))
    return (
        f"Put Flatten() in front of the last Dense layer, which then takes {rows} times as many columns, so that "
        "each example has one row. Where each of the places has a class of its own, y (m, …), give a loss of your own: "
        f"{PER_PLACE}"
    )


def _try_model(model: Any, rows: Array) -> Any:
    """Apply a model; an error of NumPy's or Python's own becomes one that says where, and of which X."""
    try:
        with np.errstate(all="ignore"):
            return model(rows)
    except LayerShapeError as error:  # a few rows stand for all of them
        error.args = (str(error).replace(f"is ({len(rows)}, ", "is (m, "),)
        raise
    except UndertowError:
        raise
    except Exception as error:
        frames = [x for x in traceback.extract_tb(error.__traceback__) if not is_library(x.filename)]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
        kind = ShapeError if isinstance(error, ValueError) else ArgumentError
        if "NoneType" in str(error):
            check_fields(model)
        better = _traced_failure(model, rows)
        if better is not None:
            told = re.sub(rf"(is|array) \({len(rows)}, ", r"\1 (m, ", str(better))
            raise type(better)(f"the model cannot be applied to X of shape {_show(rows.shape[1:])}: {told}") from None
        fits = isinstance(error, ValueError | IndexError)
        way = "Check its parameters and the columns of X." if fits else "It must do with NumPy and the fields it has."
        raise kind(
            f"{place}the model cannot be applied to X of shape {_show(rows.shape[1:])}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}. {way}"
        ) from error


def _traced_failure(model: Any, rows: Array) -> UndertowError | None:
    """The error of a model that does not fit X or NumPy, with the expression and its shapes; None where it has none."""
    try:
        trace_function(lambda model, X: model(X), (model, rows), batch=[1])
    except ShapeError as error:
        return error
    except Exception:  # one that asks for values, which are there when it is differentiated, or is not traced at all
        pass
    try:
        grad(lambda given: np.sum(given[0](given[1])))((model, rows))
    except UndertowError as error:
        return error
    except Exception:  # NumPy's own words are what there is
        return None
    return None


def _read_classes(y: Array, output_shape: tuple[int, ...], what: str) -> Array:
    """Labels (m,) as int64, or rows of probabilities (m, K)."""
    n_classes = output_shape[0]
    if y.ndim == 2 and y.shape[1] == n_classes and n_classes > 1:
        bad = (y < 0).any(axis=1) | (np.abs(y.sum(axis=1, dtype=np.float64) - 1) > 1e-3)
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"{what}[{row}] is {y[row].tolist()[:8]}: no one-hot row. Give rows that are 0 or more and sum to 1."
            )
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ShapeError(
            f"{what} is {_show(y.shape[1:])}, but the model has {n_classes} outputs. Give labels 0 to "
            f"{n_classes - 1} "
            f"of shape (m,), or one-hot rows of shape (m, {n_classes})."
        )
    labels = y.astype(np.int64)
    bad = (labels != y) | (labels < 0) | (labels >= n_classes)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{what}[{row}] is {y[row]}, but the model has {n_classes} outputs, for the labels 0 to "
            f"{n_classes - 1}. "
            "Number the classes from 0, or give the last layer more columns."
        )
    return labels


def _show(shape: tuple[int, ...]) -> str:
    """A shape with its batch axis: (m, 3)."""
    return f"({', '.join(['m', *map(str, shape)])}{',' if not shape else ''})"
