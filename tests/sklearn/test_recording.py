"""Estimators record their gradient flow as a training does, and fit as they do without."""

import copy
import gc
import pickle
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits

from undertow.errors import ArgumentError, RunError
from undertow.sklearn import MLPClassifier, MLPRegressor
from undertow.sklearn.diverged import FitDiverged

X, y = load_digits(return_X_y=True)
X = X[:600] / 16
y = y[:600]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("more", [{}, {"dropout": 0.2, "early_stopping": True}, {"solver": "sgd", "norm": "batch"}])
def test_a_fit_is_the_same_with_a_record(more):
    first, second = (MLPClassifier((16,), max_iter=8, random_state=0, flow=flow, **more).fit(X, y) for flow in (1, 0))
    for one, other in zip(first.coefs_, second.coefs_, strict=True):
        assert np.array_equal(one, other)
    assert first.loss_curve_ == second.loss_curve_
    flow = first.run_.flow
    assert len(flow) == flow.steps[-1] and flow.epochs[-1] == first.n_iter_ and flow.facts["n_examples"] <= 600
    with pytest.raises(RunError, match="no record"):
        _ = second.run_.flow


def test_the_gradient_is_that_of_scikit_learn():
    """The first step's δ of a network with one hidden layer, by scikit-learn's own backward pass."""
    from sklearn.neural_network import MLPClassifier as Theirs

    settings = {"hidden_layer_sizes": (8,), "max_iter": 1, "random_state": 3, "alpha": 0.0, "batch_size": 600}
    settings |= {"solver": "sgd", "learning_rate_init": 1e-12, "shuffle": False}
    mine, theirs = MLPClassifier(flow=True, **settings).fit(X, y), Theirs(**settings).fit(X, y)
    activations = [X, *[np.empty((600, n)) for n in (8, 10)]]
    deltas, dW, db = ([np.empty((600, 8)), np.empty((600, 10))], [np.empty((64, 8)), np.empty((8, 10))], [0, 0])
    theirs._random_state = np.random.RandomState(0)
    wanted = np.eye(10)[y]
    arguments = [X, wanted, activations, deltas, dW, db]
    try:
        _, dW, _ = theirs._backprop(*arguments)
    except TypeError:  # newer versions take the weights of examples
        _, dW, _ = theirs._backprop(X, wanted, None, *arguments[2:])
    found = mine.run_.flow.stat("dW.rms")[0]
    assert found == pytest.approx([np.sqrt(np.mean(g**2)) for g in dW], rel=1e-4)


def test_partial_fits_go_on_with_one_record():
    model = MLPRegressor(hidden_layer_sizes=(8,), random_state=0, flow=True)
    for _ in range(3):
        model.partial_fit(X, y.astype(float))
    flow = model.run_.flow
    assert flow.epochs[-1] == 3 and flow.steps.tolist() == list(range(1, len(flow) + 1))
    assert flow.looks[0].step == 0 and np.isfinite(flow.stat("delta.rms")).all()


def test_a_solver_without_steps_says_that_it_records_none():
    with pytest.raises(ArgumentError, match="solver='lbfgs' does none"):
        MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", flow=True).fit(X, y.astype(float))


def test_many_partial_fits_look_closely_at_few_steps():
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0, batch_size=len(X), flow=True)
    for _ in range(20):
        model.partial_fit(X, y.astype(float))
    assert [look.step for look in model.run_.flow.looks] == [0, 1, 2, 4, 8, 16]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_on_with_its_record(copied):
    """The places in memory that the record reads from are those of the arrays of the copy."""
    model, plain = (MLPRegressor(hidden_layer_sizes=(4,), random_state=0, flow=True) for _ in range(2))
    model.partial_fit(X, y.astype(float))
    plain.partial_fit(X, y.astype(float)).partial_fit(X, y.astype(float))
    again = copied(model)
    del model
    gc.collect()
    again.partial_fit(X, y.astype(float))
    assert np.array_equal(again.run_.flow.values, plain.run_.flow.values, equal_nan=True)


def test_it_is_cloned_pickled_and_fed_with_sparse_data():
    model = MLPClassifier((8,), max_iter=2, random_state=0, flow=True).fit(csr_matrix(X), y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.run_.flow.values, model.run_.flow.values, equal_nan=True)
    assert clone(model).flow is True


def test_a_stack_of_sigmoids_is_told_and_a_healthy_fit_is_not():
    deep = MLPClassifier((16,) * 8, activation="logistic", solver="sgd", max_iter=10, random_state=0, flow=True)
    assert [finding.kind for finding in deep.fit(X, y).run_.findings] == ["vanishing"]
    assert MLPClassifier((32,), max_iter=60, random_state=0, flow=True).fit(X, y).run_.findings == []


def test_a_fit_that_diverges_says_where():
    model = MLPRegressor(
        hidden_layer_sizes=(8,), solver="sgd", learning_rate_init=1e30, max_iter=5, random_state=0, flow=True
    )
    with pytest.raises(FitDiverged) as caught:
        model.fit(X, y.astype(float))
    assert caught.value.run.flow.facts["non_finite"]["where"] in ("forward", "backward", "parameters")
