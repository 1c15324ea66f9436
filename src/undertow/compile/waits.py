"""Where threads have to wait for each other: as seldom as the memory that they touch allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Touch(NamedTuple):
    """Memory that a call reads or writes.

    Attributes:
        buffer: whose memory.
        writes: it is written.
        part: how the threads share it out: where the part of each begins and the last ends, see `cuts`. None: any
            thread may touch any of it.
    """

    buffer: Any
    writes: bool
    part: Any = None


MAIN = "the first thread"


def cuts(count: int, threads: int, size: int, unit: int = 1) -> tuple[int, ...]:
    """Return the bytes behind the beginning of a buffer at which the part of each thread begins, and the end.

    Args:
        count: what is shared out.
        threads: by how many.
        size: bytes of each.
        unit: parts begin at multiples of this.
    """
    pieces = -(-count // unit)
    return tuple(min(pieces * t // threads * unit, count) * size for t in range(threads + 1))


def mark_waits(calls: Sequence[Any]) -> list[bool]:
    """Tell for each call whether all threads must be done with what came before.

    Args:
        calls: in order; what one with ``touches`` of None touches is not known.
    """
    waits = [True] * len(calls)
    ends = [t.buffer.offset + t.buffer.size for call in calls for t in call.touches or () if t.buffer.role == "arena"]
    page = max(ends, default=0) // 64 + 1
    since: dict[Any, tuple[list[Touch], list[Touch]]] = {}  # what was read and written on each page
    unknown = True
    for i, call in enumerate(calls):
        touches = call.touches
        if touches is not None and not call.shared:
            touches = [Touch(t.buffer, t.writes, MAIN) for t in touches]
        waits[i] = i == 0 or touches is None or unknown or any(_collides(t, since, page) for t in touches)
        if waits[i]:
            since = {}
        unknown = touches is None
        for t in touches or ():
            for key in _pages(t.buffer, page):
                since.setdefault(key, ([], []))[t.writes].append(t)
    return waits


def _pages(buffer: Any, page: int) -> list[Any]:
    """The pages on which memory lies; other memory than the arena is a page of its own."""
    if buffer.role != "arena":
        return [(buffer.role, buffer.number)]
    return list(range(buffer.offset // page, (buffer.offset + max(buffer.size, 1) - 1) // page + 1))


def _collides(t: Touch, since: dict[Any, tuple[list[Touch], list[Touch]]], page: int) -> bool:
    """Tell whether another thread may have touched the same memory, one of the two writing."""
    for key in _pages(t.buffer, page):
        if key in since:
            read, written = since[key]
            if any(_collide(t, other) for other in (*written, *(read if t.writes else ()))):
                return True
    return False


def _collide(a: Touch, b: Touch) -> bool:
    if a.part == MAIN and b.part == MAIN:
        return False
    if a.buffer.role == "arena" and not (
        a.buffer.offset < b.buffer.offset + b.buffer.size and b.buffer.offset < a.buffer.offset + a.buffer.size
    ):
        return False
    same_place = a.buffer is b.buffer or a.buffer.offset == b.buffer.offset
    return a.part is None or a.part != b.part or not same_place
