"""Threads that wait for a part of a program to run; each keeps to another processor than the one that calls it.

Left alone, Linux may run a new thread on its parent's processor for many milliseconds, as long as the two wait for
each other politely: a step of training would take a hundred times as long.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from undertow.compile.threads import usable_processors
from undertow.errors import ThreadError

try:  # what signal's own functions do besides, making enumerations of numbers, takes longer than a small step
    import _signal
except ImportError:
    _signal = signal

PATIENCE = 0.1  # seconds that a program waits for the processors that others use
LISTEN = 0.1  # seconds after which the main thread looks around, where a signal does not wake it


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


class _Conductor:
    """A thread that runs a whole program, so that the main thread is free to hear of Ctrl-C."""

    def __init__(self) -> None:
        self.begin: SimpleQueue[tuple[Callable[[], object], SimpleQueue[Any]]] = SimpleQueue()
        threading.Thread(target=self._work, name="undertow program", daemon=True).start()

    def _work(self) -> None:
        while True:
            job, done = self.begin.get()
            try:
                done.put((job(), None))
            except BaseException as error:
                done.put((None, error))
            del job, done


_idle: list[_Worker] = []
_conductors: list[_Conductor] = []  # none or one
_blocks: list[undisturbed] = []  # the main thread's, the outermost first
_held: list[tuple[int, FrameType | None]] = []  # the Ctrl-C that came meanwhile
_running = 0  # jobs of all programs under way
_main_forks = True  # it is the main thread that makes another process
_turns = threading.Condition()  # whoever changes that holds it


@cache
def _current_processor() -> Callable[[], int]:
    """What tells the processor that the calling thread runs on; -1 where the system does not say."""
    if sys.platform != "linux":
        return lambda: -1
    find: Any = ctypes.CDLL(None).sched_getcpu
    return find


def _look_who_forks() -> None:
    global _main_forks
    _main_forks = threading.current_thread() is threading.main_thread()


def _forget() -> None:
    """A process made by fork has none of its parent's other threads, and nobody who ends what these were doing."""
    global _running, _turns
    _idle.clear()
    _conductors.clear()
    _running, _turns = 0, threading.Condition()
    if _blocks and not _main_forks:
        _signal.signal(signal.SIGINT, _blocks[0].before)
        _blocks.clear()
        _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_look_who_forks, after_in_child=_forget)


def run_aside(job: Callable[[], Any], stop: Callable[[], object]) -> Any:
    """Run a long job, and call ``stop`` at once where Ctrl-C comes meanwhile; only the job's end ends the wait.

    Python runs what Ctrl-C means on the main thread, between two lines of Python: so the job, which stays in compiled
    code, runs on another thread, while the main thread waits. On other threads nobody is told of Ctrl-C.

    Args:
        job: a function.
        stop: asks the job to end early.

    Returns:
        What the job returns. What Ctrl-C means to others happens afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        return job()
    done: SimpleQueue[Any] = SimpleQueue()
    with undisturbed(stop):
        if not _conductors:
            _conductors.append(_Conductor())
        _conductors[0].begin.put((partial(contextvars.copy_context().run, job), done))
        try:
            result, error = _wait_for(done)
        except BaseException:  # from what another signal means: the job's memory is ours again when it has ended
            stop()
            _wait_for(done)
            raise
        if error is not None:
            raise error
        return result


def _wait_for(done: SimpleQueue[Any]) -> Any:
    """Wait for what a queue brings, and hear of signals meanwhile."""
    while True:
        with contextlib.suppress(Empty):
            return done.get(timeout=LISTEN)


def run_together(jobs: list[Callable[[], object]]) -> Any:
    """Run jobs at the same time, the first on this thread, and return when all are done.

    Python threads that run programs at once take turns, where together they have more jobs than processors.

    Args:
        jobs: functions that let other Python threads run meanwhile.

    Returns:
        What the first returns.
    """
    with undisturbed(), _turn_of(len(jobs)) as workers:
        processor = _current_processor()()
        for worker, job in zip(workers, jobs[1:], strict=True):
            worker.keep_from(processor)
            worker.begin.put(job)
        result = jobs[0]()
        for worker in workers:
            worker.done.get()
        return result


@contextlib.contextmanager
def _turn_of(count: int) -> Iterator[list[_Worker]]:
    """Wait until there are processors for so many jobs, not for ever; give the workers for all but the first."""
    global _running
    with _turns:
        _turns.wait_for(lambda: not _running or _running + count <= usable_processors(), PATIENCE)
        _running += count
    try:
        with _turns:
            workers = [_idle.pop() if _idle else _begin_worker(count) for _ in range(count - 1)]
        yield workers
        _idle.extend(workers)  # after an error, what they still do is theirs
    finally:
        with _turns:
            _running -= count
            _turns.notify_all()


def _begin_worker(count: int) -> _Worker:
    try:
        return _Worker()
    except RuntimeError:  # so Python tells that the system refuses
        raise ThreadError(
            f"the system lets this process start no other thread, and compiled programs use {count}. Call "
            "undertow.set_threads(1), or raise the limit of threads (ulimit -u)."
        ) from None


def interrupted() -> bool:
    """Tell whether a Ctrl-C is held back on this thread."""
    return bool(_held) and threading.current_thread() is threading.main_thread()


class undisturbed:
    """Let Ctrl-C wait for the end of the block, or of the one around it: what is begun there is finished.

    Args:
        stop: called as soon as it comes.
    """

    __slots__ = ("before", "is_in", "stop")

    def __init__(self, stop: Callable[[], object] | None = None) -> None:
        self.stop, self.is_in = stop, False
        self.before: Any = None  # of the outermost block: what Ctrl-C meant before

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():  # Python tells others of no signal
            return
        if not _blocks:
            before: Any = _signal.getsignal(signal.SIGINT)
            if not callable(before):
                return
            self.before = before
            _signal.signal(signal.SIGINT, _hold)
        self.is_in = True
        _blocks.append(self)

    def __exit__(self, *raised: object) -> None:
        if not self.is_in:
            return
        _blocks.pop()
        if self.before is not None:
            _signal.signal(signal.SIGINT, self.before)
            if _held:
                came = _held[0]
                _held.clear()
                self.before(*came)


def _hold(number: int, frame: FrameType | None) -> None:
    """Note a Ctrl-C, and ask whoever can to stop."""
    _held.append((number, frame))
    for block in _blocks:
        if block.stop is not None:
            block.stop()
