"""Records how a gradient flows: what steps told, and looks at chosen ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.flow.layers import FlowLayer
from undertow.flow.observe import make_observer
from undertow.flow.record import SCALARS, Flow
from undertow.flow.table import Rows


class Recorder:
    """A record that grows.

    Args:
        layers: what is looked at.

    Attributes:
        layers: the same.
        observer: what a step computes for it, see `undertow.train.step`.
    """

    def __init__(self, layers: Sequence[FlowLayer]) -> None:
        self.layers = tuple(layers)
        self.observer = make_observer(self.layers)
        self.rows = Rows(len(self.layers))
        self.flow = Flow.empty(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "observer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.observer = make_observer(self.layers)

    def add_steps(self, parts: Any, results: dict[str, Any], first: int, epoch: int, rates: Any) -> int:
        """Take over what steps told.

        Args:
            parts: what an observer measured, see `undertow.train.session.Told`.
            results: ``loss`` of each step, and ``clip`` where the gradient is clipped.
            first: the number of the first of these steps, from 1.
            epoch: in which they were done.
            rates: of each, or one for all.

        Returns:
            How many rows there were before.
        """
        parts = [part for part in parts if len(part.values)]
        n, before = sum(len(part.values) for part in parts), self.rows.n
        if n:
            found = [self.rows.read(part) for part in parts]
            values, norms = (np.concatenate(x) if len(x) > 1 else x[0] for x in zip(*found, strict=True))
            scalars = np.full((n, len(SCALARS)), np.nan)
            columns = dict(zip(SCALARS, scalars.T, strict=True))
            columns["rate"][:] = rates
            for name in ("loss", "clip"):
                told = results.get(name, np.empty(0))[:n]
                columns[name][: len(told)] = told
            for name, norm in zip(("grad_norm", "update_norm", "weight_norm"), norms.T, strict=True):
                columns[name][:] = norm
            self.rows.add(np.arange(first, first + n), epoch, scalars, values)
        return before

    def sizes(self, step: int) -> list[dict[str, Any]]:
        """Tell how large the gradient was in a step, layer by layer, as `measure_gradients` does."""
        flow = self.current()
        if not len(flow):
            return []
        at = flow.at(step)
        rows: list[dict[str, Any]] = [
            {
                "name": x.name,
                "path": x.path,
                **{q: _number(flow.stat(f"{q}.rms")[at, i]) for q in ("dW", "db", "delta")},
            }
            for i, x in enumerate(flow.layers)
            if x.weights is not None
        ]
        last: Any = rows[-1]["dW"] if rows else None
        return [
            {"layer": number, **row, "ratio": row["dW"] / last if last and math.isfinite(last) else None}
            for number, row in enumerate(rows, 1)
        ]

    def current(self) -> Flow:
        """Return the record so far."""
        rows, flow = self.rows, self.flow
        flow.steps, flow.epochs, flow.values = rows.steps[: rows.n], rows.epochs[: rows.n], rows.values[: rows.n]
        flow.scalars = {name: rows.scalars[: rows.n, i] for i, name in enumerate(SCALARS)}
        return flow


def _number(value: Any) -> float | None:
    """A number of a record; None where a layer has none."""
    return None if np.isnan(value) else float(value)
