"""The call that trains again, as Python: all that a training was told, with something changed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from undertow import optim
from undertow.flow.record import Flow
from undertow.flow.rules.measures import optimizer_of

TO_AN_END: Final = ("cosine", "one_cycle", "polynomial")  # schedules that know how many steps there are
PLAIN: Final = ("epochs", "steps", "batch_size", "accumulate", "l1", "l2", "max_norm", "mixup", "average")
USUAL: Final = {"accumulate": 1, "l1": 0.0, "l2": 0.0, "mixup": 0.0, "average": 0.0}


def train_call(flow: Flow, **changes: str) -> str:
    """Write the call that trains again, with something changed.

    Args:
        flow: the record, whose settings are kept.
        changes: arguments as they stand in Python; ``model``, ``X`` and ``y`` too.

    Returns:
        A line of Python. It takes ``model``, ``X``, ``y``, ``X_validation`` and ``y_validation`` as they were given to
        the training, and a loss, an optimizer or a schedule that only the caller has under the names of the arguments
        or functions.

    Source: derived here.

    Example:
        >>> flow = Flow.empty(())
        >>> flow.settings = {"loss": "huber", "optimizer": {"name": "sgd", "rate": 0.5}, "epochs": 3, "batch_size": 8}
        >>> train_call(flow, batch_size="64")
        'run = ut.train(model, (X, y), loss="huber", optimizer=ut.optim.sgd(0.5), epochs=3, batch_size=64)'
    """
    settings = flow.settings
    found = {"loss": write_loss(flow)}
    if settings.get("optimizer"):
        found["optimizer"] = write_optimizer(flow)
    for key in PLAIN:
        if settings.get(key) is not None and settings[key] != USUAL.get(key):
            found[key] = str(settings[key])
    clip = settings.get("clip")
    if isinstance(clip, dict):
        found["clip"] = f"ut.optim.{clip['name']}({_arguments(clip, getattr(optim, clip['name'], None), first=True)})"
    if "validation" in settings and settings["validation"] != 0.1:
        given = settings["validation"] == "given"
        found["validation"] = "(X_validation, y_validation)" if given else repr(settings["validation"])
    weights = settings.get("class_weights")
    if isinstance(weights, dict):
        found["class_weights"] = f"{{{', '.join(f'{label}: {x:g}' for label, x in weights.items())}}}"
    elif weights is not None:
        found["class_weights"] = '"balanced"' if weights == "balanced" else repr(list(weights))
    for key in ("early_stopping", "reduce_on_plateau"):
        if isinstance(settings.get(key), int):
            found[key] = str(settings[key])
    model, X, y = (changes.pop(key, key) for key in ("model", "X", "y"))
    found |= changes
    return f"run = ut.train({model}, ({X}, {y}), {', '.join(f'{key}={value}' for key, value in found.items())})"


def write_loss(flow: Flow, **changes: float) -> str:
    """Write the loss of a training with its settings, or with others."""
    name = str(flow.settings.get("loss", "loss"))
    if flow.settings.get("task") == "own":
        return name if name.isidentifier() else "loss"
    name = name.removesuffix("_with_logits")
    settings = {**(flow.settings.get("loss_settings") or {}), **changes}
    if not settings:
        return f'"{name}"'
    written = ", ".join(f'"{key}": {value!r}' for key, value in {"name": name, **settings}.items())
    return f"{{{written}}}".replace("'", '"')


def write_optimizer(flow: Flow, rate: float | None = None, **changes: float) -> str:
    """Write the optimizer of a training, also one within wrappers or with a schedule.

    Args:
        flow: the record.
        rate: another learning rate; of a schedule, the largest.
        changes: ``factor``, by which the rate is multiplied; ``constant``, a rate instead of a schedule; ``longer``,
            by which the steps of a schedule are multiplied; and other settings of the rule.

    Returns:
        Python.

    Source: derived here.

    Example:
        >>> from undertow.train.plan import Plan
        >>> flow = Flow.empty(())
        >>> flow.settings = Plan(loss="huber", optimizer=optim.adam(optim.warmup(optim.cosine(0.1, 90), 9))).describe()
        >>> write_optimizer(flow, 0.01, beta1=0.5)
        'ut.optim.adam(ut.optim.warmup(ut.optim.cosine(0.01, steps=90), steps=9), beta1=0.5)'
    """
    return _write_rule(flow.settings.get("optimizer") or {"name": optimizer_of(flow) or "adam"}, rate, changes)


def _write_rule(told: Mapping[str, Any], rate: float | None, changes: Mapping[str, float]) -> str:
    """Write an update rule; what changes is the innermost."""
    name = told["name"]
    function = getattr(optim, name, None)
    if function is None or told.get("own"):
        return "optimizer"
    if name == "grouped":
        groups = {pattern: '"frozen"' if x is None else _write_rule(x, None, {}) for pattern, x in told["groups"]}
        written = ", ".join(f'"{pattern}": {x}' for pattern, x in groups.items())
        return f"ut.optim.grouped({_write_rule(told['default'], rate, changes)}, {{{written}}})"
    if isinstance(told.get("optimizer"), Mapping):
        rest = _arguments({key: x for key, x in told.items() if key != "optimizer"}, function)
        inner = _write_rule(told["optimizer"], rate, changes)
        return inner if name == "scaled" else f"ut.optim.{name}({', '.join(filter(None, [inner, rest]))})"
    settings = {**told, **{key: x for key, x in changes.items() if key not in ("factor", "constant", "longer")}}
    now = settings.pop("rate", None)
    now = lengthened(now, changes["longer"]) if "longer" in changes and isinstance(now, Mapping) else now
    if "constant" in changes or (now is None and rate is not None):
        now = rate if rate is not None else changes["constant"]
    first = None if now is None else _write_rate(now, rate, changes.get("factor", 1.0))
    return f"ut.optim.{name}({', '.join(filter(None, [first, _arguments(settings, function)]))})"


def lengthened(told: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a schedule, as plain data, that comes to its end so many times later.

    Args:
        told: the description of a schedule.
        factor: of its steps.

    Returns:
        The description of the longer one; of a schedule that does not know how many steps there are, the same.

    Source: derived here.

    Example:
        >>> lengthened({"schedule": "warmup", "steps": 9, "then": {"schedule": "cosine", "rate": 0.1, "steps": 90}}, 2)
        {'schedule': 'warmup', 'steps': 9, 'then': {'schedule': 'cosine', 'rate': 0.1, 'steps': 180}}
    """
    longer = {name: lengthened(x, factor) for name, x in told.items() if isinstance(x, Mapping)}
    if told.get("schedule") in TO_AN_END:
        longer["steps"] = round(told["steps"] * factor)
    return {**told, **longer}


def _write_rate(told: Any, rate: float | None, factor: float) -> str:
    """Write a learning rate or a schedule, changed."""
    if not isinstance(told, Mapping):
        return f"{rate if rate is not None else float(told) * factor:.4g}"
    name = str(told.get("schedule"))
    if name == "function":
        own = str(told.get("function")).partition(" ")[0]
        own = own if own.isidentifier() else "rate"
        return own if factor == 1 else f"lambda t: {factor:g} * {own}(t)"
    first = next((key for key in ("rate", "then") if key in told), None)
    settings = {key: x for key, x in told.items() if key not in ("schedule", first)}
    if first is not None and "start" in settings and name == "warmup":
        del settings["start"]  # follows from the rate
    rest = _arguments(settings, getattr(optim, name, None))
    inner = "" if first is None else _write_rate(told[first], rate, factor)
    return f"ut.optim.{name}({', '.join(filter(None, [inner, rest]))})"


def _arguments(told: Mapping[str, Any], function: Any, first: bool = False) -> str:
    """Write settings that are not the usual ones; ``first`` leaves out the name of the first."""
    usual = {} if function is None else {key: x.default for key, x in inspect.signature(function).parameters.items()}
    rest = {key: x for key, x in told.items() if key != "name" and x is not None and x != usual.get(key, inspect)}
    shown = [f"{key}={x:g}" if isinstance(x, float) else f"{key}={x!r}" for key, x in rest.items()]
    if first and shown:
        shown[0] = shown[0].partition("=")[2]
    return ", ".join(shown)
