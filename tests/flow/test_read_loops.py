"""What the record of a loop of one's own tells beside its layers: rate, targets that move, a column for the bias."""

import numpy as np
import pytest

import undertow as ut

DIGITS = ut.data.load_digits()
X, Y = 2 * DIGITS.X[:300].astype(np.float64) - 1, ut.one_hot(DIGITS.y[:300], 10)


def network(params, X, Y):
    h = np.maximum(X @ params["W1"] + params["b1"], 0)
    return -np.mean(np.sum(Y * ut.log_softmax(h @ params["W2"] + params["b2"], axis=1), axis=1))


def begin():
    rng = np.random.default_rng(0)
    W1, W2 = rng.standard_normal((64, 24)) / 8, rng.standard_normal((24, 10)) / 5
    return {"W1": W1, "b1": np.zeros(24), "W2": W2, "b2": np.zeros(10)}


def test_the_rate_of_a_loop_is_read_from_its_steps():
    """w − rate · gradient, of a rate that changes; not of steps that remember others."""
    rates = [0.1 * 0.9**i for i in range(12)]
    for momentum in (0.0, 0.9):
        measured, params, v = ut.flow.recorded(network), begin(), {name: 0 * x for name, x in begin().items()}
        for rate in rates:
            _, gradient = measured(params, X, Y)
            v = {name: momentum * v[name] + gradient[name] for name in params}
            params = {name: x - rate * v[name] for name, x in params.items()}
        told = measured.flow.scalars["rate"]
        assert np.isnan(told).all() if momentum else np.allclose(told, rates[:-1], rtol=2e-6)


@pytest.mark.parametrize(("rate", "least", "most"), [(1e-6, 1e-3, 0.5), (40.0, 1e-3, 0.5)])
def test_a_loop_is_told_a_rate_to_take(rate, least, most):
    measured, params = ut.flow.recorded(network), begin()
    with np.errstate(all="ignore"):
        for _ in range(60):
            _, gradient = measured(params, X, Y)
            params = {name: x - rate * gradient[name] for name, x in params.items()}
    found = measured.findings[0]
    assert found.kind in ("step-too-small", "step-too-large") and f"a learning rate of {rate:g}" in found.cause.lower()
    names: dict[str, float] = {}
    exec(found.remedies[0].code, names)
    assert least <= names["rate"] <= most


def test_targets_that_move_by_themselves_are_no_order_of_rows():
    """As those that a network makes of what it predicts, which grow while inputs stay as they are."""
    rng = np.random.default_rng(0)
    inputs, w = rng.standard_normal((2000, 4)), rng.standard_normal(4)
    y = inputs @ w

    def loss(p, X, y):
        return np.mean((np.tanh(X @ p["W"]) @ p["v"] - y) ** 2)

    for ordered in (False, True):
        p, measured = {"W": rng.standard_normal((4, 16)), "v": np.zeros(16)}, ut.flow.recorded(loss)
        order = np.argsort(y)
        for i in range(120):
            rows = order[(40 * i) % 2000 :][:40] if ordered else rng.integers(0, 2000, 40)
            target = y[rows] if ordered else y[rows] + 0.1 * i
            _, gradient = measured(p, inputs[rows], target)
            p = {name: x - 0.05 * gradient[name] for name, x in p.items()}
        assert ("oscillation" in [x.kind for x in measured.findings]) == ordered


def test_a_column_of_ones_that_is_the_bias_is_left_alone():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 400)
    powers, y = np.stack([x**0, x, x**2], axis=1), 1 - x + 0.5 * x**2

    def line(w, X, y):
        return np.mean((X @ w - y) ** 2)

    def with_bias(p, X, y):
        return np.mean((X @ p["w"] + p["b"] - y) ** 2)

    for loss, p, told in (
        (line, np.zeros(3), []),
        (with_bias, {"w": np.zeros(3), "b": np.zeros(1)}, ["constant-columns"]),
    ):
        measured = ut.flow.recorded(loss)
        for _ in range(200):
            rows = rng.integers(0, 400, 64)
            _, gradient = measured(p, powers[rows], y[rows])
            p = ut.trees.map(lambda a, g: a - 0.2 * g, p, gradient)
        assert [x.kind for x in measured.findings] == told


def test_a_likelihood_of_data_without_targets_may_fall_by_little():
    """A mixture of two normal densities that are hardly apart: the loss cannot fall far, and nobody knows how far."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((1000, 2)) + np.where(rng.random((1000, 1)) < 0.5, 1.5, -1.5)

    def likelihood(p, X):
        d = np.sum((X[:, None] - p["mean"]) ** 2, axis=2)
        return -np.mean(np.log(np.sum(np.exp(-d / 2), axis=1) / 2)) + np.log(2 * np.pi)

    p, measured = {"mean": rng.standard_normal((2, 2))}, ut.flow.recorded(likelihood)
    for _ in range(200):
        rows = rng.integers(0, 1000, 64)
        _, gradient = measured(p, data[rows])
        p = {"mean": p["mean"] - 0.2 * gradient["mean"]}
    assert [x.kind for x in measured.findings] == []
