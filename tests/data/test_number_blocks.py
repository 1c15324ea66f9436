"""Columns of numbers that are encoded many at a time are to the last bit what each is by itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table
from undertow.data.column_statistics import LeakCheck
from undertow.data.number_blocks import encode_blocks

TYPES = [pl.UInt8, pl.Int16, pl.Int64, pl.UInt64, pl.Float32, pl.Float64]


def make_frame(m: int, seed: int) -> pl.DataFrame:
    """Columns of each type in turn, and among them texts, dates, booleans and missing values."""
    rng = np.random.default_rng(seed)
    found = {"y": rng.normal(size=m)}
    for k in range(60):
        found[f"x{k}"] = pl.Series(rng.integers(0, 100, m)).cast(TYPES[k % 6])
    found["big"] = pl.Series(rng.integers(2**60, 2**61, m))
    found["t"] = pl.Series(rng.choice(["a", "b"], m).tolist())
    found["d"] = pl.Series(rng.integers(0, 3000, m)).cast(pl.Int32).cast(pl.Date)
    found["b"] = pl.Series(rng.random(m) < 0.5)
    found["gap"] = pl.Series(np.where(rng.random(m) < 0.3, np.nan, 1.0 * rng.integers(0, 9, m)))
    return pl.DataFrame(found)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "both", "none", "auto"])
def test_blocks_are_what_each_column_is(scaling, monkeypatch):
    """For new rows too, of which some are far away or missing; and what is said of them is the same."""
    train, new = make_frame(200, 0), make_frame(90, 1)
    new = new.with_columns(
        x3=pl.when(pl.int_range(pl.len()) == 7).then(10**6).otherwise("x3"),
        x5=pl.when(pl.int_range(pl.len()) == 8).then(None).otherwise("x5"),
        x11=pl.lit(None, pl.Float64),
    )
    encoder = TabularEncoder.fit(train, "y", scaling=scaling)
    X, said = {}, {}
    for blocks in (True, False):
        if not blocks:
            monkeypatch.setattr("undertow.data.encoder.encode_blocks", lambda *_: {})
        said[blocks] = []
        X[blocks] = encoder.transform(new, report=said[blocks])
    assert X[True].tobytes() == X[False].tobytes() and X[True].flags.c_contiguous
    assert said[True] == said[False] and any("'x3'" in line for line in said[True])


def test_most_columns_are_done_in_blocks():
    """All of plain numbers but those of which something is to be told."""
    frame = make_frame(200, 0)
    encoder = TabularEncoder.fit(frame, "y")
    out = np.zeros((200, encoder.n_features), np.float32)
    done = encode_blocks(encoder.columns, frame, out)
    assert {f"x{k}" for k in range(60)} <= set(done) and not {"t", "d", "b", "gap"} & set(done)


def test_an_infinite_number_is_told_as_before():
    """With its row."""
    frame = make_frame(50, 0)
    encoder = TabularEncoder.fit(frame, "y")
    bad = frame.with_columns(x4=pl.when(pl.int_range(pl.len()) == 3).then(float("inf")).otherwise("x4"))
    with pytest.raises(Exception, match="row 4: column 'x4' holds infinity"):
        encoder.transform(bad)


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_found_as_by_all_pairs(seed):
    """A value that stands beside two of the target ends the search at once; the sentence is that of all pairs."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 600)
    kinds = [y * 2.0, y % 2, rng.integers(0, 3, 600), np.where(np.arange(600) == 599, 9 - y, y), np.arange(600) // 3]
    for values in kinds:
        check, target = LeakCheck("x", "y"), pl.Series("y", y)
        for part in (slice(0, 300), slice(300, 600)):
            check.update(pl.Series("x", values)[part], target[part])
        pairs = {(a, b) for a, b in zip(values.tolist(), y.tolist(), strict=True)}
        one = len({a for a, _ in pairs}) == len(pairs)
        assert bool(check.say()) == (one and 2 * len(pairs) <= 600)


def test_whole_numbers_that_may_be_days_still_are():
    """Eight digits, of a year that may be: those are looked at, others are not."""
    days = pl.Series("d", [20230101 + k % 28 for k in range(60)])
    table = encode_table(pl.DataFrame({"d": days, "n": range(60), "y": np.arange(60) * 0.5}), "y")
    assert any("'d': dates written as 20230725" in line for line in table.report)
    ends = encode_table(pl.DataFrame({"d": [17999999, *days[1:]], "n": range(60), "y": np.arange(60) * 0.5}), "y")
    assert not any("20230725" in line for line in ends.report)
