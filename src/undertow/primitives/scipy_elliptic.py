"""Complete elliptic integrals, the hypergeometric function they come from, and Owen's T, of ``scipy.special``."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from undertow.primitives.record import NOT_IMPLEMENTED, Kink, Sample
from undertow.primitives.scipy_record import pairs, special_function, unit_interval

hyp2f1 = special_function(
    special.hyp2f1,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    NOT_IMPLEMENTED,
    lambda ct, out, a, b, c, x: ct * (a * b / c * special.hyp2f1(a + 1, b + 1, c + 1, x)),
    samples=lambda: [Sample((2, 1, 3, s.args[0]), note=s.note) for s in unit_interval()[1:4]],
    source="DLMF 15.5.1",
)

# By the parameter m = k²; written as (E − (1 − m) K) / (2 m (1 − m)) the derivative of K would cancel beside 0.
ellipk = special_function(
    special.ellipk,
    lambda ct, out, x: ct * (math.pi / 8 * special.hyp2f1(1.5, 1.5, 2.0, x)),
    latex="K({0})",
    samples=unit_interval,
    kinks=(Kink((0.0,), (math.pi / 8,), "K is smooth at 0"),),
    source="DLMF 19.5.1, 15.5.1",
)

ellipe = special_function(
    special.ellipe,
    lambda ct, out, x: -(ct * (math.pi / 8 * special.hyp2f1(0.5, 1.5, 2.0, x))),
    latex="E({0})",
    samples=unit_interval,
    kinks=(Kink((0.0,), (-math.pi / 8,), "E is smooth at 0"),),
    source="DLMF 19.5.2, 15.5.1",
)

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
