"""Threads that wait for a part of a program to run; each keeps to another processor than the one that calls it.

Left alone, Linux may run a new thread on its parent's processor for many milliseconds, as long as the two wait for
each other politely: a step of training would take a hundred times as long.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from queue import SimpleQueue
from types import FrameType
from typing import Any


class _Worker:
    def __init__(self) -> None:
        self.begin: SimpleQueue[Callable[[], object]] = SimpleQueue()  # in C: no interrupt leaves it half done
        self.done: SimpleQueue[None] = SimpleQueue()
        self.kept_from = -1
        self.thread = threading.Thread(target=self._work, name="undertow", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            self.begin.get()()
            self.done.put(None)

    def keep_from(self, processor: int) -> None:
        """Run elsewhere than on this processor, if there is another one."""
        if processor == self.kept_from or processor < 0:
            return
        self.kept_from = processor
        with contextlib.suppress(OSError):
            others = os.sched_getaffinity(0) - {processor}
            if others:
                os.sched_setaffinity(self.thread.native_id or 0, others)


_workers: list[_Worker] = []
_busy = threading.Lock()  # one program at a time has them; another that comes meanwhile makes threads of its own


@cache
def _current_processor() -> Callable[[], int]:
    """What tells the processor that the calling thread runs on; -1 where the system does not say."""
    if sys.platform != "linux":
        return lambda: -1
    find: Any = ctypes.CDLL(None).sched_getcpu
    return find


def _forget() -> None:
    """A process made by fork has none of its parent's threads."""
    global _busy
    _workers.clear()
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run_together(jobs: list[Callable[[], object]]) -> None:
    """Run jobs at the same time, the first on this thread, and return when all are done.

    Args:
        jobs: functions that let other Python threads run meanwhile.
    """
    with _undisturbed():
        if not _busy.acquire(blocking=False):
            others = [threading.Thread(target=job, daemon=True) for job in jobs[1:]]
            for other in others:
                other.start()
            jobs[0]()
            for other in others:
                other.join()
            return
        try:
            _run_with_workers(jobs)
        except BaseException:  # what they still do is theirs
            _workers.clear()
            raise
        finally:
            _busy.release()


def _run_with_workers(jobs: list[Callable[[], object]]) -> None:
    while len(_workers) < len(jobs) - 1:
        _workers.append(_Worker())
    taken = _workers[: len(jobs) - 1]
    processor = _current_processor()()
    for worker, job in zip(taken, jobs[1:], strict=True):
        worker.keep_from(processor)
        worker.begin.put(job)
    jobs[0]()
    for worker in taken:
        worker.done.get()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait: threads that wait for each other must all go on to the end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(*held[0])
