"""Initial weights whose variance is scaled by the number of inputs: Glorot, He and LeCun.

Numbers are drawn in float64 and then rounded, so that a seed gives the same weights in every dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from undertow.nn.configured import ANY_NUMBER, POSITIVE, configurable

Shape = tuple[int, ...]
Weights = NDArray[np.floating[Any]]


def fans(shape: Shape) -> tuple[int, int]:
    """Count what comes into a unit and what goes out of one, at least 1 each.

    Args:
        shape: (fan_in, fan_out) of a dense layer, (n, width) of an embedding, (kernel …, channels in, channels out).

    Returns:
        (fan_in, fan_out): fan_in is the product of all axes but the last; fan_out that of the kernel and the last.

    Source: Glorot and Bengio 2010, section 4.2; for kernels He et al. 2015, section 2.2 (n = k² c).

    Example:
        >>> fans((64, 10)), fans((3, 3, 16, 32))
        ((64, 10), (144, 288))
    """
    return max(math.prod(shape[:-1]), 1), max(math.prod(shape[:-2]) * math.prod(shape[-1:]), 1)


def _normal(shape: Shape, rng: np.random.Generator, variance: float, dtype: DTypeLike) -> Weights:
    """Normal numbers of mean 0."""
    return (rng.standard_normal(shape) * math.sqrt(variance)).astype(dtype)


def _uniform(shape: Shape, rng: np.random.Generator, variance: float, dtype: DTypeLike) -> Weights:
    """Uniform numbers of mean 0: those in ±a have variance a²/3."""
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, shape).astype(dtype)


@configurable(slope=ANY_NUMBER)
def he_normal(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, slope: float = 0.0) -> Weights:
    """Normal weights of variance 2 / fan_in: for layers before relu.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        slope: of a leaky relu: the variance is then 2 / ((1 + slope²) fan_in).

    Returns:
        W of that shape.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 10 and 15.

    Example:
        >>> W = he_normal((200, 300), np.random.default_rng(0))
        >>> W.dtype, round(float(W.std() ** 2 * 200), 1)
        (dtype('float32'), 2.0)
    """
    return _normal(shape, rng, 2 / (1 + slope**2) / fans(shape)[0], dtype)


@configurable(slope=ANY_NUMBER)
def he_uniform(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, slope: float = 0.0) -> Weights:
    """Uniform weights in ±√(6 / fan_in), which is variance 2 / fan_in.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        slope: of a leaky relu: the variance is then 2 / ((1 + slope²) fan_in).

    Returns:
        W of that shape.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 10 and 15 (the uniform form derived here).

    Example:
        >>> bool(np.abs(he_uniform((6, 300), np.random.default_rng(0))).max() <= 1)
        True
    """
    return _uniform(shape, rng, 2 / (1 + slope**2) / fans(shape)[0], dtype)


@configurable(gain=POSITIVE)
def glorot_normal(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> Weights:
    """Normal weights of variance 2 / (fan_in + fan_out): for layers before tanh, sigmoid or nothing.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Source: Glorot and Bengio, Understanding the difficulty of training deep …, AISTATS 2010, eq. 12.

    Example:
        >>> W = glorot_normal((200, 300), np.random.default_rng(0))
        >>> round(float(W.std() ** 2 * 500), 1)
        2.0
    """
    return _normal(shape, rng, gain**2 * 2 / sum(fans(shape)), dtype)


@configurable(gain=POSITIVE)
def glorot_uniform(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> Weights:
    """Uniform weights in ±√(6 / (fan_in + fan_out)), which is variance 2 / (fan_in + fan_out).

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Source: Glorot and Bengio, Understanding the difficulty of training deep …, AISTATS 2010, eq. 16.

    Example:
        >>> bool(np.abs(glorot_uniform((2, 4), np.random.default_rng(0))).max() <= 1)
        True
    """
    return _uniform(shape, rng, gain**2 * 2 / sum(fans(shape)), dtype)


@configurable(gain=POSITIVE)
def lecun_normal(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> Weights:
    """Normal weights of variance 1 / fan_in: for layers before selu or lecun_tanh.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Source: LeCun et al., Efficient BackProp, 1998, eq. 16.

    Example:
        >>> W = lecun_normal((200, 300), np.random.default_rng(0))
        >>> round(float(W.std() ** 2 * 200), 1)
        1.0
    """
    return _normal(shape, rng, gain**2 / fans(shape)[0], dtype)


@configurable(gain=POSITIVE)
def lecun_uniform(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> Weights:
    """Uniform weights in ±√(3 / fan_in), which is variance 1 / fan_in.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Source: LeCun et al., Efficient BackProp, 1998, eq. 16.

    Example:
        >>> bool(np.abs(lecun_uniform((3, 300), np.random.default_rng(0))).max() <= 1)
        True
    """
    return _uniform(shape, rng, gain**2 / fans(shape)[0], dtype)
