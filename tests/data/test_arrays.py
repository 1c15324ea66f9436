"""Arrays from the user's data: dtypes kept, faults named by their place."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import as_arrays, load_digits
from undertow.errors import DataError, ShapeError


class Frame:
    """Anything with ``__array__``, as frames of other libraries have."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float32"),
        ("int8", "float32"),
        ("int64", "float32"),
        ("uint8", "float32"),
        ("bool", "float32"),
    ],
)
def test_dtype_of_inputs(dtype, expected):
    """float32 and float64 stay; every other real dtype of X becomes float32; values are kept."""
    X = np.array([[1, 0], [0, 1]], dtype=dtype)
    found, _ = as_arrays((X, [0, 1]))
    assert found.dtype == expected and np.array_equal(found, X.astype(expected))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float64", "float32"])
def test_targets_keep_their_dtype(dtype):
    """y is given back as it came."""
    y = np.array([0, 1, 1], dtype=dtype)
    assert as_arrays((np.zeros((3, 1)), y))[1] is y


def test_nothing_is_copied_where_nothing_changes():
    """Arrays of the right dtype are handed through."""
    X, y = np.zeros((3, 2), dtype=np.float32), np.zeros((3, 1))
    found = as_arrays((X, y))
    assert found[0] is X and found[1] is y


@pytest.mark.parametrize("kind", [np.asarray, list, Frame, lambda v: pl.DataFrame(np.asarray(v))])
def test_array_likes(kind):
    """NumPy arrays, nested lists, polars frames and anything with __array__ give the same arrays."""
    X, y = as_arrays((kind([[1.5, 2.0], [3.0, 4.0]]), pl.Series([0, 1])))
    assert X.tolist() == [[1.5, 2.0], [3.0, 4.0]] and y.tolist() == [0, 1]


def test_dataset_is_a_pair():
    """A Dataset is taken as its X and y."""
    digits = load_digits()
    X, y = as_arrays(digits)
    assert X is digits.X and y is digits.y


@pytest.mark.parametrize(("value", "name"), [(float("nan"), "NaN"), (float("inf"), "inf"), (float("-inf"), "-inf")])
def test_values_that_are_not_finite(value, name):
    """The first entry that is not finite is named with its row and column, and all are counted."""
    X = np.ones((4, 3))
    X[2, 1] = X[3, 0] = value
    with pytest.raises(DataError, match=rf"X\[2, 1\] is {name} \(2 of 12 values are not finite\)"):
        as_arrays((X, np.zeros(4)))
    with pytest.raises(DataError, match=rf"y\[1\] is {name} \(1 of 2 values is not finite\)"):
        as_arrays((np.ones((2, 1)), [0.0, value]))


def test_masked_and_null_entries_count_as_nan():
    """Masked entries and nulls of a frame are found, not read as numbers."""
    masked = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, False], [True, False]])
    with pytest.raises(DataError, match=r"X\[1, 0\] is NaN"):
        as_arrays((masked, [0, 1]))
    with pytest.raises(DataError, match=r"X\[1, 0\] is NaN"):
        as_arrays((pl.DataFrame({"a": [1.0, None]}), [0, 1]))


def test_what_is_no_number():
    """Text, objects, complex numbers, dates, ragged lists and bare values each have their own message."""
    y = [0, 1]
    for X, message in (
        ([["1", "red"], ["2", "blue"]], r"X\[0, 0\] is .*'1'.*, no number"),
        (np.array([[1, "red"], [2, 3]], dtype=object), r"X\[0, 1\] is 'red', no number \(dtype object\)"),
        (np.array([[1, 2], [3, 4]], dtype=object), r"X has the dtype object.*astype\('float32'\)"),
        ([[1j], [2]], "complex numbers"),
        (np.array([["2024-01-01"], ["2024-01-02"]], dtype="datetime64[D]"), "dates or durations"),
        ([[1, 2], [3]], "X is no array: .* Give rows of equal length"),
        (object(), "X is an object, no array"),
        (None, "X is None, no array"),
        ("new.csv", r"X is the text 'new.csv', no array.*undertow\.data\.read_table"),
        ({"a": [1, 2]}, r"X is a dict, no array.*undertow\.data\.encode_table"),
    ):
        with pytest.raises(DataError, match=message):
            as_arrays((X, y))
    with pytest.raises(DataError, match=r"y\[0\] is .*'cat'"):
        as_arrays((np.zeros((2, 1)), ["cat", "dog"]))


def test_shapes_are_checked():
    """Leading sizes that differ, a missing feature axis and empty arrays are refused, both shapes told."""
    with pytest.raises(ShapeError, match=r"X is \(3, 2\), y is \(4,\): their leading sizes 3 and 4 differ"):
        as_arrays((np.zeros((3, 2)), np.zeros(4)))
    with pytest.raises(ShapeError, match=r"X\[:, None\]"):
        as_arrays((np.zeros(3), np.zeros(3)))
    with pytest.raises(DataError, match="there are no examples"):
        as_arrays((np.zeros((0, 2)), np.zeros(0)))


@pytest.mark.parametrize("data", [None, 3, np.zeros((4, 2)), (np.zeros((4, 2)),), ([1], [2], [3])])
def test_data_must_be_a_pair(data):
    """Whatever is no pair is refused with what it is."""
    with pytest.raises(DataError, match=r"must be a pair \(X, y\), got a"):
        as_arrays(data)
