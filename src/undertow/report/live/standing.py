"""How a training stands, in a word and a sentence: it goes on, is paused, has ended, or nobody trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from undertow.flow.record import Flow
from undertow.report.live.control import listener, read_done, read_wish
from undertow.report.live.files import stamp
from undertow.train.checkpoint import RECORD
from undertow.train.disk import open_file
from undertow.train.keeper import FOLDER, HISTORY
from undertow.train.record import read_record
from undertow.train.table_folder import HELD_OUT, how_to_go_on

ENDS: Final = {
    "finished": "Training has come to its end.",
    "callback": "Training was stopped early, by a callback.",
    "interrupted": "Training was interrupted.",
    "diverged": "Training diverged: the loss or a gradient stopped being finite.",
}
_BETWEEN: Final = (
    "The rows held out have told for how many epochs to train; now the training on all rows begins. If it does not, go "
    "on with undertow resume {}"
)


@dataclass(frozen=True)
class Status:
    """How a training stands.

    Attributes:
        kind: ``"training"``, ``"paused"``, ``"waiting"`` (nobody trains) or ``"ended"``.
        sentence: for people.
        process: the number of the process that trains, or None.
        listens: whether it heeds controls.
        epoch: the last one of which something is known.
        step: the last one.
        scale: by what the planned learning rate is multiplied.
        asked: whether a control was sent that is not heeded yet.
    """

    kind: str
    sentence: str
    process: int | None = None
    listens: bool = False
    epoch: int = 0
    step: int = 0
    scale: float = 1.0
    asked: bool = False

    def why_deaf(self) -> str:
        """Say why a control has no effect."""
        if self.process is None:
            return f"Nobody heeds a control now. {self.sentence}"
        return (
            "This training does not listen to controls. Start it with undertow train --watch --control, or in Python "
            "with callbacks=undertow.report.live.Control(folder)."
        )


def read_status(folder: Path, process: int | None, flow: Flow | None, rows: list[dict[str, Any]]) -> Status:
    """Say how the training in a folder stands.

    Args:
        folder: of the run; it need not be there.
        process: the process that trains, from `find_trainer`.
        flow: the record, or None.
        rows: of the history.

    Returns:
        The status.

    Source: derived here.

    Example:
        >>> read_status(Path("no-such-run"), None, None, []).sentence
        'no-such-run is not there yet. The page fills as soon as a training begins in it.'
    """
    known = flow is not None and len(flow)
    step = max(int(flow.steps[-1]) if flow is not None and known else 0, _whole(rows, "step"))
    epoch = max(int(flow.epochs[-1]) if flow is not None and known else 0, _whole(rows, "epoch"))
    done, wish = read_done(folder), read_wish(folder)
    heeds, paused = listener(done)
    scale = next((float(row["scale"]) for row in reversed(done) if isinstance(row.get("scale"), int | float)), 1.0)
    far: dict[str, Any] = {"epoch": epoch, "step": step, "scale": scale}
    if process is None:
        stopped = _read_end(folder, flow)
        if stopped and (folder / HELD_OUT).is_file() and not (folder / RECORD).is_file():
            return Status("waiting", _BETWEEN.format(folder), **far)
        if stopped:
            by = next((row.get("by") for row in reversed(done) if row.get("action") == "stop"), None)
            told = f"Training was stopped by {by}." if stopped == "callback" and by and done[-1] else ENDS.get(stopped)
            return Status("ended", told or f"Training has ended: {stopped}.", **far)
        return Status("waiting", _explain_absence(folder, bool(rows or known)), **far)
    listens = heeds == process
    asked = listens and wish.number > 0 and (wish.scale != scale or wish.paused != paused or wish.stop)
    most = None if flow is None else flow.settings.get("epochs")
    of = f" of {most:,}" if isinstance(most, int) and most >= epoch else ""
    if listens and paused:
        return Status("paused", f"Paused in epoch {epoch}{of}, after step {step:,}.", process, True, asked=asked, **far)
    told = f"Training goes on: epoch {epoch}{of}, step {step:,}." if step else "Training begins."
    return Status("training", told, process, listens, asked=asked, **far)


def _whole(rows: list[dict[str, Any]], name: str) -> int:
    value = rows[-1].get(name, 0) if rows else 0
    return value if isinstance(value, int) else 0


def _read_end(folder: Path, flow: Flow | None) -> str:
    """How a training ended of which no process is left; empty where it did not come to an end."""
    if flow is not None:
        return flow.stopped
    saved, history = stamp(folder / RECORD), stamp(folder / HISTORY)
    if not saved or (history and history[2] > saved[2]):  # a training that was gone on with, after it was saved
        return ""
    try:
        with open_file(folder / RECORD) as file:
            return str(read_record(file.read()).get("stopped", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _explain_absence(folder: Path, begun: bool) -> str:
    """Say why nothing comes."""
    if not folder.is_dir():
        return f"{folder} is not there yet. The page fills as soon as a training begins in it."
    if begun or (folder / FOLDER).is_dir():
        return f"The trainer is gone and had not come to its end: it was killed, or crashed. {how_to_go_on(folder)}"
    return f"No training has begun in {folder} yet. The page fills as soon as one does."
