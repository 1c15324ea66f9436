"""The gradient before training as it would be for columns and targets of mean 0 and deviation 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.flow.layers import FlowLayer
from undertow.train.derive import Gradient, number_paths

Array = NDArray[Any]
SAME: Final = 1e-3  # so much may a loss change that is the same, as what is added to a variance makes it


def gradient_if_scaled(
    gradient: Gradient, layers: Sequence[FlowLayer], model: Any, X: Array, target: Any, *, numbers: bool
) -> list[float | None]:
    """Measure the gradients of the weights on the same rows, their columns brought to mean 0 and deviation 1.

    It tells whether a learning rate is too high by itself, or only for data of this scale.

    Args:
        gradient: of the training.
        layers: what is looked at.
        model: with its parameters.
        X: examples, (m, …), floating.
        target: what else belongs to them.
        numbers: whether y are numbers to predict, which are scaled too.

    Returns:
        The root mean square of dW of each layer; None where it has no weights, or a number is not finite.

    Source: derived here.
    """
    if numbers:
        target = target._replace(y=standard(target.y))
    return sizes_of_gradients(gradient, layers, model, standard(X), target)[1]


def sizes_of_gradients(
    gradient: Gradient, layers: Sequence[FlowLayer], model: Any, X: Any, target: Any
) -> tuple[float, list[float | None]]:
    """Measure the loss, and the gradients of the weights, on some rows.

    Args:
        gradient: of the training.
        layers: what is looked at.
        model: with its parameters.
        X: examples.
        target: what else belongs to them.

    Returns:
        The loss, and the root mean square of dW of each layer; None where it has no weights, or a number is not finite.

    Source: derived here.
    """
    leaves, rebuild = trees.flatten(model)
    with np.errstate(all="ignore"):
        outcome = gradient.of_leaves(leaves, rebuild, X, target)
    paths = number_paths(model)
    grads = {paths[i]: np.asarray(g) for i, g in outcome.grads.items()}
    found: list[float | None] = []
    for layer in layers:
        g = grads.get(layer.weights or "")
        size = math.nan if g is None else float(np.sqrt(np.mean(np.square(g, dtype=np.float64))))
        found.append(size if math.isfinite(size) else None)
    return float(outcome.loss), found


def normalises(now: tuple[float, list[float | None]], half: tuple[float, list[float | None]]) -> bool:
    """Tell whether a network scales its inputs by itself, as one does that normalises what its first product gives.

    Its loss and its gradient are the same for inputs half as large. (At weights of 0 a loss is the same too, but the
    gradient by them is half as large.)

    Args:
        now: the loss and the sizes of the gradients, see `sizes_of_gradients`.
        half: the same for inputs half as large.

    Returns:
        The answer.

    Source: derived here; that such a network takes no notice of scales: Ioffe and Szegedy, Batch normalization, ICML
        2015, section 3.3.

    Example:
        >>> normalises((0.7, [0.01, 2.0]), (0.7, [0.01, 2.0])), normalises((0.7, [50.0]), (0.7, [25.0]))
        (True, False)
    """
    changes = [abs(b / a - 1) for a, b in zip(now[1], half[1], strict=True) if a and b is not None]
    same = abs(half[0] - now[0]) <= SAME * abs(now[0])
    return bool(same and changes) and max(changes) <= SAME


def standard(x: Array) -> Array:
    """Bring columns to mean 0 and deviation 1; those that are constant become 0.

    Args:
        x: (m, …), floating.

    Returns:
        The same shape and dtype.

    Source: derived here.

    Example:
        >>> standard(np.array([[1.0, 5.0], [3.0, 5.0]]))
        array([[-1.,  0.],
               [ 1.,  0.]])
    """
    wide = x.astype(np.float64)
    deviation = wide.std(axis=0)
    return np.asarray((wide - wide.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), x.dtype)
