"""The normal distribution without SciPy: Φ(x), of which the exact GELU is made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.errors import DTypeError
from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import Primitive, Sample, call
from undertow.primitives.sampling import unary_samples

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_cdf(x: Any) -> Any:
    if np.iscomplexobj(x):  # a cast would silently lose the imaginary part, which a complex step looks at
        raise DTypeError(f"normal_cdf: x is {np.asarray(x).dtype} numbers. Give real numbers.")
    x = as_float(x)
    # In float64 and by erfc: neither the dtype nor 1 + erf loses the digits of the left tail.
    return (0.5 * _erfc(x.astype(np.float64) * -math.sqrt(0.5))).astype(x.dtype)[()]


def _slope(ct: Any, out: Any, x: Any) -> Any:
    return ct * (np.exp(-0.5 * np.square(x)) * (1 / math.sqrt(2 * math.pi)))


normal_cdf = Primitive(
    name="normal_cdf",
    forward=_normal_cdf,
    infer=infer_float,
    vjps=(_slope,),
    broadcasts=True,
    finite_slope=True,
    spell=call("normal_cdf"),
    text="Φ({0})",
    latex=r"\Phi({0})",
    flow=("{ct} ⊙ φ({0})",),
    latex_flow=(r"{ct} \odot \varphi({0})",),
    helper='''def normal_cdf(x):
    """The probability that a standard normal number is below x, by erfc: the left tail keeps its digits."""
    from math import erfc

    x = np.asarray(x)
    return (0.5 * np.vectorize(erfc, otypes=[np.float64])(x.astype(np.float64) * -np.sqrt(0.5))).astype(x.dtype)''',
    samples=lambda: [*unary_samples(), Sample((np.array([-30.0, -5.0, 5.0, 30.0]),), note="tails")],
    source="DLMF 7.17",
)
