"""Arrays with elements put in or left out: append, insert, delete, resize."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, broadcast_shapes, show_shape, total
from undertow.primitives.arrange import MOST_WRITTEN, known_positions, tile
from undertow.primitives.axes import move_axis, one_axis
from undertow.primitives.index import index
from undertow.primitives.join import join
from undertow.primitives.like import fill_like
from undertow.primitives.record import Code, Primitive, Sample, answers, check_number, dtype_of, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _ravel, reshape, sizes_of

Places = tuple[int, ...]


def _spell_places(places: int | Places) -> str:
    """Write positions: a number, a list, or a slice where they are many and follow each other."""
    if isinstance(places, int):
        return str(places)
    if len(places) > 4 and places == tuple(range(places[0], places[-1] + 1)):
        return f"np.s_[{places[0]}:{places[-1] + 1}]"
    return str(list(places))


def _along(ndim: int, axis: int) -> str:
    return "" if ndim == 1 else f", axis={axis}"


def _size_along(x: Shape, axis: int) -> int:
    size = x[axis]
    if isinstance(size, Dim):
        raise NeedsConcreteSize("rows put into the batch or left out of it need its size as a number")
    return size


# ---- delete ------------------------------------------------------------------------------------------


def _infer_delete(x: Spec, at: Places, axis: int) -> Spec:
    return Spec((*x.shape[:axis], _size_along(x.shape, axis) - len(at), *x.shape[axis + 1 :]), x.dtype)


def _delete_back(ct: Any, out: Any, x: Any, at: Places, axis: int) -> Any:
    return insert(ct, 0.0, at=tuple(place - i for i, place in enumerate(at)), axis=axis)


def _spell_delete(x: Code, *, at: Places, axis: int, ndim: int, **_: Any) -> Code:
    return Code(f"np.delete({x.text}, {_spell_places(at[0] if len(at) == 1 else at)}{_along(ndim, axis)})")


delete: Primitive = Primitive(
    name="delete",
    forward=lambda x, at, axis: np.delete(x, list(at), axis),
    infer=_infer_delete,
    vjps=(_delete_back,),
    spell=_spell_delete,
    text="{0} without some elements",
    latex=r"\operatorname{{delete}}({0})",
    flow=("{ct}, zero where an element was left out",),
    latex_flow=(r"\operatorname{{insert}}({ct}, 0)",),
    samples=lambda: [
        Sample((draw(shape, 1),), {"at": at, "axis": axis})
        for shape, at, axis in (
            ((4,), (1,), 0),
            ((4,), (0, 3), 0),
            ((7,), (1, 2, 3, 4, 5), 0),
            ((2, 3), (1,), 1),
            ((2, 3), (0, 1), 0),
            ((2, 3), (), 1),
            ((1, 2), (0,), 0),
            ((2, 0), (1,), 0),
        )
    ],
)


@answers(
    np.delete,
    samples=calls(
        ((4,), 1), ((4,), -1), ((2, 3), 4), ((2, 3), 1, 1), ((2, 3), [0, -1], -1), ((4,), slice(None, None, 2)),
        ((4,), slice(3, 0, -2)), ((3, 2), [True, False, True], 0), ((3,), []), ((3,), [1, 1]), ((3,), np.array([2])),
        ((2, 0), {"obj": 0, "axis": 0}), ((1,), 0), ((150,), slice(None, None, 2)), ((), []), ((9,), slice(1, 8)),
    ),
)  # fmt: skip
def _delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = _ravel(arr), 0
    at = one_axis("np.delete", axis, shape_of(arr))
    size = _size_along(shape_of(arr), at)
    obj = known_positions("np.delete", obj)
    try:
        kept = np.delete(np.arange(size), obj)
    except (IndexError, ValueError) as error:
        raise ShapeError(f"np.delete: {error}.") from None
    gone = np.setdiff1d(np.arange(size), kept)
    if gone.size > MOST_WRITTEN and gone[-1] - gone[0] >= gone.size:
        return index(arr, (*(slice(None),) * at, kept))
    return delete(arr, at=tuple(int(i) for i in gone), axis=at)


# ---- insert ------------------------------------------------------------------------------------------


def counted(x: Shape, v: Shape, at: int | Places, axis: int) -> tuple[int, Shape]:
    """Count the new elements along the axis, and return the shape of v as it meets them."""
    if len(v) > len(x):
        raise ShapeError(f"values of shape {show_shape(v)} have more axes than the array {show_shape(x)}.")
    v = (1,) * (len(x) - len(v)) + v
    if isinstance(at, int):
        v = (*v[1 : axis + 1], v[0], *v[axis + 1 :])
    if not isinstance(at, int) and len(at) != 1:
        return len(at), v
    return _size_along(v, axis), v


def _infer_insert(x: Spec, v: Spec, at: int | Places, axis: int) -> Spec:
    count, met = counted(x.shape, v.shape, at, axis)
    room = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    if broadcast_shapes(met, room) != room:
        raise ShapeError(f"values of shape {show_shape(v.shape)} do not fit where {show_shape(room)} is inserted.")
    return Spec((*x.shape[:axis], _size_along(x.shape, axis) + count, *x.shape[axis + 1 :]), x.dtype)


def new_places(x: Shape, v: Shape, at: int | Places, axis: int) -> Places:
    """Return where the inserted elements stand in the result."""
    count, _ = counted(x, v, at, axis)
    size = _size_along(x, axis)
    if isinstance(at, int) or len(at) == 1:
        first = (at if isinstance(at, int) else at[0]) % (size + 1)
        return tuple(range(first, first + count))
    places = np.array(at)
    places[np.argsort(places, kind="stable")] += np.arange(count)
    return tuple(int(i) for i in places)


def _insert_back_array(ct: Any, out: Any, x: Any, v: Any, at: int | Places, axis: int) -> Any:
    places = new_places(shape_of(x), shape_of(v), at, axis)
    return delete(ct, at=tuple(sorted(places)), axis=axis)


def _insert_back_values(ct: Any, out: Any, x: Any, v: Any, at: int | Places, axis: int) -> Any:
    places = new_places(shape_of(x), shape_of(v), at, axis)
    follow = places == tuple(range(places[0], places[0] + len(places))) if places else False
    part = index(ct, (*(slice(None),) * axis, slice(places[0], places[-1] + 1) if follow else np.array(places, int)))
    return move_axis(part, axis, 0) if isinstance(at, int) else part


insert: Primitive = Primitive(
    name="insert",
    forward=lambda x, v, at, axis: np.insert(x, at if isinstance(at, int) else list(at), v, axis),
    infer=_infer_insert,
    vjps=(_insert_back_array, _insert_back_values),
    spell=lambda x, v, *, at, axis, ndim, **_: Code(
        f"np.insert({x.text}, {_spell_places(at)}, {v.text}{_along(ndim, axis)})"
    ),
    text="{0} with {1} inserted",
    latex=r"\operatorname{{insert}}({0}, {1})",
    flow=("{ct} without what was inserted", "{ct} where it was inserted"),
    latex_flow=(r"\operatorname{{delete}}({ct})", r"\operatorname{{part}}({ct})"),
    samples=lambda: [
        Sample((draw(shape, 1), draw(values, 2)), {"at": at, "axis": axis})
        for shape, values, at, axis in (
            ((3,), (), 1, 0),
            ((3,), (2,), 0, 0),
            ((3,), (2,), (1,), 0),
            ((3,), (2,), (2, 0), 0),
            ((3,), (3,), (1, 1, 3), 0),
            ((2, 3), (2,), 1, 1),
            ((2, 3), (3,), 0, 0),
            ((2, 3), (2, 1), (1,), 1),
            ((2, 3), (2, 1), (0, 2), 1),
            ((2, 3), (), (0, 2), 0),
            ((2, 3), (4, 2), 3, 1),
            ((2, 3), (1,), (), 0),
            ((0,), (2,), 0, 0),
            ((2, 3, 2), (2, 2), 1, 1),
        )
    ],
)


def _insert_samples() -> list[Sample]:
    rows: list[Any] = [
        ((3,), 1, (), {}),
        ((3,), -1, (2,), {}),
        ((2, 3), 2, (), {}),
        ((2, 3), 1, (2,), {"axis": 1}),
        ((2, 3), [1], (2, 1), {"axis": 1}),
        ((2, 3), [0, -1], (2, 1), {"axis": -1}),
        ((3,), [2, 0, 2], (3,), {}),
        ((3,), slice(0, 3, 2), (2,), {}),
        ((3,), slice(1, 2), (2,), {}),
        ((3,), np.array([True, False, True]), (2,), {}),
        ((2, 3), np.array([0, 1]), (3,), {"axis": 0}),
        ((3,), [], (1,), {}),
        ((0, 2), 0, (2,), {"axis": 0}),
        ((), 0, (), {}),
    ]
    made = [Sample((draw(a, 1), obj, draw(v, 2)), params) for a, obj, v, params in rows]
    return [
        *made,
        Sample((draw((2, 2), 1), 1, 7.5), {"axis": 1}),
        Sample((np.arange(3.0), 1, [draw((), 2), draw((), 3)])),
    ]


@answers(np.insert, samples=_insert_samples)
def _insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = _ravel(arr), 0
    at = one_axis("np.insert", axis, shape_of(arr))
    size = _size_along(shape_of(arr), at)
    obj = known_positions("np.insert", obj)
    places = np.arange(*obj.indices(size)) if isinstance(obj, slice) else np.asarray(obj)
    if places.dtype == bool:
        places = np.flatnonzero(places)
    places = places.astype(np.intp) if places.size == 0 else places
    if places.ndim > 1 or places.dtype.kind not in "iu":
        raise ArgumentError(f"np.insert takes an integer, a slice, or a list of integers as obj, not {obj!r}.")
    if (places < -size).any() or (places > size).any():
        raise ShapeError(f"np.insert: position {obj!r} is beyond an axis of size {size}.")
    places = np.where(places < 0, places + size, places)
    check_number(values, dtype_of(arr))
    if isinstance(values, list | tuple):
        values = np.stack([*values]) if len(values) else np.array(values)
    return insert(arr, values, at=int(places) if places.ndim == 0 else tuple(int(i) for i in places), axis=at)


# ---- append, resize ----------------------------------------------------------------------------------


@answers(
    np.append,
    samples=lambda: [
        Sample((draw((3,), 1), draw((2,), 2))),
        Sample((draw((2, 3), 1), draw((2,), 2))),
        Sample((draw((2, 3), 1), draw((1, 3), 2), 0)),
        Sample((draw((2, 1), 1), draw((2, 2), 2)), {"axis": -1}),
        Sample((draw((), 1), draw((), 2))),
        Sample((draw((2,), 1), 1.5)),
        Sample((np.zeros(0), draw((2,), 2))),
    ],
)
def _append(arr: Any, values: Any, axis: Any = None) -> Any:
    parts = [_ravel(arr), _ravel(values)] if axis is None else [arr, values]
    return join("np.append", parts, 0 if axis is None else axis)


@answers(
    np.resize,
    samples=calls(
        ((2, 3), (3, 4)), ((3,), 2), ((3,), 7), ((2, 3), (3, 2)), ((), 3), ((3,), (0, 2)), ((0,), (2,)), ((2,), ())
    ),
)
def _resize(a: Any, new_shape: Any) -> Any:
    shape = sizes_of(new_shape)
    if any(isinstance(size, int) and size < 0 for size in shape):
        raise ShapeError(f"np.resize: {show_shape(shape)} has a negative size.")
    wanted, size = total(shape), total(shape_of(a))
    if not wanted or not size:
        return fill_like(a, 0, shape=shape)
    if isinstance(wanted, Dim) or isinstance(size, Dim):
        raise NeedsConcreteSize("how often np.resize repeats the array depends on the batch size")
    flat = tile(_ravel(a), reps=(-(-wanted // size),))
    return reshape(flat[:wanted] if wanted % size else flat, shape=shape).copy()
