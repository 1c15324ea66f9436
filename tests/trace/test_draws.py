"""Random numbers of a function that is traced are constants of its program: the same at each call, and that is told."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import undertow as ut

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(4, 3))


def of_numpy(W: Any) -> Any:
    return np.sum(X @ W * np.random.random((4, 2)))


def of_a_global_generator(W: Any) -> Any:
    return np.sum(X @ W * GENERATOR.random((4, 2)))


def of_a_closure() -> Any:
    generator = np.random.default_rng(1)
    return lambda W: np.sum(X @ W * generator.random((4, 2)))


def dropout(W: Any, X: Any) -> Any:
    return np.mean(X * (GENERATOR.random(X.shape) > 0.5) @ W)


@pytest.mark.parametrize("f", [of_numpy, of_a_global_generator, of_a_closure()], ids=["numpy", "global", "closure"])
def test_what_is_drawn_while_tracing_is_told_with_the_line_and_the_remedy(f: Any) -> None:
    W = np.ones((3, 2))
    for make in (lambda: ut.value_and_grad(f, compile=True)(W), lambda: ut.compile(f)(W), lambda: ut.backprop(f, W)):
        with pytest.warns(
            UserWarning, match="draws random numbers.*the same at each call.*pass them as an arg"
        ) as told:
            make()
        assert [warning.filename for warning in told] == [__file__]
        assert told[0].lineno == f.__code__.co_firstlineno


def test_a_mask_as_large_as_the_batch_is_told_once() -> None:
    with pytest.warns(UserWarning, match="dropout draws random numbers") as told:
        ut.backprop(dropout, np.ones((3, 2)), X)
    assert len(told) == 1


def test_nothing_is_told_where_every_call_draws_anew_or_nothing_is_drawn() -> None:
    def given(W: Any, noise: Any) -> Any:
        return np.sum(X @ W * noise)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (ut.value_and_grad(of_a_global_generator)(np.ones((3, 2)))[0] for _ in range(2))
        assert first != second
        step = ut.value_and_grad(given, compile=True)
        values = {float(step(np.ones((3, 2)), GENERATOR.random((4, 2)))[0]) for _ in range(3)}
    assert len(values) == 3
