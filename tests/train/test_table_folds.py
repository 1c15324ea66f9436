"""Cross-validation of a table: nothing of the rows held out reaches the encoder, and each row is predicted once."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.data import TabularEncoder, encode_table, k_folds
from undertow.errors import ArgumentError, DataError, ShapeError
from undertow.train.predictions import predict_portions

RNG = np.random.default_rng(0)
M = 150
SIZE, TOWN, GROUP = RNG.normal(50, 10, M), RNG.choice(["Oslo", "Rome", "Lima"], M), np.repeat(np.arange(30), 5)
PRICE = 3e4 + 500 * SIZE + 1e4 * (TOWN == "Oslo")
FRAME = pl.DataFrame({
    "size": SIZE, "town": TOWN, "house": GROUP, "w": RNG.uniform(0.5, 2, M), "price": PRICE,
    "kind": np.where(np.median(PRICE) < PRICE, "dear", "cheap"),
})  # fmt: skip
SETTINGS = {"epochs": 6, "optimizer": optim.adam(0.02), "batch_size": 16}


def make(encoder):
    return nn.Sequential(nn.Dense(encoder.n_features, 8), "tanh", nn.Dense(8, encoder.n_outputs))


def test_a_fold_is_what_one_would_write_by_hand():
    table = FRAME.select("size", "town", "kind")
    found = ut.cross_validate(make, table, target="kind", folds=4, seed=3, **SETTINGS)
    labels = (table["kind"] == "dear").to_numpy()
    for fold, (rows, held) in enumerate(k_folds(M, 4, 3, stratify=labels.astype(int))):
        assert np.array_equal(found.parts[fold][1], held)
        fitted = encode_table(table[rows], "kind", validation=0.0)
        run = ut.train(
            make(fitted.encoder), fitted.train, loss="categorical_cross_entropy", validation=None, seed=3 + fold,
            progress=False, **SETTINGS,
        )  # fmt: skip
        X_held = fitted.encoder.transform(table[held])
        assert np.array_equal(found.predictions[held], fitted.encoder.decode(run.predict(X_held)))
        assert found.scores["accuracy"][fold] == np.mean(found.predictions[held] == table["kind"].to_numpy()[held])
        np.testing.assert_array_equal(found.probabilities[held], run.predict_probability(X_held))


@pytest.mark.parametrize("stopping", [None, 3])
def test_the_encoder_knows_the_rows_trained_on_alone(stopping):
    """Not those that early stopping watches either; a town of one row is unknown where that row is held out."""
    table = FRAME.select("size", "town", "price").with_columns(
        town=pl.when(pl.int_range(M) == 7).then(pl.lit("Kyiv")).otherwise("town")
    )
    found = ut.cross_validate(make, table, target="price", folds=3, early_stopping=stopping, **SETTINGS)
    for (rows, held), run in zip(found.parts, found.runs, strict=True):
        encoder = TabularEncoder.from_json_dict(run.extras["encoder"])
        assert run.settings["n_examples"] == (len(rows) if stopping is None else encoder_rows(run, rows))
        if stopping is None:
            assert encoder.columns[0].mean == pytest.approx(SIZE[rows].mean())
            assert encoder.target.mean == pytest.approx(PRICE[rows].mean())
        else:
            assert encoder.columns[0].mean != pytest.approx(SIZE[rows].mean(), rel=1e-6)
        if 7 in held:
            assert "Kyiv" not in json.dumps(run.extras["encoder"])


def encoder_rows(run, rows):
    return len(rows) - run.settings["n_validation"]


def test_scores_of_a_number_are_in_its_unit():
    found = ut.cross_validate(make, FRAME.select("size", "town", "price"), target="price", folds=3, **SETTINGS)
    for fold, (_, held) in enumerate(found.parts):
        error = found.predictions[held] - PRICE[held]
        assert found.scores["rmse"][fold] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
        assert found.scores["mae"][fold] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert found.probabilities is None and found.predictions.shape == (M,)


def test_files_and_frames_are_alike_and_a_saved_fold_predicts(tmp_path):
    table = FRAME.select("size", "town", "kind")
    table.write_csv(tmp_path / "t.csv")
    table.write_parquet(tmp_path / "t.parquet")
    found = [
        ut.cross_validate(make, data, target="kind", folds=3, **SETTINGS)
        for data in (table, tmp_path / "t.csv", str(tmp_path / "t.parquet"), table.to_dict(as_series=False))
    ]
    assert all(np.array_equal(x.predictions, found[0].predictions) for x in found)
    found[0].runs[1].save(tmp_path / "run")
    (frame,) = predict_portions(ut.load(tmp_path / "run"), tmp_path / "t.csv")
    held = found[0].parts[1][1]
    assert frame["prediction"].to_numpy()[held].tolist() == found[0].predictions[held].tolist()


@pytest.mark.parametrize("names", [None, ["size", "town", "kind"]])
def test_a_file_without_a_line_of_names(tmp_path, names):
    """It gives what the same table with names gives, and a fold that was saved reads such files too."""
    table = FRAME.select("size", "town", "kind")
    table.write_csv(tmp_path / "t.csv", include_header=False)
    kind, header = ("column_3", False) if names is None else ("kind", names)
    found = ut.cross_validate(make, tmp_path / "t.csv", target=kind, header=header, folds=3, **SETTINGS)
    assert np.array_equal(
        found.predictions, ut.cross_validate(make, table, target="kind", folds=3, **SETTINGS).predictions
    )
    if names is None:
        found.runs[0].save(tmp_path / "run")
        held = found.parts[0][1]
        later = ut.load(tmp_path / "run").predict(tmp_path / "t.csv")
        assert later[held].tolist() == found.predictions[held].tolist()
    with pytest.raises(ArgumentError, match="header is for a text file"):
        ut.cross_validate(make, table, target="kind", header=header, folds=3, **SETTINGS)


@pytest.mark.parametrize("stopping", [None, 2])
def test_groups_and_weights_are_columns(stopping):
    table = FRAME.select("size", "town", "house", "w", "kind")
    more = {"groups": "house", "weights": "w", "early_stopping": stopping}
    found = ut.cross_validate(make, table, target="kind", folds=3, **more, **SETTINGS)
    weights = FRAME["w"].to_numpy()
    for fold, (rows, held) in enumerate(found.parts):
        assert not set(GROUP[rows]) & set(GROUP[held])
        names = json.dumps([column["name"] for column in found.runs[fold].extras["encoder"]["columns"]])
        assert "size" in names and "house" not in names and '"w"' not in names
        right = found.predictions[held] == FRAME["kind"].to_numpy()[held]
        assert found.scores["accuracy"][fold] == pytest.approx(np.average(right, weights=weights[held]), rel=1e-5)


def test_two_classes_with_one_output():
    one = lambda encoder: nn.Sequential(nn.Dense(encoder.n_features, 1))
    found = ut.cross_validate(
        one, FRAME.select("size", "kind"), target="kind", folds=3, loss="binary_cross_entropy", **SETTINGS
    )
    assert set(found.predictions) == {"dear", "cheap"} and found.probabilities.shape == (M, 1)


def test_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"size": SIZE, "town": TOWN, "price": PRICE})
    found = ut.cross_validate(make, table, target="price", folds=3, encode={"scaling": "robust"}, **SETTINGS)
    assert json.dumps(found.runs[0].extras["encoder"]).count("robust")


@pytest.mark.parametrize(
    ("model", "more", "kind", "message"),
    [
        (make, {}, ArgumentError, "which column is to be predicted"),
        (make, {"target": "kinds"}, DataError, "did you mean 'kind'"),
        (make, {"target": 3}, ArgumentError, "target is 3"),
        (nn.Dense(3, 2), {"target": "kind"}, ShapeError, "the model takes 3 columns, but the encoder makes"),
        (make, {"target": "kind", "encode": {"scalling": "x"}}, ArgumentError, "Did you mean 'scaling'"),
        (make, {"target": "kind", "encode": {"time": "size"}}, ArgumentError, "which folds do here"),
        (make, {"target": "kind", "groups": [1, 2]}, ArgumentError, "groups is a list. Of a table, give the name"),
        (make, {"target": "kind", "weights": "ww"}, DataError, "there is no column 'ww'"),
        (make, {"target": "kind", "prepare": np.mean}, ArgumentError, "prepare is for arrays"),
        (make, {"target": "kind", "folds": 1}, ArgumentError, "folds must be"),
        (lambda encoder: None, {"target": "kind"}, ArgumentError, "the model is"),
    ],
)
def test_what_does_not_go_is_told(model, more, kind, message):
    with pytest.raises(kind, match=message):
        ut.cross_validate(model, FRAME, **{**SETTINGS, **more})


def test_columns_of_arrays_are_asked_for():
    with pytest.raises(ArgumentError, match=r"weights is for a table\. Name the column to predict"):
        ut.cross_validate(nn.Dense(2, 1), (np.ones((9, 2)), np.ones(9)), weights="w", loss="huber")
