"""Optimizers and schedules by name, and made again of their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from undertow.errors import ArgumentError
from undertow.optim import adaptive, cycles, moments, rules, schedules, wrappers
from undertow.optim.clipping import build_clip
from undertow.optim.groups import grouped
from undertow.optim.rules import Optimizer
from undertow.optim.schedule import Schedule, table
from undertow.optim.settings import build
from undertow.spelling import offer

OPTIMIZERS: Final[dict[str, Callable[..., Optimizer]]] = {
    "sgd": rules.sgd,
    "momentum": rules.momentum,
    "nesterov": rules.nesterov,
    "adagrad": adaptive.adagrad,
    "rmsprop": adaptive.rmsprop,
    "adadelta": adaptive.adadelta,
    "adam": moments.adam,
    "amsgrad": moments.amsgrad,
    "adamw": moments.adamw,
    "adamax": moments.adamax,
    "nadam": moments.nadam,
    "radam": moments.radam,
    "lion": rules.lion,
    "lamb": moments.lamb,
}

WRAPPERS: Final[dict[str, Callable[..., Optimizer]]] = {
    "lookahead": wrappers.lookahead,
    "averaged": wrappers.averaged,
    "accumulate": wrappers.accumulate,
    "scaled": wrappers.scaled,
    "grouped": grouped,
}

SCHEDULES: Final[dict[str, Callable[..., Schedule]]] = {
    "constant": schedules.constant,
    "piecewise": schedules.piecewise,
    "step_decay": schedules.step_decay,
    "exponential": schedules.exponential,
    "polynomial": schedules.polynomial,
    "inverse_square_root": schedules.inverse_square_root,
    "cosine": cycles.cosine,
    "cosine_restarts": cycles.cosine_restarts,
    "one_cycle": cycles.one_cycle,
    "warmup": cycles.warmup,
    "table": table,
}

DEEPEST: Final = 20  # how far descriptions may be nested


def find_optimizer(optimizer: str | Optimizer | None) -> Optimizer:
    """Return an optimizer; a name gives it with its defaults, None gives adam.

    Args:
        optimizer: an `Optimizer`, a key of ``OPTIMIZERS``, or None.

    Returns:
        The optimizer.

    Raises:
        ArgumentError: ``there is no optimizer 'adamm'. Use one of sgd, momentum, …``

    Source: derived here.

    Example:
        >>> find_optimizer("sgd")
        sgd(rate=0.01)
    """
    if optimizer is None:
        return moments.adam()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ArgumentError(f"there is no optimizer {optimizer!r}. {offer(optimizer, OPTIMIZERS)}.")
        return OPTIMIZERS[optimizer]()
    name = getattr(optimizer, "__name__", None)
    if callable(optimizer) and OPTIMIZERS.get(str(name)) is optimizer:
        raise ArgumentError(f"optimizer is the function {name} itself. Call it: undertow.optim.{name}(rate).")
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer is {optimizer!r}. Give an Optimizer such as undertow.optim.adam(1e-3).")
    return optimizer


def build_schedule(settings: Any) -> Schedule:
    """Make a schedule of its settings, such as a saved run holds.

    Args:
        settings: ``{"schedule": name, …}``.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``there is no schedule 'cos'. Use one of constant, …``; a setting that is missing, unknown or
            out of range; a schedule that is a function of the user's own.

    Source: derived here.

    Example:
        >>> build_schedule({"schedule": "polynomial", "rate": 0.1, "steps": 10})(5)
        0.05
    """
    return _build_schedule(settings, DEEPEST)


def build_optimizer(settings: Any) -> Optimizer:
    """Make an optimizer of its settings, such as a saved run holds.

    Args:
        settings: ``{"name": optimizer.name, **optimizer.settings}``.

    Returns:
        The optimizer.

    Raises:
        ArgumentError: ``there is no optimizer 'adamm'. Use one of sgd, …``; a setting that is missing, unknown or out
            of range; an optimizer, a schedule or a condition that is of the user's own.

    Source: derived here.

    Example:
        >>> build_optimizer({"name": "momentum", "rate": {"schedule": "cosine", "rate": 0.1, "steps": 50}})
        momentum(rate=cosine, beta=0.9)
    """
    return _build_optimizer(settings, DEEPEST)


def _build_schedule(settings: Any, depth: int) -> Schedule:
    if isinstance(settings, Mapping) and settings.get("schedule") == "function":
        raise ArgumentError(
            f"the schedule {str(settings.get('function'))!r:.80} is a function of your own, which settings do not "
            "hold. Give the optimizer again, or use undertow.optim.tabulate, whose table they hold."
        )
    _check_depth(depth)
    settings = _replace(settings, "then", lambda inner: _build_schedule(inner, depth - 1))
    return build("a schedule", "schedule", settings, SCHEDULES)


def _build_optimizer(settings: Any, depth: int) -> Optimizer:
    if isinstance(settings, Mapping) and settings.get("own"):
        raise ArgumentError(
            f"the optimizer {str(settings.get('name'))!r:.80} is one of your own, which settings do not hold. Give "
            "the optimizer itself where it is taken, or use one of ours."
        )
    _check_depth(depth)
    settings = _replace(settings, "rate", build_schedule)
    settings = _replace(settings, "clip", build_clip)
    settings = _replace(settings, "optimizer", lambda inner: _build_optimizer(inner, depth - 1))
    settings = _replace(settings, "default", lambda inner: _build_optimizer(inner, depth - 1))
    if isinstance(settings, Mapping) and settings.get("name") == "grouped":
        settings = {**settings, "groups": _build_groups(settings.get("groups"), depth - 1)}
    return build("an optimizer", "name", settings, {**OPTIMIZERS, **WRAPPERS})


def _build_groups(groups: Any, depth: int) -> dict[str, Optimizer | None]:
    """Patterns and optimizers: in the file a list of pairs, since their order counts."""
    if not isinstance(groups, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in groups
    ):
        raise ArgumentError(f"grouped: groups is {groups!r:.80}. Give a list of pairs [pattern, optimizer].")
    found: dict[str, Optimizer | None] = {}
    for pattern, member in groups:
        if not isinstance(pattern, str):
            raise ArgumentError(
                f"grouped: the pattern {pattern!r:.80} is a function of your own, which settings do not hold. "
                "Give the optimizer again."
            )
        found[pattern] = None if member is None else _build_optimizer(member, depth)
    return found


def _replace(settings: Any, key: str, make: Callable[[Any], Any]) -> Any:
    """Put what a nested description describes in its place."""
    if isinstance(settings, Mapping) and isinstance(settings.get(key), Mapping):
        return {**settings, key: make(settings[key])}
    return settings


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ArgumentError(f"optimizers or schedules are nested deeper than {DEEPEST}. Use fewer.")
