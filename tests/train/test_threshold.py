"""A threshold for one of two classes: predictions, figures and messages, on tables and arrays."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow import nn
from undertow.errors import ArgumentError
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


@pytest.fixture
def run_command(capsys, monkeypatch):
    return make_runner(capsys, monkeypatch)


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """A run on rows of which few are "bad"; it stands first among the classes."""
    folder = tmp_path_factory.mktemp("rare")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = np.where(x[:, 0] + rng.normal(size=400) > 1.8, "bad", "good")
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).write_csv(folder / "t.csv")
    settings = TableSettings(data=str(folder / "t.csv"), target="y", hidden=[8], epochs=10)
    train_table(settings, folder / "run", progress=False)
    return ut.load(folder / "run"), folder / "t.csv"


def probabilities(run, file):
    return run.predict_probability(pl.read_csv(file))[:, 0]


@pytest.mark.parametrize("threshold", [0.15, "0.15", "bad=0.15", {"bad": 0.15}, "good=0.85", {"good": 0.85}])
def test_tables_are_decided_by_the_rare_class_or_that_which_is_named(rare, threshold):
    run, file = rare
    p = probabilities(run, file)
    wanted = np.where(p > 0.15, "bad", "good")
    found = run.predict(pl.read_csv(file), threshold=threshold)
    assert found.tolist() == wanted.tolist() and 0 < np.mean(found != run.predict(pl.read_csv(file))) < 1


def test_figures_are_those_of_what_is_predicted(rare):
    run, file = rare
    frame = pl.read_csv(file)
    true, found = frame["y"].to_numpy() == "bad", probabilities(run, file) > 0.15
    measured = run.evaluate(frame, threshold=0.15)
    assert measured["confusion"].tolist() == [
        [np.sum(true & found), np.sum(true & ~found)],
        [np.sum(~true & found), np.sum(~true & ~found)],
    ]
    assert measured["recall_of_bad"] == pytest.approx(np.sum(true & found) / np.sum(true))
    assert measured["precision_of_bad"] == pytest.approx(np.sum(true & found) / np.sum(found))
    assert measured["accuracy"] == pytest.approx(np.mean(true == found))
    usual = run.evaluate(frame)
    assert {k: measured[k] for k in ("loss", "auc", "rows")} == {k: usual[k] for k in ("loss", "auc", "rows")}
    assert "'bad' is predicted where its probability is above 0.15." in measured["remarks"]


def test_the_command_line(rare, run_command, tmp_path):
    run, file = rare
    out = tmp_path / "p.csv"
    code, _, err = run_command("predict", run.folder, file, "--out", out, "--threshold", "bad=0.15", "--probabilities")
    assert code == 0 and "note: 'bad' is predicted where its probability is above 0.15." in err
    table = pl.read_csv(out)
    assert (table["prediction"] == "bad").to_list() == (table["p(bad)"] > 0.15).to_list()
    code, screen, err = run_command("predict", run.folder, file, "--threshold", "0.15")
    assert code == 0 and screen.split()[1:] == table["prediction"].to_list()
    code, screen, _ = run_command("evaluate", run.folder, file, "--threshold", "0.15", "--quiet")
    recall = float(next(line.split()[1] for line in screen.splitlines() if line.startswith("recall_of_bad")))
    true = pl.read_csv(file)["y"].to_numpy() == "bad"
    assert recall == pytest.approx(np.mean(table["prediction"].to_numpy()[true] == "bad"), abs=1e-5)
    assert "\nauc " in screen


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        ("badd=0.2", r"the threshold badd=0\.2 names no class: 'badd' \(did you mean 'bad'\?\)\. .* Write good=0\.2"),
        ("1.2", r"the threshold 1\.2 is no probability\. Give one from 0 to 1"),
        ("x", "the threshold x is no probability"),
        ("bad=", "the threshold bad= is no probability"),
        ("nan", "the threshold nan is no probability"),
        (True, "the threshold True is no probability"),
        (np.True_, "is no probability"),
        ({"bad": 0.1, "good": 0.2}, r"names 2 classes\. Name one"),
        ([0.2], r"the threshold \[0\.2\] is no probability"),
    ],
)
def test_slips_are_told(rare, threshold, said):
    run, file = rare
    for call in (run.predict, run.evaluate):
        with pytest.raises(ArgumentError, match=said):
            call(pl.read_csv(file), threshold=threshold)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "categorical_cross_entropy", "binary_focal"])
def test_arrays_are_decided_by_class_1(loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] + rng.normal(size=200) > 1.5).astype(np.int64)
    n = 2 if loss.startswith("cat") else 1
    run = ut.train(nn.Sequential(nn.Dense(3, 8), "tanh", nn.Dense(8, n)), (X, y), loss=loss, epochs=5, progress=False)
    p = run.predict_probability(X)[:, -1]
    found = run.predict(X, threshold=0.2)
    assert found.dtype == np.int64 and found.tolist() == (p > 0.2).astype(int).tolist()
    assert run.predict(X, threshold={"0": 0.8}).tolist() == (1 - p <= 0.8).astype(int).tolist()
    measured = run.evaluate(X, y, threshold=0.2, metrics=["accuracy", "auc"])
    assert measured["accuracy"] == pytest.approx(np.mean((p > 0.2) == y))
    plain = run.evaluate(X, y, metrics=["accuracy", "auc"])
    assert (measured["loss"], measured["auc"]) == (plain["loss"], plain["auc"])


def test_other_runs_know_none():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    shapes = {"mean_squared_error": 1, "categorical_cross_entropy": 3, "hinge": 1, "binary_cross_entropy": 2}
    targets = {1: rng.integers(0, 2, 60), 3: rng.integers(0, 3, 60), 2: rng.integers(0, 2, (60, 2))}
    says = {"hinge": "hinge, which knows none", "categorical_cross_entropy": "this run knows 3 classes"}
    for loss, n in shapes.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = ut.train(nn.Sequential(nn.Dense(3, n)), (X, targets[n]), loss=loss, epochs=1, progress=False)
        with pytest.raises(ArgumentError, match=says.get(loss, "a threshold decides between two classes")):
            run.predict(X, threshold=0.2)


def test_scikit_learns_threshold_takes_the_estimator():
    model_selection = pytest.importorskip("sklearn.model_selection")
    from undertow.sklearn import MLPClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.where(X[:, 0] + rng.normal(size=200) > 1.5, "yes", "no")
    learner = MLPClassifier((8,), max_iter=20, random_state=0).fit(X, y)
    fixed = model_selection.FixedThresholdClassifier(learner, threshold=0.2, pos_label="yes").fit(X, y)
    p = fixed.estimator_.predict_proba(X)[:, 1]
    assert fixed.predict(X).tolist() == np.where(p >= 0.2, "yes", "no").tolist()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["true", "false"], ["true=0.45", "True=0.45", "TRUE=0.45", {"true": 0.45}, {True: 0.45}, {np.True_: 0.45}]),
        (["1.0", "0.0"], ["1.0=0.45", "1=0.45", {1.0: 0.45}, {1: 0.45}, {np.float32(1): 0.45}]),
        (["1.5", "0.5"], ["1.5=0.45", "1.50=0.45", {1.5: 0.45}]),
    ],
)
def test_classes_go_by_what_the_file_calls_them(values, named, tmp_path, run_command):
    """Truth values in any case, numbers as they are written: in thresholds, weights of classes and metrics."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = np.where(x + rng.normal(size=300) > 1, *values)
    pl.DataFrame({"a": x, "y": y}).write_csv(tmp_path / "t.csv", quote_style="never")
    settings = TableSettings(
        data=str(tmp_path / "t.csv"), target="y", hidden=[8], epochs=5, task="classification",
        class_weights=f"{values[0]}=2", metrics=[f"f1_of_{values[0]}"],
    )  # fmt: skip
    train_table(settings, tmp_path / "run", progress=False)
    run = ut.load(tmp_path / "run")
    frame = pl.read_csv(tmp_path / "t.csv")
    p = run.predict_probability(frame)[:, 1]
    for threshold in named:
        found = run.predict(frame, threshold=threshold)
        assert np.array_equal(found == np.unique(found)[-1], p > 0.45) and 0 < np.mean(p > 0.45) < 1
    out = run_command("predict", tmp_path / "run", tmp_path / "t.csv", "--threshold", named[0])[1]
    assert str(found[0]) in out
