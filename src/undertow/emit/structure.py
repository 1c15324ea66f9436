"""Argument trees as source: taken apart into local names, and put together from gradients."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from undertow.errors import UnsupportedError
from undertow.graph import Node

WIDTH = 88

LIKE = '''def like(instance, **fields):
    """Return a copy of a dataclass with other values in these fields."""
    result = copy.copy(instance)
    for name, value in fields.items():
        object.__setattr__(result, name, value)
    return result'''


def is_named_tuple(tree: Any) -> bool:
    """Tell whether this is a named tuple."""
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def is_dataclass(tree: Any) -> bool:
    """Tell whether this is an instance of a dataclass."""
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)


def children(tree: Any, path: str) -> list[tuple[str, Any]] | None:
    """Return the parts of a container, each with the expression that reaches it; None for a leaf.

    Raises:
        UnsupportedError: a container that cannot be written as source; names its type.
    """
    if isinstance(tree, Node) or tree is None:
        return None
    if is_named_tuple(tree):
        return [(f"{path}.{name}", getattr(tree, name)) for name in tree._fields]
    if type(tree) in (tuple, list):
        return [(f"{path}[{i}]", item) for i, item in enumerate(tree)]
    if type(tree) in (dict, OrderedDict):
        return [(f"{path}[{_key(key)}]", item) for key, item in tree.items()]
    if is_dataclass(tree):
        return [(f"{path}.{field.name}", getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    if any(isinstance(leaf, Node) for leaf in (tree.values() if hasattr(tree, "values") else ())) or _is_other(tree):
        raise UnsupportedError(
            f"{path} is a {type(tree).__name__}, which has no source form. Use a tuple, list, dict, named tuple "
            f"or dataclass."
        )
    return None


def _is_other(tree: Any) -> bool:
    return isinstance(tree, Iterable) and not isinstance(tree, str | bytes) and any(isinstance(x, Node) for x in tree)


def _key(key: Any) -> str:
    return '"' + key + '"' if isinstance(key, str) and key.isidentifier() else repr(key)


def nodes_of(tree: Any, path: str = "") -> list[Node]:
    """Return the nodes at the leaves, in the order of the containers."""
    if isinstance(tree, Node):
        return [tree]
    return [node for where, item in children(tree, path) or () for node in nodes_of(item, where)]


def unpack(tree: Any, path: str, name_of: Callable[[Node], str | None]) -> list[str]:
    """Write the statements that give local names to the leaves.

    Args:
        tree: the tree with nodes at its leaves.
        path: the expression that holds it.
        name_of: a leaf's name, or None if nothing reads it.
    """
    if isinstance(tree, Node):
        name = name_of(tree)
        return [f"{name} = {path}"] if name and name != path else []
    if not any(name_of(node) for node in nodes_of(tree, path)):
        return []
    pattern = _pattern(tree, name_of)
    if pattern is not None:
        line = f"{pattern} = {path}"
        if len(line) <= WIDTH - 4:
            return [line]
    parts = children(tree, path) or ()
    return [line for where, item in parts for line in unpack(item, where, name_of)]


def _pattern(tree: Any, name_of: Callable[[Node], str | None], top: bool = True) -> str | None:
    """Write nested tuples and lists as a pattern; None if there is something else inside."""
    if isinstance(tree, Node):
        return name_of(tree) or "_"
    if type(tree) not in (tuple, list):
        return None if is_named_tuple(tree) or nodes_of(tree) else "_"
    parts = [_pattern(item, name_of, False) for item in tree]
    if any(part is None for part in parts):
        return None
    if all(part == "_" for part in parts) and not top:
        return "_"
    text = ", ".join(str(part) for part in parts)
    if len(parts) == 1:
        return f"({text},)"
    return text if top else f"({text})"


def needs_original(tree: Any) -> bool:
    """Tell whether a tree can be put together only from the argument itself: a dataclass is inside."""
    if is_dataclass(tree) or is_named_tuple(tree):
        return True
    parts = children(tree, "")
    if parts is None:
        return not (isinstance(tree, Node | str | bytes | bool | int | float) or tree is None)
    return any(needs_original(item) for _, item in parts)


def put_together(tree: Any, path: str, code_of: Callable[[Node], str], indent: int, top: bool = True) -> str:
    """Write the expression of a tree with other leaves.

    Args:
        tree: the tree with nodes at its leaves.
        path: the expression that holds the original tree.
        code_of: the expression for each leaf.
        indent: the column in which the line starts; long containers are broken into lines.
        top: the whole of a return statement: a tuple needs no parentheses.
    """
    if isinstance(tree, Node):
        return code_of(tree)
    parts = children(tree, path)
    if parts is None:
        return repr(tree) if not needs_original(tree) else path
    inner = [put_together(item, where, code_of, indent + 4, False) for where, item in parts]
    if is_named_tuple(tree) or is_dataclass(tree):
        changed = [
            f"{where.removeprefix(path)[1:]}={code}"
            for (where, item), code in zip(parts, inner, strict=True)
            if nodes_of(item, where)
        ]
        if not changed:
            return path
        if is_named_tuple(tree):
            return wrap(changed, f"{path}._replace(", ")", indent)
        return wrap([path, *changed], "like(", ")", indent)
    if isinstance(tree, dict):
        keys = [_key(key) for key in tree]
        rows = [f"{key}: {code}" for key, code in zip(keys, inner, strict=True)]
        return wrap(rows, *("OrderedDict({", "})") if isinstance(tree, OrderedDict) else ("{", "}"), indent)
    if isinstance(tree, list):
        return wrap(inner, "[", "]", indent)
    if len(inner) == 1:
        return f"({inner[0]},)"
    if top and inner and len(", ".join(inner)) + indent + 7 <= WIDTH:
        return ", ".join(inner)
    return wrap(inner, "(", ")", indent)


def wrap(items: list[str], start: str, end: str, indent: int) -> str:
    """Join items with commas between brackets, in as many lines as they need."""
    line = start + ", ".join(items) + end
    if len(line) + indent + 7 <= WIDTH and "\n" not in line:
        return line
    lines, row = [], ""
    broken = any("\n" in item for item in items)
    for item in items:
        if row and (broken or len(row) + len(item) + indent + 6 > WIDTH):
            lines.append(row)
            row = ""
        row += f"{' ' if row else ''}{item},"
    pad = " " * (indent + 4)
    end = end.removeprefix(",")  # a row ends in a comma already
    return "\n".join([start, *(pad + row for row in [*lines, row] if row), " " * indent + end])
