"""More operations in simpler ones: what rearranges, norms, sums that skip NaN, places of extrema."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.expand_einsum import EINSUM
from undertow.compile.expand_places import take_constant
from undertow.compile.expand_windows import WINDOWS
from undertow.compile.rewriting import as_float, cast, filled
from undertow.primitives.record import reduced_shape

FEW = 4  # factors whose products are written out, which a running product of each row takes ten times as long for


def _part(x: Any, axis: int, start: int, stop: int) -> Any:
    return x[(*[slice(None)] * axis, slice(start, stop))]


def _roll(x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    for by, along in zip(shift, axis, strict=True):
        n = x.shape[along]
        if n and by % n:
            x = np.concatenate([_part(x, along, n - by % n, n), _part(x, along, 0, n - by % n)], axis=along)
    return x


def _tile(x: Any, reps: tuple[int, ...]) -> Any:
    ndim = max(x.ndim, len(reps))
    shape = (1,) * (ndim - x.ndim) + x.shape
    reps = (1,) * (ndim - len(reps)) + tuple(reps)
    x = P.reshape(x, shape=tuple(n for size in shape for n in (1, size)))
    x = P.broadcast_to(x, shape=tuple(n for pair in zip(reps, shape, strict=True) for n in pair))
    return P.reshape(x, shape=tuple(a * b for a, b in zip(reps, shape, strict=True)))


def _repeat(x: Any, repeats: Any, axis: int) -> Any:
    if not isinstance(repeats, int):
        return take_constant(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)
    shape = x.shape
    x = P.expand_dims(x, axis=(axis + 1,))
    x = P.broadcast_to(x, shape=(*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return P.reshape(x, shape=(*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


def _rot90(x: Any, k: int, axes: tuple[int, int]) -> Any:
    a, b = axes
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    turned = {
        0: lambda: x,
        2: lambda: np.flip(np.flip(x, a), b),
        1: lambda: P.transpose(np.flip(x, b), axes=tuple(order)),
    }
    return turned.get(k % 4, lambda: np.flip(P.transpose(x, axes=tuple(order)), b))()


def _trace(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    x = P.diagonal(x, offset=offset, axis1=axis1, axis2=axis2)
    return P.sum_(x, axis=(x.ndim - 1,), keepdims=False)


def _diff(x: Any, n: int, axis: int) -> Any:
    for _ in range(n):
        size = x.shape[axis]
        high, low = _part(x, axis, 1, size), _part(x, axis, 0, max(size - 1, 0))
        x = high != low if x.dtype.kind == "b" else high - low
    return x


def _delete(x: Any, at: tuple[int, ...], axis: int) -> Any:
    n = x.shape[axis]
    gone = sorted({i % n for i in at})
    edges = [-1, *gone, n]
    parts = [_part(x, axis, a + 1, b) for a, b in pairwise(edges) if b > a + 1]
    return np.concatenate(parts, axis=axis) if parts else _part(x, axis, 0, 0)


def _count_nonzero(x: Any, axis: Any, keepdims: bool) -> Any:
    return P.sum_(P.astype(x != 0, dtype=np.dtype(np.int64)), axis=axis, keepdims=keepdims)


def _norm(x: Any, order: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """(Σ |x|^p)^(1/p) over all elements along the axes."""
    if not isinstance(order, int | float):
        return None
    x = as_float(x)
    if order in (math.inf, -math.inf):
        return (P.max_ if order > 0 else P.min_)(np.abs(x), axis=axis, keepdims=keepdims)
    if order == 2:
        return np.sqrt(P.sum_(x * x, axis=axis, keepdims=keepdims))
    if order == 0:
        return P.sum_(P.astype(x != 0, dtype=x.dtype), axis=axis, keepdims=keepdims)
    powers = np.abs(x) if order == 1 else np.abs(x) ** order
    total = P.sum_(powers, axis=axis, keepdims=keepdims)
    return total if order == 1 else total ** (1 / order)


def _skipping(plain: Any, neutral: float, join: Any) -> Callable[..., Any]:
    """A reduction that leaves NaN out; None where nothing might be left, which NumPy makes NaN."""

    def apply(x: Any, *extras: Any, axis: Any, keepdims: Any = False, options: Any = ()) -> Any:
        given = dict(zip(options, extras, strict=True))
        if plain in (P.max_, P.min_) and "initial" in given and any(x.shape[i] == 0 for i in axis):
            return filled(x, cast(given["initial"], x.dtype), reduced_shape(x.shape, axis, keepdims))
        if x.dtype.kind != "f":  # there is no NaN
            if "where" in given and plain in (P.max_, P.min_):
                return None
            kept = np.where(given["where"], x, np.array(neutral, x.dtype)) if "where" in given else x
            result = plain(kept, axis=axis, keepdims=keepdims)
            return join(result, given["initial"]) if "initial" in given else result
        gone = np.isnan(x)
        if "where" in given:
            gone = np.logical_or(gone, np.logical_not(given["where"]))
        result = plain(np.where(gone, neutral, x), axis=axis, keepdims=keepdims)
        if "initial" in given:
            return join(result, given["initial"])
        if plain in (P.max_, P.min_):
            result = np.where(np.all(gone, axis=axis, keepdims=keepdims), math.nan, result)
        return result

    return apply


def _nanmean(x: Any, *extras: Any, axis: Any, keepdims: bool = False, options: Any = ()) -> Any:
    x = as_float(x)
    kept = np.logical_not(np.isnan(x))
    for extra in extras:
        kept = np.logical_and(kept, extra)
    count = P.sum_(P.astype(kept, dtype=x.dtype), axis=axis, keepdims=keepdims)
    return P.sum_(np.where(kept, x, 0), axis=axis, keepdims=keepdims) / count


def _sinc(x: Any) -> Any:
    x = as_float(x)
    y = np.pi * np.where(x == 0, float(np.finfo(x.dtype).eps), x)
    return np.sin(y) / y


def _kron(a: Any, b: Any) -> Any:
    ndim = max(a.ndim, b.ndim)
    a, b = (P.reshape(x, shape=(1,) * (ndim - x.ndim) + x.shape) for x in (a, b))
    shape = tuple(m * n for m, n in zip(a.shape, b.shape, strict=True))
    left = P.reshape(a, shape=tuple(n for size in a.shape for n in (size, 1)))
    right = P.reshape(b, shape=tuple(n for size in b.shape for n in (1, size)))
    return P.reshape(left * right, shape=shape)


def _cross(a: Any, b: Any) -> Any:
    if a.shape[-1:] != (3,) or b.shape[-1:] != (3,):
        return None
    (a0, a1, a2), (b0, b1, b2) = ([x[..., i : i + 1] for i in range(3)] for x in (a, b))
    return np.concatenate([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)


def _position(extremum: P.Primitive) -> Callable[..., Any]:
    """The first place of the extremum along an axis; a NaN is one."""

    def apply(x: Any, axis: int | None, keepdims: bool = False) -> Any:
        if axis is None:
            found = apply(P.reshape(x, shape=(x.size,)), 0)
            return P.reshape(found, shape=(1,) * x.ndim) if keepdims and found is not None else found
        axis, n = axis % x.ndim, x.shape[axis]
        if n == 0:
            return None
        x = P.astype(x, dtype=np.dtype(np.int64)) if x.dtype.kind == "b" else x
        found = x == extremum(x, axis=(axis,), keepdims=True)
        if x.dtype.kind == "f":
            found = np.logical_or(found, np.isnan(x))
        places = np.arange(n).reshape(n, *[1] * (x.ndim - axis - 1))
        return P.min_(np.where(found, places, n), axis=(axis,), keepdims=keepdims)

    return apply


def _matmul(a: Any, b: Any) -> Any:
    """Products of whole numbers, added up one by one; of truth values, whether any is true."""
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.kind == "f":
        return None
    a, b = (x if x.dtype == dtype else P.astype(x, dtype=dtype) for x in (a, b))
    if b.ndim > 1:
        b = P.transpose(b, axes=(*range(b.ndim - 2), b.ndim - 1, b.ndim - 2))
        if a.ndim > 1:
            a, b = P.expand_dims(a, axis=(a.ndim - 1,)), P.expand_dims(b, axis=(b.ndim - 2,))
    product = a * b
    return np.any(product, axis=-1) if dtype.kind == "b" else P.sum_(product, axis=(product.ndim - 1,), keepdims=False)


def _position_without_nan(extremum: P.Primitive) -> Callable[..., Any]:
    """The place of the extremum, every NaN taken for the opposite one."""
    worst = -math.inf if extremum is P.max_ else math.inf

    def apply(x: Any, axis: int | None, keepdims: bool = False) -> Any:
        x = np.where(np.isnan(x), worst, x) if x.dtype.kind == "f" else x
        return _position(extremum)(x, axis, keepdims)

    return apply


def _prod_others(x: Any, axis: tuple[int, ...]) -> Any:
    """All factors before each one times all those after it."""
    if x.dtype.kind != "f":
        return None
    if 0 in x.shape:
        return np.ones_like(x)
    order = (*(i for i in range(x.ndim) if i not in axis), *axis)
    moved = P.transpose(x, axes=order)
    count = math.prod(x.shape[i] for i in axis)
    flat = P.reshape(moved, shape=(*moved.shape[: x.ndim - len(axis)], count))
    last = flat.ndim - 1

    def before(factors: Any) -> Any:
        first, others = _part(factors, last, 0, 1), _part(factors, last, 0, count - 1)
        return np.cumprod(np.concatenate([np.ones_like(first), others], axis=last), axis=last)

    if count <= FEW:
        product = _products_of_others([_part(flat, last, i, i + 1) for i in range(count)], last)
    else:
        product = before(flat) * np.flip(before(np.flip(flat, last)), last)
    return P.transpose(P.reshape(product, shape=moved.shape), axes=tuple(int(i) for i in np.argsort(order)))


def _products_of_others(factors: list[Any], axis: int) -> Any:
    """The product of all factors but one, for each; of a few, written out."""
    before, after = [np.ones_like(factors[0])], [np.ones_like(factors[0])]
    for x, y in zip(factors[:-1], factors[:0:-1], strict=True):
        before.append(before[-1] * x)
        after.append(after[-1] * y)
    return np.concatenate([x * y for x, y in zip(before, reversed(after), strict=True)], axis=axis)


MORE: dict[str, Callable[..., Any]] = {
    "roll": _roll,
    "tile": _tile,
    "repeat": _repeat,
    "rot90": _rot90,
    "trace": _trace,
    "diff": _diff,
    "delete": _delete,
    "count_nonzero": _count_nonzero,
    "norm": _norm,
    "nansum": _skipping(P.sum_, 0, np.add),
    "nanprod": _skipping(P.prod, 1, np.multiply),
    "nanmax": _skipping(P.max_, -math.inf, np.fmax),
    "nanmin": _skipping(P.min_, math.inf, np.fmin),
    "nanmean": _nanmean,
    "prod_others": _prod_others,
    "nancumsum": lambda x, axis: np.cumsum(np.where(np.isnan(x), 0, x), axis=axis),
    "nancumprod": lambda x, axis: np.cumprod(np.where(np.isnan(x), 1, x), axis=axis),
    "sinc": _sinc,
    "kron": _kron,
    "matmul": _matmul,
    "cross": _cross,
    "argmax": _position(P.max_),
    "argmin": _position(P.min_),
    "nanargmax": _position_without_nan(P.max_),
    "nanargmin": _position_without_nan(P.min_),
    **EINSUM,
    **WINDOWS,
}
