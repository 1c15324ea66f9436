"""Code that asks what it was given, by isinstance and its kin, goes the way that it goes with NumPy."""

import copy
import functools
import numbers

import numpy as np
import pytest

import undertow as ut

X = np.arange(6.0).reshape(2, 3)


@functools.singledispatch
def kind(x):
    return x * 2


@kind.register(np.ndarray)
def _(x):
    return x * 3


@kind.register(float)
def _(x):
    return x * 5


def matched(x):
    match x:
        case np.ndarray():
            return x * 3
        case float() | np.floating():
            return x * 5
        case _:
            return x


ASKED = {
    "an array": lambda x: x * 2 if isinstance(x, np.ndarray) else x * 3,
    "a float": lambda x: x * 2 if isinstance(x, float) else x * 3,
    "NumPy's number": lambda x: x * 2 if isinstance(x, np.floating) else x * 3,
    "an int": lambda x: x * 2.5 if isinstance(x, int) else x * 3.5,
    "one of several": lambda x: x * 2 if isinstance(x, int | float) else x * 3,
    "a list": lambda x: x * 2 if isinstance(x, list | tuple) else x * 3,
    "an abstract number": lambda x: x * 2 if isinstance(x, numbers.Number) else x * 3,
    "np.isscalar": lambda x: x * 2 if np.isscalar(x) else x * 3,
    "what a sum is": lambda x: x * 2 if isinstance(np.sum(x), np.ndarray) else x * 3,
    "what a size is": lambda x: x * 2 if isinstance(np.shape(x * 1)[0] if np.ndim(x) else 1, int) else x * 3,
    "singledispatch": lambda x: kind(x),
    "match": matched,
}
GIVEN = {
    "matrix": X,
    "float32 vector": X[0].astype(np.float32),
    "0-d": np.array(1.5),
    "float": 1.5,
    "float64": np.float64(1.5),
    "float32": np.float32(1.5),
    "int": 3,
    "integers": np.arange(3),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("asked", ASKED)
def test_the_class_of_a_traced_value_is_that_of_numpys(asked, given):
    f, x = ASKED[asked], GIVEN[given]
    np.testing.assert_allclose(ut.compile(f)(x), f(x), rtol=1e-6)
    if np.asarray(x).dtype.kind == "f":
        g = lambda x: np.sum(f(x) * 1.0)
        slope = f(np.ones_like(x) if isinstance(x, np.ndarray) else type(x)(1))  # of what is linear
        np.testing.assert_allclose(ut.grad(g)(x), slope, rtol=1e-6)
        np.testing.assert_allclose(ut.backprop(g, x)()[1], slope, rtol=1e-6)
        np.testing.assert_allclose(ut.value_and_grad(g, compile=True)(x)[1], slope, rtol=1e-6)


def test_the_class_of_whole_numbers_and_of_elements_is_that_of_numpys():
    def f(w, n, labels):
        assert isinstance(n, int) and not isinstance(n, float | np.ndarray)
        assert isinstance(labels, np.ndarray) and isinstance(labels[0], np.int64 | np.ndarray)
        assert isinstance(w[0], np.float32) and not isinstance(w[0], float)
        return np.sum(w * labels) * n

    w = np.ones(3, np.float32)
    assert ut.backprop(f, w, 3, np.arange(3))()[1].tolist() == [0, 3, 6]
    assert ut.grad(f)(w, 3, np.arange(3)).tolist() == [0, 3, 6]


def test_a_class_of_the_users_is_not_mistaken_for_an_array():
    class Mine:
        pass

    def f(x):
        assert not isinstance(x, Mine | list | tuple | dict | str)
        return np.sum(copy.copy(x) * copy.deepcopy(x))

    np.testing.assert_array_equal(ut.grad(f)(X), 2 * X)
