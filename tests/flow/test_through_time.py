"""Gradients through the steps of a recurrent network that a loop of one's own writes."""

import numpy as np
import pytest

import undertow as ut

STEPS, UNITS = 24, 16


def recurrence(size, activation=lambda z: z):
    """h = f(x W + h V) over a sequence, with V of this many times an orthogonal matrix; and parameters for it."""
    rng = np.random.default_rng(0)

    def loss(params, X, y):
        h = np.zeros((X.shape[0], UNITS))
        for t in range(X.shape[1]):
            h = activation(X[:, t] @ params["W"] + h @ params["V"])
        return np.mean((h @ params["out"] - y) ** 2)

    V = size * np.linalg.qr(rng.standard_normal((UNITS, UNITS)))[0]
    return loss, {"W": rng.standard_normal((2, UNITS)) / 4, "V": V, "out": rng.standard_normal((UNITS, 1)) / 4}


def descend(loss, params, rate, n=40):
    """Trained on targets that only the first element of a sequence tells."""
    rng = np.random.default_rng(1)
    measured = ut.flow.recorded(loss)
    for _ in range(n):
        X = rng.standard_normal((32, STEPS, 2))
        X[:, 1:] *= 0.1
        gradient = measured(params, X, X[:, 0, :1])[1]
        params = ut.trees.map(lambda p, g: p - rate * g, params, gradient)
    return measured


def evidence(finding, text):
    return next(x.value for x in finding.evidence if x.text.startswith(text))


def test_a_gradient_that_vanishes_through_time_shrinks_by_the_singular_value_at_each_call():
    """Bengio, Simard and Frasconi 1994, theorem 4: δ of a call is Vᵀ times that of the next. The state begins as zeros,
    of which the first call makes nothing, so that it is the second from which the way is measured."""
    found = descend(*recurrence(0.6), 1e-2).findings[0]
    assert found.kind == "vanishing" and "call 2 of 24" in found.layers[0]
    assert evidence(found, "‖δ‖ at the first call of V") == pytest.approx(0.6**22, rel=0.05)
    assert evidence(found, "change of ‖δ‖ a call") == pytest.approx(0.6, rel=0.003)


def test_a_gradient_that_explodes_through_time_is_told_and_not_what_it_makes_of_the_loss():
    """Pascanu et al. 2013, section 2.1: beyond a singular value of 1 it grows as fast, and one step throws the weights
    anywhere; what they do about it is to limit its norm (section 3.2)."""
    found = descend(*recurrence(1.5), 0.01).findings[0]
    assert (found.kind, found.severity) == ("exploding", "error") and "call 2 of 24" in found.layers[0]
    assert evidence(found, "change of ‖δ‖ a call") == pytest.approx(1.5, rel=0.003)
    assert evidence(found, "gain of V") == pytest.approx(1.5, rel=0.001)
    assert any("clip" in x.sentence for x in found.remedies)


@pytest.mark.parametrize("rate", [1e-6, 0.1])
def test_an_orthogonal_recurrence_holds_the_gradient_whether_it_learns_or_not(rate):
    """Saxe et al. 2014, section 3; Arjovsky et al. 2016, eq. 4."""
    measured = descend(*recurrence(1.0), rate)
    delta = measured.flow.stat("delta.rms")[0]
    calls = [i for i, x in enumerate(measured.flow.layers) if x.turn]
    assert delta[calls[0]] == pytest.approx(delta[calls[1]], rel=1e-3)
    assert not {"vanishing", "exploding"} & {x.kind for x in measured.findings}


def test_a_gated_network_is_told_nothing():
    rng = np.random.default_rng(0)
    n = 12

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def loss(params, X, y):
        h = np.zeros((X.shape[0], n))
        for t in range(X.shape[1]):
            x = np.concatenate([X[:, t], h], axis=1)
            z = sigmoid(x @ params["Z"] + params["b"])
            h = (1 - z) * h + z * np.tanh(x @ params["C"])
        return np.mean((h @ params["out"] - y) ** 2)

    gates = {"Z": rng.standard_normal((2 + n, n)) / 4, "C": rng.standard_normal((2 + n, n)) / 4, "b": np.full(n, -2.0)}
    measured = descend(loss, {**gates, "out": rng.standard_normal((n, 1)) / 4}, 0.05, n=150)
    assert measured.findings == []
