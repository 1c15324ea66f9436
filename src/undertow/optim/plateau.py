"""A factor on the learning rate that falls when a measured value stops falling; it is kept outside of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from undertow.optim.settings import read_amount, read_count, read_number, read_share


class PlateauState(NamedTuple):
    """The best value so far, how many values in a row were no better, how many are still passed over, the scale."""

    best: float
    waited: int
    resting: int
    scale: float


@dataclass(frozen=True)
class Plateau:
    """The rule that `reduce_on_plateau` makes.

    Attributes:
        factor: by which the scale is multiplied.
        patience: how many values in a row may be no better.
        min_delta: by how much a value must be below the best one to be better.
        cooldown: how many values after a reduction do not count as no better.
        lowest: the scale never falls below it.
    """

    factor: float
    patience: int
    min_delta: float
    cooldown: int
    lowest: float

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain data: ``reduce_on_plateau(**settings)`` makes the rule again."""
        return dict(vars(self))

    def init(self) -> PlateauState:
        """Return the state before the first value."""
        return PlateauState(math.inf, 0, 0, 1.0)

    def update(self, state: PlateauState, value: float) -> tuple[PlateauState, float]:
        """Take in a value, such as an epoch's validation loss; one that is NaN is no better.

        Returns:
            The new state, and the scale: what the rate is to be multiplied by.
        """
        best, waited, resting, scale = state
        if value < best - self.min_delta:
            best, waited = float(value), 0
        else:
            waited += 1
        if resting > 0:
            waited, resting = 0, resting - 1
        if waited > self.patience:
            waited, resting, scale = 0, self.cooldown, max(scale * self.factor, self.lowest)
        return PlateauState(best, waited, resting, scale), scale


def reduce_on_plateau(
    factor: float = 0.1, patience: int = 10, min_delta: float = 0.0, cooldown: int = 0, lowest: float = 0.0
) -> Plateau:
    """Multiply the rate by a factor whenever a value has not fallen for more than ``patience`` values in a row.

    Args:
        factor: above 0 and below 1.
        patience: 0 or more.
        min_delta: by how much a value must be below the best one to be better, 0 or more, in the value's unit.
        cooldown: how many values after a reduction are passed over, 0 or more.
        lowest: the scale never falls below it, 0 or more and less than 1.

    Returns:
        The rule: ``init()`` makes a state, ``update(state, value)`` returns (new state, scale). Give the scale to
        an optimizer made by `scaled`, by `with_scale`.

    Raises:
        ArgumentError: ``reduce_on_plateau: factor must be 0 or more and less than 1, got 2.``

    Source: PyTorch's ReduceLROnPlateau with threshold_mode "abs", whose counting of values is the same.

    Example:
        >>> rule = reduce_on_plateau(0.5, patience=1)
        >>> state = rule.init()
        >>> for value in (3.0, 2.0, 2.0, 2.0):
        ...     state, scale = rule.update(state, value)
        >>> scale
        0.5
    """
    name = "reduce_on_plateau"
    read_number(name, "factor", factor)
    return Plateau(
        read_share(name, "factor", factor),
        read_count(name, "patience", patience, 0),
        read_amount(name, "min_delta", min_delta),
        read_count(name, "cooldown", cooldown, 0),
        read_share(name, "lowest", lowest),
    )
