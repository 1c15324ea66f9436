"""Two trainings of a small table, killed at any point of either, go on to the same bytes."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from undertow.errors import RunError
from undertow.report.live import Control
from undertow.report.live.standing import read_status
from undertow.train.disk import DISK
from undertow.train.table import resume_table, train_table
from undertow.train.table_settings import TableSettings, read_config


@pytest.fixture
def settings(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 2))
    kind = np.where(x[:, 0] + 0.3 * x[:, 1] > 0, "up", "down")
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": kind}).write_csv(tmp_path / "t.csv")
    return TableSettings(
        data=str(tmp_path / "t.csv"), target="kind", hidden=[8], rate=0.03, refit=True, epochs=12, early_stopping=4,
        checkpoint_every=4,
    )  # fmt: skip


def silently(function, *args, **more):
    return function(*args, progress=False, say=lambda sentence: None, **more)[0]


def told(run):
    """What two runs that are the same have in common: not the time they took."""
    first = run.extras["held_out"]
    rows = [{k: v for k, v in row.items() if "second" not in k} for row in (*first["history"], *run.history)]
    return rows, first["summary"], first["facts"]


def copies_of(folder, monkeypatch, work):
    """The folder as it is before every call that changes the disk, while something is done: what a kill may leave."""
    copies, number = [], itertools.count()
    for name in ("create", "write", "rename", "remove", "truncate", "force_folder"):
        call = getattr(DISK, name)

        def watched(*args, call=call):
            if folder.is_dir():
                copies.append(folder.with_name(f"copy-{next(number)}"))
                shutil.copytree(folder, copies[-1])
            return call(*args)

        monkeypatch.setattr(DISK, name, watched)
    found = work()
    monkeypatch.undo()
    return found, copies


def test_a_kill_in_either_training_changes_nothing(settings, tmp_path, monkeypatch):
    """Copies from within the first one, from between the two and from within the second one are gone on with."""
    folder = tmp_path / "run"
    whole, copies = copies_of(folder, monkeypatch, lambda: silently(train_table, settings, folder))
    copies = [copy for copy in copies if (copy / "config.toml").is_file()]
    between = [x for x in copies if (x / "held_out.json").is_file() and not read_config(x / "config.toml").refit_epochs]
    second = [x for x in copies if read_config(x / "config.toml").refit_epochs]
    first = [x for x in copies if x not in between and x not in second]
    assert len(first) > 20 and len(between) > 3 and len(second) > 20
    choose = random.Random(0)
    for copy in (
        *between[::4],
        between[-1],
        *choose.sample(first, 3),
        *choose.sample(second, 2),
        second[0],
        second[-1],
    ):
        again = silently(resume_table, copy)
        assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes(), copy
        assert told(again) == told(whole), copy


def test_the_first_training_is_recorded_and_shown(settings, tmp_path, monkeypatch):
    """A page of the folder shows both; between them it does not say that all has ended."""
    folder = tmp_path / "run"
    _, copies = copies_of(folder, monkeypatch, lambda: silently(train_table, settings, folder))
    flows = [x for x in copies if (x / "flow/steps.arrows").is_file() and not (x / "held_out.json").is_file()]
    assert flows and (flows[-1] / "history.jsonl").stat().st_size > 0
    between = next(x for x in copies if (x / "held_out.json").is_file())
    from undertow.flow import load_flow

    flow = load_flow(between)
    status = read_status(between, None, flow, flow.history)
    assert flow.stopped in ("finished", "callback") and status.kind == "waiting"
    assert "training on all rows begins" in status.sentence
    assert read_status(folder, None, load_flow(folder), []).kind == "ended"


def test_who_stops_the_first_training_gets_no_second_one(settings, tmp_path):
    """A watcher's stop is not early stopping: what was trained is kept, and goes on where that is asked for."""

    class Stop(Control):
        def on_epoch_end(self, info):
            if info.epoch == 2:
                info.stop("enough")

    folder = tmp_path / "run"
    run = silently(train_table, settings, folder, callbacks=[Stop(folder)])
    assert len(run.history) == 2 and "held_out" not in run.extras and not (folder / "held_out.json").exists()
    again = silently(resume_table, folder, epochs=5, callbacks=[Control(folder)])
    assert "held_out" in again.extras and len(again.extras["held_out"]["history"]) == 5
    assert read_config(folder / "config.toml").refit_epochs == len(again.history)


def test_what_the_first_one_found_is_checked(settings, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    _, copies = copies_of(folder, monkeypatch, lambda: silently(train_table, settings, folder))
    between = next(x for x in copies if (x / "held_out.json").is_file())
    found = json.loads((between / "held_out.json").read_text())
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", json.dumps({**found, "epochs": "3"}).encode()):
        (between / "held_out.json").write_bytes(content)
        with pytest.raises(RunError, match=r"held_out.json cannot be read: it is damaged. Train anew"):
            silently(resume_table, between)


def test_a_first_training_that_goes_on_is_not_trained_over(settings, tmp_path, monkeypatch):
    """Whatever point it was killed at, a new training asks for --overwrite, and then knows nothing of the old one."""
    folder = tmp_path / "run"
    _, copies = copies_of(folder, monkeypatch, lambda: silently(train_table, settings, folder))
    between = next(x for x in copies if (x / "held_out.json").is_file())
    with pytest.raises(RunError, match="holds a training that has not come to its end"):
        silently(train_table, settings, between)
    run = silently(train_table, settings, Path(between), overwrite=True)
    assert told(run)[0] and (between / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
