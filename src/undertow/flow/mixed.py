"""Whether the batches of a loop of one's own are drawn at random, or follow some order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.trace import is_array_like

Array = NDArray[Any]
COLUMNS: Final = 50  # of an array that are measured
FEWEST: Final = 4  # rows of a batch
PLAIN: Final = (str, bool, type(None))  # what a batch may hold beside arrays that is always the same


def held_of(args: Sequence[Any]) -> list[tuple[tuple[int, ...], bytes, bytes]] | None:
    """Return by what a batch is known again: the shapes of its arrays, some of their numbers, the sums of columns.

    Args:
        args: what a loss is given beside the parameters.

    Returns:
        For each array the shape, the bytes of up to 64 of its numbers, of other columns from row to row, and those of
        the sums over its rows, as most numbers may be 0: a buffer that is filled anew has not both again. None where
        no array has rows, or objects are given that may hold others, such as generators.

    Source: derived here.

    Example:
        >>> X = np.arange(4.0)
        >>> held_of([X]) == held_of([X.copy()]), held_of([X]) == held_of([0 * X]), held_of([]), held_of([X, object()])
        (True, False, None, None)
        >>> held_of([np.eye(80)[:9]]) == held_of([np.eye(80)[1:10]])
        False
    """
    leaves = trees.flatten(tuple(args))[0]
    arrays = [np.asarray(x) for x in leaves if is_array_like(x)]
    if not any(x.ndim for x in arrays) or any(not is_array_like(x) and not isinstance(x, PLAIN) for x in leaves):
        return None
    return [(x.shape, _some_of(x).tobytes(), _sums_of(x).tobytes()) for x in arrays]


def _some_of(x: Array) -> Array:
    """Up to 64 numbers of an array; a step of whole rows would see a single column, which may be 1 in all of them."""
    if x.size <= 64:
        return np.asarray(x)
    flat: Any = x.reshape(-1) if x.flags.c_contiguous else x.flat
    return np.asarray(flat[np.arange(64) * (x.size // 64 + 1) % x.size])


def _sums_of(x: Array) -> Array:
    """The sums of an array of numbers over its first axis."""
    with np.errstate(all="ignore"):  # of float16, or of infinities
        return np.asarray(x.sum(axis=0)) if x.ndim > 1 and x.dtype.kind in "fiub" else np.zeros(0)


class Mixture:
    """Adds up how much batches differ from one another, beside how much rows within them do, in one of their arrays.

    Attributes:
        place: that of the array among those of a batch, which are counted from the end where it is below 0; None where
            all are inputs, which are measured side by side.
    """

    def __init__(self) -> None:
        self.place: int | None = -1
        self.n, self.rows = 0, 0.0
        self.means: Array = np.zeros(0)  # sums of the means of its columns
        self.squares: Array = np.zeros(0)
        self.within: Array = np.zeros(0)

    def add(self, args: Any) -> None:
        """Take in a batch.

        Args:
            args: what a loss is given beside the parameters: arrays with as many rows, others are left out.
        """
        leaves = [np.asarray(x) for x in trees.flatten(args)[0] if is_array_like(x)]
        arrays = [x for x in leaves if x.ndim and x.dtype.kind in "fiub" and len(x) >= FEWEST]
        if not arrays or any(len(x) != len(arrays[0]) for x in arrays):
            return
        last = leaves[-1 if self.place is None else self.place]
        measured = arrays if self.place is None else [last if any(x is last for x in arrays) else arrays[-1]]
        flat = [x.reshape(len(x), -1)[:, : COLUMNS // len(measured)] for x in measured]
        last = np.concatenate(flat, axis=1).astype(np.float64)
        if not self.n:
            self.means, self.squares, self.within = (np.zeros(last.shape[1]) for _ in range(3))
        if last.shape[1] != len(self.means):
            return
        mean = last.mean(axis=0)
        self.n, self.rows = self.n + 1, self.rows + len(last)
        self.means += mean
        self.squares += mean**2
        self.within += last.var(axis=0, ddof=1)

    def told(self) -> dict[str, Any]:
        """Return how many ``batches`` there were, and of their targets the share of the variance ``between`` them.

        Where no array holds targets, it is the ``drift`` of what is given, and ``drifts`` is how sure that is: by how
        many deviations the variance between batches exceeds what draws at random would make. The share is the
        intraclass correlation, of the column in which it is largest: near 0 for rows that are drawn at random, near 1
        for batches each of which holds rows of one kind.

        Source: Snedecor and Cochran, Statistical Methods, 1989, section 13.5 (the intraclass correlation, as the
            analysis of variance of one factor estimates it).

        Example:
            >>> made = Mixture()
            >>> for i in range(0, 100, 10):
            ...     made.add([np.zeros((10, 2)), np.arange(100)[i : i + 10] // 50])
            >>> made.told()
            {'batches': 10, 'between': 1.0}
        """
        if self.n < 2:
            return {}
        size = self.rows / self.n
        between = np.maximum(self.squares / self.n - (self.means / self.n) ** 2, 0) * self.n / (self.n - 1)
        within = self.within / self.n
        extra = np.maximum(between - within / size, 0)
        with np.errstate(all="ignore"):
            share = np.where(extra > 0, extra / (extra + within), 0.0)
            ratio = np.where(within > 0, between * size / within, 1.0)  # F, of n − 1 and many degrees of freedom
        largest = float(share.max(initial=0.0))
        if self.place is not None:
            return {"batches": self.n, "between": largest}
        sure = float(ratio.max(initial=1.0) - 1) / np.sqrt(2 / (self.n - 1))
        return {"batches": self.n, "drift": largest, "drifts": float(sure)}
