"""Polynomials given by their coefficients, the highest power first: expressions in other operations."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from undertow.errors import ArgumentError, ShapeError
from undertow.graph import Dim, NeedsConcreteSize, show_shape
from undertow.primitives.record import Sample, answers, dtype_of, float_like, shape_of
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


@answers(
    np.poly,
    samples=lambda: [Sample((draw(shape, 1),)) for shape in ((3,), (1,), (5,))],
)
def _poly(seq_of_zeros: Any) -> Any:
    """Multiply ``x − zero`` for each of the zeros."""
    if len(shape_of(seq_of_zeros)) == 2:
        raise ArgumentError(
            "np.poly of a matrix needs its eigenvalues, which may be complex. Of a symmetric one pass "
            "np.linalg.eigvalsh(a); np.linalg.det(a - x * np.eye(n)) is the polynomial's value at x."
        )
    zeros, count = _coefficients("np.poly", seq_of_zeros)
    result: Any = np.ones(1, float_like(dtype_of(zeros)))
    for i in range(count):
        result = np.pad(result, (0, 1)) - zeros[i] * np.pad(result, (1, 0))
    return result


def _fits() -> list[Sample]:
    x, y, w = np.array([-1.0, 0.2, 0.5, 1.5, 2.0]), draw((5,), 2), draw((5,), 3, positive=True)
    return [
        Sample((x, y, 1)),
        Sample((x, draw((5, 2), 2), 2)),
        Sample((x, y, 0)),
        Sample((x, y, 2), {"w": w}),
        Sample((x, draw((5, 2), 2), 1), {"w": w, "cov": True}),
        Sample((x, y, 1), {"cov": "unscaled"}),
        Sample((x, y, 1), {"cov": True, "rcond": 1e-9}),
        Sample((x, y, 1), {"full": True}),
    ]


def _check_fit(x: Any, y: Any, w: Any, deg: int) -> None:
    if deg < 0:
        raise ArgumentError(f"np.polyfit: there is no polynomial of degree {deg}.")
    if len(shape_of(x)) != 1 or len(shape_of(y)) not in (1, 2) or shape_of(x)[0] != shape_of(y)[0]:
        raise ShapeError(
            f"np.polyfit takes a vector x and a y of as many rows, not {show_shape(shape_of(x))} and "
            f"{show_shape(shape_of(y))}."
        )
    if not shape_of(x)[0]:
        raise ShapeError("np.polyfit needs at least one point.")
    if w is not None and shape_of(w) != shape_of(x):
        raise ShapeError(f"np.polyfit: x is {show_shape(shape_of(x))}, w is {show_shape(shape_of(w))}.")


@answers(np.polyfit, samples=_fits, source="least squares on scaled columns, as in NumPy")
def _polyfit(x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    x, y = np.add(x, 0.0), np.add(y, 0.0)
    _check_fit(x, y, w, deg := operator.index(deg))
    points, order = len(x), deg + 1
    rcond = points * np.finfo(x.dtype).eps if rcond is None else rcond
    columns, wanted = np.vander(x, order), y
    if w is not None:
        w = np.add(w, 0.0)
        columns, wanted = columns * w[:, None], wanted * (w[:, None] if y.ndim == 2 else w)
    scale = np.sqrt(np.sum(columns * columns, axis=0))
    columns = columns / scale
    c, residuals, rank, singular = np.linalg.lstsq(columns, wanted, float(rcond))
    c = (c.T / scale).T
    if full:
        return c, residuals, rank, singular, rcond
    if not cov:
        return c
    base = np.linalg.inv(columns.T @ columns) / np.outer(scale, scale)
    base = base[:, :, None] if y.ndim == 2 else base
    if isinstance(cov, str) and cov == "unscaled":
        return c, base
    if points <= order:
        raise ArgumentError(
            f"np.polyfit: {points} points leave no error to tell the covariance of {order} coefficients by. "
            'Give more points, or cov="unscaled".'
        )
    return c, base * (residuals / (points - order))
