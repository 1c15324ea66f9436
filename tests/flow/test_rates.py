"""What is told of learning rates, and of classes that are rare but learned."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, TrainingError
from undertow.flow import diagnose, recorded

RNG = np.random.default_rng(1)
X = RNG.normal(size=(800, 8))
y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)


def fit(optimizer, epochs=10):
    model = nn.Sequential(nn.Dense(8, 32), "relu", nn.Dense(32, 32), "relu", nn.Dense(32, 2))
    settings = {"loss": "categorical_cross_entropy", "epochs": epochs, "seed": 0, "progress": False}
    try:
        return ut.train(model, (X, y), optimizer=optimizer, **settings)
    except TrainingError as error:
        return error.run


@pytest.mark.parametrize(
    "optimizer",
    [ut.optim.sgd(20.0), ut.optim.sgd(3.0), ut.optim.sgd(1e12), ut.optim.adam(0.5), ut.optim.adam(1e11)],
    ids=["sgd 20", "sgd 3", "sgd 1e12", "adam 0.5", "adam 1e11"],
)
def test_the_smaller_rate_that_is_proposed_is_one_that_learns(optimizer):
    """Steps grow while a training diverges, so the very first one tells how much too large the rate is."""
    (finding,) = [x for x in fit(optimizer).findings if x.kind == "step-too-large"]
    rate = finding.remedies[0].change["to"]
    again = fit(getattr(ut.optim, optimizer.name)(rate), epochs=100)
    assert again.history[-1]["loss"] < 0.5
    assert not [x for x in again.findings if x.kind.startswith("step-too")]


def test_a_schedule_that_ends_long_before_the_training_is_named():
    run = fit(ut.optim.sgd(ut.optim.cosine(0.1, 5)))
    assert run.findings
    sentences = [remedy.sentence for finding in run.findings for remedy in finding.remedies]
    assert "A learning rate that stays at 0.1, or a schedule that lasts for all 120 steps." in sentences
    assert not [x for x in sentences if "larger learning rate" in x]


@pytest.mark.parametrize(("apart", "told"), [(5.0, False), (0.0, True)])
def test_rare_classes_that_are_found_are_no_trouble(apart, told):
    rare = (RNG.random(1200) < 0.06).astype(int)
    rows = RNG.normal(size=(1200, 6))
    rows[:, 0] += apart * rare
    rows[:, 1] -= apart * rare
    model = nn.Sequential(nn.Dense(6, 16), "relu", nn.Dense(16, 1))
    run = ut.train(model, (rows, rare), loss="binary_cross_entropy", epochs=40, seed=0, progress=False)
    assert ("imbalanced-classes" in [x.kind for x in run.findings]) == told


def test_a_watched_number_for_each_example_is_no_layer_that_collapsed():
    inputs, w = np.abs(RNG.normal(size=(200, 6))) + 0.1, np.ones(6)
    step = recorded(lambda w, X: np.mean(np.log(ut.watch(X @ w, "s"))))
    for _ in range(80):
        _, gradient = step(w, inputs)
        w = w - 1e-4 * gradient
    assert "rank-collapse" not in [x.kind for x in diagnose(step.flow)]


def test_a_name_in_the_place_of_a_value_is_told_in_one_line():
    with pytest.raises(ArgumentError, match=r"the name comes second, as in watch\(z, 'z'\). Got ndarray"):
        ut.watch("s", np.ones(100))


def test_what_is_not_finite_before_any_step_is_not_blamed_on_the_rate():
    inputs, w = np.ones((8, 1)), np.array([-1.0])
    step = recorded(lambda w, X: np.mean(np.log(X @ w)))
    for _ in range(3):
        _, gradient = step(w, inputs)
        w = w - 1e-3 * gradient
    (finding,) = [x for x in diagnose(step.flow) if x.kind == "non-finite"]
    assert finding.step == 1 and "above 0" in finding.remedies[0].sentence
    assert not any("rate" in remedy.sentence or "clip" in remedy.sentence.lower() for remedy in finding.remedies)
