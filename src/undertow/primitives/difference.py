"""Differences between neighbours, numeric gradients and the trapezoid rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, DTypeError, ShapeError
from undertow.graph import Shape, Spec
from undertow.primitives.cumulative import filled_like, part
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    answers,
    dtype_of,
    float_like,
    shape_of,
)
from undertow.primitives.reduce import sum_
from undertow.primitives.reduction import MISSING, axis_of, cast, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims

# ---- differences ---------------------------------------------------------------------------------


def _infer_diff(x: Spec, n: int, axis: int) -> Spec:
    size = max(0, fixed_size(x.shape, axis, "np.diff") - n)
    return Spec((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


def _pad(x: Any, axis: int, before: int, after: int) -> Any:
    """Put zeros before and after x along an axis."""
    parts = [filled_like(x, axis, before, 0)] if before else []
    parts.append(x)
    parts += [filled_like(x, axis, after, 0)] if after else []
    return np.concatenate(parts, axis=axis) if len(parts) > 1 else x


def _diff_back(ct: Any, out: Any, x: Any, n: int, axis: int) -> Any:
    """Difference the cotangents the other way, with zeros around them."""
    if shape_of(ct)[axis] == 0:
        return np.zeros_like(x)
    back = diff(_pad(ct, axis, n, n), n=n, axis=axis)
    return -back if n % 2 else back


def _spell_diff(x: Code, *, n: int, axis: int, ndim: int, **_: Any) -> Code:
    times = f", n={n}" if n != 1 else ""
    return Code(f"np.diff({x.text}{times}{f', axis={axis}' if axis != ndim - 1 else ''})")


diff = Primitive(
    name="diff",
    forward=lambda x, n, axis: np.diff(x, n=n, axis=axis),
    infer=_infer_diff,
    vjps=(_diff_back,),
    spell=_spell_diff,
    text="the differences of {0}",
    latex=r"\Delta {0}",
    flow=("the differences of {ct}, the other way",),
    latex_flow=(r"-\Delta {ct}",),
    samples=lambda: [
        Sample((draw(shape, 61),), {"n": n, "axis": axis})
        for shape, axis, n in (
            ((4,), 0, 1), ((4,), 0, 2), ((2, 5), 1, 3), ((3, 2), 0, 1), ((1,), 0, 1), ((2,), 0, 3), ((2, 0), 1, 1),
            ((0, 3), 1, 1), ((2, 3, 2), 1, 2),
        )
    ],
)  # fmt: skip


def _edge(value: Any, x: Any, axis: int) -> Any:
    """Bring what is joined to an array to its shape: a number becomes one entry along the axis."""
    if len(shape_of(value)):
        return value
    shape = shape_of(x)
    sizes = (*shape[:axis], 1, *shape[axis + 1 :])
    return np.broadcast_to(value, tuple(int(size) for size in sizes))  # type: ignore[arg-type]


def _diff_calls() -> list[Sample]:
    x = draw((3, 4), 62)
    return [
        *(Sample((x,), p) for p in ({}, {"axis": 0}, {"n": 2}, {"n": 0}, {"n": 3, "axis": -1}, {"n": 9})),
        Sample((x, 2, 0), {}),
        Sample((x[0], 1, -1, np.array(0.5), np.array([1.0, 2.0])), {}, "what is joined is differentiated too"),
        Sample((x, 1, 0, 0.0), {}),
        Sample((x, 2, 1, x[:, :1], x[:, :2] + 1), {}),
        Sample((x,), {"prepend": 0.0, "append": 1.0}),
    ]


@answers(np.diff, samples=_diff_calls)
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = MISSING, append: Any = MISSING) -> Any:
    if n < 0:
        raise ArgumentError(f"np.diff: n is {n}. Give a number of at least 0.")
    if not shape_of(a):
        raise ShapeError("np.diff needs at least one axis, and this is a single number.")
    if n == 0:
        return a
    at = axis_of("np.diff", a, axis)
    parts = [] if prepend is MISSING else [_edge(prepend, a, at)]
    parts += [a] if append is MISSING else [a, _edge(append, a, at)]
    if len(parts) > 1:
        a = np.concatenate(parts, axis=at)
    return diff(a, n=int(n), axis=at)


@answers(
    np.ediff1d,
    samples=lambda: [
        Sample((draw((2, 3), 62),), {}),
        Sample((draw((4,), 62), np.array([1.0, 2.0]), np.array(-1.0)), {}),
        Sample((draw((1,), 62), None, 0.0), {}),
    ],
)
def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    differences = diff(np.ravel(ary), n=1, axis=0)
    for name, end in (("to_end", to_end), ("to_begin", to_begin)):
        if end is not None and not np.can_cast(dtype_of(end), dtype_of(ary), "same_kind"):
            raise DTypeError(
                f"np.ediff1d: {name} is {dtype_of(end)}, which {dtype_of(ary)} does not hold. Convert one with .astype."
            )
    parts = [] if to_begin is None else [cast(np.ravel(to_begin), dtype_of(ary))]
    parts += [differences] if to_end is None else [differences, cast(np.ravel(to_end), dtype_of(ary))]
    return np.concatenate(parts) if len(parts) > 1 else differences


# ---- numeric gradients ---------------------------------------------------------------------------


def _infer_slope(f: Spec, axis: int, edge_order: int) -> Spec:
    size = fixed_size(f.shape, axis, "np.gradient")
    if size < edge_order + 1:
        raise ShapeError(
            f"np.gradient needs at least {edge_order + 1} elements along axis {axis}, and there are {size}."
        )
    return Spec(f.shape, float_like(f.dtype))


def _slope_back(ct: Any, out: Any, f: Any, axis: int, edge_order: int) -> Any:
    n = fixed_size(shape_of(f), axis, "np.gradient")
    half, first, last = part(ct, axis, 1, -1) / 2, part(ct, axis, 0, 1), part(ct, axis, n - 1, n)
    inner = _pad(half, axis, 2, 0) - _pad(half, axis, 0, 2)
    if edge_order == 1:
        start, end = np.concatenate([-first, first], axis=axis), np.concatenate([-last, last], axis=axis)
    else:
        start = np.concatenate([first * -1.5, first * 2, first * -0.5], axis=axis)
        end = np.concatenate([last * 0.5, last * -2, last * 1.5], axis=axis)
    rest = n - edge_order - 1
    return inner + _pad(start, axis, 0, rest) + _pad(end, axis, rest, 0)


slope = Primitive(
    name="slope",
    forward=lambda f, axis, edge_order: np.gradient(f, axis=axis, edge_order=edge_order),
    infer=_infer_slope,
    vjps=(_slope_back,),
    spell=lambda f, *, axis, edge_order, ndim, **_: Code(
        f"np.gradient({f.text}{f', axis={axis}' if ndim > 1 else ''}{', edge_order=2' if edge_order == 2 else ''})"
    ),
    text="the numeric slope of {0}",
    latex=r"\operatorname{{gradient}}({0})",
    flow=("the differences of {ct}, the other way",),
    latex_flow=(r"\operatorname{{gradient}}^\top({ct})",),
    samples=lambda: [
        Sample((draw(shape, 63),), {"axis": axis, "edge_order": order})
        for shape, axis, order in (((5,), 0, 1), ((5,), 0, 2), ((2,), 0, 1), ((3, 4), 0, 2), ((3, 4), 1, 1))
    ],
)


def _uneven_slope(f: Any, x: Any, axis: int, edge_order: int) -> Any:
    """Compute the slope where the points are not evenly spaced (NumPy's formulas, of second order inside)."""
    n, ndim = fixed_size(shape_of(f), axis, "np.gradient"), len(shape_of(f))
    _infer_slope(Spec(shape_of(f), dtype_of(f)), axis, edge_order)
    if len(shape_of(x)) != 1 or shape_of(x)[0] != n:
        raise ShapeError(f"np.gradient: there are {n} values along axis {axis}, and coordinates {shape_of(x)}.")
    if dtype_of(x).kind in "iu":  # as NumPy does: differences of unsigned numbers would wrap around
        x = astype(x, dtype=np.dtype(np.float64))
    step = cast(diff(x, n=1, axis=0), float_like(dtype_of(f)))
    if ndim > 1:
        step = expand_dims(step, axis=tuple(i for i in range(ndim) if i != axis))
    h = [part(step, axis, i, i + 1) for i in range(n - 1)]
    v = [part(f, axis, i, i + 1) for i in range(n)]
    left, right = part(step, axis, 0, n - 2), part(step, axis, 1, n - 1)
    inner = (
        part(f, axis, 0, n - 2) * (-right / (left * (left + right)))
        + part(f, axis, 1, n - 1) * ((right - left) / (left * right))
        + part(f, axis, 2, n) * (left / (right * (left + right)))
    )
    if edge_order == 1:
        first, last = (v[1] - v[0]) / h[0], (v[-1] - v[-2]) / h[-1]
    else:
        a, b = h[0], h[1]
        first = v[0] * (-(2 * a + b) / (a * (a + b))) + v[1] * ((a + b) / (a * b)) - v[2] * (a / (b * (a + b)))
        a, b = h[-2], h[-1]
        last = v[-3] * (b / (a * (a + b))) - v[-2] * ((a + b) / (a * b)) + v[-1] * ((2 * b + a) / (b * (a + b)))
    return np.concatenate([first, inner, last], axis=axis)


def _gradient_calls() -> list[Sample]:
    f, x = draw((5, 4), 64), np.array([0.0, 1.0, 1.5, 3.5, 4.0])
    return [
        Sample((draw((6,), 64),), {}),
        Sample((draw((6,), 64),), {"edge_order": 2}),
        Sample((draw((2,), 64), 2.0), {}),
        Sample((draw((5,), 64), x), {}, "coordinates are differentiated too"),
        Sample((draw((5,), 64), x), {"edge_order": 2}),
        Sample((f,), {}, "a slope for each axis"),
        Sample((f, 0.5), {}),
        Sample((f, 0.5, 2.0), {"edge_order": 2}),
        Sample((f, x, 2.0), {}),
        Sample((f, x, x[:4] ** 2 + x[:4]), {"edge_order": 2}),
        Sample((f,), {"axis": -1}),
        Sample((f, x), {"axis": 0}),
        Sample((f, 2.0), {"axis": (1, 0)}),
        Sample((draw((3, 4, 3), 64), np.array(0.5)), {"axis": (0, 2)}),
    ]


@answers(np.gradient, samples=_gradient_calls)
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    if edge_order not in (1, 2):
        raise ArgumentError(f"np.gradient: edge_order is {edge_order}, not 1 or 2.")
    if dtype_of(f).kind in "iu":
        f = astype(f, dtype=np.dtype(np.float64))  # as NumPy does: differences of unsigned numbers would wrap around
    ndim = len(shape_of(f))
    given = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    axes = [axis_of("np.gradient", f, i) for i in given]
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"np.gradient: axis={axis} names an axis twice.")
    spacings = list(varargs) or [1.0]
    if len(spacings) == 1 and not len(shape_of(spacings[0])):
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise ArgumentError(f"np.gradient: {len(axes)} axes need as many spacings, and {len(spacings)} are given.")
    slopes = []
    for at, spacing in zip(axes, spacings, strict=True):
        if len(shape_of(spacing)):
            slopes.append(cast(_uneven_slope(f, spacing, at, edge_order), float_like(dtype_of(f))))
            continue
        result = slope(f, axis=at, edge_order=edge_order)
        one = isinstance(spacing, int | float) and spacing == 1
        slopes.append(result if one else cast(result / spacing, float_like(dtype_of(f))))
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


# ---- integrals -----------------------------------------------------------------------------------


def _trapezoid_calls() -> list[Sample]:
    y, x = draw((3, 4), 65), np.array([0.0, 0.5, 2.0, 2.5])
    return [
        Sample((y,), {}),
        Sample((y[0],), {}),
        Sample((y, None, 0.5, 0), {}),
        Sample((y, x), {}),
        Sample((y, x[:3]), {"axis": 0}),
        Sample((y, y * 2 + 1), {"axis": -1}),
        Sample((y, None, np.array(0.5)), {}),
        Sample((draw((1,), 65),), {}),
    ]


@answers(np.trapezoid, samples=_trapezoid_calls)
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    at = axis_of("np.trapezoid", y, axis)
    step: Any = dx
    if x is not None:
        if len(shape_of(x)) == 1:
            others = tuple(i for i in range(len(shape_of(y))) if i != at)
            step = diff(x, n=1, axis=0)
            step = expand_dims(step, axis=others) if others else step
        else:
            step = _diff(x, axis=axis)
    size: Shape = shape_of(y)
    n = fixed_size(size, at, "np.trapezoid")
    pieces = step * (part(y, at, 1, None) + part(y, at, None, n - 1)) / 2.0
    return sum_(pieces, axis=(axis_of("np.trapezoid", pieces, axis),), keepdims=False)  # x may have more axes than y
