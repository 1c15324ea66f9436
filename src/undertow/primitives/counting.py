"""Where values fall among sorted ones, and how many fall where: searchsorted, digitize, isin, bincount, histogram."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError, UnsupportedError
from undertow.graph import Spec, show_shape
from undertow.primitives.compare import where
from undertow.primitives.index import Pick, getitem
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    dtype_of,
    shape_of,
)
from undertow.primitives.reduction import cast, fixed_size
from undertow.primitives.sampling import draw


def known(x: Any, why: str) -> Any:
    """Return the value of an array, where it is known.

    Raises:
        UnsupportedError: only its shape is; says what depends on it and the way out.
    """
    if not isinstance(x, Traced):
        return np.asarray(x)
    value = getattr(getattr(x, "node", None), "value", None)
    if value is None:
        raise UnsupportedError(
            f"{why} is not known from shapes alone. Compute it outside the function and pass the result as an argument "
            f"that is not traced, or use ut.grad, which sees values."
        )
    return np.asarray(value)


# ---- places among sorted values ------------------------------------------------------------------


def _infer_search(a: Spec, v: Spec, *sorter: Spec, side: str) -> Spec:
    if a.ndim != 1:
        raise ShapeError(f"np.searchsorted needs a vector to search in, not {show_shape(a.shape)}.")
    return Spec(v.shape, np.dtype(np.intp))


def _spell_search(a: Code, v: Code, *sorter: Code, side: str, **_: Any) -> Code:
    text = f"np.searchsorted({a.text}, {v.text}"
    text += "" if side == "left" else f", side={side!r}"
    return Code(text + "".join(f", sorter={code.text}" for code in sorter) + ")")


_SORTED = np.array([-1.0, 0.0, 0.5, 2.0])

search = Primitive(
    name="searchsorted",
    forward=lambda a, v, *sorter, side: np.searchsorted(a, v, side, *sorter),
    infer=_infer_search,
    vjps=(NO_GRADIENT, NO_GRADIENT, NO_GRADIENT),
    spell=_spell_search,
    text="the place of {1} in {0}",
    latex=r"\operatorname{{place}}({1}, {0})",
    samples=lambda: [
        Sample((_SORTED, draw((2, 3), 81)), {"side": "left"}),
        Sample((_SORTED, np.array(0.5)), {"side": "right"}),
        Sample((_SORTED[::-1].copy(), draw((3,), 81), np.array([3, 2, 1, 0])), {"side": "left"}),
    ],
)


@answers(
    np.searchsorted,
    samples=lambda: [
        Sample((_SORTED, draw((2, 3), 81)), {}),
        Sample((_SORTED, draw((3,), 81), "right"), {}),
        Sample((_SORTED[::-1].copy(), draw((3,), 81)), {"sorter": np.array([3, 2, 1, 0])}),
        Sample((_SORTED, 0.7), {}),
    ],
)
def _searchsorted(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    side = {"l": "left", "r": "right"}.get(side, side)
    a, v = (x if isinstance(x, Traced) else np.asarray(x) for x in (a, v))
    return search(a, v, *(() if sorter is None else (sorter,)), side=side)


digitize = Primitive(
    name="digitize",
    forward=lambda x, bins, right: np.digitize(x, bins, right=right),
    infer=lambda x, bins, right: Spec(x.shape, np.dtype(np.intp)),
    vjps=(NO_GRADIENT, NO_GRADIENT),
    spell=lambda x, bins, *, right, **_: Code(f"np.digitize({x.text}, {bins.text}{', right=True' if right else ''})"),
    text="the bin of {0} among {1}",
    latex=r"\operatorname{{bin}}({0}, {1})",
    samples=lambda: [
        Sample((draw((2, 3), 82), bins), {"right": right})
        for bins in (_SORTED, _SORTED[::-1])
        for right in (False, True)
    ],
)


@answers(
    np.digitize,
    samples=lambda: [Sample((draw((2, 3), 82), _SORTED), {}), Sample((draw((3,), 82), _SORTED[::-1], True), {})],
)
def _digitize(x: Any, bins: Any, right: bool = False) -> Any:
    return digitize(x, bins if isinstance(bins, Traced) else np.asarray(bins), right=bool(right))


isin = Primitive(
    name="isin",
    forward=lambda x, values, invert: np.isin(x, values, invert=invert),
    infer=lambda x, values, invert: Spec(x.shape, np.dtype(bool)),
    vjps=(NO_GRADIENT, NO_GRADIENT),
    spell=lambda x, values, *, invert, **_: Code(
        f"np.isin({x.text}, {values.text}{', invert=True' if invert else ''})"
    ),
    text="[{0} is one of {1}]",
    latex=r"[{0} \in {1}]",
    samples=lambda: [
        Sample((np.array([[1.0, 0.5], [-1.0, 3.0]]), values), {"invert": invert})
        for values in (np.array([[0.5, 3.0]]), np.zeros(0), np.array(1.0))
        for invert in (False, True)
    ],
)


@answers(
    np.isin,
    samples=lambda: [
        Sample((np.array([[1.0, 0.5], [-1.0, 3.0]]), np.array([0.5, 3.0]))),
        Sample((np.array([1.0, 0.5]), [0.5, 2.0]), {"invert": True}),
    ],
)
def _isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    """``assume_unique`` and ``kind`` only say how to look, and are left to NumPy."""
    x, values = (v if isinstance(v, Traced) else np.asarray(v) for v in (element, test_elements))
    return isin(x, values, invert=bool(invert))


# ---- counts --------------------------------------------------------------------------------------

bincount = Primitive(
    name="bincount",
    forward=lambda weights, x, length: np.bincount(x, weights, minlength=length),
    infer=lambda weights, x, length: Spec((length,), np.dtype(np.intp if x.shape == (0,) else np.float64)),
    vjps=(lambda ct, out, weights, x, length: getitem(ct, x, index=(Pick(0),)), NO_GRADIENT),
    spell=lambda weights, x, *, length, **_: Code(f"np.bincount({x.text}, {weights.text}, minlength={length})"),
    text="the sums of {0} by group",
    latex=r"\textstyle\sum_{{{1} = k}} {0}",
    flow=("{ct} of its group",),
    latex_flow=(r"{ct}_{{{1}}}",),
    samples=lambda: [
        Sample((draw((4,), 83), np.array([0, 2, 2, 1])), {"length": 3}),
        Sample((draw((3,), 83), np.array([1, 1, 1])), {"length": 4}),
        Sample((draw((0,), 83), np.zeros(0, np.int64)), {"length": 2}),
    ],
)


@answers(
    np.bincount,
    samples=lambda: [
        Sample((np.array([0, 2, 2, 1]), draw((4,), 83)), {}),
        Sample((np.array([0, 2, 2, 1]), draw((4,), 83), 5), {}),
        Sample(([1, 1, 1],), {"weights": np.array([1.0, 2.0, 3.0])}),
    ],
)
def _bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    groups = known(x, "how many groups np.bincount finds")
    if weights is None:
        return np.bincount(groups, minlength=minlength)
    length = max(int(minlength), int(groups.max()) + 1 if groups.size else 0)
    return bincount(weights, x if isinstance(x, Traced) else groups, length=length)


def _infer_histogram(a: Spec, edges: Spec, *weights: Spec) -> Spec:
    count = fixed_size(edges.shape, 0, "np.histogram") - 1
    return Spec((count,), weights[0].dtype if weights else np.dtype(np.intp))


def _histogram_back(ct: Any, out: Any, a: Any, edges: Any, weights: Any) -> Any:
    """Give each element the cotangent of its bin; the last bin has both its edges."""
    count = fixed_size(shape_of(edges), 0, "np.histogram") - 1
    place = np.minimum(search(edges, a, side="right") - 1, count - 1)
    inside = np.logical_and(a >= edges[0], a <= edges[count])
    return where(inside, getitem(ct, np.maximum(place, 0), index=(Pick(0),)), 0)


histogram = Primitive(
    name="histogram",
    forward=lambda a, edges, *weights: np.histogram(a, edges, None, None, *weights)[0],
    infer=_infer_histogram,
    vjps=(NO_GRADIENT, NO_GRADIENT, _histogram_back),
    spell=lambda a, edges, *weights, **_: Code(
        f"np.histogram({a.text}, {edges.text}{''.join(f', weights={w.text}' for w in weights)})[0]"
    ),
    text="the number of {0} in each bin",
    latex=r"\operatorname{{histogram}}({0})",
    flow=("", "", "{ct} of its bin"),
    latex_flow=("", "", r"{ct}_{{\mathrm{{bin}}({0})}}"),
    samples=lambda: [
        Sample((draw((7,), 84), _SORTED), {}),
        Sample((draw((7,), 84), _SORTED, draw((7,), 85)), {}),
        Sample((draw((2, 3), 84), _SORTED, draw((2, 3), 85)), {}),
    ],
)


def _edges(a: Any, bins: Any, bounds: Any, weights: Any) -> Any:
    """Return the edges of the bins: given, or evenly spaced between the smallest and the largest element."""
    if isinstance(bins, str):
        value = known(a, f"how many bins bins={bins!r} makes")
        edges = np.histogram_bin_edges(value, bins, bounds, weights)
        if value.dtype.kind != "f":
            return edges
        bins = len(edges) - 1
    if isinstance(bins, Traced) or np.ndim(bins):
        return bins if isinstance(bins, Traced) else np.asarray(bins)
    if not hasattr(bins, "__index__") or np.asarray(bins).dtype.kind not in "biu" or bins < 1:
        raise ArgumentError(f"np.histogram: bins is {bins!r}. Give a whole number of 1 or more, or the edges.")
    if bounds is not None or 0 in shape_of(a):
        return np.histogram_bin_edges(np.zeros(0, dtype_of(a)), bins, bounds)
    low, high = np.min(a), np.max(a)
    flat = low == high  # NumPy then takes a bin of width 1 around the number
    half = np.where(flat, 0.5, 0.0)
    dtype = dtype_of(a) if dtype_of(a).kind == "f" else np.dtype(np.float64)
    return cast(np.linspace(low - half, high + half, int(bins) + 1), dtype)


def _histogram_calls() -> list[Sample]:
    a, w = draw((7,), 84), draw((7,), 85, positive=True)
    return [
        Sample((a,), {}),
        Sample((a, 4), {}),
        Sample((a, _SORTED), {}),
        Sample((a, 3, (-1.0, 1.0)), {}),
        Sample((a, 3, None, None, w), {}),
        Sample((a, _SORTED, None, True, w), {}),
        Sample((a, 4, None, True), {}),
        Sample((a, "sturges"), {}, needs_values=True),
    ]


@answers(np.histogram, samples=_histogram_calls)
def _histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    edges = _edges(a, bins, range, weights)
    counts = histogram(a, edges, *(() if weights is None else (weights,)))
    if density:
        counts = counts / cast(edges[1:] - edges[:-1], np.float64) / np.sum(counts)
    return counts, edges


@answers(
    np.histogram_bin_edges,
    samples=lambda: [s for s in _histogram_calls() if len(s.args) <= 3],
)
def _histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    return _edges(a, bins, range, weights)
