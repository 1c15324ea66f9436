"""Shapes and dtypes: reshaping, transposing, repeating, joining, casting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
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
    count_of,
    dtype_of,
    normalize_axis,
    shape_of,
)
from undertow.primitives.sampling import draw


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


@answers(np.reshape)
def _reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None, newshape: Any = None) -> Any:
    if order != "C":
        raise UnsupportedError(f"np.reshape(…, order={order!r}) cannot be traced yet. Transpose first, then reshape.")
    wanted = shape if newshape is None else newshape
    sizes = [as_size(e) for e in (wanted if isinstance(wanted, tuple | list) else (wanted,))]
    return reshape(a, shape=fill_in(shape_of(a), sizes))


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


@answers(np.ravel)
def _ravel(a: Any, order: str = "C") -> Any:
    return _reshape(a, (-1,), order)


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


@answers(np.transpose)
def _transpose(a: Any, axes: Any = None) -> Any:
    ndim = len(shape_of(a))
    order = tuple(reversed(range(ndim))) if axes is None else tuple(int(i) % ndim for i in axes)
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"axes {axes} do not permute the {ndim} axes of {show_shape(shape_of(a))}.")
    return transpose(a, axes=order)


@answers(np.swapaxes)
def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(len(shape_of(a))))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, axes=tuple(order))


@answers(np.moveaxis)
def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    shape = shape_of(a)
    marks = np.moveaxis(np.empty(range(1, len(shape) + 1)), source, destination).shape
    return transpose(a, axes=tuple(size - 1 for size in marks))


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


@answers(np.broadcast_to)
def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    return broadcast_to(array, shape=tuple(as_size(e) for e in sizes))


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


@answers(np.expand_dims)
def _expand_dims(a: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    return expand_dims(a, axis=normalize_axis(tuple(axes), len(shape_of(a)) + len(axes)))


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


@answers(np.squeeze)
def _squeeze(a: Any, axis: Any = None) -> Any:
    shape = shape_of(a)
    axes = tuple(i for i, size in enumerate(shape) if size == 1) if axis is None else normalize_axis(axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ShapeError(f"axis {axis} of {show_shape(shape)} has a size other than 1 and cannot be squeezed.")
    return squeeze(a, axis=axes) if axes else a


@answers(np.atleast_1d)
def _atleast_1d(*arrays: Any) -> Any:
    found = tuple(x if len(shape_of(x)) else expand_dims(x, axis=(0,)) for x in arrays)
    return found[0] if len(found) == 1 else found


@answers(np.atleast_2d)
def _atleast_2d(*arrays: Any) -> Any:
    found = tuple(
        x if len(shape_of(x)) > 1 else expand_dims(x, axis=tuple(range(2 - len(shape_of(x))))) for x in arrays
    )
    return found[0] if len(found) == 1 else found


# ---- dtype ---------------------------------------------------------------------------------------

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


# ---- arrays of the same shape, and questions -----------------------------------------------------


def fill_like(x: Any, value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """Make a traced array of the shape of ``x`` (or ``shape``) that holds one number."""
    sizes = (
        shape_of(x)
        if shape is None
        else tuple(as_size(e) for e in (shape if isinstance(shape, tuple | list) else (shape,)))
    )
    number = np.dtype(dtype if dtype is not None else dtype_of(x)).type(value)
    return x.bind(broadcast_to, (number,), {"shape": sizes})


@answers(np.zeros_like)
def _zeros_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return fill_like(a, 0, dtype, shape)


@answers(np.ones_like)
def _ones_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    return fill_like(a, 1, dtype, shape)


@answers(np.full_like)
def _full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None
) -> Any:
    if not isinstance(fill_value, Traced):
        return fill_like(a, fill_value, dtype, shape)
    sizes = shape_of(a) if shape is None else tuple(as_size(e) for e in shape)
    return broadcast_to(astype(fill_value, dtype=np.dtype(dtype or dtype_of(a))), shape=sizes)


@answers(np.copy)
def _copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    return a.copy()


@answers(np.shape)
def _shape(a: Any) -> Any:
    return a.shape


@answers(np.ndim)
def _ndim(a: Any) -> int:
    return len(shape_of(a))


@answers(np.size)
def _size(a: Any, axis: Any = None) -> Any:
    return count_of(a, None if axis is None else normalize_axis(axis, len(shape_of(a))))
