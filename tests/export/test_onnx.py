"""A network in ONNX predicts what it predicts here, as onnxruntime runs it."""

import datetime
import json
import sys

import numpy as np
import polars as pl
import pytest

import undertow as ut
from exported import MODELS, load_source, rows_for, run_of, train_shortly
from undertow import nn
from undertow.errors import ArgumentError, UnsupportedError
from undertow.export import export, export_onnx
from undertow.train.predictions import read_encoder
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run_onnx(path, inputs):
    """The outputs by name."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([x.name for x in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_the_run(name, tmp_path):
    """Logits, labels and probabilities, for a batch of another size than any that was traced."""
    run = run_of(name)
    X = rows_for(name, 7, seed=1)
    found = run_onnx(export_onnx(run, tmp_path / "model.onnx", example=X), {"X": X})
    np.testing.assert_allclose(found["output"], run.outputs(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], run.predict_probability(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["label"], run.predict(X))
    assert found["output"].dtype == run.outputs(X).dtype == np.float32
    assert found["label"].dtype == np.int64


@pytest.mark.parametrize("form", ["model.onnx", "model.py"])
def test_a_training_knows_the_shape_of_its_examples(form, tmp_path):
    """Images that are flattened first tell no width."""
    X = np.random.default_rng(0).normal(size=(32, 3, 4)).astype(np.float32)
    model = nn.Sequential(nn.Flatten(), nn.Dense(12, 3))
    options = {"loss": "categorical_cross_entropy", "epochs": 1, "progress": False}
    ut.train(model, (X, np.arange(32) % 3), **options).save(tmp_path / "run")
    run = ut.load(tmp_path / "run")
    path = export(run, tmp_path / form)
    wanted = X.reshape(32, 12) @ run.model.layers[1].W + run.model.layers[1].b
    found = run_onnx(path, {"X": X})["label"] if form == "model.onnx" else load_source(path).predict(X)
    np.testing.assert_array_equal(found, np.argmax(wanted, axis=1))


@pytest.mark.parametrize("end", [(), ("sigmoid",)], ids=["logits", "probabilities"])
def test_two_classes_with_one_output(end, tmp_path):
    run = train_shortly(nn.Sequential(nn.Dense(6, 1), *end), rows_for("", 32), "binary_cross_entropy")
    X = rows_for("", 9, seed=1)
    found = run_onnx(export(run, tmp_path / "model.onnx"), {"X": X})
    np.testing.assert_array_equal(found["label"], run.predict(X))
    np.testing.assert_allclose(found["probabilities"], run.predict_probability(X), rtol=1e-5)


def test_a_regression_in_float64(tmp_path):
    run = train_shortly(
        nn.Sequential(nn.Dense(6, 4), "tanh", nn.Dense(4, 2)), rows_for("", 32), "mean_squared_error", dtype="float64"
    )
    X = rows_for("", 5).astype(np.float64)
    found = run_onnx(export_onnx(run, tmp_path / "model.onnx"), {"X": X})
    assert list(found) == ["output"]
    np.testing.assert_allclose(found["output"], run.predict(X), rtol=1e-12)


def make_table(n, seed):
    rng = np.random.default_rng(seed)
    day = datetime.date(2024, 2, 28)
    age = [None if i % 7 == 0 else round(float(x), 1) for i, x in enumerate(rng.normal(40, 12, n))]
    city = [None if i % 11 == 0 else str(rng.choice(["Oslo", "Rome", "São Paulo"])) for i in range(n)]
    plan = [str(x) for x in rng.choice(["a", "b"], n)]
    return pl.DataFrame(
        {
            "age": age, "city": city, "plan": plan,
            "since": [day + datetime.timedelta(int(k)) for k in rng.integers(0, 900, n)],
            "member": (rng.random(n) > 0.5).tolist(), "output": rng.normal(size=n).tolist(),
            "buys": np.where(rng.random(n) > 0.4, "yes", "no").tolist(),
            "spent": [float(x) for x in rng.normal(1e4, 300, n)],
        }
    )  # fmt: skip


def train_on_table(target, n_outputs_from=None):
    frame = make_table(90, 0).drop({"buys": "spent", "spent": "buys"}[target])
    data = ut.data.encode_table(frame, target, validation=0.0)
    encoder = data.encoder
    loss = "categorical_cross_entropy" if encoder.classes else "mean_squared_error"
    model = nn.Sequential(nn.Dense(encoder.n_features, 6), "relu", nn.Dense(6, encoder.n_outputs))
    run = ut.train(model, data.train, loss=loss, epochs=2, validation=None, progress=False)
    run.extras["encoder"] = encoder.to_json_dict()
    return run, encoder


def feed(frame, encoder):
    """A table as the inputs of the ONNX model."""
    inputs = {}
    for column in encoder.columns:
        series = frame[column.name]
        if series.dtype == pl.String:
            inputs[column.name] = np.array(series.fill_null("").to_list(), dtype=object)[:, None]
            continue
        series = series.cast(pl.Int32) if series.dtype == pl.Date else series
        inputs[column.name] = series.cast(pl.Float64).fill_null(np.nan).to_numpy()[:, None]
    return inputs


def new_rows():
    """Rows with missing values, also where training had none, and with categories that training did not have."""
    frame = make_table(23, 1)
    frame[3, "city"] = "Kyoto"
    frame[4, "plan"] = "c"
    frame[5, "plan"] = None
    frame[6, "output"] = None
    frame[7, "member"] = None
    frame[8, "since"] = None
    return frame


def test_the_table_encoder_is_part_of_the_model(tmp_path):
    """Texts, numbers, dates and booleans go in as they are, labels come out as in the table."""
    run, encoder = train_on_table("buys")
    frame = new_rows()
    path = export_onnx(run, tmp_path / "model.onnx")
    found = run_onnx(path, feed(frame, encoder))
    X = encoder.transform(frame, report=[])
    output = next(name for name in found if name.startswith("output"))  # a column has the name itself
    assert output != "output"
    np.testing.assert_allclose(found[output], run.outputs(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], run.predict_probability(X), rtol=1e-5, atol=1e-5)
    assert found["label"].tolist() == encoder.decode(run.predict(X)).tolist()
    told = {x.key: x.value for x in onnx.load(path).metadata_props}
    assert json.loads(told["feature_names"]) == encoder.feature_names
    assert json.loads(told["classes"]) == ["no", "yes"]


def test_a_regression_on_a_table_predicts_in_its_unit(tmp_path):
    run, encoder = train_on_table("spent")
    frame = new_rows()
    found = run_onnx(export_onnx(run, tmp_path / "model.onnx"), feed(frame, encoder))
    wanted = encoder.decode(run.outputs(encoder.transform(frame, report=[])))
    np.testing.assert_allclose(found["prediction"][:, 0], wanted, rtol=1e-7)


@pytest.mark.parametrize(
    ("target", "loss"),
    [
        ("p", "poisson"), ("p", "mean_squared_logarithmic_error"), ("x", "gaussian"), ("x", "huber"),
        ("kind", "binary_cross_entropy"), ("kind", "hinge"), ("kind", "squared_hinge"), ("kind", "categorical_hinge"),
    ],
)  # fmt: skip
def test_both_exports_predict_as_a_run_on_a_table_does_whatever_the_loss(tmp_path, target, loss, monkeypatch, capsys):
    """The logarithm that a loss takes is no number in the target's unit, and one output may tell of two classes."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 200)).round(4)
    frame = pl.DataFrame({"x": x, "z": z, "p": np.exp(x).round(4) * 9, "kind": np.where(x + z > 0, "up", "down")})
    frame.write_csv(tmp_path / "t.csv")
    told = TableSettings(
        data=str(tmp_path / "t.csv"), target=target, loss=loss, hidden=[4], epochs=20, flow=False, refit=False,
        other=False, folds=1, leave_out=[name for name in ("p", "kind") if name != target],
    )  # fmt: skip
    run, _ = train_table(told, tmp_path / "run", progress=False, say=lambda said: None)
    wanted = run.predict(frame)
    names = [column["name"] for column in run.extras["encoder"]["columns"]]
    columns = {name: frame[name].to_numpy()[:, None] for name in names}
    found = run_onnx(export_onnx(run, tmp_path / "model.onnx"), columns)
    source = load_source(export(run, tmp_path / "model.py"))
    rows = source.predict_rows(frame.to_dicts())
    if target == "kind":
        assert set(wanted) == {"up", "down"} and found["label"].tolist() == rows == wanted.tolist()
        assert ("probabilities" in found) == hasattr(source, "predict_probability") == (loss == "binary_cross_entropy")
    else:
        np.testing.assert_allclose(found["prediction"][:, 0], wanted, rtol=1e-4)
        np.testing.assert_allclose(rows, wanted, rtol=1e-4)
    if loss == "binary_cross_entropy":
        monkeypatch.setattr("sys.argv", ["model.py", str(tmp_path / "t.csv"), "--probabilities"])
        source.main()
        printed = pl.read_csv(capsys.readouterr().out.encode())
        assert printed.columns == ["prediction", "p(down)", "p(up)"]
        p = run.predict_probability(read_encoder(run).transform(frame, report=[]))[:, 0]
        np.testing.assert_allclose(printed["p(up)"], p, rtol=1e-4)
        np.testing.assert_allclose(printed["p(down)"], 1 - p, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("labels", [[3, 7], [False, True], [0.5, 1.25]])
def test_class_labels_keep_their_type(labels, tmp_path):
    frame = pl.DataFrame({"x": [float(i) for i in range(20)], "y": labels * 10})
    data = ut.data.encode_table(frame, "y", validation=0.0, task="classification")
    run = ut.train(
        nn.Dense(1, 2), data.train, loss="categorical_cross_entropy", epochs=1, validation=None, progress=False
    )
    run.extras["encoder"] = data.encoder.to_json_dict()
    found = run_onnx(export_onnx(run, tmp_path / "model.onnx"), {"x": np.arange(20.0)[:, None]})
    wanted = data.encoder.decode(run.predict(data.encoder.transform(frame)))
    assert found["label"].dtype == wanted.dtype
    np.testing.assert_array_equal(found["label"], wanted)


def test_the_file_says_where_it_is_from(tmp_path):
    run = train_shortly(nn.Dense(6, 3), rows_for("", 16))
    model = onnx.load(export_onnx(run, tmp_path / "model.onnx"))
    assert (model.producer_name, model.producer_version) == ("undertow", ut.__version__)
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim] == ["m", ""]


def test_an_operation_without_operator_is_named_with_its_line(tmp_path):
    def stepped(z):
        return z + np.spacing(z)

    def solved(z):
        return z @ np.linalg.inv(np.mean(z * z) + np.eye(3, dtype=z.dtype))  # the compiler writes it as others

    for layer, name in ((stepped, "spacing"), (solved, "inv")):
        run = train_shortly(nn.Sequential(nn.Dense(6, 3), layer), rows_for("", 16))
        line = layer.__code__.co_firstlineno + 1
        told = rf"^{name} \(test_onnx.py:{line}\) cannot be written in ONNX: there is no operator for it\. Write"
        with pytest.raises(UnsupportedError, match=told):
            export_onnx(run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    run = train_shortly(nn.Dense(6, 3), rows_for("", 16))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnsupportedError, match=r"pip install onnx"):
        export_onnx(run, tmp_path / "model.onnx")


def test_what_cannot_be_exported_is_refused(tmp_path):
    run = run_of("embedding")
    with pytest.raises(ArgumentError, match=r"does not say how wide its input is.*example=X"):
        export_onnx(ut.Run(run.model), tmp_path / "model.onnx")
    with pytest.raises(ArgumentError, match=r"is exported as \.onnx or \.py"):
        export(run, tmp_path / "model.pb")
    with pytest.raises(ArgumentError, match=r"must end in \.onnx"):
        export_onnx(run, tmp_path / "model.py")
    with pytest.raises(ArgumentError, match="only a run can be exported, got Dense"):
        export(nn.Dense(2, 2), tmp_path / "model.onnx")
    with pytest.raises(ArgumentError, match="no weights yet"):
        export(ut.Run(nn.Dense(2, 2)), tmp_path / "model.onnx")
