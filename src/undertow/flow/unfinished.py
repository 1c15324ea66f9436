"""Runs as they are in their folders, also of a training that goes on or was killed, so that remedies can be tried."""

from __future__ import annotations

from pathlib import Path

from undertow.flow.store import load_flow
from undertow.nn.description import build_model
from undertow.train.checkpoint import MODEL, load
from undertow.train.keeper import FOLDER
from undertow.train.run import Run
from undertow.train.store import CheckpointStore


def open_run(folder: Path) -> Run:
    """Open the run of a folder, whether it has ended or not; nothing in it is changed.

    Args:
        folder: of the run.

    Returns:
        The run. Of one that has not ended, its record so far, and the model of its last checkpoint, its parameters to
        be drawn; None where there is no checkpoint, or the model has layers of the user's own.

    Raises:
        RunError: it is no folder of a run, or nothing is recorded in that of one that has not ended.

    Source: derived here.
    """
    if (folder / MODEL).exists() or not (folder / FOLDER).is_dir():
        return load(folder)
    flow, snapshot = load_flow(folder), CheckpointStore(folder / FOLDER).latest()
    architecture = None if snapshot is None else snapshot.record.get("architecture")
    model = None if architecture is None else build_model(architecture)
    return Run(
        model, history=flow.history, settings=flow.settings, stopped="interrupted", record=flow, folder=folder,
        extras={} if snapshot is None else snapshot.record.get("extras") or {},
    )  # fmt: skip
