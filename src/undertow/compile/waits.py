"""Where threads have to wait for each other: as seldom as the memory that they touch allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Touch(NamedTuple):
    """Memory that a call reads or writes.

    Attributes:
        buffer: whose memory.
        writes: it is written.
        part: how the threads share it out; equal parts of one buffer are touched by equal threads. None: any thread
            may touch any of it.
    """

    buffer: Any
    writes: bool
    part: Any = None


MAIN = "the first thread"


def mark_waits(calls: Sequence[Any]) -> list[bool]:
    """Tell for each call whether all threads must be done with what came before.

    Args:
        calls: in order; what one with ``touches`` of None touches is not known.
    """
    waits = [True] * len(calls)
    since: list[Touch] = []
    unknown = True
    for i, call in enumerate(calls):
        touches = call.touches
        if touches is not None and not call.shared:
            touches = [Touch(t.buffer, t.writes, MAIN) for t in touches]
        waits[i] = i == 0 or touches is None or unknown or any(_collide(a, b) for a in since for b in touches)
        if waits[i]:
            since = []
        unknown = touches is None
        since += touches or []
    return waits


def _collide(a: Touch, b: Touch) -> bool:
    if not (a.writes or b.writes) or not _overlap(a.buffer, b.buffer):
        return False
    same_place = a.buffer is b.buffer or (a.buffer.role, a.buffer.offset) == (b.buffer.role, b.buffer.offset)
    if a.part == MAIN and b.part == MAIN:
        return False
    return a.part is None or a.part != b.part or not same_place


def _overlap(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if a.role != b.role:
        return False
    if a.role == "arena":
        return bool(a.offset < b.offset + b.size and b.offset < a.offset + a.size)
    return bool(a.number == b.number)
