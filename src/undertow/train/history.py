"""The history of a run as it goes: a line of JSON a row, which survives that the process is killed."""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from pathlib import Path
from typing import Any

from undertow.errors import ColumnError, RunError
from undertow.spelling import meant_name
from undertow.train.disk import DISK, make_folders, open_file, write_all
from undertow.train.files import explain_failure, read_path
from undertow.train.record import read_record, write_record


class Row(dict[str, Any]):
    """The row of a history of one epoch: a dict that says which of its columns was meant."""

    def __missing__(self, key: Any) -> Any:
        meant = meant_name(key, self)
        hint = f"Use row[{meant!r}]. " if meant is not None else ""
        raise ColumnError(f"a row of the history has no {key!r}. {hint}It has {', '.join(self)}.")


class HistoryFile:
    """Rows that are appended to a file, one line each.

    Every row whose `append` returned is in the file even if the process is killed then; after `force`, even
    if the power fails. A last line that is torn is dropped.

    Args:
        path: the file, such as ``runs/a/history.jsonl``; made by the first `append`.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, HistoryFile(Path(folder) / "history.jsonl") as history:
        ...     history.append({"epoch": 1, "loss": 0.5})
        ...     history.append({"epoch": 2, "loss": float("nan")})
        ...     history.rows()
        [{'epoch': 1, 'loss': 0.5}, {'epoch': 2, 'loss': nan}]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = read_path(path, "the file of a history")
        self._file: int | None = None
        self._size = 0
        self._close: Any = None

    def __enter__(self) -> HistoryFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def append(self, row: dict[str, Any]) -> None:
        """Write a row.

        Args:
            row: plain data.

        Raises:
            RunError: the row is no plain data, or the disk refuses; the file then holds the rows before it.
        """
        try:
            line = write_record(row).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.path}: this row cannot be written: {error}.") from None
        if not isinstance(row, dict):
            raise RunError(f"{self.path}: this row cannot be written: {row!r} is no dict.")
        try:
            file = self._open()
            try:
                write_all(file, line)
            except BaseException:
                with contextlib.suppress(OSError):
                    DISK.truncate(file, self._size)
                raise
        except OSError as error:
            raise self._explain(error) from None
        self._size += len(line)

    def rows(self) -> list[dict[str, Any]]:
        """Read the rows that are whole, up to the first that is not; none if there is no file.

        Raises:
            RunError: the system does not let the file be read.
        """
        return self._read()[0]

    def rewind(self, count: int) -> list[dict[str, Any]]:
        """Drop all rows but the first ones, such as those that a checkpoint knows of.

        Args:
            count: how many to keep.

        Returns:
            The rows that are kept.

        Raises:
            RunError: ``runs/a/history.jsonl holds 3 whole rows, 5 are wanted. …``; nothing is changed.
        """
        rows, ends, _ = self._read()
        if not 0 <= count <= len(rows):
            raise RunError(
                f"{self.path} holds {len(rows)} whole rows, {count} are wanted. Bring the file back, or move it away "
                "and rewind to 0."
            )
        if os.path.lexists(self.path):
            try:
                self.close()
                file = DISK.open_end(self.path)
                try:
                    DISK.truncate(file, ends[count - 1] if count else 0)
                    DISK.force(file)
                finally:
                    DISK.close(file)
            except OSError as error:
                raise self._explain(error) from None
        return rows[:count]

    def force(self) -> None:
        """Return when all rows are on the disk. Do this before a checkpoint is written that counts them.

        Raises:
            RunError: the disk refuses.
        """
        if self._file is not None:
            try:
                DISK.force(self._file)
            except OSError as error:
                raise self._explain(error) from None

    def close(self) -> None:
        """Close the file; a next `append` opens it again."""
        if self._close is not None:
            self._close()
            self._file = self._close = None

    def _open(self) -> int:
        """The open file, without a torn last line."""
        if self._file is None:
            rows, ends, torn = self._read()
            if b"\n" in torn:
                raise RunError(
                    f"{self.path} is damaged in row {len(rows) + 1}, and more rows follow. Repair it, or drop them "
                    f"with rewind({len(rows)})."
                )
            new = not os.path.lexists(self.path)
            make_folders(self.path.parent)
            file = DISK.open_end(self.path)
            self._file, self._close = file, weakref.finalize(self, _close, file)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                self.close()
                raise RunError(f"{self.path} is no regular file. Choose another path.")
            self._size = ends[-1] if ends else 0
            if torn:
                DISK.truncate(file, self._size)
            if new:
                DISK.force_folder(self.path.parent)
        return self._file

    def _read(self) -> tuple[list[dict[str, Any]], list[int], bytes]:
        """The rows that are whole, where in the file each of them ends, and what follows them."""
        try:
            with open_file(self.path) as opened:
                content = opened.read()
        except FileNotFoundError:
            return [], [], b""
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}.") from None
        rows: list[dict[str, Any]] = []
        ends: list[int] = []
        place = 0
        for line in content.split(b"\n")[:-1]:
            try:
                row = read_record(line)
            except ValueError:
                break
            if not isinstance(row, dict):
                break
            place += len(line) + 1
            rows.append(row)
            ends.append(place)
        return rows, ends, content[place:]

    def _explain(self, error: OSError) -> RunError:
        if isinstance(error, RunError):
            return error
        return RunError(f"{self.path} cannot be written: {explain_failure(self.path, error)}.")


def _close(file: int) -> None:
    with contextlib.suppress(OSError):
        os.close(file)
