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
    "f32": (-0.16666655, 0.008332169, -0.00019515997),
    "f64": (
        -0.16666666666666632, 0.008333333333322203, -0.00019841269829631728, 2.7557313628497208e-06,
        -2.5050747841897488e-08, 1.5896181408868706e-10,
    ),
}  # fmt: skip
COS = {
    "f32": (0.041666646, -0.0013887355, 2.4436975e-05),
    "f64": (
        0.041666666666666595, -0.0013888888888873834, 2.4801587289293987e-05, -2.7557314295862587e-07,
        2.0875715327780894e-09, -1.1359223209941781e-11,
    ),
}  # fmt: skip
# (arctan(t) / t - 1) / t² in t², t < 0.4142
ARCTAN = (
    -0.333333333333332, 0.19999999999953982, -0.14285714280238385, 0.11111110785629338, -0.09090897821714808,
    0.07692061372660275, -0.0666311734902916, 0.05847986619078938, -0.050397440728008745, 0.03807571921662914,
    -0.01791940364142637,
)  # fmt: skip
# (arcsin(s) / s - 1) / s² in s², s < 0.5
ARCSIN = (
    0.16666666666666763, 0.07499999999970267, 0.0446428571751144, 0.030381942683997427, 0.022372215648233773,
    0.017351600325059047, 0.01398095852171979, 0.011397800699063506, 0.01078638779392815, 0.0036835822124835567,
    0.021762174976454027, -0.02107541107806347, 0.03267571177653171,
)  # fmt: skip
# (sinh(a) / a - 1) / a² in a², a < 1
SINH = (
    0.16666666666666669, 0.008333333333333139, 0.00019841269841437722, 2.7557319155326062e-06, 2.5052123400053166e-08,
    1.6057240237262762e-10, 7.75931506229573e-13,
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
    a = e.fabs(x)
    n, r, low, _ = turn(e, a)
    n = n + quarter if quarter else n
    curve, drop = sin_cos(e, r, low)
    y = e.select((n & 1) == 0, r + curve, drop + 1.0)
    y = e.bitcast(e.bitcast(y, form.bits) ^ ((n & 2) << (form.size - 2)), x.kind)
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
