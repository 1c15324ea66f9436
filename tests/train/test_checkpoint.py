"""Saved runs come back as they were, files are whole or not there, and a damaged file is one clear error."""

import json
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from undertow import nn
from undertow.errors import RunError
from undertow.train import Run, load, train
from undertow.train.disk import DISK

X = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def run():
    model = nn.Sequential(nn.Dense(4, 6), "relu", nn.Residual(nn.Dense(6, 6, bias=False), "tanh"), nn.Dense(6, 2))
    return train(model, (X, Y), loss="categorical_cross_entropy", epochs=2, progress=False)


def test_a_run_comes_back_as_it_was(run, tmp_path):
    """Parameters are bit-identical, and history, settings, gradient sizes and extras are equal."""
    run.extras = {"classes": ["no", "yes"]}
    run.save(tmp_path / "deep" / "run")
    again = Run.load(tmp_path / "deep" / "run")
    assert repr(again.model) == repr(run.model)
    np.testing.assert_array_equal(again.outputs(X), run.outputs(X))
    np.testing.assert_array_equal(again.predict(X), run.predict(X))
    for key in ("history", "gradient_history", "settings", "versions", "extras", "stopped"):
        assert getattr(again, key) == getattr(run, key)
    assert sorted(os.listdir(tmp_path / "deep" / "run")) == ["model.safetensors", "run.json"]
    assert os.listdir(tmp_path / "deep") == ["run"]


def test_the_file_is_plain_safetensors(run, tmp_path):
    """Any reader of safetensors finds the parameters by their paths and the architecture as JSON."""
    run.save(tmp_path / "run")
    with safe_open(tmp_path / "run" / "model.safetensors", "numpy") as file:
        assert set(file.keys()) == {
            "layers[0].W", "layers[0].b", "layers[2].layers[0].W", "layers[3].W", "layers[3].b",
        }  # fmt: skip
        architecture = json.loads(file.metadata()["architecture"])
    assert [record["layer"] for record in architecture] == ["Dense", "relu", "Residual", "Dense"]


def test_numbers_that_are_not_finite_survive(tmp_path):
    """A loss of infinity in the history is JSON that every reader takes, and comes back."""
    model = nn.initialize(nn.Dense(2, 1))
    Run(model, history=[{"epoch": 1, "loss": float("inf")}]).save(tmp_path / "run")
    json.loads((tmp_path / "run" / "run.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert load(tmp_path / "run").history == [{"epoch": 1, "loss": float("inf")}]


def test_a_folder_is_only_overwritten_when_asked_and_only_if_it_holds_a_run(run, tmp_path):
    """Nothing of anyone else's is ever removed, and a replaced run leaves nothing behind."""
    folder = tmp_path / "run"
    run.save(folder)
    with pytest.raises(RunError, match="exists already"):
        run.save(folder)
    run.save(folder, overwrite=True)
    assert os.listdir(tmp_path) == ["run"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(RunError, match="something other than a run"):
        run.save(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"
    (tmp_path / "empty").mkdir()
    run.save(tmp_path / "empty")
    with pytest.raises(RunError, match="no folder"):
        run.save(folder / "run.json", overwrite=True)


def test_a_failed_save_leaves_the_old_run_and_nothing_else(run, tmp_path, monkeypatch):
    """When the disk refuses in the middle of saving, the folder that was there still loads."""
    run.save(tmp_path / "run")

    def refuse(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(DISK, "write", refuse)
    with pytest.raises(RunError, match="disk full"):
        run.save(tmp_path / "run", overwrite=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run"]
    np.testing.assert_array_equal(load(tmp_path / "run").outputs(X), run.outputs(X))


def test_a_failed_rename_puts_the_old_run_back(run, tmp_path, monkeypatch):
    """Where names cannot be exchanged and the last rename fails, the old run is moved back to its place."""
    run.save(tmp_path / "run")
    rename, calls = DISK.rename, []

    def refuse(*_):
        raise OSError("no")

    def refuse_second(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise OSError("no")
        rename(old, new)

    monkeypatch.setattr(DISK, "exchange", refuse)
    monkeypatch.setattr(DISK, "rename", refuse_second)
    with pytest.raises(RunError, match="could not be saved"):
        run.save(tmp_path / "run", overwrite=True)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run"]
    load(tmp_path / "run")


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(tmp_path):
    """Layers of the user's own, models without weights and extras that are no plain data are errors."""
    own = nn.initialize(nn.Sequential(nn.Dense(2, 2), lambda h: h))
    for run, message in (
        (Run(own), "layer of your own"),
        (Run(nn.Dense(2, 2)), "no weights"),
        (Run(nn.initialize(nn.Dense(2, 2)), extras={"x": object()}), "no plain data"),
    ):
        with pytest.raises(RunError, match=message):
            run.save(tmp_path / "run")
    assert not os.listdir(tmp_path)


def rewrite_model(folder, change, **header):
    file = folder / "model.safetensors"
    with safe_open(file, "numpy") as opened:
        metadata = {**opened.metadata(), **header}
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata=metadata)


def rewrite_record(folder, **values):
    file = folder / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: (f / "run.json").unlink(), "is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "cannot be read"),
        (lambda f: os.truncate(f / "model.safetensors", 500), "cannot be read"),
        (lambda f: rewrite_model(f, lambda t: t.pop("layers[0].W")), r"layers\[0\]\.W is missing"),
        (lambda f: rewrite_model(f, lambda t: t.update(other=np.ones(2))), "'other'"),
        (lambda f: rewrite_model(f, lambda t: t.update({"layers[0].b": np.ones(7)})), r"is \(7,\)"),
        (lambda f: rewrite_model(f, lambda t: t.update({"layers[0].b": np.ones(6, int)})), "int64"),
        (lambda f: rewrite_model(f, lambda t: None, architecture="["), "architecture"),
        (lambda f: rewrite_model(f, lambda t: None, architecture="[" * 9999), "architecture"),
        (lambda f: rewrite_model(f, lambda t: None, architecture='[{"layer": "os.system"}]'), "no layer"),
        (lambda f: rewrite_model(f, lambda t: None, version="9"), "version '9'"),
        (lambda f: (f / "run.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "run.json").write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda f: (f / "run.json").write_text("[1]"), "no record"),
        (lambda f: rewrite_record(f, version=9), "version 9"),
        (lambda f: rewrite_record(f, history=3), "history"),
        (lambda f: rewrite_record(f, gradient_history=[3]), "gradient_history"),
        (lambda f: rewrite_record(f, settings=[]), "settings"),
        (lambda f: rewrite_record(f, settings={"dtype": "object"}), "dtype"),
        (lambda f: rewrite_record(f, settings={"loss": ["x"]}), "loss"),
        (lambda f: rewrite_record(f, stopped=None), "stopped"),
    ],
)
def test_a_damaged_run_is_one_clear_error(run, tmp_path, damage, message):
    """Whatever is wrong with the files, loading says which file and what, and never anything else."""
    folder = tmp_path / "run"
    run.save(folder)
    damage(folder)
    with pytest.raises(RunError, match=message):
        load(folder)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    """The message names the folder."""
    with pytest.raises(RunError, match="there is no such folder"):
        load(tmp_path / "no")
