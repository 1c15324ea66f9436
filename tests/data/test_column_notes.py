"""What new rows hold that training did not have is told once a column, with its rows counted over all pieces."""

from __future__ import annotations

import datetime
import json
import math
import sys
import warnings

import numpy as np
import polars as pl
import pytest

from undertow.cli import main
from undertow.data import TabularEncoder
from undertow.data.column_notes import ColumnNotes, EncodingNotes
from undertow.errors import DataWarning, RunError
from undertow.train.checkpoint import load
from undertow.train.predictions import evaluate_table, predict_portions
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings


def fit_on(values, **options) -> TabularEncoder:
    """An encoder of one column, x, beside one that is never far."""
    n = len(values)
    frame = pl.DataFrame({"x": pl.Series(values), "z": [0.5, 1.5] * (n // 2), "y": [0.5 * k for k in range(n)]})
    return TabularEncoder.fit(frame, "y", **options)


def tell(encoder: TabularEncoder, *parts) -> list[str]:
    """What is said of values of x that come in parts."""
    notes = EncodingNotes()
    for part in parts:
        frame = pl.DataFrame({"x": part, "z": [1.0] * len(part)})
        assert np.isfinite(encoder.transform(frame, notes=notes)).all()
    return encoder.tell(notes)


HUNDRED = [float(k) for k in range(100)]  # 0 … 99


@pytest.mark.parametrize(
    ("values", "far"),
    [([0.0, 99.0], 0), ([198.0, -99.0], 0), ([198.1], 1), ([-99.1, 5.0], 1), ([1e6, -1e6, 3e6], 3), ([None, 50.0], 0)],
)
@pytest.mark.parametrize("scaling", ["standard", "robust", "none", "quantile"])
def test_far_is_further_from_the_range_than_it_is_wide(values, far, scaling):
    """By the range alone, whatever the scaling: 0 to 99 is 99 wide."""
    said = [line for line in tell(fit_on(HUNDRED, scaling=scaling), values) if "far outside" in line]
    assert len(said) == (far > 0)
    if far:
        worst = max((v for v in values if v is not None), key=lambda v: max(-v, v - 99))
        assert said[0].startswith(f"'x': {far} value{'s' * (far > 1)} far outside of training's range, 0 to 99; ")
        assert f"the farthest is {worst:g} (row {values.index(worst) + 1})" in said[0]
        counted = {"standard": max(-99.0, min(worst, 198.0)), "quantile": max(0.0, min(worst, 99.0))}
        counted["robust"] = counted["standard"]
        assert said[0].partition("counted as ")[2] == (f"{counted[scaling]:g}." if scaling in counted else "")


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_a_slip_of_the_pen_counts_as_the_furthest_value_that_is_not_far(scaling):
    """Values up to the limits are as they are, those beyond as the limits; by hand, in the unit of the scale."""
    encoder = fit_on(HUNDRED, scaling=scaling)
    mean, scale = {"standard": (np.mean(HUNDRED), np.std(HUNDRED)), "robust": (49.5, 49.5)}[scaling]
    frame = pl.DataFrame({"x": [198.0, 1e9, -99.0, -1e9, 100.0], "z": [1.0] * 5})
    found = encoder.transform(frame, report=[])[:, 0]
    np.testing.assert_allclose(found, (np.array([198.0, 198.0, -99.0, -99.0, 100.0]) - mean) / scale, rtol=1e-6)


def test_days_and_numbers_that_are_not_scaled_go_on():
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 4, 9), eager=True)
    encoder = fit_on(days)
    frame = pl.DataFrame({"x": [datetime.date(2031, 1, 1)], "z": [1.0]})
    n = np.arange(100)
    far = (datetime.date(2031, 1, 1) - datetime.date(2020, 1, 1)).days
    assert encoder.transform(frame, report=[])[0, 0] == pytest.approx((far - n.mean()) / n.std())
    frame = pl.DataFrame({"x": [1e9], "z": [1.0]})
    assert fit_on(HUNDRED, scaling="none").transform(frame, report=[])[0, 0] == 1e9


def test_what_is_clipped_is_told():
    """With "both", values count as twice as far from the mean as training's, and that is where telling begins."""
    values = [*HUNDRED[:98], 90.0, 5000.0]
    encoder = fit_on(values, scaling="both")
    bound = 5000 + (5000 - np.mean(values))
    assert tell(encoder, [bound - 1]) == []
    (said,) = tell(encoder, [bound + 1000])
    assert said.endswith(f"the farthest is {bound + 1000:g} (row 1), counted as {bound:g}.")


def test_dates_and_whole_numbers_have_ranges_too():
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 4, 9), eager=True)
    (said,) = tell(fit_on(days), pl.Series([pl.date_range(pl.date(2031, 1, 1), pl.date(2031, 1, 1), eager=True)[0]]))
    assert said.startswith(
        "'x': 1 value far outside of training's range, 2020-01-01 to 2020-04-09; the farthest is 2031"
    )
    (said,) = tell(fit_on(list(range(100))), [999])
    assert "range, 0 to 99; the farthest is 999" in said
    assert tell(fit_on([True, False] * 20), [True, False]) == []


def test_pieces_are_counted_together():
    """The farthest of all, and every row, however they come."""
    encoder = fit_on(HUNDRED)
    whole = tell(encoder, [1e3, None, 1e5, None, 2.0, -1e4])
    parts = tell(encoder, [1e3, None], [1e5, None], [2.0, -1e4])
    assert [line.replace("(row 3)", "(row 1)") for line in whole] == parts
    assert parts[0] == "'x': 2 missing values where training had none; filled with 49.5."
    assert parts[1].startswith("'x': 3 values far outside") and "the farthest is 100000" in parts[1]
    texts = fit_on(["a", "b"] * 50)
    assert tell(texts, ["q", "a"], ["r", "q"], ["s", "t"]) == [
        "'x': 5 values not seen in training ('q', 'r', 's', … (4 in all)); encoded as no category."
    ]


@pytest.mark.parametrize(
    ("train", "later", "told"),
    [
        (HUNDRED, [None] * 3, "empty in all 3 rows, where training had a value in every row; filled with 49.5."),
        (HUNDRED, [None, 1.0], None),
        (HUNDRED, [None], None),  # one row without a value is told as such
        (
            [None, *HUNDRED[1:]],
            [None] * 2,
            "where training had a value in 99% of its rows; filled with 50, and flagged.",
        ),
        ([None] * 70 + HUNDRED[:30], [None] * 5, None),  # 0.7⁵ of such five are empty
        ([None] * 70 + HUNDRED[:30], [None] * 30, "in all 30 rows, where training had a value in 30% of its rows"),
        (["a", "b"] * 50, [None] * 2, "where training had a value in every row; encoded as no category."),
        ([None, "a"] * 50, [None] * 20, "where training had a value in 50% of its rows; encoded as missing."),
        ([None, "a"] * 50, [None] * 5, None),
        ([True, False] * 50, [None] * 2, "where training had a value in every row; filled with false."),
    ],
)
def test_a_column_that_is_empty_is_told_where_that_is_no_chance(train, later, told):
    encoder = fit_on(train)
    said = [line for line in tell(encoder, pl.Series(later, dtype=pl.Series(train).dtype)) if "empty" in line]
    assert len(said) == (told is not None) and all(told in line for line in said)
    if told:
        half = len(later) // 2
        typed = pl.Series(later, dtype=pl.Series(train).dtype)
        assert tell(encoder, typed[:half], typed[half:]) == said


def test_without_a_report_it_is_a_warning_of_ours():
    encoder = fit_on(HUNDRED)
    with pytest.warns(DataWarning, match="1 value far outside") as caught:
        encoder.transform(pl.DataFrame({"x": [1e4], "z": [1.0]}))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.transform(pl.DataFrame({"x": [98.0], "z": [1.0]}))


def test_ordinary_splits_of_real_data_are_silent():
    """Four splits of four sets of scikit-learn: 77 columns, and one true outlier in one of them."""
    datasets = pytest.importorskip("sklearn.datasets")
    n_told = n_columns = 0
    for load_set in (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_diabetes):
        X = load_set().data
        for seed in range(4):
            order = np.random.default_rng(seed).permutation(len(X))
            frame = pl.DataFrame(X, schema=[f"x{k}" for k in range(X.shape[1])]).with_columns(y=pl.Series(X[:, 0]))
            encoder = TabularEncoder.fit(frame[order[len(X) // 4 :]], "y", scaling="auto", task="regression")
            said: list[str] = []
            encoder.transform(frame[order[: len(X) // 4]], report=said)
            n_told, n_columns = n_told + len(said), n_columns + len(encoder.columns)
    assert n_columns > 200 and n_told <= 2


def test_the_range_is_kept_in_the_record_and_older_records_are_read():
    encoder = fit_on([None, *HUNDRED[1:]])
    record = json.loads(json.dumps(encoder.to_json_dict()))
    assert record["columns"][0]["range"] == [1.0, 99.0] and record["columns"][0]["absent"] == 0.01
    again = TabularEncoder.from_json_dict(record)
    assert tell(again, [1e4]) == tell(encoder, [1e4]) != []
    for column in record["columns"]:
        del column["range"], column["absent"]
    older = TabularEncoder.from_json_dict(record)
    assert older == encoder and older.to_json_dict() == record
    assert tell(older, [1e4]) == []  # nothing is known of its range
    assert "where training had values" in tell(older, pl.Series([None] * 20, dtype=pl.Float64))[0]
    assert tell(older, pl.Series([None] * 19, dtype=pl.Float64)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("range", [2.0]), ("range", [3.0, 1.0]), ("range", [0.0, math.inf]), ("absent", 1.0), ("absent", -0.1)],
)
def test_damaged_ranges_are_refused(name, value):
    record = fit_on(HUNDRED).to_json_dict()
    record["columns"][0][name] = value
    with pytest.raises(RunError, match=f"column 1, {name}: expected"):
        TabularEncoder.from_json_dict(record)


def test_counts_of_no_rows():
    assert not ColumnNotes().is_empty(0.0, False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a table of two columns, x from 0 to 99 and c."""
    folder = tmp_path_factory.mktemp("far")
    rows = [f"{k % 100},{'ab'[k % 2]},{0.1 * (k % 100)}" for k in range(400)]
    (folder / "t.csv").write_text("\n".join(["x,c,y", *rows]) + "\n")
    settings = TableSettings(data=str(folder / "t.csv"), target="y", hidden=[], steps=2, flow=False)
    train_table(settings, folder / "run", progress=False, say=lambda text: None)
    return folder / "run"


def write_later(path, n: int = 9000):
    """Rows of which every hundredth is far, with c empty and three without a target, larger than a piece."""
    rows = [f"{k if k % 100 == 0 else k % 100},,{'' if k in (3, 5000, 8000) else 1.5}" for k in range(n)]
    path.write_text("\n".join(["x,c,y", *rows]) + "\n")
    return path


FAR = (
    "'x': {} values far outside of training's range, 0 to 99; the farthest is 8900 (later.csv, row 8902), "
    "counted as 198."
)
EMPTY = "'c': empty in all {} rows, where training had a value in every row; encoded as no category."


@pytest.mark.parametrize("memory", [1e9, 1e5])
def test_a_file_is_told_of_once(run, tmp_path, memory):
    """In memory and in pieces alike, when predicted and when evaluated."""
    later, said = write_later(tmp_path / "later.csv"), []
    portions = list(predict_portions(load(run), later, remarks=said, memory=memory))
    assert (len(portions) > 1) == (memory < 1e6) and sum(frame.height for frame in portions) == 9000
    n_far = sum(k > 198 for k in range(0, 9000, 100))
    assert said == [FAR.format(n_far), EMPTY.format(9000)]
    found = evaluate_table(load(run), later, memory=memory)
    assert found["remarks"] == [
        "Target 'y': 3 rows without a value were dropped.", FAR.format(n_far - 2), EMPTY.format(8997)
    ]  # fmt: skip


def test_the_command_line_tells_it_on_stderr(run, tmp_path, monkeypatch, capsys):
    later = write_later(tmp_path / "later.csv")
    for command in (["predict"], ["evaluate"]):
        monkeypatch.setattr(sys, "argv", ["undertow", *command, str(run), str(later)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        told = capsys.readouterr()
        assert told.err.count("far outside") == 1 and told.err.count("empty in all") == 1
        assert "far outside" not in told.out
