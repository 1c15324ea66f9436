"""Layers that a layer of the user's own calls itself: they are told apart by the fields that hold them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from undertow.nn.layer import Container, children, is_layer

Call = Callable[[str, Any, Callable[[], Any]], Any]


def own_layers(item: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """List the layers in the fields of a layer that is no container, also those in its tuples, lists and dicts.

    Args:
        item: a layer of the user's own.
        path: of the field that is looked at.

    Yields:
        Paths from the layer, ``"first"``, ``"blocks[0]"``, and layers; what is in these is left to the reader.

    Source: derived here.

    Example:
        >>> from dataclasses import dataclass
        >>> from undertow.nn import Dense
        >>> @dataclass
        ... class Two:
        ...     first: Dense
        ...     rest: tuple
        >>> [path for path, _ in own_layers(Two(Dense(2, 3), (Dense(3, 3), 1.0)))]
        ['first', 'rest[0]']
    """
    if not isinstance(item, Container):
        for end, part in children(item):
            here = path + _as_named(end) if path else end.removeprefix(".")
            if is_layer(part) and callable(part):
                yield here, part
            elif isinstance(part, tuple | list | dict):
                yield from own_layers(part, here)


def with_told_calls(item: Any, call: Call) -> Any:
    """Return a layer that tells when it calls one of those in its fields; the layer itself where there are none.

    Args:
        item: a layer or a function.
        call: called with the path of the inner layer, the layer, and a function that calls it; it gives the result.

    Returns:
        A copy that holds copies, of subclasses of the layers' own classes; their arrays are the same.

    Source: derived here.
    """
    if not is_layer(item) or isinstance(item, Container) or not any(True for _ in own_layers(item)):
        return item
    made = copy.copy(item)
    for end, part in children(item):
        object.__setattr__(made, end[1:], _told(part, end[1:], call))
    return made


def _as_named(end: str) -> str:
    """The end of a path as parameters are named: words in brackets like attributes."""
    return f".{end[2:-2]}" if end[:2] in ("['", '["') else end


def _told(part: Any, path: str, call: Call) -> Any:
    """A part of a layer whose layers tell that they are called."""
    if isinstance(part, tuple | list | dict):
        if not any(True for _ in own_layers(part)):
            return part
        if isinstance(part, dict):
            told = [_told(x, path + _as_named(end), call) for end, x in children(part)]
            return type(part)(zip(part, told, strict=True))
        told = [_told(x, f"{path}{end}", call) for end, x in children(part)]
        return type(part)(*told) if hasattr(part, "_fields") else type(part)(told)
    if not (is_layer(part) and callable(part)):
        return part

    def __call__(self: Any, *_values: Any, **_named: Any) -> Any:
        return call(path, part, lambda: with_told_calls(part, call)(*_values, **_named))

    made = copy.copy(part)
    kind = type(part)
    make_class: Callable[..., Any] = type(kind)
    named = {"__slots__": (), "__module__": kind.__module__, "__call__": __call__}
    subclass = make_class(kind.__name__, (kind,), named)
    object.__setattr__(made, "__class__", subclass)
    return made
