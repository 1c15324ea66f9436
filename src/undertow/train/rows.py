"""The rows of a history: what an epoch brought."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from undertow.errors import ArgumentError
from undertow.optim import build_schedule
from undertow.train.forward import CHUNK
from undertow.train.history import Row

if TYPE_CHECKING:
    from undertow.train.trainer import Trainer


def make_row(trainer: Trainer, begun: float) -> Row:
    """Make the row of the history for the epoch that ends.

    Args:
        trainer: the training.
        begun: when the epoch began, or what was left of it.

    Returns:
        The row.

    Source: derived here.
    """
    speed = trainer.seen / max(time.perf_counter() - begun, 1e-9)
    total, weight = (math.fsum(pair[i] for pair in trainer.totals) for i in range(2))
    loss = total / weight if weight else math.nan
    row: dict[str, Any] = {"epoch": trainer.epoch, "step": trainer.n_steps, "loss": loss}
    if trainer.metrics:
        measured = trainer.evaluate_on([trainer.feed.to_measure(trainer.epoch - 1, CHUNK)])
        row |= {name: value for name, value in measured.items() if name != "loss"}
    if trainer.held is not None:
        measured = trainer.evaluate_on(trainer.held, trainer.feed.by_class)
        row |= {f"validation_{name}": value for name, value in measured.items()}
    if trainer.clipped:
        row["clipped"] = sum(trainer.clipped) / len(trainer.clipped)
    rate = read_rate(trainer)
    if rate is not None:
        row["rate"] = rate
    return Row({**row, "seconds": trainer.elapsed(), "examples_per_second": speed})


def read_rate(trainer: Trainer) -> float | None:
    """Return the learning rate of the next step; None where it is the same throughout, or there is no single one."""
    optimizer: Any = trainer.plan.optimizer
    base = optimizer.settings.get("rate")
    if isinstance(base, int | float):
        return base * read_scale(trainer) if trainer.scales else None
    schedule = find_schedule(optimizer)
    count = float(trainer.n_steps // trainer.plan.accumulate)
    return None if schedule is None else float(schedule(count)) * read_scale(trainer)


def find_schedule(optimizer: Any) -> Any:
    """Return the learning rate of an optimizer as a function of the step; None where there is no single one."""
    if optimizer.schedule is not None:
        return optimizer.schedule
    try:
        return build_schedule(optimizer.settings.get("rate"))
    except ArgumentError:
        return None


def read_scale(trainer: Trainer) -> float:
    """Return by what the callbacks multiply the learning rate."""
    return math.prod(getattr(callback, "scale", 1.0) for callback in trainer.hooks.callbacks)
