"""The command line: whole jobs from a file to predictions; every bad input is one message, code 2, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow.cli import app

LOSS_FILE = """
import numpy as np

def loss(params, X, y):
    W1, b1, W2, b2 = params
    h1 = np.tanh(X @ W1 + b1)
    p = h1 @ W2 + b2
    return np.mean((p - y) ** 2)

def branching(params, X, y):
    if np.sum(X) > 0:
        return np.sum(params[0])
    return np.sum(params[0] ** 2)

def vector(params, X, y):
    return X @ params[0]

def broken(params, X, y):
    return undefined_name * X

def unknown(params, X, y):
    return np.sum(np.fft.fft(X @ params[0]))

def example():
    rng = np.random.default_rng(0)
    params = rng.normal(size=(3, 4)), np.zeros(4), rng.normal(size=(4, 1)), np.zeros(1)
    return params, rng.normal(size=(5, 3)), np.ones((5, 1))
"""


RELU = ("--activation", "relu", "--quiet")


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return make_runner(capsys, monkeypatch)


def flowers(m: int = 120) -> pl.DataFrame:
    """A table with numbers, a category, missing values, and a target of three texts that follows from them."""
    rng = np.random.default_rng(0)
    size, shade = rng.normal(size=m), rng.choice(["red", "blue", "white"], m)
    kind = np.where(shade == "red", "rose", np.where(size > 0, "iris", "lily"))
    sizes = [None if i % 17 == 0 else x for i, x in enumerate(size.tolist())]
    return pl.DataFrame({"size": sizes, "shade": shade, "kind": kind})


def test_from_a_csv_file_to_predictions(undertow, tmp_path):
    """Train on CSV, read the decisions and the gradient table; predict for Parquet, with probabilities."""
    flowers().write_csv("flowers.csv")
    code, out, _ = undertow("train", "flowers.csv", "--target", "kind", "--epochs", 30, "--quiet")
    assert code == 0
    assert "Target 'kind'" in out and "missing" in out and "rows to train on" in out
    assert "Gradient flow at step" in out and "report:" in out and "Dense(" in out and "held-out accuracy" in out
    assert sorted(path.name for path in Path("runs/flowers").iterdir()) == [
        "checkpoints",
        "config.toml",
        "flow",
        "history.jsonl",
        "model.safetensors",
        "report.html",
        "run.json",
    ]

    flowers(40).drop("kind").write_parquet("new.parquet")
    code, out, _ = undertow("predict", "runs/flowers", "new.parquet", "--probabilities", "--out", "found.csv")
    assert code == 0 and "40 predictions" in out
    found = pl.read_csv("found.csv")
    assert found.columns == ["prediction", "p(iris)", "p(lily)", "p(rose)"]
    np.testing.assert_allclose(found.drop("prediction").sum_horizontal(), 1, rtol=1e-5)
    assert (found["prediction"] == flowers(40)["kind"]).mean() > 0.8

    code, out, _ = undertow("predict", "runs/flowers", "new.parquet")
    assert code == 0 and out.splitlines()[1:] == found["prediction"].to_list()


def test_regression_is_found_and_scored_in_its_own_unit(undertow):
    """A target of fractions is a regression: RMSE and R² on the rows held out, predictions in the target's unit."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 300))
    pl.DataFrame({"a": a, "b": b, "price": 1e5 + 2e4 * a - 1e4 * b}).write_csv("houses.csv")
    code, out, _ = undertow("train", "houses.csv", "--target", "price", "--epochs", 100, "--hidden", "16", "--quiet")
    assert code == 0 and "root mean squared error" in out
    assert float(out.split("R² ")[1].split()[0]) > 0.98
    code, out, _ = undertow("predict", "runs/houses", "houses.csv")
    found = np.array(out.split()[1:], float)
    assert code == 0 and np.sqrt(np.mean((found - (1e5 + 2e4 * a - 1e4 * b)) ** 2)) < 4e3


def test_the_backward_pass_of_a_run_needs_only_numpy(undertow, tmp_path):
    """`explain run/` prints a module; run on the saved weights, it gives the derivative of the loss."""
    flowers().write_csv("flowers.csv")
    undertow(
        "train", "flowers.csv", "--target", "kind", "--epochs", 2, "--hidden", "5,4", "--dropout", 0, "--seed", 1, *RELU
    )
    code, out, _ = undertow("explain", "runs/flowers")
    assert code == 0 and "dW1 = X.T @ dz1" in out and "undertow" not in out.split("import numpy")[1]
    comments = {line.split("# ", 1)[1].split(")", 1)[1].strip() for line in out.splitlines() if "  # (" in line}
    assert "Dense" in comments and not any(".py:" in comment for comment in comments)  # no line of ours, but its layer
    module: dict[str, object] = {"__name__": "emitted"}
    exec(out, module)
    loaded = ut.load("runs/flowers")
    dense = [loaded.model.layers[i] for i in (0, 2, 4)]
    params = {f"{name}{k}": getattr(layer, name) for k, layer in enumerate(dense, 1) for name in ("W", "b")}
    kept = loaded.extras["example"]
    X, y = np.asarray(kept["X"], np.float32), np.asarray(kept["y"])
    value, cache = module["forward"](params, X, y)  # type: ignore[operator]
    gradient = module["backward"](cache)  # type: ignore[operator]

    def loss(params, X, y):
        h1 = np.maximum(X @ params["W1"] + params["b1"], 0)
        h2 = np.maximum(h1 @ params["W2"] + params["b2"], 0)
        z = h2 @ params["W3"] + params["b3"]
        z = z - z.max(axis=1, keepdims=True)
        return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])

    np.testing.assert_allclose(value, loss(params, X, y), rtol=1e-5)
    assert all(gradient[name].dtype == np.float32 for name in params)
    wide = {name: value.astype(np.float64) for name, value in params.items()}
    for name, value in wide.items():  # central differences of the loss written out above
        for place in np.ndindex(value.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = value.copy()
                moved[place] += h
                ends.append(loss({**wide, name: moved}, X.astype(np.float64), y))
            assert abs((ends[0] - ends[1]) / 2e-5 - gradient[name][place]) < 2e-4


def test_explain_and_check_a_loss_of_ones_own(undertow, tmp_path):
    """Source, derivation with numbers, LaTeX and the numeric check of a function in a file."""
    Path("net.py").write_text(LOSS_FILE)
    code, out, _ = undertow("explain", "net.py:loss")
    assert code == 0 and "dW1" in out and "net.py:6" in out
    code, out, _ = undertow("explain", "net.py:loss", "--derivation")
    assert code == 0 and "∂L/∂h1" in out
    code, out, _ = undertow("explain", "net.py:loss", "--values")
    assert code == 0 and "dW2 = [[" in out
    code, out, _ = undertow("explain", "net.py:loss", "--latex")
    assert code == 0 and out.startswith("\\documentclass") and out.isascii()
    code, out, _ = undertow("check", "net.py:loss")
    assert code == 0 and "the gradient is right" in out and "params[3]" in out


def test_a_wrong_gradient_is_told_by_the_exit_code(undertow):
    """A loss whose gradient is stopped on purpose disagrees with its differences: exit code 1, and where."""
    Path("net.py").write_text(
        "import numpy as np\nimport undertow as ut\nw = np.ones(3)\n"
        "def loss(w):\n    return np.sum(w * ut.stop_gradient(w))\n"
    )
    code, out, _ = undertow("check", "net.py:loss")
    assert code == 1 and "THE GRADIENT IS WRONG" in out


def test_a_gradient_written_by_hand_is_checked(undertow):
    """A right one, one that lacks the 1/m, and one of another shape: each is told for what it is."""
    Path("net.py").write_text(
        "import numpy as np\nw, X, y = np.ones(3), np.arange(12.0).reshape(4, 3), np.zeros(4)\n"
        "def loss(w, X, y):\n    return np.mean((X @ w - y) ** 2)\n"
        "def right(w, X, y):\n    return 2 * X.T @ (X @ w - y) / len(X)\n"
        "def summed(w, X, y):\n    return 2 * X.T @ (X @ w - y)\n"
        "def rows(w, X, y):\n    return 2 * X * (X @ w - y)[:, None] / len(X)\n"
    )
    code, out, _ = undertow("check", "net.py:loss", "--gradient", "right")
    assert code == 0 and "the gradient is right" in out
    code, out, _ = undertow("check", "net.py:loss", "--gradient", "summed")
    assert code == 1 and "THE GRADIENT IS WRONG" in out and "is 4 times the right one" in out
    code, out, _ = undertow("check", "net.py:loss", "--gradient", "rows")
    assert code == 1 and "It has a row for each example" in out
    code, _, error = undertow("check", "net.py:loss", "--gradient", "wrong")
    assert code == 2 and "the file has no function 'wrong'. It has loss, right, summed, rows" in error


def test_methods_of_a_class_are_explained_and_checked(undertow):
    """A dataclass, whose object the file makes; a plain class is told what it needs."""
    Path("net.py").write_text(
        "import numpy as np\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Net:\n    W: np.ndarray\n    b: np.ndarray\n"
        "    def loss(self, X, y):\n        return np.mean((X @ self.W + self.b - y) ** 2)\n"
        "    def backward(self, X, y):\n        d = 2 * (X @ self.W + self.b - y) / len(X)\n"
        "        return Net(X.T @ d, d.sum(axis=0))\n"
        "    def summed(self, X, y):\n        d = 2 * (X @ self.W + self.b - y)\n"
        "        return Net(X.T @ d, d.sum(axis=0))\n"
        "class Plain:\n    W = np.ones((3, 1))\n    def loss(self, X, y):\n        return np.mean(X @ self.W - y)\n"
        "net, plain = Net(np.ones((3, 1)), np.zeros(1)), Plain()\n"
        "X, y = np.arange(12.0).reshape(4, 3), np.zeros((4, 1))\n"
    )
    for name in ("Net.loss", "net.loss"):
        code, out, _ = undertow("check", f"net.py:{name}", "--gradient", "Net.backward")
        assert code == 0 and "the gradient is right" in out
        code, out, _ = undertow("explain", f"net.py:{name}")
        assert code == 0 and "dW = X.T @" in out and "return like(self, W=dW, b=db)" in out
    code, out, _ = undertow("check", "net.py:Net.loss", "--gradient", "Net.summed")
    assert code == 1 and "is 4 times the right one" in out
    code, _, error = undertow("check", "net.py:Plain.loss")
    assert code == 2 and "make the class a dataclass" in error
    code, _, error = undertow("check", "net.py:Net.los")
    assert code == 2 and "no function 'Net.los'. It has Net.loss, Net.backward, Net.summed, Plain.loss." in error


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("net.py:nosuch", "the file has no function 'nosuch'. It has loss"),
        ("net.py", "which function? Name it after a colon"),
        ("nofile.py:loss", "there is no such file"),
        ("net.py:branching", "net.py:11, `if np.sum(X) > 0:`: the truth value"),
        ("net.py:vector", "an array of shape (m, 4), not one number"),
        ("net.py:broken", "net.py:19: NameError: name 'undefined_name' is not defined"),
        ("net.py:unknown", "net.py:22: np.fft.fft cannot be traced: complex"),
        ("syntax.py:loss", "syntax.py:1: SyntaxError"),
        ("dies.py:loss", "dies.py:2: ZeroDivisionError"),
        ("noexample.py:loss", "no arguments to try it with: w"),
        ("integers.py:loss", "argument w of loss (integers.py:3) is int64: only floats have a derivative"),
        ("no/run", "there is no such folder"),
        (".", "is missing, so this is not the folder of a run"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "check"])
def test_what_cannot_be_explained(undertow, command, target, message):
    """Each fault of a user's file: one line on the standard error that names the place; exit code 2; no traceback."""
    Path("net.py").write_text(LOSS_FILE)
    Path("syntax.py").write_text("def loss(:\n")
    Path("dies.py").write_text("x = 1\ny = x / 0\ndef loss(w): return w\n")
    Path("noexample.py").write_text("def loss(w): return w * w\n")
    Path("integers.py").write_text("import numpy as np\nw = np.arange(3)\ndef loss(w): return np.sum(w * 0.5)\n")
    if command == "check" and target == "net.py:branching":
        pytest.skip("a check sees values, so a branch is no fault")
    if command == "check" and target == "net.py:vector":
        message = "an array of shape (5, 4), not one number"
    code, out, err = undertow(command, target)
    assert code == 2 and not out, (out, err)
    assert message in err and err.startswith("error: ") and "Traceback" not in err
    assert err.count("\n") == 1


def bad_files(folder: Path) -> None:
    table = flowers(60)
    table.write_csv(folder / "good.csv")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("a,y\n")
    (folder / "text.csv").write_text("Once upon a time\nthere was a file\nthat held no table.\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 4)
    (folder / "notes.parquet").write_text("not parquet")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "ragged.csv").write_text("a,b,y\n1,2,0\n3,4,1,5,6\n")
    table.with_columns(kind=pl.lit("rose")).write_csv(folder / "oneclass.csv")
    table.with_columns(kind=pl.lit(None, pl.String)).write_csv(folder / "notarget.csv")
    pl.DataFrame({"a": [1.0, 2.0, float("inf")], "y": [0, 1, 0]}).write_csv(folder / "infinite.csv")
    pl.DataFrame({"y": [0, 1, 0, 1]}).write_csv(folder / "onlytarget.csv")


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("missing.csv", (), "missing.csv"),
        ("empty.csv", (), "empty"),
        ("header.csv", ("--target", "y"), "no rows"),
        ("text.csv", (), "kind"),
        ("binary.csv", (), "binary.csv"),
        ("notes.parquet", (), "notes.parquet"),
        ("picture.png", (), "picture.png"),
        ("ragged.csv", ("--target", "y"), "ragged.csv"),
        ("oneclass.csv", (), "one class only"),
        ("notarget.csv", (), "every value is missing"),
        ("infinite.csv", ("--target", "y"), "infinity"),
        ("onlytarget.csv", ("--target", "y"), "column"),
        ("good.csv", ("--target", "Kind"), "did you mean 'kind'"),
        ("good.csv", ("--hidden", "a,b"), "--hidden a,b"),
        ("good.csv", ("--hidden", "0"), "--hidden 0"),
        ("good.csv", ("--activation", "swosh"), "--activation swosh: there is no such name. Choose identity, relu"),
        (
            "good.csv",
            ("--optimizer", "adamm"),
            "--optimizer adamm: there is no such name. Did you mean 'adam'? Choose sgd, momentum",
        ),
        ("good.csv", ("--rate", "-1"), "--rate -1: give a number above 0."),
        ("good.csv", ("--clip", "0"), "must be above 0"),
        ("good.csv", ("--clip", "1", "--clip-value", "1"), "choose one of --clip"),
        ("good.csv", ("--task", "cluster"), "--task cluster"),
        ("good.csv", ("--dataset", "digits"), "give either a file"),
        ("good.csv", ("--epochs", "0"), "--epochs"),
        ("good.csv", ("--validation", "1.5"), "--validation"),
        ("good.csv", ("--out", "good.csv"), "good.csv exists already"),
    ],
)
def test_what_cannot_be_trained_on(undertow, file, options, message):
    """Each bad file or option: a message that says what, exit code 2, no run folder, no half-written file."""
    bad_files(Path())
    before = sorted(Path().rglob("*"))
    options = options if "--target" in options else ("--target", "kind", *options)
    if "--epochs" not in options:
        options = (*options, "--epochs", 1)
    code, _, err = undertow("train", file, *options, "--quiet")
    assert code == 2, err
    assert message in err and "Traceback" not in err
    assert sorted(Path().rglob("*")) == before


def test_a_file_needs_a_target(undertow):
    """Without --target, or with neither file nor data set, the message says what is missing."""
    flowers().write_csv("good.csv")
    assert "Name it with --target" in undertow("train", "good.csv")[2]
    code, _, err = undertow("train")
    assert code == 2 and "--dataset digits" in err
    code, _, err = undertow("train", "--dataset", "digitz")
    assert code == 2 and "did you mean 'digits'" in err


def test_a_run_is_not_overwritten_by_chance(undertow):
    """A second training into the same folder is refused before it starts, unless --overwrite is given."""
    flowers().write_csv("flowers.csv")
    options = ("train", "flowers.csv", "--target", "kind", "--epochs", 1, "--hidden", "4", "--quiet")
    assert undertow(*options)[0] == 0
    before = Path("runs/flowers/run.json").read_bytes()
    code, out, err = undertow(*options)
    assert code == 2 and "exists already" in err and "rows to train on" not in out
    assert Path("runs/flowers/run.json").read_bytes() == before
    assert undertow(*options, "--overwrite")[0] == 0


def test_what_cannot_be_predicted(undertow):
    """A category never seen is handled and reported; missing columns, damaged runs and bad targets are refused."""
    flowers().write_csv("flowers.csv")
    undertow("train", "flowers.csv", "--target", "kind", "--epochs", 1, "--hidden", "4", "--quiet")
    pl.DataFrame({"size": [0.5, None], "shade": ["purple", "red"]}).write_csv("new.csv")
    code, out, err = undertow("predict", "runs/flowers", "new.csv")
    assert code == 0 and len(out.split()) == 3 and "purple" in err
    for frame, message in (
        (pl.DataFrame({"size": [0.5]}), "shade"),
        (pl.DataFrame({"size": ["tall"], "shade": ["red"]}), "tall"),
    ):
        frame.write_csv("bad.csv")
        code, out, err = undertow("predict", "runs/flowers", "bad.csv", "--out", "found.csv")
        assert code == 2 and message in err and not Path("found.csv").exists()
    code, _, err = undertow("predict", "runs/flowers", "new.csv", "--out", "found.xlsx")
    assert code == 2 and ".csv or .parquet" in err
    record = json.loads(Path("runs/flowers/run.json").read_text())
    record["extras"]["encoder"] = {"columns": 3}
    Path("runs/flowers/run.json").write_text(json.dumps(record))
    code, _, err = undertow("predict", "runs/flowers", "new.csv")
    assert code == 2 and "Traceback" not in err and err.startswith("error: ")
    Path("runs/flowers/model.safetensors").write_bytes(b"nothing")
    code, _, err = undertow("predict", "runs/flowers", "new.csv")
    assert code == 2 and "cannot be read" in err


def test_training_that_diverges_says_so(undertow):
    """A rate far too large ends in a message with the remedy, and leaves what it was and where it ended."""
    rng = np.random.default_rng(0)
    pl.DataFrame({"a": rng.normal(size=90), "y": rng.normal(size=90)}).write_csv("t.csv")
    code, _, err = undertow("train", "t.csv", "--target", "y", "--optimizer", "sgd", "--rate", "1e30", "--quiet")
    assert code == 2 and "learning rate" in err and "kept in runs/t. What is wrong: undertow diagnose runs/t" in err


@pytest.mark.parametrize(
    "command", ["train", "resume", "predict", "evaluate", "summary", "export", "find-lr", "explain", "check", "bench"]
)
def test_help_shows_an_example(undertow, command):
    """`--help` of every command holds a line to copy."""
    code, out, _ = undertow(command, "--help")
    assert code == 0 and f"Example: undertow {command} " in " ".join(out.split())
    assert command in {name.name or name.callback.__name__ for name in app.registered_commands}


def test_the_installed_command_runs():
    """`undertow --version`, as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    code = "from undertow.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, env=environment)
    assert found.returncode == 0 and found.stdout.strip() == f"undertow {ut.__version__}"


def test_the_program_is_found_whatever_was_imported_first():
    """The module `undertow.cli.app` does not take the place of the program of that name."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    code = "import undertow.cli.app; from undertow.cli import app; print(len(app.registered_commands))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert found.returncode == 0 and int(found.stdout) == 13, found.stderr
