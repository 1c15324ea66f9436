"""``ufunc.reduceat``: reductions of segments of an axis, one behind another or as they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import PositionError, ShapeError, UnsupportedError
from undertow.primitives.record import Sample, answers, count_of, dtype_of, known_value, name_of, refuse, shape_of
from undertow.primitives.reduction import axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype


def _segments(name: str, indices: Any, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return where each segment begins and how long it is: up to where the next begins, and one where that is before.

    Raises:
        UnsupportedError: the beginnings are not known while only shapes are traced.
        PositionError: a segment begins beyond the end.
        ShapeError: the beginnings have other than one axis.
    """
    known = known_value(indices)
    if known is None:
        raise UnsupportedError(
            f"{name}: where segments begin is not known while only shapes are traced. Let the function read it from "
            f"outside, or write np.add.at(out, segment, x) with the number of the segment of each row."
        )
    begin = np.asarray(known)
    if begin.ndim != 1:
        raise ShapeError(f"{name}: where segments begin has shape {begin.shape}. Give it one axis.")
    begin = begin.astype(np.intp, casting="same_kind")
    if begin.size and not (begin.min() >= 0 and begin.max() < size):
        raise PositionError(f"{name}: a segment begins outside of the {size} values. Check the indices.")
    length = np.diff(begin, append=size)
    return begin, np.where(length > 0, length, 1)


def _answer_reduceat(ufunc: np.ufunc, reduce: Callable[[Any, np.ndarray[Any, Any], np.ndarray[Any, Any]], Any]) -> None:
    name = name_of(ufunc.reduceat)

    @answers(ufunc.reduceat, samples=_samples)
    def reduceat(array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        refuse(name, out=out)
        place = axis_of(name, array, axis)
        begin, length = _segments(name, indices, int(count_of(array, (place,))))
        given = dtype_of(array) if dtype is None else np.dtype(dtype)
        kind = ufunc.reduceat(np.zeros(1, given), [0]).dtype  # sums of short whole numbers are longer
        x = np.moveaxis(astype(array, dtype=kind if kind.kind != "b" else dtype_of(array)), place, 0)
        return np.moveaxis(reduce(x, begin, length), 0, place)


def _add(x: Any, begin: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> Any:
    """Add rows up where their segment is, each row as often as it is in one."""
    segment = np.repeat(np.arange(begin.size), length)
    row = np.arange(segment.size) + np.repeat(begin - (np.cumsum(length) - length), length)
    sums = np.zeros_like(x, shape=(begin.size, *np.shape(x)[1:]))
    np.add.at(sums, segment, x if np.array_equal(row, np.arange(np.shape(x)[0])) else x[row])
    return sums


def _padded(reduce: Callable[..., Any], neutral: Callable[[np.dtype[Any]], Any]) -> Callable[..., Any]:
    """Reduce segments put side by side, the shorter ones filled up with what changes nothing."""

    def apply(x: Any, begin: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> Any:
        steps = np.arange(length.max(initial=1))
        within = steps < length[:, None]
        rows = x[np.where(within, begin[:, None] + steps, begin[:, None])]
        within = within.reshape(*within.shape, *[1] * (len(shape_of(x)) - 1))
        return reduce(np.where(within, rows, np.asarray(neutral(dtype_of(x)), dtype_of(x))), axis=1)

    return apply


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else dtype.kind != "b" and np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else dtype.kind == "b" or np.iinfo(dtype).max


def _samples() -> list[Sample]:
    return [
        Sample((draw((6,), 1), [0, 2, 3])),
        Sample((draw((6,), 1), np.array([1, 4])), note="not from the beginning"),
        Sample((draw((5,), 1), [3, 3, 0, 4, 2]), note="beginnings that repeat, and go back"),
        Sample((draw((4, 3), 1), [0, 2]), {"axis": 0}, "rows"),
        Sample((draw((2, 4, 2), 1), [0, 3]), {"axis": 1}, "along another axis"),
        Sample((draw((2, 3), 1), [0]), {"axis": -1}, "one segment"),
    ]


_answer_reduceat(np.add, _add)
_answer_reduceat(np.multiply, _padded(np.prod, lambda dtype: 1))
_answer_reduceat(np.maximum, _padded(np.max, _lowest))
_answer_reduceat(np.minimum, _padded(np.min, _highest))
_answer_reduceat(np.logaddexp, _padded(np.logaddexp.reduce, _lowest))
_answer_reduceat(np.logical_and, _padded(np.all, lambda dtype: 1))
_answer_reduceat(np.logical_or, _padded(np.any, lambda dtype: 0))
