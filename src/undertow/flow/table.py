"""The numbers of steps, as a record keeps them while it grows."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow.compile.picking import Picker
from undertow.flow.record import SCALARS, SHARES, STATS

Array = NDArray[Any]
NORMS: Final = (("dW", "db"), ("update",), ("W",))  # of which the norms of gradient, update and weights are
VALUES: Final = ("z", "h", "delta")  # whose squares are added up only to see whether they are finite
ROOTS: Final = [i for i, stat in enumerate(STATS) if stat.endswith(".rms")]
LOOKED_AT: Final = ("z", "delta", "dW")  # where numbers that are not finite are counted
LARGEST: Final = 32_000_000  # numbers of layers that are kept; beyond, every second step is dropped
FEWER: Final = LARGEST // 8  # where the examples are more than memory holds
MANY, LARGE = 64, 1000  # so many additions of fewer rows than this, on average, are put together


class Kept(NamedTuple):
    """Rows of a record: the steps (s,), their epochs (s,), scalars (s, 6) and values (s, 25, layers)."""

    steps: Array
    epochs: Array
    scalars: Array
    values: Array


class Rows:
    """The numbers of steps, in memory that grows; of very many steps, every second is dropped again and again."""

    def __init__(self, n_layers: int) -> None:
        self.n, self.stride, self.n_layers = 0, 1, n_layers
        self.waiting: list[Kept] = []  # the last rows, which are not side by side with the others yet
        self.settled = 0  # rows that are
        self.keep(LARGEST)
        self.pickers: dict[Any, Picker] = {}
        self._allocate(256)

    def _allocate(self, size: int) -> None:
        steps, epochs, scalars = np.empty(size, np.int64), np.empty(size, np.int64), np.empty((size, len(SCALARS)))
        self.kept = Kept(steps, epochs, scalars, np.empty((size, len(STATS), self.n_layers), np.float32))

    def keep(self, numbers: int) -> None:
        """Keep so many numbers of layers at most."""
        self.most = max(numbers // max(len(STATS) * self.n_layers, 1), 1000)

    def put(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Begin with these rows, and go on as often as the last of them were kept."""
        self.stride = int(np.diff(steps[-9:]).min()) if len(steps) > 1 else 1
        self.n, self.settled, self.waiting = len(steps), 0, [Kept(steps, epochs, scalars, values)]
        self.settle()

    def add(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Append rows; the arrays are kept as they are."""
        rows = Kept(steps, epochs, scalars, values)
        if self.stride > 1:
            kept = (steps - 1) % self.stride == 0
            rows = Kept(*(array[kept] for array in rows))
        self.waiting.append(rows)
        self.n += len(rows.steps)
        if len(self.waiting) > MANY and self.n - self.settled < MANY * LARGE:
            self.settle()

    def settle(self) -> Kept:
        """Put all rows side by side.

        Returns:
            All of them: views, of which the next rows change nothing.
        """
        if self.n > len(self.kept.steps):
            old = self.kept
            self._allocate(max(self.n, min(2 * len(old.steps), self.most + 4096)))
            for mine, before in zip(self.kept, old, strict=True):
                mine[: self.settled] = before[: self.settled]
        for rows in self.waiting:
            place = slice(self.settled, self.settled + len(rows.steps))
            for mine, new in zip(self.kept, rows, strict=True):
                mine[place] = new
            self.settled = place.stop
        self.waiting = []
        return Kept(*(array[: self.n] for array in self.kept))

    def after(self, step: int) -> Kept:
        """Return the rows of later steps than this one."""
        late: list[Kept] = []
        for rows in reversed(self.waiting):
            if len(rows.steps) and rows.steps[0] <= step:
                break
            late.insert(0, rows)
        else:  # some may lie side by side already
            return self._later(self.settle(), step)
        if not late:
            return self._later(rows, step)
        return Kept(*(np.concatenate(x) for x in zip(self._later(rows, step), *late, strict=True)))

    @staticmethod
    def _later(rows: Kept, step: int) -> Kept:
        first = int(np.searchsorted(rows.steps, step, "right"))
        return Kept(*(array[first:] for array in rows))

    def thin(self) -> None:
        """Drop every second step where there are too many."""
        if self.n <= self.most:
            return
        self.settle()
        self.stride *= 2
        kept = np.flatnonzero((self.kept.steps[: self.n] - 1) % self.stride == 0)
        for array in self.kept:
            array[: len(kept)] = array[kept]
        self.n = self.settled = len(kept)

    def picker(self, part: Any) -> Picker:
        """What makes rows of this record of what steps tell, and adds up the squares of `NORMS`."""
        key = part.names, part.counts.tobytes()
        if key not in self.pickers:
            places = {name: i for i, name in enumerate(part.names)}
            columns, factors, roots = [], [], []
            for stat in STATS:
                for i in range(self.n_layers):
                    column = next((places[x] for x in _sources(stat, i) if x in places), None)
                    columns.append(column or 0)
                    is_max = stat.endswith(".max")
                    factors.append(np.nan if column is None else 1.0 if is_max else 1 / max(part.counts[column], 1))
                    roots.append(stat.endswith(".rms"))
            groups = [*((group, "ss") for group in (*NORMS, VALUES)), (LOOKED_AT, "max")]
            wanted = [[f"{i}.{q}.{kind}" for q in group for i in range(self.n_layers)] for group, kind in groups]
            members = [[places[name] for name in names if name in places] for names in wanted]
            self.pickers[key] = Picker(columns, factors, roots, members)
        return self.pickers[key]

    def read(self, part: Any, found: Array | None = None) -> tuple[Array, Array]:
        """Make of sums what a record holds, (steps, 25, layers), and the norms of `NORMS`, (steps, 3).

        Args:
            part: what an observer measured.
            found: where the first goes; else to an array that is made.
        """
        picker = self.picker(part)
        if found is None:
            found = np.empty((len(part.values), len(STATS), self.n_layers), np.float32)
        _, sums = picker(part.values, found)
        at = STATS.index
        with np.errstate(all="ignore"):
            finite = np.isfinite(sums.sum())
            if not finite and np.isinf(found[:, ROOTS]).any():
                _mend(found, sums, part, self.n_layers)
            np.divide(found[:, at("update.rms")], found[:, at("W.rms")], out=found[:, at("ratio")])
            found[:, at("nonfinite")] = 0
            if not finite and not np.isfinite(sums[:, -1].sum()):  # it is exact: the largest magnitudes do not overflow
                known = np.isfinite(picker.factors).reshape(found.shape[1:])
                for q in LOOKED_AT:
                    largest = found[:, at(f"{q}.max")]
                    found[:, at("nonfinite")] += ~np.isfinite(largest) & known[at(f"{q}.max")]
            return found, np.sqrt(sums[:, : len(NORMS)])


def _sources(stat: str, i: int) -> list[str]:
    """The names of the numbers that a number of a record is made of; where nothing comes after z, h is z."""
    if stat in SHARES:
        return [f"{i}.h.{'flat' if stat == 'saturated' else stat}"]
    q, kind = stat.split(".")
    end = {"rms": "ss", "mean": "s", "max": "max"}[kind]
    return [f"{i}.{q}.{end}"] + ([f"{i}.z.{end}"] if q == "h" else [])


def _mend(found: Array, sums: Array, part: Any, n_layers: int) -> None:
    """Put root mean squares in the place of those whose squares float32 does not hold, though all numbers are finite.

    The largest magnitude is exact, and the root mean square by it changes slowly: taken is that of the step before, and
    where there is none, that of n normal numbers.

    Source: derived here; the largest of normal numbers: Cramér, Mathematical methods of statistics, 1946, eq. 28.6.14.
    """
    counts = dict(zip(part.names, part.counts, strict=True))
    over = np.zeros((len(found), len(STATS), n_layers), bool)
    for r in ROOTS:
        q = STATS[r].partition(".")[0]
        rms, largest = found[:, r], found[:, STATS.index(f"{q}.max")]
        over[:, r] = np.isinf(rms) & np.isfinite(largest)
        for i in np.flatnonzero(over[:, r].any(axis=0)):
            n = max(int(next(counts[x] for x in _sources(STATS[r], int(i)) if x in counts)), 1)
            b = math.sqrt(2 * math.log(2 * max(n, 2)))
            share = max(n**-0.5, 1 / (b - (math.log(b * b / 2) + math.log(4 * math.pi)) / (2 * b)))
            for row in range(len(found)):
                if over[row, r, i]:
                    rms[row, i] = min(share, 1.0) * largest[row, i]
                elif 0 < rms[row, i] < np.inf:
                    share = float(rms[row, i] / largest[row, i])
    for g, group in enumerate(NORMS):
        rows = np.flatnonzero(over[:, [STATS.index(f"{q}.rms") for q in group]].any(axis=(1, 2)))
        sizes = [(q, np.array([counts.get(f"{i}.{q}.ss", 0) for i in range(n_layers)], np.float64)) for q in group]
        squares = [np.square(found[rows, STATS.index(f"{q}.rms")], dtype=np.float64) * n for q, n in sizes]
        sums[rows, g] = np.sum([np.nansum(x, axis=1) for x in squares], axis=0)
