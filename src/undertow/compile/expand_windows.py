"""Sums of windows that overlap, and convolutions: windows are read where they lie and multiplied by products."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.access import layout_of, reshaped

MOST_AXES = 6  # of an array that is put among zeros as it is


def _add_windows(x: Any, shape: tuple[int, ...], window: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    """Σ_w x[i − w, w], one axis of windows after the other: with zeros around, x is read along diagonals.

    Axes stay as they lie in memory, so that whole rows are copied and added; the windows' own ones come before what
    follows the axis that they slide along, since they are short.
    """
    if 0 in window:
        return None
    n = len(shape)
    strides = layout_of(x.node).strides
    lie = sorted(range(x.ndim), key=lambda j: -abs(strides[j]))  # the axes of x, from the outermost to the innermost
    now = list(range(x.ndim))  # which of them are left, in the order that x has now
    for k in reversed(range(len(window))):
        i, width = axis[k], window[k]
        lie.remove(n + k)
        at = lie.index(i) + 1
        behind = sorted(lie[at:], key=lambda j: j < n)
        x = P.transpose(x, axes=tuple(map(now.index, (*lie[:at], n + k, *behind))))
        apart = x.shape
        together = math.prod(apart[: at - 1]), apart[at - 1], width, math.prod(apart[at + 1 :])
        first = at - 1
        if x.ndim > MOST_AXES or reshaped(layout_of(x.node), together) is not None:
            x, first = P.reshape(x, shape=together), 1
        x = _with_zeros(x, first, width - 1, width - 1)
        x = np.flip(P.sliding_windows(x, window=(width,), axis=(first,)), -1)  # [..., i, w, ..., W − 1 − w']
        last = x.ndim - 1
        x = P.diagonal(x, offset=0, axis1=first + 1, axis2=last)  # [..., i, ..., w]
        x = P.sum_(P.transpose(x, axes=(last - 1, *range(last - 1))), axis=(0,), keepdims=False)
        x = P.reshape(x, shape=(*apart[: at - 1], x.shape[first], *apart[at + 1 :]))
        now = [*lie[:at], *behind]
    return P.transpose(x, axes=tuple(map(now.index, range(n))))


def _with_zeros(x: Any, axis: int, before: int, after: int) -> Any:
    width = tuple((before, after) if i == axis else (0, 0) for i in range(x.ndim))
    return P.pad(x, width=width, mode="constant", options=()) if before or after else x


def _convolve(a: Any, v: Any, mode: str) -> Any:
    """Products of the windows of the longer vector with the shorter one, turned around."""
    if a.dtype != v.dtype:
        dtype = np.result_type(a.dtype, v.dtype)
        a, v = (x if x.dtype == dtype else P.astype(x, dtype=dtype) for x in (a, v))
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    m = v.shape[0]
    before, after = {"full": (m - 1, m - 1), "same": (m // 2, (m - 1) // 2), "valid": (0, 0)}[mode]
    v = np.flip(v, 0)
    parts = [P.matmul(P.sliding_windows(a, window=(m,), axis=(0,)), v)]
    if before:
        parts.insert(0, _edge(a[: m - 1], v, before, 0))
    if after:
        parts.append(_edge(a[a.shape[0] - m + 1 :], v, 0, after))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _edge(a: Any, v: Any, before: int, after: int) -> Any:
    """Products with windows that reach beyond an end: nothing is there, and not a zero, which times inf is NaN."""
    places = np.arange(before + after)[:, None] + np.arange(v.shape[0])
    there = (places >= before) & (places < before + a.shape[0])
    windows = P.sliding_windows(_with_zeros(a, 0, before, after), window=v.shape, axis=(0,))
    return np.sum(np.where(there, windows * v, 0), axis=1)


def _correlate(a: Any, v: Any, mode: str) -> Any:
    if a.shape[0] < v.shape[0]:
        turned = _correlate(v, a, mode)
        return None if turned is None else np.flip(turned, 0)
    return _convolve(a, np.flip(v, 0), mode)


WINDOWS: dict[str, Callable[..., Any]] = {
    "add_windows": _add_windows,
    "convolve": _convolve,
    "correlate": _correlate,
}
