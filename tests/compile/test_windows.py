"""Windows that overlap, convolutions, copies between strides, places of extrema."""

import numpy as np
import pytest
import scipy.signal

import undertow as ut

windows_of = np.lib.stride_tricks.sliding_window_view


@pytest.fixture(params=[1, 3])
def threads(request):
    ut.set_threads(request.param)
    yield request.param
    ut.set_threads(None)


def convolved(x, w):
    """A layer of a convolutional network: x (m, height, width, channels), w (channels, rows, columns, channels)."""
    return np.tensordot(windows_of(x, w.shape[1:3], axis=(1, 2)), w, axes=([3, 4, 5], [0, 1, 2]))


def convolved_by_einsum(x, w):
    return np.einsum("mhwcij,cijo->mhwo", windows_of(x, w.shape[1:3], axis=(1, 2)), w)


@pytest.mark.parametrize("layer", [convolved, convolved_by_einsum])
@pytest.mark.parametrize(
    "sizes", [(2, 7, 6, 1, 3, 2, 4), (3, 9, 11, 5, 2, 4, 3), (1, 5, 5, 17, 5, 5, 1), (4, 8, 8, 3, 1, 1, 20)]
)
def test_a_convolution_and_its_gradients_are_those_of_scipy(layer, sizes, threads):
    m, height, width, channels, rows, columns, out = sizes
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(m, height, width, channels)), rng.normal(size=(channels, rows, columns, out))
    weights = rng.normal(size=(m, height - rows + 1, width - columns + 1, out))
    f = ut.value_and_grad(lambda x, w: np.sum(layer(x, w) * weights), wrt=(0, 1), compile=True)
    value, (dx, dw) = f(x, w)
    pairs = [(i, c, o) for i in range(m) for c in range(channels) for o in range(out)]
    wanted_value, wanted_dx, wanted_dw = 0.0, np.zeros_like(x), np.zeros_like(w)
    for i, c, o in pairs:
        image, kernel, ct = x[i, :, :, c], w[c, :, :, o], weights[i, :, :, o]
        wanted_value += np.sum(scipy.signal.correlate2d(image, kernel, "valid") * ct)
        wanted_dx[i, :, :, c] += scipy.signal.convolve2d(ct, kernel, "full")
        wanted_dw[c, :, :, o] += scipy.signal.correlate2d(image, ct, "valid")
    np.testing.assert_allclose(value, wanted_value, rtol=1e-12)
    np.testing.assert_allclose(dx, wanted_dx, atol=1e-12)
    np.testing.assert_allclose(dw, wanted_dw, atol=1e-12)


def test_the_windows_of_a_batch_are_copied_once_for_both_passes():
    x, w = np.ones((2, 9, 9, 4), np.float32), np.ones((4, 3, 3, 5), np.float32)
    f = ut.compile(ut.value_and_grad(lambda w, x: np.sum(np.tanh(convolved(x, w)))))
    f(w, x)
    copies = [call for call in f.program.plan.calls if call.moved >= 4 * 2 * 7 * 7 * 36]
    assert sum("identity" in call.what for call in copies) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_of_a_convolutional_network_is_what_numpy_computes(dtype, threads):
    rng = np.random.default_rng(1)
    shapes = [(1, 3, 3, 6), (6, 3, 3, 8), (8 * 2 * 2, 10)]
    params = [rng.normal(size=shape).astype(dtype) * 0.3 for shape in shapes]
    x, y = rng.normal(size=(5, 14, 14, 1)).astype(dtype), rng.integers(0, 10, 5)

    def loss(params, x, y):
        for w in params[:2]:
            h = np.maximum(convolved(x, w), 0)
            m, a, b, c = h.shape
            x = np.max(h.reshape(m, a // 2, 2, b // 2, 2, c), axis=(2, 4))
        return ut.nn.categorical_cross_entropy_with_logits(x.reshape(m, -1) @ params[2], y)

    value, found = ut.value_and_grad(loss, compile=True)(params, x, y)
    wanted_value, wanted = ut.value_and_grad(loss)(params, x, y)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(value, wanted_value, rtol=tolerance)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.parametrize("seed", range(30))
def test_copies_between_strides(seed, threads):
    """Joined, padded, rolled, written into: of every size of element, and of runs of every length."""
    rng = np.random.default_rng(seed)
    dtype = [np.float32, np.float64, np.bool_, np.int64, np.int32][seed % 5]
    shape = tuple(rng.integers(1, 40, rng.integers(1, 5)))
    x = (rng.normal(size=shape) * 9).astype(dtype)
    order = tuple(int(i) for i in rng.permutation(len(shape)))
    before, shift = int(rng.integers(0, 3)), int(rng.integers(0, 9))

    def f(x):
        t = np.transpose(x, order)
        filled = np.zeros_like(t, shape=tuple(n + 2 for n in t.shape))
        filled[tuple(slice(1, n + 1) for n in t.shape)] = t
        return (
            np.concatenate([t, t[:, ::-1] if t.ndim > 1 else t[::-1]]),
            np.pad(t, before),
            np.roll(x, shift, -1),
            filled,
        )

    for found, wanted in zip(ut.compile(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_windows_of_windows_and_of_turned_arrays():
    x = np.random.default_rng(2).normal(size=(12, 9))

    def f(x):
        a = windows_of(x.T[::-1, 1:], 3, axis=0)
        b = windows_of(windows_of(x, 4, axis=1), 2, axis=1)
        return np.sum(a * a, axis=-1), b @ b.swapaxes(-1, -2), np.max(windows_of(x, (3, 3)), axis=(2, 3))

    for found, wanted in zip(ut.compile(f)(x), f(x), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_of_extrema(name):
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, size=(6, 5, 4)).astype(np.float64)  # many equal ones
    holes = np.where(rng.uniform(size=x.shape) < 0.1, np.nan, x)
    far = np.where(rng.uniform(size=x.shape) < 0.3, rng.choice([np.inf, -np.inf], x.shape), holes)
    f = getattr(np, name)
    for a in (x, holes, far, x.astype(np.float32), x.astype(np.int64), x > 0, np.full((3, 2), np.nan)):
        for axis in (None, *range(-a.ndim, a.ndim)):
            for keepdims in (False, True):
                found = ut.compile(lambda a, axis=axis, keepdims=keepdims: f(a, axis=axis, keepdims=keepdims))(a)
                np.testing.assert_array_equal(found, f(a, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("function", [np.convolve, np.correlate])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (9, 4), (2, 5)])
def test_what_is_not_finite_reaches_as_far_as_in_numpy(function, mode, sizes):
    """Beyond the ends of a vector there is nothing; a zero there, times inf, would be NaN."""
    rng = np.random.default_rng(0)
    compiled = ut.compile(lambda a, v: function(a, v, mode))
    for value in (np.inf, -np.inf, np.nan):
        for which in (0, 1):
            pair = [rng.normal(size=size) for size in sizes]
            pair[which][rng.integers(sizes[which])] = value
            np.testing.assert_allclose(compiled(*pair), function(*pair, mode), rtol=1e-12)
