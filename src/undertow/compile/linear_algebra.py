"""Linear algebra in terms of LAPACK's routines, with what several of them need computed once.

A solution, an inverse, a determinant and their gradients are made of the same factors L and U; the gradient of a
solution solves with Aᵀ, whose factors these are too. LAPACK's matrices lie column by column: a factor of ours is a
block of such memory, from which the results are cut by strides.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.blas import find_blas
from undertow.compile.cache import folder
from undertow.compile.rewriting import as_float, cast, is_transposed
from undertow.graph import Graph, Node, Spec
from undertow.primitives.decompose import inverse_gaps
from undertow.primitives.determinant import cofactor_change, products_of_others
from undertow.primitives.product import swap
from undertow.primitives.record import float_like

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # LAPACK's real numbers


class Routine:
    """An operation that LAPACK does, as graphs know it. It has no derivative: no function of a user's holds it.

    Args:
        name: what the planner's ``write_…`` is called.
        infer: from the specs of the inputs, and the parameters, to that of the result.
    """

    numpy = ()
    view = tells_active = False

    def __init__(self, name: str, infer: Callable[..., Spec]) -> None:
        self.name, self.infer = name, infer

    def forward(self, *_: Any, **__: Any) -> Any:
        """Nobody asks for it: where a library lacks LAPACK, no graph has this operation."""
        raise AssertionError(f"{self.name} is done by LAPACK")

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Record it in the graph that is being written."""
        return args[0].bind(self, args, params)


def rows_of_pivots(dtype: np.dtype[Any]) -> int:
    """Rows of a matrix's floats in which as many of LAPACK's whole numbers find room."""
    blas = find_blas(folder())
    return 1 if blas is None else max(blas.integers // 8 // dtype.itemsize, 1)


def svd_sizes(m: int, n: int, job: str) -> tuple[int, int, int, int]:
    """How many numbers of a block are the matrix itself, the singular values, U and Vᵀ."""
    k = min(m, n)
    left, right = {"N": (0, 0), "S": (k, k), "A": (m, n)}[job]
    return m * n, k, left * m, right * n


def qr_sizes(m: int, n: int) -> tuple[int, int, int]:
    """How many numbers of a block are R above the reflections, Q and the reflections' factors."""
    k = min(m, n)
    return m * n, m * k, k


def _like(a: Spec, *_: Spec, **__: Any) -> Spec:
    return a


def _block(sizes: Callable[..., tuple[int, ...]]) -> Callable[..., Spec]:
    def infer(a: Spec, *_: Spec, **params: Any) -> Spec:
        return Spec((*a.shape[:-2], sum(sizes(*a.shape[-2:], **params))), a.dtype)

    return infer


# Where `LU` and `SVD` have a second operand, it tells whether the decomposition is wanted at all.
# L and U of each matrix, column by column, and the rows that were exchanged, behind them.
LU = Routine("lu", lambda a, *_: Spec((*a.shape[:-2], a.shape[-1] + rows_of_pivots(a.dtype), a.shape[-1]), a.dtype))
# The sign of the determinant; 0 of a singular matrix.
LU_SIGN = Routine("lu_sign", lambda f: Spec(f.shape[:-2], f.dtype))
# Of each row b the x of A x = b, or Aᵀ x = b if turned.
LU_SOLVE = Routine("lu_solve", lambda f, b, turned, strict: Spec((*f.shape[:-2], *b.shape[-2:]), f.dtype))
# The factor in one triangle, the other one is A's.
CHOLESKY = Routine("cholesky_factor", _like)
# The inverse of such a triangle, in its place.
INVERT_TRIANGLE = Routine("invert_triangle", _like)
# Of each row b the x of L x = b, or Lᵀ x = b if turned, where L is a triangle of what `CHOLESKY` made.
SOLVE_TRIANGLE = Routine("solve_triangle", lambda f, b, turned: Spec((*f.shape[:-2], *b.shape[-2:]), f.dtype))
# Each row an eigenvector, if they are wanted, and a last row of eigenvalues.
EIGH = Routine("symmetric_eigen", lambda a, uplo, vectors: Spec((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), a.dtype))
# See `svd_sizes`, `qr_sizes`.
SVD = Routine("singular", _block(svd_sizes))
QR = Routine("orthogonal", _block(qr_sizes))


# ---- parts of blocks -----------------------------------------------------------------------------


def _triangle(x: Any, upper: bool) -> Any:
    return np.triu(x) if upper else np.tril(x)


def _diagonal(x: Any) -> Any:
    return P.diagonal(x, offset=0, axis1=x.ndim - 2, axis2=x.ndim - 1)


def _cut(block: Any, start: int, *shape: int) -> Any:
    """Take a matrix, or numbers, out of the numbers of a block."""
    piece = block[..., start : start + int(np.prod(shape, dtype=np.int64))]
    return P.reshape(piece, shape=(*block.shape[:-1], *shape))


def _base(a: Any) -> tuple[Any, bool]:
    """Return the matrix behind a transposition, and whether there is one."""
    return (type(a)(a.node.inputs[0], a.tape), True) if is_transposed(a.node) else (a, False)


# ---- linear systems and determinants -------------------------------------------------------------


def _solve_rows(a: Any, rows: Any) -> Any:
    """Solve for each row; a triangle that Cholesky made needs no factors."""
    base, turned = _base(a)
    triangle = _made_by_cholesky(base)
    return (
        LU_SOLVE(LU(base), rows, turned=turned, strict=True)
        if triangle is None
        else SOLVE_TRIANGLE(triangle, rows, turned=turned)
    )


def _made_by_cholesky(a: Any) -> Any:
    node = a.node
    return type(a)(node.inputs[1], a.tape) if node.op is P.where and node.inputs[1].op is CHOLESKY else None


def _solve(a: Any, b: Any) -> Any:
    dtype = np.result_type(float_like(a.dtype), float_like(b.dtype))
    a, b, n = cast(a, dtype), cast(b, dtype), a.shape[-1]
    rows = P.expand_dims(b, axis=(0,)) if b.ndim == 1 else swap(b)
    if a.ndim == 2:  # one matrix for all
        every = P.reshape(rows, shape=(int(np.prod(rows.shape[:-1])), n))
        found = P.reshape(_solve_rows(a, every), shape=rows.shape)
    else:
        batch = np.broadcast_shapes(a.shape[:-2], rows.shape[:-2])
        a = a if a.shape[:-2] == batch else P.broadcast_to(a, shape=(*batch, n, n))
        rows = P.broadcast_to(rows, shape=(*batch, *rows.shape[-2:]))
        found = _solve_rows(a, rows)
    return P.squeeze(found, axis=(found.ndim - 2,)) if b.ndim == 1 else swap(found)


def _inverse(a: Any, strict: bool = True) -> Any:
    """The rows of A⁻¹ are A⁻ᵀ times the unit vectors."""
    base, turned = _base(as_float(a))
    triangle = _made_by_cholesky(base)
    if triangle is None:
        return LU_SOLVE(LU(base), np.eye(a.shape[-1], dtype=base.dtype), turned=not turned, strict=strict)
    upper = triangle.node.params["upper"]
    inverse = _triangle(INVERT_TRIANGLE(triangle, upper=upper), upper)
    return swap(inverse) if turned else inverse


def _log_of_det(a: Any) -> Any:
    a, _ = _base(as_float(a))
    diagonal = _diagonal(LU(a)[..., : a.shape[-1], :])
    return P.sum_(np.log(np.abs(diagonal)), axis=(a.ndim - 2,), keepdims=False)


def _sign_of_det(a: Any, *wanted: Any) -> Any:
    return LU_SIGN(LU(_base(as_float(a))[0], *wanted))


def _det(a: Any) -> Any:
    return _sign_of_det(a) * np.exp(_log_of_det(a))


# ---- decompositions ------------------------------------------------------------------------------


def _cholesky(a: Any, upper: bool) -> Any:
    return _triangle(CHOLESKY(as_float(a), upper=upper), upper)


def _eigen(a: Any, uplo: str, vectors: bool = True) -> tuple[Any, Any]:
    block = EIGH(as_float(a), uplo=uplo, vectors=vectors)
    n = a.shape[-1]
    return block[..., n, :], swap(block[..., :n, :])


def _svd(a: Any, full: bool = False, *wanted: Any) -> tuple[Any, Any, Any]:
    """U, the singular values and Vᵀ."""
    if full and 0 in a.shape[-2:]:
        return None, None, None
    a, job = as_float(a), "A" if full else "S"
    (m, n), block = a.shape[-2:], SVD(a, *wanted, job=job)
    k, starts = min(m, n), list(accumulate(svd_sizes(m, n, job)))
    u, vt = _cut(block, starts[1], m if full else k, m), _cut(block, starts[2], n, n if full else k)
    return swap(u), _cut(block, starts[0], k), swap(vt)


def _svdvals(a: Any) -> Any:
    m, n = a.shape[-2:]
    return _cut(SVD(as_float(a), job="N"), m * n, min(m, n))


def _qr_q(a: Any) -> Any:
    m, n = a.shape[-2:]
    return swap(_cut(QR(as_float(a)), m * n, min(m, n), m))


def _qr_r(a: Any) -> Any:
    m, n = a.shape[-2:]
    return _triangle(swap(_cut(QR(as_float(a)), 0, n, m))[..., : min(m, n), :], upper=True)


def _inverse_of_large(s: Any, cutoff: float) -> Any:
    large = s > cutoff * P.max_(s, axis=(s.ndim - 1,), keepdims=True)
    return np.where(large, 1 / np.where(large, s, 1), 0)


def _pinv(a: Any, rcond: float, hermitian: bool) -> Any:
    if 0 in a.shape[-2:]:
        return swap(as_float(a))
    if not hermitian:
        u, s, vt = _svd(a)
        return swap(vt) @ (P.expand_dims(_inverse_of_large(s, rcond), axis=(s.ndim,)) * swap(u))
    values, v = _eigen(a, "L")
    inverse = np.copysign(_inverse_of_large(np.abs(values), rcond), values)
    return (v * P.expand_dims(inverse, axis=(values.ndim - 1,))) @ swap(v)


def _lstsq(a: Any, b: Any, rcond: float | None) -> Any:
    dtype = np.result_type(float_like(a.dtype), float_like(b.dtype))
    a, b, eps = cast(a, dtype), cast(b, dtype), float(np.finfo(dtype).eps)
    if 0 in a.shape:
        return None
    u, s, vt = _svd(a)
    cutoff = eps * max(a.shape) if rcond is None else eps if rcond < 0 else rcond
    inverse, inner = _inverse_of_large(s, cutoff), swap(u) @ b
    return swap(vt) @ ((inverse if b.ndim == 1 else P.expand_dims(inverse, axis=(1,))) * inner)


def _matrix_rank(a: Any, tol: float | None, rtol: float | None, hermitian: bool) -> Any:
    if a.ndim < 2:
        return np.any(a != 0)
    if 0 in a.shape[-2:]:
        return P.sum_(a, axis=(a.ndim - 2, a.ndim - 1), keepdims=False)
    s = np.abs(_eigen(a, "L", vectors=False)[0]) if hermitian else _svdvals(a)
    if tol is None:
        share = max(a.shape[-2:]) * float(np.finfo(s.dtype).eps) if rtol is None else rtol
        large = s > P.max_(s, axis=(s.ndim - 1,), keepdims=True) * share
    else:
        large = s > tol
    return P.sum_(P.astype(large, dtype=np.dtype(np.int64)), axis=(s.ndim - 1,), keepdims=False)


def join_decompositions(graph: Graph) -> None:
    """Let values alone come from the decomposition that has vectors too, where the graph has both of a matrix.

    Args:
        graph: whose nodes `expand` has just made; they are changed.
    """
    whole = {_matrix_of(node): node.params for node in graph.nodes if _has_vectors(node)}
    for node in graph.nodes:
        if node.op in (EIGH, SVD) and not _has_vectors(node) and _matrix_of(node) in whole:
            node.params = whole[_matrix_of(node)]
            node.spec = node.op.infer(node.inputs[0].spec, **node.params)


def _has_vectors(node: Node) -> bool:
    return (node.op is EIGH and node.params["vectors"]) or (node.op is SVD and node.params["job"] != "N")


def _matrix_of(node: Node) -> Any:
    """The matrix, which of its triangles is read, and whether it is decomposed at all."""
    return node.op, node.inputs, node.params.get("uplo")


# ---- cofactors: the derivative of a determinant --------------------------------------------------


def _cofactor(a: Any) -> Any:
    """det(A) A⁻ᵀ; where a matrix is nearly singular, by singular values, which are computed only there."""
    a, n = as_float(a), a.shape[-1]
    if n <= 1:
        return a * 0 + 1
    b = _inverse(a, strict=False)
    sign = _sign_of_det(a)
    norms = [P.max_(np.sum(np.abs(x), axis=-1), axis=(x.ndim - 2,), keepdims=False) for x in (a, b)]
    bad = np.logical_or(sign == 0, norms[0] * norms[1] > float(np.finfo(a.dtype).eps) ** -0.5)
    any_bad = P.max_(P.astype(bad, dtype=a.dtype), axis=tuple(range(bad.ndim)), keepdims=False) > 0.5
    by_inverse = P.expand_dims(_det(a), axis=(a.ndim - 2, a.ndim - 1)) * swap(b)
    u, s, vt = _svd(a, False, any_bad)
    by_values = _orientation(u, vt, any_bad) * ((u * products_of_others(s)[0][..., None, :]) @ vt)
    return np.where(any_bad, by_values, by_inverse)


def _orientation(u: Any, vt: Any, *wanted: Any) -> Any:
    return P.expand_dims(_sign_of_det(u, *wanted) * _sign_of_det(vt, *wanted), axis=(u.ndim - 2, u.ndim - 1))


def _where_lapack_is(rule: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*args: Any, **params: Any) -> Any:
        blas = find_blas(folder())
        if blas is None or not blas.has_lapack() or any(float_like(x.dtype) not in FLOATS for x in args):
            return None
        return rule(*args, **params)

    return apply


_RULES: dict[str, Callable[..., Any]] = {
    "solve": _solve,
    "inv": _inverse,
    "det": _det,
    "log_of_det": _log_of_det,
    "sign_of_det": _sign_of_det,
    "cofactor": _cofactor,
    "cofactor_change": cofactor_change.forward,
    "cholesky": _cholesky,
    "eigh_values": lambda a, uplo: _eigen(a, uplo)[0],
    "eigh_vectors": lambda a, uplo: _eigen(a, uplo)[1],
    "eigvalsh": lambda a, uplo: _eigen(a, uplo, vectors=False)[0],
    "svd_u": lambda a, full: _svd(a, full)[0],
    "svd_s": lambda a, full: _svd(a, full)[1],
    "svd_vt": lambda a, full: _svd(a, full)[2],
    "svdvals": _svdvals,
    "qr_q": _qr_q,
    "qr_r": _qr_r,
    "pinv": _pinv,
    "lstsq": _lstsq,
    "matrix_rank": _matrix_rank,
}
LINEAR_ALGEBRA = {name: _where_lapack_is(rule) for name, rule in _RULES.items()} | {
    "inverse_gaps": inverse_gaps.forward
}
