"""Parameters before a function that is flat get no gradient: that is told of the program, with the function's line."""

from copy import copy

import numpy as np
import pytest

import undertow as ut
from undertow import nn, primitives
from undertow.flow.reach import find_blocked

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
OWN = copy(primitives.sign)  # in no registry
FLAT = {
    "sign": np.sign, "round": np.round, "floor": np.floor, "ceil": np.ceil,
    "greater": lambda x: (x > 0).astype(x.dtype), "argmax": lambda x: np.argmax(x, axis=1)[:, None] * 1.0,
}  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_what_difference_quotients_say_is_flat_is_found(name):
    """A small step of the parameters before it changes nothing, one of those behind it does."""
    params = {"a": RNG.standard_normal((6, 4)), "b": RNG.standard_normal((4 if name != "argmax" else 1, 1))}

    def loss(params, X, y):
        return np.mean((FLAT[name](X @ params["a"]) @ params["b"]) ** 2)

    def slope(key):
        moved = {**params, key: params[key] + 1e-9}
        return (loss(moved, X, ()) - loss(params, X, ())) / 1e-9

    assert slope("a") == 0 and abs(slope("b")) > 1e-3
    found = find_blocked(loss, params, X, ())
    assert [(x["path"], x["operation"]) for x in found] == [("a", name)]
    assert found[0]["line"].startswith("test_reach.py:")


def test_what_is_meant_or_not_read_or_learns_by_another_way_is_left_alone():
    params = {"a": np.ones(3), "b": np.ones(3)}
    for loss in (
        lambda p, X, y: np.sum(ut.stop_gradient(p["a"]) * p["b"]),
        lambda p, X, y: np.sum(np.sign(ut.stop_gradient(p["a"])) * p["b"]),
        lambda p, X, y: np.sum(p["b"] ** 2),
        lambda p, X, y: np.sum(OWN(p["a"]) * p["b"]),  # whose rules are another's matter
        lambda p, X, y: np.sum(np.sign(p["a"]) * p["b"] + p["a"]),
        lambda p, X, y: np.sum((p["a"] + ut.stop_gradient(np.sign(p["a"]) - p["a"])) * p["b"]),  # straight through
        lambda p, X, y: np.sum(np.where(p["a"] > 0, p["a"], 0.1 * p["a"]) * p["b"]),
    ):
        assert find_blocked(loss, params, (), ()) == []


SETTINGS = {"loss": "categorical_cross_entropy", "epochs": 10, "progress": False, "optimizer": ut.optim.adam(3e-3)}


def build(between):
    return nn.Sequential(nn.Dense(6, 16), between, nn.Dense(16, 16), "tanh", nn.Dense(16, 2))


@pytest.mark.parametrize("name", ["sign", "round", "greater"])
def test_a_model_whose_first_layer_stays_as_it_was_is_told(name):
    run = ut.train(build(FLAT[name]), (X, LABELS), **SETTINGS)
    begin = nn.initialize(build(FLAT[name]), 0).layers[0].W
    np.testing.assert_array_equal(run.model.layers[0].W, begin)
    (found,) = run.findings
    assert (found.kind, found.severity, found.paths, found.step) == ("vanishing", "warning", ("layers[0]",), 0)
    assert f"No gradient passes {name}" in found.cause and "layers[0].W, layers[0].b stay" in found.cause


def test_the_remedy_lets_a_gradient_through():
    """Its code, with the model's own function: backward as if the flat one were not there."""
    run = ut.train(build(lambda x: x + ut.stop_gradient(np.sign(x) - x)), (X, LABELS), **SETTINGS)
    assert run.findings == [] and "x + ut.stop_gradient(np.sign(x) - x)" in run_of_sign().remedies[0].code


def run_of_sign():
    return ut.train(build(np.sign), (X, LABELS), **SETTINGS).findings[0]
