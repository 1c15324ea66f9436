"""What is measured of data before the first step."""

import tracemalloc

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.flow.facts import ROWS, measure_columns, measure_facts
from undertow.nn.losses import find_loss
from undertow.train.task import make_task

SETTINGS = {"loss": "categorical_cross_entropy", "progress": False, "steps": 1, "epochs": None, "batch_size": 64}


def facts_of(X, y, n_classes, **more):
    model = nn.Sequential(nn.Dense(X.shape[1], n_classes))
    run = ut.train(model, (X, y), **{"validation": None, **SETTINGS, **more})
    assert "failed" not in run.flow.facts
    return run.flow.facts


def test_sorted_data_are_judged_as_a_whole():
    n = 3 * ROWS
    y = np.repeat(np.arange(3), ROWS)
    X = np.zeros((n, 2), np.float32)
    X[:, 0] = y * 10
    X[-1, 1] = 1.0  # constant but for one row, which no sample need hold
    facts = facts_of(X, y, 3)
    assert min(facts["target"]["priors"]) > 0.3
    assert facts["columns"]["constant"] == [] and facts["n_examples"] == n
    assert facts["columns"]["mean_range"][1] == pytest.approx(10.0, abs=0.3)
    assert facts_of(X[:-1], y[:-1], 3)["columns"]["constant"] == [1]


@pytest.mark.filterwarnings("error")
def test_a_column_that_varies_in_other_rows_alone_has_no_spread_to_divide_by():
    whole = np.random.default_rng(0).normal(3.0, 2.0, (60, 3))
    whole[:50, 2] = 1.0
    found = measure_columns(whole[:50], whole)
    ratio = np.abs(whole[:50, :2].mean(axis=0) / whole[:50, :2].std(axis=0))
    assert found["constant"] == [] and found["mean_by_std"] == pytest.approx(ratio.mean())  # the median of two
    assert measure_columns(whole[:50, 2:], whole[:, 2:])["mean_by_std"] == 0.0


def test_classes_that_take_turns_are_all_counted():
    n = 10 * ROWS
    facts = facts_of(np.zeros((n, 1), np.float32), np.arange(n) % 10, 10)
    assert min(facts["target"]["priors"]) > 0.08


def test_large_data_are_measured_in_little_memory():
    X = np.zeros((20_000, 1000), np.float32)  # 80 MB
    y = np.zeros(20_000, np.int64)
    model = nn.initialize(nn.Dense(1000, 2))
    task = make_task(find_loss("categorical_cross_entropy_with_logits", model), model, X)
    tracemalloc.start()
    facts = measure_facts(model, task, (X, y), (X[:5000], y[:5000]))
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert facts["shared_rows"] == 5000 and facts["columns"]["n_constant"] == 1000
    assert used < X.nbytes * 1.2  # it was four times that


def test_one_example_has_no_constant_columns():
    facts = facts_of(np.ones((1, 3), np.float32), np.array([1]), 2)
    assert facts["columns"] == {}


def test_shared_rows_are_counted_to_the_last_bit():
    X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    y = np.arange(60) % 3
    held = X[:5].copy(), y[:5].copy()
    held[0][4, 0] = np.nextafter(held[0][4, 0], np.float32(9))
    held[1][3] = (held[1][3] + 1) % 3
    run = ut.train(nn.Dense(4, 3), (X, y), **{**SETTINGS, "validation": held})
    assert run.flow.facts["shared_rows"] == 3


@pytest.mark.parametrize(("loss", "factor"), [("mean_squared_error", 1.0), ("half_squared_error", 0.5)])
def test_the_loss_of_a_constant_output_sums_over_columns(loss, factor):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)).astype(np.float32)
    Y = (rng.standard_normal((400, 60)) * np.geomspace(0.1, 10, 60)).astype(np.float32)
    model = nn.Sequential(nn.Dense(3, 60))
    run = ut.train(model, (X, Y), loss=loss, steps=1, epochs=None, batch_size=64, validation=None, progress=False)
    best = float(nn.build_loss({"name": loss})(np.broadcast_to(Y.mean(axis=0), Y.shape), Y))  # the loss itself says so
    assert best > 10 * factor
    assert run.flow.facts["output"]["expected_loss"] == pytest.approx(best, rel=1e-4)
