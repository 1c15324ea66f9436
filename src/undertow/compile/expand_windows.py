"""Sums of windows that overlap, and convolutions: windows are read where they lie and multiplied by products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from undertow import primitives as P


def _add_windows(x: Any, shape: tuple[int, ...], window: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    """Σ_w x[i − w, w], one axis of windows after the other: with zeros around, x is read along diagonals."""
    for i, width in zip(reversed(axis), reversed(window), strict=True):
        if width == 0:
            return None
        last = x.ndim - 1
        x = P.transpose(x, axes=(*range(i + 1), last, *range(i + 1, last)))  # sums are taken of whole rows behind it
        x = _with_zeros(x, i, width - 1, width - 1)
        x = np.flip(P.sliding_windows(x, window=(width,), axis=(i,)), -1)  # [..., i, w, ..., W − 1 − w']
        x = P.diagonal(x, offset=0, axis1=i + 1, axis2=last + 1)  # [..., i, ..., w]
        x = P.sum_(P.transpose(x, axes=(last, *range(last))), axis=(0,), keepdims=False)
    return x


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
