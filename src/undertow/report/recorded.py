"""What there is of a training: a run in memory, a run's folder, or what a killed run has left in one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undertow.errors import ArgumentError, RunError, UndertowError
from undertow.flow.diagnose import diagnose
from undertow.flow.findings import Finding
from undertow.flow.own import OwnRecorder
from undertow.flow.record import Flow
from undertow.flow.store import FOLDER, load_flow
from undertow.train import Run, load
from undertow.train.checkpoint import RECORD
from undertow.train.files import read_path
from undertow.train.history import HistoryFile

HISTORY = "history.jsonl"


@dataclass
class Recorded:
    """A training as a report sees it.

    Attributes:
        run: the run, or None where training has not ended.
        flow: its record, or None.
        name: of the run: that of its folder, or ``""``.
        settings, history, versions: as `Run` has them.
        stopped: as `Run` has it; ``""`` where training goes on or was killed.
        findings: what is wrong, or None where nobody looked.
        remarks: sentences about what could not be read.
    """

    run: Run | None = None
    flow: Flow | None = None
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    stopped: str = ""
    findings: list[Finding] | None = None
    remarks: list[str] = field(default_factory=list)


def read_recorded(source: Run | Flow | OwnRecorder | str | Path) -> Recorded:
    """Gather what there is of a training.

    Args:
        source: a run, the record of one, what `undertow.flow.recorded` made of a loss, or the folder of a run, which
            may still be training or have been killed.

    Returns:
        What was found.

    Raises:
        ArgumentError: ``a report is made of a run or of its folder, not of a list. …``
        RunError: the folder holds no run, or a damaged one.

    Source: derived here.

    Example:
        >>> read_recorded("no/such/run")
        Traceback (most recent call last):
        undertow.errors.RunError: no/such/run: there is no such folder. Give the folder of a run.
    """
    if isinstance(source, Run):
        found = _of_run(source, source.flow if source.record is not None else None)
    elif isinstance(source, Flow | OwnRecorder):
        source = source.flow if isinstance(source, OwnRecorder) else source
        found = Recorded(None, source, "", source.settings, source.history, {}, source.stopped)
    elif isinstance(source, str | os.PathLike):
        found = _of_folder(read_path(source, "the folder of a run"))
    else:
        kind = type(source).__name__
        raise ArgumentError(f"a report is made of a run or of its folder, not of a {kind}. Give what train returned.")
    found.findings = _diagnose(found)
    return found


def _of_run(run: Run, flow: Flow | None, name: str = "") -> Recorded:
    """What a run knows of itself."""
    return Recorded(run, flow, name, run.settings, run.history, run.versions, run.stopped)


def _of_folder(folder: Path) -> Recorded:
    """What lies in a folder."""
    has_run = os.path.isfile(folder / RECORD)
    remarks: list[str] = []
    flow = _load_flow(folder, remarks)
    if has_run or (flow is None and not os.path.isfile(folder / HISTORY)):
        run = load(folder)
        found = _of_run(run, flow, folder.name)
    else:
        found = Recorded(None, flow, folder.name)
        if flow is not None:
            found.settings, found.history, found.stopped = flow.settings, flow.history, flow.stopped
        if os.path.isfile(folder / HISTORY):
            found.history = HistoryFile(folder / HISTORY).rows() or found.history
    found.remarks += remarks
    return found


def _load_flow(folder: Path, remarks: list[str]) -> Flow | None:
    """The record in a folder; None where there is none, or it is damaged."""
    if not os.path.isdir(folder / FOLDER):
        return None
    try:
        return load_flow(folder)
    except RunError as error:
        remarks.append(f"The record of the gradient flow could not be read: {error}")
        return None


def _diagnose(found: Recorded) -> list[Finding] | None:
    """What is wrong; None where there is no record to judge by, or none yet."""
    if found.flow is None:
        return None
    try:
        findings = list(diagnose(found.flow))
        return findings if findings or len(found.flow) or found.flow.stopped else None
    except UndertowError as error:
        found.remarks.append(f"The diagnosis was not made: {error}")
        return None
