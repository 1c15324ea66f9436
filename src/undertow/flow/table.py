"""The numbers of steps, as a record keeps them while it grows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.flow.record import KINDS, QUANTITIES, SCALARS, STATS

Array = NDArray[Any]
LARGEST: Final = 32_000_000  # numbers of layers that are kept; beyond, every second step is dropped


class Rows:
    """The numbers of steps, in memory that grows; of very many steps, every second is dropped again and again."""

    def __init__(self, n_layers: int) -> None:
        self.n, self.stride, self.n_layers = 0, 1, n_layers
        self.most = max(LARGEST // max(len(STATS) * n_layers, 1), 1000)
        self.plans: dict[Any, dict[str, Any]] = {}
        self._allocate(256)

    def _allocate(self, size: int) -> None:
        self.steps, self.epochs = np.empty(size, np.int64), np.empty(size, np.int64)
        self.scalars = np.empty((size, len(SCALARS)))
        self.values = np.empty((size, len(STATS), self.n_layers), np.float32)

    def put(self, steps: Array, epochs: Array, scalars: Array, values: Array) -> None:
        """Begin with these rows."""
        self._grow(len(steps))
        self.n = len(steps)
        self.steps[: self.n], self.epochs[: self.n] = steps, epochs
        self.scalars[: self.n], self.values[: self.n] = scalars, values

    def add(self, steps: Array, epoch: int, scalars: Array, values: Array) -> None:
        """Append rows."""
        if self.stride > 1:
            kept = (steps - 1) % self.stride == 0
            steps, scalars, values = steps[kept], scalars[kept], values[kept]
        self._grow(self.n + len(steps))
        rows = slice(self.n, self.n + len(steps))
        self.steps[rows], self.epochs[rows], self.scalars[rows], self.values[rows] = steps, epoch, scalars, values
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

    def plan(self, part: Any) -> dict[str, Any]:
        """Where each number that steps tell goes."""
        if part.names not in self.plans:
            split = [name.split(".") for name in part.names]
            plan: dict[str, Any] = {}
            for kind in ("ss", "s", "max", "zeros", "flat"):
                columns = [i for i, (_, _, k) in enumerate(split) if k == kind]
                layers = np.array([int(split[i][0]) for i in columns], int)
                if kind in ("zeros", "flat"):
                    stats = np.full(len(columns), STATS.index("zeros" if kind == "zeros" else "saturated"))
                else:
                    ends = dict(zip(("ss", "s", "max"), KINDS, strict=True))
                    stats = np.array([STATS.index(f"{split[i][1]}.{ends[kind]}") for i in columns], int)
                plan[kind] = np.array(columns, int), stats, layers
            for q in QUANTITIES:
                plan[q] = np.array([i for i, (_, x, k) in enumerate(split) if x == q and k == "ss"], int)
            self.plans[part.names] = plan
        return self.plans[part.names]

    def read(self, part: Any) -> Array:
        """Make of sums what a record holds, (steps, 25, layers)."""
        plan, values, counts = self.plan(part), part.values, part.counts
        found = np.full((len(values), len(STATS), self.n_layers), np.nan, np.float32)
        with np.errstate(all="ignore"):
            for kind in ("ss", "s", "max", "zeros", "flat"):
                columns, stats, layers = plan[kind]
                taken = values[:, columns]
                if kind != "max":
                    taken = taken / counts[columns]
                found[:, stats, layers] = np.sqrt(taken) if kind == "ss" else taken
            at = STATS.index
            for kind in KINDS:  # where nothing comes after z, h is z
                z, h = found[:, at(f"z.{kind}")], found[:, at(f"h.{kind}")]
                np.copyto(h, z, where=np.isnan(h))
            found[:, at("ratio")] = found[:, at("update.rms")] / found[:, at("W.rms")]
            bad = found[:, at("nonfinite")]
            bad[:] = 0
            columns, stats, layers = plan["max"]
            for q in ("z", "delta", "dW"):
                of_q = stats == at(f"{q}.max")
                bad[:, layers[of_q]] += ~np.isfinite(values[:, columns[of_q]])
        return found

    def norms(self, part: Any, quantities: tuple[str, ...]) -> Array:
        """The norm of all these together, for each step."""
        columns = np.concatenate([self.plan(part)[q] for q in quantities])
        with np.errstate(all="ignore"):
            return np.asarray(np.sqrt(part.values[:, columns].sum(axis=1)))
