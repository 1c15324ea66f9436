"""What is expected of a gradient: its size, and how much of it lies along the value itself.

Where a function is homogeneous, as relu without biases, ⟨x, δ⟩ is the same at each place, so that δ lies along x the
more, the more x grew. This part passes relu whole, of the rest a half, and all of it adds up in x + f(x): the gradient
of such blocks grows as x does, and not by 1 + χ only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from undertow.flow.gaussian import Array, Moments, normal_numbers, normal_places, slope

FEWEST: Final = 4.0  # directions for which the first order is taken at least


@dataclass(frozen=True)
class Expected:
    """What is expected of a gradient δ, on average over the units of each example, (r,).

    Attributes:
        square: E[δ²].
        along: ⟨x, δ⟩² by |x|² E[δ²]: 1 for a δ of independent numbers, the number of units for one that is all along x.
        missing: how much of what all examples of a batch have in common is not in δ of a unit: 0 for independent
            examples, 1 behind BatchNorm, through which nothing of it comes back.
        radial: how much of δ of a unit lies along its values over the batch; 1 for independent numbers.
    """

    square: Array
    along: Array
    missing: float = 0.0
    radial: float = 1.0

    def times(self, factor: Any, along: float | None = None) -> Expected:
        """Another size; ``along`` as it was, or new."""
        kept = self.along if along is None else np.full_like(self.along, along)
        return replace(self, square=self.square * factor, along=kept)

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
    return replace(ct, square=np.full(rows, np.mean(ct.square)), along=np.full(rows, np.mean(ct.along)))


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
    weights = [float(np.mean(part.square)) for part in (a, b)]
    missing = float(np.average([a.missing, b.missing], weights=weights)) if sum(weights) > 0 else 0.0
    return Expected(square, along / np.where(square > 0, square, 1.0), missing)


def on_sphere(measure: Callable[[Array], Any], variance: Array, directions: float) -> Any:
    """Average over values whose mean square over a batch is fixed, as behind BatchNorm.

    Normal values in ν directions are such values times a factor whose square is χ²_ν / ν, of mean 1 and variance 2 / ν.
    So an average over normal ones is that over spheres and 1/ν times its second derivative by the variance; to the
    first order in 1/ν, the latter is taken away again.

    Args:
        measure: an average over normal values, of their variance (r,).
        variance: the mean square, (r,).
        directions: ν; infinity for normal values.

    Returns:
        What ``measure`` gives, for values on the sphere.

    Source: derived here; of χ²_ν: Cramér, Mathematical methods of statistics, 1946, section 18.1.

    Example:
        >>> round(float(on_sphere(lambda q: 3 * q**2, np.ones(1), 15.0)[0]), 6)  # E z⁴; it is 3 ν / (ν + 2) = 2.647
        2.6
    """
    if not math.isfinite(directions):
        return measure(variance)
    h = math.sqrt(2 / max(directions, FEWEST))
    return 2 * measure(variance) - (measure(variance * (1 + h)) + measure(variance * (1 - h))) / 2


def over_the_batch(
    ct: Expected, activation: Any, variance: Array, found: Moments, directions: float = math.inf
) -> Expected:
    """Tell what an activation leaves of the common part that is missing, and makes of the part along z, over a batch.

    Args:
        ct: by what the activation gives.
        activation: φ, of each number by itself.
        variance: q of z, (r,).
        found: the averages of φ.
        directions: in which examples differ, see `on_sphere`.

    Returns:
        The same with ``missing`` and ``radial`` as they are before it.

    Source: derived here: E[φ'] and E[u φ'] of u = z / √q are a₁ / √q and √2 a₂ / √q, for the coefficients aₖ of
        Hermite's polynomials.

    Example:
        >>> from undertow.flow.gaussian import moments
        >>> relu = lambda z: np.maximum(z, 0)
        >>> found = over_the_batch(Expected(np.ones(1), np.ones(1), 1.0), relu, np.ones(1), moments(relu, 1.0))
        >>> round(found.missing, 3), round(found.radial, 3)  # 1/2, and 1 − 1/π
        (0.5, 0.682)
    """
    q, slopes = np.maximum(variance, 1e-300), np.maximum(found.slope, 1e-300)
    _, weights, _ = normal_places()

    def measured(q: Array) -> Array:
        """E[φ'], E[z φ'] and E[z² φ'²], (3, r)."""
        z = normal_numbers(q)
        slopes = slope(activation, z)
        return np.stack([slopes @ weights, (z * slopes) @ weights, (z * slopes) ** 2 @ weights])

    mean, along, both = on_sphere(measured, q, directions)
    one, two, radial = mean**2, along**2 / q, both / q
    return replace(
        ct,
        missing=float(np.mean(ct.missing * one / slopes)),
        radial=float(np.mean((radial - ct.missing * two) / slopes)),
    )
