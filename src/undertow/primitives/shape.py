"""Shapes and dtypes: reshaping, transposing, repeating, joining, casting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import DTypeError, ShapeError, UnsupportedError
from undertow.graph import (
    Dim,
    NeedsConcreteSize,
    Shape,
    Size,
    Spec,
    broadcast_shapes,
    divide_sizes,
    show_shape,
    total,
)
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    Traced,
    answers,
    dtype_of,
    known_value,
    normalize_axis,
    shape_of,
)
from undertow.primitives.sampling import calls, draw


def as_size(entry: Any) -> Size:
    """Return one entry of a shape: an int, or the symbolic size that a traced number stands for."""
    return entry.as_size() if isinstance(entry, Traced) else entry if isinstance(entry, Dim) else int(entry)  # type: ignore[attr-defined]


def show_sizes(shape: Shape) -> str:
    """Write a shape as arguments: ``m, 10``."""
    return ", ".join(map(str, shape))


# ---- reshape -------------------------------------------------------------------------------------

reshape: Primitive = Primitive(
    name="reshape",
    forward=lambda x, shape: np.reshape(x, shape),
    infer=lambda x, shape: Spec(shape, x.dtype, x.weak and shape == ()),
    vjps=(lambda ct, out, x, shape: reshape(ct, shape=shape_of(x)),),
    spell=lambda x, *, shape, **_: Code(f"{x.within(9)}.reshape({show_sizes(shape) or '()'})"),
    text="{0} reshaped",
    latex=r"\operatorname{{reshape}}({0})",
    flow=("{ct} reshaped back",),
    latex_flow=(r"\operatorname{{reshape}}({ct})",),
    view=True,
    samples=lambda: [
        Sample((draw(a, 1),), {"shape": b})
        for a, b in (
            ((6,), (2, 3)),
            ((2, 3), (3, 2)),
            ((), (1,)),
            ((1, 1), ()),
            ((0, 3), (3, 0)),
            ((2, 3), (6,)),
        )
    ],
)


def sizes_of(shape: Any) -> tuple[Size, ...]:
    """Return a shape as people give it, a number or a sequence, as a tuple of sizes."""
    return tuple(as_size(e) for e in shape) if isinstance(shape, tuple | list | np.ndarray) else (as_size(shape),)


def memory_order(function: str, x: Any, order: str | None) -> str:
    """Return "C" or "F" for an order that may ask how the array lies in memory.

    Raises:
        UnsupportedError: it does ask, and there is no array yet.
    """
    order = "C" if order is None else order.upper()
    if order in "CF" or len(shape_of(x)) < 2:
        return order if order in "CF" else "C"
    value = known_value(x)
    if value is None or (order == "K" and not value.flags.forc):
        raise UnsupportedError(
            f"{function}(…, order={order!r}) depends on how the array lies in memory, which is not known here. "
            f"Write order='C' or order='F'."
        )
    return "F" if value.flags.fnc else "C"


@answers(
    np.reshape,
    samples=calls(
        ((6,), (2, 3)),
        ((2, 3), (3, -1)),
        ((2, 3), 6),
        ((2, 3), [3, 2], {"order": "F"}),
        ((2, 3, 2), (-1, 6), {"order": "F"}),
        ((), (1, 1)),
        ((1,), ()),
        ((0, 3), (3, -1)),
        ((4,), (2, 2), {"order": "A"}),
        ((4,), (2, 2), {"copy": True}),
    ),
)
def _reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None, newshape: Any = None) -> Any:
    wanted = sizes_of(shape if newshape is None else newshape)
    if memory_order("np.reshape", a, order) == "F":
        flipped = fill_in(shape_of(a)[::-1], wanted[::-1])
        result = _reversed(reshape(_reversed(a), shape=flipped))
    else:
        result = reshape(a, shape=fill_in(shape_of(a), wanted))
    return result.copy() if copy else result


def fill_in(shape: Shape, wanted: Sequence[Size]) -> Shape:
    """Replace the one -1 in a wanted shape, and check that the number of elements stays.

    Raises:
        ShapeError: another number of elements.
    """
    whole = total(shape)
    if list(wanted).count(-1) == 1:
        missing = divide_sizes(whole, total(tuple(size for size in wanted if size != -1)))
        wanted = [missing if size == -1 and missing is not None else size for size in wanted]
    if -1 in wanted or total(tuple(wanted)) != whole:
        if any(isinstance(size, Dim) for size in shape):
            raise NeedsConcreteSize(
                f"whether {show_shape(tuple(wanted))} holds {whole} elements depends on the batch size"
            )
        raise ShapeError(f"{show_shape(shape)} with {whole} elements cannot become {show_shape(tuple(wanted))}.")
    return tuple(wanted)


@answers(
    np.ravel,
    samples=calls(((2, 3),), ((2, 3), "F"), ((2, 1, 3), {"order": "F"}), ((),), ((3,), "K"), ((1,), "A"), ((0, 2),)),
)
def _ravel(a: Any, order: str = "C") -> Any:
    if memory_order("np.ravel", a, order) == "F":
        a = _reversed(a)
    return reshape(a, shape=(total(shape_of(a)),))


# ---- transpose -----------------------------------------------------------------------------------


def _spell_transpose(x: Code, *, axes: tuple[int, ...], **_: Any) -> Code:
    if axes == tuple(reversed(range(len(axes)))):
        return Code(f"{x.within(9)}.T")
    return Code(f"{x.within(9)}.transpose({show_sizes(axes)})")


transpose: Primitive = Primitive(
    name="transpose",
    forward=lambda x, axes: np.transpose(x, axes),
    infer=lambda x, axes: Spec(tuple(x.shape[i] for i in axes), x.dtype, x.weak),
    vjps=(lambda ct, out, x, axes: transpose(ct, axes=tuple(int(i) for i in np.argsort(axes))),),
    spell=_spell_transpose,
    text="{0}ᵀ",
    latex=r"{0}^\top",
    flow=("{ct}ᵀ",),
    latex_flow=(r"{ct}^\top",),
    view=True,
    samples=lambda: [
        Sample((draw(shape, 1),), {"axes": axes})
        for shape, axes in (
            ((), ()),
            ((3,), (0,)),
            ((2, 3), (1, 0)),
            ((2, 3, 4), (1, 2, 0)),
            ((2, 0), (1, 0)),
            ((1, 3), (0, 1)),
        )
    ],
)


def _reversed(x: Any) -> Any:
    """Put the axes in reverse order."""
    ndim = len(shape_of(x))
    return transpose(x, axes=tuple(reversed(range(ndim)))) if ndim > 1 else x


@answers(
    np.transpose,
    samples=calls(((2, 3),), ((2, 3, 4), (1, -1, 0)), ((3,),), ((),), ((2, 0, 3), {"axes": [2, 0, 1]}), ((1, 3), None)),
)
def _transpose(a: Any, axes: Any = None) -> Any:
    ndim = len(shape_of(a))
    order = tuple(reversed(range(ndim))) if axes is None else tuple(i + ndim if i < 0 else i for i in map(int, axes))
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"axes {axes} do not permute the {ndim} axes of {show_shape(shape_of(a))}.")
    return transpose(a, axes=order)


# ---- broadcasting, new axes ----------------------------------------------------------------------


def _broadcast_back(ct: Any, out: Any, x: Any, shape: Shape) -> Any:
    old, new = shape_of(x), len(shape) - len(shape_of(x))
    grown = tuple(i for i, size in enumerate(old, new) if size == 1 and shape[i] != 1)
    if new:
        ct = np.sum(ct, axis=tuple(range(new)))
    if grown:
        ct = np.sum(ct, axis=tuple(i - new for i in grown), keepdims=True)
    return ct


def _infer_broadcast(x: Spec, shape: Shape) -> Spec:
    if broadcast_shapes(x.shape, shape) != shape:
        raise ShapeError(f"{show_shape(x.shape)} cannot be broadcast to {show_shape(shape)}.")
    return Spec(shape, x.dtype, x.weak and shape == ())


broadcast_to = Primitive(
    name="broadcast_to",
    forward=lambda x, shape: np.broadcast_to(x, shape),
    infer=_infer_broadcast,
    vjps=(_broadcast_back,),
    spell=lambda x, *, shape, **_: Code(f"np.broadcast_to({x.text}, {show_shape(shape)})"),
    text="{0} repeated",
    latex=r"\operatorname{{repeat}}({0})",
    flow=("Σ {ct} over the repeated axes",),
    latex_flow=(r"\sum {ct}",),
    view=True,
    samples=lambda: [
        Sample((draw(a, 1),), {"shape": b})
        for a, b in (
            ((), (2, 3)),
            ((3,), (2, 3)),
            ((2, 1), (2, 3)),
            ((1,), (4,)),
            ((1, 3), (2, 2, 3)),
            ((1,), (0,)),
            ((3,), (3,)),
        )
    ],
)


def spread(x: Any, shape: Shape, like: Any) -> Any:
    """Broadcast an array that may be plain; where ``like`` is traced, the sizes may be symbolic."""
    return like.bind(broadcast_to, (x,), {"shape": shape}) if isinstance(like, Traced) else broadcast_to(x, shape=shape)


@answers(
    np.broadcast_to,
    samples=calls(((3,), (2, 3)), ((), 4), ((2, 1), [2, 3]), ((1,), 3), ((1, 3), (2, 2, 3)), ((3,), (0, 3))),
)
def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    return broadcast_to(array, shape=sizes_of(shape))


@answers(
    np.broadcast_arrays,
    samples=lambda: [
        Sample((draw((3,), 1), draw((2, 1), 2), 1.5)),
        Sample((draw((), 1), draw((1, 3), 2))),
        Sample((draw((2, 3), 1),)),
        Sample((draw((0, 3), 1), draw((3,), 2))),
    ],
)
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = broadcast_shapes(*[shape_of(x) for x in args])
    like = next((x for x in args if isinstance(x, Traced)), None)
    return tuple(x if shape_of(x) == shape and isinstance(x, Traced) else spread(x, shape, like) for x in args)


def _expanded(shape: Shape, axis: tuple[int, ...]) -> Shape:
    sizes = iter(shape)
    return tuple(1 if i in axis else next(sizes) for i in range(len(shape) + len(axis)))


def _spell_expand(x: Code, *, axis: tuple[int, ...], ndim: int, **_: Any) -> Code:
    entries = ["None" if i in axis else ":" for i in range(ndim + len(axis))]
    while entries and entries[-1] == ":":
        entries.pop()
    return Code(f"{x.within(9)}[{', '.join(entries)}]") if ndim else Code(f"np.expand_dims({x.text}, {axis})")


expand_dims = Primitive(
    name="expand_dims",
    forward=lambda x, axis: np.expand_dims(x, axis),
    infer=lambda x, axis: Spec(_expanded(x.shape, axis), x.dtype),
    vjps=(lambda ct, out, x, axis: squeeze(ct, axis=axis),),
    spell=_spell_expand,
    text="{0}",
    latex="{0}",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    view=True,
    samples=lambda: [
        Sample((draw(shape, 1),), {"axis": axis})
        for shape, axis in (
            ((), (0,)),
            ((3,), (0,)),
            ((3,), (1,)),
            ((2, 3), (1,)),
            ((2, 3), (0, 3)),
            ((0,), (1,)),
            ((1,), (0,)),
        )
    ],
)


@answers(
    np.expand_dims,
    samples=calls(((3,), 0), ((3,), -1), ((2, 3), (0, 2)), ((2, 3), [-1, 0]), ((), 0), ((0,), {"axis": 1}), ((3,), ())),
)
def _expand_dims(a: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    return expand_dims(a, axis=normalize_axis(tuple(axes), len(shape_of(a)) + len(axes))) if axes else a


squeeze: Primitive = Primitive(
    name="squeeze",
    forward=lambda x, axis: np.squeeze(x, axis),
    infer=lambda x, axis: Spec(tuple(size for i, size in enumerate(x.shape) if i not in axis), x.dtype),
    vjps=(lambda ct, out, x, axis: expand_dims(ct, axis=axis),),
    spell=lambda x, *, axis, **_: Code(f"np.squeeze({x.text}, axis={axis[0] if len(axis) == 1 else axis})"),
    text="{0}",
    latex="{0}",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    view=True,
    samples=lambda: [
        Sample((draw(shape, 1),), {"axis": axis})
        for shape, axis in (((1,), (0,)), ((1, 3), (0,)), ((2, 1), (1,)), ((1, 3, 1), (0, 2)), ((1, 0), (0,)))
    ],
)


@answers(
    np.squeeze,
    samples=calls(
        ((1, 3, 1),),
        ((1, 3, 1), 0),
        ((1, 3, 1), -1),
        ((1, 3, 1), (0, 2)),
        ((1,),),
        ((2, 3),),
        ((1, 0), {"axis": 0}),
        ((),),
    ),
)
def _squeeze(a: Any, axis: Any = None) -> Any:
    shape = shape_of(a)
    axes = tuple(i for i, size in enumerate(shape) if size == 1) if axis is None else normalize_axis(axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ShapeError(f"np.squeeze: axis {axis} of {show_shape(shape)} has a size other than 1.")
    return squeeze(a, axis=axes) if axes else a


# ---- dtype ---------------------------------------------------------------------------------------


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype that can be traced.

    Raises:
        DTypeError: numbers that are complex, or no numbers.
    """
    found = np.dtype(dtype)
    if found.kind not in "fiub":
        what = "complex numbers are out of scope for now" if found.kind == "c" else "only real numbers can be traced"
        raise DTypeError(f"{found}: {what}.")
    return found


astype: Primitive = Primitive(
    name="astype",
    forward=lambda x, dtype: np.asarray(x).astype(dtype)[()],
    infer=lambda x, dtype: Spec(x.shape, dtype),
    vjps=(lambda ct, out, x, dtype: astype(ct, dtype=dtype_of(x)),),
    spell=lambda x, *, dtype, **_: Code(f"{x.within(9)}.astype({'bool' if dtype.kind == 'b' else f'np.{dtype}'})"),
    text="{0}",
    latex="{0}",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    samples=lambda: [Sample((draw(s, 1),), {"dtype": np.dtype(np.float64)}) for s in ((), (1,), (2, 3), (0, 2))],
)
