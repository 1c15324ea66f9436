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


@pytest.mark.parametrize("make", [ut.value_and_grad, ut.grad])
def test_gradients_of_values_tell_it_too(make):
    """There the batch size is a number: the other data say that it is one of examples."""
    told = r"^column: y is \(6,\), and .* \(6, 1\): together they make \(6, 6\), .* Write y\[:, None\];"
    with pytest.warns(UserWarning, match=told) as found:
        made = make(column)(P, X, Y)
    assert found[0].filename == __file__ and len(found) == 1
    W, b = P
    pairs = (X @ W + b) - Y  # (6, 6), the gradient of what NumPy makes of it is what is returned
    gradient = made if make is ut.grad else made[1]
    np.testing.assert_allclose(gradient[1], [2 * pairs.mean()])


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (lambda p, y: np.mean((p - y) ** 2), (np.ones((6, 1)), Y)),  # no other data: all pairs of points and a grid
        (lambda p, X, y: np.mean((X @ p[0] + p[1] - y[:, None]) ** 2), (P, X, Y)),
        (lambda p, X, y: np.mean((X @ p[0] + p[1] - y[None, :]) ** 2), (P, X, Y)),
        (lambda p, X, y: np.mean(((X @ p[0])[:, 0] - y) ** 2), (P, X, Y)),
        (lambda p, X, c: np.mean((X @ p[0] - c) ** 2), (P, X, np.arange(5.0))),  # a fixed grid of another length
        (lambda p, X, y: np.mean((X @ p[0] + p[1] - y) ** 2), ((np.ones((4, 6)), np.ones(6)), X, np.ones(6))),
    ],
)
def test_gradients_of_values_tell_nothing_else(f, args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ut.value_and_grad(f)(*args)
        ut.hessian(f)(args[0], *args[1:]) if isinstance(args[0], np.ndarray) else ut.grad(f)(*args)


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
