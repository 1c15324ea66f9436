"""What a linear function explains: measured right, and held against trainings on noisy targets and on none."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.flow.linear import fit_linear
from undertow.flow.rules.linear import expected_skill, learned_as_linear
from undertow.flow.rules.measures import course_of

SQUARES, CROSS = "mean_squared_error", "categorical_cross_entropy"


def targets_of(rng, kind, n):
    labels = rng.integers(0, 3, n)
    return {"number": rng.normal(size=n), "numbers": rng.normal(size=(n, 2)), "classes": labels,
            "rows": np.eye(3)[labels], "binary": rng.integers(0, 2, (n, 1))}[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["number", "numbers", "classes", "rows", "binary"])
def test_share_is_that_of_least_squares_and_chance_that_of_targets_dealt_out_anew(kind):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 5)) * [1, 10, 0.1, 5, 3] + 4
    X[:, 4] = X[:, 0] + X[:, 1]  # a column that says nothing new: four are independent
    y, told = targets_of(rng, kind, 300), "number" if kind.startswith("number") else "classes"
    found = fit_linear(X, y, told)
    columns = np.asarray(y, float).reshape(300, -1) if kind != "classes" else np.eye(3)[y]
    inputs = np.column_stack([np.ones(300), X[:, :4]])
    centred = columns - columns.mean(axis=0)
    centred = centred / centred.std(axis=0) if told == "number" else centred
    fitted, *_ = np.linalg.lstsq(inputs, centred)
    share = 1 - np.sum((centred - inputs @ fitted) ** 2) / np.sum(centred**2)
    assert found["share"] == pytest.approx(max(1 - (1 - share) * 299 / 295, 0), abs=1e-9)
    by_chance = []
    for _ in range(400):
        dealt = centred[rng.permutation(300)]
        left = dealt - inputs @ np.linalg.lstsq(inputs, dealt)[0]
        by_chance.append(1 - np.sum(left**2) / np.sum(centred**2))
    assert found["sure"] == pytest.approx((share - np.mean(by_chance)) / np.std(by_chance), abs=0.35)


def test_where_nothing_can_be_told():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(60, 5)), rng.normal(size=60)
    assert fit_linear(X, y, "number") is not None
    assert fit_linear(X[:40], y[:40], "number") is None  # too few rows
    assert fit_linear(rng.normal(size=(60, 20)), y, "number") is None  # too many columns for them
    assert fit_linear(X, y, "other") is None
    assert fit_linear(np.ones((60, 5)), y, "number") is None
    assert fit_linear(X, np.ones(60), "number") is None
    wide = np.zeros((3000, 5000), np.float32)  # the work is bounded: a single row would be left
    assert fit_linear(wide, rng.normal(size=3000), "number") is None
    X[0, 0] = np.inf
    with np.errstate(all="ignore"):
        assert fit_linear(X, y, "number") is None


def noisy(share, n, classes, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    if classes:
        return X, (X[:, 0] * share + rng.logistic(size=n) > 0).astype(np.int64)
    y = X @ rng.normal(size=6) * np.sqrt(share / 6) + rng.normal(size=n)
    return X, ((y - y.mean()) / y.std()).astype(np.float32)


def train(data, out, loss, optimizer, epochs, hidden=16):
    layers = [nn.Dense(6, hidden), "tanh", nn.Dense(hidden, out)] if hidden else [nn.Dense(6, out)]
    return ut.train(nn.Sequential(*layers), data, loss=loss, optimizer=optimizer, epochs=epochs, progress=False)


@pytest.mark.parametrize("seed", range(4))
def test_targets_of_which_next_to_nothing_can_be_learned(seed):
    """The best R² is 0.02; of classes the loss can fall by 1 %."""
    run = train(noisy(0.02, 2000, False, seed), 1, SQUARES, optim.adam(1e-3), 20)
    assert run.findings == [] and run.flow.facts["linear"]["share"] < 0.05
    straight = train(noisy(0.02, 3000, False, seed), 1, SQUARES, optim.sgd(0.01), 15, hidden=0)
    assert straight.findings == [] and learned_as_linear(straight.flow, course_of(straight.flow))
    classes = train(noisy(0.3, 2500, True, seed), 2, CROSS, optim.momentum(0.02), 15, hidden=0)
    assert classes.findings == [] and learned_as_linear(classes.flow, course_of(classes.flow))


@pytest.mark.parametrize("classes", [False, True])
def test_labels_of_other_rows_are_told_as_before(classes):
    X, y = noisy(2.0, 1500, classes, 5)
    y = np.random.default_rng(6).permutation(y)
    run = train((X, y), 2 if classes else 1, CROSS if classes else SQUARES, optim.adam(1e-3), 30)
    assert [x.kind for x in run.findings] == ["plateau"]
    assert np.isnan(expected_skill(run.flow)) and not learned_as_linear(run.flow, course_of(run.flow))


def test_a_network_that_is_held_up_is_told_though_a_linear_function_explains_little():
    X, y = noisy(0.1, 2000, False, 7)
    layers = [item for _ in range(8) for item in (nn.Dense(6, 6), "sigmoid")]
    run = ut.train(nn.Sequential(*layers, nn.Dense(6, 1)), (X, y), loss=SQUARES, optimizer=optim.sgd(0.02), epochs=20,
                   progress=False)  # fmt: skip
    assert run.flow.facts["linear"]["sure"] > 10
    assert {"vanishing", "plateau"} & {x.kind for x in run.findings}
