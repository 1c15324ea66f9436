"""Lines of JSON in bounded memory: an object a row, a column for each name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undertow.data.csv_index import find_bounds
from undertow.data.frames import clean_text, name_columns, reader_errors
from undertow.data.late import pl
from undertow.data.memory import check_fits
from undertow.data.nested import spread_nested
from undertow.data.reading import tell_reading
from undertow.data.text_files import SMALLER, Text, open_text
from undertow.errors import DataError

_LEAST_BYTES = 65536
_WHOLE = 1 << 26  # bytes of a piece of what is read whole


@dataclass(eq=False)
class JsonFile:
    """A file of JSON lines whose pieces are known.

    Args:
        path: its place.
        text: what stands in it.
        bounds: the first byte, the end and the first line of each piece; whole lines.
        schema: of the columns, names as the file has them.
        names: the names of the columns without outer spaces.
        heights: rows of each piece.
    """

    path: Path
    text: Text
    bounds: list[tuple[int, int, int]]
    schema: dict[str, pl.DataType] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    heights: list[int] = field(default_factory=list)

    def read(self, number: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """A piece with its columns, and the line of each row."""
        content, line = self.read_bytes(number), self.bounds[number][2]
        frame = self._parse(content, line, self.schema)
        lines = np.arange(line, line + frame.height, dtype=np.int64)
        if content.count(b"\n") + 1 > frame.height:  # some are empty
            rows = content.split(b"\n")
            lines = np.array([line + k for k, row in enumerate(rows) if row.strip()], dtype=np.int64)
        return frame.rename(dict(zip(self.schema, self.names, strict=True))), lines

    def read_bytes(self, number: int) -> bytes:
        """The text of a piece."""
        first, end, line = self.bounds[number]
        return clean_text(self.text.read(first, end), self.path.name, line).rstrip(b"\n")

    def look_at(self, number: int) -> tuple[pl.DataFrame, int]:
        """A frame without rows that has the columns and types of a piece, and the number of its rows."""
        found = self._parse(self.read_bytes(number), self.bounds[number][2], None)
        return found.clear(), found.height

    def _parse(self, content: bytes, line: int, schema: dict[str, pl.DataType] | None) -> pl.DataFrame:
        if not content.strip():
            return pl.DataFrame(schema=schema)
        try:
            return pl.read_ndjson(content, schema=schema, infer_schema_length=None)
        except reader_errors() as error:
            raise _find_damage(content, line, self.path.name, schema) or _damaged(self.path.name, error) from None


def _find_damage(content: bytes, line: int, file: str, schema: dict[str, pl.DataType] | None) -> DataError | None:
    """An error that names the first line which is no JSON object; None where each of them is one."""
    rows = [(line + k, row) for k, row in enumerate(content.split(b"\n")) if row.strip()]
    for number, row in rows:
        if not row.strip().startswith(b"{"):
            return DataError(f'{file}, row {number}: this is no JSON object. Write one a line: {{"age": 41}}.')
    low, high = 0, len(rows)  # of the first rows, so many can be read, and so many cannot
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pl.read_ndjson(b"\n".join(row for _, row in rows[low:middle]), schema=schema, infer_schema_length=None)
            low = middle
        except reader_errors():
            high = middle
    number, row = rows[low]
    try:
        pl.read_ndjson(row, schema=schema, infer_schema_length=None)
    except reader_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        return DataError(
            f"{file}, row {number}: this is no JSON that can be read: {reason}. Correct it; what is missing is null, "
            "also where Python writes NaN."
        )
    return None


def _damaged(file: str, error: BaseException) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    return DataError(f"{file}: its lines do not fit together: {reason}. Give a name values of one kind.")


def index_json(path: Path, piece_bytes: int, remarks: list[str]) -> JsonFile:
    r"""Find where the pieces of a file of JSON lines begin and end, and the types of its columns.

    Args:
        path: of the file.
        piece_bytes: memory that a piece may take, roughly.
        remarks: as for `open_text`.

    Returns:
        The file. A column has the narrowest type that holds its values in all pieces: numbers beside texts are texts.

    Raises:
        DataError: ``events.jsonl, row 3: this is no JSON object. …``, an empty file.

    Source: jsonlines.org.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "a.jsonl")
        ...     _ = file.write_text('{"x": 1}\n{"x": 2.5, "y": "a"}\n')
        ...     index_json(file, 10**6, []).read(0)[0].rows()
        [(1.0, None), (2.5, 'a')]
    """
    text = open_text(path, remarks)
    if not text.size:
        raise DataError(f"{path.name}: the file is empty. Give a JSON object on each line.")
    found = JsonFile(path, text, find_bounds(text, path.name, max(piece_bytes // 4, _LEAST_BYTES), quoted=False))
    seen: list[pl.DataFrame] = []
    for number in tell_reading("which columns there are", range(len(found.bounds)), len(found.bounds)):
        frame, height = found.look_at(number)
        found.heights.append(height)
        seen.append(frame)
    try:
        merged = pl.concat(seen, how="diagonal_relaxed")
    except reader_errors() as error:
        raise _damaged(path.name, error) from None
    found.schema = dict(merged.schema)
    if not found.schema:
        raise DataError(f"{path.name}: its lines hold no values. Give a JSON object with names on each line.")
    found.names = tuple(name_columns(list(found.schema), path.name))
    return found


def read_json_lines(path: Path, remarks: list[str]) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Read all lines of a file, and the number of the line of each row."""
    found = index_json(path, _WHOLE, remarks)
    check_fits(path.name, found.text.size, SMALLER)
    parts = [found.read(number) for number in range(len(found.bounds))]
    frame = spread_nested(pl.concat([frame for frame, _ in parts]), path.name)
    return frame, np.concatenate([lines for _, lines in parts])
