"""Trace a whole function: every array among its arguments is replaced by a tracer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.errors import EscapedTracerError, ShapeError, UndertowError
from undertow.graph import INPUT, Dim, Graph, NeedsConcreteSize, Node, Spec
from undertow.trace.tracer import NotingTrace, Tracer, constant
from undertow.trace.views import count_as_array


@dataclass
class Traced:
    """A traced function: its graph, and how its arguments and its result are put together.

    Attributes:
        graph: inputs are the array leaves of the arguments; outputs are the leaves of the result.
        arguments: for each argument its leaves: the node, or the static value.
        rebuild: puts output leaves into the tree that the function returned.
    """

    graph: Graph
    arguments: list[list[Any]]
    rebuild: trees.Rebuild


def is_array_like(leaf: Any) -> bool:
    """Tell whether a leaf takes part in tracing: arrays and floats do; strings, None, flags do not."""
    return isinstance(leaf, np.ndarray | np.generic | float | Tracer) or (type(leaf) is int)


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of a function's positional arguments."""
    code = getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code else []
    if names and names[0] == "self":
        names = names[1:]
    return [*names, *(f"arg{i}" for i in range(len(names), count))][:count]


def leaf_name(argument: str, path: str) -> str:
    """Name a leaf before the function has named it: ``params['W1']`` is W1, ``params[0]`` is params_0."""
    if not path:
        return argument
    last = path.rsplit("[", 1)[-1] if path.endswith("]") else path.rsplit(".", 1)[-1]
    last = last.strip("]'\"")
    if last.isidentifier():
        return last
    plain = "".join(c if c.isalnum() else "_" for c in f"{argument}{path}")
    return "_".join(part for part in plain.split("_") if part) + "?"  # not an identifier: a local name may replace it


def call_user(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call the function that is being traced; an error of ours that NumPy wrapped into its own comes out as ours."""
    try:
        result = f(*args, **kwargs)
        for leaf in trees.flatten(result)[0]:
            if isinstance(leaf, Tracer):
                leaf.node  # noqa: B018 - a view of what was written to is read anew while the trace is open
        return result
    except (ValueError, TypeError) as error:
        if not isinstance(error, UndertowError) and isinstance(error.__cause__, UndertowError):
            raise error.__cause__ from None
        raise


def trace_function(f: Callable[..., Any], args: Sequence[Any], *, batch: Sequence[int] = ()) -> Traced:
    """Trace a function without values.

    Args:
        f: a NumPy function of any trees of arrays.
        args: example arguments; only structure, shapes and dtypes matter.
        batch: positions of the arguments whose leading axis is the batch; the size they share is
            called m. It stays a number where the function needs it as one.

    Returns:
        The graph with the user's names and lines, and the trees around it.
    """
    sizes: set[Any] = {
        P.shape_of(x)[0] for i in batch for x in trees.flatten(args[i])[0] if is_array_like(x) and P.shape_of(x)
    }
    if len(sizes) == 1 and min(sizes) > 1:
        try:
            return _trace(f, args, frozenset(batch))
        except (NeedsConcreteSize, ShapeError):
            pass  # this function ties the batch to a number; the second trace either works or says what is wrong
    return _trace(f, args, frozenset())


def _trace(f: Callable[..., Any], args: Sequence[Any], batch: frozenset[int]) -> Traced:
    trace = NotingTrace()
    trace.code = getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)
    arguments: list[list[Any]] = []
    inputs: list[Node] = []
    traced_args = []
    for position, (name, arg) in enumerate(zip(argument_names(f, len(args)), args, strict=True)):
        leaves, rebuild = trees.flatten(arg)
        row: list[Any] = []
        for leaf, path in zip(leaves, trees.paths(arg), strict=True):
            if not is_array_like(leaf):
                row.append(leaf)
                continue
            spec = P.spec_of(leaf)
            constant(leaf if np.ndim(leaf) == 0 else np.empty(0, spec.dtype))  # the same dtypes are refused
            shape = spec.shape
            if position in batch and shape:
                shape = (Dim("m"), *shape[1:])
            node = Node(INPUT, (), {}, Spec(shape, spec.dtype, spec.weak))
            node.name = leaf_name(name, path)
            inputs.append(node)
            row.append(node)
        arguments.append(row)
        tracers = [Tracer(x, trace) if isinstance(x, Node) else x for x in row]
        for leaf, tracer in zip(leaves, tracers, strict=True):
            if isinstance(leaf, np.ndarray) and not leaf.ndim:
                count_as_array(tracer)
        traced_args.append(rebuild(tracers))
    watch = sys.getprofile() is None  # a profiler at work is left alone; then some names stay unknown
    if watch:
        sys.setprofile(trace.watch_returns)
    try:
        result = call_user(f, traced_args, {})
    finally:
        if watch:
            sys.setprofile(None)
        trace.open = False
    leaves, rebuild = trees.flatten(result)
    outputs = tuple(x.node if isinstance(x, Tracer) else constant(x) for x in leaves)
    graph = Graph(tuple(inputs), outputs, title=getattr(f, "__name__", "f"))
    stray = next((x for x in graph.nodes if x.op is INPUT and x not in inputs), None)
    if stray is not None:
        raise EscapedTracerError(f"{graph.title} uses {stray.name}, a traced value from another function's trace.")
    number_names(graph)
    return Traced(graph, arguments, rebuild)


def number_names(graph: Graph) -> None:
    """Make names unique: a variable assigned in a loop becomes z1, z2, …; one that already is, stays."""
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.name:
            node.name = node.name.rstrip("?")
            groups.setdefault(node.name, []).append(node)
    taken = {name for name, nodes in groups.items() if len(nodes) == 1}
    for name, nodes in groups.items():
        if len(nodes) == 1:
            continue
        number = 0
        for node in nodes:
            number += 1
            while (new := f"{name}{'_' if name[-1].isdigit() else ''}{number}") in taken:
                number += 1
            taken.add(new)
            node.name = new
