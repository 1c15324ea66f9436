"""Stacks of matrices by one matrix, and what their gradients add up, are one product; windows whose axes were moved."""

import numpy as np
import pytest

import undertow as ut

windows_of = np.lib.stride_tricks.sliding_window_view


def products_of(f, *args):
    """The sizes of the products that a function is compiled to."""
    compiled = ut.compile(f)
    compiled(*args)
    return sorted(call.what[call.what.rindex("(") :] for call in compiled.program.plan.calls if "×" in call.what)


def check(f, args, rtol):
    wrt = tuple(range(len(args)))
    value, found = ut.value_and_grad(f, wrt=wrt, compile=True)(*args)
    wanted_value, wanted = ut.value_and_grad(f, wrt=wrt)(*args)
    np.testing.assert_allclose(value, wanted_value, rtol=rtol)
    for mine, own in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, own, rtol=rtol, atol=rtol * np.max(np.abs(own), initial=0.0))
        assert mine.shape == own.shape and mine.dtype == own.dtype


LAYERS = {
    "as it lies": lambda x, W: np.tanh(x @ W),
    "turned matrices": lambda x, W: np.tanh(np.swapaxes(x @ W, -1, -2)) * 2,
    "a stack read across": lambda x, W: np.tanh(np.swapaxes(np.swapaxes(x, -1, -2) * 1.0, -1, -2) @ W),
    "a stack turned around": lambda x, W: np.tanh(np.moveaxis(x, 0, 1) @ W),
    "every second row": lambda x, W: np.tanh(x[..., ::2, :] @ W),
    "a part of the columns": lambda x, W: np.tanh(x[..., : W.shape[0] - 1] @ W[1:]),
    "reversed": lambda x, W: np.tanh(x[::-1] @ W[:, ::-1]),
    "broadcast": lambda x, W: np.tanh(np.broadcast_to(x[:1], x.shape) @ W),
    "a product that is read twice": lambda x, W: (x @ W) ** 2 * np.max(x @ W, axis=-1, keepdims=True),
    "a stack by a stack of one": lambda x, W: np.tanh(x @ W[None]),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("shape", [(6, 4, 5), (3, 2, 7, 5), (1, 1, 5), (2, 0, 5), (0, 3, 5), (40, 24, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stack_by_one_matrix_and_its_gradients_are_those_of_numpy(layer, shape, dtype):
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=shape).astype(dtype), rng.normal(size=(5, 9)).astype(dtype)
    check(lambda x, W: np.sum(layer(x, W) * 0.5), (x, W), 1e-12 if dtype == np.float64 else 2e-5)


def test_nan_and_inf_stay_in_their_rows():
    x, W = np.ones((3, 4, 5)), np.ones((5, 6))
    x[1, 2, 3], x[2, 0, 0] = np.nan, np.inf
    np.testing.assert_array_equal(ut.compile(lambda x, W: x @ W)(x, W), x @ W)
    dW = ut.grad(lambda W, x: np.sum(x @ W), compile=True)(W, x)
    np.testing.assert_array_equal(dW, ut.grad(lambda W, x: np.sum(x @ W))(W, x))


def test_a_layer_on_a_stack_is_one_product_in_each_direction():
    x, W, V = np.ones((6, 4, 5)), np.ones((5, 7)), np.ones((7, 3))
    f = ut.value_and_grad(lambda W, V, x: np.sum(np.tanh(np.tanh(x @ W) @ V)), wrt=(0, 1))
    wanted = ["(24 × 5 × 7)", "(24 × 7 × 3)", "(24 × 3 × 7)", "(7 × 24 × 3)", "(5 × 24 × 7)"]
    assert products_of(f, W, V, x) == sorted(wanted)


def test_products_of_a_stack_that_are_wanted_themselves_are_not_added_up_instead():
    a, b = np.random.default_rng(1).normal(size=(2, 6, 4, 5))
    each, total = ut.compile(lambda a, b: ((c := np.swapaxes(a, -1, -2) @ b), np.sum(c, axis=0)))(a, b)
    np.testing.assert_allclose(each, np.swapaxes(a, -1, -2) @ b, rtol=1e-12)
    np.testing.assert_allclose(total, np.sum(np.swapaxes(a, -1, -2) @ b, axis=0), rtol=1e-12)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, (0, 1), (0, 2), (0, 1, 2), -1])
def test_sums_over_some_axes_of_a_stack_of_products(axis, keepdims):
    a, b = np.random.default_rng(2).normal(size=(2, 3, 2, 4, 4))
    f = lambda a, b: np.sum(np.swapaxes(a, -1, -2) @ b, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(ut.compile(f)(a, b), f(a, b), rtol=1e-12)


@pytest.mark.parametrize("order", [(3, 4, 5), (4, 5, 3), (5, 3, 4), (4, 3, 5), (5, 4, 3)])
@pytest.mark.parametrize("sizes", [(2, 7, 6, 3, 3, 2, 4), (1, 5, 5, 16, 3, 3, 2), (3, 6, 9, 1, 1, 4, 3)])
def test_a_convolution_by_patches_in_any_order(order, sizes):
    m, height, width, channels, rows, columns, out = sizes
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(m, height, width, channels)), rng.normal(size=(channels * rows * columns, out))

    def loss(x, w):
        v = np.transpose(windows_of(x, (rows, columns), axis=(1, 2)), (0, 1, 2, *order))
        return np.sum(np.tanh(v.reshape(*v.shape[:3], -1) @ w))

    check(loss, (x, w), 1e-11)


@pytest.mark.parametrize("axes", [(1,), (2,), (2, 1), (1, 1), (3, 1, 2)])
@pytest.mark.parametrize("moved", [(0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 1, 0)])
def test_sums_of_windows_along_axes_in_any_order(axes, moved):
    x = np.random.default_rng(4).normal(size=(3, 6, 5, 4))

    def loss(x):
        v = windows_of(np.transpose(x, np.argsort(moved)).transpose(moved), (2,) * len(axes), axis=axes)
        v = np.moveaxis(v, -1, 0)
        return np.sum(np.sin(v) * np.cos(np.arange(v.size)).reshape(v.shape))

    check(loss, (x,), 1e-11)
