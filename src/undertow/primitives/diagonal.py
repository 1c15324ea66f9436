"""Diagonals and triangles of matrices: diagonal, trace, tril, triu, matrix_transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, show_shape
from undertow.primitives.product import swap
from undertow.primitives.record import (
    Code,
    Primitive,
    Sample,
    answers,
    dtype_of,
    infer_like,
    normalize_axis,
    refuse,
    shape_of,
)
from undertow.primitives.reduction import add_dtype
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, broadcast_to, expand_dims


def length_of(shape: Shape, offset: int, axis1: int, axis2: int) -> int:
    """Return how many elements a diagonal has.

    Raises:
        ShapeError: the two axes are one.
    """
    if axis1 == axis2:
        raise ShapeError(f"a diagonal lies between two axes of {show_shape(shape)}, and both are {axis1}.")
    rows, columns = shape[axis1], shape[axis2]
    if isinstance(rows, Dim) or isinstance(columns, Dim):
        raise NeedsConcreteSize("how long a diagonal is depends on the batch size")
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _rest(shape: Shape, axis1: int, axis2: int) -> Shape:
    return tuple(size for i, size in enumerate(shape) if i not in (axis1, axis2))


def _infer_diagonal(x: Spec, offset: int, axis1: int, axis2: int) -> Spec:
    return Spec((*_rest(x.shape, axis1, axis2), length_of(x.shape, offset, axis1, axis2)), x.dtype)


def _options(offset: int, axis1: int, axis2: int) -> str:
    text = f", offset={offset}" if offset else ""
    return text if (axis1, axis2) == (0, 1) else f"{text}, axis1={axis1}, axis2={axis2}"


_PLACES: tuple[tuple[tuple[int, ...], int, int, int], ...] = (
    ((3, 3), 0, 0, 1), ((2, 4), 1, 0, 1), ((2, 4), -1, 0, 1), ((4, 2), 0, 1, 0), ((2, 3, 4), 0, 0, 1),
    ((2, 3, 4), 1, 1, 2), ((2, 3, 4), -1, 2, 0), ((1, 1), 0, 0, 1), ((2, 3), 5, 0, 1), ((0, 2), 0, 0, 1),
)  # fmt: skip


def _samples() -> list[Sample]:
    return [
        Sample((draw(shape, 1),), {"offset": offset, "axis1": i, "axis2": j}, f"{shape}, {offset}, {i}, {j}")
        for shape, offset, i, j in _PLACES
    ]


diagonal: Primitive = Primitive(
    name="diagonal",
    forward=lambda x, offset, axis1, axis2: np.diagonal(x, offset, axis1, axis2),
    infer=_infer_diagonal,
    vjps=(
        lambda ct, out, x, offset, axis1, axis2: put_diagonal(
            ct, shape=shape_of(x), offset=offset, axis1=axis1, axis2=axis2
        ),
    ),
    spell=lambda x, *, offset, axis1, axis2, **_: Code(f"np.diagonal({x.text}{_options(offset, axis1, axis2)})"),
    text="the diagonal of {0}",
    latex=r"\operatorname{{diagonal}}({0})",
    flow=("zeros with {ct} on the diagonal",),
    latex_flow=(r"\operatorname{{diag}}({ct})",),
    samples=_samples,
    view=True,
)


def _spell_put(x: Code, *, shape: Shape, offset: int, axis1: int, axis2: int, **_: Any) -> Code:
    if len(shape) == 2 and (axis1, axis2) == (0, 1) and shape[0] == shape[1]:
        return Code(f"np.diag({x.text}{f', {offset}' if offset else ''})")
    return Code(f"put_diagonal({x.text}, {show_shape(shape)}{_options(offset, axis1, axis2)})")


def _put(x: Any, shape: tuple[int, ...], offset: int, axis1: int, axis2: int) -> Any:
    result = np.zeros(shape, x.dtype)
    rows = np.arange(x.shape[-1]) + max(-offset, 0)
    np.moveaxis(result, (axis1, axis2), (-2, -1))[..., rows, rows + offset] = x
    return result


put_diagonal: Primitive = Primitive(
    name="put_diagonal",
    forward=_put,
    infer=lambda x, shape, offset, axis1, axis2: Spec(shape, x.dtype),
    vjps=(lambda ct, out, x, shape, offset, axis1, axis2: diagonal(ct, offset=offset, axis1=axis1, axis2=axis2),),
    spell=_spell_put,
    text="zeros with {0} on the diagonal",
    latex=r"\operatorname{{diag}}({0})",
    flow=("the diagonal of {ct}",),
    latex_flow=(r"\operatorname{{diagonal}}({ct})",),
    helper='''def put_diagonal(x, shape, offset=0, axis1=0, axis2=1):
    """Zeros with x on the diagonal."""
    result = np.zeros(shape, x.dtype)
    rows = np.arange(x.shape[-1]) + max(-offset, 0)
    np.moveaxis(result, (axis1, axis2), (-2, -1))[..., rows, rows + offset] = x
    return result''',
    samples=lambda: [
        Sample((draw(np.diagonal(s.args[0], **s.params).shape, 2),), {"shape": s.args[0].shape, **s.params}, s.note)
        for s in _samples()
    ],
)


def _trace_back(ct: Any, out: Any, x: Any, offset: int, axis1: int, axis2: int) -> Any:
    shape = shape_of(x)
    each = (*_rest(shape, axis1, axis2), length_of(shape, offset, axis1, axis2))
    column = broadcast_to(expand_dims(ct, axis=(len(each) - 1,)), shape=each)
    return put_diagonal(column, shape=shape, offset=offset, axis1=axis1, axis2=axis2)


trace = Primitive(
    name="trace",
    forward=lambda x, offset, axis1, axis2: np.trace(x, offset, axis1, axis2),
    infer=lambda x, offset, axis1, axis2: Spec(_infer_diagonal(x, offset, axis1, axis2).shape[:-1], add_dtype(x.dtype)),
    vjps=(_trace_back,),
    spell=lambda x, *, offset, axis1, axis2, **_: Code(f"np.trace({x.text}{_options(offset, axis1, axis2)})"),
    text="tr {0}",
    latex=r"\operatorname{{tr}} {0}",
    flow=("{ct} I",),
    latex_flow=(r"{ct} \, I",),
    samples=_samples,
)


def _axes(x: Any, axis1: int, axis2: int) -> dict[str, int]:
    shape = shape_of(x)
    if len(shape) < 2:
        raise ShapeError(f"{show_shape(shape)} has no diagonal: it takes two axes.")
    return {"axis1": normalize_axis(axis1, len(shape))[0], "axis2": normalize_axis(axis2, len(shape))[0]}


def _calls() -> list[Sample]:
    last = Sample((draw((2, 3, 4), 3),), {"axis1": -2, "axis2": -1}, "negative axes")
    return [*_samples(), last, Sample((draw((3, 3), 4),), note="the defaults")]


@answers(np.diagonal, samples=_calls)
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return diagonal(a, offset=int(offset), **_axes(a, axis1, axis2))


@answers(np.trace, samples=lambda: [*_calls(), Sample((draw((3, 3), 4),), {"dtype": np.float64})])
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    refuse("np.trace", out=out)
    wanted = dtype_of(a) if dtype is None else np.dtype(dtype)
    total = trace(a if wanted == dtype_of(a) else astype(a, dtype=wanted), offset=int(offset), **_axes(a, axis1, axis2))
    return total if dtype is None or dtype_of(total) == wanted else astype(total, dtype=wanted)


def _stack_calls() -> list[Sample]:
    return [
        Sample((draw(shape, 5),), {"offset": offset} if offset else {}, f"{shape}, {offset}")
        for shape, offset in (((3, 3), 0), ((2, 3, 4), 1), ((2, 3, 4), -1), ((1, 1), 0))
    ]


@answers(np.linalg.diagonal, samples=_stack_calls)
def _linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return _diagonal(x, offset, -2, -1)


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


# ---- triangles -----------------------------------------------------------------------------------


def _triangle(name: str, function: Callable[..., Any], word: str) -> Primitive:
    def rule(ct: Any, out: Any, x: Any, k: int) -> Any:
        return function(ct, k)

    record = Primitive(
        name=name,
        forward=lambda x, k: function(x, k),
        infer=infer_like,
        vjps=(rule,),
        spell=lambda x, *, k, **_: Code(f"np.{name}({x.text}{f', {k}' if k else ''})"),
        text=f"the {word} triangle of {{0}}",
        latex=rf"\operatorname{{{{{name}}}}}({{0}})",
        flow=(f"the {word} triangle of {{ct}}",),
        latex_flow=(rf"\operatorname{{{{{name}}}}}({{ct}})",),
        samples=lambda: [
            Sample((draw(shape, 7),), {"k": k}, f"{shape}, {k}")
            for shape, k in (((3, 3), 0), ((2, 3), 1), ((3, 2), -1), ((2, 3, 3), 0), ((1, 1), 0), ((0, 2), 0))
        ],
    )

    @answers(
        function,
        samples=lambda: [
            *record.samples(),
            Sample((draw((3, 3), 8),), note="the default"),
            Sample((draw((3,), 8), -1), note="a vector, which NumPy repeats as the rows of a square matrix"),
        ],
    )
    def triangle(m: Any, k: int = 0) -> Any:
        shape = shape_of(m)
        if not shape:
            raise ShapeError(f"np.{name} takes a matrix, a stack of them or a vector, not a number.")
        return record(m if len(shape) > 1 else broadcast_to(m, shape=(*shape, *shape)), k=k.__index__())

    return record


tril = _triangle("tril", np.tril, "lower")
triu = _triangle("triu", np.triu, "upper")
