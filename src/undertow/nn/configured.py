"""Functions with settings: called with settings alone, they give the function that has them.

``leaky_relu(z)`` and ``leaky_relu(z, slope=0.1)`` compute; ``leaky_relu(slope=0.1)`` is an activation.
What it is can be told as plain data, ``{"name": "leaky_relu", "slope": 0.1}``, and built from it again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.spelling import offer
from undertow.trace import argument_names


@dataclass(frozen=True)
class Setting:
    """What a setting may be.

    Attributes:
        text: in words, for messages.
        accepts: whether a value is one.
    """

    text: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


ANY_NUMBER: Final = Setting("a number", _is_number)
POSITIVE: Final = Setting("a number above 0", lambda x: _is_number(x) and x > 0)
NOT_NEGATIVE: Final = Setting("a number of 0 or more", lambda x: _is_number(x) and x >= 0)
SHARE: Final = Setting("a number from 0 to 1", lambda x: _is_number(x) and 0 <= x <= 1)
BELOW_ONE: Final = Setting("a number from 0 to below 1", lambda x: _is_number(x) and 0 <= x < 1)
INSIDE: Final = Setting("a number between 0 and 1", lambda x: _is_number(x) and 0 < x < 1)
TRUTH: Final = Setting("True or False", lambda x: isinstance(x, bool | np.bool_))


def one_of(*choices: str) -> Setting:
    """Make a setting that is one of some words.

    Args:
        choices: the words.

    Returns:
        The setting.

    Source: derived here.

    Example:
        >>> one_of("none", "tanh").text
        "'none' or 'tanh'"
    """
    return Setting(" or ".join(map(repr, choices)), lambda x: isinstance(x, str) and x in choices)


def or_none(setting: Setting) -> Setting:
    """Make a setting that may be None too.

    Args:
        setting: what it may be otherwise.

    Returns:
        The setting.

    Source: derived here.

    Example:
        >>> or_none(SHARE).accepts(None)
        True
    """
    return Setting(f"{setting.text}, or None", lambda x: x is None or setting.accepts(x))


def or_each(setting: Setting) -> Setting:
    """Make a setting that may be a list too, of one for each column.

    Args:
        setting: what it may be otherwise.

    Returns:
        The setting.

    Source: derived here.

    Example:
        >>> or_each(POSITIVE).accepts([1.0, 3.0]), or_each(POSITIVE).accepts([])
        (True, False)
    """

    def accepts(x: Any) -> bool:
        if isinstance(x, np.ndarray):
            x = x.tolist()
        return all(map(setting.accepts, x)) and len(x) > 0 if isinstance(x, list | tuple) else setting.accepts(x)

    return Setting(f"{setting.text}, or a list of one for each column", accepts)


def read_settings(name: str, known: Mapping[str, Setting], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings, and make plain Python numbers of NumPy's, and lists of them.

    Args:
        name: of the function, for messages.
        known: what each setting may be.
        settings: by name.

    Returns:
        The settings.

    Raises:
        ArgumentError: ``leaky_relu has no setting 'slop'. It has slope.``, or a value that is not accepted.

    Source: derived here.

    Example:
        >>> read_settings("elu", {"alpha": POSITIVE}, {"alpha": np.float32(0.5)})
        {'alpha': 0.5}
    """
    for key, value in settings.items():
        if key not in known:
            from undertow.habits import missing_setting

            raise ArgumentError(f"{name} has no setting {key!r}. {missing_setting(key, known)}")
        if not known[key].accepts(value):
            raise ArgumentError(f"{name}: {key} is {value!r}. Give {known[key].text}.")
    return {key: _plain(value) for key, value in settings.items()}


def _plain(value: Any) -> Any:
    """A setting as plain data."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


class Configured:
    """A function together with its settings; called like the function, equal where both are.

    Attributes:
        name: of the function.
        function: the function, which takes the settings by name.
        settings: plain data.
    """

    def __init__(self, name: str, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        self.name, self.function, self.settings = name, function, dict(settings)
        self.__name__ = f"{name}({', '.join(f'{key}={value!r}' for key, value in self.settings.items())})"
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with the settings."""
        return self.function(*args, **{**self.settings, **kwargs})

    def __repr__(self) -> str:
        return self.__name__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configured):
            return NotImplemented
        return self.function is other.function and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(self.__name__)


def configurable(**known: Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a function be called with settings alone: it then gives a `Configured`.

    Args:
        known: what each setting may be; the function takes them by name, with defaults.

    Returns:
        A decorator.

    Source: derived here.

    Example:
        >>> @configurable(factor=POSITIVE)
        ... def times(x, *, factor=2.0):
        ...     return x * factor
        >>> times(3.0), times(factor=5)(3.0), times(factor=5)
        (6.0, 15.0, times(factor=5))
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name, first = function.__name__, argument_names(function, 1)[0]
        code = function.__code__
        needed = code.co_argcount - len(function.__defaults__ or ())
        names = code.co_varnames[:needed]

        @functools.wraps(function)
        def called(*_args: Any, **_options: Any) -> Any:
            settings = read_settings(name, known, {key: _options[key] for key in _options if key in known})
            if known and len(_args) == 1 < needed and not set(names) & set(_options):
                setting = next(iter(known))
                raise ArgumentError(f"{name}: settings are given by name. Use {name}({setting}={_args[0]!r}).")
            if _args or first in _options:
                return function(*_args, **{**_options, **settings})
            read_settings(name, known, _options)  # which refuses what is no setting
            return Configured(name, called, settings) if settings else called

        called.known_settings = known  # type: ignore[attr-defined]
        return called

    return decorate


def settings_of(function: Callable[..., Any]) -> dict[str, Setting]:
    """Return what a function can be told by name, and what each may be.

    Args:
        function: made by `configurable`, or any other, which has none.

    Returns:
        Settings by name.

    Source: derived here.

    Example:
        >>> settings_of(abs)
        {}
    """
    return dict(getattr(function, "known_settings", {}))


def describe_function(item: Any, table: Mapping[str, Callable[..., Any]]) -> dict[str, Any] | None:
    """Describe a function of a table, with or without settings, as plain data for JSON.

    Args:
        item: the function.
        table: the functions that have names.

    Returns:
        ``{"name": "leaky_relu", "slope": 0.1}``, or None for another function.

    Source: derived here.

    Example:
        >>> describe_function(abs, {"size": abs})
        {'name': 'size'}
    """
    if isinstance(item, Configured):
        return {"name": item.name, **item.settings} if table.get(item.name) is item.function else None
    name = next((name for name, function in table.items() if function is item), None)
    return None if name is None else {"name": name}


def build_function(record: Any, table: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    """Build the function that a description tells of.

    Args:
        record: what `describe_function` returned; checked, because it may come from a file.
        table: the functions that have names.
        kind: what they are called in messages: ``"activation"``.

    Returns:
        The function.

    Raises:
        ArgumentError: ``there is no activation 'rleu'. …``, a setting that it has not, or a wrong value.

    Source: derived here.

    Example:
        >>> build_function({"name": "size"}, {"size": abs}, "function")
        <built-in function abs>
    """
    name = record.get("name") if isinstance(record, Mapping) else None
    if not isinstance(name, str):
        raise ArgumentError(f"{kind}: expected a record such as {{'name': …}}, got {str(record)[:80]}.")
    if name not in table:
        raise ArgumentError(f"there is no {kind} {name[:40]!r}. {offer(name, table)}.")
    settings = {key: value for key, value in record.items() if key != "name"}
    function = table[name]
    found = read_settings(name, settings_of(function), settings)
    return Configured(name, function, found) if found else function
