"""How one column of a table becomes columns of numbers: fitted once, applied to any table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl
from undertow.data.parse import parse_booleans, parse_dates, parse_numbers
from undertow.data.state import fail, read_distinct_texts, read_flag, read_number, read_object, read_text
from undertow.data.wording import Origin, count, list_names, name_row, shorten
from undertow.errors import DataError

Kind = Literal["number", "boolean", "date", "duration"]
_MICROSECONDS_A_DAY = 86_400e6
_IDENTIFIER = re.compile(r"(.*[ _-])?(id|uuid|guid)|unnamed_\d+", re.IGNORECASE)
_KINDS: dict[str, Kind] = {
    "Boolean": "boolean",
    "Date": "date",
    "Datetime": "date",
    "Duration": "duration",
    "Time": "duration",
}
_DECISIONS = {"date": "a date, encoded as days since 1970-01-01", "duration": "a time, encoded in days"}
_EXACT = 2.0**53  # above this float64 has not every whole number
_FEW_ROWS = 20  # below this, "nearly unique" says nothing
_NEARLY_UNIQUE = 0.9
_MOSTLY_NUMBERS = 0.95


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
    """

    name: str
    kind: Kind
    fill: float
    mean: float
    scale: float
    value: bool
    flag: bool

    @property
    def feature_names(self) -> list[str]:
        """The names of the encoded columns."""
        return [self.name] * self.value + [f"{self.name} is missing"] * self.flag

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> list[str]:
        """Write the features of ``series`` into ``out`` (m, n); returns sentences for a report."""
        numbers = read_numbers(series, self.kind, origin)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.fill, numbers)
        if self.value:
            with np.errstate(over="ignore"):
                out[:, 0] = (filled - self.mean) / self.scale
            far = np.flatnonzero(~np.isfinite(out[:, 0]))
            if far.size:
                at = int(far[0])
                raise DataError(
                    f"{name_row(at, origin)}: column {self.name!r} holds {filled[at]:g}, further "
                    f"from the training values (mean {self.mean:g}) than float32 reaches. Correct the value."
                )
        if self.flag:
            out[:, -1] = missing
        n_missing = int(missing.sum())
        if n_missing and not self.flag:
            return [
                f"{self.name!r}: {count(n_missing, 'missing value')} where training had none; "
                f"filled with {show_value(self.fill, self.kind)}."
            ]
        return []

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories: one feature a category, 1 where the row has it.

    Args:
        name: the table's column.
        categories: the texts seen in training, sorted.
        flag: whether "is missing" is a feature (where values were missing in training).
    """

    name: str
    categories: tuple[str, ...]
    flag: bool

    @property
    def feature_names(self) -> list[str]:
        """The names of the encoded columns."""
        return [f"{self.name}={text}" for text in self.categories] + [f"{self.name} is missing"] * self.flag

    def encode(self, series: pl.Series, out: NDArray[np.float32], origin: Origin | None) -> list[str]:
        """Write the features of ``series`` into ``out`` (m, n); returns sentences for a report."""
        texts = read_texts(series, origin)
        places = find_places(texts, self.categories)
        known = np.flatnonzero(places >= 0)
        out[known, places[known]] = 1.0
        missing = texts.is_null().to_numpy()
        if self.flag:
            out[missing, -1] = 1.0
        said = []
        unseen = texts.filter(pl.Series(places < 0) & texts.is_not_null())
        if len(unseen):
            examples = list_names(unseen.unique(maintain_order=True).to_list(), limit=3)
            said.append(
                f"{self.name!r}: {count(len(unseen), 'value')} not seen in training ({examples}); "
                "encoded as no category."
            )
        if missing.any() and not self.flag:
            said.append(
                f"{self.name!r}: {count(int(missing.sum()), 'missing value')} where training had none; "
                "encoded as no category."
            )
        return said

    def to_json_dict(self) -> dict[str, object]:
        """The column as JSON values."""
        return {
            "name": self.name, "kind": "category", "categories": list(self.categories), "flag": self.flag
        }  # fmt: skip


Column = ValueColumn | CategoryColumn


def read_column(value: object, where: str) -> Column:
    """A column from its JSON record; RunError where the record is damaged."""
    if isinstance(value, dict) and value.get("kind") == "category":
        record = read_object(value, where, ("name", "kind", "categories", "flag"))
        category = CategoryColumn(
            read_text(record["name"], where),
            read_distinct_texts(record["categories"], f"{where}, categories"),
            read_flag(record["flag"], where),
        )
        if not category.feature_names:
            raise fail(where, "the column has no feature")
        return category
    record = read_object(value, where, ("name", "kind", "fill", "mean", "scale", "value", "flag"))
    for kind in get_args(Kind):
        if record["kind"] == kind:
            break
    else:
        raise fail(where, "the kind of the column is unknown")
    column = ValueColumn(
        read_text(record["name"], where),
        kind,
        read_number(record["fill"], f"{where}, fill"),
        read_number(record["mean"], f"{where}, mean"),
        read_number(record["scale"], f"{where}, scale", positive=True),
        read_flag(record["value"], f"{where}, value"),
        read_flag(record["flag"], f"{where}, flag"),
    )
    if not column.feature_names:
        raise fail(where, "the column has no feature")
    return column


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


def read_numbers(series: pl.Series, kind: Kind, origin: Origin | None) -> NDArray[np.float64]:
    """A column as float64, NaN where missing; DataError at the first value that is none of its kind.

    Args:
        series: the table's column.
        kind: what it must hold; dates and durations become days.
        origin: where its rows came from, for the message.

    Returns:
        Float64 array (m,) without infinite numbers.
    """
    numbers = _convert(series, kind, origin)
    absent = numbers.is_null() & series.is_not_null()
    if absent.any():
        at = int(absent.arg_true()[0])
        raise DataError(
            f"{name_row(at, origin)}: column {series.name!r} holds {shorten(series[at])}, which is no {kind} "
            f"as in training ({count(int(absent.sum()), 'such value')}). Correct it, or leave it empty."
        )
    values = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
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


def fit_column(series: pl.Series, max_categories: int, origin: Origin | None) -> tuple[Column | None, list[str]]:
    """Decide how a training column is encoded.

    Args:
        series: the column, training rows only.
        max_categories: a text column with more distinct values is dropped.
        origin: where its rows came from, for messages.

    Returns:
        The fitted column, or None where it is dropped; and the sentences that say what was decided.
        Where it is dropped, the last sentence is the reason.
    """
    name, dtype = series.name, series.dtype
    n_present = int(series.fill_nan(None).count()) if dtype.is_float() else int(series.count())
    if n_present == 0:
        return None, [f"{name!r}: dropped, it holds no value."]
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _fit_categories(series, max_categories, origin)
    kind = _KINDS.get(dtype.base_type().__name__, "number")
    numbers = read_numbers(series, kind, origin)
    said = []
    if dtype.is_integer() and _counts_rows(numbers):
        if _IDENTIFIER.fullmatch(name):
            return None, [f"{name!r}: dropped, every row has another number: it identifies rows."]
        said.append(
            f"{name!r}: every row has another whole number, almost without gaps; kept as a number. "
            "Remove the column if it only counts the rows."
        )
    column, decisions = _fit_values(name, kind, numbers)
    return column, said + decisions


def _counts_rows(numbers: NDArray[np.float64]) -> bool:
    """Whether whole numbers without repetition fill most of their range, as a row number does."""
    if numbers.size < _FEW_ROWS or np.isnan(numbers).any() or np.unique(numbers).size < numbers.size:
        return False
    return bool(np.ptp(numbers) < 2 * numbers.size)


def _fit_values(name: str, kind: Kind, numbers: NDArray[np.float64]) -> tuple[ValueColumn | None, list[str]]:
    """Median, mean and standard deviation of a column's numbers, in float64."""
    missing = np.isnan(numbers)
    n_missing = int(missing.sum())
    present = numbers[~missing]
    constant = bool(present.min() == present.max())
    if constant and not n_missing:
        same = show_value(float(present[0]), kind)
        if kind == "number" and abs(present[0]) > _EXACT:
            return None, [f"{name!r}: dropped, float64 has no digits to tell its values apart (all are near {same})."]
        return None, [f"{name!r}: dropped, it holds the same value ({same}) in every row."]
    with np.errstate(over="ignore", invalid="ignore"):
        fill = float(np.median(present))
        if kind == "boolean":
            fill = float(fill > 0.5)
        filled = np.where(missing, fill, numbers)
        mean, scale = (0.0, 1.0) if kind == "boolean" else _find_mean_and_scale(filled)
    if not np.isfinite([fill, mean, scale]).all():
        raise DataError(f"column {name!r} holds numbers too large to average. Give it in a larger unit.")
    value = not constant and scale > 0
    if not value and not n_missing:
        return None, [f"{name!r}: dropped, its values differ by less than float64 can tell."]
    column = ValueColumn(name, kind, fill, mean, scale if scale > 0 else 1.0, value, n_missing > 0)
    said = [f"{name!r}: {_DECISIONS[kind]}."] if kind in _DECISIONS else []
    shown = show_value(fill, kind)
    if n_missing and value:
        said.append(f"{name!r}: {count(n_missing, 'missing value')} filled with {shown}, and flagged.")
    elif n_missing:
        said.append(f"{name!r}: the value is constant ({shown}), only whether it is missing is kept.")
    return column, said


def _find_mean_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation (divided by n); a deviation of rounding errors alone counts as 0.

    The distances are divided by the largest before they are squared, which neither over- nor underflows.
    """
    mean = float(np.mean(values))
    distances = values - mean
    largest = float(np.max(np.abs(distances)))
    if largest == 0 or not np.isfinite(largest):
        return mean, largest
    scale = largest * float(np.sqrt(np.mean(np.square(distances / largest))))
    rounding = 8 * np.finfo(np.float64).eps * abs(mean)
    return mean, scale if scale > rounding else 0.0


def _fit_categories(
    series: pl.Series, max_categories: int, origin: Origin | None
) -> tuple[CategoryColumn | None, list[str]]:
    """The distinct texts of a column, unless they identify rows."""
    name = series.name
    texts = read_texts(series, origin)
    present = texts.drop_nulls()
    categories = sorted(present.unique().to_list())
    flag = bool(texts.null_count())
    numbers = parse_numbers(texts)
    n_numbers = len(numbers) - numbers.null_count()
    too_many = len(categories) > max_categories
    said = []
    if 0 < n_numbers < len(present):
        at = int((numbers.is_null() & texts.is_not_null()).arg_true()[0])
        n_odd = len(present) - n_numbers
        odd = f"{n_odd} of {len(present)} values are no numbers, first {shorten(texts[at])}"
        if too_many and n_numbers >= _MOSTLY_NUMBERS * len(present):
            raise DataError(
                f"{name_row(at, origin)}: column {name!r} holds numbers, but {odd}. Correct them, leave them "
                "empty if unknown, or remove the column."
            )
        if 2 * n_numbers > len(present):
            said.append(f"{name!r}: {odd} ({name_row(at, origin)}); so all its values are categories.")
    distinct = f"{len(categories)} distinct texts in {count(len(present), 'value')}"
    if too_many:
        distinct += f" (more than {max_categories})"
        return None, [*said, f"{name!r}: dropped, {distinct}: like an identifier."]
    if len(present) >= _FEW_ROWS and len(categories) > _NEARLY_UNIQUE * len(present):
        return None, [*said, f"{name!r}: dropped, {distinct}: like an identifier."]
    if len(categories) == 1 and not flag:
        same = shorten(categories[0])
        return None, [*said, f"{name!r}: dropped, it holds the same value ({same}) in every row."]
    said.append(
        f"{name!r}: {count(len(categories), 'category', 'categories')}, one feature each"
        f"{', and one for missing' if flag else ''}."
    )
    return CategoryColumn(name, tuple(categories), flag), said
