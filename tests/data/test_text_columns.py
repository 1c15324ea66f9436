"""Columns of numbers that are names stay texts where somebody says so: as_text=, --as-text."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.cli import main
from undertow.data import TabularEncoder, encode_table, read_table, read_table_with_origin, stream_table
from undertow.errors import ArgumentError, DataError
from undertow.train.checkpoint import load
from undertow.train.predictions import predict_portions
from undertow.train.table_settings import read_config

CODES = ("030001", "30001", "030002", "20230725")  # as numbers, the first two are one and the last is a date


def write_file(path: Path, n: int = 200) -> Path:
    """The code alone decides the target."""
    rng = np.random.default_rng(0)
    codes = rng.choice(CODES, n)
    lines = [
        f"{code},{x:.3f},{2 * CODES.index(code) + 0.1 * x:.4f}"
        for code, x in zip(codes, rng.normal(size=n), strict=True)
    ]
    path.write_text("\n".join(["zip,x,y", *lines]) + "\n")
    return path


@pytest.mark.parametrize("whole", [True, False])
def test_a_column_stays_text(tmp_path, whole):
    """Each text is a category, zeros before it count, and neither numbers nor dates are read of it."""
    file = write_file(tmp_path / "t.csv")
    if whole:
        frame, origin = read_table_with_origin(file, as_text=["zip"])
        found = encode_table(frame, "y", origin=origin, as_text="zip")
    else:
        found = stream_table(str(file), "y", as_text=["zip"], memory=1e6)
    encoder = found.encoder
    assert encoder.feature_names == [*(f"zip={code}" for code in sorted(CODES)), "x"]
    assert encoder.text_columns == ["zip"] and "'zip': texts, as asked for." in found.report
    again = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    later = tmp_path / "later.csv"
    later.write_text("zip,x\n30001,0\n030001,0\n")
    X = again.transform(read_table(later, as_text=again.text_columns), report=[])
    assert X[:, :4].tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert TabularEncoder.fit(read_table(file), "y").feature_names == ["zip", "x"]  # a number, where nobody says so


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([7, 8, None, 7], ["7", "8"]),
        ([True, False, True, None], ["false", "true"]),
        ([date(2023, 7, 25), date(2024, 1, 1), None, None], ["2023-07-25", "2024-01-01"]),
        (["1,5", "2,5", "1,5", None], ["1,5", "2,5"]),
        (["25.07.2023", "26.07.2023", None, "25.07.2023"], ["25.07.2023", "26.07.2023"]),
    ],
)
def test_frames_of_any_type(values, texts):
    """What a frame holds as numbers, booleans or dates becomes its texts, a missing one stays missing."""
    frame = pl.DataFrame({"a": values * 5, "y": [0.5 * k for k in range(20)]})
    encoder = TabularEncoder.fit(frame, "y", as_text="a")
    assert encoder.feature_names == [*(f"a={text}" for text in texts), "a is missing"]
    X = encoder.transform(frame, report=[])
    assert X.sum(axis=1).tolist() == [1.0] * 20
    assert encoder.columns == stream_table(frame, "y", validation=0, as_text=["a"]).encoder.columns


def test_texts_of_single_rows_are_dropped_although_some_are_numbers():
    """Nothing is said to be a number that should be corrected, and min_count keeps those that repeat."""
    codes = [f"{k:05}" for k in range(97)] + ["x1", "x1", "x1"]
    frame = pl.DataFrame({"zip": codes, "x": range(100), "y": [0.5 * k for k in range(100)]})
    with pytest.raises(DataError, match="column 'zip' holds numbers, but 3 of 100 values are no numbers"):
        TabularEncoder.fit(frame, "y")
    assert "like an identifier" in TabularEncoder.fit(frame, "y", as_text="zip").dropped["zip"]
    kept = TabularEncoder.fit(frame, "y", as_text="zip", min_count=2)
    assert kept.feature_names == ["zip=x1", "zip is rare", "x"]


@pytest.mark.parametrize("read", [encode_table, stream_table])
def test_what_cannot_stay_text(read):
    """The target, names that are not there, and what is no name."""
    frame = pl.DataFrame({"zip code": [1, 2] * 30, "y": [0.5 * k for k in range(60)]})
    with pytest.raises(DataError, match=r"no column 'zipcode' \(did you mean 'zip code'\?\) for as_text"):
        read(frame, "y", as_text=["zipcode"])
    with pytest.raises(ArgumentError, match="as_text names 'y', the column to predict"):
        read(frame, "y", as_text="y")
    with pytest.raises(ArgumentError, match="as_text names 3"):
        read(frame, "y", as_text=[3])


def test_folds_of_a_file_keep_it(tmp_path):
    """Cross-validation reads the file with the column as text."""
    file = write_file(tmp_path / "t.csv")
    seen: list[list[str]] = []

    def network(encoder):
        seen.append(encoder.feature_names)
        return ut.nn.Sequential(ut.nn.Dense(encoder.n_features, 1))

    ut.cross_validate(network, file, target="y", folds=2, epochs=1, encode={"as_text": "zip"})
    assert seen and all("zip=030001" in names and "zip=30001" in names for names in seen)


def test_the_command_line(tmp_path, monkeypatch, capsys):
    """--as-text is written to config.toml, and files to predict are read with the column as text."""
    file = write_file(tmp_path / "t.csv")
    options = ["--target", "y", "--as-text", "zip", "--hidden", "", "--rate", "0.05", "--no-flow", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["undertow", "train", str(file), *options, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    said = capsys.readouterr().out
    assert "'zip': texts, as asked for." in said and "'zip': 4 categories" in said
    assert read_config(tmp_path / "run" / "config.toml").as_text == ["zip"]
    later = tmp_path / "later.csv"
    later.write_text("zip,x\n030001,0\n20230725,0\n")
    (found,) = predict_portions(load(tmp_path / "run"), later)
    np.testing.assert_allclose(found.to_series(-1).to_numpy(), [0, 6], atol=0.5)
