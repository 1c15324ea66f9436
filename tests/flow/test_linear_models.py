"""Linear models: they begin as near 0 as one likes, and too few weights to learn rows by heart."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim


def coins(seed, strength, n=600, d=10):
    """Inputs, and flips of coins whose log-odds are a linear function of them."""
    rng = np.random.default_rng(seed)
    X, w = rng.standard_normal((n, d)), rng.standard_normal(d)
    y = rng.random(n) < 1 / (1 + np.exp(-X @ w * strength / np.linalg.norm(w)))
    return rng, X, y.astype(np.float64)


def cross_entropy(params, X, y):
    z = X @ params["w"] + params["b"]
    return np.mean(np.logaddexp(0, z) - y * z)


def watched(params, X, y):
    z = ut.watch(X @ params["w"], "z") + params["b"]
    return np.mean(np.logaddexp(0, z) - y * z)


def squares(params, X, y):
    return np.mean((X @ params["w"] + params["b"] - y.reshape(len(y), *params["w"].shape[1:])) ** 2)


def descend(loss, params, batches, rate):
    measured = ut.flow.recorded(loss)
    for X, y in batches:
        gradient = measured(params, X, y)[1]
        params = ut.trees.map(lambda p, g: p - rate * g, params, gradient)
    return measured.findings


def drawn(rng, X, y, size, n):
    for _ in range(n):
        chosen = rng.permutation(len(X))[:size]
        yield X[chosen], y[chosen]


@pytest.mark.parametrize("loss", [cross_entropy, watched, squares])
@pytest.mark.parametrize("deviation", [0.01, 0.001])
@pytest.mark.parametrize("columns", [(), (1,)])
@pytest.mark.parametrize("size", [600, 32])
def test_weights_that_begin_near_0_are_not_thrown_far_by_their_first_steps(loss, deviation, columns, size):
    """A vector of weights, or a column, has a usual size as any matrix does: that of its inputs."""
    if columns and loss is not squares:
        pytest.skip("z of one column and targets without one make a matrix, which is told")
    for strength in (0.5, 1.2):
        rng, X, y = coins(0, strength)
        params = {"w": rng.standard_normal((10, *columns)) * deviation, "b": np.zeros(columns)}
        assert descend(loss, params, drawn(rng, X, y, size, 200), 0.1) == []


@pytest.mark.parametrize("rate", [10.0, 50.0])
def test_steps_that_throw_weights_of_a_linear_model_far_are_told(rate):
    rng, X, y = coins(0, 1.5)
    params = {"w": rng.standard_normal(10) * 0.01, "b": np.zeros(())}
    found = descend(cross_entropy, params, drawn(rng, X, y, 32, 150), rate)
    assert [x.kind for x in found] == ["step-too-large"]


def logistic(X, y, **settings):
    settings = {"optimizer": optim.sgd(0.1), "batch_size": 32, "epochs": 16, "progress": False, **settings}
    return ut.train(
        nn.Sequential(nn.Dense(10, 1)),
        (X.astype(np.float32), y.astype(int)),
        loss="binary_cross_entropy",
        **settings,
    )


def test_eleven_weights_do_not_learn_hundreds_of_rows_by_heart():
    """Of any targets a linear function of P weights holds a share of P/n, so what is more was learned. Sixty rows held
    out show next to nothing of it once in forty times."""
    _, X, y = coins(3, 1.2)
    run = logistic(X, y, seed=3)
    assert run.history[-1]["validation_loss"] > np.log(2) > run.history[-1]["loss"] + 0.1
    assert run.findings == []


def test_rows_held_out_whose_labels_are_those_of_others_are_told_all_the_same():
    told = 0
    for seed in range(6):
        rng, X, y = coins(seed, 1.2)
        run = logistic(X[60:], y[60:], validation=(X[:60].astype(np.float32), rng.permutation(y[:60]).astype(int)))
        told += "over-fitting" in [x.kind for x in run.findings]
    assert told >= 4
