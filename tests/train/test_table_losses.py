"""Losses of which a table's predictions are not the outputs themselves: two columns for a number, logarithms."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from undertow.export import export_source
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300))
    frame = pl.DataFrame({"a": a, "b": b, "y": 100 * np.exp(a / 2 + b / 4)})
    frame.write_csv(tmp_path / "t.csv")
    return frame


def train(tmp_path, loss, **more):
    given = {"hidden": [16], "epochs": 20, "early_stopping": 0, "refit": False, "other": False, "folds": 1} | more
    settings = TableSettings(data=str(tmp_path / "t.csv"), target="y", loss=loss, **given)
    return train_table(settings, tmp_path / "run", progress=False, say=lambda sentence: None)


def test_a_mean_and_a_variance_of_a_table(tmp_path, table):
    """The first is told, in the target's unit; the loss begins as that of mean 0 and variance 1, ½ of the squares."""
    run, made = train(tmp_path, "gaussian")
    X, y = made.train
    p = run.outputs(X)
    assert p.shape == (len(X), 2) and y.shape == (len(X), 1)
    encoded = np.ravel(made.encoder.encode_target(table)).astype(float)
    scale, mean = np.polyfit(encoded, table["y"].to_numpy(), 1)  # it is standardised
    predicted = np.ravel(run.predict(table.drop("y")))
    rows = made.encoder.transform(table.drop("y"))
    np.testing.assert_allclose(predicted, run.outputs(rows)[:, 0] * scale + mean, rtol=1e-4, atol=1e-2)
    measured = run.evaluate(table)
    export_source(run, tmp_path / "net.py")
    out = subprocess.run([sys.executable, "net.py", "t.csv"], cwd=tmp_path, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(np.array(out.stdout.split()[1:], float), predicted, rtol=1e-4, atol=1e-2)
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((predicted - table["y"].to_numpy()) ** 2)), rel=1e-5)
    assert measured["rmse"] < 0.5 * table["y"].std()


@pytest.mark.parametrize("seed", range(4))
def test_a_variance_begins_as_one_that_knows_nothing(tmp_path, table, seed):
    """Drawn at random it was so small that the loss was 50, which was found wrong with the network."""
    run, _ = train(tmp_path, "gaussian", seed=seed, hidden=[128, 64], epochs=3)
    assert 0 < run.flow.scalars["loss"][0] < 1.5
    assert "initial-loss" not in [x.kind for x in run.findings]


def test_an_initialiser_that_is_asked_for_stays(tmp_path, table):
    run, _ = train(tmp_path, "gaussian", init="zeros", epochs=1)
    assert run.model.layers[0].init == "zeros"


def test_the_logarithm_of_a_number_of_a_table(tmp_path, table):
    """It is not standardised, and told as p = e^z − 1."""
    run, made = train(tmp_path, "mean_squared_logarithmic_error", rate=0.03)
    predicted = np.ravel(run.predict(table.drop("y")))
    rows = made.encoder.transform(table.drop("y"))
    np.testing.assert_allclose(predicted, np.expm1(np.ravel(run.outputs(rows)).astype(float)), rtol=1e-4)
    y = table["y"].to_numpy()
    loss = np.mean((np.log1p(predicted) - np.log1p(y)) ** 2)
    assert run.evaluate(table)["loss"] == pytest.approx(loss, rel=1e-4) and loss < 0.5 * np.var(np.log1p(y))
