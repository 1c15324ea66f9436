"""NumPy's functions that write into an array: on a traced one they do what ``x[i] = v`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, DTypeError, InPlaceError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, broadcast_shapes, total
from undertow.primitives.choice import condition_value
from undertow.primitives.index import fill, index, index_add, stacked
from undertow.primitives.record import Sample, Traced, answers, dtype_of, known_value, name_of, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import broadcast_to
from undertow.primitives.take import along, matched, within
from undertow.primitives.template import indexed_shape, put_together, take_apart


def target(function: str, x: Any) -> Any:
    """Return the array that a function writes into.

    Raises:
        InPlaceError: it is a plain one.
    """
    if not isinstance(x, Traced):
        error = InPlaceError(
            f"{function}: a plain NumPy array cannot take traced values, nor places that are traced: the derivative "
            f"would be lost. Make the array with np.zeros_like(x, shape=…), where x is traced, or a copy of it by "
            f"np.zeros_like(x, shape=…) + array."
        )
        error.plain = x
        raise error
    return x


def count(x: Any, function: str) -> int:
    """Return the number of elements; it has to be a number."""
    size = total(shape_of(x))
    if isinstance(size, Dim):
        raise NeedsConcreteSize(f"{function} counts the elements of the batch")
    return size


def resized(values: Any, size: int) -> Any:
    """Return values repeated, or cut, to this many."""
    values = np.ravel(stacked(values))
    have = count(values, "repeating values")
    if have == size:
        return values
    return values[np.arange(size) % have] if have else values


_MASK = np.array([[True, False, True], [False, True, False]])


@answers(
    np.copyto,
    samples=lambda: [
        Sample((draw((2, 3), 1), draw((2, 3), 2))),
        Sample((draw((2, 3), 1), draw((3,), 2)), {"where": _MASK}),
        Sample((draw((2, 3), 1), 1.5), {"where": _MASK[0]}),
        Sample((draw((2, 3), 1), draw((2, 1), 2)), {"casting": "unsafe"}),
    ],
)
def _copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    dst, src = target("np.copyto", dst), stacked(src)
    weak = isinstance(src, int | float) and not isinstance(src, bool)
    if not weak and not np.can_cast(dtype_of(src), dtype_of(dst), casting):
        raise DTypeError(f"np.copyto: {dtype_of(src)} is not written into {dtype_of(dst)} with casting={casting!r}.")
    dst[...] = src if where is True else np.where(where, fill(dst, src), dst)


@answers(
    np.put,
    samples=lambda: [
        Sample((draw((2, 3), 1), np.array([0, 4]), draw((2,), 2))),
        Sample((draw((2, 3), 1), [0, -1, 2], draw((2,), 2)), note="values repeat"),
        Sample((draw((2, 3), 1), [1, 1], draw((2,), 2)), note="the last one stays"),
        Sample((draw((3,), 1), 1, 2.5)),
        Sample((draw((3,), 1), [4, -5], draw((2,), 2)), {"mode": "wrap"}),
        Sample((draw((3,), 1), [4, -5], draw((2,), 2)), {"mode": "clip"}),
    ],
)
def _put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    line = np.ravel(target("np.put", a)).copy()
    places = np.ravel(within(ind, count(a, "np.put"), mode, "np.put"))
    line[places] = resized(v, count(places, "np.put"))
    a[...] = np.reshape(line, a.shape)


@answers(
    np.place,
    samples=lambda: [
        Sample((draw((2, 3), 1), _MASK, draw((3,), 2))),
        Sample((draw((2, 3), 1), _MASK, draw((2,), 2)), note="values repeat"),
        Sample((draw((2, 3), 1), _MASK.astype(int), [1.0, 2.0, 3.0, 4.0])),
    ],
)
def _place(arr: Any, mask: Any, vals: Any) -> None:
    arr = target("np.place", arr)
    kept = condition_value("np.place", mask, "Write x = np.where(mask, new, x).").astype(bool)
    places = np.flatnonzero(kept)
    if places.size and not total(shape_of(stacked(vals))):
        raise ArgumentError("np.place: there is no value to put in.")
    line = np.ravel(arr).copy()
    line[places] = resized(vals, places.size)
    arr[...] = np.reshape(line, arr.shape)


@answers(
    np.putmask,
    samples=lambda: [
        Sample((draw((2, 3), 1), _MASK, draw((2, 3), 2))),
        Sample((draw((2, 3), 1), _MASK, draw((2,), 2)), note="values repeat by place, not by number"),
        Sample((draw((2, 3), 1), _MASK, 2.5)),
    ],
)
def _putmask(a: Any, mask: Any, values: Any) -> None:
    a = target("np.putmask", a)
    mask = mask if dtype_of(mask).kind == "b" else np.not_equal(mask, 0)
    spread = stacked(values)
    if total(shape_of(spread)) != 1:
        spread = np.reshape(resized(spread, count(a, "np.putmask")), a.shape)
    a[...] = np.where(np.reshape(mask, a.shape), fill(a, spread), a)


@answers(
    np.put_along_axis,
    samples=lambda: [
        Sample((draw((2, 3), 1), np.array([[2, 0], [1, 0]]), draw((2, 2), 2), 1)),
        Sample((draw((2, 3), 1), np.array([[1, 0, 1]]), draw((1, 3), 2)), {"axis": 0}),
        Sample((draw((2, 3), 1), np.array([[1], [2]]), 0.5), {"axis": -1}, "a number"),
        Sample((draw((2, 3), 1), np.array([[1, 1], [0, 2]]), draw((2, 2), 2)), {"axis": 1}, "the last one stays"),
        Sample((draw((2, 3), 1), np.array([0, 4]), draw((2,), 2)), {"axis": None}),
    ],
)
def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    arr = target("np.put_along_axis", arr)
    base = np.ravel(arr).copy() if axis is None else arr
    _, spread, at = matched(base, indices, axis, "np.put_along_axis")
    base[along(spread, at, "np.put_along_axis")] = stacked(values)
    if axis is None:
        arr[...] = np.reshape(base, arr.shape)


# ---- ufunc.at ------------------------------------------------------------------------------------


def _at_samples(positive: bool = False) -> Callable[[], list[Sample]]:
    def numbers(shape: tuple[int, ...], seed: int) -> Any:
        return draw(shape, seed, positive=positive)

    return lambda: [
        Sample((numbers((4,), 1), np.array([0, 2, 2, 0]), numbers((4,), 2)), note="places repeat"),
        Sample((numbers((4,), 1), [3, -1], 1.5), note="a number"),
        Sample((numbers((2, 3), 1), (np.array([0, 1, 0]), np.array([2, 2, 2])), numbers((3,), 2))),
        Sample((numbers((2, 3), 1), np.array([1, 1]), numbers((3,), 2)), note="rows, the values broadcast"),
        Sample((numbers((3,), 1), slice(0, 2), numbers((2,), 2)), note="a slice"),
        Sample((numbers((3,), 1), np.array([], int), numbers((0,), 2)), note="nowhere"),
    ]


def _spread(function: str, a: Any, indices: Any, b: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Return the template of an index, its positions, and the values broadcast to what it picks."""
    template, picks = take_apart(a, indices)
    wanted = indexed_shape(shape_of(a), template, tuple(shape_of(p) for p in picks))
    if broadcast_shapes(shape_of(b), wanted) != wanted:
        raise ArgumentError(f"{function}: the values do not broadcast to what the index picks, {wanted}.")
    # recorded even where the values are plain: the shape may have the batch size in it, which is no number
    spread = b if shape_of(b) == wanted else a.bind(broadcast_to, (b,), {"shape": wanted})
    return template, tuple(picks), spread


def _added_up(a: Any, function: str, indices: Any, b: Any) -> Any:
    """Return zeros like a traced array, with the values added at places that may repeat."""
    template, picks, values = _spread(function, a, indices, b)
    # recorded even where places and values are plain, for the same reason
    return a.bind(index_add, (values, *picks), {"index": template, "shape": shape_of(a)})


@answers(np.add.at, samples=_at_samples())
def _add_at(a: Any, indices: Any, b: Any) -> None:
    a += _added_up(target("np.add.at", a), "np.add.at", indices, b)


@answers(np.subtract.at, samples=_at_samples())
def _subtract_at(a: Any, indices: Any, b: Any) -> None:
    a -= _added_up(target("np.subtract.at", a), "np.subtract.at", indices, b)


def _rounds(a: Any, indices: Any, function: str) -> list[tuple[Any, Any]]:
    """Split an index into rounds in which no place repeats: flat places in the array, and in the values."""
    template, picks = take_apart(a, indices)
    known = tuple(known_value(pick) for pick in picks)
    if any(pick is None for pick in known):
        raise UnsupportedError(
            f"{function}: which places repeat is not known while only shapes are traced. Write it with np.add.at, "
            f"or with places that are no argument of the function."
        )
    size = count(a, function)
    places = np.ravel(np.arange(size).reshape(shape_of(a))[put_together(template, known)])  # type: ignore[arg-type]
    order = np.argsort(places, kind="stable")
    new = np.flatnonzero(np.diff(places[order], prepend=-1))
    occurrence = np.empty(places.size, np.intp)
    occurrence[order] = np.arange(places.size) - np.repeat(new, np.diff(np.append(new, places.size)))
    rounds = range(int(occurrence.max(initial=-1)) + 1)
    return [(places[at], at) for at in (np.flatnonzero(occurrence == number) for number in rounds)]


def _answer_at(ufunc: np.ufunc, positive: bool = False) -> None:
    """Answer ``ufunc.at``: one place after the other, as many at a time as do not repeat."""
    method = ufunc.at
    name = name_of(method)

    def at(a: Any, indices: Any, *b: Any) -> None:
        target(name, a)
        values = [np.ravel(_spread(name, a, indices, x)[2]) for x in b]
        line = np.ravel(a).copy()
        for places, chosen in _rounds(a, indices, name):
            line[places] = ufunc(index(line, places), *[index(x, chosen) for x in values])
        a[...] = np.reshape(line, a.shape)

    def samples() -> list[Sample]:
        found = _at_samples(positive)()
        return found if ufunc.nin == 2 else [Sample(s.args[:2], s.params, s.note) for s in found]

    answers(method, samples=samples)(at)


_SIGNED: tuple[np.ufunc, ...] = (np.multiply, np.maximum, np.minimum, np.negative, np.absolute, np.square, np.exp)
_POSITIVE: tuple[np.ufunc, ...] = (np.divide, np.power, np.sqrt)
for _ufunc in (*_SIGNED, *_POSITIVE):
    _answer_at(_ufunc, positive=_ufunc in _POSITIVE)
