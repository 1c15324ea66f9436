"""Where nothing is learned, it is told whether inputs carry a signal at all, and how to see it."""

import math

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow import nn, optim
from undertow.flow.neighbours import chance_skill, measure_signal
from undertow.flow.rules.nothing import compare_with_chance, tell_signal

RNG = np.random.default_rng(2)
X = RNG.normal(size=(800, 8)).astype(np.float32)
NOISE, COINS = RNG.normal(size=(800, 1)).astype(np.float32), RNG.integers(0, 2, 800)
WAVE = (np.sin(3 * X[:, :1]) + 0.1 * NOISE).astype(np.float32)


def test_the_skill_of_random_orders_has_mean_0_and_deviation_1():
    f, t = RNG.normal(size=(50, 3)) ** 2, RNG.normal(size=(50, 3)) ** 3
    dealt = [chance_skill(f, t[RNG.permutation(50)]) for _ in range(4000)]
    assert abs(np.mean(dealt)) < 0.05 and np.std(dealt) == pytest.approx(1, abs=0.05)
    one = RNG.normal(size=(2, 50, 1))
    assert chance_skill(*one) == pytest.approx(7 * np.corrcoef(one[0].T, one[1].T)[0, 1])


def test_what_says_nothing_is_rarely_taken_for_a_signal():
    found = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n, d = rng.choice([80, 200, 600]), rng.choice([1, 3, 20])
        y = rng.normal(size=n) if seed % 2 else rng.integers(0, 4, n)
        found.append(measure_signal(rng.normal(size=(n, d)), y, "number" if seed % 2 else "classes")["neighbours"])
    assert np.mean(np.array(found) > 3) < 0.03 and max(found) < 5


def test_the_nearest_rows_are_those_of_scikit_learn():
    neighbors = pytest.importorskip("sklearn.neighbors")
    x, y = X[:200].astype(np.float64), WAVE[:200]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    near = neighbors.NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x, return_distance=False)[:, 1:]
    wanted = chance_skill(y[near].mean(axis=1), y.astype(np.float64))
    assert measure_signal(X[:200], y, "number")["neighbours"] == pytest.approx(wanted, rel=1e-6)


def train(y, loss, units=1, rate=1e-3, hidden=32, epochs=30):
    model = nn.Sequential(nn.Dense(8, hidden), "relu", nn.Dense(hidden, units))
    settings = {"validation": 0.2, "progress": False, "epochs": epochs, "seed": 3}
    return ut.train(model, (X, y), loss=loss, optimizer=optim.adam(rate), **settings)


NOTHING = {
    "coins": lambda: train(COINS, "categorical_cross_entropy", 2),
    "numbers": lambda: train(NOISE, "mean_squared_error"),
    "numbers that are learned by heart": lambda: train(NOISE, "mean_squared_error", hidden=256, epochs=150),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_training_on_inputs_without_a_signal_is_told_that_there_may_be_none(name):
    (found,) = NOTHING[name]().findings
    assert found.kind in ("plateau", "over-fitting")
    assert "the inputs may carry no signal" in found.cause
    assert found.remedies[0].sentence.startswith("Look whether each row of y belongs to its row of X")
    assert found.remedies[1].sentence.startswith("Look whether a training on shuffled targets does as well")
    assert "ut.train(model, (X, shuffled)" in found.remedies[1].code


@pytest.mark.parametrize(
    ("signal", "words", "shuffled"),
    [
        (
            {"neighbours": 9.0, "linear": 1.0},
            "There is something to learn: the nearest rows tell of the target.",
            False,
        ),
        (
            {"neighbours": 1.0, "linear": 9.0},
            "There is something to learn: a linear function tells of the target.",
            False,
        ),
        ({"neighbours": 1.0, "linear": math.nan}, "The nearest rows tell nothing of the target: the inputs may", True),
        ({"neighbours": 4.0, "linear": math.nan}, "", True),
    ],
)
def test_what_is_said_of_a_signal(signal, words, shuffled):
    flow = made_flow(facts={"signal": signal})
    assert tell_signal(flow)[0].strip().startswith(words)
    assert any("shuffled" in x.sentence for x in compare_with_chance(flow)) == shuffled


@pytest.mark.parametrize(("y", "told"), [(COINS, True), ((X[:, 0] > 0) * 1, False)])
def test_loops_of_ones_own(y, told):
    def loss(p, X, y):
        z = np.tanh(X @ p["W"]) @ p["v"]
        return np.mean(np.logaddexp(0, z) - y * z)

    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(8, 16)) / 3, "v": rng.normal(size=16) / 4}
    measured = ut.flow.recorded(loss)
    for _ in range(300):
        rows = rng.integers(0, 800, 64)
        _, gradient = measured(p, X[rows].astype(np.float64), y[rows].astype(np.float64))
        p = {name: w - 0.02 * gradient[name] for name, w in p.items()}
    found = measured.findings
    assert any("may carry no signal" in x.cause for x in found) == told
    assert not told or "y = y[rng.permutation(len(y))]" in found[0].remedies[1].code
