"""Reductions of ufuncs that no NumPy function does: one value after the other, as NumPy folds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, UnsupportedError
from undertow.primitives.record import Sample, Traced, answers, count_of, dtype_of, name_of, refuse, shape_of
from undertow.primitives.reduction import axes_of, axis_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims

_MISSING: Any = np._NoValue

# Those for which the order does not matter are joined in halves where there are more: few operations for many values.
_ANY_ORDER = frozenset((np.hypot, np.logaddexp, np.logaddexp2, np.fmax, np.fmin))
_MOST_IN_A_ROW = 32


def _as_kind(x: Any, dtype: np.dtype[Any]) -> Any:
    return astype(x, dtype=dtype) if isinstance(x, Traced) else np.asarray(x).astype(dtype)


def _kind(ufunc: np.ufunc, array: Any, dtype: Any) -> np.dtype[Any]:
    """Return the type that a ufunc reduces in."""
    given = dtype_of(array) if dtype is None else np.dtype(dtype)
    return ufunc.resolve_dtypes((None, given, None), reduction=True)[0]


def _first(array: Any, axis: int) -> tuple[Any, int]:
    """Bring an axis to the front, and return its size, which has to be a number."""
    return np.moveaxis(array, axis, 0), int(count_of(array, (axis,)))


def _fold(ufunc: np.ufunc, x: Any, n: int, start: Any = None) -> Any:
    """Join the rows of an array, of which there is at least one, with what there is before them."""
    while ufunc in _ANY_ORDER and n > _MOST_IN_A_ROW:
        half = n // 2
        joined = ufunc(x[:half], x[half : 2 * half])
        x, n = (np.concatenate([joined, x[2 * half :]]) if n % 2 else joined), n - half
    result = x[0] if start is None else ufunc(start, x[0])
    for i in range(1, n):
        result = ufunc(result, x[i])
    return result


def _answer_reduce(ufunc: np.ufunc, samples: Callable[[], list[Sample]]) -> None:
    name = name_of(ufunc.reduce)

    @answers(ufunc.reduce, samples=samples)
    def reduce(
        array: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = _MISSING,
        where: Any = True,
    ) -> Any:
        refuse(name, out=out)
        if where is not True:
            raise UnsupportedError(f"{name}(..., where=...) cannot be traced. Call it without where=.")
        axes = axes_of(name, array, axis)
        if len(axes) > 1 and ufunc not in _ANY_ORDER:
            raise ArgumentError(f"{name} goes along one axis, since the order counts. Give axis= one number.")
        kind = _kind(ufunc, array, dtype)
        start = None if initial is _MISSING or initial is None else _as_kind(initial, kind)
        result = astype(array, dtype=kind)
        if not axes:  # a number
            return result if start is None else ufunc(start, result)
        for left, place in enumerate(sorted(axes, reverse=True), 1 - len(axes)):
            x, n = _first(result, place)
            if not n:
                like = np.zeros([int(count_of(array, (i,))) for i in range(len(shape_of(array)))], dtype_of(array))
                return ufunc.reduce(like, axis=axis, dtype=dtype, keepdims=keepdims, initial=initial)
            result = _fold(ufunc, x, n, None if left else start)
        return expand_dims(result, axis=tuple(sorted(axes))) if keepdims else result


def _scan(ufunc: np.ufunc, x: Any, n: int) -> Any:
    """Join each row with all before it."""
    if ufunc in _ANY_ORDER and n > _MOST_IN_A_ROW:
        apart = 1
        while apart < n:
            x = np.concatenate([x[:apart], ufunc(x[:-apart], x[apart:])])
            apart *= 2
        return x
    rows = [x[0]]
    for i in range(1, n):
        rows.append(ufunc(rows[-1], x[i]))
    return np.stack(rows)


def _answer_accumulate(ufunc: np.ufunc, samples: Callable[[], list[Sample]]) -> None:
    name = name_of(ufunc.accumulate)

    @answers(ufunc.accumulate, samples=samples)
    def accumulate(array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        refuse(name, out=out)
        place = axis_of(name, array, axis)
        x, n = _first(astype(array, dtype=_kind(ufunc, array, dtype)), place)
        return np.moveaxis(_scan(ufunc, x, n), 0, place) if n > 1 else np.moveaxis(x, 0, place).copy()


def _samples(positive: bool, options: Sequence[dict[str, Any]]) -> Callable[[], list[Sample]]:
    return lambda: [
        Sample((draw((4,), 1, positive=positive),)),
        Sample((draw((1,), 1, positive=positive),), note="one value"),
        *[Sample((draw((2, 3, 2), 1, positive=positive),), params, str(params)) for params in options],
    ]


_ALONG: list[dict[str, Any]] = [{"axis": 1}, {"axis": -1}]
_POSITIVE = (np.divide, np.hypot)
_FOLDED = (np.subtract, np.divide, np.hypot, np.logaddexp2, np.fmax, np.fmin)
for _ufunc in _FOLDED:
    _positive = _ufunc in _POSITIVE
    _several: list[dict[str, Any]] = [*_ALONG, {"axis": 0, "keepdims": True}, {"axis": 1, "initial": 0.5}]
    if _ufunc in _ANY_ORDER:
        _several += [{"axis": None}, {"axis": (0, 2), "keepdims": True}]
    _answer_reduce(_ufunc, _samples(_positive, _several))
    _answer_accumulate(_ufunc, _samples(_positive, _ALONG))
_answer_accumulate(np.logaddexp, _samples(False, _ALONG))
