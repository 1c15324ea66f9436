"""Losses that begin above 0 and have no lower bound for the targets that they are given."""

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow.flow import diagnose


@pytest.mark.parametrize("labels", [(-1, 1), (1, 2), (0, 1)])
def test_a_cross_entropy_of_other_labels_than_0_and_1_has_no_bound_and_is_told(labels):
    """softplus(z) − y z falls without end where y is below 0 or above 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5))
    y = np.where(X[:, :1] + X[:, 1:2] ** 2 > 0.5, *labels)

    def cross_entropy(p, X, y):
        z = np.tanh(X @ p[0] + p[1]) @ p[2]
        return np.mean(np.logaddexp(0, z) - y * z)

    p = rng.normal(size=(5, 16)) / 2, np.zeros(16), rng.normal(size=(16, 1)) / 4
    measured = ut.flow.recorded(cross_entropy)
    for _ in range(200):
        rows = rng.integers(0, 600, 64)
        _, gradient = measured(p, X[rows], y[rows])
        p = tuple(x - 0.1 * g for x, g in zip(p, gradient, strict=True))
    found = measured.findings
    assert [x.kind for x in found] == ["loss-activation-mismatch"] * (labels != (0, 1))
    assert not found or ("made for targets of 0 and 1" in found[0].cause and "y.min()" in found[0].remedies[0].code)


def test_a_loss_that_begins_above_0_and_falls_below_it_evenly_is_no_turned_sign():
    """As a log likelihood does whose deviation goes down by the same factor in each step: −ln σ."""
    t = np.arange(200)
    for curve, kinds in ((2 - 0.1 * t, []), (2 - 1e-3 * t**2, ["turned-sign"])):
        flow = made_flow(loss=curve, task="own", facts={"output": {"expected_loss": None}})
        assert [x.kind for x in diagnose(flow)] == kinds


def test_a_bounded_loss_that_leaves_a_saddle_is_no_turned_sign():
    """A sum of products of two tanh layers, 64 at most in size: from small weights it falls slowly, fast, slowly."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 5))
    t = np.sign(X @ rng.normal(size=5) + 0.5)

    def agreement(p, X, t):
        return -np.sum(t * np.tanh(np.tanh(X @ p[0]) @ p[1])) / 4

    p = 0.01 * rng.normal(size=(5, 8)), 0.01 * rng.normal(size=8)
    p = (p[0], p[1] * np.sign(agreement(p, X, t)))  # begins above 0
    measured, losses = ut.flow.recorded(agreement), []
    for _ in range(700):
        loss, gradient = measured(p, X, t)
        losses.append(float(loss))
        p = tuple(x - 2e-4 * g for x, g in zip(p, gradient, strict=True))
    first, second = losses[0] - losses[350], losses[350] - losses[-1]
    assert losses[0] > 0 > losses[-1] > -64 and second > 1.5 * first > 0 and losses[-175] - losses[-1] < second / 2
    assert [x.kind for x in measured.findings] == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("added", [1e-4, 1e-7])
def test_a_turned_sign_that_something_bounds_is_told_by_what_outputs_do(sign, added):
    """What is added within a logarithm bounds the loss, so that it slows down."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 12))
    y = (rows[:, :1] + rows[:, 1:2] > 0) * 1.0

    def loss(p, X, y):
        z = np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        q = 1 / (1 + np.exp(-z))
        return sign * np.mean(y * np.log(q + added) + (1 - y) * np.log(1 - q + added))

    p = {"W1": rng.normal(size=(12, 24)) / 3, "b1": np.zeros(24), "W2": rng.normal(size=(24, 1)) / 5, "b2": np.zeros(1)}
    measured = ut.flow.recorded(loss)
    for _ in range(300):
        _, gradient = measured(p, rows, y)
        p = {name: x - 0.3 * gradient[name] for name, x in p.items()}
    found = [x for x in measured.findings if x.kind == "turned-sign"]
    assert bool(found) == (sign > 0)
    if found:
        names = {"loss": loss}
        exec(found[0].remedies[0].code, names)
        assert names["turned"](p, rows, y) == -loss(p, rows, y)


def order(z, t):
    """The share of pairs in which who lives longer has the lower risk, with a sign that makes it a loss."""
    return -np.mean(1 / (1 + np.exp(z.T - z)) * (t < t.T))


@pytest.mark.parametrize(
    ("of_outputs", "bias", "rate"),
    [(lambda z, t: np.mean(np.exp(z) * t - z), 2.3, 0.1), (order, 0.0, 1.0)],
    ids=["a rate of times", "an order of risks"],
)
def test_what_is_to_be_small_where_the_target_is_large_has_no_turned_sign(of_outputs, bias, rate):
    """So are rates of times, whose density is above 1 where these are short, and risks of those that live long."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5))
    times = rng.exponential(0.1 / np.exp(0.7 * rows[:, :1]))
    p = {"W1": rng.normal(size=(5, 16)) / 2, "W2": rng.normal(size=(16, 1)) / 8, "b2": np.zeros(1) + bias}

    def outputs(p, X):
        return np.tanh(X @ p["W1"]) @ p["W2"] + p["b2"]

    measured = ut.flow.recorded(lambda p, X, t: of_outputs(outputs(p, X), t))
    losses = []
    for step in range(200):
        part = slice(step % 4 * 100, step % 4 * 100 + 100)
        value, gradient = measured(p, rows[part], times[part])
        losses.append(float(value))
        p = {key: x - rate * gradient[key] for key, x in p.items()}
    ranks = [x.ravel().argsort().argsort() for x in (outputs(p, rows), times)]
    assert 0 > losses[0] > losses[-1] and np.corrcoef(*ranks)[0, 1] < -0.3
    assert measured.findings == []


def test_a_rate_that_is_trained_by_times_has_no_turned_sign():
    """Outputs for rows held out go against their targets, as they are to."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5))
    times = rng.exponential(0.1 / np.exp(0.7 * rows[:, :1]))

    def density(z, t):
        return np.mean(np.exp(z + 2.3) * t - z - 2.3)

    model = ut.nn.Sequential(ut.nn.Dense(5, 16), "tanh", ut.nn.Dense(16, 1))
    settings = {"epochs": 15, "batch_size": 32, "validation": 0.3, "progress": False}
    run = ut.train(model, (rows, times), loss=density, optimizer=ut.optim.sgd(0.1), **settings)
    assert run.history[-1]["loss"] < -1 and run.findings == []
