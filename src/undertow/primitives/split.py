"""Taking arrays apart along an axis. The parts are views, as they are in NumPy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, show_shape
from undertow.primitives.arrange import known_positions
from undertow.primitives.axes import one_axis
from undertow.primitives.index import index
from undertow.primitives.record import Sample, answers, known_value, normalize_axis, shape_of
from undertow.primitives.sampling import calls


def _cut(function: str, x: Any, axis: Any, sections: Any, equal: bool) -> list[Any]:
    """Cut into a number of sections, or at positions.

    Raises:
        ShapeError: ``equal`` sections are wanted and the size is no multiple of their number.
        NeedsConcreteSize: the batch is cut, and its size is only a name.
    """
    at = one_axis(function, axis, shape_of(x))
    size = shape_of(x)[at]
    if isinstance(size, Dim):
        raise NeedsConcreteSize(f"{function} cuts the batch, and its size is not known")
    sections = known_positions(function, sections)
    if np.iterable(sections):
        ends: list[Any] = [None, *sections, None]
    else:
        count = int(sections)
        if count < 1:
            raise ShapeError(f"{function}: {count} sections; there must be at least one.")
        if equal and size % count:
            raise ShapeError(f"{function}: an axis of size {size} has no {count} equal parts. Use np.array_split.")
        whole, extra = divmod(size, count)
        ends = [None, *(i * whole + min(i, extra) for i in range(1, count)), None]
    full = (slice(None),) * at
    return [index(x, (*full, slice(start, stop))) for start, stop in pairwise(ends)]


@answers(
    np.split,
    samples=calls(
        ((6,), 3), ((6,), [1, 4]), ((2, 4), 2, 1), ((2, 4), (1, -1), -1), ((4, 2), {"indices_or_sections": 2}),
        ((3,), 1),         ((3,), [0, 5]), ((0, 2), 2, 1), ((6,), np.array([2, 3])),
    ),
)  # fmt: skip
def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    return _cut("np.split", ary, axis, indices_or_sections, equal=True)


@answers(
    np.array_split,
    samples=calls(
        ((7,), 3), ((2, 5), 3, 1), ((5, 2), [2, 3]), ((2,), 4), ((7, 2), {"indices_or_sections": 2, "axis": 0})
    ),
)
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    return _cut("np.array_split", ary, axis, indices_or_sections, equal=False)


def _at_least(function: str, x: Any, ndim: int) -> None:
    if len(shape_of(x)) < ndim:
        raise ShapeError(
            f"{function} needs at least {ndim} axes, and {show_shape(shape_of(x))} has {len(shape_of(x))}."
        )


@answers(np.hsplit, samples=calls(((6,), 2), ((2, 4), 2), ((2, 4), [1]), ((2, 4, 2), 4)))
def _hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _at_least("np.hsplit", ary, 1)
    return _cut("np.hsplit", ary, 1 if len(shape_of(ary)) > 1 else 0, indices_or_sections, equal=True)


@answers(np.vsplit, samples=calls(((4, 3), 2), ((4, 3), [1]), ((2, 2, 2), 1)))
def _vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _at_least("np.vsplit", ary, 2)
    return _cut("np.vsplit", ary, 0, indices_or_sections, equal=True)


@answers(np.dsplit, samples=calls(((2, 2, 4), 2), ((2, 2, 4), [1, 3])))
def _dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    _at_least("np.dsplit", ary, 3)
    return _cut("np.dsplit", ary, 2, indices_or_sections, equal=True)


@answers(np.unstack, samples=calls(((2, 3),), ((2, 3), {"axis": 1}), ((2, 3, 2), {"axis": -1}), ((3,),), ((1, 0),)))
def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    at = one_axis("np.unstack", axis, shape_of(x))
    size = shape_of(x)[at]
    if isinstance(size, Dim):
        raise NeedsConcreteSize("np.unstack counts the rows of the batch")
    return tuple(index(x, (*(slice(None),) * at, i)) for i in range(size))


# How many zeros go depends on values, so the common tests, which trace without, only see integers.
@answers(np.trim_zeros, samples=lambda: [Sample((np.array([0, 1, 0, 2, 0]),)), Sample((np.array([0, 0]), "f"))])
def _trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    value = known_value(filt)
    if value is None:
        raise UnsupportedError(
            "np.trim_zeros: how many zeros there are is not known from shapes alone. Trim outside the function."
        )
    axes = normalize_axis(axis, np.ndim(value))
    if not axes:
        return filt
    places = np.argwhere(value)
    key = [slice(None)] * np.ndim(value)
    for i in axes:
        if places.size:
            first, last = int(places[:, i].min()), int(places[:, i].max())
            key[i] = slice(first if "f" in trim.lower() else None, last + 1 if "b" in trim.lower() else None)
        else:
            key[i] = slice(0, 0)
    return index(filt, tuple(key))
