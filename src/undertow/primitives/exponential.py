"""Exponentials and their kin: exp, exp2, expm1, tanh, the sigmoid and the softplus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.errors import DTypeError
from undertow.graph import Spec
from undertow.primitives.elementwise import elementwise, times
from undertow.primitives.record import Code, Primitive, Sample, call, float_like, infer_ufunc
from undertow.primitives.sampling import unary_samples

exp = Primitive(
    name="exp",
    forward=np.exp,
    infer=infer_ufunc(np.exp),
    vjps=(lambda ct, out, x: times(ct, out),),
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
    vjps=(lambda ct, out, x: ct * np.exp(x),),  # out + 1 would have lost the small exponentials
    broadcasts=True,
    spell=call("np.expm1"),
    text="(exp({0}) − 1)",
    latex=r"(e^{{{0}}} - 1)",
    flow=("{ct} ⊙ exp({0})",),
    latex_flow=(r"{ct} \odot e^{{{0}}}",),
    samples=unary_samples,
    numpy=(np.expm1,),
)

exp2 = elementwise(
    np.exp2,
    lambda ct, out, x: ct * (out * math.log(2)),
    text="2 ^ {0}",
    latex="2^{{{0}}}",
    flow=("{ct} ⊙ {out} ⊙ log 2",),
    latex_flow=(r"{ct} \odot {out} \log 2",),
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

# ---- stable functions without a NumPy name -------------------------------------------------------


def as_float(x: Any) -> Any:
    """Return an array of floats: those it holds, or float64 for integers.

    Raises:
        DTypeError: x is complex: a cast would silently lose the imaginary part, which a complex step looks at.
    """
    x = np.asarray(x)
    if x.dtype.kind == "c":
        raise DTypeError(f"x is {x.dtype} numbers. Give real numbers.")
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def infer_float(x: Spec, **_: Any) -> Spec:
    """Shape of the argument; its dtype if that is a float, else float64."""
    return Spec(x.shape, float_like(x.dtype), x.weak)


def _sigmoid(x: Any) -> Any:
    x = as_float(x)
    e = np.exp(-np.abs(x))  # never above 1, whatever the sign of x
    return np.where(x < 0, e, 1) / (1 + e)


def _softplus(x: Any) -> Any:
    if np.iscomplexobj(x):  # as a complex step gives it
        above = np.real(x) > 0
        return (np.log1p(np.exp(np.where(above, np.negative(x), x))) + np.where(above, x, 0))[()]
    return np.logaddexp(0, as_float(x))


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
    forward=_softplus,
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
