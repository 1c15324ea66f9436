"""Networks and losses as people write them in NumPy: values and gradients equal those of autograd, JAX and PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import undertow as ut
from networks import arguments, cases
from undertow import trees

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
