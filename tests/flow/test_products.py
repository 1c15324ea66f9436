"""Layers of a loop of one's own are found where nothing is watched: their gradients, names, what is told of them."""

import itertools

import numpy as np
import pytest

import undertow as ut
from undertow import optim

DIGITS = ut.data.load_digits()
X, Y = 2 * DIGITS.X[:600].astype(np.float64) - 1, ut.one_hot(DIGITS.y[:600], 10)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cross_entropy(z, Y):
    return -np.mean(np.sum(Y * ut.log_softmax(z, axis=1), axis=1))


def stack(sizes, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.normal(size=(a, b)) / np.sqrt(a), np.zeros(b)) for a, b in itertools.pairwise(sizes)]


def deep(activation):
    def loss(params, X, Y):
        h = X
        for W, b in params[:-1]:
            h = activation(h @ W + b)
        W, b = params[-1]
        return cross_entropy(h @ W + b, Y)

    return loss


def loop(loss, params, n=150, rate=0.1, rule=None):
    """A record of n steps on random batches."""
    measured, rng = ut.flow.recorded(loss), np.random.default_rng(1)
    state = rule.init(params) if rule else None
    for _ in range(n):
        rows = rng.integers(0, len(X), 64)
        _, gradient = measured(params, X[rows], Y[rows])
        if rule:
            params, state = rule.update(gradient, state, params)
        else:
            params = ut.trees.map(lambda w, g: w - rate * g, params, gradient)
    return measured


def test_the_gradient_of_found_layers_is_that_of_finite_differences():
    """δ of a layer: by how much the loss changes with a number that is added to what the layer gives."""
    params = stack([64, 7, 5, 10])
    measured = ut.flow.recorded(deep(np.tanh))
    for _ in range(2):
        measured(params, X[:20], Y[:20])
    flow = measured.flow
    assert [x.kind for x in flow.layers[:4]] == ["product", "product", "product", "parameter"]

    def shifted(layer, shift):
        h = X[:20]
        for i, (W, b) in enumerate(params):
            z = h @ W + b + (shift if i == layer else 0.0)
            h = np.tanh(z)
        return -np.mean(np.sum(Y[:20] * (z - np.log(np.exp(z).sum(axis=1, keepdims=True))), axis=1))

    for layer, units in enumerate([7, 5, 10]):
        delta = np.zeros((20, units))
        for place in np.ndindex(20, units):
            shift = np.zeros((20, units))
            shift[place] = 1e-5
            delta[place] = (shifted(layer, shift) - shifted(layer, -shift)) / 2e-5
        assert flow.stat("delta.rms")[0, layer] == pytest.approx(np.sqrt(np.mean(delta**2)), rel=1e-6)


def test_a_hand_written_deep_stack_of_sigmoids_is_told_its_gradient_vanishes():
    measured = loop(deep(sigmoid), stack([64, *[32] * 12, 10]))
    (found,) = measured.findings
    assert (found.kind, found.severity) == ("vanishing", "error")
    assert found.layers[0] == "layer 1, X @ W1 + b1" and found.layers[-1] == "layer 13, h12 @ W13 + b13"
    assert "the slope of sigmoid is 1/4 at most" in found.cause
    assert "h = np.maximum(h @ W + b, 0)" in [x.code for x in found.remedies]
    assert not any(x.option for x in found.remedies)
    told = {x.text: x.expected for x in found.evidence}
    assert told["gain of the weights, RMS · √inputs"] == 1


def columns(params, X, Y):
    """Examples as columns, as many lessons write it."""
    A, n = X.T, len(params) // 2
    for layer in range(1, n):
        A = sigmoid(np.dot(params[f"W{layer}"], A) + params[f"b{layer}"])
    P = sigmoid(np.dot(params[f"W{n}"], A) + params[f"b{n}"])
    return -np.mean(Y.T * np.log(P + 1e-9) + (1 - Y.T) * np.log(1 - P + 1e-9))


def as_columns(params):
    numbered = list(enumerate(params, 1))
    return {f"W{i}": W.T for i, (W, _) in numbered} | {f"b{i}": b[:, None] for i, (_, b) in numbered}


def test_examples_as_columns_are_read_as_those_in_rows():
    """The record is that of the same network in rows."""

    def rows(params, X, Y):
        h = X
        for W, b in params[:-1]:
            h = sigmoid(h @ W + b)
        W, b = params[-1]
        P = sigmoid(h @ W + b)
        return -np.mean(Y * np.log(P + 1e-9) + (1 - Y) * np.log(1 - P + 1e-9))

    params = stack([64, *[20] * 9, 10])
    a, b = loop(rows, params), loop(columns, as_columns(params))
    assert [x.label for x in b.flow.layers[:3]] == [
        "layer 1, W1 @ X + b1", "layer 2, W2 @ A2 + b2", "layer 3, W3 @ A3 + b3",
    ]  # fmt: skip
    for name in ("z.rms", "h.rms", "delta.rms", "delta.max", "saturated"):
        np.testing.assert_allclose(b.flow.stat(name)[:, :9], a.flow.stat(name)[:, :9], rtol=1e-4, atol=1e-7)
    assert [x.kind for x in b.findings] == [x.kind for x in a.findings] == ["vanishing"]


def test_what_is_watched_is_not_looked_for():
    def loss(params, X, Y):
        return cross_entropy(ut.watch(np.tanh(X @ params["W"]), "h") @ params["V"], Y)

    measured = ut.flow.recorded(loss)
    measured({"W": np.ones((64, 4)), "V": np.ones((4, 10))}, X[:9], Y[:9])
    assert [x.kind for x in measured.flow.layers] == ["watched", "parameter", "parameter"]


def test_of_parameters_that_meet_what_they_made_the_first_and_the_last_call_are_layers():
    def recurrent(p, X, Y):
        h = np.zeros((len(X), 6))
        for t in range(8):
            h = np.tanh(X[:, 8 * t : 8 * t + 8] @ p["U"] + h @ p["W"])
        return cross_entropy(h @ p["V"] + p["c"], Y)

    rng = np.random.default_rng(0)
    p = {"U": rng.normal(size=(8, 6)), "W": rng.normal(size=(6, 6)), "V": rng.normal(size=(6, 10)), "c": np.zeros(10)}
    measured = ut.flow.recorded(recurrent)
    measured(p, X[:20], Y[:20])
    found = [(x.name, x.within) for x in measured.flow.layers if x.kind == "product"]
    first, last = "h7 @ W, call 2 of 8", "h7 @ W, call 8 of 8"  # the first call is given zeros, and no data
    assert found == [("X @ U", "X @ U"), (first, first), (last, last), ("h8 @ V + c", None)]  # of U the first of eight


def test_layers_of_branches_are_not_on_the_way_that_is_judged():
    def attention(p, X, Y):
        x = np.reshape(X, (-1, 8, 8)) @ p["E"]
        q, k, v = x @ p["Q"], x @ p["K"], x @ p["V"]
        x = x + ut.softmax(q @ np.swapaxes(k, 1, 2) / 2, axis=-1) @ v
        return cross_entropy(np.mean(x, axis=1) @ p["O"], Y)

    rng = np.random.default_rng(0)
    p = {name: rng.normal(size=(8, 8)) / 3 for name in "EQKV"} | {"O": rng.normal(size=(8, 10)) / 3}
    measured = ut.flow.recorded(attention)
    measured(p, X[:20], Y[:20])
    found = {x.reads: x for x in measured.flow.layers if x.kind == "product"}
    assert [name for name, x in found.items() if x.within is None] == ["E", "O"]
    assert found["Q"].shape == (8, 8) and found["Q"].fan_in == 8


def einsums(p, X, Y):
    h = np.tanh(np.einsum("mi,ij->mj", X, p["W"]) + p["b"])
    return cross_entropy(np.tensordot(h, p["V"], 1), Y)


def test_a_single_example_and_a_single_unit():
    def one(p, x, y):
        z = np.tanh(p["W"] @ x + p["b"]) @ p["v"]
        return (z - y) ** 2

    rng = np.random.default_rng(0)
    measured = ut.flow.recorded(one)
    p = {"W": rng.normal(size=(5, 64)) / 8, "b": np.zeros(5), "v": rng.normal(size=5)}
    for _ in range(3):
        measured(p, X[0], 1.0)
    assert [(x.name, x.shape) for x in measured.flow.layers[:1]] == [("W @ x + b", (5,))]
    z = p["W"] @ X[0]
    delta = 2 * (np.tanh(z) @ p["v"] - 1.0) * p["v"] * (1 - np.tanh(z) ** 2)
    assert measured.flow.stat("delta.rms")[0, 0] == pytest.approx(np.sqrt(np.mean(delta**2)), rel=1e-6)


@pytest.mark.parametrize("name", ["einsum", "relu", "residual", "reused", "constant data", "sum of branches"])
def test_other_spellings_that_are_well_are_told_nothing(name):
    rng = np.random.default_rng(0)
    small = {"W": rng.normal(size=(64, 24)) / 8, "b": np.zeros(24), "V": rng.normal(size=(24, 10)) / 5}
    wide = small | {"A": rng.normal(size=(24, 24)) / 5, "B": rng.normal(size=(24, 24)) / 5}

    def residual(p, X, Y):
        h = np.tanh(X @ p["W"] + p["b"])
        h = h + np.tanh(h @ p["A"]) @ p["B"]
        return cross_entropy(h @ p["V"], Y)

    def reused(p, X, Y):
        h = np.tanh(X @ p["W"] + p["b"])
        return cross_entropy((h + np.tanh(X[:, ::-1] @ p["W"] + p["b"])) @ p["V"], Y)

    def branches(p, X, Y):
        return cross_entropy(np.tanh(X @ p["W"] + X[:, ::-1] @ p["W"] ** 2) @ p["V"], Y)

    def of_constants(p, _, __):
        return cross_entropy(np.tanh(X @ p["W"] + p["b"]) @ p["V"], Y)

    losses = {
        "einsum": (einsums, small), "relu": (deep(lambda z: np.maximum(z, 0)), stack([64, 32, 32, 10], 1.4)),
        "residual": (residual, wide), "reused": (reused, small), "constant data": (of_constants, small),
        "sum of branches": (branches, {"W": small["W"], "V": small["V"]}),
    }  # fmt: skip
    loss, params = losses[name]
    measured = loop(loss, params, 120, rule=optim.adam(3e-3))
    assert [str(x) for x in measured.findings] == []
    assert any(x.kind == "product" for x in measured.flow.layers)


def test_a_network_that_is_asked_twice_is_one():
    """As where a loss calls for predictions in each of its terms."""

    def predict(params, X):
        h = X
        for W, b in params[:-1]:
            h = sigmoid(h @ W + b)
        return h @ params[-1][0] + params[-1][1]

    def loss(params, X, Y):
        return np.mean(np.log(np.sum(np.exp(predict(params, X)), axis=1)) - np.sum(Y * predict(params, X), axis=1))

    measured = loop(loss, stack([64, *[24] * 10, 10]))
    layers = [x for x in measured.flow.layers if x.kind == "product"]
    assert len(layers) == 11 and all(x.within is None for x in layers)
    assert measured.flow.facts["outputs"] == ["h10 @ params[10][0] + params[10][1]"]
    assert [x.kind for x in measured.findings] == ["vanishing"]
