"""The layout of a delimited text file: its separator, records and fields, found before it is parsed.

One vectorised pass over the bytes says on which line every record starts and how many fields it has,
so that ragged rows and open quotes are reported by line. The parser itself fills short rows silently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.data.wording import count
from undertow.errors import DataError

SEPARATORS = {b",": "comma", b";": "semicolon", b"\t": "tab", b"|": "bar"}
_NEWLINE, _QUOTE, _SPACE = 10, 34, 32
_SNIFFED_RECORDS = 1000
_PROSE_WORDS, _PROSE_BYTES = 4, 65536
_ALIKE, _MOST_ABOVE = 0.9, 50  # of a table that begins further below: rows with as many fields; lines above it
_SEPARATOR_LINE = re.compile(rb"\"?sep=.?\"?")
_EXPECTED = "Give a table: one line with the column names, then one line for each row."


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the records of a text stand. Blank lines are no records (except in a single-column file).

    Args:
        separator: one byte: comma, semicolon, tab or bar.
        starts, ends: int64 byte bounds of each record, the header first.
        lines: int64 1-based line on which each record starts.
        n_fields: int64 number of fields of each record.
    """

    separator: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    n_fields: NDArray[np.int64]


def find_layout(text: bytes, file: str, first_line: int = 1, known: tuple[bytes, int] | None = None) -> Layout:
    """The layout of a text whose lines end in a line feed.

    Args:
        text: the file's bytes, without byte-order mark.
        file: the name used in messages.
        first_line: the number of its first line in the file.
        known: separator and number of columns, where the text is a later piece of a file, without header.

    Returns:
        The layout; every record has as many fields as the header.

    Raises:
        DataError: an open or stray quotation mark, a ragged row, or no table at all.
    """
    if known is None:
        _check_first(text, file)
        _check_prose(text, file)
    buffer = np.frombuffer(text, dtype=np.uint8)
    newlines = np.flatnonzero(buffer == _NEWLINE)
    quotes = np.flatnonzero(buffer == _QUOTE)
    outside = None
    if quotes.size:
        _check_quotes(buffer, quotes, newlines, file, first_line)
        inside = np.zeros(buffer.size, dtype=np.uint8)
        inside[quotes] = 1
        outside = np.cumsum(inside, dtype=np.uint8) & 1 == 0
    breaks = newlines if outside is None else newlines[outside[newlines]]
    starts = np.concatenate(([0], breaks + 1))
    ends = np.concatenate((breaks, [buffer.size]))
    filled = np.flatnonzero(_has_content(buffer, starts, ends))
    if filled.size == 0 and known is None:
        raise DataError(f"{file}: the file is empty: it holds blank lines only. {_EXPECTED}")
    if known is None:
        starts, ends = starts[filled[0] : filled[-1] + 1], ends[filled[0] : filled[-1] + 1]
        filled -= filled[0]
        separator = _sniff_separator(buffer, outside, starts[filled], ends[filled])
    else:
        separator = known[0] if known[1] > 1 else None
    if separator is None:
        separator = b","
        filled = np.arange(starts.size)  # an empty line is a missing value of the only column
    starts, ends = starts[filled], ends[filled]
    lines = np.searchsorted(newlines, starts) + first_line
    if known is not None and known[1] == 1:
        n_fields = np.ones(starts.size, dtype=np.int64)
    else:
        n_fields = _count_fields(buffer, outside, separator, starts, ends)
    layout = Layout(separator, starts, ends, lines, n_fields)
    _check_ragged(layout, file, None if known is None else known[1], text)
    return layout


def _has_content(buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which records hold anything but spaces (a line of separators counts as content)."""
    filled = ends > starts
    indented = np.flatnonzero(filled)[buffer[starts[filled]] == _SPACE]
    for record in indented:
        filled[record] = bool(np.any(buffer[starts[record] : ends[record]] != _SPACE))
    return filled


def _count_fields(
    buffer: NDArray[np.uint8],
    outside: NDArray[np.bool_] | None,
    separator: bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The number of fields of each record: its separators outside quotes, plus one."""
    found = buffer[: ends[-1]] == separator[0]
    if outside is not None:
        found &= outside[: ends[-1]]
    places = np.flatnonzero(found)
    return np.searchsorted(places, ends) - np.searchsorted(places, starts) + 1


def _sniff_separator(
    buffer: NDArray[np.uint8],
    outside: NDArray[np.bool_] | None,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> bytes | None:
    """The separator that stands in the header and splits most of the first records alike."""
    best, best_score = None, (0.0, 0)
    for separator in SEPARATORS:
        n_fields = _count_fields(buffer, outside, separator, starts[:_SNIFFED_RECORDS], ends[:_SNIFFED_RECORDS])
        score = (float(np.mean(n_fields == n_fields[0])), int(n_fields[0]))
        if n_fields[0] > 1 and score > best_score:
            best, best_score = separator, score
    return best


def _check_quotes(
    buffer: NDArray[np.uint8], quotes: NDArray[np.int64], newlines: NDArray[np.int64], file: str, first_line: int
) -> None:
    """Every opening mark must start a field, every closing one end it; a mark inside is written twice."""
    edges = np.frombuffer(b"".join(SEPARATORS) + b'\n"', dtype=np.uint8)
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, buffer[opening - 1], _NEWLINE)
    after = np.append(buffer, np.uint8(_NEWLINE))[closing + 1]
    stray = np.concatenate((opening[~np.isin(before, edges)], closing[~np.isin(after, edges)]))
    if stray.size:
        line = int(np.searchsorted(newlines, stray.min())) + first_line
        raise DataError(
            f"{file}, row {line}: a quotation mark stands in the middle of a field. Put the whole field in "
            'quotes, with no space around them, and write a mark that belongs to the text twice ("").'
        )
    if quotes.size % 2:
        line = int(np.searchsorted(newlines, quotes[-1])) + first_line
        raise DataError(
            f"{file}, row {line}: a quotation mark opens here and is never closed. Close it, or write it "
            'twice ("") where it belongs to the text.'
        )


def _check_first(text: bytes, file: str) -> None:
    """DataError for ``sep=;``, which spreadsheets write, and which would be the names of two columns."""
    if _SEPARATOR_LINE.fullmatch(text.split(b"\n", 1)[0].strip()):
        raise DataError(
            f"{file}: row 1 tells spreadsheets the separator, and is no line of a table. The table seems to begin at "
            "row 2: remove the line above it."
        )


def _check_prose(text: bytes, file: str) -> None:
    """Text without a separator on its first line is a table of one column only where lines are short."""
    lines = [line for line in text[:_PROSE_BYTES].split(b"\n") if line.strip()][:50]
    if not lines or any(separator in lines[0] for separator in SEPARATORS):
        return
    words = [len(line.split()) for line in lines]
    if max(words[0], float(np.median(words))) > _PROSE_WORDS:
        raise DataError(
            f"{file}: this does not look like a table: no comma, semicolon, tab or bar (|) separates columns on "
            f"its first line. {_tell_start(text) or _EXPECTED}"
        )


def _tell_start(text: bytes) -> str:
    """Where a table begins below other lines (a title, comments, sep=;), and what to do; "" where it does not."""
    lines = [(number, line) for number, line in enumerate(text[:_PROSE_BYTES].split(b"\n"), 1) if line.strip()]
    for separator in SEPARATORS:
        counts = [line.count(separator) for _, line in lines]
        usual = max(set(counts), key=counts.count, default=0)
        first = counts.index(usual) if usual else 0
        below = counts[first:]
        if len(below) < 3 or below.count(usual) < _ALIKE * len(below) or max(counts[:first], default=0) >= usual:
            continue
        if 0 < first <= _MOST_ABOVE:
            above = "line above it" if lines[first][0] == 2 else f"{lines[first][0] - 1} lines above it"
            return f"The table seems to begin at row {lines[first][0]}: remove the {above}."
    return ""


def _check_ragged(layout: Layout, file: str, n_known: int | None, text: bytes) -> None:
    """Every record must have as many fields as the header."""
    n_columns = int(layout.n_fields[0]) if n_known is None else n_known
    ragged = np.flatnonzero(layout.n_fields != n_columns)
    if ragged.size == 0:
        return
    n_rows = layout.starts.size - 1
    name = SEPARATORS[layout.separator]
    if n_known is None and ragged.size * 2 > n_rows:
        raise DataError(
            f"{file}: this does not look like a table: row {int(layout.lines[0])}, split at each {name}, "
            f"has {count(n_columns, 'field')}, but {ragged.size} of {count(n_rows, 'row')} below it "
            f"have another number. {_tell_start(text) or _EXPECTED}"
        )
    first = int(ragged[0])
    found = int(layout.n_fields[first])
    remedy = (
        f"Quote the text that holds a {name}, or delete the surplus field."
        if found > n_columns
        else "Add the missing field; an empty one is a missing value."
    )
    more = f" ({ragged.size} rows differ in all)" if ragged.size > 1 else ""
    raise DataError(
        f"{file}, row {int(layout.lines[first])}: {count(found, 'field')}, but the header names "
        f"{n_columns} columns{more}. {remedy}"
    )
