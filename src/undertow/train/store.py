"""Checkpoints of a training run in a folder: the last few and the best, written so that a crash loses none."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, RunError
from undertow.train.disk import DISK, PARTS, make_folders, replace_file
from undertow.train.files import explain_failure, read_path
from undertow.train.lock import FolderLock
from undertow.train.snapshot import Snapshot, read_snapshot, seal
from undertow.train.tensors import DamagedError

LOOKS = 10
NAME = re.compile(r"checkpoint-(\d{1,18})(-best)?\.safetensors", re.ASCII)


@dataclass(frozen=True)
class _Entry:
    """A checkpoint by its name."""

    number: int
    best: bool
    name: str


class CheckpointStore:
    """The checkpoints of a run in one folder: the last few and the best.

    The first `write` locks the folder, so that no other process writes there; `close`, or the end of a
    ``with`` block, lets go of it. Reading needs no lock.

    Args:
        folder: the folder; made by the first `write`.
        keep: how many of the last ones to keep, 1 or more.

    Attributes:
        remarks: sentences about checkpoints that were skipped or could not be removed.

    Raises:
        ArgumentError: ``keep must be a whole number of 1 or more, got 0.``

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, CheckpointStore(Path(folder)) as store:
        ...     for epoch in (1, 2, 3):
        ...         _ = store.write(Snapshot({"model/W": np.ones(2)}, {"epoch": epoch}), epoch, best=epoch == 1)
        ...     store.numbers(), store.latest().record, store.best().record
        ([1, 2, 3], {'epoch': 3}, {'epoch': 1})
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder = read_path(folder, "the folder of checkpoints")
        self.keep = _read_count("keep", keep, 1)
        self.remarks: list[str] = []
        self._lock: FolderLock | None = None
        self._position: int | None = None  # the checkpoint from which the training goes on
        self._damaged: set[str] = set()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            self.wait()
        except RunError:
            if kind is None:
                raise
        finally:
            self.close()

    def write(self, snapshot: Snapshot, number: int, best: bool = False) -> Path:
        """Write a checkpoint; it is on the disk when this returns.

        Then those are removed that are neither among the last ``keep`` nor the best, and, where the
        training goes on from an earlier checkpoint that `latest` or `best` gave, the later ones of the
        course that was left.

        Args:
            snapshot: what to keep.
            number: its place in the order: an epoch or a step, 0 or more, rising.
            best: whether it is the best so far.

        Returns:
            The file.

        Raises:
            RunError: the disk refuses, another process trains here, or a later checkpoint is there that
                this store was not asked for. The checkpoints that were there are then still there.
        """
        self.wait()
        return self._write(snapshot, _read_count("the number of a checkpoint", number, 0), bool(best))

    def write_later(self, snapshot: Snapshot, number: int, best: bool = False) -> None:
        """Write a checkpoint in a thread of its own; waits for the one before.

        Args:
            snapshot: what to keep; its arrays must not change until `wait` returns.
            number: see `write`.
            best: see `write`.

        Raises:
            RunError: what went wrong with the one before.
        """
        self.wait()
        number = _read_count("the number of a checkpoint", number, 0)

        def work() -> None:
            try:
                self._write(snapshot, number, bool(best))
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, name="undertow-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more.

        Raises:
            RunError: what went wrong meanwhile.
        """
        thread = self._thread
        if thread is not None:
            thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def lock(self) -> None:
        """Lock the folder now, before any work is done that another process would make useless.

        Raises:
            RunError: ``runs/a/checkpoints is in use by process 4711. …``
        """
        if self._lock is not None:
            return
        try:
            make_folders(self.folder)
        except OSError as error:
            raise RunError(f"{self.folder} cannot be made: {explain_failure(self.folder / 'a', error)}.") from None
        lock = FolderLock(self.folder)
        if not lock.works:
            self._remark(f"{self.folder} cannot be locked on this system. Let only one process train there.")
        self._lock = lock
        for name in self._list():
            if name.startswith(".checkpoint-") and name.endswith(PARTS):  # of a process that was killed
                self._remove(name)

    def close(self) -> None:
        """Wait for what is being written, and let go of the folder.

        Raises:
            RunError: what went wrong meanwhile.
        """
        try:
            self.wait()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def latest(self) -> Snapshot | None:
        """Read the last checkpoint that is whole; those that are not are skipped, with a remark.

        Returns:
            The snapshot, or None if there is none.

        Raises:
            RunError: a checkpoint is of a newer version, or the system does not let it be read.
        """
        return self._read_first(best=False)

    def best(self) -> Snapshot | None:
        """Read the last checkpoint that was written as the best.

        Returns:
            The snapshot, or None if there is none that is whole.

        Raises:
            RunError: see `latest`.
        """
        return self._read_first(best=True)

    def numbers(self) -> list[int]:
        """List the numbers of the checkpoints that are there, whole or not."""
        self.wait()
        return sorted({entry.number for entry in self._entries()})

    def clear(self) -> None:
        """Remove all checkpoints, to begin anew.

        Raises:
            RunError: another process trains here.
        """
        self.wait()
        self.lock()
        for entry in reversed(self._entries()):
            self._remove(entry.name)
        self._position = None

    def _read_first(self, best: bool) -> Snapshot | None:
        """The last whole checkpoint; looks again where another process removed one meanwhile."""
        self.wait()
        for attempt in range(LOOKS):
            vanished = False
            for entry in self._entries():
                if best and not entry.best:
                    continue
                try:
                    found = read_snapshot(self.folder / entry.name)
                except DamagedError as error:
                    vanished = not os.path.lexists(self.folder / entry.name) and attempt < LOOKS - 1
                    if vanished:
                        break
                    self._damaged.add(entry.name)
                    self._remark(f"{error} It was skipped.")
                    continue
                self._position = entry.number
                return found
            if not vanished:
                break
        return None

    def _write(self, snapshot: Snapshot, number: int, best: bool) -> Path:
        path = self.folder / f"checkpoint-{number:08d}{'-best' * best}.safetensors"
        self.lock()
        self._check_order(number)
        parts = seal(snapshot)
        try:
            replace_file(path, parts)
        except OSError as error:
            reason = explain_failure(path, error)
            raise RunError(f"{path} cannot be written: {reason}. The checkpoints before it are kept.") from None
        self._position = number
        self._damaged.discard(path.name)
        self._tidy(_Entry(number, best, path.name))
        return path

    def _check_order(self, number: int) -> None:
        """RunError where a checkpoint would take the place of one that nobody asked for."""
        last = max((entry.number for entry in self._entries()), default=-1)
        if number > last or (self._position is not None and number >= self._position):
            return
        remedy = "Go on from latest(), clear() them, or train into another folder."
        if all(entry.name in self._damaged for entry in self._entries()):
            remedy = "All that is there is damaged. Move it away, or train into another folder."
        raise RunError(f"{self.folder} holds checkpoint {last} already, so {number} is not written. {remedy}")

    def _tidy(self, new: _Entry) -> None:
        """Remove what is not to be kept, now that a new checkpoint is whole."""
        old = [entry for entry in self._entries() if entry.number <= new.number and entry.name not in self._damaged]
        numbers = sorted({entry.number for entry in old}, reverse=True)[: self.keep]
        best = [entry for entry in old if entry.best][:1]
        for entry in self._entries():
            twin = new.best and entry.number == new.number and entry != new
            if twin or entry not in old or (entry.number not in numbers and entry not in best):
                self._remove(entry.name)

    def _entries(self) -> list[_Entry]:
        """The checkpoints that are there, the last first."""
        found = [
            _Entry(int(match[1]), match[2] is not None, name)
            for name in self._list()
            if (match := NAME.fullmatch(name))
        ]
        return sorted(found, key=lambda entry: (-entry.number, entry.best, entry.name))

    def _list(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = explain_failure(self.folder, error)
            raise RunError(f"{self.folder} cannot be read: {reason}. Choose another path.") from None

    def _remove(self, name: str) -> None:
        try:
            DISK.remove(self.folder / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._remark(f"{self.folder / name} could not be removed: {error.strerror}.")

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def _read_count(name: str, value: Any, least: int) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < 10**18:
        raise ArgumentError(f"{name} must be a whole number of {least} or more, got {value!r}.")
    return int(value)
