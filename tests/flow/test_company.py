"""Examples of a batch that mix are told, in a model and in a loop of one's own; what is meant to look around is not."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow.company import changed_example, find_mixing, others_change

RNG = np.random.default_rng(3)
X = RNG.normal(size=(400, 8))
LABELS = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=400) > 0).astype(int)
Y = ut.one_hot(LABELS, 2)

MIXING = {
    "mean": lambda h: h - h.mean(axis=0),
    "softmax": lambda h: ut.softmax(h, axis=0),
    "reshape": lambda h: np.reshape(h.T, h.shape),
    "max": lambda h: h / np.max(np.abs(h), axis=0),
    "sum": lambda h: h / np.sum(np.exp(h), axis=0),
}
APART = {
    "nothing": lambda h: h,
    "the mean of each example": lambda h: h - h.mean(axis=1, keepdims=True),
    "softmax of each example": lambda h: 4 * ut.softmax(h, axis=1),
    "the largest of all, which cancels": lambda h: (
        4 * np.exp(h - np.max(h)) / np.sum(np.exp(h - np.max(h)), 1)[:, None]
    ),
}


def by_jacobian(f, h):
    """The largest derivative of what f gives for one example by another example, by central differences."""
    found = 0.0
    for place in np.ndindex(h.shape):
        shift = np.zeros_like(h)
        shift[place] = 1e-5
        change = np.abs(f(h + shift) - f(h - shift)) / 2e-5
        change[place[0]] = 0
        found = max(found, float(change.max()))
    return found


@pytest.mark.parametrize("name", [*MIXING, *APART])
def test_models_that_mix_are_those_whose_derivative_by_other_examples_is_not_0(name):
    f = {**MIXING, **APART}[name]
    model = nn.initialize(nn.Sequential(nn.Dense(8, 6), f, nn.Dense(6, 2)), dtype=np.float64)
    found, slope = find_mixing(model, X), by_jacobian(model, X[:9])
    assert (found is not None) == (slope > 1e-6) == (name in MIXING)
    assert found is None or found["place"] == "layers[1], <lambda>"


@pytest.mark.parametrize("name", [*MIXING, *list(APART)[:3]])
def test_a_training_whose_model_mixes_is_told(name):
    f = {**MIXING, **APART}[name]
    model = nn.Sequential(nn.Dense(8, 16), f, nn.Dense(16, 2))
    data, settings = (X.astype(np.float32), LABELS), {"epochs": 8, "progress": False, "optimizer": optim.adam(1e-2)}
    found = ut.train(model, data, loss="categorical_cross_entropy", **settings).findings
    assert [x.kind for x in found if x.kind == "mixed-examples"] == ["mixed-examples"] * (name in MIXING)


def test_batch_normalisation_does_not_mix_predictions():
    model = nn.initialize(nn.Sequential(nn.Dense(8, 6), nn.BatchNorm(6), "relu", nn.Dense(6, 2)))
    assert find_mixing(model, X.astype(np.float32)) is None


def loop(f, random=True):
    def loss(p, X, Y):
        h = f(np.tanh(X @ p["W"] + p["b"]))
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["V"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(8, 16)) / 3, "b": np.zeros(16), "V": rng.normal(size=(16, 2)) / 4}
    measured, rule = ut.flow.recorded(loss), optim.adam(1e-2)
    state = rule.init(p)
    for _ in range(60):
        rows = rng.integers(0, 400, 64) if random else np.arange(64)
        _, gradient = measured(p, X[rows], Y[rows])
        p, state = rule.update(gradient, state, p)
    return [x for x in measured.findings if x.kind == "mixed-examples"]


@pytest.mark.parametrize("name", MIXING)
def test_a_loop_that_mixes_is_told_with_operation_and_line(name):
    (found,) = loop(MIXING[name])
    assert f"{name} (test_company.py:" in found.cause


NEIGHBOURS = np.eye(64) + np.eye(64, k=1) + np.eye(64, k=-1)


@pytest.mark.parametrize(
    ("f", "random"),
    [
        *[(f, True) for f in APART.values()],
        (lambda h: (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5), True),  # BatchNorm, written by hand
        (lambda h: 2 * (h - h.mean(axis=0)) / (h.std(axis=0) + 1e-3) + 0.1, True),
        (lambda h: NEIGHBOURS @ h / 3, True),  # of a graph
        (lambda h: ut.softmax(h @ h.T, axis=1) @ h, True),  # a sequence that attends to itself
        (lambda h: h - h.max(axis=0), False),  # a set of rows that is always the same
    ],
)
def test_a_loop_that_is_meant_to_look_around_is_not(f, random):
    assert loop(f, random) == []


def test_the_example_that_is_changed():
    assert changed_example(np.ones((5, 2))) is None and changed_example(np.eye(2)) is None
    codes = np.array([[1, 2], [1, 2], [3, 4]])
    np.testing.assert_array_equal(changed_example(codes), [[3, 4], [1, 2], [3, 4]])
    a = np.ones((4, 3), np.float32)
    b = a * np.float32(1 + 3e-7)
    assert others_change(a, b) == 0 and others_change(a, 2 * a) == 1 and others_change(a, a[:3]) == 0


def test_inputs_that_are_changed_before_they_meet_weights():
    def loss(p, X, Y):
        h = np.tanh((X - X.mean(axis=0)) @ p["W"])
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["V"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    p, measured = {"W": rng.normal(size=(8, 6)), "V": rng.normal(size=(6, 2))}, ut.flow.recorded(loss)
    for _ in range(9):
        rows = rng.integers(0, 400, 32)
        _, gradient = measured(p, X[rows], Y[rows])
        p = {name: w - 0.1 * gradient[name] for name, w in p.items()}
    assert [x.kind for x in measured.findings] == ["mixed-examples"]


@pytest.mark.parametrize("units", [16, 32])
def test_as_many_units_as_examples(units):
    def loss(p, X, Y):
        h = np.maximum(X @ p["W"], 0)
        return -np.mean(np.sum(Y * ut.log_softmax(h / (np.std(h, axis=0) + 0.1) @ p["V"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    p, measured = {"W": rng.normal(size=(8, units)), "V": rng.normal(size=(units, 2)) / 4}, ut.flow.recorded(loss)
    for _ in range(9):
        rows = rng.integers(0, 400, 32)
        _, gradient = measured(p, X[rows], Y[rows])
        p = {name: w - 0.1 * gradient[name] for name, w in p.items()}
    assert [x.kind for x in measured.findings] == ["mixed-examples"]


def test_a_normalisation_of_columns_that_hardly_vary():
    """As of pixels at the border: a number that is added to the deviation leaves them less than 1."""

    def loss(p, X, Y):
        h = np.tanh((X - X.mean(axis=0)) / (X.std(axis=0) + 1e-2) @ p["W"])
        return -np.mean(np.sum(Y * ut.log_softmax(h @ p["V"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    size = np.array([1, 1, 1, 1, 1, 0.03, 0.1, 0.06])
    scaled = X * size / X.std(axis=0)
    spread = scaled.std(axis=0) / (scaled.std(axis=0) + 1e-2)
    assert spread.min() < 0.9 * spread.max()
    p, measured = {"W": rng.normal(size=(8, 6)), "V": rng.normal(size=(6, 2))}, ut.flow.recorded(loss)
    for _ in range(9):
        rows = rng.integers(0, 400, 128)
        _, gradient = measured(p, scaled[rows], Y[rows])
        p = {name: w - 0.1 * gradient[name] for name, w in p.items()}
    assert [x for x in measured.findings if x.kind == "mixed-examples"] == []


def test_a_discriminator_that_looks_at_how_much_a_batch_varies():
    """Minibatch deviation: Karras et al., Progressive growing of GANs, ICLR 2018, section 3."""

    def judge(p, x):
        h = np.tanh(x @ p["W"] + p["b"])
        varied = np.mean(h.std(axis=0)) * np.ones((len(x), 1))
        return np.concatenate([h, varied], axis=1) @ p["v"]

    def loss(p, real, made):
        return np.mean(np.logaddexp(0, -judge(p, real))) + np.mean(np.logaddexp(0, judge(p, made)))

    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(6, 16)) / 3, "b": np.zeros(16), "v": rng.normal(size=(17, 1)) / 4}
    measured = ut.flow.recorded(loss)
    for _ in range(20):
        _, gradient = measured(p, 1 + rng.normal(size=(64, 6)), rng.normal(size=(64, 6)))
        p = {name: w - 0.1 * gradient[name] for name, w in p.items()}
    assert [x for x in measured.findings if x.kind == "mixed-examples"] == []


def test_a_mean_that_is_taken_from_columns_of_one_size_is_no_normalisation():
    """Only what gives the same for inputs twice as large is one."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    white = np.linalg.qr(X - X.mean(axis=0))[0] * np.sqrt(len(X))  # columns of deviation 1 that do not correlate

    def loss(p, X, Y, f):
        return -np.mean(np.sum(Y * ut.log_softmax(f(X @ p["W"]) @ p["V"], axis=1), axis=1))

    for f, told in (
        (lambda h: h - h.mean(axis=0), True),
        (lambda h: (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5), False),
    ):
        measured = ut.flow.recorded(lambda p, X, Y, f=f: loss(p, X, Y, f))
        p = {"W": turn, "V": rng.normal(size=(8, 2)) / 3}
        for i in range(3):
            measured(p, white[i:], Y[i:])
        assert ("mixes" in measured.flow.facts) == told


def test_examples_that_a_reshape_brings_among_others_before_a_transposition_mix():
    def loss(p, X, Y):
        h = np.swapaxes(X.reshape(2, -1, 4), 0, 1).reshape(len(X), -1)  # meant to be reshape(-1, 2, 4)
        return -np.mean(np.sum(Y * ut.log_softmax(np.tanh(h @ p["W"]) @ p["V"], axis=1), axis=1))

    rng = np.random.default_rng(0)
    measured, p = ut.flow.recorded(loss), {"W": rng.normal(size=(8, 16)) / 3, "V": rng.normal(size=(16, 2)) / 4}
    for i in range(5):
        measured(p, X[32 * i : 32 * i + 32], Y[32 * i : 32 * i + 32])
    assert measured.flow.facts["mixes"]["operation"] == "reshape"


def test_examples_of_a_loop_whose_targets_are_its_inputs_mix():
    def loss(p, X):
        h = np.tanh(X @ p["W"])
        return np.mean(((h - h.mean(axis=0)) @ p["V"] - X) ** 2)

    rng = np.random.default_rng(0)
    measured, p = ut.flow.recorded(loss), {"W": rng.normal(size=(8, 6)) / 3, "V": rng.normal(size=(6, 8)) / 3}
    for i in range(6):
        _, gradient = measured(p, X[64 * i : 64 * i + 64])
        p = {name: w - 0.1 * gradient[name] for name, w in p.items()}
    assert [x.kind for x in measured.findings] == ["mixed-examples"]
