"""Snapshots of a training as files, checked when read. Loading runs no code.

The file is a safetensors file. Its header begins, in every version, with format, version and a checksum, which is
taken over all of the file with zeros in its own place: so damage and a newer version can be told apart.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from undertow.errors import RunError
from undertow.train.disk import open_file
from undertow.train.files import read_path
from undertow.train.record import read_record, write_record
from undertow.train.tensors import HEADER_BYTES_AT_MOST, DamagedError, checksum, pack, unpack

FORMAT, VERSION = "undertow-checkpoint", "1"
ZEROS = "0" * 64
START = re.compile(rb'\{"__metadata__":\{"format":"([a-z-]{1,40})","version":"(\d{1,9})","blake2b":"([0-9a-f]{64})"')
END = re.compile(rb'"data_offsets":\[\d{1,20},(\d{1,20})\]')  # in a name or a record, the quotes would be escaped
DAMAGE = {errno.EIO, errno.EINVAL, errno.ENOENT, errno.ELOOP, errno.EISDIR}  # of one file, not of all


@dataclass
class Snapshot:
    """The state of a training at one instant.

    Attributes:
        arrays: parameters, optimizer state and the like, by names such as ``"model/layers[0].W"``.
        record: plain data: settings, epoch, random streams. Its numbers come back exactly, tuples as lists.
    """

    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def seal(snapshot: Snapshot) -> list[bytes | memoryview]:
    """Lay a snapshot out as a file, with the checksum over all of it in its place.

    Args:
        snapshot: the snapshot.

    Returns:
        The parts of the file; those of arrays share their memory.

    Raises:
        RunError: ``this checkpoint cannot be written: …``; its record is no plain data, or a dtype is out of scope.

    Source: derived here.

    Example:
        >>> seal(Snapshot({}, {"epoch": 3}))[0][8:]
        b'{"__metadata__":{"format":"undertow-checkpoint","version":"1","blake2b":"'
    """
    try:
        metadata = {"format": FORMAT, "version": VERSION, "blake2b": ZEROS, "record": write_record(snapshot.record)}
        start, parts = pack(snapshot.arrays, metadata)
    except (RunError, TypeError, ValueError) as error:
        raise RunError(f"this checkpoint cannot be written: {error}") from None
    if not isinstance(snapshot.record, dict):
        raise RunError(f"this checkpoint cannot be written: its record is {snapshot.record!r}. Give a dict.")
    found = START.match(start, 8)
    assert found is not None
    place = found.start(3)
    return [start[:place], checksum(start, *parts).encode(), start[place + len(ZEROS) :], *parts]


def read_snapshot(file: str | Path) -> Snapshot:
    """Read one checkpoint. Everything is checked, and no code is run.

    Args:
        file: the file.

    Returns:
        The snapshot; its arrays may be written to.

    Raises:
        RunError: ``a.safetensors is damaged: …``, is of a newer version, or cannot be read.

    Source: derived here.

    Example:
        >>> read_snapshot("no/such.safetensors")
        Traceback (most recent call last):
        undertow.train.tensors.DamagedError: no/such.safetensors cannot be read: No such file or directory.
    """
    path = read_path(file, "the file of a checkpoint")
    try:
        content = _read_content(path)
        arrays, metadata = unpack(content)
        record = read_record(metadata.get("record", ""))
    except (DamagedError, ValueError) as error:
        raise DamagedError(f"{path} is damaged: {error}.") from None
    except MemoryError:
        raise RunError(f"{path} cannot be read: it does not fit into memory.") from None
    except OSError as error:
        if isinstance(error, RunError):
            raise
        kind = DamagedError if error.errno in DAMAGE else RunError
        raise kind(f"{path} cannot be read: {error.strerror or error}.") from None
    if not isinstance(record, dict):
        raise DamagedError(f"{path} is damaged: its record is no object.")
    return Snapshot(arrays, record)


def _read_content(path: Path) -> bytes:
    """The bytes of a checkpoint, once their checksum is right."""
    with open_file(path) as opened:
        size = os.fstat(opened.fileno()).st_size
        start = opened.read(8 + 256)
        found = START.match(start, 8)
        header = int.from_bytes(start[:8], "little")
        if found is None or found[1].decode() != FORMAT or 8 + header > size or header > HEADER_BYTES_AT_MOST:
            raise DamagedError(f"it is no checkpoint of Undertow, or what is left of one ({size} bytes)")
        opened.seek(8)
        wanted = 8 + header + max(map(int, END.findall(opened.read(header))), default=0)
        if size != wanted:  # before room is made for all of it
            raise DamagedError(f"it has {size} bytes instead of {wanted}")
        opened.seek(0)
        content = opened.read(size)
    first, last = found.span(3)
    if checksum(content[:first], ZEROS.encode(), memoryview(content)[last:]) != found[3].decode():
        raise DamagedError("its checksum is wrong")
    if found[2].decode() != VERSION:
        raise RunError(
            f"{path} has version {found[2].decode()}, this Undertow reads {VERSION}. Use the Undertow that wrote it."
        )
    return content
