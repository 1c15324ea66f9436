"""A column of texts that is dropped is told of by what it looks like, and how to write it so that it is used."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.data import TabularEncoder, encode_table, read_table, read_table_with_origin
from undertow.data.likeness import tell_likeness
from undertow.errors import DataError
from undertow.export import table_functions

N = 120
DAYS = [np.datetime64("2023-01-01") + np.timedelta64(3 * k, "D") for k in range(N)]
WRITTEN = [str(day) if k % 2 else day.astype(object).strftime("%d.%m.%Y") for k, day in enumerate(DAYS)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (WRITTEN, "They look like dates written in several ways: write all as 2023-07-25 to use them."),
        ([f"{k % 24:02}:{k % 60:02}" for k in range(N)], "They look like times of day: write them as hours"),
        ([f"{k}.5 kg" for k in range(N)], "They look like numbers with the unit 'kg': write the numbers alone"),
        ([f"{k}cm" if k % 2 else f"{k} m" for k in range(N)], "with units, 'm', 'cm': write the numbers alone, in one"),
        ([f"-{k} °C" for k in range(N)], "numbers with the unit '°C'"),
        ([f"1,{k:03} m²" for k in range(N)], "numbers with the unit 'm²'"),
        ([f"{k}{'ABC'[k % 3]}" for k in range(N)], ""),  # flats, cabins, seats
        ([f"({k}.50)" if k % 5 else f"{k}.50" for k in range(N)], "numbers of accounts, (12.50) for −12.50"),
        ([f"as note {k} says" if k % 3 else f"({k})" for k in range(N)], ""),
        ([f"R2D{k}" for k in range(N)], ""),
        ([f"a{k} long walk" for k in range(N)], ""),
        ([f"2023-13-{k}" for k in range(N)], ""),
    ],
)
def test_what_texts_look_like(texts, said):
    found = tell_likeness(texts)
    assert said in found and bool(found) == bool(said)
    table = encode_table(pl.DataFrame({"x": texts, "z": np.arange(N) * 0.5, "y": np.arange(N) % 7 * 0.3}), "y")
    (line,) = [line for line in table.report if line.startswith("'x': dropped")]
    assert line.endswith(found)


def test_hours_alone_are_times_too():
    assert "They look like times of day" in tell_likeness(["12am", "1 PM", "3pm", "11:30am"])


def test_numbers_with_many_that_are_none(tmp_path):
    """Too many to be slips of the pen, so that they are no error; but the first of them, and its row, is named."""
    rows = [f"{'-' if k % 5 == 2 else k + 0.25},{k % 7 * 0.3},{k * 0.5}" for k in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,z", *rows]) + "\n")
    frame, origin = read_table_with_origin(tmp_path / "t.csv")
    report = encode_table(frame, "y", origin=origin, validation=0.0).report
    (line,) = [line for line in report if line.startswith("'x'")]
    assert "But 24 of 120 values are no numbers, first '-' (t.csv, row 4). Leave those empty" in line


@pytest.mark.parametrize("text", ["#N/A", "<NA>", "<null>", "#DIV/0!", "#VALUE!", "#NV", "n.a.", "k.A.", " k. A. "])
def test_missing_values_of_spreadsheets_and_frames(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"x,y\n1,2\n{text},3\n")
    assert read_table(tmp_path / "t.csv")["x"].to_list() == [1, None]
    assert read_missing(f"x,y\n{text},3\n", tmp_path) == [{"x": None, "y": "3"}]


def read_missing(text, tmp_path):
    """What an exported file reads of a table."""
    (tmp_path / "u.csv").write_text(text)
    return table_functions.read_csv(str(tmp_path / "u.csv"), [])


def test_a_dash_is_no_missing_value(tmp_path):
    """It may be a category, and among numbers it is an error."""
    (tmp_path / "t.csv").write_text("x,y\n1,2\n-,3\n")
    assert read_table(tmp_path / "t.csv")["x"].to_list() == ["1", "-"]


ROWS = "size,town,y\n" + "".join(f"{k},Rome,{k % 3}\n" for k in range(20))


@pytest.mark.parametrize(
    ("above", "row"),
    [
        ("# exported by a programme\n# unit: cm\n", 3),
        ("# exported, by a programme\n\n# unit: cm\n", 4),
        ("Sales\n\n", 3),
        ("sep=;\n", 2),
    ],
)
def test_lines_above_a_table_are_named(tmp_path, above, row):
    table = ROWS.replace(",", ";") if above.startswith("sep") else ROWS
    (tmp_path / "t.csv").write_text(above + table)
    many = "the line" if row == 2 else f"the {row - 1} lines"
    with pytest.raises(DataError, match=rf"The table seems to begin at row {row}: remove {many} above it\."):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(table)
    assert read_table(tmp_path / "t.csv").columns == ["size", "town", "y"]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "sep=,", "sep=\t"])
def test_the_separator_of_spreadsheets_names_no_columns(tmp_path, first):
    """Of two columns, split at it, the line would have as many fields as the others."""
    separator = first.strip('"')[-1]
    table = "a,b\n1,2\n3,4\n".replace(",", separator)
    (tmp_path / "t.csv").write_text(f"{first}\n{table}")
    with pytest.raises(DataError, match=r"t\.csv: row 1 tells spreadsheets the separator.*remove the line above it\."):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(table)
    assert read_table(tmp_path / "t.csv").columns == ["a", "b"]


def test_sentences_are_told_from_names_and_codes():
    """Their words may tell something, though no text stands in two rows: what to do is said, by a finding too."""
    rng = np.random.default_rng(0)
    words = {"sport": ["goal", "match", "team"], "law": ["vote", "court", "paper"]}
    topics = rng.choice(list(words), 200)
    said = [" ".join([*rng.choice(words[t], 3), f"n{k}"]) for k, t in enumerate(topics)]
    frame = pl.DataFrame({"text": said, "code": [f"P{k}" for k in range(200)], "topic": topics})
    frame = frame.with_columns(x=rng.normal(size=200))
    dropped = TabularEncoder.fit(frame, "topic").dropped
    assert "They look like sentences: to use their words" in dropped["text"] and "sentences" not in dropped["code"]
    table = encode_table(frame.drop("code"), "topic", validation=0.25)
    network = ut.nn.Sequential(ut.nn.Dense(table.encoder.n_features, 8), "tanh", ut.nn.Dense(8, 2))
    run = ut.train(
        network, table, loss="categorical_cross_entropy", optimizer=ut.optim.sgd(0.02), epochs=60, progress=False
    )
    found = next(x for x in run.findings if x.kind == "plateau")
    assert "'text'" in found.remedies[0].sentence and "left out" in found.remedies[0].sentence
    pytest.importorskip("sklearn")
    names = {"frame": frame}
    exec(found.remedies[0].code, names)
    held = pl.DataFrame({"text": ["match team goal n900", "court vote paper n901"]})
    assert list(names["better"].predict(held["text"])) == ["sport", "law"]
