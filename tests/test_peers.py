"""Networks and losses as people write them in NumPy: values and gradients equal those of autograd, JAX and PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

import undertow as ut
from undertow import trees

# ---- the ways people write -----------------------------------------------------------------------


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
        return ((h.dot(W2) + b2 - y) ** 2).sum() / (2 * X.shape[0])

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
        e = np.exp(np.einsum("bqd,bkd->bqk", Q, K) / 2)
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
    n = lambda *shape: rng.normal(size=shape) * 0.7  # noqa: E731
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


FUNCTIONS, ARGUMENTS = cases(numpy), arguments()
NAMES = sorted(FUNCTIONS)


def leaves_of(tree: Any) -> list[Any]:
    return [numpy.asarray(leaf) for leaf in trees.flatten(tree)[0]]


def by_leaves(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
    """Make a function of a flat list of arrays, the only trees that every library takes."""
    leaves, rebuild = trees.flatten(args[0])
    return lambda rows: f(rebuild(list(rows)), *args[1:]), list(leaves)


def assert_near(found: Any, wanted: Any, rtol: float = 1e-10) -> None:
    """Compare relative to each array's largest entry: what cancels to 1e-17 has no digits to compare."""
    found, wanted = leaves_of(found), leaves_of(wanted)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1e-3, float(numpy.max(numpy.abs(b), initial=0))))


def test_every_way_has_arguments() -> None:
    """A function without arguments would be left out of all comparisons."""
    assert set(FUNCTIONS) == set(ARGUMENTS)


# ---- first derivatives ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_those_of_autograd(name: str) -> None:
    """The engine, the simplified graph and the emitted module all give autograd's numbers, in the tree given."""
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    args = ARGUMENTS[name]
    f, leaves = by_leaves(cases(anp)[name], args)
    value, wanted = f(leaves), autograd.grad(f)(leaves)
    loss = FUNCTIONS[name]
    numpy.testing.assert_allclose(loss(*args), value, rtol=1e-12)

    gradient = ut.grad(loss)(*args)
    assert trees.same_structure(gradient, args[0])
    assert_near(gradient, wanted)

    bp = ut.backprop(loss, *args)
    found, gradient = bp()
    numpy.testing.assert_allclose(found, value, rtol=1e-10)
    assert trees.same_structure(gradient, args[0])
    assert_near(gradient, wanted)

    found, cache = bp.forward(*args)
    numpy.testing.assert_allclose(found, value, rtol=1e-10)
    assert_near(bp.backward(cache), wanted)


@contextlib.contextmanager
def double_precision_jax() -> Iterator[Any]:
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield jax
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", ["layer_norm_by_std", "unrolled_rnn", "picked_classes", "batched_attention", "gated"])
def test_gradient_equals_that_of_jax(name: str) -> None:
    """A second library, with rules of its own, agrees."""
    with double_precision_jax() as jax:
        import jax.numpy as jnp

        f, leaves = by_leaves(cases(jnp)[name], ARGUMENTS[name])
        wanted = jax.jit(jax.grad(f))([jnp.asarray(x) for x in leaves])
        assert_near(ut.grad(FUNCTIONS[name])(*ARGUMENTS[name]), [numpy.asarray(x) for x in wanted])


def torch_twins(torch: Any) -> dict[str, Callable[..., Any]]:
    """The same networks in PyTorch's own words: fused losses, its layer norm, its attention."""
    F = torch.nn.functional

    def softmax_naive(params: Any, X: Any, y: Any) -> Any:
        return F.cross_entropy(X @ params[0] + params[1], y)

    def layer_norm(params: Any, X: Any, y: Any) -> Any:
        W, b, gamma, beta, w = params
        return F.mse_loss(torch.tanh(F.layer_norm(X @ W + b, (4,), gamma, beta, 1e-5)) @ w, y)

    def attention(params: Any, X: Any, y: Any) -> Any:
        Wq, Wk, Wv = params
        return F.mse_loss(F.scaled_dot_product_attention((X @ Wq)[None], (X @ Wk)[None], (X @ Wv)[None])[0], y)

    def logistic_signs(w: Any, X: Any, y: Any) -> Any:
        return F.binary_cross_entropy_with_logits(X @ w[0], y, reduction="sum")

    def cosine_distance(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        return 1 - F.cosine_similarity(torch.tanh(X @ W1 + b1) @ W2 + b2, y, dim=-1).mean()

    return {name: f for name, f in locals().items() if name not in ("torch", "F")}


@pytest.mark.parametrize("name", ["softmax_naive", "layer_norm", "attention", "logistic_signs", "cosine_distance"])
def test_gradient_equals_that_of_torch(name: str) -> None:
    """PyTorch's fused functions agree with the same thing spelled out in NumPy."""
    torch = pytest.importorskip("torch")
    args = ARGUMENTS[name]
    leaves = [torch.tensor(x, requires_grad=True) for x in trees.flatten(args[0])[0]]
    torch_twins(torch)[name](leaves, *[torch.tensor(x) for x in args[1:]]).backward()
    assert_near(ut.backprop(FUNCTIONS[name], *args)()[1], [x.grad.numpy() for x in leaves])


# ---- higher derivatives --------------------------------------------------------------------------

SECOND = [
    "batch_rows", "column_examples", "weights_used_twice", "residual", "layer_norm", "unrolled_rnn", "softmax_shifted",
    "log_sum_exp", "attention", "gated", "logistic_signs", "mixture_likelihood", "cosine_distance", "data_classes",
]  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_second_order_equals_that_of_autograd(name: str) -> None:
    """The gradient of the gradient's squared length agrees: derivatives can be differentiated again."""
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    args = ARGUMENTS[name]
    f, leaves = by_leaves(cases(anp)[name], args)
    wanted = autograd.grad(lambda rows: sum(anp.sum(g**2) for g in autograd.grad(f)(rows)))(leaves)

    def squared(params: Any) -> Any:
        return sum(numpy.sum(g**2) for g in trees.flatten(ut.grad(FUNCTIONS[name])(params, *args[1:]))[0])

    assert_near(ut.grad(squared)(args[0]), wanted, rtol=1e-9)
    assert_near(ut.backprop(squared, args[0])()[1], wanted, rtol=1e-9)


def scalars(np: Any) -> dict[str, Callable[[Any], Any]]:
    """Smooth functions of one number."""
    return {
        "power": lambda x: x**5 - 2 * x**3,
        "tanh": lambda x: np.tanh(2 * x) * x,
        "sigmoid": lambda x: 1 / (1 + np.exp(-3 * x)),
        "softplus": lambda x: np.log(1 + np.exp(x)),
        "normal": lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi),
        "sqrt": lambda x: np.sqrt(x * x + 1),
        "trigonometric": lambda x: np.sin(x) * np.cos(2 * x) / (1 + x**2),
        "logarithm": lambda x: np.log(x + 3) / (x + 2),
        "softmax": lambda x: np.exp(x) / (np.exp(x) + np.exp(2 * x)),
    }


@pytest.mark.parametrize("name", sorted(scalars(numpy)))
def test_third_order_equals_that_of_autograd(name: str) -> None:
    """grad(grad(grad(f))) agrees to nine digits at several points."""
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    f, g = scalars(numpy)[name], scalars(anp)[name]
    for x in (-1.3, -0.2, 0.4, 1.7):
        wanted = autograd.grad(autograd.grad(autograd.grad(g)))(x)
        assert ut.grad(ut.grad(ut.grad(f)))(x) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


FLOAT64_BY_NUMPY = ("unrolled_rnn", "rnn_every_state", "attention", "gaussian_likelihood", "student_likelihood")

# ---- float32 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32(name: str) -> None:
    """Values have the dtype that NumPy gives them, gradients that of their parameter, and both stay close."""
    small = tuple(
        trees.map_leaves(lambda x: x.astype(numpy.float32) if isinstance(x, numpy.ndarray) else x, arg)
        for arg in ARGUMENTS[name]
    )
    loss = FUNCTIONS[name]
    dtype = numpy.asarray(loss(*small)).dtype  # np.zeros((m, n)) and np.sqrt(4.0) are float64, in NumPy as well
    assert dtype == numpy.float32 or name in FLOAT64_BY_NUMPY
    double = ut.grad(loss)(*ARGUMENTS[name])
    bp = ut.backprop(loss, *small)
    value, cache = bp.forward(*small)
    for v, gradient in (ut.value_and_grad(loss)(*small), bp(), (value, bp.backward(cache))):
        assert numpy.asarray(v).dtype == dtype
        for g, x, d in zip(*(trees.flatten(t)[0] for t in (gradient, small[0], double)), strict=True):
            if isinstance(x, numpy.ndarray):
                assert g.dtype == numpy.float32
            scale = max(1.0, float(numpy.max(numpy.abs(d))))
            numpy.testing.assert_allclose(g, d, rtol=2e-4, atol=2e-5 * scale)
