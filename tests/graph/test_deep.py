"""Graphs deeper than Python's recursion limit: every pass walks a chain of 20,000 operations."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import undertow as ut

N = 20_000
X = np.array([0.5, -1.0, 0.0])


def chain(x: Any, n: int = N) -> Any:
    """Add a little, squash, and again: n operations on one value, and a sum."""
    h = x
    for _ in range(n // 2):
        h = h + 0.001
        h = np.tanh(h)
    return np.sum(h)


def chain_by_hand(x: Any, n: int = N) -> tuple[Any, Any]:
    """The value and the product of the slopes 1 − h²."""
    h, slope = x, np.ones_like(x)
    for _ in range(n // 2):
        h = np.tanh(h + 0.001)
        slope = slope * (1 - h**2)
    return np.sum(h), slope


@pytest.fixture(autouse=True)
def usual_recursion_limit() -> None:
    assert sys.getrecursionlimit() < N // 4


def test_grad_of_a_chain() -> None:
    """ut.value_and_grad equals the product of the slopes, computed by hand."""
    value, gradient = ut.value_and_grad(chain)(X)
    wanted, slope = chain_by_hand(X)
    assert value == wanted
    np.testing.assert_allclose(gradient, slope, rtol=1e-9)


def test_grad_of_grad_of_a_chain() -> None:
    """The second derivative of a chain of 5,000 operations equals differences of the first, by hand."""
    short = lambda x: chain(x, 5000)
    second = ut.grad(lambda x: np.sum(ut.grad(short)(x)))(X)
    h = 1e-5
    wanted = (chain_by_hand(X + h, 5000)[1] - chain_by_hand(X - h, 5000)[1]) / (2 * h)
    np.testing.assert_allclose(second, wanted, rtol=1e-6, atol=1e-12)


def test_a_sum_of_many_terms() -> None:
    """One value used 20,000 times: all the contributions arrive."""

    def many(x: Any) -> Any:
        total = 0.0
        for k in range(N // 2):
            total = total + x * (k % 7)
        return total

    assert ut.grad(many)(2.0) == sum(k % 7 for k in range(N // 2))


def test_a_chain_of_writes_in_place() -> None:
    """x += v, ten thousand times over, keeps no stack either."""

    def f(x: Any) -> Any:
        y = x * 1.0
        for _ in range(N // 2):
            y *= 1.0001
        return np.sum(y)

    np.testing.assert_allclose(ut.grad(f)(X), np.full(3, 1.0001 ** (N // 2)), rtol=1e-9)


@pytest.mark.slow
def test_backprop_source_and_derivation_of_a_chain() -> None:
    """Tracing, simplifying, writing source, executing it and telling the derivation all stand 20,000 operations."""
    bp = ut.backprop(chain, X)
    wanted, slope = chain_by_hand(X)
    value, gradient = bp()
    assert value == wanted
    np.testing.assert_allclose(gradient, slope, rtol=1e-9)

    module: dict[str, Any] = {}
    exec(compile(bp.source, "chain", "exec"), module)
    loss, cache = module["forward"](X)
    assert loss == wanted
    np.testing.assert_allclose(module["backward"](cache), slope, rtol=1e-9)

    assert bp.derivation().count("\n") > N
    assert str(bp.graph).count("\n") > N


@pytest.mark.parametrize("step", ["add", "multiply", "tanh", "where"])
def test_a_chain_of_one_operation_through_every_pass(step: str) -> None:
    """1,100 equal steps (deeper than the recursion limit) come through backprop, its source and its derivation."""
    steps = {
        "add": (lambda h: h + 0.25, lambda x: np.ones(3)),
        "multiply": (lambda h: h * 1.001, lambda x: np.full(3, 1.001**1100)),
        "tanh": (np.tanh, lambda x: tanh_slope(x)),
        "where": (lambda h: np.where(h > 0, h * 0.999, h), lambda x: np.where(x > 0, 0.999**1100, 1.0)),
    }
    apply, slope = steps[step]

    def tanh_slope(x: Any) -> Any:
        total = np.ones(3)
        for _ in range(1100):
            x = np.tanh(x)
            total = total * (1 - x**2)
        return total

    def f(x: Any) -> Any:
        h = x
        for _ in range(1100):
            h = apply(h)
        return np.sum(h)

    bp = ut.backprop(f, X)
    np.testing.assert_allclose(bp()[1], slope(X), rtol=1e-9)
    np.testing.assert_allclose(bp.backward(bp.forward(X)[1]), slope(X), rtol=1e-9)
    assert "∂" in bp.derivation()
