"""Kernels that sort rows, by keys alone or with the places the keys come from; ties keep their order.

A number's key is a whole number of as many bits, in the same order: a float's pattern, with the bits below the sign
turned over where it is negative; NaN is the largest. Short rows are sorted by counting, for each element, those that
come before it, a vector at a time; longer ones by their bytes, from the lowest to the highest (radix sort).

Every kernel is called as ``kernel(args, thread, threads)``. Table: source, result, rows, elements of a row, elements
from one row of the source to the next, and from one element to the next, scratch memory, its bytes for each thread.
"""

from __future__ import annotations

from undertow.compile.ir import BITS, FLOATS, Emitter, Module, Value
from undertow.compile.processor import lanes_of

SHORT = {"i8": 64, "i16": 96, "i32": 128, "i64": 128}  # elements up to which counting is faster than going by bytes
DIGITS = 256
WORDS = {"f32": "i32", "f64": "i64", "i1": "i8"}  # what a key of other kinds is kept in


def word_of(kind: str) -> str:
    """Return the kind of the keys of numbers of a kind."""
    return WORDS.get(kind, kind)


def scratch_of(kind: str, n: int, places: bool) -> int:
    """Return how many bytes a thread needs to sort rows of ``n`` numbers."""
    size = BITS[word_of(kind)] // 8
    if n <= SHORT[word_of(kind)]:
        return -(-(n + 64) * size // 64) * 64
    lines = 2 * (-(-n * size // 64) * 64) + (2 * (-(-n * 4 // 64) * 64) if places else 0)
    return lines + size * DIGITS * 4


def key_of(e: Emitter, x: Value, places: bool) -> Value:
    """The key of a number, signed; where places are asked for, both zeros have one key."""
    if x.kind not in FLOATS:
        return x
    if places:
        x = x + 0.0
    word = word_of(x.kind)
    bits, top = e.bitcast(x, word), BITS[word] - 1
    key = bits ^ e.shift_right(bits >> top, 1)
    return e.select(e.is_nan(x), 2**top - 1, key)


def number_of(e: Emitter, key: Value, kind: str) -> Value:
    """The number of a key."""
    if kind not in FLOATS:
        return key
    return e.bitcast(key ^ e.shift_right(key >> BITS[key.kind] - 1, 1), kind)


class _Rows:
    """The loop over a thread's rows, each of which `sort` puts in order.

    Args:
        module: where it goes.
        name: of the function.
        kind: of the numbers.
        places: the result is where each number of the row in order was, instead of these numbers.
    """

    def __init__(self, module: Module, name: str, kind: str, places: bool) -> None:
        self.kind, self.word, self.places = kind, word_of(kind), places
        self.e = e = Emitter(module, name, [("args", "ptr"), ("thread", "i64"), ("threads", "i64")])
        kinds = ("ptr", "ptr", "i64", "i64", "i64", "i64", "ptr", "i64")
        read = [e.load(e.address(e.args["args"], i, "i64"), kind) for i, kind in enumerate(kinds)]
        source, result, rows, self.n, apart, self.step, scratch, per_thread = read
        thread, threads = e.args["thread"], e.args["threads"]
        self.scratch = e.address(scratch, per_thread * thread, "i8")
        with e.loop(rows * thread / threads, rows * (thread + 1) / threads) as row:
            made = "i64" if places else self.word
            self.sort(e.address(source, row * apart, self.word), e.address(result, row * self.n, made))
        e.finish()

    def key(self, row: Value, i: Value) -> Value:
        """The key of the i-th number of a row."""
        e = self.e
        return key_of(e, e.load(e.address(row, i * self.step, self.word), "i8" if self.kind == "i1" else self.kind),
                      self.places)  # fmt: skip

    def sort(self, row: Value, result: Value) -> None:
        """Write how a row is put in order."""
        raise NotImplementedError


class _Counting(_Rows):
    """An element's place is the number of elements before it: smaller ones, and equal ones to its left."""

    def sort(self, row: Value, result: Value) -> None:
        e, n, keys = self.e, self.n, self.scratch
        lanes = lanes_of("f64" if self.word == "i64" else "f32")
        with e.loop(0, n) as i:
            e.store(self.key(row, i), e.address(keys, i, self.word))
        with e.loop(0, n, lanes) as start:
            own = e.load(e.address(keys, start, self.word), self.word, lanes)
            count_kind = "i64" if self.word == "i64" else "i32"
            before = e.variable(e.const(0, count_kind, lanes))
            one, none = e.const(1, count_kind, lanes), e.const(0, count_kind, lanes)

            whole = start + lanes
            stop = e.select(whole < n, whole, n)
            for low, high, part in ((e.const(0, "i64"), start, "left"), (start, stop, "here"), (stop, n, "right")):
                with e.loop(low, high) as j:
                    x = e.splat(e.load(e.address(keys, j, self.word), self.word), lanes)
                    comes = x <= own if part == "left" else x < own
                    if part == "here":
                        comes = comes | ((x == own) & (e.counting(lanes) > e.splat(j - start, lanes)))
                    before.set(before.get() + e.select(comes, one, none))
            mask = e.first_lanes(n - start, lanes)
            at = e.convert(before.get(), "i64")
            made = e.counting(lanes) + start if self.places else number_of(e, own, self.kind)
            e.scatter(made, result, at, mask)


def write_sort(module: Module, kind: str, places: bool, short: bool) -> str:
    """Write the kernel that sorts rows.

    Args:
        module: where it goes.
        kind: of the numbers.
        places: the result is where each number of the row in order was (i64), instead of these numbers.
        short: the rows are no longer than `SHORT`.

    Returns:
        The name of the function.
    """
    name = f"{'argsort' if places else 'sort'}_{kind}{'_short' if short else ''}"
    (_Counting if short else _Bytes)(module, name, kind, places)
    return name


class _Bytes(_Rows):
    """Elements are dealt out by the lowest byte of their keys, in order, then by the next one, and so on."""

    def sort(self, row: Value, result: Value) -> None:
        e, n, word = self.e, self.n, self.word
        size = BITS[word] // 8

        def after(place: Value, item: int) -> Value:
            return e.address(place, (n * item + 63) / e.const(64, "i64") * 64, "i8")

        first = self.scratch
        second = after(first, size)
        numbers = after(second, size)
        others = after(numbers, 4) if self.places else numbers
        counts = after(others, 4) if self.places else numbers
        self.count(row, first, numbers, counts)
        keys, spare = e.variable(first), e.variable(second)
        held, free = e.variable(numbers), e.variable(others)
        for digit in range(size):
            count = e.address(counts, DIGITS * digit, "i32")
            sample = self.digit(e.load(keys.get(), word), digit)
            alike = e.convert(e.load(e.address(count, sample, "i32"), "i32"), "i64") == n  # nothing would move
            with e.when(~alike):
                self.deal(digit, count, keys, spare, held, free)
        self.finish(result, keys.get(), held.get())

    def digit(self, key: Value, digit: int) -> Value:
        """A byte of a key, as a place in a table."""
        e = self.e
        wide = key if key.kind == "i64" else e.convert(key, "i64")
        return e.shift_right(wide, 8 * digit) & (DIGITS - 1)

    def count(self, row: Value, keys: Value, numbers: Value, counts: Value) -> None:
        """Write down the keys, with the top bit turned over, and count the values of each of their bytes."""
        e, n, word = self.e, self.n, self.word
        size = BITS[word] // 8
        lanes = lanes_of("f32")
        with e.loop(0, DIGITS * size, lanes) as i:
            e.store(e.const(0, "i32", lanes), e.address(counts, i, "i32"))
        with e.loop(0, n) as i:
            key = self.key(row, i) ^ -(2 ** (BITS[word] - 1))
            e.store(key, e.address(keys, i, word))
            if self.places:
                e.store(e.convert(i, "i32"), e.address(numbers, i, "i32"))
            for digit in range(size):
                place = e.address(counts, self.digit(key, digit) + DIGITS * digit, "i32")
                e.store(e.load(place, "i32") + 1, place)

    def deal(self, digit: int, count: Value, keys: object, spare: object, held: object, free: object) -> None:
        """Bring the elements into the order of one byte."""
        e, n, word = self.e, self.n, self.word
        total = e.variable(e.const(0, "i32"))
        with e.loop(0, DIGITS) as i:
            place = e.address(count, i, "i32")
            these, before = e.load(place, "i32"), total.get()
            e.store(before, place)
            total.set(before + these)
        source, target, was, now = keys.get(), spare.get(), held.get(), free.get()  # type: ignore[attr-defined]
        with e.loop(0, n) as i:
            key = e.load(e.address(source, i, word), word)
            place = e.address(count, self.digit(key, digit), "i32")
            at = e.load(place, "i32")
            e.store(at + 1, place)
            at = e.convert(at, "i64")
            e.store(key, e.address(target, at, word))
            if self.places:
                e.store(e.load(e.address(was, i, "i32"), "i32"), e.address(now, at, "i32"))
        keys.set(target)  # type: ignore[attr-defined]
        spare.set(source)  # type: ignore[attr-defined]
        held.set(now)  # type: ignore[attr-defined]
        free.set(was)  # type: ignore[attr-defined]

    def finish(self, result: Value, keys: Value, numbers: Value) -> None:
        """Write the result."""
        e, n, word = self.e, self.n, self.word
        with e.loop(0, n) as i:
            if self.places:
                e.store(e.convert(e.load(e.address(numbers, i, "i32"), "i32"), "i64"), e.address(result, i, "i64"))
            else:
                key = e.load(e.address(keys, i, word), word) ^ -(2 ** (BITS[word] - 1))
                e.store(e.bitcast(number_of(e, key, self.kind), word), e.address(result, i, word))
