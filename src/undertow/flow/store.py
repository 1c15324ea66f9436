"""A record as files, appended to while a training goes on: every step whose chunk is finished survives a kill.

``flow.json`` holds the layers, the facts and the settings; ``steps.arrows`` the numbers of every step, an Arrow IPC
stream that polars, pyarrow, DuckDB and pandas read; ``looks.jsonl`` a line for each look.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undertow.errors import RunError
from undertow.flow.layers import FlowLayer
from undertow.flow.record import SCALARS, STATS, Flow
from undertow.flow.store_checks import check_facts, read_look
from undertow.train.disk import DISK, make_folders, open_file, replace_file, write_all
from undertow.train.files import check_run_folder, explain_failure
from undertow.train.history import HistoryFile
from undertow.train.record import read_record, write_record

if TYPE_CHECKING:
    import polars as pl

    from undertow.flow.recorder import Recorder

FOLDER: Final = "flow"  # within the folder of a run
ABOUT, STEPS, LOOKS = "flow.json", "steps.arrows", "looks.jsonl"
FORMAT, VERSION = "undertow-flow", 1
CONTINUES, END = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00"
LARGEST = 1 << 31  # bytes of a message that are believed


def make_frame(flow: Flow) -> pl.DataFrame:
    """Put the steps of a record into a frame, as others read it.

    Args:
        flow: the record.

    Returns:
        A row a step: ``step``, ``epoch``, the scalars, and for each number of the layers, such as ``delta.rms``, an
        array with an entry for each layer.

    Source: derived here.

    Example:
        >>> from undertow.flow.layers import FlowLayer
        >>> make_frame(Flow.empty((FlowLayer(1, "", "Dense(4, 2)", "Dense", ""),))).columns[:3]
        ['step', 'epoch', 'loss']
    """
    import polars as pl

    wide = pl.Array(pl.Float32, len(flow.layers))
    columns: list[Any] = [pl.Series("step", flow.steps), pl.Series("epoch", flow.epochs)]
    columns += [pl.Series(name, flow.scalars[name]) for name in SCALARS]
    for i, name in enumerate(STATS):
        columns.append(pl.Series(name, np.ascontiguousarray(flow.values[:, i]), dtype=wide))
    return pl.DataFrame(columns)


class FlowStore:
    """The files of a record.

    Args:
        folder: of the run; the record is in ``flow`` within it.

    Source: the Apache Arrow columnar format, section "IPC streaming format".

    Example:
        >>> import tempfile
        >>> from undertow.flow.layers import FlowLayer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FlowStore(folder)
        ...     store.begin(Flow.empty((FlowLayer(1, "", "Dense(4, 2)", "Dense", ""),)))
        ...     len(load_flow(folder))
        0
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) / FOLDER
        self.looks = HistoryFile(self.folder / LOOKS)
        self.file: int | None = None
        self.size = 0

    def begin(self, flow: Flow) -> None:
        """Write what is known before the first step; what was recorded of steps after its last one is dropped.

        Raises:
            RunError: the disk refuses.
        """
        try:
            make_folders(self.folder)
            self.write_about(flow)
            parts = []
            if len(flow.layers):
                stream = _stream(flow)
                head, body = _split(stream)
                parts = [stream[:head], stream[head:body] if len(flow) else b""]
            replace_file(self.folder / STEPS, parts)
            self.looks.rewind(0)
            for look in flow.looks:
                self.looks.append(look.plain())
        except OSError as error:
            raise self._explain(error) from None

    def put_aside(self) -> Path | None:
        """Move the files that are there into a folder of their own, so that a new record does not take their place.

        Returns:
            Their folder; None where there were none.

        Raises:
            RunError: the disk refuses.
        """
        files = [self.folder / name for name in (ABOUT, STEPS, LOOKS) if (self.folder / name).exists()]
        if not files:
            return None
        names = (self.folder / f"before-{i}" for i in count(1))
        aside = next(path for path in names if not path.exists())
        try:
            make_folders(aside)
            for file in files:
                DISK.rename(file, aside / file.name)
        except OSError as error:
            raise self._explain(error) from None
        return aside

    def write_about(self, flow: Flow) -> None:
        """Write the layers, the facts, the settings, and how the training ended."""
        record = {
            "format": FORMAT, "version": VERSION, "layers": [layer.plain() for layer in flow.layers],
            "stats": list(STATS), "facts": flow.facts, "settings": flow.settings, "stopped": flow.stopped,
        }  # fmt: skip
        try:
            replace_file(self.folder / ABOUT, [write_record(record, indent=1).encode()])
        except OSError as error:
            raise self._explain(error) from None

    def append(self, flow: Flow) -> None:
        """Append the rows of a record."""
        stream = _stream(flow)
        head, body = _split(stream)
        try:
            if self.file is None:
                self.file = DISK.open_end(self.folder / STEPS)
                self.size = os.fstat(self.file).st_size
            try:
                write_all(self.file, memoryview(stream)[head:body])
            except BaseException:
                with contextlib.suppress(OSError):
                    DISK.truncate(self.file, self.size)
                raise
        except OSError as error:
            raise self._explain(error) from None
        self.size += body - head

    def force(self) -> None:
        """Return when all steps and looks are on the disk.

        Raises:
            RunError: the disk refuses.
        """
        self.looks.force()
        if self.file is not None:
            try:
                DISK.force(self.file)
            except OSError as error:
                raise self._explain(error) from None

    def close(self) -> None:
        """Close the files."""
        self.looks.close()
        if self.file is not None:
            with contextlib.suppress(OSError):
                os.close(self.file)
            self.file = None

    def _explain(self, error: OSError) -> RunError:
        if isinstance(error, RunError):
            return error
        return RunError(f"{self.folder} cannot be written: {explain_failure(self.folder / STEPS, error)}.")


def load_flow(folder: str | Path, since: int = 0) -> Flow:
    """Read a record, also of a training that goes on or was killed.

    Args:
        folder: of the run.
        since: leave out the steps up to this one.

    Returns:
        The record; its settings and history are those of the run.

    Raises:
        RunError: ``runs/a holds no record of its gradient flow. …``; ``runs/a holds no step yet: …``; there is no such
            folder; the files are damaged.

    Source: derived here.
    """
    check_run_folder(Path(folder))
    place = Path(folder) / FOLDER
    try:
        with open_file(place / ABOUT) as file:
            about = read_record(file.read())
        if about["format"] != FORMAT or about["version"] != VERSION:
            raise ValueError(f"it is {about['format']} {about['version']}")
        flow = Flow.empty(tuple(FlowLayer.read(x) for x in about["layers"]))
        flow.facts, flow.settings, flow.stopped = about["facts"], about["settings"], about["stopped"]
        check_facts(flow.facts)
        flow.looks = [read_look(row) for row in HistoryFile(place / LOOKS).rows()]
        flow.history = HistoryFile(Path(folder) / "history.jsonl").rows()
        _read_steps(place / STEPS, flow, since)
    except FileNotFoundError:
        if _is_only_begun(Path(folder)):
            raise RunError(
                f"{folder} holds no step yet: its training goes on, or was killed before its first steps were written. "
                "Wait for it, or train again."
            ) from None
        raise RunError(
            f"{folder} holds no record of its gradient flow. Train with flow=True and checkpoint=, or save the run."
        ) from None
    except OSError as error:
        raise RunError(f"{place} cannot be read: {error.strerror or error}.") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"{place} is damaged: {type(error).__name__}: {error}.") from None
    return flow


def _is_only_begun(folder: Path) -> bool:
    """Tell whether a training was begun in a folder, and nothing of it is there yet: no checkpoint, no epoch."""
    kept = folder / "checkpoints"
    return kept.is_dir() and not any(kept.glob("checkpoint-*")) and not (folder / "history.jsonl").exists()


def read_flow(record: Recorder | Flow | Path) -> Flow:
    """Return the record of what a run holds.

    Args:
        record: a recorder, a record, or the folder of a run.

    Returns:
        The record.

    Raises:
        RunError: as `load_flow`.

    Source: derived here.
    """
    if isinstance(record, Flow):
        return record
    return load_flow(record) if isinstance(record, Path) else record.current()


def save_flow(flow: Flow, folder: Path) -> None:
    """Write a record into the folder of a run.

    Args:
        flow: the record.
        folder: of the run.

    Raises:
        RunError: the disk refuses.

    Source: derived here.
    """
    store = FlowStore(folder)
    store.begin(flow)
    store.close()


def _read_steps(path: Path, flow: Flow, since: int) -> None:
    """Read the steps; a message that is torn, and what follows it, is left out."""
    import polars as pl

    with open_file(path) as file:
        content = file.read()
    whole = whole_messages(content)
    if not whole:
        return
    n, width = 0, len(flow.layers)
    try:
        frame = pl.read_ipc_stream(io.BytesIO(content[:whole] + END), use_pyarrow=False)
        frame = frame.filter(pl.col("step") > since)
        n = len(frame)
        flow.steps, flow.epochs = (frame[name].to_numpy().astype(np.int64) for name in ("step", "epoch"))
        flow.scalars = {name: frame[name].to_numpy().astype(np.float64) for name in SCALARS}
        flow.values = np.empty((n, len(STATS), width), np.float32)
        for i, name in enumerate(STATS):
            flow.values[:, i] = frame[name].to_numpy().reshape(n, width) if n else 0
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a damaged file makes polars panic, which is no Exception
        raise ValueError(f"{path.name}: {error}") from None


def _stream(flow: Flow) -> bytes:
    """The rows as an Arrow stream of their own."""
    import polars as pl

    memory = io.BytesIO()
    make_frame(flow).rechunk().write_ipc_stream(memory, compat_level=pl.CompatLevel.oldest())
    return memory.getvalue()


def _split(stream: bytes) -> tuple[int, int]:
    """Where the schema of a stream ends, and where its end mark begins."""
    head = next_message(stream, 0)
    return head, len(stream) - len(END) if stream.endswith(END) else len(stream)


def next_message(stream: bytes, place: int) -> int:
    """Where the message that begins at a place ends; -1 where it is torn."""
    if stream[place : place + 4] != CONTINUES or place + 8 > len(stream):
        return -1
    (size,) = struct.unpack_from("<i", stream, place + 4)
    start = place + 8
    if not 0 < size < LARGEST or start + size > len(stream):
        return -1
    end = start + size + _body(stream, start)
    return end if end <= len(stream) else -1


def _body(stream: bytes, start: int) -> int:
    """The length of a message's body, which its flatbuffer tells: the field 3 of the table Message."""
    (root,) = struct.unpack_from("<I", stream, start)
    table = start + root
    (back,) = struct.unpack_from("<i", stream, table)
    vtable = table - back
    (length,) = struct.unpack_from("<H", stream, vtable)
    slot = 4 + 2 * 3
    if slot + 2 > length:
        return 0
    (offset,) = struct.unpack_from("<H", stream, vtable + slot)
    return 0 if not offset else int(struct.unpack_from("<q", stream, table + offset)[0])


def whole_messages(stream: bytes) -> int:
    """How many bytes of a stream are whole messages."""
    place = 0
    while place < len(stream):
        try:
            end = next_message(stream, place)
        except struct.error:
            break
        if end < 0:
            break
        place = end
    return place
