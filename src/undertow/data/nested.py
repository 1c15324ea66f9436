"""Columns with many numbers a row, or an image, as a column for each number."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from undertow.data.examples import spread
from undertow.data.images import read_images
from undertow.data.late import pl

_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


def spread_nested(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    """Spread lists and arrays of numbers that are as long in every row, and encoded images, over columns.

    Args:
        frame: of which most have no such column.
        file: the name used in messages.

    Returns:
        The frame; a column ``image`` has become ``image_0``, ``image_1``, …, or ``image_3_4`` (row, column) behind the
        others. Lists of different lengths, of texts, and with missing values stay.

    Raises:
        DataError: images that cannot be read, or differ in size.

    Source: Hugging Face, "Create an image dataset": a structure of ``bytes`` and ``path``.

    Example:
        >>> spread_nested(pl.DataFrame({"x": [[1, 2], [3, 4]], "y": ["a", "b"]}), "a.parquet").rows(named=True)
        [{'y': 'a', 'x_0': 1, 'x_1': 2}, {'y': 'b', 'x_0': 3, 'x_1': 4}]
    """
    nested = [column for column in frame.get_columns() if column.dtype.is_nested() or column.dtype == pl.Binary]
    arrays = {column.name: array for column in nested if (array := _read_column(column, file)) is not None}
    if not arrays:
        return frame
    rest = frame.drop(*arrays)
    return pl.DataFrame([*rest.get_columns(), *spread(arrays, file, rest.columns).get_columns()])  # rest may be empty


def _read_column(column: pl.Series, file: str) -> NDArray[Any] | None:
    """The numbers of a column, a row each; None where it has not as many in each row."""
    name = column.name
    if not len(column) or column.null_count():
        return None
    if isinstance(column.dtype, pl.Struct):
        if "bytes" not in column.struct.fields:
            return None
        column = column.struct.field("bytes")
    if column.dtype == pl.Binary:
        images = column.to_list()
        if not all(image is not None and image.startswith(_SIGNATURES) for image in images):
            return None
        return read_images(images, [f"{file}, {name!r}, row {number}" for number in range(1, len(images) + 1)])
    shape = [len(column)]
    while column.dtype in (pl.List, pl.Array):
        column = column if column.dtype == pl.List else column.arr.to_list()
        lengths = column.list.len()
        if not lengths[0] or lengths.n_unique() > 1:
            return None
        shape.append(lengths[0])
        column = column.explode()
        if column.null_count():
            return None
    if len(shape) < 2 or not column.dtype.is_numeric():
        return None
    return (column.cast(pl.Float64) if column.dtype.is_decimal() else column).to_numpy().reshape(shape)
