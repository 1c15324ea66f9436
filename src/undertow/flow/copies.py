"""Rows that are the same: within the training part, across the parts, and how many of these chance explains."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROWS: Final = 20_000  # rows that are compared
LARGEST: Final = 2_000_000  # numbers in those by which chance is judged
PARTS: Final = (2, 4, 8, 16)  # into how many windows columns are divided
FOLLOWS: Final = 0.9  # share of pairs of rows alike in all columns that agree in y, from which on it follows from them
OFTEN: Final = 10  # training rows with the same single column and y, which are no copies of one
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

    Where values coincide by chance, far more rows coincide in all columns but some: of V values that are equally
    probable inside of a window of columns, where two rows agree inside with the probability e = 1 / V, a row of its own
    kind outside leaves V − 1 others, and if n of these occur in training rows that agree outside, its own does with
    n / (V − 1) = n e / (1 − e). What was copied has no such neighbours, and of rows that all come twice each is counted
    once. Of all windows counts the one that explains most; of two halves, for each row the one that does, as one word
    of several is in one.

    Copies agree inside of every window and would raise e, so it is taken from pairs of rows that differ outside. Where
    y follows from the columns, no such pair agrees in it, and the columns alone are asked. Of a single column from
    which y follows nothing is left to ask: what ten training rows are is one of few kinds of rows, and no copy.

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
    if n_columns == 1:  # beside a single column there is only y, which may follow from it
        e = _pairs(known[:, 1]) / max(len(known) * (len(known) - 1.0), 1.0)
        each = known[np.unique(known[:, 2], return_index=True)[1]]
        neighbours = _count(each[:, 2] - each[:, 1], asked[:, 2] - asked[:, 1]) - _count(each[:, 2], asked[:, 2])
        often = _count(known[:, 2], asked[:, 2]) >= OFTEN
        return float(np.maximum(_expect(neighbours, e), often).mean())
    alike, best = _pairs(known[:, -2]), 0.0
    follows = _pairs(known[:, -1]) >= FOLLOWS * alike
    for target in ("outside", "inside", "left out") if follows else ("outside", "inside"):
        found = {window: _explained(known, asked, window, target) for window in _windows(n_columns)}
        either = np.maximum(*(found[half] for half in _parted(n_columns, 2)))
        best = max(best, *(float(x.mean()) for x in (*found.values(), either)))
    return best


def _explained(known: Array, asked: Array, window: tuple[int, int], target: str) -> Array:
    """The probability for each row asked for that chance makes a known row agree, by those that differ in a window."""
    (inside, outside), (within, around) = (_sums(x, *window, target) for x in (known, asked))
    each = np.unique(inside + outside, return_index=True)[1]
    neighbours = _count(outside[each], around) - _count((inside + outside)[each], within + around)
    apart = len(known) * (len(known) - 1.0) - _pairs(outside)
    return _expect(neighbours, (_pairs(inside) - _pairs(inside + outside)) / max(apart, 1.0))


def _rows(X: Array, y: Array) -> Iterator[int]:
    """A number for each of the first examples, that others have only if they are the same to the last bit."""
    return (hash((X[i].tobytes(), y[i].tobytes())) for i in range(min(len(X), ROWS)))


def _windows(n: int) -> list[tuple[int, int]]:
    """Ranges of columns: each one alone where there are few, halves, quarters, …; not all, unless there is one."""
    parts = {*(p for p in PARTS if p <= n), *([n] if n <= MOST else [])}
    return sorted({window for p in parts for window in _parted(n, p)})


def _parted(n: int, parts: int) -> list[tuple[int, int]]:
    """Ranges of columns that are together all, all about as long."""
    ends = np.linspace(0, n, parts + 1).round().astype(int).tolist()
    return list(pairwise(ends))


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


def _sums(x: Array, first: int, last: int, target: str) -> tuple[Array, Array]:
    """What rows are within a window of columns, and outside of it; y is among the one, the other or neither."""
    inside, y = x[:, last] - x[:, first], x[:, -1] - x[:, -2]
    outside = x[:, -2] - inside
    return (inside + y, outside) if target == "inside" else (inside, outside + y if target == "outside" else outside)


def _pairs(x: Array) -> float:
    """How many pairs of rows, each counted both ways, have the same number."""
    _, counts = np.unique(x, return_counts=True)
    return float(np.sum(counts * (counts - 1.0)))


def _expect(neighbours: Array, e: float) -> Array:
    """The probability that some row agrees in a window, too, where so many others agree outside of it alone."""
    return np.minimum(neighbours * (e / max(1 - e, 1e-12)), 1.0)


def _count(known: Array, asked: Array) -> Array:
    """How many of the known numbers equal each of those asked for."""
    values, counts = np.unique(known, return_counts=True)
    at = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    return np.where(values[at] == asked, counts[at], 0)
