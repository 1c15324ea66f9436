"""Initial weights. Each initialiser is a function of the shape (fan_in, fan_out), a generator and a dtype."""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from undertow.errors import ArgumentError

Shape = tuple[int, int]


class Initialiser(Protocol):
    """What makes a weight matrix: ``initialiser((fan_in, fan_out), rng, dtype) -> W``."""

    def __call__(
        self, shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> NDArray[np.floating[Any]]:
        """Make the weights."""
        ...


def _normal(shape: Shape, rng: np.random.Generator, deviation: float, dtype: DTypeLike) -> NDArray[np.floating[Any]]:
    """Normal numbers; drawn in float64, so that a seed gives the same weights in every dtype."""
    return (rng.standard_normal(shape) * deviation).astype(dtype)


def _uniform(shape: Shape, rng: np.random.Generator, limit: float, dtype: DTypeLike) -> NDArray[np.floating[Any]]:
    """Uniform numbers in [−limit, limit)."""
    return rng.uniform(-limit, limit, shape).astype(dtype)


def he_normal(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Normal weights of variance 2 / fan_in: for layers before relu.

    Args:
        shape: (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 10.

    Example:
        >>> W = he_normal((200, 300), np.random.default_rng(0))
        >>> W.dtype, round(float(W.std() ** 2 * 200), 1)
        (dtype('float32'), 2.0)
    """
    return _normal(shape, rng, float(np.sqrt(2 / max(shape[0], 1))), dtype)


def he_uniform(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Uniform weights in ±√(6 / fan_in), which is variance 2 / fan_in.

    Args:
        shape: (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 10 (the uniform form derived here).

    Example:
        >>> bool(np.abs(he_uniform((6, 300), np.random.default_rng(0))).max() <= 1)
        True
    """
    return _uniform(shape, rng, float(np.sqrt(6 / max(shape[0], 1))), dtype)


def glorot_normal(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Normal weights of variance 2 / (fan_in + fan_out): for layers before tanh, sigmoid or nothing.

    Args:
        shape: (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: Glorot and Bengio, Understanding the difficulty of training deep …, AISTATS 2010, eq. 12.

    Example:
        >>> W = glorot_normal((200, 300), np.random.default_rng(0))
        >>> round(float(W.std() ** 2 * 500), 1)
        2.0
    """
    return _normal(shape, rng, float(np.sqrt(2 / max(sum(shape), 1))), dtype)


def glorot_uniform(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Uniform weights in ±√(6 / (fan_in + fan_out)), which is variance 2 / (fan_in + fan_out).

    Args:
        shape: (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: Glorot and Bengio, Understanding the difficulty of training deep …, AISTATS 2010, eq. 16.

    Example:
        >>> bool(np.abs(glorot_uniform((2, 4), np.random.default_rng(0))).max() <= 1)
        True
    """
    return _uniform(shape, rng, float(np.sqrt(6 / max(sum(shape), 1))), dtype)


def zeros(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Zeros; as weights of a hidden layer they make all its units equal for ever.

    Args:
        shape: (fan_in, fan_out).
        rng: not drawn from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: Goodfellow et al., Deep Learning, 2016, section 8.4.

    Example:
        >>> zeros((1, 2), np.random.default_rng(0))
        array([[0., 0.]], dtype=float32)
    """
    return np.zeros(shape, dtype)


def normal(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> NDArray[np.floating[Any]]:
    """Normal weights of deviation 0.01 whatever the fan-in: how it was done before Glorot, for lessons.

    Args:
        shape: (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.

    Returns:
        W, (fan_in, fan_out).

    Source: Krizhevsky et al., ImageNet classification with deep CNNs, NIPS 2012, section 5.

    Example:
        >>> normal((100, 100), np.random.default_rng(0)).std().round(2)
        np.float32(0.01)
    """
    return _normal(shape, rng, 0.01, dtype)


INITIALISERS: Final[dict[str, Initialiser]] = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "zeros": zeros,
    "normal": normal,
}


def find_initialiser(name: str) -> Initialiser:
    """Return the initialiser of this name.

    Args:
        name: a key of ``INITIALISERS``.

    Returns:
        The function.

    Raises:
        ArgumentError: ``there is no initialiser 'he'. Use one of he_normal, …``

    Source: derived here.

    Example:
        >>> find_initialiser("zeros") is zeros
        True
    """
    if name not in INITIALISERS:
        raise ArgumentError(f"there is no initialiser {name!r}. Use one of {', '.join(INITIALISERS)}, or a function.")
    return INITIALISERS[name]


def default_initialiser(activation: str | None) -> str:
    """Return the name of the right initialiser for the activation that follows: He for relu, else Glorot.

    Args:
        activation: the name of the activation after the layer, or None.

    Returns:
        ``"he_normal"`` or ``"glorot_uniform"``.

    Source: He et al. 2015, section 2.2; Glorot and Bengio 2010, section 4.2.

    Example:
        >>> default_initialiser("relu"), default_initialiser("tanh"), default_initialiser(None)
        ('he_normal', 'glorot_uniform', 'glorot_uniform')
    """
    return "he_normal" if activation == "relu" else "glorot_uniform"
