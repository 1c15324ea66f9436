"""Dates: the parts that are chosen where nobody says which."""

from __future__ import annotations

import datetime
import json

import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table, stream_table

START = datetime.datetime(2023, 7, 1)


def fit_dates(moments, **options):
    """An encoder of a column of dates, and a target of no meaning."""
    frame = pl.DataFrame({"at": moments, "y": [float(k % 7) + 0.5 for k in range(len(moments))]})
    return TabularEncoder.fit(frame, "y", **options)


@pytest.mark.parametrize(
    ("hours", "n", "parts"),
    [
        (1, 40, ()),  # less than two days
        (1, 49, ("hour",)),  # from midnight to midnight two days later
        (1, 24 * 14 + 1, ("weekday", "hour")),
        (5, 24 * 14 // 5, ("hour",)),
        (24, 14, ()),  # 13 days apart
        (24, 15, ("weekday",)),  # days have no hour
        (24 * 7, 60, ()),  # the same weekday each time, little more than a year
        (24 * 7, 110, ("day of year",)),
        (7, 3000, ("weekday", "day of year", "hour")),
    ],
)
def test_cycles_are_chosen(hours, n, parts):
    """Those of which two are there and that vary; the report names them, and nothing where there are none."""
    encoder = fit_dates([START + datetime.timedelta(hours=hours * k) for k in range(n)])
    assert encoder.columns[0].parts == parts
    said = [line for line in encoder.report if "also its" in line]
    assert len(said) == bool(parts) and all(part in said[0] for part in parts)
    assert TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict()))) == encoder


def test_what_is_told_stays():
    """days are days alone, parts are all that vary."""
    moments = [START + datetime.timedelta(hours=7 * k) for k in range(3000)]
    assert fit_dates(moments, dates="days").feature_names == ["at"]
    assert fit_dates(moments, dates="parts").columns[0].parts == ("year", "month", "weekday", "day of year", "hour")


def test_in_pieces_as_in_one():
    """A table that is streamed gets the same parts."""
    moments = [START + datetime.timedelta(hours=7 * k) for k in range(3000)]
    frame = pl.DataFrame({"at": moments, "y": [float(k % 7) + 0.5 for k in range(3000)]})
    names = encode_table(frame, "y", validation=0.0).encoder.feature_names
    assert stream_table(frame, "y", validation=0.0, memory=1e6).encoder.feature_names == names
    assert "at: hour, sine" in names
