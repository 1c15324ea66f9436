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
        return np.add(x, 1, out=x.copy())  # refused
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
        return np.add(x, 1, out=x.copy())
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
