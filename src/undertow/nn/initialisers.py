"""Initial weights. Each initialiser is a function of the shape (…, fan_in, fan_out), a generator and a dtype.

Numbers are drawn in float64 and then rounded, so that a seed gives the same weights in every dtype. Those
with settings take them by name; with settings alone, ``orthogonal(gain=1.4)``, they give an initialiser that
has them. Which suits an activation is said by `default_initialiser`, by how much it shrinks by `gain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError
from undertow.nn.configured import ANY_NUMBER, NOT_NEGATIVE, build_function, configurable, describe_function
from undertow.nn.orthogonal import delta_orthogonal, orthogonal
from undertow.nn.variance_scaling import (
    Shape,
    Weights,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)
from undertow.spelling import offer


class Initialiser(Protocol):
    """What makes a weight matrix: ``initialiser((fan_in, fan_out), rng, dtype) -> W``."""

    def __call__(self, shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Weights:
        """Make the weights."""
        ...


@configurable(deviation=NOT_NEGATIVE)
def normal(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, deviation: float = 0.01
) -> Weights:
    """Normal weights of one deviation whatever the fan-in: how it was done before Glorot, for lessons.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        deviation: the standard deviation.

    Returns:
        W of that shape.

    Source: Krizhevsky et al., ImageNet classification with deep CNNs, NIPS 2012, section 5.

    Example:
        >>> normal((100, 100), np.random.default_rng(0)).std().round(2)
        np.float32(0.01)
    """
    return (rng.standard_normal(shape) * deviation).astype(dtype)


@configurable(deviation=NOT_NEGATIVE)
def truncated_normal(
    shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, deviation: float = 0.01
) -> Weights:
    """Normal weights of which those beyond two deviations are drawn again.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        deviation: the standard deviation before the cut; after it, 0.8796 of that.

    Returns:
        W of that shape.

    Source: derived here: what is left has deviation √(1 − 4φ(2) / (2Φ(2) − 1)) = 0.8796.

    Example:
        >>> W = truncated_normal((100, 100), np.random.default_rng(0), deviation=0.5)
        >>> bool(np.abs(W).max() <= 1), round(float(W.std()), 2)
        (True, 0.44)
    """
    W = rng.standard_normal(shape)
    while (far := np.abs(W) > 2).any():
        W = np.where(far, rng.standard_normal(shape), W)
    return (W * deviation).astype(dtype)


@configurable(limit=NOT_NEGATIVE)
def uniform(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, limit: float = 0.05) -> Weights:
    """Uniform weights in ±limit whatever the fan-in.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: the generator to draw from.
        dtype: float32 or float64.
        limit: the largest size of a weight.

    Returns:
        W of that shape.

    Source: derived here.

    Example:
        >>> bool(np.abs(uniform((9, 9), np.random.default_rng(0))).max() <= 0.05)
        True
    """
    return rng.uniform(-limit, limit, shape).astype(dtype)


def zeros(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Weights:
    """Zeros; as weights of a hidden layer they make all its units equal for ever.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: not drawn from.
        dtype: float32 or float64.

    Returns:
        W of that shape.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.4.

    Example:
        >>> zeros((1, 2), np.random.default_rng(0))
        array([[0., 0.]], dtype=float32)
    """
    return np.zeros(shape, dtype)


@configurable(value=ANY_NUMBER)
def constant(shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32, *, value: float = 1.0) -> Weights:
    """One value everywhere; see `zeros` for what that means for a hidden layer.

    Args:
        shape: (fan_in, fan_out), or (…, fan_in, fan_out) of a kernel.
        rng: not drawn from.
        dtype: float32 or float64.
        value: of every weight.

    Returns:
        W of that shape.

    Source: derived here.

    Example:
        >>> constant((1, 2), np.random.default_rng(0)), constant(value=0.5)
        (array([[1., 1.]], dtype=float32), constant(value=0.5))
    """
    return np.full(shape, value, dtype)


INITIALISERS: Final[dict[str, Initialiser]] = {
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "orthogonal": orthogonal,
    "delta_orthogonal": delta_orthogonal,
    "normal": normal,
    "truncated_normal": truncated_normal,
    "uniform": uniform,
    "zeros": zeros,
    "constant": constant,
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
        raise ArgumentError(f"there is no initialiser {name!r}. {offer(name, INITIALISERS)}, or a function.")
    return INITIALISERS[name]


_AFTER: Final = {
    **dict.fromkeys(("relu", "leaky_relu", "prelu", "relu6", "elu", "celu", "gelu", "silu", "mish"), "he_normal"),
    "selu": "lecun_normal",
    "lecun_tanh": "lecun_normal",
}


def default_initialiser(activation: str | None) -> str:
    """Return the name of the right initialiser for the activation that follows.

    Args:
        activation: the name of the activation after the layer, or None.

    Returns:
        ``"he_normal"`` before relu and its kin, ``"lecun_normal"`` before selu and lecun_tanh, which keep
        variance 1 themselves, else ``"glorot_uniform"``.

    Source: He et al. 2015, section 2.2; Klambauer et al. 2017, section 2; LeCun et al. 1998, section 4.6;
        Glorot and Bengio 2010, section 4.2. For gelu, silu and mish derived here: their `gain` is near √2.

    Example:
        >>> default_initialiser("relu"), default_initialiser("tanh"), default_initialiser(None)
        ('he_normal', 'glorot_uniform', 'glorot_uniform')
    """
    return _AFTER.get(activation or "", "glorot_uniform")


def describe_initialiser(item: Any) -> dict[str, Any] | None:
    """Describe a built-in initialiser as plain data for JSON.

    Args:
        item: anything.

    Returns:
        Its name and the settings that were given, or None for another function.

    Source: derived here.

    Example:
        >>> describe_initialiser(normal(deviation=0.1))
        {'name': 'normal', 'deviation': 0.1}
    """
    return describe_function(item, INITIALISERS)


def build_initialiser(record: Mapping[str, Any]) -> Initialiser:
    """Build the initialiser that a description tells of.

    Args:
        record: what `describe_initialiser` returned; checked, because it may come from a file.

    Returns:
        The initialiser.

    Raises:
        ArgumentError: ``there is no initialiser 'he'. …``, or a setting that is not its own.

    Source: derived here.

    Example:
        >>> build_initialiser({"name": "orthogonal", "gain": 1.4})
        orthogonal(gain=1.4)
    """
    return build_function(record, INITIALISERS, "initialiser")
