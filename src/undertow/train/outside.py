"""What the loss and the model of a training read from outside: where it changes, steps are traced anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undertow import trees
from undertow.nn.layer import children, is_layer
from undertow.trace import describe_function
from undertow.trace.outside import Marks, Outside
from undertow.train.derive import Gradient

if TYPE_CHECKING:
    from undertow.train.step import Step


class Reading:
    """The arrays, numbers and functions that steps were traced with though they are no arguments.

    Args:
        loss: a function of (output, y).
        model: what gives the output; functions in it and the classes of its layers are looked into.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> factor = 1.0
        >>> reading = Reading(lambda output, y: factor * (output - y), None)
        >>> gradient = Gradient(lambda w, X, y: np.sum(reading.loss(w * X, y)))
        >>> with reading.noting(gradient):
        ...     _ = gradient(np.ones(2), np.ones(2), np.ones(2))
        >>> reading.has_changed()
        False
        >>> factor = 2.0
        >>> reading.has_changed(), reading.tell().split(" reads ")[1].partition(" from")[0]
        (True, 'factor')
    """

    def __init__(self, loss: Callable[..., Any], model: Any) -> None:
        self.loss = loss
        self.around = Outside(loss, _parts_of(model))
        self.marks: Marks | None = None  # as steps were traced with
        self.held: list[Any] = []

    def has_changed(self) -> bool:
        """Whether something is not what it was when steps were traced."""
        return self.marks is not None and self.around.now()[0] != self.marks

    def tell(self) -> str:
        """Say what has changed."""
        name = self.around.name_change(self.marks or (), self.around.now()[0])
        return (
            f"{describe_function(self.loss)}, or the model, reads {name} from outside, and it is not what it was, so "
            "steps are compiled again, which takes as long as at first."
        )

    def heed(self, step: Step) -> str:
        """Let go of a step's programs where something has changed since they were traced; say what, or nothing.

        Args:
            step: what does the steps; a loss that asks for values has no program, and runs as it is.

        Source: derived here.
        """
        if step.gradient.asked is not None or not self.has_changed():
            return ""
        told = self.tell()
        step.forget()
        self.around.look_again()
        self.marks = None
        return told

    @contextmanager
    def noting(self, gradient: Gradient) -> Iterator[None]:
        """Note with what a gradient is traced, if it is; what tracing itself changes is left out, such as a counter."""
        before, n_programs = self.around.now()[0], len(gradient.programs)
        yield
        if len(gradient.programs) > n_programs:
            self.marks, self.held = self.around.settle(before)


def outside_of_model(model: Any) -> Outside:
    """Find where a model reads from outside, in its functions and in the classes of its layers.

    Args:
        model: a function of X.

    Source: derived here.
    """
    return Outside(_parts_of, _parts_of(model))  # a function of ours, which reads nothing of a user's


def _parts_of(model: Any) -> list[Any]:
    functions = [leaf for leaf in trees.flatten(model)[0] if callable(leaf)]
    return [*functions, *dict.fromkeys(map(type, _layers(model)))]


def _layers(item: Any) -> Iterator[Any]:
    """The layers within a model, and the model itself."""
    if is_layer(item):
        yield item
    for _, part in children(item):
        yield from _layers(part)
