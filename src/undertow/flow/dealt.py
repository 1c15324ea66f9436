"""Whether a loop of one's own has learned anything of its inputs: what the loss is if targets are dealt out anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees

BATCHES: Final = 8  # the last ones that are looked at
DEALS: Final = 40  # orders of all of them together, ...
MOST, FEWEST = 20, 5  # ... and of each
LEAST: Final = 8  # rows


def deal_anew(
    loss: Callable[..., Any], params: Any, batches: Sequence[Sequence[Any]], place: int | None
) -> dict[str, float] | None:
    """Measure by how much the loss of batches rises where their targets come in other orders.

    Args:
        loss: a function (params, …) → one number.
        params: as they are now.
        batches: what else it was given, in the last calls.
        place: that of the targets among the arrays of a batch, see `undertow.flow.program.find_targets`.

    Returns:
        The mean ``rise``, and the ``skill``, which is the rise in its deviations; None where batches have no targets,
        few rows, or the loss cannot be computed for others.

    Source: Fisher, The Design of Experiments, 1935, section 21 (a difference is held against those of all orders).

    Example:
        >>> X = np.arange(20.0)
        >>> def loss(w, X, y):
        ...     return np.mean((w * X - y) ** 2)
        >>> found = deal_anew(loss, 1.0, [(X, X)], 1)
        >>> found["rise"] > 50, found["skill"] > 4, deal_anew(loss, 0.0, [(X, X)], 1)
        (True, True, {'rise': 0.0, 'skill': 0.0})
    """
    rises, variances, size = [], [], 0.0
    with suppress(Exception), np.errstate(all="ignore"):  # a user's function may ask more of targets than their shape
        for args in batches:
            found = _losses(loss, params, args, place, min(max(DEALS // len(batches), FEWEST), MOST))
            if found is None:
                return None
            size = max(size, abs(float(found[0])))
            rises.append(found[1:].mean() - found[0])
            variances.append(found[1:].var(ddof=1))
    if not rises:
        return None
    rise, deviation = float(np.mean(rises)), float(np.sqrt(np.sum(variances))) / len(rises)
    sure = deviation > 1e-9 * size  # or rounding, where the order is no matter
    return {"rise": rise if sure else 0.0, "skill": rise / deviation if sure else 0.0}


def _losses(
    loss: Callable[..., Any], params: Any, args: Sequence[Any], place: int | None, deals: int
) -> NDArray[np.float64] | None:
    """The loss of a batch with its targets as they are, and in so many other orders."""
    leaves, rebuild = trees.flatten(tuple(args))
    places = [i for i, x in enumerate(leaves) if not callable(x)]
    if place is None or not -len(places) <= place < len(places):
        return None
    at, rng = places[place], np.random.default_rng(0)
    y = np.asarray(leaves[at])
    if y.ndim == 0 or len(y) < LEAST:
        return None
    orders = [np.arange(len(y)), *(rng.permutation(len(y)) for _ in range(deals))]
    dealt = [[y[order] if i == at else x for i, x in enumerate(leaves)] for order in orders]
    return np.array([float(loss(params, *rebuild(x))) for x in dealt])
