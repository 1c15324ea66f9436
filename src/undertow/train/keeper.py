"""Keeps a training on the disk as it goes: checkpoints, and the rows of its history."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from undertow.errors import RunError, UndertowError
from undertow.nn import describe_model
from undertow.train.files import read_path
from undertow.train.history import HistoryFile
from undertow.train.interrupt import delay_interrupts
from undertow.train.store import CheckpointStore

if TYPE_CHECKING:
    from undertow.train.plan import Plan
    from undertow.train.snapshot import Snapshot
    from undertow.train.trainer import Trainer

FOLDER, HISTORY = "checkpoints", "history.jsonl"
SECONDS = 1.0  # that lie between checkpoints at the ends of epochs, at least


class Keeper:
    """Writes checkpoints where a plan asks for them; without a folder it does nothing.

    Args:
        plan: the settings.
        store: the checkpoints from which the training goes on; None for a new one.

    Raises:
        RunError: ``runs/a holds a training already. Go on with it: undertow.resume('runs/a'), or …``
    """

    def __init__(self, plan: Plan, store: CheckpointStore | None = None) -> None:
        self.every, self.last = plan.checkpoint_every, 0
        self.owed = False  # whether an epoch has ended that is in no checkpoint, though its last step may be
        self.store, self.told = store, 0
        if plan.checkpoint is None:
            return
        folder = read_path(plan.checkpoint, "the folder of checkpoints")
        self.rows = HistoryFile(folder / HISTORY)
        if self.store is None:
            self.store = CheckpointStore(folder / FOLDER, plan.keep)
        if store is None and self.store.numbers():
            raise RunError(
                f"{folder} holds a training already. Go on with it: undertow.resume({str(folder)!r}, data), or give "
                "another folder."
            )
        self.store.lock()

    def begin(self, trainer: Trainer) -> None:
        """Bring the file of the history to where the training stands."""
        self.last, self.written = trainer.n_steps, -math.inf
        self.waiting: tuple[Snapshot, int] | None = None  # the best so far, where it is not written yet
        if self.store is not None:
            self.rows.rewind(min(len(trainer.run.history), len(self.rows.rows())))
            for row in trainer.run.history[len(self.rows.rows()) :]:
                self.rows.append(row)
            if not trainer.n_steps and (told := _why_unsaved(trainer.run.model)) is not None:
                trainer.progress.tell(
                    f"{self.store.folder.parent} will hold no model, only numbers: {told} Else, going on takes "
                    "the model again, undertow.resume(…, model=…), and run.save will refuse."
                )

    def after_steps(self, trainer: Trainer) -> None:
        """Write a checkpoint within an epoch, if it is due."""
        if self.is_due(trainer):
            with delay_interrupts():
                self.write(trainer)

    def is_due(self, trainer: Trainer) -> bool:
        """Tell whether so many steps were done since the last checkpoint that one is due."""
        return self.store is not None and self.every is not None and trainer.n_steps - self.last >= self.every

    def after_epoch(self, trainer: Trainer) -> None:
        """Write the row of an epoch, and a checkpoint if the last one is some time ago."""
        if self.store is None:
            return
        from undertow.train.resume import take_snapshot

        with delay_interrupts():
            self.rows.append(trainer.run.history[-1])
            self.owed = True
            if trainer.best is not None and trainer.best[0] == trainer.epoch:
                self.waiting = take_snapshot(trainer), trainer.n_steps
            if time.perf_counter() - self.written >= SECONDS:
                self.write(trainer)

    def write(self, trainer: Trainer) -> None:
        """Write a checkpoint while the training goes on, and before it the best one, if that is not written yet."""
        from undertow.train.resume import take_snapshot

        assert self.store is not None
        self.rows.force()
        if trainer.recorder is not None:
            trainer.recorder.write_steps(force=True)
        waiting, self.waiting = self.waiting, None
        if waiting is not None and waiting[1] < trainer.n_steps:
            self.store.write_later(*waiting, best=True)
        best = waiting is not None and waiting[1] == trainer.n_steps
        self.store.write_later(take_snapshot(trainer), trainer.n_steps, best)
        self.last, self.owed, self.written = trainer.n_steps, False, time.perf_counter()

    def end(self, trainer: Trainer) -> None:
        """Write where a training ended, wait until all is on the disk, and let go of the folder."""
        if self.store is not None:
            try:
                owed = trainer.n_steps > self.last or self.owed
                if trainer.begun and trainer.over and owed and trainer.run.stopped != "diverged":
                    self.write(trainer)
            finally:
                self.store.close()
                self.rows.close()

    def news(self) -> list[str]:
        """What the store has to say that was not said yet, such as of a damaged checkpoint that was skipped."""
        found = [] if self.store is None else self.store.remarks[self.told :]
        self.told += len(found)
        return found


def _why_unsaved(model: Any) -> str | None:
    """What keeps a model from being written; None where nothing does."""
    try:
        describe_model(model)
    except UndertowError as error:
        return f"{error}"
    return None
