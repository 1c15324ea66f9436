"""Networks that are trained here: broken ones are told what is wrong with them and where, healthy ones nothing.

Each is small and its seed was not chosen: what is asserted holds for neighbouring seeds, widths and rates too.
"""

import dataclasses
import inspect
import types
from itertools import pairwise

import numpy as np
import pytest

import undertow as ut
from undertow.cli.training import train as train_command
from undertow.flow import Flow
from undertow.flow.rules import remedies
from undertow.nn import BatchNorm, Dense, LayerNorm, Residual, Sequential, constant, initialize, normal

DIGITS = ut.data.load_digits()
X, LABELS = DIGITS.X, DIGITS.y
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(600, 8)).astype(np.float32)
NUMBERS = (np.sin(1.5 * INPUTS @ np.linspace(-0.6, 0.6, 8)) + 0.1 * RNG.normal(size=600)).astype(np.float32)


OPTIONS = {"--" + name.replace("_", "-") for name in inspect.signature(train_command).parameters}


def stack(*sizes, activation="relu", init="auto", last="auto"):
    items = []
    for a, b in pairwise(sizes[:-1]):
        items += [Dense(a, b, init=init), activation]
    return Sequential(*items, Dense(sizes[-2], sizes[-1], init=init if last == "auto" else last))


def with_bias(model, k, value):
    layers = list(initialize(model, 0).layers)
    layers[k] = dataclasses.replace(layers[k], b=np.full_like(layers[k].b, value))
    return Sequential(*layers)


def train(model, data, optimizer, epochs=6, batch_size=64, **settings):
    loss = settings.pop("loss", "mean_squared_error" if data[1].dtype.kind == "f" else "categorical_cross_entropy")
    try:
        return ut.train(
            model,
            data,
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            progress=False,
            **settings,
        ).findings
    except ut.TrainingError as error:
        return error.run.findings


BROKEN = {
    "sigmoid, 10 deep": ("vanishing", {1}, lambda: train(
        stack(64, *[32] * 10, 10, activation="sigmoid"), (X, LABELS), ut.optim.sgd(0.1))),
    "weights of 0.03, 8 deep": ("vanishing", {1}, lambda: train(
        stack(64, *[32] * 8, 10, init=normal(deviation=0.03)), (X, LABELS), ut.optim.momentum(0.01))),
    "weights three times too large, 10 deep": ("exploding", {1}, lambda: train(
        stack(64, *[32] * 10, 10, init=normal(deviation=0.75)), (X, LABELS), ut.optim.sgd(0.01), 2)),
    "biases of -30": ("born-dead-layer", {2}, lambda: train(
        with_bias(stack(64, 32, 32, 10), 2, -30.0), (X, LABELS), ut.optim.adam(1e-3), 3)),
    "tanh with weights of 2": ("saturation", {1}, lambda: train(
        stack(64, 32, 10, activation="tanh", init=normal(deviation=2.0)), (X, LABELS), ut.optim.sgd(0.01))),
    "all weights 0.1": ("identical-units", {1}, lambda: train(
        stack(8, 16, 1, activation="tanh", init=constant(value=0.1)), (INPUTS, NUMBERS), ut.optim.sgd(0.05))),
    "an output of 50": ("initial-loss", {2}, lambda: train(
        stack(64, 32, 10, last=normal(deviation=3.0)), (X, LABELS), ut.optim.adam(1e-3))),
    "a rate of 10,000": ("step-too-large", None, lambda: train(
        stack(8, 16, 1), (INPUTS, NUMBERS), ut.optim.sgd(1e4))),
    "a rate that kills units": ("step-too-large", None, lambda: train(
        stack(64, 32, 10), (X, LABELS), ut.optim.sgd(20.0))),
    "a rate of a millionth": ("step-too-small", None, lambda: train(
        stack(64, 32, 10), (X, LABELS), ut.optim.adam(1e-6))),
    "momentum of 0.99 on full batches": ("oscillation", None, lambda: train(
        stack(8, 16, 1, activation="tanh"), (INPUTS, NUMBERS), ut.optim.momentum(0.05, beta=0.99), 150, 600)),
    "labels by chance": ("plateau", None, lambda: train(
        stack(8, 8, 3), (INPUTS, RNG.integers(0, 3, 600)), ut.optim.sgd(0.05), 30)),
    "few rows and noise": ("over-fitting", None, lambda: train(
        stack(8, 128, 1), (INPUTS[:150], RNG.normal(size=150).astype(np.float32)), ut.optim.adam(3e-3), 80, 32,
        validation=0.3)),
    "inputs of 100": ("input-not-scaled", {1}, lambda: train(
        stack(8, 16, 1), (100 * INPUTS, NUMBERS), ut.optim.sgd(1e-3))),
    "a target of 1000": ("target-not-scaled", None, lambda: train(
        stack(8, 16, 1), (INPUTS, 300 * NUMBERS + 1000), ut.optim.adam(1e-3))),
    "clipped at 0.001": ("always-clipped", None, lambda: train(
        stack(64, 32, 10), (X, LABELS), ut.optim.sgd(0.1), clip=ut.optim.clip_by_global_norm(0.001))),
    "batches of two": ("tiny-batch-normalisation", {2}, lambda: train(
        Sequential(Dense(8, 16), BatchNorm(16), "relu", Dense(16, 1)), (INPUTS[:200], NUMBERS[:200]),
        ut.optim.adam(1e-3), 2, 2)),
    "rows given twice": ("leakage", None, lambda: train(
        stack(8, 16, 1), (np.tile(INPUTS, (2, 1)), np.tile(NUMBERS, 2)), ut.optim.adam(1e-3))),
    "relu before numbers of any sign": ("loss-activation-mismatch", {2}, lambda: train(
        Sequential(*stack(8, 16, 1).layers, "relu"), (INPUTS, NUMBERS), ut.optim.adam(1e-3))),
}  # fmt: skip

HEALTHY = {
    "relu": lambda: train(stack(64, 32, 10), (X, LABELS), ut.optim.adam(3e-3)),
    "two layers of sigmoid": lambda: train(
        stack(64, 32, 32, 10, activation="sigmoid"), (X, LABELS), ut.optim.adam(1e-2)),
    "eight layers of relu": lambda: train(stack(64, *[32] * 8, 10), (X, LABELS), ut.optim.adam(1e-3)),
    "six residual blocks": lambda: train(
        Sequential(Dense(64, 32), *[Residual(LayerNorm(32), Dense(32, 32), "tanh") for _ in range(6)], Dense(32, 10)),
        (X, LABELS), ut.optim.momentum(0.01)),
    "one linear layer": lambda: train(stack(8, 1), (INPUTS, NUMBERS), ut.optim.sgd(0.05), 20),
    "numbers, in full batches": lambda: train(
        stack(8, 32, 1, activation="tanh"), (INPUTS, NUMBERS), ut.optim.adam(1e-2), 100, 600),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::undertow.PairingWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_network_is_told_what_is_wrong(name):
    kind, cause, run = BROKEN[name]
    found = run()
    assert [x.kind for x in found] == [kind]
    if cause is not None:
        assert int(found[0].layers[0].split()[1].strip(",")) in cause


SETTINGS = {"loss": "mean_squared_error", "task": "regression", "optimizer": {"name": "sgd", "rate": 0.01}, "epochs": 3}
REMEDIES = [
    remedies.other_rate, remedies.other_activation, remedies.other_initialiser, remedies.normalise,
    remedies.add_residual, remedies.clip, remedies.scale_inputs, remedies.scale_target, remedies.other_batch_size,
    remedies.more_epochs, remedies.stop_early, remedies.regularise, remedies.weigh_classes, remedies.other_loss,
    remedies.without_end, remedies.with_end, remedies.drop_units, remedies.start_at_frequencies,
    remedies.widen, remedies.weaker_penalty, remedies.weaker_decay, remedies.weaker_noise, remedies.less_smoothing,
]  # fmt: skip
GIVEN = {
    "other_rate": [0.1], "other_initialiser": ["orthogonal"], "other_batch_size": [16],
    "other_loss": ["huber", "Another loss."], "without_end": ["No activation at the end."],
    "other_activation": ["tanh", "relu"], "widen": [24], "with_end": ["softplus", "Above 0."],
    "weaker_penalty": ["l2", 1e-3], "weaker_decay": [5.0, 0.05], "weaker_noise": ["Dropout", 0.9, 0.2],
    "less_smoothing": [0.9],
}  # fmt: skip


@pytest.mark.parametrize("make", REMEDIES, ids=lambda make: make.__name__)
def test_the_code_of_a_remedy_runs(make):
    """Two steps of what it says, on a small model; and the option is one of `undertow train`."""
    flow = Flow.empty(())
    flow.settings = dict(SETTINGS)
    model, y = stack(8, 16, 16, 1), NUMBERS
    if make in (remedies.weigh_classes, remedies.start_at_frequencies):
        flow.settings |= {"loss": "categorical_cross_entropy", "task": "categorical"}
        model, y = stack(8, 16, 16, 2), (NUMBERS > 0).astype(int)
    if make is remedies.without_end:
        model = Sequential(*model.layers, "tanh")
    if make is remedies.less_smoothing:
        flow.settings |= {"loss": "categorical_cross_entropy", "task": "categorical"}
        flow.settings["loss_settings"] = {"label_smoothing": 0.9}
        model, y = stack(8, 16, 16, 2), (NUMBERS > 0).astype(int)
    if make is remedies.weaker_decay:
        flow.settings["optimizer"] = {"name": "adamw", "rate": 0.01, "decay": 5.0}
    if make is remedies.weaker_noise:
        model = Sequential(*model.layers[:2], ut.nn.Dropout(0.9), *model.layers[2:])
    remedy = make(flow, *GIVEN.get(make.__name__, []))
    seen = {}

    def few_steps(model, data, **settings):
        seen.update(settings)
        return ut.train(model, data, **{**settings, "steps": 2, "flow": False}, progress=False)

    world = types.SimpleNamespace(**{**vars(ut), "train": few_steps})
    exec(remedy.code, {"ut": world, "np": np, "model": model, "X": INPUTS, "y": y})
    assert seen["optimizer"].name in ("sgd", "adamw") and seen["epochs"] >= 3
    assert not remedy.option or remedy.option.split()[0] in OPTIONS


NESTED = {
    "other_activation": (remedies.other_activation, ["relu", "sigmoid"], "sigmoid", 0, "relu", 4),
    "normalise": (remedies.normalise, [], "LayerNorm", 4, "sigmoid", 4),
    "drop_units": (remedies.drop_units, [0.3], "Dropout(rate=0.3)", 4, "sigmoid", 4),
    "add_residual": (remedies.add_residual, [], "Residual(", 2, "sigmoid", 4),
    "weaker_noise": (remedies.weaker_noise, ["Dropout", 0.9, 0.1], "Dropout(rate=0.1)", 1, "sigmoid", 4),
}


@pytest.mark.parametrize("name", NESTED)
def test_the_code_of_a_remedy_finds_its_places_wherever_they_are(name):
    """In blocks, branches and blocks within blocks, as many as there are."""
    make, given, text, count, other, others = NESTED[name]
    inner = Sequential(Dense(8, 8), "sigmoid", *([ut.nn.Dropout(0.9)] if name == "weaker_noise" else []))
    branches = ut.nn.Parallel(*[Sequential(Dense(8, 4), "sigmoid") for _ in range(2)])
    model = Sequential(Residual(Dense(8, 8), "sigmoid"), Sequential(inner, branches), Dense(8, 8), Dense(8, 1))
    flow = Flow.empty(())
    flow.settings = dict(SETTINGS)
    world = types.SimpleNamespace(**{**vars(ut), "train": lambda model, data, **_: model})
    names = {"ut": world, "model": model, "X": INPUTS, "y": NUMBERS}
    exec(make(flow, *given).code, names)
    made = repr(names["better"])
    assert (made.count(text), made.count(other)) == (count, others)
    assert initialize(names["better"], 0)(INPUTS[:5]).shape == (5, 1)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_is_told_nothing(name):
    assert [str(x) for x in HEALTHY[name]()] == []


def own_loss(p, y):
    return np.mean(np.log(p[:, 0] * y))


def test_what_a_loss_of_ones_own_makes_of_numbers_is_told_with_its_line():
    (found,) = train(stack(8, 16, 1), (INPUTS, NUMBERS), ut.optim.sgd(0.01), loss=own_loss)
    assert (found.kind, found.step) == ("non-finite", 1)
    assert "log (test_diagnose_runs.py:" in found.cause.lower()


def test_weights_that_are_not_numbers_are_told_with_their_layer():
    layers = list(initialize(stack(8, 16, 16, 1), 0).layers)
    layers[2].W[3, 4] = np.nan
    (found,) = train(Sequential(*layers), (INPUTS, NUMBERS), ut.optim.sgd(0.01))
    assert (found.kind, found.layers[0]) == ("non-finite", "layer 2, Dense(16, 16)")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("model", "settings", "cause"),
    [
        (lambda: stack(64, *40 * [64], 10, activation="tanh", init=normal(deviation=0.2)), {}, "exploding"),
        (lambda: stack(64, 32, 32, 10), {"max_norm": 0.05, "optimizer": ut.optim.adam(3e-3)}, "over-regularised"),
    ],
    ids=["weights too large", "a bound on them"],
)
def test_what_vanishes_by_the_first_steps_follows_from_what_made_these(model, settings, cause, seed):
    settings = {"loss": "categorical_cross_entropy", "optimizer": ut.optim.sgd(0.05), "epochs": 6, **settings}
    run = ut.train(model(), (X[:800], LABELS[:800]), validation=0.2, progress=False, seed=seed, **settings)
    found = [x for x in run.findings if x.kind != "constant-columns"]
    assert [x.kind for x in found] == [cause]
