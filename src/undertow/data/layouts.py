"""Dates and numbers as people write them: 25.07.2023, 7/25/2023 2:30 PM, $1,234.50, 1 234,50, 50.0%."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_statistics import NumberStatistics
from undertow.data.dates import PartsSeen
from undertow.data.decimals import Decimal
from undertow.data.late import pl
from undertow.data.parse import mark_missing, parse_dates
from undertow.data.state import fail, read_choice

_UNITS = ("$", "€", "£", "¥", "₹", "USD", "EUR", "GBP", "CHF", "JPY", "INR", "CNY", "%")
# Thousands and decimals, the likelier first: of layouts that all fit, the first is taken.
_SEPARATORS = (("", "."), (",", "."), (" ", "."), ("'", "."), ("", ","), (".", ","), (" ", ","), ("'", ","))
_TIMES = {"": "", " %H:%M": r" \d{1,2}:\d{2}", " %H:%M:%S": r" \d{1,2}:\d{2}:\d{2}",
          " %I:%M %p": r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p": r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]"}  # fmt: skip
_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d",
         "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%y/%m/%d",
         "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y")  # fmt: skip
# As English has them: what the machine's own language says is no part of a file.
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_NAMED = {"%b": f"(?i:{'|'.join(month[:3] for month in _MONTHS)})", "%B": f"(?i:{'|'.join(_MONTHS)})"}
COMPACT = "%Y%m%d"  # whole numbers such as 20230725
COMPACT_RANGE = (18_000_000, 22_000_000)  # of such numbers, without the last
_LEAST_COMPACT = 6  # of which so many differ: one number of eight digits in 27 is a day by chance
_TRIED = 100  # values that are read first


@dataclass(frozen=True)
class TextLayout:
    """How the texts of a column are written.

    Args:
        name: as a report and a record have it: "$1,234.50", or "%d.%m.%Y".
        kind: what they are.
        pattern: what all of them match, without unit.
        unit: stands in each of them, before or after the number.
        thousands, decimal: the separators of numbers.
    """

    name: str
    kind: Literal["number", "date"]
    pattern: str
    unit: str = ""
    thousands: str = ""
    decimal: str = "."

    def parse(self, texts: pl.Series) -> pl.Series:
        """Float64 numbers or Datetimes; null where a text is written in another way."""
        cleaned = texts.str.replace_all("[\u00a0\u202f]", " ").str.strip_chars()
        if self.kind == "date":
            fits = cleaned.str.contains(self.pattern).fill_null(False)
            return cleaned.set(~fits, None).str.to_datetime(self.name, strict=False, time_unit="us")
        cleaned = cleaned.str.replace_all("[’]", "'").str.replace_all("−", "-", literal=True)
        if self.unit:
            with_unit = cleaned.str.contains(self.unit, literal=True).fill_null(False)
            cleaned = cleaned.set(~with_unit, None).str.replace(self.unit, "", literal=True).str.strip_chars()
            cleaned = cleaned.str.replace(r"^([+-]) +", "${1}")
        cleaned = cleaned.set(~cleaned.str.contains(self.pattern).fill_null(False), None)
        if self.thousands:
            cleaned = cleaned.str.replace_all(self.thousands, "", literal=True)
        return cleaned.str.replace(self.decimal, ".", literal=True).cast(pl.Float64, strict=False)

    def may_fit(self, text: str) -> bool:
        """Whether a text without outer spaces has the pattern: far quicker for one than ``parse``."""
        if self.unit not in text:
            return False
        number = text.replace(self.unit, "", 1).strip() if self.unit else text
        return re.match(self.pattern, re.sub("^([+-]) +", r"\1", number) if self.unit else number) is not None

    def show(self) -> str:
        """The layout as people read it."""
        if self.kind == "number":
            return self.name
        if self.name == COMPACT:
            return "20230725"
        words = {
            "%d": "day", "%m": "month", "%b": "Jan", "%B": "January", "%Y": "year", "%y": "year",
            "%H:%M:%S": "time", "%H:%M": "time", "%I:%M %p": "time", "%I:%M:%S %p": "time",
        }  # fmt: skip
        text = self.name
        for sign, word in sorted(words.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(sign, word)
        return f"{text}, years of two digits, 1970 to 2069" if "%y" in self.name else text


def clean_text(text: str) -> str:
    """A text as the patterns want it."""
    return re.sub("[\u00a0\u202f]", " ", text).strip().replace("’", "'").replace("−", "-")


def _list_layouts() -> dict[str, TextLayout]:
    found = []
    for unit in ("", *_UNITS):
        for thousands, decimal in _SEPARATORS:
            if not unit and not thousands and decimal == ".":
                continue  # a number as programs write it
            number = f"1{thousands}234{decimal}50"
            name = f"{number}%" if unit == "%" else f"{unit} {number}" if len(unit) > 1 else unit + number
            grouped = rf"[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|" if thousands else ""
            pattern = rf"^[+-]?(?:{grouped}\d+)(?:{re.escape(decimal)}\d*)?$"
            found.append(TextLayout(name, "number", pattern, unit, thousands, decimal))
    found.append(TextLayout(COMPACT, "date", r"^(?:18|19|20|21)\d{6}$"))
    for day in _DAYS:
        version = "%y" in day and "/" not in day and "%b" not in day  # 1.2.10 is rather one
        short = r"\d{2}" if version else r"\d{1,2}"
        parts = {"%d": short, "%m": short, "%Y": r"\d{4}", "%y": r"\d{2}", **_NAMED}
        pattern = re.escape(day).replace(r"\ ", " ")
        for sign, digits in parts.items():
            pattern = pattern.replace(re.escape(sign), digits)
        found += [TextLayout(day + time, "date", f"^{pattern}{more}$") for time, more in _TIMES.items()]
    return {layout.name: layout for layout in found}


LAYOUTS: Mapping[str, TextLayout] = _list_layouts()
_SIGNS = {"comma": ",", "point": "."}


def order_layouts(names: Sequence[str], decimal: Decimal) -> list[str]:
    """Layouts in the order in which they are taken: those with the decimal sign that was asked for first."""
    sign = _SIGNS.get(decimal)
    return sorted(names, key=lambda name: sign not in (None, LAYOUTS[name].decimal))


@dataclass(eq=False)
class LayoutsSeen:
    """Which layouts all texts of a column fit, and the statistics of what they say, part by part.

    Args:
        sample: the most numbers kept for quantiles; None keeps all.

    Example:
        >>> found = LayoutsSeen()
        >>> found.update(pl.Series(["$1,234.50", None, "$7"]))
        >>> layout, remarks = found.choose()
        >>> layout.name, found.numbers[layout.name].largest, remarks
        ('$1,234.50', 1234.5, [])
    """

    sample: int | None = None
    names: list[str] | None = None  # that still fit; None before the first text
    plain: bool = True  # whether all texts are numbers as programs write them
    numbers: dict[str, NumberStatistics] = field(default_factory=dict)
    parts: dict[str, PartsSeen] = field(default_factory=dict)
    take: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda numbers: numbers  # of what statistics are taken
    n_missing: int = 0  # before the first text

    def update(self, texts: pl.Series) -> None:
        """Add a part, missing texts null."""
        for name, values in self._read(texts).items():
            found = self.numbers.setdefault(name, NumberStatistics(self.sample, n_missing=self.n_missing))
            found.update(self.take(values))
            if LAYOUTS[name].kind == "date":
                self.parts.setdefault(name, PartsSeen.none()).update(values)
        if self.names is None:
            self.n_missing += len(texts)

    def check(self, texts: pl.Series) -> None:
        """Keep the layouts that these texts fit too, without any statistics of them."""
        self._read(texts)

    def are_days(self) -> bool:
        """Whether whole numbers, which are looked at for this layout alone, are days."""
        return self.names == [COMPACT] and np.unique(self.numbers[COMPACT].sample).size >= _LEAST_COMPACT

    def _read(self, texts: pl.Series) -> dict[str, NDArray[np.float64]]:
        """What the texts say by each of the layouts that fit."""
        present = texts.drop_nulls()
        if self.names == [] or (self.names is None and present.is_empty()):
            return {}
        self.plain = self.plain and bool(present.cast(pl.Float64, strict=False).null_count() == 0)
        tried = list(LAYOUTS) if self.names is None else self.names
        first = clean_text(str(present[0])) if len(present) else ""
        tried = [name for name in tried if not first or LAYOUTS[name].may_fit(first)]
        head = present.head(_TRIED)
        tried = [name for name in tried if not LAYOUTS[name].parse(head).null_count()]
        read = {}
        for name in tried:
            values = LAYOUTS[name].parse(texts)
            if values.null_count() == texts.null_count():
                read[name] = _to_numbers(values)
        self.names = list(read)
        return read

    def choose(self, decimal: Decimal = "auto") -> tuple[TextLayout | None, list[str]]:
        """The layout to read the column by, None where none fits; and a remark where others say something else.

        Args:
            decimal: "comma" or "point": of numbers that may have either, those with this one are chosen.
        """
        if self.plain or not self.names:
            return None, []
        sign = _SIGNS.get(decimal)
        chosen, *others = order_layouts(self.names, decimal)
        layout, found = LAYOUTS[chosen], self.numbers.get(chosen)
        differ = [name for name in others if _differ(found, self.numbers.get(name))]
        if not differ or found is None:
            return layout, []
        other = LAYOUTS[differ[0]]
        if layout.kind == "date":
            return layout, [f"they could as well be {other.show()}. Write them as 2023-07-25 if they are"]
        if layout.decimal == sign and other.decimal != sign:
            return layout, []
        name = "comma" if other.decimal == "," else "point"
        return layout, [f"they could as well be {other.show()}. Choose decimal={name!r} (--decimal {name}) if they are"]


def read_written(series: pl.Series, decimal: Decimal = "auto") -> pl.Series:
    """A column of texts as the numbers or moments that they are, where they all have one layout; others as they are."""
    if series.dtype != pl.String:
        return series
    found = LayoutsSeen(1)
    found.update(mark_missing(series))
    layout, _ = found.choose(decimal)
    return series if layout is None else layout.parse(mark_missing(series)).alias(series.name)


def convert_texts(texts: pl.Series, layout: str) -> pl.Series:
    """Numbers, or days since 1970-01-01, null where a text has another layout; dates may be in ISO order too."""
    values = LAYOUTS[layout].parse(texts)
    if LAYOUTS[layout].kind == "date":
        rest = texts.is_not_null() & values.is_null()
        if rest.any():
            iso = parse_dates(texts.set(~rest, None)).cast(pl.Datetime("us"), strict=False)
            values = values.zip_with(values.is_not_null(), iso)
    return pl.Series(texts.name, _to_numbers(values), nan_to_null=True)


def has_layout(record: object) -> list[str]:
    """The entry "layout" where a record has one: those of columns that programs wrote have none."""
    return ["layout"] if isinstance(record, dict) and "layout" in record else []


def read_layout(record: Mapping[str, object], kind: str, where: str) -> str:
    """The layout in a record; RunError where it is unknown, or of another kind."""
    if "layout" not in record:
        return ""
    name = read_choice(record["layout"], f"{where}, layout", list(LAYOUTS), "layout")
    if LAYOUTS[name].kind != kind:
        raise fail(where, "the layout does not fit the column")
    return name


def _to_numbers(values: pl.Series) -> NDArray[np.float64]:
    """Numbers as they are, moments as days since 1970-01-01; NaN where missing."""
    if values.dtype != pl.Float64:
        values = values.dt.epoch("us").cast(pl.Float64) / 86_400e6
    return values.fill_null(float("nan")).to_numpy().astype(np.float64)


def _differ(one: NumberStatistics | None, other: NumberStatistics | None) -> bool:
    if one is None or other is None:
        return False
    return (one.least, one.largest, one.mean) != (other.least, other.largest, other.mean)
