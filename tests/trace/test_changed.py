"""A program never writes to its arguments: a function that does so in NumPy is told that this is lost."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.random.default_rng(0).normal(size=(6, 3))
WRITTEN = "changes its argument {} in place.*leaves its arguments as they are.*Return the new values"


def loss(params: Any, X: Any) -> Any:
    return np.mean((X @ params["W"] + params["b"]) ** 2)


def step_by_keys(params: Any, X: Any) -> Any:
    value, gradient = ut.value_and_grad(loss)(params, X)
    for name in params:
        params[name] -= 0.1 * gradient[name]
    return value


def step_by_slices(W: Any, X: Any) -> Any:
    W[:] = W - 0.1 * ut.grad(lambda W: np.mean((X @ W) ** 2))(W)
    return np.sum(W)


def first_row(W: Any, X: Any) -> Any:
    row = W[0]
    row += 1.0
    return np.sum(X @ W)


def new_key(params: Any, X: Any) -> Any:
    params["seen"] = np.sum(X)
    return loss(params, X)


@pytest.mark.parametrize(
    ("f", "leaf"),
    [(step_by_keys, r"params\['W'\] and 1 more"), (step_by_slices, "W"), (first_row, "W"), (new_key, "params")],
)
def test_a_change_of_an_argument_that_a_program_cannot_make_is_told_with_the_line_and_the_remedy(
    f: Any, leaf: str
) -> None:
    W: Any = np.ones((3, 2))
    params: Any = W if f in (step_by_slices, first_row) else {"W": W, "b": np.zeros(2)}
    with pytest.warns(UserWarning, match=WRITTEN.format(leaf)) as told:
        ut.compile(f)(params, X)
    assert [(x.filename, x.lineno) for x in told] == [(__file__, f.__code__.co_firstlineno)]
    assert np.all(W == 1)


def test_the_remedy_of_the_warning_trains() -> None:
    def step(params: Any, X: Any) -> Any:
        value, gradient = ut.value_and_grad(loss)(params, X)
        for name in params:
            params[name] -= 0.1 * gradient[name]
        return value, params

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled, plain = ut.compile(step), {"W": np.ones((3, 2)), "b": np.zeros(2)}
        params: Any = {name: x.copy() for name, x in plain.items()}
        for _ in range(5):
            value, params = compiled(params, X)
            expected, plain = step(plain, X)
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(params["W"], plain["W"])


def test_nothing_is_told_of_a_copy_or_of_a_name_that_is_given_another_value() -> None:
    def f(W: Any, X: Any) -> Any:
        V = W.copy()
        V[0] = 0.0
        W = W * 2
        total = np.sum(W)
        total += np.sum(V)
        return total

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.compile(f)(np.ones((3, 2)), X)
        ut.backprop(f, np.ones((3, 2)), X)
