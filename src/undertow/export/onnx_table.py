"""The table encoder in ONNX: one input a column, numbers and texts as they are, and class labels at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.data import ClassTarget, TabularEncoder
from undertow.data.columns import CategoryColumn, Column, Kind, ValueColumn
from undertow.data.late import pl
from undertow.data.missing import read_moments, read_numbers
from undertow.export.onnx_builder import ML_DOMAIN, Builder
from undertow.export.onnx_dates import write_parts


def add_inputs(b: Builder, encoder: TabularEncoder) -> list[Any]:
    """Declare an input for each column: float64 (m, 1), or texts (m, 1), by the column's name.

    Args:
        b: what collects the graph.
        encoder: the table encoder.

    Returns:
        ONNX's descriptions of the inputs.
    """
    described = []
    for column in encoder.columns:
        texts = isinstance(column, CategoryColumn)
        b.dtypes[column.name] = np.dtype(object if texts else np.float64)
        kind = b.type_of(b.dtypes[column.name])
        described.append(b.onnx.helper.make_tensor_value_info(column.name, kind, ["m", 1], _describe(column)))
    return described


def _describe(column: Column) -> str:
    if isinstance(column, CategoryColumn):
        return "text; '' is missing"
    unit = {"boolean": "0 or 1", "date": "days since 1970-01-01", "duration": "days"}.get(column.kind, "number")
    return f"{unit}; NaN is missing"


def write_encoder(b: Builder, encoder: TabularEncoder, dtype: np.dtype[Any]) -> str:
    """Write what makes of the columns the matrix that the network takes.

    Args:
        b: what collects the graph; its inputs are declared.
        encoder: the table encoder.
        dtype: of the network's input.

    Returns:
        The value that is the matrix (m, n_features).
    """
    parts = []
    for column in encoder.columns:
        if isinstance(column, CategoryColumn):
            parts += _write_categories(b, column, encoder.missing)
        else:
            parts += _write_number(b, column, encoder.missing)
    table = b.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return b.cast(table, dtype)


def _write_interpolation(b: Builder, values: str, column: ValueColumn) -> str:
    """np.interp: the first level, and of each piece between knots its rise times the share that lies below."""
    knots, levels = np.array(column.knots), np.array(column.levels)
    begin, length, rise = (b.constant(x, np.float64) for x in (knots[None, :-1], np.diff(knots)[None], np.diff(levels)))
    zero, one = b.constant(0.0, np.float64), b.constant(1.0, np.float64)
    shares = b.add("Div", b.add("Sub", values, begin), length)
    risen = b.add(
        "MatMul", b.add("Max", b.add("Min", shares, one), zero), b.add("Unsqueeze", rise, b.constant([1], np.int64))
    )
    return b.add("Add", risen, b.constant(levels[0], np.float64))


def _write_number(b: Builder, column: ValueColumn, marks: Sequence[str]) -> list[str]:
    """(value − mean) / scale in float64, the median where it is missing; parts of dates; and whether it is missing."""
    missing = b.add("IsNaN", column.name, dtype=bool)
    for mark in _read_marks(marks, column.kind):
        missing = b.add(
            "Or", missing, b.add("Equal", column.name, b.constant(mark, np.float64), dtype=bool), dtype=bool
        )
    fill, mean, scale = (b.constant(x, np.float64) for x in (column.fill, column.mean, column.scale))
    filled = b.add("Where", missing, fill, column.name, dtype=np.float64) if column.value or column.parts else ""
    parts = []
    if column.value:
        if column.scaling != "quantile":
            near = filled
            if np.isfinite(column.bounds).all():
                low, high = (b.constant(x, np.float64) for x in column.bounds)
                near = b.add("Max", b.add("Min", filled, high), low)
            parts.append(b.cast(b.add("Div", b.add("Sub", near, mean), scale), np.float32))
        if column.scaling in ("quantile", "both"):
            parts.append(b.cast(_write_interpolation(b, filled, column), np.float32))
    if column.parts:
        parts += write_parts(b, filled, column.parts, column.year)
    return [*parts, b.cast(missing, np.float32)] if column.flag else parts


def _read_marks(marks: Sequence[str], kind: Kind) -> list[float]:
    """The marks that are values of a kind, as its column holds them: numbers, or days since 1970-01-01."""
    if kind == "date":
        return (read_moments(marks).cast(pl.Int64) / 86_400e6).to_list()
    return read_numbers(marks).to_list() if kind == "number" else []


def _write_categories(b: Builder, column: CategoryColumn, marks: Sequence[str]) -> list[str]:
    """The text's place among the categories, compared with each place; or the place itself."""
    texts, n = list(column.categories), len(column.categories)
    empty = "" not in texts  # an empty text that is a category is not a missing one
    places = list(range(n))
    missing = [*([""] if empty else []), *marks]
    if missing and (column.flag or column.rare or column.codes):
        texts += missing
        place = n + (column.codes or column.rare) if column.flag else n if column.codes else -1
        places += [place] * len(missing)
    number = b.add(
        "LabelEncoder", column.name, dtype=np.int64, domain=ML_DOMAIN, keys_strings=texts, values_int64s=places,
        default_int64=n if column.codes or column.rare else -1,
    )  # fmt: skip
    if column.codes:
        return [b.cast(number, np.float32)]
    wanted = b.constant(np.arange(len(column.feature_names))[None, :], np.int64)
    return [b.cast(b.add("Equal", number, wanted, dtype=bool), np.float32)]


def write_labels(b: Builder, encoder: TabularEncoder, indices: str, wish: str) -> str:
    """Write the class labels of class indices: texts, int64, booleans or float64 (m,).

    Args:
        b: what collects the graph.
        encoder: the table encoder, of a classification.
        indices: the value that holds the indices (m,).
        wish: the result's name.

    Returns:
        The value that holds the labels.
    """
    labels = b.constant(encoder.classes, object if isinstance(encoder.classes[0], str) else None)
    return b.add("Gather", labels, indices, axis=0, wish=wish)


def write_numbers(b: Builder, encoder: TabularEncoder, output: str, wish: str) -> str:
    """Write the outputs in the target's own unit, float64 (m, 1).

    Args:
        b: what collects the graph.
        encoder: the table encoder, of a regression.
        output: the value that holds the network's output.
        wish: the result's name.

    Returns:
        The value that holds the numbers.
    """
    target = encoder.target
    assert not isinstance(target, ClassTarget)
    scaled = b.add("Mul", b.cast(output, np.float64), b.constant(target.scale, np.float64))
    if not target.curve:
        return b.add("Add", scaled, b.constant(target.mean, np.float64), wish=wish)
    bent = b.add("Add", scaled, b.constant(target.mean, np.float64))
    if target.curve == "log":
        return b.add("Exp", bent, wish=wish)
    return b.add("Sub", b.add("Exp", bent), b.constant(1.0, np.float64), wish=wish)
