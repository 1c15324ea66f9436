"""The tabular encoder: statistics against independent ones, decisions, and errors that name the cell."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import Origin, TabularEncoder
from undertow.errors import DataError

Y = [0, 1, 0, 1]


def fit_on(values, **options) -> TabularEncoder:
    """An encoder of one column x beside a target of two classes."""
    series = pl.Series("x", values)
    labels = [0, 1] * (len(series) // 2) + [0] * (len(series) % 2)
    return TabularEncoder.fit(pl.DataFrame([series, pl.Series("y", labels)]), "y", **options)


def encode(encoder: TabularEncoder, values) -> np.ndarray:
    """The features of one column x, reports kept silent."""
    return encoder.transform(pl.DataFrame([pl.Series("x", values)]), report=[])


def said(encoder: TabularEncoder) -> str:
    return "\n".join(encoder.report)


# Numbers


def test_standardisation_equals_scikit_learn():
    """Means and scales of numbers equal StandardScaler's, on training rows and on others that are not far from them."""
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    train, other = rng.normal(3, [1, 1e-3, 1e5], (200, 3)), rng.normal(0, 2, (50, 3))
    frame = pl.DataFrame(train, schema=["a", "b", "c"]).with_columns(y=pl.Series([0, 1] * 100))
    encoder = TabularEncoder.fit(frame, "y")
    scaler = preprocessing.StandardScaler().fit(train)
    np.testing.assert_allclose(encoder.transform(frame), scaler.transform(train), rtol=1e-5, atol=1e-6)
    found = encoder.transform(pl.DataFrame(other, schema=["a", "b", "c"]), report=[])
    width = np.ptp(train, axis=0)
    near = np.clip(other, train.min(0) - width, train.max(0) + width)
    np.testing.assert_allclose(found, scaler.transform(near), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32 and found.flags.c_contiguous


def test_missing_numbers_become_the_median_and_a_flag():
    """Nulls and NaN are filled with the training median, flagged, and standardised after filling."""
    encoder = fit_on([1.0, None, 5.0, float("nan"), 9.0, 3.0])
    filled = np.array([1, 4, 5, 4, 9, 3], dtype=float)
    expected = np.column_stack([(filled - filled.mean()) / filled.std(), [0, 1, 0, 1, 0, 0]])
    np.testing.assert_allclose(encode(encoder, [1.0, None, 5.0, float("nan"), 9.0, 3.0]), expected, rtol=1e-6)
    assert encoder.feature_names == ["x", "x is missing"]
    assert "2 missing values filled with 4" in said(encoder)


def test_missing_only_later_is_filled_and_reported():
    """Without missing values in training there is no flag; a later one is filled and counted."""
    encoder = fit_on([1.0, 2.0, 3.0, 6.0])
    report: list[str] = []
    X = encoder.transform(pl.DataFrame({"x": [2.5, None]}), report=report)
    assert X.shape == (2, 1) and X[0, 0] == X[1, 0]
    assert report == ["'x': 1 missing value where training had none; filled with 2.5."]


def test_constant_and_empty_columns_are_dropped():
    """A column with one value, or none, is dropped with its reason."""
    frame = pl.DataFrame({"c": [7] * 4, "e": [None] * 4, "t": ["a"] * 4, "x": [1, 2, 3, 4], "y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    assert encoder.feature_names == ["x"]
    assert set(encoder.dropped) == {"c", "e", "t"}
    assert "'c': dropped, it holds the same value (7) in every row." in encoder.report
    assert "'e': dropped, it holds no value." in encoder.report


def test_constant_with_missing_keeps_the_flag():
    """Where the only information of a column is whether it is there, only the flag is a feature."""
    encoder = fit_on([7, None, 7, None])
    assert encoder.feature_names == ["x is missing"]
    assert encode(encoder, [7, None]).tolist() == [[0], [1]]


@pytest.mark.parametrize("values", [[1e-300, 0.0, 0.0, 0.0], [0.0, 1e-200, 1e-200, 0.0], [1e300, -1e300, 0.0, 1e299]])
def test_extreme_numbers_are_standardised(values):
    """Numbers whose squares under- or overflow are standardised to mean 0 and deviation 1 all the same."""
    X = encode(fit_on(values), values)
    assert abs(X.mean()) < 1e-6 and abs(X.std() - 1) < 1e-6


def test_rounding_errors_are_no_information():
    """Values that differ in their last bits only are dropped as constant, not blown up to a scale of 1."""
    frame = pl.DataFrame({"x": [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2], "z": [1, 2, 3, 4], "y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    assert "differ by less than float64 can tell" in encoder.dropped["x"]


@pytest.mark.parametrize("infinite", [float("inf"), float("-inf")])
def test_infinity_is_refused_with_its_place(infinite):
    """An infinite number is no missing value: fitting and transforming name column, file and row."""
    with pytest.raises(DataError, match=r"row 3: column 'x' holds infinity"):
        fit_on([1.0, 2.0, infinite, 3.0])
    origin = Origin("people.csv", np.array([2, 3, 9]))
    frame = pl.DataFrame({"x": [1.0, 2.0, infinite]})
    with pytest.raises(DataError, match=r"^people.csv, row 9: column 'x' holds infinity"):
        fit_on([1.0, 2.0, 3.0, 4.0]).transform(frame, origin=origin)


def test_text_in_a_number_column_is_refused_with_its_place():
    """A number column that now holds text names column, row and value; numbers written as text are read."""
    encoder = fit_on([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(DataError, match=r"row 2: column 'x' holds 'abc', which is no number as in training \(1 such"):
        encode(encoder, ["1", "abc", None])
    assert np.array_equal(encode(encoder, ["1", " 2.0"]), encode(encoder, [1, 2]))
    with pytest.raises(DataError, match="which is no number"):
        encode(encoder, [datetime.date(2024, 1, 1)])


def test_all_columns_that_cannot_be_read_are_told_of_at_once():
    """Four in full, the others by name."""
    names = ["a", "b", "c", "d", "e", "f"]
    frame = pl.DataFrame({name: [1.0, 2.0, 3.0, 4.0] for name in names} | {"y": [0, 1, 0, 1]})
    encoder = TabularEncoder.fit(frame.with_columns(b=-pl.col("a")), "y")
    later = frame.select(pl.all().cast(str)).with_columns(pl.lit("x").alias("c"), pl.lit("-").alias("e"))
    with pytest.raises(DataError) as caught:
        encoder.transform(later, report=[])
    told = str(caught.value)
    assert told.count("which is no number") == 2 and "column 'c' holds 'x'" in told and "column 'e' holds '-'" in told
    with pytest.raises(DataError) as caught:
        encoder.transform(frame.select(pl.lit("?!").alias(name) for name in frame.columns), report=[])
    told = str(caught.value)
    assert told.count("which is no number") == 4 and told.endswith("So it is in 2 more columns: 'e', 'f'.")


def test_a_number_beyond_float32_is_refused():
    """A later value too far for float32 is an error where none has bounds, never an infinite feature."""
    with pytest.raises(DataError, match=r"row 1: column 'x' holds 1e\+300, further from the training values"):
        encode(fit_on([1.0, 2.0, 3.0, 4.0], scaling="none"), [1e300])


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(
        st.none() | st.floats(allow_infinity=False, min_value=-1e30, max_value=1e30), min_size=2, max_size=40
    )
)
def test_any_number_column_gives_finite_features(values):
    """Any finite numbers with any holes give finite features of mean 0 and deviation 1, or a DataError."""
    try:
        encoder = fit_on(pl.Series(values, dtype=pl.Float64))
    except DataError as error:
        assert "no column is left" in str(error)
        return
    X = encode(encoder, pl.Series(values, dtype=pl.Float64))
    assert np.isfinite(X).all()
    if "x" in encoder.feature_names:
        x = X[:, 0].astype(float)
        rounding = 1e-5 + 4 * np.finfo(float).eps * abs(encoder.columns[0].mean) / encoder.columns[0].scale
        assert abs(x.mean()) < rounding and abs(x.std() - 1) < 10 * rounding
    missing = np.array([value is None or value != value for value in values])
    if missing.any():
        assert np.array_equal(X[:, -1], missing)


# Booleans, dates


def test_booleans_are_zero_and_one():
    """True is 1, false is 0; a missing one takes the more frequent value and a flag; words are read."""
    encoder = fit_on([True, False, None, True])
    assert encode(encoder, [True, False, None]).tolist() == [[1, 0], [0, 0], [1, 1]]
    assert encode(fit_on([False, None, False, True]), [None]).tolist() == [[0, 1]]
    assert encode(encoder, ["true", "FALSE"]).tolist() == [[1, 0], [0, 0]]
    assert encode(encoder, [1, 0]).tolist() == [[1, 0], [0, 0]]
    for wrong in ([2, 1], ["maybe", "true"]):
        with pytest.raises(DataError, match=r"row 1: column 'x' holds .* which is no boolean"):
            encode(encoder, wrong)


def test_dates_are_days():
    """Dates and datetimes become days since 1970-01-01, standardised and reported."""
    dates = [datetime.date(1970, 1, 1), datetime.date(1970, 1, 3), datetime.date(1970, 1, 5), None]
    encoder = fit_on(dates)
    days = np.array([0, 2, 4, 2.0])
    np.testing.assert_allclose(encode(encoder, dates)[:, 0], (days - 2) / days.std(), rtol=1e-6)
    assert "a date, encoded as days since 1970-01-01" in said(encoder)
    assert "filled with 1970-01-03" in said(encoder)
    assert np.array_equal(encode(encoder, ["1970-01-03", None]), [[0, 0], [0, 1]])
    noon = encode(encoder, [datetime.datetime(1970, 1, 3, 12)])[0, 0]
    np.testing.assert_allclose(noon, 0.5 / days.std(), rtol=1e-6)
    with pytest.raises(DataError, match="row 2: column 'x' holds 'soon', which is no date"):
        encode(encoder, ["1970-01-03", "soon"])


def test_times_are_durations():
    """Times of day and durations become days and are told apart from dates."""
    encoder = fit_on([datetime.timedelta(days=1), datetime.timedelta(hours=12), datetime.timedelta(0), None])
    assert encoder.columns[0].kind == "duration" and encoder.columns[0].fill == 0.5
    assert fit_on([datetime.time(6), datetime.time(18)]).columns[0].mean == 0.5
    with pytest.raises(DataError, match="which is no duration"):
        encode(encoder, [datetime.date(2024, 1, 1)])


@pytest.mark.parametrize("values", [[[1], [2]], [b"a", b"b"], [{"k": 1}, {"k": 2}]])
def test_columns_that_cannot_be_encoded(values):
    """Lists, bytes and structs are a DataError that names column and type."""
    with pytest.raises(DataError, match=r"column 'x' holds values of the type \w+.* cannot be encoded.*--leave-out x"):
        fit_on(values)


# Categories


def test_one_hot_equals_scikit_learn():
    """Known categories equal OneHotEncoder's matrix, and an unseen one is a row of zeros."""
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    train, later = ["b", "a", "c", "a"], ["c", "zzz", "a"]
    reference = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    reference.fit(np.array(train)[:, None])
    encoder = fit_on(train)
    assert np.array_equal(encode(encoder, train), reference.transform(np.array(train)[:, None]))
    assert np.array_equal(encode(encoder, later), reference.transform(np.array(later)[:, None]))
    assert encoder.feature_names == ["x=a", "x=b", "x=c"]


def test_unseen_categories_are_counted():
    """Unseen and newly missing categories are reported with their number and examples."""
    report: list[str] = []
    fit_on(["a", "b", "a", "b"]).transform(pl.DataFrame({"x": ["q", None, "a", "q", "r"]}), report=report)
    assert report == [
        "'x': 3 values not seen in training ('q', 'r'); encoded as no category.",
        "'x': 1 missing value where training had none; encoded as no category.",
    ]


def test_without_a_report_a_warning_is_given():
    """A caller that passes no report gets the sentences as warnings."""
    with pytest.warns(UserWarning, match="1 value not seen in training"):
        fit_on(["a", "b", "a", "b"]).transform(pl.DataFrame({"x": ["q"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_on(["a", "b", "a", "b"]).transform(pl.DataFrame({"x": ["a"]}))


def test_missing_is_a_category_of_its_own():
    """Where training had missing texts, missing is one more feature."""
    encoder = fit_on(["a", None, "b", "a"])
    assert encoder.feature_names == ["x=a", "x=b", "x is missing"]
    assert encode(encoder, ["b", None, "?"]).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_categories_of_other_types_match_their_text():
    """Categories that a later file reads as numbers or booleans still find their text."""
    assert encode(fit_on(["1", "2a", "1", "2a"]), [1, 5]).tolist() == [[1, 0], [0, 0]]
    assert encode(fit_on(["true", "unknown"] * 2), [True]).tolist() == [[1, 0]]
    for dtype in (pl.Categorical, pl.Enum(["u", "v"])):
        encoder = fit_on(pl.Series(["u", "v", None, "v"], dtype=dtype))
        assert encoder.feature_names == ["x=u", "x=v", "x is missing"]


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("unnamed_1", True),
        ("Unnamed: 0", True),
        ("Unnamed: 0.1", True),
        ("PassengerId", True),
        ("order.ID", True),
        ("row number", True),
        ("paid", False),
        ("index", False),
        ("grid", False),
    ],
)
def test_numbers_of_rows_are_dropped_however_far_apart(name, dropped):
    """As a table has them of which rows were taken; names that only end alike are kept, as are numbers that repeat."""
    numbers = np.random.default_rng(0).choice(10**6, 60, replace=False)
    encoder = TabularEncoder.fit(pl.DataFrame({name: numbers, "x": range(60), "y": [0, 1] * 30}), "y")
    assert (name in encoder.dropped) == dropped
    assert not dropped or ": dropped, every row has another number: it identifies rows" in encoder.dropped[name]
    numbers[0] = numbers[1]
    encoder = TabularEncoder.fit(pl.DataFrame({name: numbers, "x": range(60), "y": [0, 1] * 30}), "y")
    assert not dropped or ": dropped, nearly every row has another number" in encoder.dropped[name]
    numbers[:9] = numbers[9]
    assert not TabularEncoder.fit(pl.DataFrame({name: numbers, "x": range(60), "y": [0, 1] * 30}), "y").dropped


@pytest.mark.parametrize(
    ("name", "told"),
    [("uid", True), ("caseid", True), ("old.patientid", True), ("PATIENTID", True), ("paid", False), ("fluid", False)],
)
def test_numbers_that_may_identify_rows_are_kept_and_told(name, told):
    """A survey's uid tells when somebody was asked; of numbers that repeat nothing is said."""
    numbers = np.random.default_rng(0).choice(10**6, 60, replace=False)
    encoder = TabularEncoder.fit(pl.DataFrame({name: numbers, "x": range(60), "y": [0, 1] * 30}), "y")
    assert name in encoder.feature_names and not encoder.dropped
    sentence = f"{name!r}: nearly every row has another whole number; by the name of the column it identifies rows. "
    assert (sentence in said(encoder)) == told
    numbers[:9] = numbers[9]
    assert sentence not in said(
        TabularEncoder.fit(pl.DataFrame({name: numbers, "x": range(60), "y": [0, 1] * 30}), "y")
    )


def test_identifiers_are_dropped():
    """Columns with too many or nearly unique texts, and row numbers named id, are dropped with the reason."""
    frame = pl.DataFrame(
        {
            "name": [f"n{i}" for i in range(40)],
            "many": [f"m{i % 20}" for i in range(40)],
            "customer_id": list(range(100, 140)),
            "count": list(range(40)),
            "y": [0, 1] * 20,
        }
    )
    encoder = TabularEncoder.fit(frame, "y", max_categories=30)
    assert set(encoder.dropped) == {"name", "customer_id"}
    assert "40 distinct texts in 40 values: like an identifier" in encoder.dropped["name"]
    assert "identifies rows" in encoder.dropped["customer_id"]
    assert "'count': every row has another whole number" in said(encoder)
    nearly = frame.with_columns(many=pl.Series([f"m{i % 38}" for i in range(40)]))
    assert "many" in TabularEncoder.fit(nearly, "y").dropped
    few = pl.DataFrame({"name": ["Ada", "Bob", "Cy"], "y": [0, 1, 0]})
    assert TabularEncoder.fit(few, "y").n_features == 3


def test_a_few_texts_in_many_numbers():
    """A stray text among numbers is an error where the column would be dropped, else a report."""
    numbers = [str(i) for i in range(99)]
    with pytest.raises(DataError, match="row 100: column 'x' holds numbers, but 1 of 100 values are no numbers, first"):
        fit_on([*numbers, "oops"])
    encoder = fit_on(["1", "2", "1", "2", "oops", "1"])
    assert "'x': 1 of 6 values are no numbers, first 'oops' (row 5); so all its values are categories." in said(encoder)


def test_every_column_is_accounted_for():
    """The report names each column of the table and the target."""
    frame = pl.DataFrame(
        {
            "age": [1.5, 2, 3, 4],
            "sex": ["m", "f", "f", "m"],
            "ok": [True, False, True, True],
            "k": [1] * 4,
            "y": Y,
        }
    )
    encoder = TabularEncoder.fit(frame, "y")
    for name in frame.columns:
        assert repr(name) in said(encoder)
    assert "Numbers, standardised: 'age'." in encoder.report
    assert encoder.n_features == len(encoder.feature_names) == encoder.transform(frame).shape[1]


# Columns of a later table


def test_column_order_and_target_do_not_matter():
    """A later table may have its columns in any order, with the target or without."""
    frame = pl.DataFrame({"a": [1.0, 2, 3, 4], "b": ["u", "v", "u", "v"], "y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    X = encoder.transform(frame)
    assert np.array_equal(X, encoder.transform(frame.select("y", "b", "a")))
    assert np.array_equal(X, encoder.transform(frame.select("b", "a")))


def test_missing_columns_are_all_named():
    """Every missing feature column is named, with the closest name that is there."""
    frame = pl.DataFrame({"age": [1.0, 2, 3, 4], "city": ["u", "v", "u", "v"], "y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    with pytest.raises(DataError, match=r"lacks 2 columns .*: 'age' \(did you mean 'Age'\?\), 'city'\. Its columns"):
        encoder.transform(pl.DataFrame({"Age": [1], "qqq": [2]}))
    with pytest.raises(DataError, match="must be a polars DataFrame, got a builtins dict"):
        encoder.transform({"age": [1]})


def test_of_many_missing_columns_the_first_are_named():
    """Those of an image with colours are hundreds, in one line."""
    frame = pl.DataFrame({f"pixel_{i}_{k}": [float(i), 2, k, 4] for i in range(10) for k in range(30)} | {"y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    with pytest.raises(DataError, match=r"lacks 300 columns .*'pixel_0_10', .* … \(300 in all\)\. Its") as caught:
        encoder.transform(pl.DataFrame({"z": [1]}))
    assert len(str(caught.value)) < 400


def test_extra_columns_are_ignored_and_reported():
    """Columns that training did not have are ignored and named; those it dropped are not mentioned."""
    frame = pl.DataFrame({"a": [1.0, 2, 3, 4], "const": [1] * 4, "y": Y})
    encoder = TabularEncoder.fit(frame, "y")
    report: list[str] = []
    encoder.transform(frame.with_columns(new=pl.lit(1)), report=report)
    assert report == ["Ignored 1 column that training did not have: 'new'."]
