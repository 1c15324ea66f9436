"""The numbers of steps, as a record keeps them while it grows."""

from __future__ import annotations

import math
from typing import Any, Final

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


class Rows:
    """The numbers of steps, in memory that grows; of very many steps, every second is dropped again and again."""

    def __init__(self, n_layers: int) -> None:
        self.n, self.stride, self.n_layers = 0, 1, n_layers
        self.most = max(LARGEST // max(len(STATS) * n_layers, 1), 1000)
        self.pickers: dict[Any, Picker] = {}
        self._allocate(256)

    def _allocate(self, size: int) -> None:
        self.steps, self.epochs = np.empty(size, np.int64), np.empty(size, np.int64)
        self.scalars = np.empty((size, len(SCALARS)))
        self.values = np.empty((size, len(STATS), self.n_layers), np.float32)

    def put(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Begin with these rows, and go on as often as the last of them were kept."""
        self.stride = int(np.diff(steps[-9:]).min()) if len(steps) > 1 else 1
        self._grow(len(steps))
        self.n = len(steps)
        self.steps[: self.n], self.epochs[: self.n] = steps, epochs
        self.scalars[: self.n], self.values[: self.n] = scalars, values

    def add(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Append rows."""
        if self.stride > 1:
            kept = (steps - 1) % self.stride == 0
            steps, epochs, scalars, values = steps[kept], epochs[kept], scalars[kept], values[kept]
        self._grow(self.n + len(steps))
        rows = slice(self.n, self.n + len(steps))
        self.steps[rows], self.epochs[rows], self.scalars[rows], self.values[rows] = steps, epochs, scalars, values
        self.n = rows.stop

    def _grow(self, wanted: int) -> None:
        if wanted <= len(self.steps):
            return
        old: list[Array] = [self.steps, self.epochs, self.scalars, self.values]
        self._allocate(max(wanted, min(2 * len(self.steps), self.most + 4096)))
        new: list[Array] = [self.steps, self.epochs, self.scalars, self.values]
        for mine, before in zip(new, old, strict=True):
            mine[: self.n] = before[: self.n]

    def thin(self) -> None:
        """Drop every second step where there are too many."""
        if self.n <= self.most:
            return
        self.stride *= 2
        kept = np.flatnonzero((self.steps[: self.n] - 1) % self.stride == 0)
        for array in (self.steps, self.epochs, self.scalars, self.values):
            array[: len(kept)] = array[kept]
        self.n = len(kept)

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

    def read(self, part: Any) -> tuple[Array, Array]:
        """Make of sums what a record holds, (steps, 25, layers), and the norms of `NORMS`, (steps, 3)."""
        picker = self.picker(part)
        picked, sums = picker(part.values)
        found = picked.reshape(len(picked), len(STATS), self.n_layers)
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
