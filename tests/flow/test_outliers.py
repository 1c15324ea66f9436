"""A few targets far from all others are counted, and told where a loss of squares learns nothing because of them."""

import numpy as np
import pytest
from sklearn.datasets import make_regression

import undertow as ut


@pytest.fixture(scope="module")
def data():
    X, y = make_regression(600, 8, noise=5, random_state=0)
    return X.astype(np.float32), y / y.std()


def with_outliers(y, n, size, scaled):
    y = y.copy()
    y[np.random.default_rng(1).choice(len(y), n, replace=False)] *= size
    return ((y - y.mean()) / y.std() if scaled else y)[:, None].astype(np.float32)


def train(X, y, loss="mean_squared_error", rate=0.001):
    model = ut.nn.Sequential(ut.nn.Dense(8, 32), "relu", ut.nn.Dense(32, 1))
    settings = {"batch_size": 32, "epochs": 30, "seed": 0, "validation": 0.2, "progress": False}
    return ut.train(model, (X, y), loss=loss, optimizer=ut.optim.adam(rate), **settings)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("n", "size"), [(3, 300), (9, 60)])
def test_targets_far_from_all_others_are_told_and_a_loss_that_bears_them(data, n, size, scaled):
    X, y = data
    run = train(X, with_outliers(y, n, size, scaled))
    assert {x.kind for x in run.findings} <= {"target-not-scaled", "over-fitting"}  # of rows with such targets
    found = run.findings[0]
    assert found.kind == "target-not-scaled"
    assert "far from all others" in found.cause and [x.name for x in found.remedies] == ["data", "loss"]
    assert "huber" in found.remedies[1].code


def test_what_is_well_is_told_nothing_of_far_targets(data):
    """Where there are none, where the network learns them, and where the loss bears them."""
    X, y = data
    assert "far" not in train(X, with_outliers(y, 0, 1, True), rate=0.02).flow.facts["target"]
    learned = train(X, with_outliers(y, 18, 20, True), rate=0.01)
    assert not any("far from all others" in x.cause for x in learned.findings)
    borne = train(X, with_outliers(y, 3, 300, False), "huber", 0.02)
    assert borne.flow.facts["target"]["far"]["share"] > 0.9
    assert not any("far from all others" in x.cause for x in borne.findings)


def test_far_targets_are_those_that_the_definition_names(data):
    """15 times the median of the distances from the median; told is the column where they are more of the squares."""
    X, y = data
    Y = np.concatenate([with_outliers(y, 2, 40, False), with_outliers(y, 5, 400, False)], axis=1)
    model = ut.nn.Sequential(ut.nn.Dense(8, 2))
    run = ut.train(model, (X, Y), loss="mean_squared_error", steps=1, epochs=None, validation=None, progress=False)
    distance = np.abs(Y[:, 1].astype(float) - np.median(Y[:, 1]))
    far = distance > 15 * np.median(distance)
    share = np.sum(distance[far] ** 2) / np.sum(distance**2)
    told = run.flow.facts["target"]["far"]
    assert told == {"rows": far.sum(), "part": pytest.approx(far.mean()), "share": pytest.approx(share)}
