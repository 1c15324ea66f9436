"""Training on a table: from a file to a run folder, and on with one whose process was killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertow.data.file_names import find_extension
from undertow.data.table_pieces import find_files
from undertow.data.wording import count
from undertow.errors import RunError
from undertow.train.checkpoint import RECORD, load
from undertow.train.diverged import Diverged
from undertow.train.files import check_run_folder
from undertow.train.interrupt import hold_interrupts, interrupt_once
from undertow.train.keeper import FOLDER
from undertow.train.range_test import find_learning_rate
from undertow.train.rate import RateSuggestion
from undertow.train.reading_progress import ReadingProgress
from undertow.train.resume import has_come_to_rest, open_training
from undertow.train.run import Run, read_versions
from undertow.train.snapshot import Snapshot
from undertow.train.store import CheckpointStore
from undertow.train.table_data import Table, load_table
from undertow.train.table_folder import check_folder, in_place_of
from undertow.train.table_network import make_plan, with_epochs
from undertow.train.table_other import try_other
from undertow.train.table_parts import try_in_parts
from undertow.train.table_rate import with_reductions
from undertow.train.table_refit import Chosen, goes_again, keep_first, read_first, set_up_refit, set_up_second
from undertow.train.table_settings import CONFIG, TableSettings, read_config, tell_resumed, write_config
from undertow.train.table_setup import measure_in_units, prepare
from undertow.train.table_words import tell_choices
from undertow.train.temperature import divide_scores
from undertow.train.trainer import Trainer

Say = Callable[[Any], Any]
LONG_TO_READ = 100_000_000  # bytes of files


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
        overwrite: whether a run that is there is replaced; it stays until there is a checkpoint of this training.
        progress: whether to show it.
        say: called with sentences about what was decided.
        callbacks: of the training that is kept, see `Callback`.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        DataError, ArgumentError: what cannot be trained on.
        RunError: the folder holds a run; the disk refuses.
        Diverged: the loss or the parameters became infinite; the run so far is in a folder, which the message names.

    Source: derived here.
    """
    if settings.resumed:
        say(f"  These settings are of a training that was gone on with. {tell_resumed(settings.resumed)}")
    settings = replace(settings, refit_epochs=None, refit_temperature=None, refit_reductions=None, resumed=None)
    if _takes_long(settings):
        check_folder(folder, overwrite)  # what takes minutes is not read in vain
    with ReadingProgress(progress):
        table = load_table(settings)
    settings, model, trainer_of = prepare(table, settings, callbacks)
    check_folder(folder, overwrite)
    place = in_place_of(folder, overwrite)
    try:
        with place:
            trainer = trainer_of(folder, progress)  # which refuses what does not go together, before anything is said
            for sentence in [*table.report, *tell_choices(settings, table, model)]:
                say(f"  {sentence}")
            write_config(settings, folder / CONFIG)
            return _train(trainer, settings, table, folder, callbacks, progress, say)
    except Diverged as error:
        raise _tell_kept(error, place.kept, folder) from None


def _takes_long(settings: TableSettings) -> bool:
    """Whether to read the table takes more than seconds."""
    files = [] if settings.data is None else find_files(settings.data)
    return sum(file.stat().st_size for file in files if file.is_file()) > LONG_TO_READ


def _train(
    trainer: Trainer,
    settings: TableSettings,
    table: Table,
    folder: Path,
    callbacks: Sequence[Any],
    progress: bool,
    say: Say,
) -> tuple[Run, Table]:
    """Train to the end, where it is the first of two trainings also the second one, and save."""
    try:
        with interrupt_once():
            run = trainer.fit()
            again = goes_again(settings, trainer)
            if not again:
                return _save(run, settings, folder), table
            try:
                chosen = Chosen(run, with_reductions(settings, trainer))
                in_parts = (settings.folds or 1) > 1
                if settings.other or in_parts:
                    keep_first(settings, table, folder, chosen, run, pending=True)
                    chosen = (try_in_parts if in_parts else try_other)(run, chosen.settings, table, progress, say)
            except KeyboardInterrupt:  # the first one is kept, and resume goes on from there
                run.stopped = "interrupted"
                run = _save(run, settings, folder)
                say("  The run holds the first network, not one trained on all rows.")
                return run, table
            with hold_interrupts():
                keep_first(settings, table, folder, chosen, run)
        settings, table, trainer, said = set_up_second(folder, settings, callbacks, progress)
        say(said)
        with interrupt_once():
            return _save(trainer.fit(), settings, folder), table
    except Diverged as error:
        with hold_interrupts():
            error.run.save(folder, overwrite=True)  # its last parameters that are finite, and the record
        raise


def _save(run: Run, settings: TableSettings, folder: Path) -> Run:
    """Save before anything is said, whatever becomes of the output."""
    if not run.history:
        raise KeyboardInterrupt  # before the first step: there is nothing to save
    if settings.refit_temperature is not None:  # of the model alone: where training goes on, it goes on without
        run.model = divide_scores(run.model, settings.refit_temperature)
    with hold_interrupts():
        run.save(folder, overwrite=True)
    return run


def _tell_kept(error: Diverged, kept: Path, folder: Path) -> Diverged:
    """Say in an error where the training that diverged is kept, and how to go on."""
    error.run.folder = kept
    replaced = "" if kept == folder else f" The run that was to be replaced is still in {folder}."
    return Diverged(
        f"{error} What was trained and recorded is kept in {kept}. What is wrong: undertow diagnose {kept}; with "
        f"--try, it tries what may help. Then train again with one of these, and --overwrite.{replaced}",
        error.run,
    )


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
        epochs: another number of epochs, those done already included; where the training on all rows has begun, its.
        steps: another number of steps in all.
        seconds: another time in all.
        progress: whether to show it.
        say: called with sentences.
        callbacks: as at first, those that change the learning rate among them.

    Returns:
        The run, saved in the folder, and the table.

    Raises:
        RunError: the folder holds no such training; the data has changed.
        ArgumentError: ``runs/a: 5 epochs are done already. …``

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
    settings, table, trainer = _reopen(folder, settings, longer, callbacks, progress, say)
    try:
        run, table = _train(trainer, settings, table, folder, callbacks, progress, say)
    except Diverged as error:
        raise _tell_kept(error, folder, folder) from None
    begun = settings.refit_epochs is None and read_config(folder / CONFIG).refit_epochs is not None
    noted = settings.resumed != read_config(folder / CONFIG).resumed
    if noted and not begun:  # where the second of two trainings has begun, it wrote what was found
        write_config(settings, folder / CONFIG)
    return run, table


def _reopen(
    folder: Path,
    settings: TableSettings,
    longer: dict[str, Any],
    callbacks: Sequence[Any],
    progress: bool,
    say: Say,
) -> tuple[TableSettings, Table, Trainer]:
    """Set a training up where it stopped."""
    if settings.dates is None:  # of a version that knew no other way
        settings = replace(settings, dates="days")
    if settings.average is None:
        settings = replace(settings, average=0.0)
    epochs, first = longer["epochs"], read_first(folder)
    second = settings.refit_epochs is not None
    snapshot = CheckpointStore(folder / FOLDER).latest() if (folder / FOLDER).is_dir() else None
    between = bool(settings.refit) and not second and first is not None
    if snapshot is not None and not between:
        settings = _take_kept(settings, snapshot, second)
    begun, settings = settings, _note_longer(settings, longer, second or between)
    if between:  # killed between the two trainings
        settings, table, trainer, said = set_up_second(folder, settings, callbacks, progress, epochs)
        say(said)
        return settings, table, trainer
    if second:
        settings = with_epochs(settings, refit_epochs=epochs)
        table, trainer_of = set_up_refit(settings, callbacks)
    else:
        with ReadingProgress(progress):
            table = load_table(settings)
        settings, _, trainer_of = prepare(table, with_epochs(settings, **longer), callbacks)
    if snapshot is None:
        _check_diverged(folder)
        say(f"  {folder} holds no checkpoint yet: the training begins at its beginning.")
        trainer = trainer_of(folder, progress)
        settings = replace(settings, resumed=begun.resumed)
        if any(longer.values()):  # from its beginning on: these are the settings that it has
            write_config(settings, folder / CONFIG)
        if second and first is not None:
            trainer.run.extras["held_out"] = first["held_out"]
        return settings, table, trainer
    _check_encoder(folder, snapshot, table)
    trainer = open_training(
        folder, table.train, validation=table.validation, epochs=epochs, steps=longer["steps"],
        seconds=longer["time_budget"], progress=progress, callbacks=callbacks,
    )  # fmt: skip
    trainer = measure_in_units(trainer, table)
    if snapshot.record["stopped"] == "callback" and not any(longer.values()):
        trainer.run.stopped = "callback"  # it was over, but for saving it
    over = trainer.done and not goes_again(settings, trainer)
    say(_tell_place(trainer, second, over))
    if over:
        say(_tell_done(folder, trainer))
    return settings, table, trainer


def _note_longer(settings: TableSettings, longer: dict[str, Any], second: bool) -> TableSettings:
    """Put among the settings how a training is gone on with for longer; the ``second`` one has an end of its own."""
    given = {name: value for name, value in longer.items() if value}
    if not given:
        return settings
    options = [(f"--{name.replace('_', '-')}", getattr(settings, name), value) for name, value in given.items()]
    begun = [] if second else [f"without {name}" if old is None else f"{name} {old:.15g}" for name, old, _ in options]
    resumed = settings.resumed or [" ".join(begun)]
    return replace(settings, resumed=[*resumed, " ".join(f"{name} {value:.15g}" for name, _, value in options)])


def _take_kept(settings: TableSettings, snapshot: Snapshot, second: bool) -> TableSettings:
    """Take up the end that a checkpoint tells of: a training that was gone on with for longer may have been killed."""
    kept = snapshot.record["settings"]
    epochs = settings.refit_epochs if second else settings.epochs
    now: dict[str, Any] = {"epochs": epochs, "steps": settings.steps, "time_budget": settings.time_budget}
    found = {name: kept.get("seconds" if name == "time_budget" else name) for name in now}
    longer = {name: value for name, value in found.items() if value is not None and value != now[name]}
    noted = _note_longer(settings, longer, second)
    return with_epochs(noted, **({"refit_epochs": longer.get("epochs")} if second else longer))


def _check_encoder(folder: Path, snapshot: Snapshot, table: Table) -> None:
    """RunError where the table gives other features than it did, though the file is the same."""
    stored = snapshot.record["extras"].get("encoder")
    if table.encoder is None or not isinstance(stored, dict):
        return
    if {**stored, "report": None} == {**table.encoder.to_json_dict(), "report": None}:  # words change no number
        return
    began, now = snapshot.record["versions"].get("undertow"), read_versions()["undertow"]
    raise RunError(
        f"{folder}: the table is not encoded as it was when the training began, by Undertow {began}; this is {now}, or "
        f"{CONFIG} was changed since. Go on with that version and that file, or train anew: undertow train --config "
        f"{folder / CONFIG} --overwrite. What was trained still predicts."
    )


def _check_diverged(folder: Path) -> None:
    """RunError for a training that diverged before its first checkpoint."""
    if (folder / RECORD).is_file() and load(folder).stopped == "diverged":
        raise RunError(
            f"{folder}: this training diverged before its first checkpoint, as it would again. What may help: undertow "
            f"diagnose {folder} --try. Then train again with that, and --overwrite."
        )


def _tell_place(trainer: Trainer, second: bool, over: bool) -> str:
    """Say where a training goes on, and that its limits are those of all of it."""
    plan, epoch = trainer.plan, trainer.epoch if trainer.over else trainer.epoch - 1
    limits = [count(plan.epochs, "epoch")] if plan.epochs is not None else []
    limits += [count(plan.steps, "step")] if plan.steps is not None else []
    limits += [f"{plan.seconds:g} s"] if plan.seconds is not None else []
    of = ", of the second training, on all rows" if second else ""
    verb = "stands" if over else "goes on"
    return f"  {verb} after epoch {epoch}, step {trainer.n_steps}{of}; at most {' or '.join(limits)} in all."


def _tell_done(folder: Path, trainer: Trainer) -> str:
    if trainer.run.stopped == "callback":
        more = f"undertow resume {folder} --epochs N, the number in all, goes on nevertheless"
        return f"  it had come to its end: early stopping. {more}."
    n = 2 * (trainer.plan.epochs or 10)
    if has_come_to_rest(trainer):
        anew = f"undertow train --config {folder / CONFIG} --epochs {n} --out {folder} --overwrite"
        return f"  it had come to its end, and the learning rate to 0: train anew for longer, with {anew}."
    return f"  it had come to its end: more with undertow resume {folder} --epochs {n}, the number in all."


def find_folder(settings: TableSettings, out: Path | None) -> Path:
    """The run folder: what was told, else ``runs/<name of the data>``."""
    if out is not None:
        return out
    path = Path(str(settings.data).rstrip("/"))
    stem = path.name.removesuffix(path.suffix).removesuffix(find_extension(path))  # of a.csv.gz, a
    name = settings.dataset or stem.replace("*", "") or "table"
    return Path("runs") / name


def probe_rates(
    settings: TableSettings, *, low: float, high: float, steps: int, progress: bool = False
) -> RateSuggestion:
    """Test learning rates on a table, see `find_learning_rate`; nothing is kept.

    Args:
        settings: as for `train_table`.
        low: the first rate.
        high: the last rate.
        steps: between them.
        progress: whether to show how far reading has come.

    Returns:
        The suggestion.

    Raises:
        as `train_table`.

    Source: derived here.
    """
    with ReadingProgress(progress):
        table = load_table(settings)
    settings, model, _ = prepare(table, settings)
    plan = make_plan(replace(settings, schedule="constant", warmup=0.0), table.n_rows, table.classifies)
    return find_learning_rate(
        model, table.train, loss=plan.loss, optimizer=plan.optimizer, low=low, high=high, steps=steps,
        batch_size=plan.batch_size, seed=plan.seed,
    )  # fmt: skip
