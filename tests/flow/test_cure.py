"""Remedies are tried on the rows and from the seed of the run, judged fairly, and the run stays as it is."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.errors import ArgumentError
from undertow.flow import Finding, Remedy
from undertow.flow.attempt import Attempt, apply_change
from undertow.flow.cure import try_remedies
from undertow.flow.trials import Trial, Trials
from undertow.train import Diverged
from undertow.train.plan import Plan
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

rng = np.random.default_rng(0)
X = rng.standard_normal((300, 6)).astype(np.float32)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
NUMBERS = (X @ np.arange(6) / 4).astype(np.float32)


def finding(*remedies: tuple[str, dict], kind: str = "vanishing") -> Finding:
    made = tuple(Remedy(f"{name} {change}", f"# {name}", name=name, change=change) for name, change in remedies)
    return Finding(kind, "error", "It does not learn.", remedies=made)


def sigmoids(n_out: int = 2) -> nn.Sequential:
    hidden = [item for i in range(7) for item in (nn.Dense(6 if i == 0 else 16, 16), "sigmoid")]
    return nn.Sequential(*hidden, nn.Dense(16, n_out))


def train(model=None, y=LABELS, **more):
    settings = {"loss": "categorical_cross_entropy", "optimizer": optim.adam(2e-3), "epochs": 8, "batch_size": 32}
    settings["flow"] = False  # the trials are then not recorded either, and quick
    return ut.train(model or sigmoids(), (X, y), progress=False, validation=0.25, seed=3, **{**settings, **more})


def attempt(model=None, y=LABELS, **plan) -> Attempt:
    plan = {"loss": "categorical_cross_entropy", "epochs": 4, **plan}
    return Attempt(model or sigmoids(), (X, y, None), (X[:50], y[:50], None), Plan(**plan), classes=True)


def test_the_cure_of_a_deep_stack_of_sigmoids_is_found_and_comes_first():
    found = finding(("rate", {"factor": 0.5}), ("activation", {"to": "relu"}), ("data", {}), ("levitation", {}))
    trials = try_remedies(train(flow=True), X, LABELS, findings=[found], progress=False)
    assert trials.best.found is not None and trials.control.share < 0.7 and trials.judged_by == "validation accuracy"
    best = trials.best
    assert best is trials.rows[0] and best.remedy.startswith("activation") and best.share > 0.85
    assert best.gain == pytest.approx(best.share - trials.control.share)
    notes = {row.change[0][0]: row.note for row in trials.rows if not row.tried}
    assert "other data" in notes["data"] and "no change 'levitation'" in notes["levitation"]


def test_the_control_is_the_training_of_the_run_once_more():
    """Same seed, same rows in the same order, same parameters to begin with: the same bits come out."""
    run = train()
    trials = try_remedies(run, X, LABELS, findings=[], progress=False)
    for layer, again in zip(run.model.layers[::2], trials.control.run.model.layers[::2], strict=True):
        np.testing.assert_array_equal(layer.W, again.W)
    assert trials.control.loss == pytest.approx(run.history[-1]["validation_loss"])
    assert trials.control.share == pytest.approx(run.history[-1]["validation_accuracy"])


def test_the_run_stays_as_it_is(tmp_path):
    run = train(checkpoint=tmp_path / "run")
    run.save(tmp_path / "run", overwrite=True)
    before = {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()}
    W, history = run.model.layers[0].W.copy(), [dict(row) for row in run.history]
    try_remedies(run, X, LABELS, findings=[finding(("activation", {"to": "relu"}))], progress=False, epochs=2)
    assert {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()} == before
    np.testing.assert_array_equal(run.model.layers[0].W, W)
    assert run.history == history


def test_a_scaled_target_is_judged_in_the_units_of_the_run():
    model = nn.Sequential(nn.Dense(6, 16), "tanh", nn.Dense(16, 1))
    y = (NUMBERS * 300 + 2000).astype(np.float32)
    run = train(model, y, loss="mean_squared_error", epochs=15)
    trials = try_remedies(run, X, y, findings=[finding(("target_scaling", {}))], progress=False)
    trial = trials.best
    assert trial is not None and trials.control.loss > 1e6
    rows = trial.run.settings["n_validation"]
    assert rows == 75
    mean_by_hand = trials.control.run.settings["n_examples"]
    assert mean_by_hand == 225
    kept, held = ut.data.split(300, 0.25, 3)
    scaled = y[kept].astype(np.float64)
    predicted = np.ravel(trial.run.outputs(X[held])) * scaled.std() + scaled.mean()
    assert trial.loss == pytest.approx(np.mean((predicted - y[held]) ** 2), rel=1e-4)
    assert trial.gain == pytest.approx(1 - trial.loss / trials.control.loss)


def test_counts_are_numbers_and_no_classes():
    y = np.round(NUMBERS * 20 + 200).astype(np.int64)
    run = train(nn.Sequential(nn.Dense(6, 8), "tanh", nn.Dense(8, 1)), y, loss="mean_squared_error", epochs=4)
    trials = try_remedies(run, X, y, findings=[finding(("target_scaling", {}))], progress=False)
    assert not trials.is_share and trials.best is not None and trials.best.gain > 0.9


def test_labels_of_a_loss_of_ones_own_are_classes():
    def cross_entropy(z, y):
        return -np.mean(np.sum(np.eye(2, dtype=np.float32)[y] * (z - np.log(np.sum(np.exp(z), 1, keepdims=True))), 1))

    run = train(nn.Sequential(nn.Dense(6, 2)), loss=cross_entropy)
    trials = try_remedies(run, X, LABELS, findings=[finding(("rate", {"to": 0.05}))], progress=False)
    assert trials.judged_by == "validation accuracy" and trials.rows[0].gain > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_begin_at_their_frequencies_and_are_not_scaled(dtype):
    """The loss is nearly their entropy, for steps so small that it is that of the beginning."""
    rare = (X[:, 0] > 1) * 1
    model = nn.Sequential(nn.Dense(6, 8), "tanh", nn.Dense(8, 2))
    settings = {"loss": "categorical_cross_entropy", "optimizer": ut.optim.sgd(1e-9), "progress": False, "epochs": 1}
    run = ut.train(model, (X, rare), dtype=dtype, **settings)
    changes = finding(("initialisation", {"output": True}), ("target_scaling", {}))
    rows = {row.change[0][0]: row for row in try_remedies(run, X, rare, findings=[changes], progress=False).rows}
    assert rows["target_scaling"].note == "the target is a class, no number." and not rows["target_scaling"].tried
    p = np.bincount(rare) / len(rare)
    assert rows["initialisation"].loss == pytest.approx(-np.sum(p * np.log(p)), rel=0.05)
    last = rows["initialisation"].run.model.layers[-1]
    assert last.b.dtype == last.W.dtype == np.dtype(dtype)


def test_weights_of_rows_and_of_classes_are_taken_up_once():
    weights = rng.uniform(0.5, 2, 300).astype(np.float32)
    settings = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False, "class_weights": {0: 1, 1: 5}}
    run = ut.train(nn.Sequential(nn.Dense(6, 2)), (X, LABELS, weights), seed=1, **settings)
    trials = try_remedies(run, data=(X, LABELS, weights), findings=[], progress=False)
    np.testing.assert_array_equal(trials.control.run.model.layers[0].W, run.model.layers[0].W)


def test_inputs_are_scaled_by_the_rows_that_are_trained_on():
    made = apply_change(attempt(nn.Sequential(nn.Dense(6, 2))), "scaling", {})
    np.testing.assert_allclose(made.train[0].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(made.train[0].std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(made.held[0], (X[:50] - X.mean(axis=0)) / X.std(axis=0), rtol=1e-4, atol=1e-5)


def test_a_loss_that_goes_with_the_end_is_judged_by_right_answers():
    model = nn.Sequential(nn.Dense(6, 2), "softmax")
    hot = np.eye(2, dtype=np.float32)[LABELS]
    with pytest.warns(UserWarning, match="softmax"):
        run = train(model, hot, loss="mean_squared_error", optimizer=optim.sgd(0.01), epochs=3)
        found = finding(("loss", {"to": "categorical_cross_entropy"}), kind="loss-activation-mismatch")
        trials = try_remedies(run, X, hot, findings=[found], progress=False)
    assert trials.is_share and math.isnan(trials.rows[0].loss) and trials.rows[0].tried
    assert trials.rows[0].share == pytest.approx(trials.rows[0].gain + trials.control.share)


def test_where_one_class_is_rare_all_classes_count_the_same():
    y = np.zeros(300, np.int64)
    y[:12] = 1
    run = train(nn.Sequential(nn.Dense(6, 2)), y, epochs=3)
    trials = try_remedies(run, X, y, findings=[finding(("weights", {"to": "balanced"}))], progress=False)
    assert trials.judged_by == "validation accuracy, each class alike"
    _, held = ut.data.split(300, 0.25, 3, y)
    right = trials.control.run.predict(X[held]) == y[held]
    assert trials.control.share == pytest.approx((right[y[held] == 0].mean() + right[y[held] == 1].mean()) / 2)
    assert trials.rows[0].tried


def test_a_class_so_rare_that_none_of_it_is_held_out_still_counts():
    """Two rows of 302: accuracy on the rows held out would reward to forget the rarer of the other two classes."""
    y = np.zeros(302, np.int64)
    y[:90], y[300:] = 1, 2
    X = np.random.default_rng(0).normal(size=(302, 6)).astype(np.float32)
    held = (X[:60], y[60:120])
    run = ut.train(
        nn.Sequential(nn.Dense(6, 3)), (X, y), loss="categorical_cross_entropy", optimizer=optim.adam(), epochs=2,
        validation=held, progress=False,
    )  # fmt: skip
    trials = try_remedies(
        run, X, y, findings=[finding(("weights", {"to": "balanced"}))], validation=held, progress=False
    )
    assert trials.judged_by == "validation accuracy, each class alike"
    right = trials.control.run.predict(held[0]) == held[1]
    assert trials.control.share == pytest.approx((right[held[1] == 0].mean() + right[held[1] == 1].mean()) / 2)


def test_a_training_that_diverges_loses(capsys):
    model = nn.Sequential(nn.Dense(6, 1))
    run = train(model, NUMBERS, loss="mean_squared_error", epochs=4)
    capsys.readouterr()
    trials = try_remedies(
        run, X, NUMBERS, findings=[finding(("rate", {"optimizer": "sgd", "rate": 50.0}), ("epochs", {"factor": 2}))]
    )
    told = capsys.readouterr().out
    assert ", diverged, " in told and "inf%" not in told
    assert [row.stopped for row in trials.rows] == ["finished", "diverged"] and trials.rows[1].gain == -math.inf
    assert trials.rows[0].run.history[-1]["epoch"] == 8


def test_rows_without_targets_are_asked_for_them(capsys):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    run = ut.train(nn.Dense(3, 1), (X, X[:, 0]), loss="mean_squared_error", epochs=1, progress=False)
    with pytest.raises(ArgumentError, match="y is missing"):
        run.try_remedies(X)
    remedy = ut.flow.Remedy("Clip.", "", name="clipping", change={"limit": 1.0})
    run.try_remedies(X, X[:, 0], findings=[ut.flow.Finding("exploding", "error", "", remedies=(remedy,))])
    assert capsys.readouterr().out.startswith("1 remedy is tried.")


def test_a_run_that_diverged_can_be_cured():
    with pytest.raises(Diverged) as error:
        train(nn.Sequential(nn.Dense(6, 1)), NUMBERS, loss="mean_squared_error", optimizer=optim.sgd(50.0))
    trials = try_remedies(error.value.run, X, NUMBERS, findings=[finding(("rate", {"to": 0.05}))], progress=False)
    assert trials.control.stopped == "diverged" and trials.best.gain == 1.0 and trials.best.loss < 1


def test_what_helps_apart_is_tried_together():
    y = (NUMBERS * 100 + 500).astype(np.float32)
    run = train(nn.Sequential(nn.Dense(6, 8), "tanh", nn.Dense(8, 1)), y, loss="mean_squared_error", epochs=6)
    trials = try_remedies(
        run, X, y, findings=[finding(("target_scaling", {}), ("rate", {"to": 0.05}))], progress=False
    )  # fmt: skip
    together = next(row for row in trials.rows if len(row.change) == 2)
    assert {name for name, _ in together.change} == {"target_scaling", "rate"} and together.tried


def test_seconds_break_the_unchanged_training_off_and_the_others_do_as_many_steps():
    run = train(epochs=3000, steps=60)
    run.settings["steps"] = None
    found = finding(("activation", {"to": "relu"}), ("batch_size", {"to": 64}))
    trials = try_remedies(run, X, LABELS, findings=[found], seconds=2.0, progress=False)
    steps = trials.control.run.history[-1]["step"]
    done = {row.change[0][0]: row.run.history[-1]["step"] for row in trials.rows if len(row.change) == 1}
    assert done["activation"] == steps and done["batch_size"] == pytest.approx(steps / 2, abs=1)


def test_parameters_set_by_hand_are_kept_where_the_model_is_given():
    model = nn.Sequential(nn.Dense(6, 8, b=np.full(8, -50, np.float32)), "relu", nn.Dense(8, 2))
    run = train(model, epochs=25)
    found = finding(("initialisation", {"to": "auto"}), kind="born-dead-layer")
    trials = try_remedies(run, X, LABELS, model=model, findings=[found], progress=False)
    assert trials.best is not None and trials.control.share < 0.7 and not trials.note
    anew = try_remedies(run, X, LABELS, findings=[found], progress=False)
    assert "Begun anew" in anew.note and anew.best is None


def test_an_optimizer_of_ones_own_is_given_again():
    """A schedule that is a function of the user's is not kept in a run; the control repeats the run with it."""
    X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    optimizer = ut.optim.sgd(lambda step: 0.5 / (1 + step))
    model = nn.Sequential(nn.Dense(3, 4), "tanh", nn.Dense(4, 2))
    settings = {"loss": "categorical_cross_entropy", "epochs": 3, "validation": 0.25, "seed": 3, "progress": False}
    run = ut.train(model, (X, y), optimizer=optimizer, **settings)
    remedy = Remedy("Batches of 8.", "", "", "batch_size", {"to": 8})
    told = {"findings": [Finding("plateau", "note", "It stands.", remedies=(remedy,))], "progress": False}
    with pytest.raises(ArgumentError, match=r"function of your own.*optimizer="):
        run.try_remedies(X, y, **told)
    trials = run.try_remedies(X, y, optimizer=optimizer, **told)
    assert trials.control.loss == pytest.approx(run.history[-1]["validation_loss"], rel=1e-5)
    assert [x.remedy for x in trials.rows] == ["Batches of 8."] and not trials.rows[0].note
    other = run.try_remedies(X, y, optimizer="adam", **told)
    assert other.control.loss != trials.control.loss
    with pytest.raises(ArgumentError, match="there is no optimizer 'adamm'"):
        run.try_remedies(X, y, optimizer="adamm", **told)


def test_constant_columns_are_left_out_and_found_no_more():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.standard_normal((200, 3)), np.full((200, 2), 3.0)], axis=1).astype(np.float32)
    settings = {"loss": "mean_squared_error", "epochs": 5, "progress": False}
    y = X[:, :1] - X[:, 1:2]
    run = ut.train(nn.Sequential(nn.Dense(5, 8), "tanh", nn.Dense(8, 1)), (X, y), **settings)
    assert [finding.kind for finding in run.findings] == ["constant-columns"]
    trials = run.try_remedies(X, y, progress=False)
    assert trials.rows[0].found is False and trials.rows[0].run.model.layers[0].W.shape == (3, 8)


def test_the_code_of_what_is_tried_together_makes_all_changes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((256, 8)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    stack = [item for _ in range(12) for item in (nn.Dense(8, 8), "sigmoid")]
    model = nn.Sequential(*stack, nn.Dense(8, 2))
    settings = {"loss": "categorical_cross_entropy", "optimizer": ut.optim.sgd(0.1), "epochs": 6, "progress": False}
    run = ut.train(model, (X, y), **settings)
    remedies = {remedy.name: remedy for finding in run.findings for remedy in finding.remedies}
    chosen = [remedies["residual"], remedies["activation"]]
    found = ut.flow.Finding("vanishing", "error", "The gradient shrinks.", remedies=tuple(chosen))
    together = next(row for row in run.try_remedies(X, y, findings=[found], progress=False) if len(row.change) > 1)
    names = {"ut": ut, "model": model, "X": X, "y": y}
    exec(together.code.replace("run = ", "run = None  # "), names)
    assert repr(names["model"].layers[0]).startswith("Residual(Dense(8, 8), relu, scale=0.28")
    assert together.code.count("ut.train") == 1 and "ut.train(model, (X, y), " in together.code


def test_a_run_of_the_command_line_knows_its_file(tmp_path):
    file = tmp_path / "table.csv"
    np.savetxt(file, np.column_stack([X, NUMBERS]), delimiter=",", header="a,b,c,d,e,f,target", comments="")
    settings = TableSettings(data=str(file), target="target", epochs=2, validation=0.2)
    train_table(settings, tmp_path / "run", progress=False, say=lambda sentence: None)
    trials = try_remedies(tmp_path / "run", findings=[finding(("activation", {"to": "tanh"}))], progress=False)
    assert trials.rows[0].tried and trials.judged_by == "validation loss"


@pytest.mark.parametrize("categories", ["one_hot", "codes"])
def test_trained_again_on_all_rows_a_network_knows_more_categories_than_its_trials(tmp_path, categories):
    """With a text of its own in nearly every row, those of the rows held out are known to the last training only."""
    file, days = tmp_path / "table.csv", [f"{i // 2} May" for i in range(300)]
    pl.DataFrame({"x": X[:, 0], "day": days, "y": NUMBERS}).write_csv(file)
    settings = TableSettings(data=str(file), target="y", epochs=2, refit=True, validation=0.2, categories=categories)
    run, _ = train_table(settings, tmp_path / "run", progress=False, say=lambda sentence: None)
    trials = try_remedies(tmp_path / "run", findings=[finding(("activation", {"to": "tanh"}))], progress=False)
    assert trials.rows[0].tried and trials.judged_by == "validation loss"
    assert repr(trials.control.run.model.layers[0]) != repr(run.model.layers[0])


def test_what_is_missing_is_told():
    run = train(epochs=1)
    with pytest.raises(ArgumentError, match=r"run\.try_remedies\(X, y\)"):
        try_remedies(run, progress=False, findings=[])
    own = ut.train(
        nn.Sequential(Mine(np.zeros((6, 2), np.float32))),
        (X, LABELS),
        loss="categorical_cross_entropy",
        epochs=1,
        progress=False,
    )
    with pytest.raises(ArgumentError, match="no layer can draw again"):
        try_remedies(own, X, LABELS, findings=[], progress=False)
    given = ut.train(
        sigmoids(), (X, LABELS), loss="categorical_cross_entropy", epochs=1, progress=False, validation=(X, LABELS)
    )
    with pytest.raises(ArgumentError, match="Give them again: validation="):
        try_remedies(given, X, LABELS, findings=[], progress=False)
    assert try_remedies(given, X, LABELS, validation=(X, LABELS), findings=[], progress=False).control.tried
    with pytest.raises(ArgumentError, match="remedies change nothing"):
        try_remedies(run, X, LABELS, model=lambda x: x, findings=[], progress=False)


@dataclass
class Mine:
    """A layer that does not say how its weights are drawn."""

    W: Any

    def __call__(self, x):
        return x @ self.W


@pytest.mark.parametrize(
    ("name", "change", "holds"),
    [
        ("clipping", {"limit": 1.0}, lambda a: repr(a.plan.clip) == "clip_by_global_norm(1)"),
        ("clipping", {"value": 0.5}, lambda a: repr(a.plan.clip) == "clip_by_value(0.5)"),
        ("rate", {"factor": 0.1}, lambda a: a.plan.optimizer.settings["rate"] == pytest.approx(1e-4)),
        ("rate", {"to": 0.3, "momentum": 0.8}, lambda a: a.plan.optimizer.settings["beta1"] == 0.8),
        ("batch_size", {"factor": 4}, lambda a: a.plan.batch_size == 256),
        ("early_stopping", {"patience": 3}, lambda a: a.plan.early_stopping == 3),
        ("epochs", {"to": 12}, lambda a: a.plan.epochs == 12 and a.longer == 3),
        ("l2", {"to": 0.1}, lambda a: a.plan.l2 == 0.1),
        ("regularisation", {"l1": 0.2, "dropout": 0.5}, lambda a: a.plan.l1 == 0.2 and "Dropout" in repr(a.model)),
        ("weights", {}, lambda a: a.plan.class_weights == "balanced"),
        ("residual", {}, lambda a: any(isinstance(x, nn.Residual) for x in a.model.layers)),
        ("normalisation", {"to": "batch"}, lambda a: any(isinstance(x, nn.BatchNorm) for x in a.model.layers)),
        ("width", {"least": 20}, lambda a: a.model.layers[0].fan_out == 20),
        ("initialisation", {"output": "frequencies"}, lambda a: a.model.layers[-1].b is not None),
        ("activation", {"to": "softmax", "where": "output"}, lambda a: nn.final_activation(a.model) == "softmax"),
    ],
)  # fmt: skip
def test_each_change_changes_what_it_says(name, change, holds):
    before = attempt()
    assert holds(apply_change(before, name, change)) and not holds(before)


def test_a_schedule_is_scaled_as_a_whole():
    plan = Plan(loss="huber", optimizer=optim.adam(optim.warmup(optim.cosine(0.1, 100), 10)))
    made = apply_change(Attempt(sigmoids(), (X, LABELS, None), None, plan), "rate", {"factor": 0.5})
    assert made.plan.optimizer.settings["rate"]["then"]["rate"] == pytest.approx(0.05)


def test_rows_that_are_in_both_parts_are_trained_on_no_more():
    made = apply_change(attempt(), "data", {"drop_shared": True})
    assert len(made.train[0]) == 250 and len(made.held[0]) == 50


def test_trials_print_in_a_terminal_and_a_notebook():
    rows = (
        Trial("vanishing", "<relu> instead", gain=0.4, share=0.9, loss=0.2, stopped="finished", found=False),
        Trial("vanishing", "more clipping", gain=-0.1, share=0.4, loss=2.0, stopped="diverged", found=True),
        Trial("leakage", "other rows", note="it takes other data, or a look at them."),
    )  # fmt: skip
    trials = Trials(rows, Trial("", "unchanged", share=0.5, loss=1.0, stopped="finished"), "validation accuracy")
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(trials)
    text = console.export_text()
    assert "+40.0%" in text and "█" in text and "(diverged)" in text and "Not tried" in text
    page = trials._repr_html_()
    assert "&lt;relu&gt;" in page and "<relu>" not in page
    assert trials.plain()["rows"][0]["gain"] == 0.4 and "run" not in trials.plain()["rows"][0]
    assert repr(trials) == "2 remedies tried, the best: <relu> instead (validation accuracy 0.5 → 0.9)"
