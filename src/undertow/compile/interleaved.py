"""Large matrix products for processors of Intel: panels of B are copied first, then rows of A, a few interleaved.

So many columns of B as half of a second-level cache holds are copied, panel by panel. Then rows of A are copied, those
of a block of C together, the elements of a column side by side: they stay in the first-level cache, while all panels
come past. So every operand is read as it lies, transposed or not. What that is worth stands at `ways`.

Source: K. Goto and R. van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from undertow.compile.finish import Finish
from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.product import DEPTH, Product, Terms
from undertow.compile.product_args import LINE, SIZES

VECTORS = 3  # side by side in a panel of B, ...
HEIGHT = 8  # ... and rows of the blocks of C that these make
GROUP = 64  # rows of A that are copied at once: of a transposed one, whole lines, which are far from each other
CHUNK = 2304  # bytes of a row of B that are copied together
AHEAD = 8  # terms that a panel's rows are fetched ahead: processors wait for the second-level cache else
SPARE = 16  # rows behind the last that squares which are turned around end in


def interleaved_bytes(kind: str) -> int:
    """Return the scratch memory that one thread needs for such a product, a multiple of 64."""
    return _tile_bytes(kind) * (GROUP // HEIGHT) + (DEPTH + SPARE) * CHUNK


def _tile_bytes(kind: str) -> int:
    """Bytes of A's rows for one block of C: squares that are turned around end behind the last term."""
    return HEIGHT * SIZES[kind] * (DEPTH + SPARE) // LINE * LINE


def write_interleaved(module: Module, kind: str, lanes: int, finish: Finish | None = None) -> str:
    """Write the function of such products into a module; it is called as that of ``write_product`` is."""
    return _Interleaved(module, kind, lanes, "interleaved", finish).write()


class _Interleaved(Product):
    """Writes the functions of one kind."""

    sides = False
    fetches = True
    tight = True

    def __init__(self, module: Module, kind: str, lanes: int, name: str, finish: Finish | None) -> None:
        super().__init__(module, kind, lanes, name, finish)
        self.blocks = dict.fromkeys(range(1, VECTORS + 1), (HEIGHT,))
        self.task = (*self.task, "rows")
        self.masks = False  # panels end in zeros: masked reading takes the place of a multiplication
        self.wide = VECTORS * lanes  # columns of a panel

    def swaps(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Never: such a product has many rows and columns."""
        return e.const(False, "i1")

    # ---- a block of C in registers ------------------------------------------------------------

    def place_block(
        self, e: Emitter, task: dict[str, Value], i: Value, rows: int, columns: int
    ) -> tuple[dict[str, Value], Value, Value]:
        """Return what the i-th block of a call is told, and where its A and C are: beside the block before."""
        b = e.address(task["b"], i * (task["k"] * (self.wide * self.size)), "i8")
        task = {**task, "b": b}
        if self.finishing is not None:
            task["column"] = task["column"] + i * self.wide
        return task, e.args["a"], e.address(e.args["c"], i * self.wide, self.kind)

    def inside(self, e: Emitter, task: dict[str, Value], row: int) -> AbstractContextManager[None]:
        """Write what is done with a row of a block where A had so many left."""
        return e.when(task["rows"] > row)

    def fetch(self, e: Emitter, task: dict[str, Value], row: Value, columns: int) -> None:
        """Write what has a row of C fetched while its sums are made."""
        super().fetch(e, task, row, columns)
        for at in range(0, columns * self.size, LINE):
            e.prefetch(e.address(row, at, "i8"))

    def fetch_ahead(self, e: Emitter, b: Value, columns: int) -> None:
        """Write what has later rows of B fetched, from the second-level cache."""
        for at in range(0, columns * self.size, LINE):
            e.prefetch(e.address(b, AHEAD * self.wide * self.size + at, "i8"))

    def follow(self, e: Emitter, task: dict[str, Value], first: Value, rows: int) -> Terms:
        """Follow A from term to term: elements of a column lie side by side."""
        head = e.variable(first)
        return (
            lambda: lambda i: e.address(head.get(), i, self.kind),
            lambda: head.set(e.address(head.get(), rows, self.kind)),
        )

    # ---- all of a product ---------------------------------------------------------------------

    def write_copy(self) -> None:
        """Write the copy of rows as long as a panel is wide or a block is high; neighbours go by vectors."""
        e = self.begin("copy", "target source", "row_b col_b k columns row")
        columns = e.args["columns"]
        vectors = -(-max(self.wide, HEIGHT) // self.lanes)
        masks = [e.first_lanes(columns - v * self.lanes, self.lanes) for v in range(vectors)]
        near = e.args["col_b"] == self.size
        with self.each_row(e) as (target, source):
            for v, mask in enumerate(masks):
                with e.when(near & (columns > v * self.lanes)):
                    vector = e.load(e.address(source, v * self.lanes, self.kind), self.kind, self.lanes, mask)
                    e.store(vector, e.address(target, v * self.lanes, self.kind))
            with e.when(~near):
                self.copy_singly(e, target, source)
        e.finish()

    def write_group(self) -> None:
        """Write the copy of many rows of a transposed A: a column of it, and of each group of rows, at a time."""
        e = self.begin("group", "target source", "row_b k columns row")
        columns = e.args["columns"]
        masks = [e.first_lanes(columns - top, HEIGHT) for top in range(0, GROUP, HEIGHT)]
        with self.each_row(e) as (target, source):
            for i, mask in enumerate(masks):
                vector = e.load(e.address(source, i * HEIGHT, self.kind), self.kind, HEIGHT, mask)
                e.store(vector, e.address(target, i * _tile_bytes(self.kind), "i8"))
        e.finish()

    def write_strip(self) -> None:
        """Write the copy of many panels at once: of a row in one piece the processor fetches more by itself."""
        e = self.begin("strip", "target source", "row_b k panels row panel")
        with self.each_row(e) as (target, source), e.loop(0, e.args["panels"]) as i:
            begin, out = e.address(source, i * self.wide, self.kind), e.address(target, i * e.args["panel"], "i8")
            for v in range(VECTORS):
                here = e.address(begin, v * self.lanes, self.kind)
                e.store(e.load(here, self.kind, self.lanes), e.address(out, v * self.lanes, self.kind))
        e.finish()

    def write_panel(self) -> None:
        """Write what copies a strip, and no loop over rows: that of all panels does both."""
        self.write_strip()
        self.write_group()

    def write_panels(
        self, e: Emitter, x: dict[str, Value], left: Value, right: Value, task: Value, tell: Callable[..., None]
    ) -> None:
        """Write the loops over columns of B that are copied together, and over rows of A."""
        tile = _tile_bytes(self.kind)
        panels, chunk = e.address(x["scratch"], tile * (GROUP // HEIGHT), "i8"), CHUNK // self.size
        panel = x["k"] * (self.wide * self.size)
        row = e.const(self.wide * self.size, "i64")
        with e.loop(left, right, chunk) as begin:
            columns = e.select(right - begin < chunk, right - begin, chunk)
            near = x["col_b"] == self.size
            ready = e.select(near, columns / self.wide, 0)
            source = e.address(x["b"], begin, self.kind)
            e.call(f"{self.name}_strip", panels, source, x["row_b"], x["k"], ready, row, panel)
            with e.loop(ready * self.wide, columns, self.wide) as j:
                width = e.select(columns - j < self.wide, columns - j, self.wide)
                source = e.address(x["b"], (begin + j) * x["col_b"], "i8")
                target = e.address(panels, j / self.wide * panel, "i8")
                self.pack(e, target, source, x["row_b"], x["col_b"], x["k"], width, row)
            tell(row_b=row)
            with e.loop(0, x["rows"], GROUP) as first:
                ahead = x["rows"] - first
                group = e.select(ahead < GROUP, ahead, GROUP)
                self.copy_rows(e, {**x, "a": e.address(x["a"], first * x["row_a"], "i8")}, group)
                with e.loop(0, group, HEIGHT) as top:
                    ahead = group - top
                    tell(rows=e.select(ahead < HEIGHT, ahead, HEIGHT))
                    here = {**x, "c": e.address(x["c"], (first + top) * x["row_c"], "i8"), "b": panels, "panel": panel}
                    rows = e.address(x["scratch"], top / HEIGHT * tile, "i8")
                    self.write_row_of_blocks(e, here, rows, begin, columns, task, tell)

    def copy_rows(self, e: Emitter, x: dict[str, Value], group: Value) -> None:
        """Write the copy of a group of A's rows, in parts as high as a block of C."""
        tile, apart = _tile_bytes(self.kind), e.const(HEIGHT * self.size, "i64")
        near = x["row_a"] == self.size
        with e.when(near):
            e.call(f"{self.name}_group", x["scratch"], x["a"], x["col_a"], x["k"], group, apart)
        with e.when(~near), e.loop(0, group, HEIGHT) as top:
            rows = e.select(group - top < HEIGHT, group - top, HEIGHT)
            target = e.address(x["scratch"], top / HEIGHT * tile, "i8")
            source = e.address(x["a"], top * x["row_a"], "i8")
            self.pack(e, target, source, x["col_a"], x["row_a"], x["k"], rows, apart)

    def write_row_of_blocks(
        self,
        e: Emitter,
        x: dict[str, Value],
        rows: Value,
        begin: Value,
        columns: Value,
        task: Value,
        tell: Callable[..., None],
    ) -> None:
        """Write the product of some of A's rows with all panels that were copied, the last of which may be narrow."""
        whole = columns / self.wide
        rest = columns - whole * self.wide
        runs = [(VECTORS, whole, e.const(0, "i64"), e.const(self.lanes, "i64"))]
        for vectors in range(1, VECTORS + 1):
            width = rest - (vectors - 1) * self.lanes
            count = e.select((width > 0) & (width <= self.lanes), e.const(1, "i64"), 0)
            runs.append((vectors, count, whole, width))
        for vectors, count, first, width in runs:
            with e.when(count > 0):
                column = begin + first * self.wide
                tell(b=e.address(x["b"], first * x["panel"], "i8"), width=width)
                if self.finishing is not None:
                    tell(column=column)
                place = e.address(x["c"], column, self.kind)
                e.call(f"{self.name}_block_{vectors}_{HEIGHT}", task, rows, place, count)

    def pack(
        self, e: Emitter, target: Value, source: Value, row: Value, col: Value, k: Value, columns: Value, apart: Value
    ) -> None:
        """Write the copy of k rows; those that lie column by column are turned around."""
        turned = (row == self.size) & (col != self.size)
        with e.when(turned):
            e.call(f"{self.name}_transpose", target, source, col, k, columns, apart)
        with e.when(~turned):
            e.call(f"{self.name}_copy", target, source, row, col, k, columns, apart)
