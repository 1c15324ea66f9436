"""What training makes small: the loss of a batch, with weights, penalties and mixed examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from undertow import trees
from undertow.nn import Loss
from undertow.nn.mode import call_inner
from undertow.primitives import shape_of
from undertow.train.derive import numbers_of, trained_numbers


class Target(NamedTuple):
    """What belongs to the examples of a batch beside their inputs.

    Attributes:
        y: targets as the loss takes them, (m, …).
        weights: of the examples, (m,), or None.
        keys: int64 (m,), which random numbers within the step follow from; None where there are none.
        mix: the share of each example that is kept when it is mixed with another one, (m,), or None.
    """

    y: Any
    weights: Any = None
    keys: Any = None
    mix: Any = None


@dataclass(frozen=True)
class Objective:
    """The loss of a model on a batch as a function of (model, X, target).

    Attributes:
        loss: the loss.
        l1: the factor of Σ |W| over all weights (arrays of two axes or more; biases and gains are left out).
        l2: the factor of ½ Σ W² over the same, so that its gradient is l2 · W.
    """

    loss: Loss
    l1: float = 0.0
    l2: float = 0.0

    @property
    def __name__(self) -> str:
        return self.loss.name

    @property
    def __wrapped__(self) -> Any:
        return self.loss.function  # messages tell the name and line of the loss itself

    def __call__(self, model: Any, X: Any, target: Target) -> Any:
        """Compute it."""
        y, weights = target.y, target.weights
        if target.mix is None:
            output = call_inner("", model, X)
            value = self.loss(output, y) if weights is None else self.total(output, y, weights) / total_of(weights)
        else:  # the batch is in random order: its mirror image is a random pairing
            kept = np.reshape(target.mix, (-1, *[1] * (len(shape_of(X)) - 1)))
            output = call_inner("", model, X * kept + X[::-1] * (1 - kept))
            first, second = target.mix, 1 - target.mix
            if weights is not None:
                first, second = first * weights, second * weights[::-1]
            value = (self.total(output, y, first) + self.total(output, y[::-1], second)) / total_of(first + second)
        if self.l1 or self.l2:
            value = value + self.penalty(model)
        return value

    def total(self, output: Any, y: Any, weights: Any) -> Any:
        """Σ w l over the examples of a batch."""
        per_example: Any = self.loss.per_example
        return np.sum(weights * per_example(output, y))

    def penalty(self, model: Any) -> Any:
        """What large weights cost."""
        numbers = numbers_of(trees.flatten(model)[0])
        total: Any = 0.0
        for i in trained_numbers(model):
            W = numbers[i]
            if len(shape_of(W)) > 1:
                if self.l2:
                    total = total + 0.5 * self.l2 * np.sum(W * W)
                if self.l1:
                    total = total + self.l1 * np.sum(np.abs(W))
        return total


def total_of(weights: Any) -> Any:
    """Σ w, or 1 where all are 0: a batch that counts for nothing costs nothing."""
    total = np.sum(weights)
    return np.where(total > 0, total, 1.0)
