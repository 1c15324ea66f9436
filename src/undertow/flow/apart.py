"""Whether rows held out that were given apart lie where the rows trained on do, and are scaled as these are."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FEWEST: Final = 20  # rows of either part
NUMBERS: Final = 200_000  # of each part that are looked at
DEVIATIONS: Final = 4.0  # of chance beyond which it is none
SURE: Final = 1e-3  # probability that chance alone puts so many rows outside, beyond which it is none


def measure_apart(X: Array, held: Array) -> dict[str, Any]:
    """Hold the columns of rows held out against those of the rows trained on.

    Ranks alone count, so that no tail is too heavy: of n rows trained on and one more of the same kind, this one lies
    beyond all of them with a probability of 2 / (n + 1), whatever they are.

    Args:
        X: the rows trained on, (m, …).
        held: the rows held out.

    Returns:
        ``ratio``, the spread of rows held out by that of rows trained on, of the middle column (spread: the median
        distance from the median), 1 where chance may make it; ``side``, the share of rows held out that lie on one
        side of the median of rows trained on (of those on it, half), of the middle column; ``outside``, the share of
        rows held out that lie beyond all rows trained on, of the middle column; ``column`` (its number) and
        ``beyond``, where and what that share is at most, 0 where chance may make it. Empty where rows are few.

    Source: derived here; ranks: Lehmann, Nonparametrics, 1975, section 1.2 (all orders are as probable).

    Example:
        >>> X = np.linspace(-1, 1, 100)[:, None] * np.ones(3)
        >>> round(measure_apart(X, 50 * X + 1)["ratio"], 6), measure_apart(X, X + [0, 0, 1.5])
        (50.0, {'ratio': 1.0, 'side': 0.5, 'outside': 0.0, 'column': 2, 'beyond': 0.75})
    """
    if X.dtype.kind != "f" or len(X) < FEWEST or len(held) < FEWEST:
        return {}
    rng = np.random.default_rng(0)
    rows, others = (_some(np.asarray(x), rng) for x in (X, held))
    if not (np.isfinite(rows).all() and np.isfinite(others).all()):
        return {}
    far, far_there = (np.abs(x - np.median(x, axis=0)) for x in (rows, others))
    width, there = np.median(far, axis=0), np.median(far_there, axis=0)
    wide, above = width > 0, np.mean((np.sign(others - np.median(rows, axis=0)) + 1) / 2, axis=0)
    # of the same kind, each lies farther than the width with a probability of ½, give or take ½ √(1/n + 1/m)
    sides = np.median(np.mean(far_there > width, axis=0)[wide]) if wide.any() else 0.5
    other = abs(sides - 0.5) > DEVIATIONS / 2 * math.sqrt(1 / len(others) + 1 / len(rows))
    least, most = rows.min(axis=0), rows.max(axis=0)
    outside = ((others < least) | (others > most)).sum(axis=0)
    worst = int(np.argmax(outside))
    sure = _chance(int(outside[worst]), len(others), 2 / (len(rows) + 1)) * rows.shape[1] < SURE
    return {
        "ratio": float(np.median(there[wide] / width[wide])) if other else 1.0,
        "side": float(np.median(np.maximum(above, 1 - above)[wide])) if wide.any() else 0.5,
        "outside": float(np.median(outside[wide])) / len(others) if wide.any() else 0.0,
        "column": worst, "beyond": float(outside[worst] / len(others)) if sure else 0.0,
    }  # fmt: skip


def _some(X: Array, rng: np.random.Generator) -> Array:
    """Rows from all over, as many as are looked at."""
    flat = X.reshape(len(X), -1)
    n = max(NUMBERS // max(flat.shape[1], 1), 2 * FEWEST)
    chosen = flat if len(flat) <= n else flat[np.sort(rng.choice(len(flat), n, replace=False, shuffle=False))]
    return np.asarray(chosen, np.float64)


def _chance(k: int, n: int, p: float) -> float:
    """A bound on the probability that of n rows k or more lie where each does with probability p."""
    if not k or k <= n * p:
        return 1.0
    share = k / n
    rest = (1 - share) * math.log((1 - p) / (1 - share)) if share < 1 else 0.0
    return math.exp(n * (share * math.log(p / share) + rest))  # Chernoff
