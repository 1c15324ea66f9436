"""Parts of dates in ONNX, which has no calendar: the Gregorian one in floors and products of float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from undertow.data.dates import Part
from undertow.export.onnx_builder import Builder

_PERIODS = {"month": 12, "weekday": 7, "day of year": 365.25}
_BEFORE_1970 = 719_468  # days from 0000-03-01: years that begin in March have their leap day last
_FIRST_DAY, _LAST_DAY = -4_371_952, 2_932_896  # as the encoder


class _Numbers:
    """Float64 arithmetic on values of a graph."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def _do(self, kind: str, *values: str | float) -> str:
        named = [x if isinstance(x, str) else self.b.constant(x, np.float64) for x in values]
        return self.b.add(kind, *named, dtype=np.float64)

    def add(self, x: str, y: str | float) -> str:
        return self._do("Add", x, y)

    def subtract(self, x: str, y: str | float) -> str:
        return self._do("Sub", x, y)

    def times(self, x: str, y: str | float) -> str:
        return self._do("Mul", x, y)

    def floor(self, x: str) -> str:
        return self._do("Floor", x)

    def whole(self, x: str, y: float) -> str:
        """How often y goes into x, rounded down."""
        return self.floor(self._do("Div", x, y))

    def remainder(self, x: str, y: float) -> str:
        """What is left of x then."""
        return self.subtract(x, self.times(self.whole(x, y), y))

    def clip(self, x: str, low: float, high: float) -> str:
        return self._do("Min", self._do("Max", x, low), high)


def write_parts(b: Builder, days: str, parts: Sequence[Part], year: tuple[float, float]) -> list[str]:
    """Write the features of the parts of moments, as ``undertow.data.dates.encode_parts`` makes them.

    Args:
        b: what collects the graph.
        days: the value that holds days since 1970-01-01, float64 (m, 1), finite.
        parts: which parts.
        year: mean and standard deviation of the years.

    Returns:
        Values (m, 1), float32: the year standardised, sine and cosine of each other part.

    Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days, in floors of float64.
    """
    n = _Numbers(b)
    floor = n.floor(days)
    whole = n.clip(floor, _FIRST_DAY, _LAST_DAY)
    calendar = _write_calendar(n, whole) if {"year", "month", "day of year"} & set(parts) else {}
    features = []
    for part in parts:
        if part == "year":
            scaled = b.add(
                "Div", n.subtract(calendar["year"], year[0]), b.constant(year[1], np.float64), dtype=np.float64
            )
            features.append(b.cast(scaled, np.float32))
            continue
        if part == "hour":
            angle = n.times(n.subtract(days, floor), 2 * np.pi)
        else:
            place = n.remainder(n.add(whole, 3.0), 7.0) if part == "weekday" else calendar[part]
            angle = n.times(place, 2 * np.pi / _PERIODS[part])
        short = b.cast(angle, np.float32)
        features += [b.add("Sin", short), b.add("Cos", short)]
    return features


def _write_calendar(n: _Numbers, whole: str) -> dict[str, str]:
    """Year, month (0 … 11) and day of the year (from 0) of whole days since 1970-01-01."""
    since = n.add(whole, _BEFORE_1970)
    era = n.whole(since, 146_097)  # 400 years
    day = n.subtract(since, n.times(era, 146_097))
    leaps = n.subtract(n.whole(day, 1460), n.subtract(n.whole(day, 36_524), n.whole(day, 146_096)))
    year = n.whole(n.subtract(day, leaps), 365)  # 0 … 399, begins in March
    before = n.add(n.times(year, 365), n.subtract(n.whole(year, 4), n.whole(year, 100)))
    day = n.subtract(day, before)  # 0 is the first of March
    month = n.whole(n.add(n.times(day, 5), 2.0), 153)  # 0 is March
    late = n.whole(month, 10)  # 1 in January and February, which are of the next year
    of_year = n.add(n.times(era, 400), n.add(year, late))
    # February has 29 days where a multiple of 4, not of 100 unless of 400, is stepped over.
    steps = [n.subtract(n.whole(year, k), n.whole(n.subtract(year, 1.0), k)) for k in (4, 100, 400)]
    leap = n.add(n.subtract(steps[0], steps[1]), steps[2])
    early = n.add(n.add(day, 59), leap)  # from March on
    shift = n.add(leap, 365)  # days from the first of March, less those of a year: January and February
    return {
        "year": of_year,
        "month": n.subtract(n.add(month, 2.0), n.times(late, 12)),
        "day of year": n.subtract(early, n.times(late, shift)),
    }
