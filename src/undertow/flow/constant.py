"""The loss of the best constant output: what a network that knows nothing of the inputs can have, whatever the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.nn import ACTIVATIONS
from undertow.nn.loss_record import Loss
from undertow.train.derive import Gradient

Array = NDArray[Any]
ROWS: Final = 512  # on which it is measured
MOST: Final = 300  # numbers of an output beyond which it is left
STEPS: Final = 60
HALVINGS: Final = 30
DONE: Final = 1e-5  # fall in a step by the loss itself, below which it has come to its end
SAME: Final = 1e-3  # difference, by the loss, of one that is a mean over rows when each comes twice


def loss_of_constant(loss: Loss, end: str | None, y: Array, shape: tuple[int, ...]) -> float | None:
    """Find the smallest loss that an output which is the same for all examples can have.

    Args:
        loss: of outputs (m, *shape), or of logits.
        end: the activation that makes outputs of what is sought, such as ``"softmax"``; None for none.
        y: targets as the loss takes them, (m, …).
        shape: of an output, without the batch axis.

    Returns:
        The loss; None where it has no lower bound, is not above 0, or cannot be differentiated.

    Source: Nocedal and Wright, Numerical Optimization, 2006, algorithms 3.1 (backtracking) and 6.1 (BFGS), eq. 6.20.

    Example:
        >>> squares = Loss("squares", lambda output, y: np.mean((output - y) ** 2), "own")
        >>> round(loss_of_constant(squares, None, np.array([[1.0], [2.0], [6.0]]), (1,)), 6)
        4.666667
    """
    if math.prod(shape) > MOST or not len(y):
        return None
    squash: Callable[[Any], Any] = ACTIVATIONS[end] if end else (lambda c: c)
    gradient = Gradient(lambda c, zeros, y: loss(squash(zeros + c), y))
    zeros = np.zeros((len(y), *shape))

    def measured(c: Array) -> tuple[float, Array]:
        value, slope = gradient(c, zeros, y)
        return float(value), np.asarray(slope, np.float64)

    try:
        with np.errstate(all="ignore"):
            found = _descend(measured, _begin(measured, y, shape))
    except (UndertowError, ValueError, TypeError, IndexError, ArithmeticError):
        return None
    return found if found is not None and found > 0 else None


def _begin(measured: Callable[[Array], tuple[float, Array]], y: Array, shape: tuple[int, ...]) -> Array:
    """Of 0, the mean and the median of the targets what has the smallest loss."""
    choices = [np.zeros(shape)]
    if y.shape[1:] == shape and y.dtype.kind in "fiu":
        choices += [y.mean(axis=0, dtype=np.float64), np.median(y, axis=0).astype(np.float64)]
    losses = [measured(c)[0] for c in choices]
    return choices[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))]


def _descend(measured: Callable[[Array], tuple[float, Array]], c: Array) -> float | None:
    """The loss at the end of a descent by BFGS; None where it does not come to one."""
    value, slope = measured(c)
    inverse = np.eye(c.size)
    for step in range(STEPS):
        if not math.isfinite(value) or not np.isfinite(slope).all():
            return None
        way = -(inverse @ slope.ravel()).reshape(c.shape)
        drop = float(np.vdot(way, slope))
        if not drop < 0:
            return value
        length = 1.0
        for _ in range(HALVINGS):
            new, slope_there = measured(c + length * way)
            if new <= value + 1e-4 * length * drop:
                break
            length /= 2
        else:
            return value
        s, t = (length * way).ravel(), (slope_there - slope).ravel()
        fall, c, value, slope = value - new, c + length * way, new, slope_there
        if fall <= DONE * abs(value):
            return value
        bend = float(s @ t)
        if bend > 0:
            inverse = inverse * (bend / float(t @ t)) if step == 0 else inverse
            side = np.eye(c.size) - np.outer(s, t) / bend
            inverse = side @ inverse @ side.T + np.outer(s, s) / bend
    return None


def is_mean(loss: Loss, outputs: Array, y: Array) -> bool:
    """Tell whether a loss stays as it is when each example comes twice, as a mean does and a sum does not.

    Args:
        loss: the loss.
        outputs: of some examples, (m, …).
        y: what belongs to them.

    Returns:
        The answer; True where the loss cannot be computed.

    Source: derived here.

    Example:
        >>> [is_mean(Loss("own", f, "own"), np.ones((4, 1)), np.zeros((4, 1))) for f in
        ...  (lambda z, y: np.mean((z - y) ** 2), lambda z, y: np.sum((z - y) ** 2))]
        [True, False]
    """
    try:
        with np.errstate(all="ignore"):
            once, twice = (float(loss(np.tile(outputs, (n, *[1] * (outputs.ndim - 1))), np.concatenate([y] * n)))
                           for n in (1, 2))  # fmt: skip
    except Exception:  # a function of the user's own, whatever it asks for
        return True
    return not abs(twice - once) > SAME * abs(once)
