"""A plan: a table of kernel calls whose addresses are not known yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from undertow.compile.access import Access
from undertow.compile.finish import Finish
from undertow.compile.waits import Touch
from undertow.graph import Graph, Node, Spec

FLOPS, BYTES = 2e10, 5e9  # a second, of a processor that is not fast
LINE = 16  # numbers of 8 bytes that processors fetch together
WORTH_SHARING = 4_000  # element operations below which a second thread costs more than it saves


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


TOLD = Buffer(0, "told", 0)  # where the statistics of a step go, a row for each thread
STATUS = Buffer(8, "status")  # where a kernel notes that something was wrong


class Noted(IntEnum):
    """What was wrong."""

    BEYOND = 1  # a position was beyond the end of its axis
    SINGULAR = 2
    INDEFINITE = 3
    NO_EIGENVALUES = 4
    NO_SVD = 5


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
        scratch: bytes for each thread.
        touches: the memory it reads and writes; None: not known.
        target: what it writes, where that alone is known.
        kind: of a matrix product, ``f32`` or ``f64``; else empty.
        finish: what is done with that product's result.
        item: the number of the item that it belongs to.
        fails: what it may note in `STATUS`.
    """

    kernel: str
    args: list[Argument]
    what: str
    shared: bool = False
    flops: float = 0
    moved: float = 0
    node: Node | None = None
    scratch: int = 0
    touches: list[Touch] | None = None
    target: Buffer | None = None
    kind: str = ""
    finish: Finish | None = None
    item: int = 0
    fails: int = Noted.BEYOND

    def written(self) -> list[Buffer] | None:
        """Return the memory that it writes; None if that is not known."""
        if self.touches is not None:
            return [t.buffer for t in self.touches if t.writes]
        return None if self.target is None else [self.target]

    def seconds(self) -> float:
        """Guess how long it takes a slow processor."""
        return self.flops / FLOPS + self.moved / BYTES


@dataclass
class Plan:
    """A program for fixed sizes, ready to be given addresses.

    Attributes:
        graph: what it computes; None of a plan from disk.
        calls: in order.
        kernels: by name, what writes a kernel and the name of its function.
        buffers: those in the arena.
        arena: bytes of it, scratch memory included.
        least: the largest number of bytes alive at once: no arena can be smaller.
        outputs: where each result is.
        donated: outputs that take the place of an input, by number.
        read_by_numpy: of each operation that NumPy does, what it reads.
        written_by_numpy: where the result of each goes.
        n_told: how many numbers the statistics are.
        told_by: how many threads have a part of them.
        calls_scipy: kernels call loops of SciPy's.
        inputs: shape and dtype of each argument.
        results: shape and dtype of each output, those of statistics among them.
        portable: it holds in other processes too: nothing in it depends on other libraries.
    """

    graph: Graph | None
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
    n_told: int = 0
    told_by: int = 1
    calls_scipy: bool = False
    inputs: list[Spec] = field(default_factory=list)
    results: list[Spec] = field(default_factory=list)
    portable: bool = True

    @property
    def told_stride(self) -> int:
        """The numbers of statistics that a thread has room for: whole lines of the cache."""
        return -(-self.n_told // LINE) * LINE


def called(node: Node) -> str:
    """Return what people call a value: its name, or the operation; and its line."""
    op: Any = node.op
    return f"{node.name or op.name} {f'({node.line})' if node.line else ''}".strip()
