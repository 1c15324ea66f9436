"""Where the values of a program lie, and which of its calls reads and writes them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.access import Access, Reader, whole
from undertow.compile.accumulate import fold_sums
from undertow.compile.cache import name_of
from undertow.compile.fuse import Fuser
from undertow.compile.memory import APART, Life, align, lay_out
from undertow.compile.plan import Buffer, Call, Place, Plan, Scratch
from undertow.compile.scalars import kind_of
from undertow.compile.statistics import is_statistics
from undertow.compile.waits import mark_waits
from undertow.compile.watched import watch
from undertow.errors import UnsupportedError
from undertow.graph import CONSTANT, INPUT, Graph, Node

HELD = 1 << 18  # bytes; of larger values, memory costs more than meeting
# Times the least memory that a program may take so that threads meet less. With 2.5 times of it, two threads meet 11
# times in a step of D instead of 49, which takes no less time: 219 and 213 µs.
MORE = 1.2


class Layout:
    """The items of a program in order, and the memory of every value.

    Args:
        graph: made by `expand`.
        threads: that take part.
        fallback: ``"numpy"`` lets NumPy do what does not compile.
    """

    def __init__(self, graph: Graph, threads: int, fallback: str | None) -> None:
        self.plan = Plan(graph, threads)
        self.plan.inputs = [node.spec for node in graph.inputs]
        self.plan.results = [node.spec for node in graph.outputs]
        self.threads, self.fallback = threads, fallback
        self.reader = Reader(graph)
        self.outputs = [self.own_output(node) for node in graph.outputs if not is_statistics(node)]
        self.given: set[Node] = set()  # the outputs: each has memory of its own
        for i, node in enumerate(self.outputs):
            if node in self.given:
                self.outputs[i] = self.again(node)
            self.given.add(self.outputs[i])
        self.heirs = fold_sums(self.reader, self.outputs)
        self.fuser = Fuser(self.reader)
        self.fuser.sink(frozenset(self.given))
        self.fuser.join_readers()
        told = watch(self.fuser, {*self.reader.folded.values(), *self.heirs})
        self.columns: dict[Node, int] = {}  # where each statistics begin among the numbers that a step tells
        for node in told:
            self.columns[node] = self.plan.n_told
            self.plan.n_told += len(node.params["kinds"])
        self.ours: set[Node] = set()  # products by kernels of our own, whatever is the fastest
        self.finish_products()
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
        self.passes: dict[Node, dict[Node, tuple[int, int]]] = {}  # of each cluster, by its first value
        self.now = 0

    def finish_products(self) -> None:
        """Have what is done with products' results done by the products themselves, where that pays."""

    # ---- outputs ------------------------------------------------------------------------------

    def own_output(self, node: Node) -> Node:
        """Return the value that lies in memory as an output does; a copy, if it does not yet."""
        access = self.reader.read(node)
        base = access.base
        if (
            access == whole(base)
            and base.spec.shape == node.spec.shape
            and base.op is not INPUT
            and base.op is not CONSTANT
        ):
            return base
        return self.again(node)

    def again(self, node: Node) -> Node:
        """Insert a copy."""
        new = Node(P.identity, (node,), {}, node.spec)
        new.line, new.name = node.line, node.name
        self.reader.order.append(new)
        self.reader.found[new] = whole(new)
        return new

    # ---- memory -------------------------------------------------------------------------------

    def bytes_of(self, node: Node) -> int:
        """Return the size of a value."""
        shape: Any = node.spec.shape
        return int(math.prod(shape)) * node.spec.dtype.itemsize

    def buffer(self, node: Node) -> Buffer:
        """Return the memory of a value."""
        born = self.when.get(node, 0)
        while node in self.heirs:
            node = self.heirs[node]
        if node not in self.buffers:
            if node.op is INPUT:
                self.buffers[node] = Buffer(self.bytes_of(node), "input", self.number[node])
            elif node.op is CONSTANT:
                array = np.ascontiguousarray(np.asarray(node.value, node.spec.dtype)).reshape(np.shape(node.value))
                self.buffers[node] = Buffer(array.nbytes, "constant", array=array)
            else:
                made = Buffer(self.bytes_of(node))
                made.first = born
                made.last = max(self.readers.get(node, [made.first]))
                if node in self.given:
                    made.last = len(self.items)
                self.buffers[node] = made
                self.plan.buffers.append(made)
        return self.buffers[node]

    def temporary(self, size: int, last: int) -> Buffer:
        """Return memory from now to the item that reads it last."""
        made = Buffer(size, first=self.now, last=last)
        self.plan.buffers.append(made)
        return made

    def place(self, access: Access) -> Place:
        """Return where an access begins."""
        return Place(self.buffer(access.base), access.offset * access.base.spec.dtype.itemsize)

    def lay_out(self) -> None:
        """Give every buffer of the arena its offset."""
        made = self.plan.buffers
        lives = [Life(x.size, x.first, x.last) for x in made]
        offsets, size, least = lay_out(lives)
        if self.threads > 1:
            more, larger, _ = lay_out(self.held(lives))
            if larger <= MORE * least:
                offsets, size = more, larger
        for x, offset in zip(made, offsets, strict=True):
            x.offset = offset
        scratch = align(max((call.scratch for call in self.plan.calls), default=0))
        scratch += APART if scratch and self.threads > 1 else 0
        self.plan.scratch_at = size
        self.plan.arena = size + scratch * self.threads
        self.plan.least = least + scratch * self.threads
        for call in self.plan.calls:
            if Scratch() in call.args:
                call.args[call.args.index(Scratch()) + 1] = scratch

    def held(self, lives: Sequence[Life]) -> list[Life]:
        """Let small values live until threads meet: where another took their place before, they would have to meet."""
        at = 0
        for x in self.plan.buffers:  # no two in one place
            x.offset, at = at, at + align(x.size)
        waits, seen, free = mark_waits(self.plan.calls), set[int](), [0]
        for call, wait in zip(self.plan.calls, waits, strict=True):
            if call.item not in seen and wait:
                free.append(call.item)
            seen.add(call.item)
        free.append(len(self.items) + 1)
        return [x._replace(last=free[bisect_right(free, x.last)] - 1) if x.size <= HELD else x for x in lives]

    # ---- items --------------------------------------------------------------------------------

    def add(self, call: Call, key: object, write: Callable[..., object], function: str = "kernel") -> None:
        """Add a call; ``key`` is all that the code of its kernel depends on."""
        call.kernel, call.item = name_of(key), self.now
        self.plan.kernels.setdefault(call.kernel, (write, function))
        self.plan.calls.append(call)

    def write_by_numpy(self, node: Node) -> None:
        """Leave an operation to NumPy.

        Raises:
            UnsupportedError: that was not asked for.
        """
        op: Any = node.op
        if self.fallback != "numpy":
            where = f" ({node.line})" if node.line else ""
            raise UnsupportedError(
                f"{op.name}{where} of {', '.join(str(x.spec) for x in node.inputs)} does not compile. "
                f'{_remedy(node)}, or pass fallback="numpy", which lets NumPy do it between the kernels.'
            )
        reads = [self.reader.read(x) for x in node.inputs]
        self.plan.read_by_numpy[node] = [(self.buffer(access.base), access) for access in reads]
        self.plan.written_by_numpy[node] = self.buffer(node)
        self.plan.portable = False
        call = Call("numpy", [], f"{op.name} by NumPy", node=node, target=self.buffer(node), item=self.now)
        self.plan.calls.append(call)


def _remedy(node: Node) -> str:
    """Say what to write instead of an operation that does not compile."""
    odd = next((x.spec.dtype for x in (*node.inputs, node) if kind_of(x.spec.dtype) is None), None)
    if odd is not None:
        return f"Give {_instead(odd)} instead of {odd}"
    if getattr(node.op, "name", "") == "power":  # where NumPy looks for exponents below 0, and ends in an error
        return "NumPy refuses whole numbers exponents below 0, which are not known here: give it floats, as in 2.0 ** n"
    return "Write it in other operations"


def _instead(dtype: np.dtype[Any]) -> str:
    """Name a dtype that compiles."""
    return "float32" if dtype == np.float16 else "float64"
