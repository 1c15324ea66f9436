"""Tables from files: CSV and other delimited text, JSON lines, workbooks, Parquet and Arrow."""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undertow.data.decimals import Decimal, check_decimal, choose_decimal, reads_both_ways, tell_comma
from undertow.data.examples import Part, holds_examples, read_examples
from undertow.data.file_names import COLUMNAR, JSON_EXTENSIONS, PICKLE, find_extension, is_table, refuse_extension
from undertow.data.header import REMEDY, Header, check_header, name_fields, tell_names
from undertow.data.late import pl
from undertow.data.layout import Layout, find_layout
from undertow.data.memory import show_bytes
from undertow.data.missing import Missing, mark_and_type, read_missing
from undertow.data.parse import express_present, infer_type, parse_decimal_commas
from undertow.data.text_files import SMALLER, read_text
from undertow.data.wording import Origin, list_names
from undertow.errors import DataError

_SIGNATURES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook: give it the extension .xlsx, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: give it the extension .xls",
    b"\x1f\x8b": "compressed with gzip: give its name the end .csv.gz",
    b"BZh": "compressed with bzip2: give its name the end .csv.bz2",
    b"\xfd7zXZ": "compressed with xz: give its name the end .csv.xz",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard: give its name the end .csv.zst",
}


def reader_errors() -> tuple[type[BaseException], ...]:
    """Raised by the readers below for damaged content; a panic of the native code is no Exception."""
    return pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, TypeError


def read_table(
    path: str | os.PathLike[str],
    *,
    as_text: Collection[str] = (),
    decimal: Decimal = "auto",
    remarks: list[str] | None = None,
    header: Header = True,
    missing: Missing = (),
) -> pl.DataFrame:
    r"""Read a table from a file: CSV and other delimited text, JSON lines, Parquet, Arrow, a workbook.

    Text files have one header line; the separator (comma, semicolon, tab or bar) is found from the file.
    The empty field and NA, N/A, n/a, #N/A, <NA>, <null>, NaN, nan, NULL, null, None, ?, n.a., N.A., k.A. and the errors
    of spreadsheets (#DIV/0!, #VALUE!, #REF!, #NAME?, #NUM!, #NULL!, #NV) are missing values. A column becomes integers,
    numbers, booleans or ISO dates where every value present is one, else text. The first sheet of a workbook is
    read as the text that is exported of it.

    Args:
        path: a file ending in .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, .pq, .arrow, .feather, .ipc, .xlsx, .xlsm,
            .xlsb, .xls or .ods; text in UTF-8, or in UTF-16 that begins with a byte-order mark. What ends in .csv.gz,
            .bz2, .xz or .zst is unpacked. Arrays and images as in the documentation, "Arrays and images".
        as_text: columns of a text file that stay text, as ``TabularEncoder.text_columns`` names them.
        decimal: what 1,234 is, where commas do not separate the fields of a text file, and all those in a column may
            part thousands as well as a fraction: with "comma" a number a little above 1; with "point" text, which the
            encoder reads as 1234; "auto" decides by the other columns, else by the separator.
        remarks: a sentence about each such column, and about names that look like values, is appended here; where it is
            None, each is a ``UserWarning``.
        header: False where a text file has no line of column names: they are column_1, column_2, …; or a list of them.
        missing: texts or numbers that stand for a missing value beside these, in any column: ``[".", -999]``.

    Returns:
        A polars DataFrame with at least one row, column names stripped of outer spaces.

    Raises:
        DataError: ``people.csv, row 3: 2 fields, but the header names 3 columns. Add the missing …``,
            and one such message for a missing, empty, damaged, wrongly encoded or binary file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "people.csv")
        ...     _ = file.write_text("age;city\n41;Paris\n?;Oslo\n")
        ...     read_table(file).rows()
        [(41, 'Paris'), (None, 'Oslo')]
    """
    return read_table_with_origin(
        path, as_text=as_text, decimal=decimal, remarks=remarks, header=header, missing=missing
    )[0]


def read_table_with_origin(
    path: str | os.PathLike[str],
    *,
    as_text: Collection[str] = (),
    decimal: Decimal = "auto",
    remarks: list[str] | None = None,
    header: Header = True,
    part: Part = "train",
    name_files: bool = False,
    missing: Missing = (),
) -> tuple[pl.DataFrame, Origin]:
    r"""Read a table as ``read_table`` does, with the file's row number of every row.

    Args:
        path: as in ``read_table``.
        as_text: as in ``read_table``; or a dict of them, with the texts of each that are no missing value.
        decimal: as in ``read_table``.
        remarks: as in ``read_table``.
        header: as in ``read_table``.
        part: of a file of arrays with ``x_train`` and ``x_test``, which of them.
        name_files: whether images have a column ``file``.
        missing: as in ``read_table``.

    Returns:
        The DataFrame, and its ``Origin``, which lets later messages name the file and the row.

    Raises:
        DataError: as ``read_table``.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "people.csv")
        ...     _ = file.write_text("age,city\n41,Paris\n\n7,Oslo\n")
        ...     frame, origin = read_table_with_origin(file)
        >>> origin.where(1)
        'people.csv, row 4'
    """
    source = Path(path)
    check_source(source)
    decimal, header, said = check_decimal(decimal), check_header(header), [] if remarks is None else remarks
    marks = read_missing(missing)
    try:
        frame, rows = _read(source, as_text, decimal, said, header, part, name_files, marks)
        frame = mark_and_type(frame, marks, as_text)
    except MemoryError:
        raise DataError(
            f"{source.name}: there is not enough memory to read it, {show_bytes(source.stat().st_size)} as it lies. "
            f"{SMALLER}"
        ) from None
    if frame.height == 0:
        raise DataError(f"{source.name}: the table has column names but no rows. Add the rows below them.")
    for remark in said if remarks is None else ():
        told = remark if remark.startswith(("Column", source.name)) else f"column {remark}"
        about = "" if told.startswith(source.name) else f"{source.name}: "
        warnings.warn(f"{about}{told}", UserWarning, stacklevel=3)
    return frame, Origin(source.name, rows)


def _read(
    source: Path,
    as_text: Collection[str],
    decimal: Decimal,
    said: list[str],
    header: Header,
    part: Part,
    name_files: bool,
    marks: Collection[str],
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """A table of any kind, and the number of each row in its file."""
    if holds_examples(source):
        frame = read_examples(source, part, said, name_files)
        rows = np.arange(1, frame.height + 1, dtype=np.int64)
    elif find_extension(source) in COLUMNAR:
        from undertow.data.columnar import read_columnar

        frame = read_columnar(source, _read_bytes(source))
        rows = np.arange(1, frame.height + 1, dtype=np.int64)
    elif find_extension(source) in JSON_EXTENSIONS:
        from undertow.data.json_lines import read_json_lines

        frame, rows = read_json_lines(source, said)
    else:
        text = _read_text(source, said)
        layout = find_layout(text, source.name)
        frame = _parse_text(text, layout, source.name, as_text, decimal, said, header, marks)
        rows = layout.lines[int(header is True) :].astype(np.int64)
    return frame, rows


def check_source(source: Path) -> None:
    """The path must name a file with an extension that is read."""
    try:
        is_folder, exists = source.is_dir(), source.exists()
    except (OSError, ValueError) as error:
        raise DataError(f"{str(source)!r} is no file name: {error}. Give the path of a table.") from None
    if not exists:
        raise DataError(f"{source}: there is no such file. Check the path.")
    if holds_examples(source):
        return
    if is_folder:
        raise DataError(f"{source} is a folder. Give the path of one CSV or Parquet file in it.")
    if not is_table(source):
        if _begins_as_pickle(source):
            raise DataError(f"{source.name}: {PICKLE}")
        raise DataError(refuse_extension(source.name, source.suffix.lower()))


def _begins_as_pickle(source: Path) -> bool:
    """Whether a file without an extension is a pickle, such as those of CIFAR-10."""
    try:
        with open(source, "rb") as file:
            head = file.read(2)
    except OSError:
        return False
    return not source.suffix and len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _read_bytes(source: Path) -> bytes:
    """The file's bytes; an empty or unreadable file is an error."""
    try:
        content = source.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{source}: the file cannot be read: {reason}. Check its permissions.") from None
    if not content:
        raise DataError(f"{source.name}: the file is empty. Give a table with column names and rows.")
    return content


def _read_text(source: Path, remarks: list[str]) -> bytes:
    """The file as UTF-8 bytes without byte-order mark, with a line feed at every line's end."""
    content = read_text(source, remarks)
    check_text_signature(content, source.name)
    if content.startswith(b"PAR1") and content.endswith(b"PAR1"):
        raise DataError(f"{source.name}: this is a Parquet file. Give it the extension .parquet.")
    return clean_text(content, source.name)


def check_text_signature(content: bytes, file: str) -> None:
    """DataError where a file begins like an archive or a text in another encoding."""
    for signature, description in _SIGNATURES.items():
        if content.startswith(signature):
            raise DataError(f"{file}: this is {description}.")


def clean_text(content: bytes, file: str, first_line: int = 1) -> bytes:
    """Text as UTF-8 bytes without byte-order mark, with a line feed at every line's end.

    Args:
        content: a file's bytes, or those of a piece of it that begins with a line.
        file: the name used in messages.
        first_line: the number of the first line in the file.

    Returns:
        The bytes; DataError at the first that is no UTF-8.
    """
    if b"\x00" in content:
        row = content[: content.index(b"\x00")].count(b"\n") + first_line
        raise DataError(f"{file}, row {row}: this is no text file (it holds a zero byte). Export CSV.")
    if first_line == 1:
        content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + first_line
        byte = content[error.start : error.start + 1]
        old = byte.decode("cp1252", "ignore")
        meant = f" (in Windows-1252, which older programs write, it is {old!r})" if old else ""
        raise DataError(
            f"{file}, row {row}: the byte 0x{byte.hex()} is not UTF-8{meant}. Save the file in the encoding UTF-8, in "
            "Excel as CSV UTF-8."
        ) from None
    return content


def _read_names(text: bytes, layout: Layout, file: str) -> list[str]:
    """The column names of the first record."""
    header = text[layout.starts[0] : layout.ends[0]].decode("utf-8")
    try:
        fields = next(csv.reader([header], delimiter=layout.separator.decode()), [header])
    except csv.Error as error:
        raise DataError(f"{file}: the column names cannot be read: {error}. Shorten them.") from None
    return name_columns(fields, f"{file}, row {int(layout.lines[0])}")


def read_header(content: bytes, layout: Layout, file: str, header: Header = True) -> tuple[list[str], int]:
    """The column names at the beginning of a file.

    Args:
        content: the file's first bytes, as they lie.
        layout: of these bytes, cleaned.
        file: the name used in messages.
        header: as in ``read_table``.

    Returns:
        The names, and the number of bytes up to the end of their line.
    """
    if header is not True:
        return name_fields(header, int(layout.n_fields[0]), file), 0
    text = clean_text(content, file)
    names = _read_names(text, layout, file)
    n_lines = text[: int(layout.ends[0])].count(b"\n") + 1
    end = 0
    for _ in range(n_lines):
        end = content.find(b"\n", end) + 1
        if end == 0:
            break
    if end == 0 and text.rstrip(b"\n").count(b"\n") >= n_lines:
        raise DataError(f"{file}: its lines end with a carriage return alone. Save it with line feeds.")
    return names, end or len(content)


def _parse_text(
    text: bytes,
    layout: Layout,
    file: str,
    as_text: Collection[str],
    decimal: Decimal,
    remarks: list[str],
    header: Header,
    marks: Collection[str],
) -> pl.DataFrame:
    """The records below the header as typed columns."""
    separator = layout.separator.decode()
    names = read_header(text, layout, file, header)[0]
    below = layout
    if header is True:
        if layout.starts.size == 1:
            return pl.DataFrame({name: [] for name in names})
        below = replace(layout, **{key: getattr(layout, key)[1:] for key in ("starts", "ends", "lines", "n_fields")})
    raw = parse_records(text, below, file, names)
    known = as_text if isinstance(as_text, Mapping) else {}
    texts = raw.select(express_present(name, known.get(name, ()), marks) for name in raw.columns).get_columns()
    comma = separator != ","
    typed = {x.name: x if x.name in as_text else infer_type(x, decimal_comma=comma) for x in texts}
    both = [x for x in texts if comma and typed[x.name] is x and x.name not in as_text and reads_both_ways(x)]
    if both:
        numbers = [x for x in texts if typed[x.name].dtype == pl.Float64]
        commas, points = (any(bool(x.str.contains(sign, literal=True).any()) for x in numbers) for sign in ",.")
        as_comma, why = choose_decimal(decimal, separator, commas, points)
        for column in both if as_comma else ():
            typed[column.name] = parse_decimal_commas(column)
            remarks.append(tell_comma(column.name, column, why))
    frame = pl.DataFrame(list(typed.values()))
    remarks += tell_names(frame, file) if header is True else []
    return frame


def parse_records(
    text: bytes,
    layout: Layout,
    file: str,
    names: Sequence[str],
    kinds: Mapping[str, type[pl.DataType]] | None = None,
    missing: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Records as columns of texts, or of other kinds.

    Args:
        text: the bytes that the layout describes.
        layout: of the records, without a header.
        file: the name used in messages.
        names: of the columns.
        kinds: of columns that are no texts.
        missing: of a column, a text that is null too.

    Returns:
        A frame, empty texts null; DataError where the parser finds other records than the layout, or another kind.
    """
    n_blank = int(layout.lines[-1] - layout.lines[0] + 1) - layout.starts.size
    body = text[layout.starts[0] : layout.ends[-1]] + b"\n"
    if n_blank and len(names) > 1:  # blank lines or line breaks inside quotes: keep the records alone
        body = b"".join(text[start:end] + b"\n" for start, end in zip(layout.starts, layout.ends, strict=True))
    schema = dict.fromkeys(names, pl.String) | dict(kinds or {})
    nulls = dict(missing) if missing else None
    try:
        raw = pl.read_csv(body, has_header=False, separator=layout.separator.decode(), schema=schema, null_values=nulls)
    except reader_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{file}: the text cannot be read as a table: {reason}. Check its quotes.") from None
    if raw.height != layout.starts.size:
        raise DataError(
            f"{file}: {layout.starts.size} rows were counted but {raw.height} could be read. "
            "Check the quotation marks in its fields."
        )
    return raw


def name_columns(fields: list[str], place: str) -> list[str]:
    """Stripped column names; a nameless column is named by its 1-based place."""
    names = [field.strip() or f"unnamed_{number}" for number, field in enumerate(fields, start=1)]
    repeated = [name for name, n in Counter(names).items() if n > 1]
    if repeated:
        numbers = [str(number) for number, name in enumerate(names, start=1) if name == repeated[0]]
        more = f" (also repeated: {list_names(repeated[1:])})" if len(repeated) > 1 else ""
        raise DataError(
            f"{place}: the columns {', '.join(numbers)} share the name {repeated[0]!r}{more}. Give each its "
            f"own name; if this row holds data, put a line with column names above it, or {REMEDY}."
        )
    return names
