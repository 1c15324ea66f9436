"""`value_and_grad` and `grad` with ``compile=True``: the simplified backward pass, fused and compiled."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

from undertow import differentiate, trees
from undertow.api import Backprop, backprop
from undertow.compile import Compiled
from undertow.compile.function import compile as compile_function
from undertow.compile.function import in_order, outside_of, rebuilt, take_apart
from undertow.differentiate import finish
from undertow.errors import EscapedTracerError, ShapeError
from undertow.graph import Node, measure_sizes
from undertow.trace.chosen import check_function, refuse_arguments
from undertow.trace.function import describe_function
from undertow.trace.outside import Outside


def compiled(
    f: Callable[..., Any], wrt: int | tuple[int, ...], has_aux: bool, fallback: str | None
) -> Callable[..., Any]:
    """Make the function that computes ``f`` and its gradient compiled; see `undertow.value_and_grad`.

    Example:
        >>> import numpy as np
        >>> compiled(lambda w: np.sum(w * w), 0, False, None)(np.array([1.0, 2.0]))
        (np.float64(5.0), array([2., 4.]))
    """
    if has_aux:
        return compile_function(differentiate.value_and_grad(f, wrt, has_aux), fallback=fallback)
    check_function(f)
    refuse_arguments(f, wrt if isinstance(wrt, tuple) else (wrt,))
    return CompiledGradient(f, wrt, fallback)


class CompiledGradient:
    """A function and its gradient, compiled; made by `value_and_grad`.

    Args:
        function: the function to differentiate.
        wrt: the positions of the arguments to differentiate by.
        fallback: ``"numpy"`` lets NumPy do what does not compile.
    """

    def __init__(self, function: Callable[..., Any], wrt: int | tuple[int, ...], fallback: str | None) -> None:
        self.__wrapped__ = self.differentiated = function
        self.__name__ = f"value_and_grad_{getattr(function, '__name__', 'f')}"
        self.wrt, self.fallback = wrt, fallback
        self._known: dict[Any, _Ready] = {}
        self._outsides: dict[tuple[int, ...], Outside] = {}  # found at a call: what is read may be made after this

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute (value, gradient) at these arguments."""
        f, known = self.differentiated, self._known
        if kwargs:
            args = in_order(f, args, kwargs)
        given = take_apart(args)
        if given is None:
            return differentiate.value_and_grad(f, self.wrt)(*args)  # another function that is being traced calls this
        rows, rebuilds, signature, objects = given
        around = outside_of(f, objects, self._outsides)
        outside, held = around.now()
        key = signature, outside
        ready = known.get(key)
        if ready is None:
            outside = around.check(known, key)
            key = signature, outside
            found = _for_other_sizes(known, key, rows)
            if found is None:
                try:
                    program = backprop(f, *rebuilt(given), wrt=self.wrt)
                except EscapedTracerError:  # f reads a value of the function that is being traced around it
                    return differentiate.value_and_grad(f, self.wrt)(*args)
                outside, held = around.settle(outside)
                key = signature, outside
                found = program, Compiled(program.graph, self.fallback)
            ready = known[key] = _Ready(*found, rows, held)
        return ready(rows, rebuilds)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a method, as functions do."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        """Tell how a copy for another process is made: of the function, to be compiled there."""
        return CompiledGradient, (self.differentiated, self.wrt, self.fallback)

    def __repr__(self) -> str:
        return f"<compiled gradient of {describe_function(self.differentiated)}>"


class _Ready:
    """What runs for arguments of one signature.

    Args:
        backprop: the backward pass.
        compiled: its graph.
        rows: the leaves of the arguments.
        held: what was read from outside, which stays alive.
    """

    def __init__(self, backprop: Backprop, compiled: Compiled, rows: list[list[Any]], held: list[Any]) -> None:
        self.backprop, self.compiled, self.held = backprop, compiled, held
        self.sizes = measure_sizes(backprop.graph, backprop.traced.values(rows))
        self.program = compiled.program(self.sizes)
        places = backprop.wrt if isinstance(backprop.wrt, tuple) else (backprop.wrt,)
        # Of each argument that it differentiates by, which leaves have a gradient.
        self.active = [(i, [isinstance(x, Node) for x in backprop.traced.arguments[i]]) for i in places]

    def __call__(self, rows: list[list[Any]], rebuilds: list[trees.Rebuild]) -> tuple[Any, Any]:
        value, *gradients = self.program.compute(self.backprop.traced.values(rows))
        grads = iter(gradients)
        result = [
            rebuilds[i]([finish(next(grads), x) if has else x for has, x in zip(active, rows[i], strict=True)])
            for i, active in self.active
        ]
        return value, tuple(result) if isinstance(self.backprop.wrt, tuple) else result[0]


def _for_other_sizes(known: dict[Any, _Ready], key: Any, rows: list[list[Any]]) -> tuple[Backprop, Compiled] | None:
    """Find what was traced for a batch of another size and holds for this one too; None if nothing was."""
    for (signature, outside), ready in known.items():
        program, compiled, sizes = ready.backprop, ready.compiled, ready.sizes
        if not sizes or outside != key[1] or signature[1:] != key[0][1:] or len(signature[0]) != len(key[0][0]):
            continue
        leaves = [x for row in program.traced.arguments for x in row]
        pairs = zip(signature[0], key[0][0], leaves, strict=True)
        if all(a == b or (isinstance(x, Node) and (a[0], a[2]) == (b[0], b[2])) for a, b, x in pairs):
            try:
                measured = measure_sizes(program.graph, program.traced.values(rows))
            except ShapeError:
                continue
            if min(measured.values()) > 1:  # an axis of one element may be meant to be broadcast
                return program, compiled
    return None
