"""Examples from Python iterables: generators of batches, read once an epoch from their beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from undertow.data.background import Blocks
from undertow.data.batches import read_whole
from undertow.data.memory import MEMORY
from undertow.data.source import Block, Example, Source, check_block, check_memory
from undertow.errors import ArgumentError, DataError


@dataclass(frozen=True, eq=False)
class IterableSource(Source):
    """Batches that Python code makes, joined into blocks and shuffled within bounded memory.

    Args:
        make: a function that makes an iterable of (X, y) or (X, y, weights) with any number of rows each,
            anew for every epoch; its first parameter, if it has no default or is called ``epoch``, takes the epoch's
            number. Or an iterable that can be begun anew, such as a list. An iterator (a generator that runs already)
            is good for one epoch.
        memory: bytes; examples are mixed among as many as fill a tenth of it.
        shuffle: False keeps the order of the iterable.
        examples: an epoch's; needed where the iterable has no end. None reads it to its end.

    Raises:
        DataError: batches that differ in shape, an iterator that is used up, or too few examples.

    Example:
        >>> def make(epoch):
        ...     for i in range(3):
        ...         yield np.full((2, 1), i, dtype=np.float32), np.array([i, i])
        >>> source = IterableSource(make, shuffle=False)
        >>> with source.epoch(0, batch_size=4) as blocks:
        ...     [y.tolist() for X, y in blocks]
        [[0, 0, 1, 1, 2, 2]]
    """

    make: Callable[..., Iterable[Any]] | Iterable[Any]
    memory: float = MEMORY
    shuffle: bool = True
    examples: int | None = None
    n_examples: int | None = field(init=False)
    example: Example = field(init=False)
    _first: list[Any] = field(init=False, default_factory=list)  # what was taken from an iterator to look at it

    def __post_init__(self) -> None:
        if not callable(self.make) and not isinstance(self.make, Iterable):
            raise ArgumentError(
                f"a source was given a {type(self.make).__name__}. Give a function that makes batches, or a list."
            )
        if self.examples is not None:
            read_whole(self.examples, "examples", 1)
        object.__setattr__(self, "n_examples", self.examples)
        batches = self._iterate(0)
        first = next(batches, None)
        if first is None:
            raise DataError("the iterable gives no batches. Give at least one.")
        if self.once:
            self._first.append(chain([first], batches))
        else:
            close = getattr(batches, "close", None)
            if close is not None:
                close()
        object.__setattr__(self, "example", Example.of(check_block(first, "batch 1", None)))
        check_memory(self.memory, self.example)

    @property
    def once(self) -> bool:
        """Whether it is an iterator, good for one epoch."""
        return not callable(self.make) and iter(self.make) is self.make

    def _iterate(self, epoch: int) -> Iterator[Any]:
        if not callable(self.make):
            return iter(self.make)
        from inspect import signature

        try:
            asked = next(iter(signature(self.make).parameters.values()), None)
            takes_epoch = asked is not None and (
                asked.name == "epoch"
                or (asked.default is asked.empty and asked.kind not in (asked.KEYWORD_ONLY, asked.VAR_KEYWORD))
            )  # another one that has a default is the maker's own: lambda size=size: …
        except (TypeError, ValueError):
            takes_epoch = False
        made = self.make(epoch) if takes_epoch else self.make()
        if not isinstance(made, Iterable):
            raise DataError(
                f"the function of a source returned a {type(made).__name__}. Let it return or yield batches."
            )
        return iter(made)

    def _begin(self, epoch: int, skip: int, batch_size: int, seed: int) -> Blocks:
        batches = self._take() if self.once else self._iterate(epoch)
        return Blocks(self._blocks(batches, epoch, skip, batch_size, seed))

    def _blocks(self, batches: Iterator[Any], epoch: int, skip: int, batch_size: int, seed: int) -> Iterator[Block]:
        carried = self.example.make(0)
        first = 0  # the place of a pool's first example in the order of the epoch
        pools = self._pools(batches)
        pool = next(pools, None)
        number = 0
        while pool is not None:
            n = len(pool[0])
            if self.shuffle and first + n > skip:
                order = np.random.default_rng([seed, epoch, 1 + number]).permutation(n)
                pool = tuple(array[order] for array in pool)
            begin = min(max(skip - first, 0), n)
            joined = tuple(np.concatenate([old, new[begin:]]) for old, new in zip(carried, pool, strict=True))
            first, number = first + n, number + 1
            pool = next(pools, None)
            whole = len(joined[0]) if pool is None else len(joined[0]) // batch_size * batch_size
            carried = tuple(array[whole:].copy() for array in joined)
            if whole:
                found = tuple(array[:whole] for array in joined)
                del joined
                yield found
                del found
        if first == 0:
            raise DataError("the iterable gives no batches. Give at least one.")
        if self.examples is not None and first < self.examples:
            raise DataError(
                f"the iterable ended after {first} of {self.examples} examples. Give more, or ask for fewer."
            )

    def _pools(self, batches: Iterator[Any]) -> Iterator[Block]:
        """Batches joined until they fill a pool."""
        capacity = max(check_memory(self.memory, self.example) // 2, 1)  # a pool is read while another is mixed
        kept: list[Block] = []
        n, total = 0, 0
        try:
            for number, batch in enumerate(batches, 1):
                block = check_block(batch, f"batch {number}", self.example)
                if self.examples is not None:
                    block = tuple(array[: self.examples - total] for array in block)
                while len(block[0]):
                    room = capacity - n
                    kept.append(tuple(array[:room].copy() for array in block))
                    n += len(kept[-1][0])
                    total += len(kept[-1][0])
                    block = tuple(array[room:] for array in block)
                    if n == capacity:
                        yield tuple(np.concatenate(arrays) for arrays in zip(*kept, strict=True))
                        kept, n = [], 0
                if total == self.examples:
                    break
            if kept:
                yield tuple(np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def describe(self) -> dict[str, object]:
        """What decides the order besides (seed, epoch), as JSON values."""
        settings: dict[str, object] = {"shuffle": self.shuffle, "memory": self.memory, "examples": self.examples}
        return {"kind": "iterable", **settings}

    def in_order(self) -> IterableSource:
        """The same examples in the order in which they come; of an iterator, both take from it."""
        plain = copy(self)
        object.__setattr__(plain, "shuffle", False)
        return plain

    def head(self, n: int) -> Block:
        """The first examples, at most n; what was taken from an iterator is put back."""
        if not self.once:
            return super().head(n)
        batches, taken, rows = self._take(), [], 0
        for batch in batches:
            taken.append(batch)
            rows += len(batch[0])
            if rows >= n:
                break
        self._first.append(chain(taken, batches))
        blocks = [check_block(batch, f"batch {number}", self.example) for number, batch in enumerate(taken, 1)]
        return tuple(np.concatenate(arrays)[:n] for arrays in zip(*blocks, strict=True))

    def _take(self) -> Iterator[Any]:
        """What is left of an iterator."""
        if not self._first:
            raise DataError(
                "the generator is used up: it was good for one epoch. Give the function that makes it, not its result."
            )
        return self._first.pop()
