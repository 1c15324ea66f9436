"""Tables that were encoded are trained on as they are; the run that comes of it takes tables, rows and files."""

import datetime

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow.data import as_frame

RNG = np.random.default_rng(0)
N = 300
FRAME = pl.DataFrame({
    "age": RNG.integers(18, 80, N),
    "town": RNG.choice(["Oslo", "Rome", "Lima"], N),
    "day": [datetime.date(2024, 1, 1) + datetime.timedelta(int(k)) for k in RNG.integers(0, 300, N)],
    "w": RNG.uniform(0.5, 2.0, N),
}).with_columns(ill=pl.col("age") > 50, cost=pl.col("age") * 2.0 + 5)  # fmt: skip


def network(table):
    return ut.nn.Sequential(ut.nn.Dense(table.encoder.n_features, 8), "tanh", ut.nn.Dense(8, table.encoder.n_outputs))


def trained(table, **given):
    loss = "categorical_cross_entropy" if table.encoder.task == "classification" else "mean_squared_error"
    return ut.train(network(table), table, loss=loss, epochs=2, progress=False, **given)


def test_it_is_the_training_on_its_arrays():
    table = ut.data.encode_table(FRAME.drop("ill", "w"), "cost", validation=0.2)
    run = trained(table)
    same = ut.train(
        network(table), table.train, validation=table.validation, loss="mean_squared_error", epochs=2, progress=False
    )
    for a, b in zip(ut.trees.flatten(run.model)[0], ut.trees.flatten(same.model)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.settings["n_validation"] == 60 and run.settings["n_examples"] == 240


def test_weights_and_validation_are_those_of_the_table_unless_told():
    table = ut.data.encode_table(FRAME.drop("cost"), "ill", weights="w")
    run = trained(table)
    same = ut.train(
        network(table), (*table.train, table.train_weights), loss="categorical_cross_entropy", epochs=2,
        validation=(*table.validation, table.validation_weights), progress=False,
    )  # fmt: skip
    assert run.history[-1]["validation_loss"] == same.history[-1]["validation_loss"]
    none = ut.data.encode_table(FRAME.drop("cost", "w"), "ill", validation=0.0)
    assert trained(none).settings["n_validation"] == 0
    assert trained(none, validation=0.5).settings["n_validation"] == 150


def test_the_run_takes_tables_and_rows(tmp_path):
    table = ut.data.encode_table(FRAME.drop("ill", "w"), "cost")
    run = trained(table)
    new = FRAME.head(4).drop("cost", "ill", "w")
    by_hand = table.encoder.decode(run.outputs(table.encoder.transform(new)))
    new.write_csv(tmp_path / "new.csv")
    rows = new.to_dicts()
    for given in (new, new.to_dict(as_series=False), rows, tuple(rows), tmp_path / "new.csv"):
        np.testing.assert_allclose(run.predict(given), np.ravel(by_hand), rtol=1e-6)
    np.testing.assert_allclose(run.predict(rows[0]), np.ravel(by_hand)[:1], rtol=1e-6)
    run.save(tmp_path / "run")
    np.testing.assert_array_equal(ut.load(tmp_path / "run").predict(rows), run.predict(rows))
    del rows[1]["age"], rows[2]["age"]
    rows[2]["age"] = float("nan")
    found = run.predict([rows[0], {**rows[1], "town": rows[2]["town"], "day": rows[2]["day"]}, rows[2]])
    np.testing.assert_allclose(found[1], found[2], rtol=1e-6)  # rows of a product may be rounded each their own way
    assert abs(found[1] - found[0]) > 1e-3 * abs(found[0])


def test_a_training_on_a_table_is_resumed(tmp_path):
    table = ut.data.encode_table(FRAME.drop("cost", "w"), "ill")
    trained(table, checkpoint=tmp_path / "run")
    run = ut.resume(tmp_path / "run", table, epochs=3, progress=False)
    assert len(run.history) == 3 and run.predict(FRAME.head(2)).dtype == bool


def test_streamed_tables_too(tmp_path):
    FRAME.drop("cost", "w").write_csv(tmp_path / "ill.csv")
    table = ut.data.stream_table(tmp_path / "ill.csv", "ill", memory=1e6, validation=0.2)
    run = trained(table)
    assert run.settings["n_validation"] == table.validation.n_examples
    assert run.predict(FRAME.head(2)).dtype == bool


def test_rows_and_single_values_are_frames():
    assert as_frame([{"x": 1, 2: "a"}, {"x": None}]).rows() == [(1, "a"), (None, None)]
    assert as_frame({"x": 1.5, "day": datetime.date(2024, 1, 2)}).rows() == [(1.5, datetime.date(2024, 1, 2))]
    assert as_frame({"x": [1.5, 2.0]}).rows() == [(1.5,), (2.0,)]
    pandas = pytest.importorskip("pandas")
    row = pandas.DataFrame({"day": pandas.to_datetime(["2024-01-02", None]), "x": [1.0, None], "s": ["a", None]})
    assert as_frame(row.to_dict("records")).rows() == as_frame(row).rows()
    assert as_frame(row.iloc[0].to_dict()).rows() == as_frame(row.head(1)).rows()
    with pytest.raises(ut.DataError, match=r"got a pandas Series\. Of one row give frame\.iloc\[\[0\]\]"):
        as_frame(row.iloc[0])


def test_a_frame_in_place_of_a_pair_is_told_of_the_encoder():
    with pytest.raises(ut.DataError, match=r"got a DataFrame\. Give \(X, y\), or undertow\.data\.encode_table"):
        ut.train(ut.nn.Sequential(ut.nn.Dense(2, 1)), FRAME, loss="mean_squared_error")


def test_a_share_that_is_told_is_told_apart_from_none():
    """The usual one too: it is taken of the rows to train on; a streamed table says where it is told."""
    table, whole = (ut.data.encode_table(FRAME, "ill", validation=share, weights="w") for share in (0.2, 0.0))
    assert trained(table).settings["n_validation"] == 60 and trained(whole).settings["n_validation"] == 0
    assert trained(table, validation=0.1).settings["n_validation"] == 24
    assert trained(whole, validation=0.1).settings["n_validation"] == 30
    streamed = ut.data.stream_table(FRAME, "ill", validation=0.2)
    assert trained(streamed).settings["n_validation"] > 0
    with pytest.raises(ut.errors.ArgumentError, match=r"holds rows out itself: stream_table\(…, validation=0.1\)"):
        trained(streamed, validation=0.1)
    with pytest.raises(ut.errors.ArgumentError, match="cannot be split by a share"):
        batches = lambda epoch: iter([table.train])
        ut.train(network(table), batches, loss="categorical_cross_entropy", validation=0.1)
