"""Arithmetic: + − × ÷, powers and roots, absolute value, maximum and minimum, clipping."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.primitives.record import (
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    ZERO,
    Code,
    Kink,
    Primitive,
    Sample,
    Spelling,
    answers,
    call,
    infer_ufunc,
    infix,
    refuse,
)
from undertow.primitives.sampling import binary_samples, unary_samples


def prefix(sign: str) -> Spelling:
    """Spell as ``-x``."""
    return lambda x, **_: Code(f"{sign}{x.within(UNARY)}", UNARY)


add = Primitive(
    name="add",
    forward=np.add,
    infer=infer_ufunc(np.add),
    vjps=(lambda ct, out, x, y: ct, lambda ct, out, x, y: ct),
    broadcasts=True,
    finite_slope=True,
    spell=infix("+", SUM),
    text="{0} + {1}",
    latex="{0} + {1}",
    flow=("{ct}", "{ct}"),
    latex_flow=("{ct}", "{ct}"),
    samples=binary_samples,
    numpy=(np.add,),
)

subtract = Primitive(
    name="subtract",
    forward=np.subtract,
    infer=infer_ufunc(np.subtract),
    vjps=(lambda ct, out, x, y: ct, lambda ct, out, x, y: -ct),
    broadcasts=True,
    finite_slope=True,
    spell=infix("-", SUM),
    text="{0} − {1}",
    latex="{0} - {1}",
    flow=("{ct}", "−{ct}"),
    latex_flow=("{ct}", "-{ct}"),
    samples=binary_samples,
    numpy=(np.subtract,),
)

multiply = Primitive(
    name="multiply",
    forward=np.multiply,
    infer=infer_ufunc(np.multiply),
    vjps=(lambda ct, out, x, y: ct * y, lambda ct, out, x, y: ct * x),
    broadcasts=True,
    spell=infix("*", PRODUCT),
    text="{0} ⊙ {1}",
    latex=r"{0} \odot {1}",
    flow=("{ct} ⊙ {1}", "{ct} ⊙ {0}"),
    latex_flow=(r"{ct} \odot {1}", r"{ct} \odot {0}"),
    samples=binary_samples,
    numpy=(np.multiply,),
)

divide = Primitive(
    name="divide",
    forward=np.divide,
    infer=infer_ufunc(np.divide),
    vjps=(lambda ct, out, x, y: ct / y, lambda ct, out, x, y: -(ct * out / y)),
    broadcasts=True,
    spell=infix("/", PRODUCT),
    text="{0} / {1}",
    latex=r"\frac{{{0}}}{{{1}}}",
    flow=("{ct} / {1}", "−{ct} ⊙ {out} / {1}"),
    latex_flow=(r"{ct} / {1}", r"-{ct} \odot {out} / {1}"),
    samples=lambda: binary_samples(away_from_zero=True),
    numpy=(np.divide,),
)

negative = Primitive(
    name="negative",
    forward=np.negative,
    infer=infer_ufunc(np.negative),
    vjps=(lambda ct, out, x: -ct,),
    broadcasts=True,
    finite_slope=True,
    spell=prefix("-"),
    text="−{0}",
    latex="-{0}",
    flow=("−{ct}",),
    latex_flow=("-{ct}",),
    samples=unary_samples,
    numpy=(np.negative,),
)


def _power_base(ct: Any, out: Any, x: Any, y: Any) -> Any:
    if isinstance(y, int | float):
        if y == 0:
            return ct * 0
        return ct * y if y == 1 else ct * (2 * x if y == 2 else y * x ** (y - 1))
    # x**0 is 1 everywhere, so its slope at 0 is 0; without the choice 0 * 0**-1 would be NaN.
    return ct * (y * x ** np.where(np.logical_and(x == 0, y == 0), 1, y - 1))


def _power_exponent(ct: Any, out: Any, x: Any, y: Any) -> Any:
    return ct * out * np.log(np.where(x == 0, 1, x))


power = Primitive(
    name="power",
    forward=np.power,
    infer=infer_ufunc(np.power),
    vjps=(_power_base, _power_exponent),
    broadcasts=True,
    spell=lambda x, y, **_: Code(f"{x.within(POWER + 1)} ** {y.within(UNARY)}", POWER),
    text="{0} ^ {1}",
    latex="{0}^{{{1}}}",
    flow=("{ct} ⊙ {1} ⊙ {0} ^ ({1} − 1)", "{ct} ⊙ {out} ⊙ log {0}"),
    latex_flow=(r"{ct} \odot {1} \odot {0}^{{{1} - 1}}", r"{ct} \odot {out} \odot \log {0}"),
    kinks=(
        Kink((0.0, 0.0), (0.0, 0.0), "x**0 is 1 for every x"),
        Kink((0.0, 2.0), (0.0, 0.0), "0**y is 0 for every y > 0"),
    ),
    samples=lambda: (
        binary_samples(positive=True)
        + [
            Sample((np.array([-1.5, 0.5, 2.0]), 3), note="an integer power of a negative number"),
            Sample((np.array([[0.0, -2.0]]), 2), note="a square"),
            Sample((2.0, np.array([0.0, 1.5, -3.0])), note="a number to an array"),
        ]
    ),
    numpy=(np.power,),
)

square = Primitive(
    name="square",
    forward=np.square,
    infer=infer_ufunc(np.square),
    vjps=(lambda ct, out, x: ct * (2 * x),),
    broadcasts=True,
    spell=call("np.square"),
    text="{0}²",
    latex="{0}^2",
    flow=("{ct} ⊙ 2{0}",),
    latex_flow=(r"{ct} \odot 2 {0}",),
    samples=unary_samples,
    numpy=(np.square,),
)

reciprocal = Primitive(
    name="reciprocal",
    forward=np.reciprocal,
    infer=infer_ufunc(np.reciprocal),
    vjps=(lambda ct, out, x: -(ct * np.square(out)),),
    broadcasts=True,
    spell=call("np.reciprocal"),
    text="1 / {0}",
    latex=r"\frac{{1}}{{{0}}}",
    flow=("−{ct} ⊙ {out}²",),
    latex_flow=(r"-{ct} \odot {out}^2",),
    samples=lambda: unary_samples(away_from_zero=True),
    numpy=(np.reciprocal,),
)

sqrt = Primitive(
    name="sqrt",
    forward=np.sqrt,
    infer=infer_ufunc(np.sqrt),
    vjps=(lambda ct, out, x: ct * 0.5 / out,),
    broadcasts=True,
    spell=call("np.sqrt"),
    text="√{0}",
    latex=r"\sqrt{{{0}}}",
    flow=("{ct} / (2{out})",),
    latex_flow=(r"{ct} / (2 {out})",),
    kinks=(Kink((0.0,), (np.inf,), "the tangent is vertical"),),
    samples=lambda: unary_samples(positive=True),
    numpy=(np.sqrt,),
)

absolute = Primitive(
    name="absolute",
    forward=np.absolute,
    infer=infer_ufunc(np.absolute),
    vjps=(lambda ct, out, x: ct * np.sign(x),),
    broadcasts=True,
    finite_slope=True,
    spell=call("np.abs"),
    text="|{0}|",
    latex=r"\lvert {0} \rvert",
    flow=("{ct} ⊙ sign({0})",),
    latex_flow=(r"{ct} \odot \operatorname{{sign}}({0})",),
    kinks=(Kink((0.0,), (0.0,), "the subgradient of least norm in [−1, 1]"),),
    samples=lambda: unary_samples(away_from_zero=True),
    numpy=(np.absolute, np.fabs),
)

sign = Primitive(
    name="sign",
    forward=np.sign,
    infer=infer_ufunc(np.sign),
    vjps=(ZERO,),
    broadcasts=True,
    spell=call("np.sign"),
    text="sign({0})",
    latex=r"\operatorname{{sign}}({0})",
    kinks=(Kink((0.0,), (0.0,), "flat on both sides"),),
    samples=lambda: unary_samples(away_from_zero=True),
    numpy=(np.sign,),
)


def _pick_first(better: Any) -> Any:
    """Make the rules of maximum (better is >) and minimum (better is <)."""

    def first(ct: Any, out: Any, x: Any, y: Any, active: tuple[bool, ...]) -> Any:
        if all(active):  # a tie goes half and half: each side's share is the subgradient of least norm
            return ct * np.where(x == y, 0.5, better(x, y))
        return ct * better(x, y)

    def second(ct: Any, out: Any, x: Any, y: Any, active: tuple[bool, ...]) -> Any:
        return first(ct, out, y, x, active)

    return first, second


_TIES = "½ each when both are differentiated; 0 when the other is a constant"

maximum = Primitive(
    name="maximum",
    forward=np.maximum,
    infer=infer_ufunc(np.maximum),
    vjps=_pick_first(lambda x, y: x > y),
    broadcasts=True,
    finite_slope=True,
    tells_active=True,
    spell=call("np.maximum"),
    text="max({0}, {1})",
    latex=r"\max({0}, {1})",
    flow=("{ct} where {0} > {1}, else 0", "{ct} where {1} > {0}, else 0"),
    latex_flow=(r"{ct} \odot [{0} > {1}]", r"{ct} \odot [{1} > {0}]"),
    kinks=(Kink((0.0, 0.0), (0.5, 0.5), _TIES), Kink((0.0, 0.0), (0.0, None), _TIES)),
    samples=binary_samples,
    numpy=(np.maximum,),
)

minimum = Primitive(
    name="minimum",
    forward=np.minimum,
    infer=infer_ufunc(np.minimum),
    vjps=_pick_first(lambda x, y: x < y),
    broadcasts=True,
    finite_slope=True,
    tells_active=True,
    spell=call("np.minimum"),
    text="min({0}, {1})",
    latex=r"\min({0}, {1})",
    flow=("{ct} where {0} < {1}, else 0", "{ct} where {1} < {0}, else 0"),
    latex_flow=(r"{ct} \odot [{0} < {1}]", r"{ct} \odot [{1} < {0}]"),
    kinks=(Kink((0.0, 0.0), (0.5, 0.5), _TIES), Kink((0.0, 0.0), (0.0, None), _TIES)),
    samples=binary_samples,
    numpy=(np.minimum,),
)


@answers(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    refuse("np.clip", out=out)
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is not None:
        a = np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@answers(np.positive)
def _positive(x: Any) -> Any:
    return x
