"""Training twice: the first training finds the number of epochs by rows held out, the second takes all rows.

Both are kept in the folder of the run, one after the other. Between them ``held_out.json`` is written, which tells what
the first one found: it makes that the second one begins, also where the process is killed at any point between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow.data.wording import count
from undertow.errors import RunError
from undertow.train.checkpoint import MODEL, RECORD
from undertow.train.disk import open_file
from undertow.train.files import write_whole
from undertow.train.keeper import FOLDER
from undertow.train.record import read_record, write_record
from undertow.train.run import Run
from undertow.train.stopping import EarlyStopping
from undertow.train.store import CheckpointStore
from undertow.train.table_data import Table, load_table
from undertow.train.table_folder import HELD_OUT
from undertow.train.table_settings import CONFIG, TableSettings, write_config
from undertow.train.table_setup import SetUp, prepare
from undertow.train.table_words import summarize
from undertow.train.trainer import Trainer

_FACTS: Final = ("n_validation", "shared_rows", "shared_by_chance", "held_out")


@dataclass(frozen=True)
class Chosen:
    """What is trained on all rows.

    Attributes:
        run: of the training on a part of them that tells how good that is.
        settings: of it, complete.
        epochs: for how many; None for as many as were best in that run.
    """

    run: Run
    settings: TableSettings
    epochs: int | None = None


def goes_again(settings: TableSettings, trainer: Trainer) -> bool:
    """Tell whether a training that has come to its end is the first of two.

    Args:
        settings: complete.
        trainer: after its end.

    Returns:
        Whether the second one follows: not where somebody ended the first one.

    Source: derived here.
    """
    if not settings.refit or settings.refit_epochs is not None or trainer.run.stopped == "interrupted":
        return False
    watching = [callback for callback in trainer.hooks.callbacks if isinstance(callback, EarlyStopping)]
    return trainer.run.stopped == "finished" or any(callback.waited >= callback.patience for callback in watching)


def keep_first(
    settings: TableSettings, table: Table, folder: Path, chosen: Chosen, first: Run, pending: bool = False
) -> None:
    """Write what a first training has found, before anything of it is removed.

    Args:
        settings: complete, of the first.
        table: what it was trained on.
        folder: of the run.
        chosen: what is trained on all rows.
        first: the run of the first, whose record of the gradient flow is kept.
        pending: whether another one is still to be compared, so that this is for watchers alone.

    Raises:
        RunError: the disk refuses.

    Source: derived here.
    """
    run = chosen.run
    facts = {} if first.record is None else first.flow.facts  # of rows of which the second one sees nothing
    told = {
        "epochs": chosen.epochs or _find_best(run, settings),
        "settings": _find_differences(chosen.settings, settings),
        **({"pending": True} if pending else {}),
        "held_out": {
            "summary": summarize(run, table),
            "history": run.history,
            "facts": {name: facts[name] for name in _FACTS if name in facts},
        },
    }
    write_whole(folder / HELD_OUT, write_record(told).encode())


def _find_best(run: Run, settings: TableSettings) -> int:
    """After how many epochs a run was best, where early stopping looked for that."""
    losses = [row["validation_loss"] for row in run.history]
    return int(np.nanargmin(losses)) + 1 if settings.early_stopping and not np.isnan(losses).all() else len(losses)


def _find_differences(settings: TableSettings, given: TableSettings) -> dict[str, Any]:
    """The settings that are others than those given."""
    before = given.given()
    return {name: value for name, value in settings.given().items() if value != before.get(name)}


def read_first(folder: Path) -> dict[str, Any] | None:
    """Read what a first training has found.

    Args:
        folder: of the run.

    Returns:
        ``epochs``, and ``held_out`` as the run keeps it; None where there is nothing, or another training is not
        compared yet.

    Raises:
        RunError: ``runs/a/held_out.json is damaged. …``

    Source: derived here.

    Example:
        >>> read_first(Path("no-such-run")) is None
        True
    """
    try:
        with open_file(folder / HELD_OUT) as file:
            found = read_record(file.read())
        if not isinstance(found["epochs"], int) or not isinstance(found["held_out"]["history"], list):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise RunError(
            f"{folder / HELD_OUT} cannot be read: {why}. Train anew: undertow train with --overwrite."
        ) from None
    return None if found.get("pending") else dict(found)


def set_up_second(
    folder: Path, settings: TableSettings, callbacks: Sequence[Any], progress: bool, epochs: int | None = None
) -> tuple[TableSettings, Table, Trainer, str]:
    """Make room for the second training, and set it up.

    Args:
        folder: of the run, in which `keep_first` has written.
        settings: complete.
        callbacks: of the training.
        progress: whether to show it.
        epochs: for how many to train; as many as were best unless told.

    Returns:
        The settings, with refit_epochs; the table, none of its rows held out; the training, before its first step; and
        a sentence about it.

    Raises:
        RunError: the disk refuses; the data has changed.

    Source: derived here.
    """
    found = read_first(folder)
    assert found is not None
    best = found["epochs"]
    settings = replace(settings, **found.get("settings", {}), other=False, refit_epochs=epochs or best)
    whole, trainer_of = set_up_refit(settings, callbacks)
    store = CheckpointStore(folder / FOLDER)
    try:
        store.clear()
    finally:
        store.close()
    for name in (RECORD, MODEL):  # of a first training that was interrupted
        (folder / name).unlink(missing_ok=True)
    write_config(settings, folder / CONFIG)
    many = "as many" if epochs is None else count(epochs, "epoch")
    first = f"{found['held_out']['summary']}, best after {count(best, 'epoch')}."
    if (settings.folds or 1) > 1:
        first, many = f"{found['held_out']['summary']}.", many if epochs else count(best, "epoch")
    by = settings.refit_temperature
    divided = "" if by is None else f"; then its scores are divided by {by:g}"
    said = f"  {first} Trained again on all {whole.n_rows} rows for {many}{divided}."
    said += " The learning rate falls after the same epochs." if settings.refit_reductions else ""
    trainer = trainer_of(folder, progress)
    trainer.run.extras["held_out"] = found["held_out"]
    return settings, whole, trainer, said


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
    _, _, trainer_of = prepare(whole, replace(settings, validation=0.0, refit=False, folds=1), callbacks)
    return whole, trainer_of
