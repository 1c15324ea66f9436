"""The machine code of a cluster: a loop over rows, and within each row as few loops over columns as it takes."""

from __future__ import annotations

from typing import Any

from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.kernel import (
    JOIN,
    MEMORY,
    Line,
    Operand,
    Structure,
    apply,
    load,
    loops_of,
    neutral,
    store,
)
from undertow.compile.row_values import RowValues, join_all
from undertow.compile.rows import Body, Row
from undertow.compile.stages import saved_lines, stages
from undertow.compile.tally import PART as TALLIED
from undertow.compile.tally import Tallies
from undertow.compile.totals import PART, ROWS, Folded, Folding


class Writer(RowValues):
    """Writes one kernel."""

    def __init__(self, module: Module, name: str, structure: Structure) -> None:
        self.s = structure
        self.e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
        self.place, self.n_passes = stages(structure)
        self.saved = saved_lines(structure)
        self.totals: dict[int, Any] = {}
        self.folding, self.tallies = Folding(self.e), Tallies(self.e)
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
                kind = "f64" if line.reduces == "statistics" else MEMORY.get(line.kind, line.kind)
                self.totals[i] = e.address(pointer, elements * e.args["thread"], kind)
        self.loops = {loop: (self.read("ptr"), self.read("ptr")) for loop in loops_of(s)}
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
        """Write the loop over the rows: as many abreast as there are to be, and then what is left."""
        e, n = self.e, self.s.abreast
        self.begin_folding()
        if self.s.n_rows > 1:
            self.at_axes = [e.variable(place) for place in self.place_of(start)]
        whole = start + (stop - start) / e.const(n, "i64") * n
        for first, end, rows in ((start, whole, n), (whole, stop, 1)) if n > 1 else ((start, stop, 1),):
            with e.loop(first, end, rows) as row:
                self.write_abreast([row + i for i in range(rows)] if rows > 1 else [row])
                self.note_rows(rows)

    def begin_folding(self) -> None:
        """Decide how many rows are added up before parts of sums are folded."""
        e, self.rows_of_part = self.e, None
        if not self.s.by_columns and self.folding.sums:
            self.rows_of_part = e.const(ROWS, "i64")
        elif self.s.short and self.tallies.folds:  # as many as have so many vectors
            count = e.const(TALLIED * self.lanes, "i64") / (self.width + self.lanes)
            self.rows_of_part = e.select(count > ROWS, count, ROWS)
        self.since = e.variable(e.const(0, "i64"))  # rows that were added up

    def note_rows(self, n: int) -> None:
        """Count rows; fold where it is time. It is a branch within the loop: a loop of parts around it takes longer."""
        if self.rows_of_part is None:
            return
        since = self.since.get() + n
        self.since.set(since)
        with self.e.when(since >= self.rows_of_part):
            self.folding.fold()
            if self.s.short:
                self.tallies.fold()
            self.since.set(self.e.const(0, "i64"))

    def place_of(self, number: Value) -> list[Value]:
        """Tell where on each of several row axes a row is."""
        places: list[Value] = []
        for size in reversed(self.rows[1:]):
            quotient = number / size
            places.insert(0, number - quotient * size)
            number = quotient
        return [number, *places]

    def next_place(self) -> list[Value]:
        """Tell where on each of several row axes the next row is, without a division, which takes as long as a row."""
        e = self.e
        found = [place.get() for place in self.at_axes]
        more = e.const(1, "i64")
        for place, here, size in reversed(list(zip(self.at_axes, found, [None, *self.rows[1:]], strict=True))):
            after = here + more
            if size is not None:
                more = e.convert(after == size, "i64")
                after = e.select(after == size, 0, after)
            place.set(after)
        return found

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
        self.tallies.begin({i: x for i, x in enumerate(self.s.lines) if x.reduces == "statistics"}, self.lanes)
        for i, line in enumerate(self.s.lines):
            first = neutral(line.name, line.kind)
            if line.reduces == "all":
                self.vectors[i] = self.accumulator(line, self.lanes)
            elif line.reduces == "row values":
                self.vectors[i] = self.accumulator(line, self.lanes if self.s.upright else 0)
            elif line.reduces == "rows":
                memory = MEMORY.get(line.kind, line.kind)
                with e.loop(0, self.width) as c:
                    e.store(e.const(first, memory), e.address(self.totals[i], c, memory))

    def accumulator(self, line: Line, lanes: int) -> Any:
        """Make a place in registers for what a reduction has joined so far."""
        first = self.e.const(neutral(line.name, line.kind), line.kind, lanes)
        return self.folding.begin(first) if line.folded else self.e.variable(first)

    def end_totals(self) -> None:
        """Store what was added up in registers."""
        for i, line in enumerate(self.s.lines):
            if i in self.vectors:
                value = self.joined(self.vectors[i])
                store(self.e, self.fold(line.name, value) if value.lanes else value, self.totals[i])
        for i, found in self.tallies.results().items():
            for j, value in enumerate(found):
                self.e.store(value, self.e.address(self.totals[i], j, "f64"))

    def joined(self, total: Any) -> Value:
        """The value of an accumulator that is complete."""
        return total.result() if isinstance(total, Folded) else total.get()

    # ---- a row --------------------------------------------------------------------------------

    def write_abreast(self, numbers: list[Value]) -> None:
        """Write what is done in rows beside each other: while one waits for a sum, the next goes on."""
        self.abreast = [self.begin_row(number, i) for i, number in enumerate(numbers)]
        self.together = {}
        self.finish_rows(0)
        for number in range(self.n_passes):
            self.write_pass(number)
            self.finish_rows(number + 1)

    def begin_row(self, number: Value, i: int) -> Row:
        """Find where a row's elements are, the i-th of those abreast."""
        e = self.e
        places = self.next_place() if self.s.n_rows > 1 else [number]
        sources: list[Value] = []
        for (pointer, rows, _), o in zip(self.operands, self.s.operands, strict=True):
            for place, stride in zip(places, rows, strict=False):
                if stride is not None:
                    pointer = e.address(pointer, place * stride, o.stored or MEMORY.get(o.kind, o.kind))
            sources.append(pointer)
        scratch = e.address(self.scratch, self.width * (8 * len(self.saved) * i), "i8") if i else self.scratch
        self.at = row = Row(number, sources, scratch)
        # Read here, for LLVM reads it again with each vector if something is stored between.
        row.of_row = {
            i: self.load_operand(i, 0)
            for i, o in enumerate(self.s.operands)
            if o.level != "full" or not o.columns.strip("0")
        }
        return row

    def write_pass(self, number: int) -> None:
        """Write one loop over the columns."""
        for row in self.abreast:
            row.pointers = row.sources
            row.sums = {
                i: self.accumulator(line, self.lanes)
                for i, line in enumerate(self.s.lines)
                if line.reduces == "columns" and self.place[i] == number + 1
            }
        self.walk(number, 0, self.e.const(0, "i64"))
        for row in self.abreast:
            self.folding.end(list(row.sums.values()))

    def walk(self, number: int, axis: int, before: Value) -> None:
        """Loop over the outer column axes, then over the last one by vectors."""
        e = self.e
        if axis < self.s.n_columns - 1:
            with e.loop(0, self.columns[axis]) as c:
                outer = [row.pointers for row in self.abreast]
                for row in self.abreast:
                    row.pointers = self.moved(row.pointers, axis, c)
                self.walk(number, axis + 1, before + c * self.product(self.columns[axis + 1 :]))
                for row, pointers in zip(self.abreast, outer, strict=True):
                    row.pointers = pointers
            return
        low, high = (self.low, self.high) if self.s.n_columns == 1 else (e.const(0, "i64"), self.columns[-1])
        whole = low + (high - low) / e.const(self.lanes, "i64") * self.lanes
        sums, tallies = self.folded_in(number), any(self.place[i] == number for i in self.tallies.of)
        if self.s.short or not (sums or tallies):
            with e.loop(low, whole, self.lanes) as c:
                self.write_body(number, c, before, None)
        else:
            n = len(self.abreast)
            part = (PART if sums else TALLIED) // n * self.lanes
            with e.loop(low, whole, part) as start:
                stop = start + part
                stop = e.select(stop < whole, stop, whole)
                with e.loop(start, stop, self.lanes) as c:
                    self.write_body(number, c, before, None)
                vectors = (stop - start) / e.const(self.lanes, "i64")
                if tallies:
                    self.tallies.note(vectors * n)
                if sums and self.s.n_columns > 1:
                    self.folding.note(vectors)
                elif sums:
                    with e.when(high - low >= PART // ROWS * self.lanes):
                        for total in sums:
                            total.fold()
        with e.when(whole < high):
            self.write_body(number, whole, before, e.first_lanes(high - whole, self.lanes))
            if sums and self.s.n_columns > 1:
                self.folding.note(1)
            if tallies and not self.s.short:
                self.tallies.note(len(self.abreast))

    def moved(self, pointers: list[Value], axis: int, c: Value) -> list[Value]:
        """Go to place ``c`` of an outer column axis."""
        moved = []
        for pointer, (_, _, columns), o in zip(pointers, self.operands, self.s.operands, strict=True):
            stride = columns[axis] if o.level == "full" and columns else None
            if stride is not None:
                pointer = self.e.address(pointer, c * stride, o.stored or MEMORY.get(o.kind, o.kind))
            moved.append(pointer)
        return moved

    def folded_in(self, number: int) -> list[Folded]:
        """The sums in parts that a pass adds to."""
        lines = self.s.lines
        every = [x for i, x in self.vectors.items() if lines[i].reduces == "all" and self.place[i] == number]
        sums = [x for row in self.abreast for x in row.sums.values()]
        return [x for x in (*every, *sums) if isinstance(x, Folded)]

    # ---- a vector of columns ------------------------------------------------------------------

    def write_body(self, number: int, c: Value, before: Value, mask: Value | None) -> None:
        """Write what a pass does with one vector of columns of each row."""
        self.c, self.flat, self.mask = c, before + c, mask
        self.added: dict[int, list[Value]] = {}  # of each sum over the rows and of statistics, what the rows give
        for row in self.abreast:
            self.at = row
            self.write_vector(number)
        for i, values in self.added.items():
            if i in self.tallies.of:
                self.tallies.of[i].add(values, [mask] * len(values))
            else:
                self.add_rows(i, values)

    def write_vector(self, number: int) -> None:
        """Write what a pass does with one vector of columns."""
        e, row, mask = self.e, self.at, self.mask
        body = Body()
        base = row.number * self.width
        for i, line in enumerate(self.s.lines):
            if line.reduces == "columns":
                if self.place[i] == number + 1:
                    self.accumulate(row.sums[i], line, body)
            elif line.reduces == "statistics":
                if self.place[i] == number:
                    self.added.setdefault(i, []).append(self.input(line, 0, body, self.lanes))
            elif line.reduces == "all":
                if self.place[i] == number:
                    self.accumulate(self.vectors[i], line, body)
            elif line.reduces == "rows":
                if self.place[i] == number:
                    value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                    self.added.setdefault(i, []).append(value)
            elif line.level == "full" and self.place[i] == number:
                value = self.compute(line, body, self.lanes)
                body.full[i] = value
                if i in self.stored:
                    place = e.address(self.stored[i], base + self.flat, MEMORY.get(value.kind, value.kind))
                    store(self.e, value, place, mask)
                elif i in self.saved:
                    store(self.e, value, self.scratch_of(i), mask)

    def add_rows(self, i: int, values: list[Value]) -> None:
        """Join what rows beside each other give to a sum over the rows, which waits for the one before in memory."""
        e, line = self.e, self.s.lines[i]
        join = JOIN[line.name]
        place = e.address(self.totals[i], self.flat, MEMORY.get(line.kind, line.kind))
        new = join(e, load(self.e, place, line.kind, self.lanes, self.mask), join_all(e, join, values))
        store(self.e, new, place, self.mask)

    def scratch_of(self, i: int) -> Value:
        """The place of a saved value in scratch memory: 8 bytes a column and value."""
        e = self.e
        start = e.address(self.at.scratch, self.width * (8 * self.saved.index(i)), "i8")
        kind = self.s.lines[i].kind
        return e.address(start, self.flat, MEMORY.get(kind, kind))

    def accumulate(self, total: Any, line: Line, body: Body) -> None:
        """Add a vector to a reduction; lanes outside of the mask change nothing."""
        e = self.e
        value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
        new = JOIN[line.name](e, total.get(), value)
        total.set(new if self.mask is None else e.select(self.mask, new, total.get()))

    def compute(self, line: Line, body: Body, lanes: int) -> Value:
        """Compute a line that is no reduction, where it stands."""
        given = [self.input(line, k, body, lanes) for k in range(len(line.kinds))]
        return apply(self.e, line, given, lanes, self.loops)

    def input(self, line: Line, k: int, body: Body, lanes: int) -> Value:
        """The value of one input where the line is computed."""
        e = self.e
        word, which = line.reads[k]
        if word in ("c", "-c"):
            return e.const(which, line.kinds[k] if not line.reduces else line.kind, lanes)
        if word == "o":
            return self.operand(which, body, lanes)
        if which in self.at.values:
            return e.splat(self.at.values[which], lanes)
        if which not in body.full:  # an earlier pass computed it
            kind = self.s.lines[which].kind
            if which in self.stored:
                place = e.address(self.stored[which], self.at.number * self.width + self.flat, MEMORY.get(kind, kind))
            else:
                place = self.scratch_of(which)
            body.full[which] = load(self.e, place, kind, lanes, self.mask)
        return body.full[which]

    def operand(self, which: int, body: Body, lanes: int) -> Value:
        """The value of an operand, read once in a row if the row has one of it, and else once in a pass."""
        if which in self.at.of_row:
            return self.e.splat(self.at.of_row[which], lanes)
        if which not in body.loaded:
            body.loaded[which] = self.load_operand(which, lanes)
        return self.e.splat(body.loaded[which], lanes)

    def load_operand(self, which: int, lanes: int) -> Value:
        """Read an operand; the parts of a total are joined."""
        e, o = self.e, self.s.operands[which]
        pointer = self.at.pointers[which] if lanes else self.at.sources[which]
        if not o.parts:
            return self.load_at(o, which, pointer, lanes, o.kind)
        value = self.load_at(o, which, pointer, lanes, o.stored)
        for part in range(1, o.parts):
            place = e.address(pointer, self.part_strides[which] * part, MEMORY.get(o.stored, o.stored))
            value = JOIN[o.join](e, value, self.load_at(o, which, place, lanes, o.stored))
        return e.convert(value, o.kind)

    def load_at(self, o: Operand, which: int, pointer: Value, lanes: int, kind: str) -> Value:
        """Read elements of an operand from where a row of it begins."""
        e = self.e
        word = o.columns[-1:] if o.level == "full" and lanes else ""
        memory = MEMORY.get(kind, kind)
        if word == "1":
            return load(self.e, e.address(pointer, self.c, memory), kind, lanes, self.mask)
        if word == "g":
            stride = self.operands[which][2][-1]
            assert stride is not None
            places = e.splat(self.c * stride, lanes) + e.counting(lanes) * stride
            mask = self.mask if self.mask is not None else e.const(True, "i1", lanes)
            value = e.gather(pointer, places, memory, mask)
            return value != 0 if kind == "i1" else value
        return load(self.e, pointer, kind)
