"""A number that may stand for a missing value is told of, and stays."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import encode_table, read_table
from undertow.data.missing import mark_given
from undertow.data.sentinels import tell_sentinel

RNG = np.random.default_rng(0)
SIZES = RNG.normal(100, 10, 200).round(1)


@pytest.mark.parametrize("value", [-999, -9, 999, 9999, -88888])
def test_it_is_told_with_its_rows(value):
    numbers = np.where(np.arange(200) % 20 == 3, value, SIZES)
    (said,) = tell_sentinel("size", numbers)
    others = numbers[numbers != value]
    assert said.startswith(f"'size': {value} stands in 10 rows, far from all other values, {others.min():g} to ")


@pytest.mark.parametrize(
    "numbers",
    [
        SIZES,
        np.append(SIZES, -999),  # once: an outlier
        np.append(SIZES, [-1000, -1000]),  # no such number
        np.append(SIZES, [999, 999, 500]),  # not alone
        np.arange(100) % 10,  # grades
        2 ** (np.arange(100) % 4),  # sizes of a memory
        9 * (np.arange(100) % 7 == 0) + np.arange(100) % 2,  # small counts
        np.full(50, 9.0),
        np.array([]),
    ],
)
def test_nothing_is_said_of_others(numbers):
    assert tell_sentinel("size", np.asarray(numbers, float)) == []


def test_of_a_sample_no_rows_are_counted():
    numbers = np.where(np.arange(200) % 20 == 3, -999, SIZES)
    (said,) = tell_sentinel("size", numbers, whole=False)
    assert said.startswith("'size': -999 stands in about 5.0% of the rows, far from")


def test_the_report_of_a_table_has_it(tmp_path):
    """And the column is what it is: nothing is taken for missing unasked."""
    numbers = np.where(np.arange(200) % 20 == 3, -999, SIZES)
    pl.DataFrame({"size": numbers, "y": SIZES * 2}).write_csv(tmp_path / "t.csv")
    table = encode_table(read_table(tmp_path / "t.csv"), "y", validation=0.0)
    assert sum("-999 stands in 10 rows" in line for line in table.report) == 1
    assert not table.encoder.columns[0].flag


@pytest.mark.parametrize("value", [-9999999, 8888888])
def test_the_remedy_names_the_number_with_all_its_digits(value):
    """So that it is found: the mark of the sentence leaves nothing to be told."""
    numbers = np.where(np.arange(200) % 20 == 3, value, SIZES)
    (said,) = tell_sentinel("size", numbers)
    mark = said.rpartition("--missing=")[2].removesuffix(").")
    frame = mark_given(pl.DataFrame({"size": numbers}), [mark])
    assert frame["size"].null_count() == 10
