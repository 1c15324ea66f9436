"""Columns from their JSON records, each value of which is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import pairwise
from typing import get_args

from undertow.data.columns import OPTIONAL, CategoryColumn, Column, Kind, Scaling, ValueColumn
from undertow.data.dates import PARTS
from undertow.data.layouts import has_layout, read_layout
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


def read_column(value: object, where: str) -> Column:
    """A column from its JSON record; RunError where the record is damaged."""
    is_category = isinstance(value, dict) and value.get("kind") == "category"
    column = _read_category(value, where) if is_category else _read_value(value, where)
    if not column.feature_names:
        raise fail(where, "the column has no feature")
    return column


def _read_category(value: object, where: str) -> CategoryColumn:
    known = ("name", "kind", "categories", "flag", "rare", "codes")
    record = read_object(value, where, [*known, *_find_optional(value, ("absent",))])
    return CategoryColumn(
        read_text(record["name"], where),
        read_distinct_texts(record["categories"], f"{where}, categories"),
        read_flag(record["flag"], where),
        read_flag(record["rare"], where),
        read_flag(record["codes"], where),
        _read_absent(record, where),
    )


def _read_value(value: object, where: str) -> ValueColumn:
    names = [entry.name for entry in fields(ValueColumn) if entry.name not in ("layout", *OPTIONAL)]
    record = read_object(value, where, [*names, *has_layout(value), *_find_optional(value, OPTIONAL)])
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
        _read_range(record, where),
        _read_absent(record, where),
    )


def _find_optional(value: object, names: tuple[str, ...]) -> list[str]:
    """The entries of a record that those of older versions do not have."""
    return [name for name in names if isinstance(value, dict) and name in value]


def _read_range(record: Mapping[str, object], where: str) -> tuple[float, float] | None:
    if "range" not in record:
        return None
    ends = [read_number(entry, f"{where}, range") for entry in read_list(record["range"], f"{where}, range")]
    if len(ends) != 2 or ends[0] > ends[1]:
        raise fail(f"{where}, range", "expected the least and the largest value")
    return ends[0], ends[1]


def _read_absent(record: Mapping[str, object], where: str) -> float | None:
    if "absent" not in record:
        return None
    share = read_number(record["absent"], f"{where}, absent")
    if not 0 <= share < 1:
        raise fail(f"{where}, absent", "expected a share")
    return share


def _read_ascending(value: object, where: str) -> tuple[float, ...]:
    """Numbers, each larger than the one before."""
    numbers = tuple(read_number(entry, where) for entry in read_list(value, where))
    if any(not a < b for a, b in pairwise(numbers)):
        raise fail(where, "the numbers do not ascend")
    return numbers
