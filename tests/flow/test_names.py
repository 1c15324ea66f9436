"""Findings and reports say what a table calls its classes and columns."""

import shutil

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.flow import load_flow
from undertow.report import report_data
from undertow.sklearn import MLPClassifier
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


def write_table(folder):
    """Three classes, of which one is rare; what tells them is drowned in noise. One column is an identifier."""
    rng = np.random.default_rng(0)
    k = rng.choice(3, 300, p=[0.8, 0.16, 0.04])
    columns = {
        "id": [f"u{i}" for i in range(300)],
        "length": rng.normal(size=300) + 0.3 * k,
        "colour": rng.choice(["red", "green"], 300),
        "kind": np.array(["common", "middle", "scarce"])[k],
    }
    path = folder / "kinds.csv"
    pl.DataFrame(columns).write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    settings = TableSettings(data=str(write_table(folder)), target="kind", hidden=[8], epochs=2, dropout=0.0)
    run, _ = train_table(settings, folder / "run", progress=False, say=lambda _: None)
    return run, folder / "run"


def test_a_table_s_classes_are_named(trained):
    run, folder = trained
    for flow in (run.flow, load_flow(folder)):
        names = flow.facts["names"]
        assert names["target"] == "kind" and names["classes"] == ["common", "middle", "scarce"]
        assert names["columns"] == ["length", "colour"] and list(names["left_out"]) == ["id"]
        assert names["features"] == [["length", "length"], ["colour=green", "colour"], ["colour=red", "colour"]]
    (finding,) = [x for x in run.findings if x.kind == "imbalanced-classes"]
    assert finding.cause.startswith("Class 'scarce' has ") and "always answering 'common' is right" in finding.cause
    assert "class 2" not in " ".join([finding.cause, *(x.text for x in finding.evidence)]).lower()


def test_a_report_names_the_target_and_the_columns(trained, tmp_path):
    """Of a finished run, and of one that was killed before there was a model: its record alone knows as much."""
    run, folder = trained
    killed = tmp_path / "killed"
    shutil.copytree(folder / "flow", killed / "flow")
    for source in (run, folder, killed):
        data = report_data(source)
        assert " was trained to predict 'kind' from 2 columns" in data["summary"]["sentence"]
        rows = dict(data["settings"])
        assert rows["target"] == "kind" and rows["columns used (2)"] == "length, colour"
        assert rows["classes (3)"] == "common, middle, scarce"
        assert "identifier" in rows["column left out: id"] and not rows["column left out: id"].startswith("'id'")


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_estimator_s_classes_are_named():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(300, 3)), np.where(rng.random(300) < 0.05, "ill", "well")
    fitted = MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, random_state=0, flow=True).fit(X, y)
    (finding,) = [x for x in fitted.run_.findings if x.kind == "imbalanced-classes"]
    assert finding.cause.startswith("Class 'ill' has ") and "always answering 'well'" in finding.cause


def test_arrays_have_no_names():
    X = np.random.default_rng(2).normal(size=(64, 2))
    model = ut.nn.Sequential(ut.nn.Dense(2, 1))
    run = ut.train(model, (X, X[:, 0]), loss="mean_squared_error", epochs=1, progress=False)
    assert "names" not in run.flow.facts
    data = report_data(run)
    assert "to predict" not in data["summary"]["sentence"] and "target" not in dict(data["settings"])


def test_the_column_of_a_table_that_is_not_scaled_is_named(tmp_path):
    rng = np.random.default_rng(0)
    wide, plain = rng.normal(size=200) * 1e4, rng.normal(size=200)
    pl.DataFrame({"plain": plain, "wide": wide, "y": plain + wide / 1e4}).write_csv(tmp_path / "t.csv")
    settings = TableSettings(data=str(tmp_path / "t.csv"), target="y", scaling="none", epochs=2, hidden=[4])
    run, _ = train_table(settings, tmp_path / "run", progress=False, say=lambda _: None)
    (finding,) = [x for x in run.findings if x.kind == "input-not-scaled"]
    assert finding.cause.startswith("Column 'wide' of X reaches ")
