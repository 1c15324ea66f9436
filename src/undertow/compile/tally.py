"""What a kernel adds up of an array for its statistics."""

from __future__ import annotations

import math
from typing import Any

from undertow.compile.ir import BITS, Emitter, Value
from undertow.compile.kernel import JOIN
from undertow.compile.processor import has
from undertow.compile.row_values import join_lanes
from undertow.compile.totals import PART

RANGE = "llvm.x86.avx512.mask.range.ps.512"  # 11: the larger in magnitude, without its sign; a NaN counts as no number


class Tally:
    """What a kernel adds up of one array: a vector for each number, joined when all is done.

    Args:
        e: writes the kernel.
        kind: of the elements.
        lanes: of a vector.
        kinds, flat, shift: see `statistics`.
    """

    def __init__(
        self, e: Emitter, kind: str, lanes: int, kinds: tuple[str, ...], flat: tuple[float, float], shift: int
    ) -> None:
        self.e, self.kind, self.lanes, self.kinds, self.flat = e, kind, lanes, kinds, flat
        self.shift = shift if kind == "f32" else 0
        self.bits = f"i{BITS[kind]}"  # magnitudes are compared as integers of their size
        self.parts = {x: e.variable(self._nothing(x)) for x in kinds}
        self.ranges = kind == "f32" and lanes == 16 and "s" in kinds and has("avx512dq")  # half the work for max
        # Touched so rarely that no register is to be kept for them.
        wide = [x for x in kinds if x in ("ss", "s") and kind == "f32"]
        self.wide = {x: e.variable(e.const(0, "f64"), in_memory=True) for x in wide}

    def _nothing(self, name: str) -> Value:
        if name in ("zeros", "flat"):
            return self.e.const(0, "i64")
        return self.e.const(0, self.bits if name == "max" else self.kind, self.lanes)

    def add(self, x: Value, mask: Value | None) -> None:
        """Add a vector; lanes outside of the mask do not count."""
        e = self.e
        if mask is not None:
            x = e.select(mask, x, 0.0)
        for name, part in self.parts.items():
            part.set(getattr(self, f"_add_{name}")(part.get(), x, mask))

    def _add_ss(self, part: Value, x: Value, mask: Value | None) -> Value:
        return self.e.fma(x * 4.0**self.shift if self.shift else x, x, part)

    def _add_s(self, part: Value, x: Value, mask: Value | None) -> Value:
        return part + x

    def _add_max(self, part: Value, x: Value, mask: Value | None) -> Value:
        if not self.ranges:
            return self.e.intrinsic("smax", part, self._magnitude(x))
        vector = "<16 x float>"
        self.e.module.declarations[RANGE] = f"declare {vector} @{RANGE}({vector}, {vector}, i32, {vector}, i16, i32)"
        a = self.e.bitcast(part, "f32")
        call = f"@{RANGE}({vector} {a.text}, {vector} {x.text}, i32 11, {vector} zeroinitializer, i16 -1, i32 4)"
        return self.e.bitcast(self.e.instruction(f"call {vector} {call}", "f32", 16), self.bits)

    def _magnitude(self, x: Value) -> Value:
        return self.e.bitcast(x, self.bits) & (2 ** (BITS[self.kind] - 1) - 1)  # that of NaN is above all others

    def _add_zeros(self, part: Value, x: Value, mask: Value | None) -> Value:
        return self._count(part, x == 0, mask)

    def _add_flat(self, part: Value, x: Value, mask: Value | None) -> Value:
        low, high = self.flat
        beyond = (x < low) | (x > high) if low != -high else self.e.bitcast(self._magnitude(x), self.kind) > high
        return self._count(part, beyond, mask)

    def _count(self, part: Value, found: Value, mask: Value | None) -> Value:
        return part + _how_many(self.e, found if mask is None else found & mask)

    def fold(self) -> None:
        """Add the float32 sums to the float64 ones, and begin others."""
        for name, total in self.wide.items():
            part = self.parts[name]
            total.set(total.get() + self._joined(part.get()))
            part.set(self.e.const(0, self.kind, self.lanes))

    def results(self) -> list[Value]:
        """Join the lanes: the numbers as float64."""
        return [self._result(name) for name in self.kinds]

    def _result(self, name: str) -> Value:
        e, part = self.e, self.parts[name].get()
        if name in ("zeros", "flat"):
            return e.convert(part, "f64")
        if name == "max":
            largest = join_lanes(e, lambda e, a, b: e.intrinsic("smax", a, b), [part])
            found = e.convert(e.bitcast(e.lane(largest, 0), self.kind), "f64")
            if self.ranges:  # a NaN is in the sum
                total = self._result("s")
                found = e.select((total != total) & (found < math.inf), math.nan, found)
            return found
        total = self._joined(part)
        if name in self.wide:
            total = self.wide[name].get() + total
        return total * 4.0**-self.shift if name == "ss" and self.shift else total

    def _joined(self, part: Value) -> Value:
        """The sum of a vector's lanes, as float64."""
        return self.e.convert(self.e.lane(join_lanes(self.e, JOIN["sum"], [part]), 0), "f64")


def _how_many(e: Emitter, mask: Value) -> Value:
    """The number of lanes that hold true."""
    bits = f"i{mask.lanes}"
    e.module.declarations[f"ctpop {bits}"] = f"declare {bits} @llvm.ctpop.{bits}({bits})"
    word = e.instruction(f"bitcast {mask.type} {mask.text} to {bits}", "i64", 0)
    found = e.instruction(f"call {bits} @llvm.ctpop.{bits}({bits} {word.text})", "i64", 0)
    return e.instruction(f"zext {bits} {found.text} to i64", "i64", 0)


class Tallies:
    """All that a kernel adds up, and when parts are folded.

    Attributes:
        of: by the number of the line.
    """

    def __init__(self, e: Emitter) -> None:
        self.e = e
        self.of: dict[int, Tally] = {}
        self.count: Any = None

    def begin(self, number: int, kind: str, lanes: int, params: dict[str, Any]) -> None:
        """Begin with an array."""
        if self.count is None:
            self.count = self.e.variable(self.e.const(0, "i64"))
        self.of[number] = Tally(self.e, kind, lanes, **params)

    def fold(self) -> None:
        """Fold all."""
        for x in self.of.values():
            x.fold()

    def note(self, vectors: Value | int) -> None:
        """Count vectors that were added; fold where it is time."""
        if not any(x.wide for x in self.of.values()):
            return
        count = self.count.get() + vectors
        self.count.set(count)
        with self.e.when(count >= PART):
            self.fold()
            self.count.set(self.e.const(0, "i64"))
