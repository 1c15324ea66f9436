"""Marks of missing values: a table with them is the table in which their fields are empty, wherever it is read."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from exported import load_source
from undertow import nn
from undertow.data import TabularEncoder, encode_table, read_table, stream_table
from undertow.data.columns import ValueColumn
from undertow.data.missing import OddTexts, mark_given, read_missing
from undertow.errors import ArgumentError, DataError
from undertow.export.source import export_source
from undertow.train.predictions import predict_portions
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

MARKS = [".", -999, "not asked"]


def make_tables(n=300):
    """The same rows with marks, and with nothing where these stand; texts, whole numbers, fractions, dates, target."""
    rng = np.random.default_rng(0)
    clean = pl.DataFrame(
        {
            "size": rng.normal(50, 9, n).round(2),
            "age": rng.integers(18, 80, n),
            "town": rng.choice(["Oslo", "Rome", "Lima"], n),
            "day": pl.Series(rng.integers(18_000, 19_000, n), dtype=pl.Int32).cast(pl.Date),
            "price": rng.normal(size=n).round(3),
        }
    )
    gaps = pl.DataFrame({name: rng.random(n) < 0.1 for name in clean.columns})
    marks = {"size": ".", "age": "-999", "town": "not asked", "day": ".", "price": "-999.0"}
    marked = pl.DataFrame(
        [clean[name].cast(pl.String).zip_with(~gaps[name], pl.Series([mark])) for name, mark in marks.items()]
    )
    empty = pl.DataFrame([clean[name].zip_with(~gaps[name], pl.Series([None])) for name in marks])
    return marked, empty


def with_numbers(marked, empty):
    """The marked table with the target as numbers: what has the text -999.0 is the same number as -999."""
    return marked.with_columns(price=empty["price"].fill_null(-999.0))


def without_marks(encoder: TabularEncoder) -> dict[str, object]:
    """The record without the marks themselves."""
    record = {name: value for name, value in encoder.to_json_dict().items() if name != "missing"}
    return record | {"report": [line for line in encoder.report if not line.startswith("Missing values")]}


def test_marks_in_a_file_are_as_empty_fields(tmp_path):
    marked, empty = make_tables()
    marked.write_csv(tmp_path / "marked.csv")
    empty.write_csv(tmp_path / "empty.csv")
    found, wanted = read_table(tmp_path / "marked.csv", missing=MARKS), read_table(tmp_path / "empty.csv")
    assert found.equals(wanted) and found.schema == wanted.schema
    assert found["age"].dtype == pl.Int64 and found["size"].dtype == pl.Float64 and found["day"].dtype == pl.Date


def test_a_fitted_encoder_is_the_same_and_keeps_them():
    """Also through JSON; a later frame may hold them as texts or as numbers."""
    marked, empty = make_tables()
    found = encode_table(with_numbers(marked, empty), "price", missing=MARKS)
    wanted = encode_table(empty, "price")
    assert without_marks(found.encoder)["columns"] == without_marks(wanted.encoder)["columns"]
    np.testing.assert_array_equal(found.train[0], wanted.train[0])
    np.testing.assert_array_equal(found.train[1], wanted.train[1])
    assert any(line.startswith("Missing values, as asked for: '.', '-999', 'not asked'") for line in found.report)
    again = TabularEncoder.from_json_dict(json.loads(json.dumps(found.encoder.to_json_dict())))
    assert again == found.encoder and again.missing == (".", "-999", "not asked")
    later = pl.DataFrame({"size": [-999.0, 41], "age": [-999, 30], "town": [" not asked", "Oslo"], "day": [".", None]})
    gone = pl.DataFrame({"size": [None, 41.0], "age": [None, 30], "town": [None, "Oslo"], "day": [None, None]})
    said: list[str] = []
    np.testing.assert_array_equal(again.transform(later, report=said), wanted.encoder.transform(gone, report=[]))
    assert said == wanted_said(wanted.encoder, gone)


def wanted_said(encoder, frame):
    said: list[str] = []
    encoder.transform(frame, report=said)
    return said


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_in_pieces_have_them_too(tmp_path, kind):
    """Where text files are read in blocks as where they are read whole; of typed files numbers and categories."""
    marked, empty = make_tables(30_000)
    if kind != "csv":  # a typed file has numbers as such
        numbers = {"size": -999.0, "age": -999, "price": -999.0}
        marked = empty.with_columns([pl.col(name).fill_null(x) for name, x in numbers.items()], town=marked["town"])
    for name, frame in (("marked", marked), ("empty", empty)):
        path = tmp_path / f"{name}.{kind}"
        {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](path)
    found = stream_table(tmp_path / f"marked.{kind}", "price", memory=1e6, missing=MARKS)
    wanted = stream_table(tmp_path / f"empty.{kind}", "price", memory=1e6)
    assert found.encoder.feature_names == wanted.encoder.feature_names
    for column, other in zip(found.encoder.columns, wanted.encoder.columns, strict=True):
        if isinstance(column, ValueColumn):  # pieces of other lengths, so sums to rounding
            assert column.range == other.range and column.absent == other.absent
            assert (column.mean, column.scale) == pytest.approx((other.mean, other.scale), rel=1e-12)
        else:
            assert column == other
    assert found.train.n_examples == wanted.train.n_examples
    blocks = [sum(float(block[0].sum()) for block in _read(table)) for table in (found, wanted)]
    assert blocks[0] == pytest.approx(blocks[1], rel=1e-6)


def _read(table):
    with table.train.epoch(0, batch_size=256, seed=0) as blocks:
        yield from blocks


@pytest.mark.parametrize("memory", [None, 1.0])
def test_a_run_applies_them_to_later_files(tmp_path, memory):
    """Trained on the marked file, it predicts of the marked one what it predicts of the empty one."""
    marked, empty = make_tables(300 if memory is None else 9000)
    marked.write_csv(tmp_path / "marked.csv")
    empty.write_csv(tmp_path / "empty.csv")
    told = TableSettings(
        data=str(tmp_path / "marked.csv"), target="price", missing=[".", "-999", "not asked"], epochs=2, hidden=[4],
        flow=False, memory=memory,
    )  # fmt: skip
    train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    run = ut.load(tmp_path / "run")
    found, wanted = (pl.concat(predict_portions(run, tmp_path / f"{x}.csv")) for x in ("marked", "empty"))
    assert found.equals(wanted) and found.height == marked.height
    assert run.settings["loss"] and 'missing = [".", "-999", "not asked"]' in (tmp_path / "run/config.toml").read_text()


def test_exports_know_them(tmp_path):
    """A Python file and an ONNX graph give for marks what the run gives, which is what it gives for nothing."""
    marked, empty = make_tables()
    table = encode_table(with_numbers(marked, empty), "price", missing=MARKS, validation=0.0)
    model = nn.Sequential(nn.Dense(table.encoder.n_features, 4), "tanh", nn.Dense(4, 1))
    run = ut.train(model, table, loss="mean_squared_error", epochs=2, progress=False)
    wanted = run.predict(empty)
    module = load_source(export_source(run, tmp_path / "model.py"))
    marked.write_csv(tmp_path / "new.csv")
    rows = module.read_csv(tmp_path / "new.csv", module.TEXTS)
    np.testing.assert_allclose(module.predict_rows(rows), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"'price' is missing"):
        module.encode_target([{"price": -999.0}])
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(Path(run.export(tmp_path / "model.onnx")).read_bytes())
    days = empty["day"].cast(pl.Int32).cast(pl.Float64).fill_null(float("nan"))
    given = {
        "size": empty["size"].fill_null(-999.0).to_numpy()[:, None],
        "age": empty["age"].fill_null(-999).cast(pl.Float64).to_numpy()[:, None],
        "town": marked["town"].to_numpy().astype(object)[:, None],
        "day": days.to_numpy()[:, None],
    }
    found = next(x for x in session.run(None, given) if x.dtype == np.float64)
    np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-5, atol=1e-6)


def test_folds_take_them():
    marked, empty = make_tables()

    def network(encoder: TabularEncoder) -> nn.Sequential:
        return nn.Sequential(nn.Dense(encoder.n_features, 1))

    found, wanted = (
        ut.cross_validate(network, frame, target="price", folds=3, epochs=1, encode=encode)
        for frame, encode in ((with_numbers(marked, empty), {"missing": MARKS}), (empty, {}))
    )
    np.testing.assert_allclose(found.predictions, wanted.predictions, rtol=1e-5, atol=1e-6)


def test_a_text_column_keeps_its_zeros():
    """Marks in a column that stays text make no numbers of it."""
    frame = pl.DataFrame({"zip": ["030", "045", "."] * 20, "y": [0.5, 1.5, 2.5] * 20})
    encoder = encode_table(frame, "y", missing=".", as_text="zip").encoder
    assert encoder.feature_names == ["zip=030", "zip=045", "zip is missing"]


def test_what_is_no_mark_is_refused():
    for given in (None, [True], [b"."], {"age": 3}):
        if isinstance(given, dict):
            assert read_missing(given) == ("age",)
            continue
        with pytest.raises(ArgumentError, match="Give texts or numbers that stand for a missing value"):
            read_missing(given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="Did you mean 'missing'"):
        encode_table({"x": [1, 2], "y": [0, 1]}, "y", na_values="?")


def test_numbers_at_the_ends_of_their_types_are_compared_exactly():
    """2⁵³ + 1 is not 2⁵³, and a mark out of a type's range is nowhere in it."""
    frame = pl.DataFrame(
        {"a": pl.Series([2**53, 2**53 + 1]), "b": pl.Series([1, 255], dtype=pl.UInt8), "c": [2**64 - 1, 1]},
        schema={"a": pl.Int64, "b": pl.UInt8, "c": pl.UInt64},
    )
    assert mark_given(frame, (str(2**53), "-999", "255")).rows() == [(None, 1, 2**64 - 1), (2**53 + 1, None, 1)]


def test_large_and_single_precision_numbers_are_the_marks_that_were_given():
    """2⁵³ + 1 keeps its last digit, 2⁶⁴ - 1 is found, and 99.9 in float32 is the mark 99.9."""
    frame = pl.DataFrame(
        {"a": [2**53 + 1, 2**53], "b": [2**64 - 1, 2**64 - 2], "c": [99.9, 99.8]},
        schema={"a": pl.Int64, "b": pl.UInt64, "c": pl.Float32},
    )
    marked = mark_given(frame, read_missing([2**53 + 1, 2**64 - 1, 99.9, 10**400]))
    assert marked.select(pl.all().is_null()).rows() == [(True, True, True), (False, False, False)]


def test_a_date_is_found_where_a_column_has_times_of_day():
    """As pandas holds dates; midnight of that day, not another hour of it."""
    moments = [datetime(1900, 1, 1), datetime(1900, 1, 1, 5), datetime(2020, 2, 3)]
    frame = pl.DataFrame({"a": moments, "b": pl.Series(moments).cast(pl.Datetime("ns")), "c": pl.Series(moments)})
    frame = frame.with_columns(pl.col("c").dt.replace_time_zone("Europe/Oslo"))
    marked = mark_given(frame, read_missing("1900-01-01"))
    assert marked.select(pl.all().is_null()).rows() == [(True,) * 3, (False,) * 3, (False,) * 3]


def test_later_rows_hold_marks_in_other_forms(tmp_path):
    """-999.0 as a text in a column of numbers, as a number among texts, a date with a time: exports agree with it."""
    days = [date(2020, 1, 1 + i % 28) for i in range(60)]
    frame = pl.DataFrame({"x": range(60), "town": ["Oslo", "Rome", "-999"] * 20, "day": days, "y": [0.5, 1.5] * 30})
    frame = frame.with_columns(x=pl.when(pl.col("x") % 7 == 0).then(-999).otherwise("x"))
    gap = pl.when(pl.col("x") % 5 == 0).then(pl.date(1900, 1, 1)).otherwise("day")
    table = encode_table(frame.with_columns(day=gap), "y", missing=[-999, "1900-01-01"], validation=0.0)
    run = ut.train(
        nn.Sequential(nn.Dense(table.encoder.n_features, 1)), table, loss="mean_squared_error", epochs=1,
        progress=False,
    )  # fmt: skip
    module = load_source(export_source(run, tmp_path / "model.py"))
    nothing = table.encoder.transform(pl.DataFrame({"x": [None], "town": [None], "day": [None]}))
    later = [
        {"x": "-999.0", "town": "-999", "day": datetime(1900, 1, 1)},
        {"x": -999.0, "town": -999.0, "day": "1900-01-01"},
        {"x": "-9.99e2", "town": -999, "day": date(1900, 1, 1)},
    ]
    for row in later:
        found = table.encoder.transform(pl.DataFrame([row]))
        np.testing.assert_array_equal(found, nothing)
        np.testing.assert_allclose(module.encode([row], module.COLUMNS), nothing, rtol=1e-6)
    known = module.encode([{"x": True, "town": "Oslo", "day": days[3]}], module.COLUMNS)
    assert known[0, table.encoder.feature_names.index("x is missing")] == 0
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(Path(run.export(tmp_path / "model.onnx")).read_bytes())
    day = (date(1900, 1, 1) - date(1970, 1, 1)).days
    given = {"x": np.array([[-999.0]]), "town": np.array([["-999"]], object), "day": np.array([[float(day)]])}
    wanted = run.predict(pl.DataFrame({"x": [None], "town": [None], "day": [None]}))
    predicted = next(x for x in session.run(None, given) if x.dtype == np.float64)
    np.testing.assert_allclose(predicted.ravel(), wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_numbers_that_stay_texts_in_pieces_are_told(tmp_path, kind):
    """With the mark named, the column is no identifier: it is said what makes it one of numbers, and that does."""
    texts = [f"{x:.3f}" for x in np.random.default_rng(0).normal(size=600)]
    frame = pl.DataFrame({"x": texts, "z": range(600), "y": [0.5, 1.5, 2.5] * 200})
    frame = frame.with_columns(x=pl.when(pl.col("z") % 13 == 0).then(pl.lit(".")).otherwise("x"))
    write = {"parquet": pl.DataFrame.write_parquet, "jsonl": pl.DataFrame.write_ndjson}[kind]
    write(frame, tmp_path / f"a.{kind}")
    said = " ".join(stream_table(tmp_path / f"a.{kind}", "y", missing=".").report)
    assert "all of them are numbers, held as texts. Make the column one of numbers" in said
    write(frame.with_columns(pl.col("x").cast(pl.Float64, strict=False)), tmp_path / f"b.{kind}")
    table = stream_table(tmp_path / f"b.{kind}", "y", missing=".")
    assert "x is missing" in table.encoder.feature_names
    zeros = frame.with_columns(x=pl.concat_str(pl.lit("0"), pl.int_range(600).cast(pl.String)))
    assert "held as texts" not in " ".join(encode_table(zeros, "y").report)


def test_long_texts_are_offered_as_no_marks():
    odd = OddTexts()
    odd.update(pl.Series(["measured again on the next day by someone else"]))
    assert odd.offer() == ""


def test_a_few_texts_among_numbers_are_told_with_the_remedy(tmp_path):
    numbers = [f"{x:.2f}" for x in np.random.default_rng(0).normal(size=400)]
    few = pl.DataFrame({"x": [*numbers, *["unknown"] * 9], "y": np.arange(409) / 7})
    with pytest.raises(
        DataError, match=r"If 'unknown' stands for a missing value: missing=\['unknown'\] \(--missing u"
    ):
        encode_table(few, "y")
    assert encode_table(few, "y", missing="unknown").encoder.feature_names == ["x", "x is missing"]
    with pytest.raises(DataError, match=r"target 'y'.*If 'unknown' stands for a missing value"):
        encode_table(few.rename({"x": "y", "y": "x"}), "y")
    many = few.with_columns(x=pl.Series([*numbers, *[f"about {k}" for k in range(9)]]))
    with pytest.raises(DataError) as caught:
        encode_table(many, "y")
    assert "missing=" not in str(caught.value)


def test_the_command_line_takes_them_one_by_one(tmp_path, capsys, monkeypatch):
    """A mark may begin with a dash; they stand in the settings, and a later file is read by them."""
    marked, _ = make_tables()
    marked.write_csv(tmp_path / "t.csv")
    run = make_runner(capsys, monkeypatch)
    more = ("--missing", ".", "--missing", "-999", "--missing", "not asked", "--epochs", "1", "--no-flow", "--quiet")
    code, said, _ = run("train", tmp_path / "t.csv", "--target", "price", *more, "--out", tmp_path / "run")
    assert code == 0 and "Missing values, as asked for: '.', '-999', 'not asked', beside the usual marks." in said
    code, said, error = run("predict", tmp_path / "run", tmp_path / "t.csv")
    assert code == 0 and len(said.split()) == 301 and "no number" not in error
