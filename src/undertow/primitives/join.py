"""Joining arrays along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, DTypeError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Spec, show_shape
from undertow.primitives.axes import leading_axes, one_axis, to_1d, to_2d, to_3d
from undertow.primitives.record import Code, Primitive, Sample, answers, dtype_of, refuse, shape_of, spec_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _expand_dims, _ravel, astype, expand_dims, real_dtype


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
    # Asked once for each of the arrays, of which a loop may have joined thousands: little is done for those before.
    sizes: list[Any] = [(x if type(x) is np.ndarray else spec_of(x)).shape[axis] for x in xs[: position + 1]]
    stop = sum(sizes)
    start = stop - sizes[-1]
    return ct[(slice(None),) * axis + (slice(start or None, stop if position + 1 < len(xs) else None),)]


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


def _listed(arrays: Any) -> list[Any]:
    return list(arrays) if isinstance(arrays, tuple | list) else list(iter(arrays))


def join(function: str, parts: list[Any], axis: int, dtype: Any = None, casting: str | None = None) -> Any:
    """Concatenate, and convert before as NumPy does.

    Raises:
        ShapeError: nothing to join, or numbers without an axis.
        DTypeError: ``casting`` does not allow the conversion.
    """
    if not parts:
        raise ShapeError(f"{function}: there is no array to join.")
    if dtype is not None:
        wanted = real_dtype(dtype)
        for x in parts:
            if not np.can_cast(dtype_of(x), wanted, casting or "same_kind"):  # type: ignore[arg-type]
                raise DTypeError(f"{function}: {dtype_of(x)} does not become {wanted}. Pass casting='unsafe'.")
        parts = [x if dtype_of(x) == wanted else astype(x, dtype=wanted) for x in parts]
    if not shape_of(parts[0]):
        raise ShapeError(f"{function}: a number has no axis to join along. Use np.stack.")
    return concatenate(*parts, axis=one_axis(function, axis, shape_of(parts[0])))


@answers(
    np.concatenate,
    samples=calls(
        ([(2,), (3,)],), ([(2, 3), (1, 3)], 0), ([(2, 1), (2, 2)], -1), ([(2, 2), (3,)], None), ([(), (2,)], None),
        ([(2, 3)],), ([(0, 2), (1, 2)],), ([(2,), (1,)], {"dtype": np.float64}), ((2, 3),),
        ([(2, 1), (2, 2)], {"axis": 1, "dtype": np.float64, "casting": "unsafe"}),
    ),
)  # fmt: skip
def _concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    refuse("np.concatenate", out=out)
    parts = _listed(arrays)
    if axis is None:
        parts, axis = [_ravel(x) for x in parts], 0
    return join("np.concatenate", parts, axis, dtype, casting)


@answers(
    np.stack,
    samples=calls(
        ([(2, 3), (2, 3)],), ([(2,), (2,), (2,)], 1), ([(2, 3), (2, 3)], -2), ([(), ()],), ([(3,)], {"axis": -1}),
        ([(2, 0), (2, 0)],), ((2, 3), 1), ([(2,), (2,)], {"dtype": np.float64}),
    ),
)  # fmt: skip
def _stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    refuse("np.stack", out=out)
    parts = _listed(arrays)
    if len({shape_of(x) for x in parts}) > 1:
        shapes = ", ".join(show_shape(shape_of(x)) for x in parts)
        raise ShapeError(f"np.stack: the shapes {shapes} differ. Make them equal, or use np.concatenate.")
    return join("np.stack", [_expand_dims(x, axis) for x in parts], axis, dtype, casting)


_ROWS = calls(
    ([(3,), (3,)],), ([(2, 3), (3,)],), ([(2, 3), (1, 3)],), ([(), ()],), ([(2, 1, 2), (1, 1, 2)],), ((2, 3),),
    ([(1,), (1,)], {"dtype": np.float64}), ([(2, 0), (1, 0)],),
)  # fmt: skip


@answers(np.vstack, samples=_ROWS)
def _vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    return join("np.vstack", [to_2d(x) for x in _listed(tup)], 0, dtype, casting)


@answers(
    np.hstack,
    samples=calls(
        ([(3,), (2,)],), ([(2, 3), (2, 1)],), ([(), ()],), ([(2, 1, 2), (2, 3, 2)],), ((2, 3),), ([(0,), (2,)],),
        ([(1,), (1,)], {"dtype": np.float64}),
    ),
)  # fmt: skip
def _hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    parts = [to_1d(x) for x in _listed(tup)]
    return join("np.hstack", parts, 0 if parts and len(shape_of(parts[0])) == 1 else 1, dtype, casting)


@answers(
    np.dstack,
    samples=calls(
        ([(3,), (3,)],), ([(2, 3), (2, 3)],), ([(2, 3, 1), (2, 3)],), ([(), ()],), ((2, 3),), ([(0, 2), (0, 2)],)
    ),
)
def _dstack(tup: Any) -> Any:
    return join("np.dstack", [to_3d(x) for x in _listed(tup)], 2)


@answers(
    np.column_stack,
    samples=calls(([(3,), (3,)],), ([(3, 2), (3,)],), ([(), ()],), ((2, 3),), ([(2, 0), (2, 1)],), ([(1,), (1, 1)],)),
)
def _column_stack(tup: Any) -> Any:
    parts = [to_1d(x) for x in _listed(tup)]
    return join("np.column_stack", [expand_dims(x, axis=(1,)) if len(shape_of(x)) == 1 else x for x in parts], 1)


# ---- blocks ------------------------------------------------------------------------------------------


def _leaves(arrays: Any, depth: int = 0) -> list[tuple[int, Any]]:
    """Return the arrays of nested lists, each with the number of lists around it."""
    if isinstance(arrays, tuple):
        raise ArgumentError("np.block takes lists, and a tuple is none. Write [a, b] in place of (a, b).")
    if not isinstance(arrays, list):
        return [(depth, arrays)]
    if not arrays:
        raise ArgumentError("np.block: a list is empty.")
    return [leaf for x in arrays for leaf in _leaves(x, depth + 1)]


@answers(
    np.block,
    samples=lambda: [
        Sample(([[draw((2, 2), 1), draw((2, 1), 2)], [draw((1, 2), 3), draw((1, 1), 4)]],)),
        Sample(([draw((2,), 1), 1.5, draw((1,), 2)],)),
        Sample(([[draw((2, 3), 1)], [np.zeros(3)]],)),
        Sample(([[[draw((2, 1), 1)]], [[draw((3, 2, 1), 2)]]],)),
        Sample((draw((2, 3), 1),)),
        Sample(([draw((2, 0), 1), draw((2, 1), 2)],)),
    ],
)
def _block(arrays: Any) -> Any:
    leaves = _leaves(arrays)
    depths = {depth for depth, _ in leaves}
    if len(depths) > 1:
        raise ArgumentError(f"np.block: arrays stand {sorted(depths)} lists deep. Nest all of them equally.")
    depth = depths.pop()
    ndim = max(depth, *(len(shape_of(x)) for _, x in leaves))

    def joined(arrays: Any, depth: int) -> Any:
        if not isinstance(arrays, list):
            return leading_axes(arrays, ndim)
        return concatenate(*[joined(x, depth - 1) for x in arrays], axis=ndim - depth)

    return joined(arrays, depth) if depth else arrays.copy()
