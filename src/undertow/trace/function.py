"""Trace a whole function: every array among its arguments is replaced by a tracer."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow import trees
from undertow.errors import DTypeError, EscapedTracerError, NonScalarError, ShapeError, UndertowError
from undertow.graph import INPUT, Dim, Graph, NeedsConcreteSize, Node, Size, Spec
from undertow.trace.batch import generalize
from undertow.trace.caught import call_noting, warn_of_caught
from undertow.trace.changed import changed_arguments, warn_of_changes
from undertow.trace.draws import random_states, warn_of_draws
from undertow.trace.following import call_following
from undertow.trace.foreign import met_library
from undertow.trace.returns import watch_returns
from undertow.trace.running import tracing
from undertow.trace.tracer import NotingTrace, Trace, Tracer, constant
from undertow.trace.views import count_as_array
from undertow.trace.where import check_plain, file_name, holds_user_code


@dataclass
class Traced:
    """A traced function: its graph, and how its arguments and its result are put together.

    Attributes:
        graph: inputs are the array leaves of the arguments; outputs are the leaves of the result.
        arguments: for each argument its leaves: the node, or the static value.
        rebuild: puts output leaves into the tree that the function returned.
        rows: where the batch size is a number: the inputs that have it, by position, with its axis.
        lost: the leaves of arguments that the function has written to without returning them.
        caught: the errors of ours that the function caught.
    """

    graph: Graph
    arguments: list[list[Any]]
    rebuild: trees.Rebuild
    rows: dict[int, int] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    caught: list[UndertowError] = field(default_factory=list)

    def values(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """Take the values of the graph's inputs out of the leaves of each argument."""
        return [rows[i][j] for i, j in self._inputs]

    @functools.cached_property
    def _inputs(self) -> list[tuple[int, int]]:
        """The argument and the leaf of each input: every call of a compiled function asks for them."""
        return [(i, j) for i, mine in enumerate(self.arguments) for j, x in enumerate(mine) if isinstance(x, Node)]


def is_array_like(leaf: Any) -> bool:
    """Tell whether a leaf takes part in tracing: arrays and floats do; strings, None, flags do not."""
    return isinstance(leaf, np.ndarray | np.generic | float | Tracer) or (type(leaf) is int)


def code_of(f: Callable[..., Any]) -> CodeType | None:
    """Return the code of a function, or of what makes an object callable; None for one without Python code."""
    return getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)


def describe_function(f: Callable[..., Any]) -> str:
    """Name a function as messages do: ``loss (net.py:12)``, with the line that defines it where there is a file."""
    name = getattr(f, "__name__", None) or type(f).__name__
    while isinstance(f, functools.partial):
        f = f.func
    code = code_of(inspect.unwrap(f))
    if code is None or code.co_filename.startswith("<"):
        return name
    return f"{name} ({file_name(code.co_filename)}:{code.co_firstlineno})"


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of a function's positional arguments."""
    bound = 0
    while isinstance(f, functools.partial):
        bound += len(f.args)
        f = f.func
    while (inner := getattr(f, "differentiated", None)) is not None:
        f = inner  # a gradient takes what its function takes
    code = code_of(f)
    names = list(code.co_varnames[: code.co_argcount]) if code else []
    if inspect.ismethod(f) or not hasattr(f, "__code__"):  # the object itself is no argument
        names = names[1:]
    names = names[bound:]
    return [*names, *(f"arg{i}" for i in range(len(names), count))][:count]


_LISTED: Final = re.compile(r"(?:\['([^\W\d]\w*)'\]|\.([^\W\d]\w*))\[(\d+)\]$")  # ['W'][0], .W[0]


def leaf_name(argument: str, path: str) -> str:
    """Name a leaf before its function does: ``params['W1']`` is W1, ``params['W'][0]`` W_0, ``params[0]`` params_0."""
    if not path:
        return argument
    last = path.rsplit("[", 1)[-1] if path.endswith("]") else path.rsplit(".", 1)[-1]
    last = last.strip("]'\"")
    if last.isidentifier():
        return last
    if (listed := _LISTED.search(path)) is not None:
        return f"{listed[1] or listed[2]}_{listed[3]}?"
    plain = "".join(c if c.isalnum() else "_" for c in f"{argument}{path}")
    return "_".join(part for part in plain.split("_") if part) + "?"  # not an identifier: a local name may replace it


def traced_leaves(leaves: Sequence[Any], row: Sequence[Any], trace: Trace) -> list[Any]:
    """Make the leaves of an argument that a function is traced with, of their nodes; what has none is as it is."""
    found = [Tracer(x, trace) if isinstance(x, Node) else x for x in row]
    for leaf, x in zip(leaves, found, strict=True):
        if isinstance(leaf, np.ndarray) and not leaf.ndim and isinstance(x, Tracer):
            count_as_array(x)
    return found


def call_user(
    f: Callable[..., Any],
    arguments: Callable[[], list[Any]],
    kwargs: dict[str, Any],
    trace: Trace,
    outer: Sequence[Tracer] = (),
) -> tuple[Any, list[UndertowError]]:
    """Call the function that is being traced; an error of ours that NumPy wrapped into its own comes out as ours.

    Args:
        f: the function.
        arguments: makes its arguments, anew for each time that it is called (see `following`).
        kwargs: those by name.
        trace: that of its arguments.
        outer: values of other traces among them.

    Returns:
        What it returned, and the errors of ours that it caught.
    """
    try:
        code = code_of(f.func if isinstance(f, functools.partial) else f)
        result, caught = call_following(lambda: call_noting(f, arguments(), kwargs), code, trace, outer)
        for leaf in trees.flatten(result)[0]:
            if isinstance(leaf, Tracer):
                leaf.node  # noqa: B018 - a view of what was written to is read anew while the trace is open
        return result, caught
    except Exception as error:
        if (foreign := met_library(error)) is not None:
            raise foreign from error
        if not isinstance(error, ValueError | TypeError):
            raise
        if not isinstance(error, UndertowError) and isinstance(error.__cause__, UndertowError):
            raise error.__cause__ from None
        asked = next((x.asked for x in (trace, *(y.tape for y in outer)) if x.asked is not None), None)
        hidden = "<traced " in str(error) or "single item" in str(error)  # by an error of NumPy's own in its place
        if asked is not None and hidden and not isinstance(error, UndertowError):
            raise asked from None
        raise


Batch = dict[tuple[int, int], int]  # (argument, leaf) -> the axis that is the batch


def trace_function(
    f: Callable[..., Any], args: Sequence[Any], *, batch: Sequence[int] = (), value_alone: bool = False
) -> Traced:
    """Trace a function without values.

    Args:
        f: a NumPy function of any trees of arrays.
        args: example arguments; only structure, shapes and dtypes matter.
        batch: positions of the arguments that hold examples. The first axis that most of their arrays
            share, or the last that all share, is the batch; its size is called m. It stays a number where
            the function cannot do without.
        value_alone: what the function writes to its arguments is of no use to the caller, who differentiates it;
            else a warning tells that this is lost.

    Returns:
        The graph with the user's names and lines, and the trees around it.
    """
    before = random_states(f)
    traced = _trace_for_all(f, args, batch)
    warn_of_draws(f, code_of(f), before)
    warn_of_caught(traced.caught)
    traced.caught.clear()  # they hold frames
    if not value_alone:
        warn_of_changes(f, code_of(f), traced.lost)
    return traced


def _trace_for_all(f: Callable[..., Any], args: Sequence[Any], batch: Sequence[int]) -> Traced:
    """Trace for all batch sizes, or for as many as the function allows."""
    choices = _find_batch(args, batch)
    for _, places in choices:
        try:
            return _trace(f, args, places, Dim("m"))
        except Exception as error:
            if not isinstance(error, ShapeError) and not _asks_for_a_size(error):
                raise
    for n, places in choices:  # this function ties the batch to a number: what do several numbers have in common?
        found = _for_any_size(f, args, places, n)
        if found is not None:
            return found
    if not choices:  # a batch of one row, as far as can be told: the program holds for one row
        single = _single_rows(args, batch)
        return _trace(f, args, single, 1 if single else None)
    return _trace(f, args, choices[0][1], choices[0][0])


def _single_rows(args: Sequence[Any], batch: Sequence[int]) -> Batch:
    """Return the arrays of a batch of one: matrices whose first axis is 1."""
    return {
        (i, k): 0
        for i in batch
        for k, x in enumerate(trees.flatten(args[i])[0])
        if is_array_like(x) and len(P.shape_of(x)) > 1 and P.shape_of(x)[0] == 1
    }


def _for_any_size(f: Callable[..., Any], args: Sequence[Any], places: Batch, n: int) -> Traced | None:
    """Trace for several batch sizes, and write the one graph that holds for all; None if there is none."""
    shown = ""  # what the first of them is
    try:
        traced = _trace(f, args, places, n)
        for k in (n + 1, 2 * n + 3, 2, 1009, 1):  # small and large ones: a function may count to a limit
            if k == n:
                continue
            try:
                other = _trace(f, args, places, k, named=False)
            except ZeroDivisionError:
                if k == 1:  # a function that divides by m − 1 has nothing to say of a single row
                    continue
                raise
            graph = generalize(traced.graph, other.graph, n, k)
            if graph is None:
                return None
            if shown not in ("", found := str(graph)):
                return None
            shown = found
    except Exception:  # whatever a function says to a batch of another size: its own size comes last
        return None
    assert graph is not None
    moved = dict(zip(traced.graph.inputs, graph.inputs, strict=True))
    arguments = [[moved[x] if isinstance(x, Node) else x for x in row] for row in traced.arguments]
    return Traced(graph, arguments, traced.rebuild, lost=traced.lost, caught=traced.caught)


def _find_batch(args: Sequence[Any], batch: Sequence[int]) -> list[tuple[int, Batch]]:
    """Return which axes may be the batch, each choice with its size, the likeliest first."""
    shapes = {
        (i, k): P.shape_of(x)
        for i in batch
        for k, x in enumerate(trees.flatten(args[i])[0])
        if is_array_like(x) and P.shape_of(x)
    }
    choices: list[tuple[Any, Batch]] = []
    first = Counter(shape[0] for shape in shapes.values())
    for size in sorted(first, key=lambda size: -first[size]):
        choices.append((size, {place: 0 for place, shape in shapes.items() if shape[0] == size}))
    if len(first) > 1 and len({shape[-1] for shape in shapes.values()}) == 1:  # a column an example
        choices.insert(0, (next(iter(shapes.values()))[-1], {place: len(shape) - 1 for place, shape in shapes.items()}))
    return [(size, places) for size, places in choices if isinstance(size, int) and size > 1]


def _asks_for_a_size(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came from, asks for the number of a batch size."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, NeedsConcreteSize):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _trace(f: Callable[..., Any], args: Sequence[Any], batch: Batch, size: Size | None, named: bool = True) -> Traced:
    """Trace with ``size`` as that of the batch axes; without names and lines where nobody will read them."""
    trace = NotingTrace()
    trace.named = named
    trace.code = code_of(f.func if isinstance(f, functools.partial) else f)
    arguments: list[list[Any]] = []
    inputs: list[Node] = []
    rows: dict[int, int] = {}
    traced_args: list[Any] = []
    given: list[tuple[list[Any], trees.Rebuild]] = []
    names = argument_names(f, len(args))
    for position, (name, arg) in enumerate(zip(names, args, strict=True)):
        leaves, rebuild = trees.flatten(arg)
        row: list[Any] = []
        for number, (leaf, path) in enumerate(zip(leaves, trees.paths(arg), strict=True)):
            if not is_array_like(leaf) and not isinstance(leaf, complex):
                row.append(leaf)
                continue
            check_plain(leaf)
            spec = P.spec_of(leaf)
            _refuse_dtype(spec.dtype, f"argument {name}{path} of {describe_function(f)}")
            shape = spec.shape
            axis = batch.get((position, number))
            if axis is not None and size is not None:
                shape = (*shape[:axis], size, *shape[axis + 1 :])
                rows[len(inputs)] = axis
            node = Node(INPUT, (), {}, Spec(shape, spec.dtype, spec.weak))
            node.name = leaf_name(name, path)
            inputs.append(node)
            row.append(node)
        arguments.append(row)
        given.append((leaves, rebuild))

    def trace_arguments() -> list[Any]:
        rows_of = zip(given, arguments, strict=True)
        traced_args[:] = [rebuild(traced_leaves(leaves, row, trace)) for (leaves, rebuild), row in rows_of]
        return traced_args

    with _recording(trace):
        result, caught = call_user(f, trace_arguments, {}, trace)
        changes = changed_arguments(names, arguments, traced_args)
    _raise_for_size(caught, size)
    leaves, rebuild = trees.flatten(result)
    # What is no array and was given, such as the activations of a model, is handed through.
    through = {id(x) for row in arguments for x in row if callable(x)}
    own = [id(x) not in through for x in leaves]
    if any(own):
        rebuild = _rebuild_around(leaves, own, rebuild)
        leaves = [x for x, mine in zip(leaves, own, strict=True) if mine]
    outputs = tuple(x.node if isinstance(x, Tracer) else _constant_output(x, f) for x in leaves)
    graph = Graph(tuple(inputs), outputs, title=getattr(f, "__name__", "f"))
    _refuse_strays(graph, f)
    number_names(graph)
    lost = tuple(name for name, node in changes.items() if not any(node is x for x in outputs))
    return Traced(graph, arguments, rebuild, rows if isinstance(size, int) else {}, lost, caught)


def _refuse_strays(graph: Graph, f: Callable[..., Any]) -> None:
    """Raise an error where the graph needs an argument of another function, which is being traced around this one."""
    stray = next((x for x in graph.nodes if x.op is INPUT and x not in graph.inputs), None)
    if stray is not None:
        raise EscapedTracerError(
            f"{describe_function(f)} uses {stray.name}, a traced value of another function. Pass it as an argument."
        )


@contextmanager
def _recording(trace: NotingTrace) -> Iterator[None]:
    """While the function runs: what it calls sees that, and names are taken down as functions return."""
    token = tracing.set(True)
    try:
        with watch_returns(trace.name_left, holds_user_code) if trace.named else nullcontext():
            yield
    finally:
        tracing.reset(token)
        trace.open = False


def _raise_for_size(caught: list[UndertowError], size: Size | None) -> None:
    """Raise once more what was caught for the lack of a size: with a number there might be nothing to catch."""
    for error in caught:
        if isinstance(size, Dim) and isinstance(error, NeedsConcreteSize | ShapeError):
            raise error


def _rebuild_around(leaves: list[Any], own: list[bool], rebuild: trees.Rebuild) -> trees.Rebuild:
    """Make the function that puts a graph's outputs into the tree of a result, beside the leaves that are no output."""
    if all(own):
        return rebuild

    def put(values: list[Any]) -> Any:
        rest = iter(values)
        return rebuild([next(rest) if mine else x for x, mine in zip(leaves, own, strict=True)])

    return put


def _refuse_dtype(dtype: np.dtype[Any], what: str) -> None:
    """DTypeError for complex numbers and objects."""
    if dtype.kind not in "fiub":
        remedy = f"Use real numbers{'; complex ones are out of scope for now' if dtype.kind == 'c' else ''}."
        if dtype.kind in "USO":
            remedy = "Use real numbers; classes are numbered by np.unique(y, return_inverse=True)[1]."
        raise DTypeError(f"{what} is {dtype}, which cannot be traced. {remedy}")


def _constant_output(x: Any, f: Callable[..., Any]) -> Node:
    """Make a constant of what a function returned without using its arguments."""
    if not is_array_like(x) and not isinstance(x, bool):
        if inspect.iscoroutine(x):
            x.close()  # else Python warns that nobody awaited it
        raise NonScalarError(
            f"{describe_function(f)} returned {type(x).__name__}, not numbers. Return numbers and arrays."
        )
    _refuse_dtype(P.dtype_of(x), f"what {describe_function(f)} returned")
    return constant(x)


def number_names(graph: Graph) -> None:
    """Make names unique: a variable assigned in a loop becomes z1, z2, …; one that already is, stays."""
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.name:
            node.name = node.name.rstrip("?")
            groups.setdefault(node.name, []).append(node)
    taken = {name for name, nodes in groups.items() if len(nodes) == 1 or nodes[0].op is INPUT}
    for name, nodes in groups.items():
        if len(nodes) == 1:
            continue
        if nodes[0].op is INPUT and sum(x.op is INPUT for x in nodes) == 1:
            nodes = nodes[1:]  # an argument keeps its name
        number = 0
        for node in nodes:
            number += 1
            while (new := f"{name}{'_' if name[-1].isdigit() else ''}{number}") in taken:
                number += 1
            taken.add(new)
            node.name = new
