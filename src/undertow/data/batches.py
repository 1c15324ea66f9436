"""Training and validation parts, and minibatches that (seed, epoch) alone decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError, DataError, ShapeError


def split(
    n: int, fraction: float, seed: int, stratify: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose which of n examples are held out for validation.

    Args:
        n: the number of examples.
        fraction: the share to hold out, 0 ≤ fraction < 1; 0 holds out none.
        seed: 0 or more; decides the choice.
        stratify: n class labels; each class is then held out in its own share, and at least one example
            of each stays in training. None where there are no classes.

    Returns:
        The indices of the training part and of the validation part, int64, each sorted. Training is
        never empty; validation is not empty where fraction > 0 and n ≥ 2.

    Raises:
        ArgumentError: ``the validation fraction must be 0 or more and less than 1, got 1.5.``
        ShapeError: ``split: there are 10 examples but stratify is (9,). …``
        DataError: every class has one example, so none can be held out.

    Example:
        >>> train, validation = split(10, 0.2, seed=0, stratify=[0] * 5 + [1] * 5)
        >>> len(train), validation // 5
        (8, array([0, 1]))
    """
    n, seed = read_whole(n, "n", 1), read_whole(seed, "seed", 0)
    fraction = read_fraction(fraction)
    rng = np.random.default_rng(seed)
    everything = np.arange(n, dtype=np.int64)
    codes = np.zeros(n, dtype=np.int64) if stratify is None else read_classes(stratify, n)
    if fraction == 0 or n == 1:
        return everything, everything[:0]
    counts = np.bincount(codes)
    total = int(np.clip(round(n * fraction), 1, n - 1))
    held_counts = _share_out(counts, total)
    if held_counts.sum() == 0:
        raise DataError(
            f"split: each of the {n} classes has a single example, so none can be held out. "
            "Give more examples, or a validation fraction of 0."
        )
    held = np.zeros(n, dtype=bool)
    for code, n_held in enumerate(held_counts):
        held[rng.permutation(np.flatnonzero(codes == code))[:n_held]] = True
    return everything[~held], everything[held]


def _share_out(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """``total`` places over the classes by their counts (largest remainder), one of each class left over."""
    quotas = counts * (total / counts.sum())
    limits = counts - 1
    shares = np.minimum(np.floor(quotas).astype(np.int64), limits)
    while shares.sum() < min(total, limits.sum()):
        open_classes = np.flatnonzero(shares < limits)
        order = np.argsort(-(quotas - shares)[open_classes], kind="stable")
        lacking = min(total, int(limits.sum())) - int(shares.sum())
        shares[open_classes[order][:lacking]] += 1
    return np.asarray(shares, dtype=np.int64)


def read_fraction(fraction: float) -> float:
    """A share to hold out, 0 ≤ fraction < 1."""
    try:
        share = float(fraction)
    except (TypeError, ValueError):
        share = float("nan")
    if not 0 <= share < 1:
        more = "" if share == share else " Give a share such as 0.2; 0 holds nothing out."
        raise ArgumentError(f"the validation fraction must be 0 or more and less than 1, got {fraction!r:.80}.{more}")
    return share


def read_classes(stratify: ArrayLike, n: int, who: str = "split") -> NDArray[np.int64]:
    """Class labels as codes 0 … n_classes − 1."""
    labels = np.asarray(stratify)
    if labels.shape != (n,):
        raise ShapeError(f"{who}: there are {n} examples but stratify is {labels.shape}. Give each a label.")
    try:
        return np.unique(labels, return_inverse=True)[1].reshape(n).astype(np.int64)
    except TypeError:
        raise DataError(f"{who}: the labels in stratify differ in type. Give labels of one type.") from None


def read_whole(value: int, name: str, least: int) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be a whole number of {least} or more, got {value!r}.")
    return int(value)


@dataclass(frozen=True, eq=False)
class Batches:
    """Minibatches of two arrays; the order of an epoch follows from (seed, epoch) alone.

    Args:
        X: inputs, the batch axis first, (m, …).
        y: targets, (m, …).
        batch_size: examples a batch; the last batch of an epoch holds what is left.
        seed: 0 or more.
        shuffle: False keeps the order of the arrays.

    Raises:
        ShapeError: ``Batches: X is (150, 4), y is (149,): their leading sizes 150 and 149 differ. …``
        ArgumentError: a batch size or seed out of range.
        DataError: there are no examples.

    Example:
        >>> batches = Batches(np.arange(5.0)[:, None], np.arange(5), batch_size=2, seed=0)
        >>> len(batches), [y.tolist() for X, y in batches.epoch(0)]
        (3, [[2, 4], [3, 0], [1]])
        >>> [y.tolist() for X, y in batches.epoch(0, start=2)]
        [[1]]
    """

    X: NDArray[np.generic]
    y: NDArray[np.generic]
    batch_size: int
    seed: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name in ("X", "y"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), order="C"))
        check_leading_sizes("Batches", self.X, self.y)
        object.__setattr__(self, "batch_size", read_whole(self.batch_size, "batch_size", 1))
        object.__setattr__(self, "seed", read_whole(self.seed, "seed", 0))

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        return -(-len(self.X) // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order in which an epoch takes the examples: int64 indices (m,)."""
        epoch = read_whole(epoch, "epoch", 0)
        if not self.shuffle:
            return np.arange(len(self.X), dtype=np.int64)
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.X)).astype(np.int64)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[NDArray[np.generic], NDArray[np.generic]]]:
        """The batches of one epoch.

        Args:
            epoch: its number, 0 or more.
            start: the number of batches to leave out at its beginning (a run resumed within an epoch).

        Returns:
            An iterator over (X_batch, y_batch), C-contiguous, of the dtypes of X and y. Without shuffling
            they are views of X and y.
        """
        order = self.order(epoch)
        start = read_whole(start, "start", 0)
        return (self._take(order, first) for first in range(start * self.batch_size, len(order), self.batch_size))

    def _take(self, order: NDArray[np.int64], first: int) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        stop = first + self.batch_size
        if not self.shuffle:
            return self.X[first:stop], self.y[first:stop]
        rows = order[first:stop]
        return np.take(self.X, rows, axis=0), np.take(self.y, rows, axis=0)


def check_leading_sizes(what: str, X: NDArray[np.generic], y: NDArray[np.generic]) -> None:
    """X and y must have a batch axis of the same size, which is not 0.

    Args:
        what: who asks, the first word of the message.
        X: inputs, (m, …).
        y: targets, (m, …).

    Raises:
        ShapeError: ``Batches: X is (150, 4), y is (149,): their leading sizes 150 and 149 differ. …``
        DataError: ``Batches: X is (0, 4): there are no examples. Give at least one.``

    Example:
        >>> check_leading_sizes("train", np.zeros((3, 2)), np.zeros(3))
    """
    if X.ndim == 0 or y.ndim == 0:
        raise ShapeError(f"{what}: X is {X.shape}, y is {y.shape}: both need a batch axis. Give arrays of rows.")
    if X.shape[0] != y.shape[0]:
        raise ShapeError(
            f"{what}: X is {X.shape}, y is {y.shape}: their leading sizes {X.shape[0]} and {y.shape[0]} "
            "differ. Give one target for each row of X."
        )
    if X.shape[0] == 0:
        raise DataError(f"{what}: X is {X.shape}: there are no examples. Give at least one.")
