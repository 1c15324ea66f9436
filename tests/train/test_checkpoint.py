"""Saved runs come back as they were, files are whole or not there, and a damaged file is one clear error."""

import errno
import itertools
import json
import os
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import undertow as ut
from undertow import nn
from undertow.errors import RunError
from undertow.report.live.standing import read_status
from undertow.train import CheckpointStore, HistoryFile, Run, Snapshot, load, train
from undertow.train.disk import DISK, Disk

CALLS = [name for name in vars(Disk) if not name.startswith("_")]
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
    assert sorted(os.listdir(tmp_path / "deep" / "run")) == ["flow", "model.safetensors", "run.json"]
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
        (Run(own), "function of your own"),
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


# Interrupted saves


def test_a_saved_run_is_whole_after_an_error_of_any_call(tmp_path):
    """Replacing a run fails at each call in turn: the folder holds the old or the new run, with nothing beside."""
    old, new = (Run(nn.initialize(nn.Sequential(nn.Dense(2, 1)), seed), extras={"seed": seed}) for seed in (1, 2))
    for failing in itertools.count(1):
        place = tmp_path / str(failing)
        old.save(place / "run")
        with pytest.MonkeyPatch.context() as patch:
            count = fail_call(patch, failing)
            try:
                new.save(place / "run", overwrite=True)
                seeds = {2}
            except RunError as error:
                seeds = {1, 2}
                assert "No space left" in str(error)
        found = load(place / "run")
        assert found.extras["seed"] in seeds and os.listdir(place) == ["run"]
        np.testing.assert_array_equal(found.outputs(np.eye(2)), (old, new)[found.extras["seed"] - 1].outputs(np.eye(2)))
        if count[0] < failing:
            break
    assert failing > 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("beside", [False, True])
def test_a_process_killed_while_it_saves_a_run_leaves_a_run(tmp_path, beside):
    """At each call: the folder holds the old or the new run; beside checkpoints it may need to be saved again."""
    old, new = (Run(nn.initialize(nn.Sequential(nn.Dense(2, 1)), seed), extras={"seed": seed}) for seed in (1, 2))
    place, seeds = tmp_path / "run", set()
    old.save(place)
    if beside:
        (place / "checkpoints").mkdir()
    else:
        try_exchange(tmp_path)
    for dying in itertools.count(1):
        child = os.fork()
        if not child:
            with pytest.MonkeyPatch.context() as patch:
                fail_call(patch, dying, lambda: os._exit(9))
                new.save(place, overwrite=True)
                os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        try:
            seeds.add(load(place).extras["seed"])
        except RunError as error:
            assert beside and "its checksum is another" in str(error)
            seeds.add("torn")
        old.save(place, overwrite=True)
        assert load(place).extras["seed"] == 1
        assert not [name for name in os.listdir(place) if name.endswith(".part")]
        if not killed:
            break
    assert seeds == ({1, 2, "torn"} if beside else {1, 2}) and dying > 8


def try_exchange(place):
    for name in "ab":
        (place / name).mkdir()
    try:
        DISK.exchange(place / "a", place / "b")
    except OSError:
        pytest.skip("this system cannot exchange two names")


def test_a_process_killed_in_its_first_save_can_be_followed_by_another(tmp_path):
    """A model without a record, beside checkpoints, is what such a process leaves; elsewhere it is the user's own."""
    run = Run(nn.initialize(nn.Sequential(nn.Dense(2, 1))))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half a run")
    (tmp_path / "a" / "history.jsonl").touch()
    with pytest.raises(RunError, match="exists already"):
        run.save(tmp_path / "a")
    load(run.save(tmp_path / "a", overwrite=True))
    with pytest.raises(RunError, match="something other than a run"):
        run.save(tmp_path / "b", overwrite=True)


def fail_call(patch, number, fail=None):
    """Let the number-th call of the disk fail; a list that holds how many there were."""
    count = [0]

    def watch(name):
        def call(*arguments):
            count[0] += 1
            if count[0] == number:
                if fail:
                    fail()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return getattr(Disk, name)(DISK, *arguments)

        return call

    for name in CALLS:
        patch.setattr(DISK, name, watch(name))
    return count


def test_a_run_saved_beside_its_checkpoints_leaves_them(tmp_path):
    """The folder in which a run was trained takes its model, and keeps checkpoints and history."""
    with CheckpointStore(tmp_path / "checkpoints") as store, HistoryFile(tmp_path / "history.jsonl") as history:
        store.write(Snapshot({}, {"number": 1}), 1)
        history.append({"epoch": 1})
    run = Run(nn.initialize(nn.Sequential(nn.Dense(2, 1))))
    run.save(tmp_path)
    with pytest.raises(RunError, match="exists already"):
        run.save(tmp_path)
    run.save(tmp_path, overwrite=True)
    assert store.latest().record == {"number": 1} and history.rows() == [{"epoch": 1}]
    assert json.loads((tmp_path / "run.json").read_text())["checksums"].keys() == {"model.safetensors"}
    load(tmp_path)


def test_a_training_that_has_not_ended_is_told_how_to_go_on(tmp_path):
    """Only checkpoints are there, as after a kill."""
    with CheckpointStore(tmp_path / "checkpoints") as store:
        store.write(Snapshot({}, {"number": 1}), 1)
    with pytest.raises(RunError, match=r"no run was saved here with run.save.*Go on with undertow\.resume"):
        load(tmp_path)
    ended = tmp_path / "ended"
    data = np.ones((8, 2)), np.ones((8, 1))
    ut.train(nn.Dense(2, 1), data, loss="huber", epochs=1, checkpoint=ended, progress=False)
    with pytest.raises(RunError, match=r"no run was saved here.*or has ended. Go on with undertow\.resume"):
        load(ended)
    ut.resume(ended, data, progress=False).save(ended)
    assert len(load(ended).history) == 1


def test_a_training_that_wrote_no_checkpoint_is_not_told_to_be_gone_on_with(tmp_path):
    """Killed before its first: `undertow.resume` would find nothing. A table's settings alone are enough, though."""
    (tmp_path / "checkpoints").mkdir()
    nothing = "No checkpoint was written, so there is nothing to go on with"
    with pytest.raises(RunError, match=nothing) as caught:
        load(tmp_path)
    assert "undertow.resume" not in str(caught.value)
    assert nothing in read_status(tmp_path, None, None, []).sentence
    with pytest.raises(RunError, match=nothing):
        ut.resume(tmp_path, (X, X))
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(RunError, match=f"Go on with undertow resume {re.escape(str(tmp_path))}"):
        load(tmp_path)
