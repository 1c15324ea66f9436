"""Shuffling what is larger than memory: pieces from many places are read together and their rows mixed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data.background import Blocks
from undertow.data.batches import check_leading_sizes
from undertow.data.footprint import give_back
from undertow.data.memory import MEMORY
from undertow.data.source import Array, Block, Example, Source, check_memory
from undertow.data.wording import count
from undertow.errors import DataError, ShapeError

MIXED = 64  # pieces a pool, so that the shares of its classes stray no more than those of a batch of 64


class Pieces(Protocol):
    """Data in pieces that can be read in any order; every piece fits in memory many times.

    Attributes:
        sizes: examples of each piece, int64.
        example: shapes and dtypes.
    """

    sizes: NDArray[np.int64]
    example: Example

    def read(self, number: int) -> Block:
        """The arrays of one piece."""

    def in_order(self) -> Pieces:
        """The same pieces, of which one is read after another."""

    def describe(self) -> dict[str, object]:
        """What the data is, as JSON values."""


@dataclass(frozen=True)
class Pool:
    """Pieces that are in memory together.

    Args:
        number: of the pool in its epoch.
        pieces: their numbers, ascending.
        first: the place of its first example in the order of the epoch.
        n: its examples.
    """

    number: int
    pieces: tuple[int, ...]
    first: int
    n: int


def plan_pools(sizes: NDArray[np.int64], capacity: int, order: NDArray[np.int64]) -> list[Pool]:
    """Deal pieces out to pools of about equal size, in this order.

    Args:
        sizes: examples of each piece.
        capacity: examples that a pool should hold; one piece more than that at most.
        order: of the pieces.

    Returns:
        The pools in the order of the epoch.

    Source: derived here.

    Example:
        >>> [pool.pieces for pool in plan_pools(np.array([2, 2, 2, 2]), 4, np.array([3, 0, 2, 1]))]
        [(0, 3), (1, 2)]
    """
    ends = np.cumsum(sizes[order])
    total = int(ends[-1]) if ends.size else 0
    if total == 0:
        return []
    n_pools = -(-total // capacity)
    pool_of = (ends - sizes[order]) * n_pools // total  # by where a piece begins
    pools: list[Pool] = []
    first = 0
    for value in np.unique(pool_of):
        members = order[pool_of == value]
        n = int(sizes[members].sum())
        if n:
            pools.append(Pool(len(pools), tuple(sorted(int(member) for member in members)), first, n))
            first += n
    return pools


@dataclass(frozen=True, eq=False)
class PieceSource(Source):
    """A source of pieces, with bounded memory.

    An epoch takes the pieces in a random order, as many at once as ``memory`` holds, and permutes the
    examples of these together. A thread reads the next pool while one is in use.

    Args:
        pieces: the data.
        memory: bytes; two pools of a fifth of it are held, for a moment three, beside the piece that is read.
        shuffle: False keeps the order in which the examples lie.

    Raises:
        ArgumentError: ``memory is 8 bytes, but an example takes 24. …``
        DataError: there are no examples.
    """

    pieces: Pieces
    memory: float = MEMORY
    shuffle: bool = True
    n_examples: int = field(init=False)
    example: Example = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "example", self.pieces.example)
        object.__setattr__(self, "n_examples", int(self.pieces.sizes.sum()))
        check_memory(self.memory, self.example)
        if self.n_examples == 0:
            raise DataError("the source holds no examples. Give at least one.")

    def plan(self, epoch: int, seed: int) -> list[Pool]:
        """The pools of an epoch."""
        n = len(self.pieces.sizes)
        order = np.random.default_rng([seed, epoch]).permutation(n) if self.shuffle else np.arange(n)
        return plan_pools(self.pieces.sizes, check_memory(self.memory, self.example), order)

    def _begin(self, epoch: int, skip: int, batch_size: int, seed: int) -> Blocks:
        return Blocks(self._blocks(epoch, skip, batch_size, seed))

    def _blocks(self, epoch: int, skip: int, batch_size: int, seed: int) -> Iterator[Block]:
        pools = self.plan(epoch, seed)
        give_back()
        carried: Block = self.example.make(0)  # examples of a pool that fill no whole batch
        for pool in pools:
            if pool.first + pool.n <= skip:
                continue
            block, n_carried = self._fill(pool, carried, [seed, epoch, 1 + pool.number])
            give_back()
            begin = max(skip - pool.first, 0)  # nothing is carried into the pool that holds the first batch
            n = n_carried + pool.n - begin
            last = pool is pools[-1]
            whole = n if last else n - n % batch_size
            carried = tuple(array[begin + whole :].copy() for array in block)
            if whole:
                found = tuple(array[begin : begin + whole] for array in block)
                del block
                yield found
                del found

    def _fill(self, pool: Pool, carried: Block, entropy: Sequence[int]) -> tuple[Block, int]:
        """The examples carried over, followed by those of a pool in random order."""
        n_carried = len(carried[0])
        block = self.example.make(n_carried + pool.n)
        for target, source in zip(block, carried, strict=True):
            target[:n_carried] = source
        places = n_carried + (np.random.default_rng(entropy).permutation(pool.n) if self.shuffle else np.arange(pool.n))
        first = 0
        for number in pool.pieces:
            n = int(self.pieces.sizes[number])
            if n == 0:
                continue
            for target, source in zip(block, self.pieces.read(number), strict=True):
                target[places[first : first + n]] = source
            first += n
        return block, n_carried

    def describe(self) -> dict[str, object]:
        """What decides the order besides (seed, epoch), as JSON values."""
        settings: dict[str, object] = {"n_examples": self.n_examples, "shuffle": self.shuffle}
        return {**self.pieces.describe(), **settings, "memory": self.memory}

    def head(self, n: int) -> Block:
        """The first examples as they lie, at most n: of a pool, the pieces that hold them."""
        found: list[Block] = []
        for number in np.flatnonzero(self.pieces.sizes):
            found.append(self.pieces.read(int(number)))
            if sum(len(block[0]) for block in found) >= n:
                break
        return tuple(np.concatenate(arrays)[:n] for arrays in zip(*found, strict=True))

    def in_order(self) -> PieceSource:
        """The same examples in the order in which they lie."""
        return PieceSource(self.pieces.in_order(), self.memory, shuffle=False)


class ArrayPieces:
    """Arrays of which slices are read: NumPy memory maps.

    Args:
        arrays: X and y, and weights where there are any, of equal leading sizes.
        names: what messages call them.
        memory: bytes, as in `PieceSource`.
    """

    def __init__(self, arrays: Block, names: Sequence[str], memory: float) -> None:
        for array, name in zip(arrays, names, strict=True):
            _check_kind(array, name)
        if any(array.shape[0] != arrays[0].shape[0] for array in arrays):
            sizes = ", ".join(f"{name} is {array.shape}" for array, name in zip(arrays, names, strict=True))
            raise ShapeError(f"{sizes}: their leading sizes differ. Give one target for each row of X.")
        check_leading_sizes("the source", arrays[0], arrays[1])
        self.arrays, self.names = arrays, list(names)
        dtypes = [_read_dtype(arrays[0].dtype), *(array.dtype for array in arrays[1:])]
        if len(arrays) == 3:
            dtypes[2] = np.dtype(np.float32)
        self.example = Example(tuple(array.shape[1:] for array in arrays), tuple(dtypes))
        n = len(arrays[0])
        self.rows = max(check_memory(memory, self.example) // MIXED, 1)
        self.sizes = np.diff(np.append(np.arange(0, n, self.rows), n)).astype(np.int64)

    def read(self, number: int) -> Block:
        """The arrays of one piece, checked."""
        first = number * self.rows
        found = []
        for place, (array, name, dtype) in enumerate(zip(self.arrays, self.names, self.example.dtypes, strict=True)):
            values = np.asarray(array[first : first + self.rows])
            _check_values(values, name, first, weights=place == 2)
            found.append(values.astype(dtype, copy=True))
            _release(array)
        return tuple(found)

    def in_order(self) -> ArrayPieces:
        """The arrays themselves."""
        return self

    def describe(self) -> dict[str, object]:
        """What the data is, as JSON values."""
        return {"kind": "memory maps", "files": self.names}


def open_arrays(X: Any, y: Any, weights: Any = None, *, memory: float = MEMORY, shuffle: bool = True) -> PieceSource:
    """Open arrays in .npy files as a source, of which slices alone are in memory.

    Args:
        X: inputs: the path of a .npy file, or an array such as ``np.memmap``, (m, …).
        y: targets: the same, (m, …).
        weights: the same, (m,), or None.
        memory: bytes that reading may take.
        shuffle: False keeps the order of the files.

    Returns:
        The source.

    Raises:
        DataError: ``X.npy: there is no such file. Check the path.``, a file that is cut short, a dtype
            that is no number; while it is read, ``X.npy[41, 3] is NaN. …``
        ShapeError: leading sizes that differ.

    Source: derived here.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, array in (("X", np.arange(8.0).reshape(4, 2)), ("y", np.arange(4))):
        ...         np.save(pathlib.Path(folder, f"{name}.npy"), array)
        ...     source = open_arrays(pathlib.Path(folder, "X.npy"), pathlib.Path(folder, "y.npy"), shuffle=False)
        ...     with source.epoch(0, batch_size=2) as blocks:
        ...         [y.tolist() for X, y in blocks]
        [[0, 1, 2, 3]]
    """
    given = [("X", X), ("y", y)] + ([] if weights is None else [("weights", weights)])
    arrays, names = [], []
    for name, value in given:
        arrays.append(_map_file(Path(value)) if isinstance(value, str | Path) else np.asanyarray(value))
        names.append(Path(value).name if isinstance(value, str | Path) else name)
    return PieceSource(ArrayPieces(tuple(arrays), names, memory), memory, shuffle)


def _map_file(path: Path) -> Array:
    """A .npy file as a memory map, read only."""
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file. Check the path.") from None
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(
            f"{path.name}: this is no .npy file of numbers, or cut short: {reason}. Save it again."
        ) from None


def _release(array: Array) -> None:
    """Give the pages of a memory map back: they count as this process's memory for as long as it likes."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", "c") in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _check_kind(array: Array, name: str) -> None:
    if not hasattr(array, "dtype") or array.dtype.kind not in "biuf":
        found = getattr(array, "dtype", type(array).__name__)
        raise DataError(f"{name} holds {found}, no real numbers. Give an array of numbers.")
    if array.ndim == 0:
        raise ShapeError(f"{name} is one number. Give an array of rows.")


def _read_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of inputs: float64 stays, everything else is float32 (as ``as_arrays`` has it)."""
    wide = np.issubdtype(dtype, np.floating) and dtype.itemsize >= 8
    return np.dtype(np.float64 if wide else np.float32)


def _check_values(values: ArrayLike, name: str, first: int, weights: bool) -> None:
    """DataError at the first entry that is not finite, or the first weight below 0."""
    array = np.asarray(values)
    bad = np.zeros(0, dtype=np.int64)
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(array))
    if weights and not bad.size:
        bad = np.flatnonzero(array < 0)
    if not bad.size:
        return
    index = np.unravel_index(int(bad[0]), array.shape)
    place = ", ".join(str(int(i) + (first if axis == 0 else 0)) for axis, i in enumerate(index))
    remedy = "Weights are finite numbers of 0 or more." if weights else "Fill or drop such rows."
    more = f" ({count(int(bad.size), 'such value')} near it)" if bad.size > 1 else ""
    raise DataError(f"{name}[{place}] is {array[index]}{more}. {remedy}")
