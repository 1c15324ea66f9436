"""The weekday of dates is a feature of a table that is trained on where the target depends on it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from undertow.data import encode_table
from undertow.data.weekdays import depends_on_weekday, find_idle_weekdays, without_idle_weekdays
from undertow.train.table_data import load_table
from undertow.train.table_settings import TableSettings

N = 900
DAYS = np.arange(17_000, 17_000 + N)
DAY = (DAYS + 3) % 7  # 1970-01-01 was a Thursday
TREND = np.stack([DAYS - DAYS.mean(), (DAYS - DAYS.mean()) ** 2], axis=1) / N**2
RNG = np.random.default_rng(0)
WEATHER = 10 * np.sin(2 * np.pi * DAYS / 365.2425) + 0.01 * DAYS + RNG.normal(size=N)


def encoded(y, **options):
    frame = pl.DataFrame({"day": pl.Series(DAYS).cast(pl.Date), "x": RNG.normal(size=N), "y": y})
    return encode_table(frame, "y", dates="auto", **options)


def test_the_decision_is_that_of_scipy():
    """Of a number that of a one-way analysis of variance, but for p-values close to the bound."""
    stats = pytest.importorskip("scipy.stats")
    for effect in (0.0, 0.1, 0.2, 0.3, 1.0):
        for seed in range(20):
            y = np.random.default_rng(seed).normal(size=N) + effect * (DAY >= 5)
            left = y - np.polyval(np.polyfit(TREND[:, 0], y, 2), TREND[:, 0])
            p = stats.f_oneway(*(left[k == DAY] for k in range(7))).pvalue
            if abs(p - 0.05) > 0.01:
                assert depends_on_weekday(DAY, y[:, None], TREND) == (p < 0.05)


def test_of_classes_it_is_that_of_their_table_of_frequencies():
    stats = pytest.importorskip("scipy.stats")
    for effect in (0.0, 0.1, 0.3):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            labels = (rng.random(N) + effect * (DAY >= 5) > 0.6).astype(int) + (rng.random(N) > 0.7)
            counts = np.stack([np.bincount(labels[k == DAY], minlength=3) for k in range(7)])
            p = stats.chi2_contingency(counts).pvalue
            if abs(p - 0.05) > 0.01:
                assert depends_on_weekday(DAY, np.eye(3)[labels], np.zeros((N, 1))) == (p < 0.05)


def test_weather_knows_no_weekday_and_its_season_hides_none():
    for y, found in (
        (WEATHER, False),
        (WEATHER + (DAY >= 5), True),
        (np.where(np.median(WEATHER) < WEATHER, "a", "b"), False),
        (np.where(WEATHER + 6 * (DAY >= 5) > np.median(WEATHER), "a", "b"), True),
    ):
        before = encoded(y)
        after = without_idle_weekdays(before)
        names = after.encoder.feature_names
        assert ("day: weekday, sine" in names) == found and "day: day of year, sine" in names
        said = [line for line in after.report if "weekday is left out" in line]
        assert said == ["'day': its weekday is left out, since the target does not depend on it."] * (not found)
        for part, whole in ((after.train, before.train), (after.validation, before.validation)):
            stay = [i for i, name in enumerate(before.encoder.feature_names) if name in names]
            assert np.array_equal(part[0], whole[0][:, stay]) and part[0].flags.c_contiguous


def test_the_encoder_makes_what_was_trained_on(tmp_path):
    """Of later rows too; and parts that were asked for stay."""
    frame = pl.DataFrame({"day": pl.Series(DAYS).cast(pl.Date), "x": RNG.normal(size=N), "y": WEATHER})
    frame.write_csv(tmp_path / "t.csv")
    settings = TableSettings(data=str(tmp_path / "t.csv"), target="y", validation=0.0)
    table = load_table(settings)
    assert "weekday" not in table.encoder.columns[0].parts
    np.testing.assert_allclose(table.encoder.transform(frame), table.train[0], atol=1e-6)
    asked = load_table(TableSettings(**{**settings.given(), "dates": "parts"}))
    assert "weekday" in asked.encoder.columns[0].parts


@pytest.mark.parametrize("found", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_of_a_table_read_in_blocks_a_part_tells(tmp_path, classes, found):
    """As in memory, though no more than a part is looked at; the rows are those without these two features."""
    y = WEATHER + 6 * (DAY >= 5) * found
    y = np.where(y > np.median(y), "a", "b") if classes else y
    frame = pl.DataFrame({"day": pl.Series(DAYS).cast(pl.Date), "x": RNG.normal(size=N), "y": y})
    (tmp_path / "parts").mkdir()
    for k in range(12):
        frame[75 * k : 75 * (k + 1)].write_csv(tmp_path / "parts" / f"{k:02}.csv")
    settings = TableSettings(data=str(tmp_path / "parts" / "*.csv"), target="y")
    table = load_table(settings)
    assert ("weekday" in table.encoder.columns[0].parts) == found
    assert any("weekday is left out" in line for line in table.report) != found
    with table.train.in_order().epoch(0, batch_size=64) as blocks:
        X = np.concatenate([X for X, *_ in blocks])
    asked = load_table(TableSettings(**settings.given(), dates="parts"))
    assert "weekday" in asked.encoder.columns[0].parts and X.shape[1] == table.n_features
    days = (frame["day"].cast(pl.Int32).to_numpy() - table.encoder.columns[0].mean) / table.encoder.columns[0].scale
    assert np.isin(X[:, 0].round(4), days.astype(np.float32).round(4)).all()
    assert np.asarray(table.validation[0]).shape[1] == table.n_features


def test_a_part_of_a_few_days_tells_nothing():
    """Less than two weeks: the weekday stays."""
    hours = pl.datetime_range(pl.datetime(2023, 1, 2), pl.datetime(2023, 1, 31), "1h", eager=True)
    frame = pl.DataFrame({"at": hours, "y": np.random.default_rng(1).normal(size=len(hours))})
    table = encode_table(frame, "y", validation=0.0, dates="auto")
    X, y = table.train
    assert find_idle_weekdays(table.encoder, X, y) == ["at"]
    assert find_idle_weekdays(table.encoder, X[: 24 * 13], y[: 24 * 13]) == []
