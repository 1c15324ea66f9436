"""The average of a model over the ends of its epochs, the later ones counting more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.train.derive import numbers_of, put_numbers

if TYPE_CHECKING:
    from undertow.train.trainer import Trainer


class Average:
    """A moving average of all numbers of a model, one of each epoch.

    After n epochs, the one k epochs ago counts (1 − decay) decayᵏ / (1 − decayⁿ).

    Args:
        decay: above 0 and below 1.

    Attributes:
        sums: Σ (1 − decay) decayᵏ W over the epochs, of each array.
        n: how many epochs there were.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 30, 1992, averages all steps alike; Kingma and Ba, Adam, 2015,
        section 7.2, has the moving average with its correction.

    Example:
        >>> average = Average(0.5)
        >>> for W in (1.0, 4.0):
        ...     average.add([np.array([W])])
        [array([1.])]
        [array([3.])]
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.n = decay, 0
        self.sums: list[NDArray[Any]] = []

    def add(self, model: Any) -> Any:
        """Count the model of one more epoch, and return the average."""
        numbers = [np.asarray(x) for x in numbers_of(trees.flatten(model)[0])]
        sums = self.sums or [np.zeros_like(x) for x in numbers]
        keep, new = self.decay, 1 - self.decay
        self.sums = [(keep * total + new * x).astype(x.dtype) for total, x in zip(sums, numbers, strict=True)]
        self.n += 1
        return self.model(model)

    def model(self, like: Any) -> Any:
        """The average, as a model such as this one; this one itself before the first epoch."""
        if not self.n:
            return like
        leaves, rebuild = trees.flatten(like)
        mass = 1 - self.decay**self.n
        pairs = zip(self.sums, numbers_of(leaves), strict=True)
        return rebuild(put_numbers(leaves, [_as_was(total / mass, x) for total, x in pairs]))


def _as_was(value: NDArray[Any], old: Any) -> Any:
    """A number of the kind that it was: an array of its dtype, or a float."""
    return value.astype(old.dtype) if isinstance(old, np.ndarray | np.generic) else float(value)


@contextmanager
def model_kept(trainer: Trainer) -> Iterator[None]:
    """Let a run hold the average for a while, in which an epoch is measured and told of; then training goes on.

    Args:
        trainer: the training.

    Source: derived here.
    """
    model = trainer.run.model
    try:
        yield
    finally:
        trainer.run.model = model
