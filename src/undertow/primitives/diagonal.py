"""Diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, show_shape
from undertow.primitives.axes import one_axis
from undertow.primitives.record import Code, Primitive, Sample, answers, infer_like, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _ravel, broadcast_to

# ---- reading and writing a diagonal ------------------------------------------------------------------


def _length(shape: Shape, offset: int, axis1: int, axis2: int) -> int:
    """Count the elements of a diagonal.

    Raises:
        NeedsConcreteSize: the batch is one of its two axes.
    """
    rows, columns = shape[axis1], shape[axis2]
    if isinstance(rows, Dim) or isinstance(columns, Dim):
        raise NeedsConcreteSize("the length of a diagonal depends on the batch size")
    return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))


def _infer_diagonal(x: Spec, offset: int, axis1: int, axis2: int) -> Spec:
    rest = tuple(size for i, size in enumerate(x.shape) if i not in (axis1, axis2))
    return Spec((*rest, _length(x.shape, offset, axis1, axis2)), x.dtype)


def _spell_diagonal(x: Code, *, offset: int, axis1: int, axis2: int, **_: Any) -> Code:
    text = f"{x.text}{f', {offset}' if offset else ''}"
    return Code(f"np.diagonal({text}{'' if (axis1, axis2) == (0, 1) else f', axis1={axis1}, axis2={axis2}'})")


_CASES: tuple[tuple[tuple[int, ...], int, int, int], ...] = (
    ((3, 3), 0, 0, 1),
    ((3, 3), 1, 0, 1),
    ((3, 3), -1, 0, 1),
    ((2, 4), 2, 0, 1),
    ((4, 2), 0, 1, 0),
    ((2, 3, 4), 0, 0, 1),
    ((2, 3, 4), 1, 1, 2),
    ((2, 3, 4), -1, 2, 0),
    ((1, 1), 0, 0, 1),
    ((2, 2), 5, 0, 1),
    ((0, 3), 0, 0, 1),
)


def _diagonal_params(offset: int, axis1: int, axis2: int) -> dict[str, Any]:
    return {"offset": offset, "axis1": axis1, "axis2": axis2}


diagonal: Primitive = Primitive(
    name="diagonal",
    forward=np.diagonal,
    infer=_infer_diagonal,
    vjps=(lambda ct, out, x, **where: put_diagonal(ct, shape=shape_of(x), **where),),
    spell=_spell_diagonal,
    text="diag({0})",
    latex=r"\operatorname{{diag}}({0})",
    flow=("{ct} put on the diagonal",),
    latex_flow=(r"\operatorname{{diag}}({ct})",),
    view=True,
    samples=lambda: [Sample((draw(shape, 1),), _diagonal_params(*where)) for shape, *where in _CASES],
)


def _put_diagonal(x: Any, shape: tuple[int, ...], offset: int, axis1: int, axis2: int) -> Any:
    result = np.zeros(shape, x.dtype)
    place = result.diagonal(offset, axis1, axis2)
    place.setflags(write=True)
    place[...] = x
    return result


def _spell_put(x: Code, *, shape: Shape, offset: int, axis1: int, axis2: int, out: Spec | None, **_: Any) -> Code:
    if len(shape) == 2 and (axis1, axis2) == (0, 1) and shape[0] == shape[1]:
        return Code(f"np.diag({x.text}{f', {offset}' if offset else ''})")
    return Code(f"put_diagonal({x.text}, {show_shape(shape)}, {offset}, {axis1}, {axis2})")


put_diagonal: Primitive = Primitive(
    name="put_diagonal",
    forward=_put_diagonal,
    infer=lambda x, shape, offset, axis1, axis2: Spec(shape, x.dtype),
    vjps=(lambda ct, out, x, shape, **where: diagonal(ct, **where),),
    spell=_spell_put,
    text="diag({0})",
    latex=r"\operatorname{{diag}}({0})",
    flow=("diag({ct})",),
    latex_flow=(r"\operatorname{{diag}}({ct})",),
    helper='''def put_diagonal(x, shape, offset, axis1, axis2):
    """Zeros of this shape with x written on a diagonal."""
    result = np.zeros(shape, x.dtype)
    place = result.diagonal(offset, axis1, axis2)
    place.setflags(write=True)
    place[...] = x
    return result''',
    samples=lambda: [
        Sample((draw(np.diagonal(np.empty(shape), *where).shape, 2),), {"shape": shape, **_diagonal_params(*where)})
        for shape, *where in _CASES
    ],
)


@answers(
    np.diagonal,
    samples=calls(
        ((3, 3),), ((2, 4), 1), ((4, 2), -2), ((2, 3, 4), 0, 1, 2), ((2, 3, 4), 1, -1, 0), ((2, 2), 7), ((1, 1),),
        ((3, 3), {"offset": -1}), ((0, 3),),
    ),
)  # fmt: skip
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    shape = shape_of(a)
    if len(shape) < 2:
        raise ShapeError(f"np.diagonal needs at least 2 axes, and {show_shape(shape)} has {len(shape)}.")
    first, second = (one_axis("np.diagonal", axis, shape) for axis in (axis1, axis2))
    if first == second:
        raise ShapeError(f"np.diagonal: axis1 and axis2 are both {first}. Name two axes.")
    return diagonal(a, offset=offset.__index__(), axis1=first, axis2=second)


@answers(
    np.diag,
    samples=calls(
        ((3,),),
        ((3,), 1),
        ((2,), -2),
        ((1,),),
        ((3, 3),),
        ((2, 4), 1),
        ((4, 2), {"k": -1}),
        ((0,),),
        ((0,), 1),
        ((2, 2), 3),
    ),
)
def _diag(v: Any, k: int = 0) -> Any:
    shape, offset = shape_of(v), k.__index__()
    if len(shape) == 2:
        return diagonal(v, offset=offset, axis1=0, axis2=1)
    if len(shape) != 1:
        raise ShapeError(f"np.diag takes a vector or a matrix, not an array of shape {show_shape(shape)}.")
    if isinstance(shape[0], Dim):
        raise NeedsConcreteSize("a diagonal matrix of the batch needs its size as a number")
    n = shape[0] + abs(offset)
    return put_diagonal(v, shape=(n, n), offset=offset, axis1=0, axis2=1)


@answers(np.diagflat, samples=calls(((3,),), ((2, 2), 1), ((), -1), ((1, 2), {"k": -1}), ((0,), 1)))
def _diagflat(v: Any, k: int = 0) -> Any:
    return _diag(_ravel(v), k)


@answers(
    np.fill_diagonal, samples=lambda: [Sample((np.zeros((3, 3), int), 7)), Sample((np.zeros((5, 2), int), 7, True))]
)
def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    shape = shape_of(a)
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise ShapeError(f"np.fill_diagonal takes a matrix, or more axes of one size, not {show_shape(shape)}.")
    if any(isinstance(size, Dim) for size in shape):
        raise NeedsConcreteSize("the length of a diagonal depends on the batch size")
    sizes = tuple(int(size) for size in shape)  # type: ignore[arg-type]
    if wrap and len(sizes) == 2:
        places = np.unravel_index(np.arange(0, sizes[0] * sizes[1], sizes[1] + 1), sizes)
    else:
        places = (np.arange(min(sizes)),) * len(sizes)
    if len(shape_of(val)):
        val = np.resize(val, len(places[0]))
    a[places] = val


# ---- triangles ---------------------------------------------------------------------------------------


def _triangle(function: Any) -> Primitive:
    name = function.__name__
    which = "lower" if name == "tril" else "upper"

    def rule(ct: Any, out: Any, x: Any, k: int) -> Any:
        return primitive(ct, k=k)

    primitive = Primitive(
        name=name,
        forward=lambda x, k: function(x, k),
        infer=infer_like,
        vjps=(rule,),
        spell=lambda x, *, k, **_: Code(f"np.{name}({x.text}{f', {k}' if k else ''})"),
        text=f"{which} triangle of {{0}}",
        latex=rf"\operatorname{{{{{name}}}}}({{0}})",
        flow=(f"{which} triangle of {{ct}}",),
        latex_flow=(rf"\operatorname{{{{{name}}}}}({{ct}})",),
        samples=lambda: [
            Sample((draw(shape, 1),), {"k": k})
            for shape, k in (
                ((3, 3), 0),
                ((2, 4), 1),
                ((4, 2), -1),
                ((2, 3, 3), 0),
                ((1, 1), 0),
                ((1, 3), -3),
                ((0, 2), 0),
            )
        ],
    )
    return primitive


tril, triu = _triangle(np.tril), _triangle(np.triu)


def _answer_triangle(primitive: Primitive, function: Any) -> None:
    @answers(
        function,
        samples=calls(
            ((3, 3),), ((2, 4), 1), ((4, 2), {"k": -1}), ((2, 2, 3),), ((3,),), ((3,), -1), ((0, 2),), ((1, 1),)
        ),
    )
    def triangle(m: Any, k: int = 0) -> Any:
        shape = shape_of(m)
        if not shape:
            raise ShapeError(f"np.{primitive.name} needs at least one axis.")
        if len(shape) == 1:  # NumPy repeats a vector as the rows of a square matrix
            m = broadcast_to(m, shape=(*shape, *shape))
        return primitive(m, k=k.__index__())


_answer_triangle(tril, np.tril)
_answer_triangle(triu, np.triu)


# ---- indices, which only ask for the shape -------------------------------------------------------------


def _numbers(function: str, arr: Any, ndim: int | None) -> tuple[int, ...]:
    shape = shape_of(arr)
    if len(shape) < 2 or (ndim and len(shape) != ndim):
        raise ShapeError(f"{function} takes a matrix, not an array of shape {show_shape(shape)}.")
    if any(isinstance(size, Dim) for size in shape):
        raise NeedsConcreteSize(f"{function} counts the rows of the batch")
    return tuple(int(size) for size in shape)  # type: ignore[arg-type]


def _index_samples(*rest: Any) -> Any:
    return lambda: [Sample((draw((3, 3), 1), *rest)), Sample((draw((1, 1), 1), *rest))]


@answers(np.diag_indices_from, samples=_index_samples())
def _diag_indices_from(arr: Any) -> Any:
    sizes = _numbers("np.diag_indices_from", arr, None)
    if len(set(sizes)) > 1:
        raise ShapeError(f"np.diag_indices_from takes axes of one size, not {show_shape(sizes)}.")
    return np.diag_indices(sizes[0], len(sizes))


@answers(np.tril_indices_from, samples=_index_samples(-1))
def _tril_indices_from(arr: Any, k: int = 0) -> Any:
    rows, columns = _numbers("np.tril_indices_from", arr, 2)
    return np.tril_indices(rows, k, columns)


@answers(np.triu_indices_from, samples=_index_samples(1))
def _triu_indices_from(arr: Any, k: int = 0) -> Any:
    rows, columns = _numbers("np.triu_indices_from", arr, 2)
    return np.triu_indices(rows, k, columns)
