"""What the loss and the model of a training read from outside: where it changes, steps are traced anew."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undertow import trees
from undertow.graph import Graph, evaluate
from undertow.nn.layer import children, is_layer
from undertow.nn.mode import training
from undertow.trace import describe_function
from undertow.trace.draws import draws_any
from undertow.trace.function import code_of
from undertow.trace.outside import Marks, Outside
from undertow.trace.places import is_open
from undertow.trace.where import is_library, is_ours
from undertow.train.derive import Gradient, Gradients, numbers_of, take_rows

if TYPE_CHECKING:
    from undertow.train.step import Step

_ASKED_OF: Final = 64  # examples, a usual batch: what concerns a few of them alone is seen too; more would take long
_ROUNDING: Final = 64  # units in the last place by which a loss as it is written may differ from its program


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
        self.own = any(map(_is_own, (loss, *_parts_of(model))))
        self.draws: bool | None = None  # whether the loss draws numbers, which is told where it is traced
        self.slack = 0.0  # the largest relative difference that was one of rounding

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

    def ask(self, step: Step, model: Any, X: Any, target: Any) -> str:
        """Call a loss or layers of the user's with numbers, and let go of programs that give something else; say so.

        That tells what no place tells: a file, the clock, what a library holds, a counter of the function's own.

        Args:
            step: what does the steps.
            model: as it is now.
            X: the examples of a batch.
            target: what belongs to them.

        Source: derived here.
        """
        programs = [x for x in step.gradient.programs.values() if x is not None]
        if not (self.own and programs) or self.has_changed():  # which `heed` tells of, by its name
            return ""
        if any(x.graph.symbols() for x in programs):
            X, target = take_rows(X, slice(_ASKED_OF)), take_rows(target, slice(_ASKED_OF))
        leaves, rebuild = trees.flatten(model)
        traced = step.gradient.program_for(leaves, rebuild, X, target)
        if traced is None:
            return ""
        before, now = _loss_of(traced, leaves, X, target), self._call(step.gradient, rebuild(leaves), X, target)
        if now is None or not np.isfinite(before) or abs(now - before) <= self._bound(before, now):
            return ""
        anew = Gradient(step.gradient.loss_function, step.gradient.observe).program_for(leaves, rebuild, X, target)
        if anew is not None and _loss_of(anew, leaves, X, target) == before:
            self.slack = 4 * abs(now - before) / max(abs(now), abs(before))
            return ""
        step.forget()
        self.marks = None
        return (
            f"{describe_function(self.loss)}, or the model, gives another value than when its steps were compiled: it "
            "reads something that is not seen to change, such as a file, the time or a counter of its own. Steps are "
            "compiled again, which takes as long as at first; until the next epoch they read what is there now. Keep "
            "what changes in a variable, an attribute or an array, which are looked at."
        )

    def _bound(self, before: float, now: float) -> float:
        return max(self.slack, _ROUNDING * float(np.finfo(type(before)).eps)) * max(abs(before), abs(now))

    def _call(self, gradient: Gradient, model: Any, X: Any, target: Any) -> Any:
        """The loss as it is written; None where it is not finite, draws numbers, or takes no plain arrays."""
        if self.draws:
            return None
        looks: Any = draws_any(self.loss) if self.draws is None else nullcontext([])  # once: states are large
        try:
            with training(getattr(target, "keys", None)), np.errstate(all="ignore"), looks as drawn:
                value = np.asarray(gradient.loss_function(model, X, target))[()]
        except Exception:  # of other rows, or of arrays that are not traced: no error of the training's
            return None
        self.draws = bool(drawn)
        return value if not drawn and np.isfinite(value) else None

    @contextmanager
    def noting(self, gradient: Gradient) -> Iterator[None]:
        """Note with what a gradient is traced, if it is; what tracing itself changes is left out, such as a counter."""
        before, n_programs = self.around.now()[0], len(gradient.programs)
        yield
        if len(gradient.programs) > n_programs:
            self.marks, self.held = self.around.settle(before)


def _loss_of(traced: Gradients, leaves: list[Any], X: Any, target: Any) -> Any:
    """The loss as a program has it, by NumPy."""
    batch = [leaf for tree in (X, target) for leaf in trees.flatten(tree)[0]]
    forward = Graph(traced.graph.inputs, traced.graph.outputs[:1])
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(forward, [*numbers_of(leaves), *batch])[0])[()]


def _is_own(part: Any) -> bool:
    """Whether a function, or the class of a layer, is the user's."""
    if isinstance(part, type):
        return is_open(part)
    code = code_of(inspect.unwrap(part))
    if code is None:
        return is_open(type(part))
    return not is_ours(code.co_filename) and not is_library(code.co_filename)


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
