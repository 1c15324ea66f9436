"""Kernels that write several rows at a time compute each row, and every total, as if there were that row alone."""

import numpy as np
import pytest

from compiled_graphs import run_compiled
from undertow.compile import clusters
from undertow.compile.processor import lanes_of
from undertow.trace import trace_function

LANES = lanes_of("f32")
WIDTHS = sorted({17, 2 * LANES + 1, 4 * LANES, 4 * LANES + 1, 8 * LANES - 1, 8 * LANES, 8 * LANES + 1})


def normalise(x, gain, weights):
    """Sums over columns that depend on each other, and sums over rows and over all, in one cluster."""
    y = np.tanh(x) * gain
    centred = y - np.mean(y, axis=1, keepdims=True)
    z = centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-3)
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return z, p, np.sum(p * weights[:, None], axis=0), np.sum(z * p), np.sum(np.sum(e, axis=1) * weights)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 16, 41])
def test_rows_are_computed_whatever_their_number(rows, width, threads):
    rng = np.random.default_rng(rows * 1000 + width)
    args = [rng.normal(size=size).astype(np.float32) for size in ((rows, width), (width,), (rows,))]
    found = run_compiled(trace_function(normalise, args).graph, args, threads)
    for mine, true in zip(found, normalise(*(x.astype(np.float64) for x in args)), strict=True):
        np.testing.assert_allclose(mine, true, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_row_comes_out_the_same_to_the_bit_whoever_stands_beside_it(n, monkeypatch):
    rng = np.random.default_rng(n)
    args = [rng.normal(size=size).astype(np.float32) for size in ((13, 40), (40,), (13,))]
    graph = trace_function(normalise, args).graph
    expected = run_compiled(graph, args, 1)
    monkeypatch.setattr(clusters, "ABREAST", {64: n})
    for mine, other in zip(run_compiled(graph, args, 1)[:2], expected, strict=False):
        np.testing.assert_array_equal(mine, other)


def test_not_a_number_stays_in_its_row():
    x = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    x[4, 3], x[7, 39] = np.nan, np.inf

    def soft(x):
        return x / np.sum(np.abs(x), axis=1, keepdims=True)

    with np.errstate(invalid="ignore"):
        expected = soft(x)
    np.testing.assert_allclose(run_compiled(trace_function(soft, [x]).graph, [x], 1)[0], expected, rtol=1e-6)
