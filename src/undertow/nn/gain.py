"""By how much weights must grow so that an activation leaves the size of the signal as it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.nn.activations import ACTIVATIONS, find_activation
from undertow.nn.configured import Configured

# Where the literature has a value, it stands here; every other one is computed.
GAINS: Final[dict[str, float]] = {
    "identity": 1.0,  # nothing is lost
    "softmax": 1.0,  # an output layer
    "log_softmax": 1.0,
    "sigmoid": 1.0,  # as in PyTorch's calculate_gain: its mean of ½ makes E[φ²] no guide
    "hard_sigmoid": 1.0,
    "tanh": 5 / 3,  # as in PyTorch's calculate_gain; E[φ²] asks for 1.5925
    "relu": math.sqrt(2),  # He et al. 2015, eq. 10
    "selu": 1.0,  # Klambauer et al. 2017, section 2: mean 0 and variance 1 are its fixed point. PyTorch: 3/4
}


def gain(activation: str | Callable[..., Any] | None) -> float:
    """Return the factor by which weights of variance 1/fan_in are multiplied before an activation.

    A signal of mean square 1 then has it again one layer on. Through many layers it stays there for relu, tanh
    and elu; for gelu, silu and mish it drifts away slowly, because their E[φ²] grows faster than the signal's.

    Args:
        activation: its name or itself, with or without settings; None for no activation.

    Returns:
        The value of ``GAINS``; for a leaky_relu √(2 / (1 + slope²)); else 1/√E[φ(z)²] of a standard normal z.

    Raises:
        ArgumentError: ``there is no activation 'rleu'. …``

    Source: the table's comments; He et al. 2015, eq. 15; for the others derived here, by quadrature.

    Example:
        >>> round(gain("relu"), 4), round(gain("gelu"), 4), round(gain("silu"), 4)
        (1.4142, 1.5335, 1.6765)
    """
    if activation is None:
        return 1.0
    function = find_activation(activation) if isinstance(activation, str) else activation
    if not callable(function):
        raise ArgumentError(f"gain: the activation is {activation!r}. Give its name or the function.")
    name = function.name if isinstance(function, Configured) else getattr(function, "__name__", "")
    if name == "leaky_relu" and ACTIVATIONS[name] in (function, getattr(function, "function", None)):
        slope = function.settings["slope"] if isinstance(function, Configured) else 0.01
        return math.sqrt(2 / (1 + slope**2))
    if ACTIVATIONS.get(name) is function and name in GAINS:
        return GAINS[name]
    return expected_gain(function)


@lru_cache(maxsize=256)
def expected_gain(function: Callable[..., Any]) -> float:
    """Compute 1/√E[φ(z)²] for a standard normal z.

    By the trapezoidal rule: it converges as fast as Gauss and Hermite's for a smooth φ, and faster where φ
    has corners.

    Args:
        function: φ, of an array of float64.

    Returns:
        The gain.

    Raises:
        ArgumentError: E[φ(z)²] is 0 or not finite.

    Source: Poole et al., Exponential expressivity in deep neural networks …, NIPS 2016 (the length map at q = 1).

    Example:
        >>> round(expected_gain(np.tanh), 4)
        1.5925
    """
    z = np.linspace(-12.0, 12.0, 48_001)
    density = np.exp(-0.5 * z * z) * ((z[1] - z[0]) / math.sqrt(2 * math.pi))
    square = float(np.sum(density * np.square(function(z))))
    if not 0 < square < math.inf:
        raise ArgumentError(f"gain: E[φ(z)²] of {function!r} is {square}. Give an activation that is not 0 everywhere.")
    return 1 / math.sqrt(square)
