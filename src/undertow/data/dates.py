"""Dates as features: the time that went by, and where in the year, the week and the day a moment lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Part = Literal["year", "month", "weekday", "day of year", "hour"]
PARTS: tuple[Part, ...] = get_args(Part)
_PERIODS: dict[Part, float] = {"month": 12, "weekday": 7, "day of year": 365.25, "hour": 24}
_CYCLES: dict[Part, float] = {"weekday": 7, "day of year": 365.25, "hour": 1}  # days; the month is on the year's circle
_LEAST_CYCLES = 2  # of one alone, a cycle and a trend cannot be told apart
_WEEKDAY_OF_DAY_0 = 3  # 1970-01-01 was a Thursday; Monday is 0
_FIRST_DAY, _LAST_DAY = -4_371_952, 2_932_896  # the years −9999 … 9999, about


def split_days(days: NDArray[np.float64], part: Part) -> NDArray[np.float64]:
    """A part of moments.

    Args:
        days: since 1970-01-01, with fractions; finite.
        part: "year", "month" (0 … 11), "weekday" (Monday is 0), "day of year" (from 0), "hour" (with
            fractions).

    Returns:
        Float64 array as long as ``days``.

    Source: derived here.

    Example:
        >>> split_days(np.array([0.5, 31.0]), "month"), split_days(np.array([0.5, 31.0]), "hour")
        (array([0., 1.]), array([12.,  0.]))
    """
    whole = np.clip(np.floor(days), _FIRST_DAY, _LAST_DAY)
    dates = whole.astype(np.int64).astype("datetime64[D]")
    if part == "year":
        return dates.astype("datetime64[Y]").astype(np.int64).astype(np.float64) + 1970
    if part == "month":
        return (dates.astype("datetime64[M]").astype(np.int64) % 12).astype(np.float64)
    if part == "weekday":
        return np.mod(whole + _WEEKDAY_OF_DAY_0, 7)
    if part == "hour":
        return (days - np.floor(days)) * 24
    return (dates - dates.astype("datetime64[Y]")).astype(np.int64).astype(np.float64)


def choose_cycles(varied: tuple[Part, ...], days: float) -> tuple[Part, ...]:
    """The cyclic parts of which moments hold at least two whole cycles.

    Args:
        varied: the parts that are not always the same.
        days: from the first moment to the last.

    Returns:
        Those of weekday, day of year and hour.

    Source: derived here.

    Example:
        >>> choose_cycles(("month", "weekday", "day of year", "hour"), 60.0)
        ('weekday', 'hour')
    """
    return tuple(part for part in varied if part in _CYCLES and days >= _LEAST_CYCLES * _CYCLES[part])


def find_part_names(name: str, parts: tuple[Part, ...]) -> list[str]:
    """The names of the features of the parts of a date column."""
    names = []
    for part in parts:
        names += [f"{name}: year"] if part == "year" else [f"{name}: {part}, sine", f"{name}: {part}, cosine"]
    return names


def encode_parts(
    days: NDArray[np.float64], parts: tuple[Part, ...], year: tuple[float, float], out: NDArray[np.float32]
) -> None:
    """Write the features of parts into ``out`` (m, n): the year standardised, the others as sine and cosine."""
    place = 0
    for part in parts:
        values = split_days(days, part)
        if part == "year":
            out[:, place] = (values - year[0]) / year[1]
            place += 1
            continue
        angles = values * (2 * np.pi / _PERIODS[part])
        out[:, place], out[:, place + 1] = np.sin(angles), np.cos(angles)
        place += 2


@dataclass(eq=False)
class PartsSeen:
    """Which years, months, … a column holds: a part that is always the same is no feature."""

    first: dict[Part, float]
    varied: set[Part]
    years: tuple[int, float, float]  # count, sum, sum of squares, from 1970

    @staticmethod
    def none() -> PartsSeen:
        """Nothing seen yet."""
        return PartsSeen({}, set(), (0, 0.0, 0.0))

    def update(self, days: NDArray[np.float64]) -> None:
        """Add moments; NaN counts as missing."""
        present = days[~np.isnan(days)]
        if not present.size:
            return
        for part in PARTS:
            values = split_days(present, part)
            first = self.first.setdefault(part, float(values[0]))
            if bool((values != first).any()):
                self.varied.add(part)
            if part == "year":
                since = values - 1970  # whole numbers: their sums are exact
                n, total, squares = self.years
                self.years = n + since.size, total + float(since.sum()), squares + float((since * since).sum())

    def describe_years(self) -> tuple[float, float]:
        """Mean and standard deviation of the years."""
        n, total, squares = self.years
        mean = total / max(n, 1)
        return 1970 + mean, float(np.sqrt(max(squares / max(n, 1) - mean * mean, 0.0))) or 1.0
