"""Layers made of layers: one after the other, beside one another, around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import show_shape
from undertow.nn.activations import ACTIVATIONS, SAME_FUNCTIONS, find_activation, name_activation
from undertow.nn.embedding import Embedding
from undertow.nn.layer import (
    Container,
    LayerShapeError,
    check_number,
    gives,
    is_layer,
    keeps_width,
    show_item,
    takes,
    walk_layers,
    widths,
)
from undertow.nn.layers import Dense
from undertow.nn.mode import call_inner
from undertow.nn.registry import register_layer
from undertow.primitives import shape_of

AUTO = "auto"


@register_layer
@dataclass(eq=False, repr=False, init=False)
class Sequential(Container):
    """Layers applied one after the other; activations are functions or their names.

    Args:
        items: layers, functions of one array, or names of activations.

    Raises:
        ShapeError: ``Sequential: layer 1, Dense(64, 128), gives 128 columns, but layer 2, Dense(64, 10), …``
        ArgumentError: an item that is neither a function nor the name of an activation.

    Source: derived here.

    Example:
        >>> Sequential(Dense(64, 128), "relu", Dense(128, 10))
        Sequential(Dense(64, 128), relu, Dense(128, 10))
    """

    layers: tuple[Any, ...]

    def __init__(self, *items: Any, layers: Any = ()) -> None:
        self.layers = tuple(read_item(self, item) for item in (*items, *layers))
        check_widths(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([*map(show_item, self.layers), *self._options()])})"

    def _options(self) -> list[str]:
        """What else was said when it was made."""
        return []

    def __call__(self, x: Any) -> Any:
        """Apply the layers to x (m, …)."""
        _value = x  # a name with an underscore is not read: the layers' own names (z, h) stay
        try:
            for path, layer in Sequential.inner(self):
                _value = call_inner(path, layer, _value)
        except LayerShapeError as error:
            error.number_within(self)
            raise
        return _value

    @property
    def keeps_width(self) -> bool:
        """Whether all layers give as many columns as they get."""
        return all(map(keeps_width, self.layers))

    def inner(self) -> list[tuple[str, Any]]:
        """List the layers."""
        return [(f"layers[{i}]", layer) for i, layer in enumerate(self.layers)]

    def takes(self) -> int | None:
        """Return how many columns the first layer takes that wants a number."""
        for layer in self.layers:
            if (taken := takes(layer)) is not None or not keeps_width(layer):
                return taken
        return None

    def gives(self, width: int | None) -> int | None:
        """Return how many columns come out of the last layer."""
        for layer in self.layers:
            width = gives(layer, width)
        return width

    def ends(self, follows: str | None) -> list[str | None]:
        """Tell of each layer which activation comes after it; dropout and normalisation are passed over."""
        found: list[str | None] = []
        for layer in reversed(self.layers):
            found.append(follows)
            follows = first_activation(layer, follows)
        return found[::-1]

    def summary(self, input_shape: Any = None) -> Any:
        """Lay out the layers with shapes, parameters and costs, see `undertow.nn.summary`."""
        from undertow.nn.summary import summary

        return summary(self, input_shape)


def first_activation(item: Any, follows: str | None) -> str | None:
    """Return the activation that a value meets first, in this layer or in ``follows`` after it."""
    if type(item) is Sequential:
        for layer in reversed(item.layers):
            follows = first_activation(layer, follows)
        return follows
    name: str | None = getattr(item, "activation_name", None) or name_activation(item)
    passes = is_layer(item) and keeps_width(item) and not isinstance(item, Container)
    return follows if name == "identity" or (name is None and passes) else name


@register_layer
@dataclass(eq=False, repr=False, init=False)
class Residual(Sequential):
    """A residual block, h = x + f(x), where f is the layers one after the other.

    Args:
        items: as for `Sequential`; they must keep the width, unless there is a projection.
        projection: ``"auto"`` gives x to a Dense layer without bias where f changes the width, h = x W + f(x);
            a layer or a function is used always; None never.
        scale: a number by which f(x) is multiplied, such as 1/√L in a network of L blocks; None is 1.

    Raises:
        ShapeError: ``Residual(Dense(8, 4)): takes 8 columns and gives 4, but x + f(x) needs …``

    Source: He et al., Deep residual learning for image recognition, CVPR 2016, eq. 1 and 2.

    Example:
        >>> import numpy as np
        >>> Residual("tanh")(np.array([0.0])), Residual(Dense(8, 4), projection="auto").projection
        (array([0.]), Dense(8, 4))
    """

    projection: Any
    scale: Any

    static = ("scale",)

    def __init__(self, *items: Any, projection: Any = None, scale: float | None = None, layers: Any = ()) -> None:
        self.projection = self.scale = None
        super().__init__(*items, layers=layers)
        fan_in, fan_out = widths(self.f)
        self.projection = self._read_projection(projection, fan_in, fan_out)
        if scale is not None:
            check_number(self, "scale", scale, -1e30, 1e30, "a number, or None")
            self.scale = float(scale)
        straight = gives(self.projection, fan_in) if self.projection is not None else fan_in
        if None not in (straight, fan_out) and straight != fan_out:  # a layer of one's own does not say
            if self.projection is not None:
                raise ShapeError(
                    f"{self!r}: its projection gives {straight} columns and f(x) {fan_out}, but their sum needs the "
                    f'same width. Use projection="auto", or a Dense layer that gives {fan_out} columns.'
                )
            raise ShapeError(
                f"{self!r}: takes {fan_in} columns and gives {fan_out}, but x + f(x) needs the same width. "
                f'Let its last layer give {fan_in} columns, or use projection="auto".'
            )

    def _read_projection(self, projection: Any, fan_in: int | None, fan_out: int | None) -> Any:
        if projection is None:
            return None
        if not isinstance(projection, str) or projection != AUTO:
            return read_item(self, projection)
        if fan_in is None or fan_out is None:
            raise ArgumentError(
                f'{self!r}: projection="auto" needs to know how many columns f takes and gives. Give a layer, such as '
                "Dense(8, 4, bias=False)."
            )
        return None if fan_in == fan_out else Dense(fan_in, fan_out, bias=False)

    def _options(self) -> list[str]:
        found = [] if self.projection is None else [f"projection={show_item(self.projection)}"]
        return found + ([] if self.scale is None else [f"scale={self.scale:g}"])

    @property
    def f(self) -> Sequential:
        """The layers without the sum."""
        inner: Sequential = object.__new__(Sequential)  # they were checked already
        inner.layers = self.layers
        return inner

    @property
    def keeps_width(self) -> bool:
        """Whether x is added as it is."""
        return self.projection is None

    def __call__(self, x: Any) -> Any:
        """Compute x + f(x) for x (m, …)."""
        f = super().__call__(x)
        if self.scale is not None:
            f = f * self.scale
        if self.projection is not None:
            try:
                x = call_inner("projection", self.projection, x)
            except LayerShapeError as error:
                error.number_within(self)
                raise
        check_sum(self, [shape_of(x), shape_of(f)])
        h = x + f
        return h

    def inner(self) -> list[tuple[str, Any]]:
        """List the layers, then the projection."""
        return super().inner() + ([] if self.projection is None else [("projection", self.projection)])

    def gives(self, width: int | None) -> int | None:
        """Return the width of the sum."""
        found = super().gives(width)
        straight = width if self.projection is None else gives(self.projection, width)
        return straight if found is None else found

    def ends(self, follows: str | None) -> list[str | None]:
        """Tell of each layer which activation comes after it."""
        return super().ends(follows) + ([] if self.projection is None else [follows])


@register_layer
@dataclass(eq=False, repr=False, init=False)
class Concat(Sequential):
    """What comes in, and beside it what layers make of it: h = [x, f(x)].

    Args:
        items: as for `Sequential`.

    Raises:
        ShapeError: as `Sequential`.

    Source: Huang et al., Densely connected convolutional networks, CVPR 2017, eq. 2.

    Example:
        >>> Concat("tanh")(np.array([[0.0, 1.0]])).round(2)
        array([[0.  , 1.  , 0.  , 0.76]])
    """

    joins = True

    def __init__(self, *items: Any, layers: Any = ()) -> None:
        super().__init__(*items, layers=layers)

    def __call__(self, x: Any) -> Any:
        """Compute [x, f(x)] along the last axis."""
        f = super().__call__(x)
        h = np.concatenate([x, f], axis=-1)
        return h

    @property
    def keeps_width(self) -> bool:
        """False."""
        return False

    def gives(self, width: int | None) -> int | None:
        """Return the width of both together."""
        if width is None:
            width = self.takes()
        found = super().gives(width)
        return None if width is None or found is None else width + found


def check_sum(container: object, shapes: list[Any]) -> None:
    """ShapeError where a sum would broadcast one part along another."""
    if any(shape != shapes[0] for shape in shapes):
        raise ShapeError(
            f"{container!r}: it adds {' and '.join(map(show_shape, shapes))}: the shapes differ. Let all parts give "
            "the same shape."
        )


def read_item(container: object, item: Any) -> Callable[[Any], Any]:
    """An item of a container: a layer or a function."""
    if isinstance(item, str):
        return find_activation(item)
    if isinstance(item, list | tuple):
        raise ArgumentError(
            f"{type(container).__name__}: a {type(item).__name__} of layers is no layer. Give them one by one, "
            f"with a star: {type(container).__name__}(*layers)."
        )
    if hasattr(item, "forward") and not isinstance(item, type) and not callable(item):
        raise ArgumentError(
            f"{type(container).__name__}: {type(item).__name__} has a method forward, and none called __call__. Rename "
            f"it."
        )
    if isinstance(item, int | float | np.number) or (isinstance(item, np.ndarray) and item.ndim == 0):
        raise ArgumentError(
            f"{type(container).__name__}: the number {item} is no layer. A setting of an activation is given by name: "
            "leaky_relu(slope=0.1)."
        )
    if isinstance(item, type) or not callable(item):
        raise ArgumentError(
            f"{type(container).__name__}: {item!r:.80} is no layer. Give a layer such as Dense(64, 10), "
            f"a function, or one of {', '.join(ACTIVATIONS)}."
        )
    return next((activation for function, activation in SAME_FUNCTIONS if function is item), item)


def check_widths(model: Sequential) -> None:
    """Check that each layer takes as many columns as the one before it gives.

    Args:
        model: the container.

    Raises:
        ShapeError: names both layers and the remedy.

    Source: derived here.

    Example:
        >>> check_widths(Sequential(Dense(4, 8), Dense(8, 3)))
    """
    width: int | None = None
    embeds = False  # whether it is that of an embedding: of each code
    before, count = "", 0  # who gave that width, and how many layers there were so far
    for layer in model.layers:
        taken = takes(layer)
        inner = list(walk_layers(layer))
        if width is not None and taken is not None and width != taken:
            place, first = next(((i, x) for i, x in enumerate(inner, 1) if takes(x) == taken), (1, layer))
            single = isinstance(layer, Dense)
            remedy = f"Dense({width}, {layer.fan_out})" if single else f"a block that takes {width} columns"
            if embeds and taken % width == 0:
                remedy += f"; or put Flatten() between them, where an example has {taken // width} codes"
            raise ShapeError(
                f"{type(model).__name__}: {before} {width} columns, but layer {count + place}, {show_item(first)}, "
                f"takes {taken}. Make it {remedy}."
            )
        new = gives(layer, width)
        if new is not None and (inner or not keeps_width(layer)):
            joins = isinstance(layer, Container) and layer.joins
            last = [x for x in inner if gives(x, None) == new]
            if joins and len(inner) > 1:
                before = f"layers {count + 1} to {count + len(inner)}, {show_item(layer)}, give"
            elif joins or not last:
                before = f"layer {count + len(inner)}, {show_item(layer)}, gives"
            else:
                place = max(i for i, x in enumerate(inner, 1) if x is last[-1])
                before = f"layer {count + place}, {show_item(last[-1])}, gives"
        width = new
        embeds = isinstance(layer, Embedding) or (embeds and keeps_width(layer))
        count += len(inner)
