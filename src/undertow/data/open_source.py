"""One door to the sources: arrays, memory maps, generators."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.data.datasets import Dataset
from undertow.data.memory import MEMORY
from undertow.data.pieces import open_arrays
from undertow.data.source import ArraySource, Source
from undertow.data.streams import IterableSource
from undertow.errors import ArgumentError


def open_source(data: Any, *, memory: float = MEMORY, shuffle: bool = True) -> Source:
    """The source of examples that fits what a user has.

    Args:
        data: (X, y) or (X, y, weights): arrays, or ``np.memmap``, or paths of .npy files; or a function that
            makes an iterable of such batches, or an iterable of them; or a ``Dataset``; or a source.
        memory: bytes that a source larger than memory may take.
        shuffle: False keeps the order of the data.

    Returns:
        The source; a source as it is.

    Raises:
        ArgumentError: ``'people.csv' is a table. Use undertow.data.stream_table(path, target), …``

    Example:
        >>> type(open_source((np.zeros((3, 2)), np.zeros(3)))).__name__
        'ArraySource'
        >>> type(open_source(lambda: [(np.zeros((3, 2)), np.zeros(3))])).__name__
        'IterableSource'
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, Dataset):
        data = (data.X, data.y)
    if isinstance(data, str) or hasattr(data, "__fspath__") or hasattr(data, "columns"):
        found = repr(str(data)) if not hasattr(data, "columns") else f"a {type(data).__name__}"
        raise ArgumentError(
            f"{found} is a table. Use undertow.data.stream_table(table, target), which knows the column to predict."
        )
    if isinstance(data, tuple | list) and len(data) in (2, 3) and not _is_batch(data[0]):
        mapped = [isinstance(part, np.memmap | str) or hasattr(part, "__fspath__") for part in data]
        if any(mapped):
            return open_arrays(*data, memory=memory, shuffle=shuffle)
        return ArraySource(data[0], data[1], data[2] if len(data) == 3 else None, shuffle=shuffle)
    return IterableSource(data, memory, shuffle)


def _is_batch(value: Any) -> bool:
    """Whether a value is a pair of arrays, so that a list of it is a list of batches."""
    return isinstance(value, tuple) and len(value) in (2, 3) and all(hasattr(part, "shape") for part in value)
