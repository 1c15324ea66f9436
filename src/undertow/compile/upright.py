"""Kernels for short rows: a vector holds the same column of neighbouring rows, so that no sum needs folding."""

from __future__ import annotations

from undertow.compile.ir import Module, Value
from undertow.compile.kernel import JOIN, MEMORY, Line, Operand, Structure, load, neutral, store
from undertow.compile.rows import Body, Row
from undertow.compile.writer import Writer


class UprightWriter(Writer):
    """Writes a kernel whose vectors stand upright: for rows shorter than a vector, whose sums then need no folding."""

    def write_rows(self, start: Value, stop: Value) -> None:
        """Loop over blocks of rows; each row is a lane."""
        e = self.e
        with e.loop(start, stop, self.lanes) as row:
            self.mask = self.within = e.first_lanes(stop - row, self.lanes)
            self.apart: dict[str, Value] = {}  # the places of lanes, by their stride
            pointers = []
            for (pointer, rows, _), o in zip(self.operands, self.s.operands, strict=True):
                stride = rows[0]
                memory = o.stored or MEMORY.get(o.kind, o.kind)
                pointers.append(pointer if stride is None else e.address(pointer, row * stride, memory))
            self.at = Row(row, pointers, self.scratch, pointers)
            self.abreast = [self.at]
            self.at.of_row = {
                i: self.load_operand(i, self.lanes) for i, o in enumerate(self.s.operands) if self.is_of_row(i, o)
            }
            self.finish_rows(0)
            for number in range(self.n_passes):
                self.write_pass(number)
                self.finish_rows(number + 1)
            self.folding.note(self.width)
            self.tallies.note(self.width)

    def places(self, stride: Value) -> Value:
        """Where the lanes are, a stride apart."""
        if stride.text not in self.apart:
            self.apart[stride.text] = self.e.counting(self.lanes) * stride
        return self.apart[stride.text]

    def finish_rows(self, number: int) -> None:
        """Compute the row values that are known before a pass."""
        self.apart = {}  # what a loop computes is not known behind it
        super().finish_rows(number)

    def finish_row(self, i: int, line: Line) -> None:
        """Compute a value of each row."""
        e, row = self.e, self.at
        if line.reduces == "columns":
            row.values[i] = e.convert(self.joined(row.sums[i]), line.converted)
        elif line.level == "row" and not line.reduces:
            row.values[i] = self.compute(line, Body(), self.lanes)
        elif line.reduces == "row values":
            self.accumulate(self.vectors[i], line, Body())
            return
        else:
            return
        if i in self.stored:
            memory = MEMORY.get(row.values[i].kind, row.values[i].kind)
            store(self.e, row.values[i], e.address(self.stored[i], row.number, memory), self.mask)

    def walk(self, number: int, axis: int, before: Value) -> None:
        """Loop over the columns, one at a time."""
        with self.e.loop(0, self.width) as c:
            self.write_column(number, c)

    def write_column(self, number: int, c: Value) -> None:
        """Write what a pass does with one column."""
        e, row = self.e, self.at
        self.apart = {}
        body = Body()
        self.c = self.flat = c
        for i, line in enumerate(self.s.lines):
            if line.reduces == "columns":
                if self.place[i] == number + 1:
                    value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                    row.sums[i].set(JOIN[line.name](e, row.sums[i].get(), value))
            elif line.reduces == "statistics":
                if self.place[i] == number:
                    self.tallies.of[i].add([self.input(line, 0, body, self.lanes)], [self.within])
            elif line.reduces == "all" and self.place[i] == number:
                self.accumulate(self.vectors[i], line, body)
            elif line.reduces == "rows" and self.place[i] == number:
                value = e.convert(self.input(line, 0, body, self.lanes), line.kind)
                none = e.const(neutral(line.name, line.kind), line.kind, self.lanes)
                value = self.fold(line.name, e.select(self.within, value, none))
                place = e.address(self.totals[i], c, MEMORY.get(line.kind, line.kind))
                store(self.e, JOIN[line.name](e, load(self.e, place, line.kind), value), place)
            elif line.level == "full" and not line.reduces and self.place[i] == number:
                value = self.compute(line, body, self.lanes)
                body.full[i] = value
                if i in self.stored:
                    memory = MEMORY.get(value.kind, value.kind)
                    place = e.address(self.stored[i], row.number * self.width + c, memory)
                    e.scatter(e.convert(value, memory), place, self.places(self.width), self.within)
                elif i in self.saved:
                    store(self.e, value, self.scratch_of(i))

    def scratch_of(self, i: int) -> Value:
        """The place of a saved vector in scratch memory: room for a vector a column and value."""
        number = self.flat + self.width * self.saved.index(i)
        return self.e.address(self.scratch, number * (8 * self.lanes), "i8")

    def input(self, line: Line, k: int, body: Body, lanes: int) -> Value:
        """The value of one input where the line is computed."""
        word, which = line.reads[k]
        if word == "v" and which not in self.at.values and which not in body.full:
            kind = self.s.lines[which].kind
            memory = MEMORY.get(kind, kind)
            if which in self.stored:
                place = self.e.address(self.stored[which], self.at.number * self.width + self.flat, memory)
                value = self.e.gather(place, self.places(self.width), memory, self.within)
                body.full[which] = value != 0 if kind == "i1" else value
            else:
                body.full[which] = load(self.e, self.scratch_of(which), kind, lanes)
        return super().input(line, k, body, lanes)

    def is_of_row(self, which: int, o: Operand) -> bool:
        """Whether a row has one element of an operand, another one than the next row: it is read before the columns."""
        return self.operands[which][1][0] is not None and (o.level != "full" or o.columns[-1:] == "0")

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
            return load(self.e, pointer, kind)
        value = e.gather(pointer, self.places(between), memory, self.within)
        return value != 0 if kind == "i1" else value


def write_kernel(module: Module, name: str, structure: Structure) -> None:
    """Write a kernel.

    Args:
        module: where it goes.
        name: its name there.
        structure: what it does.
    """
    (UprightWriter if structure.upright else Writer)(module, name, structure).write()
