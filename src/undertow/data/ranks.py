"""Ranks of numbers as normal values: a scaling that no distribution harms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_KNOTS = 1000


def find_knots(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where between numbers a quantile lies, and what it becomes: the normal value of the same rank.

    Equal quantiles become the normal value of their mean rank. The outermost lie where half a number of the
    sample lies beyond.

    Args:
        sample: at least two different numbers.

    Returns:
        Knots and levels, both ascending, at most 1000.

    Source: derived here; ranks as in scikit-learn's QuantileTransformer.

    Example:
        >>> knots, levels = find_knots(np.array([1.0, 2.0, 4.0]))
        >>> knots, levels.round(3)
        (array([1., 2., 4.]), array([-0.967,  0.   ,  0.967]))
    """
    from statistics import NormalDist  # late: it brings decimal and fractions

    n = min(sample.size, _MOST_KNOTS)
    ranks = np.linspace(0, 1, n)
    quantiles = np.quantile(sample, ranks)
    knots, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    mean_ranks = (ranks[first] + ranks[first + counts - 1]) / 2
    half = 0.5 / sample.size
    normal = NormalDist()
    levels = np.array([normal.inv_cdf(float(rank)) for rank in np.clip(mean_ranks, half, 1 - half)])
    rising = np.append(True, np.diff(levels) > 0)
    return knots[rising], levels[rising]
