"""Quotients, remainders and powers of whole numbers in kernels, with NumPy's results: 0 where the divisor is 0."""

from __future__ import annotations

from collections.abc import Callable

from undertow.compile.ir import BITS, Emitter, Value
from undertow.compile.kinds import UNSIGNED


def _divide(e: Emitter, x: Value, y: Value) -> tuple[Value, Value, Value]:
    """The quotient towards zero, its remainder, and the divisor, which is 1 where it was 0 or −1: both would trap."""
    safe = e.select(y == 0 if y.kind in UNSIGNED else (y == 0) | (y == -1), 1, y)
    quotient = x / safe
    return quotient, x - quotient * safe, safe


def _falls_short(remainder: Value, divisor: Value) -> Value:
    """Whether the quotient towards zero is above the true one; never without signs."""
    return (remainder != 0) & ((remainder ^ divisor) < 0)


def floor_divide(e: Emitter, x: Value, y: Value) -> Value:
    """The whole number below the quotient; the least number divided by −1 stays, as it wraps around."""
    quotient, rest, divisor = _divide(e, x, y)
    if x.kind in UNSIGNED:
        return e.select(y == 0, 0, quotient)
    quotient = e.select(_falls_short(rest, divisor), quotient - 1, quotient)
    return e.select(y == 0, 0, e.select(y == -1, -x, quotient))


def remainder(e: Emitter, x: Value, y: Value) -> Value:
    """What ``floor_divide`` leaves: it has the sign of the divisor."""
    _, rest, divisor = _divide(e, x, y)
    return e.select(_falls_short(rest, divisor), rest + divisor, rest)


def fmod(e: Emitter, x: Value, y: Value) -> Value:
    """What the quotient towards zero leaves: it has the sign of the dividend."""
    return _divide(e, x, y)[1]


def power(e: Emitter, x: Value, y: Value) -> Value:
    """The power to a constant of 0 or more, or to any without sign, by squaring; it wraps around as NumPy's."""
    if y.number is None:
        return _any_power(e, x, y)
    exponent, result = int(y.number or 0), e.const(1, x.kind, x.lanes)
    while exponent:
        if exponent & 1:
            result = result * x
        exponent >>= 1
        if exponent:
            x = x * x
    return result


def _any_power(e: Emitter, x: Value, y: Value) -> Value:
    lanes = max(x.lanes, y.lanes)
    result, square = e.variable(e.const(1, x.kind, lanes)), e.variable(e.splat(x, lanes))
    left = e.variable(e.splat(y, lanes))
    with e.loop(0, BITS[y.kind]):
        now, factor = left.get(), square.get()
        result.set(e.select(now & 1 != 0, result.get() * factor, result.get()))
        square.set(factor * factor)
        left.set(now >> 1)
    return result.get()


WHOLE: dict[str, Callable[[Emitter, Value, Value], Value]] = {
    "floor_divide": floor_divide,
    "remainder": remainder,
    "fmod": fmod,
    "power": power,
}
