"""Averages of activations over normal numbers, for one example and for two: what mean-field theory is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.derivatives import vjp
from undertow.errors import UndertowError

Array = NDArray[np.float64]
Activation = Callable[[Any], Any]

NODES: Final = 1024
FINEST: Final = 1e-3  # the places lie closest around 0, where activations have their corners
FARTHEST: Final = 9.0
TERMS: Final = 32
TAIL_NODES: Final = 24
TAIL_END: Final = 20.0  # polynomials beyond, up to degree 31.5 e^20, matter to pairs that are closer than any float32


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
        degree: Σ k a_k² over all degrees k, which is q E[φ'(z)²], (m,); NaN where that is not known.
    """

    square: Array
    slope: Array
    terms: Array
    rest: Array
    degree: Array

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
        for term in reversed(self.terms.T):  # Σ a_k b_k c^k, by Horner's rule
            found = found * c + np.outer(term, term)
        even, odd = (np.outer(root, root) for root in np.sqrt(self.rest))
        return found + self._tail(np.abs(c)) * (even + np.sign(c) * odd)

    def _tail(self, c: Array) -> Array:
        """Σ a_k² c^k over the degrees beyond, by its value for c = 1.

        The squares are taken to fall as k⁻ᵖ, as those of a function with a corner (p = 5/2) or a jump (3/2) do. p is
        the one with which they add up to the slope at c = 1, or else as the last degrees that are known fall. Cut off
        at some degree, deep networks of relu would seem to make examples alike geometrically, where they do so as 1/l².
        """
        n = self.terms.shape[1]
        squares, rest, start = (self.terms**2).sum(axis=0), float(self.rest.sum()), n - 0.5
        if rest <= 1e-12 * float(self.square.sum()):
            return c**n
        steepness = (float(self.degree.sum()) - float(squares @ np.arange(n))) / (start * rest)
        p = 1 + math.log2(1 + squares[n // 2 :].sum() / rest)
        if steepness > 1:
            p = (2 * steepness - 1) / (steepness - 1)
        nodes, weights = np.polynomial.legendre.leggauss(TAIL_NODES)
        logarithms = (nodes + 1) * TAIL_END / 2
        weights = weights * np.exp(-(p - 1) * logarithms)
        found, size = np.zeros_like(c), np.log(np.maximum(c, 1e-300))
        for degree, weight in zip(start * np.exp(logarithms), weights / weights.sum(), strict=True):
            found += weight * np.exp(degree * size)
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
    z = normal_numbers(q, mean)
    with np.errstate(all="ignore"):
        h = np.broadcast_to(np.asarray(activation(z), np.float64), z.shape)
        return average(h, slope(activation, z), q)


def passed_along(activation: Activation, q: ArrayLike, mean: ArrayLike = 0.0) -> tuple[Array, Array]:
    """Average what an activation makes of a gradient that lies along its values.

    Args:
        activation: φ, of each number by itself.
        q: the variance of z, for each example (m,) or one number.
        mean: of z.

    Returns:
        E[φ'² φ²] / E[φ²], of its square, and E[z φ' φ] / E[φ²], of its product with z; 0 where φ is 0.

    Source: derived here; for φ of degree 1 the second is Euler's theorem on homogeneous functions.

    Example:
        >>> [x.round(6).tolist() for x in passed_along(lambda z: np.maximum(z, 0), 4.0)]
        [[1.0], [1.0]]
    """
    z, weights = normal_numbers(q, mean), normal_places().weights
    with np.errstate(all="ignore"):
        h, slopes = np.broadcast_to(np.asarray(activation(z), np.float64), z.shape), slope(activation, z)
        size = h**2 @ weights
        size = np.where(size > 0, size, math.inf)
        return (slopes * h) ** 2 @ weights / size, (z * slopes * h) @ weights / size


def normal_numbers(q: ArrayLike, mean: ArrayLike = 0.0) -> Array:
    """Give normal numbers of these variances and means.

    Args:
        q: variances, (m,) or one number.
        mean: means, (m,) or one number.

    Returns:
        (m, places), which count by the weights of `normal_places`.

    Source: derived here.

    Example:
        >>> normal_numbers([1.0, 4.0]).shape
        (2, 1024)
    """
    deviation = np.sqrt(np.atleast_1d(np.asarray(q, np.float64)))[:, None]
    return deviation * normal_places().z + np.atleast_1d(np.asarray(mean, np.float64))[:, None]


def average(h: Array, slopes: Array, q: ArrayLike = math.nan) -> Moments:
    """Average values and slopes over normal numbers.

    Args:
        h: φ(z) for `normal_numbers`, (m, places).
        slopes: φ'(z), of the same shape.
        q: the variance of z, for each example (m,) or one number; NaN where it is not known.

    Returns:
        The averages.

    Source: as `moments`.

    Example:
        >>> z = normal_numbers(4.0)
        >>> average(z, np.ones_like(z)).square.round(6)
        array([4.])
    """
    _, weights, hermite = normal_places()
    terms = h @ hermite
    square, mirrored = h**2 @ weights, (h * h[:, ::-1]) @ weights
    even, odd = (square + mirrored) / 2, (square - mirrored) / 2
    rest = np.stack([part - (terms[:, i::2] ** 2).sum(axis=1) for i, part in enumerate((even, odd))])
    steepness = slopes**2 @ weights
    return Moments(square, steepness, terms, np.maximum(rest, 0.0), np.asarray(q, np.float64) * steepness)
