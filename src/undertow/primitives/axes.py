"""Moving, inserting and naming axes: all of these are transposes and reshapes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Shape, show_shape
from undertow.primitives.record import Sample, answers, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import expand_dims, transpose


def one_axis(function: str, axis: Any, shape: Shape) -> int:
    """Return an axis counted from the front.

    Raises:
        ShapeError: there is no such axis; names the function, the axis and the shape.
    """
    at = operator.index(axis)
    if not -len(shape) <= at < len(shape):
        raise ShapeError(f"{function}: there is no axis {at} in an array of shape {show_shape(shape)}.")
    return at % len(shape)


@answers(
    np.swapaxes, samples=calls(((2, 3, 4), 0, 2), ((2, 3, 4), -1, 1), ((2, 3), 0, 0), ((3,), 0, -1), ((0, 2), 0, 1))
)
def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    shape = shape_of(a)
    order = list(range(len(shape)))
    i, j = (one_axis("np.swapaxes", axis, shape) for axis in (axis1, axis2))
    order[i], order[j] = order[j], order[i]
    return transpose(a, axes=tuple(order))


@answers(
    np.moveaxis,
    samples=calls(
        ((2, 3, 4), 0, -1), ((2, 3, 4), (0, 1), (-1, 0)), ((2, 3, 4), [2, 0], [0, 1]), ((3,), 0, 0), ((0, 1, 2), -1, 0)
    ),
)
def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = len(shape_of(a))
    taken = np.lib.array_utils.normalize_axis_tuple(source, ndim, "source")
    placed = np.lib.array_utils.normalize_axis_tuple(destination, ndim, "destination")
    if len(taken) != len(placed):
        raise ShapeError(f"np.moveaxis moves {len(taken)} axes to {len(placed)} places. Name as many of each.")
    order = [i for i in range(ndim) if i not in taken]
    for place, axis in sorted(zip(placed, taken, strict=True)):
        order.insert(place, axis)
    return transpose(a, axes=tuple(order))


def move_axis(x: Any, source: int, destination: int) -> Any:
    """Move one axis; both places count from the front."""
    order = [i for i in range(len(shape_of(x))) if i != source]
    order.insert(destination, source)
    return x if source == destination else transpose(x, axes=tuple(order))


@answers(
    np.rollaxis, samples=calls(((2, 3, 4), 2), ((2, 3, 4), 0, 3), ((2, 3, 4), 1, -1), ((2, 3, 4), -1, 1), ((3,), 0))
)
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    shape = shape_of(a)
    ndim, at = len(shape), one_axis("np.rollaxis", axis, shape)
    if not -ndim <= start <= ndim:
        raise ShapeError(f"np.rollaxis: start={start} is no place among {ndim} axes.")
    start = start + ndim if start < 0 else start
    order = [i for i in range(ndim) if i != at]
    order.insert(start - 1 if at < start else start, at)
    return transpose(a, axes=tuple(order))


def _each(arrays: tuple[Any, ...], bring: Any) -> Any:
    found = tuple(bring(x) for x in arrays)
    return found[0] if len(found) == 1 else found


def to_1d(x: Any) -> Any:
    """Give a number an axis."""
    return x if shape_of(x) else expand_dims(x, axis=(0,))


def to_2d(x: Any) -> Any:
    """Insert axes in front until there are two."""
    return leading_axes(x, 2)


def to_3d(x: Any) -> Any:
    """Give an array three axes: (n,) becomes (1, n, 1), and (m, n) becomes (m, n, 1)."""
    ndim = len(shape_of(x))
    return x if ndim > 2 else expand_dims(x, axis=((0, 1, 2), (0, 2), (2,))[ndim])


def leading_axes(x: Any, ndim: int) -> Any:
    """Insert axes in front until there are ``ndim``."""
    missing = ndim - len(shape_of(x))
    return expand_dims(x, axis=tuple(range(missing))) if missing > 0 else x


def _atleast_samples() -> list[Sample]:
    shapes: list[tuple[int, ...]] = [(), (1,), (3,), (2, 3), (2, 3, 2), (0,)]
    return [
        *(Sample((draw(shape, 1),)) for shape in shapes),
        Sample((draw((3,), 1), draw((), 2), draw((2, 2, 1), 3)), note="several"),
    ]


@answers(np.atleast_1d, samples=_atleast_samples)
def _atleast_1d(*arys: Any) -> Any:
    return _each(arys, to_1d)


@answers(np.atleast_2d, samples=_atleast_samples)
def _atleast_2d(*arys: Any) -> Any:
    return _each(arys, to_2d)


@answers(np.atleast_3d, samples=_atleast_samples)
def _atleast_3d(*arys: Any) -> Any:
    return _each(arys, to_3d)
