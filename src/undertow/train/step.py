"""One training step: forward, backward, clipping, update. What computes it is decided here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from undertow import trees
from undertow.api import Backprop, backprop
from undertow.differentiate import value_and_grad
from undertow.errors import ControlFlowError
from undertow.optim import Clip, Optimizer
from undertow.primitives import spec_of
from undertow.trace import is_array_like

LossFunction = Callable[[Any, Any, Any], Any]
Step = Callable[[Any, Any, Any, Any], tuple[float, Any, Any]]


def make_step(loss_function: LossFunction, optimizer: Optimizer, clip: Clip | None = None) -> Step:
    """Make the function that does one step of training.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.
        optimizer: the update rule.
        clip: a clipping rule, or None.

    Returns:
        ``step(model, state, X, y)`` → (loss before the step, new model, new state). It is pure.

    Raises:
        TrainingError: the step's ``clip`` met a gradient that is not finite.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.optim import sgd
        >>> step = make_step(lambda w, X, y: np.mean((X * w - y) ** 2), sgd(0.25))
        >>> step(np.array(1.0), (), np.array([1.0, 1.0]), np.array([3.0, 3.0]))
        (4.0, array(2.), ())
    """
    gradient = make_gradient(loss_function)

    def step(model: Any, state: Any, X: Any, y: Any) -> tuple[float, Any, Any]:
        loss, grads = gradient(model, X, y)
        if clip is not None:
            grads = clip(grads)
        new_model, new_state = optimizer.update(grads, state, model)
        return float(loss), new_model, new_state

    return step


def make_gradient(loss_function: LossFunction) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Make the function of (model, X, y) that computes the loss and its gradient by the model.

    The loss is traced and differentiated once for each kind of arguments; the batch size is a symbol, so
    that a short last batch needs no second trace. A loss whose Python code asks for values is
    differentiated anew at each call.

    Args:
        loss_function: ``loss_function(model, X, y)`` → one number.

    Returns:
        ``gradient(model, X, y)`` → (loss, a tree like the model).

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> make_gradient(lambda w, X, y: np.sum(w * X * y))(np.array(2.0), np.array([3.0]), np.array([4.0]))
        (24.0, array(12.))
    """
    programs: dict[Any, Backprop | None] = {}

    def gradient(model: Any, X: Any, y: Any) -> tuple[Any, Any]:
        any_batch, this_batch = _describe(model, X, y)
        key = any_batch if any_batch in programs else this_batch
        if key not in programs:
            program = _differentiate(loss_function, model, X, y)
            key = any_batch if program is not None and program.graph.symbols() else this_batch
            programs[key] = program
        chosen = programs[key]
        if chosen is None:
            return value_and_grad(loss_function)(model, X, y)  # type: ignore[no-any-return]
        return chosen(model, X, y)

    return gradient


def _differentiate(loss_function: LossFunction, model: Any, X: Any, y: Any) -> Backprop | None:
    """The simplified forward and backward pass; None where it depends on values."""
    try:
        return backprop(loss_function, model, X, y)
    except ControlFlowError:
        return None


def _describe(model: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """What a program is made for: shapes and dtypes, without and with the batch size."""
    params = [spec_of(leaf) for leaf in trees.flatten(model)[0] if is_array_like(leaf)]
    batch = [spec_of(leaf) for tree in (X, y) for leaf in trees.flatten(tree)[0] if is_array_like(leaf)]
    any_batch = (tuple(params), tuple((spec.shape[1:], spec.dtype) for spec in batch))
    return any_batch, (tuple(params), tuple(batch))
