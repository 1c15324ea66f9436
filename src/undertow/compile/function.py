"""`compile`: the same function, fused and compiled for the shapes it is called with."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Hashable, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.compile.kept import plan_for
from undertow.compile.program import Program
from undertow.compile.threads import get_threads
from undertow.errors import ArgumentError, EscapedTracerError
from undertow.graph import Graph
from undertow.keywords import explain_keywords
from undertow.lazy import uncollected
from undertow.simplify import simplify
from undertow.trace import Tracer, describe_function, trace_function
from undertow.trace.function import is_array_like
from undertow.trace.outside import Outside
from undertow.trace.running import mode_around

if TYPE_CHECKING:
    from undertow.compile.profile import Profile

Array = NDArray[Any]


class Compiled:
    """A graph as a function of arrays; a program for each choice of symbolic sizes.

    Args:
        graph: what to compute.
        fallback: ``"numpy"`` lets NumPy do what does not compile.
    """

    def __init__(self, graph: Graph, fallback: str | None = None) -> None:
        self.graph, self.fallback = graph, fallback
        self.programs: dict[Any, Program] = {}

    def program(self, sizes: dict[str, int]) -> Program:
        """Return the program for these sizes."""
        key = tuple(sorted(sizes.items())), get_threads()
        if key not in self.programs:
            with uncollected():
                self.programs[key] = Program(plan_for(self.graph, sizes, get_threads(), fallback=self.fallback))
        return self.programs[key]

    def __call__(self, values: Sequence[Any], sizes: dict[str, int] | None = None) -> list[Any]:
        """Compute the outputs; each is an array of its own."""
        return self.program(sizes or {}).compute(values)


def in_order(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Put arguments given by name where they belong; what is left out before them has its default.

    Raises:
        ArgumentError: one can be given by name alone.
    """
    bound = inspect.signature(f).bind(*args, **kwargs)
    if bound.kwargs:
        bound.apply_defaults()
    if alone := [name for name in kwargs if name in bound.kwargs]:
        raise ArgumentError(
            f"{describe_function(f)}: {', '.join(alone)} can be given by name alone, and compiled functions take "
            "arguments by position. Let it be one like the others, or bind it with functools.partial first."
        )
    return bound.args


class CompiledFunction:
    """A function that runs compiled; made by `compile`.

    Attributes:
        function: the Python function.
    """

    def __init__(self, function: Callable[..., Any], fallback: str | None) -> None:
        functools.update_wrapper(self, function)
        self.function, self.fallback = function, fallback
        self._known: dict[Any, tuple[Program, Any, Any]] = {}
        self._outside: dict[tuple[int, ...], Outside] = {}
        self._last: Program | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the function of these arguments."""
        if kwargs:
            args = in_order(self.function, args, kwargs)
        given = take_apart(args)
        if given is None:
            return self.function(*args)  # another function that is being traced calls this one
        rows, _, signature, objects = given
        around = outside_of(self.function, objects, self._outside)
        outside, held = around.now()
        key = signature, outside
        if key not in self._known:
            outside = around.check(self._known, key)
            try:
                traced = trace_function(self.function, rebuilt(given))
            except EscapedTracerError:  # it reads a value of what is being traced around it, and is part of that
                return self.function(*args)
            outside, held = around.settle(outside)
            key = signature, outside
            compiled = Compiled(simplify(traced.graph, final=True).graph, self.fallback)
            self._known[key] = compiled.program({}), traced, held
        self._last, traced, _ = self._known[key]
        return traced.rebuild(self._last.compute(traced.values(rows)))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind a method: the object is its first argument, and the arrays in it are arguments too."""
        if instance is None:
            return self
        leaves, _ = trees.flatten(instance)
        plain = len(leaves) == 1 and leaves[0] is instance
        return functools.partial(self._refuse, instance) if plain else MethodType(self, instance)

    def _refuse(self, instance: Any, *args: Any, **kwargs: Any) -> Any:
        name = type(instance).__name__
        raise ArgumentError(
            f"{describe_function(self.function)} is compiled, and what it reads from a {name}, which is a plain class, "
            f"would be constants, compiled again whenever one changes. Make {name} a dataclass, whose arrays are "
            "arguments, or compile a function that takes the arrays."
        )

    def __reduce__(self) -> Any:
        """Tell how a copy for another process is made: by name where it has one, else of the function anew."""
        place: Any = sys.modules.get(self.function.__module__)
        for part in self.function.__qualname__.split("."):
            place = getattr(place, part, None)
        if place is self and self.function.__module__ != "__main__":
            return self.function.__qualname__
        return CompiledFunction, (self.function, self.fallback)

    def __repr__(self) -> str:
        return f"<compiled {describe_function(self.function)}>"

    @property
    def program(self) -> Program:
        """The program of the last call.

        Raises:
            ArgumentError: it has not been called yet.
        """
        if self._last is None:
            raise ArgumentError(
                f"{self!r} has not been called yet. Call it: it compiles for the shapes that it is given."
            )
        return self._last

    def profile(self, *args: Any, rounds: int = 20) -> Profile:
        """Measure every kernel: time, bytes moved, operations, share of what the processor can do.

        Args:
            args: arguments, as for a call.
            rounds: how often each kernel is timed; the median counts.
        """
        self(*args)
        return self.program.profile(rounds)


Signature = tuple[tuple[Any, ...], tuple[Hashable, ...], int, Any]
Given = tuple[list[list[Any]], list[trees.Rebuild], Signature, list[Any]]
NAMES = (str, bytes, bool, type(None), type, np.dtype)  # what is as it is: there is nothing to look into


def take_apart(args: Sequence[Any]) -> Given | None:
    """Take the arguments of a call apart; None where one of them is being traced.

    Returns:
        The leaves of each, in this machine's order of bytes; what puts leaves into the tree of each; what a program is
        made for: shapes and dtypes of arrays, what is no number, the trees, how many threads there are, the mode; and
        the objects and functions among the leaves.
    """
    rows, rebuilds, structures, marks, objects = [], [], [], list[Any](), list[Any]()
    for arg in args:
        row, rebuild, structure = trees.flatten_with_key(arg)
        for i, x in enumerate(row):
            if isinstance(x, np.ndarray):
                if not x.dtype.isnative:
                    x = row[i] = x.astype(x.dtype.newbyteorder("="))
                marks.append((type(x), x.shape, x.dtype))
            elif isinstance(x, Tracer):
                return None
            elif is_array_like(x):
                marks.append((type(x), np.shape(x), getattr(x, "dtype", None)))
            else:
                marks.append(x if isinstance(x, Hashable) else id(x))
                if not isinstance(x, NAMES):
                    objects.append(x)
        rows.append(row)
        rebuilds.append(rebuild)
        structures.append(structure)
    return rows, rebuilds, (tuple(marks), tuple(structures), get_threads(), mode_around.get()), objects


def outside_of(f: Callable[..., Any], objects: list[Any], known: dict[tuple[int, ...], Outside]) -> Outside:
    """Find where a function reads from outside that is called with some objects; they are looked into at every call."""
    key = tuple(map(id, objects)) if objects else ()
    if key not in known:
        known[key] = Outside(f, objects)  # which holds the objects, so that their ids stay theirs
    return known[key]


def rebuilt(given: Given) -> tuple[Any, ...]:
    """Put arguments together again."""
    return tuple(rebuild(row) for row, rebuild in zip(*given[:2], strict=True))


@explain_keywords
def compile(f: Callable[..., Any] | None = None, *, fallback: str | None = None) -> Any:
    """Make the same function, fused and compiled; also a decorator.

    The function is traced and compiled at its first call with arguments of these shapes and dtypes. Kernels are kept
    on disk, so that the next process begins at once.

    Args:
        f: a NumPy function of trees of arrays.
        fallback: None: what does not compile is an error that names it. ``"numpy"``: NumPy computes it between the
            kernels; ``program.by_numpy`` lists it.

    Returns:
        The function. ``.program`` is what the last call ran, with ``.memory`` and ``.by_numpy``; ``.profile(*args)``
        measures it.

    Raises:
        UnsupportedError: an operation that does not compile.
        ControlFlowError: f asked for the value of an array (``if x > 0``).
        ArgumentError: f is not a function, or the fallback is another word.

    Source: derived here.

    Example:
        >>> f = compile(lambda x: np.sum(np.tanh(x) ** 2))
        >>> round(float(f(np.array([0.5, 1.0]))), 6)
        0.793578
    """
    if fallback not in (None, "numpy"):
        raise ArgumentError(f'compile: fallback is {fallback!r}. Give "numpy", or None for an error.')
    if f is None:
        return functools.partial(compile, fallback=fallback)
    if not callable(f):
        raise ArgumentError(
            f"compile takes a function, not {type(f).__name__}. Write ut.compile(f), not ut.compile(f(x))."
        )
    return CompiledFunction(f, fallback)
