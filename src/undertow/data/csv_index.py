"""Delimited text in bounded memory: one pass finds where records begin, and every piece is then read by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undertow.data.decimals import Decimal, choose_decimal, tell_comma
from undertow.data.frames import check_text_signature, clean_text, parse_records, read_header
from undertow.data.header import Header
from undertow.data.late import pl
from undertow.data.layout import Layout, find_layout
from undertow.data.parse import DECIMAL_COMMA, EITHER, PARSERS, PLAIN, express_plain, express_present, narrow_type
from undertow.data.reading import tell_reading
from undertow.data.text_files import Text, open_text
from undertow.errors import DataError

_NEWLINE, _QUOTE = 10, 34
_LEAST_BYTES = 65536
_NO_LINE_END = 2**26  # bytes without a line's end: no table
_TRIES = 4  # pieces that are read in vain before none is any more


@dataclass(eq=False)
class CsvFile:
    """A delimited text file whose pieces are known.

    Args:
        path: its place.
        text: what stands in it.
        names: of its columns.
        separator: one byte.
        starts, ends: the bounds of each piece in bytes; whole records.
        lines: the line on which each piece begins, counted from 1.
        heights: rows of each piece.
        types: how each column's texts are read: its place in ``PARSERS``, or None for text.
        known: of a column, the texts that are no missing value.
        marks: further texts that are one in any column.
        spelled: of a column, how missing values are spelled where the field is not empty, as far as one has been seen.
        in_vain: how often of late a piece was no table of plain numbers where it was read as one.
    """

    path: Path
    text: Text
    names: tuple[str, ...]
    separator: bytes
    starts: list[int]
    ends: list[int]
    lines: list[int]
    heights: list[int] = field(default_factory=list)
    types: dict[str, int | None] = field(default_factory=dict)
    known: Mapping[str, Collection[str]] = field(default_factory=dict)
    marks: Collection[str] = ()
    spelled: dict[str, str] = field(default_factory=dict)
    in_vain: int = 0

    def read_texts(self, number: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """A piece as texts, missing values null, with the line of each row."""
        content, layout = self._lay_out(number)
        if layout is None:
            return pl.DataFrame(schema=dict.fromkeys(self.names, pl.String)), np.zeros(0, dtype=np.int64)
        raw = parse_records(content, layout, self.path.name, self.names)
        present = (express_present(name, self.known.get(name, ()), self.marks) for name in self.names)
        return raw.select(present), layout.lines.astype(np.int64)

    def read_plain(self, number: int, types: Mapping[str, int | None]) -> tuple[pl.DataFrame, NDArray[np.int64]] | None:
        """A piece as ``read_texts`` gives it, but columns of plain numbers as these, which takes half the time.

        None where a text is no such number, or a missing value has another spelling than the column had before.
        """
        plain = {name: place for name, place in types.items() if place in PLAIN}
        if not plain or self.in_vain > _TRIES:
            return None
        content, layout = self._lay_out(number)
        if layout is None:
            return None
        kinds = {name: pl.Int64 if place == 0 else pl.Float64 for name, place in plain.items()}
        spelled = {name: text for name, text in self.spelled.items() if name in plain}
        try:
            frame = parse_records(content, layout, self.path.name, self.names, kinds, spelled)
        except DataError:  # which reading the texts says, if it is one
            self.in_vain += 1
            return None
        if any(frame[name].is_nan().any() for name, place in plain.items() if place == 1):  # "nan" is a missing value
            self.in_vain += 1
            return None
        self.in_vain = max(self.in_vain - 1, 0)
        rest = (name for name in self.names if name not in plain)
        texts = (express_present(name, self.known.get(name, ()), self.marks) for name in rest)
        return frame.with_columns(texts), layout.lines.astype(np.int64)

    def find_spellings(self, number: int, texts: pl.DataFrame) -> None:
        """Note how a piece spells the missing values of columns in which they are all spelled alike."""
        lacking = [series.name for series in texts if series.null_count() and series.name not in self.spelled]
        content, layout = self._lay_out(number)
        if layout is None or not lacking:
            return
        raw = parse_records(content, layout, self.path.name, self.names)
        for name in lacking:
            found = raw[name].filter(texts[name].is_null()).drop_nulls().unique()
            if len(found) == 1:
                self.spelled[name] = found[0]

    def _lay_out(self, number: int) -> tuple[bytes, Layout | None]:
        """The bytes of a piece, and its records; None where there are none."""
        name = self.path.name
        content = self.text.read(self.starts[number], self.ends[number])
        content = clean_text(content, name, self.lines[number]).rstrip(b"\n")
        if not content.strip(b" \n") and len(self.names) > 1:
            return content, None
        return content, find_layout(content, name, self.lines[number], (self.separator, len(self.names)))

    def read(self, number: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """A piece with typed columns, and the line of each row."""
        plain = {name: place for name, place in self.types.items() if place in PLAIN}
        frame, lines = self.read_plain(number, plain) or self._cast(number, plain)
        rest = {name: place for name, place in self.types.items() if place is not None and name not in plain}
        return frame.with_columns(PARSERS[place](frame[name]) for name, place in rest.items()), lines

    def _cast(self, number: int, plain: Mapping[str, int | None]) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        texts, lines = self.read_texts(number)
        return texts.with_columns(express_plain(name, place) for name, place in plain.items()), lines


def index_csv(path: Path, piece_bytes: int, remarks: list[str], header: Header = True) -> CsvFile:
    """Find where the pieces of a text file begin and end; its header and separator too.

    Args:
        path: of the file.
        piece_bytes: text of a piece, roughly.
        remarks: as for `open_text`.
        header: as in ``read_table``.

    Returns:
        The file; the heights of its pieces are found by ``find_types``.
    """
    size = max(piece_bytes // 4, _LEAST_BYTES)  # a text grows when it is taken apart
    text = open_text(path, remarks)
    head = text.read(0, size)
    if not head:
        raise DataError(f"{path.name}: the file is empty. Give a table with column names and rows.")
    check_text_signature(head, path.name)
    bounds = find_bounds(text, path.name, size)
    first = text.read(0, bounds[0][1])
    layout = find_layout(clean_text(first, path.name, 1).rstrip(b"\n"), path.name)
    names, n_bytes = read_header(first, layout, path.name, header)
    starts, ends, lines = (list(values) for values in zip(*bounds, strict=True))
    starts[0], lines[0] = n_bytes, 1 + first[:n_bytes].count(b"\n")
    if starts[0] >= ends[0]:
        starts, ends, lines = starts[1:], ends[1:], lines[1:]
    return CsvFile(path, text, tuple(names), layout.separator, starts, ends, lines)


def find_bounds(text: Text, name: str, size: int, quoted: bool = True) -> list[tuple[int, int, int]]:
    """Find stretches of about ``size`` bytes that end with a record.

    Args:
        text: of a table.
        name: of its file, for messages.
        size: bytes.
        quoted: whether a line's end between quotation marks ends no record.

    Returns:
        (first byte, end, first line) of each.
    """
    found: list[tuple[int, int, int]] = []
    begin, line, position = 0, 1, 0
    quotes, lines_since = 0, 0
    while chunk := text.read(position, position + size):
        buffer = np.frombuffer(chunk, dtype=np.uint8)
        breaks = outside = np.flatnonzero(buffer == _NEWLINE)
        marks = buffer == _QUOTE
        if quoted and (marks.any() or quotes % 2):
            parity = (np.cumsum(marks) + quotes) % 2
            outside = breaks[parity[breaks] == 0]
        if outside.size:
            end = position + int(outside[-1]) + 1
            found.append((begin, end, line))
            before = int(np.searchsorted(breaks, outside[-1], side="right"))
            line += lines_since + before
            begin, lines_since = end, int(breaks.size) - before
        else:
            lines_since += int(breaks.size)
            if position + len(chunk) - begin > max(_NO_LINE_END, 8 * size):
                raise DataError(
                    f"{name}, row {line}: no end of this row in {_NO_LINE_END >> 20} MiB. Close the quotation mark "
                    "that opens in it, or end lines with a line feed."
                )
        quotes += int(np.count_nonzero(marks))
        position += len(chunk)
    if begin < position:
        found.append((begin, position, line))
    return found


def find_types(
    files: Sequence[CsvFile], as_text: Collection[str], decimal: Decimal = "auto", marks: Collection[str] = ()
) -> list[str]:
    """Read text files once: the rows of every piece, and the narrowest type that reads all of a column.

    Args:
        files: with the same columns; their heights and types are filled in.
        as_text: columns that stay text, see ``read_table_with_origin``.
        decimal: what 1,234 is, see ``read_table``.
        marks: further texts that stand for a missing value.

    Returns:
        A sentence about each column whose commas may part thousands as well, and were read as decimal ones.
    """
    for file in files:
        file.known, file.marks = as_text if isinstance(as_text, Mapping) else {}, marks
    types: dict[str, int | None] = {}
    examples: dict[str, pl.Series] = {}
    seen: set[str] = set()
    comma = all(file.separator == b"," for file in files)
    pieces = [(file, number) for file in files for number in range(len(file.starts))]
    for file, number in tell_reading("which columns are numbers", pieces, len(pieces)):
        known = {name: types[name] for name in seen}
        quick = file.read_plain(number, known)
        texts, _ = quick or file.read_texts(number)
        file.heights.append(texts.height)
        fits = _find_fitting(texts, known) if quick is None else {name for name in seen if types[name] in PLAIN}
        for series in texts:
            name = series.name
            if name in as_text or (name in seen and types[name] is None):
                types.setdefault(name, None)
                seen.add(name)
            elif name not in fits and series.null_count() < len(series):
                types[name] = narrow_type(series, types.get(name, 0), name in seen, decimal_comma=not comma)
                seen.add(name)
                if types[name] == EITHER and name not in examples:
                    examples[name] = series.filter(series.str.contains(",", literal=True).fill_null(False)).head(1)
        if quick is None:
            file.find_spellings(number, texts)
    said = _choose_decimals(types, examples, next((x.separator for x in files if x.separator != b","), b","), decimal)
    for file in files:
        file.types = {name: types.get(name) for name in file.names}
    return said


def _choose_decimals(
    types: dict[str, int | None], examples: dict[str, pl.Series], separator: bytes, decimal: Decimal
) -> list[str]:
    """Make decimal numbers or texts of the columns that may be either, and say which are decimal."""
    both = [name for name, place in types.items() if place == EITHER]
    if not both:
        return []
    commas, points = DECIMAL_COMMA in types.values(), 1 in types.values()
    as_comma, why = choose_decimal(decimal, separator.decode(), commas, points)
    types.update(dict.fromkeys(both, DECIMAL_COMMA if as_comma else None))
    return [tell_comma(name, examples[name], why) for name in both] if as_comma else []


def _find_fitting(texts: pl.DataFrame, types: dict[str, int | None]) -> set[str]:
    """The columns whose texts are still the numbers that they were, all found at once."""
    plain = {name: place for name, place in types.items() if place in PLAIN}
    if not plain or texts.is_empty():
        return set()
    counts = texts.select(express_plain(name, place).null_count() for name, place in plain.items()).row(0)
    return {name for name, n in zip(plain, counts, strict=True) if n == texts[name].null_count()}


__all__ = ["PARSERS", "CsvFile", "find_bounds", "find_types", "index_csv"]
