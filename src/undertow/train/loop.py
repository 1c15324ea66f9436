"""The training loop."""

from __future__ import annotations

import inspect
import math
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from undertow import trees
from undertow.data import Batches, as_arrays, split
from undertow.errors import ArgumentError, ShapeError, TrainingError
from undertow.nn import Loss, find_loss, initialize
from undertow.nn.structure import read_dtype
from undertow.optim import OPTIMIZERS, Clip, Optimizer, find_optimizer
from undertow.trace import describe_function
from undertow.train.callbacks import EpochInfo, read_callbacks, takes
from undertow.train.gradients import measure_gradients
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.progress import Progress
from undertow.train.run import Run
from undertow.train.step import NotFinite, Step, make_gradient, make_step
from undertow.train.task import CHUNK, Task, make_task

Array = NDArray[Any]
CHUNK_SECONDS = 0.05  # of steps without a look at the progress display or at Ctrl-C


class Diverged(TrainingError):
    """The loss or a gradient stopped being finite.

    Attributes:
        run: the run so far; its model is the last one whose parameters were all finite.
    """

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def train(
    model: Any,
    data: Any,
    *,
    loss: str | Callable[[Any, Any], Any],
    optimizer: Optimizer | str | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    validation: float | tuple[Any, Any] | None = 0.1,
    clip: Clip | None = None,
    seed: int = 0,
    dtype: DTypeLike | None = None,
    progress: bool = True,
    metrics: Iterable[str] | None = None,
    callbacks: Iterable[Any] | Callable[[EpochInfo], Any] | None = (),
) -> Run:
    """Train a model.

    Args:
        model: a model of `undertow.nn`, or any callable dataclass that is a parameter tree. Parameters
            that are None are initialised from ``seed``. The caller's model and arrays stay as they are.
        data: (X, y): X (m, …), y (m,) or (m, K); integer labels or one-hot rows for classes.
        loss: a name of ``undertow.nn.LOSSES`` or a function (output, y) → one number. A cross-entropy
            takes logits unless the model ends in softmax or sigmoid.
        optimizer: an `Optimizer` or its name; adam unless told.
        epochs: passes over the data, 1 or more.
        batch_size: examples a step.
        validation: the share of data to hold out, or a pair (X, y), or None.
        clip: a clipping rule.
        seed: 0 or more; decides initial parameters, the held-out part and the order of examples.
        dtype: float32 or float64; that of X unless told.
        progress: False prints nothing.
        metrics: ``("accuracy",)``, ``()``, or None for accuracy wherever there are classes.
        callbacks: see `Callback`; one, or several.

    Returns:
        The run. Ctrl-C ends training early with what was trained so far; pressed again, it does nothing.

    Raises:
        Diverged: ``the loss became nan at epoch 3, step 41 …``; a `TrainingError` with the run so far.
        ShapeError: layers, inputs and targets that do not fit, found before the first step.
        DataError: labels out of range, values that are not finite.
        ArgumentError: an unknown name, a number out of range, a loss that does not depend on the parameters.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.1.3.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> run = train(Sequential(Dense(1, 1)), (X, 3 * X), loss="mean_squared_error",
        ...             optimizer="momentum", epochs=100, batch_size=16, progress=False)
        >>> round(float(run.predict([[0.5]])[0, 0]), 2)
        1.5
    """
    epochs = _read_count("epochs", epochs)
    optimizer = find_optimizer(optimizer)
    if clip is not None and not isinstance(clip, Clip):
        raise ArgumentError(f"clip is {clip!r}. Give a rule such as undertow.optim.clip_by_global_norm(1.0).")
    _check_model(model)
    X, y = as_arrays(data)
    dtype = read_dtype(X.dtype if dtype is None else dtype)
    model = initialize(model, seed, dtype)
    if not any(not callable(leaf) for leaf in trees.flatten(model)[0]):
        raise ArgumentError(f"the model {model!r} has no parameters to train. Give it a layer such as Dense(4, 3).")
    X = X.astype(dtype, copy=False)
    chosen = find_loss(loss, model)
    if not takes(chosen.function, 2):
        raise ArgumentError(
            f"the loss {describe_function(chosen.function)} cannot be called with (output, y). "
            "Let it take two arguments: what the model gives, and the target."
        )
    task = make_task(chosen, model, X)
    y = task.read_target(y)
    X, y, held = _hold_out(X, y, validation, seed, task)
    batches = Batches(X, y, batch_size, seed)
    settings = {
        "loss": task.loss.name, "task": task.loss.task, "logits": task.loss.logits,
        "optimizer": {"name": optimizer.name, **optimizer.settings},
        "clip": None if clip is None else {"name": clip.name, **clip.settings},
        "epochs": epochs, "batch_size": batches.batch_size, "seed": int(seed), "dtype": str(dtype),
        "validation": "given" if isinstance(validation, tuple | list) else validation,
        "n_examples": len(X), "n_validation": 0 if held is None else len(held[0]),
    }  # fmt: skip
    run = Run(model, settings=settings, versions=_versions())
    loop = _Loop(run, task, batches, held, epochs, _wants_accuracy(metrics, task))
    loop.run_all(optimizer, clip, Progress(bool(progress), epochs, len(X)), callbacks)
    return run


@dataclass
class _Loop:
    """The state of a training in progress."""

    run: Run
    task: Task
    batches: Batches
    held: tuple[Array, Array] | None
    epochs: int
    accuracy: bool
    state: Any = None
    n_steps: int = 0
    losses: list[float] = field(default_factory=list)  # of this epoch, each weighted by its examples
    seen: int = 0
    recorded: bool = False  # whether this epoch is in the history
    good: Any = None  # the model at the end of the last epoch
    step_seconds: float = 1.0

    def run_all(self, optimizer: Optimizer, clip: Clip | None, progress: Progress, callbacks: Any) -> None:
        """Train all epochs, or until something ends it."""
        after_epoch, after_step = read_callbacks(callbacks)
        compute_loss = _make_loss_function(self.task.loss)
        gradient = make_gradient(compute_loss)
        step = make_step(compute_loss, optimizer, clip)
        self.state = step.init(self.run.model)
        self.good = self.run.model
        started = time.perf_counter()
        epoch, begun = 1, started
        with progress, interrupt_once():
            try:
                for epoch in range(1, self.epochs + 1):
                    begun = time.perf_counter()
                    self.run_epoch(epoch, step, gradient, progress, after_step)
                    self.end_epoch(epoch, started, begun, progress, after_epoch)
                    if self.run.stopped != "finished":
                        break
            except KeyboardInterrupt:
                self.run.stopped = "interrupted"
                if self.seen and not self.recorded:
                    self.end_epoch(epoch, started, begun, progress, after_epoch)
            if self.run.stopped != "finished":
                progress.say(self.explain_end(epoch))

    def end_epoch(
        self, epoch: int, started: float, begun: float, progress: Progress, after_epoch: list[Callable[..., Any]]
    ) -> None:
        """Measure what an epoch brought, and tell of it."""
        with hold_interrupts() as held:
            self.check_finite(epoch)
            row = self.make_row(epoch, started, begun)
            self.run.history.append(row)
            self.recorded = True
            progress.after_epoch(row)
            self.good = self.run.model
        sizes = [size for size in self.run.gradient_history if size["epoch"] == epoch]
        info = EpochInfo(epoch, self.epochs, row, self.run.model, sizes)
        stops = any([function(info) is True for function in after_epoch])
        if self.run.stopped == "finished" and (held or stops):
            self.run.stopped = "interrupted" if held else "callback"

    def check_finite(self, epoch: int) -> None:
        """Diverged if the last step of an epoch left parameters that are not finite."""
        if not _is_finite(self.run.model):
            message = f"the parameters are not finite after epoch {epoch}, step {len(self.losses)}."
            raise self.diverge(f"{message} {_remedies(self.run.settings)}")

    def explain_end(self, epoch: int) -> str:
        """Say where and why training ended early."""
        done, steps = len(self.losses), len(self.batches)
        where = f"after epoch {epoch}" if done == steps else f"in epoch {epoch}, after {done} of {steps} steps"
        if self.run.stopped == "callback":
            return f"Stopped {where}, as a callback asked for. The run holds what was trained."
        return f"Interrupted {where}. The run holds what was trained."

    def run_epoch(
        self, epoch: int, step: Step, gradient: Any, progress: Progress, after_step: list[Callable[..., Any]]
    ) -> None:
        """Train one epoch, as many steps at a time as the progress display leaves alone."""
        self.losses, self.seen, self.recorded = [], 0, False
        order, size = self.batches.order(epoch - 1), self.batches.batch_size
        X, y = self.batches.X, self.task.encode(self.batches.y)
        sizes = measure_gradients(gradient, self.run.model, X[order[:size]], y[order[:size]])
        self.run.gradient_history += [{"epoch": epoch, **row} for row in sizes]
        session = step.open(self.run.model, self.state, X, y, min(size, len(order)))
        if step.uncompiled and epoch == 1:
            progress.say(f"Not all of a step is compiled: {step.uncompiled}.")
        try:
            while self.seen < len(order):
                count = 1 if after_step else max(1, int(CHUNK_SECONDS / self.step_seconds))
                rows = order[self.seen : self.seen + count * size]
                self.run_steps(epoch, session, step, rows, progress)
                if after_step:
                    self.run.model, self.state = session.values()
                for function in after_step:
                    function(epoch, len(self.losses), self.losses[-1] / len(rows), self.run.model)
        finally:
            self.run.model, self.state = session.values()

    def run_steps(self, epoch: int, session: Any, step: Step, rows: Array, progress: Progress) -> None:
        """Do some steps of an epoch; Ctrl-C waits until they are done."""
        size = self.batches.batch_size
        started = time.perf_counter()
        with hold_interrupts() as held:
            try:
                losses = session.run(rows, size)
            except NotFinite as error:
                self.note(error.losses, rows[: len(error.losses) * size])
                self.run.model, self.state = session.values()
                number = len(self.losses) + 1
                if math.isfinite(error.loss):
                    raise self.diverge(self.explain_gradient(epoch, number, step, error)) from None
                raise self.diverge(_explain(error.loss, epoch, number, self.run.settings)) from None
            self.note(losses, rows)
        self.step_seconds = max((time.perf_counter() - started) / len(losses), 1e-7)
        if held:
            raise KeyboardInterrupt
        progress.after_step(epoch, self.seen, float(losses[-1]))

    def explain_gradient(self, epoch: int, number: int, step: Step, error: NotFinite) -> str:
        """Say which gradient is not finite."""
        try:
            step.check(self.run.model, error.X, error.y)
        except TrainingError as found:
            return f"epoch {epoch}, step {number}: {found}"
        return f"epoch {epoch}, step {number}: the gradient is not finite. {_remedies(self.run.settings)}"

    def note(self, losses: Array, rows: Array) -> None:
        """Keep the losses of steps."""
        size = self.batches.batch_size
        self.losses += [float(loss) * min(size, len(rows) - i * size) for i, loss in enumerate(losses)]
        self.n_steps += len(losses)
        self.seen += len(rows)

    def diverge(self, message: str) -> Diverged:
        """Make the error, and leave the last finite model in the run."""
        self.run.stopped = "diverged"
        if not _is_finite(self.run.model):
            self.run.model = self.good
        return Diverged(message, self.run)

    def make_row(self, epoch: int, started: float, begun: float) -> dict[str, Any]:
        """Make the row of the history for this epoch."""
        rate = self.seen / max(time.perf_counter() - begun, 1e-9)
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": self.n_steps,
            "loss": math.fsum(self.losses) / self.seen,
        }
        if self.accuracy:
            rows = self.batches.order(epoch - 1)[:CHUNK]
            row["accuracy"] = self.task.evaluate(self.run.model, self.batches.X[rows], self.batches.y[rows])[1]
        if self.held is not None:
            loss, accuracy = self.task.evaluate(self.run.model, *self.held)
            row["validation_loss"] = loss
            if self.accuracy:
                row["validation_accuracy"] = accuracy
        return {**row, "seconds": time.perf_counter() - started, "examples_per_second": rate}


def _make_loss_function(loss: Loss) -> Callable[[Any, Any, Any], Any]:
    """The loss of a model on a batch; messages call it by the name and line of the loss itself."""

    def compute(model: Any, X: Any, y: Any) -> Any:
        return loss.function(model(X), y)

    compute.__name__ = loss.name
    compute.__wrapped__ = loss.function  # type: ignore[attr-defined]
    return compute


def _check_model(model: Any) -> None:
    """ArgumentError unless a model can be applied to X."""
    if isinstance(model, type) or not callable(model):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"{type(model).__name__}, not callable"
        raise ArgumentError(
            f"the model is {what}. Give a model such as undertow.nn.Sequential(Dense(4, 16), 'relu', Dense(16, 3)), "
            "or an instance of a dataclass with __call__(self, X)."
        )


def _is_finite(model: Any) -> bool:
    """Whether all parameters are finite."""
    return all(np.isfinite(leaf).all() for leaf in trees.flatten(model)[0] if not callable(leaf))


def _explain(loss: float, epoch: int, step: int, settings: dict[str, Any]) -> str:
    """Say where the loss stopped being finite and what to try."""
    return f"the loss became {loss} at epoch {epoch}, step {step}. {_remedies(settings)}"


def _remedies(settings: dict[str, Any]) -> str:
    """What to try where training diverged."""
    name, rate = settings["optimizer"]["name"], settings["optimizer"].get("rate")
    rate = rate if isinstance(rate, float) else None  # a schedule has no single one
    usual = inspect.signature(OPTIMIZERS[name]).parameters["rate"].default if name in OPTIMIZERS else None
    hint = f" ({usual:g} is usual with {name})" if rate and usual and rate > 10 * usual else ""
    remedies = [f"a learning rate below {rate:g}{hint}" if rate else "a lower learning rate"]
    if settings["clip"] is None:
        remedies.append("clip=undertow.optim.clip_by_global_norm(1.0)")
    remedies.append("inputs scaled to mean 0 and deviation 1")
    if settings["task"] in ("binary", "categorical") and not settings["logits"]:
        remedies.append("a model without its last activation, so that the loss takes logits")
    return f"Try {', or '.join(remedies)}."


def _hold_out(
    X: Array, y: Array, validation: Any, seed: int, task: Task
) -> tuple[Array, Array, tuple[Array, Array] | None]:
    """Split off the validation part."""
    if validation is None:
        return X, y, None
    if isinstance(validation, tuple | list):
        X_held, y_held = as_arrays(validation, "validation")
        if X_held.shape[1:] != X.shape[1:]:
            raise ShapeError(
                f"the validation X is {X_held.shape}, X is {X.shape}: their columns differ. Give both the same columns."
            )
        return X, y, (X_held.astype(X.dtype, copy=False), task.read_target(y_held, "the validation y"))
    if isinstance(validation, bool) or not isinstance(validation, int | float | np.number):
        found = repr(validation) if isinstance(validation, str | bool) else type(validation).__name__
        raise ArgumentError(f"validation is {found}. Give a share such as 0.1, a pair (X, y), or None.")
    labels = y if task.classifies and y.ndim == 1 else None
    kept, held = split(len(X), float(validation), int(seed), labels)
    return X[kept], y[kept], (X[held], y[held]) if len(held) else None


def _wants_accuracy(metrics: Iterable[str] | None, task: Task) -> bool:
    """Whether to measure accuracy."""
    if metrics is None:
        return task.classifies
    if not isinstance(metrics, Iterable):
        raise ArgumentError(f"metrics is {metrics!r}. Give names, such as ('accuracy',), or None.")
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name != "accuracy":
            raise ArgumentError(f"there is no metric {name!r}. Use 'accuracy'; the loss is always measured.")
    if names and not task.classifies:
        raise ArgumentError(f"accuracy needs classes, but the loss is {task.loss.name}. Leave metrics out.")
    return bool(names)


def _read_count(name: str, value: int) -> int:
    """A whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} must be a whole number of 1 or more, got {value!r}.")
    return int(value)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("undertow")
    except PackageNotFoundError:
        own = "unknown"
    return {"undertow": own, "numpy": np.__version__, "python": platform.python_version()}
