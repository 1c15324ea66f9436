"""Numbers of one kind as another: what NumPy's casts give on the processors that most people have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undertow.compile.kinds import BITS, FLOATS, UNSIGNED, signed_kind, type_of

if TYPE_CHECKING:
    from undertow.compile.ir import Value

LOWER = 29  # bits of a float64's fraction that float32 lacks


class Conversions:
    """What an emitter knows of kinds."""

    def convert(self: Any, x: Value, kind: str) -> Value:
        """The same number as another kind: floats are cut to whole numbers, truth values are 0 and 1."""
        if x.kind == kind:
            return x
        if kind == "i1":
            return x != 0
        if signed_kind(x.kind) == signed_kind(kind):
            return self.reads_as(x, kind)
        if x.kind in FLOATS and kind in FLOATS:
            return self._to_float(x, kind)
        if x.kind in FLOATS:
            return self._to_whole(x, kind)
        if kind in FLOATS:
            return self._from_whole(x, kind)
        if BITS[kind] < BITS[x.kind]:
            return self._cast("trunc", x, kind)
        return self._cast("zext" if x.kind == "i1" or x.kind in UNSIGNED else "sext", x, kind)

    def unsigned_to_float(self: Any, x: Value, kind: str) -> Value:
        """The bits of an integer, read as a number without a sign, as a float."""
        return self._cast("uitofp", x, kind)

    def reads_as(self: Any, x: Value, kind: str) -> Value:
        """The same bits as a whole number with or without a sign."""
        return type(x)(self, x.text, kind, x.lanes, x.number)

    def bitcast(self: Any, x: Value, kind: str) -> Value:
        """The same bits read as another kind."""
        return self._cast("bitcast", x, kind)

    def _cast(self: Any, op: str, x: Value, kind: str) -> Value:
        return self.instruction(f"{op} {x.type} {x.text} to {type_of(kind, x.lanes)}", kind, x.lanes)

    def _to_float(self: Any, x: Value, kind: str) -> Value:
        """A float of another size, rounded once; float16 by way of float32, as processors have it."""
        if x.kind == "f16" and kind == "f64":
            return self._cast("fpext", self._cast("fpext", x, "f32"), kind)
        if x.kind == "f64" and kind == "f16":  # to odd first: what float32 cannot hold is told by its lowest bit
            bits = self.bitcast(x, "i64")
            rest = bits & (1 << LOWER) - 1
            odd = self.select(rest != 0, bits - rest | 1 << LOWER, bits)
            x = self._cast("fptrunc", self.bitcast(odd, "f64"), "f32")
        return self._cast("fpext" if BITS[kind] > BITS[x.kind] else "fptrunc", x, kind)

    def _from_whole(self: Any, x: Value, kind: str) -> Value:
        """A whole number as a float; float16 by way of float32, as NumPy does it."""
        if kind == "f16":
            return self.convert(self.convert(x, "f32"), kind)
        return self._cast("uitofp" if x.kind == "i1" or x.kind in UNSIGNED else "sitofp", x, kind)

    def _to_whole(self: Any, x: Value, kind: str) -> Value:
        """A float cut to a whole number; what does not fit is the least one, as x86 gives it to NumPy."""
        if x.kind == "f16":
            x = self.convert(x, "f32")
        if kind == "u64":  # the upper half by way of the lower
            half = 2.0**63
            low, high = self._to_whole(x, "i64"), self._to_whole(x - half, "i64") ^ -(2**63)
            return self.reads_as(self.select(x >= half, high, low), kind)
        wide = kind if kind in ("i32", "i64") else "i64" if kind == "u32" else "i32"
        limit = 2.0 ** (BITS[wide] - 1)
        fits = (x >= -limit) & (x < limit)
        inside = self.select(fits, x, 0.0)
        cut = self._cast("fptosi", inside, wide)
        return self.convert(self.select(fits, cut, -(2 ** (BITS[wide] - 1))), kind)
