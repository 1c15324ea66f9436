"""The record of a training while it is written: what was appended since the last look, and only that, is read."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.errors import RunError
from undertow.flow.layers import FlowLayer
from undertow.flow.record import SCALARS, STATS, Flow
from undertow.flow.store import ABOUT, END, FOLDER, FORMAT, LOOKS, STEPS, VERSION, next_message, whole_messages
from undertow.flow.store_checks import check_facts, read_look
from undertow.report.live.files import stamp
from undertow.train.disk import open_file
from undertow.train.history import HistoryFile
from undertow.train.record import read_record

Array = NDArray[Any]


class GrowingFlow:
    """The record in the folder of a run, read as it grows.

    Args:
        folder: of the run.

    Attributes:
        flow: what was read so far, or None where there is no record.

    Source: derived here; the format is that of `undertow.flow.store`.

    Example:
        >>> GrowingFlow(Path("no-such-run")).look() is None
        True
    """

    def __init__(self, folder: Path) -> None:
        self.place = folder / FOLDER
        self.flow: Flow | None = None
        self._about: tuple[int, ...] = ()
        self._looks: tuple[int, ...] = ()
        self._forget()

    def look(self) -> Flow | None:
        """Read what is new.

        Returns:
            The record; None where there is none. Its arrays are not written to later.

        Raises:
            RunError: the files are damaged.
        """
        try:
            about, looks = stamp(self.place / ABOUT), stamp(self.place / LOOKS)
            if not about:
                self.flow = None
                self._forget()
                return None
            if about != self._about:
                self.read_about()
                self._about = about
            flow = self.flow
            if flow is not None:
                if looks != self._looks:
                    flow.looks = [read_look(row) for row in HistoryFile(self.place / LOOKS).rows()]
                    self._looks = looks
                self._read_steps(flow)
        except FileNotFoundError:  # it is being replaced
            return self.flow
        except OSError as error:
            raise RunError(f"{self.place} cannot be read: {error.strerror or error}.") from None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RunError(f"{self.place} is damaged: {type(error).__name__}: {error}.") from None
        return self.flow

    def _forget(self) -> None:
        """Read the steps from the beginning next time."""
        self._file: tuple[int, int] = (0, 0)  # its device and inode
        self._place, self._schema, self._n = 0, b"", 0
        self._arrays: dict[str, Array] = {}

    def read_about(self) -> Flow:
        """Read the layers, the facts and the settings, without the steps; of other layers, there are other steps.

        Raises:
            OSError, KeyError, TypeError, ValueError: there is no record, or a damaged one.
        """
        with open_file(self.place / ABOUT) as file:
            about = read_record(file.read())
        if about["format"] != FORMAT or about["version"] != VERSION:
            raise ValueError(f"it is {about['format']} {about['version']}")
        layers = tuple(FlowLayer.read(x) for x in about["layers"])
        if self.flow is None or self.flow.layers != layers:
            self.flow = Flow.empty(layers)
            self._forget()
            self._looks = ()
        check_facts(about["facts"])
        self.flow.facts, self.flow.settings, self.flow.stopped = about["facts"], about["settings"], about["stopped"]
        return self.flow

    def _read_steps(self, flow: Flow) -> None:
        """Read the steps whose message is whole, from where the last look ended."""
        with open_file(self.place / STEPS) as file:
            found = os.fstat(file.fileno())
            if (found.st_dev, found.st_ino) != self._file or found.st_size < self._place:
                self._forget()
                self._file = found.st_dev, found.st_ino
                self._put(flow)
            if not self._schema:
                content = file.read()
                head = next_message(content, 0)
                if head < 0:
                    return
                self._schema, self._place, content = content[:head], head, content[head:]
            else:
                file.seek(self._place)
                content = file.read()
        size = whole_messages(content)
        if size:
            self._append(_read_frame(self._schema + content[:size] + END), len(flow.layers))
            self._place += size
            self._put(flow)

    def _append(self, frame: Any, width: int) -> None:
        """Take over the rows of a frame, in arrays that have room for more."""
        new: dict[str, Array] = {name: frame[name].to_numpy().astype(np.int64) for name in ("step", "epoch")}
        new |= {name: frame[name].to_numpy().astype(np.float64) for name in SCALARS}
        n = len(frame)
        values = np.empty((n, len(STATS), width), np.float32)
        for i, name in enumerate(STATS):
            values[:, i] = frame[name].to_numpy().reshape(n, width) if n else 0
        new["values"] = values
        end = self._n + n
        for name, part in new.items():
            old = self._arrays.get(name)
            if old is None or end > len(old):
                grown = np.empty((max(2 * end, 256), *part.shape[1:]), part.dtype)
                if old is not None:
                    grown[: self._n] = old[: self._n]
                self._arrays[name] = old = grown
            old[self._n : end] = part
        self._n = end

    def _put(self, flow: Flow) -> None:
        """Let the record show the rows that were read."""
        if not self._n:
            empty = Flow.empty(flow.layers)
            flow.steps, flow.epochs, flow.scalars, flow.values = empty.steps, empty.epochs, empty.scalars, empty.values
            return
        rows = {name: array[: self._n] for name, array in self._arrays.items()}
        flow.steps, flow.epochs, flow.values = rows["step"], rows["epoch"], rows["values"]
        flow.scalars = {name: rows[name] for name in SCALARS}


def _read_frame(stream: bytes) -> Any:
    """Read an Arrow stream."""
    import polars as pl

    try:
        return pl.read_ipc_stream(io.BytesIO(stream), use_pyarrow=False)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a damaged file makes polars panic, which is no Exception
        raise ValueError(f"{STEPS}: {error}") from None
