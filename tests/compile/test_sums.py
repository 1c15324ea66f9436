"""Sums of float64 numbers in compiled programs are about as good as NumPy's pairwise ones, however long."""

import math

import numpy as np
import pytest

from compiled_graphs import run_compiled
from undertow import primitives as P
from undertow.trace import trace_function

RNG = np.random.default_rng(0)
NUMBERS = {
    "uniform": RNG.random(400_003),
    "normal": RNG.normal(size=400_003),
    "squares of float32": np.square(RNG.random(400_003, dtype=np.float32).astype(np.float64)),
    "growing": np.exp(np.linspace(-30, 30, 400_003)),
}


def ulps(found, numbers):
    exact = math.fsum(numbers.tolist())
    # In units of the last place of the sum of sizes: where terms cancel, neither sum can do better.
    return abs(float(found) - exact) / np.spacing(max(abs(exact), np.abs(numbers).sum() / 8))


def compiled(f, *args, threads=1):
    return run_compiled(trace_function(f, args).graph, args, threads)[0]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", NUMBERS)
def test_sums_and_means_over_all(name, threads):
    x = NUMBERS[name]
    bound = 4 * max(ulps(np.sum(x), x), 1)
    assert ulps(compiled(np.sum, x, threads=threads), x) <= bound
    assert ulps(compiled(np.mean, x, threads=threads) * x.size, x) <= bound + 1
    square = compiled(lambda x: np.sum(x * x), x, threads=threads)
    assert ulps(square, x * x) <= 4 * max(ulps(np.sum(x * x), x * x), 1)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("width", [1, 5, 13, 20, 200, 5000])
def test_sums_of_rows_and_of_parts_of_rows(name, width):
    x = NUMBERS[name][: 400_000 // width * width].reshape(-1, width)
    part = x[:, : max(width - 1, 1)]
    kept = np.ascontiguousarray(part).ravel()
    total = compiled(lambda x: np.sum(x[:, : max(width - 1, 1)]), x)
    assert ulps(total, kept) <= 4 * max(ulps(np.sum(kept), kept), 1)
    rows = compiled(lambda x: np.sum(x, axis=1), x)
    for row, found in list(zip(x, rows, strict=True))[:100]:
        assert ulps(found, row) <= 4 * max(ulps(np.sum(row), row), 1)
    means = compiled(lambda x: np.sum(np.sqrt(np.sum(x * x, axis=1))), x)  # a value a row, added up
    norms = np.sqrt(np.sum(x * x, axis=1))
    assert ulps(means, norms) <= 4 * max(ulps(np.sum(norms), norms), 1) + 1


def test_sums_over_axes_that_do_not_join():
    x = NUMBERS["squares of float32"][:400_000].reshape(20, 500, 40)
    found = compiled(lambda x: np.sum(x[:, :, :7], axis=(1, 2)), x)
    for rows, total in zip(x[:, :, :7], found, strict=True):
        assert ulps(total, rows.ravel()) <= 4
    middle = compiled(lambda x: np.sum(x, axis=(0, 2)), x)
    for rows, total in zip(x.transpose(1, 0, 2), middle, strict=True):
        assert ulps(total, rows.ravel()) <= 4


def test_two_sums_in_one_pass_are_both_folded():
    x = NUMBERS["squares of float32"].copy()
    found = run_compiled(trace_function(lambda x: (np.sum(x), np.sum(np.sqrt(x)), np.max(x)), (x,)).graph, [x])
    assert ulps(found[0], x) <= 4 and ulps(found[1], np.sqrt(x)) <= 4 and found[2] == x.max()


@pytest.mark.parametrize("special", [[np.inf], [-np.inf], [np.nan], [np.inf, -np.inf], [1e308] * 20, [-1e308] * 20])
def test_infinities_stay_infinities(special):
    x = np.ones(5000)
    x[1000 : 1000 + len(special)] = special
    with np.errstate(all="ignore"):
        np.testing.assert_equal(compiled(np.sum, x), np.sum(x))
        np.testing.assert_equal(compiled(lambda x: np.sum(x, axis=1), x[None]), np.sum(x[None], axis=1))


def test_an_empty_sum_is_zero():
    assert compiled(lambda x: P.sum_(x, axis=(0,), keepdims=False), np.zeros(0)) == 0
