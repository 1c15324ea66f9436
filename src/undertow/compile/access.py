"""How an operation reads memory: operations that only move elements around become offsets and strides."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from undertow import primitives as P
from undertow.compile.scalars import kind_of
from undertow.compile.statistics import is_statistics
from undertow.graph import INPUT, Graph, Node, ancestors
from undertow.primitives.index import Slice


class Access(NamedTuple):
    """Elements of a value that lies in memory row by row.

    Attributes:
        base: the value.
        offset: where the first element is.
        shape: of what is read.
        strides: by axis, in elements; 0 where one element is read again and again.
    """

    base: Node
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array that lies in memory row by row."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def whole(node: Node) -> Access:
    """Read all of a value, in order."""
    shape: Any = node.spec.shape
    return Access(node, 0, shape, row_major(shape))


def squeeze(access: Access, like: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides along the axes of ``like`` that are longer than 1."""
    return tuple(stride for stride, size in zip(access.strides, like, strict=True) if size != 1)


def long_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its axes of size 1."""
    return tuple(size for size in shape if size != 1)


def broadcast(access: Access, shape: tuple[int, ...]) -> Access:
    """Read so that the shape is this one."""
    if access.shape == shape and 1 not in shape:
        return access
    new = len(shape) - len(access.shape)
    strides = [0] * new + [0 if own == 1 else stride for own, stride in zip(access.shape, access.strides, strict=True)]
    return Access(access.base, access.offset, shape, tuple(strides))


def in_any_order(access: Access) -> Access:
    """Read the same elements in the order in which they lie in memory, where they are all of a value."""
    size = 1
    for stride, n in sorted((s, n) for s, n in zip(access.strides, access.shape, strict=True) if n != 1):
        if stride != size:
            return access
        size *= n
    return whole(access.base) if size == math.prod(access.base.spec.shape) and not access.offset else access  # type: ignore[arg-type]


class Reader:
    """Finds the access behind every node of a graph; inserts copies where no strides can say it."""

    def __init__(self, graph: Graph) -> None:
        self.found: dict[Node, Access] = {}
        self.reads: dict[Node, list[Access]] = {}  # what `operands` found
        self.read_from: dict[Node, list[Node]] = {}  # what `bases` found
        self.order: list[Node] = []  # what has to be computed, oldest first
        self.parts_of: dict[Node, Node] = {}  # what joins the parts of a reduction that several threads made
        self.folded: dict[Node, Node] = {}  # of a sum, the product that is added to its other term
        self.told = [x for x in graph.outputs if is_statistics(x)]
        needed = set(ancestors(x for x in graph.outputs if not is_statistics(x)))
        self.watched = [node for node in graph.nodes if node not in needed and node.op is not INPUT]  # by nobody else
        for node in graph.nodes:
            if node in needed or node.op is INPUT:
                self.read(node)

    def read(self, node: Node) -> Access:
        """Return how a node is read."""
        if node not in self.found:
            access = self.view(node)
            if access is None:
                self.order.append(node)
                access = whole(node)
                if is_reduction(node):
                    joined = Node(P.identity, (node,), {}, node.spec)
                    joined.line, joined.name = node.line, node.name
                    self.order.append(joined)
                    self.parts_of[joined] = node
                    access = self.found[joined] = whole(joined)
            self.found[node] = access
        return self.found[node]

    def operands(self, node: Node) -> list[Access]:
        """Return how a node reads its inputs: as broadcast to its shape, or to its operand's for a reduction."""
        if node not in self.reads:
            self.reads[node] = self._operands(node)
        return self.reads[node]

    def _operands(self, node: Node) -> list[Access]:
        if node in self.parts_of:
            return [whole(self.parts_of[node])]
        if is_statistics(node):
            return [in_any_order(self.read(node.inputs[0]))]
        shape: Any = node.inputs[0].spec.shape if is_reduction(node) else node.spec.shape
        return [broadcast(self.read(x), shape) for x in node.inputs]

    def bases(self, node: Node) -> list[Node]:
        """Return the values that a node reads."""
        if node not in self.read_from:
            self.read_from[node] = self._bases(node)
        return self.read_from[node]

    def _bases(self, node: Node) -> list[Node]:
        if node in self.parts_of:
            return [self.parts_of[node]]
        return [self.read(x).base for x in node.inputs]

    def fold(self, node: Node, product: Node) -> None:
        """Take one of the terms of a sum, a product, out of what is computed for itself: the sum reads its factors."""
        self.folded[node] = product
        others = [base for base in self.bases(node) if base is not product]
        self.read_from[node] = [*others, *self.bases(product)]

    def copy(self, node: Node) -> Node:
        """Return a value with the elements of a node, in a row of its own."""
        access = self.read(node)
        if access == whole(access.base) and access.base.spec.shape == node.spec.shape:
            return access.base
        new = Node(P.identity, (node,), {}, node.spec)
        new.line, new.name = node.line, node.name
        self.order.append(new)
        self.found[new] = whole(new)
        return new

    def view(self, node: Node) -> Access | None:
        """Return the access of an operation that only moves elements; None for others."""
        op: Any = node.op
        if op.name not in MOVES or (op.name == "getitem" and len(node.inputs) > 1):
            return None
        found = move(node, self.read(node.inputs[0]))
        if found is None and op.name == "reshape":
            found = move(node, whole(self.copy(node.inputs[0])))
        return found


def move(node: Node, source: Access) -> Access | None:
    """Tell how an operation that only moves elements reads its source; None where they would have to be copied."""
    op: Any = node.op
    shape: Any = node.spec.shape
    if op.name != "reshape":
        moved: Access | None = MOVES[op.name](source, **node.params)
        return moved
    strides = reshaped(source, shape)
    return None if strides is None else Access(source.base, source.offset, shape, strides)


def layout_of(node: Node) -> Access:
    """Tell how a node will be read, as far as that is known before any graph is: what is computed lies row by row."""
    chain = [node]
    while getattr(chain[-1].op, "name", "") in MOVES and len(chain[-1].inputs) == 1:
        chain.append(chain[-1].inputs[0])
    access = whole(chain.pop())
    for moved in reversed(chain):
        access = move(moved, access) or whole(moved)
    return access


REDUCTIONS = {"sum": "sum", "max": "max", "min": "min", "prod": "prod", "any": "or", "all": "and"}


def is_reduction(node: Node) -> bool:
    """Tell whether a node is a reduction that compiles."""
    op: Any = node.op
    return op.name in REDUCTIONS and all(kind_of(x.spec.dtype) is not None for x in (node, node.inputs[0]))


def _transpose(a: Access, axes: tuple[int, ...] | None = None) -> Access:
    order = axes if axes is not None else tuple(reversed(range(len(a.shape))))
    return Access(a.base, a.offset, tuple(a.shape[i] for i in order), tuple(a.strides[i] for i in order))


def _broadcast_to(a: Access, shape: tuple[int, ...]) -> Access:
    return broadcast(a, shape)


def _expand_dims(a: Access, axis: Any) -> Access:
    axes = (axis,) if isinstance(axis, int) else axis
    ndim = len(a.shape) + len(axes)
    new = {i % ndim for i in axes}
    rest = iter(zip(a.shape, a.strides, strict=True))
    pairs = [(1, 0) if i in new else next(rest) for i in range(ndim)]
    return Access(a.base, a.offset, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def _squeeze(a: Access, axis: Any = None) -> Access:
    axes = range(len(a.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = {i % len(a.shape) for i in axes if a.shape[i] == 1}
    pairs = [p for i, p in enumerate(zip(a.shape, a.strides, strict=True)) if i not in gone]
    return Access(a.base, a.offset, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def pick(a: Access, index: Any) -> Access | None:
    """Read a part; None where arrays of positions choose it."""
    offset, shape, strides = a.offset, [], []
    axis = 0
    for entry in index:
        if entry is None:
            shape.append(1)
            strides.append(0)
            continue
        if isinstance(entry, bool) or entry is Ellipsis or not isinstance(entry, int | Slice):
            return None
        size, stride = a.shape[axis], a.strides[axis]
        axis += 1
        if isinstance(entry, int):
            offset += (entry % size) * stride
            continue
        start, stop, step = slice(entry.start, entry.stop, entry.step).indices(size)
        count = len(range(start, stop, step))
        offset += start * stride if count else 0
        shape.append(count)
        strides.append(stride * step)
    return Access(a.base, offset, (*shape, *a.shape[axis:]), (*strides, *a.strides[axis:]))


def _flip(a: Access, axis: Any = None) -> Access:
    axes = range(len(a.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    offset, strides = a.offset, list(a.strides)
    for i in axes:
        offset += max(a.shape[i] - 1, 0) * strides[i]
        strides[i] = -strides[i]
    return Access(a.base, offset, a.shape, tuple(strides))


def diagonal(a: Access, offset: int, axis1: int, axis2: int) -> Access:
    """Read the diagonal of two axes; it is the last axis of the result."""
    i, j = axis1 % len(a.shape), axis2 % len(a.shape)
    down, right = max(-offset, 0), max(offset, 0)
    count = max(min(a.shape[i] - down, a.shape[j] - right), 0)
    start = a.offset + (down * a.strides[i] + right * a.strides[j] if count else 0)
    rest = [(n, s) for k, (n, s) in enumerate(zip(a.shape, a.strides, strict=True)) if k not in (i, j)]
    shape = (*[n for n, _ in rest], count)
    return Access(a.base, start, shape, (*[s for _, s in rest], a.strides[i] + a.strides[j]))


def _windows(a: Access, window: tuple[int, ...], axis: tuple[int, ...]) -> Access:
    """Read windows that overlap; the places within one are the last axes of the result."""
    left = list(a.shape)
    for i, width in zip(axis, window, strict=True):
        left[i] -= width - 1
    return Access(a.base, a.offset, (*left, *window), (*a.strides, *[a.strides[i] for i in axis]))


MOVES: dict[str, Any] = {
    "reshape": None,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "getitem": pick,
    "flip": _flip,
    "diagonal": diagonal,
    "sliding_windows": _windows,
}
MOVES["reshape"] = _squeeze  # any: `Reader.view` knows what to do


def reshaped(a: Access, shape: Any) -> tuple[int, ...] | None:
    """Return the strides of a reshaped access; None where the elements would have to be copied."""
    if math.prod(a.shape) == 0:
        return row_major(shape)
    old = [(size, stride) for size, stride in zip(a.shape, a.strides, strict=True) if size != 1]
    strides: list[int] = []
    i = 0
    group: tuple[int, int] | None = None  # elements left in the block being split, and the stride of its last axis
    for size in shape:
        if size == 1:
            strides.append(0)
            continue
        if group is None:
            if i >= len(old):
                return None
            left, stride = old[i]
            i += 1
            while left % size and i < len(old):
                following, inner = old[i]
                if stride != inner * following:
                    return None
                left, stride = left * following, inner
                i += 1
            group = (left, stride)
        left, stride = group
        while left % size:
            if i >= len(old) or stride != old[i][1] * old[i][0]:
                return None
            left, stride = left * old[i][0], old[i][1]
            i += 1
        left //= size
        strides.append(stride * left)
        group = (left, stride) if left != 1 else None
    return tuple(strides) if i == len(old) and group is None else None


def matrix(a: Access) -> tuple[int, int]:
    """Return the strides of rows and columns; those of a single one do not matter."""
    (m, n), (row, column) = a.shape[-2:], a.strides[-2:]
    if m == 1:
        row = max(n, 1)
    if n == 1:
        column = 1
    return row, column


def batch_strides(a: Access, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides from matrix to matrix of a stack."""
    own = a.shape[:-2]
    new = len(batch) - len(own)
    return (*[0] * new, *[0 if n == 1 else s for n, s in zip(own, a.strides[:-2], strict=True)])


def batch_axis(batch: tuple[int, ...], *leads: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the last axes of a batch along which every operand moves by equal steps."""
    if not batch:
        return None
    axes = [len(batch) - 1]
    while axes[0] > 0:
        i = axes[0] - 1
        if not all(lead[i] == lead[i + 1] * batch[i + 1] for lead in leads):
            break
        axes.insert(0, i)
    return tuple(axes)
