"""Operations that ONNX lacks, in simpler ones: NumPy's functions on traced arrays, which are written in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow.graph import Dim


def _sign_bit(x: Any) -> Any:
    """Whether x has a minus, which 1 / x tells of a zero. onnxruntime's Where makes 0 of −0, so x is taken as it is."""
    return (x < 0) | (1 / x < 0) if x.dtype.kind == "f" else x < 0


def _copysign(x: Any, y: Any) -> Any:
    return np.abs(x) * np.where(_sign_bit(y), -1.0, 1.0)


def _arctan2(y: Any, x: Any) -> Any:
    """The angle of |y| / x, half a turn more where x is left of 0, and the sign of y."""
    left, height = _sign_bit(x), np.abs(y)
    infinite = np.isinf(x) & np.isinf(y)  # ∞/∞ is the angle of 1/1
    none = (x == 0) & (y == 0)
    share = np.where(infinite, np.sign(x), np.where(none, 0.0, height) / np.where(none, 1.0, x))
    return _copysign(np.arctan(share) + np.where(left, math.pi, 0.0), y)


def _heaviside(x: Any, at_zero: Any) -> Any:
    return np.where(x == 0, at_zero, np.where(np.isnan(x), x, x > 0))


def _fmax(x: Any, y: Any) -> Any:
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, np.maximum(x, y)))


def _fmin(x: Any, y: Any) -> Any:
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, np.minimum(x, y)))


def _nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    x = np.where(x == math.inf, float(limits.max) if posinf is None else posinf, x)
    x = np.where(x == -math.inf, float(limits.min) if neginf is None else neginf, x)
    return np.where(np.isnan(x), nan, x)


def _round(x: Any, decimals: int) -> Any:
    """As NumPy does it: moved by a power of ten, rounded, moved back."""
    if x.dtype.kind != "f":
        return None
    power = 10.0 ** abs(decimals)
    return np.rint(x * power) / power if decimals >= 0 else np.rint(x / power) * power


def _isclose(x: Any, y: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    near = (np.abs(x - y) <= atol + rtol * np.abs(y)) & np.isfinite(y) | (x == y)
    return near | np.isnan(x) & np.isnan(y) if equal_nan else near


def _logaddexp2(x: Any, y: Any) -> Any:
    return np.logaddexp(x * math.log(2), y * math.log(2)) * (1 / math.log(2))


def _xlogy(x: Any, y: Any) -> Any:
    return np.where((x == 0) & ~np.isnan(y), 0.0, x * np.log(y))


def _choose(which: Any, *choices: Any) -> Any:
    found = np.where(which == 0, choices[0], choices[0])
    for number, choice in enumerate(choices[1:], 1):
        found = np.where(which == number, choice, found)
    return found


def _diagonal(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    """Both axes last, then one element after the other."""
    x = np.moveaxis(x, (axis1, axis2), (-2, -1))
    n, k = x.shape[-2:]
    if isinstance(n, Dim) or isinstance(k, Dim):
        return None
    places = np.arange(max(0, min(n + min(offset, 0), k - max(offset, 0))))
    if not len(places):
        return None
    whole = (slice(None),) * (len(x.shape) - 2)
    return x[(*whole, places - min(offset, 0), places + max(offset, 0))]


# ---- order ---------------------------------------------------------------------------------------


def _quantile(x: Any, axis: tuple[int, ...], keepdims: bool, q: Any, method: str, function: str, **more: Any) -> Any:
    """Between two of the sorted values each: NumPy's own function of 0, 1, 2, … says between which, and how far."""
    kept = [i for i in range(len(x.shape)) if i not in axis]
    if more["nan"] or not axis or x.dtype.kind != "f" or any(isinstance(x.shape[i], Dim) for i in axis):
        return None
    n = math.prod(x.shape[i] for i in axis)
    numbers = np.arange(float(n))
    places = np.median(numbers) if function == "median" else getattr(np, function)(numbers, q, method=method)
    ranked = np.sort(np.reshape(np.transpose(x, (*kept, *axis)), (*[x.shape[i] for i in kept], n)), axis=-1)
    found = [_between(ranked, float(place)) for place in np.ravel(places)]
    found = [np.expand_dims(value, axis) if keepdims else value for value in found]
    return np.reshape(np.stack(found), (*np.shape(places), *found[0].shape)) if np.ndim(places) else found[0]


def _between(ranked: Any, place: float) -> Any:
    share, first = math.modf(place)
    low = ranked[..., int(first)]
    return low if share == 0 else low * (1 - share) + ranked[..., int(first) + 1] * share


def _searchsorted(edges: Any, x: Any, side: str) -> Any:
    """How many edges are below, or no larger."""
    column = np.expand_dims(x, -1)
    return np.sum(edges < column if side == "left" else edges <= column, axis=-1)


def _interp(x: Any, xp: Any, fp: Any, left: Any, right: Any) -> Any:
    n = xp.shape[0]
    if n < 2:
        return None
    place = np.clip(_searchsorted(xp, x, "right") - 1, 0, n - 2)
    from_, to = np.take(xp, place), np.take(xp, place + 1)
    share = np.where(x < xp[n - 1], (x - from_) / (to - from_), 1.0)
    inside = np.take(fp, place) * (1 - share) + np.take(fp, place + 1) * share
    below = fp[0] if left is None else left
    return np.where(x < xp[0], below, inside if right is None else np.where(x > xp[n - 1], right, inside))


PARTS: dict[str, Callable[..., Any]] = {
    "signbit": _sign_bit,
    "copysign": _copysign,
    "arctan2": _arctan2,
    "degrees": lambda x: x * (180 / math.pi),
    "radians": lambda x: x * (math.pi / 180),
    "heaviside": _heaviside,
    "fmax": _fmax,
    "fmin": _fmin,
    "nan_to_num": _nan_to_num,
    "round": _round,
    "isclose": _isclose,
    "logaddexp2": _logaddexp2,
    "fraction": lambda x: x - np.trunc(x),
    "scipy_xlogy": _xlogy,
    "scipy_logit": lambda x: np.log(x) - np.log1p(-x),
    "scipy_entr": lambda x: np.where(x < 0, -math.inf, -_xlogy(x, x)),
    "choose": _choose,
    "diagonal": _diagonal,
    "median": _quantile,
    "quantile": _quantile,
    "percentile": _quantile,
    "searchsorted": _searchsorted,
    "interp": _interp,
}
"""What each of these operations is, by its name; None where it has no form in ONNX."""
