"""Products of matrices: matmul, dot, inner, tensordot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Size, Spec, broadcast_shapes, show_shape
from undertow.primitives.elementwise import times
from undertow.primitives.record import (
    PRODUCT,
    Code,
    Primitive,
    Sample,
    answers,
    dtype_of,
    infix,
    normalize_axis,
    promote,
    refuse,
    shape_of,
    spec_of,
)
from undertow.primitives.reduce import sum_
from undertow.primitives.sampling import draw
from undertow.primitives.shape import _ravel, astype, expand_dims, transpose


def swap(x: Any) -> Any:
    """Transpose the last two axes."""
    n = len(shape_of(x))
    return transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def infer_matmul(x: Spec, y: Spec) -> Spec:
    """Apply NumPy's rule of matmul.

    Raises:
        ShapeError: a 0-d operand, or inner sizes that differ.
    """
    if not x.ndim or not y.ndim:
        raise ShapeError("@ does not take a single number. Use * for it.")
    inner_x, inner_y = x.shape[-1], y.shape[-2] if y.ndim > 1 else y.shape[0]
    if inner_x != inner_y:
        what = "rows" if y.ndim > 1 else "elements"
        turned = ", as its transpose has" if y.ndim == 2 and y.shape[-1] == inner_x else ""
        raise ShapeError(
            f"the inner sizes {inner_x} and {inner_y} differ. Give the right side {inner_x} {what}{turned}."
        )
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    tail: tuple[Size, ...] = (
        *((x.shape[-2],) if x.ndim > 1 else ()),
        *((y.shape[-1],) if y.ndim > 1 else ()),
    )
    return Spec((*batch, *tail), promote(np.matmul, (x, y))[0])


def _left(ct: Any, out: Any, x: Any, y: Any) -> Any:
    nx, ny = len(shape_of(x)), len(shape_of(y))
    if ny == 1:  # (…, n, k) @ (k,) -> (…, n), or two vectors
        return times(ct, y) if nx == 1 else expand_dims(ct, axis=(len(shape_of(ct)),)) * y
    if nx == 1 and ny == 2:
        return ct @ swap(y)
    if nx == 1:  # (k,) @ (…, k, p) -> (…, p)
        return sum_(expand_dims(ct, axis=(len(shape_of(ct)) - 1,)) * y, axis=(ny - 1,), keepdims=False)
    return ct @ swap(y)


def _right(ct: Any, out: Any, x: Any, y: Any) -> Any:
    nx, ny = len(shape_of(x)), len(shape_of(y))
    if nx == 1:
        row = ct if ny <= 2 else expand_dims(ct, axis=(len(shape_of(ct)) - 1,))
        return times(ct, x) if ny == 1 else expand_dims(x, axis=(1,)) * row
    if ny == 1:
        if nx == 2:
            return swap(x) @ ct
        return sum_(expand_dims(ct, axis=(len(shape_of(ct)),)) * x, axis=tuple(range(nx - 1)), keepdims=False)
    return swap(x) @ ct


def _matmul_samples() -> list[Sample]:
    pairs = (
        ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((1, 1), (1, 1)), ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
        ((3,), (5, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
    )  # fmt: skip
    return [Sample((draw(a, 1), draw(b, 2)), note=f"{a} @ {b}") for a, b in pairs]


matmul = Primitive(
    name="matmul",
    forward=np.matmul,
    infer=infer_matmul,
    vjps=(_left, _right),
    broadcasts=True,
    whole=True,
    spell=infix("@", PRODUCT),
    text="{0} {1}",
    latex="{0} {1}",
    flow=("{ct} {1}ᵀ", "{0}ᵀ {ct}"),
    latex_flow=(r"{ct} {1}^\top", r"{0}^\top {ct}"),
    numpy=(np.matmul,),
    samples=_matmul_samples,
)


def pairs_of(*shapes: tuple[tuple[int, ...], tuple[int, ...]], **params: Any) -> list[Sample]:
    """Return samples for a product of two arrays."""
    return [Sample((draw(a, 1), draw(b, 2)), params, f"{a} and {b}") for a, b in shapes]


def scaled(a: Any, b: Any) -> Any:
    """Multiply where one of both is a number, which np.dot takes for an array of float64, unlike ``2.0 * x``."""
    dtype = np.result_type(dtype_of(a), dtype_of(b))
    if promote(np.multiply, (spec_of(a), spec_of(b)))[0] != dtype:
        a, b = (x if spec_of(x).weak else astype(x, dtype=dtype) for x in (a, b))
    return np.multiply(a, b)


@answers(np.linalg.matmul, samples=_matmul_samples)
def _linalg_matmul(x1: Any, x2: Any, /) -> Any:
    return matmul(x1, x2)


@answers(np.dot, samples=lambda: pairs_of(
    ((3,), (3,)), ((2, 3), (3, 2)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
    ((), (2, 3)), ((3,), ()), ((), ()), ((3,), (2, 3, 1)), ((2, 2, 3), (2, 3, 2)), ((0, 3), (3, 2)),
))  # fmt: skip
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    refuse("np.dot", out=out)
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        return scaled(a, b)
    return matmul(a, b) if nb <= 2 and na <= 2 else tensordot(a, b, over_a=(na - 1,), over_b=(max(nb - 2, 0),))


@answers(np.vdot, samples=lambda: pairs_of(((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (6,)), ((), ()), ((1, 2), (2, 1))))
def _vdot(a: Any, b: Any, /) -> Any:
    return matmul(*[_ravel(x) if len(shape_of(x)) != 1 else x for x in (a, b)])


@answers(np.inner, samples=lambda: pairs_of(
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 3), (4, 3)), ((2, 2, 3), (3,)), ((2, 3), (4, 2, 3)),
    ((), (2, 3)), ((3,), ()), ((), ()), ((1, 1), (1, 1)), ((0, 3), (2, 3)),
))  # fmt: skip
def _inner(a: Any, b: Any, /) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        return scaled(a, b)
    if na <= 2 and nb <= 2:
        return matmul(b, a) if na == 1 else matmul(a, swap(b) if nb == 2 else b)
    return tensordot(a, b, over_a=(na - 1,), over_b=(nb - 1,))


# ---- tensordot -----------------------------------------------------------------------------------


def _infer_tensordot(a: Spec, b: Spec, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Spec:
    left, right = tuple(a.shape[i] for i in over_a), tuple(b.shape[i] for i in over_b)
    if left != right:
        raise ShapeError(
            f"np.tensordot sums over axes of sizes {show_shape(left)} and {show_shape(right)}: they differ."
        )
    kept = [size for x, over in ((a, over_a), (b, over_b)) for i, size in enumerate(x.shape) if i not in over]
    return Spec(tuple(kept), np.result_type(a.dtype, b.dtype))


def _kept(x: Any, over: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i for i in range(len(shape_of(x))) if i not in over)


def _in_order(x: Any, order: Sequence[int]) -> Any:
    """Put axes in place; ``order`` tells for each axis of x where it belongs."""
    axes = tuple(int(i) for i in np.argsort(order))
    return x if axes == tuple(range(len(axes))) else transpose(x, axes=axes)


def _tensordot_left(ct: Any, out: Any, a: Any, b: Any, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Any:
    kept_a, kept_b = _kept(a, over_a), _kept(b, over_b)
    last = tuple(range(len(kept_a), len(shape_of(ct))))
    found = tensordot(ct, b, over_a=last, over_b=kept_b)  # the axes of a that were kept, then those of b, sorted
    return _in_order(found, [*kept_a, *(over_a[i] for i in np.argsort(over_b))])


def _tensordot_right(ct: Any, out: Any, a: Any, b: Any, over_a: tuple[int, ...], over_b: tuple[int, ...]) -> Any:
    kept_a, kept_b = _kept(a, over_a), _kept(b, over_b)
    found = tensordot(a, ct, over_a=kept_a, over_b=tuple(range(len(kept_a))))
    return _in_order(found, [*(over_b[i] for i in np.argsort(over_a)), *kept_b])


def _spell_tensordot(
    a: Code, b: Code, *, over_a: tuple[int, ...], over_b: tuple[int, ...], ndim: int, **_: Any
) -> Code:
    n = len(over_a)
    axes: Any = (over_a[0], over_b[0]) if n == 1 else (list(over_a), list(over_b))
    if over_b == tuple(range(n)) and over_a == tuple(range(ndim - n, ndim)):
        axes = n
    return Code(f"np.tensordot({a.text}, {b.text}, axes={axes})")


_TENSORDOTS = (
    ((2, 3), (3, 4), (1,), (0,)), ((2, 3, 4), (4, 3, 2), (1, 2), (1, 0)), ((2, 3, 4), (3, 2, 5), (0, 1), (1, 0)),
    ((), (2,), (), ()), ((2,), (3,), (), ()), ((2, 3), (2, 3), (0, 1), (0, 1)), ((3, 2, 4), (5, 4), (2,), (1,)),
    ((1, 2), (2, 1), (0,), (1,)), ((0, 2), (2, 3), (1,), (0,)),
)  # fmt: skip

tensordot: Primitive = Primitive(
    name="tensordot",
    forward=lambda a, b, over_a, over_b: np.asarray(np.tensordot(a, b, axes=(over_a, over_b)))[()],
    infer=_infer_tensordot,
    vjps=(_tensordot_left, _tensordot_right),
    spell=_spell_tensordot,
    text="{0} · {1}",
    latex=r"{0} \cdot {1}",
    flow=("{ct} · {1}", "{0} · {ct}"),
    latex_flow=(r"{ct} \cdot {1}", r"{0} \cdot {ct}"),
    samples=lambda: [
        Sample((draw(a, 1), draw(b, 2)), {"over_a": i, "over_b": j}, f"{a} over {i} and {b} over {j}")
        for a, b, i, j in _TENSORDOTS
    ],
)


def _tensordot_samples(axes: str = "axes") -> list[Sample]:
    cases: tuple[tuple[tuple[int, ...], tuple[int, ...], Any], ...] = (
        ((2, 3, 4), (3, 4, 2), 2), ((2, 3), (3, 4), 1), ((2,), (3,), 0), ((2, 3, 4), (4, 3, 2), ([1, 2], [1, 0])),
        ((2, 3), (4, 2), (0, 1)), ((2, 3), (4, 3), (-1, -1)), ((2, 3, 4), (4, 5), ((2,), (0,))),
        ((2, 3), (3, 2), ((), ())), ((0, 3), (3, 2), 1),
    )  # fmt: skip
    return [Sample((draw(a, 1), draw(b, 2)), {axes: over}, f"axes={over}") for a, b, over in cases]


@answers(np.tensordot, samples=lambda: [*_tensordot_samples(), *pairs_of(((2, 3, 4), (3, 4)))])
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if isinstance(axes, int | np.integer):
        n = int(axes)
        if not 0 <= n <= min(na, nb):
            raise ShapeError(f"np.tensordot(…, axes={n}) of arrays with {na} and {nb} axes. Sum over fewer axes.")
        return tensordot(a, b, over_a=tuple(range(na - n, na)), over_b=tuple(range(n)))
    over_a, over_b = (
        tuple(normalize_axis(int(i), ndim)[0] for i in (axis if isinstance(axis, tuple | list) else (axis,)))
        for axis, ndim in zip(axes, (na, nb), strict=True)
    )
    if len(over_a) != len(over_b):
        raise ShapeError(f"np.tensordot(…, axes={axes}): give as many axes of the first array as of the second.")
    if any(len(set(over)) < len(over) for over in (over_a, over_b)):
        raise ShapeError(f"np.tensordot(…, axes={axes}) names an axis twice.")
    return tensordot(a, b, over_a=over_a, over_b=over_b)


@answers(np.linalg.tensordot, samples=_tensordot_samples)
def _linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return _tensordot(x1, x2, axes)
