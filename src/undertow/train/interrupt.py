"""Ctrl-C, held back where it would lose what was trained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hold_interrupts() -> Iterator[list[int]]:
    """Note Ctrl-C instead of raising KeyboardInterrupt, as long as the block lasts.

    One that came counts as the one that `interrupt_once` lets through.

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
        signal.signal(signal.SIGINT, _ignore if held and before is _interrupt else before)


@contextmanager
def delay_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt at the end of the block, which is done as a whole.

    Source: derived here.

    Example:
        >>> try:
        ...     with delay_interrupts():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("done")
        ... except KeyboardInterrupt:
        ...     print("interrupted")
        done
        interrupted
    """
    with hold_interrupts() as held:
        yield
    if held:
        raise KeyboardInterrupt


@contextmanager
def interrupt_once() -> Iterator[None]:
    """Let the first Ctrl-C raise KeyboardInterrupt and ignore the next ones, as long as the block lasts.

    Within another such block, or where someone chose what Ctrl-C does, nothing changes.

    Source: derived here.

    Example:
        >>> with interrupt_once():
        ...     try:
        ...         signal.raise_signal(signal.SIGINT)
        ...     except KeyboardInterrupt:
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("once")
        once
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGINT, _ignore)  # before anything that a next one could break off
    raise KeyboardInterrupt


def _ignore(number: int, frame: object) -> None:
    pass
