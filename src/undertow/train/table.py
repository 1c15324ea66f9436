"""Training on a table: from a file to a run folder, and on with one whose process was killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.data.wording import count
from undertow.errors import ArgumentError, RunError
from undertow.nn import Sequential
from undertow.train.choices import choose_refit, choose_settings
from undertow.train.diverged import Diverged
from undertow.train.files import check_run_folder
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.keeper import FOLDER
from undertow.train.range_test import find_learning_rate
from undertow.train.rate import RateSuggestion
from undertow.train.resume import open_training
from undertow.train.run import Run
from undertow.train.store import CheckpointStore
from undertow.train.table_data import Table, load_table
from undertow.train.table_folder import check_folder, in_place_of
from undertow.train.table_network import build_network, complete, count_outputs, make_plan, with_epochs
from undertow.train.table_settings import CONFIG, TableSettings, read_config, write_config
from undertow.train.table_words import tell_choices
from undertow.train.trainer import Trainer

Say = Callable[[Any], Any]
SetUp = Callable[[Path | None, bool], Trainer]
_EXAMPLES = 4  # rows kept in the run, for the pages that explain it


def train_table(
    settings: TableSettings,
    folder: Path,
    *,
    overwrite: bool = False,
    progress: bool = True,
    say: Say = print,
    callbacks: Sequence[Any] = (),
) -> tuple[Run, Table]:
    """Train a network on a table, and keep the training in a run folder as it goes.

    Args:
        settings: what is told; the rest is chosen by the table, and written to ``config.toml`` in the folder.
        folder: of the run.
        overwrite: whether a run that is there is replaced; it stays until this training has made its first step.
        progress: whether to show it.
        say: called with sentences about what was decided.
        callbacks: of the training that is kept, see `Callback`.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        DataError, ArgumentError: what cannot be trained on.
        RunError: the folder holds a run; the disk refuses.
        Diverged: the loss or the parameters became infinite.

    Source: derived here.
    """
    table = load_table(settings)
    settings, model, trainer_of = prepare(table, replace(settings, refit_epochs=None), callbacks)
    check_folder(folder, overwrite)
    for sentence in [*table.report, *tell_choices(settings, table, model)]:
        say(f"  {sentence}")
    with in_place_of(folder, overwrite):
        trainer = trainer_of(None if settings.refit else folder, progress)
        write_config(settings, folder / CONFIG)
        if settings.refit:
            return _train_twice(trainer, settings, table, folder, progress, say, callbacks)
        run = _fit(trainer, folder)
    return run, table


def _train_twice(
    trainer: Trainer,
    settings: TableSettings,
    table: Table,
    folder: Path,
    progress: bool,
    say: Say,
    callbacks: Sequence[Any],
) -> tuple[Run, Table]:
    """Find the best number of epochs by the rows held out, then train on all rows for as many."""
    with interrupt_once():
        first = trainer.fit()
    if first.stopped == "interrupted":
        return _save(first, folder), table
    losses = [row["validation_loss"] for row in first.history]
    best = int(np.nanargmin(losses)) + 1 if settings.early_stopping and not np.isnan(losses).all() else len(losses)
    settings = replace(settings, refit_epochs=best)
    whole, second = set_up_refit(settings, callbacks)
    sentence = summarize(first, table)
    say(f"  {sentence}, best after {count(best, 'epoch')}. Trained again on all {whole.n_rows} rows for as many.")
    again = second(folder, progress)
    again.run.extras["held_out"] = {"summary": sentence, "history": first.history, "facts": _facts_of(first)}
    write_config(settings, folder / CONFIG)
    return _fit(again, folder), whole


def _facts_of(first: Run) -> dict[str, Any]:
    """What was seen of the rows that were held out, which a training on all rows sees nothing of."""
    facts = {} if first.record is None else first.flow.facts
    return {name: facts[name] for name in ("n_validation", "shared_rows", "held_out") if name in facts}


def set_up_refit(settings: TableSettings, callbacks: Sequence[Any] = ()) -> tuple[Table, SetUp]:
    """Set up a training on all rows, for the number of epochs that was found.

    Args:
        settings: complete, with refit_epochs.
        callbacks: of the training.

    Returns:
        The table, none of its rows held out, and a function of (folder, progress) that sets the training up. The
        schedule of the learning rate is that of the first training, and ends where that was best.

    Raises:
        as `load_table`.

    Source: Goodfellow et al., Deep Learning, 2016, section 7.8, algorithm 7.2.
    """
    whole = load_table(replace(settings, validation=0.0))
    _, _, trainer_of = prepare(whole, replace(settings, validation=0.0, refit=False), callbacks)
    return whole, trainer_of


def prepare(
    table: Table, settings: TableSettings, callbacks: Sequence[Any] = ()
) -> tuple[TableSettings, Sequential, SetUp]:
    """Complete settings by a table.

    Args:
        table: from `load_table`.
        settings: those given.
        callbacks: of a training that is kept in a folder.

    Returns:
        The complete settings, the network, and a function of (folder, progress) that sets the training up; without
        a folder nothing is kept.

    Raises:
        ArgumentError: what does not go with the table.

    Source: derived here.
    """
    task = "classification" if table.classifies else "regression"
    choice = choose_settings(table.n_rows, table.n_features, task, table.n_outputs)
    refit = decide_refit(settings, table)
    settings = replace(complete(settings.over(table.settings), choice, table.classifies), refit=refit)
    settings = replace(settings, **{name: getattr(table.settings, name) for name in ("task", "data_digest", "memory")})
    if settings.threads is not None:
        from undertow.compile import set_threads

        set_threads(settings.threads)
    codes = [] if table.encoder is None else table.encoder.codes
    model = build_network(settings, table.n_features, count_outputs(settings, table.n_outputs), codes)
    extras = {
        "encoder": None if table.encoder is None else table.encoder.to_json_dict(),
        "example": _examples(table),
        "report": table.report,
        "weights": settings.weights,
    }
    plan = make_plan(replace(settings, class_weights=None), table.n_rows, table.classifies, validation=table.validation)
    plan = replace(plan, class_weights=read_class_weights(settings.class_weights, table))
    if settings.refit_epochs is not None:
        plan = replace(plan, epochs=settings.refit_epochs, early_stopping=None)

    def set_up(folder: Path | None, progress: bool) -> Trainer:
        called = () if folder is None else callbacks
        trainer = Trainer(model, table.train, replace(plan, checkpoint=folder, progress=progress, callbacks=called))
        trainer.run.extras = extras
        return trainer

    return settings, model, set_up


def decide_refit(settings: TableSettings, table: Table) -> bool:
    """Whether to train again on all rows: as told, else of small tables where no other end of training was told."""
    held = table.validation is not None
    if settings.refit is None:
        ends = (settings.epochs, settings.steps, settings.time_budget, settings.early_stopping, settings.validation)
        small = isinstance(table.train, tuple) and table.encoder is not None and choose_refit(table.n_rows)
        return held and small and all(end is None for end in ends)
    if settings.refit and not (held and isinstance(table.train, tuple) and table.encoder is not None):
        raise ArgumentError(
            "--refit: it takes a table that fits into memory, and rows held out to find the number of epochs. Give "
            "--validation 0.2, or --no-refit."
        )
    if settings.refit and (settings.steps is not None or settings.time_budget is not None):
        raise ArgumentError("--refit goes by epochs: give --epochs instead of --steps or --time-budget, or --no-refit.")
    return settings.refit


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
            _save(run, folder)
    except Diverged as error:
        if trainer.run.history:
            kept = f"What was trained before is kept in {folder}: {len(trainer.run.history)} epochs."
            raise Diverged(f"{error} {kept}", trainer.run) from None
        raise
    return run


def _save(run: Run, folder: Path) -> Run:
    """Save before anything is said, whatever becomes of the output."""
    if not run.history:
        raise KeyboardInterrupt  # before the first step: there is nothing to save
    with hold_interrupts():
        run.save(folder, overwrite=True)
    return run


def resume_table(
    folder: Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    progress: bool = True,
    say: Say = print,
    callbacks: Sequence[Any] = (),
) -> tuple[Run, Table]:
    """Go on with a training that `train_table` began, as if it had never stopped.

    Args:
        folder: of the run.
        epochs: another number of epochs in all.
        steps: another number of steps in all.
        seconds: another time in all.
        progress: whether to show it.
        say: called with sentences.
        callbacks: as at first, those that change the learning rate among them.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        RunError: the folder holds no such training; the data has changed.

    Source: derived here.
    """
    check_run_folder(folder)
    if not (folder / CONFIG).is_file():
        raise RunError(
            f"{folder} holds no {CONFIG}, so it is no training on a table that can be gone on with. Trained in Python, "
            "it is resumed there: undertow.resume(folder, data)."
        )
    settings = read_config(folder / CONFIG)
    longer = {"epochs": epochs, "steps": steps, "time_budget": seconds}
    if settings.refit_epochs is not None:
        table, trainer_of = set_up_refit(replace(settings, refit_epochs=epochs or settings.refit_epochs), callbacks)
        settings = with_epochs(settings, refit_epochs=epochs)
    else:
        table = load_table(settings)
        settings, _, trainer_of = prepare(table, with_epochs(settings, **longer), callbacks)
    snapshot = CheckpointStore(folder / FOLDER).latest() if (folder / FOLDER).is_dir() else None
    if snapshot is None:
        say(f"  {folder} holds no checkpoint yet: the training begins at its beginning.")
        if settings.refit and settings.refit_epochs is None:
            return _train_twice(trainer_of(None, progress), settings, table, folder, progress, say, callbacks)
        trainer = trainer_of(folder, progress)
    else:
        trainer = open_training(
            folder, table.train, validation=table.validation, epochs=epochs, steps=steps, seconds=seconds,
            progress=progress, callbacks=callbacks,
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
    if "held_out" in run.extras:
        return f"{run.extras['held_out']['summary']}, before training again on all rows"
    if table.validation is None:
        return "no rows were held out: how well it predicts new rows is not known."
    if table.classifies:
        right = total = 0
        for X, y in _blocks(table.validation):
            right, total = right + int(np.sum(np.ravel(run.predict(X)) == y)), total + len(y)
        return f"held-out accuracy {right / total:.2%} ({total} rows)"
    encoder = table.encoder
    assert encoder is not None
    pairs = [
        (np.ravel(encoder.decode(y)), np.ravel(encoder.decode(run.predict(X)))) for X, y in _blocks(table.validation)
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
