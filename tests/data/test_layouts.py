"""Dates and numbers as people write them: read by one layout, said in the report, and read alike ever after."""

from __future__ import annotations

import datetime
import json
from functools import partial

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table, read_table, stream_table
from undertow.errors import DataError, RunError

DAYS = [datetime.date(2023, 1, 5) + datetime.timedelta(days=k * 11) for k in range(60)]
MOMENTS = [datetime.datetime(2023, 1, 5, 0, 30) + datetime.timedelta(hours=k * 31) for k in range(300)]
NUMBERS = [0.5, 12.25, 999.0, 1234.5, -1234567.75, 70000.0, 3.0]


def fit_on(values, **options):
    """An encoder of the column x and a target of no meaning."""
    frame = pl.DataFrame({"x": values, "y": [float(k % 7) + 0.5 for k in range(len(values))]})
    return TabularEncoder.fit(frame, "y", **options)


def again(encoder):
    """The encoder after JSON text; it must be equal."""
    twin = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    assert twin == encoder
    return twin


def encode(encoder, values):
    """The encoded column."""
    return encoder.transform(pl.DataFrame({"x": values}), report=[])


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("%d.%m.%Y", "day.month.year"),
        ("%d/%m/%Y", "day/month/year"),
        ("%m/%d/%Y", "month/day/year"),
        ("%d-%m-%Y", "day-month-year"),
        ("%Y/%m/%d", "year/month/day"),
        ("%m/%d/%y", "month/day/year, years of two digits, 1970 to 2069"),
        ("%b %d, %Y", "Jan day, year"),
        ("%B %d, %Y", "January day, year"),
        ("%d %b %Y", "day Jan year"),
        ("%d %B %Y", "day January year"),
        ("%d-%b-%Y", "day-Jan-year"),
        ("%d-%b-%y", "day-Jan-year, years of two digits, 1970 to 2069"),
    ],
)
def test_dates_of_every_layout(pattern, said):
    """They give the features that the dates themselves give; so do single digits."""
    expected = encode(fit_on(DAYS), DAYS)
    plain = [d.strftime(pattern) for d in DAYS]
    named = [text.upper() for text in plain] if "%b" in pattern or "%B" in pattern else plain
    short = [d.strftime(pattern.replace("%m", "%-m").replace("%d ", "%-d ")) for d in DAYS]
    for written in (plain, named, short):
        encoder = again(fit_on(written))
        np.testing.assert_array_equal(encode(encoder, written), expected)
        assert f"'x': dates written as {said}." in encoder.report and encoder.text_columns == ["x"]
        np.testing.assert_array_equal(encode(encoder, DAYS), expected)
        np.testing.assert_array_equal(encode(encoder, [d.isoformat() for d in DAYS]), expected)


@pytest.mark.parametrize("pattern", ["%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%b %d, %Y %I:%M %p"])
def test_moments_of_every_layout(pattern):
    """With the hour, which is a feature; missing ones are flagged."""
    written = [m.strftime(pattern) for m in MOMENTS]
    encoder = again(fit_on([*written, None]))
    np.testing.assert_array_equal(encode(encoder, [*written, None]), encode(fit_on([*MOMENTS, None]), [*MOMENTS, None]))
    assert "hour" in encoder.columns[0].parts


def test_dates_that_could_be_either():
    """With a slash the day is taken to be first, and the report says so; a dot tells that it is. It stays so."""
    early = [datetime.date(2023, 1 + k % 12, 1 + k % 11) for k in range(40)]
    encoder = fit_on([d.strftime("%d/%m/%Y") for d in early])
    (line,) = [line for line in encoder.report if "written" in line]
    assert line == (
        "'x': dates written as day/month/year; they could as well be month/day/year. "
        "Write them as 2023-07-25 if they are."
    )
    np.testing.assert_array_equal(encode(encoder, ["03/04/2023"]), encode(encoder, [datetime.date(2023, 4, 3)]))
    with pytest.raises(DataError, match=r"'04/25/2023', which is no date written as day/month/year as in training"):
        encode(encoder, ["04/25/2023"])
    dotted = fit_on([d.strftime("%d.%m.%Y") for d in early])
    assert "'x': dates written as day.month.year." in dotted.report


def test_what_is_no_date_of_one_layout():
    """Days and months that no calendar has, two layouts in one column and versions stay categories."""
    for values in (
        ["31.02.2023", "01.02.2023"],
        ["25/07/2023", "07/25/2023"],
        ["25.07.23", "26.07.2023"],
        ["1.2.10", "1.12.3"],
        ["1.12.10", "2.10.11"],
    ):
        assert not any("written as" in line for line in fit_on(values * 10).report)


@pytest.mark.parametrize("pattern", ["%d.%m.%y", "%d-%m-%y", "%m/%d/%y", "%y/%m/%d", "%d.%m.%y %H:%M"])
def test_years_of_two_digits(pattern):
    """They lie from 1970 to 2069, which the report says; 23-07-25 may be read in two ways, which it says as well."""
    days = [datetime.date(2013, 1, 5) + datetime.timedelta(days=k * 101) for k in range(60)]
    days += [datetime.date(1970, 1, 31), datetime.date(2069, 12, 31), datetime.date(1999, 12, 13)]
    written = [d.strftime(pattern) for d in days]
    encoder = again(fit_on(written))
    assert any("years of two digits, 1970 to 2069" in line for line in encoder.report)
    np.testing.assert_array_equal(encode(encoder, written), encode(fit_on(days), days))
    with pytest.raises(DataError, match="no date written as"):
        encode(encoder, [days[0].strftime(pattern.replace("%y", "%Y"))])
    (line,) = [line for line in fit_on(["11-12-10", "10-11-12"] * 9).report if "written" in line]
    assert "they could as well be month-day-year" in line and "Write them as 2023-07-25" in line


@pytest.mark.parametrize("pattern", ["%d.%m.%Y", "%m/%d/%Y", "%d.%m.%y", "%Y-%m-%d"])
@pytest.mark.parametrize("as_frame", [True, False])
def test_the_last_rows_by_written_dates_of_a_stream(tmp_path, pattern, as_frame):
    """They are the last by the calendar, not by the text, over all pieces and in any order of the rows."""
    rng = np.random.default_rng(1)
    days = [datetime.date(1995, 1, 5) + datetime.timedelta(days=int(k)) for k in rng.permutation(9000)]
    frame = pl.DataFrame({"t": [d.strftime(pattern) for d in days], "y": rng.normal(size=9000)})
    file = tmp_path / "t.csv"
    frame.write_csv(file)
    table = stream_table(frame if as_frame else file, "y", time="t", validation=0.2, memory=1e6, scaling="none")
    column = table.encoder.columns[0]
    held = table.validation.arrays[0][:, 0] * column.scale + column.mean
    epoch = datetime.date(1970, 1, 1)
    np.testing.assert_allclose(np.sort(held), [(d - epoch).days for d in sorted(days)[7200:]], atol=0.01)
    last = sorted(days)[7199]
    assert f"Validation: the last 20.0% of the rows by 't', those after {last}." in table.report


def test_a_stream_with_times_of_two_layouts_or_none_is_refused():
    """As is a missing one; the row is named."""
    days = ["25.07.2023", "26.07.2023"] * 5000
    for wrong, message in (
        ("07/25/2023", "which is no date"),
        ("soon", "which is no date"),
        (None, "row 10001: time 't' is missing"),
    ):
        frame = {"t": [*days, wrong], "y": [0.5, 1.5] * 5000 + [1.0]}
        with pytest.raises(DataError, match=message):
            stream_table(frame, "y", time="t", memory=1e6)


LAYOUTS = {
    "$1,234.50": lambda v: f"{'-' * (v < 0)}${abs(v):,.2f}",
    "€1 234,50": lambda v: f"{v:,.2f} €".replace(",", " ").replace(".", ","),
    "1,234.50": lambda v: f"{v:,.2f}",
    "1.234,50": lambda v: f"{v:,.2f}".translate(str.maketrans(",.", ".,")),
    "1 234.50": lambda v: f"{v:,.2f}".replace(",", "\u202f"),
    "1'234.50": lambda v: f"{v:,.2f}".replace(",", "’"),
    "1234.50%": lambda v: f"{v:.2f}%",
    "1234,50": lambda v: f"{v:.2f}".replace(".", ","),
    "USD 1,234.50": lambda v: f"USD {v:,.2f}",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_numbers_of_every_layout(name):
    """They give the features that the numbers themselves give, and the layout is said."""
    values = NUMBERS * 6
    written = [LAYOUTS[name](value) for value in values]
    encoder = again(fit_on([*written, None]))
    np.testing.assert_array_equal(encode(encoder, [*written, None]), encode(fit_on([*values, None]), [*values, None]))
    assert f"'x': numbers written as {name}." in encoder.report
    with pytest.raises(DataError, match="which is no number written as"):
        encode(encoder, ["many"])


def test_numbers_that_could_be_two():
    """A comma before three digits is taken for thousands, a point for decimals, and the report says so."""
    encoder = fit_on(["1,234", "2,500", "7,125"] * 10)
    (line,) = [line for line in encoder.report if "written" in line]
    assert line == (
        "'x': numbers written as 1,234.50; they could as well be 1234,50. "
        "Choose decimal='comma' (--decimal comma) if they are."
    )
    np.testing.assert_array_equal(encode(encoder, ["1,234"]), encode(encoder, [1234]))
    point = fit_on(["€ 1.234", "€ 2.500", "€ 7.125"] * 10)
    assert any("written as €1234.50; they could as well be €1.234,50" in line for line in point.report)
    assert "'x': numbers written as 1234,50." in fit_on(["0,234", "2,500", "7,125"] * 10).report


@pytest.mark.parametrize(
    "values", [["$5", "€6"], ["5%", "6"], ["12:30", "13:00"], ["1,23,4", "5"], ["1", "2"], ["a", "$5"], ["114 55", "2"]]
)
def test_what_is_no_number_of_one_layout(values):
    """Mixed units, times, odd groups, and texts of plain digits are the categories that they were."""
    assert fit_on(values * 10).feature_names == [f"x={text}" for text in sorted(values)]


@pytest.mark.parametrize("task", [None, "regression"])
def test_a_target_that_is_written_for_people(task, tmp_path):
    """It is a regression in its own unit, in a file as in a stream of pieces, and encoded alike afterwards."""
    values = np.arange(1, 301) * 17.5
    lines = [f'{k},"${value:,.2f}"' for k, value in enumerate(values)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y", *lines]))
    frame = read_table(tmp_path / "t.csv")
    table = encode_table(frame, "y", validation=0.0, task=task)
    assert table.encoder.task == "regression" and "Target 'y': numbers written as $1,234.50." in table.report
    np.testing.assert_allclose(table.encoder.decode(table.train[1]), values, rtol=1e-5)
    encoder = again(table.encoder)
    assert encoder.text_columns == ["y"]
    np.testing.assert_array_equal(encoder.encode_target(frame), table.train[1])
    for source in (frame, tmp_path / "t.csv"):
        streamed = stream_table(source, "y", validation=0.0, memory=1e6, task=task)
        assert streamed.encoder.target.layout == "$1,234.50"
        np.testing.assert_allclose(streamed.encoder.encode_target(frame), table.train[1], rtol=1e-6)
        assert "Target 'y': numbers written as $1,234.50." in streamed.report
    classes = encode_table(frame, "y", validation=0.0, task="classification")
    assert len(classes.encoder.classes) == 300


def test_few_different_texts_are_classes():
    """Prices that repeat are the classes that they were, unless a regression is asked for."""
    frame = pl.DataFrame({"x": range(40), "y": ["$5.10", "$7.20"] * 20})
    assert TabularEncoder.fit(frame, "y").classes == ("$5.10", "$7.20")
    assert TabularEncoder.fit(frame, "y", task="regression").target.mean == pytest.approx(6.15)


def test_rows_held_out_are_written_alike(tmp_path):
    """A layout that fits the training rows alone is none, and the text held out is named; in pieces as in one."""
    values = [f"{k}%" for k in range(200)]
    for odd in ("", "unknown"):
        frame = pl.DataFrame({"x": [odd or "9%", *values], "z": range(201), "y": [0.5, 1.5, 2.5] * 67})
        for seed in range(4):
            for encode in (encode_table, partial(stream_table, memory=1e6)):
                if odd:
                    with pytest.raises(DataError, match="1 of 201 values are not written so, first 'unknown'"):
                        encode(frame, "y", validation=0.5, seed=seed, max_categories=1000)
                    continue
                report = encode(frame, "y", validation=0.5, seed=seed, max_categories=1000).encoder.report
                assert any("numbers written as 1234.50%" in line for line in report)


def test_a_record_of_a_layout_is_checked():
    """An unknown layout, and one of another kind, are RunErrors; a record without one is read."""
    record = fit_on(["$5.10", "$7.20"] * 10).to_json_dict()
    for name in ("%d.%m.%Y", "exec", 3):
        record["columns"][0]["layout"] = name
        with pytest.raises(RunError, match="layout"):
            TabularEncoder.from_json_dict(record)
    del record["columns"][0]["layout"]
    assert TabularEncoder.from_json_dict(record).columns[0].layout == ""
    assert "layout" not in fit_on([1.0, 2.5]).to_json_dict()["columns"][0]


def test_rows_are_held_out_by_dates_of_a_layout():
    """The last ones by the calendar, not by the text."""
    days = [*DAYS[30:], *DAYS[:30]]
    frame = pl.DataFrame({"x": [f"{d:%d.%m.%Y}" for d in days], "z": range(60), "y": [0.5, 1.5, 2.5] * 20})
    table = encode_table(frame, "y", validation=0.5, time="x", scaling="none")
    assert table.validation[0][:, -1].tolist() == list(range(30))


def whole(days):
    return [int(d.strftime("%Y%m%d")) for d in days]


def test_whole_numbers_that_are_days():
    """20230725 is a date where all of a column are and six differ; one that is none later is refused; in pieces too."""
    days = [datetime.date(2019, 11, 5) + datetime.timedelta(days=k * 11) for k in range(150)]
    expected = encode(fit_on(days), days)
    encoder = again(fit_on(whole(days)))
    assert encoder.report[2] == "'x': dates written as 20230725." and encoder.columns[0].kind == "date"
    later = pl.Series([float(value) for value in whole(days)])
    for values in (whole(days), [str(value) for value in whole(days)], days, later):
        np.testing.assert_array_equal(encode(encoder, values), expected)
    assert encode(encoder, [None, 20200101])[0, 0] != encode(encoder, [None, 20200101])[1, 0]
    with pytest.raises(DataError, match="holds '20230230', which is no date written as 20230725"):
        encode(encoder, [20230230])
    frame = pl.DataFrame({"x": whole(days), "y": [0.5, 1.5] * 75})
    pieces = stream_table(frame, "y", validation=0.0, memory=1e6).encoder
    np.testing.assert_array_equal(encode(pieces, days), expected)


@pytest.mark.parametrize(
    "values", [[20230101, 20230102] * 20, [20230131 + k for k in range(40)], [12012023 + k for k in range(9)] * 4]
)
def test_whole_numbers_that_are_none(values):
    """Two that differ, the 32nd of January, and a year in the last place."""
    assert not any("written as" in line for line in fit_on(values).report)


def test_days_as_whole_numbers_in_a_file(tmp_path):
    """Read again, it gives the same features; one number among the rows held out that is no day is enough to see."""
    days = [datetime.date(2019, 11, 5) + datetime.timedelta(days=k * 11) for k in range(150)]
    file = tmp_path / "t.csv"
    pl.DataFrame({"x": whole(days), "y": [0.5, 1.5] * 75}).write_csv(file)
    table = encode_table(read_table(file), "y", validation=0.2)
    encoder = table.encoder
    frame = read_table(file, as_text=encoder.text_columns)
    np.testing.assert_array_equal(encoder.transform(frame, report=[]), encode(encoder, days))
    frame = pl.DataFrame({"x": [*whole(days), 20231399], "y": [0.5, 1.5] * 75 + [1.0], "t": range(151)})
    assert not any("written as" in line for line in encode_table(frame, "y", time="t", validation=0.2).report)
