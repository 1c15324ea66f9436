"""The stable functions that NumPy has no name for, for people to call."""

from __future__ import annotations

from typing import Any

from undertow.primitives import softmax_family as family
from undertow.primitives.record import normalize_axis, shape_of


def softmax(x: Any, axis: int = -1) -> Any:
    """Compute exp(x) / Σ exp(x), shifted so that nothing overflows.

    Args:
        x: floats, any shape.
        axis: the axis along which the result sums to 1.

    Returns:
        Shape and dtype of x.

    Raises:
        numpy.exceptions.AxisError: x has no such axis.

    Source:
        Goodfellow, Bengio & Courville (2016), Deep Learning, section 4.1.

    Example:
        >>> import numpy as np
        >>> softmax(np.array([1000.0, 1000.0]))
        array([0.5, 0.5])
    """
    return family.softmax(x, axis=normalize_axis(axis, len(shape_of(x)))[0])


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Compute x − log Σ exp(x), the logarithm of `softmax`.

    Args:
        x: floats, any shape.
        axis: the axis along which the exponentials of the result sum to 1.

    Returns:
        Shape and dtype of x.

    Raises:
        numpy.exceptions.AxisError: x has no such axis.

    Example:
        >>> import numpy as np
        >>> log_softmax(np.array([0.0, -1000.0]))
        array([    0., -1000.])
    """
    return family.log_softmax(x, axis=normalize_axis(axis, len(shape_of(x)))[0])


def logsumexp(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Compute log Σ exp(x), shifted so that nothing overflows.

    Args:
        x: floats, any shape.
        axis: the axes to sum over; all by default.
        keepdims: keep the summed axes with size 1.

    Returns:
        As for ``np.sum``.

    Raises:
        numpy.exceptions.AxisError: x has no such axis.

    Example:
        >>> import numpy as np
        >>> round(float(logsumexp(np.array([1000.0, 1000.0]))), 6)
        1000.693147
    """
    return family.logsumexp(x, axis=normalize_axis(axis, len(shape_of(x))), keepdims=keepdims)
