"""A number that is an argument, used as a count: known where values are, and else an error that says how to bind it."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.arange(1.0, 9.0).reshape(4, 2)


def repeat(x: Any, n: Any) -> Any:
    for _ in range(n):
        x = x * 2
    return np.sum(x)


def head(x: Any, n: Any) -> Any:
    return np.sum(x[:n])


def zeros(x: Any, n: Any) -> Any:
    return np.sum(np.zeros(n) + np.sum(x))


def fold(x: Any, n: Any) -> Any:
    return np.sum(x.reshape(n, -1)[0])


@pytest.mark.parametrize("f", [repeat, head, zeros, fold])
@pytest.mark.parametrize("make", [ut.backprop, lambda f, *args: ut.compile(f)(*args)], ids=["backprop", "compile"])
def test_where_only_shapes_are_traced_it_is_named_with_the_way_to_bind_it(f: Any, make: Any) -> None:
    with pytest.raises(ut.ControlFlowError, match=r"n is an argument.*functools\.partial\(f, n=…\)"):
        make(f, X, 2)
    ut.backprop(functools.partial(f, n=2), X)  # the remedy
    np.testing.assert_allclose(ut.compile(functools.partial(f, n=2))(X), f(X, 2))


def test_with_values_it_is_a_number() -> None:
    np.testing.assert_allclose(ut.grad(repeat)(X, 2), np.full((4, 2), 4.0))
    np.testing.assert_allclose(ut.grad(head)(X, 2), [[1, 1], [1, 1], [0, 0], [0, 0]])


def test_a_branch_on_a_float_argument_is_told_to_be_a_choice() -> None:
    def loss(x: Any, rate: Any) -> Any:
        return np.sum(x) if rate > 0.5 else np.sum(x * x)

    with pytest.raises(ut.ControlFlowError, match=r"np\.where\(rate > 0\.5, np\.sum\(x\), np\.sum\(x \* x\)\)"):
        ut.compile(loss)(X, 0.7)


def test_a_batch_size_is_still_asked_for() -> None:
    def loss(x: Any, y: Any) -> Any:
        return np.sum(np.zeros(len(y)) + np.sum(x)) / float(len(y))

    np.testing.assert_allclose(ut.backprop(loss, X, np.ones(5))()[1], np.ones((4, 2)))


@pytest.mark.parametrize(
    ("f", "way"), [(lambda w: math.exp(w), r"np\.exp\(w\)`"), (lambda w: float(w) * 2, "w` itself")]
)
def test_a_number_that_is_computed_with_is_told_numpys_function(f: Any, way: str) -> None:
    """Bound before, as the counts of loops are to be, it would have no derivative."""
    with pytest.raises(ut.ControlFlowError, match=rf"the number of w is not known .*Write `{way}"):
        ut.backprop(f, 1.0)
