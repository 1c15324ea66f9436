"""Large matrix products: a block of A and panels of B are copied first, to where they lie close together.

Rows that are a power of two apart share few places in the caches, and blocks of C would wait for their numbers. GF/s on
one thread of a Zen 5 (peak 268), m x n x k, without copies / OpenBLAS / with copies, numbers far away at first:
  f32  512 x 2048 x 2048   NN 226 / 236 / 241   NT 232 / 233 / 238      2048 x 2048 x 512    TN 215 / 242 / 239
  f32  64 x 4096 x 4096    NN 154 / 159 / 182   NT 167 / 159 / 166      4096 x 4096 x 64     TN 233 / 190 / 247
  f32  10,000 x 256 x 256  TN 263 / 227 / 236   256 x 256 x 10,000  NN 242 / 216 / 216   4000 cubed  NN 204 / 256 / 238
  f64  512 x 2048 x 2048   NN 101 / 104 / 107   NT 109 / 103 / 108      2048 x 2048 x 512    TN  89 / 105 / 109
"""

from __future__ import annotations

from collections.abc import Callable

from undertow.compile.finish import Finish
from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.panels import PANEL_ROW
from undertow.compile.product import DEPTH, Product
from undertow.compile.product_args import LINE, SIZES

BLOCK = 1 << 19  # bytes of A that are copied together: half of a second-level cache
AHEAD = 16  # rows that are fetched before they are copied


def block_rows(kind: str) -> int:
    """Return how many rows of A are copied together."""
    return BLOCK // (DEPTH * SIZES[kind])


def packed_bytes(kind: str) -> int:
    """Return the scratch memory that one thread needs for a large product, a multiple of 64."""
    # Rows or columns of the block are a line further apart than they are long, or they would share places again.
    return PANEL_ROW * DEPTH + BLOCK + LINE * max(block_rows(kind), DEPTH)


def write_packed(module: Module, kind: str, lanes: int, finish: Finish | None = None) -> str:
    """Write the function of large products into a module; it is called as that of ``write_product`` is."""
    return _Packed(module, kind, lanes, "packed", finish).write()


class _Packed(Product):
    """Writes the functions of one kind."""

    sides = False

    def swaps(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Never: such a product has many rows and columns."""
        return e.const(False, "i1")

    def copies(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Always, as B lies."""
        return e.const(True, "i1")

    fetches = True

    def fetch(self, e: Emitter, task: dict[str, Value], row: Value, columns: int) -> None:
        """Write what has a row of C fetched while its sums are made; 1.1 times the speed where C is large."""
        super().fetch(e, task, row, columns)
        for at in range(0, columns * self.size, LINE):
            e.prefetch(e.address(row, at, "i8"))

    def write_copy(self) -> None:
        """Write the copy of rows: four vectors at a time, without masks, which take longer than the rest."""
        e = self.begin("copy", "target source", "row_b col_b k columns row")
        columns, wide = e.args["columns"], 4 * self.lanes
        whole = e.select(e.args["col_b"] == self.size, columns / wide * wide, 0)
        with self.each_row(e) as (target, source):
            with e.loop(0, whole, wide) as j:
                e.prefetch(e.address(e.address(source, e.args["row_b"] * AHEAD, "i8"), j, self.kind))
                row = self.load_row(e, e.address(source, j, self.kind), 4, self.lanes, None)
                for v, vector in enumerate(row):
                    e.store(vector, e.address(target, j + v * self.lanes, self.kind))
            self.copy_singly(e, target, source, whole)
        e.finish()

    def write_one(self, e: Emitter, x: dict[str, Value], left: Value, right: Value) -> None:
        """Write one product, so many rows at a time: their part of C stays in a cache from sum to sum."""
        height = block_rows(self.kind)
        with e.loop(0, x["rows"], height) as top:
            ahead = x["rows"] - top
            a, c = (e.address(x[s], top * x[f"row_{s}"], "i8") for s in "ac")
            now = {**x, "a": a, "c": c, "rows": e.select(ahead < height, ahead, height)}
            super().write_one(e, now, left, right)

    def write_panels(
        self, e: Emitter, x: dict[str, Value], left: Value, right: Value, task: Value, tell: Callable[..., None]
    ) -> None:
        """Write the copy of a block of A, by rows or by columns as it lies, and the product with it."""
        size = e.const(self.size, "i64")
        block = e.address(x["scratch"], PANEL_ROW * DEPTH, "i8")
        upright = x["row_a"] == size  # the elements of a column are neighbours
        lines, width = e.select(upright, x["k"], x["rows"]), e.select(upright, x["rows"], x["k"])
        far, near = e.select(upright, x["col_a"], x["row_a"]), e.select(upright, x["row_a"], x["col_a"])
        row = e.select(upright, size * block_rows(self.kind), size * DEPTH) + LINE
        e.call(f"{self.name}_copy", block, x["a"], far, near, lines, width, row)
        row_a, col_a = e.select(upright, size, row), e.select(upright, row, size)
        tell(row_a=row_a, col_a=col_a)
        super().write_panels(e, {**x, "a": block}, left, right, task, tell)
