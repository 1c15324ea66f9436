"""Callbacks: what may be called while a model trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from undertow.errors import ArgumentError
from undertow.trace import describe_function


@dataclass(frozen=True)
class EpochInfo:
    """What a callback gets at the end of an epoch.

    Attributes:
        epoch: its number, from 1.
        epochs: how many there are to be.
        row: the new row of the history: loss, accuracy, validation_loss, …
        model: the model as it is now; do not write to its arrays.
        gradient_sizes: the rows of this epoch, see `undertow.train.measure_gradients`.
    """

    epoch: int
    epochs: int
    row: dict[str, Any]
    model: Any
    gradient_sizes: list[dict[str, Any]]


class Callback(Protocol):
    """An object that is told of each epoch; a plain function of an `EpochInfo` serves as well.

    It may also have ``on_step_end(epoch, step, loss, model)``, called after every step with the number
    of the epoch and of the step (both from 1), the loss before the step and the model after it.
    """

    def on_epoch_end(self, info: EpochInfo) -> bool | None:
        """Return True to stop training."""
        ...


class EarlyStopping:
    """Stop when a column of the history has not improved for some epochs.

    Args:
        patience: how many epochs to wait, 1 or more.
        column: a column of the history that should fall.

    Raises:
        ArgumentError: the history has no such column.

    Source: Goodfellow et al., Deep Learning, 2016, algorithm 7.1.

    Example:
        >>> stop = EarlyStopping(patience=1, column="loss")
        >>> [stop.on_epoch_end(EpochInfo(i, 9, {"loss": x}, None, [])) for i, x in enumerate([3, 2, 2.5], 1)]
        [False, False, True]
    """

    def __init__(self, patience: int = 5, column: str = "validation_loss") -> None:
        self.patience = patience
        self.column = column
        self.best = float("inf")
        self.waited = 0

    def on_epoch_end(self, info: EpochInfo) -> bool:
        """Compare this epoch with the best one."""
        value = info.row.get(self.column)
        if value is None:
            raise ArgumentError(
                f"EarlyStopping: the history has no column {self.column!r}. It has {', '.join(info.row)}."
            )
        if value < self.best:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


def takes(function: Callable[..., Any], count: int) -> bool:
    """Tell whether a function can be called with this many arguments.

    Args:
        function: the function.
        count: how many.

    Returns:
        False where its signature forbids it.

    Source: derived here.

    Example:
        >>> takes(lambda a, b: a, 2), takes(lambda: 0, 1)
        (True, False)
    """
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a function written in C may have no signature to read
        return True
    return True


def read_callbacks(callbacks: Any) -> tuple[list[Callable[[EpochInfo], Any]], list[Callable[..., Any]]]:
    """Take the functions out of callbacks: those for epochs and those for steps.

    Args:
        callbacks: callbacks and plain functions, or one of them; None for none.

    Returns:
        The functions to call after an epoch, and after a step.

    Raises:
        ArgumentError: ``a callback has a method on_epoch_end(info) or is a function of info, got 3.``

    Source: derived here.

    Example:
        >>> [len(functions) for functions in read_callbacks([EarlyStopping(), print])]
        [2, 0]
    """
    after_epoch, after_step = [], []
    if callbacks is None:
        callbacks = ()
    single = callable(callbacks) or any(hasattr(callbacks, name) for name in ("on_epoch_end", "on_step_end"))
    if single or not isinstance(callbacks, Iterable):
        callbacks = [callbacks]
    for callback in callbacks:
        methods = getattr(callback, "on_epoch_end", None), getattr(callback, "on_step_end", None)
        if methods == (None, None):
            if not callable(callback):
                raise ArgumentError(
                    f"a callback has a method on_epoch_end(info) or is a function of info, got {callback!r}."
                )
            methods = callback, None
        for method, count, given in ((methods[0], 1, "info"), (methods[1], 4, "epoch, step, loss, model")):
            if method and not takes(method, count):
                raise ArgumentError(
                    f"a callback is called with ({given}), but {describe_function(method)} takes others."
                )
        if methods[0]:
            after_epoch.append(methods[0])
        if methods[1]:
            after_step.append(methods[1])
    return after_epoch, after_step
