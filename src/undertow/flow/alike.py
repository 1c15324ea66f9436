"""Which loss of the textbooks a loss of one's own is, told by its gradient."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.nn.loss_record import Loss
from undertow.train.derive import Gradient

Array = NDArray[Any]
NEAR: Final = 0.999  # cosine between gradients: some keep logarithms away from 0
# The gradients by outputs, but for a factor.
SLOPES: Final = {
    "mean_squared_error": lambda p, y: p - y,
    "mean_absolute_error": lambda p, y: np.sign(p - y),
    "categorical_cross_entropy": lambda p, y: -y / p,
    "binary_cross_entropy": lambda p, y: (p - y) / (p * (1 - p)),
}


def find_alike(loss: Loss, outputs: Array, y: Array) -> str | None:
    """Find the loss whose gradient that of another has the direction of.

    Args:
        loss: a loss of one's own.
        outputs: of some examples, (m, …).
        y: what belongs to them.

    Returns:
        ``"mean_squared_error"``, ``"mean_absolute_error"``, ``"categorical_cross_entropy"``,
        ``"binary_cross_entropy"``, or None.

    Source: derived here; the gradients: Bishop, Pattern Recognition and Machine Learning, 2006, sections 4.3.4 and 5.2.

    Example:
        >>> own = Loss("own", lambda p, y: -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), "own")
        >>> find_alike(own, np.array([[0.2, 0.8], [0.7, 0.3]]), np.eye(2))
        'binary_cross_entropy'
    """
    if outputs.shape != y.shape or y.dtype.kind not in "fiub" or not outputs.size:
        return None
    p, t = outputs.astype(np.float64), y.astype(np.float64)
    if p.min() >= 0 and p.max() <= 1:
        p = 0.25 + p / 2  # where no logarithm outweighs all others
    found: dict[str, float] = {}
    with np.errstate(all="ignore"):
        try:
            _, slope = Gradient(lambda p, zeros, y: loss(p, y))(p, np.zeros(len(p)), y)
        except UndertowError:
            return None
        for name, known in SLOPES.items():
            expected = known(p, t)
            size = np.linalg.norm(slope) * np.linalg.norm(expected)
            if np.isfinite(size) and size > 0:
                found[name] = float(np.vdot(slope, expected) / size)
    best = max(found, key=found.__getitem__, default=None)
    return best if best is not None and found[best] > NEAR else None
