"""Tables larger than memory, piece by piece: frames, and files, folders of them, and globs."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from undertow.data.columnar import ColumnarFile, cut_columnar, open_columnar
from undertow.data.csv_index import CsvFile, index_csv
from undertow.data.decimals import Decimal
from undertow.data.examples import find_examples, holds_examples, tell_examples
from undertow.data.file_names import COLUMNAR, JSON_EXTENSIONS, TABLES, check_file_name, find_extension, is_table
from undertow.data.frames import check_source
from undertow.data.header import Header, check_header, offer_no_header, tell_names
from undertow.data.json_lines import JsonFile, index_json
from undertow.data.late import pl
from undertow.data.memory import show_bytes
from undertow.data.missing import mark_given
from undertow.data.text_files import unpacked_size
from undertow.data.wording import Origin, list_names, suggest_names
from undertow.errors import DataError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
File = ColumnarFile | CsvFile | JsonFile
_IN_MEMORY = 6
_HASHED = 100_000  # rows at once
_FAR_LARGER = 32  # times a piece, in rows: then a quarter of the time that a small network trains
_LARGER = 8  # times, where pieces are read in order: 160 MB in one row group, with memory=10e6: 3 s instead of 19


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

    def in_order(self) -> ReadsPieces:
        """The same pieces, of which one is read after another."""

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""

    def version(self) -> object:
        """What is another one where something in the table has changed, as JSON values."""


class ReadsPieces(Protocol):
    """What reads the pieces of a table."""

    def read(self, number: int, columns: Collection[str] | None = None) -> tuple[pl.DataFrame, Origin | None]:
        """The rows of one piece, see `TablePieces`."""


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

    def in_order(self) -> ReadsPieces:
        """The slices themselves."""
        return self

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""
        return {"kind": "frame", "piece_rows": self.rows, "rows": self.frame.height}

    def version(self) -> object:
        """A digest of the content."""
        found = hashlib.blake2b(digest_size=16)
        for part in self.frame.iter_slices(_HASHED):
            found.update(part.hash_rows(seed=0).to_numpy().tobytes())
        return found.hexdigest()


class FilePieces:
    """Files with the same columns, one after another, in pieces of some rows.

    Args:
        paths: of the files, in the order of their rows.
        piece_bytes: memory that a piece may take when it is read, roughly.
        as_text: columns of text files that stay text, see ``read_table_with_origin``.
        decimal: what 1,234 is, see ``read_table``.
        header: of text files, see ``read_table``.
        marks: texts that stand for a missing value, see `undertow.data.missing`.
        in_order: they are read once, one after another: fewer and larger pieces of Parquet files, each of which is
            decoded from the head of its row group.

    Attributes:
        places: of each piece its file, what it is read by there, and its rows.
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
        marks: Collection[str] = (),
        in_order: bool = False,
    ) -> None:
        self.paths, self.header, self.marks = list(paths), check_header(header), marks
        self.remarks: list[str] = []
        files = [self._open(path, piece_bytes) for path in self.paths]
        self.columns = list(files[0].names)
        self._check_alike(files)
        texts = [file for file in files if isinstance(file, CsvFile)]
        if texts:
            from undertow.data.csv_index import find_types

            self.remarks += find_types(texts, as_text, decimal, marks)
        self.places: list[tuple[File, int, int]] = []
        for file in files:
            cut = _cut(file, piece_bytes * (_LARGER if in_order else 1))
            self.places += [(file, first, rows) for first, rows in cut]
        self.heights = [rows for _, _, rows in self.places]
        if sum(self.heights) == 0:
            raise DataError(f"{self.paths[0].name}: the table has column names but no rows. Add the rows below them.")
        if texts and self.header is True:
            number = next(k for k, (file, _, rows) in enumerate(self.places) if rows and isinstance(file, CsvFile))
            self.remarks += tell_names(self.read(number)[0], self.places[number][0].path.name)

    def _open(self, path: Path, piece_bytes: int) -> File:
        check_source(path)
        kind = find_extension(path)
        if kind in COLUMNAR:
            return open_columnar(path, piece_bytes)
        if kind in JSON_EXTENSIONS:
            return index_json(path, piece_bytes, self.remarks)
        return index_csv(path, piece_bytes, self.remarks, self.header)

    def _check_alike(self, files: Sequence[File]) -> None:
        """All files must have the columns of the first, and where files have types, these too."""
        first, types = files[0], None
        for file in files:
            missing = [name for name in first.names if name not in file.names]
            extra = [name for name in file.names if name not in first.names]
            if missing or extra:
                parts = [f"lacks {suggest_names(missing, extra)}"] if missing else []
                parts += [f"has {list_names(extra)} more"] if extra else []
                raise DataError(
                    f"{file.path.name}: its columns are not those of {first.path.name}: it {' and '.join(parts)}. "
                    f"Give files with the same columns.{offer_no_header(pl.DataFrame(schema=first.names))}"
                )
            if not isinstance(file, CsvFile):
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
        file, first, rows = self.places[number]
        if not isinstance(file, ColumnarFile):
            frame, lines = file.read(first)
            chosen = self.columns if columns is None else [name for name in self.columns if name in columns]
            return mark_given(frame.select(chosen), self.marks), Origin(file.path.name, lines)
        return self.read_rows(file, first, rows, columns), _number_rows(file, first, rows)

    def read_rows(self, file: ColumnarFile, first: int, rows: int, columns: Collection[str] | None) -> pl.DataFrame:
        """Some rows of a file, the columns as the first file has them."""
        frame = file.read(first, rows, columns)
        return mark_given(frame.select([name for name in self.columns if name in frame.columns]), self.marks)

    def tell_groups(self, n_bytes: int) -> list[str]:
        """A sentence where pieces are far smaller than the row groups of their file; encoded rows take ``n_bytes``."""
        for file, _, rows in self.places:
            if not isinstance(file, ColumnarFile) or file.group is None or file.group < _FAR_LARGER * rows:
                continue
            return [
                f"{file.path.name}: to read a piece of {rows} rows, its row group of {file.group} is decoded from the "
                f"head: {file.group / rows / 2:.0f} times as many on average. --cache FOLDER (cache= in Python) writes "
                f"the encoded rows once, {show_bytes(n_bytes)}, and reads those."
            ]
        return []

    def in_order(self) -> ReadsPieces:
        """Read several pieces of a Parquet file at once, each time from the head of their row group."""
        return _InOrder(self)

    def version(self) -> object:
        """Where the files are, and when they were written."""
        return [[str(path.resolve()), path.stat().st_mtime_ns] for path in self.paths]

    def describe(self) -> dict[str, object]:
        """What the table is, as JSON values."""
        files = [{"file": path.name, "bytes": path.stat().st_size} for path in self.paths]
        return {"kind": "files", "files": files, "pieces": len(self.heights), "rows": sum(self.heights)}


class _InOrder:
    """Pieces of which one is read after another: of files with row groups, some are read together.

    Args:
        whole: the table.
    """

    def __init__(self, whole: FilePieces) -> None:
        self.whole = whole
        self.frame, self.held = pl.DataFrame(), range(0)  # what was read last

    def read(self, number: int, columns: Collection[str] | None = None) -> tuple[pl.DataFrame, Origin | None]:
        """One piece; the columns are the same each time."""
        pieces = self.whole.places
        file, first, rows = pieces[number]
        if not isinstance(file, ColumnarFile):
            return self.whole.read(number, columns)
        if number not in self.held:
            self.frame = pl.DataFrame()  # not both at once
            stop = number + 1
            while stop < min(number + _LARGER, len(pieces)) and pieces[stop][0] is file:
                stop += 1
            n = sum(rows for _, _, rows in pieces[number:stop])
            self.held, self.frame = range(number, stop), self.whole.read_rows(file, first, n, columns)
        begin = first - pieces[self.held.start][1]
        return self.frame.slice(begin, rows), _number_rows(file, first, rows)


def _number_rows(file: ColumnarFile, first: int, rows: int) -> Origin:
    return Origin(file.path.name, np.arange(first + 1, first + rows + 1, dtype=np.int64))


def _cut(file: File, piece_bytes: int) -> list[tuple[int, int]]:
    """(what to read it by, rows) of each piece of a file."""
    return cut_columnar(file, piece_bytes) if isinstance(file, ColumnarFile) else list(enumerate(file.heights))


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
        where: a file; a folder, of which all tables are taken, or where there are none the images; a pattern such as
            ``"data/2024-*.parquet"``; or a list of these.

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
    check_file_name(path)
    if path.exists() and holds_examples(path):
        return find_examples(path)
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if is_table(entry) and entry.is_file())
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


def takes_more(file: Path, memory: float) -> bool:
    r"""Tell whether a table takes more memory than it may when it is read whole.

    Args:
        file: that exists.
        memory: bytes.

    Returns:
        Whether; as a frame, as float32 and with what reading takes, a table is about six times its text.

    Source: derived here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.csv")
        ...     _ = path.write_text("x,y\n" * 100)
        ...     takes_more(path, 1e6), takes_more(path, 1e3)
        (False, True)
    """
    most = memory / _IN_MEMORY
    if unpacked_size(file, most) > most:
        return True
    if find_extension(file) not in COLUMNAR:
        return False
    found = open_columnar(file, int(memory))
    return found.height * len(found.schema) * 8 > most
