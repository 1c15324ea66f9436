"""Elements in another order or more than once: flip, roll, rot90, tile, repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, Spec, show_shape, total
from undertow.primitives.axes import one_axis
from undertow.primitives.index import Pick, Slice, index, index_add
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    call_axis,
    infer_like,
    known_value,
    normalize_axis,
    shape_of,
)
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _ravel, as_size, reshape

MOST_WRITTEN = 64  # positions written into a line of source; more of them are an array of positions

# ---- flip ------------------------------------------------------------------------------------------

flip: Primitive = Primitive(
    name="flip",
    forward=lambda x, axis: np.flip(x, axis),
    infer=infer_like,
    vjps=(lambda ct, out, x, axis: flip(ct, axis=axis),),
    spell=call_axis("np.flip"),
    text="flip({0})",
    latex=r"\operatorname{{flip}}({0})",
    flow=("flip({ct})",),
    latex_flow=(r"\operatorname{{flip}}({ct})",),
    view=True,
    samples=lambda: [
        Sample((draw(shape, 1),), {"axis": axis})
        for shape, axis in (
            ((), ()),
            ((3,), (0,)),
            ((1,), (0,)),
            ((2, 3), (1,)),
            ((2, 3), (0, 1)),
            ((2, 3, 4), (0, 2)),
            ((2, 0), (0,)),
            ((2, 3), ()),
        )
    ],
)


@answers(np.flip, samples=calls(((3,),), ((2, 3),), ((2, 3), -1), ((2, 3, 2), (0, -1)), ((),), ((0, 2), {"axis": 0})))
def _flip(m: Any, axis: Any = None) -> Any:
    return flip(m, axis=normalize_axis(axis, len(shape_of(m))))


@answers(np.fliplr, samples=calls(((2, 3),), ((2, 3, 2),), ((2, 1),), ((2, 0),)))
def _fliplr(m: Any) -> Any:
    return flip(m, axis=(one_axis("np.fliplr", 1, shape_of(m)),))


@answers(np.flipud, samples=calls(((3,),), ((2, 3),), ((1, 3, 2),), ((0,),)))
def _flipud(m: Any) -> Any:
    return flip(m, axis=(one_axis("np.flipud", 0, shape_of(m)),))


def _infer_rot90(x: Spec, k: int, axes: tuple[int, int]) -> Spec:
    sizes = list(x.shape)
    if k % 2:
        sizes[axes[0]], sizes[axes[1]] = sizes[axes[1]], sizes[axes[0]]
    return Spec(tuple(sizes), x.dtype)


def _spell_rot90(x: Code, *, k: int, axes: tuple[int, int], **_: Any) -> Code:
    tail = "" if axes == (0, 1) else f", axes={axes}"
    return Code(f"np.rot90({x.text}{'' if k == 1 else f', {k}'}{tail})")


rot90: Primitive = Primitive(
    name="rot90",
    forward=lambda x, k, axes: np.rot90(x, k, axes),
    infer=_infer_rot90,
    vjps=(lambda ct, out, x, k, axes: rot90(ct, k=-k, axes=axes),),
    spell=_spell_rot90,
    text="{0} turned",
    latex=r"\operatorname{{turn}}({0})",
    flow=("{ct} turned back",),
    latex_flow=(r"\operatorname{{turn}}^{{-1}}({ct})",),
    view=True,
    samples=lambda: [
        Sample((draw(shape, 1),), {"k": k, "axes": axes})
        for shape, k, axes in (
            ((2, 3), 1, (0, 1)),
            ((2, 3), 2, (0, 1)),
            ((2, 3), -1, (0, 1)),
            ((2, 3), 0, (0, 1)),
            ((2, 3, 4), 1, (2, 0)),
            ((2, 3, 4), 7, (1, 2)),
            ((1, 1), 3, (1, 0)),
            ((0, 2), 1, (0, 1)),
        )
    ],
)


@answers(
    np.rot90,
    samples=calls(
        ((2, 3),), ((2, 3), 2), ((2, 3), -1), ((2, 3), 4), ((2, 3, 4), 3, (0, -1)), ((3, 3), {"k": 1, "axes": (1, 0)}),
        ((1, 2), 3), ((0, 2),),
    ),
)  # fmt: skip
def _rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    if len(axes) != 2:
        raise ShapeError(f"np.rot90 turns a plane of two axes, not axes={tuple(axes)}.")
    first, second = (one_axis("np.rot90", axis, shape_of(m)) for axis in axes)
    if first == second:
        raise ShapeError(f"np.rot90 turns a plane of two axes, and axes={tuple(axes)} names one twice.")
    return rot90(m, k=k.__index__(), axes=(first, second))


# ---- roll ------------------------------------------------------------------------------------------


def _spell_roll(x: Code, *, shift: tuple[int, ...], axis: tuple[int, ...], ndim: int, **_: Any) -> Code:
    if len(axis) != 1:
        return Code(f"np.roll({x.text}, {shift}, axis={axis})")
    return Code(f"np.roll({x.text}, {shift[0]}{'' if ndim == 1 else f', axis={axis[0]}'})")


roll: Primitive = Primitive(
    name="roll",
    forward=lambda x, shift, axis: np.roll(x, shift, axis),
    infer=infer_like,
    vjps=(lambda ct, out, x, shift, axis: roll(ct, shift=tuple(-s for s in shift), axis=axis),),
    spell=_spell_roll,
    text="roll({0})",
    latex=r"\operatorname{{roll}}({0})",
    flow=("{ct} rolled back",),
    latex_flow=(r"\operatorname{{roll}}^{{-1}}({ct})",),
    samples=lambda: [
        Sample((draw(shape, 1),), {"shift": shift, "axis": axis})
        for shape, shift, axis in (
            ((4,), (1,), (0,)),
            ((4,), (-6,), (0,)),
            ((2, 3), (1,), (1,)),
            ((2, 3), (1, -1), (0, 1)),
            ((1, 3), (0,), (0,)),
            ((0, 3), (1,), (0,)),
            ((2, 3, 4), (1, 2), (0, 2)),
        )
    ],
)


@answers(
    np.roll,
    samples=calls(
        ((4,), 1), ((4,), -5), ((2, 3), 2), ((2, 3), 1, 0), ((2, 3), (1, -1), (0, 1)), ((2, 3), 1, (0, -1)),
        ((2, 3), (1, 1), 1), ((2, 3), {"shift": 0, "axis": 1}), ((1,), 3), ((0, 3), 1, 0), ((), 1), ((3,), (1, 1)),
    ),
)  # fmt: skip
def _roll(a: Any, shift: Any, axis: Any = None) -> Any:
    shape = shape_of(a)
    if axis is None:
        rolled = _roll(_ravel(a), shift, 0)
        return rolled if len(shape) == 1 else reshape(rolled, shape=shape).copy()
    shifts, axes = np.broadcast_arrays(np.asarray(known_positions("np.roll", shift)), np.asarray(axis))
    total_shift: dict[int, int] = {}
    for amount, at in zip(shifts.ravel(), axes.ravel(), strict=True):
        i = one_axis("np.roll", at, shape)
        total_shift[i] = total_shift.get(i, 0) + int(amount)
    return roll(a, shift=tuple(total_shift.values()), axis=tuple(total_shift))


def known_positions(function: str, x: Any) -> Any:
    """Return integers that decide about a shape, which may be traced where their values are known.

    Raises:
        UnsupportedError: they are not.
    """
    value = known_value(x)
    if value is None and x is not None:
        raise UnsupportedError(
            f"{function}: where elements go depends on a traced array whose values are not known from shapes alone. "
            f"Pass it as a plain array from outside the function, or use np.take with an array of positions."
        )
    return value


# ---- tile ------------------------------------------------------------------------------------------


def _tiled(shape: Shape, reps: tuple[Size, ...]) -> list[tuple[Size, Size]]:
    """Pair each axis of the result's size in x with how often it is laid down."""
    return list(zip(((1,) * (len(reps) - len(shape)) + shape), reps, strict=True))


def _tile_back(ct: Any, out: Any, x: Any, reps: tuple[Size, ...]) -> Any:
    sizes: list[Size] = []
    summed: list[int] = []
    for size, count in _tiled(shape_of(x), reps):
        if count != 1:
            summed.append(len(sizes))
            sizes.append(count)
        sizes.append(size)
    if summed:
        ct = np.sum(reshape(ct, shape=tuple(sizes)), axis=tuple(summed))
    return reshape(ct, shape=shape_of(x))


tile: Primitive = Primitive(
    name="tile",
    forward=lambda x, reps: np.tile(x, reps),
    infer=lambda x, reps: Spec(tuple(total(pair) for pair in _tiled(x.shape, reps)), x.dtype),
    vjps=(_tile_back,),
    spell=lambda x, *, reps, **_: Code(f"np.tile({x.text}, {reps[0] if len(reps) == 1 else show_shape(reps)})"),
    text="tile({0})",
    latex=r"\operatorname{{tile}}({0})",
    flow=("Σ {ct} over the copies",),
    latex_flow=(r"\sum_{{\text{{copies}}}} {ct}",),
    samples=lambda: [
        Sample((draw(shape, 1),), {"reps": reps})
        for shape, reps in (
            ((), (3,)),
            ((3,), (2,)),
            ((3,), (1,)),
            ((2, 3), (1, 2)),
            ((2, 3), (2, 2)),
            ((3,), (2, 1)),
            ((2, 1), (2, 3, 4)),
            ((2,), (0,)),
            ((0, 2), (2, 2)),
        )
    ],
)


@answers(
    np.tile,
    samples=calls(
        ((3,), 2), ((3,), (2, 2)), ((2, 3), 2), ((2, 3), (2, 1)), ((2, 3), [3, 1, 2]), ((), 3), ((1,), (1,)),
        ((2,), 0), ((0, 2), (1, 2)), ((2, 3), 1), ((3,), ()), ((3,), np.array([2, 1])),
    ),
)  # fmt: skip
def _tile(A: Any, reps: Any) -> Any:
    counts = tuple(as_size(e) for e in reps) if np.iterable(reps) else (as_size(reps),)
    return tile(A, reps=(1,) * (len(shape_of(A)) - len(counts)) + counts)


# ---- repeat ----------------------------------------------------------------------------------------


def _infer_repeat(x: Spec, repeats: Size | tuple[int, ...], axis: int) -> Spec:
    size = x.shape[axis]
    if not isinstance(repeats, tuple):
        new = total((size, repeats))
    elif isinstance(size, Dim):
        raise NeedsConcreteSize("how often each row of the batch is repeated depends on its size")
    elif len(repeats) != size:
        raise ShapeError(f"np.repeat was given {len(repeats)} numbers of repeats for {size} elements. Give one each.")
    else:
        new = sum(repeats)
    return Spec((*x.shape[:axis], new, *x.shape[axis + 1 :]), x.dtype)


def _repeat_back(ct: Any, out: Any, x: Any, repeats: Size | tuple[int, ...], axis: int) -> Any:
    shape = shape_of(x)
    if isinstance(repeats, tuple):
        places = np.repeat(np.arange(len(repeats)), repeats)
        return index_add(
            ct, places, index=((Slice(),) * axis + (Pick(0),)) + (Slice(),) * (len(shape) - axis - 1), shape=shape
        )
    return np.sum(reshape(ct, shape=(*shape[: axis + 1], repeats, *shape[axis + 1 :])), axis=axis + 1)


def _spell_repeat(x: Code, *, repeats: Size | tuple[int, ...], axis: int, ndim: int, **_: Any) -> Code:
    often = f"[{', '.join(map(str, repeats))}]" if isinstance(repeats, tuple) else repeats
    return Code(f"np.repeat({x.text}, {often}{'' if ndim == 1 else f', axis={axis}'})")


repeat: Primitive = Primitive(
    name="repeat",
    forward=lambda x, repeats, axis: np.repeat(x, repeats, axis),
    infer=_infer_repeat,
    vjps=(_repeat_back,),
    spell=_spell_repeat,
    text="repeat({0})",
    latex=r"\operatorname{{repeat}}({0})",
    flow=("Σ {ct} over the repeats",),
    latex_flow=(r"\sum_{{\text{{repeats}}}} {ct}",),
    samples=lambda: [
        Sample((draw(shape, 1),), {"repeats": repeats, "axis": axis})
        for shape, repeats, axis in (
            ((3,), 2, 0),
            ((1,), 3, 0),
            ((2, 3), 2, 0),
            ((2, 3), 3, 1),
            ((2, 3), (2, 0, 1), 1),
            ((3,), (1, 2, 3), 0),
            ((2, 3, 2), (1, 2), 2),
            ((3,), 0, 0),
            ((0, 2), 2, 0),
        )
    ],
)


@answers(
    np.repeat,
    samples=calls(
        ((3,), 2), ((3,), [1, 0, 2]), ((2, 3), 2), ((2, 3), 2, 0), ((2, 3), [2, 1], 0), ((2, 3), [1, 2, 0], -1),
        ((2, 3), {"repeats": [3], "axis": 1}), ((2, 2), [1, 2, 1, 0]), ((), 3), ((), [2]), ((1,), np.array([2])),
        ((3,), 0), ((0, 2), 2, 0), ((70,), [1, 2] * 35),
    ),
)  # fmt: skip
def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    if axis is None or (not shape_of(a) and axis in (0, -1)):
        a, axis = (a if len(shape_of(a)) == 1 else _ravel(a)), 0
    at = one_axis("np.repeat", axis, shape_of(a))
    if isinstance(repeats, Traced) and not shape_of(repeats):
        return repeat(a, repeats=as_size(repeats), axis=at)
    often = np.asarray(known_positions("np.repeat", repeats))
    if often.dtype.kind not in "iub" or often.ndim > 1 or (often < 0).any():
        raise ShapeError(f"np.repeat takes whole numbers of repeats that are not negative, not {repeats!r}.")
    if often.size == 1:
        return repeat(a, repeats=int(often.reshape(())), axis=at)
    if often.size > MOST_WRITTEN:
        places = np.repeat(np.arange(shape_of(a)[at]), often)  # type: ignore[arg-type]
        return index(a, (*(slice(None),) * at, places))
    return repeat(a, repeats=tuple(int(n) for n in often), axis=at)
