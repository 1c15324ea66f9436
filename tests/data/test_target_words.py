"""What is said of a target that is written in several ways, or in a file that was not taken apart."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, find_task, stream_table
from undertow.data.target import find_target
from undertow.errors import DataError


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["Yes", "yes", "No"], "'Yes', 'yes' differ in case or spaces alone. Write them alike"),
        (
            ["a", "B", "A", "b", "c"],
            "'A', 'a'; 'B', 'b' differ in case or spaces alone. Write them alike if they are one class each",
        ),
        (["new york", "New  York", "Oslo"], "'New  York', 'new york' differ in case or spaces alone"),
        (["Yes", "No", "Not"], None),
        ([1, 2, 3], None),
    ],
)
def test_classes_that_differ_in_case_or_spaces_alone_are_told(labels, said):
    frame = pl.DataFrame({"x": range(30), "kind": (labels * 10)[:30]})
    report = " ".join(TabularEncoder.fit(frame, "kind", task="classification").report)
    assert (said or "") in report and ("differ in case" in report) == (said is not None)


def test_a_single_column_may_be_several_that_were_not_taken_apart():
    with pytest.raises(DataError, match=r"no column 'price'.*'sqm price'. If these are several, separate them by com"):
        find_target(pl.DataFrame({"sqm price": ["50 3", "60 4"]}), "price")
    with pytest.raises(DataError, match=r"The columns are 'a', 'b'\.$"):
        find_target(pl.DataFrame({"a": [1], "b": [2]}), "price")


@pytest.mark.parametrize(
    ("values", "offered"),
    [
        (sorted(list(range(26)) * 10 + [4] * 50), True),
        (list(range(1, 41)) * 5, True),
        (list(range(26)) * 4, False),
        (list(range(0, 52, 2)) * 10, False),
        (list(range(150)) * 10, False),
        ([float(x) for x in range(26)] * 10, False),
    ],
    ids=["letters", "people", "few rows of each", "gaps", "many", "floats"],
)
def test_many_numbers_that_may_be_classes_are_offered_as_such(values, offered):
    frame = pl.DataFrame({"x": np.arange(float(len(values))), "y": values})
    task, why = find_task(frame, "y")
    assert task == "regression" and ("--task classification" in why) is offered
    assert stream_table(frame, "y", validation=0.0).encoder.report[0] == why


@pytest.mark.parametrize("name", ["n", "label", "y"])
def test_a_target_may_be_called_as_it_likes(name):
    frame = pl.DataFrame({"x": np.arange(40.0), name: [0, 1] * 20})
    assert find_task(frame, name)[0] == "classification"
    assert stream_table(frame, name, validation=0.0).encoder.classes == (0, 1)
    assert TabularEncoder.fit(frame, name).classes == (0, 1)
