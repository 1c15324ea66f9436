"""Published experiments, rebuilt on handwritten digits: what is recorded and found agrees with what was published."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.data import load_digits

DIGITS = load_digits()
X, LABELS = DIGITS.X[:1000].astype(np.float32), DIGITS.y[:1000]
SETTINGS = {"loss": "categorical_cross_entropy", "progress": False, "validation": 0.2, "batch_size": 50}


def stack(depth, width, activation, init):
    """Layers of one width; ``init`` for all but the last."""
    first = [nn.Dense(64, width, init=init), activation]
    hidden = [item for _ in range(depth - 2) for item in (nn.Dense(width, width, init=init), activation)]
    return nn.Sequential(*first, *hidden, nn.Dense(width, 10))


def kinds(run):
    return [finding.kind for finding in run.findings]


def test_thirty_rectified_layers_learn_with_he_and_not_with_xavier_weights():
    """He et al. 2015, section 2.2 and figure 3: 30 layers with Xavier's weights stall, with theirs they converge.

    With Xavier's weights the signal is halved in variance by every layer, forward as well as backward.
    """
    runs = {}
    for name in ("he_normal", "glorot_normal"):
        settings = {**SETTINGS, "optimizer": optim.momentum(0.002), "epochs": 30}
        runs[name] = ut.train(stack(30, 64, "relu", name), (X, LABELS), **settings)
    he, xavier = (runs[name] for name in ("he_normal", "glorot_normal"))
    best = [max(row["validation_accuracy"] for row in run.history) for run in (he, xavier)]
    assert best[0] > 0.7 > 0.3 > best[1]
    z = [run.flow.looks[0] for run in (he, xavier)]
    growth = [np.log2(look.layers[28]["z_rms"] / look.layers[1]["z_rms"]) / 27 for look in z]
    assert growth[0] == pytest.approx(0, abs=0.08)  # a factor of 1 a layer
    assert growth[1] == pytest.approx(-0.5, abs=0.08)  # of √½: half of the variance
    delta = xavier.flow.stat("delta.rms")[0]
    assert np.log2(delta[1] / delta[28]) / 27 == pytest.approx(-0.5, abs=0.12)
    assert "vanishing" in kinds(xavier) and "vanishing" not in kinds(he)


def test_weight_gradients_hide_what_the_deltas_show():
    """Glorot and Bengio 2010, section 4.2.2, figures 7 and 8: five layers of 1000 tanh units, weights U(±1/√n).

    From layer 5 to layer 1, the deltas fall about 10 times (a factor of √⅓ a layer: 9 times over four), while the
    gradients of the weights have about the same size in all layers.
    """
    init = nn.uniform(limit=1 / np.sqrt(1000))
    inputs = np.random.default_rng(0).standard_normal((200, 1000)).astype(np.float32)
    layers = [item for _ in range(5) for item in (nn.Dense(1000, 1000, init=init), "tanh")]
    settings = {**SETTINGS, "optimizer": optim.sgd(1e-6), "steps": 1, "validation": None, "batch_size": 200}
    y = np.random.default_rng(1).integers(0, 10, 200)
    flow = ut.train(nn.Sequential(*layers, nn.Dense(1000, 10)), (inputs, y), **settings).flow
    delta, dW = flow.stat("delta.rms")[0, :5], flow.stat("dW.rms")[0, :5]
    assert 6 < delta[4] / delta[0] < 14
    assert 0.5 < dW[4] / dW[0] < 2


@pytest.mark.parametrize(("depth", "learns"), [(1, True), (12, False)])
def test_a_stack_of_sigmoids_learns_where_it_is_shallow(depth, learns):
    """The slope of the logistic function is ¼ at most, so each layer takes ¾ or more of the gradient (the lesson)."""
    model = stack(depth + 1, 64, "sigmoid", "glorot_uniform")
    run = ut.train(model, (X, LABELS), **{**SETTINGS, "optimizer": optim.momentum(0.1), "epochs": 20})
    assert (run.history[-1]["validation_accuracy"] > 0.8) == learns
    assert ("vanishing" in kinds(run)) == (not learns)
    if not learns:
        delta = run.flow.stat("delta.rms")[0]
        assert ((delta[:-2] / delta[1:-1]) < 0.5).all()


@pytest.mark.parametrize(("gain", "sign"), [(0.7, -1), (1.0, 0), (1.6, 1)])
def test_tanh_stacks_change_at_the_critical_scale_of_weights(gain, sign):
    """Poole et al. 2016, Schoenholz et al. 2017: without biases, tanh is critical at a weight variance of 1/n.

    Below, gradients vanish with depth; above, they grow.
    """
    model = nn.initialize(stack(20, 200, "tanh", "orthogonal"), 1)
    for layer in model.layers[0:38:2]:
        layer.W[:] *= gain
    model.layers[0].W[:] *= 0.1  # small signals, where the slope is 1
    settings = {**SETTINGS, "optimizer": optim.sgd(1e-9), "steps": 1, "validation": None}
    delta = ut.train(model, (X, LABELS), **settings).flow.stat("delta.rms")[0, :19]
    factor = (delta[2] / delta[16]) ** (1 / 14)
    if sign == 0:
        assert factor == pytest.approx(1, abs=0.02)
    else:
        assert (factor - 1) * sign > 0.02


@pytest.mark.parametrize(
    ("activation", "gain", "told"),
    [("tanh", 0.775, "the weights multiply"), ("sigmoid", 0.578, "the slope of sigmoid is 1/4 at most")],
)
def test_what_does_more_to_the_gradient_is_what_it_is_put_down_to(activation, gain, told):
    """Schoenholz et al. 2017: weights of variance 0.6/n are below the critical 1/n, where tanh flattens next to
    nothing. Glorot and Bengio 2010: with U(±1/√n), of gain 1/√3, a layer of sigmoids takes more by its slope."""
    model = nn.initialize(stack(30 if activation == "tanh" else 8, 64, activation, "orthogonal"), 1)
    for layer in model.layers[0:-1:2]:
        layer.W[:] *= gain
    run = ut.train(model, (X, LABELS), **{**SETTINGS, "optimizer": optim.sgd(0.01), "epochs": 6})
    (found,) = [x for x in run.findings if x.kind == "vanishing"]
    assert told in found.cause


def test_orthogonal_linear_recurrences_keep_the_gradient():
    """Saxe et al. 2014, section 3; Arjovsky et al. 2016, eq. 4: orthogonal matrices keep the norm, step by step."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0]

    def loss(W, h, y):
        for step in range(1, 51):
            h = ut.watch(h @ W, f"h{step}")
        return 0.5 * np.mean(np.sum((h - y) ** 2, axis=1))

    h, y = rng.standard_normal((30, 20)), rng.standard_normal((30, 20))
    for W, change in ((Q, 1.0), (0.9 * Q, 0.9), (1.1 * Q, 1.1)):
        measured = ut.flow.recorded(loss)
        measured(W, h, y)
        measured(W, h, y)
        delta = measured.flow.stat("delta.rms")[0, :50]
        assert delta[:-1] / delta[1:] == pytest.approx(change, rel=1e-5)


def test_what_helps_a_stack_of_sigmoids_is_offered_and_layer_normalisation_is_not():
    """Ioffe and Szegedy 2015, section 4.1 (sigmoid networks train with batch normalisation); He et al. 2016."""
    model = stack(9, 32, "sigmoid", "glorot_uniform")
    run = ut.train(model, (X, LABELS), **{**SETTINGS, "optimizer": optim.momentum(0.02), "epochs": 12})
    (found,) = (x for x in run.findings if x.kind == "vanishing")
    assert [x.name for x in found.remedies] == ["normalisation", "residual", "activation"]
    trials = run.try_remedies(X, LABELS, progress=False)
    assert len(trials) >= 3 and all(row.gain > 0.5 for row in trials)
    layer = ut.flow.Remedy("LayerNorm.", "", name="normalisation", change={"to": "layer"})
    alone = ut.flow.Finding("vanishing", "error", "", remedies=(layer,))
    assert run.try_remedies(X, LABELS, findings=[alone], progress=False).rows[0].gain < 0.3
