"""Training on files larger than memory, and on other files than CSV: runs are the same to the last byte."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from undertow.errors import DataError
from undertow.train.predictions import evaluate_table, predict_portions
from undertow.train.table import find_folder, resume_table, train_table
from undertow.train.table_settings import TableSettings


def write_large(path, kind):
    """A file that is more than the megabyte which reading may take; its target is of one kind."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8000, 3)).round(4)
    target = {
        "fractions": x[:, 0].round(2),
        "whole": rng.integers(0, 400, 8000),
        "counts": rng.poisson(1.5, 8000),
        "texts": np.where(x[:, 0] > 0, "up", "down"),
        "booleans": x[:, 1] > 0,
        "money": [f"${value:,.2f}" for value in np.exp(3 + x[:, 0] * 3)],
    }[kind]
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": target}).write_csv(path)
    return path


@pytest.mark.parametrize("kind", ["fractions", "whole", "counts", "texts", "booleans", "money"])
def test_a_large_file_is_resumed_to_the_same_bytes(tmp_path, kind):
    """Its config names the task that the target had set, which is no other reason and no other encoder."""
    told = TableSettings(
        data=str(write_large(tmp_path / "t.csv", kind)), target="y", memory=1.0, hidden=[4], epochs=3, flow=False,
        checkpoint_every=40,
    )  # fmt: skip
    whole, table = train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    assert any("Larger than" in sentence for sentence in table.report)
    model, record = (tmp_path / "run/model.safetensors"), (tmp_path / "run/run.json")
    before, extras = model.read_bytes(), json.loads(record.read_text())["extras"]
    for lost in (model, record, max((tmp_path / "run/checkpoints").glob("*.safetensors"))):
        lost.unlink()
    resumed, _ = resume_table(tmp_path / "run", progress=False, say=lambda said: None)
    assert model.read_bytes() == before and json.loads(record.read_text())["extras"] == extras
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


def write(folder, kind, frame):
    """The frame as a file of some kind."""
    path = folder / f"t.{kind}"
    if kind == "xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        pytest.importorskip("python_calamine")
        book = openpyxl.Workbook()
        for row in [frame.columns, *frame.rows()]:
            book.active.append(list(row))
        book.save(path)
    elif kind == "csv":
        frame.write_csv(path)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif kind == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_ipc(path)
    return path


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl", "arrow", "xlsx"])
@pytest.mark.parametrize("memory", [None, 1.0])
def test_other_files_train_predict_and_evaluate_as_csv_does(tmp_path, kind, memory):
    """The same table in another file: the same run to the last bit, the same predictions and measures."""
    rng = np.random.default_rng(2)
    n = 400 if memory is None else 9000
    frame = pl.DataFrame({"a": rng.normal(size=n).round(3), "b": rng.choice(["x", "y"], n).tolist()})
    frame = frame.with_columns(y=(2 * pl.col("a") + (pl.col("b") == "x")).round(4))
    files = [write(tmp_path, name, frame) for name in ("csv", kind)]
    found = []
    for file in files:
        out = tmp_path / f"run-{file.name}"
        told = TableSettings(
            data=str(file),
            target="y",
            memory=memory,
            hidden=[2],
            epochs=1,
            rate=0.003,  # slow enough that the order of rows says little after one epoch
            dropout=0.0,
            schedule="constant",
            flow=False,
        )
        run, _ = train_table(told, out, progress=False, say=lambda said: None)
        measured = evaluate_table(run, file, memory=(memory or 100) * 1e6)
        predicted = pl.concat(list(predict_portions(run, file, memory=(memory or 100) * 1e6)))
        found.append((measured, predicted["prediction"].to_list(), (out / "model.safetensors").read_bytes()))
    (measured, predicted, model), (expected, from_csv, plain) = found[1], found[0]
    if kind in ("csv.gz", "xlsx") or memory is None:
        assert model == plain and predicted == from_csv and measured["rmse"] == expected["rmse"]
    else:  # cut into other pieces, so that rows come in another order
        assert predicted == pytest.approx(from_csv, abs=0.1) and len(predicted) == n
        assert measured["rmse"] == pytest.approx(expected["rmse"], abs=0.05)


def test_the_folder_of_a_compressed_table_has_its_name():
    """Without both ends."""
    assert find_folder(TableSettings(data="a/houses.csv.gz"), None).as_posix() == "runs/houses"
    assert find_folder(TableSettings(data="a/houses.v2.parquet"), None).as_posix() == "runs/houses.v2"


def test_a_pattern_of_files_is_predicted_and_evaluated(tmp_path):
    """As the folder is, and one file after another."""
    frame = pl.DataFrame({"a": np.linspace(-1, 1, 90), "y": np.linspace(-2, 2, 90)})
    frame.write_csv(tmp_path / "all.csv")
    (tmp_path / "parts").mkdir()
    for k in range(3):
        frame[30 * k : 30 * (k + 1)].write_csv(tmp_path / f"parts/{k}.csv")
    told = TableSettings(data=str(tmp_path / "all.csv"), target="y", hidden=[2], epochs=2, flow=False)
    run, _ = train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    expected = evaluate_table(run, tmp_path / "all.csv")["rmse"]
    (whole,) = predict_portions(run, tmp_path / "all.csv")
    for where in (tmp_path / "parts", str(tmp_path / "parts/[0-2].csv"), tmp_path / "parts/*.csv"):
        assert evaluate_table(run, where)["rmse"] == pytest.approx(expected, rel=1e-6)
        found = pl.concat(list(predict_portions(run, where)))["prediction"]
        # not to the bit: a BLAS may add up a product of 30 rows in another order than one of 90
        np.testing.assert_allclose(found, whole["prediction"], rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="no file has such a name"):
        evaluate_table(run, str(tmp_path / "parts/x*.csv"))
