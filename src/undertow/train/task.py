"""What a loss makes of the data: targets checked and brought to the output's shape, labels, accuracy."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ArgumentError, DataError, ShapeError, UndertowError
from undertow.nn import Loss, drop_final_activation
from undertow.trace import is_library

Array = NDArray[Any]
CHUNK = 4096


@dataclass(frozen=True)
class Task:
    """A loss and the shape of the model's output, from which everything about targets follows.

    Attributes:
        loss: the loss, paired with the model.
        output_shape: the shape of the model's output without its batch axis.
        dtype: the dtype of the parameters.
    """

    loss: Loss
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def classifies(self) -> bool:
        """Whether accuracy means something."""
        return self.loss.task in ("binary", "categorical")

    def read_target(self, y: Array, what: str = "y") -> Array:
        """Check a whole target before training and bring it to the shape that the loss wants."""
        if self.loss.task == "own":
            return y
        if self.loss.task == "categorical":
            return _read_classes(y, self.output_shape, what)
        if self.output_shape == (1,) and y.ndim == 1:
            y = y[:, None]
        elif self.output_shape == () and y.shape[1:] == (1,):
            y = y[:, 0]
        if y.shape[1:] != self.output_shape:
            raise ShapeError(
                f"{what} is {_show(y.shape[1:])}, the model's output is {_show(self.output_shape)}: they "
                "differ. "
                f"Let the last layer give {y.shape[1] if y.ndim > 1 else 1} columns, or change {what}."
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
        """Make of outputs what people ask for: labels for classes, else the outputs themselves."""
        return np.asarray(self.loss.decide(outputs))

    def count_right(self, outputs: Array, y: Array) -> float:
        """Count the examples classified right; several binary columns count by their share."""
        if self.loss.task == "categorical":
            return float(np.count_nonzero(self.decide(outputs) == (y if y.ndim == 1 else np.argmax(y, axis=1))))
        labels, wanted = self.decide(outputs), (y > 0.5).astype(np.int64)
        return float(np.mean(labels.reshape(wanted.shape) == wanted) * len(y))

    def evaluate(self, model: Any, X: Array, y: Array) -> tuple[float, float | None]:
        """Compute the mean loss and the accuracy (None without classes) of a model on data.

        A loss of p is computed of z, as the simplified training step does: 0 · log 0 cannot come up.
        """
        if self.classifies and not self.loss.logits:
            on_logits = replace(self, loss=self.loss.on_logits())
            return on_logits.evaluate(drop_final_activation(model), X, y)
        with np.errstate(all="ignore"):
            return self._evaluate(model, X, y)

    def _evaluate(self, model: Any, X: Array, y: Array) -> tuple[float, float | None]:
        loss = right = 0.0
        for first in range(0, len(X), CHUNK):
            rows = y[first : first + CHUNK]
            outputs = model(X[first : first + CHUNK])
            loss += float(self.loss.function(outputs, self.encode(rows))) * len(rows)
            if self.classifies:
                right += self.count_right(outputs, rows)
        return loss / len(X), right / len(X) if self.classifies else None


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
    if loss.task == "categorical":
        if outputs.ndim != 2:
            raise ShapeError(f"{loss.name} needs one column a class, but the output is {_show(outputs.shape[1:])}.")
        if outputs.shape[1] == 1:
            raise ArgumentError(
                f"{loss.name} needs one output a class, but the model has a single one. "
                "Give the last layer one column a class, or use binary_cross_entropy."
            )
    return task


def _try_model(model: Any, rows: Array) -> Any:
    """Apply a model; an error of NumPy's or Python's own becomes one that says where, and of which X."""
    try:
        with np.errstate(all="ignore"):
            return model(rows)
    except UndertowError:
        raise
    except Exception as error:
        frames = [x for x in traceback.extract_tb(error.__traceback__) if not is_library(x.filename)]
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
        kind = ShapeError if isinstance(error, ValueError) else ArgumentError
        raise kind(
            f"{place}the model cannot be applied to X of shape {_show(rows.shape[1:])}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}. Check its parameters and the columns of X."
        ) from error


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
