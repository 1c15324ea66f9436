"""Decompositions of matrices: Cholesky, QR, eigenvalues of symmetric matrices, singular values.

An operation has one result, so a decomposition is several of them: eigh_values and eigh_vectors, qr_q and
qr_r, … . `remembered` keeps the last decomposition, which the others then read.

Of a symmetric matrix NumPy reads one triangle: the gradient stands there, an entry for both of its places.
It is the derivative of what NumPy computes, and symmetric again behind A + Aᵀ.

Where eigenvalues or singular values are equal up to rounding, vectors do not turn into one another. That is right
for what does not depend on the basis of their space: projectors, U Vᵀ, sums over the values. It leaves a part out of
V diag(g(λ)) Vᵀ, which is smooth there too, but whose derivative needs g′ and not only the gradient by V.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, UnsupportedError
from undertow.graph import Spec
from undertow.primitives.linalg import half_lower, lower_share, mirror
from undertow.primitives.matrices import check_matrix, definite, infer_square, known, spaced
from undertow.primitives.product import swap
from undertow.primitives.record import (
    REFUSED,
    Code,
    Kink,
    Primitive,
    Sample,
    answers,
    float_like,
    shape_of,
)
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims

GILES = "Giles (2008), Collected matrix derivative results for forward and reverse mode AD, section 3"


def remembered(decompose: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the last result: U, s and Vᵀ of a matrix are asked for one after the other."""
    last: list[Any] = [None]

    def recall(a: Any, *options: Any) -> Any:
        found = last[0]
        if found is None or found[1] != options or found[0].dtype != a.dtype or not np.array_equal(found[0], a):
            found = last[0] = (np.array(a), options, decompose(a, *options))
        return [part.copy() for part in found[2]]  # a caller may write to what it gets

    return recall


# ---- parts of matrices -------------------------------------------------------------------------------


def columns(x: Any, start: int, stop: int | None = None) -> Any:
    """Return some of the columns; all of them without a slice."""
    n = known("a decomposition", shape_of(x)[-1])
    return x if start == 0 and stop in (None, n) else x[..., start:stop]


def rows(x: Any, start: int, stop: int | None = None) -> Any:
    """Return some of the rows; all of them without a slice."""
    n = known("a decomposition", shape_of(x)[-2])
    return x if start == 0 and stop in (None, n) else x[..., start:stop, :]


def row(x: Any) -> Any:
    """Bring numbers where they multiply the columns of a matrix."""
    return expand_dims(x, axis=(len(shape_of(x)) - 1,))


# ---- Cholesky ------------------------------------------------------------------------------------


def _cholesky_back(ct: Any, out: Any, a: Any, upper: bool) -> Any:
    """Sum the two places of each entry of S = L⁻ᵀ Φ(Lᵀ ct) L⁻¹, where Φ halves the diagonal of a lower triangle."""
    factor, ct = (swap(out), swap(ct)) if upper else (out, ct)
    inner = half_lower(swap(factor) @ ct)
    inverse = np.linalg.inv(factor)
    share = lower_share(swap(inverse) @ inner @ inverse)
    return swap(share) if upper else share


def _definite_samples(**params: Any) -> list[Sample]:
    return [
        Sample((definite(n, 1, *stack),), params, f"{stack} {n}") for n, stack in ((3, ()), (1, ()), (2, (3,)), (4, ()))
    ]


cholesky = Primitive(
    name="cholesky",
    forward=lambda a, upper: np.linalg.cholesky(a, upper=upper),
    infer=infer_square("np.linalg.cholesky"),
    vjps=(_cholesky_back,),
    spell=lambda a, *, upper, **_: Code(f"np.linalg.cholesky({a.text}{', upper=True' if upper else ''})"),
    text="chol({0})",
    latex=r"\operatorname{{chol}}({0})",
    flow=("{out}⁻ᵀ Φ({out}ᵀ {ct}) {out}⁻¹",),
    latex_flow=(r"{out}^{{-\top}} \Phi({out}^\top {ct}) {out}^{{-1}}",),
    samples=lambda: [*_definite_samples(upper=False), *_definite_samples(upper=True)],
    source="Seeger et al. (2017), Auto-Differentiating Linear Algebra, arXiv 1710.08717, section 3.1; "
    "Murray (2016), arXiv 1602.07527",
)


@answers(np.linalg.cholesky, source=cholesky.source, samples=lambda: [
    *_definite_samples(), *_definite_samples(upper=True),
    Sample((definite(3, 2) + np.triu(draw((3, 3), 3), 1),), note="only a triangle is read"),
])  # fmt: skip
def _cholesky(a: Any, /, *, upper: bool = False) -> Any:
    return cholesky(a, upper=bool(upper))


# ---- QR ------------------------------------------------------------------------------------------

_qr = remembered(lambda a: np.linalg.qr(a))


def _infer_qr(place: int) -> Callable[..., Spec]:
    def infer(a: Spec) -> Spec:
        check_matrix("np.linalg.qr", a.shape)
        m, n = a.shape[-2:]
        k = min(known("np.linalg.qr", m), known("np.linalg.qr", n))
        return Spec((*a.shape[:-2], *((m, k) if place == 0 else (k, n))), float_like(a.dtype))

    return infer


def _divide_right(x: Any, r: Any) -> Any:
    """Return X R⁻ᵀ."""
    return swap(np.linalg.solve(r, swap(x)))


def _pad(x: Any, columns: int) -> Any:
    """Append columns of zeros."""
    return np.pad(x, [(0, 0)] * (len(shape_of(x)) - 1) + [(0, columns)])


def sizes_of(x: Any) -> tuple[int, int]:
    """Return the numbers of rows and columns."""
    m, n = (known("a decomposition", size) for size in shape_of(x)[-2:])
    return m, n


def _q_back(ct: Any, out: Any, a: Any) -> Any:
    m, n = sizes_of(a)
    share = _divide_right(ct - out @ mirror(swap(ct) @ out), columns(qr_r(a), 0, min(m, n)))
    return _pad(share, n - m) if m < n else share


def _r_back(ct: Any, out: Any, a: Any) -> Any:
    """The columns beyond the square part are Qᵀ times those of A."""
    m, n = sizes_of(a)
    q = qr_q(a)
    if m >= n:
        return _divide_right(q @ mirror(out @ swap(ct)), out)
    left, right, r = columns(ct, 0, m), columns(ct, m), columns(out, 0, m)
    by_q = columns(a, m) @ swap(right)
    inner = r @ swap(left) - swap(by_q) @ q
    return np.concatenate([_divide_right(by_q + q @ mirror(inner), r), q @ right], axis=-1)


def _qr_samples(**params: Any) -> list[Sample]:
    shapes: tuple[tuple[int, ...], ...] = ((3, 3), (4, 2), (2, 4), (1, 1), (3, 2, 2), (2, 2, 3), (3, 1), (0, 2), (2, 0))
    return [Sample((spaced(*s[-2:], 4, *s[:-2]),), params, f"{s}") for s in shapes]


def _qr_record(name: str, place: int, rule: Callable[..., Any], word: str) -> Primitive:
    return Primitive(
        name=name,
        forward=lambda a: _qr(a)[place],
        infer=_infer_qr(place),
        vjps=(rule,),
        spell=lambda a, **_: Code(f"np.linalg.qr({a.text}).{word}"),
        text=f"{word} of {{0}}",
        latex=rf"{word}({{0}})",
        flow=("{ct} by the rule of QR",),
        latex_flow=(r"\operatorname{{vjp}}_{{QR}}({ct})",),
        samples=_qr_samples,
        source="Walter & Lehmann (2010), doi 10.1080/10556788.2011.610454, equation 16; "
        "wide: Roberts & Roberts (2020), arXiv 2009.10071",
    )


qr_q: Primitive = _qr_record("qr_q", 0, _q_back, "Q")
qr_r: Primitive = _qr_record("qr_r", 1, _r_back, "R")
QRResult: Any = type(np.linalg.qr(np.eye(1)))


@answers(np.linalg.qr, source=qr_q.source, samples=lambda: [
    *_qr_samples(), *_qr_samples(mode="r"), Sample((spaced(2, 3, 4),), {"mode": "complete"})
])  # fmt: skip
def _qr_answer(a: Any, mode: str = "reduced") -> Any:
    check_matrix("np.linalg.qr", shape_of(a))
    if mode == "r":
        return qr_r(a)
    if mode == "complete":
        m, n = (known("np.linalg.qr", size) for size in shape_of(a)[-2:])
        if m > n:
            raise UnsupportedError(
                "np.linalg.qr(…, mode='complete') of a matrix with more rows than columns has no derivative: the "
                "columns of Q that it adds are not determined. Call it with mode='reduced'."
            )
    elif mode != "reduced":
        raise UnsupportedError(f"np.linalg.qr(…, mode={mode!r}) cannot be traced. Call it with mode='reduced' or 'r'.")
    return QRResult(qr_q(a), qr_r(a))


# ---- differences of eigenvalues ------------------------------------------------------------------


def _gaps(s: Any, plus: bool) -> Any:
    """1 / (s_j ∓ s_i), and 0 where that is 0 up to rounding: no direction there is better than another."""
    gaps = s[..., None, :] + s[..., :, None] if plus else s[..., None, :] - s[..., :, None]
    least = np.max(np.abs(s), axis=-1, initial=0)[..., None, None] * (np.finfo(s.dtype).eps * s.shape[-1])
    equal = np.abs(gaps) <= least
    return np.where(equal, 0, 1 / np.where(equal, 1, gaps))


def _gaps_back(ct: Any, out: Any, s: Any, plus: bool) -> Any:
    share = ct * out**2
    rows, columns = np.sum(share, axis=-1), np.sum(share, axis=-2)
    return -(rows + columns) if plus else rows - columns


inverse_gaps = Primitive(
    name="inverse_gaps",
    forward=_gaps,
    infer=lambda s, plus: Spec((*s.shape, s.shape[-1]), s.dtype),
    vjps=(_gaps_back,),
    spell=lambda s, *, plus, **_: Code(f"inverse_gaps({s.text}{', plus=True' if plus else ''})"),
    text="1 / ({0}_j − {0}_i)",
    latex=r"\tfrac{{1}}{{{0}_j - {0}_i}}",
    flow=("{ct} by the slopes −1 / ({0}_j − {0}_i)²",),
    latex_flow=(r"-\tfrac{{{ct}}}{{({0}_j - {0}_i)^2}}",),
    kinks=(Kink(([2.0, 2.0],), ([0.0, 0.0],), "equal values: no direction is better than another", {"plus": False}),),
    helper='''def inverse_gaps(s, plus=False):
    """1 / (s_j - s_i), or 1 / (s_j + s_i); 0 where that is a division by 0 up to rounding."""
    gaps = s[..., None, :] + s[..., :, None] if plus else s[..., None, :] - s[..., :, None]
    least = np.max(np.abs(s), axis=-1, initial=0)[..., None, None] * (np.finfo(s.dtype).eps * s.shape[-1])
    equal = np.abs(gaps) <= least
    return np.where(equal, 0, 1 / np.where(equal, 1, gaps))''',
    samples=lambda: [
        Sample((draw(shape, 6, positive=True) + np.arange(shape[-1]),), {"plus": plus})
        for shape in ((3,), (1,), (2, 2)) for plus in (False, True)
    ],
)  # fmt: skip


# ---- eigenvalues of symmetric matrices -----------------------------------------------------------

_eigh = remembered(lambda a, uplo: np.linalg.eigh(a, uplo))


def _triangle(share: Any, uplo: str) -> Any:
    share = lower_share(share)
    return share if uplo == "L" else swap(share)


def _values_back(ct: Any, out: Any, a: Any, uplo: str) -> Any:
    v = eigh_vectors(a, uplo=uplo)
    return _triangle((v * row(ct)) @ swap(v), uplo)


def _vectors_back(ct: Any, out: Any, a: Any, uplo: str) -> Any:
    turned = swap(out) @ ct
    inner = (turned - swap(turned)) / 2 * inverse_gaps(eigh_values(a, uplo=uplo), plus=False)
    return _triangle(out @ inner @ swap(out), uplo)


def _spell_eigh(word: str) -> Callable[..., Code]:
    option = {"L": "", "U": ", UPLO='U'"}
    if not word:
        return lambda a, *, uplo, **_: Code(f"np.linalg.eigvalsh({a.text}{option[uplo]})")
    return lambda a, *, uplo, **_: Code(f"np.linalg.eigh({a.text}{option[uplo]}).{word}")


def _infer_values(a: Spec, uplo: str) -> Spec:
    check_matrix("np.linalg.eigh", a.shape, square=True)
    return Spec(a.shape[:-1], float_like(a.dtype))


def _eigh_samples() -> list[Sample]:
    return [Sample(s.args, {"uplo": uplo}, s.note) for s in _definite_samples() for uplo in "LU"]


def _eigh_record(name: str, forward: Callable[..., Any], word: str, rule: Callable[..., Any]) -> Primitive:
    vectors = word == "eigenvectors"
    return Primitive(
        name=name,
        forward=forward,
        infer=infer_square("np.linalg.eigh") if vectors else _infer_values,
        vjps=(rule,),
        spell=_spell_eigh(word),
        text="eigenvectors of {0}" if vectors else "eigenvalues of {0}",
        latex="V({0})" if vectors else r"\lambda({0})",
        flow=("V (F ⊙ Vᵀ {ct}) Vᵀ with F = 1 / (λ_j − λ_i)",) if vectors else ("V diag({ct}) Vᵀ",),
        latex_flow=(r"V (F \odot V^\top {ct}) V^\top",) if vectors else (r"V \operatorname{{diag}}({ct}) V^\top",),
        samples=_eigh_samples,
        source=f"{GILES}.1; the gradient by the triangle that is read",
    )


eigh_values: Primitive = _eigh_record("eigh_values", lambda a, uplo: _eigh(a, uplo)[0], "eigenvalues", _values_back)
eigh_vectors: Primitive = _eigh_record("eigh_vectors", lambda a, uplo: _eigh(a, uplo)[1], "eigenvectors", _vectors_back)
eigvalsh: Primitive = _eigh_record("eigvalsh", lambda a, uplo: np.linalg.eigvalsh(a, uplo), "", _values_back)
EighResult: Any = type(np.linalg.eigh(np.eye(1)))


def _symmetric_calls() -> list[Sample]:
    lower = Sample((definite(3, 2) + np.triu(draw((3, 3), 3), 1),), note="only a triangle is read")
    return [*_definite_samples(), *_definite_samples(UPLO="U"), *_definite_samples(UPLO="l"), lower]


_EQUAL = Kink(([[2.0, 0.0], [0.0, 2.0]],), ([[1.0, 0.0], [0.0, 1.0]],), "equal eigenvalues, of which the sum is smooth")


def _half(function: str, uplo: str) -> str:
    if uplo.upper() not in ("L", "U"):
        raise ArgumentError(f'{function}: UPLO={uplo!r}. Give "L" or "U": the half of the matrix that is read.')
    return uplo.upper()


@answers(np.linalg.eigh, samples=_symmetric_calls, source=eigh_values.source)
def _eigh_answer(a: Any, UPLO: str = "L") -> Any:
    half = _half("np.linalg.eigh", UPLO)
    return EighResult(eigh_values(a, uplo=half), eigh_vectors(a, uplo=half))


@answers(np.linalg.eigvalsh, samples=_symmetric_calls, kinks=(_EQUAL,), source=eigh_values.source)
def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigvalsh(a, uplo=_half("np.linalg.eigvalsh", UPLO))


for _name in ("fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"):
    REFUSED[f"np.fft.{_name}"] = (
        f"np.fft.{_name} cannot be traced: complex numbers are out of scope for now. A function around it whose "
        "argument and result are real, such as a filter, is given a derivative of its own by @ut.custom_vjp: "
        "docs/gradients.md."
    )
for _name, _sign in (("fftshift", ""), ("ifftshift", "-")):
    REFUSED[f"np.fft.{_name}"] = (
        f"np.fft.{_name} cannot be traced. Write np.roll(x, {_sign}(x.shape[axis] // 2), axis) for each axis."
    )
REFUSED[np.may_share_memory] = REFUSED[np.shares_memory] = (
    "np.may_share_memory and np.shares_memory ask for memory, and while a function is traced there is none. Where "
    "rng.permutation(x) or rng.shuffle(x) asks, write x[rng.permutation(len(x))]."
)
REFUSED[np.linalg.eig] = REFUSED[np.linalg.eigvals] = (
    "np.linalg.eig and np.linalg.eigvals have complex results, and complex numbers are out of scope for now. "
    "For a symmetric matrix use np.linalg.eigh or np.linalg.eigvalsh."
)
