"""Another training beside the first: taken where it is better on rows held out, and lost by no kill."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from trained_tables import model_of, silently
from undertow.errors import ArgumentError
from undertow.flow import load_flow
from undertow.report.live.standing import read_status
from undertow.train import choices, table_other
from undertow.train import table as tables
from undertow.train.table import resume_table, train_table
from undertow.train.table_data import load_table
from undertow.train.table_settings import TableSettings, read_config
from undertow.train.table_setup import prepare


def write(path, noise, n=160):
    """A straight line; without noise, dropout is all that is in the way."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2))
    y = x @ [1.0, -2.0] + noise * rng.normal(size=n)
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).write_csv(path)
    return TableSettings(
        data=str(path), target="y", hidden=[16], rate=0.02, dropout=0.5, other=True, refit=True, epochs=30,
        early_stopping=10, flow=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A training of which the other one is taken: its settings, its folder, its run, what was said."""
    place = tmp_path_factory.mktemp("exact")
    settings = write(place / "t.csv", noise=0.0)
    return settings, place / "run", *silently(train_table, settings, place / "run")


def test_the_better_one_is_trained_again_and_told(exact):
    """config.toml is that of the one that was taken; what is told of rows held out is what it did there."""
    settings, folder, run, said = exact
    config = read_config(folder / "config.toml")
    assert (config.dropout, config.other, config.hidden) == (0.0, False, [16])
    assert "Once more, with dropout 0 in place of 0.5:" in said and ": better, and taken." in said
    assert "then once more with other settings" in said and "each counts 0.33 of the next" in said
    assert config.average == 0.33
    assert not any("Dropout" in repr(layer) for layer in run.model.layers)
    plain = TableSettings(**{**settings.given(), "other": False, "dropout": 0.0})
    alone, _ = silently(train_table, plain, folder.parent / "alone")
    assert model_of(folder.parent / "alone") == model_of(folder)
    mine, its = (x.extras["held_out"] for x in (run, alone))
    assert mine["summary"] == its["summary"]
    assert [row["validation_loss"] for row in mine["history"]] == [row["validation_loss"] for row in its["history"]]
    assert mine["facts"] == its["facts"]


def test_it_is_repeated_from_its_config(exact):
    """To the last bit, although the other one is not tried again."""
    _, folder, *_ = exact
    silently(train_table, read_config(folder / "config.toml"), folder.parent / "again")
    assert model_of(folder.parent / "again") == model_of(folder)


class Killed(Exception):
    """As a kill would."""


def fail(error, function=None, after=0):
    """A function that fails once it was called so often."""
    calls = itertools.count()

    def called(*args, **more):
        if next(calls) >= after:
            raise error
        return function(*args, **more)

    return called


@pytest.mark.parametrize(
    ("module", "name"), [(table_other, "_squares"), (tables, "keep_first"), (tables, "set_up_second")]
)
def test_a_kill_changes_nothing(exact, tmp_path, monkeypatch, module, name):
    """At the end of the other training, before and after what was found is written."""
    settings, folder, *_ = exact
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail(Killed, getattr(module, name), after=int(name == "_squares")))
        with pytest.raises(Killed):
            silently(train_table, settings, tmp_path / "run")
    run, _ = silently(resume_table, tmp_path / "run")
    assert model_of(tmp_path / "run") == model_of(folder)
    assert run.extras["held_out"]["summary"] == exact[2].extras["held_out"]["summary"]


def test_a_page_does_not_say_that_all_has_ended(exact, tmp_path, monkeypatch):
    """While the other one trains, of which the folder knows nothing."""
    settings = TableSettings(**{**exact[0].given(), "flow": True})
    monkeypatch.setattr(table_other, "_squares", fail(Killed, table_other._squares, after=2))
    with pytest.raises(Killed):
        silently(train_table, settings, tmp_path / "run")
    flow = load_flow(tmp_path / "run")
    status = read_status(tmp_path / "run", None, flow, flow.history)
    assert flow.stopped in ("finished", "callback") and status.kind == "waiting"


def test_ctrl_c_keeps_the_first_network(exact, tmp_path, monkeypatch):
    """While the other one trains; resume tries it again, and goes on to the same bytes."""
    settings, folder, *_ = exact
    with monkeypatch.context() as patch:
        patch.setattr(table_other, "_squares", fail(KeyboardInterrupt, table_other._squares, after=2))
        run, said = silently(train_table, settings, tmp_path / "run")
    assert said.endswith("The run holds the first network, not one trained on all rows.")
    assert run.stopped == "interrupted" and (tmp_path / "run" / "model.safetensors").is_file()
    assert any("Dropout" in repr(layer) for layer in run.model.layers)
    silently(resume_table, tmp_path / "run")
    assert model_of(tmp_path / "run") == model_of(folder)


def test_what_an_earlier_version_found_goes_on(exact, tmp_path, monkeypatch):
    """Its held_out.json knows of no other settings."""
    settings, *_ = exact
    with monkeypatch.context() as patch:
        patch.setattr(tables, "set_up_second", fail(Killed))
        with pytest.raises(Killed):
            silently(train_table, settings, tmp_path / "run")
    file = tmp_path / "run" / "held_out.json"
    found = json.loads(file.read_text())
    assert found.pop("settings") == {"dropout": 0.0}
    file.write_text(json.dumps(found))
    silently(resume_table, tmp_path / "run")
    assert read_config(tmp_path / "run" / "config.toml").dropout == 0.5


def test_the_first_one_stays_where_it_is_better(tmp_path):
    """Here the other one has a decay that lets nothing be learned."""
    settings = TableSettings(**{**write(tmp_path / "t.csv", noise=3.0).given(), "dropout": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_other, "choose_other", lambda *given: {"decay": 40.0})
        run, said = silently(train_table, settings, tmp_path / "run")
    assert "Once more, with decay 40 in place of" in said and ": not better." in said
    assert read_config(tmp_path / "run" / "config.toml").decay != 40 and "held_out" in run.extras


def test_none_is_trained_where_nothing_is_to_try(exact, tmp_path):
    """An optimizer without decay, and no dropout."""
    told = {"optimizer": "sgd", "dropout": 0.0, "epochs": 5}
    _, said = silently(train_table, TableSettings(**{**exact[0].given(), **told}), tmp_path / "run")
    assert "Once more" not in said and "Trained again on all 160 rows" in said
    assert re.search(r"R² \S+ \(\d+ rows\), \d+\.\d% unexplained: no other settings to try\.", said)


def test_one_that_diverges_is_not_taken(exact, tmp_path, monkeypatch):
    """The first one stays, and nothing fails."""
    settings, *_ = exact
    monkeypatch.setattr(table_other, "choose_other", lambda *given: {"rate": 1e30})
    _, said = silently(train_table, settings, tmp_path / "run")
    assert "It diverged, so the first one stays." in said


def test_rows_count_as_their_weights():
    """Squared errors of a model that adds its columns, by hand."""

    class Run:
        def predict(self, X):
            return X.sum(axis=1, keepdims=True)

    X, y, w = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [8.0]]), np.array([3.0, 1.0])
    assert table_other._squares(Run(), (X, y)) == (2**2 + 1) / 2
    assert table_other._squares(Run(), (X, y, w)) == (3 * 2**2 + 1) / 4


def write_classes(path, flipped, n=300):
    """Two classes that a line parts, some of them flipped."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, 6))
    label = (x[:, 0] > x[:, 1]) ^ (rng.random(n) < flipped)
    columns = {f"x{k}": x[:, k] for k in range(6)}
    pl.DataFrame({**columns, "y": np.where(label, "yes", "no")}).write_csv(path)
    return TableSettings(data=str(path), target="y", flow=False, folds=1)


@pytest.mark.parametrize("classes", [None, "yes=6,no=1"])
def test_of_classes_the_lower_loss_is_taken(tmp_path, classes):
    """The losses are those of the rows held out, by hand, in which classes count as in training."""
    settings = write_classes(tmp_path / "t.csv", flipped=0.35)
    settings = TableSettings(**settings.given(), class_weights=classes)
    run, said = silently(train_table, settings, tmp_path / "run")
    first = float(re.search(r"Once more, with decay 1 in place of (\S+):", said)[1])
    losses = {}
    for decay in (first, 1.0):
        told = TableSettings(**{**settings.given(), "decay": decay, "refit": False})
        alone, table = train_table(told, tmp_path / f"{decay}", progress=False, say=lambda sentence: None)
        X, y = table.validation
        p = alone.predict_probability(X)[np.arange(len(y)), y].astype(float)
        losses[decay] = -np.average(np.log(p), weights=1 + 5 * (y == 1) if classes else None)
    better = losses[1.0] < losses[first]
    assert (": better, and taken." in said) == better
    told = re.search(r"rows\); of class '(?:yes|no)': .*; loss (\S+) after (\S+): ", said)
    assert told and [float(x) for x in told.groups()] == pytest.approx([losses[1.0], losses[first]], abs=1e-4)
    assert read_config(tmp_path / "run" / "config.toml").decay == (1.0 if better else first)
    assert run.extras["held_out"]["history"][-1].keys() >= {"validation_loss"}


def test_classes_that_are_plain_are_tried_without_dropout(tmp_path):
    """The lower of the losses on rows held out is taken; what these are, trainings alone tell."""
    settings = write_classes(tmp_path / "t.csv", flipped=0.0)
    _, said = silently(train_table, settings, tmp_path / "run")
    first = float(re.search(r"Once more, with dropout 0 in place of (\S+):", said)[1])
    losses = {}
    for dropout in (first, 0.0):
        told = TableSettings(**{**settings.given(), "dropout": dropout, "refit": False})
        alone, table = train_table(told, tmp_path / f"{dropout}", progress=False, say=lambda sentence: None)
        X, y = table.validation
        losses[dropout] = -np.mean(np.log(alone.predict_probability(X)[np.arange(len(y)), y].astype(float)))
    better = losses[0.0] < losses[first]
    assert (": better, and taken." in said) == better
    assert read_config(tmp_path / "run" / "config.toml").dropout == (0.0 if better else first)
    assert f"loss {losses[0.0]:.4f} after {losses[first]:.4f}" in said


@pytest.mark.parametrize("classes", [None, "yes=6,no=1"])
def test_of_classes_that_are_plain_there_is_no_other(tmp_path, classes):
    """What is left is a share of the entropy of the classes, as these count."""
    settings = write_classes(tmp_path / "t.csv", flipped=0.0)
    settings = TableSettings(**settings.given(), class_weights=classes, dropout=0.0)
    told = TableSettings(**settings.given(), other=True, refit=True)
    _, said = silently(train_table, told, tmp_path / "run")
    assert "Once more" not in said and "Trained again on all 300 rows" in said
    left = float(
        re.search(
            r"rows\); of class '(?:yes|no)': .*; loss \S+, (\S+)% of the classes' entropy: no other settings to try",
            said,
        )[1]
    )
    told = TableSettings(**{**settings.given(), "refit": False})
    alone, table = train_table(told, tmp_path / "alone", progress=False, say=lambda sentence: None)
    X, y = table.validation
    p = alone.predict_probability(X)[np.arange(len(y)), y].astype(float)
    counts = np.array([1, 6 if classes else 1])
    rates = counts * np.bincount(table.train[1])
    rates = rates / rates.sum()
    mean = np.average(np.log(p), weights=counts[y])
    assert abs(left - 100 * mean / np.sum(rates * np.log(rates))) < 0.06


@pytest.mark.parametrize(("flipped", "early"), [(0.35, True), (0.0, False)])
def test_of_a_large_table_dropout_is_tried_where_the_first_ended_early(tmp_path, monkeypatch, flipped, early):
    """As noise lets it; the lower of the losses on rows held out is taken, whose trainings alone tell them too."""
    monkeypatch.setattr(choices, "_LARGE", 200)  # a table of so many rows is large
    settings = write_classes(tmp_path / "t.csv", flipped)
    _, said = silently(train_table, settings, tmp_path / "run")
    losses, lengths = {}, {}
    for dropout in (0.0, 0.2):
        told = TableSettings(**{**settings.given(), "dropout": dropout, "refit": False})
        alone, table = train_table(told, tmp_path / f"{dropout}", progress=False, say=lambda sentence: None)
        X, y = table.validation
        losses[dropout] = -np.mean(np.log(alone.predict_probability(X)[np.arange(len(y)), y].astype(float)))
        lengths[dropout] = len(alone.history)
    assert (lengths[0.0] < 40) == early
    assert ("Once more, with dropout 0.2 in place of 0:" in said) == early
    better = early and losses[0.2] < losses[0.0]
    assert (": better, and taken." in said) == better
    assert read_config(tmp_path / "run" / "config.toml").dropout == (0.2 if better else 0.0)
    assert "Trained again on all 300 rows" in said


def test_more_than_two_layers_share_the_dropout_that_is_tried(tmp_path, monkeypatch):
    """As they share what is chosen for the first training: the variances of the noise of layers add up."""
    monkeypatch.setattr(choices, "_LARGE", 200)
    settings = replace(write_classes(tmp_path / "t.csv", 0.35), hidden=[32] * 4, other=True, refit=True)
    monkeypatch.setattr(table_other, "_ended_early", lambda run, settings: True)
    _, said = silently(train_table, replace(settings, epochs=2), tmp_path / "run")
    assert "Once more, with dropout 0.1 in place of 0:" in said


def settled(settings, classifies=False):
    """The settings of a table, complete."""
    found, _, _ = prepare(load_table(settings), settings)
    return found


def test_it_is_tried_where_nothing_was_told_of_the_network(tmp_path):
    """Told one thing about it, or asked not to train again, there is no other."""
    write(tmp_path / "t.csv", noise=1.0, n=200)
    bare = TableSettings(data=str(tmp_path / "t.csv"), target="y")
    assert settled(bare).other is True
    for told in ({"hidden": [8]}, {"dropout": 0.2}, {"refit": False}, {"epochs": 9}, {"other": False}, {"decay": 0.2}):
        assert settled(TableSettings(**bare.given(), **told)).other is False, told
    assert settled(TableSettings(**bare.given(), hidden=[8], other=True)).other is True
    pl.read_csv(tmp_path / "t.csv").with_columns(pl.col("y") > 0).write_csv(tmp_path / "c.csv")
    assert settled(TableSettings(**{**bare.given(), "data": str(tmp_path / "c.csv")})).other is True
    with pytest.raises(ArgumentError, match="--other: it is for where all rows are trained on again"):
        settled(TableSettings(**{**bare.given(), "other": True, "refit": False}))
    write(tmp_path / "t.csv", noise=1.0, n=190)  # 38 are held out
    assert settled(bare).other is True  # all rows are held out in turn
    bare = TableSettings(**bare.given(), folds=1)
    assert settled(bare).other is False and settled(TableSettings(**bare.given(), other=True)).other is True
