"""Covariance and correlation matrices, as NumPy computes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.errors import ArgumentError
from undertow.primitives.moments import _average
from undertow.primitives.record import Kink, Sample, Traced, answers, count_of, dtype_of, shape_of
from undertow.primitives.reduce import sum_
from undertow.primitives.reduction import cast, fixed_size
from undertow.primitives.sampling import draw
from undertow.primitives.shape import expand_dims


def _rows(m: Any, rowvar: bool) -> Any:
    """Return a variable a row."""
    if len(shape_of(m)) > 2:
        raise ArgumentError(f"np.cov takes at most 2 axes, not {len(shape_of(m))}. Reshape the array first.")
    rows = np.atleast_2d(m)
    return rows if rowvar or len(shape_of(m)) == 1 else rows.T


def _cov_calls() -> list[Sample]:
    x, y = draw((3, 5), 15), draw((2, 5), 16)
    often, much = np.array([1, 2, 1, 3, 1]), draw((5,), 17, positive=True)
    return [
        Sample((x,), {}),
        Sample((x[0],), {}, "one variable"),
        Sample((x, y), {}),
        Sample((x[0], y[0]), {}),
        Sample((x,), {"rowvar": False}),
        Sample((x, draw((3, 2), 18), False), {}),
        Sample((x,), {"bias": True}),
        Sample((x,), {"ddof": 2}),
        Sample((x,), {"fweights": often}),
        Sample((x, None, True, False, None, None, much), {}),
        Sample((x, None, True, False, 0, often, much), {}),
        Sample((x, None, True, False, None, often, much), {}),
        Sample((x,), {"fweights": often.tolist(), "aweights": much.tolist()}, "lists"),
        Sample((draw((1, 4), 19),), {}),
    ]


def _read_weights(name: str, given: Any) -> Any:
    """Weights as an array, refused where NumPy refuses them."""
    if given is None or isinstance(given, Traced):
        return given
    w = np.asarray(given)
    wrong = w < 0
    if wrong.any():
        raise ArgumentError(f"np.cov: {name} holds {w[wrong].flat[0]}. Give numbers of 0 or more.")
    wrong = w != np.round(w)
    if name == "fweights" and wrong.any():
        raise ArgumentError(f"np.cov: fweights holds {w[wrong].flat[0]}, but it counts rows. Use aweights.")
    return w


@answers(np.cov, samples=_cov_calls)
def _cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    if dtype is None:
        dtype = np.result_type(dtype_of(m), np.float64, *([dtype_of(y)] if y is not None else []))
    rows = cast(_rows(m, rowvar), dtype)
    if y is not None:
        rows = np.concatenate([rows, cast(_rows(y, rowvar), dtype)], axis=0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    fweights, aweights = _read_weights("fweights", fweights), _read_weights("aweights", aweights)
    weights = fweights
    if aweights is not None:
        weights = aweights if fweights is None else fweights * aweights
    if weights is None:
        mean, over = np.mean(rows, axis=1), count_of(rows, (1,)) - ddof
    else:
        mean, total = _average(rows, 1, weights), cast(sum_(weights, axis=(0,), keepdims=False), dtype)
        over = total - ddof
        if aweights is not None and ddof != 0:
            over = total - ddof * sum_(weights * aweights, axis=(0,), keepdims=False) / total
    if weights is not None or (isinstance(over, Traced) and ddof > 1):
        over = np.maximum(over, 0)  # fewer than none are none, as in NumPy
    elif not isinstance(over, Traced):
        over = max(over, 0)
    rows = rows - expand_dims(mean, axis=(1,))
    matrix = rows @ (rows if weights is None else rows * weights).T
    return np.squeeze(matrix / over)


@answers(
    np.corrcoef,
    samples=lambda: [s for s in _cov_calls() if not s.params.keys() - {"rowvar"} and len(s.args) <= 3],
    kinks=(
        Kink(([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]],), ([[0.0] * 3, [0.0] * 3],), "a correlation of 1 is the largest"),
    ),
)
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    matrix = _cov(x, y, rowvar, dtype=dtype)
    if not shape_of(matrix):
        return matrix / matrix
    along = np.arange(fixed_size(shape_of(matrix), 0, "np.corrcoef"))
    deviation = np.sqrt(matrix[along, along])
    matrix = matrix / expand_dims(deviation, axis=(1,)) / expand_dims(deviation, axis=(0,))
    return np.clip(matrix, -1, 1)
