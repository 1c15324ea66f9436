"""Figures of one class of a table: by its name at the command line, the rare one of two without being asked."""

import re

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow.train.class_metrics import read_class_metrics, tell_class
from undertow.train.metric import Predictions
from undertow.train.metrics import find_metric, is_told_by_name
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings
from undertow.train.table_words import summarize


def scores(y, found, k):
    """Precision, recall and F1 by their definitions."""
    hits = np.sum((y == k) & (found == k))
    precision, recall = hits / max(np.sum(found == k), 1), hits / max(np.sum(y == k), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-300)


@pytest.mark.parametrize("k", [0, 1, 2, 7])
def test_a_class_alone_by_its_definition(k):
    rng = np.random.default_rng(k)
    y, found = rng.integers(0, 3, (2, 200))
    data = Predictions("categorical", y, labels=found)
    measured = [find_metric(f"{name}_of_{k}") for name in ("precision", "recall", "f1")]
    np.testing.assert_allclose([metric(data) for metric in measured], scores(y, found, k))
    assert all(map(is_told_by_name, measured)) and all(metric.better == "high" for metric in measured)


def test_a_class_alone_of_two_and_of_labels_that_may_hold_together():
    rng = np.random.default_rng(0)
    y, found = rng.integers(0, 2, (2, 100))
    binary = Predictions("binary", y, labels=found)
    assert find_metric("f1_of_1")(binary) == pytest.approx(find_metric("f1_binary")(binary))
    assert find_metric("recall_of_0")(binary) == pytest.approx(scores(y, found, 0)[1])
    y, found = rng.integers(0, 2, (2, 100, 3))
    several = Predictions("multilabel", y, labels=found)
    assert find_metric("f1_of_2")(several) == pytest.approx(scores(y[:, 2], found[:, 2], 1)[2])


def test_a_class_that_is_not_there_is_refused_before_training():
    """A network of K classes has 0 to K − 1; it was measured as 0."""
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    told = {"epochs": 1, "progress": False}
    for n, loss, target in (
        (3, "categorical_cross_entropy", y),
        (3, "categorical_hinge", y),
        (1, "binary_cross_entropy", y > 0),
        (2, "binary_cross_entropy", np.stack([y > 0, y > 1], axis=1)),
    ):
        last = max(n, 2) - 1
        wrong = re.escape(f"f1_of_{last + 1}: there is no class {last + 1}. ") + f".*write f1_of_{last}"
        model, data = ut.nn.Dense(3, n), (X, target.astype(int))
        with pytest.raises(ut.UndertowError, match=wrong):
            ut.train(model, data, loss=loss, metrics=f"f1_of_{last + 1}", **told)
        run = ut.train(model, data, loss=loss, metrics=f"f1_of_{last}", **told)
        with pytest.raises(ut.UndertowError, match=wrong):
            run.evaluate(*data, metrics=f"f1_of_{last + 1}")


def test_names_become_numbers():
    assert read_class_metrics(["f1_of_no", "auc", "recall_of_yes"], ["no", "yes"]) == ["f1_of_0", "auc", "recall_of_1"]
    assert read_class_metrics(["f1_of_1"], ["1", "2"]) == ["f1_of_0"]  # the class that is called 1
    assert read_class_metrics(["f1_binary"], ["no", "yes"], 1) == ["f1_binary"]
    assert read_class_metrics(None, ["a"]) is None
    with pytest.raises(ut.UndertowError, match=r"there is no class 'yess'.*Write f1_of_yes"):
        read_class_metrics(["f1_of_yess"], ["no", "yes"])
    with pytest.raises(ut.UndertowError, match=r"--metrics f1_binary: .* Write f1_of_no or f1_of_yes"):
        read_class_metrics(["f1_binary"], ["no", "yes"])
    assert (
        tell_class(np.array([0, 1]), np.array([0, 0]), 1, "yes") == "of class 'yes': precision 0.0%, recall 0.0%, f1 0"
    )
    assert tell_class(np.array([0, 0]), np.array([0, 1]), 1, "yes") == "no row of class 'yes'"  # none to be missed


def test_the_rare_class_is_told_by_training_and_evaluating(capsys, monkeypatch, tmp_path):
    """The rare class comes first by name, so that it is not the second one that is meant."""
    monkeypatch.chdir(tmp_path)
    undertow = make_runner(capsys, monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 2))
    label = np.where(x[:, 0] + 0.5 * rng.standard_normal(600) > 1.2, "bad", "fine")
    frame = pl.DataFrame({"x": x[:, 0], "z": x[:, 1], "label": label})
    frame[:400].write_csv("old.csv")
    frame[400:].write_csv("new.csv")
    options = ("--epochs", 30, "--hidden", 8, "--metrics", "f1_of_bad,f1")
    code, out, _ = undertow("train", "old.csv", "--target", "label", *options)
    assert code == 0 and re.search(r"held-out accuracy [0-9.]+% \(80 rows\); of class 'bad': precision [0-9.]+%", out)
    assert "f1_of_0 in what follows is f1_of_bad." in out

    code, _, _ = undertow("predict", "runs/old", "new.csv", "--out", "found.csv")
    found, y = pl.read_csv("found.csv")["prediction"].to_numpy(), label[400:]
    code, out, _ = undertow("evaluate", "runs/old", "new.csv")
    told = {name: float(value) for name, value in re.findall(r"^(\w+) +([0-9.e-]+)$", out, re.M)}
    bad, fine = scores(y, found, "bad"), scores(y, found, "fine")
    names = ("precision_of_bad", "recall_of_bad", "f1_of_bad")
    np.testing.assert_allclose([told[name] for name in names], bad, rtol=1e-5)
    assert told["f1_macro"] == pytest.approx((bad[2] + fine[2]) / 2, rel=1e-5)
    assert "f1" not in told  # the mean of the classes is called so
    undertow("predict", "runs/old", "new.csv", "--out", "p.csv", "--probabilities")
    p = pl.read_csv("p.csv")["p(bad)"].to_numpy()
    pairs = p[y == "bad"][:, None] - p[y == "fine"]  # how often a bad one is told to be more likely bad (Mann, Whitney)
    assert told["auc"] == pytest.approx(np.mean(pairs > 0) + 0.5 * np.mean(pairs == 0), rel=1e-5)

    code, out, _ = undertow("evaluate", "runs/old", "new.csv", "--metrics", "recall_of_fine")
    assert float(re.search(r"recall_of_fine +([0-9.]+)", out)[1]) == pytest.approx(fine[1], rel=1e-5)
    for name in ("f1_binary", "f1_of_baad"):
        code, _, err = undertow("evaluate", "runs/old", "new.csv", "--metrics", name)
        assert code == 2 and "Write f1_of_bad" in err
    for file in (tmp_path / "runs/old/flow").iterdir():  # without its record the second class is told
        file.write_bytes(file.read_bytes()[:100])
    code, out, _ = undertow("evaluate", "runs/old", "new.csv")
    assert code == 0 and float(re.search(r"recall_of_fine +([0-9.]+)", out)[1]) == pytest.approx(fine[1], rel=1e-5)


@pytest.mark.parametrize("target", ["y", "size"])
def test_what_is_said_of_rows_held_out_weighs_them(target, tmp_path):
    """As the training and `evaluate` do, by the definitions of weighted figures."""
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=300), rng.uniform(0, 3, 300)
    frame = pl.DataFrame({"x": x, "w": w, "y": np.where(x + rng.normal(size=300) > 0.8, "bad", "good"), "size": x**2})
    frame.write_csv(tmp_path / "t.csv")
    settings = TableSettings(
        data=str(tmp_path / "t.csv"), target=target, weights="w", leave_out=["size" if target == "y" else "y"],
        hidden=[8], epochs=4, validation=0.3,
    )  # fmt: skip
    run, table = train_table(settings, tmp_path / "run", progress=False)
    X, y, w = table.validation
    wanted, found = (np.ravel(table.encoder.decode(part)) for part in (y, run.predict(X)))
    said = summarize(run, table)
    if target == "size":
        error = np.sqrt(np.sum(w * (wanted - found) ** 2) / w.sum())
        total = np.sum(w * (wanted - np.sum(w * wanted) / w.sum()) ** 2)
        wanted_text = f"error {error:.6g}, R² {1 - error**2 * w.sum() / total:.4f} (90 rows, weighed)"
        assert said == f"held-out root mean squared {wanted_text}"
        return
    hits = w[(wanted == "bad") & (found == "bad")].sum()
    precision, recall = hits / w[found == "bad"].sum(), hits / w[wanted == "bad"].sum()
    assert said.startswith(f"held-out accuracy {w[wanted == found].sum() / w.sum():.2%} (90 rows, weighed); of class ")
    assert f"precision {precision:.1%}, recall {recall:.1%}" in said
