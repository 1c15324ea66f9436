"""Finished plans on disk, beside the kernels: another process that compiles the same network need not plan it again.

A plan follows from its graph, a few options, our own source, and the processor. An entry's name is a digest of all of
them, so what is found under it is what planning would come to. A graph that a digest cannot tell from every other one
(an operation of a user's own, a parameter of a kind unknown here) has no name and is planned anew; so is what holds in
one process alone: calls of other libraries, operations that NumPy does.

Entries are written, checked, shared by processes and removed as kernels are (`cache`).
"""

from __future__ import annotations

import hashlib
import marshal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from undertow.compile.cache import digest_of, folder, keep, read
from undertow.compile.finish import Finish
from undertow.compile.kernel import Line
from undertow.compile.plan import STATUS, TOLD, Argument, Buffer, Call, Place, Plan, Scratch
from undertow.compile.statistics import STATISTICS
from undertow.compile.waits import Touch
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, Spec
from undertow.primitives import REGISTRY
from undertow.primitives.index import Pick, Slice

FEWEST = 100  # nodes of a graph below which planning takes about as long as reading a file
LARGEST = 1 << 20  # bytes of constants above which a plan is not kept
PLAIN = (int, float, complex, bool, str, bytes, type(None), EllipsisType)
SINGLE = {"status": STATUS, "told": TOLD}
RECORDS = {"Finish": Finish, "Line": Line}


class NotTold(Exception):
    """Something that has no text of its own, or is too large to be kept."""


class NotAPlan(Exception):
    """What was kept under a plan's name is something else."""


def plan_for(
    graph: Graph,
    sizes: dict[str, int],
    threads: int,
    donated: dict[int, int] | None = None,
    fallback: str | None = None,
) -> Plan:
    """Plan a graph, or find the plan that another process has made of the same one.

    Args:
        graph: simplified; its sizes may be symbols.
        sizes: the number of each symbol.
        threads: that take part.
        donated: for an output, by number, the input whose memory it takes.
        fallback: ``"numpy"`` lets NumPy do what does not compile.

    Returns:
        The plan; one from disk has no graph.

    Raises:
        UnsupportedError: an operation does not compile, and there is no fallback.
    """

    @cache
    def anew() -> Plan:
        from undertow.compile.expand import expand  # a process that finds its plans does without
        from undertow.compile.planner import make_plan

        return make_plan(expand(graph, sizes), threads, donated, fallback)

    if len(graph) < FEWEST:
        return anew()
    try:
        told = tell_graph(graph), sorted(sizes.items()), threads, sorted((donated or {}).items()), fallback
    except NotTold:
        return anew()
    name = digest_of(repr(("plan", _origin(), told)))
    found = read(folder(), name)
    if found is not None:
        with suppress(NotAPlan):
            return from_bytes(found, lambda kernel: anew().kernels[kernel])
    plan = anew()
    if plan.portable:
        try:
            data = to_bytes(plan)
        except NotTold:
            return plan
        keep(folder(), name, data)
    return plan


@cache
def _origin() -> str:
    """What plans depend on besides the graph and what `name_of` counts in: what graphs are made of, and NumPy."""
    digest = hashlib.sha256(f"{sys.version} {np.__version__}".encode())
    package = Path(__file__).parent.parent
    for part in ("graph", "primitives", "trace"):
        for path in sorted((package / part).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


# ---- the graph, as text --------------------------------------------------------------------------


def tell_graph(graph: Graph) -> Any:
    """Return all that a plan takes from a graph, as plain values whose texts are equal where they are.

    Raises:
        NotTold: an operation is not of ours, or something of a node has no text of its own.
    """
    number = {node: i for i, node in enumerate(graph.nodes)}
    kinds: dict[Any, int] = {}  # what many nodes have in common is told once
    nodes = [
        (
            kinds.setdefault((node.op, node.spec, node.line, node.backward), len(kinds)), node.name, node.ct_of,
            [number[x] for x in node.inputs], _tell_rest(node) if node.params or node.value is not None else None,
        )
        for node in graph.nodes
    ]  # fmt: skip
    told = [(_tell_operation(op), tell(spec.shape), spec.dtype.str, spec.weak, *rest) for op, spec, *rest in kinds]
    return told, nodes, len(graph.inputs), [number[x] for x in graph.outputs]


def _tell_operation(op: Any) -> Any:
    name = op.name
    if op is not INPUT and op is not CONSTANT and op is not STATISTICS and REGISTRY.get(name) is not op:
        raise NotTold  # a user's own may mean something else in the next process
    return name


def _tell_rest(node: Node) -> Any:
    """Return the parameters of an operation, or the value of a constant."""
    if node.op is CONSTANT:
        return tell_value(node.value)
    if node.value is not None:
        raise NotTold
    return [(key, tell(value)) for key, value in sorted(node.params.items())]


def tell(value: Any) -> Any:
    """Return a parameter as plain values; its kind goes with it where the text would not say it.

    Raises:
        NotTold: its kind is not known here.
    """
    kind = type(value)
    if kind in PLAIN:
        return value if value == value else _tell_nan(value)
    if kind is tuple:
        return tuple([tell(x) for x in value])
    if isinstance(value, np.dtype) and not value.hasobject and value.fields is None:
        return "dtype", value.str
    if kind in (Dim, Slice, Pick):
        return kind.__name__, *[getattr(value, field) for field in kind.__dataclass_fields__]
    if isinstance(value, np.generic):
        return tell_value(value)
    raise NotTold


def _tell_nan(value: float | complex) -> Any:
    """Return a NaN as its bits: the text of each is the same, whatever its sign."""
    return "nan", np.array(value).tobytes()


def tell_value(value: Any) -> Any:
    """Return a constant as plain values; an array by a digest of its bytes.

    Raises:
        NotTold: it is neither a number nor an array of numbers.
    """
    if type(value) in (int, float, bool):
        return value if value == value else _tell_nan(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub" and value.nbytes <= LARGEST:
        kind = "array" if isinstance(value, np.ndarray) else "number"
        return kind, value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    raise NotTold


# ---- the plan, as bytes --------------------------------------------------------------------------


def to_bytes(plan: Plan) -> bytes:
    """Return a plan as bytes: `marshal` of plain values, which reading does not run.

    Raises:
        NotTold: it holds something that is not plain, or constants too large to be kept.
    """
    buffers: dict[Buffer, int] = {}

    def place(x: Argument) -> Any:
        if isinstance(x, Place):
            return buffers.setdefault(x.buffer, len(buffers)), int(x.offset)
        return None if isinstance(x, Scratch) else int(x)

    def touch(x: Touch) -> Any:
        part = tuple(map(int, x.part)) if isinstance(x.part, tuple) else x.part
        return buffers.setdefault(x.buffer, len(buffers)), bool(x.writes), part

    calls = [
        (
            x.kernel, x.what, bool(x.shared), float(x.flops), float(x.moved), int(x.scratch), x.kind, int(x.item),
            int(x.fails), [place(argument) for argument in x.args],
            None if x.touches is None else [touch(t) for t in x.touches],
            None if x.target is None else buffers.setdefault(x.target, len(buffers)),
            _record(x.finish),
        )
        for x in plan.calls
    ]  # fmt: skip
    outputs = [buffers.setdefault(x, len(buffers)) for x in plan.outputs]
    in_arena = [buffers.setdefault(x, len(buffers)) for x in plan.buffers]
    sizes = [int(x) for x in (plan.arena, plan.scratch_at, plan.least, plan.n_told, plan.told_by)]
    kernels = [(name, function) for name, (_, function) in plan.kernels.items()]
    specs = [[_spec(x) for x in values] for values in (plan.inputs, plan.results)]
    memory = [_buffer(x) for x in buffers]
    if sum(x.array.nbytes for x in buffers if x.array is not None) > LARGEST:
        raise NotTold
    return marshal.dumps((plan.threads, sizes, kernels, specs, memory, calls, outputs, in_arena))


def _spec(spec: Spec) -> Any:
    return tuple([int(size) for size in spec.shape]), spec.dtype.str, bool(spec.weak)  # type: ignore[arg-type]


def _buffer(x: Buffer) -> tuple[Any, ...]:
    if x.role == "address":
        raise NotTold
    array = None if x.array is None else (x.array.dtype.str, x.array.shape, x.array.tobytes())
    return int(x.size), x.role, int(x.number), array, int(x.offset), int(x.first), int(x.last)


def _record(value: Any) -> Any:
    """Return tuples, and records among them, as tuples that begin with what they are."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is tuple or RECORDS.get(kind.__name__) is kind:
        return kind.__name__, *[_record(x) for x in value]
    raise NotTold


def from_bytes(data: bytes, writer: Callable[[str], tuple[Callable[..., object], str]]) -> Plan:
    """Return the plan that `to_bytes` wrote.

    Args:
        data: what it returned.
        writer: called with a kernel's name where its machine code is lost: what writes it, and its function's name.

    Raises:
        NotAPlan: the bytes are something else.
    """
    try:
        return _read_plan(data, writer)
    except (ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise NotAPlan from error


def _read_plan(data: bytes, writer: Callable[[str], tuple[Callable[..., object], str]]) -> Plan:
    threads, sizes, kernels, specs, memory, calls, outputs, in_arena = marshal.loads(data)
    buffers = [SINGLE.get(role) or Buffer(size, role, number, _array(array), *when)
               for size, role, number, array, *when in memory]  # fmt: skip
    plan = Plan(None, threads)
    plan.arena, plan.scratch_at, plan.least, plan.n_told, plan.told_by = sizes
    plan.kernels = {name: (_late(writer, name), function) for name, function in kernels}
    plan.inputs, plan.results = [[Spec(shape, np.dtype(dtype), weak) for shape, dtype, weak in x] for x in specs]
    plan.outputs, plan.buffers = [buffers[i] for i in outputs], [buffers[i] for i in in_arena]
    plan.calls = [_call(x, buffers) for x in calls]
    return plan


def _late(writer: Callable[[str], tuple[Callable[..., object], str]], name: str) -> Callable[..., object]:
    return lambda module: writer(name)[0](module)


def _array(told: Any) -> Any:
    return None if told is None else np.frombuffer(told[2], told[0]).reshape(told[1]).copy()


def _call(told: Sequence[Any], buffers: Sequence[Buffer]) -> Call:
    kernel, what, shared, flops, moved, scratch, kind, item, fails, args, touches, target, finish = told
    places: list[Argument] = [
        x if type(x) is int else Scratch() if x is None else Place(buffers[x[0]], x[1]) for x in args
    ]
    touched = None if touches is None else [Touch(buffers[i], writes, part) for i, writes, part in touches]
    call = Call(kernel, places, what, shared, flops, moved, scratch=scratch, touches=touched)
    call.target = None if target is None else buffers[target]
    call.kind, call.item, call.fails, call.finish = kind, item, fails, _from_record(finish)
    return call


def _from_record(told: Any) -> Any:
    if type(told) is not tuple:
        return told
    values = [_from_record(x) for x in told[1:]]
    return RECORDS[told[0]](*values) if told[0] in RECORDS else tuple(values)
