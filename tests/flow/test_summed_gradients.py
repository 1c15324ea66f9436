"""Steps along the sum of all gradients so far, which a loop never sets back to 0, and what only resembles them."""

import numpy as np
import pytest

import undertow as ut
from undertow.flow.directions import note_direction

X = np.random.default_rng(1).normal(size=(256, 8))
Y = np.sin(X @ np.random.default_rng(2).normal(size=(8, 1)))


def network(params, X, Y):
    W1, b1, W2 = params
    return np.mean((np.tanh(X @ W1 + b1) @ W2 - Y) ** 2)


def fit(rate=0.02, steps=60, memory=1.0, every=1, dtype=np.float64, batch=32, decay=1.0):
    """Add gradients to a buffer, of which `memory` stays at each step; with `every`, it begins anew after so many."""
    rng = np.random.default_rng(0)
    params = [x.astype(dtype) for x in (rng.normal(size=(8, 6)) / 3, np.zeros(6), rng.normal(size=(6, 1)) / 3)]
    measured, buffer = ut.flow.recorded(network), [0.0] * 3
    for step in range(1, steps * every + 1):
        rows = rng.integers(0, len(X), batch)
        _, gradient = measured(params, X[rows].astype(dtype), Y[rows].astype(dtype))
        buffer = [memory * total + g for total, g in zip(buffer, gradient, strict=True)]
        if step % every == 0:
            params = [(p - dtype(rate * decay**step) * b).astype(dtype) for p, b in zip(params, buffer, strict=True)]
            buffer = [0.0] * 3 if every > 1 else buffer
    measured(params, X[rows].astype(dtype), Y[rows].astype(dtype))
    return measured


def kinds(findings):
    return [x.kind for x in findings]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rate", [0.002, 0.02, 0.3])
def test_a_sum_that_is_never_set_back_is_told(rate, dtype):
    """Whether the loss comes down with it, swings, or diverges, which is then a line of its evidence."""
    found = fit(rate, dtype=dtype).findings
    assert kinds(found)[:1] == ["gradient-not-reset"] and "never set back to 0" in found[0].cause
    assert not {"step-too-large", "oscillation"} & set(kinds(found))
    (remedy,) = found[0].remedies
    known = {"np": np, "w": np.ones(3)}
    exec(remedy.code, known)
    assert known["total"].tolist() == [0.0, 0.0, 0.0] and not remedy.option


def test_it_is_told_where_the_rate_falls():
    assert kinds(fit(0.05, decay=0.98).findings)[:1] == ["gradient-not-reset"]


@pytest.mark.parametrize(
    "settings",
    [
        {"memory": 0.0, "rate": 0.2},
        {"memory": 0.9},
        {"memory": 0.99, "rate": 0.002},
        {"memory": 0.999, "rate": 0.002, "steps": 100},
        {"every": 4, "rate": 0.05},
        {"memory": 0.0, "rate": 0.2, "batch": 256},
    ],
    ids=["plain", "momentum", "0.99", "0.999", "sums of four batches", "whole data"],
)
def test_what_forgets_or_begins_anew_is_none(settings):
    assert "gradient-not-reset" not in kinds(fit(**settings).findings)


def test_a_single_direction_tells_nothing():
    """Where gradients lie on a line, their sum does so, too."""
    measured, w = ut.flow.recorded(lambda w, a: np.mean((a @ w - 1) ** 2)), np.zeros(3)
    for _ in range(40):
        _, gradient = measured(w, np.ones((4, 3)))
        w = w - 0.01 * gradient
    assert "gradient-not-reset" not in kinds(measured.findings)


@pytest.mark.parametrize("memory", [0.0, 0.9])
@pytest.mark.parametrize("rate", [1e-7, 3e-8])
def test_steps_as_small_as_the_last_digit_of_the_weights_tell_nothing(memory, rate):
    """Their direction is one of rounding, which goes along anything."""
    assert "gradient-not-reset" not in kinds(fit(rate, memory=memory, dtype=np.float32).findings)


def test_steps_are_held_against_the_sum_of_all_gradients():
    facts, sums, w = {}, {}, np.zeros(2)
    for g, step in (([1.0, 0.0], [-1.0, 0.0]), ([0.0, 1.0], [-1.0, -1.0]), ([0.0, 1.0], [0.0, -1.0])):
        note_direction(facts, {"w": np.array(g)}, {"w": w}, {"w": w + step}, sums)
        w = w + step
    assert facts["directions"]["summed"] == 1 and sums["w"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("settings", [{"memory": 0.0, "rate": 0.2}, {"memory": 0.9}, {"every": 4, "rate": 0.05}])
def test_the_sum_is_let_go_where_steps_go_elsewhere(settings):
    """It takes memory and time at each step."""
    assert fit(**settings).sums is None
    assert fit().sums is not None
