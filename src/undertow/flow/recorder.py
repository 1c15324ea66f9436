"""Records how the gradient flows while a model trains: the numbers of each step, and looks at chosen ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.flow.facts import measure_facts
from undertow.flow.layers import read_layers
from undertow.flow.looks import N_EXAMPLES, N_PASS, is_due, take_look
from undertow.flow.observe import make_observer
from undertow.flow.origin import find_origin
from undertow.flow.record import KINDS, QUANTITIES, SCALARS, STATS, Flow
from undertow.flow.store import FlowStore, load_flow
from undertow.optim import build_schedule
from undertow.train.rows import read_scale

if TYPE_CHECKING:
    from undertow.train.session import NotFinite
    from undertow.train.trainer import Trainer

Array = NDArray[Any]
LARGEST: Final = 32_000_000  # numbers of layers that are kept; beyond, every second step is dropped
SAMPLE: Final = 4096  # examples from which a look takes its own


class Recorder:
    """Records a training; made by a `Trainer` with ``flow=True``.

    Args:
        model: with its parameters.
        X: a few training examples.

    Attributes:
        layers: what is looked at.
        observer: what a step computes for it, see `undertow.train.step`.
    """

    def __init__(self, model: Any, X: Array) -> None:
        self.layers = read_layers(model, X[:2])
        self.observer = make_observer(self.layers)
        self.rows = _Rows(len(self.layers))
        self.flow = Flow.empty(self.layers)
        self.store: FlowStore | None = None
        self.sample: tuple[Array, Any] | None = None
        self.failed = False

    # ---- what a trainer calls ------------------------------------------------------------------

    def begin(self, trainer: Trainer) -> None:
        """Measure what is to be known before the first step; take up the record of a training that is resumed."""
        flow = self.flow
        flow.settings, flow.history = trainer.run.settings, trainer.run.history
        if trainer.plan.checkpoint is not None:
            self.store = FlowStore(trainer.plan.checkpoint)
        if trainer.n_steps:
            self._take_up(trainer)
        if not flow.facts:
            self._try(trainer, lambda: flow.facts.update(self._measure_facts(trainer)))
        if not trainer.n_steps:
            self._try(trainer, lambda: self._look(trainer))
        if self.store is not None:
            self.store.begin(self.current())

    def after_steps(self, trainer: Trainer, session: Any, first: int) -> None:
        """Take over what steps told; the first of them has the number ``first``."""
        parts = [part for part in session.told if len(part.values)]
        n = sum(len(part.values) for part in parts)
        results = session.results
        if not n:
            return
        values = np.concatenate([self.rows.read(part) for part in parts])
        scalars = np.full((n, len(SCALARS)), np.nan)
        scalars[: len(results["loss"]), 0] = results["loss"][:n]
        scalars[:, 1] = self._rates(trainer, first, n)
        scalars[:, 2] = np.concatenate([self.rows.norms(part, ("dW", "db")) for part in parts])
        if "clip" in results:
            scalars[:, 3] = results["clip"][:n]
        scalars[:, 4] = np.concatenate([self.rows.norms(part, ("update",)) for part in parts])
        scalars[:, 5] = np.concatenate([self.rows.norms(part, ("W",)) for part in parts])
        before = self.rows.n
        self.rows.add(np.arange(first, first + n), trainer.epoch, scalars, values)
        if self.store is not None and self.rows.n > before:
            self.store.append(self.current(), before)
        self.rows.thin()

    def fail(self, trainer: Trainer, error: NotFinite) -> str:
        """Take over the steps before one that is not finite; say where that came from, ``""`` where it is unknown."""
        self.after_steps(trainer, error, trainer.n_steps - len(error.losses) + 1)
        found: dict[str, Any] | None = None
        with contextlib.suppress(UndertowError):
            found = find_origin(trainer.step.gradient.loss_function, trainer.run.model, error.X, error.y)
        record = {"step": trainer.n_steps + 1, "epoch": trainer.epoch, "loss": error.loss}
        self.flow.facts["non_finite"] = {**record, **(found or {"where": "unknown", "sentence": ""})}
        self.write_about()
        return "" if found is None else str(found["sentence"])

    def end_epoch(self, trainer: Trainer) -> None:
        """Look closely, if it is due."""
        if is_due(trainer.epoch):
            self._try(trainer, lambda: self._look(trainer))

    def end(self, trainer: Trainer) -> None:
        """Look once more, and let go of the files."""
        looks, run = self.flow.looks, trainer.run
        self.flow.stopped, self.flow.history = run.stopped, run.history
        run.record = self.current()
        if trainer.n_steps and (not looks or looks[-1].step < trainer.n_steps) and run.stopped != "diverged":
            self._try(trainer, lambda: self._look(trainer))
        self.write_about()
        if self.store is not None:
            self.store.close()

    def write_about(self) -> None:
        """Write what is known of the whole."""
        if self.store is not None and self.store.folder.is_dir():
            self.store.write_about(self.flow)

    def sizes(self, step: int) -> list[dict[str, Any]]:
        """Tell how large the gradient was in a step, layer by layer, as `measure_gradients` does."""
        flow = self.current()
        if not len(flow):
            return []
        at = flow.at(step)
        rows: list[dict[str, Any]] = [
            {
                "name": x.name,
                "path": x.path,
                **{q: _number(flow.stat(f"{q}.rms")[at, i]) for q in ("dW", "db", "delta")},
            }
            for i, x in enumerate(flow.layers)
            if x.weights is not None
        ]
        last: Any = rows[-1]["dW"] if rows else None
        return [
            {"layer": number, **row, "ratio": row["dW"] / last if last and math.isfinite(last) else None}
            for number, row in enumerate(rows, 1)
        ]

    def current(self) -> Flow:
        """Return the record so far."""
        rows, flow = self.rows, self.flow
        flow.steps, flow.epochs, flow.values = rows.steps[: rows.n], rows.epochs[: rows.n], rows.values[: rows.n]
        flow.scalars = {name: rows.scalars[: rows.n, i] for i, name in enumerate(SCALARS)}
        return flow

    # ---- inside --------------------------------------------------------------------------------

    def _try(self, trainer: Trainer, work: Callable[[], Any]) -> None:
        """Do what is not part of training; where it fails, training goes on and says so, once."""
        try:
            work()
        except Exception as error:
            if not self.failed:
                self.failed = True
                self.flow.facts["failed"] = f"{type(error).__name__}: {error}"
                trainer.progress.say(f"The gradient flow is recorded in part only: {error}")

    def _take_up(self, trainer: Trainer) -> None:
        """Go on with the record of a training that is resumed, up to the step at which it stands."""
        try:
            old = load_flow(trainer.plan.checkpoint)
        except UndertowError:
            return
        if [x.path for x in old.layers] != [x.path for x in self.layers]:
            return
        kept = int(np.searchsorted(old.steps, trainer.n_steps, "right"))
        scalars = np.stack([old.scalars[name] for name in SCALARS], axis=1)
        self.rows.put(old.steps[:kept], old.epochs[:kept], scalars[:kept], old.values[:kept])
        self.flow.facts = {name: value for name, value in old.facts.items() if name != "non_finite"}
        self.flow.looks = [look for look in old.looks if look.step <= trainer.n_steps]

    def _measure_facts(self, trainer: Trainer) -> dict[str, Any]:
        feed: Any = trainer.feed
        held = trainer.held
        train = (feed.X, feed.y) if hasattr(feed, "X") else feed.some(0, SAMPLE)[:2]
        part = held[0][:2] if isinstance(held, list) else None
        facts = measure_facts(trainer.run.model, trainer.task, train, part)
        n, size = feed.n_examples, feed.batch_size
        return {**facts, "batch_size": size, "smallest_batch": n % size or size if n else size, "n_examples": n}

    def _look(self, trainer: Trainer) -> None:
        """Look at the model as it is now."""
        if self.sample is None:
            X, y, weights = trainer.feed.some(0, SAMPLE)
            rows = slice(N_EXAMPLES)
            weights = None if weights is None else weights[rows]
            self.sample = X[rows], trainer.feed.draws.target(trainer.task.encode(y[rows]), weights, 0)
        X, target = self.sample
        whole = getattr(trainer.feed, "X", None)
        look = take_look(
            trainer.step.gradient, self.layers, trainer.run.model, X, target, step=trainer.n_steps,
            epoch=trainer.epoch, whole=None if whole is None else whole[:N_PASS],
        )  # fmt: skip
        self.flow.looks.append(look)
        if self.store is not None and self.store.folder.is_dir() and trainer.n_steps:
            self.store.looks.append(look.plain())

    def _rates(self, trainer: Trainer, first: int, n: int) -> Any:
        """The learning rate of each step; NaN where there is no single one."""
        optimizer: Any = trainer.plan.optimizer
        base = optimizer.settings.get("rate")
        if isinstance(base, int | float):
            rates = np.full(n, float(base))
        else:
            try:
                schedule = build_schedule(base)
                counts = np.arange(first - 1, first - 1 + n) // trainer.plan.accumulate
                rates = np.array([float(schedule(float(count))) for count in np.unique(counts)])
                rates = rates[counts - counts[0]]
            except Exception:  # a function of the user's own, or a rule without a single rate
                return np.nan
        return rates * read_scale(trainer)


class _Rows:
    """The numbers of steps, in memory that grows; of very many steps, every second is dropped again and again."""

    def __init__(self, n_layers: int) -> None:
        self.n, self.stride, self.n_layers = 0, 1, n_layers
        self.most = max(LARGEST // max(len(STATS) * n_layers, 1), 1000)
        self.plans: dict[Any, dict[str, Any]] = {}
        self._allocate(256)

    def _allocate(self, size: int) -> None:
        self.steps, self.epochs = np.empty(size, np.int64), np.empty(size, np.int64)
        self.scalars = np.empty((size, len(SCALARS)))
        self.values = np.empty((size, len(STATS), self.n_layers), np.float32)

    def put(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Begin with these rows."""
        self._grow(len(steps))
        self.n = len(steps)
        self.steps[: self.n], self.epochs[: self.n] = steps, epochs
        self.scalars[: self.n], self.values[: self.n] = scalars, values

    def add(self, steps: Array, epoch: int, scalars: Array, values: Array) -> None:
        """Append rows."""
        if self.stride > 1:
            kept = (steps - 1) % self.stride == 0
            steps, scalars, values = steps[kept], scalars[kept], values[kept]
        self._grow(self.n + len(steps))
        rows = slice(self.n, self.n + len(steps))
        self.steps[rows], self.epochs[rows], self.scalars[rows], self.values[rows] = steps, epoch, scalars, values
        self.n = rows.stop

    def _grow(self, wanted: int) -> None:
        if wanted <= len(self.steps):
            return
        old: list[Array] = [self.steps, self.epochs, self.scalars, self.values]
        self._allocate(max(wanted, min(2 * len(self.steps), self.most + 4096)))
        new: list[Array] = [self.steps, self.epochs, self.scalars, self.values]
        for mine, before in zip(new, old, strict=True):
            mine[: self.n] = before[: self.n]

    def thin(self) -> None:
        """Drop every second step where there are too many."""
        if self.n <= self.most:
            return
        self.stride *= 2
        kept = np.flatnonzero((self.steps[: self.n] - 1) % self.stride == 0)
        for array in (self.steps, self.epochs, self.scalars, self.values):
            array[: len(kept)] = array[kept]
        self.n = len(kept)

    def plan(self, part: Any) -> dict[str, Any]:
        """Where each number that steps tell goes."""
        if part.names not in self.plans:
            split = [name.split(".") for name in part.names]
            plan: dict[str, Any] = {}
            for kind in ("ss", "s", "max", "zeros", "flat"):
                columns = [i for i, (_, _, k) in enumerate(split) if k == kind]
                layers = np.array([int(split[i][0]) for i in columns], int)
                if kind in ("zeros", "flat"):
                    stats = np.full(len(columns), STATS.index("zeros" if kind == "zeros" else "saturated"))
                else:
                    ends = dict(zip(("ss", "s", "max"), KINDS, strict=True))
                    stats = np.array([STATS.index(f"{split[i][1]}.{ends[kind]}") for i in columns], int)
                plan[kind] = np.array(columns, int), stats, layers
            for q in QUANTITIES:
                plan[q] = np.array([i for i, (_, x, k) in enumerate(split) if x == q and k == "ss"], int)
            self.plans[part.names] = plan
        return self.plans[part.names]

    def read(self, part: Any) -> Array:
        """Make of sums what a record holds, (steps, 25, layers)."""
        plan, values, counts = self.plan(part), part.values, part.counts
        found = np.full((len(values), len(STATS), self.n_layers), np.nan, np.float32)
        with np.errstate(all="ignore"):
            for kind in ("ss", "s", "max", "zeros", "flat"):
                columns, stats, layers = plan[kind]
                taken = values[:, columns]
                if kind != "max":
                    taken = taken / counts[columns]
                found[:, stats, layers] = np.sqrt(taken) if kind == "ss" else taken
            at = STATS.index
            for kind in KINDS:  # where nothing comes after z, h is z
                z, h = found[:, at(f"z.{kind}")], found[:, at(f"h.{kind}")]
                np.copyto(h, z, where=np.isnan(h))
            found[:, at("ratio")] = found[:, at("update.rms")] / found[:, at("W.rms")]
            bad = found[:, at("nonfinite")]
            bad[:] = 0
            columns, stats, layers = plan["max"]
            for q in ("z", "delta", "dW"):
                of_q = stats == at(f"{q}.max")
                bad[:, layers[of_q]] += ~np.isfinite(values[:, columns[of_q]])
        return found

    def norms(self, part: Any, quantities: tuple[str, ...]) -> Array:
        """The norm of all these together, for each step."""
        columns = np.concatenate([self.plan(part)[q] for q in quantities])
        with np.errstate(all="ignore"):
            return np.asarray(np.sqrt(part.values[:, columns].sum(axis=1)))


def _number(value: Any) -> float | None:
    """A number of a record; None where a layer has none."""
    return None if np.isnan(value) else float(value)
