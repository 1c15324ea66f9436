"""The model of a training that goes on, as its last checkpoint has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from undertow.errors import UndertowError
from undertow.flow.record import Flow
from undertow.nn import build_model, expected_shapes, put_parameters
from undertow.report.html import Section
from undertow.report.live.steps import GrowingFlow
from undertow.report.whole import walk_section
from undertow.train.checkpoint import RECORD
from undertow.train.keeper import FOLDER
from undertow.train.run import Run
from undertow.train.store import CheckpointStore


def read_run(folder: Path, flow: Flow | None) -> Run | None:
    """Read the run of a training that goes on from its last checkpoint.

    Args:
        folder: of the run.
        flow: its record so far, or None.

    Returns:
        The run; None where there is no checkpoint yet, or the model has layers of the user's own.

    Raises:
        RunError: the system does not let the files be read.

    Source: derived here.

    Example:
        >>> read_run(Path("no-such-run"), None) is None
        True
    """
    if not (folder / FOLDER).is_dir():
        return None
    snapshot = CheckpointStore(folder / FOLDER).latest()
    if snapshot is None or snapshot.record.get("architecture") is None:
        return None
    record = snapshot.record
    model = build_model(record["architecture"])
    names = {path: f"model/{path}" for path in expected_shapes(model)}
    model = put_parameters(model, {path: np.asarray(snapshot.arrays[name]) for path, name in names.items()})
    return Run(model, record["history"], settings=record["settings"], versions=record["versions"], record=flow)


def make_walk(folder: Path) -> Section | None:
    """Make the walk through the backward pass, with the parameters of the last checkpoint or of the saved run.

    Args:
        folder: of the run.

    Returns:
        The section of the page; None where there is no model, or no page can hold it.

    Source: derived here.

    Example:
        >>> make_walk(Path("no-such-run")) is None
        True
    """
    try:
        if (folder / RECORD).is_file():
            made = walk_section(folder)
        else:
            run = read_run(folder, GrowingFlow(folder).read_about())
            made = None if run is None else walk_section(run)
        return made if isinstance(made, Section) else None
    except (UndertowError, OSError, KeyError, TypeError, ValueError, AttributeError):  # not there; being replaced
        return None
