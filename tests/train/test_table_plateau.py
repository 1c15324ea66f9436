"""A learning rate that falls when rows held out are told no better: in all trainings of a table, and resumed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from trained_tables import model_of, silently
from undertow.errors import ArgumentError
from undertow.flow.cure import try_remedies
from undertow.flow.rules.written import train_call
from undertow.train import ReduceOnPlateau, Trainer
from undertow.train.table import resume_table, train_table
from undertow.train.table_rate import make_schedule
from undertow.train.table_settings import TableSettings, read_config

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:2] + 0.5 * rng.normal(size=(200, 1))).astype(np.float32)


def build():
    return ut.nn.Sequential(ut.nn.Dense(3, 16), "tanh", ut.nn.Dense(16, 1))


def told(**more):
    return {"loss": "mean_squared_error", "optimizer": ut.optim.adam(0.03), "progress": False, "epochs": 30, **more}


def settings_of(folder, **more):
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": Y[:, 0]}).write_csv(folder / "t.csv")
    given = {
        "data": str(folder / "t.csv"), "target": "y", "hidden": [16], "epochs": 40,
        "schedule": "reduce_on_plateau:patience=2", "flow": False, "warmup": 0.0,
    }  # fmt: skip
    return TableSettings(**{**given, **more})


def reductions_of(losses, patience):
    """The epochs at whose ends the rate falls, counted as PyTorch's ReduceLROnPlateau counts with patience − 1."""
    best, waited, found = math.inf, 0, []
    for epoch, loss in enumerate(losses, 1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == patience:
            found.append(epoch)
            waited = 0
    return found


def rates_of(reductions, rate, n, factor=0.5):
    """The rate after each of n epochs, as its row tells it: that of the next step before callbacks are told."""
    return [rate * factor ** sum(epoch < row for epoch in reductions) for row in range(1, n + 1)]


@pytest.mark.parametrize("held", [0.2, None])
def test_a_patience_alone_watches_the_loss_that_there_is(held):
    run = ut.train(build(), (X, Y), **told(reduce_on_plateau=2, validation=held))
    column = "loss" if held is None else "validation_loss"
    fell = reductions_of([row[column] for row in run.history], 2)
    assert fell and [row["rate"] for row in run.history] == pytest.approx(rates_of(fell, 0.03, 30))
    assert run.settings["reduce_on_plateau"] == 2


@pytest.mark.parametrize("wanted", [1, ReduceOnPlateau("validation_loss", factor=0.3, patience=1, cooldown=1)])
def test_it_is_resumed_without_being_given_again(wanted, tmp_path):
    """As a callback it would have to be; the bits are those of a training that never stopped."""
    whole = ut.train(build(), (X, Y), **told(reduce_on_plateau=wanted, validation=0.2))
    with Trainer(build(), (X, Y), **told(reduce_on_plateau=wanted, validation=0.2, checkpoint=tmp_path)) as trainer:
        for _ in itertools.islice(trainer, 20):
            pass
    assert trainer.hooks.callbacks[-1].scale < 1
    run = ut.resume(tmp_path, (X, Y), progress=False)
    for mine, its in zip(
        ut.nn.parameters_of(run.model).values(), ut.nn.parameters_of(whole.model).values(), strict=True
    ):
        assert np.array_equal(mine, its)
    assert [row["rate"] for row in run.history] == [row["rate"] for row in whole.history]


def test_a_fold_holds_rows_out_for_it():
    """As for early stopping: on rows that are trained on, the loss seldom stops to fall."""
    found = ut.cross_validate(build(), (X, Y), folds=2, **told(reduce_on_plateau=2))
    for run in found.runs:
        fell = reductions_of([row["validation_loss"] for row in run.history], 2)
        assert fell and [row["rate"] for row in run.history] == pytest.approx(rates_of(fell, 0.03, 30))


def test_remedies_are_tried_with_it():
    """And the call that trains again, as Python, tells of it."""
    run = ut.train(build(), (X, Y), **told(reduce_on_plateau=2, validation=0.2, epochs=5))
    assert try_remedies(run, X, Y) is not None
    assert "reduce_on_plateau=2" in train_call(run.flow)


def test_all_trainings_of_a_table_lower_the_rate_after_the_same_epochs(tmp_path):
    """Rows held out tell when it falls; a second training, on all rows, has none."""
    settings = settings_of(tmp_path, refit=True, folds=1, early_stopping=30, average=0.0)
    run, said = silently(train_table, settings, tmp_path / "run")
    first = run.extras["held_out"]["history"]
    fell = reductions_of([row["validation_loss"] for row in first], 2)
    assert fell and [row["rate"] for row in first] == pytest.approx(rates_of(fell, 0.01, len(first)))
    known = [row["rate"] for row in first[: len(run.history)]]
    assert len(set(known)) > 1
    # The rate of a row is that of the next step: a schedule's falls with the last step of an epoch, a callback's after.
    assert [row["rate"] for row in run.history][:-1] == pytest.approx(known[1:])
    assert "The learning rate falls after the same epochs." in said
    config = read_config(tmp_path / "run" / "config.toml")
    assert config.refit_reductions == fell
    again, _ = silently(train_table, config, tmp_path / "again")
    assert model_of(tmp_path / "again") == model_of(tmp_path / "run")
    assert again.extras["held_out"]["summary"] == run.extras["held_out"]["summary"]


def test_parts_follow_the_first_training(tmp_path):
    settings = settings_of(tmp_path, epochs=8, refit=True, folds=3, early_stopping=8)
    run, said = silently(train_table, settings, tmp_path / "run")
    assert "3 such parts in turn" in said and run.history


def test_a_table_is_resumed_to_the_same_bytes(tmp_path):
    settings = settings_of(tmp_path, validation=0.2, checkpoint_every=3, average=0.0)
    silently(train_table, settings, tmp_path / "whole")

    class Stop:
        def on_step_end(self, epoch, step, loss, model):
            if (epoch, step) == (25, 3):
                raise SystemExit

    with pytest.raises(SystemExit):
        silently(train_table, settings, tmp_path / "run", callbacks=[Stop()])
    run, _ = silently(resume_table, tmp_path / "run")
    assert run.history[-1]["rate"] < 0.01
    assert model_of(tmp_path / "run") == model_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "steps", "rates"),
    [
        ({"refit_reductions": [3, 5], "batch_size": 10}, (0, 29, 30, 49, 50, 900), (1, 1, 0.5, 0.5, 0.25, 0.25)),
        ({"refit_reductions": [3, 5], "batch_size": 10, "accumulate": 4}, (0, 6, 7, 11, 12), (1, 1, 0.5, 0.5, 0.25)),
        ({"refit_reductions": [1, 2, 4], "batch_size": 50, "warmup": 3}, (5, 6, 7, 8), (0.85, 1, 0.25, 0.125)),
    ],
    ids=["plain", "accumulated", "within the warm-up"],
)
def test_what_the_first_training_found_is_a_schedule(settings, steps, rates):
    given = TableSettings(schedule="reduce_on_plateau", rate=1.0, epochs=9, **settings)
    schedule = make_schedule(given, 100)
    assert [schedule(t) for t in steps] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("n", "settings"),
    [
        (100, {"batch_size": 64, "accumulate": 4, "epochs": 10}),
        (100, {"batch_size": 10, "accumulate": 3, "steps": 60}),
        (100, {"batch_size": 10, "accumulate": 3, "steps": 60, "epochs": 4}),
        (95, {"batch_size": 10, "accumulate": 4, "epochs": 6, "warmup": 1.0}),
        (95, {"batch_size": 10, "epochs": 6, "warmup": 1.0}),
    ],
)
def test_a_schedule_ends_with_the_last_update(n, settings):
    """Several batches make an update, also across the ends of epochs; a training counts the updates that it makes."""
    given = TableSettings(schedule="cosine", rate=1.0, **{"epochs": None, "warmup": 0.0, **settings})
    schedule = make_schedule(given, n)
    counted = []

    def update(gradient, state, params, scale=1.0):
        counted.append(1)
        return params, state

    trained = ut.optim.accumulate(ut.optim.Optimizer("counting", lambda params: (), update), given.accumulate or 1)
    batches = math.ceil(n / given.batch_size)
    n_batches = min(given.steps or math.inf, batches * (given.epochs or math.inf))
    state, updates = trained.init(np.ones(2)), 0
    for _ in range(n_batches):
        before = state.t
        _, state = trained.update(np.ones(2), state, np.ones(2))
        updates += int(state.t <= before)
    assert schedule(updates) == pytest.approx(0, abs=1e-12) and schedule(updates - 1) > 0
    rise = given.warmup * batches / (given.accumulate or 1)
    assert schedule(round(rise)) == pytest.approx(1) and max(map(schedule, range(updates))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("reduce_on_plateau:factor=2", "factor must be above 0 and below 1, got 2"),
        ("reduce_on_plateau:patience=x", "patience must be a whole number of 1 or more, got 'x'"),
        ("reduce_on_plateau:threshold=1", "Use min_delta"),
        ("reduce_on_plateau:foo=1", "--schedule reduce_on_plateau:foo=1: ReduceOnPlateau got an unexpected"),
        ("reduce_on_plateau:monitor=validation_f1", "the history has no column 'validation_f1'"),
        ("reduce_on_platau", "Did you mean 'reduce_on_plateau'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(schedule, message, tmp_path, capsys, monkeypatch):
    settings_of(tmp_path)
    run = make_runner(capsys, monkeypatch)
    code, _, error = run("train", tmp_path / "t.csv", "--target", "y", "--schedule", schedule, "--out", tmp_path / "r")
    assert code == 2 and message in " ".join(error.split())


def test_a_patience_is_a_whole_number():
    with pytest.raises(ArgumentError, match="reduce_on_plateau must be a whole number of 1 or more, got 'loss'"):
        ut.train(build(), (X, Y), **told(reduce_on_plateau="loss"))
