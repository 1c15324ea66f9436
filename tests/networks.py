"""Networks and likelihoods as people write them in NumPy, with arguments: what the comparisons with peers run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy


@dataclass
class Layer:
    """A layer's parameters as a class of the user's own."""

    W: Any
    b: Any
    name: str = "dense"


def cases(np: Any) -> dict[str, Callable[..., Any]]:
    """Every way, written against a NumPy: NumPy itself for Undertow, a peer's for the peer."""

    def batch_rows(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h1 = np.tanh(X @ W1 + b1)
        p = h1 @ W2 + b2
        return np.mean((p - y) ** 2)

    def single_example(params: Any, x: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h = np.tanh(np.dot(x, W1) + b1)
        return 0.5 * np.sum((np.dot(h, W2) + b2 - y) ** 2)

    def column_examples(params: Any, X: Any, Y: Any) -> Any:
        W1, b1, W2, b2 = params
        A1 = np.tanh(np.dot(W1, X) + b1)
        A2 = 1 / (1 + np.exp(-(np.dot(W2, A1) + b2)))
        m = X.shape[1]
        return -(1 / m) * np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2))

    def method_dot(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h = np.maximum(np.dot(X, W1) + b1, 0.0)
        return ((np.dot(h, W2) + b2 - y) ** 2).sum() / (2 * X.shape[0])

    def torch_layout(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h = np.tanh(X @ W1.T + b1)
        return np.mean(np.square(h @ np.transpose(W2) + b2 - y))

    def loop_over_layers(params: Any, X: Any, y: Any) -> Any:
        h = X
        for W, b in params[:-1]:
            h = np.tanh(h @ W + b)
        W, b = params[-1]
        return np.mean((h @ W + b - y) ** 2)

    def nested_five_deep(params: Any, X: Any, y: Any) -> Any:
        enc = params["model"]["encoder"]["blocks"][0]["dense"]
        dec = params["model"]["decoder"]
        h = np.tanh(X @ enc["W"] + enc["b"])
        return np.mean((h @ dec[0] + dec[1] - y) ** 2) * params["scale"]

    def data_classes(params: Any, X: Any, y: Any) -> Any:
        h = X
        for layer in params[:-1]:
            h = np.tanh(h @ layer.W + layer.b)
        return np.mean((h @ params[-1].W + params[-1].b - y) ** 2)

    def weights_used_twice(params: Any, X: Any, _: Any) -> Any:
        W, b, c = params
        h = np.tanh(X @ W + b)
        return np.mean(np.sum((h @ W.T + c - X) ** 2, axis=1))

    def residual(params: Any, X: Any, y: Any) -> Any:
        h = X
        for W, b in params:
            h = h + np.tanh(h @ W + b)
        return np.mean((np.sum(h, axis=1) - y[:, 0]) ** 2)

    def residual_in_place(params: Any, X: Any, y: Any) -> Any:
        h = X * 1.0
        for W, b in params:
            h = h + np.tanh(h @ W + b)
        return np.mean(np.abs(h.mean(axis=-1) - y[:, 0]) ** 3)

    def layer_norm(params: Any, X: Any, y: Any) -> Any:
        W, b, gamma, beta, w = params
        z = X @ W + b
        mu = z.mean(axis=-1, keepdims=True)
        var = ((z - mu) ** 2).mean(axis=-1, keepdims=True)
        h = np.tanh(gamma * (z - mu) / np.sqrt(var + 1e-5) + beta)
        return np.mean((h @ w - y) ** 2)

    def layer_norm_by_std(params: Any, X: Any, y: Any) -> Any:
        W, b, gamma, beta, w = params
        z = X @ W + b
        h = gamma * (z - np.mean(z, axis=1)[:, None]) / (np.std(z, axis=1)[:, None] + 1e-5) + beta
        return np.mean((np.tanh(h) @ w - y) ** 2)

    def unrolled_rnn(params: Any, X: Any, y: Any) -> Any:
        Wx, Wh, b, wo = params
        h = np.zeros((X.shape[0], 4))
        for t in range(5):
            h = np.tanh(X[:, t, :] @ Wx + h @ Wh + b)
        return np.mean((h @ wo - y) ** 2)

    def rnn_every_state(params: Any, X: Any, y: Any) -> Any:
        Wx, Wh, b, wo = params
        h = np.zeros((3, 4))
        states = []
        for t in range(5):
            h = np.tanh(np.dot(X[:, t], Wx) + np.dot(h, Wh) + b)
            states.append(h)
        return np.sum((np.stack(states, axis=1) @ wo - y[:, None]) ** 2) / 15

    def logistic_regression(w: Any, X: Any, y: Any) -> Any:
        p = 1.0 / (1.0 + np.exp(-np.dot(X, w)))
        return -np.mean(y * np.log(p) + (1.0 - y) * np.log(1.0 - p)) + 0.01 * np.sum(w**2)

    def logistic_signs(w: Any, X: Any, y: Any) -> Any:
        return np.sum(np.log1p(np.exp(-(2 * y - 1) * (X @ w))))

    def label_probabilities(w: Any, X: Any, y: Any) -> Any:
        preds = 0.5 * (np.tanh(X @ w / 2) + 1)
        return -np.sum(np.log(preds * y + (1 - preds) * (1 - y)))

    def gaussian_likelihood(params: Any, X: Any, _: Any) -> Any:
        mu, log_sigma = params
        return np.sum(0.5 * ((X - mu) / np.exp(log_sigma)) ** 2 + log_sigma + 0.5 * np.log(2 * np.pi))

    def poisson_likelihood(w: Any, X: Any, y: Any) -> Any:
        eta = X @ w
        return np.mean(np.exp(eta) - y * eta)

    def student_likelihood(params: Any, X: Any, y: Any) -> Any:
        w, log_s, nu = params
        r = (y - X @ w) / np.exp(log_s)
        return np.sum(0.5 * (nu + 1) * np.log(1 + r * r / nu)) + len(y) * log_s

    def mixture_likelihood(params: Any, X: Any, _: Any) -> Any:
        mu, log_sigma = params
        a = -0.5 * ((X[:, 0][:, None] - mu) / np.exp(log_sigma)) ** 2 - log_sigma
        top = np.max(a, axis=1, keepdims=True)
        return -np.mean(np.log(np.sum(np.exp(a - top), axis=1)) + top[:, 0])

    def softmax_naive(params: Any, X: Any, y: Any) -> Any:
        W, b = params
        e = np.exp(X @ W + b)
        p = e / np.sum(e, axis=1, keepdims=True)
        return -np.sum(y * np.log(p)) / X.shape[0]

    def softmax_shifted(params: Any, X: Any, y: Any) -> Any:
        W, b = params
        z = X @ W + b
        e = np.exp(z - np.max(z, axis=1, keepdims=True))
        return -np.mean(np.sum(y * np.log(e / e.sum(axis=1, keepdims=True)), axis=1))

    def log_sum_exp(params: Any, X: Any, y: Any) -> Any:
        W, b = params
        z = X @ W + b
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(y * z, axis=1))

    def picked_classes(params: Any, X: Any, y: Any) -> Any:
        W, b = params
        z = X @ W + b
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return -np.mean(log_p[numpy.arange(6), numpy.array([0, 2, 1, 1, 0, 2])])

    def attention(params: Any, X: Any, y: Any) -> Any:
        Wq, Wk, Wv = params
        Q, K, V = X @ Wq, X @ Wk, X @ Wv
        scores = Q @ K.T / np.sqrt(4.0)
        e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        return np.mean((e / np.sum(e, axis=-1, keepdims=True) @ V - y) ** 2)

    def batched_attention(params: Any, X: Any, y: Any) -> Any:
        Wq, Wk, Wv = params
        Q, K, V = X @ Wq, X @ Wk, X @ Wv
        e = np.exp(np.matmul(Q, np.swapaxes(K, 1, 2)) / 2)
        A = e / e.sum(-1, keepdims=True)
        return np.mean((np.matmul(A, V).mean(axis=1) - y) ** 2)

    def gated(params: Any, X: Any, y: Any) -> Any:
        Wg, Wv, wo = params
        g = 1 / (1 + np.exp(-(X @ Wg)))
        h = g * np.tanh(X @ Wv) + (1 - g) * np.sin(X @ Wv)
        return np.mean(np.where(h > 0, h, 0.1 * (np.exp(h) - 1)) @ wo * y)

    def concatenated(params: Any, X: Any, y: Any) -> Any:
        W1, W2, w = params
        h = np.concatenate([np.tanh(X @ W1), np.maximum(0, X @ W2), X[:, :1]], axis=1)
        return np.mean((np.reshape(h, (-1, h.shape[1])) @ w - y) ** 2)

    def penalised(params: Any, X: Any, y: Any) -> Any:
        w, b = params
        r = X @ w + b - y
        huber = np.where(np.abs(r) < 0.5, 0.5 * r**2, 0.5 * (np.abs(r) - 0.25))
        return np.mean(huber) + 0.1 * np.sum(np.abs(w)) + 0.2 * np.sqrt(np.sum(w * w)) + 0.01 * b**2

    def cosine_distance(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        p = np.tanh(X @ W1 + b1) @ W2 + b2
        top = np.sum(p * y, axis=-1)
        return 1 - np.mean(top / (np.linalg.norm(p, axis=-1) * np.sqrt(np.sum(y**2, axis=-1))))

    found = dict(locals())
    return {name: f for name, f in found.items() if name != "np"}


def arguments() -> dict[str, tuple[Any, ...]]:
    """Give each function its arguments."""
    rng = numpy.random.default_rng(11)
    n = lambda *shape: rng.normal(size=shape) * 0.7
    mlp = (n(5, 4), n(4), n(4, 3), n(3))
    X, Y = n(6, 5), n(6, 3)
    signs = (rng.random(6) > 0.5).astype(float)
    one_hot = numpy.eye(3)[[0, 2, 1, 1, 0, 2]]
    norm = (n(5, 4), n(4), n(4), n(4), n(4, 3))
    rnn = (n(2, 4), n(4, 4), n(4), n(4))
    nested = {
        "model": {"encoder": {"blocks": [{"dense": {"W": n(5, 4), "b": n(4)}}]}, "decoder": (n(4, 3), n(3))},
        "scale": 1.5,
    }
    linear = (n(5, 3), n(3))
    heads = (n(5, 4), n(5, 4), n(5, 3))
    return {
        "batch_rows": (mlp, X, Y),
        "single_example": (mlp, X[0], Y[0]),
        "column_examples": ((n(4, 5), n(4, 1), n(1, 4), n(1, 1)), X.T.copy(), signs[None]),
        "method_dot": (mlp, X, Y),
        "torch_layout": ((n(4, 5), n(4), n(3, 4), n(3)), X, Y),
        "loop_over_layers": ([(n(5, 4), n(4)), (n(4, 4), n(4)), (n(4, 3), n(3))], X, Y),
        "nested_five_deep": (nested, X, Y),
        "data_classes": ([Layer(n(5, 4), n(4)), Layer(n(4, 3), n(3), name="out")], X, Y),
        "weights_used_twice": ((n(5, 4), n(4), n(5)), X, Y),
        "residual": ([(n(5, 5), n(5)) for _ in range(3)], X, Y),
        "residual_in_place": ([(n(5, 5), n(5)) for _ in range(3)], X, Y),
        "layer_norm": (norm, X, Y),
        "layer_norm_by_std": (norm, X, Y),
        "unrolled_rnn": (rnn, n(3, 5, 2), n(3)),
        "rnn_every_state": (rnn, n(3, 5, 2), n(3)),
        "logistic_regression": (n(5), X, signs),
        "logistic_signs": (n(5), X, signs),
        "label_probabilities": (n(5), X, signs),
        "gaussian_likelihood": ((n(5), n(5)), X, None),
        "poisson_likelihood": (n(5), X, numpy.array([0.0, 2, 1, 0, 3, 1])),
        "student_likelihood": ((n(5), 0.3, 4.0), X, n(6)),
        "mixture_likelihood": ((n(3), n(3)), X, None),
        "softmax_naive": (linear, X, one_hot),
        "softmax_shifted": (linear, X, one_hot),
        "log_sum_exp": (linear, X, one_hot),
        "picked_classes": (linear, X, None),
        "attention": (heads, X, Y),
        "batched_attention": (heads, n(2, 6, 5), n(2, 3)),
        "gated": ((n(5, 4), n(5, 4), n(4)), X, n(6)),
        "concatenated": ((n(5, 3), n(5, 2), n(6, 3)), X, Y),
        "penalised": ((n(5), 0.4), X, n(6)),
        "cosine_distance": (mlp, X, Y),
    }
