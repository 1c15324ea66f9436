"""Cross-validation: every example is predicted once, by a run that has not met it."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.errors import ArgumentError, ShapeError
from undertow.train import METRICS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 4)).astype(np.float32)
LABELS = (X @ RNG.standard_normal((4, 3)).astype(np.float32)).argmax(axis=1)
SETTINGS = {"loss": "categorical_cross_entropy", "optimizer": optim.adam(0.02), "epochs": 8, "batch_size": 16}


def build():
    return nn.Sequential(nn.Dense(4, 8), "tanh", nn.Dense(8, 3))


def test_a_fold_is_the_training_that_one_would_write_by_hand():
    found = ut.cross_validate(build(), (X, LABELS), folds=4, seed=3, **SETTINGS)
    by_hand = []
    for fold, (rows, held) in enumerate(ut.data.k_folds(120, 4, 3, stratify=LABELS)):
        data = X[rows], LABELS[rows]
        run = ut.train(build(), data, validation=None, seed=3 + fold, progress=False, **SETTINGS)
        by_hand.append(np.mean(run.predict(X[held]) == LABELS[held]))
        np.testing.assert_array_equal(found.predictions[held], run.predict(X[held]))
        np.testing.assert_array_equal(found.probabilities[held], run.predict_probability(X[held]))
    np.testing.assert_allclose(found.scores["accuracy"], by_hand)
    assert found.mean["accuracy"] == pytest.approx(np.mean(by_hand))
    assert found.deviation["accuracy"] == pytest.approx(np.std(by_hand, ddof=1))
    assert np.mean(found.predictions == LABELS) == pytest.approx(found.mean["accuracy"])  # folds of one size
    assert found.frame()["fold"].to_list() == [1, 2, 3, 4] and "accuracy" in repr(found)


def test_labels_that_say_nothing_cannot_be_predicted():
    """A network that learns random labels by heart is right about none but chance ones of those held out."""
    labels = np.random.default_rng(1).integers(0, 2, 120)
    model = nn.Sequential(nn.Dense(4, 64), "relu", nn.Dense(64, 2))
    found = ut.cross_validate(model, (X, labels), **{**SETTINGS, "epochs": 150})
    assert np.mean([run.history[-1]["accuracy"] for run in found.runs]) > 0.9
    assert abs(found.mean["accuracy"] - 0.5) < 3 * np.sqrt(0.25 / 120)


@pytest.mark.parametrize("stopping", [None, 2])
def test_a_group_is_on_one_side_alone(stopping, monkeypatch):
    seen = []
    open_trainer = ut.train.__globals__["Trainer"].__init__

    def note(self, model, data, plan=None, **settings):
        seen.append((data[0], settings["validation"]))
        open_trainer(self, model, data, plan, **settings)

    monkeypatch.setattr(ut.Trainer, "__init__", note)
    groups = np.repeat(np.arange(30), 4)
    table = np.column_stack([X, groups]).astype(np.float32)
    model = nn.Sequential(nn.Dense(5, 8), "tanh", nn.Dense(8, 3))
    found = ut.cross_validate(model, (table, LABELS), folds=3, groups=groups, early_stopping=stopping, **SETTINGS)
    for (trained, held), (rows, out) in zip(seen, found.parts, strict=True):
        assert not set(groups[rows]) & set(groups[out])
        assert not set(trained[:, 4]) & set(groups[out])
        if stopping:
            assert len(held[0]) and not set(trained[:, 4]) & set(held[0][:, 4])
            assert not set(held[0][:, 4]) & set(groups[out])


def test_what_is_prepared_knows_the_training_part_alone():
    given = []

    def centre(part):
        given.append(part)
        mean = part.mean(axis=0)
        return lambda X: X - mean

    found = ut.cross_validate(nn.Dense(4, 3), (X, LABELS), folds=3, prepare=centre, **SETTINGS)
    for (rows, held), part, run in zip(found.parts, given, found.runs, strict=True):
        np.testing.assert_array_equal(part, X[rows])
        np.testing.assert_array_equal(found.predictions[held], run.predict(X[held] - X[rows].mean(axis=0)))


def test_values_and_weights():
    y = X[:, :1] * 2
    weights = np.r_[np.ones(60), np.zeros(60)]
    settings = {**SETTINGS, "loss": "mean_squared_error", "metrics": ["r2", "mae"], "epochs": 30}
    found = ut.cross_validate(nn.Dense(4, 1), (X, y, weights), folds=3, **settings)
    assert found.probabilities is None and found.predictions.shape == (120, 1)
    assert list(found.scores) == ["loss", "r2", "mae"]
    _, held = found.parts[0]
    inside = held[held < 60]
    assert found.scores["mae"][0] == pytest.approx(np.mean(np.abs(found.predictions - y)[inside]), rel=1e-5)


def test_each_fold_has_checkpoints_of_its_own(tmp_path):
    ut.cross_validate(nn.Dense(4, 3), (X, LABELS), folds=2, checkpoint=tmp_path / "cv", **SETTINGS)
    assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == ["fold-1", "fold-2"]


def test_an_interruption_ends_all_folds():
    """Ctrl-C in the second fold is not taken for the end of that fold."""
    begun = []

    def interrupt(info):
        begun.append(info.epoch)
        if len(begun) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ut.cross_validate(nn.Dense(4, 3), (X, LABELS), callbacks=interrupt, **SETTINGS)
    assert len(begun) == 10


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"folds": 1}, ArgumentError, "folds must be a whole number of 2 or more"),
        ({"folds": 121}, ArgumentError, "121 folds of 120 examples"),
        ({"epoch": 3}, ArgumentError, "there is no setting 'epoch'. Did you mean 'epochs'?"),
        ({"groups": [1, 2]}, ShapeError, "there are 120 examples but groups is"),
        ({"prepare": np.mean}, ArgumentError, "prepare gave float32"),
        ({"prepare": lambda X: np.mean}, ShapeError, "Let it keep every row"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number of 0 or more"),
    ],
)
def test_what_cannot_be_done_is_said(change, kind, message):
    with pytest.raises(kind, match=message):
        ut.cross_validate(nn.Dense(4, 3), (X, LABELS), **{**SETTINGS, **change})


def test_data_in_blocks_and_a_missing_loss_are_refused():
    with pytest.raises(ArgumentError, match="read in blocks"):
        ut.cross_validate(nn.Dense(4, 3), lambda epoch: iter([(X, LABELS)]), **SETTINGS)
    with pytest.raises(ArgumentError, match="needs a loss"):
        ut.cross_validate(nn.Dense(4, 3), (X, LABELS))


def test_a_run_exports_itself(tmp_path):
    run = ut.train(nn.Dense(4, 3), (X, LABELS), progress=False, **SETTINGS)
    path = run.export(tmp_path / "model.py", training=False)
    names = {}
    exec(path.read_text(), names)
    np.testing.assert_array_equal(names["predict"](X), run.predict(X))
    with pytest.raises(ArgumentError, match=r"exported as \.onnx or \.py"):
        run.export(tmp_path / "model.h5")


@pytest.mark.parametrize("end", [(), ("softmax",)])
def test_predictions_are_what_metrics_take(end):
    run = ut.train(nn.Sequential(nn.Dense(4, 3), *end), (X, LABELS), progress=False, **SETTINGS)
    found = run.predictions(X, LABELS)
    wanted = np.zeros((3, 3))
    np.add.at(wanted, (LABELS, run.predict(X)), 1)
    np.testing.assert_array_equal(METRICS["confusion_matrix"](found), wanted)
    np.testing.assert_allclose(found.probabilities, run.predict_probability(X), rtol=1e-6)
    assert METRICS["log_loss"](found) == pytest.approx(run.evaluate(X, LABELS)["loss"], rel=1e-5)
