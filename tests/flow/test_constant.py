"""The loss of the best constant output is that of formulas and of SciPy; what ends near it is told to stand still."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_diabetes

import undertow as ut
from undertow import nn
from undertow.flow.constant import is_mean, loss_of_constant
from undertow.nn.loss_record import Loss
from undertow.nn.losses import find_loss

RNG = np.random.default_rng(0)
NUMBERS = RNG.gamma(2.0, size=(400, 1))
LABELS = RNG.choice(3, size=400, p=[0.6, 0.3, 0.1])
LINEAR = nn.Sequential(nn.Dense(2, 1))


def entropy(p):
    return float(-np.sum(p * np.log(p)))


SHARES = np.bincount(LABELS) / 400
KNOWN = {  # the loss, the targets as it takes them, and what is derived on paper
    "mean_squared_error": (NUMBERS, np.var(NUMBERS)),
    "mean_absolute_error": (NUMBERS, np.mean(np.abs(NUMBERS - np.median(NUMBERS)))),
    "binary_cross_entropy_with_logits": ((LABELS == 0)[:, None] * 1.0, entropy(np.array([SHARES[0], 1 - SHARES[0]]))),
}


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_what_is_known_on_paper(name):
    y, expected = KNOWN[name]
    assert loss_of_constant(find_loss(name, LINEAR), None, y, (1,)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("loss", [{"name": "huber", "delta": 0.5}, {"name": "quantile"}, "log_cosh", "hinge"])
def test_it_is_what_scipy_finds(loss):
    found, y = find_loss(loss, LINEAR), NUMBERS if loss != "hinge" else np.where(LABELS[:, None] == 0, 1.0, -1.0)
    by_scipy = minimize(lambda c: float(found(np.full_like(y, c[0]), y)), [1.0], method="Nelder-Mead")
    assert loss_of_constant(found, None, y, (1,)) == pytest.approx(by_scipy.fun, rel=2e-3)


def test_what_is_sought_is_what_the_last_activation_is_given():
    """Shares of classes, from softmax: the entropy of the classes, which no vector of any numbers would stop at."""
    own = Loss("own", lambda p, y: -np.mean(np.sum(y * np.log(p), axis=1)), "own")
    assert loss_of_constant(own, "softmax", ut.one_hot(LABELS, 3), (3,)) == pytest.approx(entropy(SHARES), rel=1e-4)
    assert loss_of_constant(own, None, ut.one_hot(LABELS, 3), (3,)) is None  # p without end


@pytest.mark.parametrize(
    "loss",
    [lambda z, y: -np.mean((z - y) ** 2), lambda z, y: np.mean(z), lambda z, y: np.mean((z - y) ** 2) - 100.0,
     lambda z, y: np.mean(np.log(z - 1000 * y)), lambda z, y: 1.0 if z > 0 else 2.0],
    ids=["falls for ever", "falls like a line", "below 0", "not finite", "asks for values"],
)  # fmt: skip
def test_what_has_no_such_loss_has_none(loss):
    assert loss_of_constant(Loss("own", loss, "own"), None, NUMBERS, (1,)) is None


def test_a_mean_is_told_from_a_sum():
    z = RNG.standard_normal((6, 2))
    for function, mean in (
        (lambda z, y: np.mean(z * y), True), (lambda z, y: np.sum(z * y), False),
        (lambda z, y: np.log(np.sum(np.exp(z))), False), (lambda z, y: [][0], True),
    ):  # fmt: skip
        assert is_mean(Loss("own", function, "own"), z, z) == mean


X = RNG.standard_normal((500, 2)).astype(np.float32)
STRANGE = RNG.permutation(X[:, 0] + 0.1 * RNG.standard_normal(500)).astype(np.float32)  # targets of other rows
SETTINGS = {"optimizer": ut.optim.adam(3e-3), "validation": 0.25, "progress": False}


def own_squares(z, y):
    return np.mean((z - y) ** 4)


def own_sum(z, y):
    return np.sum((z - y) ** 2)


@pytest.mark.parametrize("loss", ["mean_absolute_error", "huber", own_squares, own_sum])
def test_targets_of_other_rows_are_told_whatever_the_loss_is(loss):
    model = nn.Sequential(nn.Dense(2, 16), "tanh", nn.Dense(16, 1))
    y = (X[:, :1] + 0.1 * RNG.standard_normal((500, 1))).astype(np.float32)
    for target, told in ((STRANGE[:, None], ["plateau"]), (y, [])):
        run = ut.train(model, (X, target), loss=loss, epochs=60, **SETTINGS)
        found = [x.kind for x in run.findings if x.kind != "over-fitting"]
        assert found == told
    facts = run.flow.facts["output"]
    if loss is own_sum:  # a step sums over 64 rows
        assert not facts["is_mean"] and facts["expected_loss"] == pytest.approx(64 * y.var(), rel=0.4)


def test_a_loss_of_ones_own_far_above_that_of_a_constant_is_told():
    last = nn.Dense(16, 1, W=np.full((16, 1), 0.1, np.float32), b=np.full(1, 50, np.float32))
    run = ut.train(nn.Sequential(nn.Dense(2, 16), "tanh", last), (X, X[:, :1]), loss=lambda z, y: np.mean((z - y) ** 2),
                   epochs=5, **SETTINGS)  # fmt: skip
    (found,) = run.findings
    assert found.kind == "initial-loss" and "the variance of the target" not in found.cause
    assert run.flow.facts["output"]["expected_loss"] == pytest.approx(X[:, 0].var(), rel=0.2)


def own_likelihood(o, y):
    return np.mean(0.5 * np.exp(-2 * o[:, 1:]) * (o[:, :1] - y) ** 2 + o[:, 1:])


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_a_likelihood_that_falls_below_0_swings_by_its_fall(scale):
    """It begins near 0, which is no size to hold its swings against."""
    rows, target = load_diabetes(return_X_y=True)
    Z = ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
    y = (scale * (target - target.mean()) / target.std()).astype(np.float32)[:, None]
    model = nn.Sequential(nn.Dense(10, 32), "tanh", nn.Dense(32, 2))
    run = ut.train(model, (Z, y), loss=own_likelihood, epochs=60, optimizer=ut.optim.adam(3e-3), validation=0.2,
                   progress=False)  # fmt: skip
    assert [x.kind for x in run.findings if x.kind != "over-fitting"] == []


def fit_counts(signal, of_other_rows=False, size=2.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    y = rng.poisson(np.exp(size + signal * (X[:, 0] - X[:, 1]))).astype(np.float32)[:, None]
    model = nn.Sequential(nn.Dense(5, 16), "tanh", nn.Dense(16, 1))
    data = (X, rng.permutation(y) if of_other_rows else y)
    settings = {"optimizer": ut.optim.adam(5e-3), "epochs": 50, "batch_size": 32, "progress": False}
    return ut.train(model, data, loss="poisson", validation=0.25, **settings)


def test_of_counts_the_loss_of_a_constant_and_the_least_are_those_of_the_deviance():
    """scikit-learn's deviance is twice what a loss is above the least one."""
    metrics = pytest.importorskip("sklearn.metrics")
    X = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    y = np.random.default_rng(2).poisson(3.0, size=(200, 1)).astype(np.float32)
    run = ut.train(nn.Sequential(nn.Dense(3, 1)), (X, y), loss="poisson", epochs=1, validation=None, progress=False)
    told = run.flow.facts["output"]["counts"]
    deviance = metrics.mean_poisson_deviance(y[:, 0], np.full(200, y.mean()))
    assert 2 * (told["constant"] - told["least"]) == pytest.approx(deviance) and (y == 0).any()
    assert told["constant"] == pytest.approx(y.mean() * (1 - np.log(y.mean())))


@pytest.mark.parametrize(
    ("signal", "of_other_rows", "told"), [(0.4, False, False), (0.4, True, True), (0.0, False, True)]
)
def test_counts_of_which_nothing_is_learned_are_told_though_their_loss_lies_below_0(signal, of_other_rows, told):
    run = fit_counts(signal, of_other_rows)
    constant = run.flow.facts["output"]["counts"]["constant"]
    assert run.history[-1]["loss"] < 0 and (run.history[-1]["validation_loss"] > constant - 0.3) == told
    found = [x for x in run.findings if x.kind in ("plateau", "over-fitting")]
    assert bool(found) == told
