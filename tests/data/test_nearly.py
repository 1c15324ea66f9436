"""Columns of numbers or dates as people write them, with a few texts among them that are none."""

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.data.frames import read_table_with_origin
from undertow.data.nearly import NearlyWritten
from undertow.errors import DataError


def make_numbers(n, odd, write):
    """``n`` different numbers, written by ``write``, with the texts of ``odd`` at their places."""
    texts = [write(1000.5 + 17.25 * k) for k in range(n)]
    for at, text in odd.items():
        texts[at] = text
    return texts


def german(number):
    whole, part = f"{number:,.2f}".split(".")
    return f"{whole.replace(',', '.')},{part}"


def encode_file(path, target):
    frame, origin = read_table_with_origin(path)
    return ut.data.encode_table(frame, target, origin=origin)


WAYS = {
    "1.234,50": german,
    "€1.234,50": lambda number: f"{german(number)} €",
    "$1,234.50": lambda number: f"${number:,.2f}",
    "1234,50": lambda number: f"{number:.2f}".replace(".", ","),
    "day.month.year": lambda number: f"{1 + int(number) % 28:02}.{1 + int(number) % 12:02}.{1900 + int(number) % 150}",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_few_texts_among_numbers_written_for_people_are_an_error_with_file_and_row(way, tmp_path):
    texts = make_numbers(200, {41: "unklar", 7: "-", 90: None}, WAYS[way])
    path = tmp_path / "flats.csv"
    frame = pl.DataFrame({"area": texts, "n": [k % 5 for k in range(200)], "y": [k % 2 for k in range(200)]})
    frame.write_csv(path, separator=";", quote_style="never")
    what = "dates" if "day" in way else "numbers"
    expected = (
        f"flats.csv, row 9: column 'area' holds {what} written as {way}, but 2 of 199 values are not written so, "
    )
    for read in (encode_file, lambda *args: ut.data.stream_table(*args, memory=1e6)):
        with pytest.raises(DataError) as raised:
            read(path, "y")
        assert str(raised.value).startswith(expected + "first '-'. Correct them, leave them empty if unknown")


def test_texts_among_the_rows_held_out_are_found_too():
    texts = make_numbers(200, {199: "unklar"}, german)
    frame = pl.DataFrame({"area": texts, "when": range(200), "y": [k % 2 for k in range(200)]})
    with pytest.raises(
        DataError, match=r"written as 1\.234,50, but 1 of 200 values are not written so, first 'unklar'"
    ):
        ut.data.encode_table(frame, "y", time="when")


def test_more_of_them_are_told_where_the_column_is_dropped():
    odd = {k: "unbekannt" for k in range(0, 200, 5)}
    frame = pl.DataFrame({"area": make_numbers(200, odd, german), "y": [k % 2 for k in range(200)], "x": range(200)})
    said = "\n".join(ut.data.encode_table(frame, "y", validation=0).report)
    assert "'area': dropped" in said
    assert "But 40 of 200 values are not written so, first 'unbekannt' (row 1). Leave those empty to use it as" in said


def test_a_few_different_texts_stay_categories_and_say_so():
    texts = [("1,5", "2,5", "3,5", "unklar")[k % 4] for k in range(80)]
    frame = pl.DataFrame({"size": texts, "y": [k % 2 for k in range(80)], "x": range(80)})
    said = "\n".join(ut.data.encode_table(frame, "y", validation=0).report)
    assert "'size': numbers written as 1234,50, but 20 of 80 values are not written so, first 'unklar' (row 4)" in said


def test_parts_count_as_the_whole_does():
    rng = np.random.default_rng(0)
    texts = pl.Series(make_numbers(300, {int(k): "none" for k in rng.choice(300, 20, replace=False)}, german))
    whole = NearlyWritten("a")
    whole.update(texts, None, [], None)
    parts = NearlyWritten("a")
    seen = ut.data.layouts.LayoutsSeen()
    for start in range(0, 300, 7):
        part, before = texts[start : start + 7], seen.names
        seen.update(part)
        parts.update(part, before, seen.names, None)
    assert (
        (whole.n, whole.n_numbers, whole.layout) == (parts.n, parts.n_numbers, parts.layout) == (300, 280, "1.234,50")
    )


@pytest.mark.parametrize("texts", [["a walk", "another", "12,5"], ["", "x"], [None, None]])
def test_texts_that_are_mostly_none_have_no_layout(texts):
    found = NearlyWritten("a")
    found.update(pl.Series(texts, dtype=pl.String), None, [], None)
    assert not found.mostly and found.say() == []


def test_a_target_names_the_text_that_is_none():
    frame = pl.DataFrame({"x": range(200), "price": make_numbers(200, {20: "unklar"}, german)})
    with pytest.raises(
        DataError, match=r"holds numbers written as 1\.234,50, but 1 of 200 .* first 'unklar'\. Correct"
    ):
        ut.data.encode_table(frame, "price")
