"""Whether a process trains in the folder of a run: read from the outside, without touching its lock."""

from __future__ import annotations

import os
from pathlib import Path

from undertow.train.disk import open_file
from undertow.train.keeper import FOLDER
from undertow.train.lock import LOCK

LOCKS = Path("/proc/locks")  # of Linux: the locks that are held, by device and inode of their files


def find_trainer(folder: Path) -> int | None:
    """Find the process that trains in a folder.

    The lock is looked up and not tried: a watcher that tried it would hold it for a moment, and a training that begins
    in that moment would be refused.

    Args:
        folder: of the run; it need not be there.

    Returns:
        The number of the process, or None where none trains. Where the system has no list of its locks, a process of
        that number which is older than the lock is taken for it.

    Source: proc(5) of Linux, /proc/locks.

    Example:
        >>> find_trainer(Path("no-such-folder")) is None
        True
    """
    path = folder / FOLDER / LOCK
    try:
        with open_file(path) as file:
            told = file.read(20).strip()
            found = os.fstat(file.fileno())
    except OSError:
        return None
    number = int(told) if told.isdigit() else 0
    try:
        held = LOCKS.read_text()
    except OSError:
        return number if number and _is_older(number, found.st_mtime) else None
    return _holder(held, found, number)


def _holder(held: str, found: os.stat_result, number: int) -> int | None:
    """The process that holds a file in the list of locks: ``1: FLOCK ADVISORY WRITE 4711 fe:00:2516114 0 EOF``."""
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    for line in held.splitlines():
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or not words[5].endswith(f":{found.st_ino}"):
            continue
        if words[5].startswith(f"{device}:") or words[4] == str(number):  # a layered file system has devices within
            return int(words[4]) if int(words[4]) > 0 else number or None
    return None


def _is_older(number: int, written: float) -> bool:
    """Whether a process lives that was there when the lock was written: a later one only has the same number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    try:
        return os.stat(f"/proc/{number}").st_ctime <= written + 1
    except OSError:
        return True
