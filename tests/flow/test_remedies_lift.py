"""Remedies that did not lift what they were for: a turned loss, rates that are right, schedules that last, momentum."""

import itertools

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.errors import ArgumentError
from undertow.flow import diagnose
from undertow.flow.attempt import Attempt, apply_change
from undertow.flow.cure import try_remedies
from undertow.flow.rules import remedies as R
from undertow.train import Diverged
from undertow.train.plan import Plan

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 6)).astype(np.float32)
NUMBERS = (X[:, :1] - 0.5 * X[:, 1:2]).astype(np.float32)
LABELS = ((X[:, 0] > 0) + (X[:, 1] > 0)).astype(np.int64)
SQUARES, CROSS = "mean_squared_error", "categorical_cross_entropy"


def dense(*sizes, activation="relu", init="auto"):
    hidden = [x for a, b in itertools.pairwise(sizes[:-1]) for x in (nn.Dense(a, b, init=init), activation)]
    return nn.Sequential(*hidden, nn.Dense(*sizes[-2:], init=init))


def train(model, y, loss, optimizer, **settings):
    settings = {"epochs": 10, "validation": 0.2, "progress": False, **settings}
    try:
        return ut.train(model, (X, y), loss=loss, optimizer=optimizer, **settings)
    except Diverged as error:
        return error.run


def minus_squares(output, y):
    return -np.mean((output - y) ** 2)


def plus_log_probabilities(output, y):
    return np.mean(np.sum(y * nn.log_softmax(output), axis=1))


@pytest.mark.parametrize("classes", [False, True])
def test_a_loss_whose_sign_is_turned_is_turned_back(classes):
    """The trial is judged by what was meant: a smaller squared error, or more right answers."""
    y, n, loss = (np.eye(3, dtype=np.float32)[LABELS], 3, plus_log_probabilities) if classes else (
        NUMBERS, 1, minus_squares)  # fmt: skip
    run = train(dense(6, 16, n), y, loss, optim.sgd(0.05))
    (finding,) = run.findings
    assert finding.kind == "turned-sign"
    trials = try_remedies(run, X, y, progress=False)
    assert trials.best is not None and trials.best.change == (("loss", {"turn": True}),) and trials.note == ""
    if classes:
        assert trials.best.share > 0.7 > trials.control.share + 0.3
    else:
        assert trials.best.loss < 0.2 < trials.control.loss and trials.best.gain > 0.9
    names = {loss.__name__: loss}
    exec(finding.remedies[0].code, names)
    assert names["loss"](X, X[:, :1] * 0 + 1) == -loss(X, X[:, :1] * 0 + 1)


def test_only_a_loss_of_ones_own_is_turned():
    plan = Plan(loss=nn.find_loss(SQUARES, dense(6, 4, 1)))
    with pytest.raises(ArgumentError, match="the loss is mean_squared_error, no function of your own"):
        apply_change(Attempt(dense(6, 4, 1), (X, NUMBERS, None), None, plan), "loss", {"turn": True})


def test_a_training_that_only_makes_a_loss_below_0_smaller_is_not_said_to_do_better():
    run = train(dense(6, 16, 1), NUMBERS, minus_squares, optim.sgd(0.002))
    trials = try_remedies(run, X, NUMBERS, findings=[], progress=False)
    assert trials.control.loss < 0 and trials.note == ""


def test_a_schedule_that_ended_is_replaced_by_a_rate_that_lasts():
    run = train(dense(6, 32, 32, 3), LABELS, CROSS, optim.sgd(optim.cosine(0.1, 5)), epochs=30)
    trials = try_remedies(run, X, LABELS, progress=False)
    (row,) = [x for x in trials if x.change == (("rate", {"constant": 0.1}),)]
    assert row.change[0] in trials.best.change and row.gain > 0.1 and row.run.settings["optimizer"]["rate"] == 0.1


@pytest.mark.parametrize("make", [optim.cosine, optim.one_cycle, optim.polynomial], ids=lambda make: make.__name__)
def test_more_epochs_lengthen_a_schedule_that_comes_to_an_end(make):
    """Else all that comes after the end has a rate of nearly 0. At a third of the way both have the same rate."""
    steps = 7 * 6
    run = train(dense(6, 8, 3), LABELS, CROSS, optim.adam(optim.warmup(make(0.01, steps=steps), 2)), epochs=6)
    remedy = R.more_epochs(run.flow)
    old = Attempt(dense(6, 8, 3), (X, LABELS, None), None, Plan(loss=CROSS, epochs=6, optimizer=run_rule(run)))
    new = apply_change(old, remedy.name, remedy.change)
    wanted = make(0.01, steps=3 * steps)
    assert new.plan.epochs == 18 and remedy.option == "--epochs 18"
    told = new.plan.optimizer.settings["rate"]
    assert [optim.build_schedule(told)(t + 2) for t in (0, 30, 99)] == [wanted(t) for t in (0, 30, 99)]
    kept = {"X": X, "y": LABELS, "model": dense(6, 8, 3), "ut": ut}
    exec(remedy.code.replace("run = ut.train", "call = dict").replace("(model, (X, y), ", "("), kept)
    rate = kept["call"]["optimizer"].settings["rate"]
    assert [optim.build_schedule(rate)(t + 2) for t in (0, 30, 99)] == [wanted(t) for t in (0, 30, 99)]


def run_rule(run):
    return optim.build_optimizer(run.settings["optimizer"])


@pytest.mark.parametrize(
    ("rule", "lowest", "highest"),
    [(optim.sgd(8.0), 0.005, 0.5), (optim.adam(0.6), 3e-4, 0.02), (optim.rmsprop(0.3), 3e-4, 0.02)],
    ids=repr,
)
def test_of_two_smaller_rates_the_larger_comes_first_and_works(rule, lowest, highest):
    run = train(dense(6, 16, 16, 3, activation="tanh"), LABELS, CROSS, rule, epochs=15)
    (finding,) = [x for x in run.findings if x.kind == "step-too-large"]
    first, second = [x.change["to"] for x in finding.remedies if "to" in x.change and x.name == "rate"]
    assert lowest < first < highest and second == pytest.approx(first / 5, rel=0.3)
    trials = try_remedies(run, X, LABELS, findings=[finding], progress=False)
    assert trials.best.change == (("rate", {"to": first}),) and trials.best.share > 0.85


def test_momentum_is_that_of_the_gradient():
    """β of rmsprop is of squares, β₁ of adam is momentum; a rule that is told has its own name for it."""

    def told(rule):  # fmt: skip
        run = train(dense(6, 1), NUMBERS, SQUARES, rule, epochs=2)
        return [(x.sentence, x.option, x.change) for x in R.less_momentum(run.flow)]

    change = {"momentum": 0.9}
    assert told(optim.rmsprop(0.01, beta=0.99)) == []
    assert told(optim.momentum(0.01)) == []
    assert told(optim.nesterov(0.01, beta=0.99)) == [
        ("A momentum of 0.9 instead of 0.99.", "--optimizer nesterov:beta=0.9", change)
    ]
    assert told(optim.adam(0.01, beta1=0.97)) == [
        ("A momentum of 0.9 instead of 0.97.", "--optimizer adam:beta1=0.9", change)
    ]


def test_long_memory_is_a_remedy_where_steps_are_too_large():
    run = train(dense(6, 1), NUMBERS, SQUARES, optim.momentum(0.2, beta=0.99), epochs=60, batch_size=1000)
    trials = try_remedies(run, X, NUMBERS, progress=False)
    assert {x.kind for x in run.findings} <= {"step-too-large", "oscillation"} and run.findings
    assert trials.best.change == (("rate", {"momentum": 0.9}),) and trials.best.gain > 0.5


def test_wider_layers_have_an_option():
    run = train(dense(6, 3, 24, 3), LABELS, CROSS, optim.adam(0.01), epochs=1)
    assert R.widen(run.flow, 16).option == "--hidden 16,24"


# Three layers


@pytest.mark.parametrize(("deviation", "found"), [(0.01, ["vanishing"]), (None, [])])
def test_three_layers_whose_weights_are_far_too_small(deviation, found):
    """The exclusive or of two signs: nothing is learned by sgd, since the gradient shrinks by W twice."""
    rng = np.random.default_rng(4)
    signs = rng.choice([-1.0, 1.0], (400, 2))
    inputs = (signs + 0.1 * rng.normal(size=(400, 2))).astype(np.float32)
    y = (signs[:, :1] * signs[:, 1:] > 0).astype(np.int64)
    init = "auto" if deviation is None else nn.normal(deviation=deviation)
    model = dense(2, 16, 16, 1, activation="tanh", init=init)
    run = ut.train(model, (inputs, y), loss="binary_cross_entropy", optimizer=optim.sgd(0.5), epochs=40, progress=False)
    assert [x.kind for x in diagnose(run.flow)] == found
    if found:
        assert run.findings[0].remedies[0].name == "initialisation" and "weights multiply" in run.findings[0].cause


NORMS = {"LayerNorm": nn.LayerNorm, "BatchNorm": nn.BatchNorm, "RMSNorm": nn.RMSNorm}


@pytest.mark.parametrize("name", NORMS)
def test_gains_of_0_are_told_as_such_and_gains_of_1_mend_it(name):
    """Behind them every example gives 0, where relu is flat: other weights before them would change nothing."""
    norm = NORMS[name](16, gain=np.zeros(16, np.float32))
    model = nn.Sequential(nn.Dense(6, 16), norm, "relu", nn.Dense(16, 3))
    run = train(model, LABELS, CROSS, optim.adam(5e-3), epochs=12, validation=0.2)
    (found,) = run.findings
    assert (found.kind, found.severity) == ("identical-units", "error") and "all gains are 0" in found.cause
    trials = try_remedies(run, X, LABELS, model=model, progress=False)
    assert "gains of normalisations at 1" in trials.best.remedy and trials.best.gain > 0.1
    names = {"ut": ut, "model": model, "X": X, "y": LABELS}
    exec(found.remedies[0].code, names)
    held = [x.history[-1]["validation_loss"] for x in (names["run"], run)]
    assert held[0] < 0.35 < 0.8 < held[1]  # the entropy of the classes is 0.58
