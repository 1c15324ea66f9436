"""A function that catches what a trace refuses goes another way than with NumPy: it is told, at the line."""

import contextlib
import inspect
import warnings

import numpy as np
import pytest

import undertow as ut

X = np.arange(6.0).reshape(2, 3)


def fourier(x):
    try:
        return np.abs(np.fft.fft(x))  # refused
    except Exception:
        return x * 3


def plain(x):
    try:
        return np.array(x) * 2  # refused
    except RuntimeError:
        return x * 3


def suppressed(x):
    with contextlib.suppress(Exception):
        return np.add(x, 1, casting="unsafe")  # refused
    return x * 3


def branch(x):
    try:
        if x[0, 0] > 1:  # refused
            return x
        return -x
    except TypeError:
        return x * 3


def line_of(f):
    lines, first = inspect.getsourcelines(f)
    return first + next(i for i, line in enumerate(lines) if "# refused" in line)


def ways(f):
    yield ut.compile(f)
    yield ut.value_and_grad(lambda x: np.sum(f(x)), compile=True)
    if f is not branch:  # values are known there
        yield ut.grad(lambda x: np.sum(f(x)))


@pytest.mark.parametrize("f", [fourier, plain, suppressed, branch])
def test_what_is_caught_is_told(f):
    for way in ways(f):
        with pytest.warns(UserWarning, match=f"{f.__name__} catches .*goes another way than with NumPy") as told:
            way(X)
        assert {(w.filename, w.lineno) for w in told} == {(__file__, line_of(f))}


def own_error(x):
    try:
        return np.add(x, 1, casting="unsafe")
    except ut.UnsupportedError:
        return x + 1


def numpys_error(x):
    try:
        return x @ np.ones(7)
    except ValueError:
        return x * 2


def attribute(x):
    return x * 2 if hasattr(x, "no_such_thing") else x + 2


@pytest.mark.parametrize("f", [own_error, numpys_error, attribute])
def test_who_asks_for_it_and_who_catches_numpys_errors_is_told_nothing(f):
    for way in ways(f):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            way(X)
    np.testing.assert_array_equal(ut.compile(f)(X), f(X.copy()))


def test_what_comes_out_is_an_error_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ut.UnsupportedError, match="fft"):
            ut.compile(lambda x: np.fft.fft(x))(X)


def row_by_row(w, X):
    try:
        return sum(X[i] @ w for i in range(len(X)))
    except Exception:
        return 100 * np.sum(X @ w)


def by_rows(w, X):
    try:
        count = int(len(X) * 1.0)
    except Exception:
        count = 100
    return np.sum(X @ w) / count


def a_weight_a_row(w, X):
    try:
        return np.sum((X[:, 0] * w[:1] + X[:, 1]) * np.ones(4))
    except ValueError:
        return 100 * np.sum(w)


def an_error_that_is_named(w, X):
    try:
        return np.sum(X.reshape(2, -1) ** 2) * np.sum(w)
    except ut.UndertowError:
        return 100 * np.sum(w)


@pytest.mark.parametrize("f", [row_by_row, by_rows, a_weight_a_row, an_error_that_is_named])
def test_a_size_that_is_not_known_yet_is_caught_by_nobody(f):
    """The gradient is that of plain NumPy, by differences of what is linear."""
    w, X = np.array([1.0, -2.0, 0.5]), np.arange(12.0).reshape(4, 3)
    wanted = [f(w + unit, X) - f(w, X) for unit in np.eye(3)]
    for gradient in (
        lambda: ut.backprop(f, w, X)()[1],
        lambda: ut.value_and_grad(f, compile=True)(w, X)[1],
        lambda: ut.grad(f)(w, X),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(gradient(), wanted, rtol=1e-12)


def test_a_size_that_is_not_known_yet_is_caught_within_another_trace_by_nobody():
    w, X = np.array([1.0, -2.0, 0.5]), np.arange(12.0).reshape(4, 3)
    inner = ut.backprop(lambda v: ut.backprop(row_by_row, w, X)()[1] @ v, w)
    np.testing.assert_allclose(inner()[1], X.sum(axis=0), rtol=1e-12)
