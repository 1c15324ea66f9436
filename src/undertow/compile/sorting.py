"""Kernels that sort rows, by keys alone or with the places the keys come from; ties keep their order.

A number's key is a whole number of as many bits, in the same order: a float's pattern, with the bits below the sign
turned over where it is negative; NaN is the largest. Short rows are sorted by a network in registers, or, where places
are asked for, by counting for each element those that come before it, a vector at a time; longer ones by their bytes,
from the lowest to the highest (radix sort).

Every kernel is called as ``kernel(args, thread, threads)``. Table: source, result, rows, elements of a row, elements
from one row of the source to the next, and from one element to the next, scratch memory, its bytes for each thread.
"""

from __future__ import annotations

from undertow.compile.ir import BITS, FLOATS, Emitter, Module, Value
from undertow.compile.kinds import UNSIGNED, signed_kind
from undertow.compile.processor import has, lanes_of

SHORT = {"i8": 64, "i16": 96, "i32": 128, "i64": 128}  # elements up to which counting is faster than going by bytes
REGISTERS = 32 if has("avx512f") else 16  # of a network
DIGITS = 256
WORDS = {"f32": "i32", "f64": "i64", "i1": "i8"}  # what a key of other kinds is kept in
LEAST = {kind: -(2 ** (BITS[kind] - 1)) for kind in UNSIGNED}  # the key of 0, which is signed


def word_of(kind: str) -> str:
    """Return the kind of the keys of numbers of a kind."""
    return WORDS.get(kind, signed_kind(kind))


def scratch_of(kind: str, n: int, places: bool) -> int:
    """Return how many bytes a thread needs to sort rows of ``n`` numbers."""
    size, room = BITS[word_of(kind)] // 8, room_for(kind, n, places)
    if room:
        return -(-max(n + 64, room) * size // 64) * 64
    lines = 2 * (-(-n * size // 64) * 64) + (2 * (-(-n * 4 // 64) * 64) if places else 0)
    return lines + size * DIGITS * 4


def key_of(e: Emitter, x: Value, places: bool) -> Value:
    """The key of a number, signed; where places are asked for, both zeros have one key."""
    if x.kind in UNSIGNED:
        return e.reads_as(x, word_of(x.kind)) ^ LEAST[x.kind]
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
    if kind in UNSIGNED:
        return key ^ LEAST[kind]
    if kind not in FLOATS:
        return key
    return e.bitcast(key ^ e.shift_right(key >> BITS[key.kind] - 1, 1), kind)


class Rows:
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
        source, self.result, self.rows, self.n, apart, self.step, scratch, per_thread = read
        thread, threads = e.args["thread"], e.args["threads"]
        self.scratch = e.address(scratch, per_thread * thread, "i8")
        with e.loop(self.rows * thread / threads, self.rows * (thread + 1) / threads) as row:
            self.sort(e.address(source, row * apart, self.word), row)
        e.finish()

    def key(self, row: Value, i: Value) -> Value:
        """The key of the i-th number of a row."""
        e = self.e
        return key_of(e, e.load(e.address(row, i * self.step, self.word), "i8" if self.kind == "i1" else self.kind),
                      self.places)  # fmt: skip

    def made(self, number: Value) -> Value:
        """Where the result of a row goes."""
        return self.e.address(self.result, number * self.n, "i64" if self.places else self.word)

    def after(self, place: Value, item: int) -> Value:
        """The memory behind as many items as a row has elements."""
        return self.e.address(place, (self.n * item + 63) / 64 * 64, "i8")

    def digit(self, key: Value, digit: int) -> Value:
        """A byte of a key, as a place in a table."""
        e = self.e
        wide = key if key.kind == "i64" else e.convert(key, "i64")
        return e.shift_right(wide, 8 * digit) & (DIGITS - 1)

    def sort(self, row: Value, number: Value) -> None:
        """Write how a row, the one with this number, is put in order."""
        raise NotImplementedError


class _Counting(Rows):
    """An element's place is the number of elements before it: smaller ones, and equal ones to its left."""

    def sort(self, row: Value, number: Value) -> None:
        """Write how a row is put in order."""
        e, n, keys, result = self.e, self.n, self.scratch, self.made(number)
        lanes = _lanes_for(self.word)
        with e.loop(0, n) as i:
            e.store(self.key(row, i), e.address(keys, i, self.word))
        with e.loop(0, n, lanes) as start:
            own = e.load(e.address(keys, start, self.word), self.word, lanes)
            count_kind = "i64" if self.word == "i64" else "i32"
            before = e.variable(e.const(0, count_kind, lanes))
            one = e.const(1, count_kind, lanes)

            whole = start + lanes
            stop = e.select(whole < n, whole, n)
            for low, high, part in ((e.const(0, "i64"), start, "left"), (start, stop, "here"), (stop, n, "right")):
                with e.loop(low, high) as j:
                    x = e.splat(e.load(e.address(keys, j, self.word), self.word), lanes)
                    comes = x <= own if part == "left" else x < own
                    if part == "here":
                        comes = comes | ((x == own) & (e.counting(lanes) > e.splat(j - start, lanes)))
                    before.set(e.select(comes, before.get() + one, before.get()))
            mask = e.first_lanes(n - start, lanes)
            at = e.convert(before.get(), "i64")
            made = e.counting(lanes) + start if self.places else number_of(e, own, self.kind)
            e.scatter(made, result, at, mask)


class _Network(Rows):
    """A bitonic sorting network (Batcher 1968) in registers, for rows of up to ``room`` numbers.

    Args:
        module: where it goes.
        name: of the function.
        kind: of the numbers.
        room: a power of 2, no less than a vector.
    """

    def __init__(self, module: Module, name: str, kind: str, room: int) -> None:
        self.room, self.lanes = room, _lanes_for(word_of(kind))
        super().__init__(module, name, kind, False)

    def sort(self, row: Value, number: Value) -> None:
        """Write how a row is put in order: behind it, the largest key fills the registers."""
        e, n, lanes, word = self.e, self.n, self.lanes, self.word
        with e.loop(0, n) as i:
            e.store(self.key(row, i), e.address(self.scratch, i, word))
        with e.loop(n, self.room) as i:
            e.store(e.const(2 ** (BITS[word] - 1) - 1, word), e.address(self.scratch, i, word))
        starts = range(0, self.room, lanes)
        vectors = [e.load(e.address(self.scratch, start, word), word, lanes) for start in starts]
        size = 2
        while size <= self.room:
            vectors = self.compare(vectors, size - 1)  # with the mirror image: both halves rise
            distance = size // 4
            while distance:
                vectors = self.compare(vectors, distance)
                distance //= 2
            size *= 2
        for start, x in zip(starts, vectors, strict=True):
            place = e.address(self.made(number), start, word)
            e.store(e.bitcast(number_of(e, x, self.kind), word), place, e.first_lanes(n - start, lanes))

    def compare(self, vectors: list[Value], flips: int) -> list[Value]:
        """Let each number and that at its place with some bits turned over be the smaller and the larger one."""
        e, lanes = self.e, self.lanes
        within, apart = flips & lanes - 1, flips // lanes
        turn = [i ^ within for i in range(lanes)]
        result = list(vectors)
        for k, x in enumerate(vectors):
            other = vectors[k ^ apart] if not within else e.shuffle(vectors[k ^ apart], vectors[k ^ apart], turn)
            if apart:
                result[k] = e.intrinsic("smin" if k < k ^ apart else "smax", x, other)
                continue
            low, high = e.intrinsic("smin", x, other), e.intrinsic("smax", x, other)
            result[k] = e.shuffle(low, high, [i if i < i ^ within else lanes + i for i in range(lanes)])
        return result


def write_sort(module: Module, kind: str, places: bool, room: int) -> str:
    """Write the kernel that sorts rows.

    Args:
        module: where it goes.
        kind: of the numbers.
        places: the result is where each number of the row in order was (i64), instead of these numbers.
        room: of a network of registers for the rows; 1: none, but they are no longer than `SHORT`; 0: they are longer.

    Returns:
        The name of the function.
    """
    name = f"{'argsort' if places else 'sort'}_{kind}_{room}"
    if room > 1:
        _Network(module, name, kind, room)
    else:
        (_Counting if room else _Bytes)(module, name, kind, places)
    return name


def room_for(kind: str, n: int, places: bool) -> int:
    """Return how `write_sort` sorts rows of ``n`` numbers."""
    lanes = _lanes_for(word_of(kind))
    if places or n > REGISTERS * lanes:
        return int(n <= SHORT[word_of(kind)])
    return max(lanes, 1 << (n - 1).bit_length())


def _lanes_for(word: str) -> int:
    return lanes_of("f64" if word == "i64" else "f32")


class _Bytes(Rows):
    """Elements are dealt out by the lowest byte of their keys, in order, then by the next one, and so on."""

    def sort(self, row: Value, number: Value) -> None:
        """Write how a row is put in order."""
        e, n, word = self.e, self.n, self.word
        size = BITS[word] // 8
        first = self.scratch
        second = self.after(first, size)
        numbers = self.after(second, size)
        others = self.after(numbers, 4) if self.places else numbers
        counts = self.after(others, 4) if self.places else numbers
        self.count(row, first, numbers, counts)
        keys, spare = e.variable(first), e.variable(second)
        held, free = e.variable(numbers), e.variable(others)
        for digit in range(size):
            count = e.address(counts, DIGITS * digit, "i32")
            sample = self.digit(e.load(keys.get(), word), digit)
            alike = e.convert(e.load(e.address(count, sample, "i32"), "i32"), "i64") == n  # nothing would move
            with e.when(~alike):
                self.deal(digit, count, keys, spare, held, free)
        self.finish(self.made(number), keys.get(), held.get())

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
