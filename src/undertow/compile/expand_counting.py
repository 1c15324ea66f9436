"""Where values fall among sorted ones, what is added up there, and what follows from extrema so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.rewriting import cast, filled
from undertow.primitives.counting import search
from undertow.primitives.index import Pick
from undertow.primitives.order import sort
from undertow.primitives.ufunc_methods import maximum_so_far, minimum_so_far

FEW = 16  # values that are compared with one by one
_WHOLE, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def _take(x: Any, places: Any) -> Any:
    return P.getitem(x, places, index=(Pick(0),))


def _search(a: Any, v: Any, *sorter: Any, side: str) -> Any:
    """Bring both to one dtype, and the values in order if need be."""
    if sorter:
        a = _take(a, cast(sorter[0], _WHOLE))
    elif a.dtype == v.dtype:
        return None
    dtype = np.result_type(a.dtype, v.dtype)
    return search(cast(a, dtype), cast(v, dtype), side=side)


def _digitize(x: Any, bins: Any, right: bool) -> Any:
    """Search among the bins; among those that fall, from the other end."""
    n = bins.shape[0]
    if not n:
        return filled(x, np.int64(0), x.shape)
    falls = bins[n - 1] < bins[0]
    place = search(np.where(falls, np.flip(bins, 0), bins), x, side="left" if right else "right")
    return np.where(falls, n - place, place)


def _isin(x: Any, values: Any, invert: bool) -> Any:
    """Compare with each of a few values; search among many."""
    dtype, n = np.result_type(x.dtype, values.dtype), values.size
    if not n:
        return filled(x, np.bool_(invert), x.shape)
    x, values = cast(x, dtype), P.reshape(cast(values, dtype), shape=(n,))
    if n <= FEW:
        found = np.any(P.expand_dims(x, axis=(x.ndim,)) == values, axis=-1)
    else:
        line = sort(values, axis=0)
        found = _take(line, np.minimum(search(line, x, side="left"), n - 1)) == x
    return np.logical_not(found) if invert else found


def _bincount(weights: Any, x: Any, length: int) -> Any:
    """Add up; what is below 0 is beyond the end, which is an error."""
    if not x.shape[0]:
        return filled(weights, np.int64(0), (length,))
    place = cast(x, _WHOLE)
    place = np.where(place < 0, length, place)
    return P.index_add(cast(weights, _FLOAT), place, index=(Pick(0),), shape=(length,))


def _histogram(a: Any, edges: Any, *weights: Any) -> Any:
    """Add up in the bins, and what is outside of all in one more."""
    count = edges.shape[0] - 1
    a = cast(P.reshape(a, shape=(a.size,)), _FLOAT if a.dtype.kind == "b" else a.dtype)
    inside = np.logical_and(a >= edges[0], a <= edges[count])
    place = np.where(inside, np.minimum(search(edges, a, side="right") - 1, count - 1), count)
    given = P.reshape(weights[0], shape=a.shape) if weights else filled(a, np.int64(1), a.shape)
    return P.index_add(given, place, index=(Pick(0),), shape=(count + 1,))[:count]


def _interp(x: Any, xp: Any, fp: Any, left: float | None, right: float | None) -> Any:
    """NumPy's formula: from the point to the left, from the one to the right where that is no number."""
    plain = x.dtype == xp.dtype and x.dtype.kind == "f"  # then one search serves the gradient, too
    place = search(*((xp, x) if plain else (cast(xp, _FLOAT), cast(x, _FLOAT))), side="right") - 1
    x, xp, fp = (cast(v, _FLOAT) for v in (x, xp, fp))
    last = xp.shape[0] - 1
    ends = (fp[0] if left is None else left), (fp[last] if right is None else right)
    place = np.maximum(place, 0)
    low = np.minimum(place, max(last - 1, 0))
    high = np.minimum(low + 1, last)
    x0, x1, y0, y1 = _take(xp, low), _take(xp, high), _take(fp, low), _take(fp, high)
    slope = (y1 - y0) / (x1 - x0)
    found = slope * (x - x0) + y0
    other = np.where(np.logical_and(np.isnan(slope * (x - x1) + y1), y0 == y1), y0, slope * (x - x1) + y1)
    found = np.where(np.isnan(found), other, found)
    found = np.where(x == x0, y0, np.where(place == last, fp[last], found))
    found = np.where(x < xp[0], ends[0], np.where(x > xp[last], ends[1], found))
    return np.where(np.isnan(x), x, found) if last else found  # one point, and NumPy does not ask


def _record_holders(x: Any, axis: int, largest: bool) -> Any:
    """The place of the last element that was new when it came."""
    n, axis = x.shape[axis], axis % x.ndim
    if 0 in x.shape:
        return filled(x, np.int64(0), x.shape)
    before: tuple[Any, ...] = (slice(None),) * axis
    extremum = (maximum_so_far if largest else minimum_so_far)(x, axis=axis, largest=largest)
    old, new = extremum[(*before, slice(0, n - 1))], extremum[(*before, slice(1, n))]
    comes = new != old
    if x.dtype.kind == "f":
        comes = np.logical_and(comes, np.logical_not(np.isnan(old)))
    places = np.arange(1, n).reshape(n - 1, *[1] * (x.ndim - axis - 1))
    first = filled(x, np.int64(0), (*x.shape[:axis], 1, *x.shape[axis + 1 :]))
    places = np.concatenate([first, np.where(comes, places, 0)], axis=axis)
    return maximum_so_far(places, axis=axis, largest=True)


def _unwrap(p: Any, discont: float | None, axis: int, period: float) -> Any:
    """NumPy's formula: the turns that bring each step within half a period, added up."""
    axis, n = axis % p.ndim, p.shape[axis]
    if p.dtype.kind == "b":
        return None
    dtype = np.result_type(p.dtype, period)
    made = cast(p, dtype)
    if n < 2:
        return made
    before: tuple[Any, ...] = (slice(None),) * axis
    step = cast(p[(*before, slice(1, n))] - p[(*before, slice(0, n - 1))], dtype)
    half = period / 2 if dtype.kind == "f" else period // 2
    within = np.remainder(step + half, period) - half
    if 2 * half == period:
        within = np.where(np.logical_and(within == -half, step > 0), half, within)
    turn = np.where(np.abs(step) < (period / 2 if discont is None else discont), 0, within - step)
    moved = cast(made[(*before, slice(1, n))] + np.cumsum(turn, axis=axis), dtype)
    return np.concatenate([made[(*before, slice(0, 1))], moved], axis=axis)


COUNTING: dict[str, Callable[..., Any]] = {
    "searchsorted": _search,
    "digitize": _digitize,
    "isin": _isin,
    "bincount": _bincount,
    "histogram": _histogram,
    "interp": _interp,
    "record_holders": _record_holders,
    "unwrap": _unwrap,
}
