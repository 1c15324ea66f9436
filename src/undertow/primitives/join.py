"""Joining arrays along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, show_shape
from undertow.primitives.record import Code, Primitive, Sample, answers, normalize_axis, refuse, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import _atleast_1d, _atleast_2d, _expand_dims, _ravel, expand_dims


def count_along(axis: int, shapes: Sequence[Shape]) -> int:
    """Add the sizes of one axis up; none of them is symbolic."""
    count = 0
    for shape in shapes:
        count += int(shape[axis])  # type: ignore[arg-type]
    return count


def _infer_concatenate(*xs: Spec, axis: int) -> Spec:
    first = xs[0].shape
    for x in xs[1:]:
        if len(x.shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(first, x.shape, strict=True)) if i != axis
        ):
            raise ShapeError(
                f"{show_shape(first)} and {show_shape(x.shape)} differ beside axis {axis}. Make all other axes equal."
            )
    if any(isinstance(x.shape[axis], Dim) for x in xs):
        raise NeedsConcreteSize("arrays joined along the batch axis need its size as a number")
    joined = count_along(axis, [x.shape for x in xs])
    return Spec((*first[:axis], joined, *first[axis + 1 :]), np.result_type(*[x.dtype for x in xs]))


def _concatenate_back(position: int, ct: Any, out: Any, *xs: Any, axis: int) -> Any:
    shapes = [shape_of(x) for x in xs]
    start, stop = count_along(axis, shapes[:position]), count_along(axis, shapes[: position + 1])
    return ct[(slice(None),) * axis + (slice(start, stop),)]


concatenate = Primitive(
    name="concatenate",
    forward=lambda *xs, axis: np.concatenate(xs, axis=axis),
    infer=_infer_concatenate,
    vjps=_concatenate_back,
    spell=lambda *xs, axis, **_: Code(
        f"np.concatenate([{', '.join(x.text for x in xs)}]{f', axis={axis}' if axis else ''})"
    ),
    text="join({0}, {1}, …)",
    latex=r"[{0}; {1}; \ldots]",
    flow=("its part of {ct}",),
    latex_flow=(r"\operatorname{{part}}({ct})",),
    samples=lambda: [
        Sample(tuple(draw(s, i) for i, s in enumerate(shapes)), {"axis": axis})
        for shapes, axis in (
            (((2,), (3,)), 0),
            (((2, 3), (1, 3), (2, 3)), 0),
            (((2, 1), (2, 2)), 1),
            (((0, 2), (1, 2)), 0),
        )
    ],
)


def _common(arrays: Any) -> list[Any]:
    return list(arrays) if isinstance(arrays, tuple | list) else list(iter(arrays))


@answers(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    refuse("np.concatenate", out=out, dtype=dtype)
    parts = _common(arrays)
    if axis is None:
        return concatenate(*[_ravel(x) for x in parts], axis=0)
    return concatenate(*parts, axis=normalize_axis(axis, len(shape_of(parts[0])))[0])


@answers(np.stack)
def _stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    refuse("np.stack", out=out, dtype=dtype)
    return _concatenate([_expand_dims(x, axis) for x in _common(arrays)], axis)


@answers(np.vstack)
def _vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    return _concatenate([_atleast_2d(x) for x in _common(tup)], 0, dtype=dtype)


@answers(np.hstack)
def _hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    parts = [_atleast_1d(x) for x in _common(tup)]
    return _concatenate(parts, 0 if len(shape_of(parts[0])) == 1 else 1, dtype=dtype)


@answers(np.column_stack)
def _column_stack(tup: Any) -> Any:
    return _concatenate([expand_dims(x, axis=(1,)) if len(shape_of(x)) == 1 else x for x in _common(tup)], 1)
