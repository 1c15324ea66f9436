"""A file without a line of column names: told where its first row was taken for one, and read with header=False."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from undertow.cli import main
from undertow.data import read_table, read_table_with_origin, stream_table
from undertow.data.header import look_like_values
from undertow.data.table_pieces import FilePieces
from undertow.errors import ArgumentError, DataError
from undertow.train.checkpoint import load
from undertow.train.predictions import evaluate_table, predict_portions
from undertow.train.table_data import column_names
from undertow.train.table_settings import read_config


def flowers(n: int = 300, seed: int = 0) -> list[str]:
    """Rows of two lengths, a kind that they decide, and another number."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        a, b, c = rng.uniform(1, 9, 3).round(1)
        rows.append(f"{a},{'setosa' if a > b else 'virginica'},{b},{c}")
    return rows


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(flowers()) + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "rows", "values"),
    [
        (["5.1", "3.5", "1.4", "0.2"], [[4.9, 3.0, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4]], True),
        (["5.1", "setosa"], [[4.9, "setosa"], [7.0, "virginica"]], True),
        (
            ["39", "private", "13", "male", "yes"],
            [[50, "private", 9, "male", "no"], [30, "self", 13, "x", "yes"]],
            True,
        ),
        (["male", "25", "yes"], [["male", 31, "no"], ["female", 22, "yes"]], True),
        (["1", "0", "Braund, Mr", "male", "22"], [[0, 1, "Cumings", "male", 38], [1, 0, "Allen", "female", 20]], True),
        (["a", "b"], [[1.5, 2.5], [3.5, 1.0]], False),
        (["male", "age"], [["male", 31], ["female", 22]], False),
        (["0", "1", "2", "3"], [[0, 1, 5, 3], [1, 2, 3, 9]], False),
        (["1960", "1961", "1962"], [[1900, 2000, 1950], [1980, 1990, 1970]], False),
        (["country", "1960", "1961"], [["Chad", 3.5, 3.6], ["Peru", 2.5, 2.4]], False),
        (["900.5", "901.0", "901.5"], [[900.0, 902.0, 903.0], [905.0, 901.0, 902.0]], False),
        (["1000", "10", "500"], [[0.1, 0.2, 0.3], [0.3, 0.1, 0.5]], False),  # far from the values
        (["unnamed_1", "x"], [[1, 2], [2, 3]], False),
    ],
)
def test_names_that_look_like_values(names, rows, values):
    assert look_like_values(pl.DataFrame(rows, schema=names, orient="row")) == values


def test_dates_and_booleans_are_values_above_their_like():
    day = pl.Series(["2020-01-02", "2020-05-06"]).str.to_date()
    assert look_like_values(pl.DataFrame([day.alias("2020-03-04"), pl.Series("True", [True, False])]))
    assert not look_like_values(pl.DataFrame([day.alias("day"), pl.Series("True", [True, False])]))


@pytest.mark.parametrize("read", ["whole", "streamed"])
def test_it_is_told_and_read_without_a_header(file, read):
    """Every row is there, under names by its place; lines are counted from the first."""
    rows = flowers()
    said: list[str] = []
    if read == "whole":
        assert read_table(file, remarks=said).height == len(rows) - 1
        frame, origin = read_table_with_origin(file, header=False)
        named = read_table(file, header=["a", "kind", "b", "c"])
    else:
        said += FilePieces([file], 1000).remarks
        pieces = FilePieces([file], 1000, header=False)
        assert pieces.remarks == []
        (frame, origin), named = pieces.read(0), FilePieces([file], 1000, header=["a", "kind", "b", "c"]).read(0)[0]
    (remark,) = said
    assert remark.startswith(
        f"Column names: {', '.join(map(repr, rows[0].split(',')))} are the first row of flowers.csv"
    )
    assert "header=False (--no-header)" in remark
    assert frame.columns == ["column_1", "column_2", "column_3", "column_4"] and frame.height == len(rows)
    assert origin.where(0) == "flowers.csv, row 1" and origin.where(9) == "flowers.csv, row 10"
    assert [",".join(map(str, row)) for row in frame.rows()] == rows
    assert named.columns == ["a", "kind", "b", "c"] and named.rows() == frame.rows()


def test_without_a_list_for_remarks_it_is_a_warning(file):
    with pytest.warns(UserWarning, match=r"^flowers\.csv: Column names: .* look like the values below"):
        read_table(file)


def test_a_byte_order_mark_and_quotes_stand_in_the_first_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf"a, b",1\n"c",2\n')
    for frame in (read_table(path, header=False), FilePieces([path], 1000, header=False).read(0)[0]):
        assert frame.rows() == [("a, b", 1), ("c", 2)]


@pytest.mark.parametrize(
    ("header", "kind", "message"),
    [
        (["a", "b"], DataError, "4 columns, but header names 2: 'a', 'b'"),
        (["a", "a", "b", "c"], ArgumentError, "names a column twice"),
        ("no", ArgumentError, "header is 'no'. Give True, False"),
        ([], ArgumentError, "Give True, False"),
        ([1, 2, 3, 4], ArgumentError, "Give True, False"),
    ],
)
def test_other_headers_are_refused(file, header, kind, message):
    for read in (lambda: read_table(file, header=header), lambda: stream_table(str(file), "b", header=header)):
        with pytest.raises(kind, match=message):
            read()


def test_errors_about_names_offer_it(file, tmp_path):
    """Where a column is not there, or two have one name."""
    for read in (lambda: stream_table(str(file), "kind", memory=1e6), lambda: column_error(file)):
        with pytest.raises(DataError, match=r"no column 'kind' to predict.*--no-header"):
            read()
    (tmp_path / "twice.csv").write_text("1,1,2\n3,4,5\n")
    with pytest.raises(DataError, match=r"share the name '1'.*--no-header"):
        read_table(tmp_path / "twice.csv")
    (tmp_path / "named.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="no column 'kind'") as caught:
        stream_table(str(tmp_path / "named.csv"), "kind", memory=1e6)
    assert "--no-header" not in str(caught.value)


def column_error(file):
    """What training on a frame that was read with the first row as names says."""
    from undertow.data import encode_table

    return encode_table(read_table(file, remarks=[]), "kind")


def test_names_are_read_off_the_head(file):
    assert column_names(str(file), header=False) == ["column_1", "column_2", "column_3", "column_4"]
    assert column_names(str(file)) == flowers()[0].split(",")


def call(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """Run the command line: exit code, standard output and error."""
    monkeypatch.setattr(sys, "argv", ["undertow", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr()
    return int(stopped.value.code or 0), told.out, told.err


OPTIONS = ["--hidden", "", "--rate", "0.1", "--epochs", "30", "--no-flow", "--quiet", "--out"]


@pytest.mark.parametrize("name", ["flowers.csv", "flowers*.csv"])  # the second is read in pieces
def test_the_command_line(file, tmp_path, monkeypatch, capsys, name):
    """--no-header is kept in config.toml, and files to predict have no header either, with or without the target."""
    run = tmp_path / "run"
    data = tmp_path / name
    code, said, _ = call(
        monkeypatch, capsys, "train", data, "--target", "column_2", "--no-header", *OPTIONS, run
    )  # fmt: skip
    assert code == 0 and "Column names" not in said and "'column_1', 'column_3', 'column_4'" in said
    assert read_config(run / "config.toml").header is False
    kinds = [row.split(",")[1] for row in flowers(50, 1)]
    later = {
        "whole": flowers(50, 1),
        "without": [",".join(np.delete(row.split(","), 1)) for row in flowers(50, 1)],
        "named": [
            "column_4,column_3,column_1",
            *(",".join(row.split(",")[:1:-1] + row.split(",")[:1]) for row in flowers(50, 1)),
        ],
    }
    found = {}
    for key, rows in later.items():
        (tmp_path / f"{key}.txt").write_text("\n".join(rows) + "\n")
        said = []
        for memory in (1e9, 1e3):
            (frame,) = predict_portions(load(run), tmp_path / f"{key}.txt", remarks=said, memory=memory)
            found.setdefault(key, frame["prediction"].to_list())
            assert frame["prediction"].to_list() == found[key]
        assert [line for line in said if "the target" in line] == [
            "without.txt has 3 columns, training had 4: the one that is not there is taken for 'column_2', the target."
        ] * 2 * (key == "without")  # fmt: skip
    assert found["whole"] == found["without"] == found["named"]
    model = run.parent / "model.py"
    assert call(monkeypatch, capsys, "export", run, model)[0] == 0
    for key in later:  # the file that needs NumPy alone reads them alike
        done = subprocess.run(
            [sys.executable, model, tmp_path / f"{key}.txt"], capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[1:] == found[key]
    assert np.mean(np.array(found["whole"]) == np.array(kinds)) > 0.85
    assert evaluate_table(load(run), tmp_path / "whole.txt")["accuracy"] > 0.85
    (tmp_path / "short.txt").write_text("1.5,2.5\n3.5,4.5\n")
    code, _, error = call(monkeypatch, capsys, "predict", run, tmp_path / "short.txt")
    assert code == 2 and "lacks 2 columns that training had: 'column_3'" in error


def test_the_command_line_tells_of_it(file, tmp_path, monkeypatch, capsys):
    """When it trains, when there is no such target or none is named, and when a run with names predicts."""
    target = flowers()[0].split(",")[1]
    code, said, _ = call(monkeypatch, capsys, "train", file, "--target", target, *OPTIONS, tmp_path / "run")
    assert code == 0 and "Column names: " in said and "--no-header" in said
    code, _, error = call(monkeypatch, capsys, "train", file, "--target", "kind", *OPTIONS, tmp_path / "other")
    assert code == 2 and "--no-header" in error
    code, _, error = call(monkeypatch, capsys, "train", file)
    assert code == 2 and "Name it with --target" in error and "--no-header" in error
    code, _, error = call(monkeypatch, capsys, "train", file, "--no-header")
    assert code == 2 and "The columns are 'column_1', 'column_2', 'column_3', 'column_4'." in error
    (tmp_path / "later.csv").write_text("\n".join(flowers(20, 1)) + "\n")
    code, _, error = call(monkeypatch, capsys, "predict", tmp_path / "run", tmp_path / "later.csv")
    assert code == 2 and "lacks 3 columns that training had" in error and "These names look like values" in error


@pytest.mark.parametrize("blank", ["", ",,\n"])
def test_a_title_that_a_spreadsheet_fills_up_with_separators_is_told(tmp_path, monkeypatch, capsys, blank):
    """The row at which the names stand, whether or not a row without any value is above them."""
    rows = "".join(f"{k}.5,{k % 7},{'ab'[k % 2]}\n" for k in range(40))
    file = tmp_path / "t.csv"
    file.write_text(f"Sales of 2024,,\nprinted in March,,\n{blank}a,b, kind\n{rows}")
    code, _, error = call(monkeypatch, capsys, "train", file, "--target", "kind")
    line = 4 if blank else 3
    assert code == 2 and f"Row {line} holds 'kind', and seems to be that of the names: remove the lines above" in error
    file.write_text("\n".join(file.read_text().split("\n")[line - 1 :]))
    code, *_ = call(monkeypatch, capsys, "train", file, "--target", "kind", *OPTIONS, tmp_path / "run")
    assert code == 0
