"""Rules that go by what theory expects: skill beyond chance, the whole way through a stack, what data are like.

Each finds what was put in on a record made by hand and on a network that is trained here, and is silent on a healthy
one that comes near.
"""

import dataclasses
import statistics
import sys
from itertools import pairwise

import numpy as np
import pytest

import undertow as ut
import undertow.flow.diagnose
from made_flows import made_flow
from undertow.flow import diagnose
from undertow.flow.rules.measures import course_of, held_out_skill
from undertow.nn import Dense, Residual, Sequential, initialize, normal

diagnosing = sys.modules["undertow.flow.diagnose"]
DIGITS = ut.data.load_digits()
PIXELS, LABELS = DIGITS.X[:700].astype(np.float32), DIGITS.y[:700]
X = ((PIXELS - PIXELS.mean(axis=0)) / np.maximum(PIXELS.std(axis=0), 0.05))[:, PIXELS.std(axis=0) > 0]
KINDS = ("vanishing", "exploding", "plateau", "over-fitting", "rank-collapse", "dead-units", "step-too-large")


def kinds(flow):
    return [finding.kind for finding in diagnose(flow)]


def told(run):
    """The kinds of the findings, and of what follows from them."""
    follows = [e.text.partition(": ")[2] for x in run.findings for e in x.evidence if e.text.startswith("follows")]
    return {x.kind for x in run.findings} | set(follows)


def train(model, data, optimizer, epochs, batch_size=32, **settings):
    loss = "mean_squared_error" if data[1].dtype.kind == "f" else "categorical_cross_entropy"
    settings = {"loss": loss, "validation": 0.2, **settings}
    try:
        return ut.train(
            model, data, optimizer=optimizer, epochs=epochs, batch_size=batch_size, progress=False, **settings
        )
    except ut.TrainingError as error:
        return error.run


def dense(*sizes, activation="relu"):
    items = [part for a, b in pairwise(sizes[:-1]) for part in (Dense(a, b), activation)]
    return Sequential(*items, Dense(*sizes[-2:]))


# What outputs for rows held out are worth


def held(outputs, targets, task="categorical", **more):
    flow = made_flow(task=task, **more)
    flow.facts["held_out"] = {"outputs": np.asarray(outputs).tolist(), "targets": np.asarray(targets).tolist()}
    return flow


@pytest.mark.parametrize(("task", "share"), [("categorical", 0.0), ("categorical", 0.5), ("regression", 0.4)])
def test_skill_is_what_dealing_the_targets_out_anew_shows(task, share):
    """Mean and deviation over all orders, by 4000 of them that are drawn."""
    rng = np.random.default_rng(3)
    n = 120
    if task == "categorical":
        y = rng.integers(0, 4, n)
        target = np.eye(4)[y]
    else:
        y = target = rng.standard_normal((n, 2)) * [1.0, 1.0]
    F = rng.standard_normal(target.shape) + share * target
    size = lambda F, T: float(np.sum((F - F.mean(axis=0)) * (T - T.mean(axis=0))))
    scale = (lambda x: x / x.std(axis=0)) if task == "regression" else lambda x: x
    dealt = [size(scale(F), scale(target)[rng.permutation(n)]) for _ in range(4000)]
    wanted = (size(scale(F), scale(target)) - np.mean(dealt)) / np.std(dealt)
    skill, rows = held_out_skill(held(F, y, task))
    assert rows == n
    assert skill == pytest.approx(wanted, rel=0.05, abs=0.1)


def test_skill_of_one_number_is_its_correlation_and_knows_no_scale():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(80)
    f = 0.5 * y + rng.standard_normal(80)
    wanted = np.sqrt(79) * np.corrcoef(f, y)[0, 1]
    for scale, offset in ((1.0, 0.0), (30.0, -7.0)):
        skill, _ = held_out_skill(held(scale * f[:, None] + offset, y, "regression"))
        assert skill == pytest.approx(wanted)


def test_outputs_that_are_all_the_same_have_no_skill():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    assert held_out_skill(held(np.ones((90, 3)) + 1e-5 * np.eye(3)[y], y)) == (0.0, 90)
    assert np.isnan(held_out_skill(made_flow())[0])
    assert np.isnan(held_out_skill(held([[np.nan], [1.0]], [0.0, 1.0], "regression"))[0])


def falling(end, n=200):
    """A loss that comes down from a bad beginning to ``end``, without standing still."""
    return end + (3.0 - end) * np.exp(-np.arange(n) / 70)


def chance(flow, skilled, rows=140):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, rows)
    outputs = rng.standard_normal((rows, 10)) + 2.0 * skilled * np.eye(10)[y]
    flow.facts["held_out"] = {"outputs": outputs.tolist(), "targets": y.tolist()}
    return flow


def test_a_loss_that_ends_near_that_of_a_constant_output_without_any_skill():
    (found,) = diagnose(chance(made_flow(loss=falling(2.2)), skilled=False))
    assert (found.kind, found.severity, found.step) == ("plateau", "warning", 200)
    assert "dealt out anew" in found.cause and found.remedies[0].name == "data"


@pytest.mark.parametrize(
    ("flow", "skilled", "rows"),
    [
        (lambda: made_flow(loss=falling(2.2)), True, 140),  # it only begins to learn
        (lambda: made_flow(loss=falling(2.2)), False, 20),  # too few rows to tell
        (lambda: made_flow(loss=falling(2.2, 80)), False, 140),  # too few steps
        (lambda: made_flow(loss=falling(2.2), stats={"ratio": 4e-4}), False, 140),  # weights have hardly moved
    ],
)
def test_a_training_that_may_only_have_begun_is_left_alone(flow, skilled, rows):
    assert kinds(chance(flow(), skilled, rows)) == []


def test_rows_known_by_heart_without_any_skill():
    curve = falling(1.0)
    for skilled, wanted in ((False, ["over-fitting"]), (True, [])):
        flow = chance(made_flow(loss=curve), skilled)
        flow.history = [{**row, "validation_loss": 2.4} for row in flow.history]
        assert kinds(flow) == wanted


@pytest.mark.parametrize("end", [0.78, 0.82, 0.84, 0.86, 0.9, 0.96])
def test_without_any_skill_nothing_is_learned_or_rows_are_known_by_heart_wherever_a_loss_that_falls_ends(end):
    """Between both there is no place: what is above one limit is below the other, also while the loss falls on."""
    curve = np.log(10) * np.linspace(1.02, end, 400)
    flow = chance(made_flow(loss=curve), False)
    flow.history = [{**row, "validation_loss": 2.4 + 0.01 * i} for i, row in enumerate(flow.history)]
    assert kinds(flow) == (["over-fitting"] if end < 0.85 else ["plateau"])


def test_whole_epochs_tell_whether_a_loss_stands_still():
    """The noise of batches cancels over an epoch: a loss that seems to stand within it may fall all the time."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(300) * 0.3
    noise -= np.repeat(noise.reshape(10, 30).mean(axis=1), 30)
    still, slow = np.full(300, 2.28) + noise, np.linspace(2.4, 2.0, 300) + noise
    assert kinds(made_flow(loss=still)) == ["plateau"]
    assert kinds(made_flow(loss=slow)) == []


def test_weights_that_do_not_move_from_a_lucky_beginning():
    """The initial weights happen to suit; noise between batches makes the loss seem to fall."""
    curve = np.full(100, 1.5) + 0.3 * np.sin(np.arange(100) * 2.1)
    curve[:5] += 0.6
    flow = made_flow(loss=curve, stats={"ratio": 1e-6})
    flow.history = [{"epoch": i + 1, "loss": 1.5 - 1e-4 * i} for i in range(10)]
    assert kinds(flow) == ["step-too-small"]


# The whole way through a stack


def test_a_gradient_that_shrinks_little_in_each_of_many_layers_vanishes():
    """0.8 in each of 25 layers is 0.005: Schoenholz et al. 2017 count depth scales, not the change of one layer."""
    delta = 0.03 * 0.8 ** np.arange(25, -1, -1)
    assert kinds(made_flow(26, delta=delta, loss=np.full(100, np.log(10)))) == ["vanishing"]
    assert kinds(made_flow(26, delta=0.03 * 0.93 ** np.arange(25, -1, -1))) == []


@pytest.mark.parametrize(("stands", "found"), [(40, ["vanishing"]), (8, [])])
def test_a_gradient_that_adam_raises_counts_if_the_loss_stood_meanwhile(stands, found):
    """δ of the first layer is a millionth before training, and as large as the others after a few steps."""
    small = 0.03 * 0.3 ** np.arange(11, -1, -1)
    delta = np.repeat([small, np.full(12, 0.03)], [5, 95], axis=0)
    curve = np.append(np.full(stands, np.log(10)), np.log(10) * np.exp(-np.arange(100 - stands) / 12))
    flow = made_flow(12, delta=delta, loss=curve, optimizer={"name": "adam", "rate": 1e-3})
    assert kinds(flow) == found


def test_a_gradient_that_doubles_its_square_in_each_residual_block_explodes():
    """√2 a block: De and Smith 2020."""
    delta = 0.03 * 2 ** (np.arange(17, -1, -1) / 2)
    assert kinds(made_flow(18, delta=delta, loss=np.full(100, 20.0)))[:1] == ["exploding"]
    assert "exploding" not in kinds(made_flow(6, delta=delta[-6:]))


def test_residual_blocks_that_are_not_scaled_explode():
    blocks = [Residual(Dense(24, 24), "relu", Dense(24, 24)) for _ in range(16)]
    model = Sequential(Dense(X.shape[1], 24), *blocks, Dense(24, 10))
    assert "exploding" in told(train(model, (X[:300], LABELS[:300]), ut.optim.momentum(0.01), 2))
    quiet = [Residual(Dense(24, 24), "relu", Dense(24, 24), scale=0.25) for _ in range(16)]
    model = Sequential(Dense(X.shape[1], 24), *quiet, Dense(24, 10))
    assert told(train(model, (X, LABELS), ut.optim.adam(1e-3), 8)) & set(KINDS) == set()


# Rank


def test_a_rank_below_what_the_classes_need():
    low = {i: {"rank": 1.8, "rank_of_input": 2.0} for i in (1, 2)} | {0: {"rank": 2.6, "rank_of_input": 8.0}}
    curve = np.log(10) * (0.6 + 0.4 * np.exp(-np.arange(100) / 30))
    assert kinds(made_flow(first=low, loss=curve)) == ["rank-collapse"]
    two = {"target": {"n_classes": 2, "priors": [0.5, 0.5]}}
    assert kinds(made_flow(first=low, loss=curve, facts=two)) == []
    assert kinds(made_flow(first=low, last={1: {"rank": 5.0}, 2: {"rank": 5.0}}, loss=curve)) == []


def test_a_signal_that_drowns_in_a_bias_lies_on_one_line():
    alike = {1: {"correlation": 0.99999}, 2: {"correlation": 0.99995}}
    (found,) = diagnose(made_flow(first=alike))
    assert (found.kind, found.paths[0]) == ("rank-collapse", "layers[2]")
    assert "nearly the same for all examples" in found.cause
    deep = {i: {"correlation": 1 - 0.6**i} for i in range(12)}  # as relu layers do
    assert kinds(made_flow(12, first=deep)) == []


def test_a_bottleneck_of_one_unit_is_to_be_widened():
    run = train(dense(X.shape[1], 32, 1, 32, 10), (X, LABELS), ut.optim.adam(3e-3), 8)
    found = next(x for x in run.findings if x.kind == "rank-collapse")
    assert found.layers[0].endswith("Dense(32, 1)") and [x.name for x in found.remedies] == ["width"]


def test_biases_of_300_are_found_in_a_network():
    model = dense(X.shape[1], 32, 32, 32, 10, activation="softplus")
    layers = list(initialize(model, 0).layers)
    layers[2] = dataclasses.replace(layers[2], b=np.full(32, 300.0, np.float32))
    run = train(Sequential(*layers), (X, LABELS), ut.optim.adam(1e-3), 4)
    found = next(x for x in run.findings if x.kind == "rank-collapse")
    assert found.paths[0] == "layers[2]"
    assert "rank-collapse" not in told(train(model, (X, LABELS), ut.optim.adam(1e-3), 4))


# Steps


RATES = {  # of columns of 100: whether the rate is too high by itself
    "a usual rate": (ut.optim.sgd(0.03), False),
    "a usual rate of adam": (ut.optim.adam(2e-3), False),
    "a rate of 30": (ut.optim.sgd(30.0), True),
    "a rate of 1 with adam": (ut.optim.adam(1.0), True),
}


@pytest.mark.parametrize("name", RATES)
def test_a_rate_that_is_too_high_whatever_the_data_are_is_told_beside_them(name):
    rule, both = RATES[name]
    run = train(dense(X.shape[1], 32, 32, 10), (100 * X, LABELS), rule, 6)
    found = [x.kind for x in run.findings if x.kind != "constant-columns"]
    assert found == ["step-too-large"] * both + ["input-not-scaled"]
    (columns,) = (x for x in run.findings if x.kind == "input-not-scaled")
    (ratios,) = (x.value for x in columns.evidence if x.text.endswith("if columns and targets were scaled"))
    now, scaled = map(float, ratios.split(", "))
    assert (scaled > 0.5) == both and scaled <= 1.01 * now
    if both:
        (first,) = (x.value for x in run.findings[0].evidence if "if columns and targets were scaled" in x.text)
        assert first > 0.5


def test_the_gradient_for_scaled_data_is_that_for_scaled_data():
    rng = np.random.default_rng(0)
    model = initialize(dense(6, 5, 1, activation="tanh"), 3)
    inputs = (rng.standard_normal((100, 6)) * 50 + 7).astype(np.float32)
    y = (rng.standard_normal((100, 1)) * 300 + 1000).astype(np.float32)
    run = train(model, (inputs, y), ut.optim.sgd(1e-9), 1, 100, validation=None)
    scale = lambda x: (x - x.mean(axis=0)) / x.std(axis=0)

    def loss(model):
        return np.mean((model(scale(inputs)) - scale(y)) ** 2)

    gradient = ut.grad(loss)(model)
    wanted = [np.sqrt(np.mean(gradient.layers[i].W ** 2)) for i in (0, 2)]
    np.testing.assert_allclose(run.flow.facts["dW_if_scaled"], wanted, rtol=1e-4)
    assert "dW_if_scaled" not in train(model, (scale(inputs), scale(y)), ut.optim.sgd(1e-9), 1).flow.facts


def test_findings_that_explain_one_another_in_a_circle_are_not_lost(monkeypatch):
    circle = {"saturation": ("vanishing",), "vanishing": ("dead-units",), "dead-units": ("saturation",)}
    monkeypatch.setattr(diagnosing, "FOLLOWS", circle)
    found = [ut.flow.Finding(kind, "warning", "", step=5) for kind in circle]
    (kept,) = diagnosing._join(found)
    assert kept.kind == "saturation" and len(kept.evidence) == 2


def test_weights_that_are_turned_over_all_the_way():
    stats = {"ratio": 0.08, "update.rms": np.append(0.5, np.full(199, 0.02))[:, None] * np.ones(4)}
    curve = np.log(10) * (0.35 + 0.65 * np.exp(-np.arange(200) / 20))
    assert kinds(made_flow(loss=curve, stats=stats)) == ["step-too-large"]
    assert kinds(made_flow(loss=curve, stats=stats, facts={"batch_size": 1})) == []  # steps of single rows cancel
    assert kinds(made_flow(loss=curve - curve[-1] + 0.1, stats=stats)) == []  # no harm was done


def test_a_swing_at_full_batch_that_dies_away():
    """Ripples of momentum: the loss rises in a quarter of its way only."""
    t = np.arange(100)
    curve = 1 + 0.1 * np.exp(-t / 60) + 0.25 * np.cos(t / 2.2) - 0.004 * t
    full = {"batch_size": 640, "n_examples": 640}
    course = course_of(made_flow(loss=curve, facts=full))
    assert course.full_batch
    assert kinds(made_flow(loss=curve, facts=full)) == ["oscillation"]


# Columns


@pytest.mark.parametrize(("constant", "rare", "found"), [(10, 0, 1), (10, 4, 1), (10, 5, 0), (3, 9, 0), (30, 40, 1)])
def test_columns_of_zeros_are_natural_among_columns_that_are_nearly_so(constant, rare, found):
    columns = {"n_constant": constant, "constant": list(range(constant)), "constant_values": [0.0] * constant}
    flow = made_flow(facts={"columns": columns | {"n_rare": rare}, "n_features": 100})
    assert kinds(flow) == ["constant-columns"] * found


def test_columns_of_zeros_in_data():
    ten = np.insert(X[:, (np.median(X, axis=0) != X).mean(axis=0) > 0.3], [0] * 10, 0.0, axis=1)
    assert ten.shape[1] > 40
    wide = np.concatenate([ten, ten[:, 10:]], axis=1)  # more than fifty
    for data, wanted in ((wide, True), (PIXELS / 16, False)):
        run = train(dense(data.shape[1], 16, 10), (data.astype(np.float32), LABELS), ut.optim.adam(1e-3), 1)
        assert ("constant-columns" in told(run)) == wanted


# Networks that are trained here


def parity(bits):
    codes = np.random.default_rng(0).permutation(2**bits)[:700]
    B = ((codes[:, None] >> np.arange(bits)) & 1).astype(np.float32) * 2 - 1
    return B, (np.prod(B, axis=1) > 0).astype(np.int64)


NOISE = np.random.default_rng(5)
NOTHING = {
    "labels of other rows": lambda: train(
        dense(X.shape[1], 8, 10, activation="tanh"), (X, NOISE.permutation(LABELS)), ut.optim.sgd(0.01), 7
    ),
    "inputs that say nothing": lambda: train(
        dense(12, 8, 10), (NOISE.normal(size=(700, 12)).astype(np.float32), LABELS), ut.optim.sgd(0.02), 8
    ),
    "numbers of other rows": lambda: train(
        dense(X.shape[1], 16, 1), (X, NOISE.permutation(X @ np.ones(X.shape[1], np.float32))), ut.optim.sgd(1e-4), 10
    ),
    "parity": lambda: train(dense(12, 24, 2, activation="tanh"), parity(12), ut.optim.sgd(0.02), 12),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_network_that_can_learn_nothing_is_told_so(name):
    assert "plateau" in told(NOTHING[name]())


SLOW = {
    "two epochs": ([32], ut.optim.sgd(0.01), 2, 32),
    "a small rate": ([16], ut.optim.sgd(0.003), 7, 32),
    "single rows": ([16], ut.optim.sgd(0.003), 1, 1),
    "few steps": ([32], ut.optim.adam(1e-3), 1, 64),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_network_that_only_begins_to_learn_is_told_nothing(name):
    hidden, rule, epochs, batch_size = SLOW[name]
    run = train(dense(X.shape[1], *hidden, 10), (X, LABELS), rule, epochs, batch_size)
    assert told(run) & set(KINDS) == set()


@pytest.mark.parametrize("activation", ["tanh", "hard_tanh"])
def test_the_share_in_flat_parts_that_is_told_lets_as_much_of_the_gradient_pass(activation):
    """For tanh E φ'² is an integral of sech⁴, for hard_tanh the share of z within (−1, 1): 0.15 for both limits."""
    limits = undertow.flow.rules.RULES["saturation"]
    share = limits.hard if activation == "hard_tanh" else limits.share
    z = np.linspace(-40, 40, 400_001)
    edge = 1.0 if activation == "hard_tanh" else np.arctanh(0.98)
    deviation = edge / statistics.NormalDist().inv_cdf(1 - share / 2)
    slope = (np.abs(z) < 1) if activation == "hard_tanh" else 1 / np.cosh(z) ** 2
    density = np.exp(-0.5 * (z / deviation) ** 2)
    assert np.sum(density * slope**2) / density.sum() == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize(("deviation", "wanted"), [(0.25, set()), (2.0, {"saturation"})])
def test_hard_tanh_bears_more_values_in_its_flat_parts(deviation, wanted):
    items = [
        x for _ in range(2) for x in (Dense(X.shape[1], X.shape[1], init=normal(deviation=deviation)), "hard_tanh")
    ]
    model = Sequential(*items, Dense(X.shape[1], 10))
    run = train(model, (X, LABELS), ut.optim.sgd(0.02), epochs=12)
    assert run.flow.looks[0].layers[0]["saturated"] > 0.5
    assert told(run) & {"saturation"} == wanted
