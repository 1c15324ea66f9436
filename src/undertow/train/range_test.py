"""A learning-rate range test: the rate grows from step to step, and the loss says where it is too large."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, TrainingError
from undertow.optim import Optimizer, build_optimizer, find_optimizer
from undertow.optim.wrappers import describe_optimizer
from undertow.train.plan import Plan, read_amount, read_count
from undertow.train.rate import LEAST_POINTS, RateSuggestion, suggest_rate
from undertow.train.trainer import Trainer

DIVERGED = 4.0  # times the lowest loss: from there on larger rates say nothing
SMOOTHING = 0.9  # of the running mean by which that is seen


def find_learning_rate(
    model: Any,
    data: Any,
    *,
    loss: Any,
    optimizer: str | Optimizer | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    batch_size: int = 64,
    seed: int = 0,
    **settings: Any,
) -> RateSuggestion:
    """Look for the learning rate at which the loss falls fastest.

    The rate grows geometrically from low to high; the model of the caller stays as it is. The test ends early where
    the smoothed loss is 4 times its lowest value, or no longer finite.

    Args:
        model: see `undertow.train`.
        data: see `undertow.train`.
        loss: see `undertow.train`.
        optimizer: whose rate is looked for; its own rate is not used.
        low: the first rate, above 0.
        high: the last rate, above low.
        steps: between them, 10 or more.
        batch_size: examples a step.
        seed: decides initial parameters and the order of examples.
        settings: further settings of `undertow.train`.

    Returns:
        The rate, the reason, and the smoothed losses.

    Raises:
        ArgumentError: ``find_learning_rate: high must be above low, got 1 and 0.1.``; as `undertow.train`.
        ShapeError, DataError: as `undertow.train`.

    Source: Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> X = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
        >>> found = find_learning_rate(Sequential(Dense(1, 16), "tanh", Dense(16, 1)), (X, np.sin(3 * X)),
        ...                            loss="mean_squared_error", optimizer="sgd")
        >>> 1e-3 < found.rate < 3
        True
    """
    low, high = read_amount("low", low, above=True), read_amount("high", high, above=True)
    if high <= low:
        raise ArgumentError(f"find_learning_rate: high must be above low, got {low:g} and {high:g}.")
    steps = max(read_count("steps", steps), LEAST_POINTS)
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
    rule = find_optimizer(optimizer)
    growing = {"schedule": "table", "rates": rates.tolist()}
    rule = build_optimizer({**describe_optimizer(rule), "rate": growing})
    watch = _Watch()
    plan = Plan(
        loss=loss, optimizer=rule, steps=steps, batch_size=batch_size, validation=None, seed=seed, progress=False,
        metrics=(), callbacks=[watch], **settings,
    )  # fmt: skip
    try:
        Trainer(model, data, plan).fit()
    except _Enough:
        pass
    except TrainingError:
        watch.losses.append(math.nan)
    losses = watch.losses[:steps]
    return suggest_rate(rates[: len(losses)], losses)


class _Enough(Exception):
    """Larger rates say nothing more."""


class _Watch:
    """Notes the loss of each step, and ends the test where it has diverged."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.mean = self.lowest = math.inf

    def on_step_end(self, epoch: int, step: int, loss: float, model: Any) -> None:
        """Note a loss."""
        self.losses.append(float(loss))
        self.mean = loss if len(self.losses) == 1 else SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        self.lowest = min(self.lowest, self.mean)
        if len(self.losses) > LEAST_POINTS and self.mean > DIVERGED * self.lowest:
            raise _Enough
