"""Remedies of a training that was killed, or goes on, are tried as those of one that has ended."""

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow import nn, optim
from undertow.errors import ArgumentError, RunError
from undertow.flow import try_remedies
from undertow.flow.unfinished import open_run

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0) * 1
DEEP = nn.Sequential(*[x for _ in range(9) for x in (nn.Dense(4, 4), "sigmoid")], nn.Dense(4, 2))
SETTINGS = {"loss": "categorical_cross_entropy", "epochs": 6, "validation": 0.2, "progress": False}


def killed(folder):
    """What a kill after the last step leaves: all but the run itself."""
    for name in ("model.safetensors", "run.json", "report.html"):
        (folder / name).unlink(missing_ok=True)
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_training_gives_the_trials_of_the_whole_one(tmp_path):
    whole = ut.train(DEEP, (X, LABELS), optimizer=optim.sgd(0.1), checkpoint=tmp_path / "run", **SETTINGS)
    whole.save(tmp_path / "run", overwrite=True)
    wanted = try_remedies(whole, X, LABELS, progress=False)
    left = killed(tmp_path / "run")
    found = try_remedies(tmp_path / "run", X, LABELS, progress=False)
    assert [(row.remedy, row.loss, row.share) for row in found] == [(row.remedy, row.loss, row.share) for row in wanted]
    assert found.control.loss == wanted.control.loss and left == sorted(x.name for x in (tmp_path / "run").iterdir())
    run = open_run(tmp_path / "run")
    assert run.stopped == "interrupted" and repr(run.model) == repr(DEEP) and run.history == whole.history


def test_a_killed_training_on_a_table_is_tried_from_the_command_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    undertow = make_runner(capsys, monkeypatch)
    pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": LABELS}).write_csv("t.csv")
    deep = ("--hidden", ",".join(["8"] * 9), "--activation", "sigmoid", "--optimizer", "sgd", "--rate", 0.1)
    assert undertow("train", "t.csv", "--target", "y", *deep, "--epochs", 5, "--quiet", "--out", "run")[0] == 0
    assert "checkpoints" in killed(tmp_path / "run")
    code, out, err = undertow("diagnose", "run", "--try", "--quiet")
    assert code == 0 and "Remedies by validation accuracy" in out and "vanishing" in out, err


def test_layers_of_ones_own_have_to_be_given(tmp_path):
    model = nn.Sequential(nn.Dense(4, 4), "sigmoid", lambda h: h * 1.0, nn.Dense(4, 2))
    ut.train(model, (X, LABELS), optimizer=optim.sgd(0.1), checkpoint=tmp_path / "run", **SETTINGS)
    killed(tmp_path / "run")
    with pytest.raises(ArgumentError, match="the model is not kept"):
        try_remedies(tmp_path / "run", X, LABELS, progress=False)
    assert try_remedies(tmp_path / "run", X, LABELS, model=model, findings=[], progress=False).control.tried


def test_a_folder_without_anything_is_refused(tmp_path):
    with pytest.raises(RunError, match="missing"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="there is no such folder"):
        open_run(tmp_path / "none")
