"""Sorting, order statistics and searching in compiled programs, beside NumPy: ties, NaN, infinities, zeros' signs."""

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import graph_of, run_compiled
from undertow.compile.sorting import SHORT
from undertow.primitives import REGISTRY

KINDS = [np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.bool_]
SHAPES = [
    (1,),
    (7,),
    (SHORT["i64"],),
    (SHORT["i64"] + 1,),
    (500,),
    (3000,),
    (40, 17),
    (20, 250),
    (5, 700),
    (3, 4, 5),
    (0, 3),
    (3, 0),
]
SOME = np.array([3.0, np.nan, -0.0, np.inf, 1.0, 0.0, -np.inf, 3.0, np.nan, 2.5, 2.5])


def numbers(shape, dtype, seed=0):
    """Numbers with many ties; floats also with both zeros, infinities and NaN."""
    x = np.random.default_rng(seed).normal(size=shape) * 20
    if np.dtype(dtype).kind == "f":
        flat = x.reshape(-1)
        for step, value in ((5, np.nan), (7, np.inf), (9, -np.inf), (4, 0.0), (6, -0.0), (3, 2.5)):
            flat[step - 1 :: step] = value
    return x.astype(dtype)


def run(name, args, params, threads=1):
    graph, values = graph_of(REGISTRY[name], args, params)
    return run_compiled(graph, values, threads)[0]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", KINDS)
def test_rows_are_sorted_and_ties_keep_their_order(dtype, threads):
    for shape in SHAPES:
        x = numbers(shape, dtype)
        for axis in range(len(shape)):
            np.testing.assert_array_equal(run("sort", (x,), {"axis": axis}, threads), np.sort(x, axis=axis))
            found = run("argsort", (x,), {"axis": axis}, threads)
            np.testing.assert_array_equal(found, np.argsort(x, axis=axis, kind="stable"))


@pytest.mark.parametrize("n", [50, 1000])
def test_rows_are_sorted_where_they_lie(n):
    x = numbers((6, n, 4), np.float64)
    for view in (
        lambda x: x[::2, ::-1].T,
        lambda x: x[:, ::3, 1],
        lambda x: x.transpose(2, 0, 1),
        lambda x: x[1:, :, ::2],
    ):
        np.testing.assert_array_equal(ut.compile(lambda x, v=view: np.sort(v(x)))(x), np.sort(view(x)))
        found = ut.compile(lambda x, v=view: np.argsort(v(x), axis=0, kind="stable"))(x)
        np.testing.assert_array_equal(found, np.argsort(view(x), axis=0, kind="stable"))


def test_bytes_that_all_keys_share_are_passed_over():
    for x in (np.arange(500)[::-1] % 100 + 2**40, np.full(300, -3), np.array([2**62, -(2**62)] * 200)):
        np.testing.assert_array_equal(ut.compile(np.sort)(x), np.sort(x))
        np.testing.assert_array_equal(ut.compile(np.argsort)(x), np.argsort(x, kind="stable"))


@pytest.mark.parametrize("dtype", KINDS)
def test_a_few_places_of_long_rows_are_found_without_sorting(dtype):
    for n, spread in ((129, 50), (1000, 3), (5001, 1e-3), (300, 0)):
        x = (np.random.default_rng(n).normal(size=(3, n)) * spread).astype(dtype)
        if spread == 50 and x.dtype.kind == "f":
            x[0, :3] = np.nan, np.inf, -np.inf
        places = (0, n // 3, n // 2, n - 2, n - 1)
        for threads in (1, 2):
            found = run("kth", (x.T.copy(),), {"places": places}, threads)
            np.testing.assert_array_equal(found, np.sort(x, axis=1)[:, places].T)
    f = lambda x: np.quantile(x, np.linspace(0, 1, 12), axis=0)
    np.testing.assert_allclose(ut.compile(f)(x.T + 0.5), f(x.T + 0.5))


def test_lexsort_sorts_by_the_last_key_first():
    rng = np.random.default_rng(0)
    keys = tuple(rng.integers(0, 4, (3, 200)).astype(float))
    np.testing.assert_array_equal(ut.compile(lambda a, b, c: np.lexsort((a, b, c)))(*keys), np.lexsort(keys))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_a_search_puts_nan_last(side, dtype):
    values = SOME if np.dtype(dtype).kind == "f" else np.arange(-3, 9)
    for n in range(8):
        line, x = np.sort(values[:n].astype(dtype)), values.astype(dtype)
        for threads in (1, 2):
            found = run("searchsorted", (line, np.tile(x, 3000)), {"side": side}, threads)
            np.testing.assert_array_equal(found, np.searchsorted(line, np.tile(x, 3000), side))
    grid = np.arange(12.0).reshape(3, 4)
    found = ut.compile(lambda a, v: np.searchsorted(a[::2], v.T[:, ::2], side))(np.arange(9), grid)
    np.testing.assert_array_equal(found, np.searchsorted(np.arange(9)[::2], grid.T[:, ::2], side))


@pytest.mark.parametrize("right", [False, True])
def test_bins_may_rise_or_fall(right):
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 7.0, np.inf, -np.inf])
    f = ut.compile(lambda x, bins: np.digitize(x, bins, right=right))
    for bins in ([0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0, 1.0], [1.0]):
        np.testing.assert_array_equal(f(x, np.array(bins)), np.digitize(x, bins, right=right))


@pytest.mark.parametrize("n", [0, 1, 16, 17, 400])
def test_membership_is_numpys(n):
    rng = np.random.default_rng(n)
    for x, values in (
        (numbers((5, 30), np.float64), numbers((n,), np.float32, 1)),
        (rng.integers(0, 99, 50), rng.integers(0, 99, n)),
        (rng.integers(0, 99, 50) / 2, rng.integers(0, 99, n)),
    ):
        for invert in (False, True):
            found = ut.compile(lambda x, v, invert=invert: np.isin(x, v, invert=invert))(x, values)
            np.testing.assert_array_equal(found, np.isin(x, values, invert=invert))


def test_histograms_count_the_last_edge_and_nothing_outside():
    x = np.array([0.0, 0.5, 1.0, 1.0, 2.0, 3.0, 3.0, -1.0, 4.0, np.nan, np.inf])
    edges, weights = np.array([0.0, 1.0, 1.5, 3.0]), np.arange(11.0)
    f = ut.compile(lambda x, e: np.histogram(x, e)[0])
    np.testing.assert_array_equal(f(x, edges), np.histogram(x, edges)[0])
    g = ut.compile(lambda x, e, w: np.histogram(x, e, weights=w)[0])
    np.testing.assert_allclose(g(x, edges, weights), np.histogram(x, edges, weights=weights)[0])


def test_groups_below_0_are_an_error():
    f = ut.compile(lambda w: np.bincount(np.array([0, 2, 1]), w) + 0)
    np.testing.assert_array_equal(f(np.array([1.0, 2.0, 3.0])), [1.0, 3.0, 2.0])
    graph, values = graph_of(REGISTRY["bincount"], (np.ones(2), np.array([0, -1])), {"length": 2})
    with pytest.raises(ut.PositionError):
        run_compiled(graph, values)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_interpolation_is_numpys_at_its_ends_and_at_infinities():
    x = np.array([-1.0, 0.0, 0.3, 1.0, 1.5, 2.0, 2.5, np.nan, np.inf, -np.inf])
    for xp, fp in (
        ([0.0, 1.0, 2.0], [1.0, -1.0, 5.0]), ([0.0, 1.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0]), ([1.0], [3.0]),
        ([0.0, 1.0, 2.0], [np.inf, 1.0, np.nan]), ([0.0, 1.0, np.inf], [0.0, np.inf, np.inf]),
    ):  # fmt: skip
        found = ut.compile(lambda x, xp, fp: np.interp(x, xp, fp))(x, np.array(xp), np.array(fp))
        np.testing.assert_allclose(found, np.interp(x, xp, fp), rtol=1e-15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["median", "quantile", "percentile", "nanmedian", "nanquantile", "nanpercentile"])
def test_order_statistics_are_numpys_for_nan_and_infinities(name):
    f, scale = getattr(np, name), 100 if "percentile" in name else 1
    arrays = [
        np.array([1.0, 2.0, np.inf]),
        np.array([-np.inf, 0.0, np.inf, np.inf]),
        SOME,
        SOME[:1],
        np.full(3, np.nan),
    ]
    arrays += [np.stack([SOME, SOME[::-1] * 2, np.arange(11.0)]), np.zeros((0, 3))]
    for x in arrays:
        for axis in (None, -1):
            if 0 in x.shape and axis is None:
                continue
            asked = [()] if "median" in name else [(q * scale,) for q in (0.0, 0.25, 0.4, 0.5, 1.0)]
            for q in asked:
                found = ut.compile(lambda x, q=q, axis=axis: f(x, *q, axis=axis))(x)
                np.testing.assert_allclose(found, f(x, *q, axis=axis))
            if asked != [()]:
                q = np.array([[0.1], [0.4]]) * scale
                found = ut.compile(lambda x, q, axis=axis: f(x, q[:, 0], axis=axis))(x, q)
                np.testing.assert_allclose(found, f(x, q[:, 0], axis=axis), rtol=1e-14)


@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles_have_as_many_digits_as_numpys(name):
    f = getattr(np, name)
    large = np.array([2**62 + 1, 2**62 + 3, -(2**63), 2**63 - 1, 7])
    for method in ("lower", "nearest", "inverted_cdf", "closest_observation"):
        for q in ([0.0, 0.3, 0.5, 1.0], 0.75):
            found = ut.compile(lambda x, q=q, method=method: f(x, q, method=method))(large)
            np.testing.assert_array_equal(found, f(large, q, method=method))
            assert found.dtype == np.int64
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    for method in ("linear", "midpoint", "weibull"):
        found = ut.compile(lambda x, method=method: f(x, [0.3, 0.8], axis=0, method=method))(x)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, f(x, [0.3, 0.8], axis=0, method=method), rtol=1e-14)
    for method in ("hazen", "averaged_inverted_cdf"):  # places before the first element, and halves beside infinities
        ends = np.array([1.0, np.inf, np.inf, np.inf, np.inf])
        found = ut.compile(lambda x, method=method: f(x, [0.0, 0.05, 0.1], method=method))(ends)
        np.testing.assert_array_equal(found, [1.0, 1.0, 1.0])
    found = ut.compile(lambda x, q: f(x, q, axis=0))(x, np.array([0.3]))
    np.testing.assert_allclose(found, f(x, np.array([0.3]), axis=0), rtol=1e-14)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum])
def test_extrema_so_far_are_numpys(ufunc, dtype):
    for shape in ((5,), (3, 40), (2, 3, 4)):
        x = numbers(shape, dtype)
        for axis in range(len(shape)):
            found = ut.compile(lambda x, axis=axis: ufunc.accumulate(x, axis=axis))(x)
            np.testing.assert_array_equal(found, ufunc.accumulate(x, axis=axis))
            assert found.dtype == x.dtype


GRADIENTS = {
    "sort": lambda x: np.sort(x, axis=0) * np.arange(1.0, 1 + x.size).reshape(x.shape),
    "partition": lambda x: np.partition(x, 3)[:, :4] ** 2,
    "median": lambda x: np.median(x, axis=1) ** 2 + np.median(x),
    "quantile": lambda x: np.quantile(x, [0.2, 0.75], axis=1) ** 2,
    "nanquantile": lambda x: np.nanquantile(np.where(x > 1, np.nan, x), 0.3, axis=1) ** 2,
    "maximum": lambda x: np.maximum.accumulate(x, axis=1) ** 2,
    "interp": lambda x: np.interp(x, np.sort(x[0]), x[1]),
    "unwrap": lambda x: np.unwrap(4 * x) ** 2,
    "where written last": lambda x: with_rows_written(x),
}


def with_rows_written(x):
    x = x + 0.0
    x[np.array([0, 2, 0])] = x[1:4] * 2
    return x**2


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_compile(name):
    x = np.round(np.random.default_rng(3).normal(size=(5, 30)), 1)  # with ties
    loss = lambda x: np.sum(GRADIENTS[name](x))
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-4)):
        value, found = ut.value_and_grad(loss, compile=True)(x.astype(dtype))
        wanted = ut.value_and_grad(loss)(x.astype(dtype))
        np.testing.assert_allclose(value, wanted[0], rtol=rtol)
        np.testing.assert_allclose(found, wanted[1], rtol=rtol, atol=rtol)


def test_long_rows_whose_places_are_wanted_too_are_picked_by_them():
    x = numbers((2, 1500), np.float64)
    places, found = ut.compile(lambda x: (np.argsort(x), np.sort(x)))(x)
    np.testing.assert_array_equal(places, np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(found, np.sort(x))
    x = np.round(np.random.default_rng(0).normal(size=(2, 1500)), 1)
    loss = lambda x: np.sum(np.sort(x, axis=1) ** 2 * np.arange(1500.0))
    np.testing.assert_allclose(ut.value_and_grad(loss, compile=True)(x)[1], ut.grad(loss)(x), rtol=1e-12)


def test_the_gradient_of_a_quantile_by_its_place_compiles():
    x = np.random.default_rng(0).normal(size=(4, 9))
    loss = lambda q: np.sum(np.quantile(x, q, axis=1) ** 2)
    q, step = np.array([0.31, 0.77]), 1e-6
    found = ut.value_and_grad(loss, compile=True)(q)[1]
    differences = [(loss(q + step * e) - loss(q - step * e)) / (2 * step) for e in np.eye(2)]
    np.testing.assert_allclose(found, differences, rtol=1e-6)


def test_sums_of_rows_that_are_not_there_are_empty():
    for shape in ((2, 0, 64), (0, 3), (0, 0, 4), (2, 3, 0)):
        for axis in range(len(shape)):
            found = ut.compile(lambda x, axis=axis: np.sum(np.cosh(x) * x, axis=axis))(np.ones(shape))
            np.testing.assert_array_equal(found, np.zeros(np.sum(np.ones(shape), axis=axis).shape))


def test_running_extrema_of_a_batch_of_any_size_have_gradients():
    rng = np.random.default_rng(3)
    g = ut.value_and_grad(lambda W, X: np.sum(np.sin(np.maximum.accumulate(X @ W, axis=1))), compile=True)
    W = rng.normal(size=(4, 5))
    for rows in (7, 3):
        X = rng.normal(size=(rows, 4))
        h = 1e-6
        _, slope = g(W, X)
        wanted = np.empty_like(W)
        for place in np.ndindex(*W.shape):
            step = np.zeros_like(W)
            step[place] = h
            ahead, behind = (np.sum(np.sin(np.maximum.accumulate(X @ (W + s * step), axis=1))) for s in (1, -1))
            wanted[place] = (ahead - behind) / (2 * h)
        np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-7)
