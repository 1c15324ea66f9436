"""Training on a table: what is chosen, the second training on all rows, losses of counts and of two classes."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table, find_task
from undertow.errors import ArgumentError, DataError, RunError
from undertow.train.checkpoint import load
from undertow.train.predictions import evaluate_table, predict_portions
from undertow.train.table import resume_table, train_table
from undertow.train.table_settings import TableSettings, read_config
from undertow.train.table_words import summarize


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(90, 2)), rng.integers(0, 4, 90)
    rate = np.exp(2 + 0.8 * x[:, 0])
    pl.DataFrame({
        "a": x[:, 0], "b": x[:, 1], "w": w, "kind": np.where(x[:, 0] + 0.3 * x[:, 1] > 0, "up", "down"),
        "n": rng.poisson(rate), "z": x[:, 0] * 2 + 1,
    }).write_csv(tmp_path / "t.csv")  # fmt: skip
    return tmp_path


def train(folder: Path, target: str, out: str = "run", **settings):
    """Train on the columns a and b."""
    frame = pl.read_csv(folder / "t.csv")
    kept = ["a", "b", target, *([settings["weights"]] if "weights" in settings else [])]
    frame.select(kept).write_csv(folder / f"{target}.csv")
    told = TableSettings(data=str(folder / f"{target}.csv"), target=target, hidden=[8], **settings)
    said: list[str] = []
    run, table = train_table(told, folder / out, progress=False, say=said.append)
    return run, table, " ".join(said)


# ---- again on all rows --------------------------------------------------------------------------


def test_a_small_table_is_trained_on_again_with_all_rows(folder):
    """As long as the first training was best; what is said of held-out rows is of the first."""
    run, table, said = train(folder, "kind", folds=1)
    first = run.extras["held_out"]["history"]
    best = int(np.argmin([row["validation_loss"] for row in first])) + 1
    assert len(run.history) == best and "validation_loss" not in run.history[0]
    assert run.settings["n_examples"] == 90 and table.n_rows == 90
    encoder = TabularEncoder.from_json_dict(run.extras["encoder"])
    mean = pl.read_csv(folder / "t.csv")["a"].mean()
    assert encoder.columns[0].mean == pytest.approx(mean)  # of all rows
    assert f"best after {best} epoch" in said and "Trained again on all 90 rows" in said
    assert summarize(run, table).endswith("before training again on all rows")
    config = read_config(folder / "run/config.toml")
    assert config.refit is True and config.refit_epochs == best and config.validation == 0.2


def test_the_second_training_follows_the_first_ones_schedule(folder):
    """Not annealed to 0 within the fewer epochs: the rate of an epoch is that of the first training."""
    run, _, _ = train(folder, "kind", folds=1)
    first = run.extras["held_out"]["history"]
    if "rate" in run.history[-1]:
        assert run.history[-1]["rate"] == pytest.approx(first[len(run.history) - 1]["rate"], rel=0.1)


def test_it_is_repeated_and_resumed_to_the_same_bytes(folder):
    """From config.toml; and by resume, after the checkpoint of an earlier epoch."""
    run, _, _ = train(folder, "kind", checkpoint_every=7)
    whole = (folder / "run/model.safetensors").read_bytes()
    settings = read_config(folder / "run/config.toml")
    train_table(settings, folder / "again", progress=False, say=lambda said: None)
    assert (folder / "again/model.safetensors").read_bytes() == whole
    for lost in ("model.safetensors", "run.json"):
        (folder / "run" / lost).unlink()
    resumed, table = resume_table(folder / "run", progress=False, say=lambda said: None)
    assert (folder / "run/model.safetensors").read_bytes() == whole and table.n_rows == 90
    assert resumed.extras["held_out"]["summary"] == run.extras["held_out"]["summary"]


@pytest.mark.parametrize("told", [{"epochs": 3}, {"steps": 8}, {"validation": 0.3}, {"refit": False, "epochs": 2}])
def test_whoever_tells_when_it_ends_gets_one_training(folder, told):
    """The rows held out stay held out."""
    run, table, _ = train(folder, "kind", **told)
    assert "held_out" not in run.extras and "validation_loss" in run.history[-1] and table.validation is not None


@pytest.mark.parametrize(
    ("told", "message"),
    [({"validation": 0.0}, "rows held out"), ({"steps": 9}, "give --epochs"), ({"time_budget": 3.0}, "give --epochs")],
)
def test_a_second_training_that_cannot_be(folder, told, message):
    """--refit needs rows held out, and goes by epochs."""
    with pytest.raises(ArgumentError, match=message):
        train(folder, "kind", refit=True, **told)
    assert not (folder / "run").exists()


# ---- metrics in the target's unit ---------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mean_squared_error", "huber", "poisson"])
def test_metrics_of_a_number_are_in_its_unit(folder, loss):
    """Epoch by epoch, as computed by hand of predictions and targets of the file; r2 knows no unit; resumed as well."""
    target = "n" if loss == "poisson" else "z"
    more = {"loss": loss, "epochs": 3, "metrics": ["rmse", "mae", "r2"], "checkpoint_every": 3}
    run, table, said = train(folder, target, **more)
    assert f"rmse and mae are of {target!r} in its own unit" in said
    X, y = table.validation[:2]
    wanted = pl.read_csv(folder / f"{target}.csv")[target].to_numpy().astype(float)
    y = np.ravel(table.encoder.decode(y))
    assert np.isclose(y[:, None], wanted, rtol=1e-5).any(axis=1).all()  # numbers of the file
    error = y - np.ravel(table.encoder.decode(run.predict(X)))
    found = run.history[-1]
    assert found["validation_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert found["validation_mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert found["validation_r2"] == pytest.approx(1 - np.mean(error**2) / np.var(y), rel=1e-4)
    again, _ = resume_table(folder / "run", epochs=5, progress=False, say=lambda said: None)
    whole, _, _ = train(folder, target, out="whole", **{**more, "epochs": 5, "schedule": "constant"})
    assert again.history[2]["rmse"] == found["rmse"] and 0.2 < again.history[4]["rmse"] / whole.history[4]["rmse"] < 5


def test_the_largest_numbers_do_not_overflow_in_what_is_said(tmp_path):
    """Errors near 1e301 have no squares."""
    x = np.arange(60.0)
    pl.DataFrame({"a": x, "y": x * 1.1e300}).write_csv(tmp_path / "t.csv")
    told = TableSettings(data=str(tmp_path / "t.csv"), target="y", hidden=[8], epochs=2)
    run, table = train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    with np.errstate(over="raise"):
        said = summarize(run, table)
    assert re.match(r"held-out root mean squared error \d\.\d+e\+30[01], R² ", said)


# ---- losses -------------------------------------------------------------------------------------


def test_counts_by_a_poisson_loss(folder):
    """Predictions are rates in the target's unit, never below 0, and near the true ones."""
    run, table, said = train(folder, "n", loss="poisson", epochs=100, rate=0.02, dropout=0.0)
    frame = next(predict_portions(load(folder / "run"), folder / "t.csv"))
    found, x = frame["prediction"].to_numpy(), pl.read_csv(folder / "t.csv")["a"].to_numpy()
    assert found.min() >= 0 and np.corrcoef(np.log(found), 2 + 0.8 * x)[0, 1] > 0.95
    assert abs(found.mean() / pl.read_csv(folder / "t.csv")["n"].mean() - 1) < 0.15
    measured = evaluate_table(run, folder / "t.csv")
    y = pl.read_csv(folder / "t.csv")["n"].to_numpy()
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((found - y) ** 2)), rel=1e-5)
    assert "counts, divided by their mean" in said and "root mean squared error" in summarize(run, table)


def test_a_poisson_loss_wants_counts(folder):
    """A target below 0 has no rate."""
    with pytest.raises(DataError, match="but amounts are 0 or more"):
        train(folder, "z", loss="poisson")


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_focal:gamma=1"])
def test_two_classes_by_a_binary_loss(folder, loss):
    """One output; labels, probabilities and the confusion matrix are as of the categorical loss."""
    run, table, _ = train(folder, "kind", loss=loss, epochs=40, class_weights="balanced")
    assert run.model.layers[-1].W.shape == (8, 1)
    again = load(folder / "run")
    frame = next(predict_portions(again, folder / "t.csv", probabilities=True))
    labels = pl.read_csv(folder / "t.csv")["kind"]
    assert frame.columns == ["prediction", "p(down)", "p(up)"]
    np.testing.assert_allclose(frame["p(down)"] + frame["p(up)"], 1, rtol=1e-6)
    assert ((frame["p(up)"] > 0.5) == (frame["prediction"] == "up")).all()
    right = float((frame["prediction"] == labels).mean())
    measured = evaluate_table(again, folder / "t.csv")
    assert right > 0.9 and measured["accuracy"] == pytest.approx(right)
    assert np.trace(measured["confusion"]) == round(90 * right) and "held-out accuracy" in summarize(run, table)


def test_a_binary_loss_wants_two_classes(folder):
    """Three classes are named as the reason."""
    frame = pl.read_csv(folder / "t.csv")
    frame.with_columns(kind=pl.Series(["x", "y", "z"] * 30)).write_csv(folder / "t.csv")
    with pytest.raises(ArgumentError, match="it is for two classes, but the target has 3"):
        train(folder, "kind", loss="binary_cross_entropy")


# ---- weights ------------------------------------------------------------------------------------


def test_evaluation_weighs_the_rows_as_training_did(folder):
    """A row of weight 3 counts as three rows, one of weight 0 not at all; without the column all count alike."""
    run, _, _ = train(folder, "z", weights="w", epochs=3)
    frame = pl.read_csv(folder / "z.csv")
    found = evaluate_table(run, folder / "z.csv")
    plain = replace(run, extras={**run.extras, "weights": None})
    frame.filter(pl.col("w") > 0).select(pl.all().repeat_by("w").explode()).write_csv(folder / "repeated.csv")
    wanted = evaluate_table(plain, folder / "repeated.csv")
    for name in ("loss", "rmse", "mae", "r2"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-5), name
    frame.drop("w").write_csv(folder / "alike.csv")
    alike = evaluate_table(run, folder / "alike.csv")
    assert any("all rows count alike" in said for said in alike["remarks"])
    assert alike["loss"] == pytest.approx(evaluate_table(plain, folder / "z.csv")["loss"], rel=1e-6)
    frame.with_columns(w=0).write_csv(folder / "none.csv")
    with pytest.raises(DataError, match="0 in every row"):
        evaluate_table(run, folder / "none.csv")


# ---- the encoder's choices ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([float(k) for k in (191, 189, 193, 162, 189, 182, 211, 167, 176, 154, 169, 166, 154, 247)], "regression"),
        ([0.0, 1.0] * 3, "classification"),
        ([1, 2, 3, 4, 5] * 3, "classification"),
        ([1.0, 2.0, 3.0, 4.0, 5.0] * 3, "regression"),
        ([1.0, 2.0, 3.0, 4.0, 5.0] * 5, "classification"),
        (list(range(12)), "regression"),
        ([15, 16, 17, 18, 19, 20] * 3, "regression"),
        ([5, 6, 7, 8, 9, 10] * 5, "classification"),
        ([15, 16, 17, 18, 19, 20] * 5, "regression"),
    ],
)
def test_few_rows_of_each_value_make_no_classes(values, task):
    """The weights of linnerud's 14 men are numbers; classes have rows of each."""
    frame = pl.DataFrame({"x": range(len(values)), "y": values})
    assert find_task(frame, "y")[0] == task


def test_automatic_scaling_looks_at_training_rows_only():
    """The outlier among the rows held out changes nothing of the encoder."""
    values = np.random.default_rng(0).normal(size=200)
    frame = pl.DataFrame({"x": values, "u": 100 * values[::-1], "y": values})
    calm = encode_table(frame, "y", validation=0.2, scaling="auto")
    at = int(
        np.argmin(np.abs(calm.validation[1][0, 0] * calm.encoder.target.scale + calm.encoder.target.mean - values))
    )
    values[at] = 1e6
    wild = encode_table(frame.with_columns(x=values), "y", validation=0.2, scaling="auto")
    assert wild.encoder.columns == calm.encoder.columns and wild.encoder.columns[0].scaling == "standard"
    column = wild.encoder.columns[0]
    least, largest = column.range
    assert largest <= np.delete(values, at).max() < 4
    counted = (largest + (largest - least) - column.mean) / column.scale  # as the furthest value that is not far
    assert wild.validation[0][0, 0] == pytest.approx(counted)


def test_automatic_scaling_takes_ranks_beside_far_values():
    """Where a training value is more than 10 deviations from the mean."""
    frame = pl.DataFrame({"x": [*range(300)], "pay": [*range(299), 10**6], "y": ["a", "b"] * 150})
    columns = TabularEncoder.fit(frame, "y", scaling="auto").columns
    assert [column.scaling for column in columns] == ["standard", "both"]


def test_columns_that_vary_alike_keep_their_proportions():
    """One common scale, so that noise is not blown up; not where the units differ; a column far off is bounded."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20)) * np.linspace(1, 3, 20)
    label = ["a", "b"] * 200

    def deviations(X):
        frame = pl.DataFrame({**{f"x{k}": X[:, k] for k in range(X.shape[1])}, "y": label})
        encoder = TabularEncoder.fit(frame, "y", scaling="auto")
        return encoder.transform(frame, report=[]).std(axis=0)

    found = deviations(X)
    np.testing.assert_allclose(found / found[0], X.std(axis=0) / X[:, 0].std(), rtol=1e-4)
    assert np.mean(found**2) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(deviations(X * np.logspace(0, 2, 20)), 1, rtol=1e-4)
    far = deviations(np.hstack([X, 1e-3 * X[:, :1]]))
    assert far[-1] == pytest.approx(0.2, rel=1e-3) and far[:-1].min() > 0.3


def test_a_run_folder_holds_plain_json(folder):
    """What the first training left is data, too."""
    train(folder, "kind")
    record = json.loads((folder / "run/run.json").read_text())
    assert record["extras"]["held_out"]["summary"].startswith("held-out accuracy")


# ---- runs of an older version -------------------------------------------------------------------


def write_days(path: Path) -> Path:
    """Hours of two weeks, so that a date has cycles; the target is a number."""
    rng = np.random.default_rng(5)
    hours = np.datetime64("2023-03-01T00:30", "m") + np.arange(330) * np.timedelta64(60, "m")
    frame = pl.DataFrame({"at": [str(hour).replace("T", " ") for hour in hours], "y": rng.normal(size=330)})
    frame.write_csv(path)
    return path


def test_a_run_that_knows_nothing_of_dates_goes_on_and_predicts(tmp_path):
    """Its config.toml has no such setting, and its dates were days alone: it ends with the same bytes."""
    file = write_days(tmp_path / "t.csv")
    told = TableSettings(
        data=str(file), target="y", hidden=[4], dates="days", schedule="constant", warmup=0.0, flow=False
    )

    def silently(function, *args, **more):
        return function(*args, progress=False, say=lambda said: None, **more)

    whole, _ = silently(train_table, replace(told, epochs=6), tmp_path / "whole")
    silently(train_table, replace(told, epochs=3), tmp_path / "old")
    config = tmp_path / "old" / "config.toml"
    stored = config.read_text()
    config.write_text(re.sub(r'^(dates|decimal) = ".*"\n', "", stored, flags=re.MULTILINE))
    assert "dates" not in config.read_text()
    (before,) = predict_portions(load(tmp_path / "old"), file)
    run, _ = silently(resume_table, tmp_path / "old", epochs=6)
    assert len(run.history) == 6 and before.height == 330
    for name in ("old", "whole"):
        assert "dates" not in load(tmp_path / name).extras["encoder"]
    assert (tmp_path / "old/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    (after,), (same,) = predict_portions(run, file), predict_portions(whole, file)
    assert after.equals(same)


def test_a_table_that_is_encoded_in_another_way_now_is_refused(tmp_path):
    """By a changed setting, as by another version: the message names both versions, and the run stays as it was."""
    file = write_days(tmp_path / "t.csv")
    told = TableSettings(data=str(file), target="y", hidden=[4], dates="days", epochs=2, flow=False)
    train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    config, model = tmp_path / "run/config.toml", (tmp_path / "run/model.safetensors").read_bytes()
    config.write_text(config.read_text().replace('dates = "days"', 'dates = "auto"'))
    with pytest.raises(RunError, match=r"run: the table is not encoded as it was .* Undertow \S+; this is \S+, or"):
        resume_table(tmp_path / "run", epochs=4, progress=False, say=lambda said: None)
    assert (tmp_path / "run/model.safetensors").read_bytes() == model
    config.write_text(config.read_text().replace('dates = "auto"', 'dates = "days"'))
    resume_table(tmp_path / "run", epochs=4, progress=False, say=lambda said: None)


def test_a_folder_in_the_way_is_told_before_a_large_table_is_read(folder, monkeypatch):
    """Of a small table the other errors come first; the folder stays as it was."""
    (folder / "run").mkdir()
    (folder / "run" / "notes.txt").write_text("mine")
    settings = TableSettings(data=str(folder / "t.csv"), target="nothing of the kind")
    with pytest.raises(DataError, match="nothing of the kind"):
        train_table(settings, folder / "run", say=lambda _: None)
    module = sys.modules[train_table.__module__]
    monkeypatch.setattr(module, "LONG_TO_READ", 100)
    monkeypatch.setattr(module, "load_table", lambda settings: pytest.fail("the table was read"))
    with pytest.raises(RunError, match="run"):
        train_table(settings, folder / "run", say=lambda _: None)
    assert [path.name for path in (folder / "run").iterdir()] == ["notes.txt"]
