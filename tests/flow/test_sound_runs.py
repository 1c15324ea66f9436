"""Trainings that look odd and are sound, each beside one that is not; what is sound is told without any rule."""

import itertools

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow.looks import share_dead_by_nature

CROSS, SQUARES = "categorical_cross_entropy", "mean_squared_error"


def dense(*sizes, activation="relu"):
    hidden = [x for a, b in itertools.pairwise(sizes[:-1]) for x in (nn.Dense(a, b), activation)]
    return nn.Sequential(*hidden, nn.Dense(*sizes[-2:]))


def train(model, data, loss, optimizer, **settings):
    settings = {"epochs": 30, "batch_size": 32, "validation": 0.2, "progress": False, **settings}
    return ut.train(model, data, loss=loss, optimizer=optimizer, **settings)


def kinds(run):
    return [finding.kind for finding in run.findings]


# Units that are dead because examples differ in few directions


@pytest.mark.parametrize(("angle", "share"), [(0, 1 / 2), (60, 1 / 3), (90, 1 / 4), (120, 1 / 6), (180, 0)])
def test_of_examples_on_two_rays_so_many_units_see_none(angle, share):
    """A random direction has both rays on its other side with a probability of 1/2 − angle / 360°."""
    turn = np.deg2rad(angle)
    rays = np.array([[1.0, 0.0], [np.cos(turn), np.sin(turn)]])
    examples = np.concatenate([length * rays for length in (0.5, 1.0, 3.0)])
    assert share_dead_by_nature(examples) == pytest.approx(share, abs=0.1)


def test_what_is_not_finite_has_no_share_by_nature():
    assert share_dead_by_nature(np.full((3, 2), np.nan)) == share_dead_by_nature(np.zeros((3, 2))) == 0.0


@pytest.mark.parametrize("seed", [3, 4, 12, 18, 28])
def test_relu_networks_of_one_input_are_well(seed):
    """Behind the first layer all examples lie on two rays, and a quarter of the units and more see none of them."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (300, 1)).astype(np.float32)
    y = np.sin(2 * X) + 0.1 * rng.standard_normal((300, 1)).astype(np.float32)
    run = train(dense(1, 32, 32, 32, 1), (X, y / y.std()), SQUARES, optim.adam(3e-3), epochs=60, seed=seed)
    assert run.history[-1]["validation_loss"] < 0.1 and kinds(run) == []
    assert max(row["dead"] or 0 for row in run.flow.looks[0].layers) > 4


def test_units_that_die_in_training_are_told_there_too():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (300, 1)).astype(np.float32)
    run = train(dense(1, 32, 32, 1), (X, np.sin(2 * X)), SQUARES, optim.adam(1.0))
    told = {x.text for finding in run.findings for x in finding.evidence}
    assert "dead-units" in kinds(run) or "follows from it: dead-units" in told


def test_more_than_half_of_a_layer_that_died_is_told_though_the_rest_learned():
    """Counted here by a pass of our own: units that give 0 for every row."""
    rng = np.random.default_rng(1)
    centres, labels = 1.2 * rng.standard_normal((5, 12)), rng.integers(0, 5, 600)
    X = (centres[labels] + 0.7 * rng.standard_normal((600, 12))).astype(np.float32)
    run = train(dense(12, 32, 32, 32, 5), (X, labels), CROSS, optim.adam(0.1), epochs=15, batch_size=32, seed=2)
    h, dead = X, []
    for layer in run.model.layers[:6:2]:
        h = np.maximum(h @ layer.W + layer.b, 0)
        dead.append(float(np.mean(np.all(h == 0, axis=0))))
    assert max(dead) > 0.55 and run.history[-1]["validation_accuracy"] > 0.7  # of five classes
    (found,) = [x for x in run.findings if x.kind == "dead-units"]
    assert found.severity in ("note", "warning")


# Steps that are large, in noise


def noisy(rng, m=300, p=6, signal=0.4):
    X = rng.standard_normal((m, p)).astype(np.float32)
    y = signal * np.tanh(X @ rng.standard_normal((p, 1))) + rng.standard_normal((m, 1))
    return X, (y / y.std()).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_noise_that_no_rate_takes_away_is_not_put_down_to_the_rate(seed):
    """Smaller rates do no better on rows held out, though updates are large beside the weights."""
    data = noisy(np.random.default_rng(seed))
    run, calm = (
        train(dense(6, 8, 32, 1, activation="silu"), data, SQUARES, optim.sgd(rate), epochs=9, batch_size=16, seed=seed)
        for rate in (0.03, 0.01)
    )
    assert run.history[-1]["validation_loss"] < 1.1 * calm.history[-1]["validation_loss"]
    assert "step-too-large" not in kinds(run)


def test_first_steps_that_throw_weights_far_are_told_by_rows_held_out():
    """Classes that can be told apart are learned by heart at any rate, but what is wrong is wrong by far."""
    rng = np.random.default_rng(5)
    centres, y = 1.2 * rng.standard_normal((5, 12)), rng.integers(0, 5, 600)
    X = (centres[y] + rng.standard_normal((600, 12))).astype(np.float32)
    hasty, calm = (
        train(dense(12, 16, 5, activation="tanh"), (X, y), CROSS, optim.sgd(rate), epochs=10) for rate in (20.0, 0.05)
    )
    held = [run.history[-1]["validation_loss"] for run in (hasty, calm)]
    assert held[0] > 2 * held[1] and kinds(calm) == []
    (found,) = [x for x in hasty.findings if x.kind == "step-too-large"]
    assert found.remedies[0].name == "rate"


# Few rows held out


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_labels_of_other_rows_are_told_by_few_rows_held_out(seed, shuffled):
    """36 rows: what is learned of 142 training rows would show on them, if it were more than these by heart."""
    rng = np.random.default_rng(seed)
    centres, y = rng.standard_normal((3, 13)), rng.integers(0, 3, 178)
    X = (centres[y] + rng.standard_normal((178, 13))).astype(np.float32)
    labels = rng.permutation(y) if shuffled else y
    run = train(dense(13, 32, 32, 3), (X, labels), CROSS, optim.adam(1e-3), epochs=60, seed=seed)
    assert kinds(run) == ["over-fitting"] * shuffled
    assert (run.history[-1]["validation_accuracy"] > 0.75) is not shuffled


# Columns that are the ground of an image


@pytest.mark.parametrize(("ground", "ink"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (3.0, 7.0)])
def test_pixels_that_are_always_ground_are_natural_however_images_are_shifted(ground, ink):
    digits = ut.data.load_digits()
    X = (ground + (ink - ground) * digits.X[:600] / digits.X.max()).astype(np.float32)
    run = train(dense(64, 16, 10), (X, digits.y[:600]), CROSS, optim.adam(3e-3), epochs=3)
    assert run.flow.facts["columns"]["n_constant"] > 3 and "constant-columns" not in kinds(run)


def test_columns_that_are_constant_within_the_range_of_others_are_told():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 64)).astype(np.float32)
    X[:, 5:9] = 0.3
    run = train(dense(64, 16, 2), (X, (X[:, 0] > 0) * 1), CROSS, optim.adam(3e-3), epochs=3)
    assert "constant-columns" in kinds(run)


def test_pixels_that_are_ground_in_the_training_part_alone_are_natural_though_all_rows_were_scaled():
    """What a pixel differs in lies in rows held out: the others are −√(p / (1 − p)) then, and not 0."""
    digits = ut.data.load_digits()
    deviation = digits.X.std(axis=0)
    X = ((digits.X - digits.X.mean(axis=0)) / (deviation + (deviation == 0))).astype(np.float32)
    run = train(dense(64, 16, 10), (X, digits.y), CROSS, optim.adam(3e-3), epochs=3, seed=3)
    values = run.flow.facts["columns"]["constant_values"]
    once = -np.sqrt(1 / (len(X) - 1))  # a column of which one of all rows differs
    assert any(x == pytest.approx(once, rel=1e-4) for x in values) and kinds(run) == []
    X[:, run.flow.facts["columns"]["constant"]] = 0.3
    assert "constant-columns" in kinds(train(dense(64, 16, 10), (X, digits.y), CROSS, optim.adam(3e-3), epochs=3))


# A network that was trained before


@pytest.mark.parametrize("rate", [0.01, 1e-3])
def test_a_last_layer_that_is_tuned_a_little_more_is_no_training_that_stands_still(rate):
    """All rows trained on are known: of ten classes, a share of variance does not tell how low the loss can be."""
    digits = ut.data.load_digits()
    data = digits.X, digits.y
    known = train(dense(64, 64, 64, 10), data, CROSS, optim.adam(2e-3), epochs=15)
    assert known.history[-1]["accuracy"] > 0.97
    rule = optim.grouped(optim.sgd(rate), {"layers[0]*": "frozen", "layers[2]*": "frozen"})
    tuned = train(known.model, data, CROSS, rule, epochs=3)
    assert tuned.history[-1]["accuracy"] > 0.97 and [x for x in kinds(tuned) if x != "constant-columns"] == []
