"""Encoded rows on disk: written once, then read as memory maps, many times as fast as files are decoded."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from undertow.data.pieces import PieceSource, open_arrays
from undertow.data.reading import tell_reading
from undertow.errors import DataError

NAMES = ("X", "y", "weights")
_RECORD = "cache.json"
_TRIES = 3  # to open what was written, where others write to the same folder


def open_cached(source: PieceSource, folder: Path, key: dict[str, object], memory: float) -> PieceSource:
    """Write the examples of a source to a folder, unless they are there, and open them as memory maps.

    Args:
        source: what is to be written, in the order in which it lies.
        folder: where; it is made, and holds .npy files and a record of what they were made of.
        key: what decides the examples, as JSON values; a folder with another key, or with a file that is cut short,
            is written anew.
        memory: bytes that reading may take.

    Returns:
        The source of memory maps, shuffled as ``source`` is.

    Raises:
        DataError: ``encoded: the folder holds other files. …``, the disk is full, or other rows are written there.

    Source: derived here.
    """
    wanted = json.loads(json.dumps(key))
    names = NAMES[: len(source.example.shapes)]
    for _ in range(_TRIES):
        if not _is_written(folder, wanted):
            _write(source, folder, wanted)
        with suppress(DataError):  # of files that another process has removed since
            found = open_arrays(*(folder / f"{name}.npy" for name in names), memory=memory, shuffle=source.shuffle)
            if _is_written(folder, wanted):
                return found
    raise DataError(f"{folder}: something else writes other rows there at the same time. Give a folder of its own.")


def _is_written(folder: Path, wanted: object) -> bool:
    """Whether a folder holds what is wanted; DataError where it holds anything else than a cache."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file. Give the name of a folder for encoded rows.")
    if not folder.exists():
        return False
    known = {_RECORD, *(f"{name}.npy" for name in NAMES)}
    other = sorted(entry.name for entry in folder.iterdir() if entry.name not in known)
    if other:
        raise DataError(f"{folder}: the folder holds other files ({other[0]}). Give a folder of its own.")
    try:
        return bool(json.loads((folder / _RECORD).read_text(encoding="utf-8")) == [wanted, _sizes(folder)])
    except (OSError, ValueError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of each file of arrays that is there."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.npy"))}


def _write(source: PieceSource, folder: Path, key: object) -> None:
    """Write beside the folder first, so that a cache is whole or not there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with _held(made, wait=True):
                _write_arrays(source, made)
                (made / _RECORD).write_text(json.dumps([key, _sizes(made)]), encoding="utf-8")
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process has just written it
            return
        raise DataError(f"{folder}: encoded rows cannot be written: {error.strerror or error}.") from None


@contextmanager
def _held(folder: Path, wait: bool = False) -> Iterator[bool]:
    """Hold a folder, so that nobody takes it for one whose writer was killed: the system lets go when a process ends.

    Gives whether it is held; not where another process holds it, and not where there are no such locks.
    """
    try:
        import fcntl

        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (ImportError, AttributeError, OSError):  # Windows, or a folder that has gone
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))  # others look for a moment only
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def _remove_abandoned(folder: Path) -> None:
    """Remove what writers of a folder have left beside it that were killed; what else lies there stays."""
    known = {_RECORD, *(f"{name}.npy" for name in NAMES)}
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-{'?' * 8}"):
        with _held(left) as held, suppress(OSError):
            files = {entry.name for entry in left.iterdir()} if held else set()
            if files and files <= known:  # an empty one may have been made by another writer just now
                shutil.rmtree(left, ignore_errors=True)


def _write_arrays(source: PieceSource, folder: Path) -> None:
    """The arrays of a source, block after block."""
    example = source.example
    files = []
    try:
        for name, shape, dtype in zip(NAMES, example.shapes, example.dtypes, strict=False):
            file = (folder / f"{name}.npy").open("wb")
            files.append(file)
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (source.n_examples, *shape)})
        with source.in_order().epoch(0) as blocks:
            told = tell_reading("writing the encoded rows", blocks, source.n_examples, lambda block: len(block[0]))
            for block in told:
                for file, array in zip(files, block, strict=True):
                    file.write(np.ascontiguousarray(array).data)
    finally:
        for file in files:
            file.close()
