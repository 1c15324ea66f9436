"""Whether a loop of one's own has learned anything of its inputs: what the loss is if targets are dealt out anew."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.neighbours import chance_skill
from undertow.trace import is_array_like
from undertow.train.derive import numbers_of, put_numbers

BATCHES, ROWS = 8, 512  # the last batches that are looked at, or as many as hold so many rows, ...
MORE: Final = 64  # ... but no more than these
DEALS: Final = 40  # orders of all of them together, ...
MOST, FEWEST = 20, 5  # ... and of each
LEAST: Final = 8  # rows
SCALED: Final = (-1.0, 0.0, 4.0)  # factors of all parameters for which the sign of a loss is looked at


def deal_anew(
    loss: Callable[..., Any], params: Any, batches: Collection[Sequence[Any]], place: int | None, sign: int = 1
) -> dict[str, float] | None:
    """Measure by how much the loss of batches rises where their targets come in other orders.

    Args:
        loss: a function (params, …) → one number.
        params: as they are now.
        batches: what else it was given, in the last calls.
        place: that of the targets among the arrays of a batch, see `undertow.flow.program.find_targets`.
        sign: −1 where the loss is made large, so that its fall is measured.

    Returns:
        The mean ``rise``, the ``skill``, which is the rise in its deviations, of how many ``rows``, and the ``most``
        that the loss is in any order; None where
        batches have no targets, few rows, or the loss cannot be computed for others.

    Source: Fisher, The Design of Experiments, 1935, section 21 (a difference is held against those of all orders).

    Example:
        >>> X = np.arange(20.0)
        >>> def loss(w, X, y):
        ...     return np.mean((w * X - y) ** 2)
        >>> found = deal_anew(loss, 1.0, [(X, X)], 1)
        >>> found["rise"] > 50, found["skill"] > 4, deal_anew(loss, 0.0, [(X, X)], 1)
        (True, True, {'rise': 0.0, 'skill': 0.0, 'rows': 20, 'most': 123.5})
    """
    rises, variances, size, rows, most = [], [], 0.0, 0, -math.inf
    with suppress(Exception), np.errstate(all="ignore"):  # a user's function may ask more of targets than their shape
        for args in batches:
            told = _losses(loss, params, args, place, min(max(DEALS // len(batches), FEWEST), MOST))
            if told is None:
                return None
            found, rows = told[0], rows + told[1]
            size, most = max(size, abs(float(found[0]))), max(most, float(found.max()))
            rises.append(found[1:].mean() - found[0])
            variances.append(found[1:].var(ddof=1))
    if not rises:
        return None
    rise, deviation = sign * float(np.mean(rises)), float(np.sqrt(np.sum(variances))) / len(rises)
    sure = deviation > 1e-9 * size  # or rounding, where the order is no matter
    return {"rise": rise if sure else 0.0, "skill": rise / deviation if sure else 0.0, "rows": rows, "most": most}


def go_against(outputs: Any, targets: Any) -> dict[str, float]:
    """Tell whether outputs go with classes or against them, beyond what chance makes.

    Of numbers it says nothing: a rate, a risk or a price is to be small where a time, a rank or a cost is large.

    Args:
        outputs: of a batch, (m, …).
        targets: of the same shape, of two numbers, such as 0 and 1.

    Returns:
        The ``skill`` of their order, in deviations of chance, below 0 where they go against, and of how many ``rows``;
        nothing where the shapes differ, targets are no classes, or a number is not finite.

    Source: see `undertow.flow.neighbours.chance_skill`.

    Example:
        >>> x = np.arange(30.0)[:, None]
        >>> go_against(x, x < 15)["skill"] < -4, go_against(x, -x), go_against(x, np.eye(30))
        (True, {}, {})
    """
    z, y = np.asarray(outputs), np.asarray(targets)
    if len(z) < LEAST or z.size != y.size or len(z) != len(y) or y.dtype.kind not in "fiub":
        return {}
    z, y = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (z, y))
    if not (np.isfinite(z).all() and np.isfinite(y).all()) or len(np.unique(y)) != 2:
        return {}
    z = z.argsort(axis=0).argsort(axis=0).astype(np.float64)  # what has no bound is far out for a few rows
    z, y = z - z.mean(axis=0), y - y.mean(axis=0)
    return {"skill": chance_skill(z, y), "rows": len(z)}


def highest(loss: Callable[..., Any], params: Any, args: Sequence[Any], place: int) -> float:
    """Return the most that the loss of a batch is with all parameters turned, at 0, and larger, or two classes swapped.

    Args:
        loss: a function (params, …) → one number.
        params: as they are now.
        args: what else it is given.
        place: that of the targets among its arrays.

    Returns:
        The largest of these numbers; ∞ where one cannot be computed. What is never below 0 with the sign turned is at
        most 0, while the negative logarithm of a density may be more, and the score of a critic for the other class.

    Source: derived here.

    Example:
        >>> y = np.array([0.0, 0.0, 1.0])
        >>> highest(lambda w, y: -np.mean((w - y) ** 2), 0.5, [y], 0), highest(lambda w, y: np.mean(w - y), 0.5, [y], 0)
        (-0.25, 1.6666666666666667)
    """
    with suppress(Exception), np.errstate(all="ignore"):  # of a user's function
        leaves, rebuild = trees.flatten(params)
        given, put = trees.flatten(tuple(args))
        at = [i for i, x in enumerate(given) if is_array_like(x)][place]
        y = np.asarray(given[at])
        given[at] = np.where(y == y.min(), y.max(), y.min())
        numbers, losses = numbers_of(leaves), [float(loss(params, *put(given)))]
        for factor in SCALED:
            scaled = [x * np.asarray(factor, np.asarray(x).dtype) for x in numbers]
            losses.append(float(loss(rebuild(put_numbers(leaves, scaled)), *args)))
        return max(losses) if np.isfinite(losses).all() else math.inf
    return math.inf


class Last:
    """The last batches, as many as hold 512 rows, but no fewer than 8 and no more than 64."""

    def __init__(self) -> None:
        self.batches: deque[Sequence[Any]] = deque()
        self._rows: deque[int] = deque()

    def add(self, args: Sequence[Any]) -> None:
        """Add a batch, and let go of those that are not needed any more.

        Args:
            args: what a loss is given beside the parameters.

        Source: derived here.

        Example:
            >>> last = Last()
            >>> for n in (1000, *[50] * 12, 3):
            ...     last.add((np.zeros((n, 2)), np.zeros(n)))
            >>> [len(X) for X, _ in last.batches]
            [50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 3]
        """
        self.batches.append(args)
        self._rows.append(max((len(x) for x in trees.flatten(tuple(args))[0] if np.ndim(x)), default=0))
        n = len(self.batches)
        while n > MORE or (n > BATCHES and sum(self._rows) - self._rows[0] >= ROWS):
            self.batches.popleft()
            self._rows.popleft()
            n -= 1


def _losses(
    loss: Callable[..., Any], params: Any, args: Sequence[Any], place: int | None, deals: int
) -> tuple[NDArray[np.float64], int] | None:
    """The loss of a batch with its targets as they are, and in so many other orders; and how many rows it has."""
    leaves, rebuild = trees.flatten(tuple(args))
    places = [i for i, x in enumerate(leaves) if is_array_like(x)]
    if place is None or not -len(places) <= place < len(places):
        return None
    at, rng = places[place], np.random.default_rng(0)
    y = np.asarray(leaves[at])
    if y.ndim == 0 or len(y) < LEAST:
        return None
    orders = [np.arange(len(y)), *(rng.permutation(len(y)) for _ in range(deals))]
    dealt = [[y[order] if i == at else x for i, x in enumerate(leaves)] for order in orders]
    return np.array([float(loss(params, *rebuild(x))) for x in dealt]), len(y)
