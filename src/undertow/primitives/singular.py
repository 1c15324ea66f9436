"""Singular values and vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.decompose import columns, inverse_gaps, remembered, row, rows, sizes_of
from undertow.primitives.matrices import check_matrix, known, spaced
from undertow.primitives.product import swap
from undertow.primitives.record import Code, Kink, Primitive, Sample, answers, float_like, refuse, shape_of

SOURCE = "Townsend (2016), Differentiating the singular value decomposition; Giles (2008), section 3.2; derived here"

_svd = remembered(lambda a, full: np.linalg.svd(a, full_matrices=full))


def _inverse(s: Any) -> Any:
    """1/s, and 0 where s is 0 up to rounding."""
    if not shape_of(s)[-1]:
        return s
    zero = s <= np.max(s, axis=-1, keepdims=True) * (np.finfo(s.dtype).eps * shape_of(s)[-1])
    return np.where(zero, 0, 1 / np.where(zero, 1, s))


def _left_back(ct: Any, u: Any, s: Any, vt: Any) -> Any:
    """Return the cotangent of A = U diag(s) Vᵀ by that of U.

    dU turns U by the antisymmetric Ω_ij = σ_ij / (s_j − s_i) + α_ij / (s_j + s_i), where σ and α are the symmetric
    and the antisymmetric part of Uᵀ dA V, and moves it out of the space it spans by (I − UUᵀ) dA V / s. The two
    parts are kept apart because only σ is divided by a gap that may be 0. Columns of U beyond s, which no
    singular value belongs to, turn with the others as if they were at s = 0.
    """
    (m, width), k = sizes_of(u), known("np.linalg.svd", shape_of(s)[-1])
    turned = swap(u) @ ct
    skew = turned - swap(turned)
    inner = columns(rows(skew, 0, k), 0, k) / 2 * (inverse_gaps(s, plus=False) + inverse_gaps(s, plus=True))
    right = rows(vt, 0, k)
    share = columns(u, 0, k) @ inner @ right
    if width > k:
        return share + (columns(u, k) @ (columns(rows(skew, k), 0, k) * row(_inverse(s)))) @ right
    if m > k:
        return share + ((ct - u @ turned) * row(_inverse(s))) @ right
    return share


def _u_back(ct: Any, out: Any, a: Any, full: bool) -> Any:
    return _left_back(ct, out, svd_s(a, full=full), svd_vt(a, full=full))


def _vt_back(ct: Any, out: Any, a: Any, full: bool) -> Any:
    """The right singular vectors are the left ones of Aᵀ."""
    return swap(_left_back(swap(ct), swap(out), svd_s(a, full=full), swap(svd_u(a, full=full))))


def _s_back(ct: Any, out: Any, a: Any, full: bool) -> Any:
    k = min(sizes_of(a))
    return (columns(svd_u(a, full=full), 0, k) * row(ct)) @ rows(svd_vt(a, full=full), 0, k)


def _infer(part: str) -> Callable[..., Spec]:
    def infer(a: Spec, full: bool) -> Spec:
        check_matrix("np.linalg.svd", a.shape)
        m, n = (known("np.linalg.svd", size) for size in a.shape[-2:])
        k = min(m, n)
        tail = {"U": (m, m if full else k), "S": (k,), "Vh": (n if full else k, n)}[part]
        return Spec((*a.shape[:-2], *tail), float_like(a.dtype))

    return infer


def _samples(**params: Any) -> list[Sample]:
    shapes: tuple[tuple[int, ...], ...] = ((3, 3), (4, 2), (2, 4), (1, 1), (3, 2, 2), (2, 3, 2), (3, 1), (0, 2), (2, 0))
    return [Sample((spaced(*s[-2:], 1, *s[:-2]),), params, f"{s}") for s in shapes]


def _record(name: str, place: int, part: str, rule: Callable[..., Any], texts: tuple[str, str, str, str]) -> Primitive:
    return Primitive(
        name=name,
        forward=lambda a, full: _svd(a, full)[place],
        infer=_infer(part),
        vjps=(rule,),
        spell=lambda a, *, full, **_: Code(f"np.linalg.svd({a.text}{'' if full else ', full_matrices=False'}).{part}"),
        text=texts[0],
        latex=texts[1],
        flow=texts[2:3],
        latex_flow=texts[3:],
        samples=lambda: _samples(full=False),
        source=SOURCE,
    )


_TURN = "the turn of the singular vectors by {ct}", r"\operatorname{{vjp}}_{{SVD}}({ct})"
svd_u: Primitive = _record("svd_u", 0, "U", _u_back, ("U of {0}", "U({0})", *_TURN))
svd_s: Primitive = _record(
    "svd_s", 1, "S", _s_back, ("σ({0})", r"\sigma({0})", "U diag({ct}) Vᵀ", r"U \operatorname{{diag}}({ct}) V^\top")
)
svd_vt: Primitive = _record("svd_vt", 2, "Vh", _vt_back, ("Vᵀ of {0}", r"V^\top({0})", *_TURN))


def _values_back(ct: Any, out: Any, a: Any) -> Any:
    """A singular value is |σ| along its own direction: at 0, up to rounding, its slope is taken as 0."""
    if not min(sizes_of(a)):
        return np.zeros_like(a)
    u, vt = svd_u(a, full=False), svd_vt(a, full=False)
    zero = out <= np.max(out, axis=-1, keepdims=True) * (np.finfo(out.dtype).eps * max(sizes_of(a)))
    return (u * row(np.where(zero, 0, ct))) @ vt


svdvals = Primitive(
    name="svdvals",
    forward=lambda a: np.linalg.svd(a, compute_uv=False),
    infer=lambda a: _infer("S")(a, False),
    vjps=(_values_back,),
    spell=lambda a, **_: Code(f"np.linalg.svd({a.text}, compute_uv=False)"),
    text="σ({0})",
    latex=r"\sigma({0})",
    flow=("U diag({ct}) Vᵀ",),
    latex_flow=(r"U \operatorname{{diag}}({ct}) V^\top",),
    kinks=(
        Kink(([[0.0, 0.0], [0.0, 0.0]],), ([[0.0, 0.0], [0.0, 0.0]],), "|σ| at 0"),
        Kink(([[1.0, 1.0], [1.0, 1.0]],), ([[0.5, 0.5], [0.5, 0.5]],), "a singular value that is 0 up to rounding"),
        Kink(
            ([[2.0, 0.0], [0.0, 2.0]],),
            ([[1.0, 0.0], [0.0, 1.0]],),
            "equal singular values, of which the sum is smooth",
        ),
    ),
    samples=_samples,
    source=SOURCE,
)

SVDResult: Any = type(np.linalg.svd(np.eye(1)))


@answers(np.linalg.svd, source=SOURCE, samples=lambda: [
    *_samples(full_matrices=False), *_samples(compute_uv=False), Sample((spaced(3, 3, 2),), note="the defaults"),
    Sample((spaced(2, 2, 2),), {"hermitian": False}),
])  # fmt: skip
def _svd_answer(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Of the columns that full_matrices adds only the space they span is determined, and has a derivative."""
    refuse("np.linalg.svd", hermitian=hermitian or None)
    if not compute_uv:
        return svdvals(a)
    shape = shape_of(a)
    check_matrix("np.linalg.svd", shape)
    full = bool(full_matrices) and shape[-1] != shape[-2]
    return SVDResult(svd_u(a, full=full), svd_s(a, full=full), svd_vt(a, full=full))


@answers(np.linalg.svdvals, samples=_samples, kinks=svdvals.kinks, source=SOURCE)
def _svdvals(x: Any, /) -> Any:
    return svdvals(x)
