"""Files that hold columns with types, of which some rows are read: Parquet and Arrow."""

from __future__ import annotations

import glob
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undertow.data.file_names import PARQUET_EXTENSIONS
from undertow.data.frames import name_columns, reader_errors
from undertow.data.late import pl
from undertow.data.memory import check_fits
from undertow.data.moments import check_moments
from undertow.data.nested import spread_nested
from undertow.data.parquet_footer import largest_row_group
from undertow.data.text_files import SMALLER
from undertow.errors import DataError

_MOST_READS: Final = 256  # of one piece
_VALUE_BYTES: Final = 16  # of a decoded value, roughly: texts are longer, numbers shorter
_MOST_DIGITS: Final = 38  # of a decimal number, in 128 bits
_LEAST_VALUE_BYTES: Final = 4  # of a value as a feature
_BEGINS: Final = {"Parquet": b"PAR1", "Arrow": b"ARROW1"}
_STREAM: Final = b"\xff\xff\xff\xff"  # how an Arrow stream begins, which has no index of its parts


@dataclass(frozen=True)
class ColumnarFile:
    """A Parquet file, or one of Arrow's.

    Args:
        path: its place.
        kind: Parquet or Arrow.
        height: its rows.
        schema: its columns with their types, names as the file has them.
        names: the names of the columns without outer spaces.
        at_once: how many columns are read together: few, where row groups are larger than memory may be, since of a
            column chunk all is read.
        group: rows of the largest row group; None where there are none, or their sizes are not known.
    """

    path: Path
    kind: str
    height: int
    schema: dict[str, pl.DataType]
    names: tuple[str, ...]
    at_once: int
    group: int | None

    def read(self, first: int, rows: int, columns: Collection[str] | None) -> pl.DataFrame:
        """Some rows. Only the pages or record batches that hold them are decoded."""
        renamed = dict(zip(self.schema, self.names, strict=True))
        wanted = [old for old, new in renamed.items() if columns is None or new in columns]
        n = self.at_once
        try:
            plan = _scan(self.path, self.kind)
            parts = [plan.select(wanted[i : i + n]).slice(first, rows).collect() for i in range(0, len(wanted), n)]
            frame = pl.concat(parts, how="horizontal")
        except reader_errors() as error:
            raise _damaged(self.path, self.kind, error, f", rows {first + 1} to {first + rows}") from None
        return check_moments(frame.rename({old: renamed[old] for old in wanted}), self.path.name, first)


def open_columnar(path: Path, piece_bytes: int) -> ColumnarFile:
    """Read the schema and the number of rows of a file; DataError where it is none.

    Args:
        path: a Parquet or Arrow file, as the end of its name tells.
        piece_bytes: memory that a piece may take when it is read, roughly.
    """
    kind = find_kind(path)
    try:
        with path.open("rb") as file:
            begins = file.read(6)
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror}. Check its permissions.") from None
    check_begin(path, begins, kind)
    try:
        plan = _scan(path, kind)
        schema = dict(plan.collect_schema())
        _check_digits(path, schema)
        height = int(plan.select(pl.len()).collect().item())
    except reader_errors() as error:
        raise error if isinstance(error, DataError) else _damaged(path, kind, error, "") from None
    if not schema:
        raise DataError(f"{path.name}: the {kind} file has no columns. Export it again.")
    group = largest_row_group(path) if kind == "Parquet" else None
    reads = len(schema) if group is None else -(-group.n_bytes // (2 * piece_bytes))
    at_once = -(-len(schema) // min(max(reads, 1), _MOST_READS))
    names, rows = tuple(name_columns(list(schema), path.name)), None if group is None else group.rows
    return ColumnarFile(path, kind, height, schema, names, at_once, rows)


def check_begin(path: Path, begins: bytes, kind: str) -> None:
    """DataError where a file's first bytes are not those of its kind."""
    if not begins:
        raise DataError(f"{path.name}: the file is empty. Give a table with column names and rows.")
    if kind == "Arrow" and begins.startswith(_STREAM):
        raise DataError(
            f"{path.name}: this is a stream of Arrow's, not a file with an index. Write it as one: "
            "polars.read_ipc_stream(…).write_ipc('data.arrow')."
        )
    if kind == "Arrow" and begins.startswith(b"FEA1"):
        raise DataError(f"{path.name}: this is Feather of version 1. Write it as version 2, or as Parquet.")
    if not begins.startswith(_BEGINS[kind]):
        raise DataError(f"{path.name}: this is no {kind} file. Rename it to what it is, or export it again.")


def cut_columnar(file: ColumnarFile, piece_bytes: int) -> list[tuple[int, int]]:
    """(first row, rows) of each piece of a file."""
    rows = max(piece_bytes // (_VALUE_BYTES * len(file.schema)), 1)
    return [(first, min(rows, file.height - first)) for first in range(0, file.height, rows)]


def read_columnar(path: Path, content: bytes) -> pl.DataFrame:
    """Read a file whole; lists and images in it are spread over columns.

    Args:
        path: its name, which tells its kind.
        content: of the file.

    Raises:
        DataError: it is none, damaged, or larger than memory.
    """
    kind = find_kind(path)
    check_begin(path, content[:6], kind)
    try:
        schema = dict(_scan(path, kind).collect_schema())
        _check_digits(path, schema)
        n_values = int(_scan(path, kind).select(pl.len()).collect().item()) * len(schema)
        check_fits(path.name, n_values * _LEAST_VALUE_BYTES, SMALLER)
        frame = pl.read_parquet(content) if kind == "Parquet" else pl.read_ipc(content, use_pyarrow=False)
    except reader_errors() as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, kind, error, "") from None
    if frame.width == 0:
        raise DataError(f"{path.name}: the {kind} file has no columns. Export it again.")
    frame = frame.rename(dict(zip(frame.columns, name_columns(frame.columns, path.name), strict=True)))
    return spread_nested(check_moments(frame, path.name), path.name)


def find_kind(path: Path) -> str:
    """Which kind of file a name tells."""
    return "Parquet" if path.suffix.lower() in PARQUET_EXTENSIONS else "Arrow"


def _scan(path: Path, kind: str) -> pl.LazyFrame:
    if kind == "Arrow":
        return pl.scan_ipc(glob.escape(str(path)))
    return pl.scan_parquet(path, parallel="none", low_memory=True, glob=False)


def _check_digits(path: Path, schema: dict[str, pl.DataType]) -> None:
    """DataError for decimals with more digits than can be read: the file is whole, and the column has to be another."""
    for name, kind in schema.items():
        if isinstance(kind, pl.Decimal) and (kind.precision or 0) > _MOST_DIGITS:
            raise DataError(
                f"{path.name}: column {name!r} holds decimals of {kind.precision} digits, of which {_MOST_DIGITS} "
                "at most can be read. Write it as float64 or as text, or leave it out of the file."
            )


def _damaged(path: Path, kind: str, error: BaseException, place: str) -> DataError:
    reason = str(error).strip().partition("\n")[0]
    return DataError(f"{path.name}{place}: the {kind} file is damaged or cut short: {reason}. Export it again.")
