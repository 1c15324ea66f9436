"""Distribution functions and quantiles of ``scipy.special``: gamma, beta, χ², t and F. They come with `scipy_special`.

The slope of a distribution function is its density, and that of a quantile is one by the density there. There is no
derivative by degrees of freedom and other shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from undertow.primitives.record import NOT_IMPLEMENTED, ZERO, Sample
from undertow.primitives.sampling import unary_samples
from undertow.primitives.scipy_gamma import beta_density, gamma_density
from undertow.primitives.scipy_record import pairs, positive, special_function, unit_interval


def _shares(*shapes: int) -> list[Sample]:
    return [Sample((*shapes, s.args[0]), note=s.note) for s in unit_interval()]


def _t_density(df: Any, t: Any) -> Any:
    log = -special.betaln(0.5, df / 2) - (df + 1) / 2 * np.log1p(t * t / df)  # Γ's of many degrees would cancel
    return np.exp(log) / np.sqrt(df)


gammaincinv = special_function(
    special.gammaincinv,
    NOT_IMPLEMENTED,
    lambda ct, out, a, y: ct / gamma_density(a, out),
    samples=lambda: _shares(2),
    source="DLMF 8.8.13",
)

gammainccinv = special_function(
    special.gammainccinv,
    NOT_IMPLEMENTED,
    lambda ct, out, a, y: -(ct / gamma_density(a, out)),
    samples=lambda: _shares(2),
    source="DLMF 8.8.13",
)

betaincc = special_function(
    special.betaincc,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, x: -(ct * beta_density(a, b, x)),
    samples=lambda: _shares(2, 3),
    source="DLMF 8.17.1",
)

betaincinv = special_function(
    special.betaincinv,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, y: ct / beta_density(a, b, out),
    samples=lambda: _shares(2, 3),
    source="DLMF 8.17.1",
)

betainccinv = special_function(
    special.betainccinv,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, y: -(ct / beta_density(a, b, out)),
    samples=lambda: _shares(2, 3),
    source="DLMF 8.17.1",
)

stdtr = special_function(
    special.stdtr,
    NOT_IMPLEMENTED,
    lambda ct, out, df, t: ct * _t_density(df, t),
    samples=lambda: [Sample((3, s.args[0]), note=s.note) for s in unary_samples()],
    source="the density of Student's t distribution",
)

stdtrit = special_function(
    special.stdtrit,
    NOT_IMPLEMENTED,
    lambda ct, out, df, p: ct / _t_density(df, out),
    samples=lambda: _shares(3),
    source="the density of Student's t distribution",
)

# ---- χ², F and Poisson ---------------------------------------------------------------------------


def _chi2_density(v: Any, x: Any) -> Any:
    return gamma_density(v / 2, x / 2) / 2


def _f_density(dfn: Any, dfd: Any, x: Any) -> Any:
    total = dfd + dfn * x
    return beta_density(dfn / 2, dfd / 2, dfn * x / total) * dfn * dfd / np.square(total)


def _with(*shapes: int) -> Callable[[], list[Sample]]:
    return lambda: [Sample((*shapes, s.args[0]), note=s.note) for s in positive()]


chdtr = special_function(
    special.chdtr, NOT_IMPLEMENTED, lambda ct, out, v, x: ct * _chi2_density(v, x), samples=_with(3),
    source="the density of the χ² distribution",
)  # fmt: skip
chdtrc = special_function(
    special.chdtrc, NOT_IMPLEMENTED, lambda ct, out, v, x: -(ct * _chi2_density(v, x)), samples=_with(3),
    source="the density of the χ² distribution",
)  # fmt: skip
chdtri = special_function(
    special.chdtri, NOT_IMPLEMENTED, lambda ct, out, v, p: -(ct / _chi2_density(v, out)), samples=lambda: _shares(3),
    source="the density of the χ² distribution",
)  # fmt: skip
fdtr = special_function(
    special.fdtr, NOT_IMPLEMENTED, NOT_IMPLEMENTED, lambda ct, out, n, d, x: ct * _f_density(n, d, x),
    samples=_with(3, 5), source="the density of the F distribution",
)  # fmt: skip
fdtrc = special_function(
    special.fdtrc, NOT_IMPLEMENTED, NOT_IMPLEMENTED, lambda ct, out, n, d, x: -(ct * _f_density(n, d, x)),
    samples=_with(3, 5), source="the density of the F distribution",
)  # fmt: skip
pdtr = special_function(
    special.pdtr, ZERO, lambda ct, out, k, m: -(ct * gamma_density(np.floor(k) + 1, m)), samples=_with(2),
    source="DLMF 8.4.10, 8.8.13",
)  # fmt: skip
pdtrc = special_function(
    special.pdtrc, ZERO, lambda ct, out, k, m: ct * gamma_density(np.floor(k) + 1, m), samples=_with(2),
    source="DLMF 8.4.10, 8.8.13",
)  # fmt: skip


# ---- Owen's T -------------------------------------------------------------------------------------

owens_t = special_function(
    special.owens_t,
    lambda ct, out, h, a: (
        -(ct * (np.exp(-0.5 * np.square(h)) * special.erf(h * a * math.sqrt(0.5)) / math.sqrt(8 * math.pi)))
    ),
    lambda ct, out, h, a: ct * (np.exp(-0.5 * np.square(h) * (1 + np.square(a))) / (2 * math.pi * (1 + np.square(a)))),
    latex="T({0}, {1})",
    samples=pairs,
    source="Owen (1956), Annals of Mathematical Statistics 27(4)",
)
