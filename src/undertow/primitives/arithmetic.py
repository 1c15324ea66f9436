"""Arithmetic: + − × ÷, powers and roots, absolute value; the parts of a real number that is taken for a complex one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.primitives.elementwise import elementwise, times
from undertow.primitives.record import (
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    Code,
    Kink,
    Primitive,
    Sample,
    Spelling,
    Traced,
    answers,
    call,
    dtype_of,
    infer_ufunc,
    infix,
    promote,
    spec_of,
)
from undertow.primitives.sampling import binary_samples, draw, unary_samples
from undertow.primitives.shape import astype
from undertow.primitives.special import identity


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
    vjps=(lambda ct, out, x, y: times(ct, y), lambda ct, out, x, y: times(ct, x)),
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
    vjps=(lambda ct, out, x, y: ct / y, lambda ct, out, x, y: -(times(ct, out) / y)),
    broadcasts=True,
    spell=infix("/", PRODUCT),
    text="{0} / {1}",
    latex=r"\frac{{{0}}}{{{1}}}",
    flow=("{ct} / {1}", "−{ct} ⊙ {out} / {1}"),
    latex_flow=(r"{ct} / {1}", r"-{ct} \odot {out} / {1}"),
    kinks=(Kink((1.0, 0.0), (np.inf, -np.inf), "a pole"),),
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
            return np.zeros_like(ct)
        return ct * y if y == 1 else times(ct, 2 * x if y == 2 else y * _raise(x, y - 1))
    # x**0 is 1 everywhere, so its slope at 0 is 0; without the choice 0 * 0**-1 would be NaN.
    return ct * (y * _raise(x, np.where(np.logical_and(x == 0, y == 0), 1, y - 1)))


def _raise(x: Any, y: Any) -> Any:
    """Return x ** y as NumPy computes it: Python's own numbers fail at 0 ** −1 and 1e200 ** 2, or turn complex."""
    return np.power(x, y) if isinstance(x, int | float) else x**y


def _power_exponent(ct: Any, out: Any, x: Any, y: Any) -> Any:
    if isinstance(x, int | float) and x > 0:
        return ct * (out * math.log(x))
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
        Kink((0.0, 1.0), (1.0, 0.0), "x**1 is x, and 0**y is 0 for every y > 0"),
        Kink((0.0, 0.5), (np.inf, 0.0), "the tangent is vertical"),
        Kink((-2.0, 3.0), (12.0, None), "a whole exponent of a negative number"),
    ),
    samples=lambda: (
        binary_samples(positive=True)
        + [
            Sample((np.array([-1.5, 0.5, 2.0]), 3), note="an integer power of a negative number"),
            Sample((np.array([[0.0, -2.0]]), 2), note="a square"),
            Sample((np.array([0.0, -2.0, 3.0]), 0), note="the exponent 0"),
            Sample((np.array([0.0, -2.0, 3.0]), 1), note="the exponent 1"),
            Sample((np.array([[0.0], [-2.0], [3.0]]), np.array([0, 1, 2, 3])), note="whole exponents in an array"),
            Sample((np.array([0.5, -2.0, 3.0]), -2), note="a negative one"),
            Sample((2.0, np.array([0.0, 1.5, -3.0])), note="a number to an array"),
        ]
    ),
    numpy=(np.power,),
)

square = Primitive(
    name="square",
    forward=np.square,
    infer=infer_ufunc(np.square),
    vjps=(lambda ct, out, x: times(ct, 2 * x),),
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
    kinks=(Kink((0.0,), (-np.inf,), "a pole"),),
    samples=lambda: unary_samples(away_from_zero=True),
    numpy=(np.reciprocal,),
)

cbrt = elementwise(
    np.cbrt,
    lambda ct, out, x: ct / (3 * np.square(out)),
    text="∛{0}",
    latex=r"\sqrt[3]{{{0}}}",
    flow=("{ct} / (3{out}²)",),
    latex_flow=(r"{ct} / (3 {out}^2)",),
    kinks=(Kink((0.0,), (np.inf,), "the tangent is vertical"),),
    samples=lambda: unary_samples(away_from_zero=True),
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
    numpy=(np.absolute,),
)


@answers(np.fabs, samples=lambda: unary_samples(away_from_zero=True), kinks=absolute.kinks)
def _fabs(x: Any) -> Any:
    return absolute(x if dtype_of(x).kind == "f" else astype(x, dtype=promote(np.fabs, [spec_of(x)])[0]))


@answers(np.float_power, samples=lambda: binary_samples(positive=True)[:4], kinks=power.kinks[:2])
def _float_power(x: Any, y: Any) -> Any:
    """The same as power, in float64 whatever the arguments are."""
    x, y = (v if dtype_of(v) == np.float64 else np.asarray(v, np.float64) if not isinstance(v, Traced) else
            astype(v, dtype=np.dtype(np.float64)) for v in (x, y))  # fmt: skip
    return power(x, y)


def _polynomials() -> list[Sample]:
    return [
        Sample((draw((4,), 1), draw((2, 3), 2)), note="a cubic"),
        Sample((draw((1,), 1), draw((3,), 2)), note="a constant"),
        Sample(([2, -1, 0.5], draw((3,), 2)), note="numbers as coefficients"),
        Sample((draw((3,), 1), 0.5), note="at one number"),
    ]


@answers(np.polyval, samples=_polynomials, source="Horner's rule, as in NumPy")
def _polyval(p: Any, x: Any) -> Any:
    value: Any = np.zeros_like(x)
    coefficients: Any = p if isinstance(p, Traced) else np.asarray(p)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


# ---- real numbers taken for complex ones ---------------------------------------------------------


@answers(np.positive, np.conjugate, samples=unary_samples)
def _positive(x: Any) -> Any:
    return identity(x)


@answers(np.real, samples=unary_samples)
def _real(val: Any) -> Any:
    return val  # of a real array the array itself, as in NumPy


@answers(np.real_if_close, samples=unary_samples)
def _real_if_close(a: Any, tol: float = 100) -> Any:
    return a


@answers(np.imag, samples=unary_samples)
def _imag(val: Any) -> Any:
    return np.zeros_like(val)
