"""The folder of a run while training goes on: what it holds, what is new, and how training stands."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from undertow.errors import UndertowError
from undertow.flow.record import Flow
from undertow.flow.store import ABOUT, FOLDER, LOOKS, STEPS
from undertow.report.contents import report_data
from undertow.report.live.changes import find_changes
from undertow.report.live.control import DONE, WISH
from undertow.report.live.files import stamp
from undertow.report.live.standing import Status, read_status
from undertow.report.live.steps import GrowingFlow
from undertow.report.live.trainer import find_trainer
from undertow.report.summary import ENDS
from undertow.train.checkpoint import RECORD
from undertow.train.files import read_path
from undertow.train.history import HistoryFile
from undertow.train.keeper import HISTORY
from undertow.train.run import Run

NOW: Final = {  # in place of what a report says of a training that has not ended
    "training": ("training", "Training goes on."),
    "paused": ("paused", "It is paused."),
    "waiting": ("not running", "Nobody trains it now."),
}
KEPT: Final = 32  # versions whose changes are known
FILES: Final = (HISTORY, RECORD, f"{FOLDER}/{ABOUT}", f"{FOLDER}/{STEPS}", f"{FOLDER}/{LOOKS}", DONE, WISH)


class RunFolder:
    """The folder of a run as it grows; nothing is written to it, and the training does not notice.

    Args:
        path: the folder; it need not be there yet.

    Attributes:
        version: how often something new was found.
        status: how training stands.
        data: what a report shows, see `undertow.report.contents.report_data`.
        reads: how often the files were read because one of them had changed.

    Raises:
        ArgumentError: ``the folder of a run is 3. Give a path, such as 'runs/a'.``

    Source: derived here.

    Example:
        >>> folder = RunFolder("no-such-run")
        >>> folder.look(), folder.look(), folder.state()["status"]["kind"]
        (True, False, 'waiting')
    """

    def __init__(self, path: str | Path) -> None:
        self.path = read_path(path, "the folder of a run")
        self.name = Path(os.path.abspath(self.path)).name
        self.version = self.reads = 0
        self.status = Status("waiting", "")
        self.data: dict[str, Any] = {}
        self._flow = GrowingFlow(self.path)
        self._seen: Any = None  # the state of the folder when it was last read
        self._changes: deque[tuple[int, list[list[Any]]]] = deque(maxlen=KEPT)

    def look(self) -> bool:
        """Read what is new.

        Returns:
            Whether anything is.
        """
        process = find_trainer(self.path)
        seen = process, self.path.is_dir(), *(stamp(self.path / name) for name in FILES)
        if seen == self._seen:
            return False
        self.reads += 1
        trouble = ""
        try:
            flow = self._flow.look()
            rows = HistoryFile(self.path / HISTORY).rows()
        except UndertowError as error:
            flow, rows, trouble = self._flow.flow, [], str(error)
        status = read_status(self.path, process, flow, rows)
        data = self._gather(status, flow, rows)
        data["trouble"] = trouble
        changes = find_changes(self.data, data)
        first, self._seen = self._seen is None, seen
        if not first and not changes and status == self.status:
            return False
        self.status, self.data = status, data
        self.version += 1
        self._changes.append((self.version, changes))
        return True

    def state(self) -> dict[str, Any]:
        """All there is: ``version``, ``status``, and ``data``, which the page draws."""
        return {"version": self.version, "status": asdict(self.status), "data": self.data}

    def news(self, since: int) -> dict[str, Any]:
        """What is new since a version.

        Args:
            since: the version that is known.

        Returns:
            ``version``, ``since``, ``status``, and ``changes``, see `find_changes`; where since is too long ago, the
            whole `state`.
        """
        found = [changes for version, changes in self._changes if version > since]
        if since < 1 or len(found) != self.version - since:
            return self.state()
        changes = [change for part in found for change in part]
        return {"version": self.version, "since": since, "status": asdict(self.status), "changes": changes}

    def _gather(self, status: Status, flow: Flow | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What a report of it shows: of a training that has ended and is saved, with its model."""
        data = None
        if status.kind == "ended" and (self.path / RECORD).is_file():
            with suppress(UndertowError):  # it may just be being saved: the next look finds it
                data = report_data(self.path)
        if data is None and flow is not None:
            flow.history = rows
            data = report_data(flow)
        if data is None:
            data = report_data(Run(None, rows, stopped=""))
        summary = data["summary"]
        summary["title"] = self.name
        if status.kind in NOW:
            summary["state"], sentence = NOW[status.kind]
            summary["sentence"] = summary["sentence"].replace(ENDS[""][1], sentence)
        if flow is None and not rows:
            summary["sentence"] = "Nothing is recorded yet."
        return dict(data)
