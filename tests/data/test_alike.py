"""Categories that differ in case or blanks alone, and names of columns that were nearly told."""

from __future__ import annotations

import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table
from undertow.errors import DataError


def test_categories_that_differ_in_case_or_blanks_are_told():
    frame = pl.DataFrame({"sex": ["M", "F", "m", "F  x", "f x"] * 8, "y": [0, 1, 1, 0, 1] * 8})
    (line,) = [x for x in TabularEncoder.fit(frame, "y").report if "alone" in x]
    assert line == (
        "'sex': 'F  x', 'f x'; 'M', 'm' differ in case or spaces alone. Write them alike if they are one category each."
    )


def test_others_are_not():
    frame = pl.DataFrame({"sex": ["M", "F", "mm", "f.", "x"] * 8, "y": [0, 1, 1, 0, 1] * 8})
    assert not [x for x in TabularEncoder.fit(frame, "y").report if "alone" in x]


def test_a_word_of_a_column_name_is_enough():
    frame = pl.DataFrame({"start_date": [1, 2, 3, 4], "x": [1.0, 2.0, 0.5, 3.0], "y": [0, 1, 0, 1]})
    with pytest.raises(DataError, match=r"no column 'start' \(did you mean 'start_date'\?\) for time"):
        encode_table(frame, "y", time="start")
    both = frame.with_columns(start_time=pl.col("x"))
    with pytest.raises(DataError, match=r"no column 'start' for time"):
        encode_table(both, "y", time="start")


def test_why_no_column_is_left_is_said_once_of_many():
    frame = pl.DataFrame({**{f"c{k}": [1] * 8 for k in range(500)}, "y": [0, 1] * 4})
    with pytest.raises(DataError, match="no column is left to predict 'y' from") as failed:
        TabularEncoder.fit(frame, "y")
    assert "The same of 497 more columns" in str(failed.value) and len(str(failed.value)) < 800
