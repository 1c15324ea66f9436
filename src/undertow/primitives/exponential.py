"""Exponentials and their kin: exp, log, tanh, sine and cosine, the sigmoid and the softplus."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.graph import Spec
from undertow.primitives.record import Code, Kink, Primitive, Sample, call, float_like, infer_ufunc
from undertow.primitives.sampling import binary_samples, draw, unary_samples

exp = Primitive(
    name="exp",
    forward=np.exp,
    infer=infer_ufunc(np.exp),
    vjps=(lambda ct, out, x: ct * out,),
    broadcasts=True,
    spell=call("np.exp"),
    text="exp({0})",
    latex="e^{{{0}}}",
    flow=("{ct} ⊙ {out}",),
    latex_flow=(r"{ct} \odot {out}",),
    samples=unary_samples,
    numpy=(np.exp,),
)

expm1 = Primitive(
    name="expm1",
    forward=np.expm1,
    infer=infer_ufunc(np.expm1),
    vjps=(lambda ct, out, x: ct * (out + 1),),
    broadcasts=True,
    spell=call("np.expm1"),
    text="(exp({0}) − 1)",
    latex=r"(e^{{{0}}} - 1)",
    flow=("{ct} ⊙ ({out} + 1)",),
    latex_flow=(r"{ct} \odot ({out} + 1)",),
    samples=unary_samples,
    numpy=(np.expm1,),
)

log = Primitive(
    name="log",
    forward=np.log,
    infer=infer_ufunc(np.log),
    vjps=(lambda ct, out, x: ct / x,),
    broadcasts=True,
    spell=call("np.log"),
    text="log({0})",
    latex=r"\log({0})",
    flow=("{ct} / {0}",),
    latex_flow=(r"{ct} / {0}",),
    kinks=(Kink((0.0,), (np.inf,), "log falls to −∞ ever more steeply"),),
    samples=lambda: unary_samples(positive=True),
    numpy=(np.log,),
)

log1p = Primitive(
    name="log1p",
    forward=np.log1p,
    infer=infer_ufunc(np.log1p),
    vjps=(lambda ct, out, x: ct / (1 + x),),
    broadcasts=True,
    spell=call("np.log1p"),
    text="log(1 + {0})",
    latex=r"\log(1 + {0})",
    flow=("{ct} / (1 + {0})",),
    latex_flow=(r"{ct} / (1 + {0})",),
    kinks=(Kink((-1.0,), (np.inf,), "log falls to −∞ ever more steeply"),),
    samples=lambda: [
        *unary_samples(positive=True),
        Sample((np.array([-0.9, -0.3, 1e-8]),), note="beside 0 and above −1"),
    ],
    numpy=(np.log1p,),
)

tanh = Primitive(
    name="tanh",
    forward=np.tanh,
    infer=infer_ufunc(np.tanh),
    vjps=(lambda ct, out, x: ct * (1 - out**2),),
    broadcasts=True,
    finite_slope=True,
    spell=call("np.tanh"),
    text="tanh({0})",
    latex=r"\tanh({0})",
    flow=("{ct} ⊙ (1 − {out}²)",),
    latex_flow=(r"{ct} \odot (1 - {out}^2)",),
    samples=unary_samples,
    numpy=(np.tanh,),
)

sin = Primitive(
    name="sin",
    forward=np.sin,
    infer=infer_ufunc(np.sin),
    vjps=(lambda ct, out, x: ct * np.cos(x),),
    broadcasts=True,
    spell=call("np.sin"),
    text="sin({0})",
    latex=r"\sin({0})",
    flow=("{ct} ⊙ cos({0})",),
    latex_flow=(r"{ct} \odot \cos({0})",),
    samples=unary_samples,
    numpy=(np.sin,),
)

cos = Primitive(
    name="cos",
    forward=np.cos,
    infer=infer_ufunc(np.cos),
    vjps=(lambda ct, out, x: -(ct * np.sin(x)),),
    broadcasts=True,
    spell=call("np.cos"),
    text="cos({0})",
    latex=r"\cos({0})",
    flow=("−{ct} ⊙ sin({0})",),
    latex_flow=(r"-{ct} \odot \sin({0})",),
    samples=unary_samples,
    numpy=(np.cos,),
)


# ---- stable functions without a NumPy name -------------------------------------------------------


def as_float(x: Any) -> Any:
    """Return an array of floats: those it holds, or float64 for integers."""
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def infer_float(x: Spec, **_: Any) -> Spec:
    """Shape of the argument; its dtype if that is a float, else float64."""
    return Spec(x.shape, float_like(x.dtype), x.weak)


def _sigmoid(x: Any) -> Any:
    x = as_float(x)
    e = np.exp(-np.abs(x))  # never above 1, whatever the sign of x
    return np.where(x < 0, e, 1) / (1 + e)


sigmoid = Primitive(
    name="sigmoid",
    forward=_sigmoid,
    infer=infer_float,
    vjps=(lambda ct, out, x: ct * out * (1 - out),),
    broadcasts=True,
    finite_slope=True,
    spell=call("sigmoid"),
    text="σ({0})",
    latex=r"\sigma({0})",
    flow=("{ct} ⊙ {out} ⊙ (1 − {out})",),
    latex_flow=(r"{ct} \odot {out} \odot (1 - {out})",),
    helper='''def sigmoid(x):
    """1 / (1 + exp(−x)), by the exponential that cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)''',
    samples=lambda: [*unary_samples(), Sample((np.array([-1000.0, -40.0, 40.0, 1000.0]),), note="saturated")],
)

softplus = Primitive(
    name="softplus",
    forward=lambda x: np.logaddexp(0, as_float(x)),
    infer=infer_float,
    vjps=(lambda ct, out, x: ct * sigmoid(x),),
    broadcasts=True,
    finite_slope=True,
    spell=lambda x, **_: Code(f"np.logaddexp(0, {x.text})"),
    text="log(1 + exp({0}))",
    latex=r"\log(1 + e^{{{0}}})",
    flow=("{ct} ⊙ σ({0})",),
    latex_flow=(r"{ct} \odot \sigma({0})",),
    samples=lambda: [*unary_samples(), Sample((np.array([-1000.0, -40.0, 40.0, 1000.0]),), note="saturated")],
)


def _share(x: Any, y: Any) -> Any:
    """The part of exp(x) + exp(y) that is exp(x): σ(x − y), which no size of x and y overflows."""
    if isinstance(y, int | float) and y == 0:
        return sigmoid(x)
    return sigmoid(-y if isinstance(x, int | float) and x == 0 else x - y)


logaddexp = Primitive(
    name="logaddexp",
    forward=np.logaddexp,
    infer=infer_ufunc(np.logaddexp),
    vjps=(lambda ct, out, x, y: ct * _share(x, y), lambda ct, out, x, y: ct * _share(y, x)),
    broadcasts=True,
    finite_slope=True,
    spell=call("np.logaddexp"),
    text="log(exp({0}) + exp({1}))",
    latex=r"\log(e^{{{0}}} + e^{{{1}}})",
    flow=("{ct} ⊙ σ({0} − {1})", "{ct} ⊙ σ({1} − {0})"),
    latex_flow=(r"{ct} \odot \sigma({0} - {1})", r"{ct} \odot \sigma({1} - {0})"),
    samples=lambda: [*binary_samples(), Sample((0, draw((3,), 6)), note="a softplus")],
    numpy=(np.logaddexp,),
)
