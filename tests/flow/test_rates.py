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


def fit_with(rates, epochs=60):
    rows, labels = digits()
    model = nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": epochs, "validation": 0.2, "progress": False}
    return ut.train(model, (rows, labels), optimizer=ut.optim.sgd(rates), **settings)


def digits():
    found = ut.data.load_digits()
    return ((found.X[:600] - 0.3) / 0.37).astype(np.float32), found.y[:600]


@pytest.mark.parametrize(
    ("rates", "early"),
    [
        (ut.optim.step_decay(0.03, 0.1, 20), True),
        (ut.optim.step_decay(0.1, 0.8, 1), True),  # spent in ten steps, whose noise hides the fall
        (ut.optim.step_decay(0.1, 0.5, 1), True),
        (ut.optim.step_decay(0.1, 0.99, 1), False),
        (ut.optim.cosine(0.02, 40), True),
        (ut.optim.cosine(0.03, 480), False),
        (ut.optim.piecewise([0.1, 0.01, 0.001], [240, 360]), False),  # He et al. 2015, section 4.2: at a half and 3/4
        (ut.optim.piecewise([0.3, 0.001], [150]), False),  # early, but the loss is down by then
        (ut.optim.one_cycle(0.1, 480), False),
    ],
    ids=["tenths", "ten steps", "three steps", "slow", "short cosine", "cosine", "halves", "down by then", "one cycle"],
)
def test_a_schedule_that_is_spent_while_the_loss_still_falls(rates, early):
    """The same training with a rate that stays is what tells whether the schedule held it up."""
    run, constant = fit_with(rates), fit_with(float(rates(0)))
    assert (run.history[-1]["accuracy"] < constant.history[-1]["accuracy"] - 0.05) == early
    found = [x for x in run.findings if x.kind == "step-too-small"]
    assert bool(found) == early
    if early:
        assert "A schedule spends 90% of all its learning rates by step" in found[0].cause
        assert found[0].remedies[0].change == {"constant": float(rates(0))}


def test_weights_that_hardly_move_are_told_though_the_loss_began_low_by_luck():
    """A loss half that of a constant output is no sign that all is learned: a linear function has a lower one."""
    labels = RNG.integers(0, 2, 500)
    rows = (2 * labels[:, None] - 1 + 0.5 * RNG.normal(size=(500, 4))).astype(np.float32)
    last = nn.Dense(4, 1, W=np.full((4, 1), 0.28, np.float32), b=np.zeros(1, np.float32))
    fit = lambda rule: ut.train(nn.Sequential(last), (rows, labels), optimizer=rule, **BINARY)
    held, moved = fit(ut.optim.rmsprop(1e-8)), fit(ut.optim.rmsprop(1e-2))
    assert held.history[-1]["loss"] < 0.5 * np.log(2)
    assert moved.history[-1]["loss"] < 0.5 * held.history[-1]["loss"]
    assert [x.kind for x in held.findings] == ["step-too-small"]
    assert not [x for x in moved.findings if x.kind == "step-too-small"]


BINARY = {"loss": "binary_cross_entropy", "epochs": 20, "validation": 0.2, "progress": False}


@pytest.mark.parametrize(("rule", "rate"), [("lion", 0.12), ("adam", 0.55)])
def test_weights_that_are_turned_over_again_and_again_are_told(rule, rate):
    """Classes that can be told apart are learned at any rate, but far better at one that is a hundredth of that."""
    rng = np.random.default_rng(4)
    centres, labels = rng.normal(size=(5, 12)) * 1.2, rng.integers(0, 5, 600)
    rows = (centres[labels] + rng.normal(size=(600, 12))).astype(np.float32)
    model = nn.Sequential(nn.Dense(12, 16), "tanh", nn.Dense(16, 16), "tanh", nn.Dense(16, 5))
    settings = {"loss": "categorical_cross_entropy", "epochs": 10, "batch_size": 32, "validation": 0.2}
    fit = lambda rate: ut.train(
        model, (rows, labels), optimizer=getattr(ut.optim, rule)(rate), progress=False, **settings
    )
    high, low = fit(rate), fit(rate / 100)
    assert high.history[-1]["validation_loss"] > 2 * low.history[-1]["validation_loss"]
    assert "step-too-large" in [x.kind for x in high.findings]
    assert not [x for x in low.findings if x.kind.startswith("step-too")]


def test_steps_that_are_too_few_to_learn_anything_are_told():
    """One step an epoch, and twelve in all: smaller batches go thirty times as far in the same epochs."""
    rows, labels = digits()
    model = nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 32), "relu", nn.Dense(32, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": 12, "validation": 0.2, "progress": False}
    fit = lambda size: ut.train(model, (rows, labels), optimizer=ut.optim.sgd(0.01), batch_size=size, **settings)
    few, many = fit(480), fit(16)
    assert few.history[-1]["accuracy"] < 0.3 < many.history[-1]["accuracy"] - 0.2
    (found,) = few.findings
    assert (found.kind, found.severity) == (
        "step-too-small",
        "warning",
    ) and "12 steps, which are too few," in found.cause
    assert [x.name for x in found.remedies] == ["batch_size", "epochs", "rate"]
    assert not [x for x in many.findings if x.kind == "step-too-small"]
