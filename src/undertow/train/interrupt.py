"""Ctrl-C, held back where it would lose what was trained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hold_interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C instead of raising KeyboardInterrupt, as long as the block lasts.

    Returns:
        The signals that came, a list that grows.

    Source: derived here.

    Example:
        >>> with hold_interrupts() as held:
        ...     signal.raise_signal(signal.SIGINT)
        >>> len(held)
        1
    """
    held: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield held  # only the main thread is told of signals, and may choose what they do
        return
    signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
