"""Reading ahead: a thread makes the next block while the last one is in use."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

Block = tuple[Any, ...]


class _Handover:
    """A place for one block between two threads, and the end of both."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.ready: deque[Block] = deque()
        self.closed = False  # whoever takes the blocks wants no more
        self.ended = False  # whoever makes them has no more
        self.error: BaseException | None = None


def _fill(handover: _Handover, blocks: Iterator[Block]) -> None:
    """Make blocks until there are no more or none are wanted (in the thread that reads)."""
    error: BaseException | None = None
    try:
        while not handover.closed:
            block = next(blocks, None)
            if block is None:
                break
            with handover.changed:
                handover.ready.append(block)
                handover.changed.notify_all()
                del block  # memory holds the block in use and the one ahead, no third
                handover.changed.wait_for(lambda: handover.closed or not handover.ready)
    except BaseException as caught:  # told in the thread that takes the blocks
        error = caught
    finally:
        close = getattr(blocks, "close", None)
        if close is not None:
            close()
        with handover.changed:
            handover.ended, handover.error = True, error
            handover.changed.notify_all()


class Blocks:
    """An iterator over the blocks of an epoch, which a thread may make ahead.

    At most one finished block waits. An error of the reading thread is raised where the block was to be
    taken. Leaving the ``with`` block, an error, Ctrl-C, or forgetting the iterator ends the thread.

    Args:
        blocks: makes the blocks.
        ahead: whether a thread is to make them ahead.

    Source: derived here.

    Example:
        >>> with Blocks(iter([("a",), ("b",)])) as blocks:
        ...     list(blocks)
        [('a',), ('b',)]
    """

    def __init__(self, blocks: Iterator[Block], ahead: bool = True) -> None:
        self._blocks: Iterator[Block] | None = blocks
        self._handover: _Handover | None = None
        self._thread: threading.Thread | None = None
        if ahead:
            self._handover = _Handover()
            arguments = (self._handover, blocks)  # not self: a forgotten iterator must not live on in its thread
            self._thread = threading.Thread(target=_fill, args=arguments, name="undertow-reader", daemon=True)
            self._thread.start()

    def __iter__(self) -> Blocks:
        return self

    def __next__(self) -> Block:
        if self._blocks is None:
            raise StopIteration
        if self._handover is None:
            try:
                return next(self._blocks)
            except BaseException:
                self.close()
                raise
        try:
            block = self._take(self._handover)
        except BaseException:  # Ctrl-C among them
            self.close()
            raise
        if block is None:
            error = self._handover.error
            self.close()
            if error is not None:
                raise error
            raise StopIteration
        return block

    def _take(self, handover: _Handover) -> Block | None:
        """The next block; None after the last."""
        with handover.changed:
            handover.changed.wait_for(lambda: handover.ready or handover.ended)
            block = handover.ready.popleft() if handover.ready else None
            handover.changed.notify_all()
        return block

    def close(self) -> None:
        """End reading; the iterator is then at its end. Closing again does nothing."""
        blocks, self._blocks = self._blocks, None
        if self._handover is None:
            close = getattr(blocks, "close", None)
            if close is not None:
                close()
            return
        with self._handover.changed:
            self._handover.closed = True
            self._handover.ready.clear()
            self._handover.changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handover is not None and self._blocks is not None:
            self._blocks = None
            with self._handover.changed:  # no join: the collector may run in any thread
                self._handover.closed = True
                self._handover.changed.notify_all()
