"""The modified Bessel function I₀, the only special function that NumPy has itself (for the Kaiser window)."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import Code, Kink, Primitive, Sample, answers, call
from undertow.primitives.sampling import draw, unary_samples


def _i0_slope(x: Any, order: int) -> Any:
    """The derivative of I₀ of any order: the mean of cosⁿθ exp(x cosθ) over the circle."""
    x = as_float(x)
    even_or_odd = (np.cosh, np.sinh)[order % 2]
    total = np.zeros_like(x)
    for c in np.cos((np.arange(64) + 0.5) * np.pi / 128).tolist():
        total = total + c**order * even_or_odd(c * x)
    return (total / 64)[()]


i0_slope: Primitive = Primitive(
    name="i0_slope",
    forward=_i0_slope,
    infer=infer_float,
    vjps=(lambda ct, out, x, order: ct * i0_slope(x, order=order + 1),),
    broadcasts=True,
    spell=lambda x, *, order, **_: Code(f"i0_slope({x.text}, {order})"),
    text="I₀′({0})",
    latex="I_0'({0})",
    flow=("{ct} ⊙ I₀″({0})",),
    latex_flow=(r"{ct} \odot I_0''({0})",),
    helper='''def i0_slope(x, order):
    """The derivative of I₀ of any order: the mean of cosⁿθ exp(x cosθ) over the circle."""
    total = np.zeros_like(x)
    for c in np.cos((np.arange(64) + 0.5) * np.pi / 128).tolist():
        total = total + c**order * (np.cosh, np.sinh)[order % 2](c * x)
    return total / 64''',
    samples=lambda: [Sample(s.args, {"order": order}, s.note) for s in unary_samples()[1:4] for order in (1, 2)],
    source="DLMF 10.32.1; the trapezoidal rule of 256 points is exact to rounding up to |x| = 700",
)


def _samples() -> list[Sample]:
    return [*unary_samples(), Sample((np.array([0.0, 0.01, -3.5]),), note="at 0, beside it, away")]


_i0 = Primitive(
    name="i0",
    forward=np.i0,
    infer=infer_float,
    vjps=(lambda ct, out, x: ct * i0_slope(x, order=1),),
    broadcasts=True,
    spell=call("np.i0"),
    text="I₀({0})",
    latex="I_0({0})",
    flow=("{ct} ⊙ I₁({0})",),
    latex_flow=(r"{ct} \odot I_1({0})",),
    kinks=(Kink((0.0,), (0.0,), "the bottom of an even function, which is smooth"),),
    samples=_samples,
)


@answers(np.i0, samples=lambda: [Sample((draw((2, 3), 1),)), Sample((np.array([0.0, 9.0]),), note="0, large")])
def _answer_i0(x: Any) -> Any:
    return _i0(x)
