"""Callbacks that write each row of the history to a file as soon as it is known."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from undertow.errors import RunError
from undertow.train.callbacks import EpochInfo
from undertow.train.files import explain_failure, read_path, write_whole


class JsonLines:
    r"""Append each row of the history to a file, as one JSON object a line.

    Args:
        path: the file; rows are added to one that is there.

    Numbers that are not finite, which JSON has not, are written as null.

    Raises:
        ArgumentError: a path that is none.
        RunError: ``log.jsonl cannot be written: …``

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = JsonLines(Path(folder) / "log.jsonl")
        ...     log.on_epoch_end(EpochInfo(1, 9, {"epoch": 1, "loss": 0.5}, None, []))
        ...     log.path.read_text()
        '{"epoch": 1, "loss": 0.5}\n'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = read_path(path, "the file of a log")

    def on_epoch_end(self, info: EpochInfo) -> None:
        """Write the row."""
        _append(self.path, json.dumps(_plain(info.row), ensure_ascii=False, allow_nan=False) + "\n")


class CsvLog:
    """Append each row of the history to a file as comma-separated values.

    Args:
        path: the file; rows are added to one that is there.

    The first row decides the columns. Where a later row has more, the file is written anew with their names, and
    nothing in the rows before. Lists are written as JSON; None as nothing.

    Raises:
        ArgumentError: a path that is none.
        RunError: ``log.csv cannot be written: …``

    Source: RFC 4180, with the line ends of the system's own text files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = CsvLog(Path(folder) / "log.csv")
        ...     for epoch, loss in ((1, 0.5), (2, 0.25)):
        ...         log.on_epoch_end(EpochInfo(epoch, 9, {"epoch": epoch, "loss": loss}, None, []))
        ...     log.path.read_text().split()
        ['epoch,loss', '1,0.5', '2,0.25']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = read_path(path, "the file of a log")

    def on_epoch_end(self, info: EpochInfo) -> None:
        """Write the row."""
        row = {str(name): _cell(value) for name, value in info.row.items()}
        before = self._read()
        names = before[0] if before else []
        added = [name for name in row if name not in names]
        line = [row.get(name, "") for name in [*names, *added]]
        if added and before:
            wider = [[*names, *added], *([*old, *[""] * len(added)] for old in before[1:]), line]
            write_whole(self.path, _text(wider).encode())
        else:
            _append(self.path, _text([line] if before else [added, line]))

    def _read(self) -> list[list[str]]:
        """The rows that are there, the names first."""
        try:
            return [row for row in csv.reader(io.StringIO(self.path.read_text(encoding="utf-8"), newline="")) if row]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = explain_failure(self.path, error) if isinstance(error, OSError) else str(error)
            raise RunError(f"{self.path} cannot be read: {reason}. Give another file for the log.") from None


def _text(rows: list[list[str]]) -> str:
    """Rows as comma-separated values."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _append(path: Path, text: str) -> None:
    """Add to the end of a file, which is closed again, so that the text is with the system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, io.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text  # a process was ended within its last row
            file.write(text.encode())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {explain_failure(path, error)}.") from None


def _cell(value: Any) -> str:
    """A value as the text of a cell; numbers keep all their digits."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is None:
        return ""
    return json.dumps(_plain(value)) if isinstance(value, list | tuple | dict) else str(value)


def _plain(value: Any) -> Any:
    """Plain data for JSON."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
