"""Columns of numbers that are names stay texts where somebody says so, as_text= and --as-text, or their texts do."""

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
    codes = [f"{k:05}" for k in range(97)] + ["x.1", "x.1", "x.1"]
    frame = pl.DataFrame({"zip": codes, "x": range(100), "y": [0.5 * k for k in range(100)]})
    with pytest.raises(DataError, match="column 'zip' holds numbers, but 3 of 100 values are no numbers"):
        TabularEncoder.fit(frame, "y")
    assert "like an identifier" in TabularEncoder.fit(frame, "y", as_text="zip").dropped["zip"]
    kept = TabularEncoder.fit(frame, "y", as_text="zip", min_count=2)
    assert kept.feature_names == ["zip=x.1", "zip is rare", "x"]


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


def mix(numbers: list[str], others: list[str], n: int = 300) -> pl.DataFrame:
    """A column of different numbers, with a few other texts far apart."""
    rng = np.random.default_rng(0)
    values = numbers[: n - len(others)]
    for place, text in enumerate(others):
        values.insert(7 + 90 * place, text)
    return pl.DataFrame({"a": values, "b": rng.normal(size=n), "y": rng.normal(size=n)})


WHOLE = [str(3 * k + 100) for k in range(300)]
ZIPS = [f"{37 * k + 1001:05}" for k in range(300)]
DECIMALS = [f"{0.37 * k:.2f}" for k in range(300)]


@pytest.mark.parametrize("read", [encode_table, stream_table])
@pytest.mark.parametrize(
    ("numbers", "others"),
    [
        (WHOLE, ["c118", "c168"]),
        (WHOLE, ["A12"]),
        (WHOLE, ["AB-12", "D 7b", "stn_4"]),
        (ZIPS, ["02139-4307", "136A", "K1A 0B6"]),
    ],
)
def test_numbers_among_codes_are_codes(read, numbers, others):
    """It is said, whichever rows are held out, and each text is another category."""
    frame = mix(numbers, others)
    for seed in range(4):
        found = read(frame, "y", max_categories=300, min_count=2, seed=seed)
        (said,) = [line for line in found.report if "read as codes" in line]
        assert f"{len(others)} of 300 values are no numbers, first" in said and said.startswith("'a': ")
        assert "like an identifier" in found.encoder.dropped["a"]  # no code stands in two rows
    twice = pl.concat([frame, frame])
    encoder = read(twice, "y", max_categories=300, min_count=2, validation=0).encoder
    assert encoder.text_columns == ["a"] and set(others) < set(encoder.columns[0].categories)
    again = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    later = pl.DataFrame({"a": [int(numbers[0]), int(numbers[1])], "b": [0.0, 1.0]})
    said = []
    places = again.transform(later, report=said)[:, :-2].argmax(axis=1)  # a later file of numbers alone
    if numbers is WHOLE:
        assert [again.feature_names[k] for k in places] == [f"a={text}" for text in numbers[:2]] and not said


@pytest.mark.parametrize("read", [encode_table, stream_table])
@pytest.mark.parametrize(
    ("numbers", "others"),
    [
        (DECIMALS, ["c118"]),
        (DECIMALS, ["1O3", "12.5x"]),
        (WHOLE, ["c118", "unknown"]),
        (WHOLE, ["1O3"]),
        (WHOLE, ["l12"]),
        (WHOLE, ["12kg", "136A"]),
        (WHOLE, ["EUR 20"]),
        (WHOLE, ["c118", "?"]),
        (WHOLE, ["10-20"]),
        (ZIPS, ["0213O"]),
        (["-5", *WHOLE], ["c118"]),
        (["1e5", *WHOLE], ["c118"]),
    ],
)
def test_broken_numbers_are_refused(read, numbers, others):
    """Whichever rows are held out: a column of numbers is not dropped because a broken one is among those."""
    frame = mix(numbers, others)
    for seed in range(4):
        with pytest.raises(
            DataError, match=f"column 'a' holds numbers, but {len(others)} of 300 values are no numbers"
        ):
            read(frame, "y", seed=seed)


def test_the_row_of_a_broken_number_is_told_where_it_is_held_out(tmp_path):
    """In a file by its line, in memory and streamed alike."""
    frame = mix(DECIMALS, ["12.5x"])
    file = tmp_path / "t.csv"
    frame.write_csv(file)
    for seed in range(4):
        read, origin = read_table_with_origin(file)
        with pytest.raises(DataError, match=r"^t\.csv, row 9: column 'a'"):
            encode_table(read, "y", origin=origin, validation=0.5, seed=seed)
        with pytest.raises(DataError, match=r"^t\.csv, row 9: column 'a'"):
            stream_table(str(file), "y", memory=1e6, validation=0.5, seed=seed)


def test_missing_marks_among_codes_are_missing(tmp_path):
    """As among numbers: "?" and NA are no texts of their own."""
    lines = [f"{code},{k}.5" for k, code in enumerate(["117", "118", "c9", "?", "NA"] * 10)]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["a,y", *lines]) + "\n")
    for found in (encode_table(read_table(file), "y"), stream_table(str(file), "y", memory=1e6)):
        assert found.encoder.feature_names == ["a=117", "a=118", "a=c9", "a is missing"]
        assert any("read as codes" in line for line in found.report)


def test_folds_of_a_file_keep_it(tmp_path):
    """Cross-validation reads the file with the column as text."""
    file = write_file(tmp_path / "t.csv")
    seen: list[list[str]] = []

    def network(encoder):
        seen.append(encoder.feature_names)
        return ut.nn.Sequential(ut.nn.Dense(encoder.n_features, 1))

    ut.cross_validate(network, file, target="y", folds=2, epochs=1, encode={"as_text": "zip"})
    assert seen and all("zip=030001" in names and "zip=30001" in names for names in seen)


@pytest.mark.parametrize("name", ["t.csv", "t*.csv"])  # the second is read in pieces
def test_codes_on_the_command_line(tmp_path, monkeypatch, capsys, name):
    """They are read as texts by themselves, and so are those of later files."""
    codes = ["117", "1083", "c118"]
    rows = [
        f"{codes[(k > 250) + (k > 495)]},{k % 7},{(k > 250) * 3 + (k > 495) * 2 + 0.1 * (k % 7)}" for k in range(500)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["station,x,y", *rows]) + "\n")
    options = ["--target", "y", "--hidden", "", "--rate", "0.05", "--epochs", "60", "--no-flow", "--quiet"]
    monkeypatch.setattr(
        sys, "argv", ["undertow", "train", str(tmp_path / name), *options, "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    assert "'station': read as codes, so all its values are texts: 4 of 500" in capsys.readouterr().out
    run = load(tmp_path / "run")
    assert any("read as codes" in line for line in run.extras["encoder"]["report"])
    (tmp_path / "later.csv").write_text("station,x\n117,0\n1083,0\n")  # numbers alone
    (found,) = predict_portions(run, tmp_path / "later.csv")
    np.testing.assert_allclose(found["prediction"], [0, 3], atol=0.5)


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


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("zip", [98101, 98102, 98103, 98004], True),
        ("PLZ", [10115, 20095, 80331], True),
        ("store_id", [1, 2, 3, 4, 5], True),
        ("countryCode", [1, 44, 49], True),
        ("rooms", [1, 2, 3, 4], False),
        ("period", [1, 2, 3, 4], False),
        ("flag_id", [0, 1], False),
        ("zip", [98101.5, 98102.0, 98103.0], False),
        ("user_id", list(range(100, 160)), False),  # more than may be categories
    ],
)
def test_whole_numbers_that_are_codes_by_their_name_are_told(name, values, told):
    """The report names the option, and with it each number is a category; the column is as it was without."""
    n = 40 * len(values)
    frame = pl.DataFrame({name: values * 40, "x": np.arange(n) * 0.5, "y": [k % 2 for k in range(n)]})
    encoder = TabularEncoder.fit(frame, "y")
    said = [line for line in encoder.report if "by the name of the column they are codes" in line]
    assert bool(said) == told and name in encoder.feature_names
    if told:
        assert f"as_text={name!r} (--as-text)" in said[0]
        assert f"{name}={values[0]}" in TabularEncoder.fit(frame, "y", as_text=name).feature_names
