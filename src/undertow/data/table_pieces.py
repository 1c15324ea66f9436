"""Tables larger than memory, piece by piece: frames, and CSV and Parquet files, folders of them, and globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from undertow.data.csv_index import CsvFile, index_csv
from undertow.data.decimals import Decimal
from undertow.data.examples import find_examples, holds_examples, tell_examples
from undertow.data.file_names import PARQUET_EXTENSIONS, TABLES
from undertow.data.frames import check_source, name_columns, reader_errors
from undertow.data.header import Header, check_header, offer_no_header, tell_names
from undertow.data.late import pl
from undertow.data.parquet_footer import largest_row_group
from undertow.data.wording import Origin, list_names, suggest_name
from undertow.errors import DataError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_LARGER = 8  # times, where pieces are read in order: 160 MB in one row group, with memory=10e6: 3 s instead of 19
_MOST_READS = 256  # of one piece
_VALUE_BYTES = 16  # of a decoded value, roughly: texts are longer, numbers shorter


class TablePieces(Protocol):
    """A table in pieces that can be read in any order.

    Attributes:
        columns: the names of its columns.
        heights: rows of each piece.
        remarks: sentences for the report about how it is read.
    """

    columns: list[str]
    heights: list[int]
    remarks: list[str]

    def read(self, number: int, columns: Collection[str] | None = None) -> tuple[pl.DataFrame, Origin | None]:
        """The rows of one piece, and where they came from; of these columns alone where they are named."""

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""


class FramePieces:
    """A frame in memory, in slices.

    Args:
        frame: a polars DataFrame.
        rows: of a slice.
    """

    def __init__(self, frame: pl.DataFrame, rows: int) -> None:
        self.frame, self.rows = frame, rows
        self.remarks: list[str] = []
        self.columns = frame.columns
        self.heights = [min(rows, frame.height - first) for first in range(0, frame.height, rows)]

    def read(self, number: int, columns: Collection[str] | None = None) -> tuple[pl.DataFrame, Origin | None]:
        """One slice."""
        frame = self.frame if columns is None else self.frame.select(columns)
        first = number * self.rows
        origin = Origin("the table", np.arange(first + 1, first + self.heights[number] + 1, dtype=np.int64))
        return frame.slice(first, self.rows), origin

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""
        return {"kind": "frame", "piece_rows": self.rows, "rows": self.frame.height}


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file.

    Args:
        path: its place.
        height: its rows.
        schema: its columns with their types, names as the file has them.
        names: the names of the columns without outer spaces.
        at_once: how many columns are read together: few, where row groups are larger than memory may be, since of a
            column chunk all is read.
    """

    path: Path
    height: int
    schema: dict[str, pl.DataType]
    names: tuple[str, ...]
    at_once: int

    def read(self, first: int, rows: int, columns: Collection[str] | None) -> pl.DataFrame:
        """Some rows. Only the pages that hold them are decoded."""
        renamed = dict(zip(self.schema, self.names, strict=True))
        wanted = [old for old, new in renamed.items() if columns is None or new in columns]
        n = self.at_once
        try:
            plan = pl.scan_parquet(self.path, parallel="none", low_memory=True, glob=False)
            parts = [plan.select(wanted[i : i + n]).slice(first, rows).collect() for i in range(0, len(wanted), n)]
            frame = pl.concat(parts, how="horizontal")
        except reader_errors() as error:
            raise _damaged(self.path, error, f", rows {first + 1} to {first + rows}") from None
        return frame.rename({old: renamed[old] for old in wanted})


def open_parquet(path: Path, piece_bytes: int) -> ParquetFile:
    """Read the schema and the number of rows of a Parquet file; DataError where it is none."""
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror}. Check its permissions.") from None
    if not begins:
        raise DataError(f"{path.name}: the file is empty. Give a table with column names and rows.")
    if begins != b"PAR1":
        raise DataError(f"{path.name}: this is no Parquet file. Rename it to what it is, or export it again.")
    try:
        plan = pl.scan_parquet(path, glob=False)
        schema = dict(plan.collect_schema())
        height = int(plan.select(pl.len()).collect().item())
    except reader_errors() as error:
        raise _damaged(path, error, "") from None
    if not schema:
        raise DataError(f"{path.name}: the Parquet file has no columns. Export it again.")
    group = largest_row_group(path)
    reads = len(schema) if group is None else -(-group // (2 * piece_bytes))
    at_once = -(-len(schema) // min(max(reads, 1), _MOST_READS))
    return ParquetFile(path, height, schema, tuple(name_columns(list(schema), path.name)), at_once)


def _damaged(path: Path, error: BaseException, place: str) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    return DataError(f"{path.name}{place}: the Parquet file is damaged or cut short: {reason}. Export it again.")


class FilePieces:
    """CSV or Parquet files with the same columns, one after another, in pieces of some rows.

    Args:
        paths: of the files, in the order of their rows.
        piece_bytes: memory that a piece may take when it is read, roughly.
        as_text: columns of text files that stay text, see ``read_table_with_origin``.
        decimal: what 1,234 is, see ``read_table``.
        header: of text files, see ``read_table``.
        in_order: they are read once, one after another: fewer and larger pieces of Parquet files, each of which is
            decoded from the head of its row group.

    Attributes:
        remarks: sentences about columns where it is one thing or the other, and about names that look like values.

    Raises:
        DataError: a file that cannot be read, or whose columns are not those of the first.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        piece_bytes: int,
        as_text: Collection[str] = (),
        decimal: Decimal = "auto",
        header: Header = True,
        in_order: bool = False,
    ) -> None:
        self.paths, self.header = list(paths), check_header(header)
        files = [self._open(path, piece_bytes) for path in self.paths]
        self.columns = list(files[0].names)
        self._check_alike(files)
        texts = [file for file in files if isinstance(file, CsvFile)]
        self.remarks: list[str] = []
        if texts:
            from undertow.data.csv_index import find_types

            self.remarks = find_types(texts, as_text, decimal)
        self._pieces: list[tuple[ParquetFile | CsvFile, int, int]] = []
        for file in files:
            cut = _cut(file, piece_bytes * (_LARGER if in_order else 1))
            self._pieces += [(file, first, rows) for first, rows in cut]
        self.heights = [rows for _, _, rows in self._pieces]
        if sum(self.heights) == 0:
            raise DataError(f"{self.paths[0].name}: the table has column names but no rows. Add the rows below them.")
        if texts and self.header is True:
            number = next(k for k, (file, _, rows) in enumerate(self._pieces) if rows and isinstance(file, CsvFile))
            self.remarks += tell_names(self.read(number)[0], self._pieces[number][0].path.name)

    def _open(self, path: Path, piece_bytes: int) -> ParquetFile | CsvFile:
        check_source(path)
        return (
            open_parquet(path, piece_bytes)
            if path.suffix.lower() in PARQUET_EXTENSIONS
            else index_csv(path, piece_bytes, self.header)
        )

    def _check_alike(self, files: Sequence[ParquetFile | CsvFile]) -> None:
        """All files must have the columns of the first, and Parquet files their types too."""
        first, types = files[0], None
        for file in files:
            missing = [name for name in first.names if name not in file.names]
            extra = [name for name in file.names if name not in first.names]
            if missing or extra:
                parts = [f"lacks {', '.join(suggest_name(name, extra) for name in missing)}"] if missing else []
                parts += [f"has {list_names(extra)} more"] if extra else []
                raise DataError(
                    f"{file.path.name}: its columns are not those of {first.path.name}: it {' and '.join(parts)}. "
                    f"Give files with the same columns.{offer_no_header(pl.DataFrame(schema=first.names))}"
                )
            if isinstance(file, ParquetFile):
                found = dict(zip(file.names, file.schema.values(), strict=True))
                types = types or (file.path.name, found)
                for name, dtype in types[1].items():
                    if _family(found[name]) != _family(dtype):
                        raise DataError(
                            f"{file.path.name}: column {name!r} is {found[name]}, in {types[0]} it is {dtype}. "
                            "Write all files with the same types."
                        )

    def read(self, number: int, columns: Collection[str] | None = None) -> tuple[pl.DataFrame, Origin | None]:
        """The rows of one piece, with the numbers they have in their file."""
        file, first, rows = self._pieces[number]
        if isinstance(file, CsvFile):
            frame, lines = file.read(first)
            chosen = self.columns if columns is None else [name for name in self.columns if name in columns]
            return frame.select(chosen), Origin(file.path.name, lines)
        frame = file.read(first, rows, columns)
        numbers = np.arange(first + 1, first + rows + 1, dtype=np.int64)
        return frame.select([name for name in self.columns if name in frame.columns]), Origin(file.path.name, numbers)

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""
        files = [{"file": path.name, "bytes": path.stat().st_size} for path in self.paths]
        return {"kind": "files", "files": files, "pieces": len(self.heights), "rows": sum(self.heights)}


def _cut(file: ParquetFile | CsvFile, piece_bytes: int) -> list[tuple[int, int]]:
    """(what to read it by, rows) of each piece of a file."""
    if isinstance(file, CsvFile):
        return list(enumerate(file.heights))
    rows = max(piece_bytes // (_VALUE_BYTES * len(file.schema)), 1)
    return [(first, min(rows, file.height - first)) for first in range(0, file.height, rows)]


def _family(dtype: pl.DataType) -> str:
    """Types that an encoder reads alike."""
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return dtype.base_type().__name__


def find_files(where: Paths) -> list[Path]:
    """The table files that a path, a folder, a pattern or a list of them names, by name within each.

    Args:
        where: a file; a folder, of which all CSV and Parquet files are taken, or where there are none the images; a
            pattern such as ``"data/2024-*.parquet"``; or a list of these.

    Returns:
        At least one path.

    Raises:
        DataError: ``data/*.parquet: no file has such a name. …``, an empty folder, or no such file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.csv", "a.csv", "notes.md"):
        ...         _ = pathlib.Path(folder, name).write_text("x,y")
        ...     [path.name for path in find_files(folder)]
        ['a.csv', 'b.csv']
    """
    if not isinstance(where, str | os.PathLike):
        found = [path for part in where for path in find_files(part)]
        if not found:
            raise DataError("the list of files is empty. Give at least one.")
        return found
    text = os.fspath(where)
    path = Path(text)
    if path.exists() and holds_examples(path):
        return find_examples(path)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in TABLES and entry.is_file())
        if not found:
            raise DataError(
                f"{path}: the folder holds no table. Its files should end in {', '.join(TABLES)}.{tell_examples(path)}"
            )
        return found
    if glob.has_magic(text) and not path.exists():
        found = sorted(Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file())
        if not found:
            raise DataError(f"{text}: no file has such a name. Check the pattern.")
        return found
    return [path]
