"""The table of numbers that a matrix product is told, whichever kernel does it, and how threads share it out."""

from __future__ import annotations

from undertow.compile.ir import Emitter, Module, Value

SIZES = {"f32": 4, "f64": 8}
LINE = 64  # bytes that come from memory together
ARGS = (
    "a", "b", "c", "m", "n", "k", "row_a", "col_a", "row_b", "col_b", "row_c", "alpha", "beta", "count",
    "batch_a", "batch_b", "batch_c", "split", "scratch", "scratch_bytes",
)  # fmt: skip


def begin_kernel(module: Module, name: str) -> Emitter:
    """Begin a function as the driver of compiled programs calls it."""
    return Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])


def read_args(e: Emitter, kind: str) -> dict[str, Value]:
    """Read the table of a product's arguments."""
    kinds = {"a": "ptr", "b": "ptr", "c": "ptr", "scratch": "ptr", "alpha": kind, "beta": kind}
    table = e.args["args"]
    return {name: e.load(e.address(table, i, "i64"), kinds.get(name, "i64")) for i, name in enumerate(ARGS)}


def share(e: Emitter, x: dict[str, Value], size: str, split: int, unit: int = 1) -> tuple[Value, Value]:
    """Return where this thread's part of rows, columns or products begins and ends: all, if others are split.

    Args:
        e: where it is computed.
        x: the product's arguments.
        size: what is shared out: ``m``, ``n`` or ``count``.
        split: the number by which ``x["split"]`` asks for that.
        unit: parts begin at multiples of this.
    """
    total, mine = x[size], x["split"] == split
    pieces = total if unit == 1 else (total + (unit - 1)) / unit
    ends = []
    for t in (e.args["thread"], e.args["thread"] + 1):
        end = pieces * t / e.args["threads"] * unit
        ends.append(e.select(end < total, end, total))
    return e.select(mine, ends[0], 0), e.select(mine, ends[1], total)
