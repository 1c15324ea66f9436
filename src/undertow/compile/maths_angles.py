"""Circular and hyperbolic functions of compiled kernels, and what undoes them. ``maths`` lists them all."""

from __future__ import annotations

from collections.abc import Callable

from undertow.compile.ir import Emitter, Value
from undertow.compile.maths_core import (
    FORMATS,
    INF,
    NAN,
    constant,
    exp_times,
    horner,
    log1p_sum,
    rescue,
    whole,
    widened,
)

# (sin(r) - r) / r³ and (cos(r) - 1 + r²/2) / r⁴ in r², r² < 0.6193
SIN = {
    "f32": (-0.16666667, 0.008333332, -0.00019840077, 2.7248711e-06),
    "f64": (
        -0.16666666666666666, 0.008333333333333331, -0.0001984126984126497, 2.7557319219265022e-06,
        -2.505210620674388e-08, 1.605852755293827e-10, -7.586457906967047e-13,
    ),
}  # fmt: skip
COS = {
    "f32": (0.041666664, -0.0013888298, 2.454694e-05),
    "f64": (
        0.041666666666666664, -0.0013888888888887367, 2.4801587298720664e-05, -2.7557317248421786e-07,
        2.0876141420239433e-09, -1.1382283824134643e-11,
    ),
}  # fmt: skip
# (arctan(t) / t - 1) / t² in t², t < 0.4142
ARCTAN = (
    -0.3333333333333333, 0.19999999999999804, -0.14285714285659748, 0.11111111105147764, -0.09090908753118594,
    0.07692296363979952, -0.066664246872465, 0.05878926715756726, -0.052304374642516874, 0.045515165635903104,
    -0.0345685906686069, 0.01628357235648259,
)  # fmt: skip
# (arcsin(s) / s - 1) / s² in s², s < 0.5
ARCSIN = (
    0.16666666666666669, 0.07499999999998433, 0.04464285714635543, 0.030381944138531247, 0.02237217294214989,
    0.017352392720869973, 0.013971212973552933, 0.011479177415184906, 0.01032281435018578, 0.005457506718640358,
    0.01740087944269402, -0.014851887071247204, 0.028757851367421566,
)  # fmt: skip
# (sinh(a) / a - 1) / a² in a², a < 1
SINH = (
    0.16666666666666666, 0.008333333333333299, 0.00019841269841324198, 2.7557319191381816e-06, 2.5052117695907823e-08,
    1.6057679623801638e-10, 7.746178593018827e-13,
)  # fmt: skip
PI = (3.141592653589793, 1.2246467991473532e-16)
# π/2 as the sum of three floats, and up to where a multiple of it is known well enough by them
HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "f64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
TURN_LIMIT = {"f32": 1e5, "f64": 1e12}
BIG = 2.0**60  # 1 does not count beside it


# ---- circular ---------------------------------------------------------------------------------


def turn(e: Emitter, x: Value) -> tuple[Value, Value, Value, Value]:
    """Write x as ``n π/2 + r + low`` with r at most a quarter of π in size. Products with n lose nothing (fma).

    Returns:
        n as a whole number, r, low without what r lost in rounding, and that loss.
    """
    form = FORMATS[x.kind]
    first, second, third = HALF_PI[x.kind]
    t = e.fma(x, 0.6366197723675814, form.magic)
    n = t - form.magic
    exact = e.fma(n, -first, x)
    r = e.fma(n, -second, exact)
    change = exact - r  # exact itself unless big beside r
    loss = e.select(e.fabs(change + change) < e.fabs(r), e.fma(n, -second, change), 0.0)
    return whole(e, t), r, n * -third, loss


def sin_cos(e: Emitter, r: Value, low: Value) -> tuple[Value, Value]:
    """What is to be added to r for the sine of ``r + low``, and to 1 for the cosine."""
    square = r * r
    curve = e.fma(square * r, horner(e, square, SIN[r.kind]), low)
    drop = e.fma(square * square, horner(e, square, COS[r.kind]), square * -0.5)
    return curve, e.fma(-r, low, drop)


def wave(e: Emitter, x: Value, quarter: int, slow: Callable[..., Value]) -> Value:
    """The sine of ``|x|`` plus so many quarters of a turn."""
    form = FORMATS[x.kind]
    size = form.mantissa + (9 if x.kind == "f32" else 12)
    a = e.fabs(x)
    n, r, low, _ = turn(e, a)
    n = n + quarter if quarter else n
    curve, drop = sin_cos(e, r, low)
    y = e.select((n & 1) == 0, r + curve, drop + 1.0)
    y = e.bitcast(e.bitcast(y, form.bits) ^ ((n & 2) << (size - 2)), x.kind)
    return rescue(e, y, a > TURN_LIMIT[x.kind], slow, a)


def sin(e: Emitter, x: Value) -> Value:
    """The sine."""
    form = FORMATS[x.kind]
    y = wave(e, x, 0, lambda a: e.intrinsic("sin", a))
    sign = e.bitcast(x, form.bits) ^ e.bitcast(e.fabs(x), form.bits)
    return e.bitcast(e.bitcast(y, form.bits) ^ sign, x.kind)


def cos(e: Emitter, x: Value) -> Value:
    """The cosine."""
    return wave(e, x, 1, lambda a: e.intrinsic("cos", a))


@widened
def tan(e: Emitter, x: Value) -> Value:
    """The tangent: a quotient of sine and cosine, with the low parts of both."""
    a = e.fabs(x)
    n, r, low, loss = turn(e, a)
    curve, drop = sin_cos(e, r, low + loss)
    even = (n & 1) == 0
    top, top_rest = e.select(even, r, 1.0), e.select(even, curve, drop)
    bottom, bottom_rest = e.select(even, constant(x, 1.0), r), e.select(even, drop, curve)
    above, below = top + top_rest, bottom + bottom_rest
    inverse = 1.0 / below
    y = above * inverse
    error = ((top - above) + top_rest) - y * ((bottom - below) + bottom_rest)
    y = e.fma(inverse, e.fma(-y, below, above) + error, y)
    y = rescue(e, e.select(even, y, -y), a > TURN_LIMIT[x.kind], lambda a: e.intrinsic("tan", a), a)
    y = e.select(x < 0.0, -y, y)
    return e.select(x == 0.0, x, y)


def angle(e: Emitter, y: Value, x: Value, left: Value | None = None) -> Value:
    """The angle of a point with coordinates from 0 up, or of its mirror image in the vertical axis."""
    steep, middle = y > x * 2.414213562373095, y > x * 0.41421356237309503
    top = e.select(steep, -x, e.select(middle, y - x, y))
    bottom = e.select(steep, y, e.select(middle, y + x, x))
    eighths = e.select(steep, constant(x, 2.0), e.select(middle, constant(x, 1.0), 0.0))
    t = top / bottom
    if left is not None:
        t = e.select((top == 0.0) & (bottom == 0.0), 0.0, t)
        t, eighths = e.select(left, -t, t), e.select(left, 4.0 - eighths, eighths)
    square = t * t
    base = eighths * (PI[0] / 4.0)
    low = e.fma(eighths, PI[0] / 4.0, -base) + eighths * (PI[1] / 4.0)
    return base + (t + e.fma(square * t, horner(e, square, ARCTAN), low))


@widened
def arctan(e: Emitter, x: Value) -> Value:
    """The angle whose tangent is x."""
    return e.copysign(angle(e, e.fabs(x), constant(x, 1.0)), x)


@widened
def arctan2(e: Emitter, y: Value, x: Value) -> Value:
    """The angle of the point (x, y)."""
    a, b = e.fabs(y), e.fabs(x)
    endless = (a == INF) & (b == INF)
    shrink = e.select((a > 1e300) | (b > 1e300), constant(x, 0.25), 1.0)
    a, b = (e.select(endless, 1.0, size * shrink) for size in (a, b))
    left = e.bitcast(x, "i64") < 0
    return e.copysign(angle(e, a, b, left), y)


def arcsin_parts(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """The angle whose sine is the size of x, or half of the angle whose cosine it is, as a sum of two.

    Returns:
        whether it is the latter (x above 1/2), the greater part, the smaller part.
    """
    a = e.fabs(x)
    steep = a > 0.5
    square = e.select(steep, (1.0 - a) * 0.5, a * a)
    s = e.select(steep, e.sqrt(square), a)
    return steep, s, square * s * horner(e, square, ARCSIN)


@widened
def arcsin(e: Emitter, x: Value) -> Value:
    """The angle whose sine is x."""
    steep, s, curve = arcsin_parts(e, x)
    twofold = s + s
    head = PI[0] / 2 - twofold
    far = head + (((PI[0] / 2 - head) - twofold) - (curve + curve - PI[1] / 2))
    return e.copysign(e.select(steep, far, s + curve), x)


@widened
def arccos(e: Emitter, x: Value) -> Value:
    """The angle whose cosine is x."""
    steep, s, curve = arcsin_parts(e, x)
    y = s + curve
    far = e.select(x < 0.0, PI[0] - e.fma(y, 2.0, -PI[1]), y + y)
    return e.select(steep, far, PI[0] / 2 - (e.copysign(y, x) - PI[1] / 2))


# ---- hyperbolic -------------------------------------------------------------------------------


@widened
def sinh(e: Emitter, x: Value) -> Value:
    """The hyperbolic sine."""
    a = e.fabs(x)
    square = a * a
    near = e.fma(square * a, horner(e, square, SINH), a)
    half = exp_times(e, a, -1)
    return e.copysign(e.select(a < 1.0, near, half - 0.25 / half), x)


@widened
def cosh(e: Emitter, x: Value) -> Value:
    """The hyperbolic cosine."""
    half = exp_times(e, e.fabs(x), -1)
    return half + 0.25 / half


@widened
def arcsinh(e: Emitter, x: Value) -> Value:
    """What x is the hyperbolic sine of: ``log(a + sqrt(a² + 1))``, the twofold of a where a is big."""
    a = e.fabs(x)
    big = a > BIG
    square = a * a
    more = square / (e.sqrt(square + 1.0) + 1.0)
    total = a + more
    y = log1p_sum(e, e.select(big, a, total), e.select(big, 0.0, (a - total) + more))
    return e.copysign(y + e.select(big, constant(x, FORMATS["f64"].ln2[0]), 0.0), x)


@widened
def arccosh(e: Emitter, x: Value) -> Value:
    """What x is the hyperbolic cosine of: ``log(x + sqrt(x² - 1))``, the twofold of x where x is big."""
    big = x > BIG
    t = x - 1.0
    root = e.sqrt(e.fma(t, t, t + t))
    total = root + t
    y = log1p_sum(e, e.select(big, x, total), e.select(big, 0.0, (root - total) + t))
    y = y + e.select(big, constant(x, FORMATS["f64"].ln2[0]), 0.0)
    return e.select(x < 1.0, NAN, y)


@widened
def arctanh(e: Emitter, x: Value) -> Value:
    """What x is the hyperbolic tangent of: ``log(1 + 2a / (1 - a)) / 2``."""
    a = e.fabs(x)
    twofold, rest = a + a, 1.0 - a
    inverse = 1.0 / rest
    ratio = twofold * inverse
    low = (e.fma(-ratio, rest, twofold) - ratio * ((1.0 - rest) - a)) * inverse
    return e.copysign(log1p_sum(e, ratio, e.select(a < 1.0, low, 0.0)) * 0.5, x)
