"""Options of `undertow train` for the network, the target and copies of rows: each does what it says."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner

TRAIN = ("--epochs", 3, "--hidden", "4", "--no-refit", "--quiet", "--overwrite", "--out", "run")
N, PRICE = 120, 300.0


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N))
    kind = np.where(a > 1, "rare", np.where(b > 0, "more", "most"))
    pl.DataFrame({"a": a, "b": b, "kind": kind}).write_csv("kinds.csv")
    numbers = pl.DataFrame({"id": range(N), "a": a, "b": b, "price": PRICE + 10 * a})
    numbers.write_csv("prices.csv")
    pl.concat([numbers, numbers.head(50).with_columns(pl.col("id") + N)]).write_csv("copies.csv")
    return make_runner(capsys, monkeypatch)


def trained(undertow, table, target, *options):
    code, out, err = undertow("train", table, "--target", target, *TRAIN, *options)
    assert code == 0, err
    return ut.load("run"), out


@pytest.mark.parametrize("scaling", ["none", "mean", "standard"])
def test_the_target_is_scaled_as_told(undertow, scaling):
    """In the unit of the column, a prediction is the output of the network; times the mean; or about the mean."""
    run, out = trained(undertow, "prices.csv", "price", "--target-scaling", scaling, "--validation", 0)
    frame = pl.read_csv("prices.csv")
    y, target = frame["price"].to_numpy(), run.extras["encoder"]["target"]
    scale, mean = {"none": (1.0, 0.0), "mean": (y.mean(), 0.0), "standard": (y.std(), y.mean())}[scaling]
    np.testing.assert_allclose([target["scale"], target["mean"]], [scale, mean], rtol=1e-12)
    encoder = ut.data.TabularEncoder.from_json_dict(run.extras["encoder"])
    outputs = np.ravel(run.outputs(encoder.transform(frame.drop("price"))))
    np.testing.assert_allclose(run.predict(frame), outputs * scale + mean, rtol=1e-6)
    wrong = [finding for finding in run.findings if finding.kind == "target-not-scaled"]
    assert bool(wrong) == (scaling == "none")
    if wrong:
        assert [remedy.option for remedy in wrong[0].remedies] == ["--target-scaling standard"]
        assert "--target-scaling standard" in out and "scaled = " not in out and "scaled = " in str(wrong[0])


def test_copies_of_rows_are_dropped_before_any_are_held_out(undertow):
    with_copies, _ = trained(undertow, "copies.csv", "price", "--leave-out", "id")
    (found,) = [finding for finding in with_copies.findings if finding.kind == "leakage"]
    assert found.remedies[0].option == "--drop-copies"
    run, out = trained(undertow, "copies.csv", "price", "--leave-out", "id", "--drop-copies")
    assert "50 rows that are copies of others were dropped." in out
    assert [finding for finding in run.findings if finding.kind == "leakage"] == []
    assert run.flow.facts["n_examples"] + run.flow.facts["n_validation"] == N
    ids, _ = trained(undertow, "copies.csv", "price", "--drop-copies")  # which differ
    assert ids.flow.facts["n_examples"] + ids.flow.facts["n_validation"] == N + 50


@pytest.mark.parametrize(("loss", "n_out"), [("categorical_cross_entropy", 3), ("binary_cross_entropy", 1)])
def test_a_network_starts_at_the_frequencies_of_the_classes(undertow, loss, n_out):
    """The loss before training is the entropy of the labels, but for what the small weights do."""
    if n_out == 1:
        frame = pl.read_csv("kinds.csv").with_columns(kind=pl.col("kind") == "rare")
        frame.write_csv("kinds.csv")
    options = ("--validation", 0, "--loss", loss)
    told, _ = trained(undertow, "kinds.csv", "kind", "--start-at-frequencies", *options)
    p = np.array(told.flow.facts["target"]["priors"])
    entropy = -float(np.sum(p * np.log(p)))
    assert told.flow.facts["output"]["initial_loss"] == pytest.approx(entropy, rel=0.02)
    assert told.model.layers[-1].b.shape == (n_out,)
    exact, _ = trained(undertow, "kinds.csv", "kind", "--start-at-frequencies", "--dtype", "float64", *options)
    assert exact.model.layers[-1].b.dtype == exact.model.layers[-1].W.dtype == np.float64


def test_noise_and_the_last_activation_are_part_of_the_network_and_of_the_config(undertow):
    told, out = trained(undertow, "prices.csv", "price", "--noise", 0.3, "--output-activation", "softplus")
    assert repr(told.model.layers[0]) == "Noise(deviation=0.3)" and repr(told.model).endswith("softplus)")
    assert "noise 0.3 on the inputs, ends in softplus" in out
    first = Path("run/model.safetensors").read_bytes()
    code, _, _ = undertow("train", "--config", "run/config.toml", "--out", "again", "--quiet")
    assert code == 0 and Path("again/model.safetensors").read_bytes() == first
    quiet, _ = trained(undertow, "prices.csv", "price", "--noise", 0, "--output-activation", "none")
    plain, _ = trained(undertow, "prices.csv", "price")
    assert repr(quiet.model) == repr(plain.model) and math.isclose(quiet.history[-1]["loss"], plain.history[-1]["loss"])


@pytest.mark.parametrize(
    ("table", "target", "options", "message"),
    [
        ("prices.csv", "price", ("--start-at-frequencies",), "--start-at-frequencies: the target is a number"),
        ("prices.csv", "price", ("--target-scaling", "standart"), "standard, log, log1p, mean, none"),
        ("kinds.csv", "kind", ("--target-scaling", "mean"), "the target is a class, not a number. Leave it out, or"),
        ("prices.csv", "a", ("--target-scaling", "mean"), "such as mean_squared_error, or another target_scaling."),
        ("prices.csv", "price", ("--output-activation", "softplas"), "Did you mean 'softplus'?"),
        ("kinds.csv", "kind", ("--output-activation", "relu"), "Leave --output-activation out, or give softmax."),
        ("kinds.csv", "kind", ("--output-activation", "leaky_relu:slope=0.1"), "--output-activation leaky_relu:slope="),
        ("prices.csv", "price", ("--noise", -1), "--noise"),
        ("*.csv", "a", ("--drop-copies",), "--drop-copies: the file is read in blocks"),
    ],
)
def test_what_does_not_go_together_is_one_line(undertow, table, target, options, message):
    if "*" in table:
        Path("kinds.csv").unlink()
    code, _, err = undertow("train", table, "--target", target, *TRAIN, *options)
    assert code == 2 and message in err and err.count("\n") == 1 and not Path("run").exists()


def test_a_loss_of_probabilities_names_the_activation_that_makes_them(undertow):
    """Sigmoid for two classes with one output; what gives probabilities is trained."""
    pl.read_csv("kinds.csv").with_columns(kind=pl.col("kind") == "rare").write_csv("kinds.csv")
    told = ("train", "kinds.csv", "--target", "kind", *TRAIN, "--loss", "binary_focal", "--output-activation")
    code, _, err = undertow(*told, "softmax")
    assert code == 2 and err.startswith("error: --output-activation softmax: --loss binary_focal takes probabilities")
    assert "or give sigmoid." in err and not Path("run").exists()
    code, _, err = undertow(*told, "sigmoid")
    assert code == 0, err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--drop-copies",), "--drop-copies is for tables"),
        (("--cache", "rows"), "--cache is for tables"),
        (("--target", "y"), "--target is for tables"),
        (("--groups", "g"), "--groups is for tables"),
        (("--leave-out", "pixel_1"), "--leave-out is for tables"),
        (("--scaling", "robust"), "--scaling is for tables"),
        (("--min-count", 2), "--min-count is for tables"),
        (("--no-header",), "--no-header is for tables"),
        (("--task", "regression"), "--task regression: --dataset digits has classes"),
    ],
)
def test_what_is_told_of_columns_is_refused_where_a_data_set_has_none(undertow, options, message):
    """It would change nothing."""
    code, _, err = undertow("train", "--dataset", "digits", *options, *TRAIN)
    assert code == 2 and message in err


def test_a_data_set_that_is_shipped_is_trained_on_again_from_its_config(undertow):
    """What config.toml says of columns, where nothing was told, is not refused."""
    assert undertow("train", "--dataset", "digits", *TRAIN)[0] == 0
    assert undertow("train", "--config", "run/config.toml", "--out", "b", "--quiet")[0] == 0
    assert Path("run/model.safetensors").read_bytes() == Path("b/model.safetensors").read_bytes()


def test_what_many_numbers_an_example_cost_is_said_before(undertow, monkeypatch):
    """Parameters of the first layer and its memory, 24 bytes each, and that of the rows, of float32."""
    monkeypatch.setattr(importlib.import_module("undertow.train.table_words"), "_WIDE", 1200)
    y = np.arange(24) % 2
    x = np.random.default_rng(0).integers(0, 40, (24, 20, 20, 3)) + 200 * y[:, None, None, None]
    np.savez("wide.npz", x=x.astype(np.uint8), y=y)
    options = ("--hidden", "2", "--epochs", "8", "--no-refit", "--no-other", "--folds", "1", "--validation", "0.25")
    code, out, err = undertow("train", "wide.npz", "--target", "y", "--no-flow", *options)
    assert code == 0, err
    assert "2,402 of them are in the first layer, as each of the 1200 numbers of an example has its own" in out
    assert "about 57.6 kB of memory, beside 86.4 kB for the rows." in out
    assert undertow("predict", "runs/wide", "wide.npz", "--out", "found.csv")[0] == 0
    assert (pl.read_csv("found.csv")["prediction"].to_numpy() == y).all()
