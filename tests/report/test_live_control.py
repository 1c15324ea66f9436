"""Pause, resume, stop and the learning rate: from the page by a file to the training, and into its record."""

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import undertow as ut
from undertow.errors import ArgumentError
from undertow.report.live import Control, RunFolder, read_done, read_wish, write_wish
from undertow.report.live.control import WISH, listener
from undertow.report.live.model import make_walk, read_run
from undertow.report.live.page import make_page
from undertow.train import TrainInfo, trainer

pytest.importorskip("uvicorn")

from live_pages import PATIENCE, Watcher, ask, control, page_token, process, served

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
X = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
MODEL = ut.nn.Sequential(ut.nn.Dense(1, 4), "tanh", ut.nn.Dense(4, 1))
SETTINGS = {"loss": "mean_squared_error", "optimizer": ut.optim.sgd(0.01), "progress": False, "batch_size": 32}


class Slow:
    """Gives a watcher time, and tells when an epoch begins."""

    def __init__(self, seconds=0.01):
        self.seconds, self.epochs = seconds, []

    def on_epoch_begin(self, info):
        self.epochs.append(time.monotonic())
        time.sleep(self.seconds)


@pytest.fixture
def training(tmp_path):
    """A training that goes on in a thread until a watcher stops it."""
    slow, runs = Slow(), []

    def train():
        runs.append(
            ut.train(MODEL, (X, X), epochs=10**6, checkpoint=tmp_path, callbacks=[slow, Control(tmp_path)], **SETTINGS)
        )

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    yield tmp_path, thread, runs, slow
    if thread.is_alive():
        write_wish(tmp_path, "stop")
        thread.join(PATIENCE)


def until(condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def actions(folder):
    return [row["action"] for row in read_done(folder)]


def test_a_watcher_controls_a_training(training):
    """Every control takes effect, the page is told, and the record says who wished what and when."""
    folder, thread, runs, slow = training
    with served(folder, control=True, token="secret-token") as (url, _):
        cookie = {"Cookie": f"undertow-watch-{url.split(':')[2].split('/')[0]}=secret-token"}
        watcher = Watcher(url, **cookie)
        watcher.wait_for(lambda w: w.status.get("listens") and w.status["epoch"] > 1)
        token = page_token(url, **cookie)
        assert len(token) >= 32
        assert control(url, token, {"action": "pause"}, **cookie)[0] == 200
        watcher.wait_for(lambda w: w.status["kind"] == "paused")
        epoch, count = watcher.status["epoch"], len(slow.epochs)
        time.sleep(0.3)
        assert len(slow.epochs) <= count + 1
        assert control(url, token, {"action": "rate", "factor": 0.25}, **cookie)[0] == 200
        watcher.wait_for(lambda w: w.status["scale"] == 0.25)
        assert control(url, token, {"action": "resume"}, **cookie)[0] == 200
        watcher.wait_for(lambda w: w.status["kind"] == "training" and w.status["epoch"] > epoch + 2)
        assert control(url, token, {"action": "stop"}, **cookie)[0] == 200
        watcher.wait_for(lambda w: w.status["kind"] == "ended")
        assert watcher.status["sentence"] == "Training was stopped by a watcher at 127.0.0.1."
        status, _, text = control(url, token, {"action": "pause"}, **cookie)
        assert status == 409 and text.startswith("Nobody heeds a control now.")
    thread.join(PATIENCE)
    rows = [row for row in read_done(folder) if row["action"] not in ("begin", "end")]
    assert [row["action"] for row in rows] == ["pause", "rate", "resume", "stop"]
    assert all(row["by"] == "a watcher at 127.0.0.1" for row in rows)
    assert (rows[1]["before"], rows[1]["scale"]) == (1.0, 0.25)
    (run,) = runs
    assert run.stopped == "callback"
    rates = np.array([row["rate"] for row in run.history])
    first = int(np.flatnonzero(rates != rates[0])[0])
    np.testing.assert_allclose(rates, [0.01] * first + [0.0025] * (len(rates) - first))
    assert run.history[first]["epoch"] - rows[1]["epoch"] in (0, 1)


def test_who_may_not_control(training):
    """Without the page's own token, from another origin, or with a body that is none, nothing is written."""
    folder, *_ = training
    until(lambda: "begin" in actions(folder))
    with served(folder, control=True) as (url, _):
        token = page_token(url)
        for status, told, headers in [
            (403, {"action": "stop"}, {"X_Undertow_Page": None}),
            (403, {"action": "stop"}, {"X_Undertow_Page": token[:-1]}),
            (403, {"action": "stop"}, {"Origin": "http://evil.example"}),
            (403, {"action": "stop"}, {"Origin": "null"}),
            (403, {"action": "stop"}, {"Origin": None}),
            (403, {"action": "stop"}, {"Sec_Fetch_Site": "cross-site"}),
            (403, {"action": "stop"}, {"Host": "evil.example", "Origin": "http://evil.example"}),
            (415, {"action": "stop"}, {"Content_Type": "text/plain"}),
            (400, {"action": "halt"}, {}),
            (400, {"action": ["stop"]}, {}),
            (400, {"do": "stop"}, {}),
            (400, b"[" * 900, {}),
            (400, b"\xff", {}),
            (413, b"x" * 5000, {}),
            (400, {"action": "rate"}, {}),
            (400, {"action": "rate", "factor": 0}, {}),
            (400, {"action": "rate", "factor": -1}, {}),
            (400, {"action": "rate", "factor": "2"}, {}),
            (400, {"action": "rate", "factor": True}, {}),
            (400, b'{"action": "rate", "factor": NaN}', {}),
            (400, b'{"action": "rate", "factor": 1e999}', {}),
        ]:
            found, _, text = control(url, token, told, **headers)
            assert found == status and text.rstrip().endswith((".", 'pause"}.')), (told, headers, found, text)
        assert not (folder / WISH).exists()
        assert ask(url, "/control")[0] == 405
        assert control(url, token, {"action": "rate", "factor": 2})[0] == 200


def test_a_training_that_does_not_listen_is_told_of(tmp_path):
    with served(tmp_path, control=True) as (url, _):
        status, _, text = control(url, page_token(url), {"action": "pause"})
        assert status == 409 and "Nobody heeds a control now. No training has begun" in text
        slow, asked = Slow(0.05), threading.Event()
        callbacks = [slow, lambda info: asked.is_set()]
        settings = {**SETTINGS, "checkpoint": tmp_path, "callbacks": callbacks, "epochs": 10**6}
        thread = threading.Thread(target=lambda: ut.train(MODEL, (X, X), **settings), daemon=True)
        thread.start()
        try:
            until(lambda: slow.epochs)
            status, _, text = control(url, page_token(url), {"action": "pause"})
        finally:
            asked.set()
            thread.join(PATIENCE)
        assert status == 409 and "This training does not listen to controls" in text
    assert not (tmp_path / WISH).exists()


def test_a_training_that_listens_learns_what_one_without_learns(tmp_path):
    """Nobody wishes anything: the parameters are the same to the last bit."""
    runs = [
        ut.train(MODEL, (X, X), epochs=3, checkpoint=tmp_path / name, callbacks=callbacks, **SETTINGS)
        for name, callbacks in (("a", ()), ("b", [Control(tmp_path / "b")]))
    ]
    for ours, theirs in zip(*(run.model.layers for run in runs), strict=True):
        if hasattr(ours, "W"):
            np.testing.assert_array_equal(ours.W, theirs.W)


def test_a_resumed_training_keeps_its_rate_and_forgets_the_rest(tmp_path):
    class Wish:
        def on_epoch_begin(self, info):
            if info.epoch == 2:
                write_wish(tmp_path, "rate", 0.5)
            if info.epoch == 4:
                write_wish(tmp_path, "stop")

    ut.train(MODEL, (X, X), epochs=9, checkpoint=tmp_path, callbacks=[Wish(), Control(tmp_path)], **SETTINGS)
    again = Control(tmp_path)
    run = ut.resume(tmp_path, (X, X), callbacks=[again], epochs=6, progress=False)
    assert run.stopped == "finished" and len(run.history) == 6
    assert [row["rate"] for row in run.history] == [0.01, 0.005, 0.005, 0.005, 0.005, 0.005]
    assert again.scale == 0.5 and not read_wish(tmp_path).stop
    assert actions(tmp_path) == ["begin", "rate", "stop", "end", "begin", "end"]


def test_a_new_training_does_not_heed_what_an_old_one_was_wished(tmp_path):
    write_wish(tmp_path, "rate", 0.5)
    write_wish(tmp_path, "stop")
    run = ut.train(MODEL, (X, X), epochs=3, checkpoint=tmp_path, callbacks=Control(tmp_path), **SETTINGS)
    assert len(run.history) == 3 and run.history[-1]["rate"] == 0.01


def test_between_steps_it_waits_and_stops(tmp_path):
    heed = Control(tmp_path)
    heed.on_train_begin(TrainInfo(3, MODEL))
    assert heed.between_steps(1, 10) is False
    write_wish(tmp_path, "pause")
    times = []
    thread = threading.Thread(target=lambda: times.append((heed.between_steps(1, 20), time.monotonic())), daemon=True)
    thread.start()
    until(lambda: listener(read_done(tmp_path))[1])
    time.sleep(0.2)
    assert not times
    write_wish(tmp_path, "rate", 2.0)
    until(lambda: heed.scale == 2.0)
    assert not times
    write_wish(tmp_path, "stop")
    thread.join(PATIENCE)
    assert times[0][0] is True
    assert [(row["action"], row["step"]) for row in read_done(tmp_path)] == [
        ("begin", 0), ("pause", 20), ("rate", 20), ("stop", 20)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"number": 5, "stop": "yes"}', b'{"number": 1e999}', b"\xff" * 20_000]
)
def test_a_wish_that_is_damaged_is_none(tmp_path, content):
    (tmp_path / WISH).write_bytes(content)
    assert read_wish(tmp_path).number == 0
    run = ut.train(MODEL, (X, X), epochs=2, checkpoint=tmp_path, callbacks=Control(tmp_path), **SETTINGS)
    assert len(run.history) == 2
    assert write_wish(tmp_path, "pause").number == 1


def test_wishes_that_are_none_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"there is no control 'halt'\. There are pause, resume, stop, rate\."):
        write_wish(tmp_path, "halt")
    with pytest.raises(ArgumentError, match=r"the factor of the learning rate must be from 1e-06 to 1e\+06, got 0\."):
        write_wish(tmp_path, "rate", 0)
    with pytest.raises(ArgumentError, match=r"the folder of a run is 3"):
        Control(3)


class Gate:
    """Holds a training between two steps until a wish is written, so that it does not end before it was wished."""

    def __init__(self):
        self.open = threading.Event()

    def between_steps(self, epoch, step):
        assert self.open.wait(PATIENCE)


def test_between_steps_of_a_long_epoch(tmp_path, monkeypatch):
    """One epoch of 32,000 steps: the rate changes, it pauses and stops within it, and is gone on with from there."""
    monkeypatch.setattr(trainer, "CHUNK_SECONDS", 0.0)  # asked after each step, however many a fast machine does
    rows = np.repeat(X, 250, axis=0)
    settings = {**SETTINGS, "batch_size": 2, "metrics": (), "validation": None}
    gate, runs = Gate(), []
    settings |= {"checkpoint": tmp_path, "callbacks": [Control(tmp_path), gate]}
    thread = threading.Thread(
        target=lambda: runs.append(ut.train(MODEL, (rows, rows), epochs=1, **settings)), daemon=True
    )
    thread.start()
    until(lambda: "begin" in actions(tmp_path))
    write_wish(tmp_path, "pause")
    gate.open.set()
    until(lambda: "pause" in actions(tmp_path))
    gate.open.clear()
    time.sleep(0.2)
    write_wish(tmp_path, "rate", 0.5)
    write_wish(tmp_path, "resume")
    until(lambda: "resume" in actions(tmp_path))
    write_wish(tmp_path, "stop")
    gate.open.set()
    thread.join(PATIENCE)
    (run,) = runs
    steps = {row["action"]: row["step"] for row in read_done(tmp_path)}
    stopped = run.history[-1]["step"]
    assert run.stopped == "callback" and steps["stop"] == stopped < 32_000 and steps["pause"] == steps["rate"]
    rates = run.flow.scalars["rate"]
    np.testing.assert_allclose(rates, np.where(run.flow.steps <= steps["rate"], 0.01, 0.005))
    again = ut.resume(tmp_path, (rows, rows), callbacks=Control(tmp_path), epochs=1, steps=stopped + 50, progress=False)
    assert again.history[-1]["step"] == stopped + 50 and again.history[-1]["epoch"] == 1
    np.testing.assert_allclose(again.flow.scalars["rate"][-50:], 0.005)


def test_a_callback_that_waits_makes_training_no_longer():
    class Wait:
        def between_steps(self, epoch, step):
            time.sleep(0.05)

    begun = time.monotonic()
    run = ut.train(MODEL, (X, X), epochs=8, callbacks=Wait(), flow=False, **SETTINGS)
    assert time.monotonic() - begun > 0.4 + run.history[-1]["seconds"]


def test_a_callback_between_steps_is_asked_where_training_is():
    class Stop:
        seen: ClassVar[list] = []

        def between_steps(self, epoch, step):
            self.seen.append((epoch, step))
            return step >= 20

        def on_step_end(self, epoch, step, loss, model):
            """Asked for each step, so that steps are done one at a time."""

    run = ut.train(MODEL, (X, X), epochs=9, callbacks=Stop(), **SETTINGS)
    n = run.settings["n_examples"]
    per_epoch = -(-n // 32)
    assert Stop.seen == [(1 + (step - 1) // per_epoch, step) for step in range(1, 21)]
    assert run.stopped == "callback" and run.history[-1]["step"] == 20


def test_the_command_train_listens_and_is_resumed_so(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i % 7},{i % 3}\n" for i in range(60)))
    command = [sys.executable, "-c", "from undertow.cli import main; main()"]
    settings = {"cwd": tmp_path, "env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 5 * PATIENCE}
    told = ["--target", "y", "--epochs", "2", "--hidden", "4", "--out", "r", "--quiet", "--control"]
    found = subprocess.run([*command, "train", "t.csv", *told], **settings)
    assert found.returncode == 0, found.stderr
    found = subprocess.run([*command, "resume", "r", "--epochs", "4", "--quiet"], **settings)
    assert found.returncode == 0, found.stderr
    assert actions(tmp_path / "r") == ["begin", "end", "begin", "end"]
    found = subprocess.run([*command, "train", "t.csv", *told[:-1], "--overwrite"], **settings)
    assert found.returncode == 0 and actions(tmp_path / "r") == [], found.stderr


def test_the_page_walks_through_the_backward_pass_of_the_last_checkpoint(tmp_path):
    """Before a checkpoint there is no walk; then one with the parameters that are on the disk."""
    with served(tmp_path) as (url, _):
        assert 'id="walk" aria-label="The backward pass, step by step" hidden' in ask(url)[2]
        run = ut.train(MODEL, (X, X), epochs=2, checkpoint=tmp_path, **SETTINGS)
        kept = read_run(tmp_path, None)
        for ours, theirs in zip(kept.model.layers, run.model.layers, strict=True):
            if hasattr(ours, "W"):
                np.testing.assert_array_equal(ours.W, theirs.W)
        section = make_walk(tmp_path)
        assert section.html in make_page("run", "", False, section).text
    with served(tmp_path) as (url, _):
        status, found, text = ask(url)
        policy = found["content-security-policy"]
        scripts = re.findall("<script>(.*?)</script>", text, re.DOTALL)
        assert status == 200 and section.html in text and len(scripts) >= 5
        for script in scripts:  # the browser runs what is named in the policy, and nothing else
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    (tmp_path / "flow" / "flow.json").write_text("{")
    assert make_walk(tmp_path) is None


TRAIN = """
import sys, time, numpy as np, undertow as ut
class Slow:
    def on_epoch_end(self, info):
        time.sleep(600 if info.epoch == 40 and sys.argv[2] == "new" else 0.02)
X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
model = ut.nn.Sequential(ut.nn.Dense(1, 4), "tanh", ut.nn.Dense(4, 1))
if sys.argv[2] == "new":
    settings = {"loss": "mean_squared_error", "progress": False, "callbacks": Slow()}
    ut.train(model, (X, X), epochs=5000, checkpoint=sys.argv[1], **settings)
else:
    ut.resume(sys.argv[1], (X, X), epochs=int(sys.argv[2]), progress=False)
"""


def test_a_page_survives_the_death_of_its_training(tmp_path):
    """A real training is killed and gone on with: the same stream tells of both, and its record is what was written."""
    run = tmp_path / "run"
    start = [sys.executable, "-c", TRAIN, str(run)]
    with served(run) as (url, _):
        watcher = Watcher(url).wait_for(lambda w: w.status.get("kind") == "waiting")
        with process([*start, "new"], env=ENVIRONMENT) as child:
            watcher.wait_for(lambda w: w.status["kind"] == "training" and w.status["epoch"] >= 20)
            assert watcher.status["process"] == child.pid
            child.send_signal(signal.SIGKILL)
        watcher.wait_for(lambda w: w.status["kind"] == "waiting")
        assert "killed, or crashed" in watcher.status["sentence"] and watcher.data["map"]["n_steps"] >= 20
        subprocess.run([*start, "120"], env=ENVIRONMENT, timeout=5 * PATIENCE, check=True)
        watcher.wait_for(lambda w: w.status["kind"] == "ended")
        assert watcher.status["epoch"] == 120 and watcher.data["history"]["x"][-1] in (120, watcher.status["step"])
        assert {"waiting", "training", "ended"} <= set(watcher.events)
        at_once = RunFolder(run)
        at_once.look()
        assert watcher.data == json.loads(json.dumps(at_once.state()["data"]))
