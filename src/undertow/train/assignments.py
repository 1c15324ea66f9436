"""Attributes that a layer sets while it is called: a compiled step keeps none of them."""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from undertow.nn.layer import children, is_layer
from undertow.trace.where import frames_of_ours

Attributes = list[tuple[Any, dict[str, Any]]]


def read_attributes(model: Any) -> Attributes:
    """Return each layer of a model that is no one of ours, with its attributes as they are.

    Args:
        model: or a layer.

    Returns:
        Layers and their attributes.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> read_attributes(Dense(2, 1))
        []
    """
    return [(layer, dict(vars(layer))) for layer in _layers(model)]


def _layers(item: Any) -> Iterator[Any]:
    if is_layer(item) and hasattr(item, "__dict__") and type(item).__module__.partition(".")[0] != "undertow":
        yield item
    for _, part in children(item):
        yield from _layers(part)


def warn_of_assignments(before: Attributes) -> None:
    """Warn of attributes that a call of the model has set to something else.

    What is the same again, such as a shape or a mask made anew in each call, is no state.

    Args:
        before: of `read_attributes`, before the call; not of the first one, which may fill what is then kept. The call
            must be of as many rows, but others, or what follows from them would seem to be no state.

    Source: derived here.

    Example:
        >>> warn_of_assignments([])
    """
    for layer, held in before:
        for name, value in vars(layer).items():
            if name not in held or not _is_same(held[name], value):
                warnings.warn(_tell(layer, name), UserWarning, stacklevel=frames_of_ours())


def _is_same(held: Any, value: Any) -> bool:
    """Whether two values are the same number, text or array, or hold the same."""
    if held is value:
        return True
    if type(held) is not type(value):
        return False
    if isinstance(value, tuple | list):
        return len(held) == len(value) and all(map(_is_same, held, value))
    if isinstance(value, dict):
        return list(held) == list(value) and all(map(_is_same, held.values(), value.values()))
    if isinstance(value, np.ndarray):
        return held.dtype == value.dtype and np.array_equal(held, value, equal_nan=value.dtype.kind in "fc")
    return isinstance(value, int | float | complex | str | bytes | np.generic | np.dtype) and bool(held == value)


def _tell(layer: Any, name: str) -> str:
    """The sentence, with the line."""
    kind = type(layer).__name__
    return (
        f"{_find_line(type(layer), name)}{kind} sets {name} while it is called. Training is compiled, so what it sets "
        f"is lost. For state that training goes on with, hold an array in a field, name it in not_trained, and call "
        f"undertow.nn.replace(self.{name}, new), as BatchNorm does; to look at a value, use undertow.watch."
    )


def _find_line(kind: type, name: str) -> str:
    """``"net.py:12: "``, where a class assigns to an attribute of itself; "" where that is not found."""
    try:
        lines, first = inspect.getsourcelines(kind)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for part in ast.walk(target) if isinstance(target, ast.AST) else ():
                if isinstance(part, ast.Attribute) and part.attr == name and isinstance(part.value, ast.Name):
                    return f"{Path(inspect.getfile(kind)).name}:{first + part.lineno - 1}: "
    return ""
