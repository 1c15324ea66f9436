"""Layers: dataclasses that are parameter trees, called like functions, written in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Shape, show_shape
from undertow.nn.activations import ACTIVATIONS, SAME_FUNCTIONS, find_activation
from undertow.nn.initialisers import INITIALISERS, find_initialiser
from undertow.primitives import shape_of

AUTO = "auto"


class LayerShapeError(ShapeError):
    """A layer got a value of the wrong width; a container adds the layer's number to the message.

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
        for number, layer in enumerate(walk_layers(container), 1):
            if layer is self.layer:
                self.args = (f"layer {number}, {layer!r}: {self.problem}",)


@dataclass(eq=False, repr=False)
class Dense:
    """A fully connected layer, z = x W + b.

    Args:
        fan_in: the width of x.
        fan_out: the width of z.
        bias: False leaves b out.
        init: an initialiser or its name; ``"auto"`` chooses by the activation that follows.
        W: weights, (fan_in, fan_out), or None until `initialize` fills them.
        b: biases, (fan_out,), or None.

    Raises:
        ArgumentError: ``Dense(0, 3): fan_in and fan_out must be whole numbers of 1 or more.``
        ShapeError: called with x of another width: ``layer 3, Dense(128, 10): x is (m, 64) …``

    Source: Goodfellow et al., Deep Learning, 2016, section 6.5.4.

    Example:
        >>> import numpy as np
        >>> Dense(2, 1, W=np.array([[1.0], [2.0]]), b=np.array([0.5]))(np.array([[1.0, 1.0]]))
        array([[3.5]])
    """

    fan_in: int
    fan_out: int
    bias: bool = True
    init: Any = AUTO
    W: Any = None
    b: Any = None

    def __post_init__(self) -> None:
        for size in (self.fan_in, self.fan_out):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(f"{self!r}: fan_in and fan_out must be whole numbers of 1 or more.")
        if not isinstance(self.bias, bool | np.bool_):
            raise ArgumentError(
                f"{self!r}: bias must be True or False, got {self.bias!r}. An activation is an item of its own: "
                f'Sequential({self!r}, "relu").'
            )
        if isinstance(self.init, str):
            if self.init != AUTO:
                find_initialiser(self.init)
        elif not callable(self.init):
            raise ArgumentError(
                f"{self!r}: init is {self.init!r}. Give a name ({', '.join(INITIALISERS)}) or a function."
            )

    def __repr__(self) -> str:
        return f"Dense({self.fan_in}, {self.fan_out})"

    def __call__(self, x: Any) -> Any:
        """Compute z = x W + b for x (…, fan_in)."""
        if self.W is None:
            raise ArgumentError(f"{self!r} has no weights yet. Call undertow.nn.initialize(model, seed) first.")
        shape = shape_of(x)
        if not shape or shape[-1] != self.fan_in:
            raise LayerShapeError(self, f"x is {show_shape(shape)}. {_remedy(self, shape)}")
        if self.b is None:
            z = x @ self.W
        else:
            z = x @ self.W + self.b
        return z


def _remedy(layer: Dense, shape: Shape) -> str:
    """Say what would make a layer and an x of this shape fit."""
    if not shape:
        return f"Give x a batch axis and {layer.fan_in} columns."
    return f"Give x {layer.fan_in} columns, or use Dense({shape[-1]}, {layer.fan_out})."


@dataclass(eq=False, repr=False, init=False)
class Sequential:
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
        self.layers = tuple(_read_item(self, item) for item in (*items, *layers))
        check_widths(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(show_item, self.layers))})"

    def __call__(self, x: Any) -> Any:
        """Apply the layers to x (m, …)."""
        _value = x  # a name with an underscore is not read: the layers' own names (z, h) stay
        try:
            for layer in self.layers:
                _value = layer(_value)
        except LayerShapeError as error:
            error.number_within(self)
            raise
        return _value


@dataclass(eq=False, repr=False, init=False)
class Residual(Sequential):
    """A residual block, h = x + f(x), where f is the layers one after the other.

    Args:
        items: as for `Sequential`; they must keep the width.

    Raises:
        ShapeError: ``Residual(Dense(8, 4)): takes 8 columns and gives 4, but x + f(x) needs …``

    Source: He et al., Deep residual learning for image recognition, CVPR 2016, eq. 1.

    Example:
        >>> import numpy as np
        >>> Residual("tanh")(np.array([0.0]))
        array([0.])
    """

    def __init__(self, *items: Any, layers: Any = ()) -> None:
        super().__init__(*items, layers=layers)
        fan_in, fan_out = widths(self)
        if None not in (fan_in, fan_out) and fan_in != fan_out:  # a layer of one's own does not say
            raise ShapeError(
                f"{self!r}: takes {fan_in} columns and gives {fan_out}, but x + f(x) needs the same width. "
                f"Let its last layer give {fan_in} columns."
            )

    def __call__(self, x: Any) -> Any:
        """Compute x + f(x) for x (m, …)."""
        f = super().__call__(x)
        h = x + f
        return h


def _read_item(container: object, item: Any) -> Callable[[Any], Any]:
    """An item of a container: a layer or a function."""
    if isinstance(item, str):
        return find_activation(item)
    if isinstance(item, type) or not callable(item):
        raise ArgumentError(
            f"{type(container).__name__}: {item!r} is no layer. Give a layer such as Dense(64, 10), "
            f"a function, or one of {', '.join(ACTIVATIONS)}."
        )
    return next((activation for function, activation in SAME_FUNCTIONS if function is item), item)


def show_item(item: Any) -> str:
    """Return what people call a layer or an activation: ``Dense(64, 10)``, ``relu``.

    Args:
        item: a layer or a function.

    Returns:
        Its text.

    Source: derived here.

    Example:
        >>> show_item(find_activation("relu"))
        'relu'
    """
    return getattr(item, "__name__", None) or repr(item)


def walk_layers(model: Any) -> Iterator[Any]:
    """Give the layers that hold parameters, first to last, containers opened.

    Args:
        model: a layer or a container.

    Returns:
        An iterator over layers: each is a dataclass that is no `Sequential`.

    Source: derived here.

    Example:
        >>> list(walk_layers(Sequential(Dense(2, 3), "relu", Residual(Dense(3, 3)))))
        [Dense(2, 3), Dense(3, 3)]
    """
    if isinstance(model, Sequential):
        for layer in model.layers:
            yield from walk_layers(layer)
    elif hasattr(model, "__dataclass_fields__"):
        yield model


def widths(item: Any) -> tuple[int | None, int | None]:
    """Return how many columns a layer takes and gives; None where any number will do.

    Args:
        item: a layer, a container or a function.

    Returns:
        (taken, given); a layer of the user's own tells them by its attributes ``fan_in``, ``fan_out``.

    Source: derived here.

    Example:
        >>> widths(Sequential(Dense(4, 8), "relu", Dense(8, 3)))
        (4, 3)
    """
    if not isinstance(item, Sequential):
        return getattr(item, "fan_in", None), getattr(item, "fan_out", None)
    taken = given = None
    known = True  # is the width that reaches the next layer still that of x or of a known layer?
    for layer in item.layers:
        layer_in, layer_out = widths(layer)
        if taken is None and given is None and known:
            taken = layer_in
        if layer_out is not None:
            given, known = layer_out, True
        elif layer not in ACTIVATIONS.values() and not isinstance(layer, Sequential):
            given, known = None, False
    return taken, given


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
    before: Any = None
    width: int | None = None
    last = 0
    for layer in model.layers:
        fan_in, fan_out = widths(layer)
        inner = list(walk_layers(layer))
        if width is not None and fan_in is not None and width != fan_in:
            first = inner[0] if inner else layer
            remedy = f"Dense({width}, {fan_out})" if isinstance(layer, Dense) else f"a block that takes {width} columns"
            raise ShapeError(
                f"{type(model).__name__}: layer {last}, {show_item(before)}, gives {width} columns, but "
                "layer "
                f"{last + 1}, {show_item(first)}, takes {fan_in}. Make it {remedy}."
            )
        last += len(inner)
        if fan_out is not None:
            width, before = fan_out, inner[-1] if inner else layer
        elif layer not in ACTIVATIONS.values() and not isinstance(layer, Sequential):
            width = None
