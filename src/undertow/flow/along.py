"""What is expected of a gradient: its size, and how much of it lies along the value itself.

Where a function is homogeneous, as relu without biases, ⟨x, δ⟩ is the same at each place, so that δ lies along x the
more, the more x grew. This part passes relu whole, of the rest a half, and all of it adds up in x + f(x): the gradient
of such blocks grows as x does, and not by 1 + χ only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.flow.gaussian import Array


@dataclass(frozen=True)
class Expected:
    """What is expected of a gradient δ, on average over the units of each example, (r,).

    Attributes:
        square: E[δ²].
        along: ⟨x, δ⟩² by |x|² E[δ²]: 1 for a δ of independent numbers, the number of units for one that is all along x.
    """

    square: Array
    along: Array

    def times(self, factor: Any, along: float | None = None) -> Expected:
        """Another size; ``along`` as it was, or new."""
        return Expected(self.square * factor, self.along if along is None else np.full_like(self.along, along))

    def share(self, units: int) -> Array:
        """The part of δ² that lies along x beyond what independent numbers have there."""
        return np.clip((self.along - 1) / units, 0.0, 1.0)


Back = Callable[[Expected], Expected]


def fit_rows(ct: Expected, rows: int, always: bool = False) -> Expected:
    """Make a gradient for another number of rows: the same for all of them.

    Args:
        ct: of some rows.
        rows: how many there are to be.
        always: also where there are as many.

    Returns:
        The gradient, (rows,).

    Source: derived here.

    Example:
        >>> fit_rows(Expected(np.array([1.0, 3.0]), np.ones(2)), 3).square
        array([2., 2., 2.])
    """
    if len(ct.square) == rows and not always:
        return ct
    return Expected(np.full(rows, float(np.mean(ct.square))), np.full(rows, float(np.mean(ct.along))))


def sum_apart(parts: list[Expected]) -> Expected:
    """Add gradients that are independent of one another.

    Args:
        parts: by the same value.

    Returns:
        The sum: its square is that of the squares.

    Source: derived here.

    Example:
        >>> one = Expected(np.ones(2), np.ones(2))
        >>> sum_apart([one, one]).square
        array([2., 2.])
    """
    square = np.sum([part.square for part in parts], axis=0)
    return Expected(square, np.ones_like(square))


def sum_along(a: Expected, b: Expected, units: int) -> Expected:
    """Add two gradients by the same value, of which what lies along it has the same sign.

    Args:
        a: the one.
        b: the other.
        units: of the value.

    Returns:
        The sum.

    Source: derived here.

    Example:
        >>> one = Expected(np.ones(1), np.full(1, 10.0))  # of 10 units: all of it lies along the value
        >>> sum_along(one, one, 10).square.round(1), sum_along(one, one, 10_000).square.round(1)
        (array([3.8]), array([2.]))
    """
    both = np.sqrt(a.square * b.square * a.along * b.along)
    beyond = np.maximum(np.minimum(a.along, b.along) - 1, 0.0) / np.maximum(np.minimum(a.along, b.along), 1.0)
    square = a.square + b.square + 2 * both * beyond / units
    along = a.along * a.square + b.along * b.square + 2 * both
    return Expected(square, along / np.where(square > 0, square, 1.0))
