"""From a file to training and validation arrays: nothing leaks, and errors name the file's rows."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table, read_table, read_table_with_origin, stream_table
from undertow.errors import ArgumentError, DataError
from undertow.nn import Dense
from undertow.train import train


def make_table(m: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "size": rng.normal(100, 20, m),
            "town": rng.choice(["Oslo", "Rome", "Lima"], m).tolist(),
            "kind": ["flat", "house", "hut"] * (m // 3),
        }
    )


def test_statistics_come_from_training_rows_alone():
    """The encoder equals one that is fitted on the training rows by hand; the parts have the asked sizes."""
    frame = make_table()
    table = encode_table(frame, "kind", validation=0.25, seed=3)
    (X, y), (X_held, y_held) = table.train, table.validation
    assert X.shape[0] == y.shape[0] == 45 and X_held.shape[0] == y_held.shape[0] == 15
    np.testing.assert_allclose(X[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(X[:, 0].std(), 1, atol=1e-6)
    assert abs(X_held[:, 0].mean()) > 1e-3
    assert np.bincount(y_held).tolist() == [5, 5, 5]
    sizes = np.concatenate((X[:, 0], X_held[:, 0])) * table.encoder.columns[0].scale + table.encoder.columns[0].mean
    np.testing.assert_allclose(np.sort(sizes), np.sort(frame["size"].to_numpy()), rtol=1e-5)


def test_same_seed_same_table():
    """The same seed gives the same arrays, another seed other ones; 0 holds out nothing."""
    frame = make_table()
    first, again, other = (encode_table(frame, "kind", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.train[0], again.train[0])
    assert not np.array_equal(first.train[0], other.train[0])
    assert encode_table(frame, "kind", validation=0).validation is None


def test_report_tells_of_held_out_rows():
    """A category that only a held-out row has is reported, and dropped rows are counted."""
    frame = make_table().with_columns(town=pl.Series([f"t{i % 29}" for i in range(60)]))
    frame = frame.with_columns(kind=pl.Series([None, *frame["kind"].to_list()[1:]]))
    table = encode_table(frame, "kind", validation=0.3)
    assert "Target 'kind': texts, so classification." in table.report
    assert "Target 'kind': 1 row without a value was dropped." in table.report
    assert any(line.startswith("Validation rows: 'town': ") for line in table.report)
    assert table.encoder.report == [line for line in table.report if not line.startswith("Validation")]


def test_errors_name_the_rows_of_the_file(tmp_path):
    """After split and drop, an infinite number is still named by its line in the file."""
    path = tmp_path / "houses.csv"
    rows = [f"{i},{'a' if i % 2 else 'b'}" for i in range(30)]
    rows[3] = "3,"
    rows[17] = "inf,a"
    path.write_text("size,kind\n\n" + "\n".join(rows))
    frame, origin = read_table_with_origin(path)
    for seed in range(4):
        with pytest.raises(DataError, match=r"^houses.csv, row 20: column 'size' holds infinity"):
            encode_table(frame, "kind", validation=0.5, seed=seed, origin=origin)


def test_regression_table():
    """A target of numbers with fractions gives standardised float32 targets of one column."""
    table = encode_table(make_table(), "size", validation=0.2)
    assert table.encoder.task == "regression"
    assert table.train[1].shape == (48, 1) and table.train[1].dtype == np.float32


def test_predicting_from_a_file_written_differently(tmp_path):
    """A model's text columns stay text in a later file whose values look like numbers."""
    train, later = tmp_path / "train.csv", tmp_path / "later.csv"
    train.write_text("code,x,y\n01,1,a\n1b,2,b\n01,3,a\n1b,4,b\n")
    later.write_text("x;code\n1,5;01\n")
    encoder = TabularEncoder.fit(read_table(train), "y")
    frame = read_table(later, as_text=encoder.text_columns)
    assert encoder.transform(frame)[0, :2].tolist() == [1, 0]


def test_what_is_wrong_is_found_in_all_rows_not_in_those_of_training():
    """Infinities are counted over the whole table, the first text of a regression is named, one value left says why."""
    frame = pl.DataFrame({"x": [float("inf")] * 5 + [1.0] * 5, "y": [0.5 * i for i in range(10)]})
    with pytest.raises(DataError, match=r"row 1: column 'x' holds infinity, or a number too large.*5 such values"):
        encode_table(frame, "y", validation=0.5)
    with pytest.raises(DataError, match="row 1: target 'y' is 'a'"):
        encode_table(pl.DataFrame({"x": range(10), "y": list("abcdefghij")}), "y", task="regression")
    with pytest.raises(DataError, match=r"one value only .* in the 1 row to train on; the others are held out"):
        encode_table(pl.DataFrame({"x": [1.0, 2.0], "y": [1.5, 2.5]}), "y", validation=0.5)


def test_numbers_that_float64_cannot_tell_apart_are_not_called_the_same():
    """Values near 10^25 that differ by 1 are dropped for what they are."""
    frame = pl.DataFrame({"x": [1e25, 1e25], "z": [1.0, 2.0], "y": ["a", "b"]})
    assert any("no digits to tell its values apart" in line for line in encode_table(frame, "y", validation=0).report)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("scalling", "scaling"), ("test_size", "validation"), ("random_state", "seed"), ("max_category", "max_categories"),
     ("sample_weight", "weights"), ("zebra", None)],
)  # fmt: skip
def test_an_option_that_is_not_there_is_told_with_the_one_that_was_meant(name, meant):
    """Of all three that encode tables, as far as they have the option."""
    frame = pl.DataFrame({"x": range(10), "y": ["a", "b"] * 5})
    for function in (encode_table, stream_table, TabularEncoder.fit):
        with pytest.raises(ArgumentError) as caught:
            function(frame, "y", **{name: 1})
        said = str(caught.value)
        assert said.startswith(f"{function.__qualname__} has no option {name!r}. ") and "There are " in said
        has = meant in inspect.signature(function).parameters
        assert (f"Did you mean {meant!r}?" in said) == has
    with pytest.raises(ArgumentError, match=r"scaling is 'standart'. Did you mean 'standard'\? Choose"):
        encode_table(frame, "y", scaling="standart")
    with pytest.raises(ArgumentError, match="Layers belong to the model"):
        train(Dense(1, 1), (np.ones((9, 1)), np.ones((9, 1))), loss="mean_squared_error", hidden=[8])


@pytest.mark.parametrize("read", [encode_table, stream_table])
def test_columns_that_are_no_features_are_left_out(read):
    """By name, one or several; they need not be there when the encoder is used."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"id": range(60), "a": rng.normal(size=60), "b": rng.normal(size=60), "y": ["u", "v"] * 30})
    found = read(frame, "y", leave_out=["id", "b"])
    assert found.encoder.n_features == 1
    said = "\n".join(found.report)
    assert "'id': left out, as asked for." in said and "'b': left out, as asked for." in said
    assert found.encoder.transform(frame.select("a"), report=[]).shape == (60, 1)
    assert read(frame, "y", leave_out="id").encoder.n_features == 2
    with pytest.raises(DataError, match=r"no column 'idd'.*did you mean 'id'.*for leave_out"):
        read(frame, "y", leave_out=["idd"])
    with pytest.raises(ArgumentError, match="leave_out names 'y', the column to predict"):
        read(frame, "y", leave_out="y")
    with pytest.raises(ArgumentError, match="leave_out names 3"):
        read(frame, "y", leave_out=[3])
    with pytest.raises(DataError, match="no column is left to predict"):
        read(frame, "y", leave_out=["id", "a", "b"])
