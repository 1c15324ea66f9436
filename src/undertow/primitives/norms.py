"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Spec, show_shape, total
from undertow.primitives.linalg import inv
from undertow.primitives.matrices import check_matrix, spaced, square
from undertow.primitives.record import (
    Code,
    Kink,
    Primitive,
    Sample,
    answers,
    dtype_of,
    float_like,
    reduced_shape,
    shape_of,
)
from undertow.primitives.reduction import Axes, axes_of, expand, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims
from undertow.primitives.singular import svdvals

# ---- the p-norm ----------------------------------------------------------------------------------


def _call(ndim: int, order: float, axis: Axes, keepdims: bool) -> tuple[str, str]:
    """Return the NumPy function that computes it, and its further arguments as source."""
    options = ", keepdims=True" if keepdims else ""
    if order == 2 and len(axis) == ndim:
        return "norm", options
    if order == 2 and len(axis) <= 2:
        return "norm", f", axis={axis[0] if len(axis) == 1 else axis}{options}"
    if len(axis) == 1:
        return "norm", f", {order:g}{'' if ndim == 1 else f', axis={axis[0]}'}{options}"
    where = "" if len(axis) == ndim else f", axis={axis}"
    return "vector_norm", f"{where}{options}{'' if order == 2 else f', ord={order:g}'}"


def _forward(x: Any, order: float, axis: Any, keepdims: Any) -> Any:
    if order == 2 and len(axis) == np.ndim(x):
        return np.linalg.norm(x, keepdims=keepdims)
    if len(axis) == 1:
        return np.linalg.norm(x, order, axis=axis[0], keepdims=keepdims)
    if order == 2 and len(axis) == 2:
        return np.linalg.norm(x, axis=axis, keepdims=keepdims)
    return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=order)


def _back(ct: Any, out: Any, x: Any, order: float, axis: Axes, keepdims: bool) -> Any:
    """Multiply by x/‖x‖, or sign(x) (|x|/‖x‖)ᵖ⁻¹. At 0 the slope is 0, and so it is along components that are 0."""
    ct, out = expand(ct, axis, keepdims), expand(out, axis, keepdims)
    zero = out == 0
    if order == 2:
        return x * np.where(zero, 0, ct / np.where(zero, 1, out))
    none = x == 0
    share = np.abs(np.where(none, 1, x)) / np.where(zero, 1, out)
    return np.where(none | zero, 0, ct * np.sign(x) * share ** (order - 1))


def _spell(x: Code, *, order: float, axis: Axes, keepdims: bool, ndim: int, **_: Any) -> Code:
    function, options = _call(ndim, order, axis, keepdims)
    return Code(f"np.linalg.{function}({x.text}{options})")


_CASES: tuple[tuple[tuple[int, ...], Axes], ...] = (
    ((3,), (0,)), ((2, 3), (0, 1)), ((2, 3), (1,)), ((2, 3), (0,)), ((2, 3, 4), (0, 2)), ((2, 3, 2), (0, 1, 2)),
    ((1,), (0,)), ((2, 2, 2, 2), (0, 1, 3)), ((), ()), ((0, 3), (1,)), ((0, 3), (0,)),
)  # fmt: skip


def _norm_samples() -> list[Sample]:
    samples = [
        Sample(
            (draw(shape, 1, away_from_zero=True),), {"order": 2.0, "axis": axis, "keepdims": keep}, f"{shape}, {axis}"
        )
        for shape, axis in _CASES
        for keep in (False, True)
    ]
    for order in (3.0, 1.5, 0.5, -1.0):
        for shape, axis in (((3,), (0,)), ((2, 3), (1,)), ((2, 3, 4), (0, 1))):
            x = draw(shape, 2, away_from_zero=True)
            samples.append(Sample((x,), {"order": order, "axis": axis, "keepdims": False}, f"p = {order}"))
    return samples


norm: Primitive = Primitive(
    name="norm",
    forward=_forward,
    infer=lambda x, order, axis, keepdims: Spec(reduced_shape(x.shape, axis, keepdims), float_like(x.dtype)),
    vjps=(_back,),
    spell=_spell,
    text="‖{0}‖",
    latex=r"\|{0}\|",
    flow=("{ct} {0} / {out}",),
    latex_flow=(r"{ct} {0} / {out}",),
    kinks=(
        Kink(
            ([0.0, 0.0],),
            ([0.0, 0.0],),
            "the least of the slopes at 0",
            {"order": 2.0, "axis": (0,), "keepdims": False},
        ),
        Kink(
            ([0.0, 0.0],),
            ([0.0, 0.0],),
            "the least of the slopes at 0",
            {"order": 3.0, "axis": (0,), "keepdims": False},
        ),
    ),
    samples=_norm_samples,
)


def vector(x: Any, order: Any, axis: Axes, keepdims: bool) -> Any:
    """Compute a vector norm over these axes.

    Raises:
        ArgumentError: a norm of matrices only.
    """
    if isinstance(order, str):
        raise ArgumentError(f"ord={order!r} is a norm of matrices, not of vectors. Give two axes.")
    if order is None or order == 2:
        return norm(x, order=2.0, axis=axis, keepdims=keepdims)
    where: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    if order == np.inf and total(tuple(shape_of(x)[i] for i in axis)) != 0:
        return np.max(np.abs(x), **where)
    if order == -np.inf:
        return np.min(np.abs(x), **where)
    if order == 0:
        return np.sum(astype(x != 0, dtype=float_like(dtype_of(x))), **where)
    if order in (1, np.inf):
        return np.sum(np.abs(x), **where)
    return norm(x, order=float(order), axis=axis, keepdims=keepdims)


def _floats(x: Any) -> Any:
    """Bring whole numbers to float64, as NumPy's norms do."""
    return x if dtype_of(x).kind == "f" else astype(x, dtype=np.dtype(np.float64))


# ---- norms of matrices ---------------------------------------------------------------------------


def _largest(x: Any, axis: int, keepdims: Any = False) -> Any:
    """Return the largest along an axis; 0 where there is none."""
    if shape_of(x)[axis] == 0:
        return np.max(x, axis=axis, keepdims=keepdims, initial=0)
    return np.max(x, axis=axis, keepdims=keepdims)


def matrix(x: Any, order: Any, rows: int, columns: int, keepdims: bool) -> Any:
    """Compute a matrix norm; ``rows`` and ``columns`` are different axes.

    Raises:
        ArgumentError: an unknown norm.
    """
    axis = tuple(sorted((rows, columns)))
    if order in (None, "fro", "f"):
        return norm(x, order=2.0, axis=axis, keepdims=keepdims)
    if order in (1, -1, np.inf, -np.inf):
        along, across = (rows, columns) if order in (1, -1) else (columns, rows)
        sums = np.sum(np.abs(x), axis=along, keepdims=True)
        least: Any = np.min
        found = (_largest if order > 0 else least)(sums, axis=across, keepdims=True)
    elif order in (2, -2, "nuc"):
        ndim = len(shape_of(x))
        last = x if (rows, columns) == (ndim - 2, ndim - 1) else np.moveaxis(x, (rows, columns), (-2, -1))
        values = svdvals(last)
        join: Any = np.sum if order == "nuc" else _largest if order == 2 else np.min
        found = join(values, axis=-1)
        return expand_dims(found, axis=axis) if keepdims else found
    else:
        raise ArgumentError(f"np.linalg.norm(…, ord={order!r}): matrices have ord None, 'fro', 'nuc', ±1, ±2 and ±inf.")
    return found if keepdims else np.squeeze(found, axis=axis)


_ZERO = [[0.0, 0.0], [0.0, 0.0]]


def _calls() -> list[Sample]:
    v, m, stack = draw((3,), 3, away_from_zero=True), spaced(2, 3, 4), spaced(2, 3, 5, 2)
    return [
        *(Sample((v,), {} if p is None else {"ord": p}, f"vector, {p}")
          for p in (None, 2, 1, 0, 3, 2.5, -1, np.inf, -np.inf)),
        *(Sample((m,), {} if p is None else {"ord": p}, f"matrix, {p}")
          for p in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)),
        *(Sample((stack,), {"ord": p, "axis": (1, 2)}, f"stack, {p}")
          for p in (None, "fro", "nuc", 2, -2, 1, -1, np.inf)),
        *(Sample((stack,), {"ord": p, "axis": (-1, 0), "keepdims": True}, f"axes in another order, {p}")
          for p in ("fro", "nuc", 1, -np.inf)),
        *(Sample((stack,), {"ord": p, "axis": -1, "keepdims": keep}, f"one axis, {p}")
          for p in (2, 1, 3, 0, np.inf, -np.inf) for keep in (False, True)),
        Sample((stack,), note="all of three axes"),
        Sample((stack,), {"keepdims": True}, "all of three axes"),
        Sample((m,), {"axis": 0}, "columns"),
        Sample((draw((0,), 1),), {"ord": np.inf}, "empty"),
        Sample((draw((), 6),), note="one number"),
    ]  # fmt: skip


_KINKS = (
    *(Kink(([0.0, 0.0],), ([0.0, 0.0],), "the least of the slopes at 0", {"ord": p}) for p in (None, 1, 2, 3, np.inf)),
    *(Kink((_ZERO,), (_ZERO,), "the least of the slopes at 0", {"ord": p}) for p in (None, "fro", "nuc", 1, 2, np.inf)),
    Kink(([3.0, -3.0, 1.0],), ([0.5, -0.5, 0.0],), "equal largest components share", {"ord": np.inf}),
    Kink(([2.0, 0.0],), ([1.0, 0.0],), "a component that is 0", {"ord": 1}),
    Kink(([2.0, 0.0],), ([1.0, 0.0],), "a component that is 0", {"ord": 1.5}),
    Kink(([[2.0, 0.0], [0.0, 2.0]],), ([[0.5, 0.0], [0.0, 0.5]],), "equal singular values share", {"ord": 2}),
    Kink(([[1.0, 1.0], [1.0, 1.0]],), ([[0.5, 0.5], [0.5, 0.5]],), "a value that is 0", {"ord": "nuc"}),
)  # fmt: skip


@answers(np.linalg.norm, samples=_calls, kinks=_KINKS)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x, ndim = _floats(x), len(shape_of(x))
    if axis is None and (ord is None or (ord == 2 and ndim == 1)):
        return norm(x, order=2.0, axis=tuple(range(ndim)), keepdims=bool(keepdims))
    axes = axes_of("np.linalg.norm", x, axis)
    if len(axes) == 1:
        return vector(x, ord, axes, bool(keepdims))
    if len(axes) != 2:
        raise ShapeError(
            f"np.linalg.norm takes norms over one or two axes, not {len(axes)}. np.linalg.vector_norm takes more."
        )
    rows, columns = axes if axis is None else (int(i) % ndim for i in axis)
    return matrix(x, ord, rows, columns, bool(keepdims))


@answers(np.linalg.vector_norm, kinks=_KINKS[:1], samples=lambda: [
    Sample((draw((2, 3, 2), 7, away_from_zero=True),), params)
    for params in ({}, {"axis": 1}, {"axis": (0, 2)}, {"axis": (0, 2), "ord": 3, "keepdims": True}, {"ord": 1},
                          {"ord": 4.5}, {"ord": np.inf, "axis": (0, 1)}, {"ord": -np.inf, "keepdims": True},
                   {"ord": 0, "axis": 2})
])  # fmt: skip
def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    return vector(_floats(x), ord, axes_of("np.linalg.vector_norm", x, axis), bool(keepdims))


@answers(np.linalg.matrix_norm, samples=lambda: [
    Sample((spaced(2, 3, 8, *stack),), params) for stack in ((), (2,))
    for params in ({}, {"ord": "nuc"}, {"ord": 2, "keepdims": True}, {"ord": -1}, {"ord": np.inf, "keepdims": True})
])  # fmt: skip
def _matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    ndim = len(shape_of(x))
    check_matrix("np.linalg.matrix_norm", shape_of(x))
    return matrix(_floats(x), ord, ndim - 2, ndim - 1, bool(keepdims))


_BEST = Kink(([[1.0, 0.0], [0.0, 1.0]],), (_ZERO,), "the best condition there is: equal singular values share")


@answers(np.linalg.cond, kinks=(_BEST,), samples=lambda: [
    *(Sample((square(2, 9, *stack),), {} if p is None else {"p": p}) for stack in ((), (3,))
      for p in (None, 2, -2, 1, -1, "fro", np.inf, -np.inf, "nuc")),
    Sample((spaced(3, 2, 10),)),
])  # fmt: skip
def _cond(x: Any, p: Any = None) -> Any:
    shape = shape_of(x)
    check_matrix("np.linalg.cond", shape)
    if 0 in shape[-2:]:
        raise ShapeError(f"np.linalg.cond is not defined for {show_shape(shape)}, which has no elements.")
    known = np.logical_not(np.any(np.isnan(x), axis=(-2, -1)))
    if p in (None, 2, -2):
        s = svdvals(x)
        largest, least = np.max(s, axis=-1), np.min(s, axis=-1)  # equal ones share
        with np.errstate(divide="ignore", invalid="ignore"):
            found = least / largest if p == -2 else largest / least
        unknown = np.logical_and(np.isnan(found), known)
        return np.where(unknown, np.inf, found)  # 0/0, of a matrix of zeros: NumPy's is infinite
    # NumPy's inverse of a singular matrix is NaN here, and the condition infinite.
    axes, singular = (len(shape) - 2, len(shape) - 1), np.equal(np.linalg.slogdet(x)[0], 0)
    unit = np.eye(fixed_size(shape, -1, "np.linalg.cond"), dtype=dtype_of(x))
    regular = np.where(expand_dims(singular, axis=axes), unit, x)
    found = matrix(x, p, *axes, False) * matrix(inv(regular), p, *axes, False)
    return np.where(known, np.where(singular, np.inf, found), np.nan)
