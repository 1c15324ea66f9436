"""A loop of one's own whose loss stands near its beginning is told so if it uses nothing of its inputs, else not."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.dealt import deal_anew


def poisson(p, X, y):
    rate = X @ p["w"] + p["c"]
    return np.mean(np.exp(rate) - y * rate)


def fit(loss, p, X, y, n=200, rate=0.05):
    rng, measured = np.random.default_rng(0), ut.flow.recorded(loss)
    for _ in range(n):
        rows = rng.choice(len(X), 64, replace=False)
        _, gradient = measured(p, X[rows], y[rows])
        p = {name: x - rate * gradient[name] for name, x in p.items()}
    return measured


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("told", [True, False])
def test_a_loss_with_an_offset_that_has_converged_is_no_plateau(seed, told):
    """Of counts the loss has a part that nothing can take away; where they have nothing to do with X, it is told."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((600, 4))
    y = rng.poisson(1.2 * np.exp(0.5 * (X[:, 0] if not told else rng.standard_normal(600))))
    measured = fit(lambda *args: poisson(*args) + 2, {"w": np.zeros(4), "c": np.array(0.2)}, X, y)
    assert [x.kind for x in measured.findings] == ["plateau"] * told
    assert (measured.flow.facts["dealt"]["skill"] > 3) != told


def test_the_rise_is_that_of_the_correlation():
    """For predictions f, E (f − y)² rises by 2 cov(f, y) if y is dealt out anew: 2 w² var(X)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 1))
    y = 0.5 * X + rng.standard_normal((4000, 1))
    batches = [(X[i::8], y[i::8]) for i in range(8)]
    found = deal_anew(lambda w, X, y: np.mean((w * X - y) ** 2), 0.5, batches, 1)
    assert found["rise"] == pytest.approx(0.5, abs=0.06)
    assert found["skill"] == pytest.approx(0.5 / np.sqrt(1.25 * 0.25 * 4 / 4000), rel=0.15)


def test_what_cannot_be_dealt_is_left_alone():
    def loss(w, X, y):
        assert (np.diff(y) >= 0).all()
        return np.mean((w * X - y) ** 2)

    X = np.arange(20.0)
    for args, place in (((X, X), 1), ((X, X), None), ((X[:3], X[:3]), 1), ((X, np.float64(1)), 1)):
        assert deal_anew(loss, 1.0, [args], place) is None


def test_the_loss_is_computed_for_it_where_it_stands_once_a_step_and_not_to_be_shown():
    """It may take long, and draw random numbers of its own."""
    calls = []

    def loss(*args):
        calls.append(1)
        return poisson(*args) + 2

    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 4))
    for rate, stands in ((np.exp(1.5 * X[:, 0]), False), (np.ones(600), True)):
        y = rng.poisson(rate)
        measured = fit(loss, {"w": np.zeros(4), "c": np.array(0.2)}, X, y)
        known = len(calls)
        assert repr(measured).endswith("199 steps)") and len(calls) == known
        found = measured.flow.facts.get("dealt")
        assert (found is not None) == stands and len(calls) - known <= 48 * stands
        known = len(calls)
        assert measured.flow.facts.get("dealt") == found and measured.findings is not None and len(calls) == known
    measured({"w": np.ones(4), "c": np.array(0.2)}, X, y)
    known = len(calls)
    assert measured.flow.facts["dealt"] != found and 0 < len(calls) - known <= 48


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("size", [16, 64])
def test_a_loop_that_learns_the_little_that_there_is_to_learn_is_told_nothing(classes, size):
    """Inputs explain 2 % of the variance: eight batches of 16 rows would not show it, 512 rows do."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 8))
    score = 0.15 * X[:, :1] + np.sqrt(1 - 0.15**2) * rng.normal(size=(4000, 1))
    y = ut.one_hot((score[:, 0] > 0).astype(int), 2) if classes else score

    def loss(p, X, y):
        z = np.tanh(X @ p[0] + p[1]) @ p[2]
        return -np.mean(np.sum(y * ut.log_softmax(z, axis=1), axis=1)) if classes else np.mean((z - y) ** 2)

    p = rng.normal(size=(8, 16)) / 3, np.zeros(16), rng.normal(size=(16, y.shape[1])) / 8
    measured, rule = ut.flow.recorded(loss), ut.optim.adam(1e-3)
    state = rule.init(p)
    for _ in range(600):
        rows = rng.integers(0, 4000, size)
        _, gradient = measured(p, X[rows], y[rows])
        p, state = rule.update(gradient, state, p)
    assert [x.kind for x in measured.findings] == []
    assert measured.flow.facts["dealt"]["rows"] == 512 and measured.flow.facts["dealt"]["skill"] > 1
