"""PReLU: a leaky ReLU whose slope is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import show_shape
from undertow.primitives import shape_of

START: Final = 0.25  # He et al. 2015, section 2.1


@dataclass(eq=False, repr=False)
class PReLU:
    """h = z where z > 0, else slope · z, with a slope that is trained.

    At z = 0 the derivative by z is the slope, and that by the slope is 0.

    Args:
        n_slopes: 1 for one slope, or the number of columns of z for a slope of each column.
        slope: the slopes, (n_slopes,), or None until `initialize` fills them with 0.25.

    Raises:
        ArgumentError: ``PReLU(0): n_slopes must be a whole number of 1 or more.``
        ShapeError: called with z of another width: ``PReLU(3): z is (m, 4). …``

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 1 to 3.

    Example:
        >>> PReLU(slope=np.array([0.25]))(np.array([[-4.0, 2.0]]))
        array([[-1.,  2.]])
    """

    n_slopes: int = 1
    slope: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.n_slopes, bool) or not isinstance(self.n_slopes, int) or self.n_slopes < 1:
            raise ArgumentError(f"{self!r}: n_slopes must be a whole number of 1 or more.")

    def __repr__(self) -> str:
        return f"PReLU({self.n_slopes})"

    def fill(self, dtype: Any) -> Any:
        """Make the slopes that training begins with, in float32 or float64."""
        return np.full(self.n_slopes, START, dtype)

    def __call__(self, z: Any) -> Any:
        """Compute h for z (…, columns)."""
        if self.slope is None:
            raise ArgumentError(f"{self!r} has no slope yet. Call undertow.nn.initialize(model, seed) first.")
        shape = shape_of(z)
        if self.n_slopes > 1 and (not shape or shape[-1] != self.n_slopes):
            wanted = shape[-1] if shape else 1
            raise ShapeError(f"{self!r}: z is {show_shape(shape)}. Use PReLU({wanted}), or PReLU(1) for one slope.")
        h = np.where(z > 0, z, self.slope * z)
        return h
