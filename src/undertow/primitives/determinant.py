"""Determinants, and their derivatives at singular matrices too."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.linalg import GILES, inv
from undertow.primitives.matrices import infer_square, square
from undertow.primitives.product import swap
from undertow.primitives.record import ZERO, Code, Kink, Primitive, Sample, answers, call, shape_of
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims

_SINGULAR = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, -1.0, 0.5]])


def _samples() -> list[Sample]:
    return [
        Sample((square(3, 1) / 4,)), Sample((draw((1, 1), 2),)), Sample((square(2, 3, 3) / 3,)),
        Sample((draw((4, 4), 4),)), Sample((np.zeros((0, 0)),), note="an empty matrix"),
    ]  # fmt: skip


def _singular_samples() -> list[Sample]:
    return [*_samples(), Sample((_SINGULAR,), note="rank n − 1"), Sample((np.stack([_SINGULAR, np.eye(3)]),))]


def _grow(x: Any) -> Any:
    """Append two axes, so that a number for each matrix multiplies it."""
    n = len(shape_of(x))
    return expand_dims(x, axis=(n, n + 1))


def _trace(x: Any) -> Any:
    return _grow(np.trace(x, axis1=-2, axis2=-1))


# ---- the cofactors: the derivative of a determinant ----------------------------------------------


def products_of_others(s: Any) -> tuple[Any, Any]:
    """Multiply the elements of s other than each one, and other than each two: zeros do no harm."""
    one = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([one, s[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    between = np.cumprod(np.where(np.tri(s.shape[-1], dtype=bool), 1, s[..., None, :]), axis=-1)
    upper = np.triu(before[..., :, None] * np.roll(between, 1, axis=-1) * after[..., None, :], 1)
    return before * after, upper + np.swapaxes(upper, -1, -2)


def _orientation(u: Any, vt: Any) -> Any:
    return np.sign(np.linalg.det(u) * np.linalg.det(vt)).astype(u.dtype)[..., None, None]


def _inverse_or_none(a: Any) -> Any:
    """Return the inverse if no matrix of the stack is nearly singular; NaN passes through it."""
    try:
        b = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    conditions = [np.abs(x).sum(axis=-1).max(axis=-1, initial=0) for x in (a, b)]
    return None if np.any(conditions[0] * conditions[1] > np.finfo(a.dtype).eps ** -0.5) else b


def _cofactor(a: Any) -> Any:
    if a.shape[-1] == 1:
        return np.ones_like(a)  # not a (1 / a), which rounds
    b = _inverse_or_none(a)
    if b is not None:
        return np.linalg.det(a)[..., None, None] * np.swapaxes(b, -1, -2)
    u, s, vt = np.linalg.svd(a)
    return _orientation(u, vt) * ((u * products_of_others(s)[0][..., None, :]) @ vt)


def _cofactor_change(a: Any, c: Any) -> Any:
    """Turned by U and V the matrix is diagonal, and its cofactors change by products of singular values."""
    if a.shape[-1] == 1:
        return np.zeros_like(c)
    u, s, vt = np.linalg.svd(a)
    without = products_of_others(s)[1]
    turned = np.swapaxes(u, -1, -2) @ c @ np.swapaxes(vt, -1, -2)
    change = -without * np.swapaxes(turned, -1, -2)
    each = np.arange(a.shape[-1])
    change[..., each, each] = (without @ np.diagonal(turned, axis1=-2, axis2=-1)[..., None])[..., 0]
    return _orientation(u, vt) * (u @ change @ vt)


def _third_derivative(ct: Any, out: Any, a: Any, c: Any) -> Any:
    """Differentiate det(A) (tr(BC) tr(BX) − tr(BCBX)) by A, where B = A⁻¹ and X = ct; A is not singular here."""
    if shape_of(a)[-1] == 1:
        return np.zeros_like(a)
    b = inv(a)
    bc, bx = b @ c, b @ ct
    tc, tx = _trace(bc), _trace(bx)
    both = bc @ bx
    inner = (tc * tx - _trace(both)) * b - tx * (bc @ b) - tc * (bx @ b) + both @ b + bx @ bc @ b
    return _grow(det(a)) * swap(inner)


cofactor_change: Primitive = Primitive(
    name="cofactor_change",
    forward=_cofactor_change,
    infer=lambda a, c: Spec(a.shape, a.dtype),
    vjps=(_third_derivative, lambda ct, out, a, c: cofactor_change(a, ct)),
    spell=call("cofactor_change"),
    text="the change of the cofactors of {0} along {1}",
    latex=r"\mathrm{{D}}\operatorname{{cof}}({0})[{1}]",
    flow=("the third derivative of det along {1} and {ct}", "the change of the cofactors of {0} along {ct}"),
    latex_flow=(r"\mathrm{{D}}^3\det({0})[{1}, {ct}]", r"\mathrm{{D}}\operatorname{{cof}}({0})[{ct}]"),
    helper='''def cofactor_change(A, C):
    """The change of A's cofactors in direction C, by singular values: no division, so A may be singular."""
    U, s, Vt = np.linalg.svd(A)
    one = np.ones_like(s[..., :1])  # the products of the singular values other than each two
    before = np.cumprod(np.concatenate([one, s[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    between = np.cumprod(np.where(np.tri(s.shape[-1], dtype=bool), 1, s[..., None, :]), axis=-1)
    upper = np.triu(before[..., :, None] * np.roll(between, 1, axis=-1) * after[..., None, :], 1)
    others = upper + np.swapaxes(upper, -1, -2)
    turned = np.swapaxes(U, -1, -2) @ C @ np.swapaxes(Vt, -1, -2)
    change = -others * np.swapaxes(turned, -1, -2)
    each = np.arange(A.shape[-1])
    change[..., each, each] = (others @ np.diagonal(turned, axis1=-2, axis2=-1)[..., None])[..., 0]
    sign = np.sign(np.linalg.det(U) * np.linalg.det(Vt)).astype(A.dtype)[..., None, None]
    return sign * (U @ change @ Vt)''',
    samples=lambda: [
        Sample((square(n, 6, *stack) / 3, draw((*stack, n, n), 5)), note=f"{stack} {n}")
        for n, stack in ((3, ()), (3, (2,)), (4, ()), (0, ()))
    ],
)


cofactor = Primitive(
    name="cofactor",
    forward=_cofactor,
    infer=infer_square("np.linalg.det"),
    vjps=(lambda ct, out, a: cofactor_change(a, ct),),
    spell=call("cofactor"),
    text="cof({0})",
    latex=r"\operatorname{{cof}}({0})",
    flow=("the change of the cofactors of {0} along {ct}",),
    latex_flow=(r"\mathrm{{D}}\operatorname{{cof}}({0})[{ct}]",),
    helper='''def cofactor(A):
    """det(A) A⁻ᵀ; near a singular A by singular values, without a division."""
    try:
        B = np.linalg.inv(A)
        conditions = [np.abs(x).sum(axis=-1).max(axis=-1, initial=0) for x in (A, B)]
        if not np.any(conditions[0] * conditions[1] > np.finfo(A.dtype).eps ** -0.5):
            return np.linalg.det(A)[..., None, None] * np.swapaxes(B, -1, -2)
    except np.linalg.LinAlgError:
        pass
    U, s, Vt = np.linalg.svd(A)
    one = np.ones_like(s[..., :1])  # the products of the singular values other than each
    before = np.cumprod(np.concatenate([one, s[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    sign = np.sign(np.linalg.det(U) * np.linalg.det(Vt)).astype(A.dtype)[..., None, None]
    return sign * ((U * (before * after)[..., None, :]) @ Vt)''',
    samples=_samples,
    source="Horn & Johnson (2013), Matrix Analysis, 2nd ed., section 0.8.10: the derivative of det is the adjugate",
)


det = Primitive(
    name="det",
    forward=np.linalg.det,
    infer=infer_square("np.linalg.det", scalar=True),
    vjps=(lambda ct, out, a: _grow(ct) * cofactor(a),),
    spell=call("np.linalg.det"),
    text="det {0}",
    latex=r"\det {0}",
    flow=("{ct} cof({0}), which is {ct} {out} {0}⁻ᵀ",),
    latex_flow=(r"{ct} \operatorname{{cof}}({0})",),
    kinks=(
        Kink(
            ([[1.0, 2.0], [2.0, 4.0]],), ([[4.0, -2.0], [-2.0, 1.0]],), "a singular matrix: the cofactors, no inverse"
        ),
        Kink(([[0.0, 0.0], [0.0, 0.0]],), ([[0.0, 0.0], [0.0, 0.0]],), "rank 0"),
        Kink(([[0.0]],), ([[1.0]],), "one number: its slope is 1"),
    ),
    samples=_singular_samples,
    source=cofactor.source,
)


@answers(np.linalg.det, samples=_singular_samples, kinks=det.kinks, source=det.source)
def _det(a: Any) -> Any:
    return det(a)


# ---- sign and logarithm --------------------------------------------------------------------------


def _record_log(name: str, place: int, word: str, rule: Any, text: str, latex: str, flow: tuple[str, str]) -> Primitive:
    return Primitive(
        name=name,
        forward=lambda a: np.linalg.slogdet(a)[place],
        infer=infer_square("np.linalg.slogdet", scalar=True),
        vjps=(rule,),
        spell=lambda a, **_: Code(f"np.linalg.slogdet({a.text}).{word}"),
        text=text,
        latex=latex,
        flow=flow[:1],
        latex_flow=flow[1:],
        samples=lambda: _samples()[:4],
        source=f"{GILES}.2.4",
    )


sign_of_det = _record_log(
    "sign_of_det", 0, "sign", ZERO, "sign(det {0})", r"\operatorname{{sign}} \det {0}", ("0", "0")
)
log_of_det = _record_log(
    "log_of_det", 1, "logabsdet", lambda ct, out, a: _grow(ct) * swap(inv(a)), "log |det {0}|", r"\log |\det {0}|",
    ("{ct} {0}⁻ᵀ", r"{ct} {0}^{{-\top}}"),
)  # fmt: skip

SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


@answers(np.linalg.slogdet, samples=lambda: _samples()[:4], source=log_of_det.source)
def _slogdet(a: Any) -> Any:
    return SlogdetResult(sign_of_det(a), log_of_det(a))
