"""Floats taken apart and put together by their bits, and whole numbers shifted and divided: with NumPy's results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from undertow.compile.ir import BITS, Emitter, Value
from undertow.compile.kinds import UNSIGNED
from undertow.compile.maths_core import FORMATS, power_of_two


def _bits_of(e: Emitter, x: Value) -> Value:
    return e.bitcast(x, FORMATS[x.kind].bits)


def next_after(e: Emitter, x: Value, y: Value) -> Value:
    """The neighbour of x in the direction of y."""
    bits = _bits_of(e, x)
    away = (x < y) ^ (x < 0)
    least = e.copysign(e.bitcast(e.const(1, bits.kind, x.lanes), x.kind), y)
    found = e.select(x == 0, least, e.bitcast(e.select(away, bits + 1, bits - 1), x.kind))
    return e.select(x == y, y, e.select(e.is_nan(x) | e.is_nan(y), x + y, found))


def spacing(e: Emitter, x: Value) -> Value:
    """How far the next number is, away from zero; of float16, the next larger one, as NumPy has it."""
    x = e.select(x == 0, 0.0, x)
    bits = _bits_of(e, x)
    found = e.bitcast(e.select(x < 0, bits - 1, bits + 1) if x.kind == "f16" else bits + 1, x.kind) - x
    return e.select(e.fabs(x) < math.inf, found, math.nan)


def _parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """A number between 1/2 and 1 in size, and the power of two that makes x of it, of the format's integer kind."""
    form = FORMATS[x.kind]
    small = e.fabs(x) < form.normal
    bits = _bits_of(e, e.select(small, x * 2.0 ** (form.mantissa + 1), x))
    power = e.shift_right(bits << 1, form.mantissa + 1) - (form.bias - 1)
    power = power - e.select(small, e.const(form.mantissa + 1, bits.kind), 0)
    half = (bits & ~(((1 << form.size - 1 - form.mantissa) - 1) << form.mantissa)) | (form.bias - 1) << form.mantissa
    odd = (x == 0) | ~(e.fabs(x) < math.inf)
    return e.select(odd, x, e.bitcast(half, x.kind)), e.select(odd, 0, power)


def mantissa(e: Emitter, x: Value) -> Value:
    """What frexp leaves of a number without its power of two."""
    return _parts(e, x)[0]


def exponent(e: Emitter, x: Value) -> Value:
    """The power of two that frexp finds."""
    return _parts(e, x)[1]


def ldexp(e: Emitter, x: Value, n: Value) -> Value:
    """``x * 2**n`` in three steps, of which one alone can round: the first takes most of n."""
    form = FORMATS[x.kind]
    most = form.bias - form.mantissa // 2
    if BITS[n.kind] > form.size:  # beyond this, all is 0 or infinite
        n = e.select(n > 4 * form.bias, 4 * form.bias, e.select(n < -4 * form.bias, -4 * form.bias, n))
    n = e.convert(n, form.bits)
    for _ in range(3):
        step = e.select(n > most, most, e.select(n < -most, -most, n))
        x, n = x * power_of_two(e, step), n - step
    return x


# ---- whole numbers -------------------------------------------------------------------------------


def left_shift(e: Emitter, x: Value, n: Value) -> Value:
    """Bits moved up; all are gone where the count is none that the number has."""
    there = (n >= 0) & (n < BITS[x.kind])
    return e.select(there, x << e.select(there, n, 0), 0)


def right_shift(e: Emitter, x: Value, n: Value) -> Value:
    """Bits moved down; the sign fills in, or 0 where there is none."""
    there = (n >= 0) & (n < BITS[x.kind])
    moved = x >> e.select(there, n, BITS[x.kind] - 1)
    return e.select(there, moved, 0) if x.kind in UNSIGNED else moved


def bitwise_count(e: Emitter, x: Value) -> Value:
    """How many bits are set, of the number without its sign."""
    return e.intrinsic("ctpop", _size(e, x))


@contextmanager
def _while(e: Emitter, condition: Callable[[], Value]) -> Iterator[None]:
    head, body, end = (e.fresh(stem) for stem in ("while", "do", "done"))
    e.line(f"br label %{head}")
    e.label(head)
    e.line(f"br i1 {condition().text}, label %{body}, label %{end}")
    e.label(body)
    yield
    e.line(f"br label %{head}")
    e.label(end)


def _size(e: Emitter, x: Value) -> Value:
    return e.select(x < 0, -x, x)


def _gcd(e: Emitter, x: Value, y: Value) -> Value:
    """Euclid's algorithm, of numbers in 64 bits without a sign: the least number has none with one."""
    a, b = e.variable(_size(e, x)), e.variable(_size(e, y))
    with _while(e, lambda: b.get() != 0):
        old = b.get()
        rest = e.instruction(f"urem {old.type} {a.get().text}, {old.text}", x.kind, 0)
        a.set(old)
        b.set(rest)
    return a.get()


def gcd(e: Emitter, x: Value, y: Value) -> Value:
    """The greatest common divisor, lane by lane."""
    if not x.lanes:
        return _gcd(e, x, y)
    result = x
    for i in range(x.lanes):
        found = _gcd(e, e.lane(x, i), e.lane(y, i))
        text = f"insertelement {x.type} {result.text}, {found.type} {found.text}, i64 {i}"
        result = e.instruction(text, x.kind, x.lanes)
    return result


def lcm(e: Emitter, x: Value, y: Value) -> Value:
    """The least common multiple; 0 where one of them is."""
    divisor = gcd(e, x, y)
    safe = e.select(divisor == 0, 1, divisor)
    return _size(e, x) / safe * _size(e, y)


PARTS: dict[str, Callable[..., Value]] = {
    "nextafter": next_after,
    "spacing": spacing,
    "mantissa": mantissa,
    "exponent": exponent,
    "ldexp": ldexp,
    "left_shift": left_shift,
    "right_shift": right_shift,
    "bitwise_count": bitwise_count,
    "gcd": gcd,
    "lcm": lcm,
}
