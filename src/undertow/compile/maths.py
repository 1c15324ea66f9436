"""Mathematical functions of compiled kernels, emitted for any number of lanes.

The results are within two units in the last place of the true ones, zeros, infinities and NaN are NumPy's. The
code is straight, with selections instead of branches; only arguments that need an exact remainder of huge numbers
(``sin`` of 1e12, ``fmod`` of far apart numbers) are computed lane by lane behind a branch.
"""

from __future__ import annotations

from collections.abc import Callable

from undertow.compile.ir import Emitter, Value
from undertow.compile.maths_angles import (
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cos,
    cosh,
    sin,
    sinh,
    tan,
)
from undertow.compile.maths_core import (
    EXP,
    FORMATS,
    LOG2E,
    bounded_exp_times,
    constant,
    exp_times,
    horner,
    log1p_sum,
    log_ends,
    log_sum,
    maximum,
    minimum,
    power_of_two,
    reduce_exp,
    split,
    whole,
)
from undertow.compile.maths_more import cbrt, erf, erfc, exp2, floor_divide, fmod, hypot, log2, log10, power, remainder
from undertow.compile.maths_more import small_power as small_power

# (tanh(a) - a) / a³ in a², a < 0.55
TANH = {
    "f32": (-0.3333332, 0.13332601, -0.053853724, 0.021077188, -0.0062816357),
    "f64": (
        -0.333333333333333, 0.13333333333326808, -0.05396825396386433, 0.021869488388688796, -0.008863232645879696,
        0.003592092461410798, -0.0014555455167519153, 0.0005884550861369942, -0.00023340762850244443,
        8.335260530166113e-05, -1.9516323448422706e-05,
    ),
}  # fmt: skip


def exp(e: Emitter, x: Value) -> Value:
    """e to the power of x."""
    return exp_times(e, x)


def expm1(e: Emitter, x: Value) -> Value:
    """``exp(x) - 1``, accurate near 0."""
    form = FORMATS[x.kind]
    nothing = -20.0 if x.kind == "f32" else -40.0  # exp of it does not change -1
    n, r, low = reduce_exp(e, minimum(e, maximum(e, x, nothing), form.exp_range[1] - 1.0))
    q = r + e.fma(r * r, horner(e, r, EXP[x.kind]), low)
    half = power_of_two(e, n - 1)  # half of 2**n, which itself may overflow where the result does not
    y = e.fma(half, q, half - 0.5) * 2.0
    return e.select(e.fabs(x) < 2.0 ** -(form.mantissa + 2), x, y)


def log(e: Emitter, x: Value) -> Value:
    """The natural logarithm."""
    k, m = split(e, x)
    return log_ends(e, x, log_sum(e, k, m - 1.0))


def log1p(e: Emitter, x: Value) -> Value:
    """``log(1 + x)``, accurate near 0."""
    return log1p_sum(e, x)


def log1p_unit(e: Emitter, z: Value) -> Value:
    """``log(1 + z)`` for z between 0 and 1."""
    upper = z > 0.41421356
    f = e.select(upper, (z - 1.0) * 0.5, z)
    return log_sum(e, e.select(upper, constant(z, 1.0), 0.0), f)


def tanh(e: Emitter, x: Value) -> Value:
    """The hyperbolic tangent."""
    a = e.fabs(x)
    square = a * a
    near = e.fma(square * a, horner(e, square, TANH[x.kind]), a)
    # Of e^2a less is asked than of exp, since its error shrinks on the way: ln 2 as one float is enough.
    form = FORMATS[x.kind]
    doubled = minimum(e, a + a, 20.0 if x.kind == "f32" else 40.0)  # tanh of the half is 1
    t = e.fma(doubled, LOG2E, form.magic)
    r = e.fma(t - form.magic, -form.ln2[0], doubled)
    grown = horner(e, r, (1.0, 1.0, *EXP[x.kind])) * power_of_two(e, whole(e, t))
    far = 1.0 - 2.0 / (grown + 1.0)
    return e.copysign(e.select(a < 0.55, near, far), x)


def exp_below(e: Emitter, x: Value) -> Value:
    """``exp(-|x|)``."""
    return bounded_exp_times(e, maximum(e, -e.fabs(x), FORMATS[x.kind].exp_range[0]))


def sigmoid(e: Emitter, x: Value) -> Value:
    """``1 / (1 + exp(-x))``."""
    z = exp_below(e, x)
    total = z + 1.0
    lost = z - (total - 1.0)
    y = e.select(x < 0.0, z, 1.0) / total
    return e.fma(y * lost, e.fma(z, 0.5, -1.0), y)  # roughly -y * lost / total


def softplus(e: Emitter, x: Value) -> Value:
    """``log(1 + exp(x))``."""
    return maximum(e, x, 0.0) + log1p_unit(e, exp_below(e, x))


def logaddexp(e: Emitter, x: Value, y: Value) -> Value:
    """``log(exp(x) + exp(y))``."""
    difference = x - y
    back = difference - x
    lost = (x - (difference - back)) - (y + back)  # by rounding the difference
    z = exp_below(e, difference)
    z = e.select(z > 0.0, e.fma(z, e.select(difference > 0.0, -lost, lost), z), z)
    total = e.select(x > y, x, y) + log1p_unit(e, z)
    return e.select(x == y, x + FORMATS[x.kind].ln2[0], total)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log,
    "log2": log2,
    "log10": log10,
    "log1p": log1p,
    "power": power,
    "erf": erf,
    "erfc": erfc,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "sinh": sinh,
    "cosh": cosh,
    "arcsin": arcsin,
    "arccos": arccos,
    "arctan": arctan,
    "arctan2": arctan2,
    "arcsinh": arcsinh,
    "arccosh": arccosh,
    "arctanh": arctanh,
    "cbrt": cbrt,
    "hypot": hypot,
    "logaddexp": logaddexp,
    "fmod": fmod,
    "remainder": remainder,
    "floor_divide": floor_divide,
}
