"""Columns that tell the target by themselves: its copy, the same in another unit, or what its classes are cut from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROWS: Final = 20  # fewest rows that are judged, and of these at least so many that differ from the commonest:
OTHERS: Final = 5
SHARE: Final = 0.9999  # of the variance, or of what is told beyond the commonest class
FIRST: Final = 200  # rows by which columns are passed over that do not come near
NEAR: Final = 0.95  # of the variance of the ranks of these
COLUMNS: Final = 2000
VALUES: Final = 50  # different values of a text column
EACH: Final = 5  # rows for each of them
DISTINCT: Final = 50  # numbers through which a bound is drawn
GAP: Final = 5.0  # largest distance at a bound, by the mean one near it
DARK: Final = 0.2  # share of the rows in which the commonest value of a column stands, so that in some, of so many ...
PIXELS: Final = 20  # ... such columns, it stands in all rows of a class
THIN: Final = 2.0  # largest mean distance near a bound, by that in the middle of all


def find_telling(
    X: Array, y: Array, kind: str, features: Sequence[Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """Find the columns of which each one alone tells the target.

    Of numbers: a straight line, or the order alone, explains 99.99 % of the variance. Of classes: each value stands
    beside one class, where there are as many values as classes or the column was text; or bounds divide numbers into
    the classes, and go through where numbers are dense; or of two classes one has the same number in all rows, which
    the other, of many numbers, has in none, but for images and the like. Where there is a gap at the bounds, as
    between clusters, the classes are but easy to tell apart.

    Args:
        X: inputs, (m, n).
        y: the target, (m,) or (m, 1); classes as numbers or in rows (m, K).
        kind: ``"number"`` or ``"classes"``.
        features: for each column of X its name, and the column of the table that it was made of; None without a table.

    Returns:
        Plain data, for each: ``columns`` (numbers of columns of X), ``name`` (None where there is none), ``how``
        (``"line"``, ``"order"``, ``"values"``, ``"filled"``, ``"bounds"``), ``share``: of the variance, or of the
        rows that it tells right, and ``base``: the share of the commonest class.

    Source: derived here.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(100, 3))
        >>> [(x["columns"], x["how"]) for x in find_telling(X, 1.8 * X[:, 1] + 32, "number")]
        [([1], 'line')]
        >>> find_telling(X, X[:, 1] + 0.1 * X[:, 0], "number")
        []
    """
    if kind not in ("number", "classes") or X.ndim != 2 or not 1 < X.shape[1] <= COLUMNS or len(X) < ROWS:
        return []
    y = np.asarray(y)
    y = np.argmax(y, axis=1) if kind == "classes" and y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y), -1)
    if y.ndim == 2 and y.shape[1] != 1:
        return []
    y = y.reshape(-1).astype(np.float64)
    groups = _groups(X.shape[1], features)
    _, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(groups) < 2 or len(y) - counts.max() < OTHERS or not np.isfinite(y).all():
        return []
    found = []
    with np.errstate(all="ignore"):
        for name, columns in groups:
            part = X[:, columns].astype(np.float64)
            if not np.isfinite(part).all():
                continue
            told = _tell_text(part, labels, y, kind) if len(columns) > 1 else None
            for i, values in () if told else enumerate(part.T):
                told = _tell_number(values, y) if kind == "number" else _tell_class(values, labels, len(counts))
                if told:
                    columns = [columns[i]]
                    break
            if told:
                base = float(counts.max() / len(y))
                found.append({"columns": columns, "name": name, "how": told[0], "share": told[1], "base": base})
    dark = any(x["how"] == "filled" for x in found) and _are_dark(X[:FIRST])
    return [x for x in found if not (dark and x["how"] == "filled")]


def _are_dark(X: Array) -> bool:
    """Whether many columns of numbers have one value in many rows, as pixels do, or counts of words."""
    counts = [np.unique(x, return_counts=True)[1] for x in X.T]
    return sum(len(n) > 2 and bool(n.max() >= DARK * len(X)) for n in counts) >= PIXELS


def _groups(n: int, features: Sequence[Sequence[str]] | None) -> list[tuple[str | None, list[int]]]:
    """The columns of X that belong together, with the name of what they were made of."""
    if features is None or len(features) != n:
        return [(None, [i]) for i in range(n)]
    found: dict[str, list[int]] = {}
    for i, (_, name) in enumerate(features):
        found.setdefault(name, []).append(i)
    return list(found.items())


def _tell_text(part: Array, labels: Array, y: Array, kind: str) -> tuple[str, float] | None:
    """What a text says, one feature a category."""
    few = part.shape[1] <= VALUES and all(len(np.unique(x[:FIRST])) <= 2 for x in part.T)
    if not few:
        return None
    _, codes = np.unique((part != part[0]) @ 2.0 ** np.arange(part.shape[1]), return_inverse=True)
    return _tell_values(codes, labels, y, kind)


def _tell_values(codes: Array, labels: Array, y: Array, kind: str) -> tuple[str, float] | None:
    """Whether each value stands beside one class, or beside one number."""
    n, k = len(codes), int(codes.max()) + 1
    if k < 2 or n < EACH * k:
        return None
    if kind == "number":
        sums, counts = np.bincount(codes, y), np.bincount(codes)
        share = 1 - float(np.var(y - (sums / counts)[codes]) / np.var(y))
        return ("values", share) if share >= SHARE else None
    table = np.bincount(codes * (int(labels.max()) + 1) + labels, minlength=k * (int(labels.max()) + 1)).reshape(k, -1)
    wrong, others = n - int(table.max(axis=1).sum()), n - int(table.sum(axis=0).max())
    return ("values", 1 - wrong / n) if 1 - wrong / others >= SHARE else None


def _tell_number(values: Array, y: Array) -> tuple[str, float] | None:
    """Whether a line, or the order, gives a number."""
    if _correlation(_ranks(values[:FIRST]), _ranks(y[:FIRST])) < NEAR:
        return None
    order, line = _correlation(_ranks(values), _ranks(y)), _correlation(values, y)
    if line >= SHARE and order >= NEAR:
        return "line", line
    return ("order", order) if order >= SHARE else None


def _tell_class(values: Array, labels: Array, n_classes: int) -> tuple[str, float] | None:
    """Whether a number is a name of the class, or the class a range of the number."""
    some = np.unique(values[:FIRST])
    if len(some) <= n_classes:
        known, codes = np.unique(values, return_inverse=True)
        return _tell_values(codes, labels, labels, "classes") if len(known) == n_classes else None
    if _n_blocks(values[:FIRST], labels[:FIRST]) > n_classes or _n_blocks(values, labels) != n_classes:
        return None
    known, first = np.unique(values, return_index=True)
    if np.count_nonzero(np.diff(labels[first])) != n_classes - 1:
        return None  # a value that many rows share stands beside several classes
    if len(known) < DISTINCT or any(len(np.unique(labels[values == x])) > 1 for x in _at_bounds(known, labels[first])):
        return None
    if n_classes == 2 and min(np.count_nonzero(labels[first] == k) for k in (0, 1)) == 1:
        return "filled", 1.0  # all rows of a class have one number, as where something is known of the other alone
    steps = np.diff(known)
    for i in np.flatnonzero(np.diff(labels[first])).tolist():
        near = np.delete(steps[max(i - 10, 0) : i + 11], min(i, 10)).mean()
        if steps[i] > GAP * near or near > THIN * np.median(steps):
            return None
    return "bounds", 1.0


def _at_bounds(known: Array, labels: Array) -> Iterator[float]:
    """The values beside which classes change."""
    for i in np.flatnonzero(np.diff(labels)):
        yield from known[i : i + 2].tolist()


def _n_blocks(values: Array, labels: Array) -> int:
    """How many ranges of one class there are, in the order of the values."""
    return 1 + int(np.count_nonzero(np.diff(labels[np.lexsort((labels, values))])))


def _ranks(x: Array) -> Array:
    """The place of each number in their order, the mean one of those that are equal."""
    _, codes, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[codes]


def _correlation(a: Array, b: Array) -> float:
    """The square of the correlation; 0 where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt(np.sum(a**2)) * np.sqrt(np.sum(b**2))
    return float(np.sum(a * b) / scale) ** 2 if scale > 0 else 0.0
