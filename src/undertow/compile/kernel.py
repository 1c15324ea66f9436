"""What a kernel is made of: its operands and its lines.

A kernel's text depends on the cluster's structure alone: sizes, strides and addresses are read from a table, so
equal layers of any size share one kernel. The table of a kernel holds, in this order: the sizes of the row axes and of
the column axes; the scratch memory and its bytes for each thread; for each operand its address, then each stride that
is neither 0 nor 1; the address of each stored value; the address of each total, and its elements for each thread; the
two addresses of each loop of another library's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from undertow.compile.ir import BITS, FLOATS, Emitter, Value
from undertow.compile.kinds import UNSIGNED
from undertow.compile.loops import PREFIX, call_loop
from undertow.compile.scalars import SCALARS

Loop = tuple[str, tuple[str, ...], str]
NO_LOOPS: Mapping[Loop, tuple[Value, Value]] = MappingProxyType({})
MEMORY = {"i1": "i8"}  # truth values lie in memory as bytes


class Operand(NamedTuple):
    """Something read from memory.

    Attributes:
        kind: of the value.
        level: ``full``, or ``row``: one element a row.
        rows: a word for each row axis: 0 is the same element again, g any stride.
        columns: the same for each column axis; 1 for neighbours.
        parts: totals are added up from this many parts, one for each thread that made them; 0 for others.
        join: the operation that adds parts up.
        stored: the kind in which the parts lie in memory.
    """

    kind: str
    level: str
    rows: str
    columns: str
    parts: int = 0
    join: str = ""
    stored: str = ""


class Line(NamedTuple):
    """One operation of a cluster.

    Attributes:
        name: of the primitive, or of the reduction.
        level: ``full``, ``row``, or a reduction's ``row`` and ``total``.
        reads: for each input ("v", number of a line), ("o", number of an operand) or ("c", number).
        kinds: what the inputs are converted to.
        kind: of the result; of a reduction, the kind it is added up in.
        params: other arguments.
        reduces: what a reduction runs over: ``columns``, ``rows``, ``all``, ``row values``; empty for a point;
            ``statistics``: all, and the results are several numbers.
        converted: the kind of a reduction's result.
        folded: a sum is added up in parts.
    """

    name: str
    level: str
    reads: tuple[tuple[str, Any], ...]
    kinds: tuple[str, ...]
    kind: str
    params: tuple[tuple[str, Any], ...] = ()
    reduces: str = ""
    converted: str = ""
    folded: bool = False


class Structure(NamedTuple):
    """All that the text of a kernel depends on.

    Attributes:
        n_rows: row axes.
        n_columns: column axes.
        operands: what it reads.
        lines: what it computes, in order.
        stores: lines whose values go to memory.
        by_columns: threads share out the columns; there is one row.
        lanes: elements of a vector.
        upright: a vector holds elements of neighbouring rows, not of neighbouring columns.
        short: rows are so short that parts of sums are folded between them only.
        abreast: rows that are written at a time, one vector of each in turn.
        together: what these rows have one of is computed in one vector.
    """

    n_rows: int
    n_columns: int
    operands: tuple[Operand, ...]
    lines: tuple[Line, ...]
    stores: tuple[int, ...]
    by_columns: bool
    lanes: int
    upright: bool = False
    short: bool = False
    abreast: int = 1
    together: bool = False


JOIN: dict[str, Callable[[Emitter, Value, Value], Value]] = {
    "sum": lambda e, a, b: a + b,
    "prod": lambda e, a, b: a * b,
    "max": lambda e, a, b: SCALARS["maximum"](e, a, b),
    "min": lambda e, a, b: SCALARS["minimum"](e, a, b),
    "or": lambda e, a, b: a | b,
    "and": lambda e, a, b: a & b,
}


def neutral(join: str, kind: str) -> float | int | bool:
    """Return the number that changes nothing."""
    if join in ("sum", "or"):
        return 0
    if join in ("prod", "and"):
        return 1
    if kind in FLOATS:
        return -math.inf if join == "max" else math.inf
    if kind == "i1":
        return join == "min"
    bits, sign = int(kind[1:]), kind not in UNSIGNED
    return -sign * 2 ** (bits - 1) if join == "max" else 2 ** (bits - sign) - 1


def loops_of(structure: Structure) -> list[Loop]:
    """Return what a kernel leaves to loops of another library's: name, kinds of the operands and of the result."""
    return list(dict.fromkeys((x.name, x.kinds, x.kind) for x in structure.lines if x.name.startswith(PREFIX)
                              and x.name not in SCALARS))  # fmt: skip


def size_of(kind: str) -> int:
    """Return the bytes of an element in memory."""
    return max(BITS[kind] // 8, 1)


def load(e: Emitter, pointer: Value, kind: str, lanes: int = 0, mask: Value | None = None) -> Value:
    """Read an element or a vector."""
    value = e.load(pointer, MEMORY.get(kind, kind), lanes, mask)
    return value != 0 if kind == "i1" else value


def store(e: Emitter, value: Value, pointer: Value, mask: Value | None = None) -> None:
    """Write an element or a vector; truth values as bytes."""
    e.store(e.convert(value, MEMORY.get(value.kind, value.kind)), pointer, mask)


def apply(
    e: Emitter, line: Line, inputs: Sequence[Value], lanes: int, loops: Mapping[Loop, tuple[Value, Value]] = NO_LOOPS
) -> Value:
    """Compute a line of its inputs; ``loops`` are the addresses of those of another library's."""
    given = [e.convert(x, kind) for x, kind in zip(inputs, line.kinds, strict=True)]
    loop = loops.get((line.name, line.kinds, line.kind))
    result = call_loop(e, *loop, given, line.kind) if loop else SCALARS[line.name](e, *given, **dict(line.params))
    return e.splat(e.convert(result, line.kind), lanes)
