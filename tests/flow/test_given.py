"""A loop of one's own is told of rare classes, constant columns and parameters that it does not read."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 8))
NOISY = X[:, 0] + 0.8 * RNG.normal(size=2000)
RARE = (np.quantile(NOISY, 0.96) < NOISY).astype(int)
KNOWN = (np.quantile(X[:, 0], 0.96) < X[:, 0]).astype(int)  # that can be learned without fault


def net(p, X):
    return np.tanh(X @ p["W"] + p["b"]) @ p["V"] + p["c"]


def cross_entropy(weights=(1.0, 1.0)):
    return lambda p, X, Y: -np.mean(np.sum(np.array(weights) * Y * ut.log_softmax(net(p, X), axis=1), axis=1))


def picked(p, X, y):
    return -np.mean(ut.log_softmax(net(p, X), axis=1)[np.arange(len(y)), y])


def binary(weight=1.0):
    def loss(p, X, y):
        z = net(p, X)
        return np.mean((1 + (weight - 1) * y) * (np.logaddexp(0, z) - y * z))

    return loss


def hinge(p, X, y):
    return np.mean(np.maximum(1 - y * net(p, X), 0))


def counts(p, X, y):
    z = net(p, X)
    return np.mean(np.exp(z) - y[:, None] * z)


def loop(loss, X, Y, n=200, rate=0.01, units=2, **more):
    rng = np.random.default_rng(1)
    p = {
        "W": rng.normal(size=(8, 16)) / 3,
        "b": np.zeros(16),
        "V": rng.normal(size=(16, units)) / 4,
        "c": np.zeros(units),
    }
    p |= more
    measured, rule = ut.flow.recorded(loss), optim.adam(rate)
    state = rule.init(p)
    for _ in range(n):
        rows = rng.integers(0, len(X), 64)
        _, gradient = measured(p, X[rows], Y[rows])
        p, state = rule.update(gradient, state, p)
    return measured


COLUMN = RARE[:, None].astype(float)
TOLD = {
    "rows of ones and zeros": lambda: loop(cross_entropy(), X, ut.one_hot(RARE, 2), 100),
    "labels that are picked": lambda: loop(picked, X, RARE, 100),
    "a column of 0 and 1": lambda: loop(binary(), X, COLUMN, 100, units=1),
    "a column of −1 and 1": lambda: loop(hinge, X, 2 * COLUMN - 1, 100, units=1),
}
WELL = {
    "weights in the loss": lambda: loop(cross_entropy((1.0, 24.0)), X, ut.one_hot(RARE, 2), rate=0.003),
    "a weight of what is rare": lambda: loop(binary(24.0), X, COLUMN, rate=0.003, units=1),
    "a rare class that is known": lambda: loop(binary(), X, KNOWN[:, None].astype(float), 1500, units=1),
    "classes that are even": lambda: loop(picked, X, (X[:, 0] > 0).astype(int)),
    "counts of events": lambda: loop(counts, X, RNG.poisson(np.exp(0.3 * X[:, 0] - 3)), units=1),
}


@pytest.mark.parametrize("name", TOLD)
def test_rare_classes_of_a_loop_are_told(name):
    measured = TOLD[name]()
    (found,) = [x for x in measured.findings if x.kind == "imbalanced-classes"]
    assert f"Class 1 has {100 * measured.flow.facts['target']['priors'][1]:.1f}% of the examples" in found.cause
    assert measured.flow.facts["target"]["priors"][1] == pytest.approx(0.04, abs=0.01)
    assert found.remedies[0].code.startswith("share = Y.mean(axis=0)")


@pytest.mark.parametrize("name", WELL)
def test_loops_that_make_up_for_rare_classes_or_know_them_are_not(name):
    assert [x.kind for x in WELL[name]().findings] == []


def test_rows_of_one_class_alone_are_an_error():
    (found,) = [x for x in loop(picked, X, np.zeros(2000, int), 60).findings if x.kind == "imbalanced-classes"]
    assert found.severity == "error"


def test_constant_columns_of_a_loop_are_told_as_those_of_train():
    data = X.copy()
    data[:, 3] = 0.7
    even = (X[:, 0] > 0).astype(int)
    (found,) = loop(picked, data, even).findings
    run = ut.train(
        nn.Sequential(nn.Dense(8, 16), "tanh", nn.Dense(16, 2)), (data.astype(np.float32), even), progress=False,
        loss="categorical_cross_entropy", optimizer=optim.adam(0.01), epochs=8,
    )  # fmt: skip
    (same,) = [x for x in run.findings if x.kind == "constant-columns"]
    assert (found.kind, found.severity, found.cause) == (same.kind, same.severity, same.cause)


def test_a_column_that_varied_in_an_early_batch_is_not_constant():
    data = np.repeat(X[:1000], 2, axis=0)
    data[:, 3] = 0.7
    measured = ut.flow.recorded(lambda w, X: np.mean((X @ w) ** 2) + np.mean(w))
    for i in range(30):
        batch = data[64 * i : 64 * i + 64].copy()
        batch[0, 3] += i == 0
        measured(np.ones(8), batch)
    assert "constant-columns" not in [x.kind for x in measured.findings]
    assert measured.flow.facts["columns"]["n_constant"] == 0


def test_parameters_that_a_loss_does_not_read_are_told():
    even = (X[:, 0] > 0).astype(int)
    (found,) = loop(picked, X, even, forgotten=np.zeros(5)).findings
    assert (found.kind, found.layers) == ("unread-parameter", ("parameter forgotten",))
    assert loop(picked, X, even, rate=0.02, units=3).findings == []


def test_a_parameter_that_is_read_at_some_later_step_is_not():
    """Blocks that are left out at random."""

    def loss(p, X, y, left_out):
        h = np.tanh(X @ p["W"] + p["b"])
        if not left_out:
            h = h + np.tanh(h @ p["A"])
        return -np.mean(ut.log_softmax(h @ p["V"] + p["c"], axis=1)[np.arange(len(y)), y])

    rng, even = np.random.default_rng(1), (X[:, 0] > 0).astype(int)
    p = {"W": rng.normal(size=(8, 16)) / 3, "b": np.zeros(16), "V": rng.normal(size=(16, 2)) / 4, "c": np.zeros(2)}
    p["A"] = rng.normal(size=(16, 16)) / 4
    measured = ut.flow.recorded(loss)
    for i in range(60):
        rows = rng.integers(0, 2000, 64)
        _, gradient = measured(p, X[rows], even[rows], i % 2 == 0)
        p = {name: w - 0.3 * gradient[name] for name, w in p.items()}
    assert measured.flow.facts["unread"] == ["A"]
    assert "unread-parameter" not in [x.kind for x in measured.findings]
