"""The fully connected layer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from undertow.errors import ArgumentError
from undertow.nn.activations import name_activation
from undertow.nn.initialisers import (
    INITIALISERS,
    build_initialiser,
    default_initialiser,
    describe_initialiser,
    find_initialiser,
)
from undertow.nn.layer import check_columns, check_count, check_filled
from undertow.nn.registry import register_layer

AUTO: Final = "auto"


@register_layer
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
        check_count(self, fan_in=self.fan_in, fan_out=self.fan_out)
        if not isinstance(self.bias, bool | np.bool_):
            raise ArgumentError(
                f"{self!r}: bias must be True or False, got {self.bias!r}. An activation is an item of its own: "
                f'Sequential({self!r}, "relu").'
            )
        if isinstance(self.init, dict):
            self.init = build_initialiser(self.init)
        if isinstance(self.init, str):
            if self.init != AUTO:
                find_initialiser(self.init)
        elif not callable(self.init) or name_activation(self.init) is not None:
            raise ArgumentError(
                f"{self!r}: init is {self.init!r}. Give a name ({', '.join(INITIALISERS)}) or a function."
            )

    def __repr__(self) -> str:
        return f"Dense({self.fan_in}, {self.fan_out})"

    def __call__(self, x: Any) -> Any:
        """Compute z = x W + b for x (…, fan_in)."""
        check_filled(self, W=self.W)
        check_columns(self, x, self.fan_in, f"Dense({{0}}, {self.fan_out})")
        if self.b is None:
            z = x @ self.W
        else:
            z = x @ self.W + self.b
        return z

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of W and b."""
        return {"W": (self.fan_in, self.fan_out), **({"b": (self.fan_out,)} if self.bias else {})}

    def initial(self, rng: np.random.Generator, dtype: DTypeLike, follows: str | None) -> Dense:
        """Return the layer with W and b filled; ``follows`` names the activation after it."""
        W, b = self.W, self.b
        shape = (self.fan_in, self.fan_out)
        if W is None:
            init = self.init
            if isinstance(init, str):
                init = find_initialiser(default_initialiser(follows) if init == AUTO else init)
            W = np.asarray(init(shape, rng, dtype), dtype=dtype)
            if W.shape != shape:
                raise ArgumentError(f"{self!r}: its init returned {W.shape} instead of {shape}.")
        if b is None and self.bias:
            b = np.zeros(self.fan_out, W.dtype)
        return dataclasses.replace(self, W=W, b=b)

    def describe(self) -> dict[str, Any]:
        """Return what the layer is, without its parameters, as plain data."""
        init = self.init
        if not isinstance(init, str):  # how the weights began no longer matters once they are there
            found = describe_initialiser(init)
            init = AUTO if found is None else found["name"] if len(found) == 1 else found
        return {"fan_in": self.fan_in, "fan_out": self.fan_out, "bias": bool(self.bias), "init": init}
