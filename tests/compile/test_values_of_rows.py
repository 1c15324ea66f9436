"""What a row has one of, read at every place of the row and reduced again: by NumPy, and by hand."""

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(3)


def spread_sum(t, x):
    return np.sum(np.broadcast_to(t, x.shape), axis=0)


def spread_max(t, x):
    return np.max(np.broadcast_to(t, x.shape), axis=0)


def all_of_them(t, x):
    return np.sum(np.broadcast_to(t, x.shape))


def beside_others(t, x):
    return np.sum(np.broadcast_to(t, x.shape), axis=0) + np.sum(x, axis=0), t, np.sum(t * x, axis=0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("again", [spread_sum, spread_max, all_of_them, beside_others])
@pytest.mark.parametrize("shape", [(5, 7), (64, 100), (200, 3), (5, 32, 8), (3, 40, 40), (1, 9), (4, 0), (0, 4)])
def test_a_value_of_a_row_is_reduced_over_the_rows(shape, again, threads):
    x = RNG.normal(size=shape)
    before = ut.get_threads()
    ut.set_threads(threads)
    try:
        for reduce in (np.sum, np.mean, np.max) if x.size else (np.sum,):
            for first in range(1, len(shape)):
                axes = tuple(range(first, len(shape)))

                def f(x, reduce=reduce, axis=axes):
                    return again(reduce(x, axis=axis, keepdims=True), x)

                try:
                    wanted = f(x)
                except ValueError:  # the greatest of nothing
                    continue
                found = ut.compile(f)(x)
                assert isinstance(found, tuple) == isinstance(wanted, tuple)
                pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
                for a, b in pairs:
                    np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
    finally:
        ut.set_threads(before)


@pytest.mark.parametrize("k", [3, 8, 40])
def test_the_gradient_of_the_square_of_sums_over_pairs(k):
    """Of Σᵢ tᵢ² with tᵢ = Σⱼₖ (pᵢₖ − qⱼₖ): 2 n tᵢ by pᵢₖ, and −2 Σᵢ tᵢ by qⱼₖ."""
    p, q = RNG.normal(size=(5, k)), RNG.normal(size=(32, k))
    t = np.sum(p[:, None] - q, axis=(1, 2))
    loss = lambda p, q: np.sum(np.sum(p[:, None] - q, axis=(1, 2)) ** 2)
    _, (by_p, by_q) = ut.value_and_grad(loss, (0, 1), compile=True)(p, q)
    np.testing.assert_allclose(by_p, np.broadcast_to(2 * 32 * t[:, None], p.shape), rtol=1e-11)
    np.testing.assert_allclose(by_q, np.full(q.shape, -2 * t.sum()), rtol=1e-11)
