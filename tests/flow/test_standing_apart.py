"""What would be there without what usually makes it is no consequence, and its remedies are told and tried."""

from itertools import pairwise

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow import changes
from undertow.flow.rules.measures import early
from undertow.nn import initialize

RNG = np.random.default_rng(5)
CENTRES = RNG.uniform(0, 16, (4, 20))
LABELS = RNG.integers(0, 4, 600)
X = (CENTRES[LABELS] + RNG.normal(0, 2, (600, 20))).astype(np.float32)  # as grey values that are not scaled
SCALED = (X - X.mean(axis=0)) / X.std(axis=0)


def stack(depth, activation="sigmoid", init="auto"):
    widths = [20, *[24] * depth]
    hidden = [item for a, b in pairwise(widths) for item in (nn.Dense(a, b, init=init), activation)]
    return nn.Sequential(*hidden, nn.Dense(24, 4))


def train(model, X, **more):
    settings = {"loss": "categorical_cross_entropy", "optimizer": optim.sgd(0.1), "epochs": 12, "progress": False}
    return ut.train(model, (X, LABELS), **{**settings, **more})


@pytest.fixture(scope="module")
def run():
    return train(stack(8), X)


def test_what_vanishes_behind_one_saturated_layer_comes_first(run):
    """Without that layer, on scaled columns, it vanishes just so: the reference is the gradient itself."""
    share = early(run.flow, "saturated")
    assert share[0] > 0.5 and np.nanmax(share[1:]) < 0.1
    assert [x.kind for x in run.findings[:2]] == ["vanishing", "saturation"]
    assert any("plateau" in x.text for x in run.findings[0].evidence)
    model = initialize(stack(8), 0, np.float64)

    def loss(model):
        z = model(SCALED)
        return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(600), LABELS])

    gradient = ut.grad(loss)(model)
    sizes = [np.linalg.norm(layer.b) for layer in gradient.layers if isinstance(layer, nn.Dense)]
    assert sizes[0] < 1e-3 * sizes[-2]


def test_scaled_columns_do_not_help_it_and_the_remedies_that_do_are_offered(run):
    accuracy = lambda run: run.history[-1]["validation_accuracy"]
    assert accuracy(run) < 0.4 and accuracy(train(stack(8), SCALED)) < 0.4
    for change in (changes.with_residuals(stack(8)), changes.with_normalisation(stack(8), "batch")):
        assert accuracy(train(change, X)) > 0.9
    assert {"residual", "normalisation"} <= {x.name for x in run.findings[0].remedies}
    trials = run.try_remedies(X, LABELS, progress=False)
    assert {"vanishing", "saturation"} <= {row.finding for row in trials} and trials.best.share > 0.9


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_where_every_layer_is_saturated_that_is_what_it_follows_from(activation):
    run = train(stack(8, activation, nn.normal(deviation=8.0)), SCALED)
    assert np.nanmin(early(run.flow, "saturated")) > 0.5
    assert "saturation" in [x.kind for x in run.findings] and "vanishing" not in [x.kind for x in run.findings]
