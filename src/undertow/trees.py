"""Trees of arrays: tuples, lists, dicts, named tuples and dataclasses, taken apart and put together.

`optree` does the work. Dataclasses are registered with it when one is first met: the fields that hold
arrays, floats or containers are children, all others (sizes, names, functions) belong to the structure, and so do
those that the class attribute ``static`` names: a rate or a tuple of sizes, which is no parameter.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
import optree

from undertow.errors import ArgumentError

NAMESPACE = "undertow"

Rebuild = Callable[[list[Any]], Any]

_registering = threading.Lock()
_registered: set[type] = set()

LEAVES: set[type] = {np.ndarray, float, np.float64, np.float32}  # what is no tree, known by its type at once


def _is_child(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    return not (value is None or isinstance(value, str | bytes | bool | int | type) or callable(value)) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def static_fields(cls: type) -> tuple[str, ...]:
    """Return the fields of a dataclass that its class attribute ``static`` takes out of the tree.

    Example:
        >>> @dataclasses.dataclass
        ... class Leaky:
        ...     static = ("rate",)
        ...     rate: float
        ...     gain: float
        >>> static_fields(Leaky), flatten(Leaky(0.1, 2.0))[0]
        (('rate',), [2.0])
    """
    found = getattr(cls, "static", ())
    return found if isinstance(found, tuple) else ()


def _take_apart(instance: Any) -> tuple[list[Any], Any, tuple[str, ...]]:
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    static = static_fields(type(instance))
    names = tuple(name for name, value in values.items() if name not in static and _is_child(value))
    rest = tuple((name, value) for name, value in values.items() if name not in names)
    return [values[name] for name in names], (type(instance), names, rest), names


def _put_together(structure: Any, children: Any) -> Any:
    cls, names, rest = structure
    instance = object.__new__(cls)  # not __init__: a tree may hold tracers, which __post_init__ need not accept
    for name, value in (*zip(names, children, strict=True), *rest):
        object.__setattr__(instance, name, value)
    return instance


def _spec(tree: Any) -> tuple[list[Any], optree.PyTreeSpec]:
    leaves, spec = optree.tree_flatten(tree, namespace=NAMESPACE)
    kinds = {type(leaf) for leaf in leaves} - LEAVES
    new: set[Any] = {kind for kind in kinds if dataclasses.is_dataclass(kind)}
    if not new:
        return leaves, spec
    for cls in new:
        with _registering:
            if cls not in _registered:  # else another thread was faster
                optree.register_pytree_node(
                    cls, _take_apart, _put_together, path_entry_type=optree.GetAttrEntry, namespace=NAMESPACE
                )
                _registered.add(cls)
    return _spec(tree)


def _only(leaves: list[Any]) -> Any:
    return leaves[0]


_LEAF: Final = _spec(0.0)[1]


def key_of(tree: Any) -> Hashable:
    """Return something by which trees of one structure are known: equal for trees that differ in their leaves only."""
    return _key(_spec(tree)[1])


def _key(spec: optree.PyTreeSpec) -> Hashable:
    try:
        hash(spec)
    except TypeError:  # a static field that cannot be hashed
        return repr(spec)
    return spec


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """Take a tree apart.

    Args:
        tree: any nesting of tuples, lists, dicts, named tuples and dataclasses.

    Returns:
        The leaves in order, and a function that puts a list of as many leaves into the same tree.

    Example:
        >>> leaves, rebuild = flatten({"b": (1.0, 2.0), "a": [3.0]})
        >>> leaves
        [3.0, 1.0, 2.0]
        >>> rebuild([30, 10, 20])
        {'b': (10, 20), 'a': [30]}
    """
    if type(tree) in LEAVES or isinstance(tree, np.ndarray | float):  # by far the most frequent tree is a single leaf
        return [tree], _only
    leaves, spec = _spec(tree)
    return leaves, lambda new: optree.tree_unflatten(spec, new)


def flatten_with_key(tree: Any) -> tuple[list[Any], Rebuild, Hashable]:
    """Take a tree apart; see `flatten` and `key_of`."""
    if type(tree) in LEAVES:
        return [tree], _only, _LEAF
    leaves, spec = _spec(tree)
    return leaves, lambda new: optree.tree_unflatten(spec, new), _key(spec)


def paths(tree: Any) -> list[str]:
    """Name the leaves of a tree the way Python would reach them.

    Example:
        >>> paths({"layers": [{"W": 1.0}, {"W": 2.0}]})
        ["['layers'][0]['W']", "['layers'][1]['W']"]
    """
    _, spec = _spec(tree)
    return [accessor.codify("") for accessor in spec.accessors()]


def unmarked(tree: Any, mark: str) -> list[bool]:
    """Tell of each leaf whether no dataclass above it names its field in a class attribute of this name.

    Example:
        >>> @dataclasses.dataclass
        ... class Normalised:
        ...     fixed = ("mean",)
        ...     gain: float
        ...     mean: float
        >>> unmarked([Normalised(1.0, 0.0), 2.0], "fixed")
        [True, False, True]
    """
    found = []
    for accessor in _spec(tree)[1].accessors():
        item, free = tree, True
        for entry in accessor:
            free = free and not (isinstance(entry, optree.GetAttrEntry) and entry.entry in getattr(item, mark, ()))
            item = entry(item)
        found.append(free)
    return found


def same_structure(a: Any, b: Any) -> bool:
    """Tell whether two trees differ in their leaves only."""
    return bool(_spec(a)[1] == _spec(b)[1])


def map_leaves(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a function to the leaves of trees of one structure; the result has that structure too.

    Example:
        >>> map_leaves(lambda w, g: w - g, {"W": 3.0}, {"W": 1.0})
        {'W': 2.0}
    """
    leaves, rebuild = flatten(tree)
    for other in rest:
        if len(leaves) > 1 and not same_structure(tree, other):
            raise ArgumentError(
                f"two trees differ in structure: {', '.join(paths(tree))} against {', '.join(paths(other))}."
            )
    others = [flatten(other)[0] for other in rest]
    return rebuild([function(*items) for items in zip(leaves, *others, strict=True)])


map = map_leaves
