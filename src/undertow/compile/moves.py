"""Kernels that move elements: gathering and scattering rows, filling, copying between strides; running sums and
products; a step's bookkeeping.

Every kernel is called as ``kernel(args, thread, threads)`` with a table of numbers, like those of `kernel`.
"""

from __future__ import annotations

from collections.abc import Callable

from undertow.compile.ir import BITS, Emitter, Module, Value, Variable
from undertow.compile.maths_core import any_lane
from undertow.compile.plan import LINE
from undertow.compile.processor import lanes_of
from undertow.compile.scalars import SCALARS

RUN_AXES = 5
BYTES = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
NUMBERS = {4: "f32", 8: "f64"}  # numbers of so many bytes are gathered by vectors
LIKE = {"i32": "f32", "i64": "f64"}  # what as many of fit into a register
COPY_AXES = 6
FEW = 256  # so many statistics were stored just before
RUN = 8  # neighbours that are copied as one: a loop over so few takes longer


def _begin(module: Module, name: str, count: int, pointers: tuple[int, ...]) -> tuple[Emitter, list[Value]]:
    """Begin a kernel whose table holds ``count`` numbers, some of them addresses."""
    e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
    values = [e.load(e.address(e.args["args"], i, "i64"), "ptr" if i in pointers else "i64") for i in range(count)]
    return e, values


def _range(e: Emitter, n: Value) -> tuple[Value, Value]:
    """The part of 0 … n that this thread does."""
    thread, threads = e.args["thread"], e.args["threads"]
    return n * thread / threads, n * (thread + 1) / threads


def _copy_bytes(e: Emitter, to: Value, source: Value, count: Value) -> None:
    e.module.declarations["memcpy"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
    e.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to.text}, ptr {source.text}, i64 {count.text}, i1 false)")


def write_batch(module: Module) -> str:
    """Gather the rows of a batch. Table: source, order of the rows (i64), step (i64), rows, bytes of a row, result."""
    e, (source, order, step, rows, width, result) = _begin(module, "batch", 6, (0, 1, 2, 5))
    low, high = _range(e, rows)
    first = e.load(step, "i64") * rows
    with e.loop(low, high) as i:
        row = e.load(e.address(order, first + i, "i64"), "i64")
        _copy_bytes(e, e.address(result, i * width, "i8"), e.address(source, row * width, "i8"), width)
    e.finish()
    return "batch"


def write_advance(module: Module) -> str:
    """Count a step. Table: step (i64)."""
    e, (step,) = _begin(module, "advance", 1, (0,))
    e.store(e.load(step, "i64") + 1, step)
    e.finish()
    return "advance"


def write_record(module: Module) -> str:
    """Keep a step's number. Table: step (i64), value, bytes of it, where the values of all steps are kept."""
    e, (step, value, width, kept) = _begin(module, "record", 4, (0, 1, 3))
    _copy_bytes(e, e.address(kept, e.load(step, "i64") * width, "i8"), value, width)
    e.finish()
    return "record"


def write_tell(module: Module) -> str:
    """Keep a step's statistics: each thread those that it has added up.

    Table: how many steps each thread has kept (i64, `plan.LINE` apart), the statistics, how many numbers they are,
    numbers from one thread's to the next's, where those of all steps are kept.
    """
    e, (steps, told, count, apart, kept) = _begin(module, "tell", 5, (0, 1, 4))
    thread, threads = e.args["thread"], e.args["threads"]
    place = e.address(steps, thread * LINE, "i64")
    step = e.load(place, "i64")
    to, source = e.address(kept, (step * threads + thread) * count, "i64"), e.address(told, thread * apart, "i64")
    few = e.select(count < FEW, count, 0)
    with e.loop(0, few) as i:  # one by one: a vector of numbers that were just stored waits until they are in the cache
        number = Variable.at(e.address(source, i, "i64"), "i64", 0, True).get()
        e.store(number, e.address(to, i, "i64"))
    _copy_bytes(e, e.address(to, few, "i64"), e.address(source, few, "i64"), (count - few) * 8)
    e.store(step + 1, place)
    e.finish()
    return "tell"


def write_fill(module: Module) -> str:
    """Set bytes to zero. Table: address, bytes."""
    e, (to, count) = _begin(module, "fill", 2, (0,))
    low, high = _range(e, count)
    e.module.declarations["memset"] = "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)"
    e.line(
        f"call void @llvm.memset.p0.i64(ptr {e.address(to, low, 'i8').text}, i8 0, i64 {(high - low).text}, i1 false)"
    )
    e.finish()
    return "fill"


def write_copy(module: Module, size: int, near: bool, run: int) -> str:
    """Copy between strides.

    Table: source, result, the axis that threads share, the sizes of 6 axes, the source's strides, the result's.

    Args:
        module: where it goes.
        size: bytes of an element.
        near: elements along the last axis are neighbours, in the source and in the result.
        run: neighbours that are copied together.
    """
    kind, name = BYTES[size], f"copy{size}{'_near' if near else f'_{run}'}"
    e, values = _begin(module, name, 3 + 3 * COPY_AXES, (0, 1))
    source, result, shared = values[:3]
    sizes, steps, jumps = (values[3 + COPY_AXES * i : 3 + COPY_AXES * (i + 1)] for i in range(3))

    def walk(axis: int, source: Value, result: Value) -> None:
        low, high = _range(e, sizes[axis])
        low, high = e.select(shared == axis, low, 0), e.select(shared == axis, high, sizes[axis])
        if near and axis == COPY_AXES - 1:
            _copy_run(e, source, result, low, high, kind)
            return
        with e.loop(low, high) as i:
            a, b = e.address(source, i * steps[axis], kind), e.address(result, i * jumps[axis], kind)
            if axis == COPY_AXES - 1:
                e.store(e.load(a, kind, run if run > 1 else 0), b)
            else:
                walk(axis + 1, a, b)

    walk(0, source, result)
    e.finish()
    return name


def _copy_run(e: Emitter, source: Value, result: Value, low: Value, high: Value, kind: str) -> None:
    """Copy neighbours, by vectors: where there are few, calling a function for them takes longer."""
    if kind not in LIKE:
        size = e.const(BITS[kind] // 8, "i64")
        _copy_bytes(e, e.address(result, low, kind), e.address(source, low, kind), (high - low) * size)
        return
    lanes = lanes_of(LIKE[kind])
    whole = low + (high - low) / lanes * lanes
    with e.loop(low, whole, lanes) as i:
        e.store(e.load(e.address(source, i, kind), kind, lanes), e.address(result, i, kind))
    with e.when(whole < high):
        mask = e.first_lanes(high - whole, lanes)
        e.store(e.load(e.address(source, whole, kind), kind, lanes, mask), e.address(result, whole, kind), mask)


def _row_number(
    e: Emitter, picks: list[Value], sizes: list[Value], i: Value, status: Value, mask: Value | None = None
) -> Value:
    """The row that the i-th positions pick; one beyond the end is noted in ``status`` and read as 0.

    With a mask, rows of as many positions from the i-th on, each in a lane.
    """
    row: Value | None = None
    for pick, size in zip(picks, sizes, strict=True):
        place = e.load(e.address(pick, i, "i64"), "i64", mask.lanes if mask is not None else 0, mask)
        place = e.select(place < 0, place + size, place)
        wrong = (place < 0) | (place >= size)
        with e.when(wrong if mask is None else any_lane(e, wrong & mask)):
            e.store(e.const(1, "i64"), status)
        place = e.select(wrong, 0, place)
        row = place if row is None else row * size + place
    assert row is not None
    return row


def write_gather(module: Module, n_picks: int, size: int = 0) -> str:
    """Gather rows.

    Table: source, result, status, count, bytes of a row, bytes from one row of the source to the next, then each axis'
    positions and size.

    Args:
        module: where it goes.
        n_picks: arrays of positions.
        size: bytes of a row that is one number; else 0.
    """
    name = f"gather{n_picks}{f'_{size}' if size else ''}"
    e, values = _begin(module, name, 6 + 2 * n_picks, (0, 1, 2, *range(6, 6 + n_picks)))
    source, result, status, count, width, apart = values[:6]
    picks, sizes = values[6 : 6 + n_picks], values[6 + n_picks :]
    low, high = _range(e, count)
    if size in NUMBERS:
        kind, lanes, step = NUMBERS[size], lanes_of("f64"), apart / size
        with e.loop(low, high, lanes) as i:
            mask = e.first_lanes(high - i, lanes)
            row = _row_number(e, picks, sizes, i, status, mask)
            e.store(e.gather(source, row * step, kind, mask), e.address(result, i, kind), mask)
        e.finish()
        return name
    with e.loop(low, high) as i:
        row = _row_number(e, picks, sizes, i, status)
        place = e.address(source, row * apart, "i8")
        if size:
            e.store(e.load(place, BYTES[size]), e.address(result, i, BYTES[size]))
        else:
            _copy_bytes(e, e.address(result, i * width, "i8"), place, width)
    e.finish()
    return name


def write_scatter(module: Module, n_picks: int, kind: str, lanes: int, join: str) -> str:
    """Add rows up where positions point; threads share out the columns, so that places that repeat do not collide.

    Table: source, result, status, count, elements of a row, elements from one row of the source to the next, then for
    each axis its positions and its size.

    Args:
        module: where it goes.
        n_picks: arrays of positions.
        kind: of the elements.
        lanes: elements of a vector; 0: rows are one number.
        join: ``add``, or ``set``: the last of the rows for a place remains.
    """
    name = f"scatter{n_picks}{kind}_{lanes}_{join}"
    e, values = _begin(module, name, 6 + 2 * n_picks, (0, 1, 2, *range(6, 6 + n_picks)))
    source, result, status, count, width, apart = values[:6]
    picks, sizes = values[6 : 6 + n_picks], values[6 + n_picks :]
    memory = "i8" if kind == "i1" else kind

    def put(a: Value, b: Value, mask: Value | None) -> None:
        more = e.load(a, memory, lanes, mask)
        if join == "add":
            old = e.load(b, memory, lanes, mask)
            more = old | more if kind == "i1" else old + more
        e.store(more, b, mask)

    low, high = _range(e, width)
    with e.loop(0, count) as i:
        row = _row_number(e, picks, sizes, i, status)
        a, b = e.address(source, i * apart, memory), e.address(result, row * width, memory)
        if not lanes:
            with e.when(low < high):
                put(a, b, None)
        else:
            with e.loop(low, high, lanes) as c:
                put(e.address(a, c, memory), e.address(b, c, memory), e.first_lanes(high - c, lanes))
    e.finish()
    return name


def write_scatter_wide(module: Module, n_picks: int, lanes: int, touched: bool) -> str:
    """Add rows of float32 up as float64 where positions point; threads share out the columns.

    Table: source, result, memory for the sums, status, count, elements of a row, elements from one row of the source to
    the next, rows of the result, then for each axis its positions and its size.

    Args:
        module: where it goes.
        n_picks: arrays of positions.
        lanes: elements of a vector; 0: rows are one number.
        touched: only the rows that positions name are set to zero before and read afterwards; the others of the result
            are zero already.
    """
    name = f"scatter{n_picks}_wide_{lanes}_{'touched' if touched else 'all'}"
    e, values = _begin(module, name, 8 + 2 * n_picks, (0, 1, 2, 3, *range(8, 8 + n_picks)))
    source, result, sums, status, count, width, apart, height = values[:8]
    picks, sizes = values[8 : 8 + n_picks], values[8 + n_picks :]
    low, high = _range(e, width)

    def along(row: Value, work: Callable[[Value, Value, Value | None], None]) -> None:
        """Do something with each vector of a row: its column, the address of its sums, its mask."""
        total = e.address(sums, row * width, "f64")
        if not lanes:
            with e.when(low < high):
                work(low, total, None)
        else:
            with e.loop(low, high, lanes) as c:
                work(c, e.address(total, c, "f64"), e.first_lanes(high - c, lanes))

    def every(work: Callable[[Value], Callable[[Value, Value, Value | None], None]]) -> None:
        """Do it with each row that may get values, at least once."""
        with e.loop(0, count if touched else height) as i:
            row = _row_number(e, picks, sizes, i, status) if touched else i
            along(row, work(row))

    zero = e.const(0.0, "f64", lanes)
    every(lambda _: lambda c, total, mask: e.store(zero, total, mask))
    with e.loop(0, count) as i:
        values_of_row = e.address(source, i * apart, "f32")

        def add(c: Value, total: Value, mask: Value | None) -> None:
            more = e.convert(e.load(e.address(values_of_row, c, "f32"), "f32", lanes, mask), "f64")
            e.store(e.load(total, "f64", lanes, mask) + more, total, mask)

        along(_row_number(e, picks, sizes, i, status), add)

    def finish(row: Value) -> Callable[[Value, Value, Value | None], None]:
        to = e.address(result, row * width, "f32")
        return lambda c, total, mask: e.store(
            e.convert(e.load(total, "f64", lanes, mask), "f32"), e.address(to, c, "f32"), mask
        )

    every(finish)
    e.finish()
    return name


def write_running(module: Module, join: str, kinds: tuple[str, ...]) -> str:
    """Compute along an axis each element from the one before it.

    Table: addresses of the result and of the operands, the length of the axis, the sizes of 5 other axes; then of the
    result and of each operand its stride along the axis and along the others.

    Args:
        module: where it goes.
        join: ``sum``, ``prod``, ``maximum``, ``minimum``, or ``recurrence``, b + a times it.
        kinds: of the result and of each operand.
    """
    count, name = len(kinds), f"running_{join}_{'_'.join(kinds)}"
    e, values = _begin(module, name, count + 1 + RUN_AXES + count * (1 + RUN_AXES), tuple(range(count)))
    length, sizes = values[count], values[count + 1 :][:RUN_AXES]
    rest = values[count + 1 + RUN_AXES :]
    strides = [rest[i * (1 + RUN_AXES) :][: 1 + RUN_AXES] for i in range(count)]

    def read(place: Value, kind: str) -> Value:
        return e.convert(e.load(place, "i8") != 0 if kind == "i1" else e.load(place, kind), kinds[0])

    def join_at(places: list[Value], i: Value, j: Value, before: Callable[[Value], Value] | None) -> Value:
        to, *sources = (_at(e, p, i * s[0] + j * s[-1], k) for p, s, k in zip(places, strides, kinds, strict=True))
        x, *factors = (read(p, k) for p, k in zip(sources, kinds[1:], strict=True))
        if before is not None:
            old = before(to)
            if join == "recurrence":
                x = x + factors[0] * old
            else:
                x = SCALARS[{"sum": "add", "prod": "multiply"}.get(join, join)](e, old, x)
        e.store(e.convert(x, "i8") if kinds[0] == "i1" else x, to)
        return x

    def run(places: list[Value]) -> None:
        zero, alone = e.const(0, "i64"), sizes[-1] == 1
        with e.when(alone):  # what the next element needs stays in a register
            total = e.variable(join_at(places, zero, zero, None))
            with e.loop(1, length) as i:
                total.set(join_at(places, i, zero, lambda _: total.get()))
        with e.when(~alone):
            with e.loop(0, sizes[-1]) as j:
                join_at(places, zero, j, None)
            with e.loop(1, length) as i, e.loop(0, sizes[-1]) as j:
                join_at(places, i, j, lambda to: read(_at(e, to, -strides[0][0], kinds[0]), kinds[0]))

    def walk(axis: int, places: list[Value]) -> None:
        if axis == RUN_AXES - 1:
            run(places)
            return
        low, high = _range(e, sizes[0]) if axis == 0 else (e.const(0, "i64"), sizes[axis])
        with e.loop(low, high) as i:
            walk(axis + 1, [_at(e, p, i * s[1 + axis], k) for p, s, k in zip(places, strides, kinds, strict=True)])

    walk(0, values[:count])
    e.finish()
    return name


def _at(e: Emitter, pointer: Value, index: Value, kind: str) -> Value:
    """The place of an element in memory, where a truth value is a byte."""
    return e.address(pointer, index, "i8" if kind == "i1" else kind)
