"""One process at a time: a lock on a folder that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from pathlib import Path
from typing import Any

from undertow.errors import RunError
from undertow.train.disk import CLOSE_ON_EXEC, NO_LINK, NO_WAIT
from undertow.train.files import explain_failure

LOCK = "lock"
HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


class FolderLock:
    """A lock on a folder, which the system lets go of when the process ends.

    Where the system or the file system has no such locks, nothing is locked, and `works` is False.

    Args:
        folder: a folder that is there; the file ``lock`` is made in it, and stays.

    Raises:
        RunError: ``runs/a is in use by process 4711. …``

    Source: flock(2) of Linux.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = FolderLock(Path(folder))
        ...     lock.release()
    """

    def __init__(self, folder: Path) -> None:
        self.works, self.folder = False, folder
        self._close: Any = _nothing
        try:
            import fcntl
        except ImportError:  # Windows
            return
        path = folder / LOCK
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | NO_WAIT | NO_LINK | CLOSE_ON_EXEC, 0o666)
        except OSError as error:
            raise RunError(f"{path} cannot be opened: {explain_failure(path, error)}.") from None
        self._close = weakref.finalize(self, _close, file)
        _OPEN.add(self)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            self.release()
            raise RunError(f"{path} is no regular file. Remove it.")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read_holder(file)
            self.release()
            if error.errno in HELD:
                raise RunError(
                    f"{folder} is in use by {holder}. Wait until it ends, or train into another folder."
                ) from None
            return  # a file system without locks
        self.works = True
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go of the folder."""
        self.works = False
        self._close()


def is_in_use(folder: Path) -> bool:
    """Tell whether another process holds the lock of a folder.

    Args:
        folder: which may be missing.

    Returns:
        Whether it does; False where this process holds it.

    Source: derived here.

    Example:
        >>> is_in_use(Path("no-such-folder"))
        False
    """
    if not folder.is_dir():
        return False
    try:
        FolderLock(folder).release()
    except RunError:
        return not any(lock.works and lock.folder == folder for lock in list(_OPEN))
    return False


_OPEN: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _nothing() -> None:
    pass


def _close(file: int) -> None:
    with contextlib.suppress(OSError):
        os.close(file)


def _read_holder(file: int) -> str:
    """Who holds a lock."""
    try:
        number = os.pread(file, 20, 0).decode("ascii").strip()
    except (OSError, ValueError):
        number = ""
    if number == str(os.getpid()):
        return "another training of this process"
    return f"process {number}" if number.isdigit() else "another process"


def _let_go_in_child() -> None:
    """A child made by fork shares the lock; it must not outlive its parent's."""
    for lock in list(_OPEN):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
