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
    begin = begin.astype(np.intp, casting="same_kind" if begin.size else "unsafe")
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
        x = np.not_equal(array, 0) if kind.kind == "b" else astype(array, dtype=kind)
        x = np.moveaxis(x, place, 0)
        return np.moveaxis(reduce(x, begin, length), 0, place)


def _add(x: Any, begin: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> Any:
    """Add rows up where their segment is, each row as often as it is in one."""
    segment = np.repeat(np.arange(begin.size), length)
    row = np.arange(segment.size) + np.repeat(begin - (np.cumsum(length) - length), length)
    sums = np.zeros_like(x, shape=(begin.size, *np.shape(x)[1:]))
    np.add.at(sums, segment, x if np.array_equal(row, np.arange(np.shape(x)[0])) else x[row])
    return sums


def _in_halves(ufunc: np.ufunc) -> Callable[..., Any]:
    """Join neighbours within segments until each is one value: half as many are left each time."""

    def apply(x: Any, begin: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> Any:
        row = np.arange(length.sum()) + np.repeat(begin - (np.cumsum(length) - length), length)
        x = x[row]
        while length.max(initial=1) > 1:
            first, half = np.cumsum(length) - length, (length + 1) // 2
            step = np.arange(half.sum()) - np.repeat(np.cumsum(half) - half, half)
            left = np.repeat(first, half) + 2 * step
            paired = 2 * step + 1 < np.repeat(length, half)
            joined = ufunc(x[left], x[left + paired])
            x = np.where(paired.reshape(-1, *[1] * (len(shape_of(x)) - 1)), joined, x[left])
            length = half
        return x

    return apply


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
for _ufunc in (np.multiply, np.maximum, np.minimum, np.logaddexp, np.logical_and, np.logical_or):
    _answer_reduceat(_ufunc, _in_halves(_ufunc))
