"""What the records of linear algebra share: shapes of square matrices, vectors as columns, sample matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph import Dim, NeedsConcreteSize, Shape, Size, Spec, show_shape
from undertow.primitives.record import float_like
from undertow.primitives.sampling import draw


def check_matrix(function: str, shape: Shape, *, square: bool = False) -> None:
    """Check that a shape is that of a matrix or a stack of matrices.

    Raises:
        ShapeError: it is not; names the function and the shape.
    """
    if len(shape) < 2:
        raise ShapeError(f"{function} takes a matrix or a stack of matrices, not {show_shape(shape)}.")
    if square and shape[-1] != shape[-2]:
        if isinstance(shape[-1], Dim) or isinstance(shape[-2], Dim):
            raise NeedsConcreteSize(f"whether {show_shape(shape)} is square depends on the batch size")
        raise ShapeError(f"{function} takes square matrices, not {show_shape(shape)}.")


def infer_square(function: str, *, scalar: bool = False) -> Any:
    """Make the shape rule of a function of square matrices; ``scalar``: with one number for each of them."""

    def infer(x: Spec, *others: Spec, **_: Any) -> Spec:
        check_matrix(function, x.shape, square=True)
        return Spec(x.shape[:-2] if scalar else x.shape, float_like(x.dtype))

    return infer


def known(function: str, size: Size) -> int:
    """Return a size as a number.

    Raises:
        NeedsConcreteSize: it is known by name only.
    """
    if isinstance(size, Dim):
        raise NeedsConcreteSize(f"{function} needs the number behind a batch size")
    return size


def square(n: int, seed: int, *stack: int) -> Any:
    """Draw well-conditioned square matrices that are not symmetric."""
    return draw((*stack, n, n), seed) + 2.0 * n * np.eye(n)


def definite(n: int, seed: int, *stack: int) -> Any:
    """Draw symmetric positive definite matrices with eigenvalues well apart."""
    x = 0.3 * draw((*stack, n, n), seed)
    return x @ np.swapaxes(x, -1, -2) + np.diag(np.arange(1.0, n + 1.0))


def spaced(m: int, n: int, seed: int, *stack: int) -> Any:
    """Draw matrices whose singular values lie well apart, near 1, 2, 3, …."""
    x = 0.2 * draw((*stack, m, n), seed)
    k = min(m, n)
    x[..., np.arange(k), np.arange(k)] += np.arange(k, 0.0, -1.0)
    return x
