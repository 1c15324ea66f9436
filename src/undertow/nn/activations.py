"""Activations: functions of the pre-activation z; each keeps the shape and the dtype.

Those with settings take them by name, ``leaky_relu(z, slope=0.1)``; with settings alone,
``leaky_relu(slope=0.1)``, they give an activation that has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import ArgumentError
from undertow.nn.configured import Configured, build_function, describe_function
from undertow.nn.rectifiers import celu, elu, gelu, hard_sigmoid, hard_tanh, leaky_relu, mish, relu, relu6, selu, silu
from undertow.primitives import stable
from undertow.spelling import offer


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


def lecun_tanh(z: Any) -> Any:
    """h = 1.7159 tanh(2z/3), which is ±1 at z = ±1; the derivative is 1.1439 (1 − (h/1.7159)²).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h in [−1.7159, 1.7159], of the shape and dtype of z.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.4.

    Example:
        >>> lecun_tanh(np.array([0.0, 1.0])).round(4)
        array([0., 1.])
    """
    h = 1.7159 * np.tanh(z * (2 / 3))
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


def softplus(z: Any) -> Any:
    """h = log(1 + e^z), computed without overflow; the derivative is sigmoid(z).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h > 0, of the shape and dtype of z.

    Source: Dugas et al., Incorporating second-order functional knowledge …, NIPS 2000.

    Example:
        >>> softplus(np.array([-1000.0, 0.0, 100.0])).round(4)
        array([  0.    ,   0.6931, 100.    ])
    """
    h = P.softplus(z)
    return h


def softsign(z: Any) -> Any:
    """h = z / (1 + |z|); the derivative is 1 / (1 + |z|)².

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h in (−1, 1), of the shape and dtype of z.

    Source: Glorot and Bengio, Understanding the difficulty of training deep …, AISTATS 2010, section 2.

    Example:
        >>> softsign(np.array([-1.0, 0.0, 3.0]))
        array([-0.5 ,  0.  ,  0.75])
    """
    h = z / (1 + np.abs(z))
    return h


def softmax(z: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """p_k = e^z_k / Σ_j e^z_j along an axis, computed without overflow.

    Args:
        z: pre-activation, (…, K), floating.
        axis: the axis of the classes; several, as a tuple; or None for all.

    Returns:
        p of the shape and dtype of z; its sum along ``axis`` is 1.

    Source: Goodfellow et al., Deep Learning, 2016, eq. 4.1 and 6.29.

    Example:
        >>> softmax(np.array([[1000.0, 1000.0]]))
        array([[0.5, 0.5]])
    """
    p = stable.softmax(z, axis=axis)
    return p


def log_softmax(z: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """log p_k = z_k − log Σ_j e^z_j along an axis, computed without overflow.

    Args:
        z: pre-activation, (…, K), floating.
        axis: the axis of the classes; several, as a tuple; or None for all.

    Returns:
        log p ≤ 0, of the shape and dtype of z.

    Source: Goodfellow et al., Deep Learning, 2016, eq. 6.30.

    Example:
        >>> log_softmax(np.array([[1000.0, 1000.0]])).round(4)
        array([[-0.6931, -0.6931]])
    """
    log_p = stable.log_softmax(z, axis=axis)
    return log_p


Activation = Callable[..., Any]

ACTIVATIONS: Final[dict[str, Activation]] = {
    "identity": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "relu6": relu6,
    "elu": elu,
    "selu": selu,
    "celu": celu,
    "gelu": gelu,
    "silu": silu,
    "mish": mish,
    "softplus": softplus,
    "tanh": tanh,
    "lecun_tanh": lecun_tanh,
    "hard_tanh": hard_tanh,
    "softsign": softsign,
    "sigmoid": sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "softmax": softmax,
    "log_softmax": log_softmax,
}


# Public functions that are these activations, and are as layers, which losses and initialisers know by name.
SAME_FUNCTIONS: Final = (
    (np.tanh, tanh),
    (stable.softmax, softmax),
    (stable.sigmoid, sigmoid),
    (stable.softplus, softplus),
    (stable.log_softmax, log_softmax),
)


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
        raise ArgumentError(f"there is no activation {name!r}. {offer(name, ACTIVATIONS)}, or a function.")
    return ACTIVATIONS[name]


def name_activation(item: Any) -> str | None:
    """Return the name of a built-in activation, whatever its settings.

    Args:
        item: anything.

    Returns:
        A key of ``ACTIVATIONS``, or None.

    Source: derived here.

    Example:
        >>> name_activation(leaky_relu(slope=0.1)), name_activation(abs)
        ('leaky_relu', None)
    """
    found = describe_activation(item)
    return None if found is None else str(found["name"])


def describe_activation(item: Any) -> dict[str, Any] | None:
    """Describe a built-in activation as plain data for JSON.

    Args:
        item: anything.

    Returns:
        Its name and the settings that were given, or None for another function.

    Source: derived here.

    Example:
        >>> describe_activation(elu(alpha=0.5)), describe_activation(elu)
        ({'name': 'elu', 'alpha': 0.5}, {'name': 'elu'})
    """
    return describe_function(item, ACTIVATIONS)


def build_activation(record: Mapping[str, Any]) -> Configured | Activation:
    """Build the activation that a description tells of.

    Args:
        record: what `describe_activation` returned; checked, because it may come from a file.

    Returns:
        The activation.

    Raises:
        ArgumentError: ``there is no activation 'rleu'. …``, ``elu: alpha is -1. Give a number above 0.``

    Source: derived here.

    Example:
        >>> build_activation({"name": "leaky_relu", "slope": 0.1})
        leaky_relu(slope=0.1)
    """
    return build_function(record, ACTIVATIONS, "activation")
