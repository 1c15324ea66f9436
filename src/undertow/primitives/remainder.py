"""Quotients in whole numbers, their remainders, and a number taken apart: modf, frexp, ldexp."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.elementwise import elementwise
from undertow.primitives.record import (
    NO_GRADIENT,
    PRODUCT,
    ZERO,
    Code,
    Kink,
    Primitive,
    Sample,
    answers,
    dtype_of,
    infer_ufunc,
    infix,
    promote,
    spec_of,
)
from undertow.primitives.rounding import between_jumps
from undertow.primitives.sampling import binary_samples, draw, unary_samples
from undertow.primitives.shape import astype

_AT_A_MULTIPLE = "between its jumps it is x − n y; n is the quotient at the jump itself"


def _samples() -> list[Sample]:
    return [
        *binary_samples(away_from_zero=True),
        Sample((np.array([5.3, -5.3, 5.3, -5.3]), np.array([2.0, 2.0, -2.0, -2.0])), note="all signs"),
    ]


floor_divide = elementwise(
    np.floor_divide,
    ZERO,
    ZERO,
    spell=infix("//", PRODUCT),
    text="⌊{0} / {1}⌋",
    latex=r"\lfloor {0} / {1} \rfloor",
    samples=_samples,
    kinks=(Kink((4.0, 2.0), (0.0, 0.0), "flat on both sides"),),
)

remainder = elementwise(
    np.remainder,
    lambda ct, out, x, y: ct,
    lambda ct, out, x, y: -(ct * np.floor_divide(x, y)),
    spell=infix("%", PRODUCT),
    text="{0} mod {1}",
    latex=r"{0} \bmod {1}",
    flow=("{ct}", "−{ct} ⊙ ⌊{0} / {1}⌋"),
    latex_flow=("{ct}", r"-{ct} \odot \lfloor {0} / {1} \rfloor"),
    samples=_samples,
    kinks=(Kink((4.0, 2.0), (1.0, -2.0), _AT_A_MULTIPLE), Kink((0.0, 2.0), (1.0, 0.0), _AT_A_MULTIPLE)),
)

fmod = elementwise(
    np.fmod,
    lambda ct, out, x, y: ct,
    lambda ct, out, x, y: -(ct * np.rint((x - out) / y)),  # the quotient itself may round up to the next whole number
    text="{0} mod {1}",
    latex=r"{0} \bmod {1}",
    flow=("{ct}", "−{ct} ⊙ trunc({0} / {1})"),
    latex_flow=("{ct}", r"-{ct} \odot \operatorname{{trunc}}({0} / {1})"),
    samples=_samples,
    kinks=(Kink((4.0, 2.0), (1.0, -2.0), _AT_A_MULTIPLE), Kink((-4.0, 2.0), (1.0, 2.0), _AT_A_MULTIPLE)),
)


@answers(np.divmod, samples=_samples, kinks=())
def _divmod(x: Any, y: Any) -> Any:
    return np.floor_divide(x, y), np.remainder(x, y)


# ---- parts of a number ---------------------------------------------------------------------------

fraction = Primitive(
    name="fraction",
    forward=lambda x: np.modf(x)[0],
    infer=infer_ufunc(np.modf),
    vjps=(lambda ct, out, x: ct,),
    broadcasts=True,
    finite_slope=True,
    spell=lambda x, **_: Code(f"np.modf({x.text})[0]"),
    text="fraction({0})",
    latex=r"\operatorname{{fraction}}({0})",
    flow=("{ct}",),
    latex_flow=("{ct}",),
    samples=between_jumps,
    kinks=(Kink((2.0,), (1.0,), "1 on both sides of the jump"),),
)


@answers(np.modf, samples=between_jumps)
def _modf(x: Any) -> Any:
    if dtype_of(x).kind != "f":
        x = astype(x, dtype=promote(np.modf, [spec_of(x)])[0])  # np.trunc keeps whole numbers, np.modf does not
    return fraction(x), np.trunc(x)


ldexp = elementwise(
    np.ldexp,
    lambda ct, out, x, n: np.ldexp(ct, n),
    NO_GRADIENT,
    text="{0} ⊙ 2 ^ {1}",
    latex=r"{0} \odot 2^{{{1}}}",
    flow=("{ct} ⊙ 2 ^ {1}", ""),
    latex_flow=(r"{ct} \odot 2^{{{1}}}", ""),
    samples=lambda: [
        Sample((draw((3,), 1), 2), note="a number"),
        Sample((draw((2, 3), 1), np.array([0, -1, 3])), note="a matrix and a row"),
        Sample((np.array(0.3), np.array([[1], [-2]])), note="the exponents are larger"),
    ],
)

exponent = Primitive(
    name="exponent",
    forward=lambda x: np.frexp(x)[1],
    infer=infer_ufunc(np.frexp),
    vjps=(NO_GRADIENT,),
    broadcasts=True,
    spell=lambda x, **_: Code(f"np.frexp({x.text})[1]"),
    text="exponent({0})",
    latex=r"\operatorname{{exponent}}({0})",
    samples=unary_samples,
)

mantissa = Primitive(
    name="mantissa",
    forward=lambda x: np.frexp(x)[0],
    infer=lambda x: Spec(x.shape, promote(np.modf, [x])[0]),  # a float, also of a whole number
    vjps=(lambda ct, out, x: np.ldexp(ct, -exponent(x)),),
    broadcasts=True,
    spell=lambda x, **_: Code(f"np.frexp({x.text})[0]"),
    text="mantissa({0})",
    latex=r"\operatorname{{mantissa}}({0})",
    flow=("{ct} / 2 ^ exponent({0})",),
    latex_flow=(r"{ct} / 2^{{\operatorname{{exponent}}({0})}}",),
    samples=unary_samples,
    kinks=(Kink((2.0,), (0.25,), "the slope to the right of the jump"), Kink((0.0,), (1.0,), "0 has the exponent 0")),
)


@answers(np.frexp, samples=unary_samples)
def _frexp(x: Any) -> Any:
    return mantissa(x), exponent(x)
