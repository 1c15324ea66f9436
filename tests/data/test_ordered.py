"""Whole numbers as targets: names of classes where rows that are alike tell so, amounts otherwise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import encode_table, find_task, load_digits, stream_table
from undertow.data.ordered import names_classes
from undertow.data.target_fit import TargetFit

rng = np.random.default_rng(5)
N = 2000
Z = rng.normal(size=(N, 5))


def table(y, features=Z):
    columns = {f"x{i}": features[:, i] for i in range(features.shape[1])}
    return pl.DataFrame({**columns, "y": np.asarray(y).astype(np.int64)})


def amounts(explained):
    """Standard normal numbers of which the columns tell a share of the variance."""
    line = Z @ [0.8, 0.5, -0.3, 0.1, 0.0]
    return np.sqrt(explained) * line / line.std() + np.sqrt(1 - explained) * rng.normal(size=N)


def ranks(s, k):
    """In k parts of as many rows each."""
    return np.argsort(np.argsort(s)) * k // N


AMOUNTS = {
    "percentiles": lambda s: 1 + ranks(s, 100),
    "hours of the day": lambda s: ranks(s, 24),
    "twentieths": lambda s: ranks(s, 20),
    "months": lambda s: 1 + ranks(s, 12),
    "years": lambda s: 2001 + ranks(s, 20),
    "ages": lambda s: np.clip(np.round(42 + 15 * s), 18, 90),
    "young ages": lambda s: np.clip(np.round(25 + 3 * s), 18, 35),
    "ages at school": lambda s: np.clip(np.round(17 + 2 * s), 14, 19),
    "prices": lambda s: 100_000 * np.clip(np.round(4 + s), 2, 7),
    "scores": lambda s: np.clip(np.round(55 + 18 * s), 0, 100),
    "marks of ten": lambda s: np.clip(np.round(5 + 2 * s), 0, 10),
    "bikes": lambda s: rng.poisson(np.exp(1 + 0.8 * s)),
    "rooms": lambda s: 1 + np.minimum(11, rng.poisson(np.exp(0.5 + 0.5 * s))),
}


@pytest.mark.parametrize("explained", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts_are_a_regression_however_well_they_are_told(name, explained):
    frame = table(AMOUNTS[name](amounts(explained)))
    task, why = find_task(frame, "y")
    assert task == "regression" and (frame["y"].n_unique() > 20 or "--task classification" in why)


def test_what_counts_down_in_each_of_many_units_is_a_regression():
    """Each number stands in as many rows as any other."""
    left = np.tile(np.arange(40)[::-1], 50)
    wear = np.stack([0.1 * left + rng.normal(size=N), np.exp(-left / 10) + 0.2 * rng.normal(size=N)], axis=1)
    assert find_task(table(left, wear), "y")[0] == "regression"


@pytest.mark.parametrize("each", [3, 7, 10])
def test_what_stays_the_same_of_a_person_is_an_amount(each):
    """Years at school, of people who are asked each year: rows of one person are the nearest, and have the same."""
    years = np.clip(np.round(12 + 2.8 * rng.normal(size=N // each)), 5, 18)
    person = rng.normal(size=(N // each, 4)) + 0.3 * (years[:, None] - 12) / 2.8 * [1, 0, 0, 0]
    asked = np.concatenate([np.repeat(person, each, axis=0), rng.normal(size=(N // each * each, 2))], axis=1)
    assert find_task(table(np.repeat(years, each), asked), "y")[0] == "regression"


@pytest.mark.parametrize("width", [5, 10])
def test_numbers_that_a_column_tells_without_error_are_amounts(width):
    minutes = rng.integers(0, 200, N)
    assert find_task(table(minutes // width, np.stack([minutes, rng.normal(size=N)], axis=1)), "y")[0] == "regression"


@pytest.mark.parametrize("begin", [20, 404])
def test_few_classes_of_larger_numbers_are_found(begin):
    y = rng.integers(0, 6, N)
    frame = table(begin + 7 * y, 2 * rng.normal(size=(6, 5))[y] + rng.normal(size=(N, 5)))
    assert find_task(frame, "y")[0] == "classification"
    assert find_task(table(np.where(y > 2, begin, begin + 30), Z), "y")[0] == "classification"  # two need no look


@pytest.mark.parametrize("n", [11, 15, 20, 26, 60, 100])
@pytest.mark.parametrize("apart", [1.0, 2.0, 4.0])
def test_classes_in_any_order_are_found(n, apart):
    y = rng.integers(0, n, N)
    places = apart * rng.normal(size=(n, 5))
    frame = table(y, places[y] + rng.normal(size=(N, 5)))
    task, why = find_task(frame, "y")
    assert task == "classification" and "--task regression" in why
    streamed = stream_table(frame, "y", validation=0.0).encoder
    assert (streamed.task, streamed.report[0]) == (task, why)


def test_pairs_of_digits_are_a_hundred_classes():
    """Pairs of handwritten digits beside each other: of real pictures."""
    digits = load_digits()
    other = rng.permutation(len(digits.y))
    X = np.concatenate([digits.X[other], digits.X], axis=1)
    assert find_task(table(10 * digits.y[other] + digits.y, X), "y")[0] == "classification"


def test_texts_and_truth_values_tell_too():
    y = rng.integers(0, 16, N)
    bits = pl.DataFrame(
        {"a": y // 8 == 1, "b": np.where(y // 4 % 2, "u", "v"), "c": y // 2 % 2 == 1, "d": y % 2, "y": 3 * y % 16}
    )
    assert find_task(bits, "y")[0] == "classification"


def test_numbers_of_rows_tell_nothing():
    """A file that is sorted by its target, with its rows numbered."""
    frame = pl.DataFrame({"row": np.arange(N), "y": np.repeat(np.arange(20), N // 20)})
    assert not names_classes(frame, "y")


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e300, 0.0])
def test_columns_of_any_numbers_are_looked_at(fill):
    y = rng.integers(0, 12, 600)
    X = 4 * rng.normal(size=(12, 3))[y] + rng.normal(size=(600, 3))
    frame = table(
        y, np.concatenate([X, np.full((600, 1), fill), np.where(rng.random((600, 1)) < 0.1, fill, 1.0)], axis=1)
    )
    assert names_classes(frame, "y")


def test_a_missing_target_is_left_out():
    y = rng.integers(0, 12, 600)
    X = 4 * rng.normal(size=(12, 3))[y] + rng.normal(size=(600, 3))
    frame = table(y, X).with_columns(pl.when(pl.int_range(600) % 3 == 0).then(None).otherwise("y").alias("y"))
    assert names_classes(frame, "y")
    assert not names_classes(frame.head(30), "y")


def test_files_of_other_numbers(tmp_path):
    """Rows of several files are looked at together, though one has whole numbers where another has fractions."""
    y = rng.integers(0, 15, 400)
    first = pl.DataFrame({"x": y, "s": ["a", "b"] * 200, "y": y}, schema_overrides={"x": pl.Int32})
    second = first.with_columns(pl.col("x").cast(pl.Float64), pl.col("s").cast(pl.Categorical))
    for name, frame in (("a", first), ("b", second)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    assert stream_table(tmp_path, "y").encoder.task == "regression"


def test_columns_left_out():
    """Columns that are no features tell nothing: here a text has the same number in words."""
    y = np.clip(np.round(10 + 3 * rng.normal(size=N)), 1, 20)
    frame = table(y, y[:, None] + 8 * rng.normal(size=(N, 3)))
    frame = frame.with_columns(pl.Series("said", [f"w{v * 7 % 23:g}" for v in y]))
    assert find_task(frame, "y")[0] == "classification"
    assert find_task(frame, "y", ["said"])[0] == "regression"
    assert encode_table(frame, "y", leave_out="said").encoder.task == "regression"
    assert stream_table(frame, "y", leave_out="said").encoder.task == "regression"


def test_many_parts():
    """Rows of many parts are kept together: each part of its own would take a hundred times as much."""
    fit = TargetFit("y", None)
    frame = table(np.arange(N) % 30)
    fit.update(frame["y"], None)
    for first in range(0, N, 10):
        fit.look_at(frame[first : first + 10], 2)
    assert len(fit.rows) < 64
    assert sum(part.height for part in fit.rows) == 400


def test_numbers_beyond_all_bounds():
    """Columns whose mean is no number are left out, silently; of hundreds of texts fewer rows are looked at."""
    y = np.arange(N) % 30
    frame = table(y).with_columns(pl.Series("far", [1e308, 1e308, -1e308, -1e308] * (N // 4)))
    assert not names_classes(frame, "y")
    texts = {f"s{i}": [str(v) for v in rng.integers(0, 20, N)] for i in range(60)}
    assert not names_classes(frame.with_columns(**{name: pl.Series(x) for name, x in texts.items()}), "y")
