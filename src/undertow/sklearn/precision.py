"""Which floating-point numbers a fit computes in, where nobody says."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

MANY: Final = 1000  # examples from which time counts; with fewer, weights and repeated rows agree to more digits
TOLD_APART: Final = 1e-4  # of the distance between a feature's least and largest number, what rounding may move it
LARGEST: Final = 1e15  # a square of it, and a sum of squares, are float32 too


def choose_dtype(X: Any, y: NDArray[Any]) -> np.dtype[Any]:
    """Return float32 where a network learns from it as from float64, in half the time; else the dtype of X.

    That is for 1,000 examples and more, unless float32 would blur a feature or target: a time in seconds since 1970,
    say, which float32 knows to two minutes.

    Args:
        X: inputs (n, d), float32 or float64, an array or a sparse matrix.
        y: targets as they are scored, (n,) or (n, k); only real numbers can be blurred.

    Returns:
        The dtype.

    Source: derived here; float32 has 24 bits, so that rounding moves x by at most 2⁻²⁴ |x|.

    Example:
        >>> day = np.arange(86400.0)[:, None]
        >>> choose_dtype(day, day[:, 0]), choose_dtype(day + 1.7e9, day[:, 0]), choose_dtype(day[:100], day[:100, 0])
        (dtype('float32'), dtype('float64'), dtype('float64'))
    """
    if X.dtype == np.float32 or len(y) < MANY:
        return np.dtype(X.dtype)
    real = [a for a in (X, y) if a.dtype == np.float64]
    return np.dtype(np.float32 if all(_is_told_apart(a) for a in real) else X.dtype)


def _is_told_apart(a: Any) -> bool:
    """Whether float32 tells the numbers of each column apart; the zeros of a sparse matrix are among them."""
    if 0 in a.shape:
        return True
    least, most = a.min(axis=0), a.max(axis=0)
    if issparse(a):
        least, most = least.toarray(), most.toarray()
    size = np.maximum(np.abs(least), np.abs(most))
    blurred = size * 2.0**-24 > TOLD_APART * (most - least)
    return bool(np.all(~blurred | (most == least)) and np.max(size) < LARGEST)
