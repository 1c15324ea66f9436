"""PReLU: a leaky ReLU whose slope is trained."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from undertow.nn.layer import check_columns, check_count, check_filled
from undertow.nn.registry import register_layer

START: Final = 0.25  # He et al. 2015, section 2.1


@register_layer
@dataclass(eq=False, repr=False)
class PReLU:
    """h = z where z > 0, else slope · z, with a slope that is trained.

    At z = 0 the derivative by z is the slope, and that by the slope is 0.

    Args:
        n_slopes: 1 for one slope, or the number of columns of z for a slope of each column.
        slope: the slopes, (n_slopes,), or None until `initialize` fills them with 0.25.

    Raises:
        ArgumentError: ``PReLU(0): n_slopes must be a whole number of 1 or more.``
        ShapeError: called with z of another width: ``PReLU(3): z is (m, 4). Give z 3 columns, or …``

    Source: He et al., Delving deep into rectifiers, ICCV 2015, eq. 1 to 3.

    Example:
        >>> PReLU(slope=np.array([0.25]))(np.array([[-4.0, 2.0]]))
        array([[-1.,  2.]])
    """

    n_slopes: int = 1
    slope: Any = None

    keeps_width = True
    activation_name = "prelu"

    def __post_init__(self) -> None:
        check_count(self, n_slopes=self.n_slopes)

    def __repr__(self) -> str:
        return f"PReLU({self.n_slopes})"

    @property
    def fan_in(self) -> int | None:
        """How many columns it takes; any number where there is one slope."""
        return self.n_slopes if self.n_slopes > 1 else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of the slopes."""
        return {"slope": (self.n_slopes,)}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> PReLU:
        """Return the layer with its slopes filled."""
        return dataclasses.replace(
            self, slope=np.full(self.n_slopes, START, dtype) if self.slope is None else self.slope
        )

    def __call__(self, z: Any) -> Any:
        """Compute h for z (…, columns)."""
        check_filled(self, slope=self.slope)
        if self.n_slopes > 1:
            check_columns(self, z, self.n_slopes, "PReLU({0}), or PReLU(1) for one slope", "z")
        h = np.where(z > 0, z, self.slope * z)
        return h
