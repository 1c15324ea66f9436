"""A gradient of 0 is told apart: of a function that is flat, at a corner, in a valley, and of rounding alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut


@pytest.mark.parametrize(
    ("f", "x", "flat"),
    [
        (lambda x: np.sum(np.abs(x)), 0.0, False),
        (lambda x: np.sum(x**4), 0.0, False),
        (lambda x: np.sum(np.maximum(x, 0)), -3.0, True),
        (lambda x: np.sum(np.sign(x)), 2.0, True),
    ],
    ids=["corner", "valley", "dead relu", "sign"],
)
def test_a_function_is_said_not_to_change_only_where_it_does_not(f: Any, x: float, flat: bool) -> None:
    report = ut.check_gradient(f, np.full(3, x))
    assert report
    assert ("does not change" in str(report)) == flat


def _sum_of_standardised(w: Any, X: Any) -> Any:
    """The sum of numbers whose mean was taken off: 0 whatever w is, but for rounding."""
    z = X @ w
    z = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
    return np.mean((z.sum(axis=1) - 1.0) ** 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_derivative_that_is_rounding_alone_is_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, X = rng.normal(size=(4, 4)), rng.normal(size=(16, 4))
    assert ut.check_gradient(_sum_of_standardised, w, X, raises=False)
    wrong = np.where(np.eye(4) > 0, 1e-11, 0.0)  # far below the value's digits by differences, far above rounding
    assert not ut.check_gradient(_sum_of_standardised, w, X, gradient=lambda w, X: wrong, raises=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_value_that_is_rounding_alone_has_no_slope(seed: int) -> None:
    """Where f itself is 0 but for rounding, differences are sure of slopes that there are not."""
    standardised = lambda x: np.sum((x - x.mean()) / x.std())
    x = np.random.default_rng(seed).normal(size=6)
    assert ut.check_gradient(standardised, x, raises=False)
    wrong = np.where(np.arange(6) == 3, 1e-11, 0.0)
    assert not ut.check_gradient(standardised, x, gradient=lambda x: wrong, raises=False)


def test_a_derivative_that_is_small_and_wrong_is_found_beside_a_large_value() -> None:
    """Neither the size of the value nor that of the other derivatives hides it: rounding does not reach it."""
    f = lambda x: 5.0 + 1e-17 * np.sum(x**2)
    assert ut.check_gradient(f, np.array([1.0, 2.0]))
    assert not ut.check_gradient(f, np.array([1.0, 2.0]), gradient=lambda x: 2.02e-17 * x, raises=False)


CANCEL: dict[str, Any] = {
    "a sum about its mean": (lambda w, X, c: np.sum(X @ w - (X @ w).mean()), "n"),
    "columns about their means": (lambda w, X, c: np.sum((X - X.mean(axis=0)) @ w), "n"),
    "there and back": (lambda w, X, c: np.sum(w) - np.sum(w[::-1]), "m"),
    "rows about their means": (lambda w, X, c: np.mean(w - w.mean(axis=1, keepdims=True)), "m, 3"),
    "differences around": (lambda w, X, c: np.sum(np.diff(np.concatenate([w, w[:1]]) * c.sum())), "m"),
    "two orders of a sum": (lambda w, X, c: (X @ w).sum() - np.sum(X.sum(axis=0) * w), "n"),
    "moved to the other factor": (lambda w, X, c: np.sum((w - w.mean()) * c) - np.sum(w * (c - c.mean())), "m"),
    "shares": (lambda w, X, c: np.sum(ut.softmax(w, axis=1)), "m, 3"),
}


@pytest.mark.parametrize("name", CANCEL)
@pytest.mark.parametrize("seed", range(6))
def test_a_linear_sum_whose_terms_cancel_is_right_and_a_derivative_beside_it_is_not(name: str, seed: int) -> None:
    """On paper the derivative is 0, and all that NumPy finds is rounding, by the size of the terms and not of the sum.

    1e-7 is a thousand times what rounding could be: n ε Σ |terms| (Higham 2002, eq. 4.4) is below 1e-10 here.
    """
    rng = np.random.default_rng([seed, len(name)])
    m, n = rng.integers(5, 40), rng.integers(2, 8)
    X = rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-3, 3) + rng.choice([0.0, 10.0])
    f, of = CANCEL[name]
    w, c = rng.normal(size={"n": (n,), "m": (m,), "m, 3": (m, 3)}[of]), rng.normal(size=m)
    assert ut.check_gradient(f, w, X, c, raises=False)
    wrong = np.zeros(w.shape)
    wrong.flat[rng.integers(w.size)] = 1e-7
    assert not ut.check_gradient(f, w, X, c, gradient=lambda *args: wrong, raises=False)
