"""Activations that a model is given as functions of one's own are the ones that they compute."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.activations import KNOWN, name_function
from undertow.flow.changes import with_activation

DIGITS = ut.data.load_digits()
SETTINGS = {"loss": "categorical_cross_entropy", "epochs": 8, "validation": 0.2, "progress": False}


def relu(z):
    return np.where(z > 0, z, 0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


OWN = {
    "relu": [relu, lambda z: np.maximum(0, z), lambda z: z * (z > 0), nn.Lambda(relu, "mine")],
    "sigmoid": [sigmoid, lambda z: 0.5 * (1 + np.tanh(z / 2))],
    "tanh": [np.tanh, lambda z: (np.exp(2 * z) - 1) / (np.exp(2 * z) + 1)],
    "leaky_relu": [lambda z: np.where(z > 0, z, 0.01 * z)],
    "silu": [lambda z: z * sigmoid(z)],
    "gelu": [lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))],
    None: [np.sin, lambda z: z, np.abs, lambda z: z[:, :2], lambda z: z.shape, nn.Dense(4, 4), lambda z: z / np.sum(z)],
}


@pytest.mark.parametrize("name", OWN)
def test_functions_are_named_by_what_they_give(name):
    assert [name_function(f) for f in OWN[name]] == [name] * len(OWN[name])


def test_no_two_activations_are_taken_for_one_another():
    assert [name_function(nn.ACTIVATIONS[name]) for name in KNOWN] == list(KNOWN)


@pytest.mark.parametrize("f", [np.tanh, lambda z: np.tanh(z)], ids=["numpy's", "own"])
def test_the_record_holds_what_they_give(f):
    run = ut.train(
        nn.Sequential(nn.Dense(64, 16), f, nn.Dense(16, 10)), (DIGITS.X, DIGITS.y), **SETTINGS | {"epochs": 1}
    )
    first = run.flow.layers[0]
    assert (first.activation, first.h_path) == ("tanh", "layers[1]")
    assert (run.flow.stat("h.rms")[:, 0] < run.flow.stat("z.rms")[:, 0]).all()
    assert (run.flow.stat("h.max")[:, 0] <= 1).all()


def test_layers_of_them_die_and_saturate_as_others_do():
    dead = nn.Dense(64, 32, b=np.full(32, -10, np.float32))
    run = ut.train(nn.Sequential(dead, relu, nn.Dense(32, 10)), (DIGITS.X, DIGITS.y), **SETTINGS)
    assert [x.kind for x in run.findings] == ["born-dead-layer"]
    wide = [x for _ in range(2) for x in (nn.Dense(64, 64, init=nn.normal(deviation=3.0)), np.tanh)]
    model = nn.Sequential(*wide, nn.Dense(64, 10))
    run = ut.train(model, (DIGITS.X, DIGITS.y), optimizer=ut.optim.sgd(0.01), **SETTINGS)
    assert [x.kind for x in run.findings] == ["saturation"]


@pytest.mark.parametrize(("f", "told"), [(sigmoid, ["loss-activation-mismatch"]), (lambda z: z, [])])
def test_scores_that_a_function_of_ones_own_bounds_are_told(f, told):
    y = (DIGITS.y % 2)[:, None].astype(np.float32)
    model = nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 1), f)
    run = ut.train(model, (DIGITS.X, y), **SETTINGS | {"loss": "binary_cross_entropy"})
    assert [x.kind for x in run.findings] == told
    assert not told or "sigmoid bounds them" in run.findings[0].cause


def test_remedies_put_another_in_their_place():
    model = nn.Sequential(nn.Dense(2, 3), sigmoid, nn.Dense(3, 1))
    assert with_activation(model, "relu", of="sigmoid").layers[1] is nn.relu


def test_numpys_tanh_is_the_activation_so_that_weights_begin_as_for_it():
    numpys, named = (nn.initialize(nn.Sequential(nn.Dense(4, 4), x, nn.Dense(4, 1)), 0) for x in (np.tanh, "tanh"))
    assert numpys.layers[1] is nn.tanh
    np.testing.assert_array_equal(numpys.layers[0].W, named.layers[0].W)


MIXING = {
    "a mean over units": lambda z: np.mean(z, axis=1, keepdims=True) + 0 * z,
    "a mean over examples": lambda z: np.mean(z, axis=0) + 0 * z,
    "softmax": lambda z: ut.softmax(z, axis=1),
    "other order": lambda z: z[:, ::-1],
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("more", [(), (nn.Dense(32, 16), "relu", nn.Dropout(0.1))], ids=["before the output", "within"])
def test_a_function_between_layers_that_takes_the_rank_away_is_told(name, more):
    between = nn.Lambda(MIXING[name], "between", keeps_width=True)
    model = nn.Sequential(nn.Dense(64, 32), "relu", between, *more, nn.Dense(16 if more else 32, 10))
    run = ut.train(model, (DIGITS.X, DIGITS.y), optimizer=ut.optim.adam(3e-3), **SETTINGS)
    mixes = name == "a mean over examples"
    kinds = {"a mean over units": ["rank-collapse"], "a mean over examples": ["mixed-examples"]}
    assert [x.kind for x in run.findings] == kinds.get(name, [])
    before, after = (row["rank"] for row in run.flow.looks[0].layers[:2])
    assert before > 5 and (after > 3 or run.findings)
    for found in run.findings:
        told = {x.text: str(x.value) for x in found.evidence}
        cause = told["follows from it: rank-collapse"] if mixes else found.cause
        assert "a function between them" in cause and ("the same for all examples" in cause) == mixes
        assert "layers[2], between" in found.cause if mixes else found.paths[0] == "layers[3]"


@pytest.mark.parametrize(("pool", "told"), [(np.sum, True), (np.mean, False)])
def test_a_sum_before_the_last_layer_is_named_where_it_makes_the_loss_too_large(pool, told):
    """64 members of a set: their sum is √64 to 64 times as large as one, and so is the output; their mean is not."""
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(600, 64, 6)).astype(np.float32)
    labels = (sets[:, :, 0].mean(axis=1) > 0).astype(int)
    model = nn.Sequential(nn.Dense(6, 32), "relu", nn.Lambda(lambda h: pool(h, axis=1), "pool"), nn.Dense(32, 3))
    run = ut.train(
        model, (sets, labels), loss="categorical_cross_entropy", epochs=3, optimizer=ut.optim.adam(1e-3),
        progress=False, seed=0,
    )  # fmt: skip
    found = [x for x in run.findings if x.kind == "initial-loss"]
    assert len(found) == told
    for x in found:
        assert "a function between them, such as a sum over many" in x.cause
        assert x.remedies[0].code.startswith("h = np.sum(h, axis=1) / np.sqrt(h.shape[1])")


def test_what_only_takes_what_is_positive_is_watched_in_a_loop():
    """A Gaussian process: its covariance has no factor with its sign turned."""
    x = np.linspace(0, 1, 12)

    def loss(params, x, y):
        gap = (x[:, None] - x) / np.exp(params["length"])
        K = ut.watch(np.exp(-0.5 * gap**2) + 0.1 * np.eye(12), "K")
        root = np.linalg.solve(np.linalg.cholesky(K), y)
        return np.sum(root**2) + np.linalg.slogdet(K)[1]

    measured, params = ut.flow.recorded(loss), {"length": np.array([-1.0])}
    for _ in range(3):
        value, gradient = measured(params, x, np.sin(6 * x))
        params = {"length": params["length"] - 0.01 * gradient["length"]}
    assert np.isfinite(value) and len(measured.flow) == 2  # the third ends with the next call
