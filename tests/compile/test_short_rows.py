"""Kernels over axes shorter than a vector: rows that lie side by side, several row axes, sums of neighbouring rows."""

import numpy as np
import pytest

from compiled_graphs import run_compiled
from undertow.compile import clusters, operations
from undertow.trace import trace_function

WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 17, 20, 24, 31, 32, 33]


def beside(z, y, c):
    """Sums over the first and the middle axis, whose neighbours another operand keeps apart."""
    return np.sum(z * y[:, None, :], axis=0), np.sum(z * y[:, None, :], axis=1), np.max(z - c, axis=0), z + 2 * c


def between(z, y, c):
    """Distances of all pairs and what becomes of them: two row axes, a sum over each short row."""
    d = y[:, None, :] - c[None]
    k = np.exp(-0.5 * np.sum(d * d, axis=2))
    return k, np.sum(k[:, :, None] * d, axis=0), np.sum(k[:, :, None] * d, axis=1), np.sum(k * z[..., 0])


def of_columns(z, y, c):
    """Sums over the rows of a narrow matrix, and numbers of each row."""
    rows = y / (1 + np.sum(np.abs(y), axis=1, keepdims=True))
    logs = np.log(np.sum(np.exp(y), axis=1, keepdims=True))
    return np.sum(rows, axis=0), np.max(y, axis=0), np.sum(y * rows, axis=0), rows, logs - y, np.sum(y - logs, axis=0)


@pytest.fixture(autouse=True)
def _shared(monkeypatch):
    """Let threads share the smallest work."""
    monkeypatch.setattr(clusters, "WORTH_SHARING", 1)
    monkeypatch.setattr(operations, "WORTH_SHARING", 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("function", [beside, between, of_columns])
def test_short_rows_are_computed_as_numpy_computes_them(function, width, dtype):
    rng = np.random.default_rng(width)
    threads = 3 if (width + (dtype == "float64")) % 2 else 1
    for m, n in ((1, 1), (2, 5), (9, 3), (21, 16), (40, 7)):
        args = [rng.normal(size=size).astype(dtype) for size in ((m, n, width), (m, width), (n, width))]
        found = run_compiled(trace_function(function, args).graph, args, threads)
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        for mine, true in zip(found, function(*(x.astype(np.float64) for x in args)), strict=True):
            np.testing.assert_allclose(mine, true, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (1, 7, 1, 3), (2, 1, 9, 17), (5, 3, 2, 1)])
def test_three_row_axes_are_counted_through(shape):
    rng = np.random.default_rng(0)
    a, b, d, n = shape
    args = [rng.normal(size=size).astype(np.float32) for size in ((a, 1, d, n), (a, b, 1, n), (1, b, d, n))]

    def together(x, y, z):
        found = x * y + z
        return found / (1 + np.sum(found * found, axis=3, keepdims=True)), np.sum(found, axis=3)

    for threads in (1, 2, 5):
        found = run_compiled(trace_function(together, args).graph, args, threads)
        for mine, true in zip(found, together(*(x.astype(np.float64) for x in args)), strict=True):
            np.testing.assert_allclose(mine, true, rtol=2e-6, atol=2e-6)


def test_what_is_not_finite_stays_where_it_is():
    z = np.ones((6, 5, 3), np.float32)
    z[2, 3, 1], z[4, 0, 2] = np.nan, np.inf
    args = [z, np.ones((6, 3), np.float32), np.ones((5, 3), np.float32)]
    with np.errstate(invalid="ignore"):
        expected = beside(*args)
    for mine, true in zip(run_compiled(trace_function(beside, args).graph, args, 1), expected, strict=True):
        np.testing.assert_array_equal(mine, true)
