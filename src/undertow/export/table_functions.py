"""Reading a table without Undertow: these functions are copied into exported sources as they stand.

They need NumPy and the standard library alone, and no name of this module but each other's.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np


def read_csv(path: Any, texts: Iterable[str], unnamed: Sequence[str] = (), target: str = "") -> list[dict[str, Any]]:
    """Read a CSV file: a dictionary a row, None where a value is missing; texts are columns that stay as they are.

    With unnamed, the names of all columns of training, the file may have no line of them; with one column fewer, it
    lacks the target.
    """
    with open_text(path) as file:
        header = re.sub(r'"[^"]*"', "", file.readline())
        separator = max(",;\t|", key=header.count)
        file.seek(0)
        lines = csv.reader(file, delimiter=separator)
        names = [name.strip() or f"unnamed_{number}" for number, name in enumerate(next(lines, []), 1)]
        if unnamed and not all(re.fullmatch(r"column_[1-9]\d*", name) for name in names):
            file.seek(0)
            without = [name for name in unnamed if name != target]
            names = without if len(names) == len(without) else [*unnamed]
        if len(set(names)) < len(names):
            twice = max(names, key=names.count)
            raise ValueError(f"{path}: two columns share the name {twice!r}. Give each its own.")
        rows = []
        for fields in lines:
            if not fields:
                continue
            if len(fields) != len(names):
                raise ValueError(f"{path}, line {lines.line_num}: {len(fields)} fields for {len(names)} columns.")
            rows.append(dict(zip(names, map(str.strip, fields), strict=True)))
    missing = {"", "NA", "N/A", "n/a", "#N/A", "<NA>", "<null>", "NaN", "nan", "NULL", "null", "None", "?", "#NV"}
    missing |= {"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "n.a.", "N.A.", "k.A.", "k. A."}
    commas = {*names} - {*texts} if separator != "," else set()  # columns where 3,14 is a number
    for row in rows:
        for name in commas:
            if re.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", row[name]):
                row[name] = row[name].replace(",", ".")
    known = texts if isinstance(texts, dict) else {}  # of a column, the texts that were categories in training
    return [
        {name: None if x in missing and x not in known.get(name, ()) else x for name, x in row.items()} for row in rows
    ]


def open_text(path: Any) -> Any:
    """Open a text file in UTF-8, or in UTF-16 where it begins with the mark of that, as spreadsheets write it."""
    with open(path, "rb") as file:
        marked = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return open(path, encoding="utf-16" if marked else "utf-8-sig", newline="")


def encode(rows: Sequence[dict[str, Any]], columns: Iterable[dict[str, Any]]) -> Any:
    """Make of rows the matrix that the network takes: float32, (m, n_features)."""
    if isinstance(rows, dict):
        raise ValueError("rows is a dictionary, but a list of them is wanted: [row] for one row.")
    features = []
    for column in columns:
        name = column["name"]
        for number, row in enumerate(rows, 1):
            if name not in row:
                raise ValueError(f"row {number} lacks the column {name!r}.")
        values = [row[name] for row in rows]
        if column["kind"] == "category":
            features += encode_category(values, column)
            continue
        numbers = np.array([read_value(value, column, i) for i, value in enumerate(values, 1)], dtype=np.float64)
        unknown = np.isnan(numbers)
        filled = np.where(unknown, column["fill"], numbers)
        if column["value"] and column["scaling"] == "quantile":
            features.append(np.interp(filled, column["knots"], column["levels"]))
        elif column["value"]:
            features.append((limit(filled, column) - column["mean"]) / column["scale"])
            if column["scaling"] == "both":
                features.append(np.interp(filled, column["knots"], column["levels"]))
        features += encode_parts(filled, column["parts"], column["year"])
        if column["flag"]:
            features.append(unknown)
    return np.array(features, dtype=np.float32).T.copy().reshape(len(rows), -1)


def limit(numbers: Any, column: dict[str, Any]) -> Any:
    """Numbers, those far outside of training's as the furthest that are not."""
    if column["kind"] != "number" or column["scaling"] == "none":
        return numbers
    if column["scaling"] == "both":
        low, high = (knot + (knot - column["mean"]) for knot in (column["knots"][0], column["knots"][-1]))
    elif "range" in column:
        least, largest = column["range"]
        low, high = least - (largest - least), largest + (largest - least)
    else:
        return numbers
    return np.clip(numbers, low, high)


def encode_category(values: Sequence[Any], column: dict[str, Any]) -> list[Any]:
    """A feature for each category, or one of their codes; unknown texts are rare, where there is such a category."""
    categories = list(column["categories"])
    empty = "" if "" in categories else None  # an empty text is missing, unless it is a category
    found = [write_text(value) or empty if value == "" else write_text(value) for value in values]
    found = [None if is_marked(value, column) else text for value, text in zip(values, found, strict=True)]
    missing = np.array([text is None for text in found], dtype=bool)
    place, n = {text: i for i, text in enumerate(categories)}, len(categories)
    places = np.array([-1 if text is None else place.get(text, n) for text in found], dtype=np.int64)
    if column["codes"]:
        return [np.where(missing, n + 1 if column["flag"] else n, places)]
    features = [places == i for i in range(n + 1 if column["rare"] else n)]
    return [*features, missing] if column["flag"] else features


def encode_parts(days: Any, parts: Iterable[str], year: Sequence[float]) -> list[Any]:
    """Parts of dates, given in days since 1970-01-01: the year standardised, the others as sine and cosine."""
    features = []
    whole = np.floor(days)
    dates = np.clip(whole, -4371952, 2932896).astype(np.int64).astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    for part in parts:
        if part == "year":
            features.append((years.astype(np.int64) + 1970 - year[0]) / year[1])
            continue
        if part == "month":
            share = dates.astype("datetime64[M]").astype(np.int64) % 12 / 12
        elif part == "weekday":  # 1970-01-01 was a Thursday
            share = (dates.astype(np.int64) + 3) % 7 / 7
        elif part == "hour":
            share = days - whole
        else:  # the day of the year
            share = (dates - years).astype(np.int64) / 365.25
        features += [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]
    return features


def write_text(value: Any) -> str | None:
    """A category as text; None where it is missing."""
    if value is None or value != value:
        return None
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def read_value(value: Any, column: dict[str, Any], row: int) -> float:
    """A number, truth value, date (days since 1970-01-01) or duration (days); NaN where it is missing."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()) or is_marked(value, column):
        return math.nan
    kind, layout = column["kind"], column.get("layout")
    try:
        if layout and kind == "date" and isinstance(value, int | float | np.number):
            value = f"{value:.0f}"  # 20230725
        if layout and isinstance(value, str):
            value = read_layout(value, layout)
        number = read_days(value) if kind in ("date", "duration") else read_number(value)
    except (TypeError, ValueError):
        number = math.inf
    if math.isinf(number) or (kind == "boolean" and number not in (0.0, 1.0)):
        raise ValueError(f"row {row}: column {column['name']!r} holds {value!r}, which is no {kind}.")
    return number


def is_marked(value: Any, column: dict[str, Any]) -> bool:
    """Whether a value stands for a missing one: the same text as a mark of the column, number or moment."""
    marks, text = column.get("missing", ()), isinstance(value, str)
    if isinstance(value, bool | np.bool_) or str(value).strip() in marks:
        return not isinstance(value, bool | np.bool_)
    if text and column["kind"] != "number":
        return False
    read = read_days if isinstance(value, date) else float
    for mark in marks:
        try:
            if read(value) == read(mark):
                return True
        except (TypeError, ValueError):
            continue
    return False


def read_layout(text: str, layout: str) -> Any:
    """A number or a moment that is written as in training: 1,234.50, $5.12, 25.07.2023; dates in ISO order too."""
    text = re.sub("[\u00a0\u202f]", " ", text).strip()
    if "%Y" in layout or "%y" in layout:
        if re.match(r"\d{4}-", text):
            return text
        found = datetime.strptime(text, layout)
        return found.replace(year=2069) if "%y" in layout and found.year == 1969 else found
    unit = "".join(re.findall(r"[^\d,.' ]", layout))
    thousands, decimal = re.findall(r"1(\D?)234(\D)5", layout)[0]
    text = text.replace("’", "'").replace("−", "-")
    number = re.sub(r"^([+-]) +", r"\1", text.replace(unit, "", 1).strip())
    grouped = rf"[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|" if thousands else ""
    if unit not in text or not re.fullmatch(rf"[+-]?(?:{grouped}\d+)(?:{re.escape(decimal)}\d*)?", number):
        raise ValueError(text)
    return number.replace(thousands, "").replace(decimal, ".")


def read_number(value: Any) -> float:
    """A number, or a truth value as 0 or 1."""
    if isinstance(value, str):
        text = value.strip().lower()
        return float({"true": 1, "false": 0}.get(text, text))
    return float(value)


def read_days(value: Any) -> float:
    """A date as days since 1970-01-01, a duration or a time of day in days."""
    day = timedelta(days=1)
    if isinstance(value, timedelta):
        return value / day
    if isinstance(value, time):
        return (datetime.combine(date.min, value) - datetime.min) / day
    if isinstance(value, str):
        if not re.match(r"\s*\d{4}-\d{2}-\d{2}", value):
            raise ValueError(value)
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return (value - datetime(1970, 1, 1)) / day


TABLE_FUNCTIONS = (
    open_text,
    read_csv,
    encode,
    limit,
    encode_category,
    encode_parts,
    write_text,
    read_value,
    is_marked,
    read_layout,
    read_number,
    read_days,
)
