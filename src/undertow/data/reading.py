"""How far the reading of a large table has come, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Watch = Callable[[str, float], None]

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watch_reading(tell: Watch) -> Iterator[None]:
    """Have ``tell(what, share)`` called as tables are read: what is being done, and which share of it is done.

    Args:
        tell: what to call, about once a piece of a table; only for tables that are read in pieces.

    Source: derived here.

    Example:
        >>> with watch_reading(lambda what, share: print(f"{what}: {share:.0%}")):
        ...     list(tell_reading("finding the rows", ["a", "b"], 2))
        finding the rows: 50%
        finding the rows: 100%
        ['a', 'b']
    """
    token = _watch.set(tell)
    try:
        yield
    finally:
        _watch.reset(token)


def tell_reading(what: str, items: Iterable[T], total: int, size: Callable[[T], int] = lambda item: 1) -> Iterator[T]:
    """Pass items on; after each, tell which share of them is done.

    Args:
        what: is being done with them.
        items: to pass on.
        total: how many there are, or the sum of their sizes.
        size: of an item.

    Source: derived here.

    Example:
        >>> list(tell_reading("nobody watches", "ab", 2))
        ['a', 'b']
    """
    tell = _watch.get()
    done = 0
    for item in items:
        yield item
        done += size(item)
        if tell is not None:
            tell(what, min(done / max(total, 1), 1.0))
