"""Sorting and what follows from it: rows along the last axis, for which there are kernels, and order statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.expand_index import transposed
from undertow.compile.rewriting import cast, filled
from undertow.compile.selecting import MOST
from undertow.compile.sorting import SHORT
from undertow.graph import Node
from undertow.primitives.index import Pick
from undertow.primitives.order import argsort, permute, share_ties, sort
from undertow.primitives.quantile import leading_axes, result_dtype
from undertow.primitives.rank import kth, places_of
from undertow.primitives.record import reduced_shape

LONG = 1000  # elements of a row that is sorted by its bytes
_WHOLE = np.dtype(np.int64)


def at_end(x: Any, axis: int) -> Any:
    """Move an axis to the last place."""
    order = (*(i for i in range(x.ndim) if i != axis), axis)
    return x if axis == x.ndim - 1 else P.transpose(x, axes=order)


def from_end(x: Any, axis: int) -> Any:
    """Undo `at_end`."""
    last = x.ndim - 1
    order = (*range(axis), last, *range(axis, last))
    return x if axis == last else P.transpose(x, axes=order)


def _last_axis(primitive: P.Primitive) -> Callable[..., Any]:
    """An operation along one axis by the same one along the last."""

    def apply(*arrays: Any, axis: int, **_: Any) -> Any:
        axis %= arrays[0].ndim
        if axis == arrays[0].ndim - 1:
            return None
        return from_end(primitive(*[at_end(x, axis) for x in arrays], axis=arrays[0].ndim - 1), axis)

    return apply


def _in_rows(order: Any) -> Any:
    """Number the places of rows from the first row's beginning on."""
    n = order.shape[-1]
    order = order if order.dtype == _WHOLE else P.astype(order, dtype=_WHOLE)
    starts = np.arange(math.prod(order.shape[:-1])) * n
    return np.where(order < 0, order + n, order) + starts.reshape(*order.shape[:-1], 1)


def take_along(rows: Any, places: Any) -> Any:
    """Pick elements of each row by their places in it."""
    n, count = rows.shape[-1], rows.shape[:-1]
    starts = (np.arange(math.prod(count)) * n).reshape(*count, 1)
    return P.getitem(P.reshape(rows, shape=(math.prod(rows.shape),)), places + starts, index=(Pick(0),))


def _permute(x: Any, order: Any, axis: int) -> Any:
    axis %= x.ndim
    if 0 in x.shape:
        return x
    flat = P.reshape(at_end(x, axis), shape=(math.prod(x.shape),))
    return from_end(P.getitem(flat, _in_rows(at_end(order, axis)), index=(Pick(0),)), axis)


def _put_back(ct: Any, order: Any, axis: int) -> Any:
    axis %= ct.ndim
    if 0 in ct.shape:
        return ct
    flat = P.reshape(at_end(ct, axis), shape=(math.prod(ct.shape),))
    places = P.reshape(_in_rows(at_end(order, axis)), shape=flat.shape)
    made = P.index_update(flat, flat, places, index=(Pick(0),))
    return from_end(P.reshape(made, shape=at_end(ct, axis).shape), axis)


def sort_by_places(x: Any, axis: int) -> Any:
    """Pick what places that are found anyway say, which a long row is faster read by than sorted."""
    return permute(x, argsort(x, axis=axis), axis=axis)


def _partition(x: Any, kth: tuple[int, ...], axis: int) -> Any:
    return sort(x, axis=axis % x.ndim)


def _argpartition(x: Any, kth: tuple[int, ...], axis: int) -> Any:
    return argsort(x, axis=axis % x.ndim)


def _lexsort(*keys: Any, axis: int) -> Any:
    """Sort by the last key first: an order that keeps ties is then sorted by the one before."""
    order = None
    for key in keys:
        key = at_end(key, axis % key.ndim)
        if 0 in key.shape:
            return None
        found = argsort(key if order is None else take_along(key, order), axis=key.ndim - 1)
        order = found if order is None else take_along(order, found)
    return from_end(order, axis % keys[0].ndim)


def _kth(x: Any, places: tuple[int, ...]) -> Any:
    """Parts of sorted rows, if they are short; for a few places of long ones there is a kernel."""
    if x.shape[0] > max(SHORT.values()) and len(places) <= MOST:
        return None
    rows = sort(at_end(x, 0), axis=x.ndim - 1)
    return from_end(np.stack([rows[..., i] for i in places], axis=-1), 0)


# ---- quantiles -----------------------------------------------------------------------------------

# The methods whose places are whole numbers: there is nothing between them.
_TAKING = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")


def _first(x: Any, axis: tuple[int, ...]) -> Any:
    """Make one axis of those reduced, the first, as gradients do: what both compute is then computed once."""
    x = transposed(x, (*axis, *(i for i in range(x.ndim) if i not in axis)))
    n = len(axis)
    return x if n == 1 else P.reshape(x, shape=(math.prod(x.shape[:n]), *x.shape[n:]))


def _between(at: Callable[[Any], Any], place: Any, last: Any, dtype: np.dtype[Any], method: str) -> Any:
    """Weigh the neighbours of places in rows that are in order, by NumPy's formula, which makes infinities NaN.

    Args:
        at: picks elements by whole places.
        place: floats, (..., k) or (k,).
        last: the place of the last number.
        dtype: of the result, in which NumPy computes.
        method: NumPy's word, or ``median``.
    """
    low = np.floor(place)
    weight = cast(place - low, dtype)
    low = cast(low, _WHOLE)
    found = at(low)
    if method in _TAKING or (method == "median" and isinstance(weight, np.ndarray) and not weight.any()):
        return cast(found, dtype)
    above = at(np.minimum(low + 1, last))
    if method == "median":
        return cast(np.where(weight == 0, found, (found + above) / 2), dtype)
    step = cast(above - found, dtype)
    found, above = cast(found, dtype), cast(above, dtype)
    made = np.where(weight >= 0.5, above - step * (1 - weight), found + step * weight)
    # Of these, a place before the first element counts as that one, whatever the next is: 0 · inf is NaN.
    return np.where(weight == 0, found, made) if method in (*_PLOTTING, "averaged_inverted_cdf") else made


def _chosen(lines: Any, places: Any, dtype: np.dtype[Any], method: str) -> Any:
    """Weigh the neighbours of places that are known, (k,), in lines along the first axis."""
    n = lines.shape[0]
    low = [int(i) for i in np.floor(places)]
    exact = method in _TAKING or (method == "median" and np.all(places == low))
    wanted = tuple(sorted({*low, *([] if exact else [min(i + 1, n - 1) for i in low])}))
    found = kth(lines, places=wanted)

    def at(places: Any) -> Any:
        return np.stack([found[wanted.index(int(i))] for i in places], axis=-1)

    return _between(at, places, n - 1, dtype, method)


def _spread(places: Any, rows: Any) -> Any:
    shape = (*rows.shape[:-1], places.shape[-1])
    return places if places.shape == shape else P.broadcast_to(places, shape=shape)


def _quantile(
    x: Any,
    q: Any,
    axis: tuple[int, ...],
    keepdims: bool,
    method: str,
    function: str,
    nan: bool,
    given: bool,
    dtype: np.dtype[Any],
) -> Any:
    """Sort, and weigh neighbours: q is numbers (``given``), or traced; ``dtype`` is that of the result."""
    shape = np.shape(q) if given else q.shape
    if 0 in x.shape:
        made: Any = (*leading_axes(shape, x.shape, nan), *reduced_shape(x.shape, axis, keepdims))
        return filled(x, math.nan, made)
    how, function = ("median", "quantile") if function == "median" else (method, function)
    floats = dtype.kind == "f"  # whole numbers that are only picked have more digits than floats, and no NaN
    if not floats or x.dtype.kind != "f":
        nan = False
    if given and not nan:  # NumPy itself tells the places
        lines = _first(x, axis)
        lines = _floats(lines) if floats else lines
        place = np.ravel(np.asarray(places_of(lines.shape[0], q, function, method), np.float64))
        gone = np.any(np.isnan(lines), axis=0) if floats else None
        return _finish(_chosen(lines, place, dtype, how), gone, x, axis, keepdims, shape)
    lines = at_end(_first(x, axis), 0)
    lines = _floats(lines) if floats else lines
    rows = sort(lines, axis=lines.ndim - 1)
    asked = np.ravel(np.asarray(q, np.float64)) if given else P.reshape(_floats(q), shape=(math.prod(shape),))
    n: Any = float(rows.shape[-1])
    last: Any = rows.shape[-1] - 1
    gone = np.isnan(rows[..., -1]) if floats else None
    if nan:
        count = P.sum_(P.astype(np.logical_not(np.isnan(rows)), dtype=_WHOLE), axis=(rows.ndim - 1,), keepdims=True)
        gone, last = P.squeeze(count == 0, axis=(rows.ndim - 1,)), np.maximum(count, 1) - 1
        n = P.astype(last + 1, dtype=asked.dtype)
    place = place_of(asked, n, function, method)
    found = _between(lambda i: take_along(rows, _spread(i, rows)), place, last, dtype, how)
    return _finish(found, gone, x, axis, keepdims, shape)


def _finish(found: Any, gone: Any, x: Any, axis: tuple[int, ...], keepdims: bool, shape: tuple[int, ...]) -> Any:
    """Put NaN where there was one, or nothing else, and bring the axes of the quantiles to the front."""
    n, leading = found.ndim - 1, len(shape)
    if gone is not None:
        found = np.where(P.expand_dims(gone, axis=(n,)), math.nan, found)
    found = P.reshape(found, shape=(*found.shape[:n], *shape))
    found = transposed(found, (*range(n, n + leading), *range(n)))
    return P.expand_dims(found, axis=tuple(i + leading for i in sorted(axis))) if keepdims and axis else found


def _fixed(x: Any, q: Any, dtype: Any, **how: Any) -> Any:
    return _quantile(x, q, given=True, dtype=_made(x, dtype, **how), **how)


def _traced(x: Any, q: Any, **how: Any) -> Any:
    return _quantile(x, q, given=False, dtype=_made(x, None if q.node.spec.weak else q.dtype, **how), **how)


def _made(x: Any, q: Any, function: str, nan: bool, method: str, **_: Any) -> np.dtype[Any]:
    return result_dtype(("nan" if nan else "") + function, x.dtype, q, method)


def _floats(x: Any) -> Any:
    return x if x.dtype.kind == "f" else P.astype(x, dtype=np.dtype(np.float64))


_PLOTTING = {"interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
             "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8)}  # fmt: skip


def place_of(q: Any, n: Any, function: str, method: str) -> Any:
    """Tell where quantiles lie among 0 … n − 1, by NumPy's formulas (Hyndman and Fan's nine methods, and four more)."""
    q = q / 100 if function == "percentile" else q
    exact = (n - 1) * q
    if method in _PLOTTING:
        a, b = _PLOTTING[method]
        place = n * q + (a + q * (1 - a - b)) - 1
    elif method == "linear":
        place = exact
    elif method in ("lower", "higher", "nearest"):
        place = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}[method](exact)
    elif method == "midpoint":
        place = 0.5 * (np.floor(exact) + np.ceil(exact))
    else:
        place = n * q - (1.5 if method == "closest_observation" else 1)
        low = np.floor(place)
        on = place == low
        if method == "averaged_inverted_cdf":
            place = np.where(on, low + 0.5, low + 1)
        elif method == "closest_observation":
            place = np.where(np.logical_and(on, np.remainder(low, 2) == 1), low, low + 1)
        else:
            place = np.where(on, low, low + 1)
    return np.minimum(np.maximum(place, 0), n - 1)


def _quantile_place(q: Any, count: Any, function: str, method: str) -> Any:
    q = q if q.dtype == np.float64 else P.astype(q, dtype=np.dtype(np.float64))
    q = P.expand_dims(q, axis=tuple(range(q.ndim, q.ndim + count.ndim))) if count.ndim else q
    n = P.astype(count, dtype=np.dtype(np.float64))
    return np.where(n > 0, place_of(q, n, function, method), math.nan)


def found_anyway(nodes: Sequence[Node]) -> set[tuple[Node, int]]:
    """Return of which arrays, along which axes, a graph finds the places in order."""
    return {(x.inputs[0], x.params["axis"]) for x in nodes if x.op is argsort and not x.params.get("stable")}


ORDER: dict[str, Callable[..., Any]] = {
    "sort": _last_axis(sort),
    "argsort": _last_axis(argsort),
    "share_ties": _last_axis(share_ties),
    "permute": _permute,
    "put_back": _put_back,
    "partition": _partition,
    "argpartition": _argpartition,
    "lexsort": _lexsort,
    "kth": _kth,
    "quantile_place": _quantile_place,
    **{f"{nan}{name}": _fixed for nan in ("", "nan") for name in ("median", "quantile", "percentile")},
    **{f"{nan}{name}_traced": _traced for nan in ("", "nan") for name in ("quantile", "percentile")},
}
