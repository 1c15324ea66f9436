"""Columns that are no features: weights of rows, and what decides which rows are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_statistics import NumberStatistics
from undertow.data.columns import Kind, read_numbers, read_texts, show_value
from undertow.data.decimals import Decimal
from undertow.data.folds import draw_of_text
from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS, LayoutsSeen
from undertow.data.parse import mark_missing, parse_dates
from undertow.data.wording import Origin, list_names, name_row, suggest_name
from undertow.errors import ArgumentError, DataError

LEFT_OUT: Final = "left out, as asked for"  # the reason
_THRESHOLD_SAMPLE = 1_000_000


@dataclass(frozen=True)
class Roles:
    """Which columns have a part of their own, by name.

    Args:
        target: to predict.
        weights: how much each row counts, numbers of 0 or more.
        groups: rows of one group are never on both sides of a split.
        time: the rows held out are the last ones by it.
        leave_out: columns that are no features because somebody says so, by name; one, or several.
    """

    target: str
    weights: str | None = None
    groups: str | None = None
    time: str | None = None
    leave_out: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        named = [self.leave_out] if isinstance(self.leave_out, str) else list(self.leave_out)
        for name in named:
            if not isinstance(name, str):
                raise ArgumentError(f"leave_out names {name!r}. Give names of columns.")
            if name == self.target:
                raise ArgumentError(f"leave_out names {name!r}, the column to predict. Name other columns.")
        object.__setattr__(self, "leave_out", tuple(named))
        if self.groups is not None and self.time is not None:
            raise ArgumentError("give groups or time, not both: each decides alone which rows are held out.")
        for role in ("weights", "groups", "time"):
            if getattr(self, role) == self.target:
                raise ArgumentError(f"{role} is {self.target!r}, the column to predict. Name another column.")

    def check(self, columns: list[str]) -> None:
        """DataError where a column is not there."""
        for role in ("weights", "groups", "time"):
            name = getattr(self, role)
            self._check_there(name, role, columns)
        for name in self.leave_out:
            self._check_there(name, "leave_out", columns)

    def _check_there(self, name: str | None, role: str, columns: list[str]) -> None:
        if name is not None and name not in columns:
            found = suggest_name(name, columns)
            raise DataError(f"there is no column {found} for {role}. The columns are {list_names(columns)}.")

    @property
    def left_out(self) -> dict[str, str]:
        """The columns that are no features, each with the reason."""
        found = dict.fromkeys(self.leave_out, LEFT_OUT)
        if self.weights is not None:
            found[self.weights] = "the weights of the rows, no feature"
        if self.groups is not None:
            found[self.groups] = "tells which rows belong together, no feature"
        return found


def read_weight_column(series: pl.Series, origin: Origin | None) -> NDArray[np.float32]:
    """Weights, float32 (m,); DataError at the first that is missing or below 0."""
    numbers = read_numbers(series, "number", origin)
    bad = np.flatnonzero(~(numbers >= 0))
    if bad.size:
        at = int(bad[0])
        found = "missing" if np.isnan(numbers[at]) else f"{numbers[at]:g}"
        raise DataError(
            f"{name_row(at, origin)}: weight {series.name!r} is {found}. Weights are numbers of 0 or more: correct it."
        )
    return numbers.astype(np.float32)


def read_group_column(series: pl.Series, origin: Origin | None) -> pl.Series:
    """Groups as texts; DataError at the first that is missing."""
    texts = read_texts(series, origin)
    missing = texts.is_null().arg_true()
    if len(missing):
        raise DataError(
            f"{name_row(int(missing[0]), origin)}: group {series.name!r} is missing. Give each row a group of its own."
        )
    return texts


def read_time_column(series: pl.Series, origin: Origin | None, layout: str = "") -> NDArray[np.float64]:
    """Times as numbers; DataError where one is missing or the column holds none.

    Args:
        series: the column.
        origin: where its rows came from, for messages.
        layout: how its texts are written, a name in ``LAYOUTS``.
    """
    kind: Kind = "number" if series.dtype.is_numeric() else LAYOUTS[layout].kind if layout else "date"
    times = read_numbers(series, kind, origin, layout)
    _check_present(np.isnan(times), series.name, origin)
    return times


def _check_present(missing: NDArray[np.bool_], name: str, origin: Origin | None) -> None:
    """DataError at the first time that is missing."""
    if missing.any():
        at = int(np.argmax(missing))
        raise DataError(f"{name_row(at, origin)}: time {name!r} is missing. Fill it, or drop the row.")


class HoldOut(Protocol):
    """Which rows of a table in pieces are held out."""

    def mask(self, first: int, frame: pl.DataFrame, origin: Origin | None) -> NDArray[np.bool_]:
        """The rows held out of a piece, of which the first row is the ``first`` of the table."""

    def say(self, fraction: float) -> str:
        """How the rows were chosen."""


@dataclass(frozen=True)
class RandomRows:
    """Rows at random: what is drawn for a row follows from the seed and its number in the table."""

    fraction: float
    seed: int

    def mask(self, first: int, frame: pl.DataFrame, origin: Origin | None) -> NDArray[np.bool_]:
        """The rows held out of a piece."""
        generator = np.random.PCG64(self.seed)
        generator.advance(first)  # one draw a row
        return np.random.Generator(generator).random(frame.height) < self.fraction

    def say(self, fraction: float) -> str:
        """How the rows were chosen."""
        return f"Validation: {fraction:.1%} of the rows, at random."


@dataclass(frozen=True)
class RandomGroups:
    """Groups at random: what is drawn for a group follows from the seed and its name."""

    column: str
    fraction: float
    seed: int

    def mask(self, first: int, frame: pl.DataFrame, origin: Origin | None) -> NDArray[np.bool_]:
        """The rows held out of a piece."""
        texts = read_group_column(frame[self.column], origin)
        held = [name for name in texts.unique() if draw_of_text(name, self.seed) < self.fraction]
        return texts.is_in(held).to_numpy().astype(bool)

    def say(self, fraction: float) -> str:
        """How the rows were chosen."""
        return f"Validation: {fraction:.1%} of the rows, whole groups of {self.column!r}."


@dataclass(frozen=True)
class LastRows:
    """The rows after a moment."""

    column: str
    after: float
    is_date: bool
    layout: str = ""

    def mask(self, first: int, frame: pl.DataFrame, origin: Origin | None) -> NDArray[np.bool_]:
        """The rows held out of a piece."""
        return read_time_column(frame[self.column], origin, self.layout) > self.after

    def say(self, fraction: float) -> str:
        """How the rows were chosen."""
        moment = show_value(self.after, "date" if self.is_date else "number")
        return f"Validation: the last {fraction:.1%} of the rows by {self.column!r}, those after {moment}."


class TimeSample:
    """A sample of the times of a table, to find after which moment rows are held out.

    Args:
        column: of the times: numbers, dates, or texts that are either, all written in one way.
        decimal: see ``LayoutsSeen.choose``.
    """

    def __init__(self, column: str, decimal: Decimal = "auto") -> None:
        self.column, self.decimal, self.is_date = column, decimal, False
        self.found = NumberStatistics(_THRESHOLD_SAMPLE)
        self.layouts = LayoutsSeen(_THRESHOLD_SAMPLE)
        self.odd: tuple[pl.Series, Origin | None] | None = (
            None  # the first piece of texts that are no dates in ISO order
        )

    def update(self, series: pl.Series, origin: Origin | None) -> None:
        """Add a piece."""
        self.is_date = not series.dtype.is_numeric()
        if series.dtype == pl.String:
            texts = mark_missing(series)
            _check_present(texts.is_null().to_numpy(), series.name, origin)
            self.layouts.update(texts)
            if self.odd is None and parse_dates(texts).null_count():
                self.odd = series, origin
            if self.odd is not None:
                return
        self.found.update(read_time_column(series, origin))

    def hold_out(self, fraction: float) -> LastRows:
        """The rows after the moment that leaves the share nearest to ``fraction``."""
        layout = ""
        if self.odd is not None:
            chosen, _ = self.layouts.choose(self.decimal)
            if chosen is None:
                read_time_column(*self.odd)  # which says what is wrong
                raise DataError(f"time {self.column!r} holds texts of several layouts. Write all of them in one way.")
            layout, self.found, self.is_date = chosen.name, self.layouts.numbers[chosen.name], chosen.kind == "date"
        times, counts = np.unique(self.found.sample, return_counts=True)
        if times.size < 2:
            raise DataError(f"time {self.column!r} holds one moment only, so no row is later. Name another column.")
        after = np.cumsum(counts[::-1])[::-1][1:]
        best = int(np.argmin(np.abs(after - fraction * counts.sum())))
        return LastRows(self.column, float(times[best]), self.is_date, layout)
