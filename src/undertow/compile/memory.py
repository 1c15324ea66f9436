"""Where values lie: one arena, in which a place is used again as soon as its value has been read for the last time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import NamedTuple

ALIGN = 64
APART = 256  # bytes between what two threads write all the time: processors fetch lines in pairs
FEW = 500  # values up to which the time for trying every pair is nothing


def align(size: int) -> int:
    """Round a number of bytes up to a whole cache line."""
    return (size + ALIGN - 1) // ALIGN * ALIGN


class Arena:
    """Hands out places in order of time; a gap is filled with what fits it best."""

    def __init__(self) -> None:
        self.gaps: list[tuple[int, int]] = []  # offset and size, by offset
        self.size = 0

    def take(self, size: int) -> int:
        """Return the offset of a free place."""
        size = align(max(size, 1))
        best = min((gap for gap in self.gaps if gap[1] >= size), key=lambda gap: gap[1], default=None)
        if best is None:
            if self.gaps and sum(self.gaps[-1]) == self.size:  # the last gap grows
                offset, _ = self.gaps.pop()
            else:
                offset = self.size
            self.size = offset + size
            return offset
        self.gaps.remove(best)
        if best[1] > size:
            insort(self.gaps, (best[0] + size, best[1] - size))
        return best[0]

    def give_back(self, offset: int, size: int) -> None:
        """Let a place be used again."""
        size = align(max(size, 1))
        insort(self.gaps, (offset, size))
        i = self.gaps.index((offset, size))
        for j in (i, i - 1):  # neighbours become one gap
            if 0 <= j < len(self.gaps) - 1 and sum(self.gaps[j]) == self.gaps[j + 1][0]:
                self.gaps[j : j + 2] = [(self.gaps[j][0], self.gaps[j][1] + self.gaps[j + 1][1])]


class Life(NamedTuple):
    """A value that needs memory: its bytes, and the first and the last moment of its life."""

    size: int
    first: int
    last: int


def lay_out(lives: Sequence[Life]) -> tuple[list[int], int, int]:
    """Find a place for every value, so that no two that live at once overlap.

    Two ways are tried: in order of time, each in the gap that fits it best; and, for no more than a few hundred values,
    the largest first, each at the lowest place that is free for all its life.

    Args:
        lives: the values.

    Returns:
        The offset of each, the size of the arena, and the most bytes that live at once.
    """
    offsets, size, least = _by_time(lives)
    if least < size and len(lives) <= FEW:
        others, smaller = _by_size(lives)
        if smaller < size:
            return others, smaller, least
    return offsets, size, least


def _by_time(lives: Sequence[Life]) -> tuple[list[int], int, int]:
    arena, offsets = Arena(), [0] * len(lives)
    events = sorted(range(len(lives)), key=lambda i: lives[i].first)
    ends = sorted(range(len(lives)), key=lambda i: lives[i].last)
    alive = least = done = 0
    for i in events:
        while done < len(ends) and lives[ends[done]].last < lives[i].first:
            gone = ends[done]
            arena.give_back(offsets[gone], lives[gone].size)
            alive -= align(max(lives[gone].size, 1))
            done += 1
        offsets[i] = arena.take(lives[i].size)
        alive += align(max(lives[i].size, 1))
        least = max(least, alive)
    return offsets, arena.size, least


def _by_size(lives: Sequence[Life]) -> tuple[list[int], int]:
    offsets = [0] * len(lives)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, and the moments of life
    for i in sorted(range(len(lives)), key=lambda i: -lives[i].size):
        size, first, last = align(max(lives[i].size, 1)), lives[i].first, lives[i].last
        offset = 0
        for start, end, born, died in placed:  # by offset
            if born <= last and first <= died:
                if start - offset >= size:
                    break
                offset = max(offset, end)
        offsets[i] = offset
        insort(placed, (offset, offset + size, first, last))
    return offsets, max((end for _, end, _, _ in placed), default=0)
