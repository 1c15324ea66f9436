"""Coordinates of a grid, and functions applied along the axes of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Size
from undertow.primitives.axes import move_axis, one_axis
from undertow.primitives.index import index
from undertow.primitives.record import Sample, Traced, answers, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import _expand_dims, fill_in, reshape, spread


def _meshgrid_samples() -> list[Sample]:
    x, y, z = draw((3,), 1), draw((2,), 2), draw((4,), 3)
    return [
        Sample((x, y)),
        Sample((x, y), {"indexing": "ij"}),
        Sample((x, y, z)),
        Sample((x, y, z), {"indexing": "ij", "copy": False}),
        Sample((x, y), {"sparse": True}),
        Sample((x, y, z), {"sparse": True, "indexing": "ij", "copy": False}),
        Sample((x,)),
        Sample((x, draw((), 4))),
        Sample((x, np.arange(2))),
        Sample((x, np.zeros(0))),
        Sample((draw((2, 2), 5), y)),
    ]


@answers(np.meshgrid, samples=_meshgrid_samples)
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"np.meshgrid: indexing={indexing!r} is neither 'xy' nor 'ij'.")
    places = list(range(len(xi)))
    if indexing == "xy" and len(xi) > 1:
        places[:2] = [1, 0]
    sizes = [fill_in(shape_of(x), (-1,))[0] if shape_of(x) else 1 for x in xi]
    full: list[Size] = [1] * len(xi)
    for place, size in zip(places, sizes, strict=True):
        full[place] = size
    grids, like = [], next((x for x in xi if isinstance(x, Traced)), None)
    for x, place, size in zip(xi, places, sizes, strict=True):
        x = reshape(x, shape=tuple(size if i == place else 1 for i in range(len(xi))))
        x = x if sparse else spread(x, tuple(full), like)
        grids.append(x.copy() if copy else x)
    return tuple(grids)


def _spread(x: Any) -> Any:
    return np.stack([x, x * x])


def _scaled(x: Any, factor: float, power: int = 1) -> Any:
    return factor * x**power


@answers(
    np.apply_along_axis,
    samples=lambda: [
        Sample((np.sum, 0, draw((2, 3), 1))),
        Sample((np.sum, -1, draw((2, 3, 2), 1))),
        Sample((_spread, 1, draw((2, 3, 2), 1))),
        Sample((_scaled, 1, draw((2, 3), 1), 2.0), {"power": 2}),
        Sample((_spread, 0, draw((3,), 1))),
        Sample((np.diag, -1, draw((2, 2), 1))),
    ],
)
def _apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    at = one_axis("np.apply_along_axis", axis, shape_of(arr))
    rest = tuple(size for i, size in enumerate(shape_of(arr)) if i != at)
    if any(isinstance(size, Dim) for size in rest):
        raise NeedsConcreteSize("np.apply_along_axis calls the function for every row of the batch")
    if 0 in rest:
        raise ShapeError("np.apply_along_axis: there is no row to apply the function to.")
    lines = move_axis(arr, at, len(rest))
    found = [func1d(index(lines, place), *args, **kwargs) for place in np.ndindex(*rest)]  # type: ignore[arg-type]
    inner = shape_of(found[0])
    stacked = reshape(np.stack(found), shape=(*rest, *inner))
    for i in range(len(inner)):  # the axes of the results go where the axis was
        stacked = move_axis(stacked, len(rest) + i, at + i)
    return stacked.copy()


@answers(
    np.apply_over_axes,
    samples=lambda: [
        Sample((np.sum, draw((2, 3, 4), 1), [0, 2])),
        Sample((np.mean, draw((2, 3), 1), 1)),
        Sample((np.max, draw((2, 3), 1), (-1,))),
    ],
)
def _apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    ndim = len(shape_of(a))
    for axis in axes if np.iterable(axes) else (axes,):
        at = one_axis("np.apply_over_axes", axis, shape_of(a))
        result = func(a, at)
        if len(shape_of(result)) != ndim:
            result = _expand_dims(result, at)
        if len(shape_of(result)) != ndim:
            raise ShapeError("np.apply_over_axes: the function must remove one axis or keep all.")
        a = result
    return a
