"""Training that stopped being finite: the error, and what to try."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from undertow.errors import TrainingError
from undertow.optim import OPTIMIZERS

if TYPE_CHECKING:
    from undertow.train.run import Run


class Diverged(TrainingError):
    """The loss or a gradient stopped being finite.

    Attributes:
        run: the run so far; its model is the last one whose parameters were all finite.
    """

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def explain_loss(loss: float, epoch: int, step: int, settings: dict[str, Any]) -> str:
    """Say where the loss stopped being finite and what to try."""
    return f"the loss became {loss} at epoch {epoch}, step {step}. {remedies(settings)}"


def remedies(settings: dict[str, Any]) -> str:
    """Say what to try where training diverged."""
    name, rate = settings["optimizer"]["name"], settings["optimizer"].get("rate")
    found = []
    if isinstance(rate, int | float) and rate:
        usual = inspect.signature(OPTIMIZERS[name]).parameters["rate"].default if name in OPTIMIZERS else None
        hint = f" ({usual:g} is usual with {name})" if usual and rate > 10 * usual else ""
        found.append(f"a learning rate below {rate:g}{hint}")
    else:
        found.append("a lower learning rate")
    if settings["clip"] is None:
        found.append("clip=undertow.optim.clip_by_global_norm(1.0)")
    found.append("inputs scaled to mean 0 and deviation 1")
    if settings["task"] in ("binary", "categorical") and not settings["logits"]:
        found.append("a model without its last activation, so that the loss takes logits")
    return f"Try {', or '.join(found)}."
