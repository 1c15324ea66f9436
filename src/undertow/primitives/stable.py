"""The stable functions that NumPy has no name for, for people to call."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, DTypeError
from undertow.graph import total
from undertow.primitives import exponential, special
from undertow.primitives import softmax_family as family
from undertow.primitives.index import one_hot as one_hot_rows
from undertow.primitives.record import Traced, dtype_of, normalize_axis, shape_of


def _read_real(name: str, x: Any, least_axes: int = 0) -> Any:
    """Return x as it came if it is traced, else as an array of real numbers; DTypeError for anything else."""
    if not isinstance(x, Traced):
        given = x
        x = np.asarray(x)
        if x.dtype.kind not in "biuf":
            what = f"{x.dtype} numbers" if x.dtype.kind == "c" else f"a {type(given).__name__} ({x.dtype})"
            raise DTypeError(f"{name}: x is {what}. Give real numbers.")
    if len(shape_of(x)) < least_axes:
        raise ArgumentError(f"{name}: x is a single number and has no axis. Give an array of one axis or more.")
    return x


def sigmoid(x: Any) -> Any:
    """Compute 1 / (1 + exp(−x)), without overflow.

    Args:
        x: floats, any shape.

    Returns:
        Shape and dtype of x.

    Raises:
        DTypeError: ``sigmoid: x is complex128 numbers. Give real numbers.``

    Source:
        Goodfellow, Bengio & Courville (2016), Deep Learning, eq. 3.30.

    Example:
        >>> sigmoid(np.array([0.0, -1000.0]))
        array([0.5, 0. ])
    """
    return exponential.sigmoid(_read_real("sigmoid", x))


def softplus(x: Any) -> Any:
    """Compute log(1 + exp(x)), without overflow; its derivative is `sigmoid`.

    Args:
        x: floats, any shape.

    Returns:
        Shape and dtype of x.

    Raises:
        DTypeError: ``softplus: x is complex128 numbers. Give real numbers.``

    Source:
        Goodfellow, Bengio & Courville (2016), Deep Learning, eq. 3.31.

    Example:
        >>> softplus(np.array([-1000.0, 1000.0]))
        array([   0., 1000.])
    """
    return exponential.softplus(_read_real("softplus", x))


def stop_gradient(x: Any) -> Any:
    """Return x as a constant: no gradient flows back through it.

    Args:
        x: numbers, any shape; or a tree that holds arrays, such as the parameters of a network that others are to
            follow. What is neither a number nor an array in it stays as it is.

    Returns:
        The same values, in the same tree.

    Raises:
        DTypeError: ``stop_gradient: x is complex128 numbers. Give real numbers.``

    Source: derived here.

    Example:
        >>> stop_gradient(np.array([1.0, 2.0]))
        array([1., 2.])
        >>> stop_gradient({"W": np.array([1.0]), "name": "first"})
        {'W': array([1.]), 'name': 'first'}
    """
    leaves, rebuild = trees.flatten(x)
    if (len(leaves) == 1 and leaves[0] is x) or (isinstance(x, tuple | list) and all(map(np.isscalar, leaves))):
        return special.stop_gradient(_read_real("stop_gradient", x))
    numbers = (Traced, np.ndarray, np.generic, int, float)
    return rebuild([stop_gradient(leaf) if isinstance(leaf, numbers) else leaf for leaf in leaves])


def one_hot(labels: Any, depth: int, dtype: Any = np.float64) -> Any:
    """Write integer labels as rows with a single 1.

    Args:
        labels: integers 0 … depth − 1, any shape.
        depth: the number of classes, 1 or more.
        dtype: of the result.

    Returns:
        Shape (*labels.shape, depth); each row sums to 1, which the simplifier knows.

    Raises:
        ArgumentError: a label is not an integer, or outside 0 … depth − 1; depth is no number of classes.

    Source: derived here.

    Example:
        >>> one_hot(np.array([0, 2]), 3)
        array([[1., 0., 0.],
               [0., 0., 1.]])
    """
    try:
        count = operator.index(depth)
    except TypeError:
        count = 0
    if count < 1:
        raise ArgumentError(f"one_hot: depth is the number of classes, a whole number of 1 or more, got {depth!r}.")
    labels = labels if isinstance(labels, Traced) else np.asarray(labels)
    if dtype_of(labels).kind not in "iu":
        texts = dtype_of(labels).kind in "USO"
        way = "Number the classes: np.unique(labels, return_inverse=True)[1]" if texts else "Convert them: .astype(int)"
        raise ArgumentError(f"one_hot: labels must be integers, not {dtype_of(labels)}. {way}.")
    return one_hot_rows(labels, count, dtype)


def softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """Compute exp(x) / Σ exp(x), shifted so that nothing overflows.

    Args:
        x: floats, any shape.
        axis: the axis along which the result sums to 1; several, as a tuple; or None for all.

    Returns:
        Shape and dtype of x.

    Raises:
        DTypeError: ``softmax: x is complex128 numbers. Give real numbers.``
        numpy.exceptions.AxisError: x has no such axis.

    Source:
        Goodfellow, Bengio & Courville (2016), Deep Learning, section 4.1.

    Example:
        >>> softmax(np.array([1000.0, 1000.0]))
        array([0.5, 0.5])
    """
    return _along(family.softmax, _read_real("softmax", x, 1), axis)


def log_softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """Compute x − log Σ exp(x), the logarithm of `softmax`.

    Args:
        x: floats, any shape.
        axis: the axis along which the exponentials of the result sum to 1; several, as a tuple; or None for all.

    Returns:
        Shape and dtype of x.

    Raises:
        numpy.exceptions.AxisError: x has no such axis.

    Example:
        >>> log_softmax(np.array([0.0, -1000.0]))
        array([    0., -1000.])
    """
    return _along(family.log_softmax, _read_real("log_softmax", x, 1), axis)


def _along(function: Callable[..., Any], x: Any, axis: int | tuple[int, ...] | None) -> Any:
    """Apply a function of one axis; several are laid end to end first, as the last axis."""
    ndim = len(shape_of(x))
    axes = normalize_axis(axis, ndim)
    if len(axes) == 1:
        return function(x, axis=axes[0])
    moved = np.moveaxis(x, axes, range(ndim - len(axes), ndim))
    shape: Any = shape_of(moved)
    rows = np.reshape(moved, (*shape[: ndim - len(axes)], total(shape[ndim - len(axes) :])))
    return np.moveaxis(np.reshape(function(rows, axis=rows.ndim - 1), shape), range(ndim - len(axes), ndim), axes)


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
        >>> round(float(logsumexp(np.array([1000.0, 1000.0]))), 6)
        1000.693147
    """
    x = _read_real("logsumexp", x)
    return family.logsumexp(x, axis=normalize_axis(axis, len(shape_of(x))), keepdims=keepdims)


def polygamma(n: int, x: Any) -> Any:
    """Compute the derivative of order n of the digamma function; with SciPy, whose own ``polygamma`` takes no tracers.

    Args:
        n: the order, 0 or more.
        x: floats, any shape.

    Returns:
        Shape and dtype of x.

    Raises:
        ArgumentError: ``polygamma: n is 1.5. Give a whole number of 0 or more.``
        DTypeError: x holds no real numbers.
        ImportError: SciPy is not installed.

    Source:
        Abramowitz & Stegun (1964), Handbook of Mathematical Functions, 6.4.10 (by the Hurwitz zeta function).

    Example:
        >>> polygamma(1, np.array([1.0])).round(6)  # π²/6
        array([1.644934])
    """
    try:
        from scipy import special as scipy_special
    except ImportError:
        raise ImportError("ut.polygamma needs SciPy: pip install scipy") from None
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise ArgumentError(f"polygamma: n is {n!r}. Give a whole number of 0 or more.")
    x = _read_real("polygamma", x)
    if n == 0:
        return scipy_special.psi(x)
    return (-1.0) ** (n + 1) * float(scipy_special.gamma(n + 1.0)) * scipy_special.zeta(float(n + 1), x)


def times_log(weight: Any, p: Any) -> Any:
    """weight · log p, and 0 where both are 0.

    Where p is a softmax or a sigmoid, the simplifier takes the guard out: that p is never 0, and its logarithm finite.

    Args:
        weight: floats or integers of 0 or more, any shape.
        p: floats of 0 or more, of the same shape.

    Returns:
        Shape and dtype of p; −∞ where p alone is 0.

    Source:
        Goodfellow, Bengio & Courville (2016), Deep Learning, section 3.13: 0 log 0 is lim x log x = 0.

    Example:
        >>> times_log(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        array([0., 0.])
    """
    return weight * np.log(np.where(np.logical_and(weight == 0, p == 0), 1, p))
