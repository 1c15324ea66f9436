"""The record of a training: how the gradient flowed, layer by layer, step by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ArgumentError
from undertow.flow.layers import FlowLayer
from undertow.spelling import did_you_mean

# What is measured of each of these: its root mean square, its mean, its largest magnitude.
QUANTITIES: Final = ("z", "h", "delta", "dW", "db", "W", "update")
KINDS: Final = ("rms", "mean", "max")
SHARES: Final = ("ratio", "zeros", "saturated", "nonfinite")
STATS: Final = (*(f"{q}.{kind}" for q in QUANTITIES for kind in KINDS), *SHARES)
SCALARS: Final = ("loss", "rate", "grad_norm", "clip", "update_norm", "weight_norm")

# Shares of h beyond which a unit is in a flat part of its activation: its slope is below 4 % of the steepest.
FLAT: Final[dict[str, tuple[float, float]]] = {
    "sigmoid": (0.01, 0.99),
    "tanh": (-0.98, 0.98),
    "lecun_tanh": (-1.68, 1.68),
    "hard_tanh": (-0.999999, 0.999999),
    "hard_sigmoid": (0.000001, 0.999999),
    "softsign": (-0.8, 0.8),
}
RELUS: Final = ("relu", "relu6")  # a unit that gives 0 for everything gets no gradient


@dataclass(frozen=True)
class Look:
    """What was measured at a chosen step, on a part of the training examples.

    Attributes:
        step: how many steps had been done.
        epoch: in which epoch; 0 before the first.
        n_examples: how many examples were looked at.
        loss: on these.
        noise_scale: the simple noise scale of the gradient, tr Σ / |G|², in examples; None where it cannot be had.
        layers: of each layer, what is described in docs/flow.md: histograms, dead and saturated units, rank, ….
    """

    step: int
    epoch: int
    n_examples: int
    loss: float
    noise_scale: float | None
    layers: list[dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(eq=False)
class Flow:
    """How the gradient flowed in a training.

    Attributes:
        layers: what was looked at, in the order of the forward pass.
        steps: int64 (s,), the numbers of the recorded steps, from 1: every step; of a very long training only the
            first ones, and then every second, every fourth, …
        epochs: int64 (s,), in which epoch each was.
        scalars: float64 (s,) by name: ``loss`` before the step, ``rate``, ``grad_norm`` before clipping, ``clip`` (the
            factor by which the gradient was multiplied; NaN where nothing clips), ``update_norm``, ``weight_norm``.
        values: float32 (s, 25, layers): the numbers that `stat` returns by name.
        looks: what was measured more closely at chosen steps.
        facts: of the data and the task, measured before the first step; plain data.
        settings: how it was trained, as plain data.
        history: the rows of the run.
        stopped: how the training ended: ``"finished"``, ``"diverged"``, …; ``""`` while it goes on.

    Source: derived here.

    Example:
        >>> flow = Flow.empty((FlowLayer(1, "layers[0]", "Dense(4, 2)", "Dense", "layers[0]"),))
        >>> len(flow), flow.stat("delta.rms").shape
        (0, (0, 1))
    """

    layers: tuple[FlowLayer, ...]
    steps: NDArray[np.int64]
    epochs: NDArray[np.int64]
    scalars: dict[str, NDArray[np.float64]]
    values: NDArray[np.float32]
    looks: list[Look] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""

    names = STATS

    @classmethod
    def empty(cls, layers: tuple[FlowLayer, ...]) -> Flow:
        """Make a record in which there is nothing yet."""
        none = np.empty(0, np.int64)
        scalars = {name: np.empty(0) for name in SCALARS}
        return cls(layers, none, none, scalars, np.empty((0, len(STATS), len(layers)), np.float32))

    @property
    def of_loop(self) -> bool:
        """Whether it is of a loop of one's own, see `undertow.flow.recorded`."""
        return "mixture" in self.facts

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        last = f", last {self.steps[-1]}" if len(self) else ""
        return f"Flow({len(self.layers)} layers, {len(self)} steps{last}, {len(self.looks)} looks)"

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from undertow.flow.show import flow_table

        yield flow_table(self, width=options.max_width)

    def _repr_html_(self) -> str:
        from undertow.flow.show import flow_html

        return flow_html(self)

    @property
    def paths(self) -> list[str]:
        """The paths of the layers."""
        return [layer.path for layer in self.layers]

    def stat(self, name: str) -> NDArray[np.float32]:
        """Return one number of all layers at all steps.

        Args:
            name: ``"delta.rms"``, ``"h.mean"``, ``"dW.max"``, … (z, h, delta, dW, db, W, update; rms, mean, max), or
                ``"ratio"`` (RMS of the update by that of W), ``"zeros"`` (the share of h that is 0), ``"saturated"``
                (the share in the flat parts of the activation), ``"nonfinite"`` (in how many of z, δ
                and dW, 0 to 3, something is not finite).

        Returns:
            float32 (steps, layers); NaN where a layer has no such thing.

        Raises:
            ArgumentError: ``a flow has no 'delta.std'. …``
        """
        if name not in STATS:
            raise ArgumentError(f"a flow has no {name!r}. {did_you_mean(name, STATS)}There are {', '.join(STATS)}.")
        return self.values[:, STATS.index(name), :]

    def at(self, step: int) -> int:
        """Return the row of a step: the last recorded one that is not after it.

        Raises:
            ArgumentError: ``step must be a whole number of 0 or more, got 'a'. This record has steps 1 to 300.``
        """
        return max(int(np.searchsorted(self.steps, self._read_step(step), "right")) - 1, 0)

    def look(self, step: int | None = None) -> Look | None:
        """Return the look at a step, or the latest before it; the last one unless told.

        Raises:
            ArgumentError: as `at`.
        """
        last = None if step is None else self._read_step(step)
        found = [x for x in self.looks if last is None or x.step <= last]
        return found[-1] if found else None

    def _read_step(self, step: Any) -> int:
        """The number of a step."""
        if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
            there = (
                f"This record has steps {self.steps[0]} to {self.steps[-1]}." if len(self) else "It has no steps yet."
            )
            raise ArgumentError(f"step must be a whole number of 0 or more, got {step!r}. {there}")
        return min(int(step), np.iinfo(np.int64).max)
