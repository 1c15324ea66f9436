"""What wide layers of random weights do to signals and gradients, on average: mean-field theory.

Many inputs with independent weights of mean 0 make every pre-activation z normal. Its mean square q, and the
mean product of z for two examples, then follow from layer to layer by integrals over normal numbers:

- forward: q' = σ_w² E[φ(z)²] + σ_b² with z of mean square q, where σ_w² = fan_in · Var(W) and σ_b² = Var(b);
- backward: the mean square of δ = ∂L/∂z is multiplied by χ = σ_w² E[φ'(z)²] on its way through a layer.

Sources: Poole et al., Exponential expressivity in deep neural networks through transient chaos, NIPS 2016;
Schoenholz et al., Deep information propagation, ICLR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.derivatives import vjp
from undertow.errors import ArgumentError, UndertowError
from undertow.nn.activations import find_activation

Array = NDArray[np.float64]
Activation = Callable[[Any], Any]

NODES: Final = 1024
FINEST: Final = 1e-3  # the places lie closest around 0, where activations have their corners
FARTHEST: Final = 9.0
TERMS: Final = 32
SMALLEST, LARGEST = 1e-12, 1e12  # beyond these a mean square has become 0, or has no bound


class Places(NamedTuple):
    """Where functions of a standard normal number are looked at.

    Attributes:
        z: (n,), symmetric about 0, which is not among them.
        weights: (n,), of sum 1.
        hermite: (n, terms), weights times the polynomials that are orthonormal under them.
    """

    z: Array
    weights: Array
    hermite: Array


@lru_cache(maxsize=1)
def normal_places() -> Places:
    """Choose where to look at functions of a standard normal number.

    Midpoints, evenly spaced in t, of z = sinh(t) / 1000: they converge as fast as Gauss and Hermite's for smooth
    functions, faster for those with corners, and still see what happens within a thousandth of 0.

    Returns:
        Places and weights.

    Source: derived here; Trefethen and Weideman, The exponentially convergent trapezoidal rule, SIAM Review 2014.

    Example:
        >>> z, weights, hermite = normal_places()
        >>> round(float(weights @ z**4), 9)
        3.0
    """
    end = math.asinh(FARTHEST / FINEST)
    t = (np.arange(NODES) + 0.5) * (2 * end / NODES) - end
    z = FINEST * np.sinh(t)
    weights = np.exp(-0.5 * z * z) * np.cosh(t)
    weights /= weights.sum()
    columns = [np.ones_like(z), z]
    for k in range(1, TERMS - 1):
        columns.append((z * columns[k] - math.sqrt(k) * columns[k - 1]) / math.sqrt(k + 1))
    return Places(z, weights, np.stack(columns, axis=1) * weights[:, None])


def slope(activation: Activation, z: Array) -> Array:
    """Compute φ'(z), by tracing φ.

    Args:
        activation: φ, of each number by itself.
        z: float64, any shape.

    Returns:
        The derivatives, of the shape of z.

    Source: derived here: the cotangent 1 for every number.

    Example:
        >>> slope(np.tanh, np.array([0.0])), slope(lambda z: 3.0, np.array([0.0]))
        (array([1.]), array([0.]))
    """
    h, back = vjp(activation, z)
    found = np.asarray(back(np.ones(np.shape(h)))[0], dtype=np.float64)
    return np.broadcast_to(found, np.shape(z))


def is_elementwise(function: Any) -> bool:
    """Tell whether a function makes each number of that number alone, and can be traced.

    Args:
        function: anything.

    Returns:
        False for softmax, which looks at whole rows, and for what cannot be applied to a column and a row of numbers.

    Source: derived here.

    Example:
        >>> from undertow.nn import softmax
        >>> is_elementwise(np.tanh), is_elementwise(softmax), is_elementwise(lambda h: h - h.mean())
        (True, False, False)
    """
    z = np.linspace(-2.0, 3.0, 11)
    try:
        with np.errstate(all="ignore"):
            whole, one = np.asarray(function(z[:, None])), np.asarray(function(z[None, :]))
            parts = np.concatenate([np.asarray(function(x.reshape(1, 1))) for x in z])
            slope(function, z[:, None])
    except (UndertowError, ArithmeticError, AttributeError, IndexError, TypeError, ValueError):
        return False
    same = whole.shape == parts.shape == (11, 1) and one.shape == (1, 11)
    return same and np.allclose(whole, parts, equal_nan=True) and np.allclose(one.T, parts, equal_nan=True)


@dataclass(frozen=True)
class Moments:
    """Averages of φ(z) over normal z, for several examples.

    Attributes:
        square: E[φ(z)²], (m,).
        slope: E[φ'(z)²], (m,).
        terms: (m, k): how much φ has of each Hermite polynomial; the first is E[φ(z)].
        rest: (2, m): what the even and the odd polynomials beyond those add to the mean square.
    """

    square: Array
    slope: Array
    terms: Array
    rest: Array

    @property
    def mean(self) -> Array:
        """E[φ(z)], (m,)."""
        return self.terms[:, 0]

    def products(self, correlation: Array) -> Array:
        """Compute E[φ(z_a) φ(z_b)] for each pair of examples.

        Args:
            correlation: of z_a and z_b, (m, m).

        Returns:
            (m, m).
        """
        c = np.clip(correlation, -1.0, 1.0)
        found = np.zeros_like(c)
        roots = np.sqrt(self.rest)
        terms = [*self.terms.T, *roots]
        for term in reversed(terms):  # Σ a_k b_k c^k, by Horner's rule
            found = found * c + np.outer(term, term)
        return found


def moments(activation: Activation, q: ArrayLike, mean: ArrayLike = 0.0) -> Moments:
    """Average an activation and its slope over normal z.

    Args:
        activation: φ, of each number by itself.
        q: the variance of z, for each example (m,) or one number.
        mean: of z.

    Returns:
        The averages.

    Source: Poole et al. 2016, eq. 3 and 5; products of two examples by Mehler's formula, as in Daniely et al.,
        Toward deeper understanding of neural networks, NIPS 2016, section 4.

    Example:
        >>> found = moments(lambda z: np.maximum(z, 0), 4.0)
        >>> found.square.round(3), found.slope.round(3)
        (array([2.]), array([0.5]))
    """
    z = _normal(q, mean)
    with np.errstate(all="ignore"):
        h = np.broadcast_to(np.asarray(activation(z), np.float64), z.shape)
        return _average(h, slope(activation, z))


def _normal(q: ArrayLike, mean: ArrayLike = 0.0) -> Array:
    """Normal numbers of these variances and means, (m, places)."""
    deviation = np.sqrt(np.atleast_1d(np.asarray(q, np.float64)))[:, None]
    return deviation * normal_places().z + np.atleast_1d(np.asarray(mean, np.float64))[:, None]


def _average(h: Array, slopes: Array) -> Moments:
    """The averages of values (m, places) and of their slopes."""
    _, weights, hermite = normal_places()
    terms = h @ hermite
    even, odd = (h + h[:, ::-1]) / 2, (h - h[:, ::-1]) / 2
    rest = [part**2 @ weights - (terms[:, i::2] ** 2).sum(axis=1) for i, part in enumerate((even, odd))]
    return Moments(h**2 @ weights, slopes**2 @ weights, terms, np.maximum(np.stack(rest), 0.0))


def forward_variance(activation: str | Activation, q: float, sigma_w2: float, sigma_b2: float = 0.0) -> float:
    """Compute the mean square of z one layer on: σ_w² E[φ(z)²] + σ_b².

    Args:
        activation: φ or its name.
        q: the mean square of z in this layer.
        sigma_w2: fan_in times the variance of the weights.
        sigma_b2: the variance of the biases.

    Returns:
        The mean square of z in the next layer.

    Source: Poole et al. 2016, eq. 3.

    Example:
        >>> round(forward_variance("relu", 1.0, 2.0), 6), round(forward_variance("relu", 1.0, 1.0), 6)
        (1.0, 0.5)
    """
    return sigma_w2 * float(moments(read_activation(activation), q).square[0]) + sigma_b2


def backward_factor(activation: str | Activation, q: float, sigma_w2: float) -> float:
    """Compute χ = σ_w² E[φ'(z)²], by which a layer multiplies the mean square of δ on its way back.

    Args:
        activation: φ or its name.
        q: the mean square of z.
        sigma_w2: fan_in times the variance of the weights.

    Returns:
        χ: below 1 the gradient vanishes with depth, above 1 it explodes.

    Source: Schoenholz et al. 2017, eq. 4 and 8.

    Example:
        >>> round(backward_factor("relu", 1.0, 2.0), 6), backward_factor("sigmoid", 1.0, 1.0) < 1 / 16
        (1.0, True)
    """
    return sigma_w2 * float(moments(read_activation(activation), q).slope[0])


def correlation_map(
    activation: str | Activation, c: float, q: float, sigma_w2: float, sigma_b2: float = 0.0
) -> float:
    """Compute the correlation of two examples one layer on, both of mean square q.

    Args:
        activation: φ or its name.
        c: their correlation in this layer, −1 to 1.
        q: the mean square of z, of both.
        sigma_w2: fan_in times the variance of the weights.
        sigma_b2: the variance of the biases.

    Returns:
        The correlation in the next layer.

    Source: Poole et al. 2016, eq. 5.

    Example:
        >>> round(correlation_map("relu", 0.0, 1.0, 2.0), 4)  # 1/π
        0.3183
    """
    found = moments(read_activation(activation), q)
    product = sigma_w2 * float(found.products(np.full((1, 1), c))[0, 0]) + sigma_b2
    return product / (sigma_w2 * float(found.square[0]) + sigma_b2)


@dataclass(frozen=True)
class FixedPoint:
    """Where signals end up in a network of many equal layers.

    Attributes:
        q: the mean square of z; 0 where it vanishes, infinite where it grows without bound.
        chi: χ there.
        c: the correlation that two examples tend to; NaN where q is 0 or infinite.
        chi_c: by which a small difference from that correlation is multiplied in a layer.
        xi: −1/ln χ, layers in which the mean square of the gradient falls by e; negative where it grows.
        xi_c: −1/ln chi_c, layers in which correlations forget the input.
    """

    q: float
    chi: float
    c: float
    chi_c: float
    xi: float
    xi_c: float


def fixed_point(activation: str | Activation, sigma_w2: float, sigma_b2: float = 0.0) -> FixedPoint:
    """Find where the signals of a deep network of equal layers end up, starting from mean square 1.

    Args:
        activation: φ or its name.
        sigma_w2: fan_in times the variance of the weights.
        sigma_b2: the variance of the biases.

    Returns:
        Mean square, correlation and their depth scales.

    Source: Poole et al. 2016, section 2; Schoenholz et al. 2017, eq. 7 to 9.

    Example:
        >>> found = fixed_point("selu", 1.0)
        >>> round(found.q, 4), round(found.chi, 2)
        (1.0, 1.07)
    """
    phi = read_activation(activation)
    q = _fixed_variance(phi, sigma_w2, sigma_b2)
    chi = _chi_at_end(phi, sigma_w2, sigma_b2)
    if not 0 < q < math.inf:
        return FixedPoint(q, chi, math.nan, math.nan, depth_scale(chi), math.nan)
    c = 1.0
    if chi > 1 + 1e-6:  # two equal examples move apart
        low, high = 0.0, 1.0 - 1e-9
        for _ in range(50):
            middle = (low + high) / 2
            apart = correlation_map(phi, middle, q, sigma_w2, sigma_b2) < middle
            low, high = (low, middle) if apart else (middle, high)
        c = round((low + high) / 2, 9)
    slopes = slope(phi, _normal(q))
    chi_c = chi if c == 1 else sigma_w2 * float(_average(slopes, slopes).products(np.full((1, 1), c))[0, 0])
    return FixedPoint(q, chi, c, chi_c, depth_scale(chi), depth_scale(chi_c))


def _fixed_variance(phi: Activation, sigma_w2: float, sigma_b2: float) -> float:
    """The fixed point of the mean square that is reached from 1."""

    def rises(q: float) -> bool:
        return forward_variance(phi, q, sigma_w2, sigma_b2) > q

    first = forward_variance(phi, 1.0, sigma_w2, sigma_b2)
    if not math.isfinite(first) or abs(first - 1) < 1e-9:
        return first if not math.isfinite(first) else 1.0
    up = first > 1
    inner = 1.0
    while SMALLEST < inner < LARGEST:
        outer = inner * 1.5 if up else inner / 1.5
        if rises(outer) != up:
            low, high = sorted((inner, outer))
            for _ in range(40):
                middle = math.sqrt(low * high)
                low, high = (middle, high) if rises(middle) else (low, middle)
            return math.sqrt(low * high)
        inner = outer
    return math.inf if up else 0.0


def depth_scale(chi: float) -> float:
    """Compute ξ = −1/ln χ: over how many layers a mean square falls by the factor e.

    Args:
        chi: the factor of one layer, 0 or more.

    Returns:
        ξ; infinite for χ = 1, negative where it grows instead, NaN for NaN.

    Source: Schoenholz et al. 2017, eq. 7 and 9.

    Example:
        >>> round(depth_scale(0.25), 3), depth_scale(1.0), depth_scale(0.0)
        (0.721, inf, 0.0)
    """
    if not chi > 0 or math.isinf(chi):
        return math.nan if math.isnan(chi) else 0.0
    return math.inf if abs(chi - 1) < 1e-6 else -1 / math.log(chi)


def critical_variance(activation: str | Activation, sigma_b2: float = 0.0) -> float | None:
    """Find σ_w² for which χ = 1 at the fixed point: the edge between vanishing and exploding gradients.

    Args:
        activation: φ or its name.
        sigma_b2: the variance of the biases.

    Returns:
        σ_w², or None if there is none from 0.01 to 1000.

    Source: Schoenholz et al. 2017, section 3.

    Example:
        >>> round(critical_variance("relu"), 3), round(critical_variance("tanh"), 3)
        (2.0, 1.0)
    """
    phi = read_activation(activation)
    low, high = 1e-2, 1e3
    if _chi_at_end(phi, low, sigma_b2) >= 1 or _chi_at_end(phi, high, sigma_b2) <= 1:
        return None
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _chi_at_end(phi, middle, sigma_b2) < 1 else (low, middle)
    return math.sqrt(low * high)


def _chi_at_end(phi: Activation, sigma_w2: float, sigma_b2: float) -> float:
    """χ at the fixed point; the mean square stays within what numbers can hold."""
    q = min(max(_fixed_variance(phi, sigma_w2, sigma_b2), SMALLEST), LARGEST)
    return backward_factor(phi, q, sigma_w2)


def read_activation(activation: str | Activation) -> Activation:
    """Read an activation or its name, which must be a function of each number by itself.

    Args:
        activation: ``"tanh"``, or a function.

    Returns:
        The function.

    Raises:
        ArgumentError: ``mean-field theory needs a function of each number by itself, and softmax is none. …``

    Source: derived here.

    Example:
        >>> read_activation(np.tanh) is np.tanh
        True
    """
    phi = find_activation(activation) if isinstance(activation, str) else activation
    if activation in ("softmax", "log_softmax") or not callable(phi):
        raise ArgumentError(
            f"mean-field theory needs a function of each number by itself, and {activation!r} is none. Give the "
            "activation of the hidden layers."
        )
    return phi
