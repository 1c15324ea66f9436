"""`value_and_grad` and `grad` with ``compile=True``: the simplified backward pass, fused and compiled."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from undertow import differentiate, trees
from undertow.api import Backprop, backprop, input_values
from undertow.compile import Compiled
from undertow.graph import Node, measure_sizes
from undertow.trace import is_array_like

Key = tuple[Any, ...]


def value_and_grad(
    f: Callable[..., Any], wrt: int | tuple[int, ...] = 0, *, compile: bool = False, fallback: str | None = None
) -> Callable[..., Any]:
    """Make the function that computes ``f`` and its gradient.

    Args:
        f: a NumPy function that returns one number.
        wrt: the position of the argument to differentiate by, or a tuple of positions.
        compile: compile the simplified backward pass at the first call with arguments of these shapes. It pays where
            the function is called many times: the first call takes about as long as a thousand small ones.
        fallback: with ``compile``, ``"numpy"`` lets NumPy do what does not compile; None makes it an error.

    Returns:
        A function of the arguments of f that returns (value, gradient); the gradient has the tree of the argument.

    Raises:
        NonScalarError: f returned something other than one number.
        UnsupportedError: f uses what has no derivative here; with ``compile``, what does not compile.
        ControlFlowError: with ``compile``, f asked for the value of an array.

    Example:
        >>> value_and_grad(lambda x, y: x * y, wrt=(0, 1))(2.0, 5.0)
        (10.0, (5.0, 2.0))
        >>> value_and_grad(lambda w: np.sum(w * w), compile=True)(np.array([1.0, 2.0]))
        (np.float64(5.0), array([2., 4.]))
    """
    if not compile:
        return differentiate.value_and_grad(f, wrt)
    differentiate.check_function(f)
    known: dict[Key, tuple[Backprop, Compiled]] = {}

    def value_and_gradient(*args: Any) -> Any:
        key = tuple(_describe(leaf) for arg in args for leaf in trees.flatten(arg)[0])
        if key not in known:
            program = backprop(f, *args, wrt=wrt)
            known[key] = program, Compiled(program.graph, fallback)
        program, compiled = known[key]
        values = input_values(program.traced, args)
        value, *found = compiled(values, measure_sizes(program.graph, values))
        grads = iter(found)
        places = program.wrt if isinstance(program.wrt, tuple) else (program.wrt,)
        result = []
        for i in places:
            leaves, rebuild = trees.flatten(args[i])
            pairs = zip(program.traced.arguments[i], leaves, strict=True)
            row = [differentiate.finish(next(grads), leaf) if isinstance(x, Node) else x for x, leaf in pairs]
            result.append(rebuild(row))
        return value, tuple(result) if isinstance(wrt, tuple) else result[0]

    value_and_gradient.__name__ = f"value_and_grad_{getattr(f, '__name__', 'f')}"
    return value_and_gradient


def _describe(leaf: Any) -> Any:
    if is_array_like(leaf):
        return np.shape(leaf), getattr(leaf, "dtype", type(leaf))
    return leaf if isinstance(leaf, Hashable) else id(leaf)
