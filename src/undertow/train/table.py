"""Training on a table: from a file to a run folder, and on with one whose process was killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, RunError
from undertow.nn import Sequential
from undertow.train.checkpoint import check_target
from undertow.train.choices import choose_settings
from undertow.train.diverged import Diverged
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.keeper import FOLDER, HISTORY
from undertow.train.range_test import find_learning_rate
from undertow.train.rate import RateSuggestion
from undertow.train.resume import open_training
from undertow.train.run import Run
from undertow.train.store import CheckpointStore
from undertow.train.table_data import Table, load_table
from undertow.train.table_network import build_network, complete, make_plan, with_epochs
from undertow.train.table_settings import CONFIG, TableSettings, read_config, write_config
from undertow.train.table_words import tell_choices
from undertow.train.trainer import Trainer

Say = Callable[[Any], Any]
_EXAMPLES = 4  # rows kept in the run, for the pages that explain it


def train_table(
    settings: TableSettings, folder: Path, *, overwrite: bool = False, progress: bool = True, say: Say = print
) -> tuple[Run, Table]:
    """Train a network on a table, and keep the training in a run folder as it goes.

    Args:
        settings: what is told; the rest is chosen by the table, and written to ``config.toml`` in the folder.
        folder: of the run.
        overwrite: whether a run that is there is replaced; it stays until this training has made its first step.
        progress: whether to show it.
        say: called with sentences about what was decided.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        DataError, ArgumentError: what cannot be trained on.
        RunError: the folder holds a run; the disk refuses.
        Diverged: the loss or the parameters became infinite.

    Source: derived here.
    """
    table = load_table(settings)
    settings, model, trainer_of = prepare(table, settings)
    check_folder(folder, overwrite)
    for sentence in [*table.report, *tell_choices(settings, table, model)]:
        say(f"  {sentence}")
    with _in_place_of(folder, overwrite):
        trainer = trainer_of(folder, progress)
        write_config(settings, folder / CONFIG)
        run = _fit(trainer, folder)
    return run, table


def prepare(table: Table, settings: TableSettings) -> tuple[TableSettings, Sequential, Callable[[Path, bool], Trainer]]:
    """Complete settings by a table.

    Args:
        table: from `load_table`.
        settings: those given.

    Returns:
        The complete settings, the network, and a function of (folder, progress) that sets the training up.

    Raises:
        ArgumentError: what does not go with the table.

    Source: derived here.
    """
    task = "classification" if table.classifies else "regression"
    choice = choose_settings(table.n_rows, table.n_features, task, table.n_outputs)
    settings = complete(settings.over(table.settings), choice, table.classifies)
    settings = replace(settings, **{name: getattr(table.settings, name) for name in ("task", "data_digest", "memory")})
    if settings.threads is not None:
        from undertow.compile import set_threads

        set_threads(settings.threads)
    codes = [] if table.encoder is None else table.encoder.codes
    model = build_network(settings, table.n_features, table.n_outputs, codes)
    extras = {
        "encoder": None if table.encoder is None else table.encoder.to_json_dict(),
        "example": _examples(table),
        "report": table.report,
    }
    plan = make_plan(replace(settings, class_weights=None), table.n_rows, table.classifies, validation=table.validation)
    plan = replace(plan, class_weights=read_class_weights(settings.class_weights, table))

    def set_up(folder: Path, progress: bool) -> Trainer:
        trainer = Trainer(model, table.train, replace(plan, checkpoint=folder, progress=progress))
        trainer.run.extras = extras
        return trainer

    return settings, model, set_up


def read_class_weights(text: str | None, table: Table) -> Any:
    """Read weights of classes: ``"balanced"``, or ``"yes=5,no=1"``; classes that are not named count 1."""
    if text is None or text == "balanced":
        return text
    if not table.classifies:
        raise ArgumentError(f"--class-weights {text}: the target is a number, not a class. Leave it out.")
    labels = [str(k) for k in range(table.n_outputs)] if table.encoder is None else [*map(str, table.encoder.classes)]
    found = [1.0] * len(labels)
    for part in text.split(","):
        label, _, weight = part.rpartition("=")
        if label.strip() not in labels:
            raise ArgumentError(f"--class-weights {text}: there is no class {label.strip()!r}. Write yes=5,no=1.")
        try:
            found[labels.index(label.strip())] = float(weight)
        except ValueError:
            raise ArgumentError(f"--class-weights {text}: {weight.strip()!r} is no number. Write yes=5,no=1.") from None
    return found


def _examples(table: Table) -> dict[str, Any]:
    """A few rows, for the pages that explain the run."""
    data = table.train
    X, y = data[:2] if isinstance(data, tuple) else data.head(_EXAMPLES)[:2]
    return {"X": np.asarray(X[:_EXAMPLES]).tolist(), "y": np.asarray(y[:_EXAMPLES]).tolist()}


def _fit(trainer: Trainer, folder: Path) -> Run:
    """Train to the end and save."""
    try:
        with interrupt_once():
            run = trainer.fit()
            if not run.history:
                raise KeyboardInterrupt  # before the first step: there is nothing to save
            with hold_interrupts():  # saved before anything is said, whatever becomes of the output
                run.save(folder, overwrite=True)
    except Diverged as error:
        if trainer.run.history:
            kept = f"What was trained before is kept in {folder}: {len(trainer.run.history)} epochs."
            raise Diverged(f"{error} {kept}", trainer.run) from None
        raise
    return run


def check_folder(folder: Path, overwrite: bool) -> None:
    """RunError where a training cannot be kept in a folder."""
    check_target(folder, overwrite)
    if not overwrite and (folder / FOLDER).is_dir() and CheckpointStore(folder / FOLDER).numbers():
        raise RunError(
            f"{folder} holds a training that has not come to its end. Go on with it: undertow resume {folder}, or "
            "replace it with --overwrite."
        )


class _in_place_of:
    """Move a run that is to be replaced out of the way, and back where the training comes to nothing."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self.folder, self.new = folder, not folder.exists()
        self.aside = _aside(folder) if overwrite and folder.exists() else None

    def __enter__(self) -> None:
        try:
            if self.aside is not None:
                shutil.rmtree(self.aside, ignore_errors=True)
                os.rename(self.folder, self.aside)
                self.new = True
        except OSError as error:
            raise RunError(f"{self.folder} cannot be replaced: {error.strerror or error}.") from None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        store = self.folder / FOLDER
        kept = kind is None or (store.is_dir() and bool(CheckpointStore(store).numbers()))
        if not kept and not self.new:  # an empty folder that was there
            shutil.rmtree(store, ignore_errors=True)
            for name in (CONFIG, HISTORY):
                (self.folder / name).unlink(missing_ok=True)
        if not kept and self.new:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):
                self.folder.parent.rmdir()  # where it was made for this run
        if self.aside is None:
            return
        if kept:
            shutil.rmtree(self.aside, ignore_errors=True)
        else:
            os.rename(self.aside, self.folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def resume_table(
    folder: Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    progress: bool = True,
    say: Say = print,
) -> tuple[Run, Table]:
    """Go on with a training that `train_table` began, as if it had never stopped.

    Args:
        folder: of the run.
        epochs: another number of epochs in all.
        steps: another number of steps in all.
        seconds: another time in all.
        progress: whether to show it.
        say: called with sentences.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        RunError: the folder holds no such training; the data has changed.

    Source: derived here.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such folder. Give the folder of a run.")
    if not (folder / CONFIG).is_file():
        raise RunError(
            f"{folder} holds no {CONFIG}, so it is no training on a table that can be gone on with. Trained in Python, "
            "it is resumed there: undertow.resume(folder, data)."
        )
    settings = read_config(folder / CONFIG)
    table = load_table(settings)
    longer = {"epochs": epochs, "steps": steps, "time_budget": seconds}
    settings, _, trainer_of = prepare(table, with_epochs(settings, **longer))
    snapshot = CheckpointStore(folder / FOLDER).latest() if (folder / FOLDER).is_dir() else None
    if snapshot is None:
        say(f"  {folder} holds no checkpoint yet: the training begins at its beginning.")
        trainer = trainer_of(folder, progress)
    else:
        trainer = open_training(
            folder, table.train, validation=table.validation, epochs=epochs, steps=steps, seconds=seconds,
            progress=progress, callbacks=(),
        )  # fmt: skip
        if snapshot.record["stopped"] == "callback" and not any(longer.values()):
            trainer.run.stopped = "callback"  # it was over, but for saving it
        say(f"  goes on after epoch {trainer.epoch if trainer.over else trainer.epoch - 1}, step {trainer.n_steps}.")
        if trainer.done:
            say(_tell_done(folder, trainer))
    run = _fit(trainer, folder)
    if any(longer.values()):
        write_config(settings, folder / CONFIG)
    return run, table


def _tell_done(folder: Path, trainer: Trainer) -> str:
    if trainer.run.stopped == "callback":
        return f"  it had come to its end: early stopping. undertow resume {folder} --epochs N goes on nevertheless."
    return f"  it had come to its end: more with undertow resume {folder} --epochs {2 * (trainer.plan.epochs or 10)}."


def summarize(run: Run, table: Table) -> str:
    """Say how good a run is on the rows held out, in the target's own unit."""
    if table.validation is None:
        return "no rows were held out: how well it predicts new rows is not known."
    if table.classifies:
        right = total = 0
        for X, y in _blocks(table.validation):
            right, total = right + int(np.sum(run.predict(X) == y)), total + len(y)
        return f"held-out accuracy {right / total:.2%} ({total} rows)"
    encoder = table.encoder
    assert encoder is not None
    pairs = [
        (np.ravel(encoder.decode(y)), np.ravel(encoder.decode(run.outputs(X)))) for X, y in _blocks(table.validation)
    ]
    wanted, found = (np.concatenate(part) for part in zip(*pairs, strict=True))
    error = float(np.mean((wanted - found) ** 2))
    spread = float(np.var(wanted))
    share = f", R² {1 - error / spread:.4f}" if spread else ""
    return f"held-out root mean squared error {error**0.5:.6g}{share} ({len(wanted)} rows)"


def _blocks(data: Any) -> Any:
    """X and y of the rows held out, portion by portion."""
    if isinstance(data, tuple):
        yield data[:2]
        return
    with data.epoch(0, batch_size=4096) as blocks:
        for block in blocks:
            yield block[:2]


def find_folder(settings: TableSettings, out: Path | None) -> Path:
    """The run folder: what was told, else ``runs/<name of the data>``."""
    if out is not None:
        return out
    name = settings.dataset or Path(str(settings.data).rstrip("/")).stem.replace("*", "") or "table"
    return Path("runs") / name


def probe_rates(settings: TableSettings, *, low: float, high: float, steps: int) -> RateSuggestion:
    """Test learning rates on a table, see `find_learning_rate`; nothing is kept.

    Args:
        settings: as for `train_table`.
        low: the first rate.
        high: the last rate.
        steps: between them.

    Returns:
        The suggestion.

    Raises:
        as `train_table`.

    Source: derived here.
    """
    table = load_table(settings)
    settings, model, _ = prepare(table, settings)
    plan = make_plan(replace(settings, schedule="constant", warmup=0.0), table.n_rows, table.classifies)
    return find_learning_rate(
        model, table.train, loss=plan.loss, optimizer=plan.optimizer, low=low, high=high, steps=steps,
        batch_size=plan.batch_size, seed=plan.seed,
    )  # fmt: skip
