"""What scikit-learn's users get wrong and its estimators say in other words, or not at all."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from undertow.errors import ArgumentError
from undertow.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)) * 100 + 300
Y = X @ np.array([1.0, -1.0, 0.5, 0.0]) / 100
LARGE = {"solver": "sgd", "max_iter": 50, "random_state": 0}


@pytest.mark.parametrize("y", [["a", "b", "c"] * 40, np.array(["a", "b", "c"] * 40), np.array(["a"] * 120, object)])
def test_texts_for_a_regression_are_told_to_be_classes(y):
    with pytest.raises(ValueError, match=r"MLPRegressor: y holds 'a', but a regression needs numbers.*MLPClassifier"):
        MLPRegressor(max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning):
        MLPClassifier(max_iter=2).fit(X, y)


def test_numbers_that_are_texts_stay_numbers():
    with pytest.warns(ConvergenceWarning):
        MLPRegressor(max_iter=2).fit(X, [f"{value:.3f}" for value in Y])


@pytest.mark.parametrize(("estimator", "y"), [(MLPRegressor, Y), (MLPClassifier, (Y > 2).astype(int))])
def test_a_fit_that_settles_far_above_a_constant_output_is_told_with_a_remedy_that_works(estimator, y):
    with pytest.warns(ConvergenceWarning, match="that of a constant output.*smaller learning_rate_init, and scale X"):
        bad = estimator(learning_rate_init=0.5, **LARGE).fit(X, y)
    assert bad.n_iter_ < 50 and bad.score(X, y) < 0.8
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        good = make_pipeline(StandardScaler(), estimator(learning_rate_init=0.01, **LARGE)).fit(X, y)
    assert good.score(X, y) > 0.8
    assert not any("constant output" in str(x.message) for x in told)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_class_of_one_row_cannot_be_held_out_and_is_named_as_the_user_does(share):
    net = MLPClassifier(early_stopping=True, validation_fraction=share)
    with pytest.raises(ValueError, match=r"only 1 member.*with too few members are: \['spam'\]\. Give more rows"):
        net.fit(X[:6], ["ham"] * 5 + ["spam"])


def test_widths_given_twice_are_refused_by_fit_alone():
    """scikit-learn copies and sets arguments without looking at them; two names of one thing are not chosen between."""
    both = MLPClassifier(layers=[64, 32], hidden_layer_sizes=(3,))
    copied = clone(both)
    with pytest.raises(ArgumentError, match=r"layers is \[64, 32\] and hidden_layer_sizes \(3,\), which are two names"):
        copied.fit(np.ones((8, 2)), [0, 1] * 4)
    one = clone(both).set_params(hidden_layer_sizes=(100,), max_iter=2)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        assert [w.shape for w in one.fit(np.ones((8, 2)), [0, 1] * 4).coefs_] == [(2, 64), (64, 32), (32, 1)]
