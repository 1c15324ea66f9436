"""Targets of a loop of one's own that a cross-entropy is not made for, such as −1 and 1 in the place of 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.trace import is_array_like
from undertow.train.derive import Gradient

Array = NDArray[Any]
EXACT: Final = 0.02  # part of the loss by which it may be otherwise: something is often added within the logarithm


def find_beyond(loss: Callable[..., Any], params: Any, args: Sequence[Any], place: int | None) -> dict[str, Any] | None:
    """Tell whether a loss is a straight line in its targets, as cross-entropies are, and these lie outside of 0 to 1.

    A binary cross-entropy is log (1 + exp z) − y z in each target y. So its gradient by the targets tells the scores z,
    and these what the loss is for targets of 0.

    Args:
        loss: a function (params, …) → one number.
        params: its parameters.
        args: what else it is given.
        place: that of the targets among the arrays of these, see `undertow.flow.program.find_targets`.

    Returns:
        The ``least`` and the ``most`` of the targets, and whether the loss is a ``binary`` cross-entropy; None where it
        is no straight line, or targets lie between 0 and 1.

    Source: derived here; the loss: Bishop, Pattern Recognition and Machine Learning, 2006, eq. 4.90.

    Example:
        >>> import undertow as ut
        >>> X, y = np.eye(4)[:, :2] + 0.5, np.array([-1.0, 1.0, 1.0, -1.0])
        >>> def loss(w, X, y):
        ...     p = ut.sigmoid(X @ w)
        ...     return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
        >>> find_beyond(loss, np.array([1.0, -0.5]), (X, y), 1)["least"]
        -1.0
        >>> find_beyond(loss, np.array([1.0, -0.5]), (X, (y + 1) / 2), 1)
    """
    leaves, rebuild = trees.flatten(tuple(args))
    places = [i for i, x in enumerate(leaves) if is_array_like(x)]
    if place is None or not -len(places) <= place < len(places):
        return None
    at = places[place]
    y = np.asarray(leaves[at])
    if y.dtype.kind not in "fiu" or y.ndim not in (1, 2) or not y.size or (y.min() >= 0 and y.max() <= 1):
        return None

    def judged(targets: Any, params: Any) -> Any:
        return loss(params, *rebuild([targets if i == at else x for i, x in enumerate(leaves)]))

    with suppress(Exception), np.errstate(all="ignore"):  # a user's function may ask more of targets
        gradient = Gradient(lambda targets, params, _: judged(targets, params))
        zeros, halves = np.zeros(y.shape), np.full(y.shape, 0.5)
        (none, slope), (_, other) = (gradient(x, params, ()) for x in (zeros, halves))
        slope, none = np.asarray(slope, np.float64), float(none)
        line = np.linalg.norm(slope - other) <= EXACT * np.linalg.norm(slope)
        binary = False
        for n in (1, y.size):  # a sum, or a mean
            expected = float(np.logaddexp(0.0, -n * slope).sum()) / n
            binary = binary or (none > 0 and abs(expected - none) <= EXACT * none)
        return {"least": float(y.min()), "most": float(y.max()), "binary": binary} if line and slope.any() else None
    return None
