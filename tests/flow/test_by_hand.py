"""Remedies for loops of one's own are lines of NumPy that run, and do what they say."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.findings import Remedy
from undertow.flow.rules.by_hand import DRAWN, by_hand
from undertow.nn import ACTIVATIONS


def run(name, change):
    """What the code of a remedy leaves, with the names that it takes."""
    rng = np.random.default_rng(0)
    W, b = rng.normal(size=(6, 6)), rng.normal(size=6)
    names = {"np": np, "ut": ut, "rng": rng, "h": rng.normal(size=(40, 6)), "W": W, "b": b}
    names |= {"gradient": {"W": 30 * W, "b": b}, "p": np.full((4, 2), 0.5), "Y": np.eye(2)[[0, 0, 0, 1]]}
    remedy = by_hand(Remedy("", "run = ut.train(model)", "--option", name, change))
    assert remedy.option == "" and remedy.code
    before = dict(names)
    exec(remedy.code, names)
    return before, names


@pytest.mark.parametrize("to", ["relu", "tanh", "leaky_relu"])
def test_activations(to):
    before, names = run("activation", {"to": to, "from": "sigmoid"})
    np.testing.assert_allclose(names["h"], ACTIVATIONS[to](before["h"] @ before["W"] + before["b"]))


@pytest.mark.parametrize("to", DRAWN)
def test_initial_weights_have_the_variance_that_they_should(to):
    rng = np.random.default_rng(0)
    names = {"np": np, "rng": rng, "W": np.zeros((400, 200))}
    exec(by_hand(Remedy("", "", "", "initialisation", {"to": to})).code, names)
    wanted = {"he_normal": 2 / 400, "lecun_normal": 1 / 400, "glorot_uniform": 2 / 600, "orthogonal": 1 / 400}[to]
    assert names["W"].shape == (400, 200) and np.var(names["W"]) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(("to", "axis", "mean"), [("layer", 1, 0.0), ("batch", 0, 0.0), ("rms", 1, None)])
def test_normalisations(to, axis, mean):
    _, names = run("normalisation", {"to": to})
    np.testing.assert_allclose(np.mean(names["z"] ** 2, axis=axis), 1, rtol=1e-3)
    assert mean is None or np.abs(names["z"].mean(axis=axis)).max() < 1e-12


def test_clipping_weights_and_residuals():
    _, names = run("clipping", {"limit": 0.5})
    assert np.sqrt(sum(np.sum(g**2) for g in names["gradient"].values())) == pytest.approx(0.5)
    _, names = run("weights", {"to": "balanced"})
    assert names["loss"] == pytest.approx(np.log(2))  # each class counts one half, whatever its share
    before, names = run("residual", {})
    assert names["h"].shape == before["h"].shape


def test_what_trains_a_model_is_left_out():
    scaling = Remedy("", "scaled = X / 2\nrun = ut.train(model, (scaled, y))", "--scaling", "scaling")
    assert by_hand(scaling).code == "scaled = X / 2"
    assert by_hand(Remedy("", "better = f(model)\nrun = ut.train(better)", "", "width")).code == ""
