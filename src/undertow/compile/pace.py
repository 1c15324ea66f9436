"""Whether threads share the work of a program or one of them does it all: by measurement, and again and again.

What threads gain depends on how far apart their processors are, and on who else uses them: on a virtual machine whose
host had moved one of two processors, a step of 53 µs took 135 µs on both, and 59 µs on one. The numbers are the same
either way: one thread that does it all does the part of each, one after the other.
"""

from __future__ import annotations

LOOK = 0.002  # seconds for which the other way is tried
WARM = 0.0005  # of them, seconds that do not count: a processor wakes, memory comes closer
STEPS = 4  # the least steps between two times taken
SOON, LATE = 0.01, 0.32  # seconds from one look to the next: at first, and when nothing has changed for long
CHUNK = 0.01  # seconds of work over which time is averaged: single steps may take twice as long as others
SLOWER = 1.3  # times as long as before, and longer than the other way took: time to look
RARELY = 20  # times as long as a look in vain took, before the next one
LONG_STEP = 0.003  # seconds; a step that takes one thread so long is shared always


class Pace:
    """Chooses the way to run, and learns from how long it took.

    Args:
        guess: seconds that a step may take one thread.

    Attributes:
        alone: one thread is to do it all.
    """

    def __init__(self, guess: float = 0.0) -> None:
        self.alone = False
        self._guess = guess
        self._seconds: dict[bool, float] = {}  # of a step, by way: the least since it was taken up
        self._looking, self._wait = True, SOON
        self._begin(LOOK)

    def _begin(self, planned: float) -> None:
        self._left, self._chunks = planned, 0
        self._steps, self._taken = 0, 0.0  # of this chunk

    def _chunk(self) -> float:
        """How many seconds this chunk is to take."""
        return min(self._left, CHUNK) if self._chunks else WARM

    def steps(self, wanted: int) -> int:
        """Return how many steps to run before time is taken.

        Args:
            wanted: how many there are to do, 1 or more.
        """
        known = self._seconds.get(self.alone)
        step = self._seconds.get(not self.alone, 0.0) if known is None else known
        least = STEPS if step <= LONG_STEP else 1
        return min(wanted, least if known is None else max(least, int((self._chunk() - self._taken) / known)))

    def note(self, steps: int, seconds: float) -> None:
        """Learn how long steps took, and choose the way of the next.

        Args:
            steps: how many were done, 1 or more.
            seconds: that they took.
        """
        self._steps += steps
        self._taken += seconds
        if self._taken < self._chunk():
            return
        now, before = max(self._taken / self._steps, 1e-9), self._seconds.get(self.alone)
        self._left -= self._taken
        self._chunks += 1
        self._steps, self._taken = 0, 0.0
        if self._chunks == 1:
            self._seconds.setdefault(self.alone, now)
            return
        self._seconds[self.alone] = now if self._chunks == 2 or before is None else min(now, before)
        other = self._seconds.get(not self.alone, 0.0)
        if not self._looking and before is not None and now > max(SLOWER * before, other):
            self._wait = SOON
            self._look()
        elif self._left <= 0:
            self._choose()

    def _look(self) -> None:
        """Try the other way, unless one thread would take long: where threads do, they may only have been disturbed."""
        if not self.alone and min(self._seconds[False], self._seconds.get(True, self._guess)) > LONG_STEP:
            self._begin(LATE)
            return
        self._looking, self.alone = True, not self.alone
        self._begin(LOOK)

    def _choose(self) -> None:
        """Look, or go on in the way that is faster."""
        other = self._seconds.get(not self.alone)
        if not self._looking or other is None:
            self._look()
            return
        self._looking = False
        if self._seconds[self.alone] < other:
            self._wait = SOON
        else:
            self.alone = not self.alone
            self._wait = max(min(2 * self._wait, LATE), RARELY * (LOOK - self._left))
        self._begin(self._wait)
