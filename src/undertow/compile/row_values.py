"""What a kernel computes of each row: of rows beside each other in one vector, a lane for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from undertow.compile.ir import Emitter, Value
from undertow.compile.kernel import JOIN, MEMORY, Line, Loop, Structure, apply, store
from undertow.compile.rows import Body, Row

Join = Callable[[Emitter, Value, Value], Value]


def pack(e: Emitter, numbers: Sequence[Value]) -> Value:
    """Put numbers beside each other: those of a lane each, or single ones."""
    vectors = [x if x.lanes else e.splat(x, 1) for x in numbers]
    while len(vectors) > 1:
        rest = vectors[-1:] if len(vectors) % 2 else []
        vectors = [_beside(e, a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=False)] + rest
    return vectors[0]


def _beside(e: Emitter, a: Value, b: Value) -> Value:
    if a.lanes == b.lanes:
        return e.shuffle(a, b, list(range(2 * a.lanes)))
    longer = e.shuffle(b, b, [i if i < b.lanes else 0 for i in range(a.lanes)])  # LLVM wants both of one length
    return e.shuffle(a, longer, list(range(a.lanes + b.lanes)))


def join_all(e: Emitter, join: Join, vectors: Sequence[Value]) -> Value:
    """Join vectors to one, lane by lane: neighbours first."""
    values = list(vectors)
    while len(values) > 1:
        rest = values[-1:] if len(values) % 2 else []
        values = [join(e, a, b) for a, b in zip(values[::2], values[1::2], strict=False)] + rest
    return values[0]


def join_lanes(e: Emitter, join: Join, vectors: Sequence[Value]) -> Value:
    """Join all lanes of each vector, halves upon halves.

    Vectors are folded two in one as long as there are two: of four with 16 lanes that takes a third of the
    instructions, and the numbers are the same to the bit.

    Args:
        e: writes the kernel.
        join: of two vectors.
        vectors: as many lanes each, a power of 2.

    Returns:
        A vector with a lane for each.
    """
    parts, each, held = list(vectors), vectors[0].lanes, 1  # lanes still to be joined to a number; numbers of a part
    while each > 1:
        half = each // 2
        low = [number * each + i for number in range(held) for i in range(half)]
        if len(parts) % 2:
            halves = [(e.shuffle(x, x, low), e.shuffle(x, x, [i + half for i in low])) for x in parts]
        else:
            low += [i + held * each for i in low]
            high = [i + half for i in low]
            pairs = zip(parts[::2], parts[1::2], strict=True)
            halves = [(e.shuffle(a, b, low), e.shuffle(a, b, high)) for a, b in pairs]
            held *= 2
        parts, each = [join(e, a, b) for a, b in halves], half
    return pack(e, parts)


class RowValues:
    """The part of a `Writer` that computes what a row has one of.

    Attributes:
        abreast: the rows that are written at a time.
        together: what is known of all of them, in one vector: lines (``"v"``) and operands (``"o"``) by number.
    """

    e: Emitter
    s: Structure
    place: dict[int, int]
    vectors: dict[int, Any]
    stored: dict[int, Value]
    loops: dict[Loop, tuple[Value, Value]]
    at: Row
    abreast: list[Row]
    together: dict[tuple[str, Any], Value]

    def input(self, line: Line, k: int, body: Body, lanes: int) -> Value:
        """The value of one input where the line is computed."""
        raise NotImplementedError

    def joined(self, total: Any) -> Value:
        """The value of an accumulator that is complete."""
        raise NotImplementedError

    def fold(self, join: str, x: Value) -> Value:
        """Join all lanes of a vector."""
        return self.e.lane(join_lanes(self.e, JOIN[join], [x]), 0)

    def finish_rows(self, number: int) -> None:
        """Compute the row values that are known before a pass."""
        for i, line in enumerate(self.s.lines):
            if self.place[i] == number and self.s.together and len(self.abreast) > 1:
                self.finish_together(i, line)
            elif self.place[i] == number:
                self.finish_each(i, line)

    def finish_each(self, i: int, line: Line) -> None:
        """Compute a value of one row after the other."""
        for row in self.abreast:
            self.at = row
            self.finish_row(i, line)

    def finish_together(self, i: int, line: Line) -> None:
        """Compute a value of each of the rows beside each other."""
        e, n = self.e, len(self.abreast)
        if line.reduces == "columns":
            sums = join_lanes(e, JOIN[line.name], [self.joined(row.sums[i]) for row in self.abreast])
            value = e.convert(sums, line.converted)
        elif line.level == "row" and not line.reduces:
            value = apply(self.e, line, [self.input_together(line, k) for k in range(len(line.kinds))], n, self.loops)
        else:
            self.finish_each(i, line)
            return
        self.together["v", i] = value
        for lane, row in enumerate(self.abreast):
            row.values[i] = e.lane(value, lane)
        if i in self.stored:
            memory = MEMORY.get(value.kind, value.kind)
            store(self.e, value, e.address(self.stored[i], self.abreast[0].number, memory))

    def input_together(self, line: Line, k: int) -> Value:
        """The values of one input for the rows beside each other."""
        word, which = read = line.reads[k]
        if word in ("c", "-c"):
            return self.e.const(which, line.kinds[k], len(self.abreast))
        if read not in self.together:
            self.together[read] = pack(self.e, [row.of_row[which] for row in self.abreast])
        return self.together[read]

    def finish_row(self, i: int, line: Line) -> None:
        """Compute a value of one row."""
        e, row = self.e, self.at
        if line.reduces == "columns":
            row.values[i] = e.convert(self.fold(line.name, self.joined(row.sums[i])), line.converted)
        elif line.level == "row" and not line.reduces:
            given = [self.input(line, k, Body(), 0) for k in range(len(line.kinds))]
            row.values[i] = apply(self.e, line, given, 0, self.loops)
        elif line.reduces == "row values":
            value = e.convert(self.input(line, 0, Body(), 0), line.kind)
            self.vectors[i].set(JOIN[line.name](e, self.vectors[i].get(), value))
            return
        else:
            return
        if i in self.stored:
            memory = MEMORY.get(row.values[i].kind, row.values[i].kind)
            store(self.e, row.values[i], e.address(self.stored[i], row.number, memory))
