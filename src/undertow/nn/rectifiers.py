"""Activations that let positive numbers pass, and their smooth and bounded kin.

Where a branch is chosen, the other branch is computed at 0, so that it neither overflows nor warns.
At a corner the derivative is the slope of least size.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.nn.configured import POSITIVE, SHARE, configurable, one_of

# With these, mean 0 and variance 1 are a fixed point: Klambauer et al. 2017, section 2; digits derived here.
SELU_ALPHA: Final = 1.6732632423543772848170429916717
SELU_SCALE: Final = 1.0507009873554804934193349852946


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


@configurable(slope=SHARE)
def leaky_relu(z: Any, *, slope: float = 0.01) -> Any:
    """h = z where z > 0, else slope · z; the derivative is 1 or the slope (the slope at z = 0).

    Args:
        z: pre-activation, any shape, floating.
        slope: from 0 to 1.

    Returns:
        h, of the shape and dtype of z.

    Raises:
        ArgumentError: ``leaky_relu: slope is -1. Give a number from 0 to 1.``

    Source: Maas et al., Rectifier nonlinearities improve neural network acoustic models, ICML 2013.

    Example:
        >>> leaky_relu(np.array([-1.0, 2.0])), leaky_relu(slope=0.5)(np.array([-1.0, 2.0]))
        (array([-0.01,  2.  ]), array([-0.5,  2. ]))
    """
    h = np.where(z > 0, z, slope * z)
    return h


def relu6(z: Any) -> Any:
    """h = min(max(z, 0), 6); the derivative is 1 between 0 and 6, else 0 (0 at both ends).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h in [0, 6], of the shape and dtype of z.

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.

    Example:
        >>> relu6(np.array([-1.0, 2.0, 9.0]))
        array([0., 2., 6.])
    """
    h = np.clip(z, 0, 6)
    return h


def _exponential_branch(z: Any, alpha: float, width: float = 1.0) -> Any:
    """z to the right of 0, alpha (e^(z/width) − 1) to the left; at 0 the smaller of the two slopes."""
    right = z > 0 if alpha <= width else z >= 0
    left = np.where(right, 0, z)
    if width != 1:
        left = left / width
    return np.where(right, z, alpha * np.expm1(left))


@configurable(alpha=POSITIVE)
def elu(z: Any, *, alpha: float = 1.0) -> Any:
    """h = z where z > 0, else α(e^z − 1); the derivative there is h + α (at z = 0 the smaller of 1 and α).

    Args:
        z: pre-activation, any shape, floating.
        alpha: how far down it goes; only with 1 is it smooth at 0.

    Returns:
        h > −α, of the shape and dtype of z.

    Raises:
        ArgumentError: ``elu: alpha is -1. Give a number above 0.``

    Source: Clevert et al., Fast and accurate deep network learning by exponential linear units, ICLR 2016, eq. 15.

    Example:
        >>> elu(np.array([-1000.0, 0.0, 2.0])), elu(alpha=0.5)(-1000.0)
        (array([-1.,  0.,  2.]), array(-0.5))
    """
    h = _exponential_branch(z, alpha)
    return h


def selu(z: Any) -> Any:
    """h = 1.0507 · (z where z > 0, else 1.6733 (e^z − 1)): keeps mean 0 and variance 1 (slope 1.0507 at 0).

    Args:
        z: pre-activation, any shape, floating; from weights of ``lecun_normal``.

    Returns:
        h > −1.7581, of the shape and dtype of z.

    Source: Klambauer et al., Self-normalizing neural networks, NIPS 2017, eq. 2.

    Example:
        >>> selu(np.array([-1000.0, 0.0, 1.0])).round(4)
        array([-1.7581,  0.    ,  1.0507])
    """
    h = SELU_SCALE * _exponential_branch(z, SELU_ALPHA)
    return h


@configurable(alpha=POSITIVE)
def celu(z: Any, *, alpha: float = 1.0) -> Any:
    """h = z where z > 0, else α(e^(z/α) − 1): an elu that is smooth at 0 for every α.

    Args:
        z: pre-activation, any shape, floating.
        alpha: how far down it goes.

    Returns:
        h > −α, of the shape and dtype of z.

    Raises:
        ArgumentError: ``celu: alpha is 0. Give a number above 0.``

    Source: Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.

    Example:
        >>> celu(np.array([-1000.0, 2.0]), alpha=2.0)
        array([-2.,  2.])
    """
    h = _exponential_branch(z, alpha, alpha)
    return h


@configurable(approximate=one_of("none", "tanh"))
def gelu(z: Any, *, approximate: str = "none") -> Any:
    """h = z Φ(z), Φ the normal distribution function; or ½z (1 + tanh(√(2/π)(z + 0.044715 z³))).

    Args:
        z: pre-activation, any shape, floating.
        approximate: ``"none"`` or ``"tanh"``; the two differ by less than 0.0005.

    Returns:
        h > −0.17, of the shape and dtype of z.

    Raises:
        ArgumentError: ``gelu: approximate is 'erf'. Give 'none' or 'tanh'.``

    Source: Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415, section 2.

    Example:
        >>> gelu(np.array([-1.0, 1.0])).round(4), gelu(approximate="tanh")(np.array([-1.0, 1.0])).round(4)
        (array([-0.1587,  0.8413]), array([-0.1588,  0.8412]))
    """
    if approximate == "tanh":
        h = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * (z * z * z))))
    else:
        h = z * P.normal_cdf(z)
    return h


def silu(z: Any) -> Any:
    """h = z sigmoid(z), also called swish; the derivative is s(1 + z(1 − s)) with s = sigmoid(z).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h > −0.28, of the shape and dtype of z.

    Source: Elfwing et al., Sigmoid-weighted linear units …, Neural Networks 107, 2018, section 2.

    Example:
        >>> silu(np.array([-1000.0, 0.0, 1.0])).round(4)
        array([-0.    ,  0.    ,  0.7311])
    """
    h = z * P.sigmoid(z)
    return h


def mish(z: Any) -> Any:
    """h = z tanh(log(1 + e^z)).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h > −0.31, of the shape and dtype of z.

    Source: Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    Example:
        >>> mish(np.array([0.0, 1.0])).round(4)
        array([0.    , 0.8651])
    """
    h = z * np.tanh(P.softplus(z))
    return h


def hard_tanh(z: Any) -> Any:
    """h = min(max(z, −1), 1); the derivative is 1 between −1 and 1, else 0 (0 at both ends).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        h in [−1, 1], of the shape and dtype of z.

    Source: Collobert, Large scale machine learning, PhD thesis, Université Paris 6, 2004.

    Example:
        >>> hard_tanh(np.array([-3.0, 0.5, 3.0]))
        array([-1. ,  0.5,  1. ])
    """
    h = np.clip(z, -1, 1)
    return h


def hard_sigmoid(z: Any) -> Any:
    """p = min(max(z + 3, 0), 6) / 6; the derivative is 1/6 between −3 and 3, else 0 (0 at both ends).

    This is PyTorch's; older texts have slope 0.2 (between −2.5 and 2.5).

    Args:
        z: pre-activation, any shape, floating.

    Returns:
        p in [0, 1], of the shape and dtype of z.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.

    Example:
        >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5]))
        array([0.  , 0.5 , 0.75])
    """
    p = np.clip(z + 3, 0, 6) / 6
    return p
