"""A NumPy function inside PyTorch and JAX: their own gradient checks, first and second order, under jit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut


def f(p: Any, x: Any) -> Any:
    return {"o": np.sum(np.tanh(p["w"] @ x)), "v": x * p["b"]}


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyTorch or JAX: one error that says how to install it."""
    for name, bridge in (("torch", ut.to_torch), ("jax", ut.to_jax)):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(ut.ArgumentError, match=f"{name} is not installed"):
            bridge(np.sin)


def test_pytorchs_own_checks_pass() -> None:
    """torch.autograd.gradcheck and gradgradcheck, which compare with differences."""
    torch = pytest.importorskip("torch")
    bridged = ut.to_torch(f)
    torch.manual_seed(0)
    w = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    call = lambda w, b, x: tuple(bridged({"w": w, "b": b}, x).values())
    assert torch.autograd.gradcheck(call, (w, b, x))
    assert torch.autograd.gradgradcheck(call, (w, b, x))


def test_jaxs_gradients_agree() -> None:
    """Under jit, first and second order, equal to the same function in JAX's NumPy."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    bridged = ut.to_jax(f)
    rng = np.random.default_rng(0)
    args = [rng.normal(size=(3, 3)).astype(np.float32), np.float32(2.0), rng.normal(size=3).astype(np.float32)]

    def ours(w: Any, b: Any, x: Any) -> Any:
        out = bridged({"w": w, "b": b}, x)
        return out["o"] + jnp.sum(out["v"] ** 2)

    def theirs(w: Any, b: Any, x: Any) -> Any:
        return jnp.sum(jnp.tanh(w @ x)) + jnp.sum((x * b) ** 2)

    for a, c in zip(jax.jit(jax.grad(ours, (0, 1, 2)))(*args), jax.grad(theirs, (0, 1, 2))(*args), strict=True):
        np.testing.assert_allclose(a, c, rtol=2e-5)
    second = jax.jacrev(jax.grad(ours, 2), 2)(*args)
    np.testing.assert_allclose(second, jax.hessian(theirs, 2)(*args), rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(
        jax.grad(ut.to_jax(lambda x, i: np.sum(x[i])))(jnp.ones(3), jnp.array([0, 0])), [2, 0, 0]
    )
