"""What is known of a value on average over the units of a layer, and what an activation makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.along import Back, Expected, on_sphere, over_the_batch
from undertow.flow.gaussian import Array, moments, passed_along

ROWS: Final = 48


@dataclass(frozen=True)
class Signal:
    """What is known of a value, (…, units), on average over the units.

    Attributes:
        products: E[x_a x_b] for each pair of the rows looked at, (r, r).
        mean: E[x_a], (r,).
        units: its last axis.
        n_rows: the product of its other axes.
        path: where it was observed; None where it is used in several ways.
        directions: in which examples differ, where the mean square of a unit over the batch is fixed; else infinity.
        drawn: whether it went through random weights; until then it is what was measured.
    """

    products: Array
    mean: Array
    units: int
    n_rows: int
    path: str | None = None
    drawn: bool = True
    directions: float = math.inf

    @property
    def square(self) -> Array:
        """E[x_a²], (r,)."""
        return np.diagonal(self.products)

    @property
    def cosine(self) -> float:
        """The mean cosine between different rows; NaN for a single row."""
        return mean_cosine(self.products)


def measure_signal(x: NDArray[Any], path: str | None = None) -> Signal:
    """Make a signal of an array.

    Args:
        x: (m, …), floating.
        path: where it was observed.

    Returns:
        Its averages, of at most 48 rows.

    Source: derived here.

    Example:
        >>> measure_signal(np.array([[3.0, 4.0], [0.0, 1.0]])).products
        array([[12.5,  2. ],
               [ 2. ,  0.5]])
    """
    rows = np.reshape(x, (-1, x.shape[-1])) if x.ndim > 1 else np.reshape(x, (-1, 1))
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS)).astype(int)].astype(np.float64)
    with np.errstate(all="ignore"):
        return Signal(chosen @ chosen.T / rows.shape[1], chosen.mean(axis=1), rows.shape[1], len(rows), path, False)


def mean_cosine(products: Array) -> float:
    """Compute the mean cosine of different rows from their products; rows of zeros count as equal to none."""
    r = len(products)
    if r < 2:
        return math.nan
    size = np.sqrt(np.maximum(np.diagonal(products), 0.0))
    with np.errstate(all="ignore"):
        cosines = np.where(np.outer(size, size) > 0, products / np.outer(size, size), 0.0)
    return float((cosines.sum() - np.trace(cosines)) / (r * (r - 1)))


def activate(activation: Any, x: Signal) -> tuple[Signal, Back]:
    """Apply a function of each number; x is taken as normal with its mean and variance."""
    variance = np.maximum(x.square - x.mean**2, 0.0)
    size = np.sqrt(np.outer(variance, variance))
    centred = x.products - np.outer(x.mean, x.mean)
    correlation = np.where(size > 0, centred / np.where(size > 0, size, 1.0), 0.0)
    found = moments(activation, variance, x.mean)
    if math.isfinite(x.directions):

        def measured(q: Array) -> Array:
            """E[φ_a φ_b], of which the diagonal is E[φ²], and E[φ'²] and E[φ], (r + 2, r)."""
            found = moments(activation, q, x.mean)
            products = found.products(correlation)
            np.fill_diagonal(products, found.square)
            return np.concatenate([products, [found.slope, found.mean]])

        *rows, slopes, mean = on_sphere(measured, variance, x.directions)
        products = np.stack(rows)
        terms = np.concatenate([mean[:, None], found.terms[:, 1:]], axis=1)
        found = replace(found, square=products.diagonal().copy(), slope=slopes, terms=terms)
    else:
        products = found.products(correlation)
        np.fill_diagonal(products, found.square)

    def back(ct: Expected) -> Expected:
        """E[φ'²] of what is independent of h; of what lies along it, E[φ'² φ²] / E[φ²], and E[z φ' φ] / E[φ²] of it."""
        ct = replace(ct, radial=1.0)
        if ct.missing:
            ct = over_the_batch(ct, activation, variance, found, x.directions)
        if not np.any(ct.along > 1):
            return ct.times(found.slope)
        share = ct.share(x.units)
        passed, turned = passed_along(activation, variance, x.mean)
        square = ct.square * (share * passed + (1 - share) * found.slope)
        size = np.where(square * x.square > 0, square * x.square, 1.0)
        return replace(ct, square=square, along=ct.along * turned**2 * ct.square * found.square / size)

    return replace(x, products=products, mean=found.mean), back
