"""Gradients of shifted parts that overlap: the transposed map's, and read out of one padded copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow.compile.expand import expand
from undertow.primitives import index_add

STENCILS: dict[str, tuple[tuple[int, ...], Callable[..., Any]]] = {
    "differences": ((9,), lambda x: x[1:] - x[:-1]),
    "second differences": ((9,), lambda x: x[2:] - 2 * x[1:-1] + x[:-2]),
    "np.diff of columns": ((4, 7), lambda x: np.diff(x, axis=1)),
    "np.diff of rows, twice": ((6, 3), lambda x: np.diff(x, n=2, axis=0)),
    "Laplacian": ((6, 7), lambda x: 4 * x[1:-1, 1:-1] - x[2:, 1:-1] - x[:-2, 1:-1] - x[1:-1, 2:] - x[1:-1, :-2]),
    "diagonal neighbours": ((5, 6), lambda x: x[1:, 1:] - 3 * x[:-1, :-1] + x[1:, :-1] / 7),
    "windows of three axes": ((4, 5, 6), lambda x: x[1:, :, 2:] - x[:-1, :, :-2] + 2 * x[1:, :, 1:-1]),
    "from the end": ((8,), lambda x: x[-3:] + x[-4:-1] - x[:3]),
    "one place twice": ((8,), lambda x: x[1:] * 2 - x[:-1] + x[1:]),
    "parts that only touch": ((6, 4), lambda x: x[:3] - x[3:]),
    "padded": ((5, 6), lambda x: sum(np.pad(x, ((0, 0), (1, 2)))[:, i : i + 6] * (i + 1) for i in range(3))),
    "every second": ((9,), lambda x: x[2::2] - x[:-2:2]),
    "a part that is repeated": ((4, 3), lambda x: x[1:] - x[:1]),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STENCILS)
def test_the_gradient_is_that_of_the_transposed_map(name: str, dtype: type, threads: int) -> None:
    shape, stencil = STENCILS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    units = np.eye(x.size).reshape(x.size, *shape)
    matrix = np.stack([stencil(unit).ravel() for unit in units], axis=1)
    weights = rng.normal(size=stencil(x).shape).astype(dtype)
    wanted = matrix.T @ (2 * weights.ravel().astype(float) * (matrix @ x.ravel().astype(float)))
    ut.set_threads(threads)
    try:
        _, found = ut.value_and_grad(lambda x, w: np.sum(w * stencil(x) ** 2), compile=True)(x, weights)
    finally:
        ut.set_threads(None)
    assert found.dtype == dtype
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(found.ravel(), wanted, rtol=tolerance, atol=tolerance)


def test_weights_that_are_learned_are_factors_too() -> None:
    def f(x, k):
        return np.sum(np.tanh(sum(x[:, i : i + 8] * k[i] for i in range(4))))

    rng = np.random.default_rng(1)
    x, k = rng.normal(size=(3, 11)), rng.normal(size=4)
    _, (by_x, by_k) = ut.value_and_grad(f, wrt=(0, 1), compile=True)(x, k)
    for i, found in ((0, by_x), (1, by_k)):
        for place in np.ndindex(found.shape):
            moved = [[x.copy(), k.copy()] for _ in range(2)]
            moved[0][i][place] += 1e-6
            moved[1][i][place] -= 1e-6
            assert abs((f(*moved[0]) - f(*moved[1])) / 2e-6 - found[place]) < 1e-8


@pytest.mark.parametrize("name", ["Laplacian", "differences", "windows of three axes", "one place twice"])
def test_one_padded_copy_serves_all_places(name: str) -> None:
    shape, stencil = STENCILS[name]
    derived = ut.backprop(lambda x: np.sum(stencil(x) ** 2), np.ones(shape))
    assert sum(node.op is index_add for node in expand(derived.graph, {}).nodes) == 1


@pytest.mark.parametrize("factor", [np.inf, -np.inf, np.nan])
def test_places_that_no_infinite_factor_reaches_stay_finite(factor: float) -> None:
    x = np.arange(1.0, 7.0)
    _, found = ut.value_and_grad(lambda x: np.sum(x[1:] * factor - x[:-1]), compile=True)(x)
    np.testing.assert_array_equal(found, [-1.0, *[factor] * 5])
