"""Weights of classes that are not there, and too few rows to hold some out: the message names what is there."""

import numpy as np
import pytest

from undertow.errors import ArgumentError
from undertow.sklearn import MLPClassifier

X = np.random.default_rng(0).normal(size=(30, 3))
Y = np.array(["no", "yes", "no"])[np.arange(30) % 3]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("balance", r"^class_weight is 'balance'. Give 'balanced', or a dict of a weight for each class.$"),
        ({"Yes": 2}, r"^class_weight has a weight for 'Yes', but the classes are 'no', 'yes'. Name these.$"),
        ({1: 2}, r"has a weight for 1, but the classes are 'no', 'yes'"),
    ],
)
def test_class_weights_that_fit_no_class(given, told):
    with pytest.raises(ArgumentError, match=told):
        MLPClassifier(class_weight=given, max_iter=1).fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("given", ["balanced", {"no": 1, "yes": 5}, {"yes": 5}])
def test_class_weights_that_fit(given):
    assert MLPClassifier(class_weight=given, max_iter=1).fit(X, Y).classes_.tolist() == ["no", "yes"]


def test_too_few_rows_to_hold_some_out():
    with pytest.raises(ValueError, match=r"^early_stopping holds out 0.1 of 5 rows, .* or early_stopping=False.$"):
        MLPClassifier(early_stopping=True).fit(X[:5], Y[:5])
