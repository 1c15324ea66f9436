"""Normalisation: over the batch, or over the columns of each example."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import show_shape
from undertow.nn.layer import check_columns, check_count, check_filled, check_number
from undertow.nn.mode import current, is_training, replace
from undertow.nn.registry import register_layer
from undertow.primitives import count_of, dtype_of


class _Normalisation:
    """What normalising layers share."""

    size: int
    keeps_width = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"

    @property
    def fan_in(self) -> int:
        """How many columns it takes."""
        return self.size

    @property
    def fan_out(self) -> int:
        """How many columns it gives."""
        return self.size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what it holds."""
        return {name: (self.size,) for name in self.begins_with()}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> Any:
        """Return the layer with what is None filled: gains and variances are 1, shifts and means 0."""
        filled = {
            name: np.full(self.size, value, dtype)
            for name, value in self.begins_with().items()
            if getattr(self, name) is None
        }
        return dataclasses.replace(self, **filled)  # type: ignore[type-var]

    def begins_with(self) -> dict[str, float]:
        """Return the number that each array begins with."""
        return {"gain": 1.0, "shift": 0.0}

    def check_size(self) -> None:
        """Refuse a size that is no number of columns."""
        size: Any = self.size
        if isinstance(size, tuple | list) and len(size) > 1:
            own, shape = type(self).__name__, tuple(size)
            around = f"Sequential(Flatten(), {own}({math.prod(shape)}), Reshape({shape}))"
            raise ArgumentError(f"{own}({shape}): size is a number of columns. Several axes together are {around}.")
        check_count(self, size=size)


@register_layer
@dataclass(eq=False, repr=False)
class BatchNorm(_Normalisation):
    """Batch normalisation: each column gets mean ``shift`` and deviation ``gain`` over the batch.

    While the model trains, mean and variance are those of the batch (and of all axes but the last), and running
    averages of them are kept: new = (1 − momentum) · old + momentum · batch, the variance with n − 1 in its
    denominator. Otherwise the running averages are used, and a row of x does not depend on the others.

    Args:
        size: the number of columns.
        momentum: the weight of a batch in the running averages, 0 to 1, as in PyTorch; that of Keras and Flax is
            1 − momentum.
        epsilon: is added to the variance.
        gain: γ, (size,), trained.
        shift: β, (size,), trained.
        mean: running mean, (size,), not trained.
        variance: running variance, (size,), not trained.

    Raises:
        ArgumentError: ``BatchNorm(3): momentum is 2. Give a number from 0 to 1.``
        ShapeError: ``layer 2, BatchNorm(8): x is (m, 6). Give x 8 columns, or use BatchNorm(6).``, or a batch of no
            rows while the model trains.

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015, algorithms 1 and 2.

    Example:
        >>> from undertow.nn import initialize
        >>> initialize(BatchNorm(2))(np.array([[1.0, -1.0]])).round(3)
        array([[ 1., -1.]])
    """

    size: int
    momentum: float = 0.1
    epsilon: float = 1e-5
    gain: Any = None
    shift: Any = None
    mean: Any = None
    variance: Any = None

    static = ("momentum", "epsilon")
    not_trained = ("mean", "variance")

    def __post_init__(self) -> None:
        self.check_size()
        check_number(self, "momentum", self.momentum, 0, np.nextafter(1, 2), "a number from 0 to 1")
        check_number(self, "epsilon", self.epsilon, 0, np.inf, "a number of 0 or more")

    def begins_with(self) -> dict[str, float]:
        """Return the number that each array begins with."""
        return {"gain": 1.0, "shift": 0.0, "mean": 0.0, "variance": 1.0}

    def __call__(self, x: Any) -> Any:
        """Normalise x (m, …, size)."""
        check_filled(self, gain=self.gain, shift=self.shift, mean=self.mean, variance=self.variance)
        shape = check_columns(self, x, self.size, "BatchNorm({0})")
        if not is_training():
            h = (x - self.mean) / np.sqrt(self.variance + self.epsilon) * self.gain + self.shift
            return h
        axes = tuple(range(len(shape) - 1))
        if 0 in shape:  # 0/0 would stay in the running averages
            raise ShapeError(f"{self!r}: x is {show_shape(shape)}: no rows have no mean. Leave an empty batch out.")
        mean = np.mean(x, axis=axes)
        centred = x - mean
        variance = np.mean(centred * centred, axis=axes)
        n = count_of(x, axes)
        unbiased = variance * (n / np.maximum(n - 1, 1)).astype(dtype_of(x))  # one row has no variance: 0
        replace(self.mean, (1 - self.momentum) * current(self.mean) + self.momentum * mean)
        replace(self.variance, (1 - self.momentum) * current(self.variance) + self.momentum * unbiased)
        h = centred / np.sqrt(variance + self.epsilon) * self.gain + self.shift
        return h


@register_layer
@dataclass(eq=False, repr=False)
class LayerNorm(_Normalisation):
    """Layer normalisation: the columns of each example get mean 0 and deviation 1, then a gain and a shift.

    Args:
        size: the number of columns.
        epsilon: is added to the variance.
        gain: γ, (size,), trained.
        shift: β, (size,), trained.

    Raises:
        ArgumentError: ``LayerNorm(0): size must be a whole number of 1 or more.``
        ShapeError: ``layer 2, LayerNorm(8): x is (m, 6). Give x 8 columns, or use LayerNorm(6).``

    Source: Ba, Kiros and Hinton, Layer normalization, 2016, eq. 4.

    Example:
        >>> from undertow.nn import initialize
        >>> initialize(LayerNorm(2))(np.array([[3.0, 5.0]])).round(3)
        array([[-1.,  1.]])
    """

    size: int
    epsilon: float = 1e-5
    gain: Any = None
    shift: Any = None

    static = ("epsilon",)

    def __post_init__(self) -> None:
        self.check_size()
        check_number(self, "epsilon", self.epsilon, 0, np.inf, "a number of 0 or more")

    def __call__(self, x: Any) -> Any:
        """Normalise x (…, size)."""
        check_filled(self, gain=self.gain, shift=self.shift)
        check_columns(self, x, self.size, "LayerNorm({0})")
        centred = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        h = centred / np.sqrt(variance + self.epsilon) * self.gain + self.shift
        return h


@register_layer
@dataclass(eq=False, repr=False)
class RMSNorm(_Normalisation):
    """Root mean square normalisation: h = x / √(mean of x² + epsilon) · gain, for each example.

    Args:
        size: the number of columns.
        epsilon: is added to the mean square.
        gain: (size,), trained.

    Raises:
        ArgumentError: ``RMSNorm(0): size must be a whole number of 1 or more.``
        ShapeError: ``layer 2, RMSNorm(8): x is (m, 6). Give x 8 columns, or use RMSNorm(6).``

    Source: Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019, eq. 4.

    Example:
        >>> from undertow.nn import initialize
        >>> initialize(RMSNorm(2))(np.array([[3.0, 3.0]])).round(3)
        array([[1., 1.]])
    """

    size: int
    epsilon: float = 1e-6
    gain: Any = None

    static = ("epsilon",)

    def __post_init__(self) -> None:
        self.check_size()
        check_number(self, "epsilon", self.epsilon, 0, np.inf, "a number of 0 or more")

    def begins_with(self) -> dict[str, float]:
        """Return the number that the gain begins with."""
        return {"gain": 1.0}

    def __call__(self, x: Any) -> Any:
        """Normalise x (…, size)."""
        check_filled(self, gain=self.gain)
        check_columns(self, x, self.size, "RMSNorm({0})")
        h = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.epsilon) * self.gain
        return h
