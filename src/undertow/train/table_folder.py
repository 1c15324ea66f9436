"""The folder of a training on a table: free, or replaced by a new run once there is one."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from undertow.errors import RunError
from undertow.train.checkpoint import FLOW, check_target
from undertow.train.diverged import Diverged
from undertow.train.keeper import FOLDER, HISTORY
from undertow.train.lock import is_in_use
from undertow.train.store import CheckpointStore
from undertow.train.table_settings import CONFIG

HELD_OUT = "held_out.json"  # what the first of two trainings found, see `undertow.train.table_refit`
DIVERGED = "-diverged"  # the end of the name of a folder beside a run that was to be replaced


def check_folder(folder: Path, overwrite: bool) -> None:
    """RunError where a training cannot be kept in a folder."""
    check_target(folder, overwrite)
    if not overwrite and holds_training(folder):
        raise RunError(
            f"{folder} holds a training that has not come to its end. Go on with it: undertow resume {folder}, or "
            "replace it with --overwrite."
        )


def holds_training(folder: Path) -> bool:
    """Whether there is a training that can be gone on with."""
    return (folder / HELD_OUT).is_file() or (
        (folder / FOLDER).is_dir() and bool(CheckpointStore(folder / FOLDER).numbers())
    )


def how_to_go_on(folder: Path) -> str:
    """Say how the training in a folder that has not come to its end is gone on with.

    Args:
        folder: of the run.

    Returns:
        A sentence: a command, where the folder tells the settings; a call, where there is a checkpoint; else that
        there is nothing to go on with.

    Source: derived here.

    Example:
        >>> how_to_go_on(Path("no-such-run"))
        'No checkpoint was written, so there is nothing to go on with. If nobody trains there any more, train again.'
    """
    if (folder / CONFIG).is_file():
        return f"Go on with undertow resume {folder}."
    if holds_training(folder):
        return f"Go on with undertow.resume({str(folder)!r}, data)."
    return "No checkpoint was written, so there is nothing to go on with. If nobody trains there any more, train again."


class in_place_of:
    """Move a run that is to be replaced out of the way, and back where the training comes to nothing.

    A training that diverges before its first checkpoint is kept as well: beside the run that it was to replace.

    Attributes:
        kept: where the training is kept.
    """

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self.folder, self.new, self.kept = folder, not folder.exists(), folder
        self.aside = _aside(folder) if overwrite and folder.exists() else None

    def __enter__(self) -> None:
        if is_in_use(self.folder / FOLDER):
            raise RunError(
                f"{self.folder}: another process trains there. Wait until it ends, or choose another folder."
            )
        try:
            if self.aside is not None:
                shutil.rmtree(self.aside, ignore_errors=True)
                os.rename(self.folder, self.aside)
                self.new = True
        except OSError as error:
            raise RunError(f"{self.folder} cannot be replaced: {error.strerror or error}.") from None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and is_in_use(self.folder / FOLDER):  # another process was faster: it is its folder now
            return
        begun = kind is None or holds_training(self.folder)
        diverged = isinstance(error, Diverged) and self.folder.is_dir()
        if not begun and not diverged:
            self._remove()
        if self.aside is None:
            return
        if begun:
            shutil.rmtree(self.aside, ignore_errors=True)
            return
        if diverged:
            self.kept = _beside(self.folder)
            shutil.rmtree(self.kept, ignore_errors=True)
            os.rename(self.folder, self.kept)
        try:
            os.rename(self.aside, self.folder)
        except OSError as failure:
            raise RunError(
                f"{self.folder}: the run that was there cannot be put back: {failure.strerror or failure}. It is in "
                f"{self.aside}."
            ) from None

    def _remove(self) -> None:
        """Remove what came to nothing."""
        if not self.new:  # an empty folder that was there
            for made in (self.folder / FOLDER, self.folder / FLOW):
                shutil.rmtree(made, ignore_errors=True)
            for name in (CONFIG, HISTORY):
                (self.folder / name).unlink(missing_ok=True)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # where it was made for this run


def _beside(folder: Path) -> Path:
    """A name for a training that diverged: that of an earlier one, unless something else has it."""
    for number in itertools.count(1):
        found = folder.with_name(f"{folder.name}{DIVERGED}{'' if number == 1 else f'-{number}'}")
        with suppress(RunError):
            check_target(found, overwrite=True)
            break
    return found


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")
