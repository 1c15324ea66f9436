"""The 2-norm in one pass, without overflow and underflow.

float32: squares are added up in float64, which holds the square of every float32.
float64: three sums, of what is big (scaled down), small (scaled up) and in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from undertow.primitives import Traced, astype, spec_of

DOUBLE: Final = np.dtype(np.float64)

# Of float64 (53 digits, exponents −1021 to 1024), from Anderson 2017, section 2: squares of what lies between SMALL
# and BIG neither underflow nor overflow when added up; so do squares of what lies outside, scaled by these factors.
SMALL: Final = 2.0**-511
BIG: Final = 2.0**486
SCALE_SMALL: Final = 2.0**537
SCALE_BIG: Final = 2.0**-538


class Norm(NamedTuple):
    """A norm that may be too big for its own dtype: the norm is root / unit, and both are finite.

    Attributes:
        root: the norm times unit, float64.
        unit: a power of two: 1 unless the norm is so big that it or what is computed of it could overflow.
    """

    root: Any
    unit: Any


def measure(arrays: Sequence[Any], axis: tuple[int, ...] | None = None) -> Norm:
    """Compute the 2-norm of several arrays together.

    Args:
        arrays: float32 or float64, of any shapes; with ``axis`` a single one.
        axis: along which squares are added up; None adds up all. The axes stay, with size 1.

    Returns:
        The norm. It is NaN or infinite exactly where an entry is.

    Source: Blue, A portable Fortran program to find the Euclidean norm of a vector, ACM TOMS 4, 1978; with the
        constants and the combination of Anderson, Algorithm 978: safe scaling in the level 1 BLAS, ACM TOMS 44,
        2017 (LAPACK's dnrm2).

    Example:
        >>> root, unit = measure([np.array([3e200, 4e200])])
        >>> round(float(root / unit) / 1e200, 12)
        5.0
    """
    big: Any = 0.0
    middle: Any = 0.0
    small: Any = 0.0
    wide = False
    for x in arrays:
        if spec_of(x).dtype != DOUBLE:
            middle = middle + _sum(_square(astype(x, dtype=DOUBLE)), axis)
            continue
        wide = True
        size = np.abs(x)
        above, below = size > BIG, size < SMALL
        big = big + _sum(_square(np.where(above, x, 0.0) * SCALE_BIG), axis)
        small = small + _sum(_square(np.where(below, x, 0.0) * SCALE_SMALL), axis)
        middle = middle + _sum(_square(np.where(np.logical_or(above, below), 0.0, x)), axis)
    return _combine(big, middle, small) if wide else _root(middle)


def norm_of(x: Any) -> Any:
    """Return the 2-norm of an array as a number, float64."""
    root, unit = measure([x])
    return root / unit


def _square(x: Any) -> Any:
    return x * x


def _sum(x: Any, axis: tuple[int, ...] | None) -> Any:
    if axis is not None:
        return np.sum(x, axis=axis, keepdims=True)
    return np.sum(np.sum(x, axis=-1)) if spec_of(x).ndim > 1 else np.sum(x)  # by rows: less is lost in rounding


def _root(total: Any) -> Norm:
    """Of float32: what is above 2⁶⁴ is given in a unit of 2⁻⁶⁴, so that float32 holds the root."""
    norm = np.sqrt(total)
    unit = np.where(norm > 2.0**64, 2.0**-64, 1.0)
    return Norm(norm * unit, unit)


def _combine(big: Any, middle: Any, small: Any) -> Norm:
    """Of float64. Small entries count only where nothing is big, and the middle ones then count unscaled."""
    has_big, has_small = big > 0, small > 0
    large = np.sqrt(big + (middle * SCALE_BIG) * SCALE_BIG)
    a, b = np.sqrt(middle), np.sqrt(small) / SCALE_SMALL
    high, low = np.maximum(a, b), np.minimum(a, b)
    ratio = low / np.where(high > 0, high, 1.0)
    both = high * np.sqrt(1.0 + ratio * ratio)
    usual = np.where(has_small, np.where(middle > 0, both, b), a)
    # NaN in the middle is no number above 0: it must come through
    usual = np.where(np.isnan(middle), middle, usual)
    return Norm(np.where(has_big, large, usual), np.where(has_big, SCALE_BIG, 1.0))


def to_dtype(x: Any, like: Any) -> Any:
    """Return numbers in the dtype of an array, which they are to be multiplied with."""
    return astype(x, dtype=spec_of(like).dtype) if isinstance(x, Traced | np.ndarray | np.generic) else x
