"""Two trainings of a small table, killed at any point of either, go on to the same bytes."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
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


def made_settings(tmp_path):
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


def is_between(folder):
    """Whether the first of two trainings has ended, and the second one has not begun."""
    return (folder / "held_out.json").is_file() and "refit_epochs" not in (folder / "config.toml").read_text()


def copies_of(folder, monkeypatch, work):
    """The folder as it is before every call that changes the disk, while something is done: what a kill may leave."""
    copies, count, alone = [], itertools.count(), threading.RLock()  # checkpoints are written in another thread
    for name in ("create", "write", "rename", "remove", "truncate", "force_folder"):
        call = getattr(DISK, name)

        def watched(*args, call=call):
            with alone:
                if folder.is_dir() and (next(count) % 4 == 0 or is_between(folder)):
                    copy = folder.with_name(f"copy-{len(copies)}")
                    with suppress(shutil.Error, FileNotFoundError):  # the other thread has removed a file meanwhile
                        shutil.copytree(folder, copy)
                        copies.append(copy)
                return call(*args)

        monkeypatch.setattr(DISK, name, watched)
    found = work()
    monkeypatch.undo()
    return found, copies


@pytest.fixture
def settings(tmp_path):
    return made_settings(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training that came to its end, its folder, and copies of that from all along it."""
    place = tmp_path_factory.mktemp("trained")
    folder, settings = place / "run", made_settings(place)
    with pytest.MonkeyPatch.context() as monkeypatch:
        run, copies = copies_of(folder, monkeypatch, lambda: silently(train_table, settings, folder))
    return run, folder, [copy for copy in copies if (copy / "config.toml").is_file()], settings


def test_a_kill_in_either_training_changes_nothing(trained, tmp_path):
    """Copies from within the first one, from between the two and from within the second one are gone on with."""
    whole, folder, copies, _ = trained
    between = [x for x in copies if (x / "held_out.json").is_file() and not read_config(x / "config.toml").refit_epochs]
    second = [x for x in copies if read_config(x / "config.toml").refit_epochs]
    first = [x for x in copies if x not in between and x not in second]
    assert len(first) > 9 and len(between) > 3 and len(second) > 9
    choose = random.Random(0)
    chosen = [*between[::4], between[-1], *choose.sample(first, 3), *choose.sample(second, 2), second[0], second[-1]]
    for number, killed in enumerate(chosen):
        copy = shutil.copytree(killed, tmp_path / f"{number}")
        again = silently(resume_table, copy)
        assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes(), killed
        assert told(again) == told(whole), killed


def test_the_first_training_is_recorded_and_shown(trained):
    """A page of the folder shows both; between them it does not say that all has ended."""
    _, folder, copies, _ = trained
    flows = [x for x in copies if (x / "flow/steps.arrows").is_file() and not (x / "held_out.json").is_file()]
    assert flows and (flows[-1] / "history.jsonl").stat().st_size > 0
    between = next(x for x in copies if (x / "held_out.json").is_file())
    from undertow.flow import load_flow

    flow = load_flow(between)
    status = read_status(between, None, flow, flow.history)
    assert flow.stopped in ("finished", "callback") and status.kind == "waiting"
    assert "training on all rows begins" in status.sentence
    assert read_status(folder, None, load_flow(folder), []).kind == "ended"


def copied(copies, tmp_path):
    """A copy of its own of the folder as it is between the two trainings."""
    between = next(x for x in copies if (x / "held_out.json").is_file())
    shutil.copytree(between, tmp_path / "between")
    return tmp_path / "between"


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


def test_what_the_first_one_found_is_checked(trained, tmp_path):
    _, _, copies, _ = trained
    between = copied(copies, tmp_path)
    found = json.loads((between / "held_out.json").read_text())
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", json.dumps({**found, "epochs": "3"}).encode()):
        (between / "held_out.json").write_bytes(content)
        with pytest.raises(RunError, match=r"held_out.json cannot be read: it is damaged. Train anew"):
            silently(resume_table, between)


def test_a_first_training_that_goes_on_is_not_trained_over(trained, tmp_path):
    """Whatever point it was killed at, a new training asks for --overwrite, and then knows nothing of the old one."""
    _, folder, copies, settings = trained
    between = copied(copies, tmp_path)
    with pytest.raises(RunError, match="holds a training that has not come to its end"):
        silently(train_table, settings, between)
    run = silently(train_table, settings, Path(between), overwrite=True)
    assert told(run)[0] and (between / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_settings_of_a_run_that_was_gone_on_with_tell_how_to_repeat_it(settings, tmp_path):
    """What the file says repeats it; trained anew in one go it is another, which is said."""
    folder, again = tmp_path / "run", tmp_path / "again"
    silently(train_table, settings, folder)
    silently(resume_table, folder, epochs=20)
    text, config = (folder / "config.toml").read_text(), read_config(folder / "config.toml")
    assert config.refit_epochs == 20 and config.resumed == ["", "--epochs 20"]
    assert "To repeat it: undertow train --config …, then undertow resume … --epochs 20." in text
    said = []
    train_table(config, again, progress=False, say=said.append)
    assert any("then undertow resume … --epochs 20" in sentence for sentence in said)
    silently(resume_table, again, epochs=20)
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert read_config(again / "config.toml") == config


@pytest.mark.parametrize("refit", [False, True])
def test_settings_tell_of_going_on_for_longer_that_was_killed(settings, tmp_path, refit):
    """It ends as its checkpoint says, and so do they; one without a checkpoint had just begun, and is told as such."""
    folder, whole = tmp_path / "run", tmp_path / "whole"
    settings = replace(settings, refit=refit, early_stopping=settings.early_stopping if refit else 0)
    for path in (folder, whole):
        silently(train_table, settings, path)
    with pytest.raises(ZeroDivisionError):
        silently(resume_table, folder, epochs=1_234_567, callbacks=[lambda info: 1 / (info.epoch != 16)])
    silently(resume_table, folder, epochs=18)
    silently(resume_table, whole, epochs=1_234_567, callbacks=[lambda info: info.epoch == 16])
    begun = "" if refit else "--epochs 12"
    assert read_config(whole / "config.toml").resumed == [begun, "--epochs 1234567"]
    assert read_config(folder / "config.toml").resumed == [begun, "--epochs 1234567", "--epochs 18"]


def test_settings_of_a_training_that_had_not_begun_are_those_it_goes_on_with(settings, tmp_path):
    settings = replace(settings, refit=False, early_stopping=0)
    silently(train_table, settings, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints")
    silently(resume_table, tmp_path / "run", epochs=5)
    config = read_config(tmp_path / "run/config.toml")
    assert config.epochs == 5 and config.resumed is None


def test_settings_of_a_first_training_that_was_gone_on_with_tell_how_to_repeat_it(settings, tmp_path):
    """Without a second training the number of epochs itself is another than the one it began with."""
    folder, again = tmp_path / "run", tmp_path / "again"
    settings = replace(settings, refit=False, early_stopping=0)
    silently(train_table, settings, folder)
    silently(resume_table, folder, epochs=15)
    silently(resume_table, folder, epochs=18)
    config = read_config(folder / "config.toml")
    assert config.epochs == 18 and config.resumed == ["--epochs 12", "--epochs 15", "--epochs 18"]
    silently(train_table, replace(config, epochs=12), again)
    silently(resume_table, again, epochs=15)
    silently(resume_table, again, epochs=18)
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
