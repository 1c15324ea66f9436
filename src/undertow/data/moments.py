"""Days and moments that no calendar of ours has: files can hold years that Python and text do not."""

from __future__ import annotations

from typing import Final

from undertow.data.late import pl
from undertow.errors import DataError

_FIRST, _LAST = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31 in days since 1970-01-01
_A_DAY: Final = {"ms": 86_400_000, "us": 86_400_000_000}  # nanoseconds in 64 bits reach from 1677 to 2262


def check_moments(frame: pl.DataFrame, file: str, first: int = 0) -> pl.DataFrame:
    """A table without days outside of the years 1 to 9999; DataError at the first other one.

    Args:
        frame: the table.
        file: its name, for messages.
        first: rows of the file before it.

    Raises:
        DataError: ``a.parquet, row 3: column 'at' holds a day outside of the years 1 to 9999. …``

    Source: derived here.

    Example:
        >>> check_moments(pl.DataFrame({"at": pl.Series([0, 10**7], dtype=pl.Int32).cast(pl.Date)}), "a.parquet")
        Traceback (most recent call last):
        undertow.errors.DataError: a.parquet, row 2: column 'at' holds a day outside of the years 1 to 9999. Correct ...
    """
    for series in frame:
        dtype = series.dtype
        if not isinstance(dtype, pl.Date | pl.Datetime) or getattr(dtype, "time_unit", "") == "ns":
            continue
        a_day = _A_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
        numbers = series.to_physical()
        bad = (numbers < _FIRST * a_day) | (numbers >= (_LAST + 1) * a_day)
        if bad.any():
            raise DataError(
                f"{file}, row {first + int(bad.arg_true()[0]) + 1}: column {series.name!r} holds a day outside of the "
                "years 1 to 9999. Correct it, or leave it empty if it is unknown."
            )
    return frame
