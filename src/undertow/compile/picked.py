"""Matrix products with rows of A that lie anywhere: those of a batch are read where all examples are, and not gathered.

Copied together first, a batch's rows are read from memory, written, and read again. Here the products read them where
they are: the forward product takes them as rows of A, the weight gradient's as the terms of its sums. A step on 256
rows of 10,000 numbers takes 0.88 of the time, one on 64 rows of 64 numbers 0.98.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from undertow.compile.cache import name_of
from undertow.compile.finish import Finish
from undertow.compile.ir import Emitter, Module, Value
from undertow.compile.panels import NARROW
from undertow.compile.plan import Buffer, Call, Place, Plan
from undertow.compile.processor import lanes_of
from undertow.compile.product import DEPTH, DOT_ROWS, TASK, Product, Terms, has_masks
from undertow.compile.product_args import ARGS, LINE
from undertow.compile.waits import Touch


class _Picked(Product):
    """Its table goes on with the order of the rows (i64), the step (i64), and the rows of a step."""

    task = (*TASK, "picked", "pitch")
    n_args = len(ARGS) + 3
    turns = sides = False

    def order(self, e: Emitter) -> Value:
        """Where the numbers of this step's rows are."""
        places = [e.address(e.args["args"], len(ARGS) + i, "i64") for i in range(3)]
        order, step, rows = (e.load(x, kind) for x, kind in zip(places, ("ptr", "ptr", "i64"), strict=True))
        return e.address(order, e.load(step, "i64") * rows, "i64")

    def swaps(self, e: Emitter, x: dict[str, Value]) -> Value:
        """Never: `pick_rows` leaves such products alone."""
        return e.const(False, "i1")


class _PickedRows(_Picked):
    """The rows of A are picked: what stands for a row's beginning is the place of its number."""

    def prepare(self, e: Emitter, x: dict[str, Value]) -> None:
        """Write what else is found out at the beginning."""
        x["picked"], x["pitch"], x["a"] = x["a"], x["row_a"], self.order(e)
        x["row_a"] = e.const(8, "i64")

    def go_on(self, e: Emitter, x: dict[str, Value], p: Value, tell: Callable[..., None]) -> None:
        """Go to the p-th term in A."""
        tell(picked=e.address(x["picked"], p * x["col_a"], "i8"), pitch=x["pitch"])

    def follow(self, e: Emitter, task: dict[str, Value], first: Value, rows: int) -> Terms:
        """Follow A from term to term, in each row by itself."""
        numbers = [e.load(e.address(first, i, "i64"), "i64") for i in range(rows)]
        heads = [e.address(task["picked"], number * task["pitch"], "i8") for number in numbers]
        at = e.variable(e.const(0, "i64"))

        def place(i: int) -> Value:
            here = e.address(heads[i], at.get(), "i8")
            e.prefetch(e.address(here, DEPTH * self.size, "i8"))  # the next sum's, far away in memory
            return here

        return lambda: place, lambda: at.set(at.get() + task["col_a"])


class _PickedTerms(_Picked):
    """The columns of A, the terms of the sums, are picked."""

    def prepare(self, e: Emitter, x: dict[str, Value]) -> None:
        """Write what else is found out at the beginning."""
        x["picked"], x["pitch"] = self.order(e), x["col_a"]

    def begin_one(self, e: Emitter, x: dict[str, Value], i: Value) -> None:
        """Go to the A of the i-th product: the terms that come next."""
        x["picked"] = e.address(x["picked"], i * x["k"], "i64")

    def go_on(self, e: Emitter, x: dict[str, Value], p: Value, tell: Callable[..., None]) -> None:
        """Go to the p-th term in A."""
        tell(picked=e.address(x["picked"], p, "i64"), pitch=x["pitch"])

    def follow(self, e: Emitter, task: dict[str, Value], first: Value, rows: int) -> Terms:
        """Follow A from term to term: each is a row of its own."""
        picked = e.variable(task["picked"])

        def term() -> Callable[[int], Value]:
            head = e.address(first, e.load(picked.get(), "i64") * task["pitch"], "i8")
            e.prefetch(e.address(head, LINE, "i8"))  # the next block's
            return lambda i: e.address(head, i, self.kind)

        return term, lambda: picked.set(e.address(picked.get(), 1, "i64"))


_WAYS: Final = {"rows": _PickedRows, "terms": _PickedTerms}


def write_picked(module: Module, kind: str, lanes: int, way: str, finish: Finish | None = None) -> str:
    """Write the function of products whose A is rows of a larger array.

    Args:
        module: where it goes.
        kind: ``f32`` or ``f64``.
        lanes: numbers in a vector register, a power of 2.
        way: ``rows``: A is these rows; ``terms``: A is these rows, transposed.
        finish: what is done with the result.

    Returns:
        The function's name; its table is ``ARGS``, then the order of the rows, the step, and the rows of a step, then
        the addresses of what ``finish`` reads and writes.
    """
    return _WAYS[way](module, kind, lanes, f"picked_{way}", finish).write()


def pick_rows(plan: Plan, number: int, shape: Sequence[int], step: Buffer) -> bool:
    """Let products read the rows of a batch where all examples are, if nothing else reads the batch.

    Args:
        plan: whose calls change.
        number: of the input that is a batch.
        shape: the batch's.
        step: where the number of the step is.

    Returns:
        Whether they do: then the batch need not be gathered.
    """
    if len(shape) != 2:
        return False
    if any(
        read.role == "input" and read.number == number for reads in plan.read_by_numpy.values() for read, _ in reads
    ):
        return False
    calls = [(call, _way(call, number, shape)) for call in plan.calls if _reads(call.args, number)]
    if not calls or not all(way for _, way in calls):
        return False
    for call, way in calls:
        kind, lanes = call.kind, lanes_of(call.kind)
        args: list[Any] = [Place(Buffer(0, "source", number)), *call.args[1 : len(ARGS)]]
        call.args = [*args, Place(Buffer(0, "order", 0)), Place(step), shape[0], *call.args[len(ARGS) :]]
        call.touches = [*(call.touches or [])[1:], Touch(step, False)]
        call.kernel = name_of(("picked", kind, lanes, way, call.finish))
        write = partial(write_picked, kind=kind, lanes=lanes, way=way, finish=call.finish)
        plan.kernels.setdefault(call.kernel, (write, f"picked_{way}_{kind}"))
    return True


def _reads(args: Sequence[Any], number: int) -> bool:
    return any(isinstance(x, Place) and x.buffer.role == "input" and x.buffer.number == number for x in args)


def _way(call: Call, number: int, shape: Sequence[int]) -> str:
    """In which way a call can read a batch's rows itself; empty if it cannot."""
    if not call.kind or call.kernel != name_of(("product", call.kind, lanes_of(call.kind), call.finish)):
        return ""
    x: dict[str, Any] = dict(zip(ARGS, call.args, strict=False))
    if x["a"].offset or _reads(call.args[1:], number):
        return ""
    ready = x["col_b"] == 1 and has_masks(call.kind, lanes_of(call.kind))
    if x["n"] <= NARROW or x["m"] <= DOT_ROWS or not ready:
        return ""
    rows, columns = shape
    strides = x["row_a"], x["col_a"]
    if strides == (columns, 1) and (x["m"], x["k"], x["count"]) == (rows, columns, 1):
        return "rows"
    apart = x["count"] == 1 or x["batch_a"] == x["k"] * columns  # those of one product behind those of another
    every = (x["m"], x["k"] * x["count"]) == (columns, rows) and apart
    return "terms" if strides == (1, columns) and every else ""
