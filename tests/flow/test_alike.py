"""A loss of one's own is known by its gradient, and what the built-in one is told at the same end, it is told too."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.alike import find_alike
from undertow.nn.loss_record import Loss

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 4)).astype(np.float32)
CLASSES = X[:, :3].argmax(axis=1)
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]


def squares(p, y):
    return np.mean((p - y) ** 2)


def half_squares(p, y):
    return 0.5 * np.sum(np.square(y - p)) / len(p)


def distances(p, y):
    return np.mean(np.abs(p - y))


def entropy(p, y):
    return -np.mean(np.sum(y * np.log(p + 1e-7), axis=1))


def binary(p, y):
    return -np.sum(y * np.log(p + 1e-7) + (1 - y) * np.log(1 - p + 1e-7)) / len(p)


def quartic(p, y):
    return np.mean((p - y) ** 4)


KNOWN = {
    squares: "mean_squared_error", half_squares: "mean_squared_error", distances: "mean_absolute_error",
    entropy: "categorical_cross_entropy", binary: "binary_cross_entropy", quartic: None,
}  # fmt: skip


@pytest.mark.parametrize("loss", KNOWN)
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_loss_is_known_by_its_gradient(loss, spread):
    """Also where some probabilities are tiny: there the terms of a few logarithms outweigh all others."""
    z = spread * RNG.standard_normal((60, 3))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert find_alike(Loss("own", loss, "own"), p, ONE_HOT[:60]) == KNOWN[loss]


def test_numbers_are_compared_where_they_are():
    y = RNG.standard_normal((50, 1))
    assert find_alike(Loss("own", squares, "own"), 5 * RNG.standard_normal((50, 1)), y) == "mean_squared_error"
    assert find_alike(Loss("own", squares, "own"), np.zeros((50, 1)), y[:, 0]) is None  # another shape


ENDS = [
    (squares, "softmax", ONE_HOT, True), (binary, "softmax", ONE_HOT, True), (entropy, "softmax", ONE_HOT, False),
    (binary, "sigmoid", ONE_HOT, False), (squares, "sigmoid", ONE_HOT, True), (squares, None, ONE_HOT, False),
    (squares, "tanh", 3 * X[:, :3], True), (squares, "tanh", np.tanh(X[:, :3]), False),
    (squares, "sigmoid", 1 / (1 + np.exp(-X[:, :3])), False),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "end", "y", "told"), ENDS)
def test_a_model_whose_end_does_not_go_with_a_loss_of_ones_own_is_told(loss, end, y, told):
    model = nn.Sequential(nn.Dense(4, 16), "tanh", nn.Dense(16, 3), *([end] if end else []))
    run = ut.train(model, (X, y), loss=loss, epochs=20, optimizer=ut.optim.adam(1e-2), validation=0.2, progress=False)
    found = [x for x in run.findings if x.kind == "loss-activation-mismatch"]
    assert bool(found) == told
    if told:
        assert f"ends in {end} and is trained by {loss.__name__}" in found[0].cause


def twice(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -np.mean(np.sum(y * ut.log_softmax(p, axis=1), axis=1))


def test_a_loss_of_ones_own_that_makes_probabilities_of_probabilities_is_told():
    """Its least value is that of p = 1 for the right class, which it comes near and not below."""
    model = nn.Sequential(nn.Dense(4, 32), "tanh", nn.Dense(32, 3))
    run = ut.train(model, (X, ONE_HOT), loss=twice, epochs=150, optimizer=ut.optim.adam(1e-2), validation=0.2,
                   progress=False)  # fmt: skip
    (found,) = [x for x in run.findings if x.kind == "loss-activation-mismatch"]
    (least,) = (x.value for x in found.evidence if x.text == "least cross-entropy")
    assert least == pytest.approx(-np.log(np.e / (np.e + 2))) and least < run.history[-1]["loss"] < 1.1 * least
    assert "test_alike.py" in found.cause
