"""Files that spreadsheets write in UTF-16 are read by an exported model as those in UTF-8."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import undertow as ut
from exported import load_source, rows_for, run_of
from undertow import nn
from undertow.export import export_source

MARKED = {"utf-16": "", "utf-16-le": "\ufeff", "utf-16-be": "\ufeff", "utf-8-sig": "", "utf-8": ""}


def run_file(path, *arguments):
    return subprocess.run([sys.executable, str(path), *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.parametrize("encoding", MARKED)
def test_tables(encoding, tmp_path):
    frame = pl.DataFrame({"town": ["São P", "Ωmega", "São P", "x"] * 5, "a": np.arange(20.0), "y": [0.5, 1, 2, 3] * 5})
    encoder = ut.data.encode_table(frame, "y", validation=0.0).encoder
    model = nn.initialize(nn.Sequential(nn.Dense(encoder.n_features, 1)), 0)
    extras = {"encoder": encoder.to_json_dict()}
    run = ut.Run(model, settings={"loss": "mean_squared_error"}, extras=extras)
    module = load_source(export_source(run, tmp_path / "model.py"))
    (tmp_path / "new.csv").write_bytes((MARKED[encoding] + frame.write_csv()).encode(encoding))
    rows = module.read_csv(tmp_path / "new.csv", module.TEXTS)
    assert [row["town"] for row in rows] == frame["town"].to_list()
    wanted = encoder.decode(run.outputs(encoder.transform(frame)))
    np.testing.assert_allclose(module.predict_rows(rows), wanted, rtol=1e-6)


@pytest.mark.parametrize("encoding", MARKED)
def test_numbers_alone(encoding, tmp_path):
    run = run_of("a stack")
    path, new = export_source(run, tmp_path / "plain.py"), tmp_path / "new.csv"
    X = rows_for("", 5, seed=1)
    written = (MARKED[encoding] + "\n".join(",".join(map(repr, map(float, row))) for row in X)).encode(encoding)
    new.write_bytes(written)
    assert [int(x) for x in run_file(path, new).stdout.split()[1:]] == run.predict(X).tolist()
    new.write_bytes(written[:-1] if "16" in encoding else written + b"\xff")
    told = run_file(path, new)
    assert told.returncode == 1 and "is neither UTF-8 nor UTF-16" in told.stderr and told.stderr.count("\n") == 1
