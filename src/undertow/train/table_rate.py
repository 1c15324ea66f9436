"""The updates of a training on a table: the rule, its learning rate, and when that falls."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from undertow import optim
from undertow.errors import ArgumentError
from undertow.train.stopping import ReduceOnPlateau
from undertow.train.table_settings import TableSettings, choose_name, read_rule

if TYPE_CHECKING:
    from undertow.train.trainer import Trainer

ON_PLATEAU: Final = "reduce_on_plateau"
_LISTS: Final = ("warmup", "table", "piecewise")  # of what no option can be made
_SCHEDULES: Final = [*(name for name in optim.SCHEDULES if name not in _LISTS), ON_PLATEAU]
_WRITTEN: Final = {"exponential": "factor=0.01", "step_decay": "factor=0.5,every=500"}


def make_optimizer(settings: TableSettings, n_rows: int | None) -> Any:
    """Make the update rule with its learning rate and schedule."""
    record = read_rule(settings.optimizer or "adamw", "--optimizer")
    make = optim.OPTIMIZERS[choose_name(record["name"], "--optimizer", optim.OPTIMIZERS)]
    if "rate" in record:
        raise ArgumentError(f"--optimizer {settings.optimizer}: give the rate with --rate.")
    if settings.decay:
        if "decay" not in _taken(make):
            raise ArgumentError(f"--decay: {record['name']} has no decay. Use adamw, or --l2.")
        record["decay"] = settings.decay
    elif "decay" in _taken(make):
        record.setdefault("decay", 0.0)
    return optim.build_optimizer({**record, "rate": make_schedule(settings, n_rows)})


def make_schedule(settings: TableSettings, n_rows: int | None) -> Any:
    """Make the learning rate of an optimizer: a number, or the description of a schedule over all steps."""
    rate = settings.rate
    if rate is not None and not 0 < rate < math.inf:
        raise ArgumentError(f"--rate {rate:g}: give a number above 0.")
    if not 0 <= (settings.warmup or 0) < math.inf:
        raise ArgumentError(f"--warmup {settings.warmup:g}: give a number of epochs, 0 or more.")
    name, record = _read_schedule(settings.schedule or "constant")
    batches = _count_batches(settings, n_rows)
    rise, _, total = count_warmup(settings, n_rows)
    if name == ON_PLATEAU:
        name, record = _on_plateau(settings, batches, rise)
    make = optim.SCHEDULES[name]
    if make is optim.constant and not rise:
        optim.constant(rate or 0)
        return rate
    taken = _taken(make)
    if "steps" in taken and "steps" not in record:
        if total is None:
            raise ArgumentError(f"--schedule {settings.schedule}: how many steps? Give --epochs or --steps.")
        record["steps"] = max(total - rise, 2)
    if "rate" in taken:
        record["rate"] = rate
    try:
        schedule = optim.build_schedule({"schedule": name, **record})
    except ArgumentError as error:
        raise ArgumentError(f"--schedule {settings.schedule}: {error}") from None
    return optim.warmup(schedule, rise, start=(rate or 0) / 10) if rise else schedule


def count_warmup(settings: TableSettings, n_rows: int | None) -> tuple[int, int, int | None]:
    """Count the updates in which the learning rate rises, those in which it was to, and all of them.

    Args:
        settings: complete; the warm-up in epochs.
        n_rows: to train on; None where that is not known.

    Returns:
        Updates in which it rises, half of all at most; those that were wanted, at least one of any warm-up; and those
        of the whole training at most, None where they are not known.

    Source: derived here.

    Example:
        >>> count_warmup(TableSettings(warmup=2.0, epochs=100, batch_size=10), 95)
        (20, 20, 1000)
        >>> count_warmup(TableSettings(warmup=2.0, epochs=3, batch_size=10, accumulate=4), 95)
        (3, 5, 7)
    """
    batches = _count_batches(settings, n_rows)
    each = settings.accumulate or 1  # batches of an update: schedules count updates
    epochs = settings.warmup or 0
    wanted = max(round(epochs * (1000 if batches is None else batches / each)), int(epochs > 0))
    ends = [] if settings.steps is None else [settings.steps]
    ends += [] if batches is None or settings.epochs is None else [batches * settings.epochs]
    if not ends:
        return wanted, wanted, None
    total = min(ends) // each
    return min(wanted, total // 2), wanted, total


def _count_batches(settings: TableSettings, n_rows: int | None) -> int | None:
    """The batches of an epoch."""
    return None if n_rows is None else math.ceil(n_rows / (settings.batch_size or 64))


def _read_schedule(text: str) -> tuple[str, dict[str, Any]]:
    """Read the name and the settings of a schedule; ArgumentError that says how they are written."""
    name, _, rest = text.partition(":")
    name = choose_name(name.strip(), "--schedule", _SCHEDULES)
    wanted = _WRITTEN.get(name, "")
    needed = [part.partition("=")[0] for part in wanted.split(",") if part]
    given = [part.partition("=")[0].strip() for part in rest.split(",")]
    if not all(part in given for part in needed):
        raise ArgumentError(
            f"--schedule {text}: {name} needs {' and '.join(needed)}. Write, for example, --schedule {name}:{wanted}."
        )
    record = read_rule(text, "--schedule")
    if "rate" in record:
        raise ArgumentError(f"--schedule {text}: give the rate with --rate.")
    del record["name"]
    if name == "constant" and record:
        raise ArgumentError(f"--schedule {text}: constant has no settings; give the rate with --rate.")
    return name, record


def make_plateau(settings: TableSettings, held: bool) -> ReduceOnPlateau | None:
    """Make what lowers the rate when a measured value does not improve any more.

    Args:
        settings: complete; their ``schedule`` is ``"reduce_on_plateau"``, with settings of `ReduceOnPlateau`.
        held: whether rows are held out, whose loss is watched unless told; else that of training is.

    Returns:
        The callback; None for other schedules, and where it is known already after which epochs the rate falls.

    Raises:
        ArgumentError: ``--schedule reduce_on_plateau:factor=2: ReduceOnPlateau: factor must be above 0 and …``, or a
            setting that is not there.

    Source: as `ReduceOnPlateau`.

    Example:
        >>> make_plateau(TableSettings(schedule="reduce_on_plateau:patience=3"), held=True).settings()["patience"]
        3
    """
    record = read_rule(settings.schedule or "constant", "--schedule")
    if record.pop("name") != ON_PLATEAU or settings.refit_reductions is not None:
        return None
    try:
        return ReduceOnPlateau(**{"monitor": "validation_loss" if held else "loss", **record})
    except (ArgumentError, TypeError) as error:  # TypeError for a setting that is not there
        raise ArgumentError(f"--schedule {settings.schedule}: {error}") from None


def with_reductions(settings: TableSettings, trainer: Trainer) -> TableSettings:
    """Let further trainings lower the rate after the epochs after which the first one has lowered it.

    Args:
        settings: complete, of the first one.
        trainer: of the first one, after its end.

    Returns:
        The settings; the same where nothing has watched for plateaus.

    Source: derived here.
    """
    plateau = trainer.plan.reduce_on_plateau
    if not isinstance(plateau, ReduceOnPlateau):
        return settings
    return replace(settings, refit_reductions=list(plateau.reductions))


def _on_plateau(settings: TableSettings, batches: int | None, rise: int) -> tuple[str, dict[str, Any]]:
    """The schedule beside `make_plateau`, or, where the reductions are known, the one that makes them."""
    plateau = make_plateau(replace(settings, refit_reductions=None), held=False)
    assert plateau is not None
    if not settings.refit_reductions or batches is None:
        return "constant", {}
    scale = 1.0
    rates: dict[int, float] = {0: scale}
    for epoch in settings.refit_reductions:
        scale = max(scale * plateau.factor, min(scale, plateau.min_scale))
        rates[max(1, epoch * batches // (settings.accumulate or 1) - rise)] = scale  # what rises is not lowered as well
    return "piecewise", {"rates": [(settings.rate or 0) * x for x in rates.values()], "boundaries": [*rates][1:]}


def _taken(make: Any) -> list[str]:
    return list(inspect.signature(make).parameters)
