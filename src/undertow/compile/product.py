"""Matrix products of our own, written for small and middling sizes: ``C = alpha A B + beta C``.

A block of C, a few rows of one to four vectors, stays in registers while the sums over k run: an element of A is
repeated in every lane, a vector of B is read beside its neighbours. A's strides cost nothing that way, so a transposed
A is only other strides. B must lie row by row; where it does not, a panel of it is turned around in scratch memory.
Sums of more than ``DEPTH`` terms are added up in parts, which keeps float32 as exact as pairwise sums.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from undertow.compile.dots import Dots
from undertow.compile.finish import Finish, Finishing
from undertow.compile.ir import Emitter, Module, Value, Variable
from undertow.compile.kinds import type_of
from undertow.compile.panels import NARROW, OUT, PANEL_ROW, TURNED
from undertow.compile.processor import lanes_of
from undertow.compile.product_args import ARGS, LINE, SIZES, begin_kernel, read_args, share

DEPTH = 256  # terms that are summed in registers before C is touched
# For 32 and 16 vector registers: vectors side by side, and the numbers of rows that blocks of that width have.
BLOCKS = {32: {4: (6, 2, 1), 2: (8, 2, 1), 1: (16, 4, 1)}, 16: {2: (6, 2, 1), 1: (12, 4, 1)}}
HALF = 0  # the number of vectors that stands for half of one
DOT_ROWS = 2  # so few rows of A times columns that lie one by one are dot products; turning B around would not pay

Terms = tuple[Callable[[], Callable[[int], Value]], Callable[[], None]]
# What blocks are told, in a table of int64: where B's panel is, the terms of the sum, strides in bytes, ...
TASK = ("b", "k", "row_a", "col_a", "row_b", "row_c", "alpha", "beta", "width")
# ... and how C is finished (`finish`): the table of addresses, C's beginning, the column, whether sums are complete.
FINISH_TASK = ("table", "first", "column", "complete", "state")


def registers_of(kind: str, lanes: int) -> int:
    """Return how many vector registers there are: AVX-512 and ARM have 32, older x86 has 16."""
    return 32 if lanes * SIZES[kind] >= 64 or platform.machine() in ("arm64", "aarch64") else 16


def has_masks(kind: str, lanes: int) -> bool:
    """Return whether the processor reads a part of a vector as fast as a whole one: from AVX on."""
    return lanes * SIZES[kind] >= 32


def scratch_bytes(kind: str, m: int, n: int, k: int, transposed_b: bool) -> int:
    """Return the scratch memory that one thread needs for a product.

    Args:
        kind: ``f32`` or ``f64``.
        m: rows of A.
        n: columns of B.
        k: columns of A.
        transposed_b: B's columns are not neighbours in memory.

    Returns:
        Bytes, a multiple of 64.
    """
    narrow = 1 < n <= NARROW
    if not m * n or not (transposed_b or narrow or not has_masks(kind, lanes_of(kind))):
        return 0
    return PANEL_ROW * (-(-min(k, DEPTH) // 16) * 16) + (OUT + TURNED if narrow else 0)


def write_product(module: Module, kind: str, lanes: int, finish: Finish | None = None) -> str:
    """Write the function of products into a module.

    Args:
        module: where it goes.
        kind: ``f32`` or ``f64``.
        lanes: numbers in a vector register, a power of 2.
        finish: what is done with the result.

    Returns:
        The function's name; it takes the table ``ARGS``, which goes on with the addresses of what ``finish`` reads and
        writes, the thread and the number of threads.
    """
    return Product(module, kind, lanes, "product", finish).write()


class Product(Dots):
    """Writes the functions of one kind."""

    task: tuple[str, ...] = TASK
    n_args = len(ARGS)
    fetches = False  # C is far away
    turns = True  # B need not lie row by row
    sides = True  # C may be seen from the other side, and few rows of it are dot products

    def __init__(self, module: Module, kind: str, lanes: int, name: str, finish: Finish | None = None) -> None:
        super().__init__(module, kind, lanes, f"{name}_{kind}")
        self.finishing = None if finish is None else Finishing(finish, kind)
        if finish is not None:
            self.task = (*self.task, *FINISH_TASK)
        # Where the processor has no masks, vectors of B are whole: panels that end in a part of one are copied.
        self.masks = has_masks(kind, lanes)
        self.blocks: dict[int, tuple[int, ...]] = dict(BLOCKS[registers_of(kind, lanes)])
        if lanes * self.size >= 64:  # halves of such vectors take half the time
            self.blocks = self.blocks | {HALF: self.blocks[1]}

    def write(self) -> str:
        """Write them all and return the name of the one to call."""
        for vectors, heights in self.blocks.items():
            self.write_finish(vectors)
            for rows in heights:
                self.write_block(vectors, rows)
        if self.turns:
            self.write_transpose()
            self.write_copy()
        if self.sides:
            self.write_deliver()
            self.write_dots()
        self.write_panel()
        self.write_driver()
        return self.name

    # ---- a block of C in registers ------------------------------------------------------------

    def write_block(self, vectors: int, rows: int) -> None:
        """Write the product of ``count`` blocks of so many rows with a panel of B."""
        e, label = self.begin(f"block_{vectors}_{rows}", "task a c", "count"), vectors
        task = self.read_task(e)
        lanes, vectors = (self.lanes // 2, 1) if vectors == HALF else (self.lanes, vectors)
        mask = e.first_lanes(task["width"], lanes)
        zero = e.const(0.0, self.kind, lanes)
        with e.loop(0, e.args["count"]) as i:
            task, a, c = self.place_block(e, task, i, rows, vectors * lanes)
            sums = [[e.variable(zero) for _ in range(vectors)] for _ in range(rows)]
            self.write_sums(e, task, a, c, mask, sums)
            places = [e.address(c, task["row_c"] * i, "i8") for i in range(rows)]
            alpha, beta = (e.splat(task[x], lanes) for x in ("alpha", "beta"))
            for total in (x for row in sums for x in row):
                total.set(total.get() * alpha)
            with e.when(task["beta"] != 0.0):
                for r, (row, place) in enumerate(zip(sums, places, strict=True)):
                    with self.inside(e, task, r):
                        for total, old in zip(row, self.load_row(e, place, vectors, lanes, mask), strict=True):
                            total.set(e.fma(old, beta, total.get()))
            with self.unfinished(e, task):
                for r, (row, place) in enumerate(zip(sums, places, strict=True)):
                    with self.inside(e, task, r):
                        self.store_row(e, row, place, mask)
            if self.finishing is not None:
                with e.when(task["complete"] != 0):
                    tile = Value(e, e.reserve(f"[{rows * vectors * lanes} x {type_of(self.kind, 0)}]"), "ptr", 0)
                    rows_of_it = [e.address(tile, i * vectors * lanes, self.kind) for i in range(rows)]
                    for row, place in zip(sums, rows_of_it, strict=True):
                        self.store_row(e, row, place, None)
                    index, apart = self.index_of(e, task, c), task["row_c"] / self.size
                    numbers = index, task.get("rows", e.const(rows, "i64")), apart, task["column"], task["width"]
                    e.call(f"{self.name}_finish_{label}", task["table"], tile, task["state"], *numbers)
        e.finish()

    def place_block(
        self, e: Emitter, task: dict[str, Value], i: Value, rows: int, columns: int
    ) -> tuple[dict[str, Value], Value, Value]:
        """Return what the i-th block of a call is told, and where its A and C are: below the block before."""
        a, c = (e.address(e.args[x], i * (task[f"row_{x}"] * rows), "i8") for x in "ac")
        return task, a, c

    def store_row(self, e: Emitter, row: list[Variable], place: Value, mask: Value | None) -> None:
        """Write a row's sums to where they go."""
        for v, total in enumerate(row):
            e.store(total.get(), e.address(place, v * total.lanes, self.kind), mask if v == len(row) - 1 else None)

    def inside(self, e: Emitter, task: dict[str, Value], row: int) -> AbstractContextManager[None]:
        """Write what is done with a row of a block where it has so many: all have."""
        return nullcontext()

    def fetch(self, e: Emitter, task: dict[str, Value], row: Value, columns: int) -> None:
        """Write what has a block's row fetched while its sums are made: what it is finished with; a small C is near."""
        if self.finishing is not None:
            with e.when(task["complete"] != 0):
                self.finishing.fetch(e, task["table"], self.index_of(e, task, row), columns)

    def fetch_ahead(self, e: Emitter, b: Value, columns: int) -> None:
        """Write what has later rows of B fetched: processors see by themselves that one follows the other."""

    # ---- what is done with C ------------------------------------------------------------------

    def write_finish(self, vectors: int) -> None:
        """Write what finishes blocks of this width."""
        if self.finishing is not None:
            e = self.begin(f"finish_{vectors}", "table tile state", "index rows row column width")
            lanes, vectors = (self.lanes // 2, 1) if vectors == HALF else (self.lanes, vectors)
            self.finishing.write(e, vectors, lanes)

    def index_of(self, e: Emitter, task: dict[str, Value], c: Value) -> Value:
        """The number of an element of C."""
        c, first = (e.instruction(f"ptrtoint ptr {x.text} to i64", "i64", 0) for x in (c, task["first"]))
        return (c - first) / self.size

    @contextmanager
    def unfinished(self, e: Emitter, task: dict[str, Value]) -> Iterator[None]:
        """Write what is done with sums that nothing finishes, or not yet."""
        if self.finishing is None:
            yield
        else:
            with e.when(task["complete"] == 0):
                yield

    def write_sums(
        self, e: Emitter, task: dict[str, Value], first: Value, c: Value, mask: Value, sums: list[list[Variable]]
    ) -> None:
        """Write the loop over k: every row's element of A times the vectors of B's row."""
        vectors, lanes, b = len(sums[0]), mask.lanes, e.variable(task["b"])
        term, advance = self.follow(e, task, first, len(sums))

        def write_terms(count: Value) -> None:
            with e.loop(0, count):
                place = term()
                self.fetch_ahead(e, b.get(), vectors * lanes)
                right = self.load_row(e, b.get(), vectors, lanes, mask if self.masks else None)
                for i, row in enumerate(sums):
                    left = e.splat(e.load(place(i), self.kind), lanes)
                    for total, vector in zip(row, right, strict=True):
                        total.set(e.fma(left, vector, total.get()))
                advance()
                b.set(e.address(b.get(), task["row_b"], "i8"))

        if self.finishing is None and not self.fetches:
            write_terms(task["k"])
            return
        each = (task["k"] + (len(sums) - 1)) / len(sums)
        with e.loop(0, len(sums)) as i:
            self.fetch(e, task, e.address(c, i * task["row_c"], "i8"), vectors * lanes)
            left = task["k"] - i * each
            write_terms(e.select(left < each, left, each))

    def follow(self, e: Emitter, task: dict[str, Value], first: Value, rows: int) -> Terms:
        """Follow A from term to term.

        Returns:
            What writes the beginning of a term and returns what writes where a row's element of it is; and what writes
            its end.
        """
        # Four rows share a pointer, the others are behind it by 1, 2 and 3 strides: few registers do.
        heads = [e.variable(e.address(first, task["row_a"] * i, "i8")) for i in range(0, rows, 4)]
        steps = [task["row_a"] * i for i in range(min(rows, 4))]

        def term() -> Callable[[int], Value]:
            # A transposed A comes from lines far apart, which processors do not fetch ahead: the next block's are asked
            # for here. That of 10,000 columns takes 0.8 to 0.95 of the time, others 1.003.
            e.prefetch(e.address(heads[0].get(), LINE, "i8"))
            return place

        def place(i: int) -> Value:
            head = heads[i // 4].get()
            return e.address(head, steps[i % 4], "i8") if i % 4 else head

        def advance() -> None:
            for head in heads:
                head.set(e.address(head.get(), task["col_a"], "i8"))

        return term, advance

    def read_task(self, e: Emitter) -> dict[str, Value]:
        """Read the table that a block is given."""
        kinds = {
            "b": "ptr",
            "picked": "ptr",
            "table": "ptr",
            "first": "ptr",
            "state": "ptr",
            "alpha": self.kind,
            "beta": self.kind,
        }
        place = e.args["task"]
        return {x: e.load(e.address(place, i, "i64"), kinds.get(x, "i64")) for i, x in enumerate(self.task)}

    def load_row(self, e: Emitter, row: Value, vectors: int, lanes: int, mask: Value | None) -> list[Value]:
        """Read a row's vectors; the last may be shorter."""
        places = [e.address(row, v * lanes, self.kind) for v in range(vectors)]
        return [e.load(place, self.kind, lanes, mask if place is places[-1] else None) for place in places]

    # ---- all of a product ---------------------------------------------------------------------

    def write_panel(self) -> None:
        """Write the product of rows of A with one panel of B, for each width of panels."""
        for vectors, heights in self.blocks.items():
            e = self.begin(f"panel_{vectors}", "task a c", "rows")
            task, rows = e.args["task"], e.variable(e.args["rows"])
            row_a, row_c = (e.load(e.address(task, TASK.index(x), "i64"), "i64") for x in ("row_a", "row_c"))
            done = e.variable(e.const(0, "i64"))
            for height in heights:
                left = rows.get()
                count = left / height
                with e.when(count > 0):
                    a = e.address(e.args["a"], done.get() * row_a, "i8")
                    c = e.address(e.args["c"], done.get() * row_c, "i8")
                    e.call(f"{self.name}_block_{vectors}_{height}", task, a, c, count)
                done.set(done.get() + count * height)
                rows.set(left - count * height)
            e.finish()

    def write_driver(self) -> None:
        """Write the function itself: a thread's share, one product after the other."""
        e = begin_kernel(self.module, self.name)
        x = read_args(e, self.kind)
        x["first"], x["table"] = x["c"], e.address(e.args["args"], self.n_args, "i64")
        top, bottom = share(e, x, "m", 0)
        left, right = share(e, x, "n", 1, self.lanes)
        begin, end = share(e, x, "count", 2)
        x["scratch"] = e.address(x["scratch"], e.args["thread"] * x["scratch_bytes"], "i8")
        for stride in ("row_a", "col_a", "row_b", "col_b", "row_c", "batch_a", "batch_b", "batch_c"):
            x[stride] = x[stride] * self.size
        x["col_b"] = e.select(x["n"] == 1, self.size, x["col_b"])
        x["row_b"] = e.select(x["k"] <= 1, self.size, x["row_b"])
        x["row_c"] = e.select(x["m"] == 1, x["n"] * self.size, x["row_c"])
        x["col_c"] = e.const(self.size, "i64")
        self.prepare(e, x)
        if self.finishing is not None:
            x["state"] = self.finishing.begin(e)
        swap = self.swaps(e, x)
        x["narrow"] = swap & (x["n"] > 1)
        sides = [("a", "b"), ("m", "n"), ("row_a", "col_b"), ("col_a", "row_b"), ("batch_a", "batch_b")]
        for one, other in [*sides, ("row_c", "col_c")]:
            x[one], x[other] = e.select(swap, x[other], x[one]), e.select(swap, x[one], x[other])
        top, left = e.select(swap, left, top), e.select(swap, top, left)
        bottom, right = e.select(swap, right, bottom), e.select(swap, bottom, right)

        x["rows"] = bottom - top
        with e.when((x["rows"] > 0) & (left < right)), e.loop(begin, end) as i:
            now = dict(x)
            self.begin_one(e, now, i)
            now["a"] = e.address(now["a"], top * x["row_a"], "i8")
            now["b"] = e.address(x["b"], i * x["batch_b"], "i8")
            now["c"] = e.address(e.address(x["c"], i * x["batch_c"], "i8"), top * x["row_c"], "i8")
            self.write_one(e, now, left, right)
        if self.finishing is not None:
            self.finishing.end(e, x["table"], e.args["thread"], x["state"], self.lanes)
        e.finish()

    def prepare(self, e: Emitter, x: dict[str, Value]) -> None:
        """Write what else is found out at the beginning."""

    def begin_one(self, e: Emitter, x: dict[str, Value], i: Value) -> None:
        """Go to the A of the i-th product."""
        x["a"] = e.address(x["a"], i * x["batch_a"], "i8")

    def go_on(self, e: Emitter, x: dict[str, Value], p: Value, tell: Callable[..., None]) -> None:
        """Go to the p-th term in A."""
        x["a"] = e.address(x["a"], p * x["col_a"], "i8")

    def swaps(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Whether a product is seen from the other side, C's columns as rows, so that vectors run along A's rows.

        A product with one column is that with one row. With few columns most of a vector of B would be empty: of the
        few steps that vectors of A take instead, a part goes into turning around A, if it lies row by row, and C.
        """
        n, lanes = x["n"], self.lanes
        ready, other = x["row_a"] == self.size, x["col_a"] == self.size
        single = (n == 1) & (x["row_c"] == self.size) & (ready | (other & (x["row_b"] == self.size)))
        width = (n + (lanes - 1)) / lanes * lanes
        if HALF in self.blocks:
            width = e.select(n <= lanes // 2, lanes // 2, width)
        gain = (width - n) * x["k"]
        worth = ready & (n * 4 <= width * 3) & (gain >= 10 * lanes) & (gain * x["m"] >= 16 * lanes * lanes)
        worth = worth | (other & (n * 4 <= width) & (gain >= 30 * lanes))
        return single | ((n > 1) & (n <= NARROW) & (x["m"] >= lanes) & worth)

    def copies(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Whether panels of B are copied. Where it lies row by row that does not pay, unless it is large."""
        return x["col_b"] != self.size if self.turns else e.const(False, "i1")

    def write_one(self, e: Emitter, x: dict[str, Value], left: Value, right: Value) -> None:
        """Write one product: sums of DEPTH terms, panel by panel."""
        task = Value(e, e.reserve(f"[{len(self.task)} x i64]"), "ptr", 0)

        def tell(**fields: Value) -> None:
            for name, value in fields.items():
                e.store(value, e.address(task, self.task.index(name), "i64"))

        tell(**{name: x[name] for name in ("row_a", "col_a", "row_c", "alpha")})
        if self.finishing is not None:
            tell(table=x["table"], first=x["first"], state=x["state"])
        dots = (x["m"] <= DOT_ROWS) & (x["row_b"] == self.size) & (x["col_a"] == self.size)
        dots = dots & (x["col_b"] != self.size) & ~x["narrow"] if self.sides else e.const(False, "i1")
        # A sum is cut into equal parts; one of no terms is a part too, since C is scaled.
        most = e.select(dots, e.const(DEPTH * self.lanes, "i64"), DEPTH)
        terms = e.select(x["k"] < 1, 1, x["k"])
        parts = (terms + most - 1) / most
        depth = (terms + parts - 1) / parts
        with e.loop(0, terms, depth) as p:
            ahead = x["k"] - p
            now = {**x, "k": e.select(ahead < depth, ahead, depth)}
            self.go_on(e, now, p, tell)
            now["b"] = e.address(x["b"], p * x["row_b"], "i8")
            now["beta"] = e.select(p == 0, x["beta"], 1.0)
            tell(k=now["k"], beta=e.select(x["narrow"], 0.0, now["beta"]))
            if self.finishing is not None:
                tell(complete=e.select(p + depth >= x["k"], e.const(1, "i64"), 0))
            if self.sides:
                with e.when(dots), e.loop(0, x["rows"]) as i:
                    tell(b=e.address(now["b"], left * x["col_b"], "i8"))
                    a = e.address(now["a"], i * x["row_a"], "i8")
                    c = e.address(x["c"], i * x["row_c"] + left * x["col_c"], "i8")
                    e.call(f"{self.name}_dots", task, a, c, x["col_b"], right - left)
            with e.when(~dots):
                self.write_panels(e, now, left, right, task, tell)

    def write_panels(
        self, e: Emitter, x: dict[str, Value], left: Value, right: Value, task: Value, tell: Callable[..., None]
    ) -> None:
        """Write the loop over panels of B: as wide as there are columns for."""
        out = e.address(x["scratch"], x["scratch_bytes"] - (OUT + TURNED), "i8")
        apart = self.copies(e, x)
        turned = apart & (x["row_b"] == self.size) & (x["col_b"] != self.size)
        at = e.variable(left)
        vectors = (right - left + (self.lanes - 1)) / self.lanes
        widths = sorted(self.blocks.keys() - {HALF})
        count = e.const(0, "i64")
        for width in reversed(widths):
            count, vectors = count + vectors / width, vectors - vectors / width * width
        with e.loop(0, count):
            j = at.get()
            left = right - j
            wide = e.const(1, "i64")
            for width in widths[1:]:
                wide = e.select(left > (width - 1) * self.lanes, width, wide)
            full = wide * self.lanes
            if HALF in self.blocks:
                half = left <= self.lanes // 2
                wide, full = e.select(half, HALF, wide), e.select(half, self.lanes // 2, full)
            columns = e.select(left < full, left, full)
            source, c = e.address(x["b"], j * x["col_b"], "i8"), e.address(x["c"], j * x["col_c"], "i8")
            pack = apart if self.masks else apart | (columns < full)
            row = e.select(wide == HALF, self.lanes, full) * self.size
            tell(b=e.select(pack, x["scratch"], source), row_b=e.select(pack, row, x["row_b"]))
            tell(
                width=columns - full + e.select(wide == HALF, full, self.lanes),
                row_c=e.select(x["narrow"], row, x["row_c"]),
            )
            if self.finishing is not None:
                tell(column=j)
            if self.turns:
                with e.when(pack & turned):
                    e.call(f"{self.name}_transpose", x["scratch"], source, x["col_b"], x["k"], columns, row)
                with e.when(pack & ~turned):
                    e.call(f"{self.name}_copy", x["scratch"], source, x["row_b"], x["col_b"], x["k"], columns, row)
            for width in self.blocks:
                with e.when(wide == width):
                    e.call(f"{self.name}_panel_{width}", task, x["a"], e.select(x["narrow"], out, c), x["rows"])
            if self.sides:
                with e.when(x["narrow"]):
                    e.call(f"{self.name}_deliver", c, out, x["beta"], row, columns, x["rows"], x["col_c"])
            at.set(j + columns)
