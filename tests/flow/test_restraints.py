"""Regularisation that is too strong is told, with the setting to change; of a reasonable strength it is not."""

import itertools
import math

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow import nn, optim
from undertow.flow import diagnose
from undertow.flow.attempt import Attempt, apply_change
from undertow.flow.restraints import decay_of, list_noise, measure_restraints
from undertow.train.plan import Plan

DIGITS = ut.data.load_digits()
SPREAD = DIGITS.X.std(axis=0)
X = ((DIGITS.X - DIGITS.X.mean(axis=0)) / np.maximum(SPREAD, 0.05))[:700, SPREAD > 0.03].astype(np.float32)
LABELS = DIGITS.y[:700]


def train(layer=None, activation="relu", **settings):
    hidden = [nn.Dense(X.shape[1], 32), activation, *([layer] if layer else [])]
    model = nn.Sequential(*hidden, nn.Dense(32, 32), activation, *([layer] if layer else []), nn.Dense(32, 10))
    usual = {"loss": "categorical_cross_entropy", "optimizer": optim.adam(3e-3), "epochs": 10, "batch_size": 32}
    return ut.train(model, (X, LABELS), **{**usual, "validation": 0.2, "progress": False, **settings})


def smoothed(amount):
    return {"name": "categorical_cross_entropy", "label_smoothing": amount}


STRONG = {
    "l2": ("l2=1 ", "--l2 0.01", lambda: train(l2=1.0)),
    "l2 with sgd": ("l2=0.5 ", "--l2 0.005", lambda: train(l2=0.5, optimizer=optim.sgd(0.05), activation="tanh")),
    "l1": ("l1=0.1 ", "--l1 0.001", lambda: train(l1=0.1, activation="tanh")),
    "decay": ("decay of 50 ", "--decay 0.5", lambda: train(optimizer=optim.adamw(3e-3, decay=50.0))),
    "max_norm": ("max_norm=0.1 ", "--max-norm 3", lambda: train(max_norm=0.1)),
    "dropout": ("Dropout(0.95) ", "--dropout 0.2", lambda: train(nn.Dropout(0.95))),
    "noise": ("Noise(10) ", "--noise 1", lambda: train(nn.Noise(10.0))),
    "smoothing": ("smoothing of 0.95 ", "--label-smoothing 0.1", lambda: train(loss=smoothed(0.95))),
}


@pytest.mark.parametrize("name", STRONG)
def test_the_setting_that_holds_a_training_back_is_named(name):
    text, option, run = STRONG[name]
    found = run().findings
    assert [x.kind for x in found] == ["over-regularised"]
    assert text in found[0].cause and len(found[0].remedies) == 1
    assert found[0].remedies[0].option == option and found[0].remedies[0].name == "regularisation"


def deep(activation, rate, *ends, init=None):
    """Ten hidden layers, each with what ends it behind its activation."""
    sizes = [X.shape[1], *[48] * 10]
    items = []
    for a, b in itertools.pairwise(sizes):
        norm = [nn.BatchNorm(b)] if activation == "sigmoid" else []
        items += [nn.Dense(a, b, **({"init": init} if init else {})), *norm, activation, *ends]
    model = nn.Sequential(*items, nn.Dense(48, 10))
    settings = {"loss": "categorical_cross_entropy", "batch_size": 32, "validation": 0.2, "progress": False}
    return ut.train(model, (X, LABELS), optimizer=optim.sgd(rate), epochs=8, **settings)


@pytest.mark.parametrize(("activation", "rate"), [("relu", 0.3), ("sigmoid", 0.2)])
def test_a_little_dropout_in_many_layers_adds_up(activation, rate):
    """Of a rate of 0.2 each makes a variance of a quarter of what passes, ten of them 2.5 times as much."""
    found = deep(activation, 0.1, nn.Dropout(rate)).findings
    assert [x.kind for x in found] == ["over-regularised"]
    assert f"Dropout({rate}) in 10 places" in found[0].cause and found[0].remedies[0].option == "--dropout 0.05"
    mended = deep(activation, 0.1, nn.Dropout(0.05))
    assert not mended.findings and mended.history[-1]["validation_accuracy"] > 0.4


def test_noise_of_several_rates_is_told_by_the_largest():
    noise = [
        {"path": f"layers[{i}]", "kind": "Dropout", "value": 0.4 if i < 2 else 0.1, "behind": None} for i in range(9)
    ]
    told = {"noise": noise, "noisy_loss": 2.0, "quiet_loss": 0.9, "signal": 0.1}
    flow = made_flow(loss=np.full(200, 2.0), facts={"output": {"expected_loss": 2.3}, "restraints": told})
    causes = [x.cause for x in diagnose(flow) if x.kind == "over-regularised"]
    assert len(causes) == 1 and ": noise in 9 places, Dropout(0.4) at most, drowns what" in causes[0]


def test_noise_that_weights_make_larger_from_layer_to_layer_is_put_down_to_these():
    found = deep("relu", 1e-4, nn.Dropout(0.2), init=nn.normal(deviation=0.5)).findings
    assert found[0].kind == "exploding" and "over-regularised" not in [x.kind for x in found]


def test_decay_that_takes_half_of_the_weights_in_a_step_is_no_rate_that_is_too_large():
    found = train(optimizer=optim.adamw(0.01, decay=50.0), activation="tanh").findings
    assert [x.kind for x in found] == ["over-regularised"] and found[0].remedies[0].option == "--decay 0.5"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_penalty_under_which_less_is_learned_than_a_linear_function_has(seed):
    """Few rows held out cannot tell by how much larger weights are better, but a linear function is right far more."""
    rng = np.random.default_rng(seed)
    centres, y = 1.2 * rng.standard_normal((5, 12)), rng.integers(0, 5, 600)
    inputs = (centres[y] + rng.standard_normal((600, 12))).astype(np.float32)
    settings = {"loss": "categorical_cross_entropy", "batch_size": 32, "epochs": 15, "validation": 0.2}
    settings |= {"optimizer": optim.adam(3e-3), "progress": False}
    hidden = [nn.Dense(12, 24), "gelu", nn.Dense(24, 24), "gelu"]
    held = ut.train(nn.Sequential(*hidden, nn.Dense(24, 5)), (inputs, y), l1=0.1, **settings)
    linear = ut.train(nn.Sequential(nn.Dense(12, 5)), (inputs, y), **settings)
    assert held.history[-1]["validation_accuracy"] < linear.history[-1]["validation_accuracy"] - 0.2
    (found,) = [x for x in held.findings if x.kind == "over-regularised"]
    assert "l1=0.1 " in found.cause


@pytest.mark.parametrize("seed", [0, 1])
def test_a_penalty_under_which_noisy_numbers_are_learned_far_less_than_by_a_linear_function(seed):
    """Half of their variance is noise, so that no loss is a half of another: the fall tells, not the loss."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((440, 10)).astype(np.float32)
    y = (inputs[:, :3].sum(axis=1) / np.sqrt(3) + rng.standard_normal(440)).astype(np.float32)
    y /= y.std()
    settings = {"loss": "mean_squared_error", "epochs": 40, "validation": 0.25, "progress": False}
    settings["optimizer"] = optim.adam(3e-3)
    model = nn.Sequential(nn.Dense(10, 32), "relu", nn.Dense(32, 1))
    held, free, little = (ut.train(model, (inputs, y), l2=l2, **settings) for l2 in (5.0, 0.0, 1e-3))
    linear = ut.train(nn.Sequential(nn.Dense(10, 1)), (inputs, y), **{**settings, "epochs": 80})
    end = lambda run: min(row["validation_loss"] for row in run.history)
    assert 1 - end(held) < 0.6 * (1 - end(linear))
    assert [x.kind for x in held.findings] == ["over-regularised"] and "l2=5 " in held.findings[0].cause
    assert not [x for run in (free, little) for x in run.findings if x.kind == "over-regularised"]


def test_what_a_bound_takes_back_after_a_step_is_not_put_down_to_the_rate():
    """At a hundredth of adam's usual rate a step moves no weight by more than 1e-5; the bound moves them all."""
    run = train(max_norm=0.05, optimizer=optim.adam(1e-5))
    first = run.flow.stat("update.rms")[0] / run.flow.looks[0].layers[0]["W_rms"]
    assert np.nanmax(first) > 0.5
    told = {x.kind for x in run.findings} | {x.text for finding in run.findings for x in finding.evidence}
    assert "over-regularised" in told
    assert told.isdisjoint({"step-too-large", "follows from it: step-too-large"})


MILD = {
    "l2": lambda: train(l2=3e-3),
    "l1": lambda: train(l1=3e-4),
    "decay": lambda: train(optimizer=optim.adamw(3e-3, decay=0.1)),
    "max_norm": lambda: train(max_norm=2.0),
    "dropout": lambda: train(nn.Dropout(0.3)),
    "noise": lambda: train(nn.Noise(0.5)),
    "smoothing": lambda: train(loss=smoothed(0.2)),
    "dropout, one epoch": lambda: train(nn.Dropout(0.5), epochs=1),
}


@pytest.mark.parametrize("name", MILD)
def test_a_setting_of_a_reasonable_strength_is_not(name):
    assert [x.kind for x in MILD[name]().findings] == []


def test_a_strong_penalty_that_rows_held_out_want_is_left_alone():
    """Few rows and much noise: with larger weights the loss falls on the rows trained on, and rises on others."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((120, 20)).astype(np.float32)
    y = (0.5 * inputs[:, :1] + rng.standard_normal((120, 1))).astype(np.float32)
    model = nn.Sequential(nn.Dense(20, 32), "tanh", nn.Dense(32, 1))
    settings = {"loss": "mean_squared_error", "epochs": 40, "batch_size": 16, "validation": 0.4, "progress": False}
    run = ut.train(model, (inputs, y), optimizer=optim.adam(5e-3), l2=0.05, **settings)
    assert run.flow.facts["restraints"]["held"]
    assert "over-regularised" not in [x.kind for x in run.findings]


def test_labels_that_say_nothing_are_not_blamed_on_a_little_dropout():
    mixed = np.random.default_rng(1).permutation(LABELS)
    model = nn.Sequential(nn.Dense(X.shape[1], 16), "relu", nn.Dropout(0.2), nn.Dense(16, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": 10, "batch_size": 32, "progress": False}
    run = ut.train(model, (X, mixed), optimizer=optim.sgd(0.02), validation=0.2, **settings)
    assert [x.kind for x in run.findings] == ["plateau"]


def test_weights_before_a_normalisation_may_shrink():
    """Their size means nothing: labels of other rows are to blame, and not the penalty that made them small."""
    mixed = np.random.default_rng(1).permutation(LABELS)
    model = nn.Sequential(nn.Dense(X.shape[1], 16), nn.BatchNorm(16), "relu", nn.Dense(16, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": 16, "batch_size": 64, "progress": False}
    run = ut.train(model, (X, mixed), optimizer=optim.sgd(0.05), l2=0.1, validation=0.2, **settings)
    begin, end = (look.layers[0]["W_rms"] for look in (run.flow.looks[0], run.flow.looks[-1]))
    assert end < 0.5 * begin and [x.kind for x in run.findings] == ["plateau"]


def test_the_share_of_the_signal_is_that_of_its_formula():
    """Of w · (x m / (1 − p)) the masks m make the variance Σ w² x² p / (1 − p)."""
    rng = np.random.default_rng(0)
    inputs, W = rng.standard_normal((200, 30)), rng.standard_normal((30, 4))
    model = nn.Sequential(nn.Dropout(0.6), nn.Dense(30, 4, W=W, b=np.zeros(4)))
    trainer = ut.Trainer(model, (inputs, inputs @ W), loss="mean_squared_error", progress=False, validation=None)
    found = measure_restraints(model, trainer.task, {}, (), (inputs, inputs @ W), None)
    drawn = np.mean(inputs**2 @ W**2, axis=0).sum() * 0.6 / 0.4
    signal = (inputs @ W).var(axis=0, ddof=1).sum()
    assert found["signal"] == pytest.approx(signal / (signal + drawn), abs=0.03)
    assert found["noisy_loss"] == pytest.approx(drawn, rel=0.05) and found["quiet_loss"] == pytest.approx(0, abs=1e-20)


def test_push_and_pull_are_equal_at_a_minimum_with_a_penalty():
    """Ridge regression, (XᵀX/m + λ/2) w = Xᵀy/m: ⟨w, ∇L⟩ = −λ |w|²; Goodfellow et al. 2016, eq. 7.8."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((500, 6))
    y = inputs @ rng.standard_normal((6, 1)) + 0.1 * rng.standard_normal((500, 1))
    W = np.linalg.solve(inputs.T @ inputs / 500 + 0.25 * np.eye(6), inputs.T @ y / 500)
    model = nn.Sequential(nn.Dense(6, 1, W=W, b=np.zeros(1)))
    trainer = ut.Trainer(model, (inputs, y), loss="mean_squared_error", progress=False, validation=None)
    found = measure_restraints(model, trainer.task, {"l2": 0.5, "max_norm": 1e-3}, (), (inputs, y), None)
    assert found["pull"] == {"l2": pytest.approx(0.5 * np.sum(W**2))}
    slope = -np.sum(W * (2 * inputs.T @ (inputs @ W - y) / 500))
    assert slope == pytest.approx(found["pull"]["l2"])
    grown = np.mean((1.25 * inputs @ W - y) ** 2)
    assert found["push"] == pytest.approx((np.mean((inputs @ W - y) ** 2) - grown) / math.log(1.25))
    best = min((float(np.mean((c * inputs @ W - y) ** 2)), c) for c in (1.25, 1.5, 2.0, 3.0))
    assert (found["larger"]["loss"], found["larger"]["factor"]) == (pytest.approx(best[0]), best[1])
    assert found["at_bound"] == 1.0


def test_what_smoothed_labels_still_say():
    """ln 2 − H(0.9, 0.1) = 0.368 for ε = 0.2; of ε = 0.6 it is 0.082, 12 % of ln 2."""
    for amount, kinds in ((0.2, []), (0.6, ["over-regularised"])):
        two = {"target": {"n_classes": 2, "priors": [0.5, 0.5]}}
        found = diagnose(made_flow(facts=two, loss_settings={"label_smoothing": amount}))
        assert [x.kind for x in found] == kinds
    told = {x.text: x.value for x in found[0].evidence}["share of what labels say that smoothed ones say"]
    assert told == pytest.approx(1 + (0.7 * math.log2(0.7) + 0.3 * math.log2(0.3)), rel=1e-6)


def test_nothing_is_measured_without_restraints_and_decay_is_found_within_wrappers():
    assert "restraints" not in train(epochs=1).flow.facts
    assert decay_of({"name": "adam", "rate": 0.1}) == 0.0
    layers = train(nn.Dropout(0.1), epochs=1).flow
    assert [x["behind"] for x in layers.facts["restraints"]["noise"]] == ["layers[0]", "layers[3]"]
    assert list_noise(nn.Sequential(nn.Dropout(0.0)), ()) == []


def test_remedies_are_applied_to_a_training():
    loss = {"name": "categorical_cross_entropy", "label_smoothing": 0.9}
    rule = optim.lookahead(optim.adamw(1e-3, decay=5.0))
    model = nn.Sequential(nn.Dense(4, 3), nn.Noise(9.0), nn.Dropout(0.9), nn.Dense(3, 2))
    rows = np.zeros((4, 4), np.float32), np.zeros(4, np.int64), None
    old = Attempt(model, rows, None, Plan(loss=loss, optimizer=rule))
    change = {"decay": 0.05, "label_smoothing": 0.1, "noise": 0.5, "dropout": 0.2, "max_norm": 3.0}
    new = apply_change(old, "regularisation", change)
    assert repr(new.model) == "Sequential(Dense(4, 3), Noise(deviation=0.5), Dropout(rate=0.2), Dense(3, 2))"
    assert decay_of({"name": "lookahead", **new.plan.optimizer.settings}) == 0.05
    assert new.plan.loss["label_smoothing"] == 0.1 and not new.same_loss and new.plan.max_norm == 3.0


def test_the_remedy_lifts_what_was_held_down():
    trials = train(l2=1.0).try_remedies(X, LABELS, progress=False)
    assert trials.best is not None and trials.best.gain > 0.6


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("penalty", [{"l2": 10.0}, {"l1": 1.0}])
def test_a_penalty_that_is_all_there_is_to_the_loss_is_told_before_it_has_shrunk_the_weights(penalty, epochs):
    """Of 10/2 Σ W² = 5 · 64 · 32 · 2/64 = 320 for the first layer alone, ln 10 = 2.3 is what answers can save."""
    digits = ut.data.load_digits()
    model = nn.Sequential(nn.Dense(64, 32), "relu", nn.Dense(32, 32), "relu", nn.Dense(32, 10))
    settings = {"loss": "categorical_cross_entropy", "validation": 0.2, "progress": False, "epochs": epochs}
    for rule in (optim.adam(1e-3), optim.sgd(0.02)):
        run = ut.train(model, (digits.X, digits.y), optimizer=rule, **settings, **penalty)
        assert [x.kind for x in run.findings if x.kind != "constant-columns"] == ["over-regularised"]
        assert "nothing is learned" in run.findings[0].cause


@pytest.mark.parametrize("seed", [0, 1])
def test_decay_that_leaves_all_of_the_little_that_there_is_to_learn_is_left_alone(seed):
    """Classes that depend weakly on one column: the network is as good as the function that drew them."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((800, 9)).astype(np.float32)
    p = 1 / (1 + np.exp(1.4 - 0.8 * inputs[:, 0]))
    y = (rng.random(800) < p).astype(int)
    model = nn.Sequential(nn.Dense(9, 128), "silu", nn.Dense(128, 2))
    optimizer = optim.adamw(optim.cosine(3e-3, 5000), decay=1.0)
    run = ut.train(model, (inputs, y), loss="categorical_cross_entropy", optimizer=optimizer, epochs=100, batch_size=16,
                   progress=False)  # fmt: skip
    right = -np.mean(np.log(np.where(y == 1, p, 1 - p)))
    assert run.evaluate(inputs, y)["loss"] < 1.01 * right
    first, last = (look.layers[0]["W_rms"] for look in (run.flow.looks[0], run.flow.looks[-1]))
    assert last < 0.15 * first
    assert "over-regularised" not in [x.kind for x in run.findings]
