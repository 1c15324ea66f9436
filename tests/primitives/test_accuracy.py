"""Sums in float32 keep the accuracy of pairwise summation, whichever axis they run along."""

from __future__ import annotations

import numpy as np
import pytest

import undertow as ut


def error(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(found.astype(np.float64) - exact) / np.abs(exact)))


@pytest.mark.parametrize("rows", [100, 129, 4096, 100_003])
def test_a_bias_gradient_is_as_accurate_as_a_pairwise_sum(rows: int) -> None:
    """The gradient of a bias adds up a row for each example; within four times the error of pairwise summation."""
    rng = np.random.default_rng(rows)
    X = (rng.normal(size=(rows, 5)) + 1).astype(np.float32)
    found = ut.grad(lambda b, X: np.sum(np.tanh(X + b)), wrt=0)(np.zeros(5, np.float32), X)
    slopes = 1 - np.tanh(X) ** 2
    exact = np.sum(slopes.astype(np.float64), axis=0)
    pairwise = np.array([np.sum(np.ascontiguousarray(column)) for column in slopes.T])  # along contiguous memory
    assert found.dtype == np.float32
    assert error(found, exact) <= 4 * max(error(pairwise, exact), float(np.finfo(np.float32).eps))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(1000, 3), (300, 2, 4), (129, 1), (128, 2), (40, 40, 2)])
def test_blocks_of_rows_have_numpys_shape_and_value(shape: tuple[int, ...], keepdims: bool) -> None:
    """Sums and means over leading axes, with and without keepdims, equal those in float64 to single precision."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) + 3
    for f in (np.sum, np.mean):
        for axis in [(0,), (0, 1)][: len(shape) - 1]:
            value, _ = ut.vjp(lambda x, f=f, axis=axis: f(x, axis=axis, keepdims=keepdims), x)
            wanted = f(x.astype(np.float64), axis=axis, keepdims=keepdims)
            assert value.dtype == np.float32 and value.shape == wanted.shape
            np.testing.assert_allclose(value, wanted, rtol=1e-6)


def test_the_density_of_t_with_many_degrees_of_freedom_is_the_normal_one() -> None:
    """Student's t goes to the normal distribution, by an error of order 1/df."""
    special = pytest.importorskip("scipy.special")
    t = np.array([-3.0, 0.0, 0.5, 8.0])
    normal = np.exp(-t * t / 2) / np.sqrt(2 * np.pi)
    for df in (1e10, 1e12, 1e15):
        found = ut.grad(lambda t, df=df: np.sum(special.stdtr(df, t)))(t)
        np.testing.assert_allclose(found, normal, rtol=2000 / df + 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kept", [(0,), (3, 0), (0, 2)])
def test_many_rows_of_nothing_add_up_to_nothing(dtype: type, kept: tuple[int, ...]) -> None:
    """Where a layer has no units, its bias has a gradient of that shape."""
    found = ut.grad(lambda b, x: np.sum(x + b))(np.zeros(kept, dtype), np.zeros((200, *kept), dtype))
    assert found.shape == kept and found.dtype == dtype
