"""Sums that stay exact however long they are: parts of them are folded into a total that keeps what rounding lost."""

from __future__ import annotations

from typing import Any

from undertow.compile.ir import Emitter, Value

PART = 64  # vectors added up one after another before they are folded into the total
ROWS = 8  # of rows that are shorter than 8 vectors as many are a part


class Folded:
    """A sum in registers, of one number or of lanes; it is written to like a `Variable`, which is its latest part.

    One number after another, the error of a sum of n grows with n: 40 units in the last place for a million. Parts
    of 64, and their total with the rounding error of each of its additions, leave an error of the first 64 alone.

    Source: Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B (the error of an addition).
    """

    def __init__(self, e: Emitter, zero: Value) -> None:
        self.e, self.zero = e, zero
        self.part, self.total, self.lost = (e.variable(zero) for _ in range(3))

    def get(self) -> Value:
        """Read the latest part."""
        return self.part.get()

    def set(self, value: Value) -> None:
        """Write it."""
        self.part.set(value)

    def fold(self) -> None:
        """Add the part to the total, and begin another."""
        total, part = self.total.get(), self.part.get()
        new = total + part
        added = new - total
        self.lost.set(self.lost.get() + ((total - (new - added)) + (part - added)))
        self.total.set(new)
        self.part.set(self.zero)

    def result(self) -> Value:
        """Return the sum; where it is infinite or no number, what was lost is none either and is left out."""
        self.fold()
        total, lost = self.total.get(), self.lost.get()
        return self.e.select(self.e.is_nan(lost), total, total + lost)


class Folding:
    """The sums of a kernel that are added up in parts, and when to fold them.

    Attributes:
        sums: those that are being added up.
    """

    def __init__(self, e: Emitter) -> None:
        self.e = e
        self.sums: list[Folded] = []
        self.count: Any = None

    def begin(self, zero: Value) -> Folded:
        """Begin a sum."""
        if self.count is None:
            self.count = self.e.variable(self.e.const(0, "i64"))
        self.sums.append(Folded(self.e, zero))
        return self.sums[-1]

    def end(self, sums: list[Any]) -> None:
        """Forget sums that are complete."""
        self.sums = [x for x in self.sums if x not in sums]

    def fold(self) -> None:
        """Fold all."""
        for x in self.sums:
            x.fold()

    def note(self, vectors: Value | int) -> None:
        """Count vectors that were added; fold where it is time."""
        if not self.sums:
            return
        count = self.count.get() + vectors
        self.count.set(count)
        with self.e.when(count >= PART):
            self.fold()
            self.count.set(self.e.const(0, "i64"))
