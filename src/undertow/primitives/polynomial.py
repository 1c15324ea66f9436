"""Polynomials given by their coefficients, the highest power first: expressions in other operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, show_shape
from undertow.primitives.record import Sample, answers, dtype_of, shape_of
from undertow.primitives.sampling import calls, draw
from undertow.primitives.shape import _ravel


def _coefficients(function: str, p: Any) -> tuple[Any, int]:
    """Return coefficients as a vector, and how many there are."""
    p = np.atleast_1d(p) if not shape_of(p) else p
    shape = shape_of(p)
    if len(shape) != 1:
        raise ShapeError(f"{function} takes a vector of coefficients, not an array of shape {show_shape(shape)}.")
    if isinstance(shape[0], Dim):
        raise NeedsConcreteSize(f"{function} counts the coefficients")
    return p, shape[0]


@answers(np.polyder, samples=calls(((4,),), ((4,), 2), ((4,), {"m": 0}), ((2,),), ((1,),)))
def _polyder(p: Any, m: int = 1) -> Any:
    if m < 0:
        raise ArgumentError(f"np.polyder: there is no derivative of order {m}. Use np.polyint.")
    for _ in range(m):
        count = _coefficients("np.polyder", p)[1]
        p = p[:-1] * np.arange(count - 1, 0, -1)
    return p


@answers(
    np.polyint,
    samples=lambda: [
        Sample((draw((3,), 1),)),
        Sample((draw((3,), 1),), {"m": 2}),
        Sample((draw((3,), 1), 2, draw((2,), 2))),
        Sample((draw((1,), 1), 1, 1.5)),
        Sample((draw((2,), 1), 0)),
    ],
)
def _polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    if m < 0:
        raise ArgumentError(f"np.polyint: there is no integral of order {m}. Use np.polyder.")
    start = _ravel(np.zeros(m) if k is None else k)
    for i in range(m):
        count = _coefficients("np.polyint", p)[1]
        constant = start[i : i + 1] if shape_of(start)[0] > 1 or m == 1 else start[:1]  # type: ignore[operator]
        p = np.concatenate([p / np.arange(count, 0, -1), constant])
    return p


def _aligned(function: str, a1: Any, a2: Any) -> tuple[Any, Any]:
    """Bring two polynomials to the same number of coefficients."""
    (a1, n1), (a2, n2) = _coefficients(function, a1), _coefficients(function, a2)
    n = max(n1, n2)
    return tuple(np.pad(x, (n - count, 0)) if count < n else x for x, count in ((a1, n1), (a2, n2)))  # type: ignore[return-value]


def _pairs() -> list[Sample]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((3,), (3,)), ((4,), (2,)), ((1,), (3,)), ((2,), ())]
    return [Sample((draw(a, 1), draw(b, 2))) for a, b in shapes]


@answers(np.polyadd, samples=_pairs)
def _polyadd(a1: Any, a2: Any) -> Any:
    a, b = _aligned("np.polyadd", a1, a2)
    return a + b


@answers(np.polysub, samples=_pairs)
def _polysub(a1: Any, a2: Any) -> Any:
    a, b = _aligned("np.polysub", a1, a2)
    return a - b


@answers(np.polymul, samples=_pairs)
def _polymul(a1: Any, a2: Any) -> Any:
    (a, n), (b, m) = _coefficients("np.polymul", a1), _coefficients("np.polymul", a2)
    if n < m:
        a, b, n, m = b, a, m, n
    if not m:
        return np.zeros(1, np.result_type(dtype_of(a), dtype_of(b)))  # NumPy takes no coefficients as the polynomial 0
    parts = [np.pad(a * b[i], (i, m - 1 - i)) for i in range(m)]
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result
