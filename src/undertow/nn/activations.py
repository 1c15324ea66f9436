"""Activations: functions of the pre-activation z; each keeps the shape and the dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError
from undertow.primitives import stable


def identity(z: Any) -> Any:
    """h = z.

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        z itself.

    Source: derived here.

    Example:
        >>> identity(np.float32(2.0))
        np.float32(2.0)
    """
    return z


def relu(z: Any) -> Any:
    """h = max(z, 0); the derivative is 1 where z > 0, else 0 (0 at z = 0).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h, of the shape and dtype of z.

    Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.

    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """
    h = np.maximum(z, 0)
    return h


def tanh(z: Any) -> Any:
    """h = tanh z; the derivative is 1 − h².

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h in [−1, 1], of the shape and dtype of z.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.4.

    Example:
        >>> tanh(np.array([0.0, 100.0]))
        array([0., 1.])
    """
    h = np.tanh(z)
    return h


def sigmoid(z: Any) -> Any:
    """p = 1 / (1 + e^−z), computed without overflow; the derivative is p(1 − p).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        p in [0, 1], of the shape and dtype of z.

    Source: Goodfellow et al., Deep Learning, 2016, eq. 3.30.

    Example:
        >>> sigmoid(np.array([0.0, -1000.0]))
        array([0.5, 0. ])
    """
    p = P.sigmoid(z)
    return p


def softmax(z: Any, axis: int = -1) -> Any:
    """p_k = e^z_k / Σ_j e^z_j along one axis, computed without overflow.

    Args:
        z: pre-activation, (…, K), floating.
        axis: the axis of the classes.

    Returns:
        p of the shape and dtype of z; its sum along ``axis`` is 1.

    Source: Goodfellow et al., Deep Learning, 2016, eq. 4.1 and 6.29.

    Example:
        >>> softmax(np.array([[1000.0, 1000.0]]))
        array([[0.5, 0.5]])
    """
    p = stable.softmax(z, axis=axis)
    return p


Activation = Callable[..., Any]

ACTIVATIONS: Final[dict[str, Activation]] = {
    "identity": identity,
    "relu": relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softmax": softmax,
}


# The public functions of the same name: as layers they are these activations, which losses know by name.
SAME_FUNCTIONS: Final = ((stable.softmax, softmax), (stable.sigmoid, sigmoid))


def find_activation(name: str) -> Activation:
    """Return the activation of this name.

    Args:
        name: a key of ``ACTIVATIONS``.

    Returns:
        The function.

    Raises:
        ArgumentError: ``there is no activation 'rleu'. Use one of identity, relu, …``

    Source: derived here.

    Example:
        >>> find_activation("tanh") is tanh
        True
    """
    if name not in ACTIVATIONS:
        raise ArgumentError(f"there is no activation {name!r}. Use one of {', '.join(ACTIVATIONS)}, or a function.")
    return ACTIVATIONS[name]
