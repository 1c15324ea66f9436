"""Elements in other places: inserted, put on diagonals, copied around an array, and added back from there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.rewriting import filled
from undertow.primitives.edit import new_places
from undertow.primitives.index import Pick, Slice
from undertow.primitives.pad import COPIES


def _insert(x: Any, v: Any, at: Any, axis: int) -> Any:
    """Put the new elements behind the old ones, and pick all in the order in which they stand."""
    places = list(new_places(x.shape, v.shape, at, axis))
    v = v if v.dtype == x.dtype else P.astype(v, dtype=x.dtype)
    v = P.reshape(v, shape=(*[1] * (x.ndim - v.ndim), *v.shape))
    if isinstance(at, int):
        v = P.transpose(v, axes=(*range(1, axis + 1), 0, *range(axis + 1, v.ndim)))
    v = P.broadcast_to(v, shape=(*x.shape[:axis], len(places), *x.shape[axis + 1 :]))
    source = np.full(x.shape[axis] + len(places), -1)
    source[places] = np.arange(len(places)) + x.shape[axis]
    source[source < 0] = np.arange(x.shape[axis])
    return take_constant(np.concatenate([x, v], axis=axis), source, axis)


def take_constant(x: Any, source: Any, axis: int) -> Any:
    """Pick rows along an axis by places that are known: slices of neighbours, joined; picked one by one if many."""
    runs = [[int(i) for _, i in run] for _, run in groupby(enumerate(source), key=lambda pair: pair[1] - pair[0])]
    before: tuple[Any, ...] = (slice(None),) * axis
    if len(runs) > 16:
        index = (*[Slice()] * axis, Pick(0), *[Slice()] * (x.ndim - axis - 1))
        return P.getitem(x, np.asarray(source, np.int64), index=index)
    parts = [x[(*before, slice(run[0], run[-1] + 1))] for run in runs]
    return np.concatenate(parts, axis=axis) if parts else x[(*before, slice(0, 0))]


def _spread(x: Any, subscripts: str, shape: tuple[int, ...]) -> Any:
    """Zeros, but where all places of a letter are the same."""
    sizes = [size if subscripts.index(subscripts[axis]) == axis else 1 for axis, size in enumerate(shape)]
    x = P.broadcast_to(P.reshape(x, shape=tuple(sizes)), shape=shape)
    there: Any = True
    for axis, c in enumerate(subscripts):
        if subscripts.index(c) != axis:
            there = np.logical_and(there, _along(shape, axis) == _along(shape, subscripts.index(c)))
    return x if there is True else np.where(there, x, 0)


def _along(shape: tuple[int, ...], axis: int) -> Any:
    return np.arange(shape[axis]).reshape(shape[axis], *[1] * (len(shape) - axis - 1))


def _sources(n: int, before: int, after: int, mode: str) -> Any:
    return np.pad(np.arange(n), (before, after), mode)  # type: ignore[call-overload]


def _pad(x: Any, width: Any, mode: str, options: Any) -> Any:
    """What is around is copied from inside, or one number on each side."""
    given = dict(options)
    if mode == "constant":
        values = np.broadcast_to(np.asarray(given.get("constant_values", 0)), (x.ndim, 2))
        if not values.any():
            return None
        for axis, ((before, after), ends) in enumerate(zip(width, values, strict=True)):
            parts = [filled(x, x.dtype.type(value), (*x.shape[:axis], n, *x.shape[axis + 1 :]))
                     for n, value in zip((before, after), ends, strict=True)]  # fmt: skip
            x = np.concatenate([parts[0], x, parts[1]], axis=axis) if before or after else x
        return x
    if mode not in COPIES or set(given) - {"reflect_type"} or given.get("reflect_type", "even") != "even":
        return None
    for axis, (before, after) in enumerate(width):
        if before or after:
            x = take_constant(x, _sources(x.shape[axis], before, after, mode), axis)
    return x


def _fold_pad(x: Any, width: Any, mode: str) -> Any:
    """Add each row to the one that it was copied from."""
    for axis, (before, after) in enumerate(width):
        if before or after:
            n = x.shape[axis] - before - after
            index = (*[Slice()] * axis, Pick(0), *[Slice()] * (x.ndim - axis - 1))
            shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
            x = P.index_add(x, _sources(n, before, after, mode), index=index, shape=shape)
    return x


PLACES: dict[str, Callable[..., Any]] = {
    "insert": _insert,
    "spread": _spread,
    "pad": _pad,
    "fold_pad": _fold_pad,
}
