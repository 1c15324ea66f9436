"""Targets of numbers: their logarithms, what is said of skewed ones, and records."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from undertow.data import TabularEncoder, encode_table, stream_table
from undertow.errors import DataError, RunError

rng = np.random.default_rng(0)
PAID = np.exp(rng.normal(3, 1.5, 400))
FRAME = pl.DataFrame({"x": rng.normal(size=400), "paid": PAID})


@pytest.mark.parametrize(("scaling", "curve", "back"), [("log", np.log, np.exp), ("log1p", np.log1p, np.expm1)])
def test_logarithms_are_standardised_and_decoded(scaling, curve, back):
    encoder = TabularEncoder.fit(FRAME, "paid", target_scaling=scaling)
    found = encoder.encode_target(FRAME)
    logs = curve(PAID)
    np.testing.assert_allclose(found[:, 0], (logs - logs.mean()) / logs.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.decode(found), PAID, rtol=1e-5)
    np.testing.assert_allclose(encoder.decode(np.array([0.0])), back(logs.mean()), rtol=1e-12)
    assert any("nearer to a median than to a mean" in line for line in encoder.report)
    again = TabularEncoder.from_json_dict(json.loads(json.dumps(encoder.to_json_dict())))
    assert again == encoder


def test_what_has_no_logarithm_is_an_error_with_its_row():
    frame = FRAME.with_columns(paid=pl.Series([*PAID[:-1], 0.0]))
    with pytest.raises(DataError, match=r"row 400: target 'paid' is 0, which has no logarithm.*log1p"):
        TabularEncoder.fit(frame, "paid", target_scaling="log")
    assert TabularEncoder.fit(frame, "paid", target_scaling="log1p").target.curve == "log1p"
    below = frame.with_columns(paid=pl.Series([*PAID[:-1], -1.0]))
    for scaling in ("log", "log1p"):
        with pytest.raises(DataError, match=r"row 400: target 'paid' is -1, .*target_scaling='standard'"):
            TabularEncoder.fit(below, "paid", target_scaling=scaling)
    encoder = TabularEncoder.fit(FRAME, "paid", target_scaling="log")
    with pytest.raises(DataError, match=r"row 400: target 'paid' is 0, which has no logarithm"):
        encoder.encode_target(frame)


def test_predictions_stay_finite():
    encoder = TabularEncoder.fit(FRAME, "paid", target_scaling="log")
    assert np.isfinite(encoder.decode(np.array([1e30, -1e30]))).all()


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("scaling", ["log", "log1p"])
def test_a_stream_takes_the_same_logarithms(tmp_path, written, scaling):
    cents = np.round(PAID, 2) + 1
    texts = [f"${value:,.2f}" for value in cents]
    frame = FRAME.with_columns(paid=pl.Series(texts) if written else pl.Series(cents))
    frame.write_csv(tmp_path / "a.csv")
    found = stream_table(tmp_path / "a.csv", "paid", validation=0.2, target_scaling=scaling, memory=1_000_000)
    with found.train.epoch(0, batch_size=50) as blocks:
        trained = np.concatenate([y for _, y in blocks])
    held = found.validation.arrays[1]
    values = np.concatenate([found.encoder.decode(trained), found.encoder.decode(held)])
    np.testing.assert_allclose(np.sort(values), np.sort(cents), rtol=1e-5)
    logs = {"log": np.log, "log1p": np.log1p}[scaling](found.encoder.decode(trained))
    assert found.encoder.target.mean == pytest.approx(logs.mean(), rel=1e-5)
    assert found.encoder.target.scale == pytest.approx(logs.std(), rel=1e-5)


@pytest.mark.parametrize("scaling", ["log", "log1p"])
def test_a_stream_of_written_amounts_without_a_logarithm_is_refused(tmp_path, scaling):
    texts = [f"${value:,.2f}" for value in np.round(PAID, 2)]
    texts[3] = "-$1.00"
    FRAME.with_columns(paid=pl.Series(texts)).write_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match="has no logarithm"):
        stream_table(tmp_path / "a.csv", "paid", validation=None, target_scaling=scaling, memory=1_000_000)


def said(frame, **options):
    return [x for x in encode_table(frame, "paid", validation=0.0, **options).report if "skewed" in x]


def test_skewed_amounts_are_remarked_on():
    (line,) = said(FRAME)
    assert "--target-scaling log (target_scaling='log')" in line
    assert f"below {np.median(PAID):.4g}, the largest is {PAID.max():.4g}" in line
    assert "poisson" not in line
    (line,) = said(FRAME.with_columns(paid=np.floor(PAID)))
    assert "log1p" in line and "poisson" in line


@pytest.mark.parametrize(
    "values",
    [rng.normal(size=400), rng.random(400), np.exp(rng.normal(size=400)) - 5, np.abs(rng.normal(size=400)), PAID[:60]],
    ids=["normal", "uniform", "below 0", "half a normal", "few"],
)
def test_other_numbers_are_not(values):
    frame = pl.DataFrame({"x": np.arange(float(len(values))), "paid": values})
    assert not said(frame)


def test_nothing_is_said_where_logarithms_are_taken():
    assert not said(FRAME, target_scaling="log")


def test_amounts_are_not_called_counts():
    report = " ".join(TabularEncoder.fit(FRAME, "paid", target_scaling="mean").report)
    assert "amounts, divided by their mean" in report and "counts" not in report
    whole = FRAME.with_columns(paid=np.floor(PAID))
    assert "counts, divided by their mean" in " ".join(TabularEncoder.fit(whole, "paid", target_scaling="mean").report)


@pytest.mark.parametrize("curve", ["exp", 3, None, "standard"])
def test_a_damaged_curve_is_refused(curve):
    record = TabularEncoder.fit(FRAME, "paid", target_scaling="log").to_json_dict()
    record["target"]["curve"] = curve
    with pytest.raises(RunError, match="the curve is unknown"):
        TabularEncoder.from_json_dict(record)


def test_names_of_other_encoders_lead_to_ours():
    encoder = TabularEncoder.fit(FRAME, "paid")
    with pytest.raises(AttributeError, match=r"no attribute 'inverse_target'\. Use encoder\.decode\(outputs\)"):
        encoder.inverse_target  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        encoder.nothing  # noqa: B018
