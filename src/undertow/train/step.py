"""One training step: forward, backward, clipping, update. What computes it is decided here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import trees
from undertow.api import Backprop, backprop
from undertow.differentiate import value_and_grad
from undertow.errors import ArgumentError, ControlFlowError
from undertow.graph import evaluate
from undertow.optim import Clip, Optimizer, check_finite
from undertow.trace import describe_function

LossFunction = Callable[[Any, Any, Any], Any]


class Step:
    """One step of training; made by `make_step`.

    Called with (model, state, X, y) it returns (loss before the step, new model, new state) and changes
    none of its arguments. Between steps it remembers the arrays of the model that it returned last.
    """

    def __init__(self, loss_function: LossFunction, optimizer: Optimizer, clip: Clip | None) -> None:
        self.optimizer = optimizer
        self.clip = clip
        self.gradient = Gradient(loss_function)
        self._last: tuple[Any, list[Any], trees.Rebuild] | None = None

    def init(self, model: Any) -> Any:
        """Make the state before the first step; its trees are lists of the model's arrays."""
        return self.optimizer.init(numbers_of(trees.flatten(model)[0]))

    def __call__(self, model: Any, state: Any, X: Any, y: Any) -> tuple[float, Any, Any]:
        """Do one step."""
        if self._last is not None and self._last[0] is model:
            _, leaves, rebuild = self._last
        else:
            leaves, rebuild = trees.flatten(model)
        with np.errstate(all="ignore"):  # whoever trains asks whether the loss is finite
            return self._step(leaves, rebuild, state, X, y)

    def _step(self, leaves: list[Any], rebuild: trees.Rebuild, state: Any, X: Any, y: Any) -> tuple[float, Any, Any]:
        loss, grads = self.gradient.of_leaves(leaves, rebuild, X, y)
        if self.clip is not None:
            if not all(np.isfinite(g).all() for g in grads):
                check_finite(rebuild(put_numbers(leaves, grads)), self.clip.name)
            grads = self.clip.apply(grads)
        params, new_state = self.optimizer.update(grads, state, numbers_of(leaves))
        new_leaves = put_numbers(leaves, params)
        new_model = rebuild(new_leaves)
        self._last = (new_model, new_leaves, rebuild)
        return float(loss), new_model, new_state


class Gradient:
    """The loss and its gradient by the model; made by `make_gradient`."""

    def __init__(self, loss_function: LossFunction) -> None:
        self.loss_function = loss_function
        self.programs: dict[Any, Backprop | None] = {}

    def __call__(self, model: Any, X: Any, y: Any) -> tuple[Any, Any]:
        """Compute (loss, a tree like the model)."""
        leaves, rebuild = trees.flatten(model)
        with np.errstate(all="ignore"):
            loss, grads = self.of_leaves(leaves, rebuild, X, y)
        return loss, rebuild(put_numbers(leaves, grads))

    def of_leaves(self, leaves: list[Any], rebuild: trees.Rebuild, X: Any, y: Any) -> tuple[Any, list[Any]]:
        """Compute the loss and the gradients by the numbers among a model's leaves."""
        params, batch = numbers_of(leaves), [leaf for tree in (X, y) for leaf in trees.flatten(tree)[0]]
        specs, shapes = tuple(map(_describe, params)), tuple(map(_describe, batch))
        any_batch = (specs, tuple((shape[1:], dtype) for shape, dtype in shapes))
        key = any_batch if any_batch in self.programs else (specs, shapes)
        if key not in self.programs:
            program = self._differentiate(rebuild(leaves), X, y)
            key = any_batch if program is not None and program.graph.symbols() else key
            self.programs[key] = program
        chosen = self.programs[key]
        if chosen is None:
            loss, grads = value_and_grad(self.loss_function)(rebuild(leaves), X, y)
            return loss, numbers_of(trees.flatten(grads)[0])
        loss, *found = evaluate(chosen.graph, [*params, *batch])
        return loss, found

    def _differentiate(self, model: Any, X: Any, y: Any) -> Backprop | None:
        """The simplified forward and backward pass; None where it depends on values."""
        try:
            program = backprop(self.loss_function, model, X, y)
        except ControlFlowError:
            return None
        if len(program.unreached) == len(program.graph.outputs) - 1:
            raise ArgumentError(
                f"{describe_function(self.loss_function)} does not depend on the model's parameters, so there is "
                "nothing to train. Compute it of the model's output."
            )
        return program


def numbers_of(leaves: list[Any]) -> list[Any]:
    """Take the arrays and floats out of a model's leaves, which hold its activation functions too."""
    return [leaf for leaf in leaves if not callable(leaf)]


def put_numbers(leaves: list[Any], numbers: list[Any]) -> list[Any]:
    """Put numbers back between the functions: the inverse of `numbers_of`."""
    rest = iter(numbers)
    return [leaf if callable(leaf) else next(rest) for leaf in leaves]


def _describe(leaf: Any) -> tuple[tuple[int, ...], Any]:
    return np.shape(leaf), getattr(leaf, "dtype", type(leaf))


def make_step(loss_function: LossFunction, optimizer: Optimizer, clip: Clip | None = None) -> Step:
    """Make the function that does one step of training.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.
        optimizer: the update rule.
        clip: a clipping rule, or None.

    Returns:
        ``step(model, state, X, y)`` → (loss before the step, new model, new state); ``step.init(model)``
        makes the first state.

    Raises:
        TrainingError: the step's ``clip`` met a gradient that is not finite.

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> step = make_step(lambda w, X, y: np.mean((X * w - y) ** 2), sgd(0.25))
        >>> w = np.array([1.0])
        >>> step(w, step.init(w), np.array([1.0, 1.0]), np.array([3.0, 3.0]))
        (4.0, array([2.]), ())
    """
    return Step(loss_function, optimizer, clip)


def make_gradient(loss_function: LossFunction) -> Gradient:
    """Make the function of (model, X, y) that computes the loss and its gradient by the model.

    The loss is traced, differentiated and simplified once for each kind of arguments; the batch size is
    a symbol, so that a short last batch needs no second trace. A loss whose Python code asks for values
    is differentiated anew at each call.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.

    Returns:
        ``gradient(model, X, y)`` → (loss, a tree like the model).

    Source: derived here.

    Example:
        >>> gradient = make_gradient(lambda w, X, y: np.sum(w * X * y))
        >>> gradient(np.array([2.0]), np.array([3.0, 1.0]), np.array([4.0, 1.0]))
        (np.float64(26.0), array([13.]))
    """
    return Gradient(loss_function)
