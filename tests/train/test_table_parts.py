"""Small tables: parts held out in turn choose epochs, temperature and settings, whatever is killed meanwhile."""

from __future__ import annotations

import re
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

import undertow as ut
from command_line import make_runner
from trained_tables import model_of, silently
from undertow.errors import ArgumentError
from undertow.nn import Dense, Sequential
from undertow.train import table as tables
from undertow.train import table_parts
from undertow.train.checkpoint import load
from undertow.train.choices import choose_folds
from undertow.train.diverged import Diverged
from undertow.train.table import resume_table, train_table
from undertow.train.table_data import load_table
from undertow.train.table_parts import Found, deal_parts, measure_in_parts
from undertow.train.table_refit import read_first
from undertow.train.table_settings import TableSettings, read_config
from undertow.train.table_setup import prepare
from undertow.train.temperature import divide_scores, fit_temperature, mean_cross_entropy


def write(path, n=60, **told):
    """Two classes of which a third are flipped: whoever learns all of them is too sure."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    label = (x[:, 0] > 0) ^ (rng.random(n) < 0.3)
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": np.where(label, "yes", "no")}).write_csv(path)
    told = {"hidden": [16], "epochs": 20, "early_stopping": 5, "refit": True, "folds": 3, "other": True, **told}
    return TableSettings(data=str(path), target="y", flow=False, **told)


@pytest.fixture(scope="module")
def sure(tmp_path_factory):
    """A training to the end, of which a temperature above 1 is found: its settings, folder, run, what was said."""
    place = tmp_path_factory.mktemp("sure")
    settings = write(place / "t.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_parts, "min", lambda pair, cooled, key: cooled, raising=False)
        return settings, place / "run", *silently(train_table, settings, place / "run")


def test_each_row_is_held_out_once(tmp_path):
    """And trained on in all other parts, with its target and its weight; classes have their shares."""
    settings = write(tmp_path / "t.csv", weights="b", folds=5)
    frame = pl.read_csv(tmp_path / "t.csv").with_columns(pl.Series("b", np.arange(1.0, 61.0)))
    frame.write_csv(tmp_path / "t.csv")
    table = load_table(settings)
    parts = deal_parts(table, settings)
    held = [np.ravel(part.validation[2]) for part in parts]
    assert sorted(np.concatenate(held).tolist()) == list(range(1, 61))
    labels = frame["y"].to_numpy() == table.encoder.classes[1]
    for part in parts:
        (X, y, w), (Xh, yh, wh) = part.train, part.validation
        assert sorted([*np.ravel(w), *np.ravel(wh)]) == list(range(1, 61)) and part.n_rows == len(X)
        for rows, classes, weights in ((X, y, w), (Xh, yh, wh)):
            assert np.array_equal(classes, labels[np.ravel(weights).astype(int) - 1])
            assert len(rows) == len(classes)
        assert abs(np.mean(yh) - np.mean(labels)) < 0.1


def made_runs(monkeypatch, losses, scores, by_class=None):
    """Trainings that found what is given, in place of real ones."""
    runs = iter(
        SimpleNamespace(
            history=[{"validation_loss": loss} for loss in row], model=Sequential(Dense(1, 2)),
            outputs=lambda X, z=z: z, stopped="finished", settings={"class_weight_values": by_class},
        )
        for row, z in zip(losses, scores, strict=True)
    )  # fmt: skip
    monkeypatch.setattr(table_parts, "_train", lambda *given, **more: next(runs))


def made_parts(labels):
    return [SimpleNamespace(validation=(np.zeros((len(y), 1)), y), n_outputs=2, encoder=None) for y in labels]


def test_epochs_are_those_of_the_lowest_mean(monkeypatch):
    """Each part counts as its rows; what is not a number is not the lowest."""
    labels = [np.zeros(30, int), np.zeros(10, int)]
    losses = [[3.0, 1.0, np.nan, 2.0], [3.0, 9.0, 0.0, 2.0]]
    settings = TableSettings(loss="mean_squared_error")
    made_runs(monkeypatch, losses, [None, None])
    assert measure_in_parts(settings, made_parts(labels)) == Found(2.0, 4)
    made_runs(monkeypatch, [[1.0] * 4, [np.nan] * 4], [None, None])
    assert measure_in_parts(settings, made_parts(labels)) == Found(np.inf, 4)
    parts = made_parts(labels)
    parts[1].validation = (*parts[1].validation, np.zeros(10))  # rows that weigh nothing tell nothing
    made_runs(monkeypatch, [[3.0, 1.0], [np.nan, np.nan]], [None, None])
    assert measure_in_parts(settings, parts) == Found(1.0, 2)
    parts[0].validation = (*parts[0].validation, np.zeros(30))
    made_runs(monkeypatch, [[np.nan] * 4] * 2, [None, None])
    assert measure_in_parts(settings, parts) == Found(np.inf, 4)


def test_a_temperature_is_taken_where_it_is_better_than_an_early_end(monkeypatch):
    """By SciPy: the lowest cross-entropy of all rows held out, in which classes count as told."""
    rng = np.random.default_rng(4)
    labels = [rng.integers(0, 2, 40) for _ in range(3)]
    scores = [np.stack([-z, z], 1) for z in (6 * (y - 0.5) + rng.normal(0, 9, 40) for y in labels)]
    y, z = np.concatenate(labels), np.concatenate(scores)
    w = np.where(y == 1, 3.0, 1.0)

    def loss(temperature):
        return -np.average(log_softmax(z / temperature, axis=1)[np.arange(120), y], weights=w)

    best = minimize_scalar(loss, bounds=(0.5, 16), method="bounded", options={"xatol": 1e-9})
    settings = TableSettings(loss="categorical_cross_entropy", class_weights="yes=3,no=1")
    made_runs(monkeypatch, [[9.0, 9.0]] * 3, scores, [1.0, 3.0])
    found = measure_in_parts(settings, made_parts(labels))
    assert found.epochs == 2 and found.temperature == round(best.x, 2) > 1
    assert found.loss == pytest.approx(best.fun, rel=1e-5)
    made_runs(monkeypatch, [[best.fun - 0.01, 9.0]] * 3, scores, [1.0, 3.0])
    assert measure_in_parts(settings, made_parts(labels)) == Found(pytest.approx(best.fun - 0.01), 1)
    made_runs(monkeypatch, [[0.9, 0.8]] * 3, scores)  # of a loss that is another, no temperature
    assert measure_in_parts(TableSettings(loss="categorical_focal"), made_parts(labels)) == Found(pytest.approx(0.8), 2)


def test_early_end_and_temperature_are_held_against_each_other_by_one_loss(tmp_path, monkeypatch):
    """Weights of rows times "balanced" ones of the rows trained on, m / (K · count), as scikit-learn has them."""
    settings = write(tmp_path / "t.csv", weights="w", class_weights="balanced", epochs=1, early_stopping=0, average=0.0)
    frame = pl.read_csv(tmp_path / "t.csv")
    frame.with_columns(pl.Series("w", np.arange(60) % 7)).write_csv(tmp_path / "t.csv")
    table = load_table(settings)
    settings = prepare(table, settings)[0]
    given = []
    monkeypatch.setattr(table_parts, "fit_temperature", lambda *args: given.append(args) or 1.0)
    parts = deal_parts(table, settings)
    found = measure_in_parts(settings, parts)
    ((scores, y, counts),) = given
    expected = []
    for part in parts:
        per_class = np.bincount(part.train[1], minlength=2)
        expected.append((len(part.train[1]) / (2 * per_class))[part.validation[1]] * np.ravel(part.validation[2]))
    assert np.allclose(counts, np.concatenate(expected), rtol=1e-6)
    losses = -log_softmax(scores, axis=1)[np.arange(len(y)), y]
    assert found.loss == pytest.approx(np.average(losses, weights=counts), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_is_that_of_the_lowest_loss(seed):
    """Beside SciPy's search, for scores that are too sure and for some that are not sure enough."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(50, 4)) * 2.0 ** (seed - 1)
    y = np.where(rng.random(50) < 0.6, scores.argmax(axis=1), rng.integers(0, 4, 50))
    w = rng.random(50)

    def loss(t):
        return -np.average(log_softmax(scores / np.exp(t), axis=1)[np.arange(50), y], weights=w)

    best = minimize_scalar(loss, bounds=(np.log(0.5), np.log(16)), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(scores, y, w)
    assert found == pytest.approx(np.exp(best.x), rel=1e-4)
    assert mean_cross_entropy(scores / found, y, w) == pytest.approx(best.fun, abs=1e-9)


def test_rows_that_are_all_right_make_no_one_sure():
    """Their loss has no lowest point, and they may be few: scores are doubled at most."""
    assert fit_temperature(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == pytest.approx(0.5)


def test_divided_scores_keep_the_classes():
    """Probabilities are those of the scores over the temperature; dtypes stay."""
    rng = np.random.default_rng(1)
    layers = Dense(3, 4, W=rng.normal(size=(3, 4)).astype(np.float32), b=rng.normal(size=4).astype(np.float32))
    model = Sequential(layers)
    X = rng.normal(size=(9, 3)).astype(np.float32)
    divided = divide_scores(model, 2.5)
    assert np.allclose(divided(X), model(X) / 2.5, rtol=1e-6) and divided(X).dtype == np.float32
    with pytest.raises(ArgumentError, match=r"the network ends in .*, not in scores of classes"):
        divide_scores(Sequential(layers, "relu"), 2.0)


def test_all_is_said_and_kept(sure, tmp_path, monkeypatch):
    """The run holds the divided network; the parameters with which training would go on are not divided."""
    _, folder, run, said = sure
    config = read_config(folder / "config.toml")
    by = config.refit_temperature
    assert by and by != 1 and config.refit_epochs == 20 and config.folds == 3 and config.other is False
    assert "Now 3 such parts in turn:\n  loss " in said and f"; then its scores are divided by {by:g}." in said
    plain = ut.load(folder)
    shutil.copytree(folder, tmp_path / "copy")
    with monkeypatch.context() as patch:
        patch.setattr(tables, "divide_scores", lambda model, temperature: model)
        whole, _ = silently(resume_table, tmp_path / "copy")
    X = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    assert np.allclose(plain.outputs(X), whole.outputs(X) / by, rtol=1e-4, atol=1e-6)
    assert np.array_equal(run.outputs(X), plain.outputs(X))


def test_it_is_repeated_and_goes_on_to_the_same_bytes(sure, tmp_path, monkeypatch):
    """From its config, after its end, and after a kill before, between and after the parts."""
    settings, folder, *_ = sure
    monkeypatch.setattr(table_parts, "min", lambda pair, cooled, key: cooled, raising=False)
    before = model_of(folder)
    silently(train_table, read_config(folder / "config.toml"), tmp_path / "again")
    assert model_of(tmp_path / "again") == before
    silently(resume_table, folder)
    assert model_of(folder) == before
    for module, name in ((table_parts, "deal_parts"), (table_parts, "_settle"), (tables, "set_up_second")):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(module, name, lambda *given, **more: 1 / 0)
            silently(train_table, settings, tmp_path / name)
        assert (read_first(tmp_path / name) is None) == (module is table_parts)
        silently(resume_table, tmp_path / name)
        assert model_of(tmp_path / name) == before, name


def test_a_longer_first_training_keeps_what_the_parts_find(sure, tmp_path, monkeypatch):
    """Killed before the parts, resumed for more epochs: its config has the temperature, a resume changes nothing."""
    settings, *_ = sure
    monkeypatch.setattr(table_parts, "min", lambda pair, cooled, key: cooled, raising=False)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(table_parts, "deal_parts", lambda *given: 1 / 0)
        silently(train_table, TableSettings(**{**settings.given(), "schedule": "constant"}), tmp_path / "run")
    _, said = silently(resume_table, tmp_path / "run", epochs=25)
    config, before = read_config(tmp_path / "run" / "config.toml"), model_of(tmp_path / "run")
    assert config.refit_temperature and f"its scores are divided by {config.refit_temperature:g}." in said
    assert (config.epochs, config.refit_epochs) == (25, 25)
    silently(resume_table, tmp_path / "run")
    assert model_of(tmp_path / "run") == before


def test_ctrl_c_keeps_the_first_network(sure, tmp_path, monkeypatch):
    """While parts are trained on; resume does them again."""
    settings, folder, *_ = sure

    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(table_parts, "min", lambda pair, cooled, key: cooled, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(table_parts, "measure_in_parts", interrupt)
        run, said = silently(train_table, settings, tmp_path / "run")
    assert run.stopped == "interrupted" and said.endswith("not one trained on all rows.")
    assert load(tmp_path / "run").history
    silently(resume_table, tmp_path / "run")
    assert model_of(tmp_path / "run") == model_of(folder)


def test_other_settings_are_judged_by_all_parts(tmp_path, monkeypatch):
    """The better ones are taken, with their epochs, and told by a training on the same rows as the first."""
    settings = write(tmp_path / "t.csv")
    told = {0.01: Found(0.6, 7), 1.0: Found(0.5, 9)}
    monkeypatch.setattr(table_parts, "measure_in_parts", lambda settings, parts: told[settings.decay])
    settings = TableSettings(**settings.given(), decay=0.01)
    run, said = silently(train_table, settings, tmp_path / "run")
    assert "With decay 1 in place of 0.01: loss 0.5000 after 9 epochs; better, and taken." in said
    config = read_config(tmp_path / "run" / "config.toml")
    assert (config.decay, config.refit_epochs, config.refit_temperature) == (1.0, 9, None)
    alone = TableSettings(**{**settings.given(), "decay": 1.0, "refit": False, "other": False, "folds": 1})
    first, _ = silently(train_table, alone, tmp_path / "alone")
    losses = [
        [row["validation_loss"] for row in history] for history in (run.extras["held_out"]["history"], first.history)
    ]
    assert losses[0] == losses[1]
    told[1.0] = Found(0.7, 9)
    _, said = silently(train_table, settings, tmp_path / "kept")
    assert "loss 0.7000 after 9 epochs; not better." in said
    config = read_config(tmp_path / "kept" / "config.toml")
    assert (config.decay, config.refit_epochs) == (0.01, 7)


@pytest.mark.parametrize("at", [0, 1])
def test_parts_that_diverge_decide_nothing(tmp_path, monkeypatch, at):
    """Those of the first settings leave the first training alone to decide, those of the others leave these out."""
    calls = iter(range(9))

    def measure(settings, parts):
        if next(calls) == at:
            raise Diverged("too far", None)
        return Found(0.6, 3)

    monkeypatch.setattr(table_parts, "measure_in_parts", measure)
    settings = TableSettings(**write(tmp_path / "t.csv").given(), decay=0.01)
    _, said = silently(train_table, settings, tmp_path / "run")
    assert ("the first part alone decides" in said) == (at == 0) and ("it diverged, so the first" in said) == (at == 1)
    assert re.search(r"Trained again on all 60 rows for \d+ epochs", said)


def test_small_tables_are_dealt_where_no_end_was_told(tmp_path):
    """Not those whose rows belong together, nor where no training on all rows follows."""
    assert [choose_folds(n) for n in (50, 999, 1000, 10**6)] == [5, 5, 1, 1]
    write(tmp_path / "t.csv")
    bare = {"data": str(tmp_path / "t.csv"), "target": "y"}

    def folds(**told):
        settings = TableSettings(**bare, **told)
        return prepare(load_table(settings), settings)[0].folds

    assert folds() == 5 and folds(folds=4) == 4 and folds(decay=0.2) == 5 and folds(folds=1) == 1
    for told in ({"groups": "a"}, {"time": "a"}, {"refit": False}, {"epochs": 9}, {"validation": 0.3}):
        assert folds(**told) == 1, told
    assert folds(refit=True, epochs=9, folds=3) == 3
    with pytest.raises(ArgumentError, match="--folds 3: rows are held out in turn where all are trained on again"):
        folds(folds=3, refit=False)
    with pytest.raises(ArgumentError, match="--folds 3: rows are held out in turn"):
        folds(folds=3, groups="a")
    for wrong in (0, 2, 49, 99):
        with pytest.raises(ArgumentError, match=f"--folds {wrong}: give 1, or 3 to 48"):
            folds(folds=wrong, refit=True)
    write(tmp_path / "t.csv", n=25)
    assert folds() == 1
    with pytest.raises(ArgumentError, match=r"--folds 5: 20 rows to train on are too few .* takes 21. Give --folds 1"):
        folds(folds=5, refit=True)


def test_options_go_before_the_parts_of_a_config(sure, tmp_path, capsys, monkeypatch):
    """Without a training on all rows, or where rows belong together, there are none; both told is an error."""
    undertow = make_runner(capsys, monkeypatch)
    config = sure[1] / "config.toml"
    for name, told in (("once", ("--no-refit",)), ("groups", ("--groups", "a"))):
        code, out, err = undertow("train", "--config", config, *told, "--out", tmp_path / name, "--quiet")
        assert code == 0, err
        found = read_config(tmp_path / name / "config.toml")
        assert (found.folds, found.refit_temperature) == (1, None) and "in turn" not in out
    code, _, err = undertow("train", "--config", config, "--no-refit", "--folds", 3, "--out", tmp_path / "x", "--quiet")
    assert code == 2 and "--folds 3: rows are held out in turn where all are trained on again" in err
