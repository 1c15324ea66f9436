"""Inverses, determinants and linear systems.

``np.linalg`` in textbook words: an inverse is A⁻¹, a pseudo-inverse A⁺, transposition ᵀ, and stacks of
matrices behave like one matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError, UnsupportedError
from undertow.graph import Shape, Spec, broadcast_shapes, show_shape, total
from undertow.primitives.matrices import check_matrix, definite, infer_square, known, spaced, square
from undertow.primitives.product import swap
from undertow.primitives.record import (
    NO_GRADIENT,
    Code,
    Primitive,
    Sample,
    answers,
    call,
    dtype_of,
    float_like,
    shape_of,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import astype, expand_dims, squeeze

GILES = "Giles (2008), Collected matrix derivative results for forward and reverse mode AD, section 2"


# ---- inverse and linear systems ------------------------------------------------------------------


def _square_samples(*extra: Sample) -> list[Sample]:
    return [Sample((square(n, 1, *stack),), note=f"{stack} {n}") for n, stack in ((3, ()), (1, ()), (2, (3,)))] + [
        Sample((np.zeros((0, 0)),), note="an empty matrix"),
        *extra,
    ]


inv: Primitive = Primitive(
    name="inv",
    forward=np.linalg.inv,
    infer=infer_square("np.linalg.inv"),
    vjps=(lambda ct, out, a: -swap(out) @ ct @ swap(out),),
    spell=call("np.linalg.inv"),
    text="{0}⁻¹",
    latex="{0}^{{-1}}",
    flow=("−{out}ᵀ {ct} {out}ᵀ",),
    latex_flow=(r"-{out}^\top {ct} {out}^\top",),
    samples=_square_samples,
    source=f"{GILES}.2.3",
)


@answers(np.linalg.inv, samples=_square_samples, source=inv.source)
def _inv(a: Any) -> Any:
    return inv(a)


def _infer_solve(a: Spec, b: Spec) -> Spec:
    check_matrix("np.linalg.solve", a.shape, square=True)
    rows = b.shape[0] if b.ndim == 1 else b.shape[-2] if b.ndim else None
    if rows != a.shape[-1]:
        stack = " A stack of vectors is a stack of matrices with one column, b[..., None]."
        raise ShapeError(
            f"np.linalg.solve: the matrix {show_shape(a.shape)} needs a right side with {a.shape[-1]} rows, "
            f"not {show_shape(b.shape)}.{stack if b.ndim > 1 else ''}"
        )
    dtype = np.result_type(float_like(a.dtype), float_like(b.dtype))
    if b.ndim == 1:
        return Spec(a.shape[:-1], dtype)
    return Spec((*broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), dtype)


def _column(x: Any) -> Any:
    return expand_dims(x, axis=(len(shape_of(x)),))


def _solve_back(position: int, ct: Any, out: Any, a: Any, b: Any) -> Any:
    """The right side gets A⁻ᵀ ct, the matrix minus that times xᵀ."""
    vector = len(shape_of(b)) == 1
    if vector and len(shape_of(a)) > 2:
        share = squeeze(solve(swap(a), _column(ct)), axis=(len(shape_of(ct)),))
    else:
        share = solve(swap(a), ct)
    if position == 1:
        return share
    if vector:
        return -_column(share) * expand_dims(out, axis=(len(shape_of(out)) - 1,))
    return -share @ swap(out)


def _solve_samples() -> list[Sample]:
    cases: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...] = (
        (3, (), (3,)), (3, (), (3, 2)), (2, (4,), (2,)), (2, (4,), (4, 2, 3)), (2, (), (4, 2, 1)), (2, (4,), (2, 3)),
        (1, (), (1,)), (2, (3, 1), (4, 2, 2)), (3, (), (3, 0)),
    )  # fmt: skip
    return [Sample((square(n, 2, *stack), draw(b, 3)), note=f"{stack} {n}, {b}") for n, stack, b in cases]


solve: Primitive = Primitive(
    name="solve",
    forward=np.linalg.solve,
    infer=_infer_solve,
    vjps=lambda position, ct, out, a, b: _solve_back(position, ct, out, a, b),
    broadcasts=True,
    whole=True,
    spell=call("np.linalg.solve"),
    text="{0}⁻¹ {1}",
    latex="{0}^{{-1}} {1}",
    flow=("−({0}⁻ᵀ {ct}) {out}ᵀ", "{0}⁻ᵀ {ct}"),
    latex_flow=(r"-({0}^{{-\top}} {ct}) {out}^\top", r"{0}^{{-\top}} {ct}"),
    samples=_solve_samples,
    source=f"{GILES}.3.1",
)


@answers(np.linalg.solve, samples=_solve_samples, source=solve.source)
def _solve(a: Any, b: Any) -> Any:
    return solve(a, b)


# ---- pseudo-inverse and least squares ------------------------------------------------------------


def _pinv_back(ct: Any, out: Any, a: Any, rcond: float, hermitian: bool) -> Any:
    p, pt, c = out, swap(out), swap(ct)
    a = mirror(a) if hermitian else a
    share = (c - a @ (p @ c)) @ (p @ pt) + (pt @ p) @ (c - (c @ p) @ a) - pt @ ct @ pt
    return lower_share(share) if hermitian else share


def lower_share(x: Any) -> Any:
    """Turn the gradient by a symmetric matrix into that by the entries NumPy reads: the lower triangle.

    An entry below the diagonal stands for two of the symmetric matrix and gets both of their shares.
    """
    return half_lower(x + swap(x))


def half_lower(x: Any) -> Any:
    """Return the lower triangle with half of the diagonal."""
    return (np.tril(x) + np.tril(x, -1)) / 2


def mirror(x: Any) -> Any:
    """Return the symmetric matrix that has this lower triangle."""
    return np.tril(x) + swap(np.tril(x, -1))


def _spell_pinv(a: Code, *, rcond: float, hermitian: bool, **_: Any) -> Code:
    options = f"{'' if rcond == 1e-15 else f', rcond={rcond}'}{', hermitian=True' if hermitian else ''}"
    return Code(f"np.linalg.pinv({a.text}{options})")


def _infer_pinv(a: Spec, rcond: float, hermitian: bool) -> Spec:
    check_matrix("np.linalg.pinv", a.shape, square=hermitian)
    return Spec((*a.shape[:-2], a.shape[-1], a.shape[-2]), float_like(a.dtype))


def _rectangles(*more: Sample, **params: Any) -> list[Sample]:
    shapes: tuple[tuple[int, ...], ...] = ((3, 2), (2, 3), (2, 2), (1, 1), (4, 3, 2), (0, 2))
    return [Sample((spaced(*s[-2:], 4, *s[:-2]),), params, f"{s}") for s in shapes] + list(more)


pinv = Primitive(
    name="pinv",
    forward=lambda a, rcond, hermitian: np.linalg.pinv(a, rcond, hermitian),
    infer=_infer_pinv,
    vjps=(_pinv_back,),
    spell=_spell_pinv,
    text="{0}⁺",
    latex="{0}^+",
    flow=("−{out}ᵀ {ct} {out}ᵀ + the shares of the spaces that {0} leaves out",),
    latex_flow=(
        r"-{out}^\top {ct} {out}^\top + (I - {0} {out}) {ct}^\top {out} {out}^\top"
        r" + {out}^\top {out} {ct}^\top (I - {out} {0})",
    ),
    samples=lambda: _rectangles(
        Sample((definite(3, 5),), {"rcond": 1e-15, "hermitian": True}, "hermitian"), rcond=1e-15, hermitian=False
    ),
    source="Golub & Pereyra (1973), SIAM J. Numer. Anal. 10(2), doi 10.1137/0710036, equation 4.12; constant rank",
)


@answers(np.linalg.pinv, source=pinv.source, samples=lambda: _rectangles(
    Sample((spaced(3, 2, 6),), {"rcond": 1e-10}), Sample((spaced(3, 2, 6),), {"rtol": None}),
    Sample((spaced(3, 2, 6),), {"rtol": 1e-10}), Sample((definite(3, 5),), {"hermitian": True}),
))  # fmt: skip
def _pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    shape = shape_of(a)
    check_matrix("np.linalg.pinv", shape)
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
    if rcond is None:
        largest = max(known("np.linalg.pinv(…, rtol=None)", n) for n in shape[-2:])
        rcond = largest * np.finfo(float_like(dtype_of(a))).eps
    if np.ndim(rcond):
        raise UnsupportedError("np.linalg.pinv(…, rcond=array) cannot be traced. Give one number.")
    return pinv(a, rcond=float(rcond), hermitian=bool(hermitian))


def _infer_lstsq(a: Spec, b: Spec, rcond: float | None) -> Spec:
    if a.ndim != 2 or b.ndim not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ShapeError(
            f"np.linalg.lstsq takes a matrix and a right side with as many rows, not {show_shape(a.shape)} and "
            f"{show_shape(b.shape)}."
        )
    return Spec((a.shape[1], *b.shape[1:]), np.result_type(float_like(a.dtype), float_like(b.dtype)))


def _cutoff(a: Any, rcond: float | None) -> float:
    """Return below which share of the largest a singular value counts as 0."""
    eps = float(np.finfo(float_like(dtype_of(a))).eps)
    if rcond is None:
        return eps * max(known("np.linalg.lstsq", n) for n in shape_of(a))
    return eps if rcond < 0 else rcond


def _lstsq_back(position: int, ct: Any, out: Any, a: Any, b: Any, rcond: float | None) -> Any:
    """The rule of the pseudo-inverse for A⁺ b, with columns in place of whole matrices."""
    p = pinv(a, rcond=_cutoff(a, rcond), hermitian=False)
    share = swap(p) @ ct
    if position == 1:
        return share
    if len(shape_of(b)) == 1:
        ct, out, b, columns = _column(ct), _column(out), _column(b), _column(share)
    else:
        columns = share
    left_out = ct - swap(a) @ columns
    return (b - a @ out) @ swap(p @ columns) + (swap(p) @ out) @ swap(left_out) - columns @ swap(out)


def _lstsq_samples(**params: Any) -> list[Sample]:
    cases = ((4, 2, (4,)), (4, 2, (4, 3)), (2, 2, (2,)), (2, 3, (2,)), (2, 4, (2, 2)), (3, 1, (3,)))
    return [Sample((spaced(m, n, 7), draw(b, 8)), params, f"({m}, {n}), {b}") for m, n, b in cases]


lstsq = Primitive(
    name="lstsq",
    forward=lambda a, b, rcond: np.linalg.lstsq(a, b, rcond=rcond)[0],
    infer=_infer_lstsq,
    vjps=lambda position, *args, **params: _lstsq_back(position, *args, **params),
    spell=lambda a, b, *, rcond, **_: Code(
        f"np.linalg.lstsq({a.text}, {b.text}{'' if rcond is None else f', rcond={rcond}'})[0]"
    ),
    text="{0}⁺ {1}",
    latex="{0}^+ {1}",
    flow=("the share of {0}⁺ in {0}⁺ {1}", "({0}⁺)ᵀ {ct}"),
    latex_flow=(r"\operatorname{{vjp}}({0}^+)({ct} \, {1}^\top)", r"({0}^+)^\top {ct}"),
    samples=lambda: _lstsq_samples(rcond=None),
    source=pinv.source,
)


@answers(np.linalg.lstsq, source=pinv.source, samples=lambda: [
    *_lstsq_samples(), Sample((spaced(4, 2, 7), draw((4,), 8)), {"rcond": 1e-6}),
    Sample((spaced(4, 2, 7), draw((4, 2), 8)), {"rcond": -1}),
])  # fmt: skip
def _lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """Where values are not known, the matrix is taken to have full rank: the residuals' size depends on it."""
    x = lstsq(a, b, rcond=rcond if rcond is None else float(rcond))
    m, n = (known("np.linalg.lstsq", size) for size in shape_of(a))
    rank = np.linalg.matrix_rank(a, rtol=_cutoff(a, rcond))
    value = getattr(getattr(rank, "node", None), "value", rank)
    keep: Any = len(shape_of(b)) == 1
    residuals = np.sum(np.square(b - a @ x), axis=0, keepdims=keep)
    if m <= n or (value is not None and value < n):
        residuals = residuals[:0]
    return x, residuals, astype(rank, dtype=np.dtype(np.int32)), np.linalg.svdvals(a)


def _infer_rank(a: Spec, **_: Any) -> Spec:
    return Spec(a.shape[:-2], np.dtype(np.intp))


def _spell_rank(a: Code, *, tol: float | None, rtol: float | None, hermitian: bool, **_: Any) -> Code:
    options = "".join(f", {name}={value}" for name, value in (("tol", tol), ("rtol", rtol)) if value is not None)
    return Code(f"np.linalg.matrix_rank({a.text}{options}{', hermitian=True' if hermitian else ''})")


matrix_rank = Primitive(
    name="matrix_rank",
    forward=lambda a, tol, rtol, hermitian: np.asarray(np.linalg.matrix_rank(a, tol, hermitian, rtol=rtol))[()],
    infer=_infer_rank,
    vjps=(NO_GRADIENT,),
    spell=_spell_rank,
    text="rank {0}",
    latex=r"\operatorname{{rank}} {0}",
    samples=lambda: [*_rectangles(tol=None, rtol=None, hermitian=False)],
)


@answers(np.linalg.matrix_rank, samples=lambda: [
    *_rectangles(Sample((np.outer([1.0, 2.0, -1.0], [0.5, 1.0]),)), Sample((spaced(3, 2, 4),), {"tol": 1.5}),
                 Sample((spaced(3, 2, 4),), {"rtol": 0.9}), Sample((definite(3, 5),), {"hermitian": True}),
                 Sample((draw((3,), 1),))),
])  # fmt: skip
def _matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if tol is not None and rtol is not None:
        raise ArgumentError("np.linalg.matrix_rank takes tol= or rtol=, not both. Leave one out.")
    tol, rtol = (None if x is None else float(x) for x in (tol, rtol))
    return matrix_rank(A, tol=tol, rtol=rtol, hermitian=bool(hermitian))


# ---- powers, chains, tensors ---------------------------------------------------------------------


@answers(np.linalg.matrix_power, samples=lambda: [
    Sample((square(2, 9, *stack) / 3, n), note=f"{stack} to {n}")
    for n in (0, 1, 2, 3, 5, -1, -3) for stack in ((), (2,))
])  # fmt: skip
def _matrix_power(a: Any, n: Any) -> Any:
    """Repeated squaring, the products that NumPy computes."""
    check_matrix("np.linalg.matrix_power", shape_of(a), square=True)
    exponent = n.__index__()
    if exponent == 0:
        return np.zeros_like(a) + np.eye(known("np.linalg.matrix_power", shape_of(a)[-1]), dtype=dtype_of(a))
    if exponent < 0:
        a, exponent = inv(a), -exponent
    result, factor = None, a
    if exponent == 3:
        return a @ a @ a
    while exponent:
        if exponent % 2:
            result = factor if result is None else result @ factor
        exponent //= 2
        factor = factor @ factor if exponent else factor
    return result


@answers(np.linalg.multi_dot, samples=lambda: [
    Sample(([draw(shape, i) for i, shape in enumerate(shapes)],), note=f"{shapes}")
    for shapes in (((2, 3), (3, 4)), ((5, 2), (2, 6), (6, 1)), ((3,), (3, 2), (2, 4), (4,)), ((4,), (4, 2), (2, 5)),
                   ((2, 3), (3, 4), (4, 1), (1, 5)))
])  # fmt: skip
def _multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """The order with the fewest multiplications, by dynamic programming.

    Source: Cormen et al., Introduction to Algorithms, 3rd ed., section 15.2.
    """
    factors = list(arrays)
    n = len(factors)
    if n < 2:
        raise ShapeError("np.linalg.multi_dot takes at least two arrays.")
    if n == 2:
        return np.dot(*factors)  # as NumPy does, whatever their axes
    for i, x in enumerate(factors):
        if len(shape_of(x)) not in ((1, 2) if i in (0, n - 1) else (2,)):
            raise ShapeError(
                f"np.linalg.multi_dot takes matrices, and vectors at the ends; array {i + 1} is "
                f"{show_shape(shape_of(x))}. Write @ for stacks of matrices."
            )
    first, last = shape_of(factors[0]), shape_of(factors[-1])
    sizes = [1 if len(first) == 1 else first[0], *(shape_of(x)[0] for x in factors[1:])]
    ends = [known("np.linalg.multi_dot", size) for size in (*sizes, 1 if len(last) == 1 else last[-1])]
    best: dict[tuple[int, int], tuple[int, Any]] = {(i, i): (0, None) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + ends[i] * ends[k + 1] * ends[j + 1], k) for k in range(i, j)
            )

    def chain(i: int, j: int) -> Any:
        if i == j:
            return factors[i]
        k = best[i, j][1]
        return chain(i, k) @ chain(k + 1, j)

    return chain(0, n - 1)


def _count(shape: Shape, function: str) -> int:
    return known(function, total(shape))


@answers(np.linalg.tensorsolve, samples=lambda: [
    Sample((square(6, 10).reshape(2, 3, 6), draw((2, 3), 11))),
    Sample((square(6, 10).reshape(6, 2, 3), draw((6,), 11))),
    Sample((square(6, 10).reshape(2, 3, 6).transpose(2, 0, 1), draw((2, 3), 11)), {"axes": (0,)}),
])  # fmt: skip
def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        ndim = len(shape_of(a))
        moved = [int(i) % ndim for i in axes]
        a = np.transpose(a, [*(i for i in range(ndim) if i not in moved), *moved])
    rest = shape_of(a)[len(shape_of(b)) :]
    n = _count(rest, "np.linalg.tensorsolve")
    if _count(shape_of(a), "np.linalg.tensorsolve") != n * n:
        raise ShapeError(f"np.linalg.tensorsolve: {show_shape(shape_of(a))} does not make a square matrix with "
                         f"{n} columns.")  # fmt: skip
    return np.reshape(solve(np.reshape(a, (n, n)), np.reshape(b, (n,))), rest)


@answers(np.linalg.tensorinv, samples=lambda: [
    Sample((square(6, 12).reshape(2, 3, 6),)), Sample((square(6, 12).reshape(6, 2, 3),), {"ind": 1}),
    Sample((square(4, 12).reshape(2, 2, 2, 2),), {"ind": 2}),
])  # fmt: skip
def _tensorinv(a: Any, ind: int = 2) -> Any:
    shape = shape_of(a)
    if ind <= 0:
        raise ShapeError("np.linalg.tensorinv(…, ind=n) takes a positive n.")
    n = _count(shape[ind:], "np.linalg.tensorinv")
    return np.reshape(inv(np.reshape(a, (_count(shape[:ind], "np.linalg.tensorinv"), n))), (*shape[ind:], *shape[:ind]))
