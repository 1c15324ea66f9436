"""Places in sorted order, and how a quantile passes its cotangent back to its two neighbours there.

Which neighbours, and with which weights, NumPy's own function tells when it is asked for the quantiles of
0, 1, 2, …: the answer is the place in sorted order. So every one of its methods is right by construction.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from undertow.graph import Dim, NeedsConcreteSize, Spec, total
from undertow.primitives.compare import where
from undertow.primitives.index import Pick, Slice, index_add
from undertow.primitives.order import sort, unsort
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Traced,
    dtype_of,
    shape_of,
)
from undertow.primitives.reduce import extremum_back, sum_
from undertow.primitives.reduction import Axes, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims, reshape, squeeze, transpose

METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
    "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip
# How fast the place moves with q, less the number of elements; the other methods jump from place to place.
_SPEED = {"linear": -1.0, "interpolated_inverted_cdf": 0.0, "hazen": 0.0, "weibull": 1.0,
          "median_unbiased": 1 / 3, "normal_unbiased": 1 / 4}  # fmt: skip
_SCALE = {"quantile": 1.0, "percentile": 100.0}


# ---- lines ---------------------------------------------------------------------------------------


def in_lines(x: Any, axis: Axes) -> Any:
    """Return x with the reduced axes made one, the first; its size is a number."""
    shape = shape_of(x)
    others = tuple(i for i in range(len(shape)) if i not in axis)
    order = (*axis, *others)
    if order != tuple(range(len(shape))):
        x = transpose(x, axes=order)
    return x if len(axis) == 1 else reshape(x, shape=(line_length(shape, axis), *(shape[i] for i in others)))


def from_lines(flat: Any, x: Any, axis: Axes) -> Any:
    """Undo `in_lines`."""
    shape = shape_of(x)
    order = (*axis, *(i for i in range(len(shape)) if i not in axis))
    if len(axis) != 1:
        flat = reshape(flat, shape=tuple(shape[i] for i in order))
    back = tuple(int(i) for i in np.argsort(order))
    return flat if back == tuple(range(len(shape))) else transpose(flat, axes=back)


def line_length(shape: Any, axis: Axes) -> int:
    """Return how many elements are reduced to one, as a number."""
    size = total(tuple(shape[i] for i in axis))
    if isinstance(size, Dim):
        raise NeedsConcreteSize("the place of a quantile depends on the batch size")
    return size


# ---- places --------------------------------------------------------------------------------------


def _place(q: Any, count: Any, function: str, method: str) -> Any:
    """Return where each quantile lies among 0 … count − 1: shape of q, then shape of count."""
    ask = getattr(np, function)
    result = np.full((*np.shape(q), *np.shape(count)), np.nan)
    for n in np.unique(count):
        if n > 0:
            found = np.asarray(ask(np.arange(n, dtype=np.float64), q, method=method), dtype=np.float64)
            result[..., np.asarray(count) == n] = found[..., None]
    return result[()]


def _place_back(ct: Any, out: Any, q: Any, count: Any, function: str, method: str) -> Any:
    if method not in _SPEED:
        return q * 0
    speed = (count + _SPEED[method]) / _SCALE[function]
    if method != "linear":  # the others stay at the first and at the last element for a while
        speed = where(np.logical_and(out > 0, out < count - 1), speed, 0)
    share = ct * speed
    extra = tuple(range(len(shape_of(q)), len(shape_of(share))))
    return sum_(share, axis=extra, keepdims=False) if extra else share


quantile_place = Primitive(
    name="quantile_place",
    forward=_place,
    infer=lambda q, count, function, method: Spec((*q.shape, *count.shape), np.dtype(np.float64)),
    vjps=(_place_back, NO_GRADIENT),
    spell=lambda q, count, *, function, method, **_: Code(
        f"quantile_place({q.text}, {count.text}, np.{function}, {method!r})"
    ),
    text="the place of the {0}-quantile of {1} elements",
    latex=r"\operatorname{{place}}({0}, {1})",
    flow=("{ct} ⊙ n", ""),
    latex_flow=(r"{ct} \odot n", ""),
    helper='''def quantile_place(q, count, function, method):
    """Where each quantile lies among 0 … count − 1: shape of q, then shape of count."""
    result = np.full((*np.shape(q), *np.shape(count)), np.nan)
    for n in np.unique(count):
        if n > 0:
            found = np.asarray(function(np.arange(n, dtype=np.float64), q, method=method))
            result[..., np.asarray(count) == n] = found[..., None]
    return result''',
    samples=lambda: [
        Sample((np.array(q), np.array(count)), {"function": "quantile", "method": method})
        for q, count in ((0.3, 5), ([0.15, 0.62], [[4, 7], [6, 1]]))
        for method in METHODS
    ],
)


def numbers_of(q: Any, dtype: Any) -> Any:
    """Return the quantiles as NumPy was given them: a Python number, or an array of this dtype."""
    return q if dtype is None else np.array(q, dtype)


def _lift(x: Any, ndim: int) -> Any:
    """Give x axes of size 1 at the end, up to ``ndim`` axes."""
    missing = tuple(range(len(shape_of(x)), ndim))
    return expand_dims(x, axis=missing) if missing else x


def _rows(n: int, ndim: int) -> Any:
    return np.arange(n).reshape(-1, *[1] * ndim)


def _floor(place: Any) -> Any:
    return astype(where(np.isnan(place), 0, place), dtype=np.dtype(np.int64))


@lru_cache(maxsize=256)
def places_of(n: int, q: Any, function: str, method: str) -> Any:
    """Return where quantiles that are plain numbers lie among n elements."""
    if function == "median":
        return (n - 1) / 2
    places = np.asarray(_place(q, n, function, method))
    places.flags.writeable = False
    return places


# ---- derivatives ---------------------------------------------------------------------------------


def _one_place_back(ct: Any, out: Any, flat: Any, place: float) -> Any:
    """Give each of the two neighbours its weight, split evenly among elements that equal it."""
    low = int(place)
    weight = place - low
    if not weight:
        return extremum_back(0, ct, out, flat, None, None, (0,), False, started=False)
    neighbours = kth(flat, places=(low, low + 1))
    parts = [
        extremum_back(0, ct * w, neighbours[i], flat, None, None, (0,), False, started=False)
        for i, w in enumerate((1 - weight, weight))
    ]
    return parts[0] + parts[1]


def _fixed_places_back(ct: Any, flat: Any, places: Any) -> Any:
    """Put weighted cotangents at their places in sorted order, and undo the sorting."""
    shape = shape_of(flat)
    low = np.asarray(places).astype(np.int64)
    weight = (places - low).astype(dtype_of(ct))
    index = (Pick(0), *[Slice()] * (len(shape) - 1))
    back = index_add(ct * _lift(1 - weight, len(shape_of(ct))), low, index=index, shape=shape)
    if weight.any():
        high = np.minimum(low + 1, fixed_size(shape, 0, "a quantile") - 1)
        back = back + index_add(ct * _lift(weight, len(shape_of(ct))), high, index=index, shape=shape)
    return unsort(back, flat, 0)


def _places_back(ct: Any, flat: Any, place: Any, leading: int) -> Any:
    """Do the same where the places are traced; the first ``leading`` axes of ct belong to the quantiles."""
    ndim = len(shape_of(ct))
    place = _lift(place, ndim)
    nothing = np.isnan(place)  # of no elements: no place gets anything
    place, ct = where(nothing, 0, place), where(nothing, 0, ct)
    low = _floor(place)
    weight = place - astype(low, dtype=dtype_of(place))
    rows = _rows(fixed_size(shape_of(flat), 0, "a quantile"), ndim)
    lower, upper = where(rows == low, ct * (1 - weight), 0), where(rows == low + 1, ct * weight, 0)
    back = sum_(lower + upper, axis=tuple(range(1, 1 + leading)), keepdims=False)
    return unsort(astype(back, dtype=dtype_of(flat)), flat, 0)


def _step(flat: Any, place: Any, count: Any, leading: int, method: str) -> Any:
    """Return how far apart the neighbours of a place are: on an element, the smaller distance to the next."""
    ranked = sort(flat, axis=0)
    n, ndim = fixed_size(shape_of(flat), 0, "a quantile"), leading + len(shape_of(flat)) - 1
    place = _lift(place, ndim)
    low = _floor(place)
    high = low + astype(place > low, dtype=np.dtype(np.int64))
    if leading:
        ranked = expand_dims(ranked, axis=tuple(range(1, 1 + leading)))

    def pick(i: Any) -> Any:
        return sum_(where(_rows(n, ndim) == i, ranked, 0), axis=(0,), keepdims=False)

    if method == "linear":  # 0 and 1 are the ends of its domain: there is one side
        high, low = np.maximum(high, 1), np.minimum(low, np.maximum(count - 2, 0))
    below = pick(high) - pick(np.maximum(high - 1, 0))
    above = pick(np.minimum(low + 1, count - 1)) - pick(low)
    return np.minimum(below, above)


def _without_kept_axes(ct: Any, axis: Axes, leading: int, keepdims: bool) -> Any:
    return squeeze(ct, axis=tuple(i + leading for i in axis)) if keepdims and axis else ct


def _common(count: Any) -> int:
    """Return the number of elements that all lines have, 0 where they differ or are not known."""
    if isinstance(count, Traced) or not np.size(count) or np.min(count) != np.max(count):
        return 0
    return int(np.max(count))


def fixed_places_rule(
    ct: Any, out: Any, x: Any, axis: Axes, keepdims: bool, q: Any, dtype: Any, method: str, function: str, nan: bool
) -> Any:
    """Pass a cotangent back to the array where the quantiles are plain numbers."""
    flat = in_lines(x, axis)
    n, leading = fixed_size(shape_of(flat), 0, "a quantile"), np.ndim(q)
    if n == 0 or (nan and 0 in shape_of(x)):
        return x * 0
    ct = _without_kept_axes(ct, axis, leading, keepdims)
    if nan:
        count = astype(sum_(np.logical_not(np.isnan(flat)), axis=(0,), keepdims=False), dtype=np.dtype(np.int64))
        n = _common(count)
        if not n or leading:
            asked = "quantile" if function == "median" else function
            place = quantile_place(numbers_of(q, dtype), count, function=asked, method=method)
            return from_lines(_places_back(ct, flat, place, leading), x, axis)
    places = places_of(n, q, function, method)
    if not leading:
        value = _without_kept_axes(out, axis, 0, keepdims)
        return from_lines(_one_place_back(ct, value, flat, float(places)), x, axis)
    return from_lines(_fixed_places_back(ct, flat, np.asarray(places)), x, axis)


def traced_places_rule(
    position: int,
    ct: Any,
    out: Any,
    x: Any,
    q: Any,
    axis: Axes,
    keepdims: bool,
    method: str,
    function: str,
    nan: bool,
) -> Any:
    """Pass a cotangent back to the array and to the quantiles that are asked for."""
    flat, leading = in_lines(x, axis), len(shape_of(q))
    if nan and 0 in shape_of(x):
        return (x, q)[position] * 0
    ct = _without_kept_axes(ct, axis, leading, keepdims)
    count: Any = fixed_size(shape_of(flat), 0, "a quantile")
    if nan:
        count = sum_(np.logical_not(np.isnan(flat)), axis=(0,), keepdims=False)
    place = quantile_place(q, count, function=function, method=method)
    if position == 0:
        return from_lines(_places_back(ct, flat, place, leading), x, axis)
    if method not in _SPEED:
        return q * 0
    share = ct * _step(flat, place, count, leading, method)
    return _place_back(share, _lift(place, len(shape_of(share))), q, count, function, method)


kth = Primitive(
    name="kth",
    forward=lambda x, places: np.partition(x, places, axis=0)[list(places)],
    infer=lambda x, places: Spec((len(places), *x.shape[1:]), x.dtype),
    vjps=(NO_GRADIENT,),  # the elements are only compared with
    spell=lambda x, *, places, ndim, **_: Code(
        f"np.partition({x.text}, {list(places)}{', axis=0' if ndim > 1 else ''})[{list(places)}]"
    ),
    text="the elements of {0} in these places of its order",
    latex=r"{0}_{{(k)}}",
    samples=lambda: [
        Sample((draw(shape, 51),), {"places": places})
        for shape, places in (((1,), (0,)), ((4,), (1, 2)), ((3, 2), (1, 2)))
    ],
)
