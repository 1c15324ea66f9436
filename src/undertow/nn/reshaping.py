"""Layers that change the shape, or each number by itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError
from undertow.graph import show_shape
from undertow.nn.layer import LayerShapeError, check_columns, check_count, check_filled
from undertow.nn.registry import register_layer
from undertow.primitives import shape_of


def _numbers_an_example(layer: Any, x: Any) -> int:
    """How many numbers an example has; x needs a batch axis."""
    shape = shape_of(x)
    inner = shape[1:]
    if not shape or not all(isinstance(size, int) for size in inner):
        raise LayerShapeError(layer, f"x is {show_shape(shape)}. Keep the batch axis first.")
    return math.prod(size for size in inner if isinstance(size, int))


@register_layer
@dataclass(eq=False)
class Flatten:
    """All numbers of an example in one row: (m, a, b, …) becomes (m, a · b · …).

    Raises:
        ShapeError: ``Flatten(): x is (). Keep the batch axis first.``

    Source: derived here.

    Example:
        >>> Flatten()(np.zeros((2, 3, 4))).shape
        (2, 12)
    """

    def __call__(self, x: Any) -> Any:
        """Flatten x (m, …)."""
        n = _numbers_an_example(self, x)
        h = x.reshape((-1, n)) if n else x.reshape((shape_of(x)[0], 0))
        return h


@register_layer
@dataclass(eq=False)
class Reshape:
    """The numbers of each example in another shape: (m, …) becomes (m, a, b, …).

    Args:
        shape: of an example, without the batch axis; one size may be −1.

    Raises:
        ArgumentError: ``Reshape(shape=(2, 0)): shape must be sizes of 1 or more, of which one may be -1.``
        ShapeError: ``Reshape(shape=(3, 4)): x is (m, 10): its examples have 10 numbers, not 12. …``

    Source: derived here.

    Example:
        >>> Reshape((2, -1))(np.zeros((5, 6))).shape
        (5, 2, 3)
    """

    shape: Any

    static = ("shape",)

    def __post_init__(self) -> None:
        if isinstance(self.shape, int) and not isinstance(self.shape, bool):
            self.shape = (self.shape,)
        sizes: list[Any] = list(self.shape) if isinstance(self.shape, tuple | list) else [None]
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if not whole or any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise ArgumentError(f"{str(self)[:200]}: shape must be sizes of 1 or more, of which one may be -1.")
        self.shape = tuple(sizes)

    @property
    def fan_out(self) -> int | None:
        """How many columns it gives; None where that depends on x."""
        return self.shape[-1] if self.shape and self.shape[-1] > 0 else None

    def __call__(self, x: Any) -> Any:
        """Reshape x (m, …)."""
        n = _numbers_an_example(self, x)
        known = math.prod(size for size in self.shape if size != -1)
        if (n % known if -1 in self.shape else n != known) or not n:
            needed = f"a multiple of {known}" if -1 in self.shape else known
            raise LayerShapeError(
                self,
                f"x is {show_shape(shape_of(x))}: its examples have {n} numbers, not {needed}. Change the "
                "shape, or the layer before.",
            )
        h = x.reshape((-1, *(n // known if size == -1 else size for size in self.shape)))
        return h


@register_layer
@dataclass(eq=False, repr=False)
class Scale:
    """A trained factor: h = x · gain.

    Args:
        n_gains: 1 for one factor, or the number of columns of x for a factor of each column.
        start: what the factors begin with.
        gain: the factors, (n_gains,), or None until `initialize` fills them.

    Raises:
        ArgumentError: ``Scale(0): n_gains must be a whole number of 1 or more.``
        ShapeError: ``layer 2, Scale(8): x is (m, 6). Give x 8 columns, or use Scale(6).``

    Source: Bachlechner et al., ReZero is all you need, UAI 2021, eq. 3 (with start 0, in a residual block).

    Example:
        >>> Scale(gain=np.array([2.0]))(np.array([[1.0, 3.0]]))
        array([[2., 6.]])
    """

    n_gains: int = 1
    start: float = 1.0
    gain: Any = None

    static = ("start",)
    keeps_width = True

    def __post_init__(self) -> None:
        check_count(self, n_gains=self.n_gains)
        if isinstance(self.start, bool) or not isinstance(self.start, int | float) or not math.isfinite(self.start):
            raise ArgumentError(f"{self!r}: start is {self.start!r}. Give a number.")

    def __repr__(self) -> str:
        return f"Scale({self.n_gains})"

    @property
    def fan_in(self) -> int | None:
        """How many columns it takes; any number where there is one factor."""
        return self.n_gains if self.n_gains > 1 else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of the factors."""
        return {"gain": (self.n_gains,)}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> Scale:
        """Return the layer with its factors filled."""
        if self.gain is not None:
            return self
        return dataclasses.replace(self, gain=np.full(self.n_gains, self.start, dtype))

    def __call__(self, x: Any) -> Any:
        """Compute x · gain for x (…, columns)."""
        check_filled(self, gain=self.gain)
        if self.n_gains > 1:
            check_columns(self, x, self.n_gains, "Scale({0})")
        h = x * self.gain
        return h


@register_layer
@dataclass(eq=False, repr=False)
class Lambda:
    """A function of one array as a layer with a name, and, where it is known, a width.

    Args:
        function: plain NumPy; its code is not saved with a model, but its name, if it is registered by
            `register_layer`.
        name: what it is called in summaries and messages.
        keeps_width: whether it gives as many columns as it gets.
        fan_out: how many columns it gives, if that is one number.

    Raises:
        ArgumentError: ``Lambda: 3 is no function. Give a function of one array.``

    Source: derived here.

    Example:
        >>> Lambda(lambda h: h[:, ::-1], "reverse")(np.array([[1, 2]]))
        array([[2, 1]])
    """

    function: Callable[[Any], Any]
    name: str = "Lambda"
    keeps_width: bool = False
    fan_out: int | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ArgumentError(f"Lambda: {self.function!r} is no function. Give a function of one array.")

    def __repr__(self) -> str:
        return str(self.name)

    def __call__(self, x: Any) -> Any:
        """Apply the function to x."""
        return self.function(x)
