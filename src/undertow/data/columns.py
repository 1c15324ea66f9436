"""How one column of a table becomes columns of numbers: fitted once, applied to any table."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from undertow.data.dates import PARTS, Part, encode_parts, find_part_names
from undertow.data.late import pl
from undertow.data.layouts import LAYOUTS, convert_texts, has_layout, read_layout
from undertow.data.parse import mark_missing, parse_booleans, parse_dates, parse_numbers
from undertow.data.state import (
    fail,
    read_choice,
    read_distinct_texts,
    read_flag,
    read_list,
    read_number,
    read_object,
    read_text,
)
from undertow.data.wording import Origin, count, list_names, name_row, shorten
from undertow.errors import DataError

Kind = Literal["number", "boolean", "date", "duration"]
Scaling = Literal["standard", "robust", "quantile", "both", "none"]
ScalingOption = Literal[Scaling, "auto"]  # what a fit may be asked for
_MICROSECONDS_A_DAY = 86_400e6


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
            further than 10 from the mean, and a later one no further than twice as far as those.
        knots, levels: with "quantile" and "both", the value becomes the level at its place between the knots.
        parts: of a date, also features: "year" standardised by ``year``, others as sine and cosine.
        year: mean and standard deviation of the years.
        layout: how its texts are written, a name in ``LAYOUTS``; "" as programs write them.
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

    @property
    def feature_names(self) -> list[str]:
        """The names of the encoded columns."""
        parts = find_part_names(self.name, self.parts)
        ranks = [f"{self.name}, rank"] * (self.value and self.scaling == "both")
        return [self.name] * self.value + ranks + parts + [f"{self.name} is missing"] * self.flag

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> list[str]:
        """Write the features of ``series`` into ``out`` (m, n); returns sentences for a report."""
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
        n_missing = int(missing.sum())
        if n_missing and not self.flag:
            return [
                f"{self.name!r}: {count(n_missing, 'missing value')} where training had none; "
                f"filled with {show_value(self.fill, self.kind)}."
            ]
        return []

    @property
    def bounds(self) -> tuple[float, float]:
        """With "both", what values further away count as: twice as far from the mean as those of training.

        The largest of new rows often is a multiple of it where a column has far values, so that none may be too narrow
        a bound; without one, a single value could make any prediction.
        """
        return self.knots[0] + (self.knots[0] - self.mean), self.knots[-1] + (self.knots[-1] - self.mean)

    def scale_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values in the column's unit as the first feature has them."""
        if self.scaling == "quantile":
            return np.interp(values, self.knots, self.levels)
        if self.scaling == "both":
            values = np.clip(values, *self.bounds)
        return np.asarray((values - self.mean) / self.scale)

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        record = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return record if self.layout else {key: value for key, value in record.items() if key != "layout"}


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
    """

    name: str
    categories: tuple[str, ...]
    flag: bool
    rare: bool = False
    codes: bool = False

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

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> list[str]:
        """Write the features of ``series`` into ``out`` (m, n); returns sentences for a report."""
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
        as_what = "as rare" if self.codes or self.rare else "as no category"
        if self.rare:
            places = np.where(missing, -1, n)  # rare texts were joined: which of them are new is not known
        said = []
        unseen = texts.filter(pl.Series(places < 0) & texts.is_not_null())
        if len(unseen):
            examples = list_names(unseen.unique(maintain_order=True).to_list(), limit=3)
            said.append(
                f"{self.name!r}: {count(len(unseen), 'value')} not seen in training ({examples}); encoded {as_what}."
            )
        if missing.any() and not self.flag:
            said.append(
                f"{self.name!r}: {count(int(missing.sum()), 'missing value')} where training had none; "
                f"encoded {'as rare' if self.codes else 'as no category'}."
            )
        return said

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        return {
            "name": self.name, "kind": "category", "categories": list(self.categories), "flag": self.flag,
            "rare": self.rare, "codes": self.codes,
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


def read_column(value: object, where: str) -> Column:
    """A column from its JSON record; RunError where the record is damaged."""
    is_category = isinstance(value, dict) and value.get("kind") == "category"
    column = _read_category(value, where) if is_category else _read_value(value, where)
    if not column.feature_names:
        raise fail(where, "the column has no feature")
    return column


def _read_category(value: object, where: str) -> CategoryColumn:
    record = read_object(value, where, ("name", "kind", "categories", "flag", "rare", "codes"))
    return CategoryColumn(
        read_text(record["name"], where),
        read_distinct_texts(record["categories"], f"{where}, categories"),
        read_flag(record["flag"], where),
        read_flag(record["rare"], where),
        read_flag(record["codes"], where),
    )


def _read_value(value: object, where: str) -> ValueColumn:
    names = [entry.name for entry in fields(ValueColumn) if entry.name != "layout"]
    record = read_object(value, where, [*names, *has_layout(value)])
    knots, levels = (_read_ascending(record[key], f"{where}, {key}") for key in ("knots", "levels"))
    scaling = read_choice(record["scaling"], f"{where}, scaling", get_args(Scaling), "scaling")
    ranked = scaling in ("quantile", "both")
    if len(knots) != len(levels) or (ranked and len(knots) < 2) or (not ranked and knots):
        raise fail(where, "knots and levels do not fit the scaling")
    kind = read_choice(record["kind"], where, get_args(Kind), "kind of the column")
    parts = tuple(read_choice(part, f"{where}, parts", PARTS, "part") for part in read_list(record["parts"], where))
    if len(set(parts)) != len(parts) or (parts and kind != "date"):
        raise fail(where, "the parts do not fit the column")
    year = read_list(record["year"], where)
    if len(year) != 2:
        raise fail(f"{where}, year", "expected two numbers")
    return ValueColumn(
        read_text(record["name"], where),
        kind,
        read_number(record["fill"], f"{where}, fill"),
        read_number(record["mean"], f"{where}, mean"),
        read_number(record["scale"], f"{where}, scale", positive=True),
        read_flag(record["value"], f"{where}, value"),
        read_flag(record["flag"], f"{where}, flag"),
        scaling,
        knots,
        levels,
        parts,
        (read_number(year[0], f"{where}, year"), read_number(year[1], f"{where}, year", positive=True)),
        read_layout(record, kind, where),
    )


def _read_ascending(value: object, where: str) -> tuple[float, ...]:
    """Numbers, each larger than the one before."""
    numbers = tuple(read_number(entry, where) for entry in read_list(value, where))
    if any(not a < b for a, b in pairwise(numbers)):
        raise fail(where, "the numbers do not ascend")
    return numbers


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
        "Spread them over columns of numbers or texts, or remove the column."
    )


def show_value(value: float, kind: Kind) -> str:
    """A column's number as people write it."""
    if kind == "boolean":
        return str(bool(value)).lower()
    if kind == "date" and abs(value) < 10_000 * 365:
        return str(np.datetime64(0, "D") + np.timedelta64(math.floor(value), "D"))
    return f"{value:g}{' days' * (kind == 'duration')}"
