"""From a graph to a table of kernel calls: what is computed together, by which kernel, and where it lies in memory."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from undertow import primitives as P
from undertow.compile import moves
from undertow.compile.access import REDUCTIONS, Access, Reader, is_reduction, long_axes, row_major, squeeze, whole
from undertow.compile.fuse import Cluster, Fuser, Item, reduced_axes
from undertow.compile.kernel import Line, Operand, Structure, saved_lines, size_of, stages, write_kernel
from undertow.compile.llvm import lanes_of
from undertow.compile.memory import Arena, align
from undertow.compile.product import scratch_bytes, write_product
from undertow.compile.scalars import kind_of, operand_kinds
from undertow.errors import UnsupportedError
from undertow.graph import CONSTANT, INPUT, Graph, Node
from undertow.primitives.index import Pick, Slice

WORTH_SHARING = 40_000  # element operations below which a second thread costs more than it saves
LONG_ROW = 1024  # columns above which a float32 sum is added up in float64


@dataclass(eq=False)
class Buffer:
    """Memory of one value.

    Attributes:
        size: bytes.
        role: ``arena``, or whose memory it is: ``input``, ``output``, ``constant``.
        number: of the input or output.
        array: a constant's.
        offset: in the arena.
    """

    size: int
    role: str = "arena"
    number: int = -1
    array: Any = None
    offset: int = -1
    first: int = -1
    last: int = -1


class Place(NamedTuple):
    """An address that is not known yet: bytes behind the beginning of a buffer."""

    buffer: Buffer
    offset: int = 0


class Scratch(NamedTuple):
    """The address of the scratch memory that all kernels share in turn."""


Argument = int | Place | Scratch


@dataclass
class Call:
    """One entry of the table.

    Attributes:
        kernel: the name of its code.
        args: its table of numbers.
        what: for people: the values it computes.
        shared: threads share it.
        flops: floating-point operations.
        moved: bytes read and written.
        node: for an operation that NumPy does, that operation.
    """

    kernel: str
    args: list[Argument]
    what: str
    shared: bool = False
    flops: float = 0
    moved: float = 0
    node: Node | None = None
    scratch: int = 0  # bytes for each thread


@dataclass
class Plan:
    """A program for fixed sizes, ready to be given addresses.

    Attributes:
        graph: what it computes.
        calls: in order.
        kernels: by name, what writes a kernel and the name of its function.
        buffers: those in the arena.
        arena: bytes of it, scratch memory included.
        least: the largest number of bytes alive at once: no arena can be smaller.
        outputs: where each result is.
        donated: outputs that take the place of an input, by number.
        read_by_numpy: of each operation that NumPy does, what it reads.
        written_by_numpy: where the result of each goes.
    """

    graph: Graph
    threads: int
    calls: list[Call] = field(default_factory=list)
    kernels: dict[str, tuple[Callable[..., object], str]] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    arena: int = 0
    scratch_at: int = 0
    least: int = 0
    outputs: list[Buffer] = field(default_factory=list)
    read_by_numpy: dict[Node, list[tuple[Buffer, Access]]] = field(default_factory=dict)
    written_by_numpy: dict[Node, Buffer] = field(default_factory=dict)


def make_plan(graph: Graph, threads: int, donated: dict[int, int] | None = None, fallback: str | None = None) -> Plan:
    """Plan a graph whose sizes are numbers.

    Args:
        graph: made by `expand`.
        threads: that take part.
        donated: for an output, by number, the input whose memory it takes.
        fallback: ``"numpy"`` lets NumPy do what does not compile.

    Returns:
        The plan.

    Raises:
        UnsupportedError: an operation does not compile, and there is no fallback.
    """
    return _Planner(graph, threads, donated or {}, fallback).plan


class _Planner:
    def __init__(self, graph: Graph, threads: int, donated: dict[int, int], fallback: str | None) -> None:
        self.plan = Plan(graph, threads)
        self.threads, self.fallback = threads, fallback
        self.reader = Reader(graph)
        self.outputs = [self.own_output(node) for node in graph.outputs]
        for i, node in enumerate(self.outputs):  # each output has memory of its own
            if node in self.outputs[:i]:
                self.outputs[i] = self.again(node)
        self.fuser = Fuser(self.reader)
        self.fuser.sink(frozenset(self.outputs))
        self.items = self.fuser.schedule()
        self.when = {node: i for i, item in enumerate(self.items) for node in item.nodes}
        self.buffers: dict[Node, Buffer] = {}
        self.totals: dict[Node, tuple[Buffer, int, str]] = {}
        self.number = {node: i for i, node in enumerate(graph.inputs)}
        self.readers: dict[Node, list[int]] = {}
        for i, item in enumerate(self.items):
            for node in item.nodes:
                for base in self.reader.bases(node):
                    self.readers.setdefault(base, []).append(i)
        self.copies: list[tuple[Node, int]] = []
        self.claim_outputs(donated)
        for i, item in enumerate(self.items):
            self.now = i
            self.write_item(item)
        for node, target in self.copies:
            self.now = len(self.items)
            self.write_copy(whole(node), Place(Buffer(0, "input", target)), row_major(node.spec.shape), node)  # type: ignore[arg-type]
        self.lay_out()

    # ---- outputs ------------------------------------------------------------------------------

    def own_output(self, node: Node) -> Node:
        access = self.reader.read(node)
        base = access.base
        if access == whole(base) and base.spec.shape == node.spec.shape and base.op is not INPUT and base.op is not CONSTANT:
            return base
        return self.again(node)

    def again(self, node: Node) -> Node:
        """Insert a copy."""
        new = Node(P.identity, (node,), {}, node.spec)
        new.line, new.name = node.line, node.name
        self.reader.order.append(new)
        self.reader.found[new] = whole(new)
        return new

    def claim_outputs(self, donated: dict[int, int]) -> None:
        """Give each output its memory: the caller's, or in place of an input that nothing reads any more."""
        inputs = self.plan.graph.inputs
        for number, node in enumerate(self.outputs):
            target = donated.get(number)
            if target is None:
                self.buffers[node] = Buffer(self.bytes_of(node), "output", number)
            elif self.may_replace(node, inputs[target]):
                self.buffers[node] = Buffer(self.bytes_of(node), "input", target)
            else:
                self.copies.append((node, target))
        self.plan.outputs = [self.buffers.get(node) or self.buffer(node) for node in self.outputs]

    def may_replace(self, node: Node, old: Node) -> bool:
        """Tell whether a value may be written where an input lies, while that input is still read."""
        when = self.when[node]
        if any(i > when for i in self.readers.get(old, ())):
            return False
        if when not in self.readers.get(old, ()):
            return True
        item = self.items[when]
        if not isinstance(item, Cluster) or item.level[node] != "full" or item.order:
            return False
        place = row_major(item.space)
        readers = [x for x in item.nodes if old in self.reader.bases(x)]
        for reader in readers:
            for access in self.reader.operands(reader):
                if access.base is old and (squeeze(access, access.shape) != place or access.offset):
                    return False
        structure, numbers = self.lines_of(item)
        passes, _ = stages(structure)
        at = passes[numbers[node]]
        return all(
            passes[numbers[x]] - (structure.lines[numbers[x]].reduces == "columns") <= at for x in readers
        )

    # ---- memory -------------------------------------------------------------------------------

    def bytes_of(self, node: Node) -> int:
        shape: Any = node.spec.shape
        return int(math.prod(shape)) * node.spec.dtype.itemsize

    def buffer(self, node: Node) -> Buffer:
        """Return the memory of a value."""
        if node not in self.buffers:
            if node.op is INPUT:
                self.buffers[node] = Buffer(self.bytes_of(node), "input", self.number[node])
            elif node.op is CONSTANT:
                array = np.ascontiguousarray(np.asarray(node.value, node.spec.dtype)).reshape(np.shape(node.value))
                self.buffers[node] = Buffer(array.nbytes, "constant", array=array)
            else:
                made = Buffer(self.bytes_of(node))
                made.first = self.when[node]
                made.last = max(self.readers.get(node, [made.first]))
                if node in self.outputs:
                    made.last = len(self.items)
                self.buffers[node] = made
                self.plan.buffers.append(made)
        return self.buffers[node]

    def temporary(self, size: int, last: int) -> Buffer:
        made = Buffer(size, first=self.now, last=last)
        self.plan.buffers.append(made)
        return made

    def place(self, access: Access) -> Place:
        return Place(self.buffer(access.base), access.offset * access.base.spec.dtype.itemsize)

    def lay_out(self) -> None:
        """Give every buffer of the arena its offset."""
        arena = Arena()
        begin: dict[int, list[Buffer]] = {}
        end: dict[int, list[Buffer]] = {}
        for made in self.plan.buffers:
            begin.setdefault(made.first, []).append(made)
            end.setdefault(made.last, []).append(made)
        alive = least = 0
        for now in range(len(self.items) + 1):
            for made in begin.get(now, ()):
                made.offset = arena.take(made.size)
                alive += align(max(made.size, 1))
            least = max(least, alive)
            for made in end.get(now, ()):
                arena.give_back(made.offset, made.size)
                alive -= align(max(made.size, 1))
        scratch = align(max((call.scratch for call in self.plan.calls), default=0))
        self.plan.scratch_at = arena.size
        self.plan.arena = arena.size + scratch * self.threads
        self.plan.least = least + scratch * self.threads
        for call in self.plan.calls:
            if Scratch() in call.args:
                call.args[call.args.index(Scratch()) + 1] = scratch

    # ---- items --------------------------------------------------------------------------------

    def add(self, call: Call, key: object, write: Callable[..., object], function: str = "kernel") -> None:
        call.kernel = _name(key)
        self.plan.kernels.setdefault(call.kernel, (write, function))
        self.plan.calls.append(call)

    def write_item(self, item: Item) -> None:
        if isinstance(item, Cluster):
            self.write_cluster(item)
            return
        (node,) = item.nodes
        op: Any = node.op
        writer = getattr(self, f"write_{op.name}", None)
        if writer is None or not writer(node):
            self.write_by_numpy(node)

    def write_by_numpy(self, node: Node) -> None:
        op: Any = node.op
        if self.fallback != "numpy":
            where = f" ({node.line})" if node.line else ""
            raise UnsupportedError(
                f"{op.name}{where} of {', '.join(str(x.spec) for x in node.inputs)} does not compile. "
                'Write it in other operations, or pass fallback="numpy", which lets NumPy compute it between the kernels.'
            )
        reads = [self.reader.read(x) for x in node.inputs]
        self.plan.read_by_numpy[node] = [(self.buffer(access.base), access) for access in reads]
        self.plan.written_by_numpy[node] = self.buffer(node)
        self.plan.calls.append(Call("numpy", [], f"{op.name} by NumPy", node=node))

    # ---- clusters -----------------------------------------------------------------------------

    def lines_of(self, cluster: Cluster) -> tuple[Structure, dict[Node, int]]:
        """Return the structure of a cluster without knowing where its operands lie, and the number of each node's line."""
        structure, _, numbers, _ = self.describe(cluster, dry=True)
        return structure, numbers

    def describe(self, cluster: Cluster, dry: bool = False) -> tuple[Structure, list[Argument], dict[Node, int], bool]:
        """Return the structure of a cluster, its arguments, the number of each node's line, and whether it is shared."""
        numbers = {node: i for i, node in enumerate(cluster.nodes)}
        operands: dict[Any, int] = {}
        reads: list[tuple[tuple[str, Any], ...]] = []
        for node in cluster.nodes:
            level = self.level_of_reading(cluster, node)
            words: list[tuple[str, Any]] = []
            for k, access in enumerate(self.reader.operands(node)):
                base = access.base
                if base in numbers:
                    words.append(("v", numbers[base]))
                elif base.op is CONSTANT and base.spec.shape == () and not is_reduction(node):
                    words.append(("c", _number(base.value)))
                else:
                    strides = squeeze(access, access.shape)
                    if cluster.order and level == "full" and is_reduction(node):
                        strides = tuple(strides[i] for i in cluster.order)
                    words.append(("o", operands.setdefault((base, access.offset, strides, level), len(operands))))
            reads.append(tuple(words))
        stores = [numbers[node] for node in cluster.nodes if self.is_stored(cluster, node)]
        split, rows, columns, merged = self.merge_axes(cluster, [(key[2], key[3]) for key in operands])
        work = math.prod(cluster.space) * max(len(cluster.nodes), 1)
        by_columns = not rows
        sums = any(is_reduction(x) and cluster.level[x] == "row" for x in cluster.nodes)
        shared = self.threads > 1 and work >= WORTH_SHARING and not (by_columns and sums)
        if by_columns and sums:  # one row whose sum is wanted at once
            rows, by_columns = [1], False
            merged = [((0, *strides) if level == "full" else (0,)) for strides, (_, level) in zip(merged, [(k[2], k[3]) for k in operands], strict=True)]
            split = 1
        lines = tuple(self.line(cluster, node, reads[i], columns) for i, node in enumerate(cluster.nodes))
        described = []
        floats = {line.kind for line in lines}
        for (base, _, _, level), strides in zip(operands, merged, strict=True):
            kind = str(kind_of(base.spec.dtype))
            floats.add(kind)
            words_ = ["0" if s == 0 else "g" for s in strides[:split]], [
                "0" if s == 0 else "1" if s == 1 and i == len(columns) - 1 else "g"
                for i, s in enumerate(strides[split:])
            ]
            parts, join, stored = 0, "", ""
            if not dry and base in self.totals:
                parts, stored = self.totals[base][1], self.totals[base][2]
                join = REDUCTIONS[base.op.name]
            described.append(Operand(kind, level, "".join(words_[0]), "".join(words_[1]), parts, join, stored))
        lanes = lanes_of("f32" if "f32" in floats else "f64")
        structure = Structure(len(rows), len(columns), tuple(described), lines, tuple(stores), by_columns, lanes)
        if dry:
            return structure, [], numbers, shared
        args: list[Argument] = [*rows, *columns, Scratch(), 0]
        for (base, offset, _, _), strides, o in zip(operands, merged, described, strict=True):
            if o.parts:
                made, _, stored = self.totals[base]
                args.append(Place(made))
            else:
                args.append(Place(self.buffer(base), offset * base.spec.dtype.itemsize))
            args += [s for s, word in zip(strides, o.rows + o.columns, strict=True) if word == "g"]
            if o.parts > 1:
                args.append(self.totals[base][0].size // o.parts // size_of(o.stored))
        args += [Place(self.buffer(cluster.nodes[i])) for i in stores]
        for node, line in zip(cluster.nodes, lines, strict=True):
            if line.reduces and line.reduces != "columns":
                count = math.prod(long_axes(node.spec.shape))  # type: ignore[arg-type]
                per_thread = align(max(count, 1) * size_of(line.kind)) if shared else max(count, 1) * size_of(line.kind)
                parts = self.threads if shared else 1
                made = self.temporary(per_thread * parts, max(self.readers.get(node, [self.now])))
                self.totals[node] = made, parts, line.kind
                args += [Place(made), per_thread // size_of(line.kind)]
        return structure, args, numbers, shared

    def level_of_reading(self, cluster: Cluster, node: Node) -> str:
        """Tell whether a node reads an element a place or one a row."""
        if is_reduction(node):
            bases = self.reader.bases(node)
            if bases[0] in cluster.level and cluster.level[bases[0]] == "row":
                return "row"
            space = long_axes(node.inputs[0].spec.shape)  # type: ignore[arg-type]
            same = len(space) == len(cluster.space)
            return "full" if same else "row"
        return cluster.level[node]

    def is_stored(self, cluster: Cluster, node: Node) -> bool:
        """Tell whether a value of a cluster has to be in memory."""
        if cluster.level[node] == "total":
            return False
        return node in self.outputs or any(i != self.when[node] for i in self.readers.get(node, ()))

    def merge_axes(
        self, cluster: Cluster, operands: list[tuple[tuple[int, ...], str]]
    ) -> tuple[int, list[int], list[int], list[tuple[int, ...]]]:
        """Make one axis of neighbours wherever every operand allows it; decide which are rows."""
        space = cluster.space
        split = cluster.split
        groups: list[list[int]] = []
        for i in range(len(space)):
            if groups and i != split and all(
                strides[i - 1] == strides[i] * space[i] for strides, level in operands if i < len(strides) and (level == "full" or i < (split or 0))
            ):
                groups[-1].append(i)
            else:
                groups.append([i])
        n_rows = sum(1 for g in groups if split is not None and g[0] < split)
        if split is None:
            n_rows = max(len(groups) - 1, 0)
        sizes = [math.prod(space[i] for i in g) for g in groups]
        merged = []
        for strides, level in operands:
            kept = groups[:n_rows] if level == "row" else groups
            merged.append(tuple(strides[g[-1]] for g in kept))
        rows, columns = sizes[:n_rows], sizes[n_rows:]
        if not columns:
            columns = [1]
            merged = [(*m, 0) if level == "full" else m for m, (_, level) in zip(merged, operands, strict=True)]
        return n_rows, rows, columns, merged

    def line(self, cluster: Cluster, node: Node, reads: tuple[tuple[str, Any], ...], columns: list[int]) -> Line:
        op: Any = node.op
        kind = str(kind_of(node.spec.dtype))
        level = cluster.level[node]
        if not is_reduction(node):
            hidden = ("axis", "shape", "dtype", "low", "high") if op.name != "round" else ()
            params = tuple(sorted((k, v) for k, v in node.params.items() if k not in hidden))
            return Line(op.name, level, reads, operand_kinds(node) or (), kind, params)
        join = REDUCTIONS[op.name]
        reading = self.level_of_reading(cluster, node)
        n = len(long_axes(node.inputs[0].spec.shape))  # type: ignore[arg-type]
        axes = reduced_axes(node)
        reduces = "columns" if level == "row" else "row values" if reading == "row" else "all" if len(axes) == n else "rows"
        added = kind
        if kind == "f32" and join == "sum" and (reduces != "columns" or math.prod(columns) > LONG_ROW):
            added = "f64"
        if level == "full":
            return Line("identity", level, reads, (kind,), kind)
        return Line(join, level, reads, (), added, (), reduces, kind)

    def write_cluster(self, cluster: Cluster) -> None:
        structure, args, _, shared = self.describe(cluster)
        names = [_called(node) for node in cluster.nodes if self.is_stored(cluster, node) or node in self.totals]
        elements = math.prod(cluster.space)
        moved = sum(min(a.buffer.size, 8 * elements) for a in args if isinstance(a, Place))
        call = Call("", args, ", ".join(names), shared, elements * len(cluster.nodes), moved)
        call.scratch = 8 * math.prod(cluster.space[cluster.split or 0 :]) * len(saved_lines(structure))
        self.add(call, structure, lambda module: write_kernel(module, "kernel", structure))

    # ---- products -----------------------------------------------------------------------------

    def write_matmul(self, node: Node) -> bool:
        kind = kind_of(node.spec.dtype)
        if kind not in ("f32", "f64") or any(x.spec.dtype != node.spec.dtype for x in node.inputs):
            return False
        a, b = (self.reader.read(x) for x in node.inputs)
        if len(a.shape) == 1:
            a = Access(a.base, a.offset, (1, *a.shape), (0, *a.strides))
        if len(b.shape) == 1:
            b = Access(b.base, b.offset, (*b.shape, 1), (*b.strides, 0))
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        lead_a, lead_b = (_lead(x, batch) for x in (a, b))
        lead_c = tuple(stride * m * n for stride in row_major(batch))
        axis = _batch_axis(batch, lead_a, lead_b, lead_c)
        outer = [()] if axis is None else list(np.ndindex(*[s for i, s in enumerate(batch) if i not in axis]))
        count = 1 if axis is None else math.prod(batch[i] for i in axis)
        others = [] if axis is None else [i for i in range(len(batch)) if i not in axis]
        last = None if axis is None else axis[-1]
        one, zero = (int.from_bytes(struct.pack("f" if kind == "f32" else "d", v), "little") for v in (1.0, 0.0))
        item = node.spec.dtype.itemsize
        for place in outer:
            shift = [sum(p * lead[i] for p, i in zip(place, others, strict=True)) for lead in (lead_a, lead_b, lead_c)]
            steps = [0, 0, 0] if last is None else [lead[last] for lead in (lead_a, lead_b, lead_c)]
            split = 2 if count >= self.threads and count > 1 else 0 if m >= n or m >= 16 * self.threads else 1
            flops = 2.0 * m * n * k * count
            args: list[Argument] = [
                Place(self.buffer(a.base), (a.offset + shift[0]) * item), Place(self.buffer(b.base), (b.offset + shift[1]) * item),
                Place(self.buffer(node), shift[2] * item), m, n, k, *_matrix(a), *_matrix(b), n, one, zero, count, *steps,
                split, Scratch(), 0,
            ]  # fmt: skip
            shared = self.threads > 1 and flops > 100_000
            moved = (m * k + k * n + m * n) * item * count
            call = Call("", args, f"{_called(node)} ({m} × {k} × {n})", shared, flops, moved)
            call.scratch = scratch_bytes(kind, m, n, k, _matrix(b)[1] != 1)
            self.add_product(call, kind)
        return True

    def add_product(self, call: Call, kind: str) -> None:
        lanes = lanes_of(kind)
        self.add(call, ("product", kind, lanes), lambda module: write_product(module, kind, lanes), f"product_{kind}")

    # ---- moves --------------------------------------------------------------------------------

    def write_copy(self, source: Access, to: Place, strides: tuple[int, ...], node: Node) -> None:
        """Copy an access to a place with other strides."""
        item = node.spec.dtype.itemsize
        pairs = [(n, s, t) for n, s, t in zip(source.shape, source.strides, strides, strict=True) if n != 1]
        merged: list[tuple[int, int, int]] = []
        for n, s, t in pairs:
            if merged and merged[-1][1] == s * n and merged[-1][2] == t * n:
                merged[-1] = (merged[-1][0] * n, s, t)
            else:
                merged.append((n, s, t))
        count = moves.COPY_AXES
        if len(merged) > count:
            raise UnsupportedError(f"{_called(node)} ({node.line}) has more than {count} axes that do not join.")
        merged = [(1, 0, 0)] * (count - len(merged)) + merged
        if merged[0][0] == 1 and len(pairs):  # threads share the first axis
            merged.sort(key=lambda axis: axis[0] == 1)
        args: list[Argument] = [self.place(source), to, *[n for n, _, _ in merged], *[s for _, s, _ in merged], *[t for _, _, t in merged]]
        size = math.prod(source.shape) * item
        call = Call("", args, _called(node), self.threads > 1 and size > 4 * WORTH_SHARING, 0, 2 * size)
        self.add(call, ("copy", item), lambda module: moves.write_copy(module, item), f"copy{item}")

    def fill(self, node: Node) -> None:
        size = self.bytes_of(node)
        call = Call("", [Place(self.buffer(node)), size], _called(node), self.threads > 1 and size > 8 * WORTH_SHARING, 0, size)
        self.add(call, ("fill",), moves.write_fill, "fill")

    def put(self, node: Node, source: Access, start: int, strides: tuple[int, ...]) -> None:
        """Copy a part of a value to where it belongs."""
        if math.prod(source.shape):
            self.write_copy(source, Place(self.buffer(node), start * node.spec.dtype.itemsize), strides, node)

    def write_concatenate(self, node: Node) -> bool:
        if any(x.spec.dtype != node.spec.dtype for x in node.inputs):
            return False
        shape: Any = node.spec.shape
        strides, axis, at = row_major(shape), node.params["axis"] % len(shape), 0
        for x in node.inputs:
            access = self.reader.read(x)
            self.put(node, access, at * strides[axis], strides)
            at += access.shape[axis]
        return True

    def write_index_update(self, node: Node) -> bool:
        if len(node.inputs) != 2 or any(x.spec.dtype != node.spec.dtype for x in node.inputs):
            return False
        target = self.target(node, node.params["index"])
        if target is None:
            return False
        self.put(node, self.reader.read(node.inputs[0]), 0, row_major(node.spec.shape))  # type: ignore[arg-type]
        self.put(node, _spread(self.reader.read(node.inputs[1]), target.shape), target.offset, target.strides)
        return True

    def target(self, node: Node, index: Any) -> Access | None:
        """Return which part of a value an index without arrays of positions names."""
        from undertow.compile.access import _getitem

        return _getitem(whole(node), index)

    def write_pad(self, node: Node) -> bool:
        options = dict(node.params["options"])
        (x,) = node.inputs
        if node.params["mode"] != "constant" or any(np.any(v) for v in options.values()) or x.spec.dtype != node.spec.dtype:
            return False
        width = node.params["width"]
        strides = row_major(node.spec.shape)  # type: ignore[arg-type]
        try:
            before = [int(pair[0]) for pair in np.broadcast_to(np.asarray(width), (len(x.spec.shape), 2))]
        except ValueError:
            return False
        self.fill(node)
        self.put(node, self.reader.read(x), sum(b * s for b, s in zip(before, strides, strict=True)), strides)
        return True

    def write_index_add(self, node: Node) -> bool:
        x = node.inputs[0]
        if x.spec.dtype != node.spec.dtype:
            return False
        if len(node.inputs) == 1:
            target = self.target(node, node.params["index"])
            if target is None:
                return False
            self.fill(node)
            self.put(node, _spread(self.reader.read(x), target.shape), target.offset, target.strides)
            return True
        kind = kind_of(node.spec.dtype)
        picked = self.picked(node, node.params["index"], node.spec.shape)
        if picked is None or kind not in ("f32", "f64") or self.reader.read(x) != whole(self.reader.read(x).base):
            return False
        count, width, args = picked
        self.fill(node)
        given: list[Argument] = [self.place(self.reader.read(x)), Place(self.buffer(node)), Place(_STATUS), count, width, *args]
        n_picks, lanes = len(args) // 2, lanes_of(str(kind))
        call = Call("", given, _called(node), self.threads > 1 and count * width > WORTH_SHARING, count * width, 3 * count * width * node.spec.dtype.itemsize)
        self.add(
            call, ("scatter", n_picks, kind, lanes),
            lambda module: moves.write_scatter(module, n_picks, str(kind), lanes), f"scatter{n_picks}{kind}",
        )  # fmt: skip
        return True

    def write_getitem(self, node: Node) -> bool:
        source = self.reader.read(node.inputs[0])
        picked = self.picked(node, node.params["index"], source.shape)
        if picked is None or source != whole(source.base):
            return False
        count, width, args = picked
        item = node.spec.dtype.itemsize
        given: list[Argument] = [self.place(source), Place(self.buffer(node)), Place(_STATUS), count, width * item, *args]
        n_picks = len(args) // 2
        call = Call("", given, _called(node), self.threads > 1 and count * width > WORTH_SHARING, 0, 2 * count * width * item)
        self.add(call, ("gather", n_picks), lambda module: moves.write_gather(module, n_picks), f"gather{n_picks}")
        return True

    def picked(self, node: Node, index: Any, shape: Any) -> tuple[int, int, list[Argument]] | None:
        """Return how many rows arrays of positions pick, their elements, and the arguments that name them.

        None unless the positions stand for the first axes, and all the others are whole.
        """
        n = sum(isinstance(entry, Pick) for entry in index)
        first, rest = index[:n], index[n:]
        if not all(isinstance(entry, Pick) for entry in first) or any(entry != Slice() for entry in rest):
            return None
        picks = [self.reader.read(node.inputs[1 + entry.number]) for entry in first]
        common = np.broadcast_shapes(*[p.shape for p in picks])
        for p in picks:
            if p.shape != common or p != whole(p.base) or p.base.spec.dtype != np.int64:
                return None
        args: list[Argument] = [self.place(p) for p in picks]
        return math.prod(common), math.prod(shape[n:]), [*args, *[int(size) for size in shape[:n]]]


_STATUS = Buffer(8, "status")


@cache
def _name(key: object) -> str:
    from undertow.compile.cache import name_of

    return name_of(key)


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _called(node: Node) -> str:
    op: Any = node.op
    return node.name or f"{op.name} {node.line or ''}".strip()


def _matrix(a: Access) -> tuple[int, int]:
    """The strides of rows and columns; those of a single one do not matter."""
    (m, n), (row, column) = a.shape[-2:], a.strides[-2:]
    if m == 1:
        row = max(n, 1)
    if n == 1:
        column = 1
    return row, column


def _lead(a: Access, batch: tuple[int, ...]) -> tuple[int, ...]:
    own = a.shape[:-2]
    new = len(batch) - len(own)
    return (*[0] * new, *[0 if n == 1 else s for n, s in zip(own, a.strides[:-2], strict=True)])


def _batch_axis(batch: tuple[int, ...], *leads: tuple[int, ...]) -> tuple[int, ...] | None:
    """The last axes of a batch along which every operand moves by equal steps."""
    if not batch:
        return None
    axes = [len(batch) - 1]
    while axes[0] > 0:
        i = axes[0] - 1
        if not all(lead[i] == lead[i + 1] * batch[i + 1] for lead in leads):
            break
        axes.insert(0, i)
    return tuple(axes)


def _spread(a: Access, shape: tuple[int, ...]) -> Access:
    from undertow.compile.access import broadcast

    while len(a.shape) > len(shape):
        a = Access(a.base, a.offset, a.shape[1:], a.strides[1:])
    return broadcast(a, shape)

