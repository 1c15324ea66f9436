"""One row times columns that lie one by one: dot products, for which no panel of B is turned around."""

from __future__ import annotations

from undertow.compile.ir import Emitter, Value, Variable
from undertow.compile.panels import Panels


class Dots(Panels):
    """Writes dot products of a vector with columns."""

    def read_task(self, e: Emitter) -> dict[str, Value]:
        """Read the table that a block is given."""
        raise NotImplementedError

    def write_dots(self) -> None:
        """Write the dot products of a vector with columns, a few at a time."""
        e = self.begin("dots", "task a c", "col_b columns")
        task, lanes, count = self.read_task(e), self.lanes, min(4, self.lanes)
        k, columns = task["k"], e.args["columns"]
        whole = k - (k & (lanes - 1))
        rest = e.first_lanes(k - whole, lanes)
        with e.loop(0, columns, count) as j:
            last = columns - j - 1
            near = [e.select(last < i, last, e.const(i, "i64")) for i in range(count)]
            places = [e.address(task["b"], (j + x) * e.args["col_b"], "i8") for x in near]
            sums = [e.variable(e.const(0.0, self.kind, lanes)) for _ in places]

            with e.loop(0, whole, lanes) as p:
                self.add_products(e, p, None, places, sums)
            with e.when(whole < k):
                self.add_products(e, whole, rest, places, sums)
            total = e.variable(self.sum_lanes(e, [x.get() for x in sums]) * e.splat(task["alpha"], count))
            c, mask = e.address(e.args["c"], j, self.kind), e.first_lanes(last + 1, count)
            with e.when(task["beta"] != 0.0):
                total.set(e.fma(e.load(c, self.kind, count, mask), task["beta"], total.get()))
            e.store(total.get(), c, mask)
        e.finish()

    def add_products(
        self, e: Emitter, p: Value, mask: Value | None, columns: list[Value], sums: list[Variable]
    ) -> None:
        """Write a vector of A times the same part of every column."""
        left = e.load(e.address(e.args["a"], p, self.kind), self.kind, self.lanes, mask)
        for total, column in zip(sums, columns, strict=True):
            right = e.load(e.address(column, p, self.kind), self.kind, self.lanes, mask)
            total.set(e.fma(left, right, total.get()))

    def sum_lanes(self, e: Emitter, vectors: list[Value]) -> Value:
        """Add up the lanes of every vector; the sums are the lanes of the result."""
        count = len(vectors)
        first, *others = self.gather_columns(e, vectors, 1, count)
        total = sum(others, first)
        half = self.lanes // 2
        while half >= count:
            low, high = (e.shuffle(total, total, list(range(at, at + half))) for at in (0, half))
            total, half = low + high, half // 2
        return total
