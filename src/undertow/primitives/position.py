"""Where extrema are, positions and places, and how many elements are not zero: no derivatives."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, PositionError
from undertow.graph import Spec
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    call_axis,
    dtype_of,
    known_value,
    normalize_axis,
    reduced_shape,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import (
    MISSING,
    axes_of,
    axis_of,
    infer_reduction,
    kept,
    no_elements,
    reduction_calls,
    reduction_samples,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype


def _infer_position(x: Spec, axis: int | None, keepdims: bool = False) -> Spec:
    axes = normalize_axis(axis, x.ndim)
    if any(x.shape[i] == 0 for i in axes):
        raise no_elements(x.shape, axis)
    return Spec(reduced_shape(x.shape, axes, keepdims), np.dtype(np.intp), x.weak)


def _calls() -> list[Sample]:
    samples = [s for s in reduction_calls(where=False) if not isinstance(s.params.get("axis"), tuple)]
    return [Sample((np.asarray(s.args[0]),), s.params) for s in samples]


def _position(name: str, function: Callable[..., Any]) -> Primitive:
    """Make the primitive of ``np.argmax`` or one like it, and the answer to it."""

    def spell(x: Code, *, axis: int | None, keepdims: bool = False, **_: Any) -> Code:
        along = "" if axis is None else f", axis={axis}"
        return Code(f"np.{name}({x.text}{along}{', keepdims=True' if keepdims else ''})")

    primitive = Primitive(
        name=name,
        forward=function,
        infer=_infer_position,
        vjps=(NO_GRADIENT,),
        spell=spell,
        text=f"{name} {{0}}",
        latex=rf"\operatorname{{{{{name}}}}} {{0}}",
        samples=lambda: [
            Sample((draw(shape, 12),), {"axis": axis, "keepdims": keep}, f"shape {shape} along {axis}")
            for shape, axis in (((), None), ((2, 3), None), ((3,), 0), ((2, 3), 1), ((2, 1), 1), ((2, 3, 4), 1))
            for keep in (False, True)
        ],
    )

    @answers(function, samples=_calls)
    def position(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = MISSING) -> Any:
        refuse(f"np.{name}", out=out)
        axes_of(f"np.{name}", a, axis)  # of a number the axis 0 is allowed
        flat = axis is None or len(shape_of(a)) < 2
        return primitive(a, axis=None if flat else axis_of(f"np.{name}", a, axis), keepdims=kept(keepdims))

    return primitive


argmax = _position("argmax", np.argmax)
argmin = _position("argmin", np.argmin)
nanargmax = _position("nanargmax", np.nanargmax)
nanargmin = _position("nanargmin", np.nanargmin)


count_nonzero = Primitive(
    name="count_nonzero",
    forward=lambda x, axis, keepdims: np.intp(1) * np.count_nonzero(x, axis=axis, keepdims=keepdims),
    infer=infer_reduction(lambda dtype: np.dtype(np.intp)),
    vjps=(NO_GRADIENT,),
    spell=call_axis("np.count_nonzero"),
    text="the number of {0} ≠ 0",
    latex=r"\#\{{{0} \ne 0\}}",
    samples=lambda: reduction_samples(((2, 0), (1,))),
)


@answers(np.count_nonzero, samples=lambda: reduction_calls(where=False))
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return count_nonzero(a, axis=axes_of("np.count_nonzero", a, axis), keepdims=bool(keepdims))


# ---- positions in the flat array, and the places they are ----------------------------------------


def _order(name: str, order: str) -> bool:
    """Tell whether the last axis runs fastest."""
    if order not in ("C", "F"):
        raise ArgumentError(f"{name}: order is {order!r}, not 'C' or 'F'.")
    return order == "C"


def _check_within(name: str, places: Any, size: int) -> None:
    """Refuse positions outside an axis, where they are known."""
    value = known_value(places)
    if value is not None and np.size(value) and not (np.min(value) >= 0 and np.max(value) < size):
        wrong = np.ravel(value)[(np.ravel(value) < 0) | (np.ravel(value) >= size)][0]
        raise PositionError(f"{name}: {wrong} is not one of the positions 0 … {size - 1}.")


def _whole(name: str, places: Any) -> Any:
    if dtype_of(places).kind not in "iu":
        raise PositionError(f"{name} takes whole numbers, not {dtype_of(places)}. Convert them with .astype(int).")
    return astype(places, dtype=np.dtype(np.intp)) if isinstance(places, Traced) else np.asarray(places, np.intp)


@answers(
    np.unravel_index,
    samples=lambda: [
        Sample((np.array([5, 0, 3]), (2, 3))),
        Sample((np.array([[5, 23], [7, 0]]), (2, 3, 4)), {"order": "F"}),
        Sample((np.array(4), (2, 3))),
        Sample((np.array([1, 2]), 3)),
        Sample((np.zeros(0, int), (2, 3))),
    ],
)
def _unravel_index(indices: Any, shape: Any, order: str = "C") -> Any:
    name = "np.unravel_index"
    sizes = [operator.index(size) for size in (shape if isinstance(shape, tuple | list) else (shape,))]
    rest = _whole(name, indices)
    _check_within(f"{name} in {tuple(sizes)}", indices, math.prod(sizes))
    last_first, places = _order(name, order), []
    for size in reversed(sizes) if last_first else sizes:
        places.append(rest % size)
        rest = rest // size
    return tuple(reversed(places)) if last_first else tuple(places)


@answers(
    np.ravel_multi_index,
    samples=lambda: [
        Sample(((np.array([1, 0]), np.array([2, 1])), (2, 3))),
        Sample(((np.array(1), np.array([2, 1])), (2, 3), "raise", "F")),
        Sample(((np.array([-1, 3]), np.array([7, -2])), (2, 3)), {"mode": "wrap"}),
        Sample(((np.array([-1, 3]), np.array([7, -2])), (2, 3)), {"mode": ("clip", "wrap")}),
    ],
)
def _ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    name = "np.ravel_multi_index"
    sizes = [operator.index(size) for size in dims]
    modes = mode if isinstance(mode, tuple) else (mode,) * len(sizes)
    if not len(multi_index) == len(sizes) == len(modes):
        raise ArgumentError(f"{name}: {len(multi_index)} arrays of positions, {len(sizes)} axes, {len(modes)} modes.")
    result, stride = None, 1
    rows = list(zip(multi_index, sizes, modes, strict=True))
    for places, size, how in reversed(rows) if _order(name, order) else rows:
        where = _whole(name, places)
        if how == "raise":
            _check_within(name, places, size)
        elif how in ("wrap", "clip"):
            where = where % size if how == "wrap" else np.clip(where, 0, size - 1)
        else:
            raise ArgumentError(f"{name}: mode is {how!r}, not 'raise', 'wrap' or 'clip'.")
        result = where * stride if result is None else result + where * stride
        stride *= size
    return np.intp(0) if result is None else result
