"""Hyperbolic functions and their inverses; tanh, the activation, stands with the exponentials."""

from __future__ import annotations

import numpy as np

from undertow.primitives.elementwise import elementwise, shifted
from undertow.primitives.record import Kink
from undertow.primitives.sampling import unary_samples
from undertow.primitives.trigonometric import inside_one

sinh = elementwise(
    np.sinh,
    lambda ct, out, x: ct * np.cosh(x),
    text="sinh({0})",
    latex=r"\sinh({0})",
    flow=("{ct} ⊙ cosh({0})",),
    latex_flow=(r"{ct} \odot \cosh({0})",),
)

cosh = elementwise(
    np.cosh,
    lambda ct, out, x: ct * np.sinh(x),
    text="cosh({0})",
    latex=r"\cosh({0})",
    flow=("{ct} ⊙ sinh({0})",),
    latex_flow=(r"{ct} \odot \sinh({0})",),
)

arcsinh = elementwise(
    np.arcsinh,
    lambda ct, out, x: ct / np.hypot(1, x),  # √(1 + x²) that does not overflow
    text="arcsinh({0})",
    latex=r"\operatorname{{arsinh}}({0})",
    flow=("{ct} / √(1 + {0}²)",),
    latex_flow=(r"{ct} / \sqrt{{1 + {0}^2}}",),
    finite_slope=True,
)

arccosh = elementwise(
    np.arccosh,
    lambda ct, out, x: ct / (np.sqrt(x - 1) * np.sqrt(x + 1)),
    text="arccosh({0})",
    latex=r"\operatorname{{arcosh}}({0})",
    flow=("{ct} / √({0}² − 1)",),
    latex_flow=(r"{ct} / \sqrt{{{0}^2 - 1}}",),
    samples=shifted(lambda: unary_samples(positive=True), 1.0),
    kinks=(Kink((1.0,), (np.inf,), "the tangent is vertical"),),
)

arctanh = elementwise(
    np.arctanh,
    lambda ct, out, x: ct / ((1 - x) * (1 + x)),
    text="arctanh({0})",
    latex=r"\operatorname{{artanh}}({0})",
    flow=("{ct} / (1 − {0}²)",),
    latex_flow=(r"{ct} / (1 - {0}^2)",),
    samples=inside_one,
    kinks=tuple(Kink((end,), (np.inf,), "it rises to ∞ ever more steeply") for end in (1.0, -1.0)),
)
