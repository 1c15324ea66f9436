"""A run that was trained on a table predicts and measures tables: frames, columns by name, files."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from exported import load_source
from undertow.errors import ArgumentError, DataError, DataWarning, ShapeError
from undertow.export import export_source
from undertow.train.predictions import predict_portions
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


@pytest.fixture
def run_command(capsys, monkeypatch):
    return make_runner(capsys, monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """By target: a run on 200 rows, loaded again, with its file."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    x, town = rng.normal(size=200), rng.choice(["Oslo", "Rome"], 200)
    level = x + 2.0 * (town == "Rome")
    columns = {"x": x, "town": town}
    targets = {
        "word": np.where(level > 1, "high", "low"),
        "flag": level > 1,
        "kind": np.digitize(level, [0.0, 2.0]),
        "number": 50 + 10 * level,
    }
    found = {}
    for name, y in targets.items():
        file = folder / f"{name}.csv"
        pl.DataFrame({**columns, name: y}).write_csv(file)
        train_table(TableSettings(data=str(file), target=name, hidden=[16], epochs=30), folder / name, progress=False)
        found[name] = ut.load(folder / name), file
    return found


@pytest.fixture
def said_by_the_command_line(run_command, tmp_path):
    def predict(run, file, *more):
        out = tmp_path / "found.csv"
        code, _, err = run_command("predict", run.folder, file, "--out", out, *more)
        assert code == 0, err
        return pl.read_csv(out)

    return predict


@pytest.mark.parametrize("target", ["word", "flag", "kind", "number"])
def test_frames_columns_and_files_are_predicted_as_by_the_command_line(trained, target, said_by_the_command_line):
    run, file = trained[target]
    frame = pl.read_csv(file)
    wanted = said_by_the_command_line(run, file)["prediction"].to_numpy()
    tables = [frame, frame.drop(target), frame.lazy(), frame.drop(target).to_dict(as_series=False), str(file), file]
    for table in [*tables, frame.select(sorted(frame.columns))]:
        found = run.predict(table)
        assert found.shape == (200,)
        if target == "number":
            np.testing.assert_allclose(found, wanted, rtol=1e-5)
        else:
            np.testing.assert_array_equal(found, wanted)
    assert np.mean(found == frame[target].to_numpy()) > 0.9 or target == "number"
    assert len(run.predict(frame[:1])) == 1


def test_pandas_frames_are_tables_too(trained):
    pandas = pytest.importorskip("pandas")
    run, file = trained["word"]
    np.testing.assert_array_equal(run.predict(pandas.read_csv(file)), run.predict(pl.read_csv(file)))


@pytest.mark.parametrize("target", ["word", "flag", "kind"])
def test_probabilities_have_a_column_a_class(trained, target, said_by_the_command_line):
    run, file = trained[target]
    p = run.predict_probability(pl.read_csv(file))
    wanted = said_by_the_command_line(run, file, "--probabilities").drop("prediction").to_numpy()
    np.testing.assert_allclose(p, wanted, atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_a_table_is_measured_by_what_is_predicted_for_it(trained):
    run, file = trained["word"]
    frame = pl.read_csv(file)
    truth, p = frame["word"].to_numpy(), run.predict_probability(frame)
    found = run.evaluate(frame)
    assert found["accuracy"] == pytest.approx(np.mean(run.predict(frame) == truth))
    assert found["loss"] == pytest.approx(-np.mean(np.log(np.where(truth == "high", p[:, 0], p[:, 1]))), rel=1e-4)
    assert found["rows"] == 200 and found["confusion"].sum() == 200
    run, file = trained["number"]
    frame = pl.read_csv(file)
    truth = frame["number"].to_numpy()
    left = truth - run.predict(frame)
    found = run.evaluate(str(file))
    assert found["r2"] == pytest.approx(1 - np.sum(left**2) / np.sum((truth - truth.mean()) ** 2), rel=1e-5)
    assert run.evaluate(frame, metrics=["mae"])["mae"] == pytest.approx(np.mean(np.abs(left)), rel=1e-4)


def test_what_does_not_fit_is_told(trained):
    run, file = trained["word"]
    frame = pl.read_csv(file)
    with pytest.raises(DataError, match="lacks 1 column that training had: 'town'"):
        run.predict(frame.drop("town"))
    with pytest.raises(DataError, match="no row has a target"):
        run.evaluate(frame.with_columns(word=pl.lit(None)))
    with pytest.raises(ArgumentError, match="probabilities are for classes"):
        trained["number"][0].predict_probability(frame)
    with pytest.warns(DataWarning, match="'town': 200 values not seen in training"):
        run.predict(frame.with_columns(town=pl.lit("Lima")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.predict(frame)
    with pytest.raises(ArgumentError, match=r"evaluate takes inputs and their targets\. Call run.evaluate\(X, y\)"):
        run.evaluate(np.zeros((3, 3)))


def test_arrays_are_taken_as_the_model_takes_them(trained):
    run, _ = trained["kind"]
    assert run.predict(np.zeros((2, 3), np.float32)).shape == (2,)
    with pytest.raises(ShapeError):
        run.predict(np.zeros(3))
    plain = ut.train(
        ut.nn.Sequential(ut.nn.Dense(1, 1)),
        (np.ones((8, 1)), np.ones((8, 1))),
        loss="mean_squared_error",
        progress=False,
    )
    with pytest.raises(DataError, match="X is a dict, no array"):
        plain.predict({"x": [1.0]})


@pytest.mark.parametrize("target", ["kind", "number"])
def test_a_category_of_training_is_no_missing_value_in_a_file(tmp_path, target):
    """Where a run has learned what n.a. and NA say, a CSV file is read as the frame, by pieces and exports too."""
    rng = np.random.default_rng(1)
    answer = rng.choice(["yes", "n.a.", "NA", "k.A."], 200)
    level = rng.normal(size=200) + 3.0 * (answer == "n.a.") - 3.0 * (answer == "NA")
    frame = pl.DataFrame({"x": rng.normal(size=200), "answer": answer})
    y = np.where(level > 1, "k.A.", "some") if target == "kind" else level
    frame.with_columns(pl.Series(target, y)).write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "new.csv")
    settings = TableSettings(data=str(tmp_path / "t.parquet"), target=target, hidden=[8], epochs=5)
    train_table(settings, tmp_path / "run", progress=False)
    run = ut.load(tmp_path / "run")
    wanted = pl.Series(np.ravel(run.predict(frame)))
    assert wanted.n_unique() > 1
    module = load_source(export_source(run, tmp_path / "model.py"))
    by_hand = module.predict_rows(module.read_csv(tmp_path / "new.csv", module.TEXTS))
    found = [pl.Series(np.ravel(by_hand))]
    for memory in (1e9, 1.0):
        found.append(pl.concat(list(predict_portions(run, tmp_path / "new.csv", memory=memory)))["prediction"])
    for values in found:
        assert values.equals(wanted) if target == "kind" else np.allclose(values, wanted, rtol=1e-4, atol=1e-5)
