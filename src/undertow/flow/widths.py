"""Changes of how many units or columns a model has; those of its layers are in `undertow.flow.changes`."""

from __future__ import annotations

import dataclasses
from typing import Any

from undertow import nn
from undertow.errors import ArgumentError
from undertow.flow.changes import NORM_KINDS, activation_of


def with_width(model: Any, least: int) -> Any:
    """Widen the hidden layers that are narrower than so many units.

    Args:
        model: a `Sequential` of dense layers, normalisation, activations and dropout.
        least: how many units they are to have.

    Returns:
        The model.

    Raises:
        ArgumentError: the model holds other layers; none is narrower.

    Source: derived here.

    Example:
        >>> with_width(nn.Sequential(nn.Dense(64, 1), "relu", nn.Dense(1, 10)), 16)
        Sequential(Dense(64, 16), relu, Dense(16, 10))
    """
    kinds = (nn.Dense, nn.Dropout, *NORM_KINDS)
    layers = list(model.layers) if type(model) is nn.Sequential else [None]
    if not all(isinstance(item, kinds) or activation_of(item) for item in layers):
        raise ArgumentError("the widths of a model that is more than dense layers in a row are not changed.")
    dense = [i for i, item in enumerate(layers) if isinstance(item, nn.Dense)]
    width = None
    found: list[Any] = []
    for i, item in enumerate(layers):
        if isinstance(item, nn.Dense):
            out = item.fan_out if i == dense[-1] else max(item.fan_out, least)
            if (width or item.fan_in, out) != (item.fan_in, item.fan_out):
                item = dataclasses.replace(item, fan_in=width or item.fan_in, fan_out=out, W=None, b=None)
            width = out
        elif isinstance(item, NORM_KINDS) and width not in (None, item.size):
            item = type(item)(width)
        found.append(item)
    if all(a is b for a, b in zip(found, layers, strict=True)):
        raise ArgumentError(f"no hidden layer has fewer than {least} units.")
    return nn.Sequential(*found)


def with_inputs(model: Any, n: int) -> Any:
    """Let a model take another number of columns.

    Args:
        model: a `Sequential`.
        n: how many.

    Returns:
        The model; None where it does not begin with a dense layer, or no column is left.

    Source: derived here.

    Example:
        >>> with_inputs(nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 1)), 4)
        Sequential(Dense(4, 8), relu, Dense(8, 1))
    """
    first, *rest = model.layers if type(model) is nn.Sequential else (None,)
    if not isinstance(first, nn.Dense) or not n:
        return None
    return nn.Sequential(dataclasses.replace(first, fan_in=n, W=None, b=None), *rest)
