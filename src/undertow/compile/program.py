"""A planned program in memory: addresses filled in, kernels loaded, ready to run."""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow.compile.cache import find_kernels, name_of
from undertow.compile.driver import ALL, ENTRY, MAY_LEAVE, SHARED, WAIT, meeting_bytes, write_driver
from undertow.compile.loops import without_errors
from undertow.compile.memory import ALIGN
from undertow.compile.pace import Pace
from undertow.compile.plan import STATUS, Buffer, Call, Noted, Place, Plan, Scratch
from undertow.compile.pool import interrupted, run_aside, run_together
from undertow.compile.waits import mark_waits
from undertow.errors import ArgumentError, PositionError
from undertow.graph import CONSTANT, Node

if TYPE_CHECKING:
    from undertow.compile.profile import Profile

Array = NDArray[Any]

LONG = 0.1  # seconds that a run may take and not hear of Ctrl-C
APART = 0.02  # seconds of work after which threads meet, so that they can stop together


@cache
def _driver() -> Any:
    """The compiled loop, as a function of Python's; it lets other Python threads run meanwhile."""
    name = name_of("driver")
    address = find_kernels({name: (write_driver, "run")})[name]
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)


def aligned(size: int) -> Array:
    """Return bytes that begin at a cache line."""
    raw = np.zeros(size + ALIGN, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start : start + size]


def address_of(array: Array) -> int:
    """Return where an array's elements are; a quarter of the time of NumPy's own way, which small calls are full of."""
    try:
        memory: Any = array  # for all that numpy does not say so, it is a buffer
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))
    except (TypeError, ValueError, BufferError):  # it is not to be written, or empty, or not in one piece
        return int(array.ctypes.data)


_programs: weakref.WeakSet[Program] = weakref.WeakSet()


def _renew() -> None:
    """In a process made by fork: whoever ran a program meanwhile is not there, and what it held is free."""
    for program in list(_programs):
        program.lock = threading.Lock()
        program.meeting[:] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


# NumPy's words, which people look for, and what helps.
_WORDS = {
    Noted.SINGULAR: "Singular matrix. Add a small multiple of np.eye to it, or solve with np.linalg.lstsq.",
    Noted.INDEFINITE: "Matrix is not positive definite. Add a small multiple of np.eye to it.",
    Noted.NO_EIGENVALUES: "Eigenvalues did not converge. Look for NaN and Inf in the matrix.",
    Noted.NO_SVD: "SVD did not converge. Look for NaN and Inf in the matrix.",
}


class Memory(NamedTuple):
    """Bytes of the values between arguments and results.

    Attributes:
        arena: what the program takes.
        least: the most that is alive at once.
    """

    arena: int
    least: int


class Slot:
    """Where an argument or a result lies, and who is told.

    Attributes:
        array: what lies there, which stays alive; None where nothing has been given yet.
        address: of its elements.
        places: in the kernels' table, the numbers that name it, and bytes behind its beginning.
    """

    __slots__ = ("address", "args", "array", "places")

    def __init__(self, args: Array) -> None:
        self.array: Array | None = None
        self.address = 0
        memory: Any = args  # for all that numpy does not say so, it is a buffer
        self.args, self.places = memoryview(memory), list[tuple[int, int]]()

    def give(self, array: Array) -> None:
        """Say where it lies; the array must lie in memory row by row."""
        if array is self.array:
            return
        address = address_of(array)
        if address != self.address:
            self.release()  # Ctrl-C on the way leaves no address that is taken for the one in the table
            for at, offset in self.places:
                self.args[at] = address + offset
            self.address = address
        self.array = array

    def release(self) -> None:
        """Let go of the array."""
        self.array, self.address = None, 0


class Program:
    """A plan with memory.

    Attributes:
        plan: what it does.
        arena: the memory of all that is neither an argument nor a result.
    """

    def __init__(
        self, plan: Plan, before: list[Call] | None = None, after: list[Call] | None = None, n_kept: int = 0
    ) -> None:
        self.plan = plan
        self.calls = [*(before or ()), *plan.calls, *(after or ())]
        self.own = range(len(before or ()), len(before or ()) + len(plan.calls))  # the calls of the plan
        self.leave_until = self.first_change(n_kept)  # the call before which a step may be left for the last time
        self.step_seconds = sum(call.seconds() for call in self.calls)
        self.arena = aligned(plan.arena)
        self.lock = threading.Lock()  # who runs it from several Python threads takes turns
        _programs.add(self)
        self.status = aligned(8).view(np.int64)
        self.meeting = aligned(meeting_bytes(plan.threads))
        self.stop = self.meeting.view(np.int64)[:1]  # set to 1, it ends a run early
        self.held: list[Any] = []  # constants
        self.paces: dict[int, Pace] = {}  # by the first call of what is run together
        self.args = np.zeros(max(sum(len(call.args) for call in self.calls), 1), np.int64)
        self.table = np.zeros((len(self.calls), ENTRY), np.int64)
        self.slots: dict[tuple[str, int], Slot] = {}  # of arguments and results
        self.table_at, self.meeting_at = int(self.table.ctypes.data), int(self.meeting.ctypes.data)
        self.parts = self.fill_table()
        self.alone = {part[0] for part in self.parts if not self.is_shared(*part[:2])}
        self.is_alone = len(self.parts) == len(self.alone) == 1 and self.parts[0][2] is None
        self.jobs: dict[tuple[int, int, int], Callable[[int], int]] = {}
        self.begin = self.job(self.table_at, len(self.calls), ALL)
        self.inputs = [(self.slot("input", i), spec.dtype) for i, spec in enumerate(plan.inputs)]
        self.outputs = [(self.slot("output", i), spec) for i, spec in enumerate(plan.results)]

    @property
    def memory(self) -> Memory:
        """How much memory the program takes, and the least that any program of these values could take."""
        return Memory(self.plan.arena, self.plan.least)

    def profile(self, rounds: int = 20) -> Profile:
        """Measure every kernel: time, bytes, operations, share of what the processor can do.

        Args:
            rounds: how often each kernel is timed, 1 or more; the median counts.

        Raises:
            ArgumentError: ``profile: rounds must be 1 or more, got 0.``; ``profile: the program has not run yet, …``
        """
        if rounds < 1:
            raise ArgumentError(f"profile: rounds must be 1 or more, got {rounds}.")
        if any(slot.places and slot.array is None for slot in self.slots.values()):
            raise ArgumentError(
                "profile: the program has not run yet, so it has no values to compute with. Run it first."
            )
        from undertow.compile.profile import Profile  # which few programs need

        return Profile.measure(self, rounds)

    @property
    def by_numpy(self) -> list[str]:
        """The operations that NumPy does between the kernels, with the lines they come from."""
        return [f"{node.op.name} ({node.line})" for node in self.plan.read_by_numpy]

    def fill_table(self) -> list[tuple[int, int, Node | None]]:
        """Write down all addresses that are known; return the runs of calls between operations that NumPy does."""
        wanted = dict(self.plan.kernels)
        addresses = find_kernels(wanted)
        waits = mark_waits(self.calls) if self.plan.threads > 1 else [False] * len(self.calls)
        self.wait_more(waits)
        base, at = self.args.ctypes.data, 0
        parts: list[tuple[int, int, Node | None]] = []
        start = 0
        for i, call in enumerate(self.calls):
            if call.node is not None:
                parts += [(start, i, None), (i, i, call.node)]
                start = i + 1
                continue
            self.table[i] = (
                addresses[call.kernel],
                base + 8 * at,
                SHARED * call.shared | WAIT * waits[i] | MAY_LEAVE * (i <= self.leave_until),
            )
            for argument in call.args:
                self.args[at] = self.resolve(argument, at)
                at += 1
        parts.append((start, len(self.calls), None))
        return [part for part in parts if part[2] is not None or part[1] > part[0]]

    def first_change(self, n_kept: int) -> int:
        """Return the first call that changes what is kept from step to step: the first inputs, and what comes after."""
        for i, call in enumerate(self.calls[: self.own.stop]):
            written = call.written()
            if written is None or any(made.role == "input" and made.number < n_kept for made in written):
                return i
        return self.own.stop

    def wait_more(self, waits: list[bool]) -> None:
        """Let threads also meet where much is done between two meetings, so that a step can be left."""
        since = 0.0
        for i, call in enumerate(self.calls[: self.leave_until + 1]):
            if self.plan.threads > 1 and since > APART:
                waits[i] = True
            since = call.seconds() + (0 if waits[i] else since)

    def resolve(self, argument: Any, at: int) -> int:
        """Return an argument as the number that a kernel reads; an address that comes later is remembered."""
        if isinstance(argument, Scratch):
            return int(self.arena.ctypes.data) + self.plan.scratch_at
        if not isinstance(argument, Place):
            return int(argument)
        made, offset = argument
        if made.role == "arena":
            return int(self.arena.ctypes.data) + made.offset + offset
        if made.role == "constant":
            self.held.append(made.array)
            return int(made.array.ctypes.data) + offset
        if made.role == "status":
            return int(self.status.ctypes.data)
        if made.role == "address":
            return made.number + offset
        self.slot(made.role, made.number).places.append((at, offset))
        return 0

    def slot(self, role: str, number: int) -> Slot:
        """Return where an argument or a result lies."""
        if (role, number) not in self.slots:
            self.slots[role, number] = Slot(self.args)
        return self.slots[role, number]

    def is_shared(self, start: int, stop: int) -> bool:
        """Whether several threads do the work of some calls."""
        return self.plan.threads > 1 and any(call.shared for call in self.calls[start:stop])

    def give(self, role: str, number: int, array: Array) -> None:
        """Say where an argument or a result lies; the array must lie in memory row by row."""
        self.slot(role, number).give(array)

    def compute(self, values: Sequence[Any]) -> list[Any]:
        """Compute the outputs of arguments; each is an array of its own, a number if it has no axes."""
        results = []
        with self.lock:  # there is one arena
            for (slot, dtype), value in zip(self.inputs, values, strict=True):
                slot.give(np.ascontiguousarray(value, dtype))
            for slot, spec in self.outputs:
                result: Any = slot.array
                if spec.shape or result is None:  # a number is copied: its memory serves again
                    result = np.empty(spec.shape, spec.dtype)
                    slot.give(result)
                results.append(result)
            if not self.run():  # stopped by a Ctrl-C that, to others, meant to go on
                self.run(may_stop=False)
            return [
                result if spec.shape else result.item() if spec.weak else result[()]
                for result, (_, spec) in zip(results, self.outputs, strict=True)
            ]

    def run(self, steps: int = 1, may_stop: bool = True) -> int:
        """Run it, as often as told. Ctrl-C ends a long run early, before a step changes anything that is kept.

        Args:
            steps: how often.
            may_stop: False lets Ctrl-C wait.

        Returns:
            How many steps were done.

        Raises:
            PositionError: an index was beyond the end of its axis.
        """
        if may_stop and interrupted():
            return 0
        self.stop[0] = 0
        started = time.perf_counter()
        with without_errors() if self.plan.calls_scipy else nullcontext():
            if may_stop and steps * self.step_seconds > LONG:
                done = int(run_aside(partial(self.run_parts, steps), partial(self.stop.__setitem__, 0, 1)))
            else:
                done = self.run_parts(steps)
        if done:
            self.step_seconds = (time.perf_counter() - started) / done
        if self.status[0]:
            raise self.failure()
        return done

    def failure(self) -> Exception:
        """The error that a kernel has noted, and who may have noted it."""
        noted, self.status[0] = int(self.status[0]), 0
        whose = " or ".join(dict.fromkeys(x.what for x in self.calls if x.fails == noted and Place(STATUS) in x.args))
        if noted == Noted.BEYOND:
            return PositionError(
                f"{whose}: an index is beyond the end of its axis. Check the positions that are picked."
            )
        return np.linalg.LinAlgError(f"{whose}: {_WORDS[Noted(noted)]}")

    def run_parts(self, steps: int) -> int:
        """Run the calls, and what NumPy does between them; return how many steps were done."""
        if self.is_alone:
            return self.begin(steps)
        if len(self.parts) == 1 and self.parts[0][2] is None:
            return self.run_calls(*self.parts[0][:2], steps)
        for step in range(steps):
            for start, stop, node in self.parts:
                if node is None:
                    if not self.run_calls(start, stop, 1):
                        return step
                elif start <= self.leave_until and self.stop[0]:
                    return step
                else:
                    self.let_numpy_do(node)
        return steps

    def run_calls(self, start: int, stop: int, steps: int) -> int:
        """Run a part of the table, by all threads or one, as is faster; return how many steps were done."""
        if start in self.alone:
            return self.run_by(start, stop, steps, True)
        if start not in self.paces:
            self.paces[start] = Pace(sum(call.seconds() for call in self.calls[start:stop]))
        pace, done = self.paces[start], 0
        while done < steps:
            wanted, began = pace.steps(steps - done), time.perf_counter()
            did = self.run_by(start, stop, wanted, pace.alone)
            if did:
                pace.note(did, time.perf_counter() - began)
            done += did
            if did < wanted:
                break
        return done

    def run_by(self, start: int, stop: int, steps: int, alone: bool) -> int:
        """Run a part of the table by one thread, which does the parts of all, or by all; how many steps were done."""
        return self.run_table(self.table_at + 8 * ENTRY * start, stop - start, steps, alone)

    def run_table(self, table: int, n: int, steps: int, alone: bool) -> int:
        """Run n entries of a table, as `run_by` does."""
        if alone:
            return self.job(table, n, ALL)(steps)
        return int(run_together([partial(self.job(table, n, i), steps) for i in range(self.plan.threads)]))

    def job(self, table: int, n: int, thread: int) -> Callable[[int], int]:
        """Return what does steps of a table: the part of one thread."""
        key = table, n, thread
        if key not in self.jobs:
            numbers = np.array([*key, self.plan.threads, self.meeting_at], np.int64)
            self.held.append(numbers)
            self.jobs[key] = partial(_driver(), numbers.ctypes.data)
        return self.jobs[key]

    # ---- operations that NumPy does -----------------------------------------------------------

    def array_of(self, made: Buffer, shape: Any, dtype: Any) -> Array:
        """Return a view of a buffer."""
        if made.role == "arena":
            count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            return self.arena[made.offset : made.offset + count].view(dtype).reshape(shape)
        if made.role == "constant":
            return np.asarray(made.array)
        given: Any = self.slots[made.role, made.number].array
        return given.reshape(shape)

    def let_numpy_do(self, node: Node) -> None:
        """Let NumPy do one operation."""
        inputs = []
        for x, (made, access) in zip(node.inputs, self.plan.read_by_numpy[node], strict=True):
            if access.base.op is CONSTANT and access.base.spec.weak:
                inputs.append(access.base.value)
                continue
            base = self.array_of(made, access.base.spec.shape, access.base.spec.dtype).reshape(-1)
            steps = tuple(stride * base.itemsize for stride in access.strides)
            value = np.lib.stride_tricks.as_strided(base[access.offset :], access.shape, steps)
            inputs.append(value.item() if x.spec.weak else value)
        op: Any = node.op
        self.array_of(self.plan.written_by_numpy[node], node.spec.shape, node.spec.dtype)[...] = op.forward(
            *inputs, **node.params
        )
