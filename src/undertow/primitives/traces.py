"""Traces, and the diagonals and transposes of the matrices in a stack."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Spec, show_shape
from undertow.primitives.diagonal import diagonal, put_diagonal
from undertow.primitives.product import swap
from undertow.primitives.record import Code, Primitive, Sample, answers, dtype_of, normalize_axis, refuse, shape_of
from undertow.primitives.reduce import add_dtype
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, expand_dims

_PLACES: tuple[tuple[tuple[int, ...], int, int, int], ...] = (
    ((3, 3), 0, 0, 1), ((2, 4), 1, 0, 1), ((2, 4), -1, 0, 1), ((4, 2), 0, 1, 0), ((2, 3, 4), 0, 0, 1),
    ((2, 3, 4), 1, 1, 2), ((2, 3, 4), -1, 2, 0), ((1, 1), 0, 0, 1), ((2, 3), 5, 0, 1), ((0, 2), 0, 0, 1),
)  # fmt: skip


def _samples() -> list[Sample]:
    return [
        Sample((draw(shape, 1),), {"offset": offset, "axis1": i, "axis2": j}, f"{shape}, {offset}, {i}, {j}")
        for shape, offset, i, j in _PLACES
    ]


def _options(offset: int, axis1: int, axis2: int) -> str:
    text = f", offset={offset}" if offset else ""
    return text if (axis1, axis2) == (0, 1) else f"{text}, axis1={axis1}, axis2={axis2}"


def _back(ct: Any, out: Any, x: Any, **where: int) -> Any:
    each = diagonal.infer(Spec(shape_of(x), dtype_of(x)), **where).shape
    column = broadcast_to(expand_dims(ct, axis=(len(each) - 1,)), shape=each)
    return put_diagonal(column, shape=shape_of(x), **where)


trace = Primitive(
    name="trace",
    forward=np.trace,
    infer=lambda x, **where: Spec(diagonal.infer(x, **where).shape[:-1], add_dtype(x.dtype)),
    vjps=(_back,),
    spell=lambda x, *, offset, axis1, axis2, **_: Code(f"np.trace({x.text}{_options(offset, axis1, axis2)})"),
    text="tr {0}",
    latex=r"\operatorname{{tr}} {0}",
    flow=("{ct} I",),
    latex_flow=(r"{ct} \, I",),
    samples=_samples,
)


@answers(np.trace, samples=lambda: [
    *_samples(), Sample((draw((2, 3, 4), 3),), {"axis1": -2, "axis2": -1}), Sample((draw((3, 3), 4),)),
    Sample((draw((3, 3), 4),), {"dtype": np.float64}),
])  # fmt: skip
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    refuse("np.trace", out=out)
    shape = shape_of(a)
    if len(shape) < 2:
        raise ShapeError(f"np.trace takes a matrix or a stack of them, not {show_shape(shape)}.")
    first, second = normalize_axis(axis1, len(shape))[0], normalize_axis(axis2, len(shape))[0]
    if first == second:
        raise ShapeError(f"np.trace: axis1 and axis2 are both {first}. Name two axes.")
    if dtype is not None and np.dtype(dtype) != dtype_of(a):
        a = astype(a, dtype=np.dtype(dtype))
    return trace(a, offset=offset.__index__(), axis1=first, axis2=second)


def _stack_calls() -> list[Sample]:
    return [
        Sample((draw(shape, 5),), {"offset": offset} if offset else {}, f"{shape}, {offset}")
        for shape, offset in (((3, 3), 0), ((2, 3, 4), 1), ((2, 3, 4), -1), ((1, 1), 0))
    ]


@answers(np.linalg.diagonal, samples=_stack_calls)
def _linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, -2, -1)


@answers(np.linalg.trace, samples=_stack_calls)
def _linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return _trace(x, offset, -2, -1, dtype)


@answers(np.matrix_transpose, np.linalg.matrix_transpose, samples=lambda: [
    Sample((draw(shape, 6),), note=f"{shape}") for shape in ((2, 3), (2, 3, 4), (1, 1), (0, 2))
])  # fmt: skip
def _matrix_transpose(x: Any, /) -> Any:
    if len(shape_of(x)) < 2:
        raise ShapeError(f"np.matrix_transpose takes a matrix or a stack of them, not {show_shape(shape_of(x))}.")
    return swap(x)
