"""The record as files: others read it, a kill leaves every finished step, damage is told, a resumed run goes on."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import RunError
from undertow.flow import load_flow
from undertow.report.live.steps import GrowingFlow

RNG = np.random.default_rng(1)
X = RNG.standard_normal((96, 6)).astype(np.float32)
LABELS = RNG.integers(0, 3, 96)
SETTINGS = {"loss": "categorical_cross_entropy", "progress": False, "batch_size": 16, "validation": None}


def build():
    return nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 3))


def same(first, second):
    """Whether two records tell the same."""
    return (
        np.array_equal(first.steps, second.steps)
        and np.array_equal(first.values, second.values, equal_nan=True)
        and all(np.array_equal(first.scalars[x], second.scalars[x], equal_nan=True) for x in first.scalars)
        and [x.plain() for x in first.looks] == [x.plain() for x in second.looks]
    )


def test_others_read_every_step_as_an_arrow_stream(tmp_path):
    run = ut.train(build(), (X, LABELS), epochs=4, checkpoint=tmp_path, **SETTINGS)
    frame = pl.read_ipc_stream(tmp_path / "flow" / "steps.arrows", use_pyarrow=False)
    assert frame["step"].to_list() == list(range(1, 25))
    assert np.array_equal(frame["delta.rms"].to_numpy(), run.flow.stat("delta.rms"))
    assert frame["loss"].to_list() == run.flow.scalars["loss"].tolist()


def test_what_was_written_is_what_was_recorded(tmp_path):
    run = ut.train(build(), (X, LABELS), epochs=4, checkpoint=tmp_path / "kept", **SETTINGS)
    again = load_flow(tmp_path / "kept")
    assert same(run.flow, again) and again.facts == run.flow.facts and again.stopped == "finished"
    assert [row["loss"] for row in again.history] == [row["loss"] for row in run.history]
    run.save(tmp_path / "saved")
    loaded = ut.load(tmp_path / "saved")
    assert same(run.flow, loaded.flow) and loaded.flow.layers == run.flow.layers
    assert [row["loss"] for row in loaded.flow.history] == [row["loss"] for row in run.history]


def test_a_resumed_training_has_the_record_of_one_that_never_stopped(tmp_path):
    whole = ut.train(build(), (X, LABELS), epochs=10, checkpoint=tmp_path / "whole", **SETTINGS).flow
    ut.train(build(), (X, LABELS), epochs=3, checkpoint=tmp_path / "part", **SETTINGS)
    resumed = ut.resume(tmp_path / "part", (X, LABELS), epochs=10, progress=False).flow
    assert np.array_equal(whole.values, resumed.values, equal_nan=True) and len(resumed) == 60
    assert same(resumed, load_flow(tmp_path / "part"))
    assert [x.step for x in whole.looks] == [0, 54, 60]  # the first end of an epoch after 50 steps, and the last
    assert [x.step for x in resumed.looks] == [0, 18, 54, 60]  # the first training ended at epoch 3


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.1])
def test_every_finished_step_is_readable_after_a_kill(tmp_path, seconds):
    script = textwrap.dedent(
        """
        import sys, numpy as np, undertow as ut
        from undertow import nn
        rng = np.random.default_rng(1)
        X, y = rng.standard_normal((96, 6)).astype(np.float32), rng.integers(0, 3, 96)
        model = nn.Sequential(nn.Dense(6, 8), "relu", nn.Dense(8, 3))
        told = lambda epoch, step, loss, model: print((epoch - 1) * 6 + step, flush=True)
        class Tell:
            on_step_end = staticmethod(told)
        ut.train(model, (X, y), loss="categorical_cross_entropy", batch_size=16, validation=None, progress=False,
                 epochs=100000, checkpoint=sys.argv[1], callbacks=[Tell()])
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        told = [int(process.stdout.readline()) for _ in range(4)]
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split("\n") if line.strip()]
    assert told[:4] == [1, 2, 3, 4]
    flow = load_flow(tmp_path)
    assert flow.steps.tolist() == list(range(1, len(flow) + 1)) and len(flow) >= max(told)
    assert np.isfinite(flow.stat("delta.rms")).all() and flow.stopped == ""
    if not list((tmp_path / "checkpoints").glob("*.safetensors")):
        return  # killed before the first checkpoint
    resumed = ut.resume(tmp_path, (X, LABELS), steps=len(flow) + 50, progress=False)
    assert resumed.flow.steps.tolist() == list(range(1, len(flow) + 51))


def test_a_torn_end_is_left_out(tmp_path):
    flow = ut.train(build(), (X, LABELS), epochs=3, checkpoint=tmp_path, **SETTINGS).flow
    file = tmp_path / "flow" / "steps.arrows"
    content = file.read_bytes()
    for cut in RNG.integers(0, len(content), 60):
        file.write_bytes(content[:cut])
        found = load_flow(tmp_path)
        assert np.array_equal(found.values, flow.values[: len(found)], equal_nan=True)


def test_damage_is_an_error_of_ours_or_changes_numbers_alone(tmp_path):
    ut.train(build(), (X, LABELS), epochs=3, checkpoint=tmp_path, **SETTINGS)
    for name in ("steps.arrows", "flow.json", "looks.jsonl"):
        file = tmp_path / "flow" / name
        content = file.read_bytes()
        for place in RNG.integers(0, min(len(content), 9000), 80):
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(RNG.integers(8))
            file.write_bytes(damaged)
            try:
                load_flow(tmp_path)
            except RunError as error:
                assert str(tmp_path) in str(error)
        file.write_bytes(content)


def test_a_folder_without_a_record_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"holds no record of its gradient flow\. Train with flow=True"):
        load_flow(tmp_path)


def test_a_training_that_was_killed_before_its_first_steps_is_not_told_to_record_itself(tmp_path):
    """What such a folder holds at each moment: that for checkpoints, then the lock in it, then what is known of it."""
    (tmp_path / "checkpoints").mkdir()
    for begin in (lambda: None, (tmp_path / "checkpoints" / "lock").touch, (tmp_path / "flow").mkdir):
        begin()
        with pytest.raises(RunError, match=r"holds no step yet: its training goes on, or was killed before its first"):
            load_flow(tmp_path)


def test_a_disk_that_is_full_ends_the_training_with_an_error(tmp_path, monkeypatch):
    from undertow.train import disk

    write = disk.Disk.write

    def full(self, file, content):
        if "steps.arrows" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(28, "No space left on device")
        return write(self, file, content)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not tell the names of open files")
    run = ut.train(build(), (X, LABELS), epochs=1, checkpoint=tmp_path, **SETTINGS)
    size = (tmp_path / "flow" / "steps.arrows").stat().st_size
    monkeypatch.setattr(disk.Disk, "write", full)
    with pytest.raises(RunError, match="No space left on device"):
        ut.resume(tmp_path, (X, LABELS), epochs=3, progress=False)
    monkeypatch.undo()
    assert (tmp_path / "flow" / "steps.arrows").stat().st_size == size
    resumed = ut.resume(tmp_path, (X, LABELS), epochs=3, progress=False)
    assert len(resumed.flow) == 3 * len(run.flow)


def test_a_record_that_cannot_be_taken_up_is_told(tmp_path, capsys):
    ut.train(build(), (X, LABELS), epochs=2, checkpoint=tmp_path, **SETTINGS)
    (tmp_path / "flow" / "flow.json").write_text("{")
    flow = ut.resume(tmp_path, (X, LABELS), epochs=3, progress=True).flow
    assert flow.steps.tolist() == list(range(13, 19))
    said = " ".join(capsys.readouterr().out.split())
    assert "begins at step 13" in said and "before-1" in said
    assert (tmp_path / "flow" / "before-1" / "flow.json").read_text() == "{"  # nothing is lost
    assert len(load_flow(tmp_path)) == 6


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("looks.jsonl", ("step",), "3"), ("looks.jsonl", ("loss",), []), ("looks.jsonl", ("layers", 0, "rank"), {}),
        ("looks.jsonl", ("layers", 0, "histograms", "W", "counts"), [1, 2]),
        ("looks.jsonl", ("layers", 0, "histograms", "W", "counts", 0), None),
        ("looks.jsonl", ("layers", 0, "histograms", "W", "edges", 0), float("inf")),
        ("looks.jsonl", ("layers", 0, "histograms", "W"), 4),
        ("flow.json", ("facts", "held_out", "targets", 0), {}), ("flow.json", ("facts", "held_out"), 3),
        ("flow.json", ("facts", "example", "X", 0), "x"),
    ],
)  # fmt: skip
def test_what_no_record_can_hold_is_found_when_it_is_read(tmp_path, file, keys, value):
    """By a page while it goes on, too; and not by whatever would make use of it."""
    run = ut.train(build(), (X, LABELS), epochs=1, checkpoint=tmp_path, **{**SETTINGS, "validation": 0.2})
    assert "held_out" in run.flow.facts and "example" in run.flow.facts
    path = tmp_path / "flow" / file
    lines = path.read_text().splitlines() if file.endswith("l") else [path.read_text()]
    record = at = json.loads(lines[0])
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    path.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")
    with pytest.raises(RunError, match="flow is damaged: "):
        load_flow(tmp_path)
    with pytest.raises(RunError, match="flow is damaged: "):
        GrowingFlow(tmp_path).look()
