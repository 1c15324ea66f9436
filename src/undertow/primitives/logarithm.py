"""Logarithms, and the logarithm of a sum of two exponentials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.graph import Spec, broadcast_shapes
from undertow.primitives.elementwise import elementwise
from undertow.primitives.exponential import as_float, sigmoid
from undertow.primitives.record import Kink, Primitive, Sample, Vjp, call, float_like, promote
from undertow.primitives.sampling import binary_samples, draw, unary_samples

_FALLS = "log falls to −∞ ever more steeply"


def _positive() -> list[Sample]:
    return unary_samples(positive=True)


log = elementwise(
    np.log,
    lambda ct, out, x: ct / x,
    text="log({0})",
    latex=r"\log({0})",
    flow=("{ct} / {0}",),
    latex_flow=(r"{ct} / {0}",),
    samples=_positive,
    kinks=(Kink((0.0,), (np.inf,), _FALLS),),
)

log2 = elementwise(
    np.log2,
    lambda ct, out, x: ct / (x * math.log(2)),
    text="log₂({0})",
    latex=r"\log_2({0})",
    flow=("{ct} / ({0} log 2)",),
    latex_flow=(r"{ct} / ({0} \log 2)",),
    samples=_positive,
    kinks=(Kink((0.0,), (np.inf,), _FALLS),),
)

log10 = elementwise(
    np.log10,
    lambda ct, out, x: ct / (x * math.log(10)),
    text="log₁₀({0})",
    latex=r"\log_{{10}}({0})",
    flow=("{ct} / ({0} log 10)",),
    latex_flow=(r"{ct} / ({0} \log 10)",),
    samples=_positive,
    kinks=(Kink((0.0,), (np.inf,), _FALLS),),
)

log1p = elementwise(
    np.log1p,
    lambda ct, out, x: ct / (1 + x),
    text="log(1 + {0})",
    latex=r"\log(1 + {0})",
    flow=("{ct} / (1 + {0})",),
    latex_flow=(r"{ct} / (1 + {0})",),
    samples=lambda: [*_positive(), Sample((np.array([-0.9, -0.3, 1e-8]),), note="beside 0 and above −1")],
    kinks=(Kink((-1.0,), (np.inf,), _FALLS),),
)


# ---- log of a sum of exponentials ----------------------------------------------------------------


def _share_of(x: Any, y: Any) -> Any:
    """σ(x − y), also where both are infinite: of two −∞ none has a share, two +∞ share evenly."""
    with np.errstate(invalid="ignore"):
        difference = as_float(np.subtract(x, y))
    same = np.logical_and(np.isinf(x), np.equal(x, y))
    part = sigmoid.forward(np.where(same, 0, difference))
    return np.where(np.logical_and(same, np.less(x, 0)), 0, part)[()]


def _infer_share(x: Spec, y: Spec) -> Spec:
    return Spec(broadcast_shapes(x.shape, y.shape), float_like(promote(np.add, (x, y))[0]))


share: Primitive = Primitive(
    name="share",
    forward=_share_of,
    infer=_infer_share,
    vjps=(
        lambda ct, out, x, y: ct * out * share(y, x),
        lambda ct, out, x, y: -(ct * out * share(y, x)),
    ),
    broadcasts=True,
    finite_slope=True,
    spell=call("share"),
    text="σ({0} − {1})",
    latex=r"\sigma({0} - {1})",
    flow=("{ct} ⊙ {out} ⊙ (1 − {out})", "−{ct} ⊙ {out} ⊙ (1 − {out})"),
    latex_flow=(r"{ct} \odot {out} \odot (1 - {out})", r"-{ct} \odot {out} \odot (1 - {out})"),
    helper='''def share(x, y):
    """exp(x) / (exp(x) + exp(y)); of two −∞ none has a share, two +∞ share evenly."""
    same = np.isinf(x) & np.equal(x, y)
    difference = np.where(same, 0, np.subtract(x, y))
    e = np.exp(-np.abs(difference))
    return np.where(same & np.less(x, 0), 0, np.where(difference < 0, e, 1) / (1 + e))''',
    samples=lambda: [
        *binary_samples(),
        Sample((np.array([1000.0, -40.0, -1000.0]), np.array([-1000.0, 40.0, -1001.0])), note="saturated"),
    ],
    kinks=(
        Kink((-np.inf, -np.inf), (0.0, 0.0), "none of two −∞ has a share"),
        Kink((-np.inf, 0.0), (0.0, 0.0), "saturated"),
    ),
)


def _part(x: Any, y: Any) -> Any:
    """The part of exp(x) + exp(y) that is exp(x); a sigmoid where the other one is exp(0)."""
    if isinstance(y, int | float) and y == 0:
        return sigmoid(x)
    return sigmoid(-y) if isinstance(x, int | float) and x == 0 else share(x, y)


def _part2(x: Any, y: Any) -> Any:
    return _part(x * math.log(2), y * math.log(2))


def _sum_of_exponentials(
    ufunc: np.ufunc, part: Vjp, text: str, latex: str, flow: tuple[str, str], latex_flow: tuple[str, str]
) -> Primitive:
    return elementwise(
        ufunc,
        lambda ct, out, x, y: ct * part(x, y),  # type: ignore[operator]
        lambda ct, out, x, y: ct * part(y, x),  # type: ignore[operator]
        finite_slope=True,
        text=text,
        latex=latex,
        flow=flow,
        latex_flow=latex_flow,
        samples=lambda: [
            *binary_samples(),
            Sample((0, draw((3,), 6)), note="a softplus"),
            Sample((np.array([0.0, -40.0, 30.0]), np.array([-40.0, -41.0, 30.5])), note="far apart, far from 0"),
        ],
        kinks=(
            Kink((-np.inf, -np.inf), (0.0, 0.0), "none of two −∞ has a share, as in logsumexp"),
            Kink((-np.inf, 1.0), (0.0, 1.0), "the finite one has it all"),
            Kink((np.inf, 1.0), (1.0, 0.0), "the infinite one has it all"),
            Kink((np.inf, np.inf), (0.5, 0.5), "two +∞ share evenly"),
        ),
    )


logaddexp = _sum_of_exponentials(
    np.logaddexp,
    _part,
    "log(exp({0}) + exp({1}))",
    r"\log(e^{{{0}}} + e^{{{1}}})",
    ("{ct} ⊙ σ({0} − {1})", "{ct} ⊙ σ({1} − {0})"),
    (r"{ct} \odot \sigma({0} - {1})", r"{ct} \odot \sigma({1} - {0})"),
)

logaddexp2 = _sum_of_exponentials(
    np.logaddexp2,
    _part2,
    "log₂(2 ^ {0} + 2 ^ {1})",
    r"\log_2(2^{{{0}}} + 2^{{{1}}})",
    ("{ct} ⊙ 2 ^ ({0} − {out})", "{ct} ⊙ 2 ^ ({1} − {out})"),
    (r"{ct} \odot 2^{{{0} - {out}}}", r"{ct} \odot 2^{{{1} - {out}}}"),
)
