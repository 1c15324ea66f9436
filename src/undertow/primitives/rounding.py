"""Rounding and signs: constant between jumps, so the derivative is zero, also at the jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.compare import keep
from undertow.primitives.elementwise import elementwise, steps
from undertow.primitives.record import ZERO, Code, Kink, Primitive, Sample, answers, dtype_of, refuse
from undertow.primitives.sampling import binary_samples, draw, unary_samples
from undertow.primitives.special import identity

_FLAT = "flat on both sides"


def _away() -> list[Sample]:
    """Samples away from zero."""
    return unary_samples(away_from_zero=True)


def between_jumps() -> list[Sample]:
    """Samples away from whole numbers and halves, which are where the functions jump."""
    return [Sample((np.asarray(np.floor(2 * s.args[0]) / 2 + 0.1),), note=s.note) for s in unary_samples()]


sign = steps(np.sign, "sign({0})", r"\operatorname{{sign}}({0})", samples=_away, kinks=(Kink((0.0,), (0.0,), _FLAT),))

_JUMPS = (Kink((2.0,), (0.0,), _FLAT), Kink((0.5,), (0.0,), _FLAT), Kink((0.0,), (0.0,), _FLAT))

floor = steps(np.floor, "⌊{0}⌋", r"\lfloor {0} \rfloor", samples=between_jumps, kinks=_JUMPS)
ceil = steps(np.ceil, "⌈{0}⌉", r"\lceil {0} \rceil", samples=between_jumps, kinks=_JUMPS)
rint = steps(np.rint, "round({0})", r"\operatorname{{round}}({0})", samples=between_jumps, kinks=_JUMPS)
trunc = steps(np.trunc, "trunc({0})", r"\operatorname{{trunc}}({0})", samples=between_jumps, kinks=_JUMPS)
spacing = steps(
    np.spacing, "spacing({0})", r"\operatorname{{spacing}}({0})", samples=between_jumps,
    kinks=(Kink((1.0,), (0.0,), _FLAT),),
)  # fmt: skip

round_ = Primitive(
    name="round",
    forward=lambda x, decimals: np.round(x, decimals),
    infer=lambda x, decimals: x if x.dtype.kind != "b" else Spec(x.shape, np.dtype(np.float16)),  # as np.rint
    vjps=(ZERO,),
    broadcasts=True,
    spell=lambda x, *, decimals, **_: Code(f"np.round({x.text}{f', {decimals}' if decimals else ''})"),
    text="round({0})",
    latex=r"\operatorname{{round}}({0})",
    samples=lambda: [Sample(s.args, {"decimals": d}, s.note) for s in between_jumps() for d in (0, 1, -1)],
    kinks=(Kink((0.5,), (0.0,), _FLAT, {"decimals": 0}), Kink((0.25,), (0.0,), _FLAT, {"decimals": 1})),
)


@answers(
    np.round,
    np.around,
    samples=lambda: [
        Sample((draw((2, 3), 1),)),
        Sample((draw((3,), 1), 2), note="two decimals"),
        Sample((100 * draw((3,), 1),), {"decimals": -1}, "tens"),
    ],
    kinks=(Kink((0.5,), (0.0,), _FLAT), Kink((0.25,), (0.0,), _FLAT, {"decimals": 1})),
)
def _round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    refuse("np.round", out=out)
    whole = dtype_of(a).kind in "iu" and decimals >= 0
    return identity(a) if whole else round_(a, decimals=int(decimals))


@answers(np.fix, samples=between_jumps, kinks=_JUMPS)
def _fix(x: Any, out: Any = None) -> Any:
    refuse("np.fix", out=out)
    return np.trunc(x)


# ---- two arguments -------------------------------------------------------------------------------

heaviside = elementwise(
    np.heaviside,
    ZERO,
    lambda ct, out, x, y: keep(x == 0, ct),
    text="step({0})",
    latex=r"H({0})",
    flow=("0", "{ct} where {0} = 0, else 0"),
    latex_flow=("0", r"{ct} \odot [{0} = 0]"),
    samples=lambda: [
        *binary_samples(away_from_zero=True),
        Sample((np.array([1, 0, -1]), draw((2, 3), 1)), note="zeros, where the second argument counts"),
    ],
    kinks=(Kink((0.0, 0.5), (0.0, 1.0), "flat on both sides of the jump, whose value is the second argument"),),
)

copysign = elementwise(
    np.copysign,
    lambda ct, out, x, y: ct * (np.sign(x) * np.sign(out)),
    ZERO,
    text="|{0}| sign({1})",
    latex=r"\lvert {0} \rvert \operatorname{{sign}}({1})",
    flow=("{ct} ⊙ sign({0}) ⊙ sign({1})", "0"),
    latex_flow=(r"{ct} \odot \operatorname{{sign}}({0}) \odot \operatorname{{sign}}({1})", "0"),
    samples=lambda: binary_samples(away_from_zero=True),
    kinks=(
        Kink((0.0, 1.0), (0.0, 0.0), "|x| at 0: the subgradient of least norm"),
        Kink((3.0, 0.0), (1.0, 0.0), "flat on both sides of the jump in the second argument"),
    ),
    finite_slope=True,
)

nextafter = elementwise(
    np.nextafter,
    lambda ct, out, x, y: ct,
    ZERO,
    text="{0}",
    latex="{0}",
    flow=("{ct}", "0"),
    latex_flow=("{ct}", "0"),
    samples=lambda: binary_samples(away_from_zero=True),
    kinks=(Kink((0.0, 0.0), (1.0, 0.0), "it differs from the first argument by a rounding error"),),
    finite_slope=True,
)
