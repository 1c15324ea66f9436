"""What a kernel adds up of arrays for their statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from undertow.compile.ir import BITS, Emitter, Value, Variable
from undertow.compile.kernel import JOIN, Line
from undertow.compile.processor import has
from undertow.compile.row_values import join_all, join_lanes

PART: Final = 128  # vectors of float32 added up one after another before they are folded into float64: 1e-5 are lost
BESIDE: Final = 4  # tallies whose lanes are joined together
SLOT: Final = 64  # bytes of a place in the state
RANGE = "llvm.x86.avx512.mask.range.ps.512"  # 11: the larger in magnitude, without its sign; a NaN counts as no number
FRACTION, BIAS = 23, 127  # of float32: the bits below the exponent, and the exponent of 1
COUNTS: Final = ("zeros", "flat")


def _larger(e: Emitter, a: Value, b: Value) -> Value:
    """The larger magnitudes of two vectors."""
    vector = "<16 x float>"
    e.module.declarations[RANGE] = f"declare {vector} @{RANGE}({vector}, {vector}, i32, {vector}, i16, i32)"
    call = f"@{RANGE}({vector} {a.text}, {vector} {b.text}, i32 11, {vector} zeroinitializer, i16 -1, i32 4)"
    return e.instruction(f"call {vector} {call}", "f32", 16)


def _smax(e: Emitter, a: Value, b: Value) -> Value:
    return e.intrinsic("smax", a, b)


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
        self.parts = {x: e.variable(e.const(0, self.kind_of(x), lanes)) for x in kinds}
        self.adds_exponents = bool(self.shift) and {"s", "max"} <= {*kinds}
        # Half the work for max, but a NaN is to be seen in the sum.
        self.ranges = kind == "f32" and lanes == 16 and {"s", "max"} <= {*kinds} and has("avx512dq")

    def kind_of(self, name: str) -> str:
        """The kind of a part."""
        return self.kind if name in ("ss", "s") else self.bits

    @property
    def sums(self) -> list[Variable]:
        """What is added up in the kind of the elements."""
        return [part for name, part in self.parts.items() if name in ("ss", "s")]

    def add(self, vectors: Sequence[Value], masks: Sequence[Value | None]) -> None:
        """Add vectors that are known at the same time; of each, lanes outside of its mask do not count.

        They are joined first: a sum waits for the one before it, and that once, not once for each of them.
        """
        e = self.e
        found = [x if mask is None else e.select(mask, x, 0.0) for x, mask in zip(vectors, masks, strict=True)]
        for name, part in self.parts.items():
            if name in COUNTS:
                counted = part.get()
                for x, mask in zip(found, masks, strict=True):
                    counts = self._is_counted(name, x) if mask is None else self._is_counted(name, x) & mask
                    counted = e.select(counts, counted + 1, counted)
                part.set(counted)
            else:
                part.set(getattr(self, f"_add_{name}")(part.get(), found))

    def _add_ss(self, part: Value, vectors: list[Value]) -> Value:
        pairs = [(self._shifted(x), x) for x in vectors]
        if len(pairs) == 1:
            return self.e.fma(*pairs[0], part)
        squares = pairs[0][0] * pairs[0][1]
        for a, b in pairs[1:]:
            squares = self.e.fma(a, b, squares)
        return part + squares

    def _shifted(self, x: Value) -> Value:
        """Numbers times 2 to the power of twice the shift.

        It is added to the exponents, as multiplications are what an optimizer's kernel waits for. That of 0 is not what
        it should be, and makes no difference; numbers that are too large are noticed in the end, by the largest.
        """
        if not self.adds_exponents:
            return x * 4.0**self.shift if self.shift else x
        return self.e.bitcast(self.e.bitcast(x, self.bits) + (2 * self.shift << FRACTION), self.kind)

    def _add_s(self, part: Value, vectors: list[Value]) -> Value:
        return part + join_all(self.e, JOIN["sum"], vectors)

    def _add_max(self, part: Value, vectors: list[Value]) -> Value:
        e = self.e
        if self.ranges:
            return e.bitcast(join_all(e, _larger, [*vectors, e.bitcast(part, "f32")]), self.bits)
        return join_all(e, _smax, [*map(self._magnitude, vectors), part])

    def _magnitude(self, x: Value) -> Value:
        return self.e.bitcast(x, self.bits) & (2 ** (BITS[self.kind] - 1) - 1)  # that of NaN is above all others

    def _is_counted(self, name: str, x: Value) -> Value:
        """Which lanes are zero, or in the flat parts."""
        low, high = self.flat
        if name == "zeros":
            return x == 0
        if low == -high:
            return self.e.bitcast(self._magnitude(x), self.kind) > high
        return (x < low) | (x > high)


class Joined:
    """Tallies whose lanes are joined together: of four of them that takes a third of the instructions.

    Args:
        e: writes the kernel.
        tallies: of one kind.
        total: where their sums of squares, then their sums, are added up in float64; None if they are float64 anyway.
    """

    def __init__(self, e: Emitter, tallies: list[Tally], total: Variable | None) -> None:
        self.e, self.tallies, self.total = e, tallies, total

    def fold(self) -> None:
        """Add the float32 sums to the float64 ones, and begin others."""
        if self.total is not None:
            self.total.set(self._sums())
            for part in (part for x in self.tallies for part in x.sums):
                part.set(self.e.const(0, part.kind, part.lanes))

    def _sums(self) -> Value:
        joined = self.e.convert(join_lanes(self.e, JOIN["sum"], self._parts("ss") + self._parts("s")), "f64")
        return joined if self.total is None else self.total.get() + joined

    def _parts(self, name: str) -> list[Value]:
        """Of each tally the part of this name; nothing for one without, and up to a power of two."""
        n, one = len(self.tallies), self.tallies[0]
        nothing = self.e.const(0, one.kind_of(name), one.lanes)
        found = [x.parts[name].get() if name in x.parts else nothing for x in self.tallies]
        return found + [nothing] * (_side_by_side(n) - n)

    def results(self) -> list[list[Value]]:
        """Return of each tally its statistics, as float64."""
        e, tallies = self.e, self.tallies
        n = _side_by_side(len(tallies))
        sums, known = self._sums(), dict[str, Value]()
        known["ss"], known["s"] = (e.shuffle(sums, sums, [first + i for i in range(n)]) for first in (0, n))
        if any("max" in x.parts for x in tallies):
            bits = join_lanes(e, _smax, self._parts("max"))
            known["ss"] = self._scaled_back(known["ss"], known["s"], bits)
            largest = e.convert(e.bitcast(bits, tallies[0].kind), "f64")
            if any(x.ranges for x in tallies):
                unseen = (known["s"] != known["s"]) & (largest < math.inf)
                largest = e.select(unseen, math.nan, largest)
            known["max"] = largest
        else:
            known["ss"] = self._scaled_back(known["ss"], known["s"], None)
        for name in COUNTS:
            if any(name in x.parts for x in tallies):
                counted = [e.convert(part, "f64") for part in self._parts(name)]
                known[name] = join_lanes(e, JOIN["sum"], counted)
        return [[e.lane(known[name], i) for name in x.kinds] for i, x in enumerate(tallies)]

    def _scaled_back(self, ss: Value, s: Value, bits: Value | None) -> Value:
        """Take what numbers were multiplied by out of their squares; those that float32 does not hold are infinite."""
        e, pad = self.e, (0,) * (ss.lanes - len(self.tallies))
        if not any(x.shift for x in self.tallies):
            return ss
        ss = ss * e.consts([*(4.0**-x.shift for x in self.tallies), *pad], "f64")
        if bits is None or not any(x.adds_exponents for x in self.tallies):
            return ss
        least = [BIAS + 64 - x.shift << FRACTION if x.adds_exponents else 2**31 - 1 for x in self.tallies]
        return e.select(bits < e.consts([*least, *pad], bits.kind), ss, e.fabs(s) + math.inf)


def _side_by_side(n: int) -> int:
    """The power of two that so many vectors make room for."""
    return 1 << (n - 1).bit_length()


def state_slots(told: Iterable[tuple[str, int]]) -> int:
    """Return how many places the state of tallies has: of each, the kind and how many statistics."""
    kinds, sizes = zip(*told, strict=True)
    return 1 + sum(sizes) + -(-kinds.count("f32") // BESIDE)


class Tallies:
    """All that a kernel adds up, and when parts are folded.

    Float32 is added up in float32 lanes, and these are joined and added to a float64 every 128 vectors.

    Args:
        e: writes the kernel.
        state: where is what was added up so far, and where it goes in the end: `state_slots` times `SLOT` bytes, all 0
            at first. Without one, nothing was yet.

    Attributes:
        of: by the number of the line.
        folds: something is folded.
    """

    def __init__(self, e: Emitter, state: Value | None = None) -> None:
        self.e, self.state = e, state
        self.of: dict[int, Tally] = {}
        self.joined: dict[tuple[int, ...], Joined] = {}  # by the numbers of their lines
        self.held: list[tuple[Variable, Value]] = []  # what goes back into the state
        self.slots, self.folds = 0, False
        self.count: Any = None

    def begin(self, lines: Mapping[int, Line], lanes: int) -> None:
        """Begin with arrays, by the numbers of the lines that are statistics of them."""
        e = self.e
        if not lines:
            return
        self.folds = any(line.kind == "f32" for line in lines.values())
        self.count = self._in_memory("i64", 0) if self.state else e.variable(e.const(0, "i64"))
        for i, line in lines.items():
            self.of[i] = Tally(e, line.kind, lanes, **dict(line.params))
            for part in self.of[i].parts.values() if self.state else ():
                self.held.append((part, self._slot()))
                part.set(e.load(self.held[-1][1], part.kind, part.lanes))
        for kind in dict.fromkeys(line.kind for line in lines.values()):
            same = [i for i, line in lines.items() if line.kind == kind]
            for first in range(0, len(same), BESIDE):
                some = tuple(same[first : first + BESIDE])
                total = self._in_memory("f64", 2 * _side_by_side(len(some))) if kind == "f32" else None
                self.joined[some] = Joined(e, [self.of[i] for i in some], total)

    def _in_memory(self, kind: str, lanes: int) -> Variable:
        """A place for what is touched so rarely that no register is to be kept for it."""
        if self.state:
            return Variable.at(self._slot(), kind, lanes)
        return self.e.variable(self.e.const(0, kind, lanes), in_memory=True)

    def _slot(self) -> Value:
        """The next place of the state."""
        assert self.state is not None
        self.slots += 1
        return self.e.address(self.state, (self.slots - 1) * SLOT, "i8")

    def keep(self) -> None:
        """Put what was added up back into the state."""
        for part, place in self.held:
            self.e.store(part.get(), place)

    def fold(self) -> None:
        """Add the float32 sums to the float64 ones, and begin others."""
        for x in self.joined.values():
            x.fold()

    def note(self, vectors: Value | int) -> None:
        """Count vectors that were added; fold where it is time."""
        if not self.folds:
            return
        count = self.count.get() + vectors
        self.count.set(count)
        with self.e.when(count >= PART):
            self.fold()
            self.count.set(self.e.const(0, "i64"))

    def results(self) -> dict[int, list[Value]]:
        """Join the lanes: by the number of the line its statistics, as float64."""
        found = [(i, values) for some, x in self.joined.items() for i, values in zip(some, x.results(), strict=True)]
        return dict(found)
