"""The lesson's own code runs unmodified, and its hand-written backward pass is what Undertow derives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut

# ---- the lesson's code ---------------------------------------------------------------------------


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def relu(z: Any) -> Any:
    return np.maximum(0, z)


def softmax(z: Any) -> Any:
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def forward(x: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    """One example, weights as (outputs, inputs)."""
    z1 = np.dot(W1, x) + b1
    h1 = relu(z1)
    z2 = np.dot(W2, h1) + b2
    return sigmoid(z2)


def mse(y_true: Any, y_pred: Any) -> Any:
    return np.mean((y_true - y_pred) ** 2)


def binary_cross_entropy(y_true: Any, y_pred: Any) -> Any:
    return -np.mean(y_true * np.log(y_pred) + (1 - y_true) * np.log(1 - y_pred))


def categorical_cross_entropy(y_true: Any, y_pred: Any) -> Any:
    return -np.mean(np.sum(y_true * np.log(y_pred), axis=1))


ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda z, h: h * (1 - h)),
    "relu": (relu, lambda z, h: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda z, h: 1 - h**2),
}


def hand_written_backward(X: Any, y: Any, W1: Any, b1: Any, W2: Any, b2: Any, activation: str) -> dict[str, Any]:
    """The lesson's backward pass of a two-layer softmax classifier, averaged over the batch."""
    h, slope = ACTIVATIONS[activation]
    m = X.shape[0]
    z1 = X @ W1 + b1
    h1 = h(z1)
    p = softmax(h1 @ W2 + b2)
    dz2 = (p - y) / m
    dh1 = dz2 @ W2.T
    dz1 = dh1 * slope(z1, h1)
    return {
        "dz2": dz2, "dW2": h1.T @ dz2, "db2": dz2.sum(axis=0), "dh1": dh1,
        "dz1": dz1, "dW1": X.T @ dz1, "db1": dz1.sum(axis=0),
    }  # fmt: skip


def two_layers(activation: str) -> Any:
    h = ACTIVATIONS[activation][0]

    def loss(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        z1 = X @ W1 + b1
        h1 = h(z1)
        z2 = h1 @ W2 + b2
        p = softmax(z2)
        return categorical_cross_entropy(y, p)

    return loss


def problem(m: int = 12, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    params = (rng.normal(size=(5, 7)), rng.normal(size=7), rng.normal(size=(7, 3)), rng.normal(size=3))
    return params, rng.normal(size=(m, 5)), np.eye(3)[rng.integers(0, 3, m)]


# ---- tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_emitted_backward_equals_the_hand_written_one_term_by_term(activation: str) -> None:
    """dz2, dW2, db2, dh1, dz1, dW1 and db1 agree, each by its name."""
    params, X, y = problem()
    values = ut.backprop(two_layers(activation), params, X, y).values()
    for name, wanted in hand_written_backward(X, y, *params, activation).items():
        np.testing.assert_allclose(values[name], wanted, rtol=1e-12, atol=1e-15, err_msg=name)


def test_one_traced_backward_serves_every_batch_size() -> None:
    """The batch size is symbolic: traced with 12 examples, right for 1 and for 100."""
    params, X, y = problem(12)
    bp = ut.backprop(two_layers("tanh"), params, X, y)
    for m in (1, 12, 100):
        _, X, y = problem(m, seed=m)
        wanted = hand_written_backward(X, y, *params, "tanh")
        gradient = bp.backward(bp.forward(params, X, y)[1])
        for g, name in zip(gradient, ("dW1", "db1", "dW2", "db2"), strict=True):
            np.testing.assert_allclose(g, wanted[name], rtol=1e-12, atol=1e-15)


def test_single_example_with_transposed_weights() -> None:
    """``np.dot(W1, x)`` with a vector x: the gradient equals the outer products of the lesson."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=4), rng.normal(size=2)
    W1, b1, W2, b2 = rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=(2, 6)), rng.normal(size=2)

    def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        return mse(y, forward(x, W1, b1, W2, b2))

    z1 = W1 @ x + b1
    h1 = np.maximum(0, z1)
    p = sigmoid(W2 @ h1 + b2)
    dz2 = 2 / 2 * (p - y) * p * (1 - p)  # the mean over two outputs carries 2 / 2
    dz1 = (W2.T @ dz2) * (z1 > 0)
    found = ut.grad(loss, wrt=(0, 1, 2, 3))(W1, b1, W2, b2)
    for g, wanted in zip(found, (np.outer(dz1, x), dz1, np.outer(dz2, h1), dz2), strict=True):
        np.testing.assert_allclose(g, wanted, rtol=1e-12)


def test_mean_squared_error_carries_two_over_n() -> None:
    """The gradient of (1/n) Σ (p − y)² is 2 (p − y) / n; the lesson's p − y belongs to ½ Σ (p − y)²."""
    p, y = np.array([0.2, 0.9, 0.4]), np.array([0.0, 1.0, 1.0])
    np.testing.assert_allclose(ut.grad(mse, wrt=1)(y, p), 2 * (p - y) / 3)
    np.testing.assert_allclose(ut.grad(lambda p: 0.5 * np.sum((p - y) ** 2))(p), p - y)


def test_binary_cross_entropy_with_a_sigmoid_is_p_minus_y() -> None:
    """One rule does not know the other's spelling: the algebra gives (p − y) / m, and it shows in the source."""
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=9), rng.integers(0, 2, 9).astype(float)

    def loss(z: Any, y: Any) -> Any:
        p = sigmoid(z)
        return binary_cross_entropy(y, p)

    bp = ut.backprop(loss, z, y)
    np.testing.assert_allclose(bp()[1], (sigmoid(z) - y) / 9, rtol=1e-12)
    assert "dz = (p - y) / 9" in bp.source


def test_training_by_the_lesson_learns_exclusive_or() -> None:
    """``train_batch`` with averaged gradients and W ← W − α ∂L/∂W learns what no single layer can."""
    X = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.array([[0.0], [1], [1], [0]])
    rng = np.random.default_rng(0)
    params = (rng.normal(size=(2, 8)), np.zeros(8), rng.normal(size=(8, 1)), np.zeros(1))

    def loss(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h1 = np.tanh(X @ W1 + b1)
        return binary_cross_entropy(y, sigmoid(h1 @ W2 + b2))

    def train_batch(params: Any, X: Any, y: Any, alpha: float) -> tuple[Any, Any]:
        value, gradients = ut.value_and_grad(loss)(params, X, y)
        return value, tuple(W - alpha * dW for W, dW in zip(params, gradients, strict=True))

    for _ in range(600):
        value, params = train_batch(params, X, y, 0.5)
    assert value < 0.05


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_naive_losses_stay_finite_at_extreme_logits(scale: float) -> None:
    """Written without any care, softmax and sigmoid losses are finite and right where exp overflows."""
    rng = np.random.default_rng(3)
    z, y = scale * rng.normal(size=(6, 4)), np.eye(4)[rng.integers(0, 4, 6)]

    def naive_softmax(z: Any, y: Any) -> Any:
        p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
        return -np.mean(np.sum(y * np.log(p), axis=1))

    def naive_sigmoid(z: Any, y: Any) -> Any:
        p = 1 / (1 + np.exp(-z))
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    with np.errstate(all="raise", under="ignore"):
        value, gradient = ut.backprop(naive_softmax, z, y)()
        np.testing.assert_allclose(gradient, (softmax(z) - y) / 6, rtol=1e-9, atol=1e-12)
        assert np.isfinite(value)
        value, gradient = ut.backprop(naive_sigmoid, z, y)()
        assert np.isfinite(value)
        np.testing.assert_allclose(gradient, (0.5 * (1 + np.tanh(z / 2)) - y) / 24, rtol=1e-9, atol=1e-12)
