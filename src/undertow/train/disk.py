"""The calls that change a disk, in one place, and files that are whole or not there even after a power cut.

A file is written under another name, forced to the disk, renamed, and its folder is forced as well. What must
survive a crash goes through the one object `DISK`, so that tests can fail it at every call.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

CLOSE_ON_EXEC, NO_WAIT = getattr(os, "O_CLOEXEC", 0), getattr(os, "O_NONBLOCK", 0)
NO_LINK, BINARY = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_BINARY", 0)
PARTS = ".part"  # the end of the name of a file that is being written
EXCHANGE, HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
NOT_FOR_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}  # file systems that force no folders


class Disk:
    """The system's calls, one a method."""

    def create(self, path: Path) -> int:
        """Make a new file; never opens one that is there, nor follows a link."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK | CLOSE_ON_EXEC | BINARY, 0o666)

    def open_end(self, path: Path) -> int:
        """Open a file for writing at its end; made if missing. A pipe is not waited for."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_WAIT | CLOSE_ON_EXEC | BINARY, 0o666)

    def write(self, file: int, content: memoryview) -> int:
        """Write some of the content; the number of bytes."""
        return os.write(file, content)

    def truncate(self, file: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(file, size)

    def force(self, file: int) -> None:
        """Return when the content of a file is on the disk."""
        os.fsync(file)

    def close(self, file: int) -> None:
        """Close a file."""
        os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or folder another name; a file that has it is replaced."""
        os.replace(old, new)

    def exchange(self, first: Path, second: Path) -> None:
        """Let two folders change their names in one instant; OSError where the system cannot."""
        import ctypes

        function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
        if function is None:
            raise OSError(errno.ENOSYS, "two names cannot be exchanged here")
        if function(HERE, os.fsencode(first), HERE, os.fsencode(second), EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def remove(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def make_folder(self, path: Path) -> None:
        """Make one folder."""
        os.mkdir(path)

    def force_folder(self, path: Path) -> None:
        """Return when the names in a folder are on the disk; nothing where folders cannot be opened."""
        if os.name != "posix":
            return
        file = os.open(path, os.O_RDONLY | CLOSE_ON_EXEC)
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in NOT_FOR_FOLDERS:
                raise
        finally:
            os.close(file)


DISK = Disk()


def write_all(file: int, content: bytes | memoryview) -> None:
    """Write all of the content to an open file.

    Args:
        file: the number that `Disk.create` gave.
        content: bytes.

    Raises:
        OSError: the disk refuses.

    Source: POSIX.1-2017, write(): it may write less than it was given.

    Example:
        >>> write_all(os.open(os.devnull, os.O_WRONLY), b"anything")
    """
    rest = memoryview(content)
    while rest:
        count = DISK.write(file, rest)
        if count <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rest = rest[count:]


def write_new(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Make a new file that is on the disk when this returns.

    Args:
        path: a name that is free.
        parts: its content.

    Raises:
        OSError: the disk refuses; the file is then removed, except where it was there before.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_new(Path(folder) / "a", [b"1", b"2"])
        ...     (Path(folder) / "a").read_bytes()
        b'12'
    """
    file = DISK.create(path)
    try:
        try:
            for part in parts:
                write_all(file, part)
            DISK.force(file)
        finally:
            DISK.close(file)
    except BaseException:
        with contextlib.suppress(OSError):
            DISK.remove(path)
        raise


def replace_file(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Put a file in its place in one instant; at every instant, the old or the new one is there and whole.

    Args:
        path: the file; its folder is there.
        parts: its content.

    Raises:
        OSError: the disk refuses; what was there before is then still there.

    Source: Pillai et al., All File Systems Are Not Created Equal, OSDI 2014, section 4.4.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replace_file(Path(folder) / "a", [b"12"])
        ...     os.listdir(folder)
        ['a']
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}{PARTS}")
    write_new(temporary, parts)
    try:
        DISK.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            DISK.remove(temporary)
        raise
    DISK.force_folder(path.parent)


def make_folders(path: Path) -> None:
    """Make a folder and those above it that are missing, on the disk when this returns.

    Args:
        path: the folder.

    Raises:
        OSError: the disk refuses, or a file is in the way.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     make_folders(Path(folder) / "a" / "b")
        ...     (Path(folder) / "a" / "b").is_dir()
        True
    """
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            DISK.make_folder(folder)
        DISK.force_folder(folder.parent)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading, if it is one: a pipe or a device is not waited for.

    Args:
        path: the file, or a link to one.

    Returns:
        The open file.

    Raises:
        OSError: it is missing, or no file.

    Source: derived here.

    Example:
        >>> open_file(Path(os.devnull))
        Traceback (most recent call last):
        OSError: [Errno 22] it is no regular file
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    file = os.open(path, os.O_RDONLY | NO_WAIT | CLOSE_ON_EXEC | BINARY)
    if not stat.S_ISREG(os.fstat(file).st_mode):  # changed meanwhile
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(file, "rb")
