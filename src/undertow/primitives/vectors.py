"""Products of vectors: outer, Kronecker and cross products, and stacks of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib import NumpyVersion

from undertow.errors import ShapeError
from undertow.graph import Spec, broadcast_shapes, show_shape, total
from undertow.primitives.einsum import einsum
from undertow.primitives.product import matmul, pairs_of, scaled
from undertow.primitives.record import Code, Primitive, Sample, answers, dtype_of, refuse, shape_of
from undertow.primitives.shape import _ravel, astype, expand_dims, reshape, squeeze


@answers(np.outer, samples=lambda: pairs_of(((3,), (2,)), ((2, 3), (2,)), ((), (2,)), ((1,), (1,)), ((0,), (2,))))
def _outer(a: Any, b: Any, out: Any = None) -> Any:
    refuse("np.outer", out=out)
    a, b = (x if len(shape_of(x)) == 1 else _ravel(x) for x in (a, b))
    return expand_dims(a, axis=(1,)) * expand_dims(b, axis=(0,))


@answers(np.linalg.outer, samples=lambda: pairs_of(((3,), (2,)), ((1,), (1,)), ((0,), (2,))))
def _linalg_outer(x1: Any, x2: Any, /) -> Any:
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ShapeError(f"np.linalg.outer takes two vectors, not {show_shape(shape_of(x1))} and "
                         f"{show_shape(shape_of(x2))}. np.outer takes any shapes.")  # fmt: skip
    return _outer(x1, x2)


# ---- products of vectors in stacks ---------------------------------------------------------------

_VECTORS = (((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((2, 1, 3), (4, 3)), ((1,), (1,)), ((0, 3), (3,)))


@answers(np.vecdot, samples=lambda: pairs_of(*_VECTORS))
def _vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    if axis != -1:
        x1, x2 = np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)
    if shape_of(x1)[-1:] != shape_of(x2)[-1:] or not shape_of(x1):
        raise ShapeError(
            f"np.vecdot takes vectors of one size, not {show_shape(shape_of(x1))} and {show_shape(shape_of(x2))}."
        )
    product = x1 * x2
    total_ = np.sum(product, axis=-1)
    return total_ if dtype_of(total_) == dtype_of(product) else astype(total_, dtype=dtype_of(product))


@answers(np.linalg.vecdot, samples=lambda: [
    *pairs_of(*_VECTORS), *pairs_of(((3, 2), (3, 2)), ((3, 1), (3, 4)), axis=0),
])  # fmt: skip
def _linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return _vecdot(x1, x2, axis=axis)


def _check_axes(name: str, matrix: Any, vector: Any) -> None:
    """Refuse a vector in the place of the matrix, and a number in that of the vector."""
    for what, x, least in (("a matrix", matrix, 2), ("a vector", vector, 1)):
        if len(shape_of(x)) < least:
            raise ShapeError(f"{name} takes {what} or a stack of them there, not {show_shape(shape_of(x))}.")


def _matvec(x1: Any, x2: Any, /) -> Any:
    _check_axes("np.matvec", x1, x2)
    if len(shape_of(x2)) == 1:
        return matmul(x1, x2)
    column = expand_dims(x2, axis=(len(shape_of(x2)),))
    found = matmul(x1, column)
    return squeeze(found, axis=(len(shape_of(found)) - 1,))


def _vecmat(x1: Any, x2: Any, /) -> Any:
    _check_axes("np.vecmat", x2, x1)
    if len(shape_of(x1)) == 1:
        return matmul(x1, x2)
    found = matmul(expand_dims(x1, axis=(len(shape_of(x1)) - 1,)), x2)
    return squeeze(found, axis=(len(shape_of(found)) - 2,))


if hasattr(np, "matvec"):  # since NumPy 2.2
    answers(np.matvec, samples=lambda: pairs_of(((2, 3), (3,)), ((2, 3), (4, 3)), ((5, 2, 3), (5, 3)), ((1, 1), (1,))))(
        _matvec
    )
    answers(np.vecmat, samples=lambda: pairs_of(((2,), (2, 3)), ((4, 2), (2, 3)), ((5, 2), (5, 2, 3)), ((1,), (1, 1))))(
        _vecmat
    )


# ---- Kronecker and cross product -----------------------------------------------------------------

_FIRST, _SECOND = "abcdefgh", "ABCDEFGH"


def _kron_back(position: int, ct: Any, out: Any, a: Any, b: Any) -> Any:
    """Each block of the result is one element of a times b."""
    shapes = tuple(zip(shape_of(a), shape_of(b), strict=True))
    blocks = reshape(ct, shape=tuple(size for pair in shapes for size in pair))
    first, second = _FIRST[: len(shapes)], _SECOND[: len(shapes)]
    mine, other = (first, second) if position == 0 else (second, first)
    axes = "".join(x + y for x, y in zip(first, second, strict=True))
    return einsum(blocks, b if position == 0 else a, subscripts=f"{axes},{other}->{mine}", optimize=True)


kron = Primitive(
    name="kron",
    forward=np.kron,
    infer=lambda a, b: Spec(
        tuple(total(pair) for pair in zip(a.shape, b.shape, strict=True)), np.result_type(a.dtype, b.dtype)
    ),
    vjps=lambda position, *args: _kron_back(position, *args),
    spell=lambda a, b, **_: Code(f"np.kron({a.text}, {b.text})"),
    text="{0} ⊗ {1}",
    latex=r"{0} \otimes {1}",
    flow=("the sum of {ct} ⊙ {1} over each block", "the sum of the blocks of {ct}, each times its element of {0}"),
    latex_flow=(r"\sum_{{\text{{block}}}} {ct} \odot {1}", r"\sum_{{\text{{blocks}}}} {0} \, {ct}"),
    samples=lambda: pairs_of(
        ((2,), (3,)), ((2, 3), (2, 2)), ((1, 1), (2, 3)), ((2, 1, 2), (1, 2, 3)), ((0, 2), (2, 2))
    ),
)


@answers(np.kron, samples=lambda: pairs_of(
    ((2,), (3,)), ((2, 3), (2, 2)), ((2, 3), (2,)), ((2,), (2, 3)), ((2, 2), (2, 1, 2)), ((), (2, 3)), ((3,), ()),
    ((1,), (1,)),
))  # fmt: skip
def _kron(a: Any, b: Any) -> Any:
    na, nb = len(shape_of(a)), len(shape_of(b))
    if not na or not nb:
        return scaled(a, b)
    a, b = (
        x if n == max(na, nb) else expand_dims(x, axis=tuple(range(max(na, nb) - n))) for x, n in ((a, na), (b, nb))
    )
    return kron(a, b)


def _infer_cross(a: Spec, b: Spec) -> Spec:
    for x in (a, b):
        if not x.ndim or x.shape[-1] != 3:
            raise ShapeError(f"a cross product takes vectors of three components, not {show_shape(x.shape)}.")
    return Spec(broadcast_shapes(a.shape, b.shape), np.result_type(a.dtype, b.dtype))


cross: Primitive = Primitive(
    name="cross",
    forward=np.cross,
    infer=_infer_cross,
    vjps=(lambda ct, out, a, b: cross(b, ct), lambda ct, out, a, b: cross(ct, a)),
    broadcasts=True,
    whole=True,
    spell=lambda a, b, **_: Code(f"np.cross({a.text}, {b.text})"),
    text="{0} × {1}",
    latex=r"{0} \times {1}",
    flow=("{1} × {ct}", "{ct} × {0}"),
    latex_flow=(r"{1} \times {ct}", r"{ct} \times {0}"),
    samples=lambda: pairs_of(
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1, 3), (4, 3)), ((1, 3), (2, 3)), ((0, 3), (3,))
    ),
)


_PLANES = NumpyVersion(np.__version__) < "2.5.0"  # NumPy has vectors of 2 components; deprecated in 2.0


def _cross_samples() -> list[Sample]:
    planes = [
        *pairs_of(((2,), (2,)), ((4, 2), (2,)), ((2, 2), (2, 3)), ((3,), (4, 2))),
        *pairs_of(((2, 4), (4, 2)), axisa=0, axisb=-1),
    ]
    return [
        *pairs_of(((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (3,))),
        *pairs_of(((3, 2), (3, 2)), ((3, 4), (3, 4)), axis=0),
        *pairs_of(((3, 2), (2, 3)), axisa=0, axisb=1, axisc=0),
        *(planes if _PLANES else []),
    ]


@answers(np.cross, samples=_cross_samples)
def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    sizes = shape_of(a)[-1], shape_of(b)[-1]
    if 2 in sizes and not _PLANES:
        raise ShapeError(
            f"np.cross takes vectors of 3 components, not {sizes[0]} and {sizes[1]}: of 2 NumPy {np.__version__} has "
            f"none any more. Of two in a plane write a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]."
        )
    if sizes == (2, 2):
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if not set(sizes) <= {2, 3}:
        raise ShapeError(f"np.cross takes vectors of 2 or 3 components, not {sizes[0]} and {sizes[1]}.")
    if sizes == (3, 3):
        found = cross(a, b)
    else:  # the missing third component is left out, not 0: 0 times infinity would be NaN
        third = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
        first, second = (a[..., i] * b[..., 2] if sizes[0] == 2 else a[..., 2] * b[..., i] for i in (1, 0))
        found = np.stack([first, -second, third] if sizes[0] == 2 else [-first, second, third], axis=-1)
    return found if axisc in (-1, len(shape_of(found)) - 1) else np.moveaxis(found, -1, axisc)


@answers(np.linalg.cross, samples=lambda: [
    *pairs_of(((3,), (3,)), ((2, 3), (3,))), *pairs_of(((3, 2), (3, 2)), axis=0),
])  # fmt: skip
def _linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    for x in (x1, x2):
        shape = shape_of(x)
        if shape and -len(shape) <= axis < len(shape) and shape[axis] != 3:
            raise ShapeError(
                f"np.linalg.cross takes vectors of 3 along axis {axis}, not {show_shape(shape_of(x1))} and "
                f"{show_shape(shape_of(x2))}.{' np.cross takes vectors of 2 as well.' if _PLANES else ''}"
            )
    return _cross(x1, x2, axis=axis)
