"""What one element of a result is, in LLVM's language, for every element-wise primitive that compiles.

Each entry takes the emitter and the operands, converted to the dtypes that NumPy's own loop would use, and returns
the result. The tests run every sample of every record through both this and the record's NumPy forward.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from undertow.compile.ir import BITS, FLOATS, Emitter, Value
from undertow.compile.kinds import UNSIGNED
from undertow.compile.loops import PREFIX, find_loop
from undertow.compile.maths import FUNCTIONS, small_power
from undertow.compile.maths_bits import PARTS
from undertow.compile.maths_core import FORMATS
from undertow.compile.processor import has_float16
from undertow.compile.whole_numbers import WHOLE
from undertow.graph import CONSTANT, Node
from undertow.primitives import random
from undertow.primitives.record import float_like

KINDS: dict[np.dtype[Any], str] = {
    np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(bool): "i1", np.dtype(np.int8): "i8",
    np.dtype(np.int16): "i16", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64",
    **{np.dtype(f"u{BITS[kind] // 8}"): kind for kind in UNSIGNED},
}  # fmt: skip
if has_float16():
    KINDS[np.dtype(np.float16)] = "f16"

Scalar = Callable[..., Value]


def kind_of(dtype: np.dtype[Any]) -> str | None:
    """Return LLVM's kind for a dtype; None for one that is not compiled."""
    return KINDS.get(dtype)


def _math(name: str) -> Scalar:
    function, whole = FUNCTIONS[name], WHOLE.get(name)
    if whole is None:
        return lambda e, *xs: function(e, *xs)
    return lambda e, *xs: (function if xs[0].kind in FLOATS else whole)(e, *xs)


def _maximum(e: Emitter, x: Value, y: Value) -> Value:
    """NumPy's maximum: NaN if either is."""
    if x.kind not in FLOATS:
        return e.select(x > y, x, y)
    return e.select((x >= y) | e.is_nan(x), x, y)


def _minimum(e: Emitter, x: Value, y: Value) -> Value:
    if x.kind not in FLOATS:
        return e.select(x < y, x, y)
    return e.select((x <= y) | e.is_nan(x), x, y)


def _fmax(e: Emitter, x: Value, y: Value) -> Value:
    if x.kind not in FLOATS:
        return _maximum(e, x, y)
    return e.select((x >= y) | e.is_nan(y), x, y)


def _fmin(e: Emitter, x: Value, y: Value) -> Value:
    if x.kind not in FLOATS:
        return _minimum(e, x, y)
    return e.select((x <= y) | e.is_nan(y), x, y)


def _absolute(e: Emitter, x: Value) -> Value:
    return e.fabs(x) if x.kind in FLOATS else x if x.kind == "i1" else e.select(x < 0, -x, x)


def _sign(e: Emitter, x: Value) -> Value:
    one, zero = e.const(1, x.kind, x.lanes), e.const(0, x.kind, x.lanes)
    if x.kind not in FLOATS:
        return e.select(x > 0, one, e.select(x < 0, -one, zero))
    return e.select(x > 0, one, e.select(x < 0, -one, e.select(e.is_nan(x), x, zero)))


def _multiply(e: Emitter, x: Value, y: Value) -> Value:
    return x & y if x.kind == "i1" else x * y


def _add(e: Emitter, x: Value, y: Value) -> Value:
    return x | y if x.kind == "i1" else x + y


def _round(e: Emitter, x: Value, decimals: int = 0) -> Value:
    if decimals == 0:
        return e.rint(x)
    scale = 10.0 ** abs(decimals)
    return e.rint(x * scale) / scale if decimals > 0 else e.rint(x / scale) * scale


def _to_whole(name: str) -> Scalar:
    """A function that whole numbers are left alone by."""
    return lambda e, x: e.intrinsic(name, x) if x.kind in FLOATS else x


def _heaviside(e: Emitter, x: Value, at_zero: Value) -> Value:
    one, zero = e.const(1, x.kind, x.lanes), e.const(0, x.kind, x.lanes)
    return e.select(e.is_nan(x), x, e.select(x < 0, zero, e.select(x > 0, one, at_zero)))


def _nan_to_num(e: Emitter, x: Value, **options: Any) -> Value:
    if x.kind not in FLOATS:
        return x
    info: Any = np.finfo(f"f{BITS[x.kind] // 8}")
    nan, posinf, neginf = (options.get(name) for name in ("nan", "posinf", "neginf"))
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf
    x = e.select(e.is_nan(x), 0.0 if nan is None else nan, x)
    return e.select(x == math.inf, high, e.select(x == -math.inf, low, x))


def _clip(e: Emitter, x: Value, low: Value, high: Value) -> Value:
    return _minimum(e, _maximum(e, x, low), high)


def _share(e: Emitter, x: Value, y: Value) -> Value:
    same = (x == y) & (e.fabs(x) == math.inf)
    part = FUNCTIONS["sigmoid"](e, e.select(same, 0.0, x - y))
    return e.select(same & (x < 0), 0.0, part)


def _truth(op: str) -> Scalar:
    """A function of truth values."""

    def apply(e: Emitter, x: Value, y: Value) -> Value:
        x, y = e.convert(x, "i1"), e.convert(y, "i1")
        return x & y if op == "and" else x | y if op == "or" else x ^ y

    return apply


def _comparison(compare: Scalar) -> Scalar:
    """A comparison; of 64 bits with a sign and without one, as NumPy has it, by what the numbers are."""

    def apply(e: Emitter, x: Value, y: Value) -> Value:
        if x.kind == y.kind:
            return compare(x, y)
        if x.kind in UNSIGNED:
            return e.select(y < 0, compare(0, -1), compare(x, e.reads_as(y, x.kind)))
        return e.select(x < 0, compare(-1, 0), compare(e.reads_as(x, y.kind), y))

    return apply


def _isinf(e: Emitter, x: Value) -> Value:
    return e.fabs(x) == math.inf if x.kind in FLOATS else x != x


def _isfinite(e: Emitter, x: Value) -> Value:
    return e.fabs(x) < math.inf if x.kind in FLOATS else x == x


def _isnan(e: Emitter, x: Value) -> Value:
    return e.is_nan(x) if x.kind in FLOATS else x != x


def _signbit(e: Emitter, x: Value) -> Value:
    if x.kind not in FLOATS:
        return x < 0
    return e.bitcast(x, FORMATS[x.kind].bits) < 0


def _power(e: Emitter, x: Value, y: Value) -> Value:
    """Small whole exponents are products, halves are roots: two units in the last place at most; others go far."""
    if x.kind not in FLOATS:
        return WHOLE["power"](e, x, y)
    exponent = y.number
    if exponent == 2:
        return x * x
    if exponent == 1:
        return x
    if exponent == 3:
        return x * x * x
    if exponent == 4:
        square = x * x
        return square * square
    if exponent == -1:
        return 1.0 / x
    if exponent == -2:
        one = 1.0 / x  # its square is rounded once where x is small or large, x's would be 0 or infinite
        return one * one
    if exponent in (5, 6, 7, 8):
        return small_power(e, x, int(exponent))
    if exponent == 0.5:
        return e.sqrt(x)
    if exponent in (-0.5, 1.5):
        root = e.sqrt(x + 0.0)  # that of −0.0 is 0.0
        found, of_least = (1.0 / root, 0.0) if exponent == -0.5 else (e.fabs(x) * root, math.inf)
        return e.select(x == -math.inf, of_least, found)
    return FUNCTIONS["power"](e, x, y)


def _same(e: Emitter, x: Value, **_: Any) -> Value:
    return x


def _xlogy(e: Emitter, x: Value, y: Value) -> Value:
    return e.select((x == 0) & ~e.is_nan(y), 0.0, x * FUNCTIONS["log"](e, y))


def _xlog1py(e: Emitter, x: Value, y: Value) -> Value:
    return e.select((x == 0) & ~e.is_nan(y), 0.0, x * FUNCTIONS["log1p"](e, y))


def _entr(e: Emitter, x: Value) -> Value:
    return e.select(x > 0, -(x * FUNCTIONS["log"](e, x)), e.select(x == 0, 0.0, e.select(e.is_nan(x), x, -math.inf)))


def _ndtr(e: Emitter, x: Value) -> Value:
    return FUNCTIONS["erfc"](e, x * -math.sqrt(0.5)) * 0.5


def _uniform_at(e: Emitter, key: Value, counter: Value, bits: int) -> Value:
    z = key + counter * signed(random.GAMMA)
    for shift, factor in zip(random.SHIFTS, (random.FIRST, random.SECOND), strict=False):
        z = (z ^ e.shift_right(z, shift)) * signed(factor)
    z = e.shift_right(z ^ e.shift_right(z, random.SHIFTS[2]), 64 - bits)
    # Without AVX-512, processors convert neither 64 bits with a sign to floats, nor any to float32, but one by one.
    whole = e.convert(e.convert(z, "i32"), "f32") if bits == 24 else e.unsigned_to_float(z, "f64")
    return whole * 2.0**-bits


def signed(number: int) -> int:
    """Return 64 bits as the signed number that they are in two's complement."""
    return number - 2**64 if number >= 2**63 else number


_DEGREE = math.pi / 180

_MATHS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid", "softplus", "sin", "cos", "tan",
    "sinh", "cosh", "arcsin", "arccos", "arctan", "arctan2", "arcsinh", "arccosh", "arctanh", "cbrt", "hypot",
    "logaddexp", "fmod", "remainder", "floor_divide",
)  # fmt: skip

SCALARS: dict[str, Scalar] = {
    "add": _add,
    "subtract": lambda e, x, y: x - y,
    "multiply": _multiply,
    "divide": lambda e, x, y: x / y,
    "negative": lambda e, x: -x,
    "absolute": _absolute,
    "square": lambda e, x: x * x,
    "reciprocal": lambda e, x: 1 / x,
    "sqrt": lambda e, x: e.sqrt(x),
    "power": _power,
    "sign": _sign,
    **{name: _to_whole(name) for name in ("floor", "ceil", "trunc")},
    "rint": lambda e, x: e.rint(x),
    "copysign": lambda e, x, y: e.copysign(x, y),
    "heaviside": _heaviside,
    "maximum": _maximum,
    "minimum": _minimum,
    "fmax": _fmax,
    "fmin": _fmin,
    "clip": _clip,
    "degrees": lambda e, x: x * (180 / math.pi),
    "radians": lambda e, x: x * _DEGREE,
    **{
        name: _comparison(compare)
        for name, compare in (
            ("greater", operator.gt), ("greater_equal", operator.ge), ("less", operator.lt),
            ("less_equal", operator.le), ("equal", operator.eq), ("not_equal", operator.ne),
        )
    },
    "logical_and": _truth("and"),
    "logical_or": _truth("or"),
    "logical_xor": _truth("xor"),
    "logical_not": lambda e, x: ~e.convert(x, "i1"),
    "bitwise_and": lambda e, x, y: x & y,
    "bitwise_or": lambda e, x, y: x | y,
    "bitwise_xor": lambda e, x, y: x ^ y,
    "invert": lambda e, x: ~x,
    "isnan": _isnan,
    "isinf": _isinf,
    "isfinite": _isfinite,
    "signbit": _signbit,
    "where": lambda e, c, x, y: e.select(e.convert(c, "i1"), x, y),
    "share": _share,
    "round": _round,
    "nan_to_num": _nan_to_num,
    "identity": _same,
    "stop_gradient": _same,
    "clip_cotangent": _same,
    "astype": _same,
    **{
        name: _math(name)
        for name in _MATHS
    },
    "scipy_erf": _math("erf"),
    "scipy_erfc": _math("erfc"),
    "scipy_ndtr": _ndtr,
    "normal_cdf": _ndtr,
    "scipy_xlogy": _xlogy,
    "scipy_xlog1py": _xlog1py,
    "scipy_entr": _entr,
    "uniform_at": _uniform_at,
    **PARTS,
}  # fmt: skip

# Those written for floats: NumPy's loops over integers are another matter.
FLOATS_ONLY = frozenset(_MATHS) - WHOLE.keys() | {
    "reciprocal", "scipy_erf", "scipy_erfc", "scipy_ndtr", "scipy_xlogy",
    "scipy_xlog1py", "scipy_entr", "normal_cdf", "round",
}  # fmt: skip

# Those without a ufunc of NumPy's own, whose operands are all brought to the dtype of the result.
LIKE_RESULT = (
    "sigmoid",
    "softplus",
    "share",
    "clip",
    "identity",
    "stop_gradient",
    "clip_cotangent",
    "round",
    "nan_to_num",
)


def operand_kinds(node: Node) -> tuple[str, ...] | None:
    """Return the kinds that the operands are converted to; None where the dtypes are not compiled.

    Args:
        node: an element-wise operation.
    """
    op: Any = node.op
    kinds = _kinds_of(op, node.spec.dtype, tuple([(x.spec.dtype, x.spec.weak) for x in node.inputs]))
    whole = kinds and op.name == "power" and kinds[0] not in (*FLOATS, *UNSIGNED)
    return kinds if not whole or _is_natural(node.inputs[1]) else None


@lru_cache(maxsize=4096)  # a graph has few kinds of operations
def _kinds_of(op: Any, made: np.dtype[Any], specs: tuple[tuple[np.dtype[Any], bool], ...]) -> tuple[str, ...] | None:
    if any(kind_of(dtype) is None for dtype in (made, *[dtype for dtype, _ in specs])):
        return None
    if op.name == "astype":
        dtypes: list[Any] = [specs[0][0]]
    elif op.name == "uniform_at":
        dtypes = [np.dtype(np.int64)] * 2
    elif op.name == "exponent":
        dtypes = [float_like(specs[0][0])]
    elif op.name == "where":
        dtypes = [specs[0][0], made, made]
    elif op.name in LIKE_RESULT or not op.numpy:
        dtypes = [made] * len(specs)
    else:
        dtypes = list(loop_of(op.numpy[0], specs))
    if op.name in FLOATS_ONLY and np.dtype(dtypes[0]).kind != "f":
        return None
    kinds = tuple([str(kind_of(dtype)) for dtype in dtypes])
    if "None" in kinds or (op.name not in SCALARS and find_loop(op.name, kinds, str(kind_of(made))) is None):
        return None
    return kinds


def is_point(node: Node) -> bool:
    """Tell whether a node is computed element by element, by code that exists."""
    op: Any = node.op
    return (op.name in SCALARS or op.name.startswith(PREFIX)) and operand_kinds(node) is not None


def _is_natural(node: Node) -> bool:
    """Whether an exponent is a constant of 0 or more; NumPy refuses others to whole numbers."""
    return node.op is CONSTANT and node.spec.shape == () and bool(node.value >= 0)


@lru_cache(maxsize=4096)
def loop_of(ufunc: np.ufunc, specs: tuple[tuple[np.dtype[Any], bool], ...]) -> tuple[Any, ...]:
    """The dtypes of the loop that NumPy would run."""
    weak: dict[str, Any] = {"b": np.dtype(bool), "i": int, "f": float}
    given: list[Any] = [weak.get(dtype.kind, dtype) if is_weak else dtype for dtype, is_weak in specs]
    if all(isinstance(g, type) for g in given):
        given = [np.dtype(g) for g in given]
    return ufunc.resolve_dtypes((*given, *[None] * ufunc.nout))[: len(specs)]
