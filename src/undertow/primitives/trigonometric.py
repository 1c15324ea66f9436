"""Sine, cosine and tangent, their inverses, angles, and the sinc function with every derivative right at 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.primitives.elementwise import elementwise
from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import Code, Kink, Primitive, Sample, answers, call
from undertow.primitives.sampling import binary_samples, draw, unary_samples


def inside_one() -> list[Sample]:
    """Numbers between −1 and 1, some of them close to the ends."""
    samples = [Sample((np.asarray(np.tanh(s.args[0])),), note=s.note) for s in unary_samples()]
    return [*samples, Sample((np.array([-0.999, 0.0, 1e-9, 0.999]),), note="close to the ends, and 0")]


sin = elementwise(
    np.sin,
    lambda ct, out, x: ct * np.cos(x),
    text="sin({0})",
    latex=r"\sin({0})",
    flow=("{ct} ⊙ cos({0})",),
    latex_flow=(r"{ct} \odot \cos({0})",),
)

cos = elementwise(
    np.cos,
    lambda ct, out, x: -(ct * np.sin(x)),
    text="cos({0})",
    latex=r"\cos({0})",
    flow=("−{ct} ⊙ sin({0})",),
    latex_flow=(r"-{ct} \odot \sin({0})",),
)

tan = elementwise(
    np.tan,
    lambda ct, out, x: ct * (1 + np.square(out)),
    text="tan({0})",
    latex=r"\tan({0})",
    flow=("{ct} ⊙ (1 + {out}²)",),
    latex_flow=(r"{ct} \odot (1 + {out}^2)",),
    samples=inside_one,
)

_VERTICAL = "the tangent is vertical"

# (1 − x)(1 + x) keeps its digits where 1 − x² loses them, close to the ends.
arcsin = elementwise(
    np.arcsin,
    lambda ct, out, x: ct / np.sqrt((1 - x) * (1 + x)),
    text="arcsin({0})",
    latex=r"\arcsin({0})",
    flow=("{ct} / √(1 − {0}²)",),
    latex_flow=(r"{ct} / \sqrt{{1 - {0}^2}}",),
    samples=inside_one,
    kinks=(Kink((1.0,), (np.inf,), _VERTICAL), Kink((-1.0,), (np.inf,), _VERTICAL)),
)

arccos = elementwise(
    np.arccos,
    lambda ct, out, x: -(ct / np.sqrt((1 - x) * (1 + x))),
    text="arccos({0})",
    latex=r"\arccos({0})",
    flow=("−{ct} / √(1 − {0}²)",),
    latex_flow=(r"-{ct} / \sqrt{{1 - {0}^2}}",),
    samples=inside_one,
    kinks=(Kink((1.0,), (-np.inf,), _VERTICAL), Kink((-1.0,), (-np.inf,), _VERTICAL)),
)

arctan = elementwise(
    np.arctan,
    lambda ct, out, x: ct / (1 + np.square(x)),
    text="arctan({0})",
    latex=r"\arctan({0})",
    flow=("{ct} / (1 + {0}²)",),
    latex_flow=(r"{ct} / (1 + {0}^2)",),
    finite_slope=True,
)


def _radius(x: Any, y: Any) -> Any:
    """The distance from the origin to divide by: 1 at the origin itself, so that 0 / r is 0 there."""
    r = np.hypot(x, y)
    return np.where(r == 0, 1, r)


def _arctan2_first(ct: Any, out: Any, y: Any, x: Any) -> Any:
    r = _radius(x, y)  # dividing twice by r: r² overflows and underflows where r does not
    return ct * (x / r / r)


def _arctan2_second(ct: Any, out: Any, y: Any, x: Any) -> Any:
    r = _radius(x, y)
    return -(ct * (y / r / r))


arctan2 = elementwise(
    np.arctan2,
    _arctan2_first,
    _arctan2_second,
    text="angle({1}, {0})",
    latex=r"\operatorname{{atan2}}({0}, {1})",
    flow=("{ct} ⊙ {1} / ({0}² + {1}²)", "−{ct} ⊙ {0} / ({0}² + {1}²)"),
    latex_flow=(r"{ct} \odot {1} / ({0}^2 + {1}^2)", r"-{ct} \odot {0} / ({0}^2 + {1}^2)"),
    samples=lambda: [
        *binary_samples(away_from_zero=True),
        Sample((np.array([0.0, 1.5, -2.0]), np.array([1.5, 0.0, -0.5])), note="on the axes"),
    ],
    kinks=(Kink((0.0, 0.0), (0.0, 0.0), "the origin has no direction"),),
)

hypot = elementwise(
    np.hypot,
    lambda ct, out, x, y: ct * (x / np.where(out == 0, 1, out)),
    lambda ct, out, x, y: ct * (y / np.where(out == 0, 1, out)),
    text="√({0}² + {1}²)",
    latex=r"\sqrt{{{0}^2 + {1}^2}}",
    flow=("{ct} ⊙ {0} / {out}", "{ct} ⊙ {1} / {out}"),
    latex_flow=(r"{ct} \odot {0} / {out}", r"{ct} \odot {1} / {out}"),
    samples=lambda: [
        *binary_samples(away_from_zero=True),
        Sample((np.array([0.0, 3.0, -1.5]), np.array([-2.0, 0.0, 2.0])), note="on the axes"),
    ],
    kinks=(
        Kink((0.0, 0.0), (0.0, 0.0), "the subgradient of least norm in the unit disc"),
        Kink((3e30, 4e30), (0.6, 0.8), "too large to square in float32"),
    ),
)

degrees = elementwise(
    np.degrees,
    lambda ct, out, x: np.degrees(ct),
    text="degrees({0})",
    latex=r"\tfrac{{180}}{{\pi}} {0}",
    flow=("180/π {ct}",),
    latex_flow=(r"\tfrac{{180}}{{\pi}} {ct}",),
    also=(np.rad2deg,),
    finite_slope=True,
)

radians = elementwise(
    np.radians,
    lambda ct, out, x: np.radians(ct),
    text="radians({0})",
    latex=r"\tfrac{{\pi}}{{180}} {0}",
    flow=("π/180 {ct}",),
    latex_flow=(r"\tfrac{{\pi}}{{180}} {ct}",),
    also=(np.deg2rad,),
    finite_slope=True,
)


@answers(np.angle, samples=lambda: [Sample(s.args, p) for s in unary_samples() for p in ({}, {"deg": True})],
         kinks=(Kink((0.0,), (0.0,), "constant on both sides"),))  # fmt: skip
def _angle(z: Any, deg: bool = False) -> Any:
    angle = np.arctan2(0, z)  # a whole number, which leaves the dtype to z
    return angle * (180 / math.pi) if deg else angle


# ---- sinc ----------------------------------------------------------------------------------------


def _sinc_slope(x: Any, order: int) -> Any:
    """The derivative of sinc of any order: a series around 0, a recurrence away from it."""
    u = np.pi * as_float(x)
    near = abs(u) <= order + 1  # where the recurrence would lose digits
    small, large = np.where(near, u, 0), np.where(near, order + 2, u)
    series = np.zeros_like(u)
    for k in range(10 + 2 * order, (order - 1) // 2, -1):
        term = (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - order))
        series = series * small**2 + term
    series = series * small ** (order % 2)
    value = np.sin(large) / large
    for n in range(1, order + 1):
        value = ((np.sin, np.cos)[n % 2](large) * (-1) ** (n // 2) - n * value) / large
    return (np.pi**order * np.where(near, series, value))[()]


sinc_slope: Primitive = Primitive(
    name="sinc_slope",
    forward=_sinc_slope,
    infer=infer_float,
    vjps=(lambda ct, out, x, order: ct * sinc_slope(x, order=order + 1),),
    broadcasts=True,
    spell=lambda x, *, order, **_: Code(f"sinc_slope({x.text}, {order})"),
    text="sinc′({0})",
    latex=r"\operatorname{{sinc}}'({0})",
    flow=("{ct} ⊙ sinc″({0})",),
    latex_flow=(r"{ct} \odot \operatorname{{sinc}}''({0})",),
    helper='''def sinc_slope(x, order):
    """The derivative of sinc of any order: a series around 0, a recurrence away from it."""
    u = np.pi * np.asarray(x)
    near = abs(u) <= order + 1
    small, large = np.where(near, u, 0), np.where(near, order + 2, u)
    series, factorial = np.zeros_like(u), np.cumprod([1.0, *range(1, 3 * order + 22)])
    for k in range(10 + 2 * order, (order - 1) // 2, -1):
        series = series * small**2 + float((-1) ** k / ((2 * k + 1) * factorial[2 * k - order]))
    series = series * small ** (order % 2)
    value = np.sin(large) / large
    for n in range(1, order + 1):
        value = ((np.sin, np.cos)[n % 2](large) * (-1) ** (n // 2) - n * value) / large
    return np.pi**order * np.where(near, series, value)''',
    samples=lambda: [Sample(s.args, {"order": order}, s.note) for s in _sinc_samples()[2:] for order in (1, 2)],
    source="derived here: (u s)⁽ⁿ⁾ = u s⁽ⁿ⁾ + n s⁽ⁿ⁻¹⁾ for s = sin(u) / u",
)


def _sinc_samples() -> list[Sample]:
    return [*unary_samples(), Sample((np.array([0.0, -0.01, 0.3, -0.7, 1.0, 5.3]),), note="at 0, beside it, away")]


_sinc = Primitive(
    name="sinc",
    forward=np.sinc,
    infer=infer_float,
    vjps=(lambda ct, out, x: ct * sinc_slope(x, order=1),),
    broadcasts=True,
    spell=call("np.sinc"),
    text="sinc({0})",
    latex=r"\operatorname{{sinc}}({0})",
    flow=("{ct} ⊙ sinc′({0})",),
    latex_flow=(r"{ct} \odot \operatorname{{sinc}}'({0})",),
    kinks=(
        Kink((0.0,), (0.0,), "the top of sin(πx) / (πx), which is smooth"),
        Kink((1e-8,), (-1e-8 * np.pi**2 / 3,), "beside 0 no digit is lost"),
    ),
    samples=_sinc_samples,
)


@answers(
    np.sinc, samples=lambda: [Sample((draw((3,), 1),)), Sample((np.array([0.0, 0.5]),), note="at 0")], kinks=_sinc.kinks
)
def _answer_sinc(x: Any) -> Any:
    return _sinc(x)
