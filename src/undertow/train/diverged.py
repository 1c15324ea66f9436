"""Where and why a training ended early, and what to try where it stopped being finite."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from undertow import trees
from undertow.errors import TrainingError
from undertow.optim import OPTIMIZERS

if TYPE_CHECKING:
    from undertow.train.run import Run
    from undertow.train.session import NotFinite
    from undertow.train.trainer import Trainer


GUARDS: Final[dict[str, tuple[str, str]]] = {
    "log": ("Keep what the logarithm is given above 0.", "np.log(np.maximum(x, 1e-12))"),
    "log2": ("Keep what the logarithm is given above 0.", "np.log2(np.maximum(x, 1e-12))"),
    "log10": ("Keep what the logarithm is given above 0.", "np.log10(np.maximum(x, 1e-12))"),
    "log1p": ("Keep what the logarithm is given above −1.", "np.log1p(np.maximum(x, -1 + 1e-12))"),
    "sqrt": ("Keep what the root is given above 0, where its slope is finite too.", "np.sqrt(np.maximum(x, 1e-12))"),
    "power": ("Keep what is raised to a fractional power above 0.", "np.maximum(x, 1e-12) ** 0.5"),
    "divide": ("Keep what is divided by away from 0.", "x / np.where(y == 0, 1, y)"),
    "exp": ("Keep what the exponential is given below its limit, 88 in float32.", "np.exp(np.minimum(x, 80))"),
    "arcsin": ("Keep what it is given between −1 and 1.", "np.arcsin(np.clip(x, -1, 1))"),
    "arccos": ("Keep what it is given between −1 and 1.", "np.arccos(np.clip(x, -1, 1))"),
}
"""What to write, by the operation that gives what is not finite: in words, and as code."""
UPDATE: Final = "the update of step "  # how the origin of what an update spoiled begins
DOMAINS: Final = re.compile(
    r"(log2|log10|log1p|log|sqrt|arcsin|arccos) |power .*gives nan |divide .*gives \S+ for \S+, -?0( in |$)"
)
"""The origin of what an operation makes that is given what it is not made for, whatever the weights are."""


class Diverged(TrainingError):
    """The loss or a gradient stopped being finite.

    Attributes:
        run: the run so far; its model is the last one whose parameters were all finite.
    """

    def __init__(self, message: str, run: Run) -> None:
        super().__init__(message)
        self.run = run


def explain_loss(loss: float, epoch: int, step: int, settings: dict[str, Any], origin: str = "") -> str:
    """Say where the loss stopped being finite and what to try."""
    where = f": {origin}" if origin else ""
    first = (epoch, step) == (1, 1)  # the parameters are those that were given: whatever the rate, it has done nothing
    if "before anything is computed" in origin and (first or origin.startswith(("X[", "y["))):
        return f"the loss became {loss} at epoch {epoch}, step {step}{where}. Give numbers that are finite."
    if DOMAINS.match(origin):
        kept, code = GUARDS[origin.split(" ", 1)[0]]
        told = f"the loss became {loss} at epoch {epoch}, step {step}{where}. "
        if first:
            return f"{told}No update was made before, so the learning rate is not the cause. {kept[:-1]}: {code}."
        return f"{told}{kept[:-1]}: {code}. Or t{remedies(settings)[1:]}"
    if first:
        what = "what that operation is given and at " if origin else ""
        return (
            f"the loss became {loss} at epoch {epoch}, step {step}{where}. No update was made before, so the learning "
            f"rate is not the cause. Look at {what}the initial weights, or scale the inputs to mean 0 and "
            "deviation 1."
        )
    if origin.startswith(UPDATE) and " is nan " in origin:
        return f"the loss became {loss} at epoch {epoch}, step {step}{where}. {divisor_of(settings)}"
    return f"the loss became {loss} at epoch {epoch}, step {step}{where}. {remedies(settings)}"


def divisor_of(settings: dict[str, Any]) -> str:
    """Say what to look at where an update made NaN of numbers that were finite."""
    told: dict[str, Any] = settings.get("optimizer") or {}
    small = told.get("epsilon")
    if isinstance(small, int | float) and np.dtype(settings.get("dtype") or "float32").type(small) == 0:
        return (
            f"epsilon={small:g} is 0 in {settings.get('dtype')}, so {told['name']} divides 0 by 0 where a gradient "
            "is 0. Give 1e-8 or more."
        )
    return f"Look at what the update rule {told.get('name') or ''} divides by: 0 / 0 is NaN.".replace("  ", " ")


def explain_failure(trainer: Trainer, error: NotFinite, origin: str = "") -> str:
    """Say what is not finite in the step that follows the last one, where it came from, and what to try."""
    number, settings = trainer.steps_of_epoch + 1, trainer.run.settings
    if not math.isfinite(error.loss):
        return explain_loss(error.loss, trainer.epoch, number, settings, origin)
    try:
        trainer.step.check(trainer.run.model, error.X, error.y)
    except TrainingError as found:
        return f"epoch {trainer.epoch}, step {number}: {found}" + (f" It began here: {origin}." if origin else "")
    return f"epoch {trainer.epoch}, step {number}: the gradient is not finite. {remedies(settings)}"


def explain_spoiled(trainer: Trainer, session: Any) -> str | None:
    """Go back to before a last step that has made parameters not finite, and say which gradient was not finite there.

    Args:
        trainer: the training, of which nothing is recorded: its steps are not looked at one by one.
        session: what did its steps; the trainer's model and state become those before the last one.

    Returns:
        The message; None where the step is not known, or its gradient was finite.

    Source: derived here.
    """
    if trainer.plan.non_finite != "raise" or is_finite(trainer.run.model) or (batch := session.step_back()) is None:
        return None
    trainer.run.model, trainer.state = session.values()
    if is_finite(trainer.run.model):
        try:
            trainer.step.check(trainer.run.model, *batch)
        except TrainingError as found:
            return f"epoch {trainer.epoch}, step {trainer.steps_of_epoch}: {found}"
    return None


def explain_update(trainer: Trainer, origin: str = "") -> str:
    """Say which update, the last of an epoch, made parameters that are not finite, and what to try."""
    settings, where = trainer.run.settings, f": {origin}" if origin else ""
    leaves = trees.flatten(trainer.run.model)[0]
    spoiled = any(np.isnan(leaf).any() for leaf in leaves if not callable(leaf))
    if trainer.session is not None and (told := explain_spoiled(trainer, trainer.session)):
        return told
    return (
        f"the parameters are not finite after epoch {trainer.epoch}, step {trainer.steps_of_epoch}{where}. "
        f"{divisor_of(settings) if spoiled else remedies(settings)}"
    )


def explain_end(trainer: Trainer) -> str:
    """Say where and why a training ended early."""
    n, done = trainer.feed.n_examples, trainer.steps_of_epoch
    steps = None if n is None else -(-n // trainer.feed.batch_size)
    where = f"after epoch {trainer.epoch}"
    if done != steps:
        where = f"in epoch {trainer.epoch}, after {done}{'' if steps is None else f' of {steps}'} steps"
    if trainer.run.stopped == "callback":
        reason = next((reason for reason in trainer.reasons if reason), "as a callback asked for")
        return f"Stopped {where}: {reason}." if trainer.reasons else f"Stopped {where}, {reason}."
    if not trainer.n_steps:
        return "Interrupted before the first step: nothing was trained."
    if trainer.best is not None and trainer.run.model is trainer.best[1]:
        return f"Interrupted {where}. The run holds the model of epoch {trainer.best[0]}, the best so far."
    return f"Interrupted {where}. The run holds what was trained."


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


def is_finite(model: Any) -> bool:
    """Tell whether all parameters are finite."""
    return all(np.isfinite(leaf).all() for leaf in trees.flatten(model)[0] if not callable(leaf))
