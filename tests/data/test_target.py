"""The target column: which task it asks for, how it is encoded and decoded, and what is refused."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from undertow.data import Origin, TabularEncoder, drop_missing_target, encode_table, find_task, stream_table
from undertow.errors import ArgumentError, DataError, ShapeError

TWO_CLASSES = pl.DataFrame({"x": [1, 2, 3, 4], "y": [0, 1, 0, 1]})


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 50, "classification"),
        ([True, False] * 50, "classification"),
        ([0, 1] * 50, "classification"),
        ([1.0, 2.0] * 50, "classification"),
        ([0.5, 1.0] * 50, "regression"),
        (list(range(10)) * 5, "classification"),
        (list(range(11)) * 50, "regression"),
        (list(range(25)) * 40, "regression"),
        ([1] * 500 + [2] * 300 + [3] * 90 + [4] * 30 + [5] * 9 + [6] * 3, "regression"),
        ([None, 1.0, 2.0], "classification"),
    ],
)
def test_task_is_found_from_the_target(values, task):
    """Texts, booleans and few whole numbers are classes; fractions, counts and other numbers a regression."""
    assert find_task(pl.DataFrame({"x": range(len(values)), "y": values}), "y")[0] == task


def test_task_can_be_chosen():
    """task= overrides what was found, and the report says so; an unknown task is an ArgumentError."""
    frame = pl.DataFrame({"x": [1, 2, 3, 4], "y": [0, 1, 2, 1]})
    encoder = TabularEncoder.fit(frame, "y", task="regression")
    assert encoder.task == "regression" and encoder.n_outputs == 1 and encoder.classes == ()
    assert "Target 'y': regression, as asked for." in encoder.report
    floats = TabularEncoder.fit(pl.DataFrame({"x": [1, 2, 3, 4], "y": [0.5, 1, 0.5, 1]}), "y", task="classification")
    assert floats.classes == (0.5, 1.0)
    with pytest.raises(ArgumentError, match="task must be 'classification' or 'regression', got 'cluster'"):
        TabularEncoder.fit(frame, "y", task="cluster")
    with pytest.raises(DataError, match="row 1: target 'y' is 'a', but a regression needs numbers"):
        TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}), "y", task="regression")


@pytest.mark.parametrize(
    "labels",
    [["dog", "cat", "dog", "ant"], [3, -1, 3, 10], [True, False, True, False], [0.5, 2.25, 0.5, 1.0]],
)
def test_classes_are_encoded_and_decoded(labels):
    """Labels become int64 indices of the sorted classes, and come back with their own type."""
    frame = pl.DataFrame({"x": [1, 2, 3, 4], "y": labels})
    encoder = TabularEncoder.fit(frame, "y", task="classification")
    y = encoder.encode_target(frame)
    assert encoder.classes == tuple(sorted(set(labels))) and y.dtype == np.int64 and y.shape == (4,)
    assert np.array_equal(y, np.unique(labels, return_inverse=True)[1])
    decoded = encoder.decode(y).tolist()
    assert decoded == labels and {type(label) for label in decoded} == {type(labels[0])}
    assert encoder.decode(np.eye(encoder.n_outputs)[y]).tolist() == labels


def test_regression_target_is_standardised_and_decoded():
    """y is float32 (m, 1) of mean 0 and deviation 1; decode gives the unit of the target back."""
    prices = np.random.default_rng(1).normal(1e5, 3e4, 200)
    encoder = TabularEncoder.fit(pl.DataFrame({"x": range(200), "y": prices}), "y")
    y = encoder.encode_target(pl.DataFrame({"y": prices}))
    assert y.shape == (200, 1) and y.dtype == np.float32
    np.testing.assert_allclose(y[:, 0], (prices - prices.mean()) / prices.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.decode(y), prices, rtol=1e-6)
    assert encoder.decode(y[:, 0]).shape == (200,) and encoder.decode(y).dtype == np.float64


def test_decode_refuses_other_shapes():
    """Scores of another width, indices out of range, fractions and NaN are refused."""
    encoder = TabularEncoder.fit(TWO_CLASSES, "y")
    with pytest.raises(ShapeError, match=r"the scores are \(5, 3\), but there are 2 classes"):
        encoder.decode(np.zeros((5, 3)))
    for wrong in ([0, 2], [-1], [0.0, 1.0], [[[0]]]):
        with pytest.raises(ArgumentError, match="decode: "):
            encoder.decode(wrong)
    with pytest.raises(ArgumentError, match="the scores of row 2 hold NaN"):
        encoder.decode([[0, 1.0], [np.nan, 0]])
    regression = TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": [0.5, 1.5]}), "y")
    with pytest.raises(ShapeError, match=r"expected outputs \(m,\) or \(m, 1\), got \(3, 2\)"):
        regression.decode(np.zeros((3, 2)))


def test_rows_without_a_target_are_dropped_and_counted():
    """Training leaves them out of every statistic and reports their number; encoding them is an error."""
    frame = pl.DataFrame({"x": [1.0, 2.0, 1000.0, 3.0], "y": [0.5, 1.5, None, float("nan")]})
    encoder = TabularEncoder.fit(frame, "y")
    assert "Target 'y': 2 rows without a value were dropped." in encoder.report
    assert encoder.columns[0].mean == 1.5
    origin = Origin("t.csv", np.array([2, 3, 4, 7]))
    with pytest.raises(DataError, match=r"t.csv, row 4: target 'y' is missing \(2 such rows\)"):
        encoder.encode_target(frame, origin=origin)
    kept, kept_origin, _ = drop_missing_target(frame, "y", origin)
    assert kept["x"].to_list() == [1.0, 2.0] and kept_origin.rows.tolist() == [2, 3]


def test_target_errors():
    """A missing target column, one class, one value, an infinite or unfit target each have their message."""
    frame = pl.DataFrame({"price": [1.5, 2.5, 3.5], "size": [1, 2, 3]})
    with pytest.raises(DataError, match=r"no column 'Prize' \(did you mean 'price'\?\) .* are 'price', 'size'"):
        TabularEncoder.fit(frame, "Prize")
    for values, message in (
        (["a", "a"], r"one class only \('a'\)"),
        ([None, None], "every value is missing"),
        ([1.5, float("inf")], "row 2: column 'y' holds infinity"),
        ([1.5, 1.5], "one value only"),
        ([datetime.date(2024, 1, 1)] * 2, "which cannot be predicted"),
        ([[1], [2]], "which cannot be predicted"),
    ):
        with pytest.raises(DataError, match=message):
            TabularEncoder.fit(pl.DataFrame({"x": [1, 2], "y": values}), "y")
    with pytest.raises(DataError, match=r"no column is left to predict 'y' from\. The table has no other column"):
        TabularEncoder.fit(pl.DataFrame({"y": [0, 1]}), "y")


def test_a_class_with_one_example_is_reported():
    """A single example of a class is allowed and named."""
    encoder = TabularEncoder.fit(pl.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "a"]}), "y")
    assert "Target 'y': a single training row for the class 'b'." in encoder.report


def test_an_unknown_class_is_refused_with_its_place():
    """A label that training did not have names row, value and the known classes."""
    encoder = TabularEncoder.fit(pl.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "a"]}), "y")
    with pytest.raises(DataError, match=r"row 2: target 'y' is 'c', a class that training did not have .* 'a', 'b'"):
        encoder.encode_target(pl.DataFrame({"y": ["a", "c"]}))
    numbers = TabularEncoder.fit(TWO_CLASSES, "y")
    assert numbers.encode_target(pl.DataFrame({"y": ["1", "0"]})).tolist() == [1, 0]
    for wrong in ([2], [0.5], [-1], ["x"], [datetime.date(2024, 1, 1)]):
        with pytest.raises(DataError, match="row 1: target 'y' is"):
            numbers.encode_target(pl.DataFrame({"y": wrong}))


def test_text_columns_name_what_must_stay_text():
    """Category columns and a target of texts are named for read_table(as_text=…)."""
    frame = pl.DataFrame({"a": ["u", "v"] * 2, "b": [1, 2, 3, 4], "y": ["p", "q"] * 2})
    assert TabularEncoder.fit(frame, "y").text_columns == ["a", "y"]
    assert TabularEncoder.fit(TWO_CLASSES, "y").text_columns == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([*map(str, range(59)), "oops"], "target 'y' holds numbers, but 1 of 60 values are none, first 'oops'"),
        (
            [f"{i}.5" for i in range(60)],
            "holds texts, all of which are numbers, such as '0.5': 60 different ones in 60",
        ),
        ([f"{i} to 70" for i in range(60)], "60 distinct texts in 60 rows, such as '0 to 70': classes need several"),
    ],
)
def test_texts_that_are_hardly_classes(values, message):
    """Ranges, numbers that a frame has as texts, or with a stray word; whoever says that they are classes gets them."""
    frame = pl.DataFrame({"x": range(60), "y": values})
    with pytest.raises(DataError, match=message):
        encode_table(frame, "y")
    assert encode_table(frame, "y", task="classification", validation=0.0).encoder.n_outputs == 60
    few = pl.DataFrame({"x": range(60), "y": [*["1", "2", "many"] * 20]})
    assert encode_table(few, "y").encoder.classes == ("1", "2", "many")


def test_a_column_of_numbers_with_a_stray_word_is_no_identifier():
    frame = pl.DataFrame({"x": [*map(str, range(59)), "oops"], "y": [0, 1] * 30})
    with pytest.raises(DataError, match=r"column 'x' holds numbers, but 1 of 60 values are no numbers, first 'oops'"):
        encode_table(frame, "y", validation=0.0, max_categories=1000)


def test_numbers_of_which_each_is_a_class_of_its_own():
    """Three rows of three whole numbers cannot be split as classes: the error offers a regression, which works."""
    frame = pl.DataFrame({"x": [1, 2, 3], "y": [10, 20, 30]})
    with pytest.raises(DataError, match=r"each of its 3 numbers stands in a single row.* \(--task regression\)"):
        encode_table(frame, "y", validation=0.34)
    assert encode_table(frame, "y", validation=0.34, task="regression").encoder.task == "regression"
    whole = encode_table(frame, "y", validation=0.0)
    assert whole.encoder.classes == (10, 20, 30) and "if they are amounts, choose task='regression'" in whole.report[0]
    texts = frame.with_columns(y=pl.Series(["a", "b", "c"]))
    with pytest.raises(DataError, match=r"each of its 3 classes stands in a single row.*--validation 0") as caught:
        encode_table(texts, "y", validation=0.34)
    assert "regression" not in str(caught.value)


@pytest.mark.parametrize("how", [encode_table, TabularEncoder.fit, stream_table])
def test_a_target_that_is_yes_or_blank(how):
    """The error counts the rows that were dropped beside the one class, or the one number, that is left."""
    frame = pl.DataFrame({"x": range(30), "y": ["yes", None, "yes"] * 10})
    with pytest.raises(DataError, match=r"one class only \('yes'\), and 10 rows without a value were dropped"):
        how(frame, "y")
    numbers = frame.with_columns(y=pl.Series([1, None, 1] * 10))
    with pytest.raises(DataError, match=r"one class only \(1\.?0?\), and 10 rows without a value were dropped"):
        how(numbers, "y")
    with pytest.raises(DataError, match=r"one class only \('yes'\)") as caught:
        how(frame.drop_nulls(), "y")
    assert "dropped" not in str(caught.value)


RNG = np.random.default_rng(11)


def draw_counts(n=3000):
    return np.random.default_rng(8).poisson(0.9, n)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (draw_counts(), "regression"),  # visits: 0 to 6, ever rarer
        (np.random.default_rng(1).poisson(1.6, 5000), "regression"),  # goals: 1 is the most frequent
        (np.random.default_rng(2).integers(0, 10, 3000), "classification"),  # digits
        (draw_counts() + 1, "regression"),  # from 1 on: rooms, people of a household
        (RNG.permutation(np.repeat(np.arange(1, 8), (900, 500, 90, 40, 200, 30, 60))), "classification"),
        (np.minimum(draw_counts(), 4), "classification"),  # five of them
        ((draw_counts() * 5) % 6, "classification"),  # numbers of no order
        (np.repeat(np.arange(8), 100), "classification"),
    ],
)
def test_counts_are_numbers_and_the_report_says_how_they_are_classes(labels, task):
    """Whole numbers from 0 or 1 on of which the larger are ever rarer; in pieces as in one."""
    frame = pl.DataFrame({"x": np.arange(len(labels)) * 0.5, "y": labels})
    table, stream = encode_table(frame, "y", validation=0.0), stream_table(frame, "y", validation=0.0)
    assert table.encoder.task == stream.encoder.task == task
    assert table.report[0] == stream.report[0]
    assert ("--task classification" if task == "regression" else "--task regression") in table.report[0]
    other = "classification" if task == "regression" else "regression"
    assert encode_table(frame, "y", validation=0.0, task=other).encoder.task == other


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (RNG.integers(0, 26, 2600), "classification"),  # letters
        (RNG.permutation(np.repeat(np.arange(1, 101), 16)), "classification"),  # a hundred species
        (RNG.permutation(np.repeat(np.arange(40), RNG.integers(200, 390, 40))), "classification"),
        (RNG.integers(0, 26, 200), "regression"),  # too few of each
        (RNG.integers(5, 31, 2600), "regression"),  # from 5 on
        (RNG.integers(0, 26, 2600) * 2, "regression"),  # with gaps
        (RNG.integers(0, 26, 2600) * 1.0, "regression"),  # floats
        (RNG.integers(0, 200, 9000), "regression"),
    ],
)
def test_many_class_numbers_are_classes_where_they_are_numbered_as_such(labels, task):
    """Of rows that tell classes; in pieces as in one, and the report says how it is the other."""
    known = np.unique(labels, return_inverse=True)[1]
    places = RNG.normal(size=(known.max() + 1, 3))[known]
    frame = pl.DataFrame({"a": places[:, 0], "b": places[:, 1], "c": places[:, 2], "y": labels})
    table, stream = encode_table(frame, "y", validation=0.0), stream_table(frame, "y", validation=0.0)
    assert table.encoder.task == stream.encoder.task == task
    assert table.report[0] == stream.report[0]
    assert task == "regression" or "--task regression" in table.report[0]


@pytest.mark.parametrize("target", [["cat", "dog"] * 5, list(np.arange(10) / 4)])
def test_a_scaling_that_is_not_there_is_refused_of_any_target(target):
    frame = pl.DataFrame({"x": np.arange(10.0), "y": target})
    with pytest.raises(
        ArgumentError, match=r"target_scaling is 'standart'\. Choose one of standard, log, log1p, mean, none\."
    ):
        encode_table(frame, "y", target_scaling="standart")
