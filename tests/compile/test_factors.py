"""Gradients of products along axes, and einsum of arrays of two dtypes, compile."""

import numpy as np
import pytest

import undertow as ut


@pytest.mark.parametrize("shape", [(4, 3, 5), (20, 2, 1)])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2)])
@pytest.mark.parametrize("special", [[], [0.0], [0.0, 0.0, 0.0], [np.nan], [np.inf, 0.0]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_a_product_is_the_product_of_the_others(shape, axis, special, dtype):
    rng = np.random.default_rng(0)
    x = (rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)).astype(dtype)
    x.flat[rng.choice(x.size, len(special), replace=False)] = special
    _, found = ut.value_and_grad(lambda x: np.sum(np.prod(x, axis=axis)), compile=True)(x)
    wanted = np.empty_like(x)
    with np.errstate(all="ignore"):
        for place in np.ndindex(x.shape):  # the product with 1 in its place
            others = x.copy()
            others[place] = 1
            kept = np.prod(others, axis=axis, keepdims=True)
            wanted[place] = np.broadcast_to(kept, x.shape)[place]
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == np.float32 else 1e-13)


def test_einsum_brings_dtypes_together_as_numpy_does():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 5))
    for x, y in ((a, b), (b, a)):
        found = ut.compile(lambda x, y: np.einsum("ij,ik->jk", x, y))(x, y)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, np.einsum("ij,ik->jk", x, y), rtol=1e-13)
