"""What a training takes its batches from: arrays in memory, or a source that reads blocks of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.data import Batches, Source
from undertow.data.pieces import PieceSource
from undertow.nn.mode import example_keys
from undertow.train.forward import CHUNK
from undertow.train.objective import Target
from undertow.train.task import Examples, Task

Array = NDArray[Any]
MIXING = 0x6D69780A  # sets the random numbers of mixup apart from those that shuffle


@dataclass(frozen=True)
class Piece:
    """A number of whole batches (the last of an epoch may be short).

    Attributes:
        X: examples, (n, …).
        target: what belongs to them.
        order: the order in which rows of X make the batches, int64.
    """

    X: Array
    target: Target
    order: NDArray[np.int64]

    def weights_of(self, rows: NDArray[np.int64], size: int) -> Array:
        """Return what each batch of ``size`` among rows counts for in the mean of an epoch."""
        starts, weights = np.arange(0, len(rows), size), self.target.weights
        if weights is None:
            return np.minimum(len(rows) - starts, size).astype(np.float64)
        return np.add.reduceat(weights[rows].astype(np.float64), starts) if len(rows) else np.empty(0)


@dataclass(frozen=True)
class Draws:
    """The random numbers that examples need in a step.

    Attributes:
        seed: of the training.
        keys: whether layers draw numbers.
        mixup: the parameter of the Beta distribution of shares; 0 mixes nothing.
        dtype: of the parameters.
    """

    seed: int
    keys: bool
    mixup: float
    dtype: np.dtype[Any]

    def target(
        self, y: Array, weights: Array | None, epoch: int, first: int = 0, batch_size: int | None = None
    ) -> Target:
        """Put together what belongs to examples.

        Args:
            y: targets, (m, …).
            weights: of the examples, (m,), or None.
            epoch: from 0.
            first: the number of the first example within the epoch.
            batch_size: where a training may go on from any batch: shares are then drawn batch by batch.
        """
        n = len(y)
        keys = example_keys(self.seed, epoch, first + n)[first:] if self.keys else None
        mix = None
        if self.mixup:
            mix = np.empty(n, self.dtype)
            for start in range(0, n, batch_size or n):
                part = mix[start : start + (batch_size or n)]
                rng = np.random.default_rng([self.seed, epoch, MIXING, first + start])
                part[:] = rng.beta(self.mixup, self.mixup, len(part))
        weights = None if weights is None else weights.astype(self.dtype, copy=False)
        return Target(y, weights, keys, mix)


class Feed(ABC):
    """Batches for epoch after epoch; their order follows from (seed, epoch) alone.

    Attributes:
        n_examples: of an epoch; None where it is not known before its end.
        batch_size: examples a batch.
        draws: the random numbers of a step.
        by_class: what an example of each class counts in the loss, (classes,); None where all count alike.
    """

    n_examples: int | None
    batch_size: int
    draws: Draws
    from_files: bool = False  # read in blocks, since memory does not hold them
    by_class: Array | None = None

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """Tell the data from others, as plain data."""

    @abstractmethod
    def pieces(self, epoch: int, seen: int) -> Iterator[Piece]:
        """Give the batches of an epoch (from 0) after the first ``seen`` examples; close it where it is not read up."""

    @abstractmethod
    def some(self, epoch: int, n: int) -> tuple[Array, Array, Array | None]:
        """Give up to n examples of an epoch (X, y, weights), as they are trained on."""

    def sample(self) -> Piece | None:
        """Give some examples to compile a step with before blocks of them take memory; None where none do."""
        return None

    def to_measure(self, epoch: int, n: int) -> tuple[Array, Array, Array | None]:
        """Give the same for metrics, which count classes alike."""
        return self.some(epoch, n)


def tell_apart(*arrays: Array | None) -> dict[str, Any]:
    """Describe arrays by their shapes, dtypes and contents, as plain data."""
    digest = hashlib.blake2b(digest_size=16)
    shapes = []
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            shapes.append([list(array.shape), str(array.dtype)])
    return {"arrays": shapes, "blake2b": digest.hexdigest()}


class ArrayFeed(Feed):
    """Arrays in memory.

    Args:
        X: inputs, (m, …).
        y: targets as the loss takes them, (m, …).
        weights: of the examples, (m,), or None.
        batch_size: examples a batch.
        draws: the random numbers.
        task: the loss's view of targets.
        by_class: what an example of each class counts besides, (classes,) float32, or None.
    """

    def __init__(
        self, X: Array, y: Array, weights: Array | None, batch_size: int, draws: Draws, task: Task,
        by_class: Array | None = None,
    ) -> None:  # fmt: skip
        self.batches, self.counts, self.by_class = Batches(X, y, batch_size, draws.seed), weights, by_class
        weights = weights if by_class is None else task.weigh_classes(y, by_class, weights)
        self.X, self.y, self.weights, self.draws = self.batches.X, self.batches.y, weights, draws
        self.encoded = task.encode(self.y)
        self.n_examples, self.batch_size = len(X), self.batches.batch_size

    def fingerprint(self) -> dict[str, Any]:
        """Tell the arrays by their contents."""
        return self._told

    @cached_property
    def _told(self) -> dict[str, Any]:
        return tell_apart(self.X, self.y, self.weights)

    def pieces(self, epoch: int, seen: int) -> Iterator[Piece]:
        """Give one piece: all that is left of the epoch."""
        order = self.batches.order(epoch)[seen:]
        if len(order):
            yield Piece(self.X, self.draws.target(self.encoded, self.weights, epoch), order)

    def some(self, epoch: int, n: int) -> tuple[Array, Array, Array | None]:
        """Give the first n examples in the order of an epoch."""
        rows = self.batches.order(epoch)[:n]
        return self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows]

    def to_measure(self, epoch: int, n: int) -> tuple[Array, Array, Array | None]:
        """Give the first n examples with their own weights, without those of classes."""
        X, y, _ = self.some(epoch, n)
        rows = self.batches.order(epoch)[:n]
        return X, y, None if self.counts is None else self.counts[rows]


class SourceFeed(Feed):
    """Blocks that a source reads, larger than memory together.

    Args:
        source: the source.
        batch_size: examples a batch.
        draws: the random numbers.
        task: the loss's view of targets.
    """

    def __init__(self, source: Source, batch_size: int, draws: Draws, task: Task) -> None:
        self.source, self.task, self.draws = source, task, draws
        self.n_examples, self.batch_size = source.n_examples, batch_size
        self.from_files = isinstance(source, PieceSource)
        self.first: Examples | None = None

    def fingerprint(self) -> dict[str, Any]:
        """Tell the source by what decides its order."""
        return {"source": self.source.describe()}

    def pieces(self, epoch: int, seen: int) -> Iterator[Piece]:
        """Give block after block."""
        begin = -(-seen // self.batch_size)  # a short batch is the last one
        with self.source.epoch(epoch, begin, batch_size=self.batch_size, seed=self.draws.seed) as blocks:
            for block in blocks:
                X, y, weights = read_block(block, self.task, self.draws.dtype)
                target = self.draws.target(self.task.encode(y), weights, epoch, seen, self.batch_size)
                yield Piece(X, target, np.arange(len(X)))
                seen += len(X)

    def sample(self) -> Piece | None:
        """Give the first examples of files; batches that Python code makes are not asked for."""
        if not self.from_files:
            return None
        X, y, weights = self.some(0, CHUNK)
        target = self.draws.target(self.task.encode(y), weights, 0, 0, self.batch_size)
        return Piece(X, target, np.arange(len(X)))

    def some(self, epoch: int, n: int) -> Examples:
        """Give the first n examples as they lie; the same in each epoch."""
        if self.first is None:
            self.first = read_block(self.source.head(n), self.task, self.draws.dtype)
        return self.first


class SourceExamples:
    """The examples of a source in their order, to measure on; read anew each time."""

    def __init__(self, source: Source, task: Task, dtype: np.dtype[Any]) -> None:
        self.source, self.task, self.dtype = source.in_order(), task, dtype

    def __iter__(self) -> Iterator[Examples]:
        with self.source.epoch(0, batch_size=CHUNK) as blocks:
            for block in blocks:
                yield read_block(block, self.task, self.dtype)


def read_block(block: tuple[Any, ...], task: Task, dtype: np.dtype[Any]) -> Examples:
    """Bring a block of a source to the dtype of the parameters and the shape of targets that the loss takes."""
    X, y, *weights = block
    return X.astype(dtype, copy=False), task.read_target(y), weights[0] if weights else None
