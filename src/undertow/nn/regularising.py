"""Layers that disturb what passes through them while the model trains, and let it pass otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.nn.layer import LayerShapeError, check_number
from undertow.nn.mode import draws_numbers, normal_like, uniform_like
from undertow.nn.registry import register_layer


@register_layer
@dataclass(eq=False)
class Dropout:
    """Dropout: while the model trains, each number is 0 with probability ``rate``, and others are divided by 1 − rate.

    Other numbers are dropped for each example and in each step; the expectation stays what it was.

    Args:
        rate: the share that is dropped, 0 to below 1.

    Raises:
        ArgumentError: ``Dropout(rate=1.0): rate is 1.0. Give a number from 0 to below 1.``
        ShapeError: ``after layer 1, Dense(4, 8): Dropout(rate=0.5): random numbers are drawn by example, but …``

    Source: Srivastava et al., Dropout, JMLR 15, 2014, section 4; divided in training as its section 10 proposes.

    Example:
        >>> from undertow.nn import example_keys, training
        >>> with training(example_keys(seed=0, epoch=0, n=2)):
        ...     h = Dropout(0.5)(np.ones((2, 4)))
        >>> sorted({float(x) for x in h.ravel()}), Dropout(0.5)(np.ones(2))
        ([0.0, 2.0], array([1., 1.]))
    """

    rate: float

    static = ("rate",)
    keeps_width = True

    def __post_init__(self) -> None:
        check_number(self, "rate", self.rate, 0, 1, "a number from 0 to below 1")

    def __call__(self, x: Any) -> Any:
        """Drop numbers of x (m, …), if the model trains."""
        if self.rate == 0 or not draws_numbers():
            return x
        try:
            u = uniform_like(x)
        except ShapeError as error:
            raise LayerShapeError(self, str(error)) from None
        h = np.where(u >= self.rate, x * (1 / (1 - self.rate)), 0)
        return h


@register_layer
@dataclass(eq=False)
class Noise:
    """Noise: while the model trains, normal random numbers are added.

    Args:
        deviation: their standard deviation, 0 or more.

    Raises:
        ArgumentError: ``Noise(deviation=-1): deviation is -1. Give a number of 0 or more.``
        ShapeError: ``after layer 1, Dense(4, 8): Noise(deviation=0.1): random numbers are drawn by example, but …``

    Source: Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 7, 1995.

    Example:
        >>> Noise(0.1)(np.ones(2))
        array([1., 1.])
    """

    deviation: float

    static = ("deviation",)
    keeps_width = True

    def __post_init__(self) -> None:
        check_number(self, "deviation", self.deviation, 0, np.inf, "a number of 0 or more")

    def __call__(self, x: Any) -> Any:
        """Add noise to x (m, …), if the model trains."""
        if self.deviation == 0 or not draws_numbers():
            return x
        try:
            noise = normal_like(x)
        except ShapeError as error:
            raise LayerShapeError(self, str(error)) from None
        h = x + noise * self.deviation
        return h
