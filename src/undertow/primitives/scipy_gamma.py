"""The gamma and Bessel functions of ``scipy.special``; they come with `scipy_special`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from undertow.primitives.record import NOT_IMPLEMENTED, ZERO, Kink, Primitive, Sample
from undertow.primitives.sampling import draw, unary_samples
from undertow.primitives.scipy_record import pairs, positive, special_function, unit_interval


def _beside_poles() -> list[Sample]:
    """Positive numbers, and negative ones between the poles."""
    return [*positive(), Sample((np.array([-0.5, -1.3, -2.6, 7.0]),), note="between the poles")]


gamma = special_function(
    special.gamma,
    lambda ct, out, x: ct * (out * special.psi(x)),
    text="Γ({0})",
    latex=r"\Gamma({0})",
    flow=("{ct} ⊙ {out} ⊙ ψ({0})",),
    samples=_beside_poles,
)

gammaln = special_function(
    special.gammaln,
    lambda ct, out, x: ct * special.psi(x),
    text="log Γ({0})",
    latex=r"\log \Gamma({0})",
    flow=("{ct} ⊙ ψ({0})",),
    samples=_beside_poles,
)

loggamma = special_function(
    special.loggamma,
    lambda ct, out, x: ct * special.psi(x),
    text="log Γ({0})",
    latex=r"\log \Gamma({0})",
    flow=("{ct} ⊙ ψ({0})",),
    samples=positive,
)

gammasgn = special_function(
    special.gammasgn, ZERO, text="sign Γ({0})", latex=r"\operatorname{{sign}} \Gamma({0})", samples=_beside_poles
)


def _reciprocal_back(ct: Any, out: Any, x: Any) -> Any:
    """Left of ½ by the reflection Γ(x) Γ(1 − x) = π / sin πx, in which the poles of Γ are zeros like others."""
    left, angle = x < 0.5, math.pi * x
    mirrored = np.where(left, 1 - x, 1)
    reflected = special.gamma(mirrored) * (np.cos(angle) - np.sin(angle) * special.psi(mirrored) / math.pi)
    return ct * np.where(left, reflected, -out * special.psi(np.where(left, 1, x)))


rgamma = special_function(
    special.rgamma,
    _reciprocal_back,
    text="1 / Γ({0})",
    latex=r"1 / \Gamma({0})",
    flow=("−{ct} ⊙ {out} ⊙ ψ({0})",),
    samples=lambda: [*_beside_poles(), Sample((np.array([0.0, -1.0, -3.0]),), note="the zeros")],
    source="DLMF 5.5.3",
)

psi = special_function(
    special.psi,
    lambda ct, out, x: ct * special.zeta(2.0, x),
    text="ψ({0})",
    latex=r"\psi({0})",
    flow=("{ct} ⊙ ζ(2, {0})",),
    samples=_beside_poles,
    source="DLMF 5.15.1",
)

# scipy.special.zeta is a Python function around this ufunc.
zeta = special_function(
    special._ufuncs._zeta,
    NOT_IMPLEMENTED,
    lambda ct, out, s, q: ct * (-s * special.zeta(s + 1, q)),
    text="ζ({0}, {1})",
    latex=r"\zeta({0}, {1})",
    flow=("", "−{ct} ⊙ {0} ⊙ ζ({0} + 1, {1})"),
    samples=lambda: [Sample((s, x.args[0]), note=x.note) for x in positive() for s in (2, 3)],
    source="DLMF 25.11.17",
)

betaln = special_function(
    special.betaln,
    lambda ct, out, a, b: ct * (special.psi(a) - special.psi(a + b)),
    lambda ct, out, a, b: ct * (special.psi(b) - special.psi(a + b)),
    text="log B({0}, {1})",
    latex=r"\log B({0}, {1})",
    flow=("{ct} ⊙ (ψ({0}) − ψ({0} + {1}))", "{ct} ⊙ (ψ({1}) − ψ({0} + {1}))"),
    samples=pairs,
)

beta = special_function(
    special.beta,
    lambda ct, out, a, b: ct * (out * (special.psi(a) - special.psi(a + b))),
    lambda ct, out, a, b: ct * (out * (special.psi(b) - special.psi(a + b))),
    text="B({0}, {1})",
    latex=r"B({0}, {1})",
    flow=("{ct} ⊙ {out} ⊙ (ψ({0}) − ψ({0} + {1}))", "{ct} ⊙ {out} ⊙ (ψ({1}) − ψ({0} + {1}))"),
    samples=pairs,
)


def gamma_density(a: Any, x: Any) -> Any:
    """Return x^(a − 1) exp(−x) / Γ(a)."""
    return np.exp(special.xlogy(a - 1, x) - x - special.gammaln(a))


def _shape_samples() -> list[Sample]:
    return [
        Sample((2, draw((3,), 3, positive=True)), note="a number and a vector"),
        Sample((np.array([[1], [3]]), draw((2, 3), 3, positive=True)), note="a column and a matrix"),
    ]


gammainc = special_function(
    special.gammainc,
    NOT_IMPLEMENTED,
    lambda ct, out, a, x: ct * gamma_density(a, x),
    flow=("", "{ct} ⊙ {1} ^ ({0} − 1) exp(−{1}) / Γ({0})"),
    samples=_shape_samples,
    source="DLMF 8.8.13",
)

gammaincc = special_function(
    special.gammaincc,
    NOT_IMPLEMENTED,
    lambda ct, out, a, x: -(ct * gamma_density(a, x)),
    flow=("", "−{ct} ⊙ {1} ^ ({0} − 1) exp(−{1}) / Γ({0})"),
    samples=_shape_samples,
    source="DLMF 8.8.13",
)


def beta_density(a: Any, b: Any, x: Any) -> Any:
    """Return x^(a − 1) (1 − x)^(b − 1) / B(a, b)."""
    return np.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))


betainc = special_function(
    special.betainc,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, x: ct * beta_density(a, b, x),
    flow=("", "", "{ct} ⊙ {2} ^ ({0} − 1) (1 − {2}) ^ ({1} − 1) / B({0}, {1})"),
    samples=lambda: [Sample((2, 3, s.args[0]), note=s.note) for s in unit_interval()],
    source="DLMF 8.17.2",
)

# ---- exponential integrals ----------------------------------------------------------------------

exp1 = special_function(
    special.exp1, lambda ct, out, x: -(ct * (np.exp(-x) / x)), flow=("−{ct} ⊙ exp(−{0}) / {0}",), samples=positive,
    kinks=(Kink((0.0,), (-np.inf,), "a pole"),),
)  # fmt: skip

expi = special_function(
    special.expi, lambda ct, out, x: ct * (np.exp(x) / x), flow=("{ct} ⊙ exp({0}) / {0}",), samples=positive,
    kinks=(Kink((0.0,), (np.inf,), "a pole"),),
)  # fmt: skip

expn = special_function(
    special.expn,
    NOT_IMPLEMENTED,
    lambda ct, out, n, x: -(ct * special.expn(n - 1, x)),
    flow=("", "−{ct} ⊙ expn({0} − 1, {1})"),
    samples=lambda: [Sample((n, s.args[0]), note=s.note) for s in positive()[1:4] for n in (2, 3)],
    source="DLMF 8.19.13",
)

# ---- Bessel functions ----------------------------------------------------------------------------
# Each family has a function of any order v, with half the sum or difference of its neighbours as the derivative,
# and those of orders 0 and 1 by themselves. The neighbours are finite at 0, where J₁(x)/x would be 0/0.


def _orders() -> list[Sample]:
    return [Sample((v, s.args[0]), note=f"order {v}") for s in positive()[1:4] for v in (0, 1, 2)]


def _family(ufunc: np.ufunc, sign: float, factor: float = 0.5) -> Primitive:
    return special_function(
        ufunc,
        NOT_IMPLEMENTED,
        lambda ct, out, v, x: ct * (factor * (ufunc(v - 1, x) + sign * ufunc(v + 1, x))),
        samples=_orders,
        source="DLMF 10.6.1, 10.29.1",
    )


jv, yv, yn = _family(special.jv, -1.0), _family(special.yv, -1.0), _family(special.yn, -1.0)
iv, kv = _family(special.iv, 1.0), _family(special.kv, 1.0, -0.5)

ive = special_function(
    special.ive,
    NOT_IMPLEMENTED,
    lambda ct, out, v, x: ct * (0.5 * (special.ive(v - 1, x) + special.ive(v + 1, x)) - np.sign(x) * out),
    samples=_orders,
    source="DLMF 10.29.1",
)

kve = special_function(
    special.kve,
    NOT_IMPLEMENTED,
    lambda ct, out, v, x: ct * (out - 0.5 * (special.kve(v - 1, x) + special.kve(v + 1, x))),
    samples=_orders,
    source="DLMF 10.29.1",
)

_EVEN = Kink((0.0,), (0.0,), "the middle of an even function")
_ODD = Kink((0.0,), (0.5,), "no 0/0")

j0 = special_function(special.j0, lambda ct, out, x: -(ct * special.j1(x)), kinks=(_EVEN,))
j1 = special_function(special.j1, lambda ct, out, x: ct * (0.5 * (special.j0(x) - special.jv(2.0, x))), kinks=(_ODD,))
y0 = special_function(special.y0, lambda ct, out, x: -(ct * special.y1(x)), samples=positive)
y1 = special_function(
    special.y1, lambda ct, out, x: ct * (0.5 * (special.y0(x) - special.yv(2.0, x))), samples=positive
)
i0 = special_function(special.i0, lambda ct, out, x: ct * special.i1(x), kinks=(_EVEN,))
i1 = special_function(special.i1, lambda ct, out, x: ct * (0.5 * (special.i0(x) + special.iv(2.0, x))), kinks=(_ODD,))
k0 = special_function(special.k0, lambda ct, out, x: -(ct * special.k1(x)), samples=positive)
k1 = special_function(
    special.k1, lambda ct, out, x: -(ct * (0.5 * (special.k0(x) + special.kv(2.0, x)))), samples=positive
)
i0e = special_function(
    special.i0e,
    lambda ct, out, x: ct * (special.i1e(x) - np.sign(x) * out),
    kinks=(Kink((0.0,), (0.0,), "the subgradient of least norm in [−1, 1]"),),
)


def _i1e_back(ct: Any, out: Any, x: Any) -> Any:
    """Far out by I₂ = I₀ − 2 I₁/x: SciPy's ``ive`` is NaN there."""
    far = np.abs(x) > 8
    second = np.where(far, special.i0e(x) - 2 * out / np.where(far, x, 1), special.ive(2.0, np.where(far, 0, x)))
    return ct * (0.5 * (special.i0e(x) + second) - np.sign(x) * out)


i1e = special_function(
    special.i1e,
    _i1e_back,
    samples=lambda: [*unary_samples(), Sample((np.array([9.0, -20.0, 300.0]),), note="far out")],
    kinks=(_ODD, Kink((np.inf,), (0.0,), "it falls to 0"), Kink((-1e30,), (0.0,), "it falls to 0")),
)
k0e = special_function(special.k0e, lambda ct, out, x: ct * (out - special.k1e(x)), samples=positive)
k1e = special_function(
    special.k1e,
    lambda ct, out, x: ct * (out - 0.5 * (special.k0e(x) + special.kve(2.0, x))),
    samples=positive,
)
