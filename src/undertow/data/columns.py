"""How one column of a table becomes columns of numbers: fitted once, applied to any table."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_notes import ColumnNotes
from undertow.data.dates import Part, encode_parts, find_part_names
from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS, convert_texts
from undertow.data.parse import mark_missing, parse_booleans, parse_dates, parse_numbers
from undertow.data.wording import Origin, count, list_names, name_row, shorten
from undertow.errors import DataError

Kind = Literal["number", "boolean", "date", "duration"]
Scaling = Literal["standard", "robust", "quantile", "both", "none"]
ScalingOption = Literal[Scaling, "auto"]  # what a fit may be asked for
_MICROSECONDS_A_DAY = 86_400e6
CLIPPED = ("standard", "robust", "both")  # scalings of numbers that have bounds
OPTIONAL = ("range", "absent")  # entries of a record


@dataclass(frozen=True)
class ValueColumn:
    """A column of numbers, booleans or dates: one standardised value, one flag for missing, or both.

    Args:
        name: the table's column.
        kind: "number", "boolean" (0 or 1), "date" (days since 1970-01-01) or "duration" (days; a time
            of day counts from midnight).
        fill: replaces a missing value, in the column's unit.
        mean, scale: the value becomes (value − mean) / scale; in the column's unit.
        value: whether the value is a feature (no, where it was constant in training).
        flag: whether "is missing" is a feature (where values were missing in training).
        scaling: where mean and scale come from: "standard" (mean and standard deviation), "robust" (median
            and distance of the quartiles), "none" (0 and 1), or "quantile"; with "both" there are two features, the
            second that of "quantile", and the first that of "standard", with a scale by which no training value is
            further than 10 from the mean. With "standard", "robust" and "both", a later number beyond ``limits`` counts
            as these.
        knots, levels: with "quantile" and "both", the value becomes the level at its place between the knots.
        parts: of a date, also features: "year" standardised by ``year``, others as sine and cosine.
        year: mean and standard deviation of the years.
        layout: how its texts are written, a name in ``LAYOUTS``; "" as programs write them.
        range: the least and the largest value of training; None in runs of versions that did not keep it.
        absent: the share of training rows without a value; None as well.
    """

    name: str
    kind: Kind
    fill: float
    mean: float
    scale: float
    value: bool
    flag: bool
    scaling: Scaling = "standard"
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    parts: tuple[Part, ...] = ()
    year: tuple[float, float] = (0.0, 1.0)
    layout: str = ""
    range: tuple[float, float] | None = field(default=None, compare=False)
    absent: float | None = field(default=None, compare=False)

    @property
    def feature_names(self) -> list[str]:
        """The names of the encoded columns."""
        parts = find_part_names(self.name, self.parts)
        ranks = [f"{self.name}, rank"] * (self.value and self.scaling == "both")
        return [self.name] * self.value + ranks + parts + [f"{self.name} is missing"] * self.flag

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> ColumnNotes:
        """Write the features of ``series`` into ``out`` (m, n); returns what training did not have."""
        numbers = read_numbers(series, self.kind, origin, self.layout)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.fill, numbers)
        if self.value:
            with np.errstate(over="ignore"):
                out[:, 0] = self.scale_values(filled)
            far = np.flatnonzero(~np.isfinite(out[:, 0]))
            if far.size:
                at = int(far[0])
                raise DataError(
                    f"{name_row(at, origin)}: column {self.name!r} holds {filled[at]:g}, further "
                    f"from the training values (mean {self.mean:g}) than float32 reaches. Correct the value."
                )
            if self.scaling == "both":
                out[:, 1] = np.interp(filled, self.knots, self.levels)
        if self.parts:
            encode_parts(filled, self.parts, self.year, out[:, int(self.value) :])
        if self.flag:
            out[:, -1] = missing
        notes = ColumnNotes(len(series), int(missing.sum()))
        if self.seen is not None and self.value and self.kind != "boolean":
            notes.look_far(numbers, self.seen, self.limits, origin)
        return notes

    def tell(self, notes: ColumnNotes) -> list[str]:
        """Sentences about rows that `encode` has written."""
        said, filled = [], f"filled with {show_value(self.fill, self.kind)}"
        if notes.is_empty(self.absent, self.flag):
            said.append(f"{notes.tell_empty(self.name, self.absent)}; {filled}{', and flagged' * self.flag}.")
        elif notes.n_missing and not self.flag:
            said.append(f"{self.name!r}: {count(notes.n_missing, 'missing value')} where training had none; {filled}.")
        if notes.n_far and self.seen is not None:
            least, largest, value = (show_value(x, self.kind) for x in (*self.seen, notes.farthest[0]))
            low, high = self.seen if self.scaling == "quantile" else self.bounds
            counted = min(max(notes.farthest[0], low), high)
            as_what = f", counted as {show_value(counted, self.kind)}" if counted != notes.farthest[0] else ""
            said.append(
                f"{self.name!r}: {count(notes.n_far, 'value')} far outside of training's range, {least} to {largest}; "
                f"the farthest is {value} ({notes.place}){as_what}."
            )
        return said

    @property
    def seen(self) -> tuple[float, float] | None:
        """The range of training's values, where it is known."""
        return (self.knots[0], self.knots[-1]) if self.range is None and self.knots else self.range

    @property
    def limits(self) -> tuple[float, float]:
        """The values beyond which others are far outside: further from the range of training than that is wide.

        With "both", twice as far from the mean as those of training: the largest of new rows often is a multiple of it
        where a column has far values, so that none may be too narrow a limit.
        """
        if self.scaling == "both" and self.knots:
            return self.knots[0] + (self.knots[0] - self.mean), self.knots[-1] + (self.knots[-1] - self.mean)
        least, largest = self.seen or (-math.inf, math.inf)
        return least - (largest - least), largest + (largest - least)

    @property
    def bounds(self) -> tuple[float, float]:
        """What numbers further away count as; without bounds, a slip such as 58.9 for 5.89 makes any prediction."""
        clips = self.kind == "number" and self.scaling in CLIPPED and self.seen is not None
        return self.limits if clips else (-math.inf, math.inf)

    def scale_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in the column's unit as the first feature has them."""
        if self.scaling == "quantile":
            return np.interp(values, self.knots, self.levels)
        low, high = self.bounds
        if low > -math.inf or high < math.inf:
            values = np.clip(values, low, high)
        return np.asarray((values - self.mean) / self.scale)

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        left_out = {"layout"} if not self.layout else set()
        left_out |= {name for name in OPTIONAL if getattr(self, name) is None}
        values = {key: value for key, value in vars(self).items() if key not in left_out}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories: one feature a category, 1 where the row has it; or one feature of codes.

    Args:
        name: the table's column.
        categories: the texts seen in training, sorted; without those that are joined as rare.
        flag: whether "is missing" is a feature, or a code (where values were missing in training).
        rare: whether there is a category for texts that were rare in training, or not seen.
        codes: one feature that holds whole numbers, for an embedding: the place of the text in
            ``categories``, then one for rare or unseen texts, then one for missing where ``flag``.
        absent: the share of training rows without a value; None in runs of versions that did not keep it.
    """

    name: str
    categories: tuple[str, ...]
    flag: bool
    rare: bool = False
    codes: bool = False
    absent: float | None = field(default=None, compare=False)

    @property
    def feature_names(self) -> list[str]:
        """The names of the encoded columns."""
        if self.codes:
            return [f"{self.name}, code"]
        names = [f"{self.name}={text}" for text in self.categories]
        return names + [f"{self.name} is rare"] * self.rare + [f"{self.name} is missing"] * self.flag

    @property
    def cardinality(self) -> int:
        """How many codes there are: 0 … cardinality − 1."""
        return len(self.categories) + 1 + self.flag

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> ColumnNotes:
        """Write the features of ``series`` into ``out`` (m, n); returns what training did not have."""
        texts = read_texts(series, origin)
        places = find_places(texts, self.categories)
        missing = texts.is_null().to_numpy()
        n = len(self.categories)
        if self.codes:
            out[:, 0] = np.where(places >= 0, places, np.where(missing & self.flag, n + 1, n))
        else:
            places = np.where((places < 0) & ~missing & self.rare, n, places)
            known = np.flatnonzero(places >= 0)
            out[known, places[known]] = 1.0
            if self.flag:
                out[missing, -1] = 1.0
        if self.rare:
            places = np.where(missing, -1, n)  # rare texts were joined: which of them are new is not known
        unseen = texts.filter(pl.Series(places < 0) & texts.is_not_null())
        examples = unseen.unique(maintain_order=True).to_list()
        return ColumnNotes(len(series), int(missing.sum()), len(unseen), examples)

    def tell(self, notes: ColumnNotes) -> list[str]:
        """Sentences about rows that `encode` has written."""
        said = []
        if notes.n_unseen:
            as_what = "as rare" if self.codes or self.rare else "as no category"
            said.append(
                f"{self.name!r}: {count(notes.n_unseen, 'value')} not seen in training ({notes.name_unseen()}); "
                f"encoded {as_what}."
            )
        as_what = "as missing" if self.flag else "as rare" if self.codes else "as no category"
        if notes.is_empty(self.absent, self.flag):
            said.append(f"{notes.tell_empty(self.name, self.absent)}; encoded {as_what}.")
        elif notes.n_missing and not self.flag:
            said.append(
                f"{self.name!r}: {count(notes.n_missing, 'missing value')} where training had none; encoded {as_what}."
            )
        return said

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        return {
            "name": self.name, "kind": "category", "categories": list(self.categories), "flag": self.flag,
            "rare": self.rare, "codes": self.codes, **({} if self.absent is None else {"absent": self.absent}),
        }  # fmt: skip


@dataclass(frozen=True)
class CodeFeature:
    """A feature that holds codes for an embedding.

    Args:
        index: its column in the encoded matrix.
        name: of the table's column.
        cardinality: its values are the whole numbers 0 … cardinality − 1.
    """

    index: int
    name: str
    cardinality: int


Column = ValueColumn | CategoryColumn


def find_places(texts: pl.Series, categories: tuple[str, ...]) -> NDArray[np.int64]:
    """The place of each text in ``categories``; −1 where it is null or none of them."""
    if not categories:
        return np.full(len(texts), -1, dtype=np.int64)
    places = texts.replace_strict(
        pl.Series(categories, dtype=pl.String),
        pl.Series(range(len(categories)), dtype=pl.Int64),
        default=-1,
        return_dtype=pl.Int64,
    )
    return places.fill_null(-1).to_numpy().astype(np.int64)


def read_texts(series: pl.Series, origin: Origin | None) -> pl.Series:
    """A column as text, missing values null; DataError where its type has no text form."""
    dtype = series.dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise _unreadable(series, origin)
    return series.fill_nan(None).cast(pl.String) if dtype.is_float() else series.cast(pl.String)


def read_numbers(series: pl.Series, kind: Kind, origin: Origin | None, layout: str = "") -> NDArray[np.float64]:
    """A column as float64, NaN where missing; DataError at the first value that is none of its kind.

    Args:
        series: the table's column.
        kind: what it must hold; dates and durations become days.
        origin: where its rows came from, for the message.
        layout: how texts are written, a name in ``LAYOUTS``.

    Returns:
        Float64 array (m,) without infinite numbers.
    """
    if kind == "number" and series.dtype.is_numeric():
        return _check_infinite(series.cast(pl.Float64).to_numpy().astype(np.float64, copy=False), series, origin)
    if layout and kind == "date" and series.dtype.is_numeric():
        series = series.cast(pl.Int64, strict=False).cast(pl.String)  # 20230725
    if layout and series.dtype == pl.String:
        series = mark_missing(series)
        numbers = convert_texts(series, layout)
    else:
        numbers = _convert(series, kind, origin)
    absent = numbers.is_null() & series.is_not_null()
    if absent.any():
        at = int(absent.arg_true()[0])
        written = f" written as {LAYOUTS[layout].show()}" if layout else ""
        raise DataError(
            f"{name_row(at, origin)}: column {series.name!r} holds {shorten(series[at])}, which is no {kind}{written} "
            f"as in training ({count(int(absent.sum()), 'such value')}). Correct it, or leave it empty."
        )
    return _check_infinite(numbers.fill_null(float("nan")).to_numpy().astype(np.float64), series, origin)


def _check_infinite(values: NDArray[np.float64], series: pl.Series, origin: Origin | None) -> NDArray[np.float64]:
    """The numbers of a column; DataError where one is infinite."""
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        at = int(infinite[0])
        raise DataError(
            f"{name_row(at, origin)}: column {series.name!r} holds infinity, or a number too large for float64 "
            f"({shorten(series[at])}, {count(infinite.size, 'such value')}). Correct it, or leave it empty."
        )
    return values


def _convert(series: pl.Series, kind: Kind, origin: Origin | None) -> pl.Series:
    """The column as Float64, null where it is missing or cannot be read as ``kind``."""
    dtype = series.dtype
    nothing = pl.Series(series.name, [None], dtype=pl.Float64).new_from_index(0, len(series))
    if series.null_count() == len(series):
        return nothing
    if dtype in (pl.Categorical, pl.Enum):
        series, dtype = series.cast(pl.String), pl.String()
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise _unreadable(series, origin)
    if kind == "date":
        series = parse_dates(series) if dtype == pl.String else series
        if series.dtype in (pl.Date, pl.Datetime):
            return series.cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64) / _MICROSECONDS_A_DAY
        return nothing
    if kind == "duration":
        if series.dtype == pl.Duration:
            return series.dt.total_microseconds().cast(pl.Float64) / _MICROSECONDS_A_DAY
        if series.dtype == pl.Time:
            return series.cast(pl.Int64).cast(pl.Float64) / (_MICROSECONDS_A_DAY * 1e3)
        return nothing
    if dtype == pl.String:
        return parse_numbers(series) if kind == "number" else parse_booleans(series).cast(pl.Float64)
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        return nothing
    numbers = series.cast(pl.Float64)
    return numbers if kind == "number" else numbers.set(~numbers.is_in([0.0, 1.0]), None)


def _unreadable(series: pl.Series, origin: Origin | None) -> DataError:
    file = "" if origin is None else f"{origin.file}: "
    return DataError(
        f"{file}column {series.name!r} holds values of the type {series.dtype}, which cannot be encoded. "
        f"Spread them over columns of numbers or texts, or leave the column out with leave_out={series.name!r} "
        f"(--leave-out {shlex.quote(series.name)})."
    )


def show_value(value: float, kind: Kind) -> str:
    """A column's number as people write it."""
    if kind == "boolean":
        return str(bool(value)).lower()
    if kind == "date" and abs(value) < 10_000 * 365:
        return str(np.datetime64(0, "D") + np.timedelta64(math.floor(value), "D"))
    return f"{value:g}{' days' * (kind == 'duration')}"


_SCALINGS = {
    "standard": "Numbers, standardised",
    "robust": "Numbers, by median and distance of the quartiles",
    "quantile": "Numbers, as normal values of the same ranks",
    "both": "Numbers, standardised, and as normal values of the same ranks",
    "none": "Numbers, as they are",
}


def list_kinds(columns: list[Column]) -> list[str]:
    """One sentence for the numbers of each scaling and one for the booleans that are features."""
    said = []
    values = [c for c in columns if isinstance(c, ValueColumn) and c.value]
    for scaling, decision in _SCALINGS.items():
        names = [c.name for c in values if c.kind == "number" and c.scaling == scaling]
        if names:
            said.append(f"{decision}: {list_names(names)}.")
    names = [c.name for c in values if c.kind == "boolean"]
    return said + ([f"Booleans, 0 and 1: {list_names(names)}."] if names else [])
