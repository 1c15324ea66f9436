"""Every primitive's kernel computes what NumPy computes, on the samples of its record and on special values."""

import warnings

import numpy as np
import pytest
import scipy.special

from compiled_graphs import graph_of, run_compiled
from undertow.compile.blas import find_blas
from undertow.compile.cache import folder
from undertow.compile.linear_algebra import LINEAR_ALGEBRA
from undertow.compile.scalars import SCALARS
from undertow.errors import UnsupportedError
from undertow.primitives import REGISTRY
from undertow.primitives.record import load_scipy
from undertow.trace import trace_function

load_scipy()

BLAS = find_blas(folder())
# What LAPACK's routines do is NumPy's where they are not.
NOT_COMPILED = LINEAR_ALGEBRA.keys() - {"inverse_gaps"} if BLAS is None or not BLAS.has_lapack() else set()
COMPILED = sorted(REGISTRY.keys() - NOT_COMPILED)
# What stands before and behind the chosen places is in any order.
ANY_ORDER = {"partition", "argpartition"}

TURNED = {"eigh_vectors"}
COARSE = {"sinc_slope"}  # whose forward function keeps few digits in float16
RTOL = {np.float16: 2e-3, np.float32: 4e-6, np.float64: 1e-13}


def compare(name: str, args: tuple, params: dict, dtype: type, threads: int = 1) -> bool:
    """Compare a kernel with the forward function; False where it does not compile."""
    primitive = REGISTRY[name]
    args = tuple(a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in args)
    fine = [a.astype(np.float32) if name in COARSE and getattr(a, "dtype", None) == np.float16 else a for a in args]
    with np.errstate(all="ignore"):
        wanted = np.asarray(primitive.forward(*fine, **params))
    graph, values = graph_of(primitive, args, params)
    try:
        (found,) = run_compiled(graph, values, threads)
    except UnsupportedError:
        return False
    assert found.shape == wanted.shape
    if name in ANY_ORDER:
        found, wanted = (chosen(x, args[0], name, **params) for x in (found, wanted))
    wanted = wanted.astype(found.dtype)
    if name in TURNED:  # an eigenvector may point either way
        found = found * np.sign(np.sum(found * wanted, axis=-2, keepdims=True))
    rtol = RTOL[dtype]
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol if wanted.dtype.kind == "f" else 0)
    return True


def chosen(found, x, name, kth, axis):
    """The elements in the chosen places, and all of them in order."""
    found = np.take_along_axis(x, found, axis) if name == "argpartition" else found
    return np.concatenate([np.take(found, kth, axis), np.sort(found, axis)], axis)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize(
    "dtype,threads",
    [(np.float64, 1), (np.float32, 2), (np.float16, 1)],
    ids=["float64", "float32, two threads", "float16"],
)
def test_kernels_compute_what_numpy_does(name, dtype, threads):
    if dtype == np.float16 and name in LINEAR_ALGEBRA:
        pytest.skip("NumPy decomposes no float16")
    samples = [x for x in REGISTRY[name].samples() if not x.needs_values]
    if dtype == np.float16:  # computed as float32 is: every third says whether the numbers are read and written
        samples = samples[::3]
    for sample in samples:
        assert compare(name, sample.args, sample.params, dtype, threads)


@pytest.mark.parametrize("name", sorted(NOT_COMPILED))
def test_what_does_not_compile_is_on_the_list(name):
    """Whoever makes an operation compile takes it off the list."""
    done = [compare(name, s.args, s.params, np.float64) for s in REGISTRY[name].samples() if not s.needs_values]
    assert not all(done)


POINTS = sorted((SCALARS.keys() & REGISTRY.keys() - {"astype"}) | {x for x in REGISTRY if x.startswith("scipy_")})
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e30, -1e30, 1e-40, np.inf, -np.inf, np.nan, 88.9, -104.0])


@pytest.mark.parametrize("mode", ["warn", "raise"])
@pytest.mark.parametrize("threads", [1, 2])
def test_scipy_raises_and_warns_of_nothing_within(mode, threads):
    """A loop that raised would leave Python an error that nobody has asked for, or lose it in another thread."""
    x = np.arange(-30_000, 30_001) / 10_000
    with warnings.catch_warnings(), scipy.special.errstate(all=mode):
        warnings.simplefilter("error")
        told = scipy.special.geterr()
        graph = trace_function(lambda x: scipy.special.gammaln(x) + 1, [x]).graph
        (found,) = run_compiled(graph, [x], threads)
        assert scipy.special.geterr() == told
    np.testing.assert_array_equal(found, scipy.special.gammaln(x) + 1)
    assert np.isinf(found).sum() == 4  # at 0, −1, −2, −3


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_special_values_go_where_numpys_go(name, dtype):
    primitive = REGISTRY[name]
    sample = primitive.samples()[0]
    n = len(sample.args)
    if any(np.asarray(a).dtype.kind in "iub" for a in sample.args) and name != "where":
        pytest.skip("takes no floats")
    x = SPECIAL.astype(dtype)
    grid = np.meshgrid(*[x] * min(n, 2), indexing="ij")
    args = [*grid, *[np.ones_like(grid[0])] * (n - len(grid))]
    if name == "where":
        args = [grid[0] > 0, *grid]
    with np.errstate(all="ignore"):
        wanted = np.asarray(primitive.forward(*args, **sample.params))
    graph, values = graph_of(primitive, args, sample.params)
    (found,) = run_compiled(graph, values)
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted)
        return
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(wanted))
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(
        found[finite], wanted[finite], rtol={2: 2e-3, 4: 1e-5, 8: 1e-12}[found.itemsize], atol=1e-37
    )


def test_sums_of_float32_are_as_good_as_pairwise():
    x = np.random.default_rng(0).uniform(0, 1, (10_007, 33)).astype(np.float32)
    for axis in ((0,), (1,), (0, 1)):
        graph, values = graph_of(REGISTRY["sum"], (x,), {"axis": axis, "keepdims": False})
        (found,) = run_compiled(graph, values)
        exact = x.astype(np.float64).sum(axis=axis)
        pairwise = np.abs((np.ascontiguousarray(x.T).sum(axis=1) if axis == (0,) else x.sum(axis=axis)) - exact).max()
        assert np.abs(found - exact).max() <= 4 * max(pairwise, np.spacing(np.float32(exact.max())))


def test_what_does_not_compile_is_named():
    x = np.array([2, 1])
    graph, values = graph_of(REGISTRY["power"], (x, x), {})
    with pytest.raises(
        UnsupportedError, match=r'power of \(2,\) int64, \(2,\) int64 does not compile.*fallback="numpy"'
    ):
        run_compiled(graph, values)
    np.testing.assert_array_equal(run_compiled(graph, values, fallback="numpy")[0], x**x)
