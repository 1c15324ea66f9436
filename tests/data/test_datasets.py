"""The shipped data sets: complete, in range, with their source and licence."""

from __future__ import annotations

import numpy as np
import pytest

from undertow.data import datasets, load_dataset, load_digits
from undertow.errors import ArgumentError


def test_digits_equal_those_of_scikit_learn():
    """Every pixel and every label equals scikit-learn's copy of the set."""
    reference = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load_digits()
    assert np.array_equal(digits.X * 16, reference.data)
    assert np.array_equal(digits.y, reference.target)
    assert digits.feature_names == reference.feature_names


def test_digits_shape_and_range():
    """1797 images of 64 pixels between 0 and 1, ten classes, float32 and int64."""
    digits = load_digits()
    assert digits.X.shape == (1797, 64) and digits.X.dtype == np.float32 and digits.X.flags.c_contiguous
    assert digits.X.min() == 0 and digits.X.max() == 1
    assert digits.y.shape == (1797,) and digits.y.dtype == np.int64 and set(digits.y) == set(range(10))


def test_digits_state_source_and_licence():
    """The set names its authors, its identifier and its terms of use."""
    digits = load_digits()
    assert "Alpaydin" in digits.source and "10.24432/C50P49" in digits.source
    assert digits.licence == "CC BY 4.0"


def test_data_sets_are_loaded_by_name():
    """Every listed name loads; an unknown one is an ArgumentError with the list and the closest name."""
    for name in datasets():
        assert len(load_dataset(name).X)
    with pytest.raises(ArgumentError, match=r"no data set 'digit' \(did you mean 'digits'\?\). There are: digits"):
        load_dataset("digit")
