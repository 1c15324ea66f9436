"""What the mathematical functions of compiled kernels are made of: number formats, polynomials, exp and log.

Every polynomial was fitted with 70 digits (mpmath) to its function at 160 Chebyshev nodes of the stated range: by
least squares, weighted with what an error does to the result and reweighted by the errors left (Lawson's algorithm)
until these are about equal, then rounded to the format. Coefficients are listed from the constant term up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import NamedTuple

from undertow.compile.ir import Emitter, Value
from undertow.compile.processor import has

INF, NAN = math.inf, math.nan
LOG2E = 1.4426950408889634


class Format(NamedTuple):
    """What the algorithms need to know about a kind of float.

    Args:
        bits: the kind of a whole number of the same size.
        size: how many bits that are.
        mantissa: how many bits of a float's pattern are its fraction.
        bias: what is added to the exponent in the pattern.
        magic: a float that rounds what is added to it to a whole number, kept in the lowest bits of the sum.
        magic_bits: its pattern.
        root_half: the pattern of the square root of 1/2.
        normal: the smallest normal number.
        ln2: the logarithm of 2 as the sum of two floats.
        exp_range: exp is 0 below the first, and half of it overflows above the second.
    """

    bits: str
    size: int
    mantissa: int
    bias: int
    magic: float
    magic_bits: int
    root_half: int
    normal: float
    ln2: tuple[float, float]
    exp_range: tuple[float, float]


FORMATS = {
    "f16": Format(
        "i16", 16, 10, 15, 1.5 * 2.0**10, 0x6600, 0x39A8, 2.0**-14, (0.693359375, -0.00021219444), (-18.0, 12.0),
    ),
    "f32": Format(
        "i32", 32, 23, 127, 1.5 * 2.0**23, 0x4B400000, 0x3F3504F3, 2.0**-126,
        (0.693147182464599609375, -1.90465429995776804525e-09), (-104.0, 90.0),
    ),
    "f64": Format(
        "i64", 64, 52, 1023, 1.5 * 2.0**52, 0x4338000000000000, 0x3FE6A09E667F3BCD, 2.0**-1022,
        (0.6931471805599453094172321, 2.319046813846299558417771e-17), (-746.0, 711.0),
    ),
}  # fmt: skip

# (exp(r) - 1 - r) / r², |r| < 0.3475
EXP = {
    "f32": (0.5, 0.16666517, 0.041666202, 0.008369078, 0.001395076),
    "f64": (
        0.5000000000000013, 0.16666666666666693, 0.04166666666651125, 0.008333333333310926, 0.0013888888948140692,
        0.00019841269909982937, 2.4801488739456805e-05, 2.7557222478429202e-06, 2.763172348676973e-07,
        2.511601237009988e-08,
    ),
}  # fmt: skip
# f32: (log(1+f) - f + f²/2) / f³, -0.293 < f < 0.4144. f64: (2 artanh(s) - 2s) / s³ in s², s² < 0.02945
LOG = {
    "f32": (
        0.3333333, -0.25000823, 0.20001222, -0.16623247, 0.14201789, -0.13161343, 0.12761945, -0.07631799,
    ),
    "f64": (
        0.6666666666666735, 0.39999999999412933, 0.2857142874280248, 0.2222219852787804, 0.18183566820289274,
        0.15313983258615388, 0.14796656913293268,
    ),
}  # fmt: skip


def constant(x: Value, number: float) -> Value:
    """A number of the kind of x, in as many lanes."""
    return x.emitter.const(number, x.kind, x.lanes)


def horner(e: Emitter, x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial, from the constant term up. A chain is fast: the processor overlaps it with the next vector's."""
    result = constant(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = e.fma(result, x, c)
    return result


def minimum(e: Emitter, x: Value, bound: Value | float) -> Value:
    """The smaller one; NaN where x is NaN."""
    return e.select(x > bound, bound, x)


def maximum(e: Emitter, x: Value, bound: Value | float) -> Value:
    """The larger one; NaN where x is NaN."""
    return e.select(x < bound, bound, x)


def widened(function: Callable[..., Value]) -> Callable[..., Value]:
    """Let a function of f64 serve f32 too: computed in f64 and rounded once."""

    @wraps(function)
    def either(e: Emitter, *args: Value) -> Value:
        if args[0].kind == "f64":
            return function(e, *args)
        return e.convert(function(e, *(e.convert(x, "f64") for x in args)), "f32")

    return either


def any_lane(e: Emitter, condition: Value) -> Value:
    """Does it hold in any lane?"""
    if not condition.lanes:
        return condition
    function = f"@llvm.vector.reduce.or.v{condition.lanes}i1"
    e.module.declarations[function] = f"declare i1 {function}({condition.type})"
    return e.instruction(f"call i1 {function}({condition.type} {condition.text})", "i1", 0)


def rescue(e: Emitter, result: Value, wrong: Value, slow: Callable[..., Value], *args: Value) -> Value:
    """Replace the lanes that the fast way cannot compute, one after the other, behind a branch seldom taken.

    Args:
        e: the function being written.
        result: what the fast way computed.
        wrong: the lanes to replace.
        slow: computes one lane from the arguments' lanes.
        args: the arguments.
    """
    lanes, kind = result.lanes, result.kind
    final = e.variable(result)
    with e.when(any_lane(e, wrong)):
        if not lanes:
            final.set(slow(*args))
        else:
            spilled = [e.variable(x) for x in (*args, result)]
            places = [Value(e, v.place, "ptr", 0) for v in spilled]
            with e.loop(0, lanes) as i:
                value = slow(*(e.load(e.address(place, i, kind), kind) for place in places[:-1]))
                e.store(value, e.address(places[-1], i, kind))
            final.set(e.select(wrong, spilled[-1].get(), result))
    return final.get()


def power_of_two(e: Emitter, n: Value) -> Value:
    """``2**n`` of whole numbers (of the format's integer kind) that keep it normal."""
    kind = "f32" if n.kind == "i32" else "f64"
    form = FORMATS[kind]
    return e.bitcast((n + form.bias) << form.mantissa, kind)


def whole(e: Emitter, t: Value) -> Value:
    """The whole number in the lowest bits of a sum with the magic number."""
    form = FORMATS[t.kind]
    return e.bitcast(t, form.bits) - form.magic_bits


def scale(e: Emitter, x: Value, n: Value) -> Value:
    """``x * 2**n`` for x near 1, where the result may be subnormal, 0 or infinite: rounded once.

    Args:
        e: the function being written.
        x: the number.
        n: the exponent, of the format's integer kind.
    """
    if has("avx512f") and x.lanes * FORMATS[x.kind].size >= 512:
        n = e.convert(n, "i32")
        function = f"@llvm.ldexp.v{x.lanes}{x.kind}.v{x.lanes}i32"
        e.module.declarations[function] = f"declare {x.type} {function}({x.type}, {n.type})"
        return e.instruction(f"call {x.type} {function}({x.type} {x.text}, {n.type} {n.text})", x.kind, x.lanes)
    half = n >> 1
    return x * power_of_two(e, half) * power_of_two(e, n - half)


def reduce_exp(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """Write x as ``n ln 2 + r + low`` with r at most half of ln 2 in size.

    Returns:
        n as a whole number, r, low.
    """
    form = FORMATS[x.kind]
    t = e.fma(x, LOG2E, form.magic)
    n = t - form.magic
    exact = e.fma(n, -form.ln2[0], x)
    r = e.fma(n, -form.ln2[1], exact)
    return whole(e, t), r, e.fma(n, -form.ln2[1], exact - r)


def exp_times(e: Emitter, x: Value, power: int = 0) -> Value:
    """``exp(x) * 2**power`` without overflow in between."""
    low, high = FORMATS[x.kind].exp_range
    return bounded_exp_times(e, minimum(e, maximum(e, x, low), high), power)


def bounded_exp_times(e: Emitter, x: Value, power: int = 0) -> Value:
    """``exp_times`` of numbers that do not exceed exp's range by much."""
    n, r, _ = reduce_exp(e, x)
    return scale(e, horner(e, r, (1.0, 1.0, *EXP[x.kind])), n + power if power else n)


def exp_normal(e: Emitter, x: Value) -> Value:
    """``exp(x)`` where that is far from overflow and underflow."""
    n, r, _ = reduce_exp(e, x)
    return horner(e, r, (1.0, 1.0, *EXP[x.kind])) * power_of_two(e, n)


def split(e: Emitter, x: Value) -> tuple[Value, Value]:
    """Write a positive number as ``2**k * m`` with m between the roots of 1/2 and 2; k is a float."""
    form = FORMATS[x.kind]
    subnormal = x < form.normal
    bits = e.bitcast(e.select(subnormal, x * 2.0 ** (form.mantissa + 1), x), form.bits)
    k = (bits - form.root_half) >> form.mantissa
    m = e.bitcast(bits - (k << form.mantissa), x.kind)
    return e.convert(k, x.kind) - e.select(subnormal, constant(x, form.mantissa + 1), 0.0), m


def log_tail(e: Emitter, f: Value, half_square: Value) -> Value:
    """``log(1+f) - f + f²/2`` for 1+f between the roots of 1/2 and 2, and f²/2 given."""
    if f.kind == "f32":
        return f * f * f * horner(e, f, LOG["f32"])
    s = f / (f + 2.0)
    square = s * s
    return s * e.fma(square, horner(e, square, LOG["f64"]), half_square)


def log_sum(e: Emitter, k: Value, f: Value, low: Value | None = None) -> Value:
    """``k ln 2 + log(1+f)``, and a small addend ``low``."""
    high, rest = FORMATS[f.kind].ln2
    half_square = f * f * 0.5
    tail = e.fma(k, rest, log_tail(e, f, half_square))
    if low is not None:
        tail = tail + low
    return e.fma(k, high, f + (tail - half_square))


def log_ends(e: Emitter, x: Value, y: Value) -> Value:
    """Give a logarithm its values where there is none: -inf at 0, NaN below, inf at inf."""
    outside = e.select(x == 0.0, constant(x, -INF), NAN)
    return e.select(x < INF, e.select(x > 0.0, y, outside), x)


def log1p_sum(e: Emitter, x: Value, low: Value | None = None) -> Value:
    """``log(1 + x + low)`` for a small addend that rounding took from x."""
    form = FORMATS[x.kind]
    u = x + 1.0
    k, m = split(e, u)
    # f = x / 2**k + (1 / 2**k - 1), and what its rounding loses; of a big x, 1 is lost altogether
    shrink = e.bitcast(e.bitcast(m, form.bits) - e.bitcast(u, form.bits) + (form.bias << form.mantissa), x.kind)
    offset = shrink - 1.0
    big = x > 2.0 ** (form.mantissa + 3)
    f = e.select(big, m - 1.0, e.fma(x, shrink, offset))
    lost = e.fma(x, shrink, offset - f)
    if low is not None:
        lost = e.fma(low, shrink, lost)
    y = log_sum(e, k, f, e.select(big, 0.0, lost - lost * f))
    y = log_ends(e, u, y)
    return e.select(e.fabs(x) < 2.0 ** -(form.mantissa + 2), x, y)
