"""Functions of elements in simpler ones: tests of closeness, series, choices; numbers at even steps; numeric slopes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.rewriting import as_float, filled
from undertow.graph import CONSTANT
from undertow.primitives.record import float_like

_LOG2E = 1 / math.log(2)


def _isclose(x: Any, y: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    """NumPy's formula."""
    if y.dtype.kind != "f":
        y = P.astype(y, dtype=np.dtype(np.float64))
    near = np.logical_and(np.abs(x - y) <= atol + rtol * np.abs(y), np.isfinite(y))
    near = np.logical_or(near, x == y)
    return np.logical_or(near, np.logical_and(np.isnan(x), np.isnan(y))) if equal_nan else near


def _logaddexp2(x: Any, y: Any) -> Any:
    """NumPy's formula: the larger one, and the logarithm of what the other adds to 1."""
    dtype = float_like(np.result_type(x.dtype, y.dtype))
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        x, y = (v if v.dtype == dtype else P.astype(v, dtype=dtype) for v in (x, y))
    apart = x - y
    found = np.maximum(x, y) + _LOG2E * np.log1p(np.exp2(-np.abs(apart)))
    return np.where(x == y, x + 1, np.where(np.isnan(apart), apart, found))


def _i0_slope(x: Any, order: int) -> Any:
    """A derivative of I₀ of any order: the mean of cosⁿθ exp(x cosθ) over the circle (DLMF 10.32.1), as the record."""
    cosines = np.cos((np.arange(64) + 0.5) * np.pi / 128)
    x = P.expand_dims(x if x.dtype == np.float64 else P.astype(x, dtype=np.dtype(np.float64)), axis=(x.ndim,))
    term = (np.cosh, np.sinh)[order % 2](x * cosines) * cosines**order
    return P.sum_(term, axis=(x.ndim - 1,), keepdims=False) / 64


def _sinc_slope(x: Any, order: int) -> Any:
    """A derivative of sinc of any order: a series around 0, a recurrence away from it, as the record."""
    u = np.pi * as_float(x)
    near = np.abs(u) <= order + 1
    small, large = np.where(near, u, 0), np.where(near, order + 2, u)
    square, series = small * small, u * 0
    for k in range(10 + 2 * order, (order - 1) // 2, -1):
        series = series * square + (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - order))
    series = series * small if order % 2 else series
    sine, cosine = np.sin(large), np.cos(large)
    value = sine / large
    for n in range(1, order + 1):
        value = ((cosine if n % 2 else sine) * (-1) ** (n // 2) - n * value) / large
    return np.pi**order * np.where(near, series, value)


def _choose(a: Any, *choices: Any) -> Any:
    dtype = np.result_type(*[c.dtype for c in choices])
    cast = [c if c.dtype == dtype else P.astype(c, dtype=dtype) for c in choices]
    shape = np.broadcast_shapes(a.shape, *[c.shape for c in choices])
    found = cast[-1]
    for i, choice in reversed(list(enumerate(cast[:-1]))):
        found = np.where(a == i, choice, found)
    return found if found.shape == shape else P.broadcast_to(found, shape=shape)


def _fraction(x: Any) -> Any:
    """NumPy's modf: nothing is left of an infinity, and the sign stays."""
    x = as_float(x)
    return np.copysign(np.where(np.isinf(x), 0, x - np.trunc(x)), x)


def _linspace(start: Any, stop: Any, num: int, endpoint: bool, axis: int) -> Any:
    """NumPy's formula; the last number is the end itself."""
    dtype = float_like(np.result_type(*[0.0 if x.node.spec.weak else x.dtype for x in (start, stop)]))
    shape = np.broadcast_shapes(start.shape, stop.shape)
    start, stop = (P.broadcast_to(x if x.dtype == dtype else P.astype(x, dtype=dtype), shape=shape)
                   for x in (start, stop))  # fmt: skip
    start, stop = (P.expand_dims(x, axis=(axis,)) for x in (start, stop))
    number = np.arange(num, dtype=dtype).reshape(num, *[1] * (len(shape) - axis))
    parts, width = num - 1 if endpoint else num, stop - start
    if parts > 0:
        step = width / parts
        number = np.where(step == 0, number / parts * width, number * step) + start
    else:
        number = number * width + start
    if endpoint and num > 1:
        last = np.arange(num).reshape(num, *[1] * (len(shape) - axis)) == num - 1
        number = np.where(last, stop, number)
    return number


def _slope(f: Any, axis: int, edge_order: int) -> Any:
    """NumPy's formulas for points at a distance of 1."""
    f, n = as_float(f), f.shape[axis]

    def part(start: int, stop: int) -> Any:
        return f[(*[slice(None)] * axis, slice(start, stop))]

    first = [part(i, i + 1) for i in range(edge_order + 1)]
    last = [part(n - 1 - i, n - i) for i in range(edge_order + 1)]
    if edge_order == 1:
        ends = first[1] - first[0], last[0] - last[1]
    else:
        ends = (
            first[0] * -1.5 + first[1] * 2.0 + first[2] * -0.5,
            last[2] * 0.5 + last[1] * -2.0 + last[0] * 1.5,
        )
    inner = [(part(2, n) - part(0, n - 2)) / 2] if n > 2 else []
    return np.concatenate([ends[0], *inner, ends[1]], axis=axis)


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    """A comparison with a Python number that the dtype of the other side cannot hold: all its numbers are alike."""

    def apply(x: Any, y: Any) -> Any:
        for given, other, swap in ((x, y, False), (y, x, True)):
            if given.dtype.kind not in "iu" or not other.node.spec.weak or other.dtype.kind != "i":
                continue
            number, ends = other.node.value, np.iinfo(given.dtype)
            if other.node.op is CONSTANT and not ends.min <= number <= ends.max:
                truth = compare(number, 0) if swap else compare(0, number)
                return filled(given, np.bool_(truth), given.shape)
        return None

    return apply


POINTS: dict[str, Callable[..., Any]] = {
    "isclose": _isclose,
    "logaddexp2": _logaddexp2,
    "i0": lambda x: np.where(np.isinf(x), math.nan, _i0_slope(x, 0)),  # as NumPy's ∞ / ∞
    "i0_slope": _i0_slope,
    "sinc_slope": _sinc_slope,
    "choose": _choose,
    "fraction": _fraction,
    "linspace": _linspace,
    "slope": _slope,
    **{
        name: _comparison(getattr(operator, short))
        for name, short in (("greater", "gt"), ("greater_equal", "ge"), ("less", "lt"), ("less_equal", "le"),
                            ("equal", "eq"), ("not_equal", "ne"))
    },
    "signbit": lambda x: x != x if x.dtype.kind == "b" else None,
}  # fmt: skip
