"""Whether whole numbers name classes, as far as rows that are alike tell: amounts of such rows are near each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl

_ROWS, _NUMBERS, _LEAST_ROWS = 2000, 2_000_000, 60  # that are looked at: enough to tell, and 0.1 s at most
_AT_ONCE: Final = 200  # rows whose distances are in memory
_CATEGORIES: Final = 20  # most different texts of a column that is looked at
_SCATTERED: Final = 0.5  # of how far numbers differ by chance: by less, amounts of rows that are alike do
_SHARED: Final = 2.4  # times as often as by chance: amounts reach about 1 where they are scattered
_NEAR: Final = 10  # the row that is looked at is so many rows off: nearer ones may be of one person, house or machine
_CERTAIN: Final = 4.0  # standard deviations


def names_classes(frame: pl.DataFrame, target: str) -> bool:
    """Tell whether a target's whole numbers are names of classes.

    Rows that are alike in the other columns have the same class more often than by chance. Where not, the number of the
    one says nothing about that of the other, since classes may be numbered in any order; amounts of rows that are alike
    are near each other. Two measures tell both: how often the tenth nearest row has the same number (a nearer one where
    numbers have few rows each), divided by how often it would by chance (s); and how far the number of the nearest row
    with another one is off, divided by how far it would be by chance (d). Of amounts with errors s · d is about 1,
    however well they are told, and d is small where it is not; of classes d is about 1, and s is larger the better they
    are told.

    Args:
        frame: the table, or rows of it; the other columns that count are of numbers, truth values, or few texts.
        target: the column, of whole numbers.

    Returns:
        True where that is sure: d ≥ 0.5 and s · d ≥ 2.4, and s beyond 1 by 4 standard deviations. False says nothing.
        More than ten rows of one person, machine or house may look like those of a class.

    Source: derived here.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 12, 600)
        >>> places = rng.normal(size=(12, 3))[y] + rng.normal(scale=0.3, size=(600, 3))
        >>> names_classes(pl.DataFrame({"a": places[:, 0], "b": places[:, 1], "c": places[:, 2], "y": y}), "y")
        True
        >>> names_classes(pl.DataFrame({"a": y + rng.normal(size=600), "y": y}), "y")
        False
    """
    present = frame[target].is_not_null().arg_true().to_numpy()
    rows = np.random.default_rng(0).permutation(len(present))[: rows_looked_at(frame.width)]
    frame = frame[present[np.sort(rows)]]
    frame = frame.gather_every(-(-frame.height // rows_looked_at(_count_features(frame))) or 1)
    y = np.unique(frame[target].to_numpy(), return_inverse=True)[1]
    X = _make_features(frame.drop(target))
    if len(y) < _LEAST_ROWS or X.shape[1] == 0 or y.max() == 0:
        return False
    n, counts = len(y), np.bincount(y)
    chance = float(np.sum(counts * (counts - 1))) / (n * (n - 1))
    shared, apart = _look_near(X, y, max(1, min(_NEAR, n // (2 * len(counts)))) - 1)
    pairs = counts[:, None] * counts
    places = np.arange(len(counts))
    usual = float(np.sum(pairs * np.abs(places[:, None] - places))) / (n * n - float(np.sum(counts * counts)))
    scattered = apart / usual
    certain = shared > chance + _CERTAIN * np.sqrt(chance / n)
    return bool(certain and scattered >= _SCATTERED and shared * scattered >= _SHARED * chance)


def _look_near(X: NDArray[np.float32], y: NDArray[np.int64], place: int) -> tuple[float, float]:
    """How often the row at a place among the nearest has the same y; how far that of the nearest other one is off."""
    squares = np.einsum("ij,ij->i", X, X)
    hits = apart = 0
    for first in range(0, len(y), _AT_ONCE):
        mine = y[first : first + _AT_ONCE]
        rows = np.arange(len(mine))
        far = squares[first + rows, None] + squares - 2 * (X[first + rows] @ X.T)
        far[rows, first + rows] = np.inf
        hits += int(np.sum(y[np.argpartition(far, place, axis=1)[:, place]] == mine))
        far[mine[:, None] == y] = np.inf
        apart += int(np.sum(np.abs(y[np.argmin(far, axis=1)] - mine)))
    return hits / len(y), apart / len(y)


def rows_looked_at(width: int) -> int:
    """How many rows of a table of so many columns are looked at."""
    return max(_LEAST_ROWS, min(_ROWS, _NUMBERS // max(width, 1)))


def take_plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Take the columns that count, with types that are those of other parts too, and texts of their own.

    Args:
        frame: rows of a larger part, whose texts would stay in memory otherwise.

    Source: derived here.
    """
    found = []
    for series in frame:
        if series.dtype.is_numeric():
            found.append(series.cast(pl.Float64))
        elif _is_text(series):
            found.append(pl.Series(series.name, series.cast(pl.String).to_list(), dtype=pl.String))
    return pl.DataFrame(found)


def _is_text(series: pl.Series) -> bool:
    return series.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)


def _is_of_few(series: pl.Series) -> bool:
    """Whether a column is of few texts, or of truth values."""
    return _is_text(series) and series.n_unique() <= _CATEGORIES


def _count_features(frame: pl.DataFrame) -> int:
    """How many columns there are when few texts are a column each."""
    return sum(series.n_unique() if _is_of_few(series) else 1 for series in frame)


def _make_features(frame: pl.DataFrame) -> NDArray[np.float32]:
    """Columns of one variance each, float32 (m, n): numbers, and few texts or truth values as a column each."""
    found: list[NDArray[Any]] = []
    for series in frame:
        if series.dtype.is_numeric():
            columns = series.cast(pl.Float64).to_numpy()[:, None]
        elif _is_of_few(series):
            columns = series.cast(pl.String).fill_null("").to_dummies().to_numpy().astype(np.float64)
        else:
            continue
        present = np.isfinite(columns)
        columns = np.where(present, columns, 0.0)
        if present.all() and np.all(columns[1:, 0] > columns[:-1, 0]):  # numbers of rows: how a file was sorted
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.where(present, columns - columns.sum(axis=0) / np.maximum(present.sum(axis=0), 1), 0.0)
            size = np.sqrt(np.sum(apart * apart) / len(apart))
        if 0 < size < np.inf:
            found.append((apart / size).astype(np.float32))
    return np.concatenate(found, axis=1) if found else np.zeros((frame.height, 0), np.float32)
