"""The names of a tree's leaves, as people write them: ``layers[0].W``, and ``W1`` of a dict."""

from __future__ import annotations

import re
from typing import Any

from undertow import trees


def name_leaves(tree: Any) -> list[str]:
    """Name the leaves of a tree; keys that are words are written like attributes.

    Args:
        tree: parameters.

    Returns:
        A name a leaf, in the order of `trees.flatten`, no two alike; ``""`` where the tree is a single leaf.

    Source: derived here.

    Example:
        >>> name_leaves({"layers": [{"W": 1.0, "b": 2.0}]})
        ['layers[0].W', 'layers[0].b']
        >>> name_leaves({"layers[0].W": 1.0})
        ['layers[0].W']
    """
    paths = trees.paths(tree)
    names = [re.sub(r"\[(['\"])(.*?)\1\]", r".\2", path).lstrip(".") for path in paths]
    return names if len(set(names)) == len(names) else [path.lstrip(".") for path in paths]


def layer_of(name: str) -> str:
    """Return the name of the layer that a parameter belongs to: all of its name but the last part."""
    return re.sub(r"(\.?[^.\[\]]+|\[[^\[\]]*\])$", "", name)
