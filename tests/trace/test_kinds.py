"""What traced values are told to be, and what they do beside the tables of pandas: as the arrays would."""

import copy

import numpy as np
import pytest

import undertow as ut

X = np.array([0.5, -1.0, 2.0])


def by_kind(x):
    if isinstance(x, np.ndarray):
        return np.sum(x**2)
    if isinstance(x, float):
        return 3 * x
    raise AssertionError("neither an array nor a number")


def by_match(x):
    match x:
        case np.ndarray():
            return np.sum(x**2)
        case float():
            return 3 * x


@pytest.mark.parametrize("f", [by_kind, by_match])
def test_isinstance_is_told_what_the_value_stands_for(f):
    """Plain NumPy takes the same branch."""
    for x, slope in ((X, 2 * X), (np.float64(2.0), 3.0), (2.0, 3.0), (X[:1], 2 * X[:1])):
        value, found = ut.value_and_grad(f)(x)
        assert value == f(x)
        np.testing.assert_array_equal(found, slope)
        bp = ut.backprop(f, x)
        np.testing.assert_array_equal(bp()[1], slope)
        assert bp()[0] == f(x)
        np.testing.assert_array_equal(ut.value_and_grad(f, compile=True)(x)[1], slope)


def test_of_whole_numbers_too():
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


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, -1.0, 4.0], "name": list("xyz")})


@pytest.mark.parametrize(
    "f",
    [
        lambda w, t: np.sum((t["a"] * w - t["b"]) ** 2),
        lambda w, t: np.sum((t["b"] - w * t["a"]) ** 2),
        lambda w, t: np.sum(t["a"] / (1 + np.exp(w)) + t.b**2 * w),
        lambda w, t: np.sum(np.multiply(t["a"], w) ** 3),
        lambda w, t: np.sum(np.where(t["a"] > w, t["b"] * w, 0.0)),
        lambda w, t: np.sum(t[["a", "b"]] * w),
        lambda w, t: np.mean(t["a"] ** w),
    ],
)
def test_columns_of_pandas_stand_on_either_side(f, frame):
    arrays = {name: frame[name].to_numpy() for name in frame}

    class Plain:
        b = arrays["b"]

        def __getitem__(self, key):
            return np.stack([arrays[name] for name in key], axis=1) if isinstance(key, list) else arrays[key]

    value, slope = ut.value_and_grad(f)(1.3, frame)
    assert value == pytest.approx(f(1.3, Plain()), rel=1e-14)
    h = 1e-6
    assert slope == pytest.approx((f(1.3 + h, Plain()) - f(1.3 - h, Plain())) / (2 * h), rel=1e-6)


def test_a_product_of_a_table_names_the_part_to_convert(frame):
    with pytest.raises(ut.InPlaceError, match=r"Write `t\[\['a', 'b'\]\].to_numpy\(\)` in place of"):
        ut.grad(lambda w, t: np.sum(t[["a", "b"]] @ w))(np.ones(2), frame)
    numbers = frame[["a", "b"]]
    with pytest.raises(ut.InPlaceError, match=r"Pass t.to_numpy\(\) to the function"):
        ut.grad(lambda w, t: np.sum(t @ w))(np.ones(2), numbers)
    np.testing.assert_array_equal(
        ut.grad(lambda w, t: np.sum(t[["a", "b"]].to_numpy() @ w))(np.ones(2), frame), numbers.to_numpy().sum(axis=0)
    )
