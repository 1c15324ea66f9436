"""What all layers share: how they are called, counted and walked through, and how many columns they take and give.

A layer is a dataclass with ``__call__(x)``. It may have, and the layers of this package do:

- ``shapes()``: the shapes of its parameters by their fields, which are None until they are filled;
- ``initial(rng, dtype, follows)``: the layer with those that are None filled;
- ``not_trained``: fields whose arrays no gradient changes; ``static``: fields that are numbers, but no parameters;
- ``fan_in``, ``fan_out``: how many columns it takes and gives; ``keeps_width``: True where it gives what it takes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Shape, show_shape, total
from undertow.habits import MODELS, missing_attribute
from undertow.nn.activations import name_activation
from undertow.primitives import shape_of


class LayerShapeError(ShapeError):
    """A layer got a value of the wrong shape; a container adds the layer's number to the message.

    Attributes:
        layer: the layer that found it.
        problem: what is wrong, without the layer's name.
    """

    def __init__(self, layer: object, problem: str) -> None:
        super().__init__(f"{layer!r}: {problem}")
        self.layer = layer
        self.problem = problem

    def number_within(self, container: object) -> None:
        """Put the layer's number within this container into the message."""
        number, before = 0, ""
        for layer in _walk(container):
            counts = holds_parameters(layer)
            number += counts
            if layer is self.layer:
                place = f"layer {number}, " if counts else f"after {before}: " if before else ""
                self.args = (f"{place}{layer!r}: {self.problem}",)
            if counts:
                before = f"layer {number}, {show_item(layer)}"


class Container:
    """A layer made of layers, most of them in its field ``layers``."""

    layers: tuple[Any, ...]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute(f"a model ({type(self).__name__})", name, MODELS)

    joins = False  # True where what it gives is put together of several parts

    def inner(self) -> list[tuple[str, Any]]:
        """List what it is made of, in order: the path from here, such as ``"layers[0]"``, and the layer or function."""
        raise NotImplementedError

    def with_inner(self, layers: list[Any]) -> Any:
        """Return the container with other layers in the place of `inner`, which are not checked again."""
        made = copy.copy(self)
        for (path, _), layer in zip(self.inner(), layers, strict=True):
            if not path.startswith("layers["):
                setattr(made, path, layer)
        made.layers = tuple(x for (path, _), x in zip(self.inner(), layers, strict=True) if path.startswith("layers["))
        return made

    def takes(self) -> int | None:
        """Return how many columns it takes; None where any number will do, or it is not known."""
        raise NotImplementedError

    def gives(self, width: int | None) -> int | None:
        """Return how many columns it gives for so many; None where it is not known."""
        raise NotImplementedError

    def ends(self, follows: str | None) -> list[str | None]:
        """Tell of each of `inner` which activation comes after it, if ``follows`` comes after the container."""
        return [follows for _ in self.inner()]


_LONGEST = 80  # characters of what a layer of one's own holds: it stands in tables, in findings and in messages


def show_item(item: Any) -> str:
    """Return what people call a layer or an activation: ``Dense(64, 10)``, ``relu``.

    Args:
        item: a layer or a function.

    Returns:
        Its text. A layer of the user's own that has the representation of a dataclass is shown without its arrays, and
        one of many others without these.

    Source: derived here.

    Example:
        >>> show_item(np.tanh)
        'tanh'
    """
    name = getattr(item, "__name__", None)
    if name or not is_layer(item) or not hasattr(type(item).__repr__, "__wrapped__"):  # dataclasses wrap theirs
        return name or repr(item)
    fields = [(field.name, getattr(item, field.name, None)) for field in dataclasses.fields(item) if field.repr]
    held = {name: value for name, value in fields if value is not None and not hasattr(value, "shape")}
    text = ", ".join(f"{name}={_show_part(value)}" for name, value in held.items())
    return f"{type(item).__name__}({text if len(text) <= _LONGEST else '…'})"


def _show_part(value: Any) -> str:
    """What a field of a layer holds: layers, in tuples and lists too, as `show_item` shows them."""
    if isinstance(value, tuple | list) and any(map(is_layer, value)):
        return f"[{', '.join(map(_show_part, value))}]"
    return show_item(value) if is_layer(value) else repr(value)


def is_layer(item: Any) -> bool:
    """Tell whether something is a layer rather than a function or a number."""
    return dataclasses.is_dataclass(item) and not isinstance(item, type)


def children(item: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a tree with the ends of their paths, as `trees.paths` writes them."""
    if is_layer(item):
        static = trees.static_fields(type(item))
        names = [field.name for field in dataclasses.fields(item) if field.name not in static]
        yield from ((f".{name}", getattr(item, name)) for name in names)
    elif isinstance(item, tuple) and hasattr(item, "_fields"):
        yield from ((f".{name}", getattr(item, name)) for name in item._fields)
    elif isinstance(item, tuple | list):
        yield from ((f"[{i}]", x) for i, x in enumerate(item))
    elif isinstance(item, dict):
        yield from ((f"[{key!r}]", x) for key, x in item.items())


def holds_parameters(item: Any) -> bool:
    """Tell whether a layer has parameters, or will have when it is filled.

    Args:
        item: a layer, or any part of one.

    Returns:
        False for Dropout and its like.

    Source: derived here.

    Example:
        >>> holds_parameters(abs), holds_parameters([0.5])
        (False, True)
    """
    if is_layer(item) and hasattr(item, "shapes"):
        return bool(item.shapes())
    if is_layer(item) or isinstance(item, tuple | list | dict):
        return hasattr(item, "initial") or any(holds_parameters(part) for _, part in children(item))
    return not (item is None or isinstance(item, str | bytes | bool | int | type) or callable(item))


def keeps_width(item: Any) -> bool:
    """Tell whether a layer or function gives as many columns as it gets, whatever their number.

    Args:
        item: a layer, a container or a function.

    Returns:
        True for activations, and for layers that say so.

    Source: derived here.

    Example:
        >>> keeps_width(lambda h: h[:, :2])
        False
    """
    return name_activation(item) is not None or bool(getattr(item, "keeps_width", False))


def takes(item: Any) -> int | None:
    """Return how many columns a layer takes; None where any number will do, or it is not known."""
    return item.takes() if isinstance(item, Container) else getattr(item, "fan_in", None)


def gives(item: Any, width: int | None) -> int | None:
    """Return how many columns a layer gives for so many; None where it is not known."""
    if isinstance(item, Container):
        return item.gives(width)
    given: int | None = getattr(item, "fan_out", None)
    return width if given is None and keeps_width(item) else given


def widths(item: Any) -> tuple[int | None, int | None]:
    """Return how many columns a layer takes and gives; None where any number will do.

    Args:
        item: a layer, a container or a function.

    Returns:
        (taken, given); a layer of the user's own tells them by its attributes ``fan_in``, ``fan_out``.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Sequential
        >>> widths(Sequential(Dense(4, 8), "relu", Dense(8, 3)))
        (4, 3)
    """
    taken = takes(item)
    return taken, gives(item, taken)


def _walk(item: Any) -> Iterator[Any]:
    """All layers that are no containers, first to last."""
    if isinstance(item, Container):
        for _, layer in item.inner():
            yield from _walk(layer)
    elif is_layer(item):
        yield item


def walk_layers(model: Any) -> Iterator[Any]:
    """Give the layers that hold parameters, first to last, containers opened.

    Args:
        model: a layer or a container.

    Returns:
        An iterator over layers: each is a dataclass that is no container.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Residual, Sequential
        >>> list(walk_layers(Sequential(Dense(2, 3), "relu", Residual(Dense(3, 3)))))
        [Dense(2, 3), Dense(3, 3)]
    """
    return (layer for layer in _walk(model) if holds_parameters(layer))


def list_layers(model: Any) -> list[tuple[str, Any]]:
    """List the layers that hold parameters, first to last.

    Args:
        model: a layer or a container.

    Returns:
        Pairs of the path in the tree (``"layers[0]"``; ``""`` for the model itself) and the layer.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, Residual, Sequential
        >>> list_layers(Sequential(Dense(2, 3), "relu", Residual(Dense(3, 3))))
        [('layers[0]', Dense(2, 3)), ('layers[2].layers[0]', Dense(3, 3))]
    """
    if not isinstance(model, Container):
        return [("", model)] if holds_parameters(model) else []
    found = []
    for here, item in model.inner():
        for path, layer in list_layers(item):
            found.append((f"{here}{'.' if path else ''}{path}", layer))
    return found


def check_columns(layer: Any, x: Any, size: int, remedy: str, name: str = "x") -> Shape:
    """Return the shape of x, whose last axis must have ``size`` columns.

    Raises:
        LayerShapeError: ``Dense(128, 10): x is (m, 64). Give x 128 columns, or use Dense(64, 10).``; ``{0}`` in
            ``remedy`` stands for the columns that x has.
    """
    shape = shape_of(x)
    found = f"{name} is {show_shape(shape)}. Give {name}"
    if not shape:
        raise LayerShapeError(layer, f"{found} a batch axis and {size} columns.")
    if shape[-1] != size:
        flat = len(shape) > 2 and total(shape[1:]) == size
        way = (
            f"or use {remedy.format(shape[-1])}" if not flat else "one row an example: put Flatten() before this layer"
        )
        raise LayerShapeError(layer, f"{found} {size} columns, {way}.")
    return shape


def check_count(layer: Any, **sizes: Any) -> None:
    """ArgumentError unless sizes are whole numbers of 1 or more; NumPy's, such as ``y.max() + 1``, become Python's."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            many = "whole numbers" if len(sizes) > 1 else "a whole number"
            raise ArgumentError(f"{layer!r}: {' and '.join(sizes)} must be {many} of 1 or more.")
        if isinstance(size, np.integer):
            setattr(layer, name, int(size))


def check_number(layer: Any, name: str, value: Any, low: float, high: float, text: str) -> None:
    """ArgumentError unless a number lies in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value < high:
        raise ArgumentError(f"{layer!r}: {name} is {value!r}. Give {text}.")


def check_filled(layer: Any, **values: Any) -> None:
    """ArgumentError if a parameter is None."""
    for name, value in values.items():
        if value is None:
            what = "weights" if name == "W" else name
            raise ArgumentError(f"{layer!r} has no {what} yet. Call undertow.nn.initialize(model, seed) first.")
