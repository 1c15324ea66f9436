"""Statistics of columns, gathered piece by piece in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl

SAMPLE = 100_000  # numbers of a column that are kept of a stream, for its quantiles
MOST_DISTINCT = 100_000  # texts of a column that are counted of a stream
_LEAK_DISTINCT, _TRIED, _FIRST = 1000, 5000, 256


@dataclass(eq=False)
class NumberStatistics:
    """Count, mean, standard deviation, range and a sample of numbers that come in parts.

    The parts are merged as by Chan, Golub and LeVeque; deviations are kept instead of their squares, which
    neither over- nor underflow then.

    Args:
        limit: the most numbers that the sample keeps; None keeps all.

    Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance, The
        American Statistician 37, 1983, equations 2.1; the sample takes the smallest of random keys.

    Example:
        >>> found = NumberStatistics()
        >>> for part in ([1.0, 2.0], [3.0, np.nan, 6.0]):
        ...     found.update(np.array(part))
        >>> found.n, found.n_missing, found.mean, round(found.deviation, 4), found.median
        (4, 1, 3.0, 1.8708, 2.5)
    """

    limit: int | None = None
    n: int = 0
    n_missing: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    least: float = np.inf
    largest: float = -np.inf
    _parts: list[NDArray[np.float64]] = field(default_factory=list)
    _keys: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def update(self, numbers: NDArray[np.float64]) -> None:
        """Add a part; NaN counts as missing."""
        missing = np.isnan(numbers)
        present = numbers[~missing] if missing.any() else numbers
        self.n_missing += int(missing.sum())
        if present.size == 0:
            return
        self.least = min(self.least, float(present.min()))
        self.largest = max(self.largest, float(present.max()))
        self._merge(present.size, *find_mean_and_deviation(present))
        self._sample(present)

    def _merge(self, n: int, mean: float, deviation: float) -> None:
        total = self.n + n
        with np.errstate(over="ignore", invalid="ignore"):
            distance = mean - self.mean
            share = n / total
            self.deviation = _root_of_sum(
                (1 - share, self.deviation), (share, deviation), (share * (1 - share), distance)
            )
            self.mean = mean if self.n == 0 else self.mean + distance * share
        self.n = total

    def _sample(self, present: NDArray[np.float64]) -> None:
        if self.limit is None:
            self._parts.append(present)
            return
        keys = self._rng.random(present.size)
        if self._keys.size >= self.limit:
            chosen = keys < self._keys.max()
            keys, present = keys[chosen], present[chosen]
        keys, values = np.concatenate([self._keys, keys]), np.concatenate([*self._parts, present])
        if keys.size > self.limit:
            smallest = np.argpartition(keys, self.limit)[: self.limit]
            keys, values = keys[smallest], values[smallest]
        self._keys, self._parts = keys, [values]

    @property
    def sample(self) -> NDArray[np.float64]:
        """The numbers kept: all, or ``limit`` of them at random."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.zeros(0)

    @property
    def exact(self) -> bool:
        """Whether the sample holds all numbers."""
        return self.sample.size == self.n

    @property
    def median(self) -> float:
        """The median of the sample."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.median(self.sample))

    def filled(self, fill: float) -> tuple[float, float]:
        """Mean and standard deviation with the missing numbers replaced by ``fill``.

        A deviation of rounding errors alone counts as 0.
        """
        total = self.n + self.n_missing
        share = self.n_missing / total
        with np.errstate(over="ignore", invalid="ignore"):
            distance = fill - self.mean
            mean = self.mean + share * distance
            scale = _root_of_sum((1 - share, self.deviation), (share * (1 - share), distance))
        rounding = 8 * np.finfo(np.float64).eps * abs(mean)
        return mean, scale if scale > rounding else 0.0


def find_mean_and_deviation(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation (divided by n).

    The distances are divided by the largest before they are squared, which neither over- nor underflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(values))
        distances = values - mean
        largest = float(np.max(np.abs(distances)))
        if largest == 0 or not np.isfinite(largest):
            return mean, largest
        return mean, largest * float(np.sqrt(np.mean(np.square(distances / largest))))


def _root_of_sum(*terms: tuple[float, float]) -> float:
    """√(Σ weight · value²), without overflow on the way."""
    largest = max(abs(value) for _, value in terms)
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(sum(weight * (value / largest) ** 2 for weight, value in terms)))


@dataclass(eq=False)
class TextStatistics:
    """How often each text of a column stands in it, counted part by part.

    Args:
        limit: the most different texts that are counted; None counts all.

    Example:
        >>> found = TextStatistics()
        >>> found.update(pl.Series(["b", None, "a", "b"]))
        >>> found.counts.rows(), found.n_missing
        ([('a', 1), ('b', 2)], 1)
    """

    limit: int | None = None
    n: int = 0
    n_missing: int = 0
    overflowed: bool = False
    counts: pl.DataFrame = field(default_factory=lambda: _no_counts())

    def update(self, texts: pl.Series) -> None:
        """Add a part, missing texts null."""
        self.n_missing += texts.null_count()
        self.n += len(texts) - texts.null_count()
        if self.overflowed:
            return
        found = (
            pl.DataFrame({"text": texts.drop_nulls().cast(pl.String)}).group_by("text").agg(n=pl.len().cast(pl.Int64))
        )
        merged = found if self.counts.is_empty() else pl.concat([self.counts, found]).group_by("text").agg(pl.sum("n"))
        self.counts = merged.sort("text")
        if self.limit is not None and self.counts.height > self.limit:
            self.overflowed = True

    @property
    def n_distinct(self) -> int:
        """Different texts that were counted."""
        return self.counts.height

    @property
    def share_repeated(self) -> float:
        """The share of the present values whose text stands in two rows or more."""
        return 1 - self.counts.filter(pl.col("n") == 1).height / max(self.n, 1)


def _no_counts() -> pl.DataFrame:
    return pl.DataFrame(schema={"text": pl.String, "n": pl.Int64})


@dataclass(eq=False)
class LeakCheck:
    """Whether a column tells the target: each of its values always stands beside the same one.

    Args:
        name: of the column.
        target: of the target.
    """

    name: str
    target: str
    alive: bool = True
    equal: bool = True
    n: int = 0
    _pairs: pl.DataFrame | None = None

    def update(self, series: pl.Series, target: pl.Series) -> None:
        """Add a part of both columns, while it is not yet certain that it does not."""
        if not self.alive and not self.equal:
            return
        if self.n == 0 and series.head(_TRIED).n_unique() > _LEAK_DISTINCT:
            self.alive = False  # most columns of numbers
        left = series.fill_nan(None) if series.dtype.is_float() else series
        if left.null_count():
            there = left.is_not_null()
            left, target = left.filter(there), target.filter(there)
        self.n += len(left)
        if self.equal:
            numeric = series.dtype.is_numeric() and target.dtype.is_numeric()
            self.equal = (numeric or series.dtype == target.dtype) and bool((left == target).all())
        if not self.alive:
            return
        if _differ(left, target):
            self.alive = False
            return
        pairs = pl.DataFrame([left.alias("value"), target.alias("target")]).unique()
        if self._pairs is not None:
            if dict(pairs.schema) != dict(self._pairs.schema):
                self.alive = False
                return
            pairs = pl.concat([self._pairs, pairs]).unique()
        self._pairs = pairs
        self.alive = pairs.height <= _LEAK_DISTINCT and pairs["value"].n_unique() == pairs.height

    def say(self) -> list[str]:
        """A sentence where the column tells the target."""
        pairs = self._pairs
        if pairs is None or self.n < 20:
            return []
        if self.equal:
            return [
                f"{self.name!r}: equal to the target {self.target!r} in every row. Leave it out if it is the answer: "
                f"leave_out={self.name!r} (--leave-out)."
            ]
        if self.alive and pairs["target"].n_unique() > 1 and self.n >= 2 * pairs.height:
            return [
                f"{self.name!r}: each of its {pairs.height} values always stands beside the same {self.target!r}: "
                f"it may hold the answer. Leave it out if it is not known when predicting: leave_out={self.name!r} "
                "(--leave-out)."
            ]
        return []


def _differ(values: pl.Series, target: pl.Series) -> bool:
    """Whether one of the first values stands beside two of the target, as of most columns it does."""
    seen: dict[object, object] = {}
    first = (series.head(_FIRST) for series in (values, target))  # moments as numbers: Python knows no year 10,000
    pairs = zip(*((x.to_physical() if x.dtype.is_temporal() else x).to_list() for x in first), strict=True)
    return any(seen.setdefault(value, label) != label for value, label in pairs)
