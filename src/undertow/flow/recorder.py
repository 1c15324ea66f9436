"""Records how a gradient flows: what steps told, and looks at chosen ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import UndertowError
from undertow.flow.layers import FlowLayer
from undertow.flow.observe import make_observer
from undertow.flow.origin import find_origin
from undertow.flow.reach import find_blocked, find_unread
from undertow.flow.record import SCALARS, STATS, Flow
from undertow.flow.table import Kept, Rows
from undertow.train.derive import Gradient
from undertow.train.diverged import UPDATE

AT_ONCE: Final = 1000  # steps that are put into the record together
LOSS, RATE, CLIP = (SCALARS.index(name) for name in ("loss", "rate", "clip"))
NORMED: Final = [SCALARS.index(name) for name in ("grad_norm", "update_norm", "weight_norm")]


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
        self.waiting: list[tuple[Any, ...]] = []  # what steps told and is in no row yet
        self.n_waiting = 0
        self.flow = Flow.empty(self.layers)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "observer"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.observer = make_observer(self.layers)

    def add_steps(self, parts: Any, results: dict[str, Any], first: int, epoch: int, rates: Any) -> None:
        """Take over what steps told; it is put into the record some time later, many steps at once.

        Args:
            parts: what an observer measured, see `undertow.train.session.Told`.
            results: ``loss`` of each step, and ``clip`` where the gradient is clipped.
            first: the number of the first of these steps, from 1.
            epoch: in which they were done.
            rates: of each, or one for all.
        """
        parts = [part for part in parts if len(part.values)]
        n = sum(len(part.values) for part in parts)
        if n:
            self.waiting.append((parts, results.get("loss"), results.get("clip"), first, epoch, rates, n))
            self.n_waiting += n
            if self.n_waiting >= AT_ONCE:
                self.take_in()

    def take_in(self) -> None:
        """Put what waits into the record."""
        if not self.waiting:
            return
        waiting, n, self.waiting, self.n_waiting = self.waiting, self.n_waiting, [], 0
        values = np.empty((n, len(STATS), len(self.layers)), np.float32)
        scalars = np.full((n, len(SCALARS)), np.nan)
        start = 0
        for part in (part for parts, *_ in waiting for part in parts):
            rows = slice(start, start + len(part.values))
            scalars[rows, NORMED] = self.rows.read(part, values[rows])[1]
            start = rows.stop
        steps, epochs = np.empty(n, np.int64), np.empty(n, np.int64)
        start = 0
        for _, losses, clips, first, epoch, rates, count in waiting:
            rows = slice(start, start + count)
            steps[rows], epochs[rows] = np.arange(first, first + count), epoch
            scalars[rows, RATE] = rates
            for column, told in ((LOSS, losses), (CLIP, clips)):
                if told is not None:
                    scalars[start : start + min(count, len(told)), column] = told[:count]
            start += count
        self.rows.add(steps, epochs, scalars, values)

    def sizes(self, part: Any) -> list[dict[str, Any]]:
        """Tell how large the gradient was in the first of some steps, as `measure_gradients` does."""
        row = self.rows.read(part._replace(values=part.values[:1]))[0][0]  # (numbers, layers)
        sizes = {q: row[STATS.index(f"{q}.rms")].tolist() for q in ("dW", "db", "delta")}
        rows: list[dict[str, Any]] = [
            {"name": x.name, "path": x.path, **{q: _number(of_all[i]) for q, of_all in sizes.items()}}
            for i, x in enumerate(self.layers)
            if x.weights is not None
        ]
        last = rows[-1]["dW"] if rows else None
        comparable = last is not None and math.isfinite(last) and last > 0
        return [
            {"layer": number, **row, "ratio": row["dW"] / last if comparable and row["dW"] is not None else None}
            for number, row in enumerate(rows, 1)
        ]

    def trace_back(
        self, loss_function: Any, model: Any, X: Any, target: Any, *, step: int, epoch: int, loss: float
    ) -> str:
        """Note where what is not finite came from, see `find_origin`, and say it; ``""`` where it is unknown."""
        found: dict[str, Any] | None = None
        with contextlib.suppress(UndertowError):
            found = find_origin(loss_function, model, X, target)
        if found is not None and found["where"] == "parameters" and step > 1:
            what = found["sentence"].replace(" before anything is computed", "")
            said = f"{UPDATE}{step - 1} took a gradient that is finite, but {what}"
            found |= {"where": "update", "sentence": said}
        told = {"step": step, "epoch": epoch, "loss": loss}
        self.flow.facts["non_finite"] = {**told, **(found or {"where": "unknown", "sentence": ""})}
        return "" if found is None else str(found["sentence"])

    def note_blocked(self, gradient: Gradient, model: Any, X: Any, target: Any) -> None:
        """Note which parameters get no gradient since what comes after them is flat, see `find_blocked`."""
        leaves, rebuild = trees.flatten(model)
        program = gradient.program_for(leaves, rebuild, X, target)
        if program is not None and program.unreached:
            self.flow.facts["blocked"] = find_blocked(gradient.loss_function, model, X, target)
            unread = find_unread(gradient.loss_function, model, X, target)
            self.flow.facts |= {"unread": unread} if unread else {}

    def current(self) -> Flow:
        """Return the record so far."""
        self.take_in()
        return self._put(self.flow, self.rows.settle())

    def after(self, step: int) -> Flow:
        """Return the record of later steps than this one."""
        self.take_in()
        return self._put(Flow.empty(self.layers), self.rows.after(step))

    @staticmethod
    def _put(flow: Flow, rows: Kept) -> Flow:
        flow.steps, flow.epochs, flow.values = rows.steps, rows.epochs, rows.values
        flow.scalars = {name: rows.scalars[:, i] for i, name in enumerate(SCALARS)}
        return flow


def _number(value: float) -> float | None:
    """A number of a record; None where a layer has none."""
    return None if math.isnan(value) else value
