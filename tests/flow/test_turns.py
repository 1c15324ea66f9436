"""A recurrent network of one's own is told of a gradient that vanishes over the steps of a sequence."""

import numpy as np
import pytest

import undertow as ut
from undertow import optim

STEPS, UNITS = 30, 16
RNG = np.random.default_rng(7)
SEQUENCES = RNG.normal(size=(800, STEPS, 2))
FIRST, LAST = (ut.one_hot((SEQUENCES[:, t, 0] > 0).astype(int), 2) for t in (0, -1))  # of the sign at one step


def recurrent(p, S, Y):
    h = np.zeros((len(S), UNITS))
    for t in range(STEPS):
        h = np.tanh(S[:, t] @ p["U"] + h @ p["W"] + p["b"])
    return -np.mean(np.sum(Y * ut.log_softmax(h @ p["V"], axis=1), axis=1))


def gated(p, S, Y):
    h = np.zeros((len(S), UNITS))
    for t in range(STEPS):
        z = 1 / (1 + np.exp(-(S[:, t] @ p["Uz"] + h @ p["Wz"] + 3)))
        h = z * h + (1 - z) * np.tanh(S[:, t] @ p["U"] + h @ p["W"])
    return -np.mean(np.sum(Y * ut.log_softmax(h @ p["V"], axis=1), axis=1))


def begin(radius):
    rng = np.random.default_rng(0)
    W = rng.normal(size=(UNITS, UNITS))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    p = {"U": rng.normal(size=(2, UNITS)), "W": W, "b": np.zeros(UNITS), "V": rng.normal(size=(UNITS, 2)) / 4}
    return p | {"Uz": np.zeros((2, UNITS)), "Wz": rng.normal(size=(UNITS, UNITS)) / 40}


def loop(loss, p, Y, n=200, rate=3e-3):
    names = ("U", "W", "b", "V") if loss is recurrent else ("U", "W", "V", "Uz", "Wz")
    p, rng = {name: p[name] for name in names}, np.random.default_rng(1)
    measured, rule = ut.flow.recorded(loss), optim.adam(rate)
    state = rule.init(p)
    for _ in range(n):
        rows = rng.integers(0, 800, 48)
        _, gradient = measured(p, SEQUENCES[rows], Y[rows])
        p, state = rule.update(gradient, state, p)
    return measured


def test_the_gradient_at_the_calls_is_that_of_backpropagation_through_time():
    p, S, Y = begin(0.7), SEQUENCES[:20], FIRST[:20]
    measured = ut.flow.recorded(recurrent)
    given = {name: p[name] for name in ("U", "W", "b", "V")}
    for _ in range(2):
        measured(given, S, Y)
    h = [np.zeros((20, UNITS))]
    for t in range(STEPS):
        h.append(np.tanh(S[:, t] @ p["U"] + h[-1] @ p["W"] + p["b"]))
    e = np.exp(h[-1] @ p["V"])
    delta = ((e / e.sum(axis=1, keepdims=True) - Y) / 20) @ p["V"].T * (1 - h[-1] ** 2)
    wanted = [delta]
    for t in range(STEPS - 1, 0, -1):
        wanted.append(wanted[-1] @ p["W"].T * (1 - h[t] ** 2))
    layers = {x.turn: i for i, x in enumerate(measured.flow.layers) if x.turn}
    told = measured.flow.stat("delta.rms")[0]
    for turn, delta in (((2, STEPS), wanted[-2]), ((STEPS, STEPS), wanted[0])):
        assert told[layers[turn]] == pytest.approx(np.sqrt(np.mean(delta**2)), rel=1e-5)


def test_a_recurrent_weight_that_is_too_small_is_told():
    (found,) = loop(recurrent, begin(0.5), FIRST, rate=1e-3).findings
    assert (found.kind, found.severity) == ("vanishing", "error")
    assert "Over the 30 calls of W, from the last back to the first" in found.cause
    assert found.layers == ("layer 2, h29 @ W, call 2 of 30", "layer 3, h29 @ W, call 30 of 30")
    names = {"np": np, "rng": np.random.default_rng(0), "W": np.zeros((UNITS, UNITS))}
    exec(found.remedies[0].code, names)
    np.testing.assert_allclose(names["W"] @ names["W"].T, np.eye(UNITS), atol=1e-12)


@pytest.mark.parametrize("name", ["the last step is asked for", "gates that carry what was there"])
def test_a_recurrent_network_that_learns_is_told_nothing(name):
    """Where the last step is asked for, the gradient vanishes as well, and that does no harm."""
    measured = (
        loop(recurrent, begin(0.5), LAST) if name.startswith("the last") else loop(gated, begin(0.9), FIRST, 300, 1e-2)
    )
    assert [x.kind for x in measured.findings] == []
    assert len([x for x in measured.flow.layers if x.turn]) == (2 if name.startswith("the last") else 4)


@pytest.mark.parametrize(("scale", "told"), [(40.0, True), (1.0, False)])
def test_a_loop_that_begins_by_being_sure_is_told(scale, told):
    def loss(p, X, Y):
        return -np.mean(np.sum(Y * ut.log_softmax(np.tanh(X @ p["W"]) @ p["V"], axis=1), axis=1))

    rng, X = np.random.default_rng(0), SEQUENCES[:, :6].reshape(800, 12)
    p = {"W": rng.normal(size=(12, 16)) / 4, "V": scale * rng.normal(size=(16, 2)) / 4}
    measured = ut.flow.recorded(loss)
    for _ in range(100):
        rows = rng.integers(0, 800, 48)
        _, gradient = measured(p, X[rows], FIRST[rows])
        p = {name: x - 0.05 * gradient[name] for name, x in p.items()}
    found = [x for x in measured.findings if x.kind == "initial-loss"]
    assert len(found) == told and measured.flow.facts["at_zero"] == pytest.approx(np.log(2))
    assert not told or found[0].layers == ("layer 2, h @ V",)
