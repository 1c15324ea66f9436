"""Pause, resume, stop, and the learning rate: what a watcher wishes, and what the training then does.

Two small files in the folder of the run carry it. The watcher writes ``control.json``, the wish that holds now; the
training writes ``controls.jsonl``, a row for each thing that it did. Neither waits for the other.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from undertow.errors import ArgumentError, RunError
from undertow.train.callbacks import EpochInfo, TrainInfo
from undertow.train.disk import make_folders, open_file, replace_file
from undertow.train.files import explain_failure, read_path
from undertow.train.history import HistoryFile
from undertow.train.keeper import FOLDER
from undertow.train.record import read_record, write_record
from undertow.train.store import CheckpointStore

WISH, DONE = "control.json", "controls.jsonl"
ACTIONS: Final = ("pause", "resume", "stop", "rate")
SMALLEST, LARGEST = 1e-6, 1e6  # factors of the learning rate
SECONDS = 0.1  # between two looks while training is paused
LARGEST_FILE = 10_000  # bytes


@dataclass(frozen=True)
class Wish:
    """What a watcher wants of a training; the whole of it, so that none is lost when two come at once.

    Attributes:
        number: from 1, rising; 0 where nobody has wished anything.
        paused: whether to wait.
        stop: whether to end.
        scale: the factor of the planned learning rate.
        time: when it was written, in UTC.
        by: who wrote it, as a server knows it.
    """

    number: int = 0
    paused: bool = False
    stop: bool = False
    scale: float = 1.0
    time: str = ""
    by: str = ""


def read_wish(folder: str | Path) -> Wish:
    """Read what is wished of a training.

    Args:
        folder: of the run.

    Returns:
        The wish; number 0 where there is none, or the file is none that `write_wish` wrote.

    Source: derived here.

    Example:
        >>> read_wish("no-such-folder").number
        0
    """
    try:
        with open_file(Path(folder) / WISH) as file:
            found = read_record(file.read(LARGEST_FILE))
        wish = Wish(**found)
        sound = type(wish.number) is int and type(wish.paused) is bool and type(wish.stop) is bool
        return replace(wish, scale=read_scale(wish.scale)) if sound else Wish()
    except (OSError, ValueError, TypeError, ArgumentError):
        return Wish()


def write_wish(folder: str | Path, action: str, factor: Any = None, by: str = "") -> Wish:
    """Wish something of a training.

    Args:
        folder: of the run.
        action: ``"pause"``, ``"resume"``, ``"stop"`` or ``"rate"``.
        factor: for the rate: by what to multiply the planned one, 1 as planned.
        by: who wishes.

    Returns:
        The wish as it is in the file now.

    Raises:
        ArgumentError: ``there is no control 'halt'. There are pause, resume, stop, rate.``, or a factor out of range.
        RunError: the disk refuses.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_wish(folder, "rate", 0.5).scale, write_wish(folder, "pause").scale, read_wish(folder).paused
        (0.5, 0.5, True)
    """
    if action not in ACTIONS:
        raise ArgumentError(f"there is no control {str(action)[:40]!r}. There are {', '.join(ACTIONS)}.")
    wish = read_wish(folder)
    if action == "rate":
        wish = replace(wish, scale=read_scale(factor))
    elif action == "stop":
        wish = replace(wish, stop=True, paused=False)
    else:
        wish = replace(wish, paused=action == "pause")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    wish = replace(wish, number=wish.number + 1, time=now, by=by)
    path = Path(folder) / WISH
    try:
        replace_file(path, [write_record(asdict(wish)).encode()])
    except OSError as error:
        raise RunError(f"{path} cannot be written: {explain_failure(path, error)}.") from None
    return wish


def read_scale(factor: Any) -> float:
    """Read a factor of the learning rate; ArgumentError where it is none."""
    number = isinstance(factor, int | float) and not isinstance(factor, bool) and math.isfinite(factor)
    if not number or not SMALLEST <= factor <= LARGEST:
        raise ArgumentError(
            f"the factor of the learning rate must be from {SMALLEST:g} to {LARGEST:g}, got {str(factor)[:40]}."
        )
    return float(factor)


class Control:
    """Lets people who watch a training pause it, stop it and change its learning rate; a callback.

    It is heeded at the end of each epoch, and between steps where the trainer asks. What was done is written to
    ``controls.jsonl``, so that the record tells why the rate changed. A resumed training keeps the rate that was set.

    Args:
        folder: of the run: the one given as ``checkpoint``.

    Attributes:
        scale: by what the planned learning rate is multiplied.

    Raises:
        ArgumentError: ``the folder of a run is 3. …``

    Source: derived here.

    Example:
        >>> import tempfile, numpy as np, undertow as ut
        >>> X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     class Watcher:
        ...         def on_epoch_begin(self, info):
        ...             if info.epoch == 3:
        ...                 _ = write_wish(folder, "stop")
        ...     run = ut.train(ut.nn.Sequential(ut.nn.Dense(1, 1)), (X, 3 * X), loss="mean_squared_error", epochs=50,
        ...                    checkpoint=folder, callbacks=[Watcher(), Control(folder)], progress=False)
        ...     len(run.history), run.stopped, [row["action"] for row in read_done(folder)]
        (3, 'callback', ['begin', 'stop', 'end'])
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = read_path(folder, "the folder of a run")
        self.scale = 1.0
        self.epoch = self.step = self.number = 0
        self.stopping = False
        self._rows = HistoryFile(self.folder / DONE)
        self._stamp: tuple[int, int] | None = None  # of the file of the wish, when it was last read

    def on_train_begin(self, info: TrainInfo) -> None:
        """Say that this training listens; what was wished before does not hold for it, but for the rate."""
        goes_on = (self.folder / FOLDER).is_dir() and bool(CheckpointStore(self.folder / FOLDER).numbers())
        rates = [row["scale"] for row in read_done(self.folder) if "scale" in row] if goes_on else []
        self.scale = float(rates[-1]) if rates else 1.0
        self.number, self.stopping = read_wish(self.folder).number, False
        self.epoch, self.step = len(info.history), info.history[-1]["step"] if info.history else 0
        make_folders(self.folder)
        if self.number:
            wish = Wish(self.number, scale=self.scale)
            replace_file(self.folder / WISH, [write_record(asdict(wish)).encode()])
        self._write("begin", process=os.getpid(), scale=self.scale)

    def on_epoch_begin(self, info: EpochInfo) -> None:
        """Wait here while training is paused: all of the epoch before is on the disk."""
        self.epoch, self.step = info.epoch, info.step
        self._heed(wait=True)

    def between_steps(self, epoch: int, step: int) -> bool:
        """Do what is wished, between two steps; True where training is to stop."""
        self.epoch, self.step = epoch, step
        self._heed(wait=True)
        return self.stopping

    def on_epoch_end(self, info: EpochInfo) -> None:
        """Do what is wished, but for waiting."""
        self.epoch, self.step = info.epoch, info.step
        self._heed(wait=False)
        if self.stopping:
            info.stop("A watcher stopped it.")

    def on_train_end(self, info: TrainInfo) -> None:
        """Say that nobody listens any more."""
        self._write("end", process=os.getpid())
        self._rows.close()

    def _heed(self, wait: bool) -> None:
        """Do what is wished."""
        wish = self._news()
        if wish is None:
            return
        if wish.paused and not wait:
            self._stamp = None  # look again where waiting is allowed
            wish = replace(wish, paused=False, number=self.number)
        self._follow(wish)
        if not wish.paused or self.stopping:
            return
        self._write("pause", by=wish.by)
        while wish.paused and not self.stopping:
            time.sleep(SECONDS)
            wish = self._news() or wish
            self._follow(wish)
        if not self.stopping:
            self._write("resume", by=wish.by)

    def _news(self) -> Wish | None:
        """The wish, where there is a new one."""
        try:
            found = os.stat(self.folder / WISH)
        except OSError:
            return None
        stamp = found.st_mtime_ns, found.st_ino
        if stamp == self._stamp:
            return None
        wish = read_wish(self.folder)
        self._stamp = stamp
        return wish if wish.number > self.number else None

    def _follow(self, wish: Wish) -> None:
        """Take over the rate, and whether to stop."""
        self.number = max(self.number, wish.number)
        if wish.scale != self.scale:
            before, self.scale = self.scale, wish.scale
            self._write("rate", by=wish.by, before=before, scale=self.scale)
        if wish.stop and not self.stopping:
            self.stopping = True
            self._write("stop", by=wish.by)

    def _write(self, action: str, **more: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._rows.append({"action": action, "epoch": self.epoch, "step": self.step, "time": now, **more})


def read_done(folder: str | Path) -> list[dict[str, Any]]:
    """Read what a training did because a watcher wished it.

    Args:
        folder: of the run.

    Returns:
        A row for each: ``action`` (begin, pause, resume, rate, stop, end), ``epoch``, ``step``, ``time`` in UTC,
        ``by``; with the rate, ``before`` and ``scale``.

    Source: derived here.

    Example:
        >>> read_done("no-such-folder")
        []
    """
    try:
        return HistoryFile(Path(folder) / DONE).rows()
    except RunError:
        return []


def listener(rows: list[dict[str, Any]]) -> tuple[int | None, bool]:
    """Tell which process listens to wishes, by the rows of `read_done`, and whether it waits.

    Args:
        rows: from `read_done`.

    Returns:
        The process or None, and whether it is paused.

    Source: derived here.

    Example:
        >>> listener([{"action": "begin", "process": 7}, {"action": "pause"}])
        (7, True)
    """
    process, paused = None, False
    for row in rows:
        action = row.get("action")
        if action in ("begin", "end"):
            process, paused = (row.get("process") if action == "begin" else None), False
        elif action in ("pause", "resume"):
            paused = action == "pause"
        elif action == "stop":
            paused = False
    return process, paused
