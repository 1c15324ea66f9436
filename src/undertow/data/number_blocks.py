"""Columns of plain numbers, encoded many at a time: images and arrays have thousands of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_notes import ColumnNotes
from undertow.data.columns import Column, ValueColumn
from undertow.data.late import pl

_BLOCK: Final = 1 << 20  # numbers at once
_SCALINGS: Final = ("standard", "robust", "none")
_TYPES: Final = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")

Placed = tuple[int, ValueColumn]


def encode_blocks(columns: Sequence[Column], frame: pl.DataFrame, out: NDArray[np.float32]) -> dict[str, ColumnNotes]:
    """Encode the columns of plain numbers of which nothing is to be told, as `ValueColumn.encode` does each.

    Args:
        columns: of the encoder, in the order of their features.
        frame: m rows.
        out: of the features, (m, n).

    Returns:
        The columns that are done, by name. Of the others, values are missing, infinite or far outside of training's
        range, or they are of another kind.

    Source: derived here.

    Example:
        >>> column = ValueColumn("x", "number", 0.0, 1.0, 2.0, True, False, range=(0.0, 4.0))
        >>> out = np.zeros((2, 1), np.float32)
        >>> encode_blocks([column], pl.DataFrame({"x": [3, 5]}), out).keys(), out.ravel().tolist()
        (dict_keys(['x']), [1.0, 2.0])
    """
    by_type: dict[str, list[Placed]] = {}
    place = 0
    for column in columns:
        if isinstance(column, ValueColumn) and _is_plain(column):
            by_type.setdefault(frame[column.name].dtype.base_type().__name__, []).append((place, column))
            place += 1
        else:
            place += len(column.feature_names)
    done: list[str] = []
    size = max(_BLOCK // max(frame.height, 1), 1)
    for kind in _TYPES:
        alike = by_type.get(kind, [])
        for first in range(0, len(alike), size):
            done += _encode_block(alike[first : first + size], frame, out)
    return {name: ColumnNotes(frame.height) for name in done}


def _is_plain(column: ValueColumn) -> bool:
    """Whether a column is one feature, a number."""
    one = column.value and not column.flag and not column.parts
    return one and column.kind == "number" and column.scaling in _SCALINGS and not column.layout


def _encode_block(block: list[Placed], frame: pl.DataFrame, out: NDArray[np.float32]) -> list[str]:
    """Encode columns of one type; the names of those that are done."""
    values = pl.DataFrame([frame[column.name] for _, column in block]).to_numpy().astype(np.float64, copy=False)
    limits = np.array([column.limits for _, column in block])
    with np.errstate(invalid="ignore", over="ignore"):
        within = np.isfinite(values) & (values >= limits[:, 0]) & (values <= limits[:, 1])
        scaled = (values - [column.mean for _, column in block]) / [column.scale for _, column in block]
        found = scaled.astype(np.float32)
    plain = np.flatnonzero(within.all(axis=0) & np.isfinite(found).all(axis=0))
    out[:, [block[i][0] for i in plain]] = found[:, plain]
    return [block[i][1].name for i in plain]
