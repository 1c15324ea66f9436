"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError, UnsupportedError
from undertow.graph import Size, Spec, broadcast_shapes
from undertow.primitives.record import (
    PRODUCT,
    Primitive,
    Sample,
    answers,
    infix,
    normalize_axis,
    promote,
    shape_of,
)
from undertow.primitives.reduce import sum_
from undertow.primitives.sampling import draw
from undertow.primitives.shape import _ravel, expand_dims, fill_in, reshape, transpose


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
        raise ShapeError(f"the inner sizes {inner_x} and {inner_y} differ. Give the right side {inner_x} {what}.")
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    tail: tuple[Size, ...] = (
        *((x.shape[-2],) if x.ndim > 1 else ()),
        *((y.shape[-1],) if y.ndim > 1 else ()),
    )
    return Spec((*batch, *tail), promote(np.matmul, (x, y))[0])


def _left(ct: Any, out: Any, x: Any, y: Any) -> Any:
    nx, ny = len(shape_of(x)), len(shape_of(y))
    if ny == 1:  # (…, n, k) @ (k,) -> (…, n), or two vectors
        return ct * y if nx == 1 else expand_dims(ct, axis=(len(shape_of(ct)),)) * y
    if nx == 1:  # (k,) @ (…, k, p) -> (…, p)
        return sum_(expand_dims(ct, axis=(len(shape_of(ct)) - 1,)) * y, axis=(ny - 1,), keepdims=False)
    return ct @ swap(y)


def _right(ct: Any, out: Any, x: Any, y: Any) -> Any:
    nx, ny = len(shape_of(x)), len(shape_of(y))
    if nx == 1:
        return ct * x if ny == 1 else expand_dims(x, axis=(1,)) * expand_dims(ct, axis=(len(shape_of(ct)) - 1,))
    if ny == 1:
        if nx == 2:
            return swap(x) @ ct
        return sum_(expand_dims(ct, axis=(len(shape_of(ct)),)) * x, axis=tuple(range(nx - 1)), keepdims=False)
    return swap(x) @ ct


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
    samples=lambda: [
        Sample((draw(a, 1), draw(b, 2)), note=f"{a} @ {b}")
        for a, b in (
            ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((1, 1), (1, 1)), ((5, 2, 3), (3, 4)),
            ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
            ((3,), (5, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
        )
    ],
)  # fmt: skip


@answers(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        return np.multiply(a, b)
    return np.matmul(a, b) if nb <= 2 else _tensordot(a, b, ((na - 1,), (nb - 2,)))


@answers(np.vdot)
def _vdot(a: Any, b: Any, /) -> Any:
    return np.matmul(*[_ravel(x) if len(shape_of(x)) != 1 else x for x in (a, b)])


@answers(np.inner)
def _inner(a: Any, b: Any, /) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    return np.multiply(a, b) if not na or not nb else _tensordot(a, b, ((na - 1,), (nb - 1,)))


@answers(np.outer)
def _outer(a: Any, b: Any, out: Any = None) -> Any:
    a, b = (x if len(shape_of(x)) == 1 else _ravel(x) for x in (a, b))
    return expand_dims(a, axis=(1,)) * expand_dims(b, axis=(0,))


@answers(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    sa, sb = shape_of(a), shape_of(b)
    if isinstance(axes, int):
        over_a, over_b = tuple(range(len(sa) - axes, len(sa))), tuple(range(axes))
    else:
        over_a, over_b = (
            tuple(int(i) % len(s) for i in (axis if isinstance(axis, tuple | list) else (axis,)))
            for axis, s in zip(axes, (sa, sb), strict=True)
        )
    kept_a = tuple(i for i in range(len(sa)) if i not in over_a)
    kept_b = tuple(i for i in range(len(sb)) if i not in over_b)
    left = tuple(sa[i] for i in over_a)
    if left != tuple(sb[i] for i in over_b):
        raise ShapeError(
            f"np.tensordot sums over axes of sizes {left} and {tuple(sb[i] for i in over_b)}: they differ."
        )
    inner = fill_in(left, [-1])[0] if left else 1

    def flat(x: Any, order: tuple[int, ...], rows: bool) -> Any:
        x = transpose(x, axes=order)
        return reshape(x, shape=fill_in(shape_of(x), [-1, inner] if rows else [inner, -1]))

    product = flat(a, (*kept_a, *over_a), True) @ flat(b, (*over_b, *kept_b), False)
    return reshape(product, shape=(*(sa[i] for i in kept_a), *(sb[i] for i in kept_b)))


@answers(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    flat_2 = ord in (2, "fro") and (len(shape_of(x)) == (1 if ord == 2 else 2) or isinstance(axis, int))
    if ord is not None and not flat_2:
        raise UnsupportedError(f"np.linalg.norm(…, ord={ord!r}) cannot be traced yet, only the 2-norm can.")
    axes = normalize_axis(axis, len(shape_of(x)))
    squares = sum_(np.square(x), axis=axes, keepdims=keepdims)
    zero = squares == 0  # at 0 the gradient is 0: the inner where keeps sqrt away from its infinite slope
    return np.where(zero, 0.0, np.sqrt(np.where(zero, 1.0, squares))).astype(squares.dtype)
