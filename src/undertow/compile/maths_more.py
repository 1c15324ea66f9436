"""Error functions, powers and remainders of compiled kernels. ``maths`` lists them all."""

from __future__ import annotations

from undertow.compile.ir import Emitter, Value
from undertow.compile.maths_core import (
    EXP,
    FORMATS,
    INF,
    NAN,
    constant,
    exp_normal,
    horner,
    log_ends,
    log_sum,
    log_tail,
    maximum,
    minimum,
    power_of_two,
    reduce_exp,
    rescue,
    scale,
    split,
    whole,
    widened,
)

# erf(x) / x - 1 in x², x < 0.9277
ERF = {
    "f32": (0.12837917, -0.37612635, 0.112836964, -0.026859393, 0.005200938, -0.0008140887, 8.3598e-05),
    "f64": (
        0.1283791670955126, -0.3761263890318371, 0.11283791670952782, -0.026866170644620265, 0.005223977619681646,
        -0.0008548326639946891, 0.00012055316772933886, -1.4925198326795842e-05, 1.6453671691120125e-06,
        -1.626095603885988e-07, 1.3968995506529995e-08, -8.305693493531032e-10,
    ),
}  # fmt: skip
# log(erfc(t)) / t + 1, t from 0.927 to where erf is 1, which comes first
LOG_ERFC = {
    "f32": (4.0, (
        -0.12850861, -0.6357381, -0.10523538, 0.022872748, -0.0032095155, 0.00021331734,
    )),
    "f64": (6.0, (
        -0.12837915057024024, -0.6366198844589643, -0.10277241127240586, 0.019129163937041813, 0.0002043568437755961,
        -0.001682326838971646, 0.0005642266793518383, 9.168673249820903e-06, -0.0001005297671391355,
        5.8484639448926384e-05, -2.1286282800133994e-05, 5.665215757514056e-06, -1.143013564382545e-06,
        1.744176322031017e-07, -1.959472886967814e-08, 1.532135070981749e-09, -7.452419562135864e-11,
        1.6978548126537373e-12,
    )),
}  # fmt: skip
# (1 + 2a) exp(a²) erfc(a) in (a - c) / (a + c), a from 0.7 to where erfc is 0; c and that bound come first
ERFCX = {
    "f32": (1.5, 10.6, (
        1.2863417, -0.03396251, -0.23773761, 0.11410545, 0.02101978, -0.018022962, -0.007401887, 0.001781744,
        0.0024933177, 0.0005796464, -0.00082162936,
    )),
    "f64": (3.0, 28.0, (
        1.2530080582697296, -0.1356211061245812, -0.04756229435345129, 0.12964515870276586, -0.1192736634152662,
        0.06830802734375613, -0.0237705149198762, 0.002529391820692395, 0.0018886903761764105, -0.000779832328249948,
        -0.00010515992492469003, 0.00012509978038958188, 4.949981998195329e-06, -2.0102673024656163e-05,
        -7.32356590761039e-07, 3.479053053797635e-06, 3.5590776673306806e-07, -6.295121930486753e-07,
        -1.3452928249109032e-07, 1.1552856696284722e-07, 2.9245955168864414e-08, -1.877956372916379e-08,
    )),
}  # fmt: skip
# (artanh(s) / s - 1 - s²/3) / s⁴ in s², s² < 0.02945
ARTANH = (
    0.2, 0.14285714285714188, 0.11111111111145412, 0.09090909084607526, 0.0769230837829707, 0.06666620127206566,
    0.058843397867470094, 0.05211401789113896, 0.055070240965661606,
)  # fmt: skip
# log2((1+s) / (1-s)) / s in s², s² < 0.02945, and (2**g - 1) / g, |g| < 1/2: for powers of f32
SHORT_LOG2 = (
    2.8853900817774214, 0.9617966944044375, 0.577077886981215, 0.4122135536157187, 0.31975954478507573,
    0.28470608411677767,
)  # fmt: skip
SHORT_EXP2 = (
    0.693147180541699, 0.24022651076000365, 0.05550410962328746, 0.009618036893827675, 0.0013333431018042045,
    0.00015467114919476873, 1.5314889184121725e-05,
)  # fmt: skip
THIRD = (0.3333333333333333, 1.850371707708594e-17)
# Conversions between logarithms, each the sum of two floats: of base e to 2, e to 10, 2 to 10
LOG2E = {"f32": (1.4426950216293335, 1.925963033500011e-08), "f64": (1.4426950408889634, 2.0355273740931033e-17)}
LOG10E = {"f32": (0.4342944920063019, -1.0103049952192578e-08), "f64": (0.4342944819032518, 1.098319650216765e-17)}
LOG10_2 = {"f32": (0.3010300099849701, -1.432098883924482e-08), "f64": (0.3010299956639812, -2.8037281277851704e-18)}


def product(e: Emitter, x: Value, low: Value, factor: tuple[float, float]) -> tuple[Value, Value]:
    """Multiply the sum of two floats by another such sum, into a third."""
    high = x * factor[0]
    return high, e.fma(x, factor[0], -high) + e.fma(x, factor[1], low * factor[0])


# ---- error functions --------------------------------------------------------------------------


def erfc_far(e: Emitter, a: Value) -> Value:
    """``erfc(a)`` for a above 0.7: ``exp(-a²)`` times a smooth function, both with what their rounding loses."""
    centre, bound, coefficients = ERFCX[a.kind]
    a = minimum(e, a, bound)
    inverse = 1.0 / (a + centre)
    q = (a - centre) * inverse
    q = e.fma(inverse, e.fma(-q, a, e.fma(q + 1.0, -centre, a)), q)
    slope = horner(e, q, coefficients[1:])
    smooth = e.fma(q, slope, coefficients[0])
    smooth_low = e.fma(q, slope, coefficients[0] - smooth)
    inverse = 1.0 / (a + a + 1.0)
    factor = smooth * inverse
    rest = ((e.fma(factor, a * -2.0, smooth) - factor) + smooth_low) * inverse
    square = a * a
    n, r, low = reduce_exp(e, -square)
    low = low - e.fma(a, a, -square)
    curve = r * r * horner(e, r, EXP[a.kind])
    curve = curve + e.fma(low, r + curve, low)
    growth = r + curve
    rest = e.fma(factor, (r - growth) + curve, rest)
    return scale(e, factor + e.fma(factor, growth, rest), n)


def erf(e: Emitter, x: Value) -> Value:
    """The error function."""
    a = e.fabs(x)
    bound, coefficients = LOG_ERFC[x.kind]
    t = minimum(e, a, bound)
    far = exp_normal(e, e.fma(horner(e, t, coefficients), t, -t))
    near = e.fma(a, horner(e, a * a, ERF[x.kind]), a)
    return e.copysign(e.select(a < 0.9277, near, 1.0 - far), x)


def erfc(e: Emitter, x: Value) -> Value:
    """One minus the error function, accurate where that is near 1."""
    a = e.fabs(x)
    far = erfc_far(e, a)
    near = e.fma(-x, horner(e, x * x, ERF[x.kind]), 1.0 - x)
    return e.select(a < 0.75, near, e.select(x < 0.0, 2.0 - far, far))


# ---- powers and their logarithms --------------------------------------------------------------


def log_parts(e: Emitter, f: Value) -> tuple[Value, Value]:
    """``log(1+f)`` as the sum of two floats, a few bits more than one holds."""
    half_square = f * f * 0.5
    high = f - half_square
    return high, (f - high) - half_square + log_tail(e, f, half_square)


def log_to_base(
    e: Emitter, x: Value, natural: dict[str, tuple[float, float]], binary: dict[str, tuple[float, float]] | None
) -> Value:
    """A logarithm, from those of base e and 2 and the factors that convert them."""
    k, m = split(e, x)
    high, low = product(e, *log_parts(e, m - 1.0), natural[x.kind])
    rest = low
    if binary is not None:
        exact = k
        k = exact * binary[x.kind][0]
        rest = rest + e.fma(exact, binary[x.kind][1], e.fma(exact, binary[x.kind][0], -k))
    total = k + high
    return log_ends(e, x, total + (((k - total) + high) + rest))


def log2(e: Emitter, x: Value) -> Value:
    """The logarithm of base 2, exact for its powers."""
    return log_to_base(e, x, LOG2E, None)


def log10(e: Emitter, x: Value) -> Value:
    """The logarithm of base 10."""
    return log_to_base(e, x, LOG10E, LOG10_2)


def exp2_sum(e: Emitter, x: Value, low: Value | None = None) -> Value:
    """``2**(x + low)`` for a small addend ``low``."""
    form = FORMATS[x.kind]
    bound = float(2 * form.bias)
    x = minimum(e, maximum(e, x, -bound), bound)
    t = x + form.magic
    g = x - (t - form.magic)
    if low is not None:
        g = g + low
    r = g * form.ln2[0]
    rest = e.fma(g, form.ln2[1], e.fma(g, form.ln2[0], -r))
    return scale(e, 1.0 + (r + e.fma(r * r, horner(e, r, EXP[x.kind]), rest)), whole(e, t))


def exp2(e: Emitter, x: Value) -> Value:
    """2 to the power of x, exact for whole numbers."""
    return exp2_sum(e, x)


def log2_parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """The logarithm of base 2 as the sum of two f64 that holds about 70 bits, which a power of 1e300 needs."""
    k, m = split(e, x)
    f, d = m - 1.0, m + 1.0
    inverse = 1.0 / d
    s = f * inverse
    s_low = (e.fma(-s, d, f) - s * (m - (d - 1.0))) * inverse
    square = s * s
    square_low = e.fma(s, s, -square) + s * s_low * 2.0
    series = square * horner(e, square, ARTANH)
    p = series + THIRD[0]
    p_low = (THIRD[0] - p) + series + THIRD[1]
    q = square * p
    q_low = e.fma(square, p, -q) + e.fma(square, p_low, square_low * p)
    cubic = s * q
    cubic_low = e.fma(s, q, -cubic) + e.fma(s, q_low, s_low * q)
    total = s + cubic
    low = (s - total) + cubic + (s_low + cubic_low)
    high, low = product(e, total, low, (2.0 * LOG2E["f64"][0], 2.0 * LOG2E["f64"][1]))
    total = k + high
    return total, (k - total) + high + low


def log_bounds(e: Emitter, x: Value, log_x: Value) -> Value:
    """Give a logarithm of a number from 0 to inf its values at both ends."""
    return e.select(x == 0.0, -INF, e.select(x == INF, INF, log_x))


def positive_power(e: Emitter, x: Value, y: Value) -> Value:
    """``x**y`` for x from 0 to inf and y of size below 2**66."""
    log_x, log_low = log2_parts(e, x)
    log_x = log_bounds(e, x, log_x)
    high = y * log_x
    low = e.fma(y, log_x, -high) + y * log_low
    return exp2_sum(e, high, e.select(e.fabs(high) < 1100.0, low, 0.0))


def short_power(e: Emitter, x: Value, y: Value) -> Value:
    """``x**y`` as ``positive_power``, of f32 computed in f64."""
    form = FORMATS["f64"]
    a, y = e.convert(x, "f64"), e.convert(y, "f64")
    bits = e.bitcast(a, "i64")  # normal, as f64
    k = (bits - form.root_half) >> form.mantissa
    m = e.bitcast(bits - (k << form.mantissa), "f64")
    s = (m - 1.0) / (m + 1.0)
    exponent = y * log_bounds(e, a, e.fma(s, horner(e, s * s, SHORT_LOG2), e.convert(k, "f64")))
    exponent = minimum(e, maximum(e, exponent, -300.0), 300.0)
    t = exponent + form.magic
    g = exponent - (t - form.magic)
    return e.convert(e.fma(g, horner(e, g, SHORT_EXP2), 1.0) * power_of_two(e, whole(e, t)), "f32")


def power(e: Emitter, x: Value, y: Value) -> Value:
    """``x**y``, with all of NumPy's special cases."""
    bounded = minimum(e, maximum(e, y, -(2.0**65)), 2.0**65)  # more is no different, and could overflow on the way
    result = (short_power if x.kind == "f32" else positive_power)(e, e.fabs(x), bounded)
    half = y * 0.5
    is_whole = e.trunc(y) == y
    is_odd = is_whole & (e.trunc(half) != half)
    negative = e.bitcast(x, FORMATS[x.kind].bits) < 0
    result = e.select(negative & is_odd, -result, result)
    undefined = ((x < 0.0) & (x != -INF) & ~is_whole & (e.fabs(y) != INF)) | e.is_nan(x)
    result = e.select(undefined, NAN, result)
    return e.select((y == 0.0) | (x == 1.0), 1.0, result)


def small_power(e: Emitter, x: Value, n: int) -> Value:
    """``x**n`` for n from 2 by products, each with what its rounding lost: within one unit in the last place."""

    def times(a: tuple[Value, Value | None], b: tuple[Value, Value | None]) -> tuple[Value, Value]:
        (high, low), (other, more) = a, b
        product = high * other
        lost = e.fma(high, other, -product)
        for factor, rest in ((other, low), (high, more)):
            lost = e.fma(factor, rest, lost) if rest is not None else lost
        return product, lost

    result: tuple[Value, Value | None] | None = None
    factor: tuple[Value, Value | None] = (x, None)
    while n:
        if n & 1:
            result = factor if result is None else times(result, factor)
        n >>= 1
        factor = times(factor, factor) if n else factor
    assert result is not None and result[1] is not None
    # What an infinite product lost is no number; and 0 added to −0 would be 0.
    near = (e.fabs(result[0]) < INF) & (result[0] != 0.0)
    return e.select(near, result[0] + result[1], result[0])


@widened
def cbrt(e: Emitter, x: Value) -> Value:
    """The cube root: through logarithms, then a step of Newton's method with an exact cube."""
    form = FORMATS[x.kind]
    a = e.fabs(x)
    k, m = split(e, a)
    t = e.fma(k, 1.0 / 3.0, form.magic)
    rest = k - (t - form.magic) * 3.0
    value = m * e.select(rest > 0.0, constant(x, 2.0), e.select(rest < 0.0, constant(x, 0.5), 1.0))
    root = exp_normal(e, log_sum(e, rest, m - 1.0) * (1.0 / 3.0))
    square = root * root
    excess = e.fma(square, root, -value) + e.fma(root, root, -square) * root
    root = (root - excess / (square * 3.0)) * power_of_two(e, whole(e, t))
    return e.select((a > 0.0) & (a < INF), e.copysign(root, x), x)


def hypot(e: Emitter, x: Value, y: Value) -> Value:
    """The length of the vector (x, y)."""
    a, b = e.fabs(x), e.fabs(y)
    largest = e.select(a > b, a, b)
    edge, down, up = (2.0**60, 2.0**-70, 2.0**100) if x.kind == "f32" else (2.0**500, 2.0**-600, 2.0**700)
    shrink, grow = largest > edge, largest < 1.0 / edge
    factor = e.select(shrink, constant(x, down), e.select(grow, constant(x, up), 1.0))
    back = e.select(shrink, constant(x, 1.0 / down), e.select(grow, constant(x, 1.0 / up), 1.0))
    a, b = a * factor, b * factor
    length = e.sqrt(e.fma(a, a, b * b)) * back
    return e.select((a == INF) | (b == INF), INF, length)


# ---- remainders -------------------------------------------------------------------------------


def fmod(e: Emitter, x: Value, y: Value) -> Value:
    """What is left of x when y is taken away as often as it fits; x gives the sign."""
    a, b = e.fabs(x), e.fabs(y)
    ratio = a / b
    rest = e.fma(-e.trunc(ratio), b, a)  # exact; below 0 where the ratio was rounded up to a whole number
    rest = e.select(rest < 0.0, rest + b, rest)
    rest = e.select((b == INF) & (a < INF), a, rest)
    far = ratio > 2.0 ** (FORMATS[x.kind].mantissa - 1)
    rest = rescue(e, rest, far, lambda a, b: e.instruction(f"frem {a.type} {a.text}, {b.text}", a.kind, 0), a, b)
    return e.copysign(rest, x)


def remainder(e: Emitter, x: Value, y: Value) -> Value:
    """What is left of x when a whole number of y is taken away; y gives the sign."""
    rest = fmod(e, x, y)
    other = (y < 0.0) ^ (rest < 0.0)
    zero = e.copysign(constant(y, 0.0), y)
    return e.select(rest != 0.0, e.select(other, rest + y, rest), zero)


def floor_divide(e: Emitter, x: Value, y: Value) -> Value:
    """``floor(x / y)`` of the exact quotient."""
    ratio = x / y
    rest = fmod(e, x, y)
    other = (rest != 0.0) & ((y < 0.0) ^ (rest < 0.0))
    quotient = (x - rest) / y
    quotient = e.select(other, quotient - 1.0, quotient)
    below = e.floor(quotient)
    below = e.select(quotient - below > 0.5, below + 1.0, below)
    zero = e.copysign(constant(y, 0.0), ratio)
    return e.select(y == 0.0, ratio, e.select(quotient != 0.0, below, zero))
