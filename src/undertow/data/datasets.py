"""Data sets that come with the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl
from undertow.data.wording import closest_name
from undertow.errors import ArgumentError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Examples with their origin.

    Args:
        X: inputs, float32 (m, n_features).
        y: targets, (m,).
        feature_names: the names of the columns of X.
        source: who made the data, and where it is published.
        licence: the terms of use.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    feature_names: list[str]
    source: str
    licence: str

    def __repr__(self) -> str:
        X, y = (f"{x.shape} {x.dtype}" for x in (self.X, self.y))
        return f"Dataset(X {X}, y {y}, {len(self.feature_names)} feature names, source, licence)"


def load_digits() -> Dataset:
    """Handwritten digits: 1797 images of 8 × 8 pixels, ten classes.

    Returns:
        X float32 (1797, 64), ink between 0 and 1, the pixels row by row; y int64 (1797,), the digit.

    Source:
        E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998, doi 10.24432/C50P49, CC BY 4.0; its test part.

    Example:
        >>> digits = load_digits()
        >>> digits.X.shape, digits.X.max(), digits.y[:5], digits.feature_names[9]
        ((1797, 64), np.float32(1.0), array([0, 1, 2, 3, 4]), 'pixel_1_1')
    """
    from importlib.resources import files  # late: it is slow, and needed here alone

    folder = files("undertow.data")
    about = json.loads(folder.joinpath("digits.json").read_text(encoding="utf-8"))
    frame = pl.read_parquet(folder.joinpath("digits.parquet").read_bytes())
    pixels = frame.drop("digit")
    X = np.ascontiguousarray(pixels.to_numpy(), dtype=np.float32) / np.float32(about["largest_pixel"])
    y = frame["digit"].to_numpy().astype(np.int64)
    return Dataset(X, y, pixels.columns, about["source"], about["licence"])


_LOADERS: dict[str, Callable[[], Dataset]] = {"digits": load_digits}


def datasets() -> list[str]:
    """The names that ``load_dataset`` knows.

    Returns:
        Names, sorted.

    Example:
        >>> datasets()
        ['digits']
    """
    return sorted(_LOADERS)


def load_dataset(name: str) -> Dataset:
    """Load a data set by its name.

    Args:
        name: one of ``datasets()``.

    Returns:
        The ``Dataset``.

    Raises:
        ArgumentError: ``there is no data set 'digit' (did you mean 'digits'?). There are: digits.``

    Example:
        >>> load_dataset("digits").licence
        'CC BY 4.0'
    """
    if name not in _LOADERS:
        close = closest_name(str(name), datasets())
        hint = f" (did you mean {close!r}?)" if close else ""
        raise ArgumentError(f"there is no data set {name!r}{hint}. There are: {', '.join(datasets())}.")
    return _LOADERS[name]()
