"""Panels of a product's operands in scratch memory: what lies column by column is turned around in registers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.product_args import SIZES

NARROW = 12  # C of so few columns is made with its rows as vectors, then turned around
PANEL_ROW = 4 * 64  # bytes: no panel is wider than 4 vectors of 64
OUT = NARROW * PANEL_ROW  # bytes of scratch for a panel of such a C, ...
TURNED = 64 * 64  # ... and for that turned around


class Panels:
    """Writes the functions that copy and turn around panels of one kind of numbers.

    Args:
        module: where the functions go.
        kind: ``f32`` or ``f64``.
        lanes: numbers in a vector register, a power of 2.
        name: what their names begin with.
    """

    tight = False  # rows of a panel lie closer together than its vectors are wide

    def __init__(self, module: Module, kind: str, lanes: int, name: str) -> None:
        self.module, self.kind, self.lanes, self.size, self.name = module, kind, lanes, SIZES[kind], name

    def begin(self, name: str, pointers: str, numbers: str, beta: bool = False) -> Emitter:
        """Begin a function of the module, of addresses, perhaps the factor of C, and whole numbers."""
        params = [(x, "ptr") for x in pointers.split()] + [("beta", self.kind)] * beta
        params += [(x, "i64") for x in numbers.split()]
        e = Emitter(self.module, f"{self.name}_{name}", params, private=True)
        # All in one function, or with loops unrolled, it takes LLVM twice as long and runs no faster.
        e.attributes += " noinline optsize"
        return e

    def write_transpose(self) -> None:
        """Write the copy of a panel whose columns lie one by one: squares are turned around in registers."""
        e = self.begin("transpose", "target source", "col_b k columns row")
        lanes, k, columns = self.lanes, e.args["k"], e.args["columns"]
        with e.loop(0, columns, lanes) as j:
            # Columns behind the last are the last again: nobody looks at them, but they can be read.
            last = columns - j - 1
            begin = e.address(e.args["source"], j * e.args["col_b"], "i8")
            near = [e.select(last < i, last, e.const(i, "i64")) * e.args["col_b"] for i in range(lanes)]
            target = e.address(e.args["target"], j, self.kind)
            inside = e.first_lanes(e.args["row"] / self.size - j, lanes) if self.tight else None
            with e.loop(0, k, lanes) as p:
                mask = e.first_lanes(k - p, lanes)
                here = e.address(begin, p, self.kind)
                square = [e.load(e.address(here, x, "i8"), self.kind, lanes, mask) for x in near]
                out = e.address(target, p * e.args["row"], "i8")
                for i, row in enumerate(self.turn(e, square)):
                    e.store(row, e.address(out, e.args["row"] * i, "i8"), inside)
        e.finish()

    def turn(self, e: Emitter, rows: list[Value]) -> list[Value]:
        """Transpose a square: within parts of 128 bits first, then whole parts, as processors do it best."""
        part = min(self.lanes, 16 // self.size)
        groups = [self.gather_columns(e, rows[i : i + part], 1, part) for i in range(0, self.lanes, part)]
        columns = [self.gather_columns(e, list(same), part, self.lanes) for same in zip(*groups, strict=True)]
        return [columns[i % part][i // part] for i in range(self.lanes)]

    def gather_columns(self, e: Emitter, rows: list[Value], unit: int, span: int) -> list[Value]:
        """Transpose within every ``span`` lanes, where ``unit`` lanes count as one element."""
        if len(rows) == 1:
            return rows
        starts = range(0, self.lanes, span)
        sides = []
        for odd in (0, 1):
            picked = [x for x in range(span) if x // unit % 2 == odd]
            order = [at for s in starts for at in [*(s + x for x in picked), *(self.lanes + s + x for x in picked)]]
            half = [e.shuffle(rows[i], rows[i + 1], order) for i in range(0, len(rows), 2)]
            sides.append(self.gather_columns(e, half, unit, span))
        return [x for pair in zip(*sides, strict=True) for x in pair]

    def write_copy(self) -> None:
        """Write the copy of a panel that has no neighbours at all, one by one; it is rare."""
        e = self.begin("copy", "target source", "row_b col_b k columns row")
        with self.each_row(e) as (target, source):
            self.copy_singly(e, target, source)
        e.finish()

    @contextmanager
    def each_row(self, e: Emitter) -> Iterator[tuple[Value, Value]]:
        """Write the loop over the rows of a panel that is copied: where each goes, and where it is."""
        with e.loop(0, e.args["k"]) as p:
            target = e.address(e.args["target"], p * e.args["row"], "i8")
            yield target, e.address(e.args["source"], p * e.args["row_b"], "i8")

    def copy_singly(self, e: Emitter, target: Value, source: Value, first: Value | int = 0) -> None:
        """Write the copy of a row's elements, from the first that is left on, one by one."""
        with e.loop(first, e.args["columns"]) as j:
            value = e.load(e.address(source, j * e.args["col_b"], "i8"), self.kind)
            e.store(value, e.address(target, j, self.kind))

    def write_deliver(self) -> None:
        """Write what turns around a panel of C that was made with columns as rows, and puts or adds it to C."""
        e = self.begin("deliver", "c panel", "row rows columns row_c", beta=True)
        step = e.const(16 * self.size, "i64")
        turned = e.address(e.args["panel"], OUT, "i8")
        e.call(
            f"{self.name}_transpose", turned, e.args["panel"], e.args["row"], e.args["rows"], e.args["columns"], step
        )
        with e.loop(0, e.args["columns"], self.lanes) as j:
            mask = e.first_lanes(e.args["columns"] - j, self.lanes)
            with e.loop(0, e.args["rows"]) as i:
                new = e.variable(
                    e.load(e.address(e.address(turned, i * step, "i8"), j, self.kind), self.kind, self.lanes)
                )
                c = e.address(e.address(e.args["c"], i * e.args["row_c"], "i8"), j, self.kind)
                with e.when(e.args["beta"] != 0.0):
                    old = e.load(c, self.kind, self.lanes, mask)
                    new.set(e.fma(old, e.args["beta"], new.get()))
                e.store(new.get(), c, mask)
        e.finish()
