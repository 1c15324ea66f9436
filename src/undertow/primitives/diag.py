"""Diagonal matrices, writing a diagonal, and the indices of diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Dim, NeedsConcreteSize, show_shape
from undertow.primitives.diagonal import diagonal, put_diagonal
from undertow.primitives.record import Sample, answers, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _ravel


@answers(
    np.diag,
    samples=calls(
        ((3,),),
        ((3,), 1),
        ((2,), -2),
        ((1,),),
        ((3, 3),),
        ((2, 4), 1),
        ((4, 2), {"k": -1}),
        ((0,),),
        ((0,), 1),
        ((2, 2), 3),
    ),
)
def _diag(v: Any, k: int = 0) -> Any:
    shape, offset = shape_of(v), k.__index__()
    if len(shape) == 2:
        return diagonal(v, offset=offset, axis1=0, axis2=1)
    if len(shape) != 1:
        raise ShapeError(f"np.diag takes a vector or a matrix, not an array of shape {show_shape(shape)}.")
    if isinstance(shape[0], Dim):
        raise NeedsConcreteSize("a diagonal matrix of the batch needs its size as a number")
    n = shape[0] + abs(offset)
    return put_diagonal(v, shape=(n, n), offset=offset, axis1=0, axis2=1)


@answers(np.diagflat, samples=calls(((3,),), ((2, 2), 1), ((), -1), ((1, 2), {"k": -1}), ((0,), 1)))
def _diagflat(v: Any, k: int = 0) -> Any:
    return _diag(_ravel(v), k)


@answers(
    np.fill_diagonal, samples=lambda: [Sample((np.zeros((3, 3), int), 7)), Sample((np.zeros((5, 2), int), 7, True))]
)
def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    shape = shape_of(a)
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise ShapeError(f"np.fill_diagonal takes a matrix, or more axes of one size, not {show_shape(shape)}.")
    if any(isinstance(size, Dim) for size in shape):
        raise NeedsConcreteSize("the length of a diagonal depends on the batch size")
    sizes = tuple(int(size) for size in shape)  # type: ignore[arg-type]
    if wrap and len(sizes) == 2:
        places = np.unravel_index(np.arange(0, sizes[0] * sizes[1], sizes[1] + 1), sizes)
    else:
        places = (np.arange(min(sizes)),) * len(sizes)
    if len(shape_of(val)):
        val = np.resize(val, len(places[0]))
    a[places] = val


# ---- indices, which only ask for the shape -------------------------------------------------------------


def _numbers(function: str, arr: Any, ndim: int | None) -> tuple[int, ...]:
    shape = shape_of(arr)
    if len(shape) < 2 or (ndim and len(shape) != ndim):
        raise ShapeError(f"{function} takes a matrix, not an array of shape {show_shape(shape)}.")
    if any(isinstance(size, Dim) for size in shape):
        raise NeedsConcreteSize(f"{function} counts the rows of the batch")
    return tuple(int(size) for size in shape)  # type: ignore[arg-type]


def _index_samples(*rest: Any) -> Any:
    return lambda: [Sample((draw((3, 3), 1), *rest)), Sample((draw((1, 1), 1), *rest))]


@answers(np.diag_indices_from, samples=_index_samples())
def _diag_indices_from(arr: Any) -> Any:
    sizes = _numbers("np.diag_indices_from", arr, None)
    if len(set(sizes)) > 1:
        raise ShapeError(f"np.diag_indices_from takes axes of one size, not {show_shape(sizes)}.")
    return np.diag_indices(sizes[0], len(sizes))


@answers(np.tril_indices_from, samples=_index_samples(-1))
def _tril_indices_from(arr: Any, k: int = 0) -> Any:
    rows, columns = _numbers("np.tril_indices_from", arr, 2)
    return np.tril_indices(rows, k, columns)


@answers(np.triu_indices_from, samples=_index_samples(1))
def _triu_indices_from(arr: Any, k: int = 0) -> Any:
    rows, columns = _numbers("np.triu_indices_from", arr, 2)
    return np.triu_indices(rows, k, columns)
