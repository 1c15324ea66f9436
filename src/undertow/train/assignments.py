"""What a layer sets or changes in itself while it is called: a compiled step keeps none of it."""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError
from undertow.nn.layer import children, is_layer
from undertow.trace.where import frames_of_ours

Attributes = list[tuple[Any, dict[str, tuple[Any, Any]]]]
_CHANGES: Final = (
    "append", "appendleft", "extend", "insert", "pop", "popleft", "popitem", "remove", "discard", "clear", "add",
    "update", "setdefault", "fill", "sort", "reverse",
)  # fmt: skip


def read_attributes(model: Any) -> Attributes:
    """Return each layer of a model that is no one of ours, with its attributes as they are.

    Args:
        model: or a layer.

    Returns:
        Layers and their attributes, each with a copy: lists, dictionaries, sets and arrays may be changed in place.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> read_attributes(Dense(2, 1))
        []
    """
    return [(layer, {name: (value, _copy(value)) for name, value in vars(layer).items()}) for layer in _layers(model)]


def _copy(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A value as it is now; layers, other objects and what holds itself as they are."""
    if id(value) in around:
        return value
    inside = (*around, id(value))
    if isinstance(value, dict):
        return {key: _copy(part, inside) for key, part in value.items()}
    if isinstance(value, list | tuple | deque):
        return [_copy(part, inside) for part in value]
    if isinstance(value, set | frozenset):
        return frozenset(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _layers(item: Any) -> Iterator[Any]:
    if is_layer(item) and hasattr(item, "__dict__") and type(item).__module__.partition(".")[0] != "undertow":
        yield item
    for _, part in children(item):
        yield from _layers(part)


def warn_of_assignments(model: Any, before: Attributes, n_leaves: int) -> None:
    """Warn of attributes that a call of the model has set to something else, or changed in place.

    What is the same again, such as a shape or a mask made anew in each call, is no state.

    Args:
        model: after the call.
        before: of `read_attributes`, before the call; not of the first one, which may fill what is then kept. The call
            must be of as many rows, but others, or what follows from them would seem to be no state.
        n_leaves: how many parameters and functions the model held before its first call.

    Raises:
        ArgumentError: a call adds a number to a list or dictionary, which would be one parameter more each time.

    Source: derived here.

    Example:
        >>> warn_of_assignments([], [], 0)
    """
    grows = len(trees.flatten(model)[0]) != n_leaves
    for layer, held in before:
        for name, value in vars(layer).items():
            was, copied = held.get(name, (None, None))
            if name in held and _is_same(copied, _copy(value)):
                continue
            told = _tell(layer, name, changed=name in held and was is value)
            if grows and isinstance(value, list | dict | deque):
                raise ArgumentError(told)
            warnings.warn(told, UserWarning, stacklevel=frames_of_ours())


def _is_same(held: Any, value: Any) -> bool:
    """Whether two values are the same number, text or array, or hold the same."""
    if held is value:
        return True
    if type(held) is not type(value):
        return False
    if isinstance(value, list):
        return len(held) == len(value) and all(map(_is_same, held, value))
    if isinstance(value, dict):
        return list(held) == list(value) and all(map(_is_same, held.values(), value.values()))
    if isinstance(value, np.ndarray):
        return held.dtype == value.dtype and np.array_equal(held, value, equal_nan=value.dtype.kind in "fc")
    return isinstance(value, int | float | complex | str | bytes | frozenset | np.generic | np.dtype) and bool(
        held == value
    )


def _tell(layer: Any, name: str, changed: bool) -> str:
    """The sentence, with the line."""
    kind, verb = type(layer).__name__, "changes" if changed else "sets"
    return (
        f"{_find_line(type(layer), name)}{kind} {verb} {name} while it is called. Training is compiled, so what it "
        f"{verb} is lost. For state that training goes on with, hold an array in a field, name it in not_trained, and "
        f"call undertow.nn.replace(self.{name}, new), as BatchNorm does; to look at a value, use undertow.watch."
    )


def _find_line(kind: type, name: str) -> str:
    """``"net.py:12: "``, where a class sets or changes an attribute of itself; "" where that is not found."""
    try:
        lines, first = inspect.getsourcelines(kind)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return ""
    made = {node for method in ast.walk(tree) if _makes(method) for node in ast.walk(method)}
    for node in ast.walk(tree):
        for target in [] if node in made else _targets(node):
            for part in ast.walk(target):
                if isinstance(part, ast.Attribute) and part.attr == name and isinstance(part.value, ast.Name):
                    return f"{Path(inspect.getfile(kind)).name}:{first + part.lineno - 1}: "
    return ""


def _makes(node: ast.AST) -> bool:
    """Whether this is the method that makes an object, before any call."""
    return isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__post_init__")


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to, or a method's call changes in place."""
    if isinstance(node, ast.Call):
        method = node.func
        return [method.value] if isinstance(method, ast.Attribute) and method.attr in _CHANGES else []
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target for target in targets if isinstance(target, ast.expr)]
