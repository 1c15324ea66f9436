"""Orthogonal initial weights: they keep the length of what passes through them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from undertow.errors import ShapeError
from undertow.nn.configured import POSITIVE, configurable


def _draw_orthogonal(n_rows: int, n_columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rows or columns (whichever are fewer) that are orthonormal, drawn uniformly among all such matrices."""
    tall = max(n_rows, n_columns), min(n_rows, n_columns)
    Q, R = np.linalg.qr(rng.standard_normal(tall))
    Q = Q * np.where(np.diagonal(R) < 0, -1, 1)  # without it, LAPACK's signs would prefer some
    return Q if n_rows >= n_columns else Q.T


@configurable(gain=POSITIVE)
def orthogonal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> NDArray[np.floating[Any]]:
    """Weights whose columns (or rows, if those are fewer) are orthogonal and of length ``gain``.

    Args:
        shape: (fan_in, fan_out); of a kernel all axes but the last count as one.
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Raises:
        ShapeError: ``orthogonal: the shape (3,) has one axis. …``

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning …, ICLR 2014, section 3;
        the signs: Mezzadri, How to generate random matrices …, Notices AMS 54, 2007.

    Example:
        >>> W = orthogonal((4, 3), np.random.default_rng(0), np.float64)
        >>> np.allclose(W.T @ W, np.eye(3))
        True
    """
    if len(shape) < 2:
        raise ShapeError(f"orthogonal: the shape {shape} has one axis. Give it two or more: (fan_in, fan_out).")
    W = _draw_orthogonal(math.prod(shape[:-1]), shape[-1], rng)
    return (gain * W).reshape(shape).astype(dtype)


@configurable(gain=POSITIVE)
def delta_orthogonal(
    shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike = np.float32, *, gain: float = 1.0
) -> NDArray[np.floating[Any]]:
    """Weights of a convolution that are 0 but at the kernel's centre, where they are orthogonal.

    A convolution then keeps the length of its input; of a dense layer it is `orthogonal`.

    Args:
        shape: (kernel …, channels in, channels out), channels in at most channels out; or (fan_in, fan_out).
        rng: the generator to draw from.
        dtype: float32 or float64.
        gain: a factor of all weights, see `gain`.

    Returns:
        W of that shape.

    Raises:
        ShapeError: ``delta_orthogonal: the shape (3, 3, 8, 4) makes 4 channels of 8. …``

    Source: Xiao et al., Dynamical isometry and a mean field theory of CNNs, ICML 2018.

    Example:
        >>> W = delta_orthogonal((3, 3, 2, 4), np.random.default_rng(0), np.float64)
        >>> np.allclose(W[1, 1] @ W[1, 1].T, np.eye(2)), int(np.count_nonzero(W))
        (True, 8)
    """
    if len(shape) <= 2:
        return np.asarray(orthogonal(shape, rng, dtype, gain=gain))
    if shape[-2] > shape[-1]:
        raise ShapeError(
            f"delta_orthogonal: the shape {shape} makes {shape[-1]} channels of {shape[-2]}, which keeps no lengths. "
            "Give it as many channels out as in, or use orthogonal."
        )
    W = np.zeros(shape, dtype)
    W[tuple((size - 1) // 2 for size in shape[:-2])] = gain * _draw_orthogonal(shape[-2], shape[-1], rng)
    return W
