"""Settings of optimizers, schedules and clipping: checked when they are given, and rebuilt from plain data."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from undertow.errors import ArgumentError
from undertow.spelling import offer


def read_number(rule: str, name: str, value: Any) -> float:
    """Return a finite number above 0; ArgumentError for anything else."""
    if not _is_real(value) or not 0 < float(value) < math.inf:
        raise ArgumentError(f"{rule}: {name} must be above 0 and finite, got {value!r}.")
    return float(value)


def read_amount(rule: str, name: str, value: Any) -> float:
    """Return a finite number of 0 or more; ArgumentError for anything else."""
    if not _is_real(value) or not 0 <= float(value) < math.inf:
        raise ArgumentError(f"{rule}: {name} must be 0 or more and finite, got {value!r}.")
    return float(value)


def read_share(rule: str, name: str, value: Any) -> float:
    """Return a number of 0 or more and less than 1; ArgumentError for anything else."""
    if not _is_real(value) or not 0 <= float(value) < 1:
        raise ArgumentError(f"{rule}: {name} must be 0 or more and less than 1, got {value!r}.")
    return float(value)


def read_count(rule: str, name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of ``least`` or more; ArgumentError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{rule}: {name} must be a whole number of {least} or more, got {value!r}.")
    return int(value)


def read_flag(rule: str, name: str, value: Any) -> bool:
    """Return True or False; ArgumentError for anything else."""
    if not isinstance(value, bool | np.bool):
        raise ArgumentError(f"{rule}: {name} must be True or False, got {value!r}.")
    return bool(value)


def _is_real(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        float(value)
    except OverflowError:  # an int that no float holds
        return False
    return True


def build(kind: str, key: str, settings: Any, makers: Mapping[str, Callable[..., Any]]) -> Any:
    """Call the maker that settings name with the rest of the settings.

    Args:
        kind: what is built, for messages: ``"an optimizer"``.
        key: the setting that holds the maker's name.
        settings: plain data, such as a JSON file holds.
        makers: by name.

    Returns:
        What the maker made; it checks the values.

    Raises:
        ArgumentError: ``an optimizer is described by a dict with the key 'name', got [].``; an unknown name or setting.

    Source: derived here.

    Example:
        >>> build("a number", "name", {"name": "float", "x": "2"}, {"float": lambda x: float(x)})
        2.0
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get(key), str):
        raise ArgumentError(f"{kind} is described by a dict with the key {key!r}, got {_shorten(settings)}.")
    name = settings[key]
    if name not in makers:
        raise ArgumentError(f"there is no {kind.split(' ', 1)[1]} {name!r:.80}. {offer(name, makers)}.")
    rest = {name: value for name, value in settings.items() if name != key}
    taken = inspect.signature(makers[name]).parameters
    for given in rest:
        if given not in taken:
            raise ArgumentError(f"{name} has no setting {_shorten(given)}. It has {', '.join(taken)}.")
    for wanted, parameter in taken.items():
        if parameter.default is parameter.empty and wanted not in rest:
            raise ArgumentError(f"{name}: the setting {wanted} is missing. Give it.")
    try:
        return makers[name](**rest)
    except RecursionError:
        raise ArgumentError(f"{name}: its settings are nested too deeply.") from None


def show(value: Any) -> str:
    """Print a setting the short way: numbers with six digits, a nested description by its name."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return str(value.get("schedule") or value.get("name") or dict(value))
    return repr(value)


def _shorten(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "…"


def is_ours(function: Any) -> bool:
    """Tell whether a function is one of this package, so that settings say all about it.

    Args:
        function: anything that can be called.

    Returns:
        Whether it is.

    Source: derived here.

    Example:
        >>> is_ours(is_ours), is_ours(print)
        (True, False)
    """
    return str(getattr(function, "__module__", "")).startswith("undertow.optim.")
