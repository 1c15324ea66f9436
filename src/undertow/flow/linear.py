"""What a linear function of the inputs explains of the targets: the least that there is to learn."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WORK: Final = 20_000_000  # rows · columns² that this may take
ROWS_EACH: Final = 4  # rows for each column
ROWS: Final = 50
RANK: Final = 1e-6  # of the largest singular value, below which columns repeat one another


def fit_linear(X: Array, y: Array, kind: str) -> dict[str, float] | None:
    """Measure what the best linear function of the inputs explains of the targets, and how sure it is.

    With n rows, r columns that are independent, and targets t about their mean, the fit explains the share ρ of Σ |t|².
    If targets were dealt out anew, it would explain r / (n − 1) of it in the mean, with a variance of
    2 r tr((TᵀT)²) / (tr TᵀT)² / (n − 1)²: chance.

    Args:
        X: inputs, (m, n).
        y: the target, (m,) or (m, K); classes as numbers or in rows.
        kind: ``"number"`` or ``"classes"``.

    Returns:
        ``share``, ρ without what chance explains, 0 or more; ``sure``, ρ beyond chance in its deviations. None for
        targets of another kind, and where there are fewer than 4 rows for each column, or 50.

    Source: the share without chance: Wherry, A new formula for predicting the shrinkage of the coefficient of multiple
        correlation, Annals of Mathematical Statistics 2, 1931; mean and variance over all orders: Kazi-Aoual et al.,
        Refined approximations to permutation tests for multivariate inference, Computational Statistics & Data
        Analysis 20, 1995, section 3, for inputs of which no row stands out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, noise = rng.normal(size=(500, 3)), rng.normal(size=500)
        >>> told = fit_linear(X, X[:, 0] + 3 * noise, "number")
        >>> round(told["share"], 2), round(told["sure"])
        (0.11, 22)
        >>> fit_linear(X, noise, "number")["sure"] < 2
        True
    """
    if kind not in ("number", "classes") or X.ndim < 2 or X.dtype.kind not in "fiub" or not X.size:
        return None
    flat = X.reshape(len(X), -1)
    most = WORK // flat.shape[1] ** 2
    step = -(-len(flat) // most) if most else 0
    if not step or len(flat) // step < max(ROWS_EACH * flat.shape[1], ROWS):
        return None
    inputs, targets = np.asarray(flat[::step], np.float64), as_columns(np.asarray(y)[::step], kind)
    inputs, targets = inputs - inputs.mean(axis=0), targets - targets.mean(axis=0)
    targets = targets / np.maximum(targets.std(axis=0), 1e-30) if kind == "number" else targets
    total = float(np.sum(targets * targets))
    scale = inputs.std(axis=0)
    if not (np.isfinite(scale).all() and scale.any() and 0 < total < math.inf):
        return None
    inputs = inputs[:, scale > 0] / scale[scale > 0]
    power, directions = np.linalg.eigh(inputs.T @ inputs)
    kept = power > RANK * power[-1]
    rank, free = int(kept.sum()), len(inputs) - 1
    along = (directions[:, kept].T @ (inputs.T @ targets)) / np.sqrt(power[kept])[:, None]
    share = float(np.sum(along * along)) / total
    deviation = math.sqrt(2 * rank * float(np.sum((targets.T @ targets) ** 2))) / total / free
    return {
        "share": max(1 - (1 - share) * free / (free - rank), 0.0),
        "sure": (share - rank / free) / deviation,
    }


def as_columns(y: Array, kind: str) -> NDArray[np.float64]:
    """Bring targets to (m, K): classes as a column for each, of two as one.

    Args:
        y: (m,) or (m, K).
        kind: ``"number"`` or ``"classes"``.

    Returns:
        float64.

    Source: derived here.

    Example:
        >>> as_columns(np.array([0, 2, 1]), "classes").tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    if kind == "classes" and (y.ndim == 1 or y.shape[1] == 1):
        labels = np.ravel(y)
        values = np.unique(labels)
        y = labels[:, None] == (values if len(values) > 2 else values[-1:])
    return np.asarray(y.reshape(len(y), -1), np.float64)
