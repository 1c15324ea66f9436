"""Days outside of the years 1 to 9999: an error that says where, whatever the file or the frame; others are read."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow.errors import DataError

KINDS = [pl.Date, pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("ns")]
A_DAY = [1, 86_400_000, 86_400_000_000, 86_400_000_000_000]


def make_table(kind, days, a_day):
    ints = pl.Series([int(day) * a_day for day in days], dtype=pl.Int64)
    values = ints.cast(pl.Int32).cast(kind) if kind == pl.Date else ints.cast(kind)
    return pl.DataFrame({"x": np.arange(float(len(days))), "at": values, "y": [0, 1] * (len(days) // 2)})


@pytest.mark.parametrize(("kind", "a_day"), list(zip(KINDS, A_DAY, strict=True))[:3], ids=str)
@pytest.mark.parametrize("day", [10**7, -(10**6), 2_932_897, -719_163])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_days_that_no_calendar_has(kind, a_day, day, ending, tmp_path, capsys, monkeypatch):
    frame = make_table(kind, [*range(100, 137), day, 7, 9], a_day)
    file = tmp_path / f"t.{ending}"
    (frame.write_parquet if ending == "parquet" else frame.write_ipc)(file)
    run = make_runner(capsys, monkeypatch)
    for more in ((), ("--time", "at"), ("--as-text", "at")):
        code, _, err = run("train", file, "--target", "y", "--quiet", "--out", tmp_path / "r", *more)
        assert code == 2 and err.count("\n") == 1
        assert f"t.{ending}, row 38: column 'at' holds a day outside of the years 1 to 9999." in err
    with pytest.raises(DataError, match=f"t.{ending}, row 38: column 'at'"):
        ut.data.stream_table(file, "y", validation=0.0, memory=1_000_000)
    with pytest.raises(DataError, match="the table, row 38: column 'at'"):
        ut.data.encode_table(frame, "y", validation=0.0)


@pytest.mark.parametrize(("kind", "a_day"), zip(KINDS, A_DAY, strict=True), ids=str)
def test_the_first_and_the_last_day_are_read(kind, a_day, tmp_path):
    far = kind == pl.Datetime("ns")  # which ends in 2262
    days = [-100_000, 100_000] if far else [-719_162, 2_932_896]
    frame = make_table(kind, [*range(100, 138), *days], a_day)
    frame.write_parquet(tmp_path / "t.parquet")
    read = ut.data.read_table(tmp_path / "t.parquet")
    encoder = ut.data.encode_table(read, "y", validation=0.0, dates="days").encoder
    column = next(x for x in encoder.columns if x.name == "at")
    X = encoder.transform(read, report=[])
    place = encoder.feature_names.index("at")
    wanted = (np.array([*range(100, 138), *days]) - column.mean) / column.scale
    np.testing.assert_allclose(X[:, place], wanted, rtol=1e-5, atol=1e-5)
    if not far:
        assert read["at"].cast(pl.Date).to_list()[-2:] == [datetime.date.min, datetime.date.max]
