"""What each primitive is in ONNX: one entry an operation, called with the builder, the node and its inputs' names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import UnsupportedError
from undertow.export.onnx_builder import Builder
from undertow.graph import Node, total
from undertow.primitives.record import normalize_axis, promote

Rule = Callable[..., str]

_FLOATING = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "sigmoid": "Sigmoid", "sqrt": "Sqrt",
    "sin": "Sin", "cos": "Cos", "tan": "Tan", "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh",
    "cosh": "Cosh", "arcsinh": "Asinh", "arccosh": "Acosh", "arctanh": "Atanh", "reciprocal": "Reciprocal",
    "floor": "Floor", "ceil": "Ceil", "rint": "Round", "absolute": "Abs", "negative": "Neg", "sign": "Sign",
    "scipy_erf": "Erf",
}  # fmt: skip
_ARITHMETIC = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "maximum": "Max",
               "minimum": "Min"}  # fmt: skip
_OF_TRUTH = {"add": "Or", "multiply": "And", "maximum": "Or", "minimum": "And"}  # the same on booleans
_COMPARISONS = {"equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
                "less_equal": "LessOrEqual"}  # fmt: skip
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}
_BITWISE = {"bitwise_and": ("BitwiseAnd", "And"), "bitwise_or": ("BitwiseOr", "Or"),
            "bitwise_xor": ("BitwiseXor", "Xor"), "invert": ("BitwiseNot", "Not")}  # fmt: skip
_REDUCTIONS = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd"}
_SAME = ("identity", "stop_gradient", "clip_cotangent", "attach")
_ONLY_FLOAT32 = {"Erf", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"}  # in onnxruntime


def _make_unary(kind: str) -> Rule:
    def rule(b: Builder, node: Node, x: str) -> str:
        dtype = node.spec.dtype
        if kind in _ONLY_FLOAT32 and dtype == np.float64:
            return b.cast(b.add(kind, b.cast(x, np.float32)), dtype)
        return b.add(kind, b.cast(x, dtype))

    return rule


def _make_arithmetic(kind: str, of_truth: str | None) -> Rule:
    def rule(b: Builder, node: Node, x: str, y: str) -> str:
        dtype = node.spec.dtype
        if dtype.kind == "b":
            if of_truth is None:
                raise UnsupportedError(f"{kind} of booleans has no operator in ONNX")
            return b.add(of_truth, b.cast(x, bool), b.cast(y, bool))
        return b.add(kind, b.cast(x, dtype), b.cast(y, dtype))

    return rule


def _make_comparison(kind: str) -> Rule:
    def rule(b: Builder, node: Node, x: str, y: str) -> str:
        dtype = promote(np.add, [i.spec for i in node.inputs])[0]
        dtype = np.dtype(np.int32) if dtype.kind == "b" else dtype
        return b.add(kind, b.cast(x, dtype), b.cast(y, dtype), dtype=bool)

    return rule


def _make_bitwise(kind: str, of_truth: str) -> Rule:
    def rule(b: Builder, node: Node, *xs: str) -> str:
        dtype = node.spec.dtype
        return b.add(of_truth if dtype.kind == "b" else kind, *[b.cast(x, dtype) for x in xs])

    return rule


def _fmod(b: Builder, node: Node, x: str, y: str) -> str:
    return b.add("Mod", b.cast(x, node.spec.dtype), b.cast(y, node.spec.dtype), fmod=1)


def _isinf(b: Builder, node: Node, x: str) -> str:
    floats = x if node.inputs[0].spec.dtype.kind == "f" else b.cast(x, np.float32)
    return b.add("IsInf", floats, dtype=bool)


def _make_logic(kind: str) -> Rule:
    return lambda b, node, x, y: b.add(kind, b.cast(x, bool), b.cast(y, bool))


def _make_reduction(kind: str) -> Rule:
    def rule(b: Builder, node: Node, x: str, axis: tuple[int, ...], keepdims: bool = False) -> str:
        dtype = node.spec.dtype
        if dtype.kind == "b":
            return b.cast(_reduce(b, kind, b.cast(x, np.int32), axis, keepdims), bool)
        return _reduce(b, kind, b.cast(x, dtype), axis, keepdims)

    return rule


def _reduce(b: Builder, kind: str, x: str, axis: tuple[int, ...], keepdims: bool) -> str:
    if not axis:
        return x
    return b.add(kind, x, b.axes(axis), keepdims=int(keepdims))


def _any(b: Builder, node: Node, x: str, axis: Any, keepdims: bool = False, options: Any = ()) -> str:
    axes = normalize_axis(axis, node.inputs[0].spec.ndim)
    return b.cast(_reduce(b, "ReduceSum", b.cast(b.cast(x, bool), np.int64), axes, keepdims), bool)


def _all(b: Builder, node: Node, x: str, **params: Any) -> str:
    return b.add("Not", _any(b, node, b.add("Not", b.cast(x, bool)), **params))


def _not_equal(b: Builder, node: Node, x: str, y: str) -> str:
    return b.add("Not", _make_comparison("Equal")(b, node, x, y))


def _where(b: Builder, node: Node, condition: str, x: str, y: str) -> str:
    dtype = node.spec.dtype
    return b.add("Where", b.cast(condition, bool), b.cast(x, dtype), b.cast(y, dtype), dtype=dtype)


def _clip(b: Builder, node: Node, x: str, low: str, high: str) -> str:
    dtype = node.spec.dtype
    return b.add("Min", b.add("Max", b.cast(x, dtype), b.cast(low, dtype)), b.cast(high, dtype))


def _expm1(b: Builder, node: Node, x: str) -> str:
    """e^x − 1 = tanh(x/2) (e^x + 1), which loses no digits near 0."""
    x = b.cast(x, node.spec.dtype)
    half, one = b.constant(0.5, node.spec.dtype), b.constant(1, node.spec.dtype)
    return b.add("Mul", b.add("Tanh", b.add("Mul", x, half)), b.add("Add", b.add("Exp", x), one))


def _log1p(b: Builder, node: Node, x: str) -> str:
    """log(1 + x), and near 0 its series up to x⁵."""
    dtype = node.spec.dtype
    x, one = b.cast(x, dtype), b.constant(1, dtype)
    series = b.constant(1 / 5, dtype)
    for k in (4, 3, 2, 1):
        series = b.add("Sub", b.constant(1 / k, dtype), b.add("Mul", x, series))
    near = b.add("Less", b.add("Abs", x), b.constant(0.01, dtype), dtype=bool)
    return b.add("Where", near, b.add("Mul", x, series), b.add("Log", b.add("Add", x, one)), dtype=dtype)


def _softplus(b: Builder, node: Node, x: str) -> str:
    return _add_exponentials(b, b.cast(x, node.spec.dtype), b.constant(0, node.spec.dtype))


def _logaddexp(b: Builder, node: Node, x: str, y: str) -> str:
    return _add_exponentials(b, b.cast(x, node.spec.dtype), b.cast(y, node.spec.dtype))


def _add_exponentials(b: Builder, x: str, y: str) -> str:
    """log(e^x + e^y) = max(x, y) + log(1 + e^−|x − y|); ONNX's Softplus has no float64 in onnxruntime."""
    apart = b.add("Exp", b.add("Neg", b.add("Abs", b.add("Sub", x, y))))
    return b.add("Add", b.add("Max", x, y), b.add("Log", b.add("Add", apart, b.constant(1, b.dtypes[apart]))))


def _make_log(base: float) -> Rule:
    def rule(b: Builder, node: Node, x: str) -> str:
        dtype = node.spec.dtype
        return b.add("Div", b.add("Log", b.cast(x, dtype)), b.constant(np.log(base), dtype))

    return rule


def _exp2(b: Builder, node: Node, x: str) -> str:
    return b.add("Pow", b.constant(2, node.spec.dtype), b.cast(x, node.spec.dtype))


def _square(b: Builder, node: Node, x: str) -> str:
    x = b.cast(x, node.spec.dtype)
    return b.add("Mul", x, x)


def _cbrt(b: Builder, node: Node, x: str) -> str:
    x = b.cast(x, node.spec.dtype)
    root = b.add("Pow", b.add("Abs", x), b.constant(1 / 3, node.spec.dtype))
    return b.add("Mul", b.add("Sign", x), root)


def _hypot(b: Builder, node: Node, x: str, y: str) -> str:
    """‖(x, y)‖, of the parts divided by the larger."""
    dtype = node.spec.dtype
    x, y = (b.add("Abs", b.cast(z, dtype)) for z in (x, y))
    large, small = b.add("Max", x, y), b.add("Min", x, y)
    none = b.add("Equal", large, b.constant(0, dtype), dtype=bool)
    share = b.add("Div", small, b.add("Where", none, b.constant(1, dtype), large, dtype=dtype))
    root = b.add("Sqrt", b.add("Add", b.add("Mul", share, share), b.constant(1, dtype)))
    return b.add("Mul", large, root)


def _floor_divide(b: Builder, node: Node, x: str, y: str) -> str:
    dtype = node.spec.dtype
    if dtype.kind != "f":
        raise UnsupportedError("// of integers rounds otherwise in ONNX")
    return b.add("Floor", b.add("Div", b.cast(x, dtype), b.cast(y, dtype)))


def _isnan(b: Builder, node: Node, x: str) -> str:
    floats = x if node.inputs[0].spec.dtype.kind == "f" else b.cast(x, np.float32)
    return b.add("IsNaN", floats, dtype=bool)


def _isfinite(b: Builder, node: Node, x: str) -> str:
    """Whether x − x is 0, which it is not for NaN and infinities."""
    floats = x if node.inputs[0].spec.dtype.kind == "f" else b.cast(x, np.float32)
    return b.add("Equal", b.add("Sub", floats, floats), b.constant(0, b.dtypes[floats]), dtype=bool)


def _erfc(b: Builder, node: Node, x: str) -> str:
    return b.add("Sub", b.constant(1, node.spec.dtype), _make_unary("Erf")(b, node, x))


def _ndtr(b: Builder, node: Node, x: str) -> str:
    """The normal distribution, ½ + ½ erf(x / √2)."""
    half = b.constant(0.5, node.spec.dtype)
    scaled = b.add("Mul", b.cast(x, node.spec.dtype), b.constant(np.sqrt(0.5), node.spec.dtype))
    return b.add("Add", half, b.add("Mul", half, _make_unary("Erf")(b, node, scaled)))


def _trunc(b: Builder, node: Node, x: str) -> str:
    x = b.cast(x, node.spec.dtype)
    return b.add("Mul", b.add("Sign", x), b.add("Floor", b.add("Abs", x)))


def _remainder(b: Builder, node: Node, x: str, y: str) -> str:
    """X − ⌊x/y⌋ y, which has the sign of y."""
    dtype = node.spec.dtype
    x, y = b.cast(x, dtype), b.cast(y, dtype)
    if dtype.kind != "f":
        return b.add("Mod", x, y)
    return b.add("Sub", x, b.add("Mul", b.add("Floor", b.add("Div", x, y)), y))


def _make_softmax(kind: str) -> Rule:
    def rule(b: Builder, node: Node, x: str, axis: int) -> str:
        return b.add(kind, b.cast(x, node.spec.dtype), axis=axis)

    return rule


def _logsumexp(b: Builder, node: Node, x: str, axis: tuple[int, ...], keepdims: bool = False) -> str:
    x = b.cast(x, node.spec.dtype)
    largest = _reduce(b, "ReduceMax", x, axis, True)
    total_ = _reduce(b, "ReduceSum", b.add("Exp", b.add("Sub", x, largest)), axis, True)
    result = b.add("Add", b.add("Log", total_), largest)
    return result if keepdims or not axis else b.add("Squeeze", result, b.axes(axis))


def _var(b: Builder, node: Node, x: str, axis: Any, keepdims: bool, ddof: float = 0, options: Any = ()) -> str:
    """The mean of (x − mean)², times n / (n − ddof)."""
    shape, dtype = node.inputs[0].spec.shape, node.spec.dtype
    axes = normalize_axis(axis, len(shape))
    x = b.cast(x, dtype)
    apart = b.add("Sub", x, _reduce(b, "ReduceMean", x, axes, True))
    result = _reduce(b, "ReduceMean", b.add("Mul", apart, apart), axes, keepdims)
    if not ddof:
        return result
    n = b.cast(b.size(total(tuple(shape[i] for i in axes))), dtype)
    return b.add("Mul", result, b.add("Div", n, b.add("Sub", n, b.constant(ddof, dtype))))


def _std(b: Builder, node: Node, x: str, **params: Any) -> str:
    return b.add("Sqrt", _var(b, node, x, **params))


def _make_position(kind: str) -> Rule:
    def rule(b: Builder, node: Node, x: str, axis: int | None, keepdims: bool = False) -> str:
        if axis is None and node.inputs[0].spec.ndim != 1:
            raise UnsupportedError(f"{node.op.name} over several axes has no operator in ONNX; give it one axis")
        if node.inputs[0].spec.dtype.kind == "b":
            x = b.cast(x, np.int32)
        return b.add(kind, x, dtype=np.int64, axis=axis or 0, keepdims=int(keepdims))

    return rule


def _size(b: Builder, node: Node, dim: Any) -> str:
    return b.size(dim)


def _positions(b: Builder, node: Node, dim: Any, dtype: Any) -> str:
    zero, one = b.constant(0, np.int64), b.constant(1, np.int64)
    return b.cast(b.add("Range", zero, b.size(dim), one), dtype)


def _astype(b: Builder, node: Node, x: str, dtype: Any) -> str:
    return b.cast(x, dtype)


OPERATIONS: dict[str, Rule] = {
    **{name: _make_unary(kind) for name, kind in _FLOATING.items()},
    **{name: _make_arithmetic(kind, _OF_TRUTH.get(name)) for name, kind in _ARITHMETIC.items()},
    **{name: _make_comparison(kind) for name, kind in _COMPARISONS.items()},
    **{name: _make_logic(kind) for name, kind in _LOGIC.items()},
    **{name: _make_bitwise(*kinds) for name, kinds in _BITWISE.items()},
    **{name: _make_reduction(kind) for name, kind in _REDUCTIONS.items()},
    **{name: (lambda b, node, x, *_, **__: x) for name in _SAME},
    "any": _any, "all": _all, "not_equal": _not_equal,
    "logical_not": lambda b, node, x: b.add("Not", b.cast(x, bool)), "where": _where, "clip": _clip,
    "expm1": _expm1, "log1p": _log1p, "logaddexp": _logaddexp, "softplus": _softplus, "exp2": _exp2,
    "log2": _make_log(2.0),
    "log10": _make_log(10.0), "square": _square, "cbrt": _cbrt, "hypot": _hypot, "floor_divide": _floor_divide,
    "isnan": _isnan, "isinf": _isinf, "fmod": _fmod,
    "isfinite": _isfinite, "scipy_erfc": _erfc, "scipy_ndtr": _ndtr, "normal_cdf": _ndtr,
    "trunc": _trunc,
    "remainder": _remainder, "softmax": _make_softmax("Softmax"),
    "log_softmax": _make_softmax("LogSoftmax"), "logsumexp": _logsumexp, "var": _var, "std": _std,
    "argmax": _make_position("ArgMax"), "argmin": _make_position("ArgMin"), "size": _size, "positions": _positions,
    "astype": _astype,
}  # fmt: skip
