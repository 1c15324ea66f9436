"""Shapes and dtypes of values that need not exist yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.errors import ShapeError, UndertowError


class NeedsConcreteSize(UndertowError):  # no TypeError: NumPy would put one of its own in its place
    """A symbolic size was asked for its number; whoever traces may then trace again with the number."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A size known by name only: ``count`` times ``symbol``; ``Dim("m")`` is the batch size m."""

    symbol: str
    count: int = 1

    def __str__(self) -> str:
        return self.symbol if self.count == 1 else f"{self.count} * {self.symbol}"

    __repr__ = __str__


Size = int | Dim
Shape = tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a value before it exists: its shape and its dtype.

    ``weak`` marks a Python number (or a size): by NumPy 2's promotion it takes on the dtype of the
    arrays that it meets, so ``x / 2.0`` stays float32.
    """

    shape: Shape
    dtype: np.dtype[Any]
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return f"{show_shape(self.shape)} {'python ' if self.weak else ''}{self.dtype}"


def show_shape(shape: Shape) -> str:
    """Print a shape as people write it: ``(m, 128)``, ``(3,)``, ``()``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def total(shape: Shape) -> Size:
    """Multiply the sizes; the product of two symbolic sizes has no name and needs its number."""
    count, symbol = 1, None
    for size in shape:
        if isinstance(size, Dim):
            if symbol is not None:
                raise NeedsConcreteSize(f"the number of elements of {show_shape(shape)} is not a multiple of one size")
            symbol, size = size.symbol, size.count
        count *= size
    return count if symbol is None else Dim(symbol, count) if count else 0


def divide_sizes(a: Size, b: Size) -> Size | None:
    """Return a / b where it is whole, else None."""
    if isinstance(a, Dim):
        if isinstance(b, Dim):
            return a.count // b.count if a.symbol == b.symbol and a.count % b.count == 0 else None
        return Dim(a.symbol, a.count // b) if b and a.count % b == 0 else None
    if isinstance(b, Dim) or not b or a % b:
        return None
    return a // b


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Broadcast shapes by NumPy's rule; a symbolic size goes with itself and with 1.

    Raises:
        ShapeError: two sizes on one axis differ and neither is 1.
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    ndim = max(map(len, shapes))
    result: list[Size] = [1] * ndim
    for shape in shapes:
        for axis, size in enumerate(shape, ndim - len(shape)):
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                raise ShapeError(
                    f"sizes {result[axis]} and {size} on axis {axis - ndim} differ and neither is 1. "
                    f"Make them equal, or insert an axis of size 1 with [:, None]."
                )
            result[axis] = size
    return tuple(result)


def resolve(value: Any, sizes: dict[str, int]) -> Any:
    """Put numbers in place of the symbolic sizes in a parameter of an operation (or a shape)."""
    if isinstance(value, Dim):
        return value.count * sizes[value.symbol]
    if type(value) is tuple:
        return tuple(resolve(item, sizes) for item in value)
    return value
