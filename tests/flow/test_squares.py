"""Targets of a loop of one's own: known where its loss is one of squares, told where it does not learn."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.squares import Squares

RNG = np.random.default_rng(3)
X = RNG.normal(size=(600, 10))
LINE = X @ RNG.normal(size=(10, 1))


def predict(p, X):
    return np.tanh(X @ p[0] + p[1]) @ p[2] + p[3]


def squares(p, X, y):
    return np.mean((predict(p, X) - y) ** 2)


def parameters(outputs=1):
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(10, 32)) * np.sqrt(0.2), np.zeros(32), rng.normal(size=(32, outputs)) / 4, np.zeros(outputs)
    )  # fmt: skip


def train(loss, data, rate=0.02, steps=300, rule=None):
    measured, params, rng = ut.flow.recorded(loss), parameters(data[1].shape[1]), np.random.default_rng(1)
    state = rule.init(params) if rule else None
    for _ in range(steps):
        rows = rng.integers(0, len(X), 64)
        _, gradient = measured(params, *(x[rows] for x in data))
        if rule:
            params, state = rule.update(gradient, state, params)
        else:
            params = tuple(p - rate * g for p, g in zip(params, gradient, strict=True))
    return measured


def kinds(measured):
    return [x.kind for x in measured.findings]


@pytest.mark.parametrize(
    ("loss", "known"),
    [
        (squares, True),
        (lambda p, X, y: 3 * np.sum((y - predict(p, X)) ** 2) + 0.1 * np.sum(p[0] ** 2), True),
        (lambda p, X, y: np.mean((predict(p, X) - y) ** 2) + np.mean(np.abs(predict(p, X))), True),
        (lambda p, X, y: np.mean(np.abs(predict(p, X) - y)), False),
        (lambda p, X, y: np.mean(np.sqrt(1 + (predict(p, X) - y) ** 2)), False),
        (lambda p, X, y: np.mean(np.logaddexp(0, predict(p, X)) - y * predict(p, X)), False),
        (lambda p, X, y: np.mean((predict(p, X) - np.exp(y)) ** 2), False),
    ],
)
def test_a_loss_of_squares_is_known_and_its_outputs_are_read_off_its_gradient(loss, known):
    params, found = parameters(), Squares(loss)
    found.read(params, (X, LINE), 1)
    assert (found.place is not None) == known
    if known:
        found.add((X, LINE))
        told = found.told(params, [(X, LINE)])
        output = predict(params, X)
        assert told["output_rms"] == pytest.approx(np.sqrt(np.mean(output**2)), rel=1e-6)
        share = 1 - np.sum((LINE - output) ** 2) / np.sum((LINE - LINE.mean()) ** 2)
        assert told["learned"] == pytest.approx(share, rel=1e-6)
        assert (told["mean"], told["std"]) == ([LINE.mean()], [LINE.std()])


@pytest.mark.parametrize("rule", [None, ut.optim.adam(1e-2)])
def test_a_few_targets_far_from_all_others_are_told_and_not_the_rate(rule):
    y = LINE.copy()
    y[[3, 77, 200]] = 3000
    measured = train(squares, (X, y), rule=rule)
    (found,) = measured.findings
    assert found.kind == "target-not-scaled" and "far from all others" in found.cause
    bears = train(lambda p, X, y: np.mean(np.sqrt(1 + (predict(p, X) - y) ** 2) - 1), (X, y), rule=ut.optim.adam(1e-2))
    assert kinds(bears) == []


def test_targets_of_another_scale_are_told_where_they_are_not_learned():
    far = 5e4 * LINE + 2e5
    assert kinds(train(squares, (X, far), rate=1e-3, steps=100)) == ["target-not-scaled"]
    assert kinds(train(squares, (X, LINE), rate=0.05)) == []
    scaled = train(lambda p, X, y: np.mean((2e5 + 5e4 * predict(p, X) - y) ** 2) / 5e4**2, (X, far), rate=0.05)
    assert kinds(scaled) == []  # the network's outputs have the scale of the targets


def test_targets_that_are_learned_whatever_their_scale_are_left_alone():
    """A line with a mean of 100, by full batches and a rate that suits it."""
    y = 20 * X[:, :1] + 100
    measured, params = ut.flow.recorded(lambda p, X, y: np.mean((X @ p[0] + p[1] - y) ** 2)), (np.zeros((10, 1)), 0.0)
    for _ in range(200):
        _, gradient = measured(params, X, y)
        params = tuple(p - 0.1 * g for p, g in zip(params, gradient, strict=True))
    assert measured.flow.facts["squares"]["learned"] > 0.99 and kinds(measured) == []


def test_a_penalty_that_leaves_nothing_is_told_though_the_loss_came_down_a_long_way():
    """Targets dealt out anew make no difference then; the loss is ln 3 and was 70."""
    Y = ut.one_hot(np.argmax(X[:, :3], axis=1), 3)

    def loss(weight):
        return lambda p, X, Y: (
            -np.mean(np.sum(Y * ut.log_softmax(predict(p, X), axis=1), axis=1)) + weight * sum(np.sum(q**2) for q in p)
        )

    held = train(loss(1.0), (X, Y), rate=0.05)
    (found,) = held.findings
    assert found.kind == "plateau" and "nothing of the inputs is used" in found.cause
    assert held.flow.scalars["loss"][0] > 30 and held.flow.scalars["loss"][-1] == pytest.approx(np.log(3), rel=0.02)
    assert kinds(train(loss(1e-4), (X, Y), rate=0.2)) == []


def test_noise_that_a_loss_is_given_is_no_target():
    """Of a variational loss: other orders of the noise are as good, and the inputs are used."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 10))

    def loss(p, X, noise):
        z = X @ p[0] + np.exp(p[1]) * noise
        return np.mean(np.sum((z @ p[2] - X) ** 2, axis=1)) + 0.01 * np.mean(np.sum((X @ p[0]) ** 2, axis=1))

    measured, params = (
        ut.flow.recorded(loss),
        (rng.normal(size=(10, 2)) / 3, np.full(2, -3.0), rng.normal(size=(2, 10))),
    )
    for _ in range(300):
        rows = rng.integers(0, 600, 64)
        _, gradient = measured(params, codes[rows], rng.normal(size=(64, 2)))
        params = tuple(p - 0.01 * g for p, g in zip(params, gradient, strict=True))
    assert "dealt" not in measured.flow.facts and kinds(measured) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_makes_of_other_orders_is_no_use_of_the_inputs(dtype):
    """A penalty takes all weights to 0, so the outputs are the same: what the loss then rises by is a last digit."""
    told = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(600, 6)).astype(dtype)
        y = (rows[:, 0] + 0.3 * rng.normal(size=600)).astype(dtype)
        params = [rng.normal(size=(6, 8)) / 2.5, np.zeros(8), rng.normal(size=8) / 3, np.zeros(())]
        params = [np.asarray(x, dtype) for x in params]

        def loss(p, X, y):
            z = np.tanh(X @ p[0] + p[1]) @ p[2] + p[3]
            return np.mean((z - y) ** 2 + 3 * (np.sum(p[0] ** 2) + np.sum(p[2] ** 2)))

        measured = ut.flow.recorded(loss)
        for _ in range(300):
            chosen = rng.integers(0, 600, 64)
            _, gradient = measured(params, rows[chosen], y[chosen])
            params = [np.asarray(p - 0.05 * g, dtype) for p, g in zip(params, gradient, strict=True)]
        assert np.ptp(np.tanh(rows @ params[0] + params[1]) @ params[2]) < 1e-5
        (found,) = measured.findings  # and what follows from it
        told += [(found.kind, x.text) for x in found.evidence if "nothing of the inputs is used" in str(x.value)]
    assert told == [("over-regularised", "follows from it: plateau")] * 6


def test_targets_are_told_where_a_loop_has_diverged_by_them():
    rng = np.random.default_rng(0)
    X, p = rng.normal(size=(60, 4)), {"W": rng.normal(size=(4, 8)), "v": rng.normal(size=8)}
    y = 5000 + 900 * X[:, 0]
    measured = ut.flow.recorded(lambda p, X, y: np.mean((np.maximum(X @ p["W"], 0) @ p["v"] - y) ** 2))
    with np.errstate(all="ignore"):
        for _ in range(60):
            _, gradient = measured(p, X, y)
            p = {name: w - 0.05 * gradient[name] for name, w in p.items()}
    assert not np.isfinite(p["v"]).all() and measured.findings[0].kind == "target-not-scaled"
