"""Whether inputs tell anything of targets at all: rows that lie near one another, and the targets that these have."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.linear import as_columns, fit_linear

Array = NDArray[Any]
ROWS: Final = 1000  # that are looked at, ...
FEWEST: Final = 60  # ... and fewest that can tell
NEAREST: Final = 5
WIDEST: Final = 20_000  # numbers of a row


def chance_skill(outputs: Array, targets: Array) -> float:
    """Return how well outputs go with targets, in deviations of what targets in any order would give.

    For outputs f and targets t about their means, over all orders of the targets Σ ⟨f, t⟩ has mean 0 and variance
    tr(FᵀF TᵀT) / (n − 1). The sum by the root of this is near N(0, 1) where outputs say nothing of targets.

    Args:
        outputs: (n, K).
        targets: (n, K).

    Returns:
        The skill; 0 where either is constant.

    Source: Hoeffding, A combinatorial central limit theorem, Annals of Mathematical Statistics 22, 1951, theorems 2 and
        3.

    Example:
        >>> t = np.arange(9.0)[:, None]
        >>> round(chance_skill(t, t), 6), chance_skill(0 * t, t)  # √(n − 1) times the correlation
        (2.828427, 0.0)
    """
    f, t = outputs - outputs.mean(axis=0), targets - targets.mean(axis=0)
    variance = float(np.sum((f.T @ f) * (t.T @ t).T)) / max(len(f) - 1, 1)
    return float(np.sum(f * t)) / math.sqrt(variance) if variance > 0 else 0.0


def measure_signal(X: Array, y: Array, kind: str) -> dict[str, float] | None:
    """Measure what the nearest rows and a linear function tell of the targets.

    Args:
        X: inputs, (m, …), floating.
        y: targets, (m,) or (m, K); classes as numbers or in rows.
        kind: ``"number"`` or ``"classes"``.

    Returns:
        ``neighbours``: how well the mean target of the five nearest other rows goes with that of a row, in deviations
        of chance; ``linear``: by how many deviations a linear function explains more than chance, NaN where rows are
        too few; ``rows``. None for other inputs, and fewer than 60 rows.

    Source: Cover and Hart, Nearest neighbor pattern classification, IEEE Transactions on Information Theory 13, 1967;
        what counts as chance: Hoeffding 1951, as for `chance_skill`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, noise = rng.normal(size=(400, 2)), rng.normal(size=400)
        >>> measure_signal(X, np.sin(3 * X[:, 0]) + noise, "number")["neighbours"] > 4
        True
        >>> abs(measure_signal(X, noise, "number")["neighbours"]) < 3
        True
    """
    if kind not in ("number", "classes") or X.dtype.kind not in "fiub" or X.ndim < 2 or len(X) < FEWEST:
        return None
    if X[0].size > WIDEST:
        return None
    rows = np.linspace(0, len(X) - 1, min(len(X), ROWS)).astype(int)
    inputs, y = X[rows].reshape(len(rows), -1).astype(np.float64), np.asarray(y)[rows]
    targets = as_columns(y, kind)
    if not (np.isfinite(inputs).all() and np.isfinite(targets).all()):
        return None
    deviation = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    if kind == "number":
        targets = targets / np.maximum(targets.std(axis=0), 1e-30)
    squares = np.sum(inputs**2, axis=1)
    distance = squares[:, None] + squares - 2 * inputs @ inputs.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argpartition(distance, NEAREST, axis=1)[:, :NEAREST]
    linear = fit_linear(inputs, y, kind)
    return {
        "neighbours": chance_skill(targets[nearest].mean(axis=1), targets),
        "linear": math.nan if linear is None else linear["sure"],
        "rows": len(rows),
    }
