"""Whether a target depends on the weekday: two features more are worth it only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from undertow.data.columns import ValueColumn
from undertow.data.encoder import TabularEncoder
from undertow.data.tables import EncodedTable

_Z = 1.645  # a weekday that tells nothing is kept once in twenty times
_DAYS = 7


def depends_on_weekday(day: NDArray[np.int64], y: NDArray[np.float64], slow: NDArray[np.float64]) -> bool:
    """Tell by an analysis of variance whether the means of a target differ between weekdays.

    Args:
        day: of the week, 0 to 6, (m,).
        y: the target, (m, K): a number, or a column a class.
        slow: what is taken off before, by least squares: a trend, a season, (m, p).

    Returns:
        Whether they differ more than once in twenty times by chance. Sums of squares are those of χ² with 6 degrees
        of freedom a column where rows are many, one column fewer for classes.

    Source: H. Scheffé, The Analysis of Variance, 1959, section 3.2; the quantile of χ² is that of E. B. Wilson and
        M. M. Hilferty, PNAS 17, 1931.

    Example:
        >>> days = np.arange(140.0)
        >>> [depends_on_weekday(np.arange(140) % 7, y[:, None], days[:, None]) for y in (np.sin(days), days % 7 > 4)]
        [False, True]
    """
    B = np.concatenate([np.ones((len(day), 1)), slow], axis=1)
    y = np.asarray(y, np.float64)
    shares = y.mean(axis=0)
    left = y - B @ np.linalg.lstsq(B, y, rcond=None)[0]
    total = np.sum(left**2, axis=0)
    counts = np.maximum(np.bincount(day, minlength=_DAYS), 1)
    sums = np.stack([np.bincount(day, weights=column, minlength=_DAYS) for column in left.T], axis=1)
    between = np.sum(sums**2 / counts[:, None], axis=0)
    several = y.shape[1] > 1
    weights = 1 - shares if several else np.ones(1)
    found = len(day) * float(np.sum(weights * between / np.where(total > 0, total, 1.0)))
    n_free = (len(np.unique(day)) - 1) * (y.shape[1] - several)
    if n_free == 0:
        return False
    return bool(found > n_free * (1 - 2 / (9 * n_free) + _Z * np.sqrt(2 / (9 * n_free))) ** 3)


def find_idle_weekdays(encoder: TabularEncoder, X: NDArray[np.float32], y: NDArray[np.generic]) -> list[str]:
    """Find the columns of dates on whose weekday a target does not depend.

    Args:
        encoder: of the table.
        X: the rows to train on, encoded, (m, n).
        y: their target, encoded: classes (m,), or numbers (m, 1).

    Returns:
        The columns' names, where the rows span two weeks. A trend (of second degree) and what the day of the year says
        are taken off before.

    Source: derived here.
    """
    target = np.eye(len(encoder.classes))[np.asarray(y, np.int64)] if encoder.classes else np.asarray(y, np.float64)
    found, start = [], 0
    for column in encoder.columns:
        names = column.feature_names
        if isinstance(column, ValueColumn) and "weekday" in column.parts:
            part = dict(zip(names, X[:, start : start + len(names)].T.astype(np.float64), strict=True))
            sine, cosine = (part.pop(f"{column.name}: weekday, {end}") for end in ("sine", "cosine"))
            day = np.rint(np.arctan2(sine, cosine) * _DAYS / (2 * np.pi)).astype(np.int64) % _DAYS
            slow = [*part.values(), part[column.name] ** 2]
            sines = [values for name, values in part.items() if ": day of year, " in name]
            slow += [sines[0] * sines[1], sines[0] ** 2] if sines else []  # twice a year
            spans = float(np.ptp(part[column.name])) * column.scale >= 2 * _DAYS  # a part of a table may not
            if spans and not depends_on_weekday(day, target, np.stack(slow, axis=1)):
                found.append(column.name)
        start += len(names)
    return found


def drop_weekdays(encoder: TabularEncoder, names: list[str]) -> TabularEncoder:
    """Leave the weekdays of columns out of an encoder, and say so in its report.

    Args:
        encoder: of the table.
        names: the columns.

    Returns:
        The encoder; the same one where there are no names.

    Source: derived here.
    """
    if not names:
        return encoder
    columns = tuple(
        replace(column, parts=tuple(part for part in column.parts if part != "weekday"))
        if isinstance(column, ValueColumn) and column.name in names
        else column
        for column in encoder.columns
    )
    said = [f"{name!r}: its weekday is left out, since the target does not depend on it." for name in names]
    return replace(encoder, columns=columns, report=[*encoder.report, *said])


def without_idle_weekdays(table: EncodedTable) -> EncodedTable:
    """Leave out of a table the weekdays of dates on which its target does not depend.

    Args:
        table: encoded with ``dates="auto"``.

    Returns:
        The table, whose report says so; the same one where there is none.

    Source: derived here.
    """
    before, (X, y) = table.encoder, table.train
    encoder = drop_weekdays(before, find_idle_weekdays(before, X, y))
    if encoder is before:
        return table
    left = set(encoder.feature_names)
    stay = [i for i, name in enumerate(before.feature_names) if name in left]
    held = table.validation
    return replace(
        table,
        encoder=encoder,
        train=(np.ascontiguousarray(X[:, stay]), y),
        validation=None if held is None else (np.ascontiguousarray(held[0][:, stay]), held[1]),
        report=[*table.report, *encoder.report[len(before.report) :]],
    )
