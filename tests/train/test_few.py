"""Few examples, few of a class, few updates: what cannot be done is said, never left out in silence."""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow import nn
from undertow.data import k_folds, stream_table
from undertow.errors import ArgumentError, DataError, DataWarning
from undertow.train.table_rate import count_warmup, make_schedule
from undertow.train.table_settings import TableSettings

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 2))
CLASSES = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])


def fit(X, y, **settings):
    model = nn.Sequential(nn.Dense(2, 3))
    return ut.train(model, (X, y), epochs=1, progress=False, loss="categorical_cross_entropy", **settings)


def fit_numbers(X, **settings):
    y = X[:, :1]
    return ut.train(nn.Dense(2, 1), (X, y), **{"epochs": 1, "progress": False, "loss": "huber", **settings})


@pytest.mark.parametrize("settings", [{}, {"validation": 0.2}, {"validation": 0.2, "early_stopping": 3}])
def test_one_example_cannot_be_held_out_which_is_said(settings):
    with pytest.warns(DataWarning, match=r"nothing is held out for validation: there is a single example\. Early"):
        run = fit_numbers(X[:1], **settings)
    assert run.settings["n_validation"] == 0


@pytest.mark.parametrize("settings", [{"validation": None}, {"validation": 0}])
def test_who_holds_nothing_out_is_told_nothing(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_numbers(X[:1], **settings)
        fit_numbers(X[:2])  # one of two can be


def test_classes_of_one_example_each_leave_none_to_hold_out():
    with pytest.raises(DataError, match="each of the 3 classes has a single example"):
        fit(X[:3], np.array([0, 1, 2]), validation=0.2)


def test_a_class_with_one_example_is_told():
    """It is trained on, as the split keeps one of each class; in folds it is not always."""
    with pytest.warns(DataWarning, match="class 2 has a single example: trained on, so that no example held out"):
        fit(X, CLASSES, validation=0.3)
    with pytest.warns(DataWarning, match="class 2 has a single example: the fold that holds it out"):
        ut.cross_validate(nn.Dense(2, 3), (X, CLASSES), folds=3, epochs=1, loss="categorical_cross_entropy")
    frame = pl.DataFrame({"a": X[:, 0], "y": ["u", "u", "u", "u", "v", "v", "v", "v", "w"]})
    with pytest.raises(DataError, match=r"target 'y': a single row of the class 'w', of which the fold"):
        ut.cross_validate(lambda encoder: nn.Dense(1, encoder.n_outputs), frame, target="y", folds=3, epochs=1)


def test_one_example_makes_no_folds():
    with pytest.raises(DataError, match="a single example cannot be dealt into folds"):
        k_folds(1, 5, seed=0)


def test_a_watched_column_that_is_not_there_names_the_remedy():
    with pytest.raises(ArgumentError, match=r"no column 'validation_loss'.*Nothing is held out: give validation="):
        fit_numbers(X, validation=None, early_stopping=ut.train.EarlyStopping("validation_loss"))
    with pytest.raises(ArgumentError, match=r"no column 'validation_f1'\. It has [^.]*\.$"):
        fit_numbers(X, early_stopping=ut.train.EarlyStopping("validation_f1", mode="max"))


def test_a_stream_of_few_rows_says_that_none_is_held_out():
    """Rows are drawn one by one, so of a few none may be."""
    table = stream_table({"a": [1.5, 2.5, 3.0], "y": [0.5, 0.2, 0.1]}, "y", validation=0.01)
    assert table.validation is None
    assert "Validation: none of the 3 rows was held out, as they are few." in table.report
    kept = stream_table({"a": [1.5, 2.5, 3.0], "y": [0.5, 0.2, 0.1]}, "y", validation=0.0)
    assert not any("Validation" in line for line in kept.report)


@pytest.mark.parametrize("settings", [{"accumulate": 3}, {"accumulate": 8, "steps": 7, "epochs": None}])
def test_a_training_that_ends_before_its_first_update_is_refused(settings):
    """Two batches of five make an update of two at most."""
    told = {"validation": None, "batch_size": 5, **settings}
    with pytest.raises(ArgumentError, match=r"accumulate is \d, but there are \d batches in all, so nothing would be"):
        fit_numbers(X, **told)
    with pytest.raises(ArgumentError, match="accumulate is 2, but there is one batch in all, so"):
        fit_numbers(X, **{**told, "accumulate": 2, "epochs": None, "steps": 1})
    before = nn.initialize(nn.Dense(2, 1), 0)
    found = fit_numbers(X, **{**told, "accumulate": 2, "epochs": 1, "steps": None}).model
    assert not np.array_equal(found.W, before.W)


@pytest.mark.parametrize(
    ("n", "settings", "rise", "total"),
    [
        (96, {"batch_size": 16, "accumulate": 8, "epochs": 2, "warmup": 0.5}, 0, 1),  # one update: none can rise
        (96, {"batch_size": 16, "accumulate": 4, "epochs": 2, "warmup": 0.1}, 1, 3),  # 0.15 of an update is one
        (96, {"batch_size": 16, "accumulate": 1, "epochs": 1, "warmup": 2.0}, 3, 6),  # half of all
        (96, {"batch_size": 16, "accumulate": 1, "epochs": 100, "warmup": 2.0}, 12, 600),
        (96, {"batch_size": 16, "accumulate": 6, "epochs": 100, "warmup": 2.0}, 2, 100),
        (96, {"batch_size": 16, "steps": 4, "epochs": 100, "warmup": 2.0}, 2, 4),
    ],
)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warmup_rises_within_the_training_and_reaches_the_rate(n, settings, rise, total, schedule):
    given = TableSettings(rate=1.0, schedule=schedule, **settings)
    assert count_warmup(given, n)[::2] == (rise, total)
    rates = make_schedule(given, n)
    if rise:
        found = [rates(t) for t in range(total)]
        assert found[0] == pytest.approx(0.1) and all(np.diff(found[: rise + 1]) > 0)
        assert max(found) == pytest.approx(1.0) and math.isclose(found[rise], 1.0)
    else:
        assert rates == 1.0 if schedule == "constant" else rates(0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--epochs", "1"), "cosine, after a warm-up of 3 updates, not 2 epochs, as there are 6 updates in all"),
        (("--epochs", "1", "--accumulate", "5"), "cosine, without the warm-up of 2 epochs, as there is one update"),
        (("--epochs", "9"), "cosine, after a warm-up of 2 epochs"),
    ],
)
def test_the_warmup_is_told_as_it_is(tmp_path, capsys, monkeypatch, options, said):
    table = pl.DataFrame({"a": RNG.normal(size=120).round(3)})
    table.with_columns(y=(3 * pl.col("a")).round(3)).write_csv(tmp_path / "t.csv")
    run = make_runner(capsys, monkeypatch)
    fixed = ("--hidden", "4", "--no-flow", "--quiet", "--out", tmp_path / "run")
    code, told, _ = run("train", tmp_path / "t.csv", "--target", "y", *options, *fixed)
    assert code == 0 and said in " ".join(told.split())
    code, _, error = run(
        "train", tmp_path / "t.csv", "--target", "y", *fixed, "--overwrite", "--accumulate", "1000", "--epochs", "2"
    )
    assert code == 2 and "accumulate is 1000, but there are 12 batches in all, so nothing would be learned" in " ".join(
        error.split()
    )
