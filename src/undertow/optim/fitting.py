"""Whether gradient, state and parameters fit, in a loop that somebody writes: what `update` looks at first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, DTypeError, ShapeError
from undertow.graph import show_shape
from undertow.primitives import shape_of
from undertow.trace import is_array_like

Update = Callable[..., tuple[Any, Any]]
_MISSING: Final = object()
_NO_NUMBERS: Final = "USOMmV"  # kinds of dtypes


def is_number(leaf: Any) -> bool:
    """Tell whether a leaf of a tree is trained: arrays and numbers are, functions, names and flags stay as they are."""
    return is_array_like(leaf)


def check_numbers(params: Any) -> None:
    """Refuse arrays that hold no numbers among parameters.

    Args:
        params: a tree.

    Raises:
        DTypeError: names the leaf.

    Source: derived here.

    Example:
        >>> check_numbers({"W": 1.0, "activation": "relu", "frozen": True})
    """
    for i, leaf in enumerate(trees.flatten(params)[0]):
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in _NO_NUMBERS:
            path = trees.paths(params)[i] or "itself"
            raise DTypeError(
                f"the parameter {path} is {leaf.dtype}: only numbers are trained. Make it float64 or float32, or a "
                "str or bool of Python's, which stays as it is."
            )


def check_calls(name: str, init: Callable[[Any], Any], update: Update) -> Update:
    """Return the update, with errors that say how it is called where its arguments do not fit.

    A gradient of another shape would broadcast the parameters, so shapes are looked at in every call; the state is
    where the rule fails, since a rule of the user's own may keep what it likes in it.

    Args:
        name: of the optimizer.
        init: parameters → state.
        update: (gradient, state, parameters, …) → (new parameters, new state).

    Returns:
        A function of the same arguments.

    Raises:
        ArgumentError: called with other things than gradient, state and parameters, or in another order.
        ShapeError: called with a gradient of another shape than its parameter.

    Source: derived here.

    Example:
        >>> update = check_calls("step", lambda w: (), lambda g, s, w: (w - g, s))
        >>> update(1.0, (), 5.0)
        (4.0, ())
    """
    update = unchecked(update)

    @wraps(update)
    def checked(
        grads: Any = _MISSING, state: Any = _MISSING, params: Any = _MISSING, *rest: Any, **settings: Any
    ) -> tuple[Any, Any]:
        if params is _MISSING or state is _MISSING:
            _refuse_call(name, (grads, state, params))
        check_gradient(name, grads, params)
        check_numbers(params)
        try:
            return update(grads, state, params, *rest, **settings)
        except (AttributeError, TypeError, ValueError):
            problem = problem_of_state(state, init, params)
            if problem is None:
                raise
        raise ArgumentError(
            f"{name}.update(gradient, state, parameters): {problem}. Begin with state = optimizer.init(parameters), "
            f"and go on with parameters, state = optimizer.update(gradient, state, parameters)."
        )

    checked.__dict__["unchecked"] = update
    return checked


def _refuse_call(name: str, given: tuple[Any, ...]) -> None:
    """ArgumentError for a call without all three arguments: PyTorch's step has none, Keras' two."""
    n = sum(x is not _MISSING for x in given)
    raise ArgumentError(
        f"{name}.update takes a gradient, a state and the parameters, got {n} argument{'' if n == 1 else 's'}. Begin "
        "with state = optimizer.init(parameters), and go on with parameters, state = optimizer.update(gradient, state, "
        "parameters)."
    )


def unchecked(update: Update) -> Update:
    """Return what `check_calls` was given, which is what can be pickled; any other function as it is."""
    return getattr(update, "__dict__", {}).get("unchecked", update)


def check_gradient(name: str, grads: Any, params: Any) -> None:
    """Refuse a gradient that has another structure or other shapes than the parameters."""
    call = f"{name}.update(gradient, state, parameters)"
    gradients, weights = trees.flatten(grads)[0], trees.flatten(params)[0]
    if len(gradients) != len(weights) or (len(weights) > 1 and not trees.same_structure(grads, params)):
        raise ArgumentError(f"{call}: {_difference(grads, params)}")
    for i, (gradient, weight) in enumerate(zip(gradients, weights, strict=True)):
        if not (is_number(weight) and is_number(gradient)) or shape_of(gradient) == shape_of(weight):
            continue
        path = trees.paths(params)[i] or "the parameters"
        raise ShapeError(
            f"{call}: {path} is {show_shape(shape_of(weight))}, its gradient {show_shape(shape_of(gradient))}: the "
            f"shapes differ. Give the gradient by these parameters."
        )


def _difference(grads: Any, params: Any) -> str:
    """Say how a gradient and parameters of another structure came to be here, and what to do."""
    for position, value in (("first", grads), ("third", params)):
        if hasattr(value, "_fields") and type(value).__name__.endswith("State"):
            return f"the {position} argument is a state, {type(value).__name__}. Give them in this order."
    if isinstance(grads, tuple) and len(grads) == 2 and trees.same_structure(grads[1], params):
        return "the gradient is a pair (value, gradient). Take it apart: value, gradient = ut.value_and_grad(f)(…)."
    return (
        f"the gradient has the parts {_parts(grads)}, the parameters {_parts(params)}. "
        f"Give the gradient by these parameters."
    )


def _parts(tree: Any) -> str:
    found = [path or "(one array)" for path in trees.paths(tree)]
    return ", ".join(found[:6]) + (", …" if len(found) > 6 else "") if found else "none"


def problem_of_state(state: Any, init: Callable[[Any], Any], params: Any) -> str | None:
    """Tell what is wrong with a state; None where it is one that ``init(params)`` could have made."""
    try:
        right = init(params)
    except Exception:  # what init says of the parameters is not what went wrong here
        return None
    if type(state) is not type(right):
        return f"the state is {_kind(state)}, not {_kind(right)}"
    if not trees.same_structure(state, right):
        return "the state is one of other parameters"
    return None


def _kind(value: Any) -> str:
    name = type(value).__name__
    if value is None or value == ():
        return "None" if value is None else "()"
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
