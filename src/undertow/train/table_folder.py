"""The folder of a training on a table: free, or replaced by a new run once there is one."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from undertow.errors import RunError
from undertow.train.checkpoint import FLOW, check_target
from undertow.train.keeper import FOLDER, HISTORY
from undertow.train.store import CheckpointStore
from undertow.train.table_settings import CONFIG


def check_folder(folder: Path, overwrite: bool) -> None:
    """RunError where a training cannot be kept in a folder."""
    check_target(folder, overwrite)
    if not overwrite and (folder / FOLDER).is_dir() and CheckpointStore(folder / FOLDER).numbers():
        raise RunError(
            f"{folder} holds a training that has not come to its end. Go on with it: undertow resume {folder}, or "
            "replace it with --overwrite."
        )


class in_place_of:
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
            for made in (store, self.folder / FLOW):
                shutil.rmtree(made, ignore_errors=True)
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
