"""Remedies are tried: a short training for each, from the same seed and on the same rows, beside an unchanged one."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ArgumentError, UndertowError
from undertow.flow.attempt import Attempt
from undertow.flow.changes import cleared
from undertow.flow.diagnose import diagnose
from undertow.flow.findings import Finding, Remedy
from undertow.flow.joined import join_code
from undertow.flow.rules.written import train_call
from undertow.flow.tabled import TableChanges
from undertow.flow.trials import LEAST_PART, LEAST_SHARE, Trial, Trials, shorten
from undertow.flow.unfinished import open_run
from undertow.nn import parameters_of
from undertow.nn.layer import Container, show_item
from undertow.optim import find_optimizer
from undertow.train.diverged import Diverged
from undertow.train.metrics import METRICS
from undertow.train.resume import read_plan
from undertow.train.run import Run
from undertow.train.table_data import load_table
from undertow.train.table_settings import CONFIG, read_config
from undertow.train.task import Task
from undertow.train.trainer import Trainer

Array = NDArray[Any]
COMBINED = 3  # how many of the best are tried together
UNEVEN = 0.2  # the smallest class by the mean one: below, all classes count the same


def try_remedies(
    run: Run | str | PathLike[str],
    X: Any = None,
    y: Any = None,
    *,
    data: Any = None,
    model: Any = None,
    optimizer: Any = None,
    validation: Any = None,
    epochs: int | None = None,
    seconds: float | None = None,
    findings: list[Finding] | None = None,
    progress: bool = True,
) -> Trials:
    """Try the remedies of a run's findings: each is trained anew, beside a training without a change.

    All begin from the run's seed, with parameters drawn afresh, and are trained and judged on the rows that the run
    was, without the run's callbacks. The run and its folder stay as they are.

    Args:
        run: the run, or its folder, also of a training that goes on or was killed.
        X: inputs as they were given to the training, (m, …).
        y: targets, (m,) or (m, K).
        data: (X, y) or (X, y, weights) instead of the two; of a run of `undertow train`, which knows its file, None.
        model: the model as it was given to the training; that of the run, without its parameters, unless told. It is
            needed where parameters were set by hand.
        optimizer: an optimizer, or its name; that of the run unless told. It is needed where that is a rule of your
            own, or its schedule is a function of your own.
        validation: (X, y), where the training was given a pair.
        epochs: of each training; as many as the run was to have, unless told.
        seconds: for all trainings together. The unchanged one is then broken off after its share of them, and the
            others do as many steps.
        findings: those whose remedies are tried; all of the run unless told.
        progress: False prints nothing.

    Returns:
        The trials, the best first. Where several help, the last trial makes all of their changes at once.

    Raises:
        ArgumentError: ``the rows that the run was trained on are not kept in it. …``; X without y; the model
            holds arrays that no layer can draw again; a loss of one's own is not there any more.
        RunError: the folder holds no run.

    Source: derived here.

    Example:
        >>> import undertow as ut
        >>> from undertow.nn import Dense, Sequential
        >>> X = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
        >>> deep = [item for _ in range(9) for item in (Dense(4, 4), "sigmoid")]
        >>> model = Sequential(*deep, Dense(4, 2))
        >>> run = ut.train(model, (X, (X[:, 0] > 0) * 1), loss="categorical_cross_entropy", epochs=5, progress=False)
        >>> remedy = ut.flow.Remedy("relu instead of sigmoid.", "", name="activation", change={"to": "relu"})
        >>> found = ut.flow.Finding("vanishing", "error", "The gradient shrinks.", remedies=(remedy,))
        >>> trials = try_remedies(run, X, (X[:, 0] > 0) * 1, findings=[found], progress=False)
        >>> trials.rows[0].remedy, trials.control.stopped
        ('relu instead of sigmoid.', 'finished')
    """
    changes = TableChanges()
    folder = Path(run) if isinstance(run, str | PathLike) else run.folder
    run = run if isinstance(run, Run) else open_run(Path(run))
    wanted = _list_remedies(run.findings if findings is None else findings)
    if X is not None:
        if y is None:
            raise ArgumentError(f"y is missing. Give the rows as they were given to train: {_call(folder)}.")
        data = (X, y)
    if data is None:
        data, validation, changes = _read_table(folder, validation)
        changes = changes if model is None else TableChanges()
        model = changes.network() if model is None else model
    share = None if seconds is None else seconds / (len(wanted) + 2)
    first, judge = _set_up(run, data, model, optimizer, validation, epochs)
    judge.sign = -1.0 if any(kind == "turned-sign" for _, kind in wanted) else 1.0
    say = print if progress else _say_nothing
    count = "1 remedy is" if len(wanted) == 1 else f"{len(wanted)} remedies are"
    say(f"{count} tried. First the training again, without a change." if wanted else "No finding has a remedy.")
    control = judge.train(first if share is None else first.with_plan(seconds=share), Remedy("unchanged", ""), "")
    judge.control = control
    n_steps = control.run.history[-1]["step"] if share is not None and control.run.history else None
    rows = []
    for number, (remedy, kind) in enumerate(wanted, 1):
        row = judge.attempt(lambda a, r=remedy: changes.apply(a, r.name, r.change), remedy, kind, n_steps)
        rows.append(row)
        say(f"  {number} of {len(wanted)}: {row.remedy} {_tell(row)}")
    helped = _best_of_each(sorted(rows, key=_rank), judge.least)
    if len(helped) > 1:
        steps = [step for row in helped for step in row.change]
        last = sorted(helped, key=lambda row: row.change[0][0] == "residual")  # the code of others sees no blocks
        code = join_code(train_call(run.flow), [row.code for row in last]) if run.record is not None else ""
        option = " ".join(row.option for row in helped) if all(row.option for row in helped) else ""
        together = Remedy("; ".join(shorten(row.remedy) for row in helped) + ".", code, option)
        kinds = ", ".join(dict.fromkeys(row.finding for row in helped))
        row = judge.attempt(lambda a: changes.combine(a, steps), together, kinds, n_steps)
        rows.append(replace(row, change=tuple(steps)))
        say(f"  together: {_tell(row)}")
    return Trials(tuple(sorted(rows, key=_rank)), control, judge.judged_by, _compare(run, control, judge))


def check_rows(folder: Path | None, option: str = "") -> None:
    """Refuse a run whose rows are not known: only one of `undertow train` tells its file.

    Args:
        folder: of the run; None without one.
        option: of the command line by which it was asked for.

    Raises:
        ArgumentError: ``the rows that the run was trained on are not kept in it. Give them, …:
            ut.flow.try_remedies("runs/x", X, y).``

    Source: derived here.

    Example:
        >>> check_rows(Path("runs/x"), "--try")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: --try: the rows that the run was trained on are not kept in it. Give them ...
    """
    if folder is None or not (folder / CONFIG).is_file():
        where = "" if not option else f"{option}: "
        raise ArgumentError(
            f"{where}the rows that the run was trained on are not kept in it. Give them as they were given to train, "
            f"{'in Python: ' * bool(option)}{_call(folder)}."
        )


def _call(folder: Path | None) -> str:
    """What to write where rows are missing."""
    return "run.try_remedies(X, y)" if folder is None else f'ut.flow.try_remedies("{folder.as_posix()}", X, y)'


def _list_remedies(findings: list[Finding]) -> list[tuple[Remedy, str]]:
    """The remedies of all findings, each once."""
    found: dict[str, tuple[Remedy, str]] = {}
    for finding in findings:
        for remedy in finding.remedies:
            key = (
                f"{remedy.name} {sorted(remedy.change.items())}"
                if remedy.change
                else f"{remedy.name} {remedy.sentence}"
            )
            found.setdefault(key if remedy.name != "data" else f"data {remedy.sentence}", (remedy, finding.kind))
    return list(found.values())


def _read_table(folder: Path | None, validation: Any) -> tuple[Any, Any, TableChanges]:
    """The data of a run of the command line, which knows its file, and what changes its network.

    That is built anew: a run that ended on all rows may know more categories than those of the first training, which
    are read here.
    """
    check_rows(folder)
    assert folder is not None
    settings = read_config(folder / CONFIG)
    table = load_table(settings)
    return table.train, table.validation if validation is None else validation, TableChanges(settings, table)


def _set_up(
    run: Run, data: Any, model: Any, optimizer: Any, validation: Any, epochs: int | None
) -> tuple[Attempt, _Judge]:
    """The training of the run once more, its rows split as they were, and what judges it."""
    if model is None and run.model is None:
        raise ArgumentError("the model is not kept. Give it again, as it was before training: model=.")
    fresh = cleared(run.model) if model is None else model
    if not isinstance(fresh, Container) and not hasattr(fresh, "shapes"):
        raise ArgumentError(
            f"the model is {show_item(fresh)[:80]}, of which remedies change nothing: they know the layers of "
            "undertow.nn. Build it of these, or make the changes yourself."
        )
    if model is None and (kept := list(parameters_of(fresh))):
        raise ArgumentError(
            f"the model holds {kept[0]}, which no layer can draw again. Give the model as it was before: model=."
        )
    given: dict[str, Any] = {"progress": False, "callbacks": (), "validation": validation, "loss": run.own_loss}
    if optimizer is not None:
        given["optimizer"] = find_optimizer(optimizer)
    own = run.settings.get("own_metrics", ())
    given["metrics"] = [name for name in run.settings.get("metrics", ()) if name in METRICS and name not in own]
    plan = replace(read_plan(run.settings, Path(), given), checkpoint=None, checkpoint_every=None)
    if epochs is not None:
        plan = replace(plan, epochs=epochs, steps=None)
    trainer = Trainer(fresh, data, replace(plan, flow=False))
    feed: Any = trainer.feed
    if not hasattr(feed, "X") or (trainer.held is not None and not isinstance(trainer.held, list)):
        raise ArgumentError("the data are read in blocks. Give a part of them as arrays: run.try_remedies(X, y).")
    held = None if trainer.held is None else trainer.held[0]
    if held is not None and feed.by_class is not None:
        X, y, w = held
        held = X, y, trainer.task.weigh_classes(y, feed.by_class, w)
    plan = replace(plan, validation=None, class_weights=None)  # the weights of the rows hold those of the classes
    first = Attempt(fresh, (feed.X, feed.y, feed.weights), held, plan)
    judge = _Judge(first, trainer.task)
    return judge.first, judge


class _Judge:
    """Trains attempts, and measures what comes of them on the same rows."""

    def __init__(self, first: Attempt, task: Task) -> None:
        self.task = task
        self.control: Trial | None = None
        self.sign = 1.0  # by which the loss of the run is to be multiplied, so that less is better
        where = "training" if first.held is None else "validation"
        self.labels = _labels(task, self.rows(first)[1])
        self.first = replace(first, classes=self.labels is not None)
        # a class may be so rare that no row of it is held out; accuracy says little of it all the same
        self.balanced = any(map(_uneven, (self.labels, _labels(task, first.train[1]))))
        what = "loss" if self.labels is None else "accuracy, each class alike" if self.balanced else "accuracy"
        self.judged_by = f"{where} {what}"
        self.least = LEAST_PART if self.labels is None else LEAST_SHARE

    def rows(self, attempt: Attempt) -> tuple[Array, Array, Array | None]:
        """The rows that judge."""
        return attempt.train if attempt.held is None else attempt.held

    def attempt(self, change: Any, remedy: Remedy, kind: str, n_steps: int | None) -> Trial:
        """Train with a change; a trial that says why, where that cannot be."""
        try:
            changed: Attempt = change(self.first)
            if n_steps is not None:
                size = self.first.plan.batch_size / changed.plan.batch_size
                changed = changed.with_plan(steps=max(round(n_steps * changed.longer * size), 1))
            return self.train(changed, remedy, kind)
        except UndertowError as error:
            return _about(remedy, kind, note=str(error))

    def train(self, attempt: Attempt, remedy: Remedy, kind: str) -> Trial:
        """Train and measure."""
        begun = time.perf_counter()
        data = attempt.train if attempt.train[2] is not None else attempt.train[:2]
        held = attempt.held if attempt.held is None or attempt.held[2] is not None else attempt.held[:2]
        trainer = Trainer(attempt.model, data, replace(attempt.plan, validation=held))
        try:
            run = trainer.fit()
        except Diverged as error:
            run = error.run
        loss, share = self.measure(attempt, trainer, run)
        kinds = {finding.kind for finding in diagnose(run.flow)} if attempt.plan.flow else None
        trial = _about(
            remedy, kind, loss=loss, share=share,
            found=None if kinds is None or not kind else bool(kinds & set(kind.split(", "))),
            seconds=time.perf_counter() - begun, stopped=run.stopped, run=run,
        )  # fmt: skip
        return trial if self.control is None else replace(trial, gain=self.gain(trial))

    def measure(self, attempt: Attempt, trainer: Trainer, run: Run) -> tuple[float, float | None]:
        """The loss, in the units of the run, and the share of right answers."""
        X, y, w = self.rows(attempt)
        outputs = run.forward(run.model, X)
        if self.labels is not None:
            share = self._share(_decide(trainer, outputs))
        if run.stopped == "diverged" or not np.isfinite(outputs).all():
            return math.inf, None if self.labels is None else share
        if self.labels is not None:
            loss = trainer.task.evaluate(run.model, [(X, y, w)])["loss"] if attempt.same_loss else math.nan
            return self.sign * loss, share
        if attempt.unit is not None:
            mean, deviation = attempt.unit
            outputs = (outputs * deviation.reshape(-1) + mean.reshape(-1)).astype(outputs.dtype)
        return self._first_loss(outputs), None

    def _first_loss(self, outputs: Array) -> float:
        """The loss of the run itself, of outputs in its units."""
        _, y, w = self.rows(self.first)
        total = float(len(y)) if w is None else float(np.sum(w))
        return self.sign * self.task.sum_losses(outputs, self.task.encode(y), w) / total

    def _share(self, found: Array) -> float:
        assert self.labels is not None
        right = np.ravel(found) == self.labels
        if not self.balanced:
            return float(np.mean(right))
        return float(np.mean([np.mean(right[self.labels == label]) for label in np.unique(self.labels)]))

    def gain(self, trial: Trial) -> float:
        """By how much a trial is better than the unchanged training."""
        control = self.control
        assert control is not None
        if trial.share is not None and control.share is not None:
            return trial.share - control.share
        if not math.isfinite(control.loss):
            return 1.0 if math.isfinite(trial.loss) else 0.0
        if not math.isfinite(trial.loss):
            return -math.inf
        return (control.loss - trial.loss) / max(abs(control.loss), 1e-12)


def _about(remedy: Remedy, kind: str, **came: Any) -> Trial:
    """A trial of a remedy against a finding, and what came of it."""
    change = ((remedy.name, remedy.change),)
    return Trial(kind, remedy.sentence, remedy.code, remedy.option, change=change, **came)


def _labels(task: Task, y: Array) -> Array | None:
    """The class of each row, where targets are classes, whatever the loss makes of them."""
    if y.ndim == 2 and y.shape[1] > 1:
        rows = bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())
        return y.argmax(axis=1) if rows or task.loss.task == "categorical" else None
    several = task.loss.task == "own" and y.dtype.kind in "iu" and task.output_shape[-1:] > (int(y.max()),)
    if task.loss.task == "categorical" or several:
        return np.ravel(y).astype(np.int64)
    return np.ravel(y > 0).astype(np.int64) if task.classifies or np.isin(y, (0, 1)).all() else None


def _uneven(labels: Array | None) -> bool:
    """Whether a class is so rare that the share of right answers says little of it."""
    counts = np.ones(1) if labels is None else np.unique(labels, return_counts=True)[1]
    return bool(counts.min() < UNEVEN * counts.mean())


def _decide(trainer: Trainer, outputs: Array) -> Array:
    """The class that is predicted for each row."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    if trainer.task.classifies:
        return np.ravel(trainer.task.decide(outputs))
    return np.ravel(outputs > 0.5).astype(np.int64)


def _rank(row: Trial) -> tuple[float, float]:
    """The larger the gain, the earlier; then the smaller loss."""
    gain = row.gain if not math.isnan(row.gain) else -math.inf if row.tried else -1e300
    return (-gain if row.tried else math.inf, row.loss if math.isfinite(row.loss) else math.inf)


def _best_of_each(rows: list[Trial], least: float) -> list[Trial]:
    """The best trial of each change, those that help."""
    found: dict[str, Trial] = {}
    for row in rows:
        if row.tried and row.gain >= least:
            found.setdefault(row.change[0][0], row)
    return list(found.values())[:COMBINED]


def _compare(run: Run, control: Trial, judge: _Judge) -> str:
    """A sentence where the training does well when it is merely begun anew."""
    kind = "validation_loss" if judge.first.held is not None else "loss"
    before = run.history[-1].get(kind) if run.history else math.inf
    before = math.inf if run.stopped == "diverged" else None if before is None else judge.sign * before
    if before is not None and control.loss < (before - 0.3 * abs(before) if math.isfinite(before) else before):
        return (
            f"Begun anew with parameters drawn afresh it does better without any change (loss {control.loss:.4g} "
            f"instead of {before:.4g}): those it began with were the trouble. Give them as model= to compare with them."
        )
    return ""


def _tell(row: Trial) -> str:
    if not row.tried:
        return f"Not tried: {row.note}"
    value = f"accuracy {row.share:.4g}" if row.share is not None else f"loss {row.loss:.4g}"
    gain = f"{row.gain:+z.1%}" if math.isfinite(row.gain) else row.stopped
    return f"{value}, {gain}, {row.seconds:.1f} s."


def _say_nothing(_: str) -> None:
    """Print nothing."""
