"""A run's folder as it grows: what is new is found, whatever becomes of the writer, and training never notices."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from recorded_flows import make_flow
from undertow.flow import load_flow
from undertow.flow.store import STEPS, FlowStore
from undertow.report import report_data
from undertow.report.live import RunFolder, trainer
from undertow.report.live.changes import apply_changes, find_changes
from undertow.report.live.standing import read_status
from undertow.report.live.steps import GrowingFlow
from undertow.report.live.trainer import find_trainer
from undertow.train import CheckpointStore, Snapshot
from undertow.train.history import HistoryFile
from undertow.train.lock import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from undertow.train.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]) / "checkpoints")
print("locked", flush=True)
time.sleep(600)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}


class Writer:
    """Writes a record as a training does."""

    def __init__(self, folder, n_layers=3, n_steps=2000):
        self.flow, self.folder = make_flow(n_steps, n_layers, 1), folder
        self.store, self.rows, self.n = FlowStore(folder), HistoryFile(folder / "history.jsonl"), 0
        self.store.begin(self.part(0, 0))

    def part(self, first, last):
        flow = make_flow(1, len(self.flow.layers), 1)
        flow.layers, flow.settings, flow.facts = self.flow.layers, self.flow.settings, self.flow.facts
        flow.steps, flow.epochs = self.flow.steps[first:last], self.flow.epochs[first:last]
        flow.values = self.flow.values[first:last]
        flow.scalars = {name: column[first:last] for name, column in self.flow.scalars.items()}
        flow.looks, flow.stopped = [], ""
        return flow

    def write(self, n):
        self.store.append(self.part(self.n, self.n + n))
        self.n += n

    def end_epoch(self):
        self.rows.append({"epoch": int(self.flow.epochs[self.n - 1]), "step": self.n, "loss": 1 / self.n})

    def end(self, stopped="finished"):
        flow = self.part(0, 0)
        flow.stopped = stopped
        self.store.write_about(flow)
        self.store.close()


@contextlib.contextmanager
def a_trainer(folder):
    """A process that holds the lock of a folder."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert child.stdout.readline() == b"locked\n"
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# What has changed

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=200),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=30,
)


@given(PLAIN, PLAIN, st.lists(st.integers(0, 2)))
def test_changes_make_new_data_of_old(old, new, more):
    pairs = [(old, new), ([old, new], [old, new, *more]), ({"a": old, "b": [more]}, {"a": new, "b": [[*more, 5], old]})]
    for before, after in pairs:
        changes = json.loads(json.dumps(find_changes(before, after)))
        assert apply_changes(json.loads(json.dumps(before)), changes) == after


def test_changes_of_what_grew_are_small():
    old = {"map": "x" * 90_000, "loss": list(range(1000)), "looks": [{"step": 1}, {"step": 2, "n": [1]}]}
    new = {
        "map": "x" * 89_990 + "y" * 20,
        "loss": [*range(999), 7, 8],
        "looks": [{"step": 1}, {"step": 2, "n": [1, 2]}, {}],
    }
    changes = find_changes(old, new)
    assert len(json.dumps(changes)) < 250
    assert apply_changes(old, changes) == new


# The record while it is written


def same_record(found, wanted):
    np.testing.assert_array_equal(found.steps, wanted.steps)
    np.testing.assert_array_equal(found.epochs, wanted.epochs)
    np.testing.assert_array_equal(found.values, wanted.values)
    for name, column in wanted.scalars.items():
        np.testing.assert_array_equal(found.scalars[name], column)
    assert found.layers == wanted.layers and found.stopped == wanted.stopped and len(found.looks) == len(wanted.looks)


def test_a_record_that_grows_is_read_as_it_is(tmp_path):
    """After every append, and with a message torn at any place, what was read in parts is what is read at once."""
    writer, growing = Writer(tmp_path), GrowingFlow(tmp_path)
    assert len(growing.look()) == 0
    for n in (1, 40, 300, 2, 900):
        writer.write(n)
        same_record(growing.look(), load_flow(tmp_path))
    assert len(growing.flow) == 1243
    path, whole = tmp_path / "flow" / STEPS, (tmp_path / "flow" / STEPS).read_bytes()
    writer.write(5)
    longer = path.read_bytes()
    for cut in [*range(len(whole), len(whole) + 40), len(longer) - 1]:
        os.truncate(path, cut) if cut < path.stat().st_size else path.write_bytes(longer[:cut])
        assert len(growing.look()) == 1243
    path.write_bytes(longer)
    same_record(growing.look(), load_flow(tmp_path))
    assert len(growing.flow) == 1248


def test_a_record_that_begins_again_is_read_again(tmp_path):
    growing, writer = GrowingFlow(tmp_path), Writer(tmp_path)
    writer.write(500)
    assert len(growing.look()) == 500
    again = FlowStore(tmp_path)  # a training that was gone on with at step 300
    again.begin(writer.part(0, 300))
    same_record(growing.look(), load_flow(tmp_path))
    assert len(growing.flow) == 300
    other = Writer(tmp_path, n_layers=5)  # and one of another network
    other.write(10)
    same_record(growing.look(), load_flow(tmp_path))
    assert growing.flow.values.shape[2] == 5


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    writer, growing = Writer(tmp_path), GrowingFlow(tmp_path)
    writer.write(1500)
    growing.look()
    sizes = []
    read = growing._append
    monkeypatch.setattr(growing, "_append", lambda frame, width: (sizes.append(len(frame)), read(frame, width)))
    writer.write(10)
    growing.look()
    growing.look()
    assert sizes == [10]


# How training stands


def test_a_folder_from_before_its_training_to_after_it(tmp_path):
    """Not there, locked, writing, killed, gone on with, ended: each state is told, and the data follow."""
    place = tmp_path / "run"
    folder = RunFolder(place)
    assert folder.look() and folder.status.kind == "waiting" and "is not there yet" in folder.status.sentence
    assert not folder.look() and folder.reads == 1
    place.mkdir()
    assert folder.look() and "No training has begun" in folder.status.sentence
    with a_trainer(place) as child:
        assert folder.look() and folder.status.kind == "training" and folder.status.process == child.pid
        writer = Writer(place)
        writer.write(30)
        writer.end_epoch()
        assert folder.look() and folder.status.step == 30 and "step 30" in folder.status.sentence
        assert folder.state()["data"]["map"]["n_steps"] == 30
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert folder.look() and folder.status.kind == "waiting"
        assert "nothing to go on with" in folder.status.sentence  # it wrote no checkpoint
        with CheckpointStore(place / "checkpoints") as store:
            store.write(Snapshot({}, {"number": 1}), 1)
        assert "undertow.resume(" in read_status(place, None, None, [{"step": 30}]).sentence
        (place / "config.toml").touch()
    with a_trainer(place) as child:
        assert folder.look() and folder.status.process == child.pid
        since = folder.version
        writer.write(30)
        assert folder.look() and folder.news(since)["status"]["step"] == 60
        writer.end()
    assert folder.look() and folder.status.kind == "ended"
    assert folder.state()["data"]["summary"]["title"] == "run"


def test_what_has_no_step_yet_is_not_called_healthy(tmp_path):
    """A record that has begun says nothing of how the gradient flows."""
    flow = make_flow(40, 3, 1)
    empty = make_flow(1, 3, 1)
    empty.looks, empty.stopped = [], ""
    empty.steps, empty.epochs, empty.values = flow.steps[:0], flow.epochs[:0], flow.values[:0]
    empty.scalars = {name: column[:0] for name, column in flow.scalars.items()}
    FlowStore(tmp_path).begin(empty)
    assert len(load_flow(tmp_path)) == 0
    assert report_data(empty)["findings"] is None and report_data(flow)["findings"] == []
    run = RunFolder(tmp_path)
    run.look()
    assert run.state()["data"]["findings"] is None


def test_news_lead_from_any_version_to_the_last(tmp_path):
    writer, folder = Writer(tmp_path), RunFolder(tmp_path)
    states = []
    for n in (5, 300, 200, 1, 700):
        writer.write(n)
        writer.end_epoch()
        assert folder.look()
        states.append(json.loads(json.dumps(folder.state())))
    for state in states[:-1]:
        news = json.loads(json.dumps(folder.news(state["version"])))
        assert apply_changes(state["data"], news["changes"]) == states[-1]["data"]
    assert "data" in folder.news(0) and "data" in folder.news(99)
    assert len(states[-1]["data"]["map"]["first"]) <= 400
    flow = load_flow(tmp_path)
    flow.history = writer.rows.rows()
    assert states[-1]["data"]["map"] == json.loads(json.dumps(report_data(flow)["map"]))


def test_damaged_files_are_told_and_survived(tmp_path):
    writer, folder = Writer(tmp_path), RunFolder(tmp_path)
    writer.write(50)
    writer.end_epoch()
    folder.look()
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"epoch": 2, "st')
    folder.look()
    assert folder.data["history"]["n_rows"] == 1 and folder.data["trouble"] == ""
    about = (tmp_path / "flow" / "flow.json").read_text()
    (tmp_path / "flow" / "flow.json").write_text(about[: len(about) // 2])
    assert folder.look() and "is damaged" in folder.data["trouble"] and folder.data["map"]["n_steps"] == 50
    (tmp_path / "flow" / "flow.json").write_text(about)
    assert folder.look() and folder.data["trouble"] == ""


def test_a_run_without_a_record_is_shown_by_its_history(tmp_path):
    X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    settings = {"loss": "mean_squared_error", "progress": False, "checkpoint": tmp_path, "flow": False}
    run = ut.train(ut.nn.Sequential(ut.nn.Dense(1, 1)), (X, 3 * X), epochs=3, **settings)
    folder = RunFolder(tmp_path)
    folder.look()
    assert folder.data["history"]["n_rows"] == 3 and folder.data["map"] is None and folder.status.epoch == 3
    run.save(tmp_path, overwrite=True)
    folder.look()
    assert folder.status.kind == "ended" and folder.status.sentence == "Training has come to its end."


# The lock


def test_looking_does_not_take_the_lock(tmp_path):
    """A watcher that tried the lock would keep a training from beginning: it never opens it for that."""
    (tmp_path / "checkpoints").mkdir()
    for _ in range(200):
        find_trainer(tmp_path)
        lock = FolderLock(tmp_path / "checkpoints")
        assert lock.works
        find_trainer(tmp_path)
        lock.release()
    assert find_trainer(tmp_path) is None


@pytest.mark.parametrize("listed", [True, False])
def test_a_trainer_is_found_and_its_death_too(tmp_path, monkeypatch, listed):
    if not listed:
        monkeypatch.setattr(trainer, "LOCKS", tmp_path / "none")  # a system without a list of locks
    elif not trainer.LOCKS.exists():
        pytest.skip("this system has no list of its locks")
    assert find_trainer(tmp_path) is None
    with a_trainer(tmp_path) as child:
        assert find_trainer(tmp_path) == child.pid
    assert find_trainer(tmp_path) is None
    (tmp_path / "checkpoints" / "lock").write_text(f"{os.getpid()}\n")  # a number that another process has by now
    os.utime(tmp_path / "checkpoints" / "lock", (0, time.time() - 10**8))
    assert find_trainer(tmp_path) is None
    for told in ("", "no number\n", "99999999999999999999\n", "0\n", "-1\n"):
        (tmp_path / "checkpoints" / "lock").write_text(told)
        assert find_trainer(tmp_path) is None
