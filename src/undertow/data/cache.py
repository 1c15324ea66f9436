"""Encoded rows on disk: written once, then read as memory maps, many times as fast as files are decoded."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from undertow.data.pieces import PieceSource, open_arrays
from undertow.data.reading import tell_reading
from undertow.errors import DataError

NAMES = ("X", "y", "weights")
_RECORD = "cache.json"


def open_cached(source: PieceSource, folder: Path, key: dict[str, object], memory: float) -> PieceSource:
    """Write the examples of a source to a folder, unless they are there, and open them as memory maps.

    Args:
        source: what is to be written, in the order in which it lies.
        folder: where; it is made, and holds .npy files and a record of what they were made of.
        key: what decides the examples, as JSON values; a folder with another key is written anew.
        memory: bytes that reading may take.

    Returns:
        The source of memory maps, shuffled as ``source`` is.

    Raises:
        DataError: ``encoded: the folder holds other files. …``, or the disk is full.

    Source: derived here.
    """
    wanted = json.loads(json.dumps(key))
    if not _is_written(folder, wanted):
        _write(source, folder, wanted)
    names = NAMES[: len(source.example.shapes)]
    return open_arrays(*(folder / f"{name}.npy" for name in names), memory=memory, shuffle=source.shuffle)


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
        return bool(json.loads((folder / _RECORD).read_text(encoding="utf-8")) == wanted)
    except (OSError, ValueError):
        return False


def _write(source: PieceSource, folder: Path, key: object) -> None:
    """Write beside the folder first, so that a cache is whole or not there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write_arrays(source, made)
            (made / _RECORD).write_text(json.dumps(key), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{folder}: encoded rows cannot be written: {error.strerror or error}.") from None


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
