"""Published ways to train what did not train before, rebuilt on handwritten digits: with them nothing is told, without
them what was published to go wrong is."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.data import load_digits

DIGITS = load_digits()
X, LABELS = DIGITS.X.astype(np.float32), DIGITS.y


def train(model, **settings):
    try:
        return ut.train(model, (X, LABELS), loss="categorical_cross_entropy", progress=False, **settings)
    except ut.TrainingError as error:
        return error.run


def kinds(run):
    return [finding.kind for finding in run.findings]


def stack(depth, **settings):
    hidden = [item for _ in range(depth) for item in (nn.Dense(64, 64, **settings), "relu")]
    return nn.Sequential(*hidden, nn.Dense(64, 10))


def test_weights_scaled_layer_by_layer_to_a_variance_of_one():
    """Mishkin and Matas, All you need is a good init, ICLR 2016, algorithm 1: each layer gives a variance of 1 for a
    batch, so that thin deep networks train; with normal weights of deviation 0.01 they do not (table 2)."""
    run = train(nn.lsuv(stack(16, init="orthogonal"), X[:256]), optimizer=optim.adam(5e-4), epochs=8)
    assert run.flow.stat("z.rms")[0] == pytest.approx(np.ones(17), rel=0.1)
    assert run.history[-1]["validation_accuracy"] > 0.85 and kinds(run) == []
    small = train(stack(16, init=nn.normal(deviation=0.01)), optimizer=optim.momentum(0.01), epochs=3)
    assert kinds(small) == ["vanishing"]
    gain = next(x.value for x in small.findings[0].evidence if x.text.startswith("gain of the weights"))
    assert gain == pytest.approx(0.01 * np.sqrt(64), rel=0.05)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_scale_that_begins_at_0_at_the_end_of_each_branch(start):
    """De and Smith, Batch normalization biases residual blocks towards the identity function, NeurIPS 2020, section 4:
    SkipInit, a single number α at the end of each branch. With α = 0 deep networks train without normalisation; with
    α = 1 the gradient grows with each block (table 1)."""

    def layer():
        return nn.Dense(32, 32, init="he_normal")

    blocks = [nn.Residual(layer(), "relu", layer(), nn.Scale(start=start)) for _ in range(30)]
    model = nn.Sequential(nn.Dense(64, 32), *blocks, nn.Dense(32, 10))
    run = train(model, optimizer=optim.momentum(0.01), epochs=8)
    if start:
        assert kinds(run) == ["exploding"]
    else:
        assert run.history[-1]["validation_accuracy"] > 0.9 and kinds(run) == []


@pytest.mark.parametrize("noise", [None, 0.3])
def test_batch_normalisation_stands_rates_that_others_do_not(noise):
    """Bjorck et al., Understanding batch normalization, NeurIPS 2018, section 3 and figure 1: it allows larger rates,
    at which networks without it diverge. Santurkar et al., How does batch normalization help optimization, NeurIPS
    2018, section 2.2: noise behind each of its layers does not take that away."""
    more = [] if noise is None else [nn.Noise(noise)]
    hidden = [x for _ in range(4) for x in (nn.Dense(64, 64, init="he_normal"), nn.BatchNorm(64), *more, "relu")]
    settings = {"optimizer": optim.momentum(0.3), "epochs": 8}
    run = train(nn.Sequential(*hidden, nn.Dense(64, 10)), **settings)
    assert run.history[-1]["validation_accuracy"] > 0.9 and kinds(run) == []
    if noise is None:
        assert kinds(train(stack(4, init="he_normal"), **settings)) == ["step-too-large"]
