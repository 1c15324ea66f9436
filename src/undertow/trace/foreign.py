"""What to write where a traced value meets what makes plain arrays: a table of pandas, a list, random numbers."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from undertow.errors import InPlaceError, UndertowError
from undertow.graph import INPUT
from undertow.trace.place import Place


def meets_foreign(tracer: Any, who: str, place: Place) -> UndertowError | None:
    """Make the error for an operation of a traced value and something that does not ask it; None for others.

    Args:
        tracer: the traced value.
        who: what a message calls it.
        place: where the user's code is.

    Returns:
        The error: it names the user's line, what was met, and what to write.

    Source: derived here.
    """
    return _draws(who, place) or _table(who, place) or _list(tracer, place)


def _draws(who: str, place: Place) -> UndertowError | None:
    """``rng.normal(w)``: NumPy's generators take plain numbers only."""
    node = place.expression
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    source = place.value(node.func.value)
    if source is not np.random and not isinstance(source, np.random.Generator | np.random.RandomState):
        return None
    return InPlaceError(
        f"{place.start}: {ast.unparse(node.func)} draws plain numbers, and the derivative of {who} would be lost. Draw "
        f"numbers that depend on nothing outside, pass them as an argument, and compute with them: `mean + deviation "
        f"* noise` for a normal distribution."
    )


def _table(who: str, place: Place) -> UndertowError | None:
    """A table of pandas or polars beside a traced array: it makes a plain array of what it meets."""
    for name, value in _variables(place):
        if hasattr(value, "to_numpy") and hasattr(value, "shape"):
            return InPlaceError(
                f"{place.start}: {name} is a {type(value).__name__}, which makes a plain array of {who}: the "
                f"derivative would be lost. Pass {name}.to_numpy() to the function."
            )
    return None


def _list(tracer: Any, place: Place) -> UndertowError | None:
    """A list of numbers that was an argument: each of its numbers is traced, and NumPy makes no array of them."""
    if not (tracer._node.op is INPUT and tracer._node.spec.weak):
        return None
    for name, value in _variables(place):
        if isinstance(value, list | tuple) and _holds(value, tracer):
            return InPlaceError(
                f"{place.start}: {name} is a {type(value).__name__} of numbers, and each of them is traced by itself. "
                f"Pass np.array({name}) in its place."
            )
    return None


def _holds(values: Any, tracer: Any) -> bool:
    """Tell whether nested lists begin with traced numbers."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return type(values) is type(tracer)


def _variables(place: Place) -> list[tuple[str, Any]]:
    """The names in the expression that is being computed, or else in its statement, and what they stand for."""
    for outer in (place.expression, place.statement):
        found = [
            (ast.unparse(node), place.value(node))
            for node in (ast.walk(outer) if outer is not None else ())
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        ]
        if found:
            return found
    return []
