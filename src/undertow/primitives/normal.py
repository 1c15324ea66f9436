"""The normal distribution without SciPy: Φ(x), of which the exact GELU is made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import DTypeError
from undertow.primitives.exponential import as_float, infer_float
from undertow.primitives.record import Primitive, Sample, call
from undertow.primitives.sampling import unary_samples

# (1 + 2a) exp(a²) erfc(a) as a polynomial in (a − 3.75) / (a + 3.75), a ≥ 0, lowest power first: the interpolation
# polynomial at 49 Chebyshev points, computed with 60 digits, cut where its terms fall below 1e−16.
_CENTRE = 3.75
_TAIL = (
    1.2375126308378275, -0.14024059858554527, 0.0035854154854790135, 0.08227673848999613, -0.10880393014244381,
    0.09230432116426068, -0.0586933985766602, 0.028362277372295724, -0.009746579683219538, 0.0017556261642922425,
    0.00029371437805319724, -0.00029015534981230147, 5.164652911871372e-05, 2.238756088248257e-05,
    -1.1438045915975689e-05, -9.792570288093307e-07, 1.7419786847748448e-06, -5.084853439879991e-08,
    -2.485681212304738e-07, 1.8792337937679107e-08, 3.19777619377204e-08, -1.9553881971205297e-09,
    -2.622808165292879e-09,
)  # fmt: skip
_CHUNK = 4096  # elements that the first-level cache holds while the polynomial is computed


def _normal_cdf(x: Any) -> Any:
    if np.iscomplexobj(x):  # a cast would silently lose the imaginary part, which a complex step looks at
        raise DTypeError(f"normal_cdf: x is {np.asarray(x).dtype} numbers. Give real numbers.")
    x = as_float(x)
    flat = x.reshape(-1)
    out = np.empty_like(flat)
    for first in range(0, flat.size, _CHUNK):
        out[first : first + _CHUNK] = _by_polynomial(flat[first : first + _CHUNK].astype(np.float64))
    return out.reshape(x.shape)[()]


def _by_polynomial(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Φ by ½ erfc(|x|/√2): the left tail keeps its digits."""
    a = np.minimum(np.abs(x), 60.0) * math.sqrt(0.5)  # 0 in float64 long before; ∞ would be ∞/∞
    u = (a - _CENTRE) / (a + _CENTRE)
    total = np.full_like(u, _TAIL[-1])
    for coefficient in _TAIL[-2::-1]:
        total *= u
        total += coefficient
    tail = 0.5 * np.exp(-a * a) * total / (1 + 2 * a)
    return np.where(x < 0, tail, 1 - tail)


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
    source="derived here",
)
