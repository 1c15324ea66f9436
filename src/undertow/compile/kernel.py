"""The machine code of a cluster: a loop over rows, and within each row as few loops over columns as it takes.

The text depends on the cluster's structure alone: sizes, strides and addresses are read from a table of numbers, so
equal layers of any size share one kernel. The table of a kernel holds, in this order: the sizes of the row axes and of
the column axes; the scratch memory and its bytes for each thread; for each operand its address, then each stride that
is neither 0 nor 1; the address of each stored value; the address of each total, and its elements for each thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from undertow.compile.ir import FLOATS, Emitter, Module, Value
from undertow.compile.scalars import SCALARS

MEMORY = {"i1": "i8"}  # truth values lie in memory as bytes


@dataclass(frozen=True)
class Operand:
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


@dataclass(frozen=True)
class Line:
    """One operation of a cluster.

    Attributes:
        name: of the primitive, or of the reduction.
        level: ``full``, ``row``, or a reduction's ``row`` and ``total``.
        reads: for each input ("v", number of a line), ("o", number of an operand) or ("c", number).
        kinds: what the inputs are converted to.
        kind: of the result; of a reduction, the kind it is added up in.
        params: other arguments.
        reduces: what a reduction runs over: ``columns``, ``rows``, ``all``, ``row values``; empty for a point.
        converted: the kind of a reduction's result.
    """

    name: str
    level: str
    reads: tuple[tuple[str, Any], ...]
    kinds: tuple[str, ...]
    kind: str
    params: tuple[tuple[str, Any], ...] = ()
    reduces: str = ""
    converted: str = ""


@dataclass(frozen=True)
class Structure:
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
    """

    n_rows: int
    n_columns: int
    operands: tuple[Operand, ...]
    lines: tuple[Line, ...]
    stores: tuple[int, ...]
    by_columns: bool
    lanes: int
    upright: bool = False


def stages(structure: Structure) -> tuple[dict[int, int], int]:
    """Decide in which pass over the columns each line is computed.

    Returns:
        The pass of every line (of a row value: the pass before which it is known), and the number of passes.
    """
    lines = structure.lines
    earliest: dict[int, int] = {}
    for i, line in enumerate(lines):
        base = max((earliest[j] for word, j in line.reads if word == "v"), default=0)
        earliest[i] = base + 1 if line.reduces == "columns" else base
    place: dict[int, int] = {}
    wanted: dict[int, int] = {}
    for i in range(len(lines) - 1, -1, -1):
        line = lines[i]
        if line.reduces == "columns":
            place[i], reads_at = earliest[i], earliest[i] - 1
        elif line.level == "full" or line.reduces in ("rows", "all"):
            at = wanted.get(i, earliest[i])
            place[i] = reads_at = max(at, earliest[i])
        else:
            place[i] = reads_at = earliest[i]
        for word, j in line.reads:
            if word == "v" and lines[j].level == "full" and not lines[j].reduces:
                wanted[j] = min(wanted.get(j, reads_at), reads_at)
    passes = [place[i] for i, line in enumerate(lines) if (line.level == "full" or line.reduces in ("rows", "all"))]
    passes += [place[i] - 1 for i, line in enumerate(lines) if line.reduces == "columns"]
    return place, max(passes, default=-1) + 1


def saved_lines(structure: Structure) -> list[int]:
    """Return the lines whose values a later pass reads again from scratch memory."""
    place, _ = stages(structure)
    found = set()
    for i, line in enumerate(structure.lines):
        at = place[i] - 1 if line.reduces == "columns" else place[i]
        for word, j in line.reads:
            if word == "v" and structure.lines[j].level == "full" and not structure.lines[j].reduces and place[j] < at:
                found.add(j)
    return sorted(found - set(structure.stores))


_JOIN: dict[str, Callable[[Emitter, Value, Value], Value]] = {
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
    bits = int(kind[1:])
    return -(2 ** (bits - 1)) if join == "max" else 2 ** (bits - 1) - 1


def size_of(kind: str) -> int:
    """Return the bytes of an element in memory."""
    return {"f32": 4, "f64": 8, "i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8}[kind]


@dataclass
class _Source:
    """Where an operand is read at the row and the outer columns at hand."""

    pointer: Value
    inner: Value | None  # the stride along the last column axis, where it is neither 0 nor 1


@dataclass
class _Body:
    """Values known at one place."""

    full: dict[int, Value] = field(default_factory=dict)
    loaded: dict[int, Value] = field(default_factory=dict)


class Writer:
    """Writes one kernel."""

    def __init__(self, module: Module, name: str, structure: Structure) -> None:
        self.s = structure
        self.e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
        self.place, self.n_passes = stages(structure)
        self.saved = saved_lines(structure)
        self.row_values: dict[int, Value] = {}
        self.totals: dict[int, Any] = {}
        self.next = 0
        self.lanes = structure.lanes

    # ---- the table ----------------------------------------------------------------------------

    def read(self, kind: str = "i64") -> Value:
        """Read the next number of the table."""
        e = self.e
        value = e.load(e.address(e.args["args"], self.next, "i64"), kind)
        self.next += 1
        return value

    def write(self) -> None:
        """Write all of it."""
        e, s = self.e, self.s
        self.rows = [self.read() for _ in range(s.n_rows)]
        self.columns = [self.read() for _ in range(s.n_columns)]
        scratch, per_thread = self.read("ptr"), self.read()
        self.scratch = e.address(scratch, per_thread * e.args["thread"], "i8")
        self.operands: list[tuple[Value, list[Value | None], list[Value | None]]] = []
        self.part_strides: dict[int, Value] = {}
        for i, o in enumerate(s.operands):
            pointer = self.read("ptr")
            rows = [self.read() if word == "g" else None for word in o.rows]
            columns = [self.read() if word == "g" else None for word in o.columns]
            if o.parts > 1:
                self.part_strides[i] = self.read()
            self.operands.append((pointer, rows, columns))
        self.stored = {i: self.read("ptr") for i in s.stores}
        for i, line in enumerate(s.lines):
            if line.reduces and line.reduces != "columns":
                pointer, elements = self.read("ptr"), self.read()
                self.totals[i] = e.address(pointer, elements * e.args["thread"], MEMORY.get(line.kind, line.kind))
        self.width = self.product(self.columns)
        height = self.product(self.rows)
        thread, threads = e.args["thread"], e.args["threads"]
        one = e.const(1, "i64")
        if s.by_columns:
            units = (self.width + (self.lanes - 1)) / e.const(self.lanes, "i64")
            self.low = units * thread / threads * self.lanes
            high = units * (thread + one) / threads * self.lanes
            self.high = e.select(high < self.width, high, self.width)
            start, stop = e.const(0, "i64"), one
        else:
            start, stop = height * thread / threads, height * (thread + one) / threads
            self.low, self.high = e.const(0, "i64"), self.width
        self.begin_totals()
        self.write_rows(start, stop)
        self.end_totals()
        e.finish()

    def write_rows(self, start: Value, stop: Value) -> None:
        """Write the loop over the rows."""
        with self.e.loop(start, stop) as row:
            self.write_row(row)

    def product(self, sizes: list[Value]) -> Value:
        """Multiply sizes."""
        result = self.e.const(1, "i64")
        for size in sizes:
            result = result * size
        return result

    # ---- totals -------------------------------------------------------------------------------

    def begin_totals(self) -> None:
        """Set what is added up over rows to its neutral number."""
        e = self.e
        self.vectors: dict[int, Any] = {}
        for i, line in enumerate(self.s.lines):
            first = neutral(line.name, line.kind)
            if line.reduces == "all":
                self.vectors[i] = e.variable(e.const(first, line.kind, self.lanes))
            elif line.reduces == "row values":
                self.vectors[i] = e.variable(e.const(first, line.kind, self.lanes if self.s.upright else 0))
            elif line.reduces == "rows":
                memory = MEMORY.get(line.kind, line.kind)
                with e.loop(0, self.width) as c:
                    e.store(e.const(first, memory), e.address(self.totals[i], c, memory))

    def end_totals(self) -> None:
        """Store what was added up in registers."""
        for i, line in enumerate(self.s.lines):
            if i in self.vectors:
                value = self.vectors[i].get()
                self.store(self.fold(line.name, value) if value.lanes else value, self.totals[i])

    def fold(self, join: str, x: Value) -> Value:
        """Join all lanes of a vector, halves upon halves."""
        e, n = self.e, x.lanes
        while n > 1:
            n //= 2
            low = e.shuffle(x, x, list(range(n)))
            x = _JOIN[join](e, low, e.shuffle(x, x, list(range(n, 2 * n))))
        return e.lane(x, 0)

    def store(self, value: Value, pointer: Value, mask: Value | None = None) -> None:
        """Write an element or a vector; truth values as bytes."""
        if value.kind == "i1":
            value = self.e.convert(value, "i8")
        self.e.store(value, pointer, mask)

    def load(self, pointer: Value, kind: str, lanes: int = 0, mask: Value | None = None) -> Value:
        """Read an element or a vector."""
        value = self.e.load(pointer, MEMORY.get(kind, kind), lanes, mask)
        return value != 0 if kind == "i1" else value

    # ---- a row --------------------------------------------------------------------------------

    def write_row(self, row: Value) -> None:
        """Write what is done in one row."""
        e = self.e
        self.row = row
        self.row_values = {}
        places: list[Value] = [row]
        if self.s.n_rows > 1:
            places, rest = [], row
            for size in reversed(self.rows[1:]):
                quotient = rest / size
                places.insert(0, rest - quotient * size)
                rest = quotient
            places.insert(0, rest)
        self.sources: list[Value] = []
        for (pointer, rows, _), o in zip(self.operands, self.s.operands, strict=True):
            for place, stride in zip(places, rows, strict=False):
                if stride is not None:
                    pointer = e.address(pointer, place * stride, o.stored or MEMORY.get(o.kind, o.kind))
            self.sources.append(pointer)
        self.finish_rows(0)
        for number in range(self.n_passes):
            self.write_pass(number)
            self.finish_rows(number + 1)

    def finish_rows(self, number: int) -> None:
        """Compute the row values that are known before a pass."""
        e = self.e
        body = _Body()
        for i, line in enumerate(self.s.lines):
            if line.reduces == "columns" and self.place[i] == number:
                value = self.fold(line.name, self.sums[i].get())
                self.row_values[i] = e.convert(value, line.converted)
            elif line.level == "row" and not line.reduces and self.place[i] == number:
                self.row_values[i] = self.compute(line, body, 0)
            elif line.reduces == "row values" and self.place[i] == number:
                value = e.convert(self.input(line, 0, body, 0), line.kind)
                self.vectors[i].set(_JOIN[line.name](e, self.vectors[i].get(), value))
                continue
            else:
                continue
            if i in self.stored:
                memory = MEMORY.get(self.row_values[i].kind, self.row_values[i].kind)
                self.store(self.row_values[i], e.address(self.stored[i], self.row, memory))

    def write_pass(self, number: int) -> None:
        """Write one loop over the columns."""
        e = self.e
        lines = self.s.lines
        self.sums = {
            i: e.variable(e.const(neutral(line.name, line.kind), line.kind, self.lanes))
            for i, line in enumerate(lines)
            if line.reduces == "columns" and self.place[i] == number + 1
        }
        self.walk(number, list(self.sources), 0, e.const(0, "i64"))

    def walk(self, number: int, pointers: list[Value], axis: int, before: Value) -> None:
        """Loop over the outer column axes, then over the last one by vectors."""
        e = self.e
        if axis < self.s.n_columns - 1:
            with e.loop(0, self.columns[axis]) as c:
                moved = []
                for pointer, (_, _, columns), o in zip(pointers, self.operands, self.s.operands, strict=True):
                    stride = columns[axis] if o.level == "full" and columns else None
                    if stride is not None:
                        pointer = e.address(pointer, c * stride, o.stored or MEMORY.get(o.kind, o.kind))
                    moved.append(pointer)
                inner = self.product(self.columns[axis + 1 :])
                self.walk(number, moved, axis + 1, before + c * inner)
            return
        self.pointers = pointers
        low, high = (self.low, self.high) if self.s.n_columns == 1 else (e.const(0, "i64"), self.columns[-1])
        whole = low + (high - low) / e.const(self.lanes, "i64") * self.lanes
        with e.loop(low, whole, self.lanes) as c:
            self.write_body(number, c, before, None)
        with e.when(whole < high):
            self.write_body(number, whole, before, e.first_lanes(high - whole, self.lanes))

    # ---- a vector of columns ------------------------------------------------------------------

    def write_body(self, number: int, c: Value, before: Value, mask: Value | None) -> None:
        """Write what a pass does with one vector of columns."""
        e = self.e
        body = _Body()
        self.c, self.flat, self.mask = c, before + c, mask
        base = self.row * self.width
        for i, line in enumerate(self.s.lines):
            if line.reduces == "columns":
                if self.place[i] == number + 1:
                    self.accumulate(self.sums[i], line, body)
            elif line.reduces == "all":
                if self.place[i] == number:
                    self.accumulate(self.vectors[i], line, body)
            elif line.reduces == "rows":
                if self.place[i] == number:
                    value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                    place = e.address(self.totals[i], self.flat, MEMORY.get(line.kind, line.kind))
                    self.store(_JOIN[line.name](e, self.load(place, line.kind, self.lanes, mask), value), place, mask)
            elif line.level == "full" and self.place[i] == number:
                value = self.compute(line, body, self.lanes)
                body.full[i] = value
                if i in self.stored:
                    place = e.address(self.stored[i], base + self.flat, MEMORY.get(value.kind, value.kind))
                    self.store(value, place, mask)
                elif i in self.saved:
                    self.store(value, self.scratch_of(i), mask)

    def scratch_of(self, i: int) -> Value:
        """The place of a saved value in scratch memory: 8 bytes a column and value."""
        e = self.e
        start = e.address(self.scratch, self.width * (8 * self.saved.index(i)), "i8")
        kind = self.s.lines[i].kind
        return e.address(start, self.flat, MEMORY.get(kind, kind))

    def accumulate(self, total: Any, line: Line, body: _Body) -> None:
        """Add a vector to a reduction; lanes outside of the mask change nothing."""
        e = self.e
        value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
        new = _JOIN[line.name](e, total.get(), value)
        total.set(new if self.mask is None else e.select(self.mask, new, total.get()))

    def compute(self, line: Line, body: _Body, lanes: int) -> Value:
        """Compute a line that is no reduction."""
        e = self.e
        given = [e.convert(self.input(line, k, body, lanes), kind) for k, kind in enumerate(line.kinds)]
        result = SCALARS[line.name](e, *given, **dict(line.params))
        return e.splat(e.convert(result, line.kind), lanes)

    def input(self, line: Line, k: int, body: _Body, lanes: int) -> Value:
        """The value of one input where the line is computed."""
        e = self.e
        word, which = line.reads[k]
        if word == "c":
            return e.const(which, line.kinds[k] if not line.reduces else line.kind, lanes)
        if word == "o":
            return self.operand(which, body, lanes)
        if which in self.row_values:
            return e.splat(self.row_values[which], lanes)
        if which not in body.full:  # an earlier pass computed it
            kind = self.s.lines[which].kind
            if which in self.stored:
                place = e.address(self.stored[which], self.row * self.width + self.flat, MEMORY.get(kind, kind))
            else:
                place = self.scratch_of(which)
            body.full[which] = self.load(place, kind, lanes, self.mask)
        return body.full[which]

    def operand(self, which: int, body: _Body, lanes: int) -> Value:
        """The value of an operand, read once in a pass."""
        if which not in body.loaded:
            body.loaded[which] = self.load_operand(which, lanes)
        return self.e.splat(body.loaded[which], lanes)

    def load_operand(self, which: int, lanes: int) -> Value:
        """Read an operand; the parts of a total are joined."""
        e, o = self.e, self.s.operands[which]
        pointer = self.pointers[which] if lanes else self.sources[which]
        if not o.parts:
            return self.load_at(o, which, pointer, lanes, o.kind)
        value = self.load_at(o, which, pointer, lanes, o.stored)
        for part in range(1, o.parts):
            place = e.address(pointer, self.part_strides[which] * part, MEMORY.get(o.stored, o.stored))
            value = _JOIN[o.join](e, value, self.load_at(o, which, place, lanes, o.stored))
        return e.convert(value, o.kind)

    def load_at(self, o: Operand, which: int, pointer: Value, lanes: int, kind: str) -> Value:
        """Read elements of an operand from where a row of it begins."""
        e = self.e
        word = o.columns[-1:] if o.level == "full" and lanes else ""
        memory = MEMORY.get(kind, kind)
        if word == "1":
            return self.load(e.address(pointer, self.c, memory), kind, lanes, self.mask)
        if word == "g":
            stride = self.operands[which][2][-1]
            assert stride is not None
            places = e.splat(self.c * stride, lanes) + e.counting(lanes) * stride
            mask = self.mask if self.mask is not None else e.const(True, "i1", lanes)
            value = e.gather(pointer, places, memory, mask)
            return value != 0 if kind == "i1" else value
        return self.load(pointer, kind)


class UprightWriter(Writer):
    """Writes a kernel whose vectors stand upright: for rows shorter than a vector, whose sums then need no folding."""

    def write_rows(self, start: Value, stop: Value) -> None:
        """Loop over blocks of rows; each row is a lane."""
        e = self.e
        with e.loop(start, stop, self.lanes) as row:
            self.row = row
            self.mask = e.first_lanes(stop - row, self.lanes)
            self.apart: dict[str, Value] = {}
            self.row_values = {}
            self.pointers = []
            for (pointer, rows, _), o in zip(self.operands, self.s.operands, strict=True):
                stride = rows[0]
                memory = o.stored or MEMORY.get(o.kind, o.kind)
                self.pointers.append(pointer if stride is None else e.address(pointer, row * stride, memory))
            self.finish_rows(0)
            for number in range(self.n_passes):
                self.write_pass(number)
                self.finish_rows(number + 1)

    def places(self, stride: Value) -> Value:
        """Where the lanes are, a stride apart."""
        if stride.text not in self.apart:
            self.apart[stride.text] = self.e.counting(self.lanes) * stride
        return self.apart[stride.text]

    def finish_rows(self, number: int) -> None:
        """Compute the row values that are known before a pass."""
        e = self.e
        body = _Body()
        for i, line in enumerate(self.s.lines):
            if self.place[i] != number:
                continue
            if line.reduces == "columns":
                self.row_values[i] = e.convert(self.sums[i].get(), line.converted)
            elif line.level == "row" and not line.reduces:
                self.row_values[i] = self.compute(line, body, self.lanes)
            elif line.reduces == "row values":
                self.accumulate(self.vectors[i], line, body)
                continue
            else:
                continue
            if i in self.stored:
                memory = MEMORY.get(self.row_values[i].kind, self.row_values[i].kind)
                self.store(self.row_values[i], e.address(self.stored[i], self.row, memory), self.mask)

    def walk(self, number: int, pointers: list[Value], axis: int, before: Value) -> None:
        """Loop over the columns, one at a time."""
        with self.e.loop(0, self.width) as c:
            self.write_column(number, c)

    def write_pass(self, number: int) -> None:
        """Write one loop over the columns."""
        self.sources = self.pointers
        super().write_pass(number)

    def write_column(self, number: int, c: Value) -> None:
        """Write what a pass does with one column."""
        e = self.e
        body = _Body()
        self.c = self.flat = c
        for i, line in enumerate(self.s.lines):
            if line.reduces == "columns":
                if self.place[i] == number + 1:
                    value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                    self.sums[i].set(_JOIN[line.name](e, self.sums[i].get(), value))
            elif line.reduces == "all" and self.place[i] == number:
                self.accumulate(self.vectors[i], line, body)
            elif line.reduces == "rows" and self.place[i] == number:
                value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                none = e.const(neutral(line.name, line.kind), line.kind, self.lanes)
                value = self.fold(line.name, e.select(self.mask, value, none))
                place = e.address(self.totals[i], c, MEMORY.get(line.kind, line.kind))
                self.store(_JOIN[line.name](e, self.load(place, line.kind), value), place)
            elif line.level == "full" and not line.reduces and self.place[i] == number:
                value = self.compute(line, body, self.lanes)
                body.full[i] = value
                if i in self.stored:
                    memory = MEMORY.get(value.kind, value.kind)
                    place = e.address(self.stored[i], self.row * self.width + c, memory)
                    e.scatter(e.convert(value, memory), place, self.places(self.width), self.mask)
                elif i in self.saved:
                    self.store(value, self.scratch_of(i))

    def scratch_of(self, i: int) -> Value:
        """The place of a saved vector in scratch memory: room for a vector a column and value."""
        kind = self.s.lines[i].kind
        number = self.flat + self.width * self.saved.index(i)
        return self.e.address(self.scratch, number * (8 * self.lanes), "i8") if kind else self.scratch

    def input(self, line: Line, k: int, body: _Body, lanes: int) -> Value:
        """The value of one input where the line is computed."""
        word, which = line.reads[k]
        if word == "v" and which not in self.row_values and which not in body.full:
            kind = self.s.lines[which].kind
            memory = MEMORY.get(kind, kind)
            if which in self.stored:
                place = self.e.address(self.stored[which], self.row * self.width + self.flat, memory)
                value = self.e.gather(place, self.places(self.width), memory, self.mask)
                body.full[which] = value != 0 if kind == "i1" else value
            else:
                body.full[which] = self.load(self.scratch_of(which), kind, lanes)
        return super().input(line, k, body, lanes)

    def load_at(self, o: Operand, which: int, pointer: Value, lanes: int, kind: str) -> Value:
        """Read an operand in this column: the elements of neighbouring rows."""
        e = self.e
        memory = MEMORY.get(kind, kind)
        word = o.columns[-1:] if o.level == "full" else "0"
        if word != "0":
            stride = self.operands[which][2][-1]
            pointer = e.address(pointer, self.c if stride is None else self.c * stride, memory)
        between = self.operands[which][1][0]
        if between is None:
            return self.load(pointer, kind)
        value = e.gather(pointer, self.places(between), memory, self.mask)
        return value != 0 if kind == "i1" else value


def write_kernel(module: Module, name: str, structure: Structure) -> None:
    """Write a kernel.

    Args:
        module: where it goes.
        name: its name there.
        structure: what it does.
    """
    (UprightWriter if structure.upright else Writer)(module, name, structure).write()
