"""Data that are not floats: bytes of images, integer labels, truth values. Gradients by weights never wrap around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(6)
M, N = 5, 4
W = RNG.normal(size=N)
EDGE = np.array([0, 1, 127, 128, 200, 255])

# Each loss is linear or quadratic in w, so that its gradient in float64 is exact to rounding.
LOSSES: dict[str, Any] = {
    "scaled pixels": lambda w, X, y: np.sum(w * (X / 255)),
    "scaled after": lambda w, X, y: np.sum(w * X / 255),
    "times another": lambda w, X, y: np.sum(w * X * y[:, None] / 255),
    "another before": lambda w, X, y: np.sum(y[:, None] * (w * X)) / 3,
    "twice": lambda w, X, y: np.sum(2 * w * X) + np.sum(3 * X * 1.0 * w),
    "square": lambda w, X, y: np.mean((X @ w / 255 - y) ** 2),
    "square by hand": lambda w, X, y: np.sum((w * X / 255 - y[:, None]) ** 2),
    "product of residuals": lambda w, X, y: np.sum((w * X - y[:, None]) * (w * X - y[:, None])),
    "half square": lambda w, X, y: 0.5 * np.sum((X @ w - y) ** 2) / len(y),
    "difference": lambda w, X, y: np.sum(w * X - y[:, None] * w),
    "minus": lambda w, X, y: np.sum(-(w * X)) - np.sum(y) * np.sum(w),
    "negated quotient": lambda w, X, y: -np.sum(w * (X / (y[:, None] + 300.0))),
    "common factor": lambda w, X, y: np.sum(w * X * 2.0) + np.sum(w * X * 200.0),
    "products of sums": lambda w, X, y: np.sum((w * X) * (1 - y[:, None] * 1.0)) - np.sum((1 - X * 1.0) * w),
    "mean over pixels": lambda w, X, y: np.mean(np.mean(X, axis=1) * np.sum(w)),
    "sum over pixels": lambda w, X, y: np.sum(np.sum(X, axis=0) * w),
    "masked": lambda w, X, y: np.sum(np.where(X > 100, w, 0.0)) + np.sum(w * (X > 1)),
    "truth values as numbers": lambda w, X, y: np.sum((y[:, None] < X) * w * 2) * 3,
    "binary cross-entropy": lambda w, X, y: np.mean(
        np.log(1 + np.exp((X / 255.0) @ w)) - (y > 100) * ((X / 255.0) @ w)
    ),
    "softmax": lambda w, X, y: (
        -np.mean(
            np.sum((X > 127) * np.log(np.exp(w * X / 255) / np.sum(np.exp(w * X / 255), axis=1, keepdims=True)), axis=1)
        )
    ),
}


def differences(f: Any, w: np.ndarray) -> np.ndarray:
    g = np.zeros_like(w)
    for i in range(w.size):
        step = np.zeros_like(w)
        step[i] = 1e-4
        g[i] = (f(w + step) - f(w - step)) / 2e-4
    return g


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32, np.int64, bool], ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_by_weights_of_integer_data(name: str, dtype: Any) -> None:
    """The engine, the simplified graph and the emitted module agree with differences of the loss itself."""
    f = LOSSES[name]
    X, y = RNG.choice(EDGE, size=(M, N)).astype(dtype), RNG.choice(EDGE, size=M).astype(dtype)
    try:
        wanted = differences(lambda w: f(w, X, y), W)
    except TypeError:  # NumPy has no such operation on truth values
        pytest.skip("not for this dtype")
    limits = {"rtol": 1e-6, "atol": 1e-6 * max(1.0, float(np.max(np.abs(wanted))))}
    bp = ut.backprop(f, W, X, y)
    loss, cache = bp.forward(W, X, y)
    np.testing.assert_allclose(loss, f(W, X, y), rtol=1e-12)
    np.testing.assert_allclose(ut.grad(f)(W, X, y), wanted, err_msg="ut.grad", **limits)
    np.testing.assert_allclose(bp()[1], wanted, err_msg="the simplified graph", **limits)
    np.testing.assert_allclose(bp.backward(cache), wanted, err_msg=f"the source\n{bp.source}", **limits)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool], ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", LOSSES)
def test_float32_weights_stay_float32(name: str, dtype: Any) -> None:
    """Integer data beside float32 weights: the gradient has the weights' dtype, all three ways."""
    f = LOSSES[name]
    X, y = RNG.choice(EDGE, size=(M, N)).astype(dtype), RNG.choice(EDGE, size=M).astype(dtype)
    w = W.astype(np.float32)
    try:
        wanted = differences(lambda w: f(w, X, y), W)
    except TypeError:
        pytest.skip("not for this dtype")
    bp = ut.backprop(f, w, X, y)
    for gradient in (ut.grad(f)(w, X, y), bp()[1], bp.backward(bp.forward(w, X, y)[1])):
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, wanted, rtol=1e-3, atol=1e-4 * max(1.0, float(np.max(np.abs(wanted)))))


@pytest.mark.parametrize("take", [ut.grad, lambda f: lambda *args: ut.backprop(f, *args)], ids=["values", "shapes"])
def test_a_whole_number_within_a_tree_is_to_stand_beside_it(take):
    """By wrt= nothing within an argument can be left out."""
    with pytest.raises(ut.errors.DTypeError, match=r"p\['i'\] \* 1\.0, or give it as an argument beside p\.$"):
        take(lambda p: np.sum(p["a"][p["i"]]))({"a": np.ones(3), "i": np.array([0, 1])})
