"""The training loop: epochs of steps, what is measured between them, and what ends them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.data import as_arrays
from undertow.data.source import read_weights
from undertow.errors import ArgumentError
from undertow.optim import scaled, with_scale
from undertow.train.average import Average, model_kept
from undertow.train.between import ask_again, compile_ahead, heed_callbacks, let_go, open_session, step_on, train_pieces
from undertow.train.callbacks import EpochInfo, TrainInfo, read_hooks
from undertow.train.derive import make_gradient, take_rows
from undertow.train.diverged import Diverged, explain_end, explain_failure, explain_spoiled, explain_update, is_finite
from undertow.train.forward import CHUNK
from undertow.train.gradients import measure_gradients
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.keeper import Keeper
from undertow.train.metrics import is_told_by_name
from undertow.train.objective import Objective
from undertow.train.outside import Reading
from undertow.train.plan import Plan, make_plan
from undertow.train.progress import Progress
from undertow.train.rows import make_row, read_scale
from undertow.train.run import Run, read_versions
from undertow.train.session import NotFinite
from undertow.train.setup import Setup, set_up
from undertow.train.step import make_step
from undertow.train.stopping import EarlyStopping
from undertow.train.task import Examples

Array = NDArray[Any]
CHUNK_SECONDS = 0.05  # of steps without a look at the progress display or at Ctrl-C


class Trainer:
    """A training that can be looked into: its steps, its state, its next epoch.

    Args:
        model: see `train`.
        data: see `train`.
        plan: a `Plan`; or its settings by name, as `train` takes them.
        settings: see ``plan``.

    Attributes:
        run: what `train` returns; its history grows, its model is that after the last step.
        state: what the optimizer remembers.
        epoch: the number of the epoch that is going on or was the last, from 1; 0 before the first.
        seen: how many of its examples were trained on.
        n_steps: how many steps were done in all.

    Raises:
        as `train`, before the first step.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.1.3.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> trainer = Trainer(Sequential(Dense(1, 1)), (X, 3 * X), loss="mean_squared_error", progress=False, epochs=9)
        >>> for row in trainer:
        ...     if row["validation_loss"] < 3:
        ...         break
        >>> trainer.epoch <= 9, trainer.evaluate(X, 3 * X)["loss"] > 0
        (True, True)
    """

    def __init__(
        self, model: Any, data: Any, plan: Plan | None = None, *, keeper: Keeper | None = None, **settings: Any
    ) -> None:
        if plan is not None and settings:
            raise ArgumentError(f"Trainer was given a plan and {', '.join(settings)} beside it. Put all into the plan.")
        plan = make_plan(settings) if plan is None else plan
        made: Setup = set_up(model, data, plan)
        self.plan, self.task, self.feed, self.held, self.metrics = plan, made.task, made.feed, made.held, made.metrics
        own = made.task.loss if made.task.loss.task == "own" else None
        self.run = Run(made.model, settings=made.settings, versions=read_versions(), extras=made.extras, own_loss=own)
        self.run.own_metrics = [metric for metric in made.metrics if not is_told_by_name(metric)]
        self.run.folder = None if plan.checkpoint is None else Path(plan.checkpoint)
        self.recorder: Any = None
        if plan.flow:
            recorder = import_module("undertow.flow.training").TrainingRecorder
            self.recorder = self.run.record = recorder(made.model, self.feed.some(0, CHUNK)[0])
        self.hooks = read_hooks(plan.callbacks, *plan.watching(self.held is not None))
        self.keeper = Keeper(plan) if keeper is None else keeper
        optimizer, clip = plan.rule()
        self.scales = any(hasattr(callback, "scale") for callback in self.hooks.callbacks)
        objective = Objective(made.task.loss, plan.l1, plan.l2)
        self.gradient, self.reading = make_gradient(objective), Reading(made.task.loss.function, made.model)
        self.step = make_step(
            objective, scaled(optimizer) if self.scales else optimizer, clip, plan.non_finite, plan.project(),
            None if self.recorder is None else self.recorder.observer,
        )  # fmt: skip
        self.state: Any = self.step.init(self.run.model)
        self.average = Average(plan.average) if plan.average else None
        self.epoch = self.seen = self.n_steps = 0
        self.totals: list[tuple[float, float]] = []  # of each step of the epoch: the sum of its losses, its weight
        self.clipped: list[bool] = []
        self.over = True  # whether the epoch is done
        self.begun = self.ended = self.halted = False  # halted: a callback has asked to stop between steps
        self.reasons: list[str] = []  # why callbacks asked to stop
        self.seconds = 0.0  # of the epochs before
        self.good: Any = self.run.model  # the model at the end of the last epoch
        self.best: tuple[int, Any] | None = None  # the best epoch so far, and its model
        self.lowest = math.inf  # its loss, or that of an epoch before this process
        self.step_seconds = 1.0
        self.progress = Progress(
            bool(plan.progress), plan.epochs, self.feed.n_examples, steps=plan.steps, seconds=plan.seconds
        )
        self.started: float | None = None  # when the epoch began that is going on
        self.session: Any = None  # what did the last steps, where they are not recorded

    @property
    def model(self) -> Any:
        """The model after the last step."""
        return self.run.model

    def __iter__(self) -> Trainer:
        return self

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End a training before its last epoch: what is not on the disk yet is written, and the folder is free."""
        with hold_interrupts():
            self.end_files()

    def end_files(self) -> None:
        """Write what is not on the disk yet."""
        try:
            self.keeper.end(self)
        finally:
            if self.recorder is not None:
                self.recorder.end(self)

    def __next__(self) -> dict[str, Any]:
        """Train one epoch, or what is left of it, and return its row of the history."""
        if self.done:
            self.end()
            raise StopIteration
        self.train_epoch()
        return self.run.history[-1]

    @property
    def done(self) -> bool:
        """Whether the training has come to its end."""
        plan = self.plan
        return (
            self.run.stopped not in ("finished", "")
            or (plan.steps is not None and self.n_steps >= plan.steps)
            or (plan.seconds is not None and self.elapsed() >= plan.seconds)
            or (plan.epochs is not None and self.over and self.epoch >= plan.epochs)
        )

    def elapsed(self) -> float:
        """Return the seconds of training so far; what happens between the epochs of a loop of one's own is left out."""
        return self.seconds + (0.0 if self.started is None else time.perf_counter() - self.started)

    def fit(self) -> Run:
        """Train to the end, or until something ends it; see `train`.

        Returns:
            The run.
        """
        with self.progress, interrupt_once():
            try:
                self.begin()
                while not self.done:
                    self.train_epoch()
                if self.seen and not self.over:  # resumed within an epoch at which its limits end it
                    self.end_epoch(time.perf_counter(), broken_off=True)
            except KeyboardInterrupt:
                self.run.stopped = "interrupted"
                if self.seen and not self.over:
                    with hold_interrupts():
                        self.keep_unfinished()
                        self.end_epoch(time.perf_counter(), broken_off=True)
            finally:
                with hold_interrupts():
                    self.end_files()
            if self.run.stopped == "interrupted" and self.held is not None and self.best is not None:
                self.run.model = self.best[1]
            if self.run.stopped != "finished":
                self.progress.say(explain_end(self))
        self.end()
        return self.run

    def begin(self) -> None:
        """Tell of the beginning, once."""
        if not self.begun:
            self.begun = True
            self.keeper.begin(self)
            if self.recorder is not None:
                with self.reading.noting(self.step.gradient):
                    self.recorder.begin(self)
            self.tell_news()
            self.tell(self.hooks.on_train_begin, "")
            compile_ahead(self)

    def keep_unfinished(self) -> None:
        """Write a checkpoint of an epoch that was broken off, and no row of it: a resumed run goes on within it."""
        if self.keeper.store is not None:
            self.keeper.write(self)

    def tell_news(self) -> None:
        """Say what the store of checkpoints has to say."""
        for sentence in self.keeper.news():
            self.progress.say(sentence)

    def tell(self, functions: list[Any], stopped: str) -> None:
        """Tell callbacks of the whole training."""
        run = self.run
        for function in functions:
            function(TrainInfo(self.plan.epochs, run.model, run.history, run.settings, stopped))

    def end(self) -> None:
        """Tell callbacks, once, that training has ended; one of them may give the model to keep."""
        if self.ended:
            return
        self.ended, run = True, self.run
        with hold_interrupts():
            self.end_files()
            self.tell_news()
            best = self.hooks.end_training(
                TrainInfo(self.plan.epochs, run.model, run.history, run.settings, run.stopped)
            )
        if best is not None:
            run.model = best
        elif self.average is not None and (self.best is None or run.model is not self.best[1]):
            run.model = self.average.model(run.model)
        if self.recorder is not None:
            self.recorder.conclude(self)
        let_go(self)

    # ---- an epoch -----------------------------------------------------------------------------

    def train_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        self.begin()
        self.started = time.perf_counter()
        try:
            self.train_batches()
        finally:
            self.seconds, self.started = self.elapsed(), None

    def train_batches(self) -> None:
        """Do the steps of an epoch, and what comes after them."""
        begun = time.perf_counter()
        if self.over:
            self.epoch, self.seen, self.totals, self.clipped, self.over = self.epoch + 1, 0, [], [], False
            for function in self.hooks.on_epoch_begin:
                function(self.info({}))
        broken_off = train_pieces(self)
        if broken_off:
            self.keep_unfinished()
        self.end_epoch(begun, broken_off)
        let_go(self)

    def train_piece(self, piece: Any) -> None:
        """Do the steps of some batches, as many at a time as the progress display leaves alone."""
        size, order = self.feed.batch_size, piece.order
        begins = not self.seen
        if begins:
            ask_again(self, piece)
        if begins and self.recorder is None:
            rows = order[:size]
            sizes = measure_gradients(self.gradient, self.run.model, piece.X[rows], take_rows(piece.target, rows))
            self.run.gradient_history += [{"epoch": self.epoch, **row} for row in sizes]
        session = open_session(self, piece)
        if self.step.uncompiled and not self.n_steps:
            self.progress.tell(f"Not all of a step is compiled: {self.step.uncompiled}.")
        done, after_step = 0, self.hooks.on_step_end
        try:
            while not done or (done < len(order) and not self.is_enough()):
                count = 1 if after_step else max(1, int(CHUNK_SECONDS / self.step_seconds))
                if self.plan.steps is not None:
                    count = min(count, self.plan.steps - self.n_steps)
                rows = order[done : done + count * size]
                loss = self.run_steps(session, piece, rows)
                if begins and not done and self.recorder is not None:
                    sizes = self.recorder.sizes(session.told[0])
                    self.run.gradient_history += [{"epoch": self.epoch, **row} for row in sizes]
                done += len(rows)
                if after_step:
                    self.run.model, self.state = session.values()
                for function in after_step:
                    function(self.epoch, self.steps_of_epoch, loss, self.run.model)
                if self.keeper.is_due(self):
                    self.run.model, self.state = session.values()
                    self.keeper.after_steps(self)
                session = heed_callbacks(self, session, piece)
        finally:
            self.run.model, self.state = session.values()
        self.session = session if self.recorder is None and not self.feed.from_files else None

    def is_enough(self) -> bool:
        """Tell whether the steps or the seconds are used up, or a callback has asked to stop."""
        plan = self.plan
        return (
            self.halted
            or (plan.steps is not None and self.n_steps >= plan.steps)
            or (plan.seconds is not None and self.elapsed() >= plan.seconds)
        )

    @property
    def steps_of_epoch(self) -> int:
        """How many steps of the epoch were done, those that were left out among them."""
        return -(-self.seen // self.feed.batch_size)

    def run_steps(self, session: Any, piece: Any, rows: Array) -> float:
        """Do some steps of an epoch and return the last loss; Ctrl-C waits for them, or a long one is given up."""
        size, started = self.feed.batch_size, time.perf_counter()
        with hold_interrupts() as held:
            try:
                losses = session.run(rows, size)
            except NotFinite as error:
                self.note(error.losses, piece, rows[: len(error.losses) * size], {})
                self.run.model, self.state = session.values()
                if self.recorder is None and (told := explain_spoiled(self, session)):
                    raise self.diverge(told) from None
                origin = "" if self.recorder is None else self.recorder.fail(self, error)
                raise self.diverge(explain_failure(self, error, origin)) from None
            self.note(losses, piece, rows[: len(losses) * size], session.results)
            if self.recorder is not None:
                self.recorder.after_steps(self, session, self.n_steps - len(losses) + 1)
        if held:
            raise KeyboardInterrupt
        self.step_seconds = max((time.perf_counter() - started) / len(losses), 1e-7)
        self.progress.after_step(self.epoch, self.seen, float(losses[-1]), self.n_steps)
        return float(losses[-1])

    def note(self, losses: Array, piece: Any, rows: Array, results: dict[str, Array]) -> None:
        """Keep what steps told."""
        weights = piece.weights_of(rows, self.feed.batch_size)
        kept = np.isfinite(losses)  # else the step was left out
        self.totals += zip((losses * weights)[kept].tolist(), weights[kept].tolist(), strict=True)
        self.clipped += results.get("clipped", np.empty(0)).tolist()
        self.n_steps += len(losses)
        self.seen += len(rows)

    def end_epoch(self, begun: float, broken_off: bool = False) -> None:
        """Measure what an epoch brought, and tell of it."""
        if not is_finite(self.run.model):
            origin = "" if self.recorder is None else self.recorder.spoil(self)
            raise self.diverge(explain_update(self, origin))
        with model_kept(self):
            with hold_interrupts() as held:
                if self.average is not None:
                    self.run.model = self.average.add(self.run.model)
                row = make_row(self, begun)
                self.run.history.append(row)
                self.over = True
                self.progress.after_epoch(row)
                self.good = self.run.model
            info = self.info(row)
            stops, failure = self.hooks.tell_epoch(info)
            self.reasons = info.reasons
            self.note_best(row)
        if self.scales:
            self.state = with_scale(self.state, read_scale(self))
        if self.run.stopped == "finished" and (held or stops or self.halted):
            self.run.stopped = "interrupted" if held else "callback"
        if self.recorder is not None:
            self.recorder.end_epoch(self)
        if self.keeper.store is not None and not broken_off:
            self.keeper.after_epoch(self)
        if failure is not None:  # after all else of the epoch, which a resumed run does not do again
            raise failure

    def note_best(self, row: dict[str, Any]) -> None:
        """Remember the model of an epoch that is the best so far: for early stopping, else by its loss."""
        stopping = next((x for x in self.hooks.callbacks if isinstance(x, EarlyStopping)), None)
        value = row[self.measure]
        if stopping.best_epoch == self.epoch if stopping is not None else value < self.lowest:
            self.lowest, self.best = value, (self.epoch, self.run.model)

    @property
    def measure(self) -> str:
        """The column by which an epoch is the best."""
        return "loss" if self.held is None else "validation_loss"

    def info(self, row: dict[str, Any]) -> EpochInfo:
        """Make what callbacks are told of an epoch."""
        sizes = [size for size in self.run.gradient_history if size["epoch"] == self.epoch]
        directions = {metric.name: metric.better for metric in self.metrics}
        return EpochInfo(
            self.epoch, self.plan.epochs, row, self.run.model, sizes, self.n_steps, row.get("rate"), directions
        )

    def evaluate_on(self, data: Iterable[Examples], by_class: Array | None = None) -> dict[str, float]:
        """Measure the model on examples that are read already, see `Task.evaluate`."""
        return self.task.evaluate(self.run.model, data, self.metrics, self.run.forward, by_class)

    def evaluate(self, X: Any, y: Any, weights: Any = None) -> dict[str, float]:
        """Measure the model on data.

        Args:
            X: inputs, (m, …).
            y: targets, (m,) or (m, K).
            weights: of the examples, (m,), or None.

        Returns:
            The loss and the metrics by name.
        """
        return self.run.evaluate(X, y, weights, metrics=self.metrics)

    def train_on(self, X: Array, y: Array, weights: Array | None = None) -> float:
        """Do one step on a batch of your own.

        Args:
            X: inputs, (m, …), of the dtype of the parameters.
            y: targets as the loss takes them.
            weights: of the examples, (m,), or None.

        Returns:
            The loss before the step.

        Raises:
            Diverged: the loss, or a gradient, is not finite; the model stays as it was.
            DataError, ShapeError: as `train`.
        """
        X, y = as_arrays((X, y), "batch")
        y = self.task.encode(self.task.read_target(y))
        weights = None if weights is None else read_weights(weights, len(X))
        target = self.feed.draws.target(y, weights, 10**6 + self.n_steps)
        self.begin()
        return step_on(self, X.astype(self.task.dtype, copy=False), target)

    # ---- its end ------------------------------------------------------------------------------

    def diverge(self, message: str) -> Diverged:
        """Make the error, and leave the last finite model in the run."""
        self.run.stopped = "diverged"
        if not is_finite(self.run.model):
            self.run.model = self.good
        return Diverged(message, self.run)
