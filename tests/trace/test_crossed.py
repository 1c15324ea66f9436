"""Outputs (m, 1) beside targets (m,): the square that NumPy makes of them is told, and nothing else is."""

import warnings

import numpy as np
import pytest

import undertow as ut

X, Y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6.0)
P = (np.ones((4, 1)), np.zeros(1))


def column(params, X, y):
    W, b = params
    z = X @ W + b
    return np.mean((z - y) ** 2)


@pytest.mark.parametrize(
    "make", [lambda f, *args: ut.backprop(f, *args), lambda f, *args: ut.value_and_grad(f, compile=True)(*args)]
)
def test_a_target_that_spreads_the_output_to_a_square(make):
    told = r"^test_crossed.py:\d+: y is \(m,\), and z \(m, 1\): together they make \(m, m\), .* Write y\[:, None\];"
    with pytest.warns(UserWarning, match=told) as found:
        make(column, P, X, Y)
    assert found[0].filename == __file__
    with pytest.warns(UserWarning, match=r"weights is \(m,\), and what it meets \(m, 1\)"):
        make(lambda p, X, weights: np.mean(weights * (X @ p[0] + p[1]) ** 2), P, X, Y)


@pytest.mark.parametrize(
    "f",
    [
        lambda p, X, y: np.mean((X @ p[0] + p[1] - y[:, None]) ** 2),
        lambda p, X, y: np.mean((X @ p[0] + p[1] - y[None, :]) ** 2),  # all pairs are meant
        lambda p, X, y: np.mean(((X @ p[0])[:, 0] - y) ** 2),
        lambda p, X, y: np.sum(p[0]) * np.mean(np.exp(-((y[:, None] - y) ** 2))),  # distances of the data
        lambda p, X, y: np.mean((X @ p[0]) @ (X @ p[0]).T),
    ],
)
def test_what_is_no_slip_is_not_told(f):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.backprop(f, P, X, Y)
