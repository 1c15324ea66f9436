"""Callbacks that watch a column of the history: stop early, lower the learning rate on a plateau, keep to a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.train.callbacks import EpochInfo, TrainInfo
from undertow.train.metrics import find_direction

_OF_WATCH: Final = ("monitor", "min_delta", "mode")
MODES: Final = {"auto": "auto", "min": "low", "low": "low", "max": "high", "high": "high"}


class _Watch:
    """A column, which way is better, and the best value so far."""

    def __init__(self, who: str, monitor: str, min_delta: float, mode: str) -> None:
        if not isinstance(monitor, str):
            raise ArgumentError(
                f"{who}: monitor is {monitor!r}. Give the name of a column such as 'validation_loss'; "
                f"a number of epochs is {who}(patience={monitor!r})."
            )
        if mode not in MODES:
            raise ArgumentError(f"{who}: there is no mode {mode!r}. Use 'auto', 'min' or 'max'.")
        self.who = who
        self.monitor = monitor
        self.min_delta = read_number(who, "min_delta", min_delta, least=0)
        self.mode = MODES[mode]
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.direction = self.mode
        self.best: float | None = None
        self.seen = False

    def read(self, info: EpochInfo) -> float | None:
        """The value of an epoch; None where it was not measured this time."""
        if self.monitor not in info.row and not self.seen:
            held = self.monitor.startswith("validation_") and "validation_loss" not in info.row
            why = " Nothing is held out: give validation= a share such as 0.1, or a pair (X, y)." if held else ""
            raise ArgumentError(
                f"{self.who}: the history has no column {self.monitor!r}. It has {', '.join(info.row)}.{why}"
            )
        self.seen = True
        if self.direction == "auto":
            name = self.monitor.removeprefix("validation_")
            found = find_direction(self.monitor) or info.directions.get(name)
            if found is None:
                raise ArgumentError(
                    f"{self.who}: it is not known whether {self.monitor} is to rise or to fall. "
                    "Give mode='min' or mode='max'."
                )
            self.direction = found
        value = info.row.get(self.monitor)
        return None if value is None else float(value)

    def beats(self, value: float, other: float | None) -> bool:
        """Whether a value is better than another by more than min_delta; NaN is better than nothing."""
        if math.isnan(value):
            return False
        if other is None:
            return True
        return value > other + self.min_delta if self.direction == "high" else value < other - self.min_delta


def read_number(who: str, name: str, value: Any, least: float, above: bool = False) -> float:
    """Read a number of a callback's.

    Args:
        who: the callback.
        name: of the argument.
        value: what was given.
        least: the smallest number allowed; with ``above`` it is not allowed itself.
        above: see ``least``.

    Returns:
        The number.

    Raises:
        ArgumentError: ``TimeBudget: seconds must be above 0 and finite, got -1.``

    Source: derived here.

    Example:
        >>> read_number("TimeBudget", "seconds", 5, least=0, above=True)
        5.0
    """
    right = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if not right or value < least or (above and value == least):
        rule = "a number" if least == -math.inf else f"above {least:g}" if above else f"{least:g} or more"
        raise ArgumentError(f"{who}: {name} must be {rule} and finite, got {value!r}.")
    return float(value)


def _read_count(who: str, name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{who}: {name} must be a whole number of {least} or more, got {value!r}.")
    return int(value)


class EarlyStopping:
    """Stop when a column of the history has not improved for some epochs.

    Args:
        monitor: the column to watch.
        patience: how many epochs to wait, 1 or more.
        min_delta: an improvement is better than the best value by more than this, 0 or more.
        mode: ``"min"`` where lower is better, ``"max"`` where higher is; ``"auto"`` knows it of losses and metrics.
        restore_best: whether the run is to hold the model of the best epoch, not of the last. A copy of the
            parameters is kept for it.
        baseline: waiting ends only with a value better than this too; None for none.
        start_epoch: the first epoch that is looked at, from 1.

    NaN is no improvement. An epoch in which the column was not measured (None) does not count.

    Attributes:
        best: the best value; ``best_epoch`` its epoch; ``waited`` how many epochs have passed without a better one.

    Raises:
        ArgumentError: ``EarlyStopping: the history has no column 'validation_loss'. …``, or of a number out of range.

    Source: Goodfellow et al., Deep Learning, 2016, algorithm 7.1.

    Example:
        >>> stop = EarlyStopping("loss", patience=1)
        >>> [stop.on_epoch_end(EpochInfo(i, 9, {"loss": x}, None, [])) for i, x in enumerate([3, 2, 2.5], 1)]
        [False, False, True]
        >>> stop.best, stop.best_epoch
        (2.0, 2)
    """

    @explain_keywords
    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        baseline: float | None = None,
        start_epoch: int = 1,
    ) -> None:
        who = type(self).__name__
        self._watch = _Watch(who, monitor, min_delta, mode)
        self.patience = _read_count(who, "patience", patience, 1)
        self.restore_best = bool(restore_best)
        self.baseline = None if baseline is None else read_number(who, "baseline", baseline, -math.inf)
        self.start_epoch = _read_count(who, "start_epoch", start_epoch, 1)
        self._forget()

    def _forget(self) -> None:
        self._watch.reset()
        self.waited = 0
        self.best_epoch: int | None = None
        self._arrays: list[Any] | None = None

    def settings(self) -> dict[str, Any]:
        """The arguments it was made with, as plain data."""
        names = "monitor", "patience", "min_delta", "mode", "restore_best", "baseline", "start_epoch"
        return {name: getattr(self._watch if name in _OF_WATCH else self, name) for name in names}

    def on_train_begin(self, info: TrainInfo) -> None:
        """Begin anew, unless a run is resumed."""
        if not info.history:
            self._forget()

    @property
    def monitor(self) -> str:
        """The column that is watched."""
        return self._watch.monitor

    @property
    def best(self) -> float | None:
        """The best value so far; None before the first."""
        return self._watch.best

    def on_epoch_end(self, info: EpochInfo) -> bool:
        """Compare this epoch with the best one."""
        value = self._watch.read(info)
        if info.epoch < self.start_epoch or value is None:
            return False
        better = self._watch.beats(value, self._watch.best)
        if better:
            self._watch.best, self.best_epoch = value, info.epoch
            if self.restore_best and info.model is not None:
                self._arrays = [np.array(leaf) for leaf in trees.flatten(info.model)[0] if not callable(leaf)]
        if better and (self.baseline is None or self._watch.beats(value, self.baseline)):
            self.waited = 0
        else:
            self.waited += 1
        if self.waited < self.patience:
            return False
        info.stop(self.explain())
        return True

    def explain(self) -> str:
        """Say why it stops."""
        epochs = "1 epoch" if self.patience == 1 else f"{self.patience} epochs"
        if self.best is None:
            return f"{self.monitor} was no number for {epochs}"
        best = f"its best is {self.best:.4g}, of epoch {self.best_epoch}"
        if self.baseline is not None and not self._watch.beats(self.best, self.baseline):
            return f"{self.monitor} was not better than {self.baseline:g} for {epochs}; {best}"
        return f"{self.monitor} has not improved for {epochs}; {best}"

    def on_train_end(self, info: TrainInfo) -> Any:
        """Give the best model, or None where the last one is to stay."""
        if not self.restore_best or self._arrays is None:
            return None
        leaves, rebuild = trees.flatten(info.model)
        arrays = iter(self._arrays)
        return rebuild([leaf if callable(leaf) else next(arrays) for leaf in leaves])

    def state(self) -> dict[str, Any]:
        """What it remembers, as plain data and arrays."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "seen": self._watch.seen,
            "direction": self._watch.direction,
            "arrays": None if self._arrays is None else list(self._arrays),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self._watch.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]
        self._watch.seen, self._watch.direction = state["seen"], state["direction"]
        self._arrays = None if state["arrays"] is None else [np.array(array) for array in state["arrays"]]


class ReduceOnPlateau:
    """Lower the learning rate when a column of the history has not improved for some epochs.

    It changes ``scale``, a factor that the training loop multiplies into the learning rate of each step.

    Args:
        monitor: the column to watch.
        factor: what the scale is multiplied by, above 0 and below 1.
        patience: how many epochs to wait, 1 or more. PyTorch's, which waits for more than its patience, is one less.
        min_delta, mode: as in `EarlyStopping`.
        cooldown: epochs after a reduction that are not counted, 0 or more.
        min_scale: the scale does not fall below it, 0 or more.

    NaN is no improvement. An epoch in which the column was not measured (None) does not count.

    Attributes:
        scale: what it has come to; ``reductions`` the epochs at whose ends it was lowered.

    Raises:
        ArgumentError: ``ReduceOnPlateau: factor must be above 0 and below 1, got 2.``; an unknown column.

    Source: derived here; the rule of PyTorch's ``ReduceLROnPlateau`` with ``threshold_mode="abs"``.

    Example:
        >>> plateau = ReduceOnPlateau("loss", factor=0.5, patience=2)
        >>> for epoch, loss in enumerate([3, 2, 2, 2, 1], 1):
        ...     plateau.on_epoch_end(EpochInfo(epoch, 9, {"loss": loss}, None, []))
        ...     print(plateau.scale, end=" ")
        1.0 1.0 1.0 0.5 0.5
    """

    @explain_keywords
    def __init__(
        self,
        monitor: str = "validation_loss",
        factor: float = 0.5,
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        cooldown: int = 0,
        min_scale: float = 0.0,
    ) -> None:
        who = type(self).__name__
        self._watch = _Watch(who, monitor, min_delta, mode)
        self.factor = read_number(who, "factor", factor, 0, above=True)
        if self.factor >= 1:
            raise ArgumentError(f"{who}: factor must be above 0 and below 1, got {factor!r}.")
        self.patience = _read_count(who, "patience", patience, 1)
        self.cooldown = _read_count(who, "cooldown", cooldown, 0)
        self.min_scale = read_number(who, "min_scale", min_scale, 0)
        self._forget()

    def _forget(self) -> None:
        self._watch.reset()
        self.scale = 1.0
        self.waited = 0
        self.cooling = 0
        self.reductions: list[int] = []

    def settings(self) -> dict[str, Any]:
        """The arguments it was made with, as plain data."""
        names = "monitor", "factor", "patience", "min_delta", "mode", "cooldown", "min_scale"
        return {name: getattr(self._watch if name in _OF_WATCH else self, name) for name in names}

    def on_train_begin(self, info: TrainInfo) -> None:
        """Begin anew, unless a run is resumed."""
        if not info.history:
            self._forget()

    def on_epoch_end(self, info: EpochInfo) -> None:
        """Compare this epoch with the best one, and lower the scale when it is time."""
        value = self._watch.read(info)
        if value is None:
            return
        if self._watch.beats(value, self._watch.best):
            self._watch.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited >= self.patience:
            self.scale = max(self.scale * self.factor, min(self.scale, self.min_scale))
            self.waited, self.cooling = 0, self.cooldown
            self.reductions.append(info.epoch)

    def state(self) -> dict[str, Any]:
        """What it remembers, as plain data."""
        watch = {"best": self._watch.best, "seen": self._watch.seen, "direction": self._watch.direction}
        found = {name: getattr(self, name) for name in ("scale", "waited", "cooling")}
        return {**found, "reductions": list(self.reductions), **watch}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.scale, self.waited, self.cooling = state["scale"], state["waited"], state["cooling"]
        self.reductions = list(state.get("reductions", ()))  # of a version that did not note them
        self._watch.best, self._watch.seen, self._watch.direction = state["best"], state["seen"], state["direction"]


class TimeBudget:
    """Stop at the end of the first epoch after which a time is used up; a resumed run goes on counting.

    Args:
        seconds: of training, above 0.
        clock: a function that gives seconds.

    Raises:
        ArgumentError: ``TimeBudget: seconds must be above 0 and finite, got -1.``

    Source: derived here.

    Example:
        >>> times = iter([0.0, 3.0, 6.0])
        >>> budget = TimeBudget(5, clock=lambda: next(times))
        >>> budget.on_train_begin(TrainInfo(None, None))
        >>> [budget.on_epoch_end(EpochInfo(epoch, None, {}, None, [])) for epoch in (1, 2)]
        [False, True]
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = read_number("TimeBudget", "seconds", seconds, 0, above=True)
        self.used = 0.0
        self._clock = clock
        self._since: float | None = None

    def on_train_begin(self, info: TrainInfo) -> None:
        """Start the clock: anew, unless a run is resumed."""
        if not info.history:
            self.used = 0.0
        self._since = self._clock()

    def on_epoch_end(self, info: EpochInfo) -> bool:
        """Look at the clock."""
        now = self._clock()
        self.used += 0.0 if self._since is None else now - self._since
        self._since = now
        if self.used < self.seconds:
            return False
        info.stop(f"the {self.seconds:g} seconds of training are used up")
        return True

    def state(self) -> dict[str, Any]:
        """The seconds used."""
        return {"used": self.used}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting from there."""
        self.used = state["used"]
