"""Files that are whole or not there, and places that are tried before work begins."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from undertow.errors import ArgumentError, RunError
from undertow.train.disk import DISK, write_new

TEMPORARY = ".undertow-"  # the beginning of the names of folders in which files are written


def read_path(path: Any, what: str) -> Path:
    """Read a path that a caller gave.

    Args:
        path: a text or a path.
        what: what it is to be, for the message.

    Returns:
        The path.

    Raises:
        ArgumentError: ``the folder of a run is 3. Give a path, such as 'runs/a'.``

    Source: derived here.

    Example:
        >>> read_path(3, "the folder of a run")
        Traceback (most recent call last):
        undertow.errors.ArgumentError: the folder of a run is 3. Give a path, such as 'runs/a'.
    """
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise ArgumentError(f"{what} is {path!r}. Give a path, such as 'runs/a'.")
    return Path(path)


def check_run_folder(folder: Path) -> None:
    """RunError unless a path is that of a folder.

    Args:
        folder: where a run is looked for.

    Raises:
        RunError: ``runs/a: there is no such folder. …``; it is a file.

    Source: derived here.

    Example:
        >>> check_run_folder(Path("no/such/run"))
        Traceback (most recent call last):
        undertow.errors.RunError: no/such/run: there is no such folder. Give the folder of a run.
    """
    if not os.path.isdir(folder):
        what = "this is a file, no folder" if os.path.exists(folder) else "there is no such folder"
        raise RunError(f"{folder}: {what}. Give the folder of a run.")


def explain_failure(path: Path, error: OSError) -> str:
    """Say why a path cannot be written to.

    Args:
        path: the path.
        error: what the system said.

    Returns:
        The reason, without the path: ``notes.txt is a file, not a folder``.

    Source: derived here.

    Example:
        >>> explain_failure(Path("runs/a"), OSError(28, "No space left on device"))
        'No space left on device'
    """
    for parent in path.parents:
        if os.path.lexists(parent) and not parent.is_dir():
            return f"{parent} is a file, not a folder"
    return error.strerror or str(error) or type(error).__name__


def check_place(folder: Path) -> None:
    """Check that a folder can be made, by making it under another name; nothing of it stays.

    Args:
        folder: the folder to be.

    Raises:
        RunError: ``notes.txt/run cannot be written: notes.txt is a file, not a folder. Choose another path.``

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     check_place(Path(place) / "runs" / "a")
        ...     os.listdir(place)
        []
    """
    import tempfile  # loads much, which a process that only reads does without

    made: list[Path] = []
    try:
        missing = [parent for parent in folder.parents if not os.path.lexists(parent)]
        for parent in reversed(missing):
            parent.mkdir()
            made.append(parent)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder.parent) as temporary:
            (Path(temporary) / folder.name).mkdir()
    except OSError as error:
        reason = explain_failure(folder, error)
        raise RunError(f"{folder} cannot be written: {reason}. Choose another path.") from None
    finally:
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that a failure leaves what was there before.

    Args:
        path: the file; its folder is made if missing. A device is written to directly.
        content: what it is to hold.

    Raises:
        RunError: ``found.csv cannot be written: No space left on device.``

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     write_whole(Path(place) / "found.csv", b"prediction")
        ...     (Path(place) / "found.csv").read_text()
        'prediction'
    """
    import tempfile

    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise RunError(f"{path} cannot be written: it is a folder. Give the name of a file.")
        if os.path.lexists(target) and not target.is_file():
            target.write_bytes(content)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as temporary:
            new = Path(temporary) / target.name
            write_new(new, [content])
            if target.exists():
                shutil.copymode(target, new)
            DISK.rename(new, target)
        DISK.force_folder(target.parent)
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be written: {explain_failure(path, error)}.") from None
