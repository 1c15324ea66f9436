"""Scalings, codes, rare categories and parts of dates, against independent formulas; and what the encoder remarks."""

from __future__ import annotations

import calendar
import datetime
import json
import math
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.data import CodeFeature, TabularEncoder, as_frame, encode_table
from undertow.errors import ArgumentError, DataError, RunError

VALUES = np.random.default_rng(0).lognormal(size=200)


def fit_on(values, **options) -> TabularEncoder:
    series = pl.Series("x", values)
    labels = [0, 1] * (len(series) // 2) + [0] * (len(series) % 2)
    return TabularEncoder.fit(pl.DataFrame([series, pl.Series("y", labels)]), "y", **options)


def encode(encoder: TabularEncoder, values) -> np.ndarray:
    return encoder.transform(pl.DataFrame([pl.Series("x", values)]), report=[])


def again(encoder: TabularEncoder) -> TabularEncoder:
    """The encoder after JSON text; it must be equal."""
    twin = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    assert twin == encoder
    return twin


# Numbers


def test_robust_scaling():
    """Median 0, quartiles one apart; a missing value is 0 and flagged; equal to scikit-learn's."""
    encoder = again(fit_on([*VALUES, None], scaling="robust"))
    X = encode(encoder, [*VALUES, None])
    low, middle, high = np.percentile(VALUES, [25, 50, 75])
    np.testing.assert_allclose(X[:-1, 0], (VALUES - middle) / (high - low), rtol=1e-5, atol=1e-6)
    assert X[-1].tolist() == [0, 1]
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    reference = preprocessing.RobustScaler().fit_transform(VALUES[:, None])
    np.testing.assert_allclose(X[:-1, 0], reference[:, 0], rtol=1e-5, atol=1e-6)


def test_robust_scaling_of_a_column_that_is_mostly_one_value():
    """Where the quartiles are equal, the standard deviation serves, and the report says so."""
    encoder = fit_on([0.0] * 30 + [5.0], scaling="robust")
    assert encoder.columns[0].scaling == "standard"
    assert any("its quartiles are equal" in line for line in encoder.report)


def test_quantile_scaling():
    """Each training value becomes the normal value of its rank, whatever the distribution; beyond, the outermost."""
    encoder = again(fit_on(VALUES, scaling="quantile"))
    X = encode(encoder, VALUES)[:, 0]
    ranks = np.argsort(np.argsort(VALUES)) / 199
    expected = [NormalDist().inv_cdf(min(max(rank, 0.5 / 200), 1 - 0.5 / 200)) for rank in ranks]
    np.testing.assert_allclose(X, expected, atol=1e-6)
    assert encode(encoder, [-1e30, 1e30])[:, 0].tolist() == [X.min(), X.max()]
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    reference = preprocessing.QuantileTransformer(n_quantiles=200, output_distribution="normal")
    inner = np.abs(X) < 2.5  # the outermost are not at infinity here, nor at scikit-learn's 5.2
    np.testing.assert_allclose(X[inner], reference.fit_transform(VALUES[:, None])[inner, 0], atol=1e-6)


def test_values_and_their_ranks():
    """Two features: standardised, at most 10 from the mean, new ones at most twice as far; and the ranks."""
    rng = np.random.default_rng(3)
    values = rng.lognormal(sigma=2, size=3000)
    encoder = again(fit_on([*values, None], scaling="both"))
    assert encoder.feature_names == ["x", "x, rank", "x is missing"]
    assert "Numbers, standardised, and as normal values of the same ranks: 'x'." in encoder.report
    mean = np.append(values, np.median(values)).mean()
    X = encode(encoder, [*values, None])
    ranks = encode(fit_on([*values, None], scaling="quantile"), [*values, None])
    np.testing.assert_array_equal(X[:, 1:], ranks)
    assert (values.max() - values.mean()) / values.std() > 10 and np.abs(X[:, 0]).max() == pytest.approx(10, rel=1e-3)
    np.testing.assert_allclose(np.corrcoef(X[:-1, 0], values)[0, 1], 1)
    far = encode(encoder, [-1e30, 1e30])
    ends = encode(encoder, [values.min(), values.max()])
    np.testing.assert_allclose(far[:, 0], 2 * ends[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(far[:, 1], ends[:, 1])
    between = encode(encoder, [1.5 * values.max()])  # on the straight line
    np.testing.assert_allclose(
        between[0, 0] / ends[1, 0], (1.5 * values.max() - mean) / (values.max() - mean), rtol=1e-5
    )
    near = encode(fit_on([0.0, 1.0, 2.0, 9.0], scaling="both"), [0.0, 1.0, 2.0, 9.0])
    np.testing.assert_allclose(near[:, 0], (np.array([0, 1, 2, 9]) - 3) / np.std([0, 1, 2, 9]), rtol=1e-6)


def test_quantiles_of_many_numbers_are_bounded():
    """At most 1000 knots are kept; ties share one; the result is normal all the same."""
    values = np.round(np.random.default_rng(1).exponential(size=20_000), 2)
    encoder = fit_on(values, scaling="quantile")
    assert len(encoder.columns[0].knots) <= 1000
    X = encode(encoder, values)[:, 0]
    assert abs(X.mean()) < 0.02 and abs(X.std() - 1) < 0.02


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_quantile_scaling_keeps_the_order(values):
    """Larger values never become smaller features, and each is finite."""
    try:
        X = encode(fit_on(values, scaling="quantile"), sorted(values))[:, 0]
    except DataError as error:
        assert "no column is left" in str(error)
        return
    assert np.isfinite(X).all() and (np.diff(X) >= 0).all()


def test_no_scaling_and_a_scaling_for_each_column():
    """Columns named in a mapping are scaled as it says, others are standardised; each is reported."""
    frame = pl.DataFrame({"a": [1.0, 2, 4, 9], "b": [1.0, 2, 4, 9], "y": [0, 1, 0, 1]})
    encoder = again(TabularEncoder.fit(frame, "y", scaling={"a": "none"}))
    X = encoder.transform(frame)
    assert X[:, 0].tolist() == [1, 2, 4, 9] and abs(X[:, 1].mean()) < 1e-6
    assert "Numbers, as they are: 'a'." in encoder.report and "Numbers, standardised: 'b'." in encoder.report


# Categories


def test_codes_for_an_embedding():
    """Whole numbers in the order of the texts; one code for unseen texts, one for missing; described by `codes`."""
    frame = pl.DataFrame({"n": [1.0, 2, 3, 4], "x": ["b", None, "a", "b"], "y": [0, 1, 0, 1]})
    encoder = again(TabularEncoder.fit(frame, "y", categories="codes"))
    assert encoder.codes == [CodeFeature(1, "x", 4)]
    later = pl.DataFrame({"n": [1.0] * 4, "x": ["a", "b", "zzz", None]})
    report: list[str] = []
    assert encoder.transform(later, report=report)[:, 1].tolist() == [0, 1, 2, 3]
    assert report == ["'x': 1 value not seen in training ('zzz'); encoded as rare."]
    assert "'x': 2 categories as codes 0 … 3: 2 is rare or not seen, 3 is missing." in encoder.report
    without = fit_on(["a", "b", "a", "b"], categories="codes")
    assert encode(without, ["b", None])[:, 0].tolist() == [1, 2] and without.codes[0].cardinality == 3


def test_rare_categories_are_joined():
    """Texts in fewer rows than asked for share a feature with those not seen; the most frequent are kept."""
    texts = ["a"] * 10 + ["b"] * 6 + ["c"] * 2 + ["d"]
    encoder = again(fit_on(texts, min_count=3))
    assert encoder.feature_names == ["x=a", "x=b", "x is rare"]
    assert encode(encoder, ["a", "c", "zzz", None]).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert "'x': 2 rare texts ('c', 'd') in 3 rows joined to one category." in encoder.report
    assert fit_on(texts, min_count=2, max_categories=1).feature_names == ["x=a", "x is rare"]
    with pytest.raises(DataError, match=r"no text stands in 20 rows .*: like an identifier"):
        fit_on(texts, min_count=20)


def test_texts_in_nearly_every_row_are_left_out():
    """Hundreds of texts in less than two rows each are no features, and the report says how they may be kept."""
    rng = np.random.default_rng(0)
    texts = [f"user{k}" for k in rng.integers(0, 700, 400)]
    n = len(set(texts))
    repeated = {text for text in texts if texts.count(text) > 1}
    assert 200 < n < 350 and sum(text in repeated for text in texts) < 200
    frame = pl.DataFrame({"x": texts, "z": rng.normal(size=400), "y": [0, 1] * 200})
    encoder = TabularEncoder.fit(frame, "y", max_categories=1000)
    assert encoder.feature_names == ["z"] and encoder.dropped["x"].startswith(
        f"'x': dropped, {n} distinct texts in 400"
    )
    assert "(--min-count 2)" in encoder.dropped["x"]
    kept = TabularEncoder.fit(frame, "y", max_categories=1000, min_count=2)
    assert kept.feature_names == [*(f"x={text}" for text in sorted(repeated)), "x is rare", "z"]

    often = [f"user{k}" for k in rng.integers(0, 350, 400)]
    repeated = {text for text in often if often.count(text) > 1}
    assert len(set(often)) > 200 and sum(text in repeated for text in often) >= 200
    whole = frame.with_columns(x=pl.Series(often))
    by_itself = TabularEncoder.fit(whole, "y", max_categories=1000)
    assert by_itself.feature_names == [*(f"x={text}" for text in sorted(set(often))), "z"]
    assert "x" in TabularEncoder.fit(whole, "y", max_categories=100).dropped

    some = frame.with_columns(x=pl.Series([f"town{k}" for k in rng.integers(0, 80, 400)]))
    assert TabularEncoder.fit(some, "y", max_categories=1000).n_features == some["x"].n_unique() + 1
    few = TabularEncoder.fit(some, "y").dropped["x"]
    n = some["x"].n_unique()
    assert f"(more than 50). Keep it with max_categories={n} (--max-categories {n})." in few
    assert TabularEncoder.fit(some, "y", max_categories=n).n_features == n + 1
    single = frame.with_columns(x=pl.Series([f"row {k}" for k in range(400)]))
    assert "No text stands in two rows" in TabularEncoder.fit(single, "y").dropped["x"]


# Dates


def test_parts_of_dates():
    """Month, weekday, day of year and hour lie on circles as Python's calendar has them; the year is standardised."""
    moments = [datetime.datetime(2019 + i % 3, 1 + i * 5 % 12, 1 + i * 7 % 28, i * 11 % 24, 30) for i in range(40)]
    encoder = again(fit_on(moments, dates="parts"))
    names = [
        "x: year",
        *(f"x: {p}, {w}" for p in ("month", "weekday", "day of year", "hour") for w in ("sine", "cosine")),
    ]
    assert encoder.feature_names == ["x", *names]
    X = encode(encoder, moments)
    years = np.array([moment.year for moment in moments])
    np.testing.assert_allclose(X[:, 1], (years - years.mean()) / years.std(), atol=1e-5)
    for row, moment in zip(X, moments, strict=True):
        place = {
            "month": (moment.month - 1) / 12,
            "weekday": calendar.weekday(moment.year, moment.month, moment.day) / 7,
            "day of year": (moment.timetuple().tm_yday - 1) / 365.25,
            "hour": (moment.hour + 0.5) / 24,
        }
        expected = [f(2 * math.pi * share) for share in place.values() for f in (math.sin, math.cos)]
        np.testing.assert_allclose(row[2:], expected, atol=1e-5)


def test_parts_that_do_not_vary_are_left_out():
    """Days of one month have a weekday and a day of year; a missing date is filled, and flagged."""
    days = [datetime.date(2024, 2, day) for day in range(1, 20)]
    encoder = fit_on([*days, None], dates="parts")
    assert [part for part in encoder.columns[0].parts] == ["weekday", "day of year"]
    assert encode(encoder, [None])[0, -1] == 1
    assert "'x': also its weekday, day of year; all but the year as sine and cosine." in encoder.report
    extreme = encode(encoder, [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)])
    assert np.isfinite(extreme).all()


# What the report says


def test_a_column_that_holds_the_answer_is_named():
    """A column equal to the target, and one whose every value stands beside one class, are named; others are not."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    frame = pl.DataFrame({"copy": y, "coded": [["p", "q", "r"][k] for k in y], "fair": rng.integers(0, 5, 200), "y": y})
    report = TabularEncoder.fit(frame, "y").report
    remedy = "Leave it out if it is the answer: leave_out='copy' (--leave-out)."
    assert f"'copy': equal to the target 'y' in every row. {remedy}" in report
    assert any(line.startswith("'coded': each of its 3 values always stands beside the same 'y'") for line in report)
    assert not any(line.startswith("'fair': e") for line in report)


def test_unbalanced_classes_are_named():
    """The share of the largest class is what always saying it would reach; balanced classes are not remarked."""
    frame = pl.DataFrame({"x": range(100), "y": ["a"] * 95 + ["b"] * 5})
    (line,) = [said for said in TabularEncoder.fit(frame, "y").report if "unbalanced" in said]
    assert "'a' has 19 times the rows of 'b'. Whoever always says 'a' is right in 95.0% of the rows." in line
    balanced = frame.with_columns(y=pl.Series(["a", "b"] * 50))
    assert not any("unbalanced" in said for said in TabularEncoder.fit(balanced, "y").report)


# Columns with a part of their own


def test_weights_groups_and_time():
    """Weights travel with the rows; no group is on both sides; the rows held out by time are the last."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=90),
            "w": np.arange(90.0),
            "p": rng.integers(0, 9, 90),
            "t": rng.permutation(90),
            "y": [0, 1, 1] * 30,
        }
    )
    table = encode_table(frame, "y", weights="w", groups="p", validation=0.3, scaling="none")
    assert table.encoder.feature_names == ["x", "t"]
    weight_of = dict(zip(frame["x"].cast(pl.Float32).to_list(), frame["w"].to_list(), strict=True))
    group_of = dict(zip(frame["x"].cast(pl.Float32).to_list(), frame["p"].to_list(), strict=True))
    for (X, _), weights in ((table.train, table.train_weights), (table.validation, table.validation_weights)):
        assert [weight_of[float(x)] for x in X[:, 0]] == weights.tolist()
    sides = [{group_of[float(x)] for x in part[0][:, 0]} for part in (table.train, table.validation)]
    assert sides[0].isdisjoint(sides[1]) and sides[0] | sides[1] == set(range(9))
    assert "'w': the weights of the rows, no feature." in table.report
    report: list[str] = []
    table.encoder.transform(frame, report=report)
    assert report == []
    table = encode_table(frame, "y", time="t", validation=0.2, scaling="none")
    place = table.encoder.feature_names.index("t")
    assert table.validation[0][:, place].min() == 72 and table.train[0][:, place].max() == 71
    assert table.train_weights is None


def test_roles_that_cannot_be():
    """Negative and missing weights, unknown columns, two ways to split: each is named."""
    frame = pl.DataFrame({"x": [1.0, 2, 3, 4], "w": [1.0, -1, 1, 1], "t": ["a"] * 4, "y": [0, 1, 0, 1]})
    with pytest.raises(DataError, match="row 2: weight 'w' is -1"):
        encode_table(frame, "y", weights="w")
    with pytest.raises(DataError, match=r"there is no column 'W' \(did you mean 'w'\?\) for weights"):
        encode_table(frame, "y", weights="W")
    with pytest.raises(DataError, match="which is no date"):
        encode_table(frame, "y", time="t")
    with pytest.raises(ArgumentError, match="not both"):
        encode_table(frame, "y", time="t", groups="x")
    with pytest.raises(ArgumentError, match="weights is 'y', the column to predict"):
        encode_table(frame, "y", weights="y")
    missing = frame.with_columns(p=pl.Series(["a", None, "b", "b"]))
    with pytest.raises(DataError, match="row 2: group 'p' is missing"):
        encode_table(missing, "y", groups="p")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scaling": "minmax"}, "scaling is 'minmax'. Choose standard, robust, quantile, both, none"),
        ({"scaling": {"x": 3}}, "scaling is 3"),
        ({"categories": "hash"}, "categories is 'hash'. Choose one_hot, codes"),
        ({"dates": "all"}, "dates is 'all'. Choose auto, days, parts"),
        ({"min_count": 0}, "min_count must be 1 or more"),
        ({"max_categories": 0}, "max_categories must be 1 or more"),
    ],
)
def test_unknown_options(options, message):
    """An option out of range is an ArgumentError with the choices."""
    with pytest.raises(ArgumentError, match=message):
        fit_on([1.0, 2.0], **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "exec"}, "the scaling is unknown"),
        ({"knots": [0.0, 1.0]}, "knots and levels do not fit"),
        ({"scaling": "quantile", "knots": [1.0, 0.0], "levels": [0.0, 1.0]}, "do not ascend"),
        ({"scaling": "quantile"}, "knots and levels do not fit"),
        ({"parts": ["century"]}, "the part is unknown"),
        ({"parts": ["hour"]}, "the parts do not fit"),
        ({"year": [0.0, 0.0]}, "above zero"),
        ({"year": [0.0]}, "expected two numbers"),
    ],
)
def test_damaged_records_of_the_new_kinds(change, message):
    """Each fault in a record is a RunError."""
    record = fit_on(VALUES).to_json_dict()
    record["columns"][0] |= change
    with pytest.raises(RunError, match=message):
        TabularEncoder.from_json_dict(record)


# Frames of other libraries


def test_pandas_frames():
    """A pandas frame of every kind of column gives the frame that polars has of it."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "f": [1.5, None, 2.5],
            "i": [1, 2, 3],
            "n": pd.array([1, None, 3], dtype="Int64"),
            "b": [True, False, True],
            "s": ["x", None, "z"],
            "c": pd.Categorical(["u", "v", None]),
            "d": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "z": pd.to_datetime(["2020-01-01", None, "2020-01-03"]).tz_localize("Europe/Rome"),
        },
        index=[7, 7, 8],
    )
    found = as_frame(frame)
    assert found.drop("d", "z").rows() == [
        (1.5, 1, 1, True, "x", "u"), (None, 2, None, False, None, "v"), (2.5, 3, 3, True, "z", None)
    ]  # fmt: skip
    assert found["d"].to_list() == [datetime.datetime(2020, 1, 1), None, datetime.datetime(2020, 1, 3)]
    assert found["z"][0] == datetime.datetime(2019, 12, 31, 23)
    assert encode_table(frame, "b", validation=0).encoder.task == "classification"
    with pytest.raises(DataError, match="two columns 'a'"):
        as_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_what_is_no_frame():
    """Arrays and lists are sent away; columns of mixed values are named."""
    for value in (np.zeros((2, 2)), [1, 2], None):
        with pytest.raises(DataError, match="a table must be a polars or pandas DataFrame"):
            as_frame(value)
    with pytest.raises(DataError, match="column 'x' cannot be read"):
        as_frame({"x": [1, "a"]})
