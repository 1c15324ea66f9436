"""Rows that are the same: within the training part, across the parts, and how many of these chance explains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROWS: Final = 20_000  # rows that are compared
LARGEST: Final = 2_000_000  # numbers in those by which chance is judged
PARTS: Final = (2, 4, 8, 16)  # into how many windows columns are divided
MOST: Final = 16  # columns up to which each is a window of its own


def measure_copies(train: tuple[Array, Array], held: tuple[Array, Array] | None) -> dict[str, Any]:
    """Count rows that are the same to the last bit, inputs and targets alike.

    Args:
        train: X (m, …) and y of the training part.
        held: the same of the validation part, or None.

    Returns:
        ``repeated_rows`` (share of training rows that are copies of others), ``shared_rows`` (rows held out that are
        training rows too), ``shared_by_chance`` (the share of them for which chance would do, see `expect_copies`).

    Source: derived here.
    """
    rows = list(_rows(*train))
    seen = set(rows)
    shared = 0 if held is None else sum(row in seen for row in _rows(*held))
    return {
        "repeated_rows": 1 - len(seen) / len(rows) if rows else 0.0,
        "shared_rows": shared,
        "shared_by_chance": expect_copies(train, held) if held is not None and shared else 0.0,
    }


def expect_copies(train: tuple[Array, Array], held: tuple[Array, Array]) -> float:
    """Return the share of rows held out that chance would let be training rows too, as few distinct values do.

    Where values coincide by chance, far more rows coincide in all columns but some: beside n training rows that agree
    with a row outside of a window of columns and differ from it inside, n e / (1 − e) are to be expected that agree
    inside too, if two rows agree inside with a probability e. What was copied has no such neighbours. Of all windows
    counts the one that explains most.

    Args:
        train: X (m, …) and y.
        held: the same of the rows held out.

    Returns:
        Between 0 and 1.

    Source: derived here.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X, y = rng.integers(0, 2, (500, 4)).astype(float), np.zeros(500)
        >>> few = expect_copies((X[:400], y[:400]), (X[400:], y[400:]))
        >>> X = rng.standard_normal((400, 4))
        >>> round(few, 2), expect_copies((X, y[:400]), (X[:100], y[:100]))
        (1.0, 0.0)
    """
    known, asked = (_hashed(*part) for part in (train, held))
    n_columns = known.shape[1] - 2  # before the first one nothing, behind the last one y
    best, n = 0.0, len(known)
    whole = _count(known[:, -1], asked[:, -1])
    for first, last in _windows(n_columns):
        for with_target in (False, True)[: 2 if n_columns > 1 else 1]:
            (inside, outside), (_, around) = (_sums(x, first, last, with_target) for x in (known, asked))
            _, counts = np.unique(inside, return_counts=True)
            e = float(np.sum(counts * (counts - 1.0))) / max(n * (n - 1.0), 1.0)
            expected = (_count(outside, around) - whole) * (e / max(1 - e, 1e-12))
            best = max(best, float(np.mean(1 - np.exp(-expected))))
    return best


def _rows(X: Array, y: Array) -> Iterator[int]:
    """A number for each of the first examples, that others have only if they are the same to the last bit."""
    return (hash((X[i].tobytes(), y[i].tobytes())) for i in range(min(len(X), ROWS)))


def _windows(n: int) -> list[tuple[int, int]]:
    """Ranges of columns: each one alone where there are few, halves, quarters, …; not all, unless there is one."""
    parts = {*(p for p in PARTS if p <= n), *([n] if n <= MOST else [])}
    found = {tuple(np.linspace(0, n, p + 1).round().astype(int)[i : i + 2].tolist()) for p in parts for i in range(p)}
    return sorted((first, last) for first, last in found if first < last)


def _hashed(X: Array, y: Array) -> Array:
    """Sums over the first 0, 1, … columns, and over all with y, of a random number for each value of each column."""
    flat = np.ascontiguousarray(X.reshape(len(X), -1))
    rows = slice(0, max(min(ROWS, LARGEST // max(flat.shape[1], 1)), 200))
    flat, target = flat[rows], np.ascontiguousarray(y.reshape(len(y), -1)[rows])
    rng = np.random.default_rng(0)
    found = [np.zeros((len(flat), 1), np.uint64)]
    for part in (flat, target):
        wide = part.astype(np.float64).view(np.uint64)
        odd = rng.integers(1, 2**63, (2, wide.shape[1]), np.uint64) * np.uint64(2) + np.uint64(1)
        mixed = wide * odd[0]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * odd[1]
        mixed ^= mixed >> np.uint64(32)
        found.append(mixed if part is flat else mixed.sum(axis=1, keepdims=True, dtype=np.uint64))
    return np.cumsum(np.concatenate(found, axis=1), axis=1, dtype=np.uint64)


def _sums(x: Array, first: int, last: int, with_target: bool) -> tuple[Array, Array]:
    """What rows are within a window of columns, and outside of it; y is among the one or the other."""
    inside = x[:, last] - x[:, first] + (x[:, -1] - x[:, -2] if with_target else np.uint64(0))
    return inside, x[:, -1] - inside


def _count(known: Array, asked: Array) -> Array:
    """How many of the known numbers equal each of those asked for."""
    values, counts = np.unique(known, return_counts=True)
    at = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    return np.where(values[at] == asked, counts[at], 0)
