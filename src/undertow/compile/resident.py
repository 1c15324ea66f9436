"""A program that is run step after step: what one step leaves is what the next begins with, in the same memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.compile import moves
from undertow.compile.cache import name_of
from undertow.compile.kept import plan_for
from undertow.compile.picked import pick_rows
from undertow.compile.plan import LINE, TOLD, Buffer, Call, Place, Plan
from undertow.compile.pool import undisturbed
from undertow.compile.program import Program, aligned
from undertow.compile.statistics import Told
from undertow.compile.threads import get_threads
from undertow.compile.waits import Touch, cuts
from undertow.graph import Graph, resolve
from undertow.lazy import uncollected

Array = NDArray[Any]
GATHERED = 8_000  # bytes of a batch above which threads share the work of gathering it
KEPT = 8  # programs for different numbers of rows, each of which has memory for all it computes


class Resident:
    """A step that keeps its state: parameters and what the optimizer remembers.

    Args:
        graph: its inputs are ``n_state`` values that are kept, then those of a batch; its outputs are ``n_results``
            results of the step, then the new values of what is kept, in the same order, then statistics.
        n_state: how many values are kept.
        n_results: how many results a step has; numbers.
        fallback: ``"numpy"`` lets NumPy do what does not compile.
        watched: the names of the arrays that the statistics are of.

    Attributes:
        state: the values that are kept, as arrays; they change with every step.
        told: the statistics of the last run.
    """

    def __init__(
        self, graph: Graph, n_state: int, n_results: int, fallback: str | None = None, watched: Sequence[str] = ()
    ) -> None:
        self.graph, self.n_state, self.n_results, self.fallback = graph, n_state, n_results, fallback
        self.statistics = graph.outputs[n_results + n_state :]
        self.names = tuple(
            f"{name}.{kind}"
            for name, node in zip(watched, self.statistics, strict=True)
            for kind in node.params["kinds"]
        )
        self.largest = np.array([name.endswith(".max") for name in self.names])
        self.counts: dict[Any, NDArray[np.int64]] = {}
        self.told = Told(self.names, np.zeros(len(self.names), np.int64), np.empty((0, len(self.names))))
        self.state: list[Array] = []
        for node in graph.inputs[:n_state]:
            shape: Any = node.spec.shape
            memory = aligned(max(math.prod(shape), 1) * node.spec.dtype.itemsize)
            self.state.append(memory.view(node.spec.dtype)[: math.prod(shape)].reshape(shape))
        self.prepared: dict[Any, Program] = {}
        self.step = aligned(8).view(np.int64)
        self.lock = threading.RLock()  # one session at a time
        self.owner: Callable[[], Any] = _nobody  # returns the session whose values are in the memory, if it lives
        self.symbols = graph.symbols()

    def load(self, values: Sequence[Any]) -> None:
        """Copy values into the memory of what is kept."""
        for mine, value in zip(self.state, values, strict=True):
            mine[...] = value

    def copies(self) -> list[Any]:
        """Return copies of what is kept; numbers as numbers."""
        found: list[Any] = []
        for node, mine in zip(self.graph.inputs, self.state, strict=False):
            found.append(mine.item() if node.spec.weak else mine.copy() if mine.ndim else mine[()])
        return found

    def release(self) -> None:
        """Let go of the examples of the last run; the programs stay."""
        self.owner = _nobody
        self.told = self.told._replace(values=self.told.values[:0].copy())
        for program in self.prepared.values():
            for (role, _), slot in program.slots.items():
                if role in ("source", "order", "kept", "all told"):
                    slot.release()

    def let_go(self, rows: int) -> None:
        """Let go of the examples that the program for batches of so many rows has run on."""
        for (role, _), slot in self.prepare(rows).slots.items():
            if role in ("source", "order"):
                slot.release()

    def fits(self, rows: int) -> bool:
        """Tell whether the graph holds for batches of so many rows."""
        return bool(self.symbols) or all(x.spec.shape[:1] == (rows,) for x in self.graph.inputs[self.n_state :])

    def prepare(self, rows: int) -> Program:
        """Return the program for batches of so many rows."""
        if not self.fits(rows):
            raise ValueError(f"the graph does not hold for {rows} rows")
        key = rows, (threads := get_threads())
        if key not in self.prepared:
            sizes = dict.fromkeys(self.symbols, rows)
            donated = {self.n_results + i: i for i in range(self.n_state)}
            with uncollected(), np.errstate(all="ignore"):  # of constants that are computed
                self.prepared[key] = self._load(plan_for(self.graph, sizes, threads, donated, self.fallback))
            self.counts[key] = np.array(self._counts(sizes), np.int64)
            for old in list(self.prepared)[:-KEPT]:
                self.prepared.pop(old, None)
                self.counts.pop(old, None)
        return self.prepared[key]

    def _counts(self, sizes: dict[str, int]) -> list[int]:
        """Of how many elements each of the numbers is made that statistics consist of."""
        found: list[int] = []
        for node in self.statistics:
            shape = resolve(node.inputs[0].spec.shape, sizes)
            found += [math.prod(shape)] * len(node.params["kinds"])
        return found

    def _load(self, plan: Plan) -> Program:
        """Put the calls around a step that gather its batch and keep its results."""
        inputs = plan.inputs
        batch: dict[int, Array] = {}
        before: list[Call] = []
        after: list[Call] = []
        step = Buffer(8, "address", self.step.ctypes.data)
        rows = [math.prod(x.shape) * x.dtype.itemsize for x in inputs[self.n_state :]]  # type: ignore[arg-type]
        shared = plan.threads > 1 and sum(rows) > GATHERED
        for number in range(self.n_state, len(inputs)):
            shape: Any = inputs[number].shape
            itemsize = inputs[number].dtype.itemsize
            if pick_rows(plan, number, shape, step):
                continue
            memory = aligned(max(math.prod(shape), 1) * itemsize).view(inputs[number].dtype)[: math.prod(shape)]
            batch[number] = memory.reshape(shape)
            width = math.prod(shape[1:]) * itemsize
            args: list[Any] = [
                Place(Buffer(0, "source", number)), Place(Buffer(0, "order", 0)), Place(step),
                shape[0], width, Place(Buffer(0, "input", number)),
            ]  # fmt: skip
            call = Call("", args, "the batch", shared, 0, 2 * shape[0] * width)
            place = Buffer(0, "input", number)
            call.touches = [Touch(place, True, cuts(shape[0], plan.threads, width)), Touch(step, False)]
            _add(plan, call, before, ("batch",), moves.write_batch, "batch")
        for number in range(self.n_results):
            width = plan.results[number].dtype.itemsize
            args = [Place(step), Place(Buffer(0, "output", number)), width, Place(Buffer(0, "kept", number))]
            call = Call("", args, "its result")
            call.touches = [Touch(step, False), Touch(Buffer(0, "output", number), False)]
            _add(plan, call, after, ("record",), moves.write_record, "record")
        told_at = aligned(plan.told_by * 8 * LINE).view(np.int64)
        if plan.n_told:
            steps = Buffer(8, "address", told_at.ctypes.data)
            args = [Place(steps), Place(TOLD), plan.n_told, plan.told_stride, Place(Buffer(0, "all told", 0))]
            call = Call("", args, "the statistics", plan.told_by > 1, touches=[])  # each thread has its own
            _add(plan, call, after, ("tell",), moves.write_tell, "tell")
        call = Call("", [Place(step)], "the count", touches=[Touch(step, True)])
        _add(plan, call, after, ("advance",), moves.write_advance, "advance")
        program = Program(plan, before, after, self.n_state)
        for i, mine in enumerate(self.state):
            program.give("input", i, mine)
        for number, array in batch.items():
            program.give("input", number, array)
        for number in range(self.n_results):
            dtype = plan.results[number].dtype
            program.give("output", number, aligned(8).view(dtype)[:1].reshape(()))
        program.give("told", 0, aligned(max(plan.told_by * plan.told_stride, 1) * 8).view(np.float64))
        program.give("told at", 0, told_at)
        return program

    def run(
        self, sources: Sequence[Array], order: Array, rows: int, first: int, steps: int, may_stop: bool = True
    ) -> list[Array]:
        """Do steps on batches of rows. Ctrl-C ends them early where they take long, after a whole number of steps.

        Args:
            sources: all examples, one array for each input of a batch; the batch axis first.
            order: the order in which the rows are taken, int64.
            rows: of a batch.
            first: the place in the order where the first batch begins.
            steps: how many.
            may_stop: False does all of them, whatever comes.

        Returns:
            Of each result, an array with a number for each step that was done.
        """
        program = self.prepare(rows)
        for i, source in enumerate(sources):
            program.give("source", self.n_state + i, source)
        order = np.ascontiguousarray(order[first : first + rows * steps], np.int64)
        if len(order) < rows * steps:
            raise ValueError("there are fewer rows than the steps take")
        program.give("order", 0, order)
        self.step[0] = 0
        plan = program.plan
        kept = [self._kept(program, number, steps) for number in range(self.n_results)]
        told = np.empty((steps, plan.told_by, plan.n_told))
        if plan.n_told:
            program.give("all told", 0, told)
            told_at: Any = program.slot("told at", 0).array
            told_at[:] = 0
        with undisturbed():
            done = program.run(steps, may_stop)
        self.step[0] = 0  # for whoever runs a single call again
        values = told[:done, 0]
        if plan.told_by > 1:
            values = np.where(self.largest, told[:done].max(axis=1), told[:done].sum(axis=1))
        self.told = Told(self.names, self.counts[rows, plan.threads], values)
        return [numbers[:done].copy() for numbers in kept]

    def _kept(self, program: Program, number: int, steps: int) -> Array:
        """Memory for a result of so many steps: that of an earlier run, if it is large enough."""
        known = program.slot("kept", number).array
        if known is None or len(known) < steps:
            known = np.empty(steps, program.plan.results[number].dtype)
            program.give("kept", number, known)
        return known


def _nobody() -> None:
    return None


def _add(plan: Plan, call: Call, calls: list[Call], key: Any, write: Any, function: str) -> None:
    call.kernel = name_of(key)
    plan.kernels.setdefault(call.kernel, (write, function))
    calls.append(call)
