"""Kernels that search among sorted numbers, and that find runs of equal ones.

Every kernel is called as ``kernel(args, thread, threads)`` with a table of numbers.
"""

from __future__ import annotations

from undertow.compile.ir import FLOATS, Emitter, Module, Value
from undertow.compile.processor import lanes_of

ABREAST = 4  # vectors of values: while one waits for numbers from memory, others go on


def _begin(module: Module, name: str, kinds: tuple[str, ...]) -> tuple[Emitter, list[Value]]:
    e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
    return e, [e.load(e.address(e.args["args"], i, "i64"), kind) for i, kind in enumerate(kinds)]


def _part(e: Emitter, n: Value) -> tuple[Value, Value]:
    thread, threads = e.args["thread"], e.args["threads"]
    return n * thread / threads, n * (thread + 1) / threads


def write_search(module: Module, kind: str, side: str) -> str:
    """Count for each value the sorted numbers before it; NaN comes last, as NumPy has it.

    Table: the sorted numbers, the values, the result (i64), how many there are of both, from one to the next of both,
    how often their number can be halved. How much is left to search does not depend on the values: no branch does.

    Args:
        module: where it goes.
        kind: of the numbers and the values.
        side: ``left``: of those before it, or ``right``: and those equal to it.
    """
    name, memory = f"search_{kind}_{side}", "i8" if kind == "i1" else kind
    e, read = _begin(module, name, ("ptr", "ptr", "ptr", "i64", "i64", "i64", "i64", "i64"))
    line, values, result, n, count, apart, step, rounds = read

    def goes_on(x: Value, v: Value) -> Value:
        return x < v if side == "left" else x <= v

    behind = n  # all that NaN belongs behind: of the sorted numbers, those that are none come last
    if kind in FLOATS and side == "left":
        behind = _count_numbers(e, line, n, apart, rounds, kind)

    lanes = lanes_of("f64")
    low, high = _part(e, count)
    every = e.const(True, "i1", lanes)
    with e.loop(low, high, ABREAST * lanes) as i:
        first = [i + lanes * k for k in range(ABREAST)]
        masks = [e.first_lanes(high - at, lanes) for at in first]
        wanted = [
            e.gather(values, (e.counting(lanes) + at) * step, memory, mask)
            for at, mask in zip(first, masks, strict=True)
        ]
        places, left = [e.variable(e.const(0, "i64", lanes)) for _ in first], e.variable(n)
        with e.loop(0, rounds):
            length = left.get()
            half = e.shift_right(length, 1)
            for v, place in zip(wanted, places, strict=True):
                here = place.get()
                x = e.gather(line, (here + half) * apart, memory, every)
                place.set(e.select(goes_on(x, v), here + (length - half), here))
            left.set(half)
        for at, v, place, mask in zip(first, wanted, places, masks, strict=True):
            found = e.select(e.is_nan(v), behind, place.get()) if kind in FLOATS else place.get()
            e.store(found, e.address(result, at, "i64"), mask)
    e.finish()
    return name


def _count_numbers(e: Emitter, line: Value, n: Value, apart: Value, rounds: Value, kind: str) -> Value:
    """How many of the sorted numbers are no NaN."""
    place, left = e.variable(e.const(0, "i64")), e.variable(n)
    with e.loop(0, rounds):
        length, here = left.get(), place.get()
        half = e.shift_right(length, 1)
        x = e.load(e.address(line, (here + half) * apart, kind), kind)
        place.set(e.select(x == x, here + (length - half), here))
        left.set(half)
    return place.get()


def write_share(module: Module, kind: str, other: str) -> str:
    """Give each of a run of equal numbers the mean of what belongs to them.

    Table: what belongs to them, the sorted numbers, the result, rows, elements of a row; from one row to the next and
    from one element to the next, of the first, then of the second.

    Args:
        module: where it goes.
        kind: of what belongs to the numbers.
        other: of the numbers.
    """
    name, memory = f"share_{kind}_{other}", "i8" if other == "i1" else other
    e, read = _begin(module, name, ("ptr", "ptr", "ptr", *["i64"] * 6))
    given, ranked, result, rows, n, apart, step, apart_ranked, step_ranked = read
    low, high = _part(e, rows)
    with e.loop(low, high) as row:
        source, line = e.address(given, row * apart, kind), e.address(ranked, row * apart_ranked, memory)
        made = e.address(result, row * n, kind)
        start, total = e.variable(e.const(0, "i64")), e.variable(e.load(source, kind))
        before = e.variable(e.load(line, memory))
        with e.loop(1, n + 1) as i:
            inside = i < n
            at = e.select(inside, i, 0)
            x, more = (
                e.load(e.address(line, at * step_ranked, memory), memory),
                e.load(e.address(source, at * step, kind), kind),
            )
            same = (x == before.get()) & inside
            first = start.get()
            with e.when(~same):
                mean = total.get() / e.convert(i - first, kind)
                with e.loop(first, i) as j:
                    e.store(mean, e.address(made, j, kind))
            total.set(e.select(same, total.get() + more, more))
            start.set(e.select(same, first, i))
            before.set(x)
    e.finish()
    return name
