"""The first sheet of a workbook, as the text that it is when it is exported."""

from __future__ import annotations

import csv
import datetime
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from undertow.data.memory import check_fits
from undertow.data.wording import list_names
from undertow.errors import DataError

_ROWS: Final = 4096  # that are written at once


def write_sheet(path: Path, remarks: list[str]) -> Iterator[bytes]:
    r"""Write the first sheet that has cells as CSV: rows and columns where they stand in it, dates as ISO has them.

    Args:
        path: a workbook, such as Excel's.
        remarks: a sentence is appended where there are other sheets.

    Returns:
        The text in pieces; the sheet itself is in memory as a whole.

    Raises:
        DataError: python-calamine is not there; ``sales.xlsx: the workbook cannot be read: …``

    Source: python-calamine's documentation, ``CalamineSheet.iter_rows``.
    """
    try:
        import python_calamine
    except ImportError:
        raise DataError(
            f"{path.name}: to read workbooks takes python-calamine. Install it: pip install python-calamine; or "
            "export the sheet as CSV."
        ) from None
    _check_unpacked(path)
    try:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        sheets = [book.get_sheet_by_index(number) for number in range(len(book.sheet_names))]
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        raise DataError(f"{path.name}: the workbook cannot be read: {reason}. Export the sheet as CSV.") from None
    filled = [sheet for sheet in sheets if sheet.start is not None]
    if not filled:
        raise DataError(f"{path.name}: the workbook is empty. Give a table with column names and rows.")
    if filled[1:]:
        others = list_names([sheet.name for sheet in filled[1:]])
        remarks.append(f"{path.name}: the sheet {filled[0].name!r}; left aside: {others}.")
    _, left = filled[0].start or (0, 0)
    yield from _write_rows(filled[0], left)


def _write_rows(sheet: Any, left: int) -> Iterator[bytes]:
    """Text of the rows of a sheet from a column on, empty ones too, so that the numbers of lines are those of rows."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    rows = [row[left:] for row in sheet.to_python(skip_empty_area=False)]
    timed = {place for row in rows for place, cell in enumerate(row) if isinstance(cell, datetime.datetime)}
    for number, row in enumerate(rows, 1):
        cells = [_write_cell(cell, place in timed) for place, cell in enumerate(row)]
        if any(cells):
            writer.writerow(cells)
        else:
            buffer.write("\n")
        if number % _ROWS == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _write_cell(cell: Any, timed: bool) -> str:
    """A cell as text that reads as the same value; a date among times of day is midnight."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.date) and timed:
        return cell.isoformat(sep=" ") if isinstance(cell, datetime.datetime) else f"{cell.isoformat()} 00:00:00"
    if isinstance(cell, datetime.timedelta):
        return repr(cell.total_seconds())
    return str(cell)


def _check_unpacked(path: Path) -> None:
    """DataError where a workbook unpacks to more than memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile):  # an old one, or none: reading says it
        return
    check_fits(f"{path.name}, unpacked,", n_bytes, "Export the sheet as CSV, which is read in pieces.")
