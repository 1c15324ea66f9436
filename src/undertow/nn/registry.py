"""The layers that can be described as plain data, and so be saved: those of this package, and registered ones."""

from __future__ import annotations

import dataclasses
from typing import Final, TypeVar

from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.nn.activations import ACTIVATIONS

C = TypeVar("C", bound=type)

LAYERS: Final[dict[str, type]] = {}


def register_layer(cls: C) -> C:
    """Let models with a layer of one's own be saved and loaded, wherever this was called before; a decorator.

    Files then hold the layer's fields: plain data, layers and activations by name, arrays as parameters.

    Args:
        cls: a dataclass with ``__call__``; where it has parameters, with ``shapes()`` that tells their shapes.

    Returns:
        The class itself.

    Raises:
        ArgumentError: ``register_layer: Gate is no dataclass. …``, or another layer has that name.

    Source: derived here.

    Example:
        >>> @register_layer
        ... @dataclasses.dataclass
        ... class Halved:
        ...     def __call__(self, x):
        ...         return x / 2
        >>> LAYERS["Halved"] is Halved
        True
    """
    name = getattr(cls, "__name__", repr(cls))
    called = isinstance(cls, type) and any("__call__" in base.__dict__ for base in cls.__mro__)
    if not called or not dataclasses.is_dataclass(cls):
        raise ArgumentError(f"register_layer: {name} is no dataclass with __call__. Write @dataclass above the class.")
    if hasattr(cls, "initial") and not hasattr(cls, "shapes"):
        raise ArgumentError(
            f"register_layer: {name} has initial but no shapes. Add shapes(), which returns the shapes of its "
            "parameters by their names, so that a file can be checked before it is believed."
        )
    before = LAYERS.get(name)
    same = before is not None and (before.__module__, before.__qualname__) == (cls.__module__, cls.__qualname__)
    if name in ACTIVATIONS or (before is not None and not same):
        raise ArgumentError(f"register_layer: there is a layer {name} already. Give the class another name.")
    if cls.__module__.startswith("undertow."):
        cls.__init__ = explain_keywords(cls.__init__)  # type: ignore[method-assign]
    LAYERS[name] = cls  # the same class again: a notebook's cell was run twice
    return cls
