"""Where training takes its examples from: the protocol of sources, and arrays in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.data.arrays import as_arrays, read_array
from undertow.data.background import Blocks
from undertow.data.batches import check_leading_sizes, read_whole
from undertow.errors import ArgumentError, DataError, ShapeError

Array = NDArray[Any]
Block = tuple[Array, ...]
_BLOCK_BYTES = 32_000_000


@dataclass(frozen=True)
class Example:
    """What one example of a source looks like.

    Args:
        shapes: of X, y and, where there are weights, the weight, without the batch axis.
        dtypes: the same.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype[Any], ...]

    @property
    def bytes(self) -> int:
        """The memory of one example."""
        pairs = zip(self.shapes, self.dtypes, strict=True)
        return max(sum(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize for shape, dtype in pairs), 1)

    @staticmethod
    def of(block: Block) -> Example:
        """The example of a block of arrays."""
        return Example(tuple(array.shape[1:] for array in block), tuple(array.dtype for array in block))

    def make(self, n: int) -> Block:
        """Make arrays, not filled, for n examples."""
        pairs = zip(self.shapes, self.dtypes, strict=True)
        return tuple(np.empty((n, *shape), dtype) for shape, dtype in pairs)


class Source(ABC):
    """Examples for training, in blocks of many batches; the order follows from (seed, epoch) alone.

    A block is (X, y), or (X, y, weights) where ``weighted``; its arrays are C-contiguous and hold a whole
    number of batches, but for the last block of an epoch, whose last batch may be short. Batches of equal
    number are equal to the last bit, however often the epoch was begun anew.

    Attributes:
        n_examples: an epoch's; None where it is not known before the epoch ends.
        example: shapes and dtypes of one example.
        shuffle: False keeps the order in which the examples lie.

    Example:
        >>> source = ArraySource(np.arange(6.0)[:, None], np.arange(6))
        >>> with source.epoch(0, batch_size=4, seed=1) as blocks:
        ...     [y.tolist() for X, y in blocks]
        [[4, 0, 2, 1, 5, 3]]
        >>> with source.epoch(0, start=1, batch_size=4, seed=1) as blocks:
        ...     [y.tolist() for X, y in blocks]
        [[5, 3]]
    """

    n_examples: int | None
    example: Example
    shuffle: bool

    @property
    def weighted(self) -> bool:
        """Whether blocks hold weights behind X and y."""
        return len(self.example.shapes) == 3

    def n_batches(self, batch_size: int) -> int | None:
        """The number of batches of an epoch; None where it is not known."""
        return None if self.n_examples is None else -(-self.n_examples // read_whole(batch_size, "batch_size", 1))

    def epoch(self, epoch: int, start: int = 0, *, batch_size: int = 64, seed: int = 0) -> Blocks:
        """Begin an epoch.

        Args:
            epoch: its number, 0 or more.
            start: the number of batches to leave out at its beginning (a run resumed within an epoch).
            batch_size: examples a batch; the order of the examples does not depend on it.
            seed: 0 or more.

        Returns:
            An iterator over blocks, to be closed (``with source.epoch(0) as blocks:``) where it is not
            read to its end: a thread may be reading ahead.

        Raises:
            ArgumentError: ``start must be a whole number of 0 or more, got -1.`` or the like.
            DataError: from the iterator: what is wrong with the data, with file and row.
        """
        epoch, start = read_whole(epoch, "epoch", 0), read_whole(start, "start", 0)
        batch_size, seed = read_whole(batch_size, "batch_size", 1), read_whole(seed, "seed", 0)
        return self._begin(epoch, start * batch_size, batch_size, seed)

    @abstractmethod
    def _begin(self, epoch: int, skip: int, batch_size: int, seed: int) -> Blocks:
        """Blocks of an epoch, of arguments that are checked, without its first ``skip`` examples."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """What decides the order besides (seed, epoch), as JSON values; a resumed run needs the same."""

    def head(self, n: int) -> Block:
        """The first examples as they lie, at most n, for tracing and for messages."""
        blocks = []
        plain = self.in_order()
        with plain.epoch(0, batch_size=n) as found:
            for block in found:
                blocks.append(block)
                break
        if not blocks:
            raise DataError("the source holds no examples. Give at least one.")
        return tuple(array[:n].copy() for array in blocks[0])

    @abstractmethod
    def in_order(self) -> Source:
        """The same examples in the order in which they lie."""


@dataclass(frozen=True, eq=False)
class ArraySource(Source):
    """Arrays in memory, shuffled as a whole: the order is that of `Batches`.

    Args:
        X: inputs, the batch axis first, (m, …); read by ``as_arrays``, so finite numbers.
        y: targets, (m, …).
        weights: one number of 0 or more for each example, (m,), or None.
        shuffle: False keeps the order of the arrays.

    Raises:
        ShapeError: leading sizes that differ.
        DataError: no examples, values that are not finite, a weight below 0.

    Example:
        >>> source = ArraySource([[1, 2], [3, 4]], [0, 1], weights=[1, 0.5])
        >>> source.n_examples, source.weighted, source.example.shapes
        (2, True, ((2,), (), ()))
    """

    X: Array
    y: Array
    weights: Array | None = None
    shuffle: bool = True
    n_examples: int = field(init=False)
    example: Example = field(init=False)

    def __post_init__(self) -> None:
        X, y = as_arrays((self.X, self.y))
        values: dict[str, Any] = {"X": np.ascontiguousarray(X), "y": np.ascontiguousarray(y), "n_examples": len(X)}
        if self.weights is not None:
            values["weights"] = read_weights(self.weights, len(X))
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "example", Example.of(self.arrays))

    @property
    def arrays(self) -> Block:
        """X, y and, where there are any, the weights."""
        return (self.X, self.y) if self.weights is None else (self.X, self.y, self.weights)

    def _begin(self, epoch: int, skip: int, batch_size: int, seed: int) -> Blocks:
        return Blocks(self._blocks(epoch, skip, batch_size, seed), ahead=False)

    def _blocks(self, epoch: int, skip: int, batch_size: int, seed: int) -> Iterator[Block]:
        rows = max(_BLOCK_BYTES // self.example.bytes // batch_size, 1) * batch_size
        order = np.random.default_rng([seed, epoch]).permutation(self.n_examples) if self.shuffle else None
        for first in range(skip, self.n_examples, rows):
            chosen: Any = slice(first, first + rows) if order is None else order[first : first + rows]
            yield tuple(array[chosen] for array in self.arrays)

    def describe(self) -> dict[str, object]:
        """What decides the order besides (seed, epoch), as JSON values."""
        return {"kind": "arrays", "n_examples": self.n_examples, "shuffle": self.shuffle}

    def in_order(self) -> ArraySource:
        """The same examples in the order in which they lie."""
        return ArraySource(self.X, self.y, self.weights, shuffle=False)


def read_weights(weights: object, n: int, place: str = "weights") -> NDArray[np.float32]:
    """Check weights of examples.

    Args:
        weights: n numbers of 0 or more.
        n: the number of examples.
        place: what messages call them.

    Returns:
        Float32 array (n,).

    Raises:
        ShapeError: ``weights is (3,), but there are 4 examples. …``
        DataError: ``weights[2] is -1.0. Weights are numbers of 0 or more.``, or not all can be 0.

    Example:
        >>> read_weights([1, 2.5], 2)
        array([1. , 2.5], dtype=float32)
    """
    found = read_array(weights, place)
    if found.shape != (n,):
        raise ShapeError(f"{place} is {found.shape}, but there are {n} examples. Give one number for each.")
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float32)
    if n and numbers.max() == np.inf:
        at = int(numbers.argmax())
        raise DataError(f"{place}[{at}] is {found[at]}, too large for float32. Divide all of them by the largest.")
    if n and numbers.min() < 0:
        at = int(numbers.argmin())
        raise DataError(f"{place}[{at}] is {found[at]}. Weights are numbers of 0 or more.")
    return numbers


def check_memory(memory: float, example: Example) -> int:
    """The number of examples of which a fifth of ``memory`` (bytes) has room; at least one must fit."""
    if isinstance(memory, bool) or not isinstance(memory, int | float) or not memory >= 1:
        raise ArgumentError(f"memory must be a number of bytes, such as 256e6, got {memory!r}.")
    rows = int(memory / 5 // example.bytes)
    if rows < 1:
        raise ArgumentError(
            f"memory is {memory:g} bytes, but an example takes {example.bytes}. Give at least {10 * example.bytes}."
        )
    return rows


def check_block(block: object, place: str, example: Example | None) -> Block:
    """Check a pair or triple of arrays that a user gives, and its shapes against those before it.

    Args:
        block: (X, y) or (X, y, weights).
        place: what messages call it.
        example: shapes and dtypes wanted; None for the first block.

    Returns:
        The arrays, of the wanted dtypes.
    """
    if not isinstance(block, tuple | list) or len(block) not in (2, 3):
        raise DataError(f"{place} is a {type(block).__name__}. Give (X, y), or (X, y, weights).")
    X, y = as_arrays((block[0], block[1]), place)
    arrays: Block = (X, y)
    if len(block) == 3:
        arrays = (X, y, read_weights(block[2], len(X), f"{place}: weights"))
    if example is None:
        return arrays
    found = Example.of(arrays)
    if found.shapes != example.shapes:
        raise ShapeError(
            f"{place} holds examples of the shapes {found.shapes}, but the ones before it {example.shapes}. "
            "Give all examples the same shape."
        )
    for array, dtype in zip(arrays, example.dtypes, strict=True):
        if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
            raise DataError(
                f"{place} holds {array.dtype}, but what came before it {dtype}. Give all examples one dtype."
            )
    check_leading_sizes(place, X, y)
    return tuple(array.astype(dtype, copy=False) for array, dtype in zip(arrays, example.dtypes, strict=True))
