"""Where values lie: one arena, in which a place is used again as soon as its value has been read for the last time."""

from __future__ import annotations

from bisect import insort

ALIGN = 64


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
