"""A table whose target's logarithm is learned: from the command line, through figures and exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from exported import load_source
from undertow.train.predictions import evaluate_table


@pytest.fixture
def run_command(capsys, monkeypatch):
    return make_runner(capsys, monkeypatch)


@pytest.mark.parametrize(("scaling", "zeros"), [("log", False), ("log1p", True)])
def test_from_training_to_exports(run_command, tmp_path, scaling, zeros):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = np.exp(2 + x[:, 0] + 0.3 * rng.normal(size=300))
    y = np.round(np.where(zeros & (x[:, 1] > 1), 0, y), 2)
    file, folder = tmp_path / "t.csv", tmp_path / "run"
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "paid": y})
    frame.write_csv(file)
    options = ("--target-scaling", scaling, "--epochs", 20, "--hidden", 16, "--quiet", "--no-flow")
    code, out, err = run_command("train", file, "--target", "paid", "--out", folder, *options)
    assert code == 0 and "its logarithm" in out, err
    run = ut.load(folder)
    found = run.predict(frame)
    measured = evaluate_table(run, file)
    assert measured["rmse"] == pytest.approx(np.sqrt(np.mean((found - y) ** 2)), rel=1e-5)
    assert measured["mae"] == pytest.approx(np.mean(np.abs(found - y)), rel=1e-5)
    assert measured["r2"] == pytest.approx(1 - np.sum((found - y) ** 2) / np.sum((y - y.mean()) ** 2), rel=1e-5)
    back = {"log": np.exp, "log1p": np.expm1}[scaling]
    target = run.extras["encoder"]["target"]
    X = np.array(ut.data.TabularEncoder.from_json_dict(run.extras["encoder"]).transform(frame))
    np.testing.assert_allclose(found, back(run.outputs(X)[:, 0].astype(float) * target["scale"] + target["mean"]))

    module = load_source(run.export(tmp_path / "model.py"))
    rows = module.read_csv(file, module.TEXTS)
    np.testing.assert_allclose(module.predict_rows(rows), found, rtol=1e-5, atol=1e-5)
    logs = {"log": np.log, "log1p": np.log1p}[scaling](y)
    wanted = (logs - target["mean"]) / target["scale"]
    np.testing.assert_allclose(module.encode_target(rows)[:, 0], wanted, rtol=1e-5, atol=1e-6)
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(Path(run.export(tmp_path / "model.onnx")).read_bytes())
    inputs = {name: frame[name].to_numpy()[:, None].astype(float) for name in ("a", "b")}
    np.testing.assert_allclose(np.ravel(session.run(None, inputs)[1]), found, rtol=1e-5, atol=1e-5)


def test_amounts_of_0_are_an_error_of_one_line(run_command, tmp_path):
    pl.DataFrame({"a": [0.5, 1, 2, 3.5] * 9, "paid": [0.0, 1.5, 2, 3] * 9}).write_csv(tmp_path / "t.csv")
    code, _, err = run_command("train", tmp_path / "t.csv", "--target", "paid", "--target-scaling", "log")
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: t.csv, row ") and "--target-scaling log1p" in err
