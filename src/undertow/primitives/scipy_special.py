"""The ufuncs of ``scipy.special``, which arrive by the same protocol as NumPy's. SciPy is optional.

Nothing imports this module until the first of these ufuncs meets a traced value; the tests import it themselves.
It brings `scipy_gamma`, `scipy_hypergeometric` and `scipy_distributions` along.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from undertow.primitives import scipy_distributions as scipy_distributions
from undertow.primitives import scipy_gamma as scipy_gamma
from undertow.primitives import scipy_hypergeometric as scipy_hypergeometric
from undertow.primitives.exponential import sigmoid, softplus
from undertow.primitives.record import NOT_IMPLEMENTED, Kink, Sample, answers
from undertow.primitives.sampling import unary_samples
from undertow.primitives.scipy_record import pairs, positive, special_function, unit_interval
from undertow.primitives.trigonometric import inside_one

_ROOT_PI = math.sqrt(math.pi)


# ---- the sigmoid and its inverse -----------------------------------------------------------------


@answers(special.expit, samples=unary_samples)
def _expit(x: Any) -> Any:
    return sigmoid(x)


@answers(special.log_expit, samples=unary_samples)
def _log_expit(x: Any) -> Any:
    return -softplus(-x)


logit = special_function(
    special.logit,
    lambda ct, out, x: ct / (x * (1 - x)),
    flow=("{ct} / ({0} (1 − {0}))",),
    samples=unit_interval,
    kinks=tuple(Kink((end,), (np.inf,), "the tangent is vertical") for end in (0.0, 1.0)),
)

# ---- functions that NumPy has as well ------------------------------------------------------------

for _ufunc, _numpys in (
    (special.exp2, np.exp2),
    (special.expm1, np.expm1),
    (special.cbrt, np.cbrt),
    (special.log1p, np.log1p),
):
    answers(_ufunc, samples=positive)(lambda x, _numpys=_numpys: _numpys(x))

exp10 = special_function(
    special.exp10,
    lambda ct, out, x: ct * (out * math.log(10)),
    text="10 ^ {0}",
    latex="10^{{{0}}}",
    flow=("{ct} ⊙ {out} ⊙ log 10",),
)

cosm1 = special_function(special.cosm1, lambda ct, out, x: -(ct * np.sin(x)), flow=("−{ct} ⊙ sin({0})",))

# exprel(x) = (exp(x) − 1) / x is ₁F₁(1; 2; x); its derivative by that formula would cancel beside 0.
exprel = special_function(
    special.exprel,
    lambda ct, out, x: ct * (0.5 * special.hyp1f1(2.0, 3.0, x)),
    kinks=(Kink((0.0,), (0.5,), "(exp(x) − 1) / x is smooth at 0"),),
    source="DLMF 13.3.15",
)

hyp1f1 = special_function(
    special.hyp1f1,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, x: ct * (a / b * special.hyp1f1(a + 1, b + 1, x)),
    samples=lambda: [Sample((2, 3, s.args[0]), note=s.note) for s in unary_samples()[1:4]],
    source="DLMF 13.3.15",
)

# ---- the error function and the normal distribution ----------------------------------------------

erf = special_function(
    special.erf,
    lambda ct, out, x: ct * (2 / _ROOT_PI * np.exp(-np.square(x))),
    flow=("{ct} ⊙ 2/√π exp(−{0}²)",),
    finite_slope=True,
)

erfc = special_function(
    special.erfc,
    lambda ct, out, x: -(ct * (2 / _ROOT_PI * np.exp(-np.square(x)))),
    flow=("−{ct} ⊙ 2/√π exp(−{0}²)",),
    finite_slope=True,
)

erfcx = special_function(special.erfcx, lambda ct, out, x: ct * (2 * x * out - 2 / _ROOT_PI))

dawsn = special_function(special.dawsn, lambda ct, out, x: ct * (1 - 2 * x * out))

erfi = special_function(special.erfi, lambda ct, out, x: ct * (2 / _ROOT_PI * np.exp(np.square(x))))

erfinv = special_function(
    special.erfinv,
    lambda ct, out, x: ct * (_ROOT_PI / 2 * np.exp(np.square(out))),
    flow=("{ct} ⊙ √π/2 exp({out}²)",),
    samples=inside_one,
    kinks=tuple(Kink((end,), (np.inf,), "the tangent is vertical") for end in (-1.0, 1.0)),
)

erfcinv = special_function(
    special.erfcinv,
    lambda ct, out, x: -(ct * (_ROOT_PI / 2 * np.exp(np.square(out)))),
    flow=("−{ct} ⊙ √π/2 exp({out}²)",),
    samples=lambda: [Sample((np.asarray(1 + s.args[0]),), note=s.note) for s in inside_one()[:-1]],
    kinks=tuple(Kink((end,), (-np.inf,), "the tangent is vertical") for end in (0.0, 2.0)),
)

ndtr = special_function(
    special.ndtr,
    lambda ct, out, x: ct * (np.exp(-0.5 * np.square(x)) / math.sqrt(2 * math.pi)),
    text="Φ({0})",
    latex=r"\Phi({0})",
    flow=("{ct} ⊙ φ({0})",),
    finite_slope=True,
)

# φ/Φ as the reciprocal of a scaled erfc: the quotient itself is 0/0 far to the left.
log_ndtr = special_function(
    special.log_ndtr,
    lambda ct, out, x: ct * (math.sqrt(2 / math.pi) / special.erfcx(x * -math.sqrt(0.5))),
    text="log Φ({0})",
    latex=r"\log \Phi({0})",
    flow=("{ct} ⊙ φ({0}) / Φ({0})",),
    samples=lambda: [*unary_samples(), Sample((np.array([-30.0, -8.0, 6.0]),), note="far to the left and right")],
)

ndtri = special_function(
    special.ndtri,
    lambda ct, out, x: ct * (math.sqrt(2 * math.pi) * np.exp(0.5 * np.square(out))),
    text="Φ⁻¹({0})",
    latex=r"\Phi^{{-1}}({0})",
    flow=("{ct} / φ({out})",),
    samples=unit_interval,
    kinks=tuple(Kink((end,), (np.inf,), "the tangent is vertical") for end in (0.0, 1.0)),
)

ndtri_exp = special_function(
    special.ndtri_exp,
    lambda ct, out, x: ct * (math.sqrt(2 * math.pi) * np.exp(x + 0.5 * np.square(out))),
    flow=("{ct} ⊙ exp({0}) / φ({out})",),
    samples=lambda: [Sample((-s.args[0],), note=s.note) for s in positive()],
)

# ---- entropies -----------------------------------------------------------------------------------

_MASKED = "0 log 0 is 0, and has no influence"


def _no_zero_over_zero(x: Any, y: Any, *wanted: Any) -> list[Any]:
    """Replace 0/0, whose limit depends on the way to it, by 1/1."""
    if isinstance(y, int | float) and y != 0:
        return list(wanted)
    both = np.logical_and(x == 0, y == 0)
    return [np.where(both, 1, v) for v in wanted]


def _log_ratio(x: Any, y: Any) -> Any:
    x, y = _no_zero_over_zero(x, y, x, y)
    return np.log(x / y)


def _xlogy_second(ct: Any, out: Any, x: Any, y: Any) -> Any:
    return ct * (x / _no_zero_over_zero(x, y, y)[0])


xlogy = special_function(
    special.xlogy,
    lambda ct, out, x, y: ct * np.log(np.where(np.logical_and(x == 0, y <= 0), 1, y)),
    _xlogy_second,
    text="{0} ⊙ log({1})",
    latex=r"{0} \odot \log({1})",
    flow=("{ct} ⊙ log({1})", "{ct} ⊙ {0} / {1}"),
    samples=lambda: [
        *pairs(),
        Sample((np.array([0.0, 1.0, -2.0]), np.array([0.5, 2.0, 0.1])), note="a zero in front"),
    ],
    kinks=(
        Kink((0.0, 0.0), (0.0, 0.0), _MASKED),
        Kink((0.0, 2.0), (math.log(2), 0.0), "smooth"),
        Kink((0.0, -1.0), (0.0, 0.0), "0 log y is 0 whatever y"),
        Kink((1.0, 0.0), (-np.inf, np.inf), "log falls to −∞ ever more steeply"),
    ),
)


def _xlog1py_second(ct: Any, out: Any, x: Any, y: Any) -> Any:
    return ct * (x / _no_zero_over_zero(x, 1 + y, 1 + y)[0])


xlog1py = special_function(
    special.xlog1py,
    lambda ct, out, x, y: ct * np.log1p(np.where(np.logical_and(x == 0, y <= -1), 0, y)),
    _xlog1py_second,
    text="{0} ⊙ log(1 + {1})",
    latex=r"{0} \odot \log(1 + {1})",
    flow=("{ct} ⊙ log(1 + {1})", "{ct} ⊙ {0} / (1 + {1})"),
    samples=lambda: [
        *pairs(),
        Sample((np.array([0.0, 1.0, -2.0]), np.array([-0.5, 2.0, 1e-3])), note="a zero in front"),
    ],
    kinks=(Kink((0.0, -1.0), (0.0, 0.0), _MASKED), Kink((0.0, 1.0), (math.log(2), 0.0), "smooth")),
)

entr = special_function(
    special.entr,
    lambda ct, out, x: -(ct * (np.log(x) + 1)),
    text="−{0} ⊙ log({0})",
    latex=r"-{0} \odot \log({0})",
    flow=("−{ct} ⊙ (log({0}) + 1)",),
    samples=positive,
    kinks=(Kink((0.0,), (np.inf,), "the tangent is vertical"),),
)


def _minus_ratio(ct: Any, out: Any, x: Any, y: Any) -> Any:
    x, y = _no_zero_over_zero(x, y, x, y)
    return -(ct * (x / y))


rel_entr = special_function(
    special.rel_entr,
    lambda ct, out, x, y: ct * (_log_ratio(x, y) + 1),
    _minus_ratio,
    text="{0} ⊙ log({0} / {1})",
    latex=r"{0} \odot \log({0} / {1})",
    flow=("{ct} ⊙ (log({0} / {1}) + 1)", "−{ct} ⊙ {0} / {1}"),
    samples=pairs,
    kinks=(
        Kink((0.0, 2.0), (-np.inf, 0.0), "the tangent is vertical"),
        Kink((0.0, 0.0), (1.0, -1.0), "the slope along x = y, where it is finite"),
    ),
)

kl_div = special_function(
    special.kl_div,
    lambda ct, out, x, y: ct * _log_ratio(x, y),
    lambda ct, out, x, y: ct + _minus_ratio(ct, out, x, y),
    text="({0} ⊙ log({0} / {1}) − {0} + {1})",
    latex=r"({0} \odot \log({0} / {1}) - {0} + {1})",
    flow=("{ct} ⊙ log({0} / {1})", "{ct} ⊙ (1 − {0} / {1})"),
    samples=pairs,
    kinks=(
        Kink((0.0, 2.0), (-np.inf, 1.0), "the tangent is vertical"),
        Kink((0.0, 0.0), (0.0, 0.0), "the slope along x = y, where it is smallest"),
    ),
)

# ---- robust losses and the Box–Cox transformation ------------------------------------------------

huber = special_function(
    special.huber,
    lambda ct, out, d, x: np.where(np.abs(x) > d, ct * (np.abs(x) - d), 0),
    lambda ct, out, d, x: ct * np.clip(x, -d, d),
    flow=("{ct} ⊙ max(|{1}| − {0}, 0)", "{ct} ⊙ clip({1}, −{0}, {0})"),
    samples=pairs,
    kinks=(Kink((1.0, 1.0), (0.0, 1.0), "the parabola and the line have the same slope there"),),
)


def _stretch(d: Any, x: Any) -> Any:
    return np.hypot(1, x / d)


pseudo_huber = special_function(
    special.pseudo_huber,
    lambda ct, out, d, x: ct * (d * np.square(_stretch(d, x) - 1) / _stretch(d, x)),
    lambda ct, out, d, x: ct * (x / _stretch(d, x)),
    flow=("{ct} ⊙ {0} (s − 1)² / s, s = √(1 + ({1} / {0})²)", "{ct} ⊙ {1} / √(1 + ({1} / {0})²)"),
    samples=pairs,
)

boxcox = special_function(
    special.boxcox,
    lambda ct, out, x, power: ct * x ** (power - 1),
    NOT_IMPLEMENTED,
    flow=("{ct} ⊙ {0} ^ ({1} − 1)",),
    samples=lambda: [Sample((s.args[0], power), note=s.note) for s in positive()[1:4] for power in (0, 2)],
)

inv_boxcox = special_function(
    special.inv_boxcox,
    lambda ct, out, x, power: ct * out ** (1 - power),
    NOT_IMPLEMENTED,
    flow=("{ct} ⊙ {out} ^ (1 − {1})",),
    samples=lambda: [Sample((s.args[0], power), note=s.note) for s in positive()[1:4] for power in (0, 2)],
)
