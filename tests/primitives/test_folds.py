"""Methods of ufuncs that no NumPy function does: ``reduceat``, and folds along an axis."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

import undertow as ut

RNG = np.random.default_rng(4)
TABLE = RNG.standard_normal((9, 3))
WORDS, BAGS = np.array([1, 2, 2, 5, 8, 0, 3, 3, 7]), np.array([0, 3, 3, 7])


def bags(table: Any) -> Any:
    """Sums of embeddings, bag by bag; the second begins where the third does and is its first word."""
    return np.sum(np.tanh(np.add.reduceat(table[WORDS], BAGS, axis=0)))


def peaks(table: Any) -> Any:
    rows = np.maximum.reduceat(table, [0, 4], axis=0), np.minimum.reduceat(table, [2, 5, 6])
    return np.sum(rows[0] ** 2) + np.sum(rows[1] * np.logaddexp.reduceat(table, [0, 2, 7]))


def ranking(table: Any) -> Any:
    """Plackett–Luce: each score against all that come after it."""
    scores = np.ravel(table)
    return np.sum(np.logaddexp.accumulate(scores[::-1])[::-1] - scores)


def folds(table: Any) -> Any:
    positive = np.exp(table)
    each = np.subtract.reduce(table, axis=1), np.divide.reduce(positive, axis=0, initial=2.0)
    return np.sum(each[0] ** 2) + np.sum(each[1]) + np.hypot.reduce(np.tile(table, (8, 1)), axis=None)


def by_differences(f: Any, x: Any, h: float = 1e-6) -> Any:
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([(f(x + step) - f(x - step)) / (2 * h) for step in steps]).reshape(x.shape)


@pytest.mark.parametrize("f", [bags, peaks, ranking, folds], ids=lambda f: f.__name__)
@pytest.mark.parametrize("options", [{}, {"compile": True}], ids=["evaluated", "compiled"])
def test_the_gradient_is_that_of_central_differences(f: Any, options: dict[str, Any]) -> None:
    value, gradient = ut.value_and_grad(f, **options)(TABLE)
    np.testing.assert_allclose(value, f(TABLE), rtol=1e-12)
    np.testing.assert_allclose(gradient, by_differences(f, TABLE), rtol=1e-6, atol=1e-7)
    short = ut.grad(f, **options)(TABLE.astype(np.float32))
    assert short.dtype == np.float32
    np.testing.assert_allclose(short, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logical_or], ids=lambda u: u.__name__
)
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32])
def test_segments_of_all_types_are_reduced_as_numpy_does(ufunc: np.ufunc, dtype: Any) -> None:
    x = (3 * RNG.standard_normal((2, 7))).astype(np.int8).astype(dtype)
    for begin in ([0, 2, 5], [6, 0, 0, 4, 2], np.array([], int)):
        found = ut.compile(lambda x, begin=begin: ufunc.reduceat(x, begin, axis=1))(x)
        np.testing.assert_allclose(found, ufunc.reduceat(x, begin, axis=1), rtol=1e-6, strict=True)


@pytest.mark.parametrize("ufunc", [np.subtract, np.fmax, np.hypot], ids=lambda u: u.__name__)
def test_nothing_is_reduced_to_what_numpy_says(ufunc: np.ufunc) -> None:
    x = np.zeros((0, 2))
    for options in ({}, {"initial": 1.5}, {"axis": 1}):
        run = ut.compile(lambda x, options=options: ufunc.reduce(x, **options))
        try:
            wanted = ufunc.reduce(x, **options)
        except ValueError:
            with pytest.raises(ValueError, match="no identity"):
                run(x)
        else:
            np.testing.assert_array_equal(run(x), wanted, strict=True)


def test_ties_of_a_segment_share_evenly() -> None:
    gradient = ut.grad(lambda x: np.sum(np.maximum.reduceat(x, [0, 2])))(np.array([2.0, 2.0, 1.0]))
    np.testing.assert_array_equal(gradient, [0.5, 0.5, 1.0])


def test_what_segments_and_folds_cannot_do_is_told() -> None:
    x = TABLE[:, 0]
    with pytest.raises(
        ut.UnsupportedError, match=r"test_folds.py:\d+: np.add.reduceat: where segments begin .* np.add.at"
    ):
        ut.compile(lambda x, begin: np.add.reduceat(x, begin))(x, BAGS)
    np.testing.assert_allclose(
        ut.grad(lambda x, begin: np.sum(np.add.reduceat(x, begin)))(x, BAGS), [1, 1, 1, 2, 1, 1, 1, 1, 1]
    )
    for run in (ut.grad, ut.compile):
        with pytest.raises(ut.PositionError, match=r"test_folds.py:\d+: np.add.reduceat: .* outside of the 9 values"):
            run(lambda x: np.sum(np.add.reduceat(x, [0, 9])))(x)
        with pytest.raises(ut.ArgumentError, match=r"np.subtract.reduce goes along one axis"):
            run(lambda x: np.subtract.reduce(x, axis=(0, 1)))(TABLE)


@pytest.mark.parametrize("ufunc", [np.multiply, np.maximum, np.minimum, np.logaddexp, np.logical_and, np.logical_or])
def test_one_long_segment_beside_many_short_ones_takes_no_more_memory_than_the_values(ufunc):
    x, begin = np.random.default_rng(0).normal(size=6000) ** 2, np.arange(3000)
    tracemalloc.start()
    found = ut.compile(lambda x: ufunc.reduceat(x, begin))(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found, ufunc.reduceat(x, begin), rtol=1e-12)
    assert peak < 50e6  # segments times the longest would be 72 MB for the values alone


def test_the_largest_of_infinities_is_one_of_them():
    assert ut.grad(lambda x: np.sum(np.maximum.reduceat(x, [0, 1])))(np.array([-np.inf, 1, 2, 3])).tolist() == [
        1,
        0,
        0,
        1,
    ]
    assert ut.value_and_grad(lambda x: np.sum(np.add.reduceat(x, [])))(np.ones(3))[0] == 0
