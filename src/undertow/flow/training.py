"""Records a training: what a `Trainer` tells it, in memory and in the folder of the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import RunError, UndertowError
from undertow.flow.apart import measure_apart
from undertow.flow.facts import measure_facts
from undertow.flow.layers import read_layers
from undertow.flow.looks import N_EXAMPLES, N_PASS, due_mark, is_round, take_look
from undertow.flow.names import read_names
from undertow.flow.neighbours import measure_signal
from undertow.flow.origin import find_origin
from undertow.flow.record import SCALARS, Flow
from undertow.flow.recorder import Recorder
from undertow.flow.restraints import measure_restraints
from undertow.flow.rules import RULES
from undertow.flow.rules.measures import held_out_skill
from undertow.flow.rules.nothing import CHANCE
from undertow.flow.scaled import gradient_if_scaled
from undertow.flow.store import FlowStore, load_flow
from undertow.flow.table import FEWER
from undertow.train.derive import take_rows
from undertow.train.rows import find_schedule, read_scale
from undertow.train.stopping import EarlyStopping

if TYPE_CHECKING:
    from undertow.train.session import NotFinite
    from undertow.train.trainer import Trainer

Array = NDArray[Any]
N_HELD: Final = 500  # examples held out whose outputs are kept
MOST_HELD: Final = 10_000  # examples held out that are looked through for what is not finite
WIDEST: Final = 60  # outputs of an example that are kept
SECONDS: Final = 0.02  # between writing steps to the disk, at least
SHARED: Final = ("shared_rows", "shared_by_chance")
NOTHING: Final = ("plateau", "over-fitting")
UNSCALED: Final = ("input-not-scaled", "target-not-scaled")
SAMPLE: Final = 4096  # examples from which a look takes its own


def note_if_scaled(flow: Flow, gradient: Any, model: Any, X: Array, target: Any) -> None:
    """Measure what the gradient would be for data that are scaled, where they are not.

    Args:
        flow: the record, with its facts.
        gradient: of the training.
        model: with its parameters.
        X: some examples, (m, …).
        target: what belongs to them.

    Source: derived here.
    """
    unscaled = {kind: any(RULES[kind].find(flow, RULES[kind])) for kind in UNSCALED}
    if X.dtype.kind == "f" and any(unscaled.values()):
        flow.facts["dW_if_scaled"] = gradient_if_scaled(
            gradient, flow.layers, model, X, target, numbers=unscaled["target-not-scaled"]
        )


def keep_held_out(flow: Flow, outputs: Array, y: Array) -> None:
    """Keep what a model gives for examples that were held out, and their targets.

    Args:
        flow: the record.
        outputs: (m, …); wide ones are not kept.
        y: as the loss takes them.

    Source: derived here.
    """
    if outputs[0].size <= WIDEST:
        told = {"outputs": outputs.astype(np.float64), "targets": y}
        flow.facts["held_out"] = {name: x.tolist() for name, x in told.items()}


class TrainingRecorder(Recorder):
    """Records a training; made by a `Trainer` with ``flow=True``.

    Args:
        model: with its parameters.
        X: a few training examples.
    """

    def __init__(self, model: Any, X: Array) -> None:
        super().__init__(read_layers(model, X[:2]))
        self.store: FlowStore | None = None
        self.sample: tuple[Array, Any] | None = None
        self.failed = False
        self.written, self.last_written = 0.0, 0  # when steps were written last, and up to which

    # ---- what a trainer calls ------------------------------------------------------------------

    def begin(self, trainer: Trainer) -> None:
        """Measure what is to be known before the first step; take up the record of a training that is resumed."""
        flow = self.flow
        flow.settings, flow.history = trainer.run.settings, trainer.run.history
        if trainer.feed.from_files:
            self.rows.keep(FEWER)
        if trainer.plan.checkpoint is not None:
            self.store = FlowStore(trainer.plan.checkpoint)
        if trainer.n_steps:
            self._take_up(trainer)
        if not flow.facts:
            self._try(trainer, lambda: flow.facts.update(self._measure_facts(trainer)))
        if not trainer.n_steps:
            self._try(trainer, lambda: self._look(trainer))
            self._try(trainer, lambda: self._scale(trainer))
            self._try(trainer, lambda: self._block(trainer))
        if self.store is not None:
            self.store.begin(self.current())
            self.last_written = trainer.n_steps

    def after_steps(self, trainer: Trainer, session: Any, first: int) -> None:
        """Take over what steps told; the first of them has the number ``first``."""
        count = sum(len(part.values) for part in session.told)
        if not count:  # Ctrl-C came before the first of them
            return
        rates = self._rates(trainer, first, count)
        self.add_steps(session.told, session.results, first, trainer.epoch, rates)
        now = time.perf_counter()
        if self.store is not None and (now - self.written > SECONDS or self._is_told(trainer)):
            self.write_steps()
            self.written = now
        if not self.waiting:
            self.rows.thin()

    @staticmethod
    def _is_told(trainer: Trainer) -> bool:
        """Whether code of the user's runs between steps or epochs: it may look at the files, or end the process."""
        return any(not isinstance(callback, EarlyStopping) for callback in trainer.hooks.callbacks)

    def write_steps(self, force: bool = False) -> None:
        """Write the steps that are in no file yet; ``force`` returns when the disk has them, before a checkpoint."""
        if self.store is not None:
            new = self.after(self.last_written)
            if len(new):
                self.store.append(new)
                self.last_written = int(new.steps[-1])
            if force:
                self.store.force()

    def fail(self, trainer: Trainer, error: NotFinite) -> str:
        """Take over the steps before one that is not finite; say where that came from, ``""`` where it is unknown."""
        self.after_steps(trainer, error, trainer.n_steps - len(error.losses) + 1)
        self.write_steps()
        place = (trainer.step.gradient.loss_function, trainer.run.model, error.X, error.y)
        sentence = self.trace_back(*place, step=trainer.n_steps + 1, epoch=trainer.epoch, loss=error.loss)
        self.write_about()
        return sentence

    def spoil(self, trainer: Trainer) -> str:
        """Note which parameters the last update of an epoch made not finite; say it."""
        place = (
            trainer.step.gradient.loss_function,
            trainer.run.model,
            (),
            (),
        )  # they come before all that is computed
        sentence = self.trace_back(*place, step=trainer.n_steps + 1, epoch=trainer.epoch, loss=math.nan)
        self.write_about()
        return sentence

    def end_epoch(self, trainer: Trainer) -> None:
        """Look closely, if it is due; once, where the validation loss stopped being finite."""
        looks, row = self.flow.looks, trainer.run.history[-1] if trainer.run.history else {}
        held = row.get("validation_loss")
        if held is not None and not np.isfinite(held) and "non_finite_held" not in self.flow.facts:
            self._try(trainer, lambda: self._trace_held(trainer, row))
        mark = due_mark(looks[-1].step if looks else 0, trainer.n_steps)
        if mark is not None:
            self._try(trainer, lambda: self._look(trainer, noise=is_round(mark)))

    def end(self, trainer: Trainer) -> None:
        """Look once more, and let go of the files."""
        looks, run = self.flow.looks, trainer.run
        broken_off = run.stopped == "finished" and not trainer.done  # by an error, or by who went through its epochs
        self.flow.stopped, self.flow.history = "interrupted" if broken_off else run.stopped, run.history
        run.record = self.current()
        self.write_steps()
        if trainer.n_steps and run.stopped != "diverged":
            hasty = run.stopped == "interrupted"  # Ctrl-C: somebody waits
            if not looks or looks[-1].step < (1 if hasty else trainer.n_steps):
                self._try(trainer, lambda: self._look(trainer, noise=not hasty))
            if not hasty:
                self._try(trainer, lambda: self._restrain(trainer))
        self.write_about()
        if self.store is not None:
            self.store.close()

    def conclude(self, trainer: Trainer) -> None:
        """Keep what the model that the run has in the end gives for examples that were held out, and their targets."""
        held, run = trainer.held, trainer.run
        if isinstance(held, list) and held and trainer.n_steps and run.stopped != "diverged":

            def predict() -> None:
                X, y = held[0][0][:N_HELD], held[0][1][:N_HELD]
                with np.errstate(all="ignore"):
                    outputs = np.asarray(run.forward(run.model, X))
                keep_held_out(self.flow, outputs, y)

            self._try(trainer, predict)
        if trainer.n_steps and run.stopped not in ("diverged", "interrupted"):
            self._try(trainer, lambda: self._signal(trainer))
        self.write_about()

    def _trace_held(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Note where the loss of rows held out stopped being finite, which no step notices."""
        told = {"step": trainer.n_steps, "epoch": row["epoch"], "loss": row["validation_loss"]}
        found = None
        if isinstance(trainer.held, list) and trainer.held:
            X, y = trainer.held[0][:2]
            rows = slice(MOST_HELD)
            target = trainer.feed.draws.target(trainer.task.encode(y[rows]), None, 0)
            found = find_origin(trainer.step.gradient.loss_function, trainer.run.model, X[rows], target)
        self.flow.facts["non_finite_held"] = {**told, **(found or {"where": "unknown", "sentence": ""})}

    def write_about(self) -> None:
        """Write what is known of the whole."""
        if self.store is not None and self.store.folder.is_dir():
            self.store.write_about(self.flow)

    # ---- inside --------------------------------------------------------------------------------

    def _try(self, trainer: Trainer, work: Callable[[], Any]) -> None:
        """Do what is not part of training; where it fails, training goes on and says so, once."""
        try:
            work()
        except Exception as error:
            if isinstance(error, UndertowError) and not trainer.n_steps:
                raise  # a fault of the model or the loss, which the first step would meet as well
            if not self.failed:
                self.failed = True
                self.flow.facts["failed"] = f"{type(error).__name__}: {error}"
                trainer.progress.say(f"The gradient flow is recorded in part only: {error}")

    def _take_up(self, trainer: Trainer) -> None:
        """Go on with the record of a training that is resumed, up to the step at which it stands."""
        try:
            old = load_flow(trainer.plan.checkpoint)
            if [x.path for x in old.layers] != [x.path for x in self.layers]:
                raise RunError("what there is was made of other layers.")
        except UndertowError as error:
            aside = None if self.store is None else self.store.put_aside()
            where = "" if aside is None else f" What there was is in {aside}."
            said = f"The record of the gradient flow begins at step {trainer.n_steps + 1}: {error}{where}"
            trainer.progress.say(said)
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
        names = read_names(trainer.run.extras.get("encoder"))
        n, size = feed.n_examples, feed.batch_size
        facts = measure_facts(trainer.run.model, trainer.task, train, part, names.get("features"), size)
        facts |= {"names": names} if names else {}
        if part is not None and trainer.run.settings.get("validation") == "given":
            facts["held_apart"] = measure_apart(train[0], part[0])
        before = trainer.run.extras.get("held_out", {}).get("facts", {})  # of a training before this one on all rows
        facts |= {name: before[name] for name in ("n_validation", *SHARED, "held_out") if name in before}
        return {**facts, "batch_size": size, "smallest_batch": n % size or size if n else size, "n_examples": n}

    def _look(self, trainer: Trainer, noise: bool = True) -> None:
        """Look at the model as it is now."""
        if self.sample is None:
            X, y, weights = trainer.feed.some(0, SAMPLE)
            rows = slice(N_EXAMPLES)
            weights = None if weights is None else weights[rows]
            self.sample = X[rows], trainer.feed.draws.target(trainer.task.encode(y[rows]), weights, 0)
        X, target = self.sample
        whole = getattr(trainer.feed, "X", None)
        try:
            look = take_look(
                trainer.step.gradient, self.layers, trainer.run.model, X, target, step=trainer.n_steps,
                epoch=trainer.epoch, whole=None if whole is None else whole[:N_PASS], noise=noise,
            )  # fmt: skip
        except UndertowError:
            size = trainer.feed.batch_size
            if len(X) <= size:
                raise
            self.sample = X[:size], take_rows(target, slice(size))  # a loss may be one of batches of this size alone
            self._look(trainer, noise)
            return
        self.flow.looks.append(look)
        if self.store is not None and self.store.folder.is_dir() and trainer.n_steps:
            self.store.looks.append(look.plain())

    def _scale(self, trainer: Trainer) -> None:
        """Measure what the gradient would be for data that are scaled, where they are not."""
        if self.sample is not None:
            note_if_scaled(self.flow, trainer.step.gradient, trainer.run.model, *self.sample)

    def _block(self, trainer: Trainer) -> None:
        """Note which parameters get no gradient, whatever the numbers are."""
        if self.sample is not None:
            self.note_blocked(trainer.step.gradient, trainer.run.model, *self.sample)

    def _signal(self, trainer: Trainer) -> None:
        """Measure whether inputs tell anything of targets, where the network has learned nothing of them."""
        flow = self.current()
        nothing = any(any(RULES[kind].find(flow, RULES[kind])) for kind in NOTHING)
        if not nothing or not (held_out_skill(flow)[0] < CHANCE or not held_out_skill(flow)[1]):
            return
        feed: Any = trainer.feed
        X, y = (feed.X, feed.y) if hasattr(feed, "X") else feed.some(0, SAMPLE)[:2]
        found = measure_signal(X, y, flow.facts.get("target", {}).get("kind", ""))
        if found is not None:
            flow.facts["signal"] = found

    def _restrain(self, trainer: Trainer) -> None:
        """Measure what regularisation costs, where there is any."""
        if self.sample is None:
            return
        X, target = self.sample
        held = None
        if isinstance(trainer.held, list) and trainer.held:
            held = trainer.held[0][0][:N_HELD], trainer.task.encode(trainer.held[0][1][:N_HELD])
        found = measure_restraints(
            trainer.run.model, trainer.task, trainer.run.settings, self.layers, (X, target.y), held
        )
        if found is not None:
            self.flow.facts["restraints"] = found

    def _rates(self, trainer: Trainer, first: int, n: int) -> Any:
        """The learning rate of each step; NaN where there is no single one."""
        optimizer: Any = trainer.plan.optimizer
        base = optimizer.settings.get("rate")
        if isinstance(base, int | float):
            return base * read_scale(trainer)
        schedule = find_schedule(optimizer)
        if schedule is None:
            return np.nan
        counts = np.arange(first - 1, first - 1 + n) // trainer.plan.accumulate
        rates = np.array([float(schedule(float(count))) for count in np.unique(counts)])
        return rates[counts - counts[0]] * read_scale(trainer)
