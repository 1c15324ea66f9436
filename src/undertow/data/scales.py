"""Whether columns of numbers that vary alike are better divided by one scale, or each by its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from undertow.data.columns import ValueColumn
from undertow.data.tables import EncodedTable

_ROWS = 1500  # enough to tell, and a second at most
_NEAREST = 10
_SHARES = 1 / np.arange(1, _NEAREST + 1)
_ALIKE = 1e-3  # by which rounding may put the deviation of a column with its own scale off 1


def compare_neighbours(X: NDArray[np.float32], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predict each row's target by the rows nearest to it, and measure how wrong that is.

    Args:
        X: rows, (m, n), 11 or more.
        y: their targets, (m, K): a number, or a column a class.

    Returns:
        Of each row the squared error, or for classes −log of the probability, (m,). The k-th of the ten nearest counts
        1/k; one more, that counts 1, has the mean of all.

    Source: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning, 2009, section 13.3, with
        weights as S. Dudani, IEEE Transactions on Systems, Man, and Cybernetics 6, 1976, proposes.

    Example:
        >>> X = np.arange(12, dtype=np.float32)[:, None]
        >>> compare_neighbours(X, np.ones((12, 1))).round(3).max()
        np.float64(0.0)
    """
    sizes = np.einsum("ij,ij->i", X, X)
    far = sizes[:, None] + sizes - 2 * (X @ X.T)
    np.fill_diagonal(far, np.inf)
    nearest = np.argpartition(far, _NEAREST - 1, axis=1)[:, :_NEAREST]
    order = np.argsort(np.take_along_axis(far, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    found = (np.einsum("k,mkj->mj", _SHARES, y[nearest]) + y.mean(axis=0)) / (_SHARES.sum() + 1)
    if y.shape[1] > 1:
        return -np.log(np.sum(found * y, axis=1))
    return np.asarray(np.sum((found - y) ** 2, axis=1))


def prefers_own_scales(table: EncodedTable) -> bool:
    """Tell whether rows near each other are more alike where columns of one scale are divided each by its own.

    One scale is right where columns are of one unit, and those that vary more tell more. That they vary alike may be
    by chance, though: suits and ranks of cards. Which of the two it is, neighbours tell.

    Args:
        table: encoded with ``scaling="auto"``.

    Returns:
        Whether the targets of neighbours are more alike by more than a standard error; False where columns have their
        own scales already.

    Source: derived here, by the measurements in docs/defaults.md.
    """
    encoder, (X, y) = table.encoder, table.train
    rows = np.random.default_rng(0).permutation(len(X))[:_ROWS]
    own = {i: float(np.std(X[:, i], dtype=np.float64)) for i in _find_numbers(table)}
    if len(rows) <= _NEAREST or all(abs(deviation - 1) < _ALIKE for deviation in own.values()):
        return False
    by_own = np.ones(X.shape[1], np.float32)
    by_own[list(own)] = 1 / np.array(list(own.values()))
    numbers = np.asarray(y[rows], np.float64)
    target = np.eye(len(encoder.classes))[numbers.astype(np.int64)] if encoder.classes else numbers
    change = np.subtract(compare_neighbours(X[rows] * by_own, target), compare_neighbours(X[rows], target))
    return bool(change.mean() < -change.std() / np.sqrt(len(rows)))


def _find_numbers(table: EncodedTable) -> list[int]:
    """Where in X the columns of standardised numbers are, missing ones filled as they were when these were scaled."""
    found: list[int] = []
    start = 0
    for column in table.encoder.columns:
        if isinstance(column, ValueColumn) and column.kind == "number" and column.value:
            if column.scaling != "standard":
                return []  # columns are given one scale where all have this
            found.append(start)
        start += len(column.feature_names)
    return found
