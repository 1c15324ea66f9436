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
from dataclasses import dataclass
from typing import Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.flow.gaussian import Activation, average, moments, normal_numbers, slope
from undertow.nn.activations import find_activation

SMALLEST: Final = 1e-12  # beyond these a mean square has become 0, or has no bound
LARGEST: Final = 1e12


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


def correlation_map(activation: str | Activation, c: float, q: float, sigma_w2: float, sigma_b2: float = 0.0) -> float:
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
    slopes = slope(phi, normal_numbers(q))
    chi_c = chi if c == 1 else sigma_w2 * float(average(slopes, slopes).products(np.full((1, 1), c))[0, 0])
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
