"""The kernel that finds the elements in some places of a long row's order, without sorting it.

The first bytes of all keys are counted, and the counts tell that of the wanted key. Only keys that begin with it are
looked at further, and so on to the last byte. Table: as of `sorting`, then how many places there are, and they; the
results of all rows for one place stand behind each other.
"""

from __future__ import annotations

from undertow.compile.ir import BITS, Module, Value, Variable
from undertow.compile.processor import lanes_of
from undertow.compile.sorting import DIGITS, Rows, number_of, word_of

TABLES = 4  # of counts, in turn: what was added to one a moment ago would be waited for
MOST = 8  # places: more are parts of a sorted row


def scratch_of(kind: str, n: int) -> int:
    """Return how many bytes a thread needs to select from rows of ``n`` numbers."""
    return 2 * (-(-n * (BITS[word_of(kind)] // 8) // 64) * 64) + 4 * DIGITS * (TABLES + 1)


class _Select(Rows):
    """Selects from each row."""

    def sort(self, row: Value, number: Value) -> None:
        """Write what is done with a row."""
        e, n, word = self.e, self.n, self.word
        size = BITS[word] // 8
        keys = self.scratch
        some = self.after(keys, size)
        tables = self.after(some, size)
        counts = e.address(tables, DIGITS * TABLES, "i32")
        self.clear(tables, DIGITS * TABLES)
        with e.loop(0, n) as i:
            key = self.key(row, i) ^ -(2 ** (BITS[word] - 1))
            e.store(key, e.address(keys, i, word))
            self.add(e.address(tables, (i & TABLES - 1) * DIGITS, "i32"), self.digit(key, size - 1))
        with e.loop(0, DIGITS) as i:
            total = e.load(e.address(tables, i, "i32"), "i32")
            for k in range(1, TABLES):
                total = total + e.load(e.address(tables, i + DIGITS * k, "i32"), "i32")
            e.store(total, e.address(tables, i, "i32"))
        places = e.load(e.address(e.args["args"], 8, "i64"), "i64")
        with e.loop(0, places) as p:
            rank = e.variable(e.load(e.address(e.args["args"], p + 9, "i64"), "i64"))
            left = e.variable(self.narrow(keys, some, n, size - 1, tables, rank))
            for digit in reversed(range(size - 1)):
                with e.when(left.get() > 1):
                    self.clear(counts, DIGITS)
                    with e.loop(0, left.get()) as i:
                        self.add(counts, self.digit(e.load(e.address(some, i, word), word), digit))
                    left.set(self.narrow(some, some, left.get(), digit, counts, rank))
            found = number_of(e, e.load(some, word) ^ -(2 ** (BITS[word] - 1)), self.kind)
            e.store(e.bitcast(found, word), e.address(self.result, p * self.rows + number, word))

    def add(self, counts: Value, digit: Value) -> None:
        """Count a byte."""
        place = self.e.address(counts, digit, "i32")
        self.e.store(self.e.load(place, "i32") + 1, place)

    def clear(self, counts: Value, n: int) -> None:
        """Set counts to 0."""
        e, lanes = self.e, lanes_of("f32")
        with e.loop(0, n, lanes) as i:
            e.store(e.const(0, "i32", lanes), e.address(counts, i, "i32"))

    def narrow(self, source: Value, target: Value, n: Value, digit: int, counts: Value, rank: Variable) -> Value:
        """Keep the keys with the byte of the wanted one; return how many, and let the rank be that among them."""
        e, word, wanted = self.e, self.word, rank.get()
        total, below, byte = (e.variable(e.const(0, "i64")) for _ in range(3))
        with e.loop(0, DIGITS) as i:
            now = total.get() + e.convert(e.load(e.address(counts, i, "i32"), "i32"), "i64")
            before = now <= wanted
            total.set(now)
            below.set(e.select(before, now, below.get()))
            byte.set(byte.get() + e.convert(before, "i64"))
        rank.set(wanted - below.get())
        chosen, kept = byte.get(), e.variable(e.const(0, "i64"))
        with e.loop(0, n) as i:
            key, at = e.load(e.address(source, i, word), word), kept.get()
            e.store(key, e.address(target, at, word))
            kept.set(at + e.convert(self.digit(key, digit) == chosen, "i64"))
        return kept.get()


def write_select(module: Module, kind: str) -> str:
    """Write the kernel.

    Args:
        module: where it goes.
        kind: of the numbers.

    Returns:
        The name of the function.
    """
    name = f"select_{kind}"
    _Select(module, name, kind, False)
    return name
