"""Run folders on the command line: repeated from their config.toml, gone on with after a kill, measured, exported."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from command_line import make_runner
from undertow.errors import RunError

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-c", "from undertow.cli import main; main()"]
TRAIN = ("train", "t.csv", "--target", "y", "--hidden", "8", "--checkpoint-every", "3", "--quiet")


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=200), rng.choice(["r", "b", "g"], 200)
    w = rng.integers(1, 4, 200)
    kind = np.where(c == "r", "up", np.where(x > 0, "left", "down"))
    pl.DataFrame({"x": x, "c": c, "w": w, "y": kind}).write_csv("t.csv")
    pl.DataFrame({"x": x, "c": c, "w": w, "y": 3 * x + (c == "r") + 0.01 * w}).write_csv("n.csv")
    return make_runner(capsys, monkeypatch)


def weights(folder: str) -> bytes:
    return Path(folder, "model.safetensors").read_bytes()


def test_a_run_is_repeated_from_its_config(undertow):
    """config.toml holds every setting, those chosen too: the repetition has the same bytes; options go before it."""
    told = (
        "--weights w --optimizer adamw:beta2=0.99 --schedule one_cycle:rise=0.2 --rate 0.01 --norm layer --residual "
        "--categories codes --class-weights up=2 --clip layer=1 --label-smoothing 0.1 --mixup 0.2 "
        "--activation leaky_relu:slope=0.1 --init orthogonal:gain=1.2 --metrics f1"
    )
    options = told.split()
    assert undertow(*TRAIN, "--epochs", 4, *options, "--out", "a")[0] == 0
    assert undertow("train", "--config", "a/config.toml", "--out", "b", "--quiet")[0] == 0
    assert weights("a") == weights("b")
    assert Path("a/config.toml").read_text() == Path("b/config.toml").read_text()
    assert "validation_f1" in ut.load("a").history[0] and "EmbedColumns" in repr(ut.load("a").model)
    assert undertow("train", "--config", "a/config.toml", "--seed", 5, "--out", "c", "--quiet")[0] == 0
    assert weights("a") != weights("c")


def test_initial_weights_are_those_that_are_named(undertow):
    code, out, _ = undertow(*TRAIN[:-1], "--hidden", 4, "--init", "constant:value=0.5", "--rate", 1e-12, "--decay", 0,
                            "--epochs", 1, "--out", "c")  # fmt: skip
    assert code == 0 and "initial weights constant:value=0.5" in out
    model = ut.load("c").model
    for layer in model.layers:
        if isinstance(layer, ut.nn.Dense):
            np.testing.assert_allclose(layer.W, 0.5, rtol=1e-6)
    code, _, err = undertow(*TRAIN, "--init", "he_norml", "--out", "d")
    assert code == 2 and "--init he_norml: there is no such name. Did you mean 'he_normal'?" in err
    code, out, _ = undertow("diagnose", "c/config.toml", "--before")
    assert code == 0


def test_a_training_in_parts_is_that_in_one(undertow):
    """3 epochs and then 6 in all, with a constant rate, give the bytes of 6; changed data is refused."""
    constant = ("--schedule", "constant", "--warmup", 0)
    assert undertow(*TRAIN, "--epochs", 6, *constant, "--out", "whole")[0] == 0
    assert undertow(*TRAIN, "--epochs", 3, *constant, "--out", "parts")[0] == 0
    code, out, _ = undertow("resume", "parts", "--quiet")
    assert code == 0 and "had come to its end: more with undertow resume parts --epochs 6, the number in all" in out
    code, out, _ = undertow("resume", "parts", "--epochs", 6, "--quiet")
    assert code == 0 and "goes on after epoch 3, step " in out and "; at most 6 epochs in all." in out
    code, _, err = undertow("resume", "parts", "--epochs", 5, "--quiet")
    assert code == 2 and "parts: 6 epochs are done already." in err and err.count("\n") == 1
    code, out, _ = undertow("resume", "--help")
    assert code == 0 and "number of all epochs, not of further ones" in " ".join(out.split())
    assert weights("whole") == weights("parts") and len(ut.load("parts").history) == 6
    Path("t.csv").write_text(Path("t.csv").read_text().replace("up", "upp", 1))
    for command in (("resume", "parts"), ("train", "--config", "parts/config.toml", "--out", "d")):
        code, _, err = undertow(*command, "--quiet")
        assert code == 2 and "t.csv has changed" in err and err.count("\n") == 1


def test_a_rate_that_has_come_to_0_is_told_in_place_of_more_epochs(undertow):
    """More steps would change nothing, which is a note without a place in the program; train anew does."""
    assert undertow(*TRAIN, "--epochs", 2, "--schedule", "cosine", "--out", "a")[0] == 0
    before = weights("a")
    code, out, _ = undertow("resume", "a", "--quiet")
    anew = "train --config a/config.toml --epochs 4 --out a --overwrite"
    assert code == 0 and f"the learning rate to 0: train anew for longer, with undertow {anew}." in out
    command = [sys.executable, "-m", "undertow", "resume", "a", "--epochs", "4", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1])}
    err = subprocess.run(command, capture_output=True, env=environment, encoding="utf-8", check=True).stderr
    assert err.startswith("note: The schedule of the learning rate has come down to 0") and err.count("\n") == 1
    assert weights("a") == before
    assert undertow(*anew.split(), "--quiet")[0] == 0
    assert weights("a") != before and len(ut.load("a").history) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_killed_training_goes_on_to_the_same_bytes(undertow):
    """SIGKILL at three instants of a training: resume (or train anew, if nothing was written) gives the same model."""
    command = [*COMMAND, *TRAIN, "--epochs", "60", "--early-stopping", "9", "--out"]
    started = time.monotonic()
    subprocess.run([*command, "whole"], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    rng = random.Random(1)
    for number in range(3):
        folder = f"killed{number}"
        process = subprocess.Popen([*command, folder], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        time.sleep(seconds * rng.uniform(0.3, 1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        again = ("resume", folder, "--quiet") if Path(folder, "config.toml").exists() else (*command[3:], folder)
        code, _, err = undertow(*again)
        assert code == 0, err
        assert weights(folder) == weights("whole")


def test_a_run_is_measured_shown_and_exported(undertow):
    """`evaluate` agrees with the predictions of `predict`; `summary` shows the layers; `export` writes a file."""
    assert undertow(*TRAIN, "--epochs", 20, "--out", "a")[0] == 0
    undertow("predict", "a", "t.csv", "--out", "p.parquet")
    right = (pl.read_parquet("p.parquet")["prediction"] == pl.read_csv("t.csv")["y"]).mean()
    code, out, _ = undertow("evaluate", "a", "t.csv")
    lines = out.split("\n")
    assert (
        code == 0 and float(lines[2].split()[1]) == pytest.approx(right, abs=1e-6) and lines[2].startswith("accuracy")
    )
    assert sum(int(n) for line in lines[7:10] for n in line.split()[1:]) == 200
    code, out, _ = undertow("summary", "a")
    assert code == 0 and "Dense(5, 8)" in out and "best epoch" in out
    assert undertow(*TRAIN, "--epochs", 3, "--refit", "--out", "again")[0] == 0
    code, out, _ = undertow("summary", "again")  # trained again on all rows: the run holds what the last epoch made
    last = ut.load("again").history[-1]
    assert f"last epoch {last['epoch']}: loss {last['loss']:.4g}." in out and "best epoch" not in out
    assert undertow("export", "a", "model.py")[0] == 0 and "import numpy" in Path("model.py").read_text()
    assert "exported as .onnx or .py" in undertow("export", "a", "model.h5")[2]


def test_a_number_is_measured_in_its_own_unit(undertow):
    """RMSE and R² of `evaluate` are those of the predictions, computed here by their definitions."""
    assert undertow("train", "n.csv", "--target", "y", "--epochs", 20, "--out", "n", "--quiet")[0] == 0
    undertow("predict", "n", "n.csv", "--out", "p.csv")
    y, p = pl.read_csv("n.csv")["y"].to_numpy(), pl.read_csv("p.csv")["prediction"].to_numpy()
    code, out, _ = undertow("evaluate", "n", "n.csv", "--metrics", "rmse,r2")
    found = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}
    assert code == 0 and found["rmse"] == pytest.approx(np.sqrt(np.mean((y - p) ** 2)), rel=1e-4)
    assert found["r2"] == pytest.approx(1 - np.mean((y - p) ** 2) / np.var(y), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adamw:decay=0.3", "lion"])
def test_an_optimizer_of_ones_own_keeps_its_decay_when_repeated(undertow, optimizer):
    """The training on all rows has the decay of the first, and so has the repetition."""
    told = ("--optimizer", optimizer, "--epochs", 2, "--refit", "--out", "a")
    assert undertow(*TRAIN, *told)[0] == 0
    assert undertow("train", "--config", "a/config.toml", "--out", "b", "--quiet")[0] == 0
    assert weights("a") == weights("b")
    first, second = (ut.load(name).extras["held_out"]["history"][0]["loss"] for name in "ab")
    assert first == second
    assert undertow(*TRAIN, *told[:4], "--out", "c")[0] == 0  # which is the first of the two trainings alone
    assert ut.load("c").history[0]["loss"] == first


def test_what_training_measured_is_measured_again(undertow):
    """`evaluate` adds the metrics that the run was trained with to those of its task; told others, it takes these."""
    told = ("train", "n.csv", "--target", "y", "--epochs", 2, "--metrics", "mse,mae", "--quiet")
    assert undertow(*told, "--out", "n")[0] == 0
    undertow("predict", "n", "n.csv", "--out", "p.csv")
    y, p = pl.read_csv("n.csv")["y"].to_numpy(), pl.read_csv("p.csv")["prediction"].to_numpy()
    lines = undertow("evaluate", "n", "n.csv")[1].splitlines()
    found = {line.split()[0]: float(line.split()[1]) for line in lines}
    assert list(found) == ["rows", "loss", "rmse", "mae", "r2", "mse"]
    assert found["mse"] == pytest.approx(np.mean((y - p) ** 2), rel=1e-5)
    lines = undertow("evaluate", "n", "n.csv", "--metrics", "r2")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["rows", "loss", "r2"]
    assert undertow(*told[:6], "f1", "--quiet", "--out", "f")[1:2] == ("",)  # classes' f1, of a number: no plan first


def test_large_files_are_read_in_portions(undertow):
    """With 1 MB to read by, training streams, and predictions in portions are those of the whole file."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 3))
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": x[:, 0] - 2 * x[:, 1]})
    frame.write_csv("big.csv")
    code, out, err = undertow("train", "big.csv", "--target", "y", "--memory", 1, "--epochs", 2, "--quiet")
    assert code == 0 and "read again in each epoch" in out, err
    assert float(out.split("R² ")[1].split()[0]) > 0.9
    for end in ("csv", "parquet"):
        read = pl.read_csv if end == "csv" else pl.read_parquet
        assert undertow("predict", "runs/big", "big.csv", "--memory", 1, "--out", f"p.{end}")[0] == 0
        assert undertow("predict", "runs/big", "big.csv", "--memory", 500, "--out", f"w.{end}")[0] == 0
        np.testing.assert_allclose(read(f"p.{end}")["prediction"], read(f"w.{end}")["prediction"], rtol=1e-4, atol=1e-5)


def test_encoded_rows_are_written_once(undertow):
    """A Parquet file whose row group is far larger than a piece says so; with its rows lost, a run goes on."""
    x = np.random.default_rng(1).normal(size=(50_000, 2))
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] - 2 * x[:, 1]})
    frame.write_parquet("big.parquet", row_group_size=50_000)
    told = (
        "train", "big.parquet", "--target", "y", "--memory", 1, "--quiet", "--hidden", 4, "--schedule", "constant",
        "--warmup", 0,
    )  # fmt: skip
    code, out, err = undertow(*told, "--epochs", 1, "--out", "plain")
    assert code == 0 and "its row group of 50000 is decoded from the head" in out and "--cache FOLDER" in out, err
    code, out, err = undertow(*told, "--epochs", 1, "--out", "kept", "--cache", "rows")
    assert code == 0 and "--cache FOLDER" not in out and "encoded rows are read again in each epoch" in out, err
    assert (
        np.load("rows/X.npy", mmap_mode="r").shape[1] == 2 and 'cache = "rows"' in Path("kept/config.toml").read_text()
    )
    shutil.rmtree("rows")
    assert undertow("resume", "kept", "--epochs", 2, "--quiet")[0] == 0 and Path("rows/X.npy").exists()
    assert undertow(*told, "--epochs", 2, "--out", "whole", "--cache", "rows")[0] == 0
    for file in ("kept.csv", "whole.csv"):
        assert undertow("predict", file[:-4], "big.parquet", "--out", file)[0] == 0
    assert Path("kept.csv").read_bytes() == Path("whole.csv").read_bytes()
    code, out, _ = undertow(*told[:4], "--epochs", 1, "--cache", "other", "--out", "small", "--quiet", "--hidden", 4)
    assert code == 0 and "nothing is written to the folder of --cache" in out and not Path("other").exists()
    code, _, err = undertow(*told, "--out", "none", "--cache", "")
    assert code == 2 and "error: --cache '': give the name of a folder for encoded rows" in err
    shutil.rmtree("rows")
    code, out, err = undertow("find-lr", *told[1:9], "--cache", "rows", "--steps", 100)
    assert code == 0 and "try: --rate" in out and Path("rows/X.npy").exists(), err


def test_columns_of_the_file_stand_beside_predictions(undertow):
    """In portions too; what is no feature keeps its zeros, and nothing changes what is predicted."""
    n = 20_000
    x = np.random.default_rng(2).normal(size=n).round(3)
    frame = pl.DataFrame({"id": [f"{k:07}" for k in range(n)], "x": x, "y": 2 * x})
    frame.write_csv("big.csv")
    assert undertow("train", "big.csv", "--target", "y", "--epochs", 1, "--quiet", "--leave-out", "id")[0] == 0
    assert undertow("predict", "runs/big", "big.csv", "--out", "plain.csv")[0] == 0
    for memory in (1, 500):
        options = ("--keep", "id, x", "--memory", memory, "--out", "kept.csv")
        code, _, err = undertow("predict", "runs/big", "big.csv", *options)
        assert code == 0, err
        found = pl.read_csv("kept.csv", schema_overrides={"id": pl.String})
        assert found.columns == ["id", "x", "prediction"]
        assert found["id"].to_list() == frame["id"].to_list() and found["x"].to_list() == x.tolist()
        plain = pl.read_csv("plain.csv")["prediction"]
        np.testing.assert_allclose(found["prediction"], plain, rtol=1e-4, atol=1e-5)
    for name, said in (("ID", "there is no column 'ID' (did you mean 'id'?) to keep"), ("z", "no column 'z' to keep")):
        code, _, err = undertow("predict", "runs/big", "big.csv", "--keep", name)
        assert code == 2 and said in err
    frame.rename({"id": "prediction"}).write_csv("same.csv")
    code, _, err = undertow("predict", "runs/big", "same.csv", "--keep", "prediction")
    assert code == 2 and "keep names 'prediction', which is what a column of predictions is called. Rename it." in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss", "poisson"), "--loss poisson: the target is classes. Choose"),
        (("--loss", "categorical_focal:2"), "write settings as name:key=value"),
        (("--time-budget", "soon"), "give a time such as 30s"),
        (("--class-weights", "maybe=2"), "there is no class 'maybe'. The classes are '"),
        (("--class-weights", "up=5,dwon=2.5"), "no class 'dwon' (did you mean 'down'?). "),
        (("--class-weights", "up=5,dwon=2.5"), "Write up=5,down=2.5."),
        (("--class-weights", "up=a,down=3"), "'a' is no number. Write up=5,down=3."),
        (("--class-weights", "up=5,down=2,up=3"), "--class-weights up=5,down=2,up=3: 'up' is named twice."),
        (("--class-weights", "balance"), "--class-weights balance: there is no such rule. Write balanced, or"),
        (("--clip", "soft=1"), "--clip soft: there is no such name. Choose norm"),
        (("--schedule", "cosin"), "--schedule cosin: there is no such name. Did you mean 'cosine'? Choose constant"),
        (("--schedule", "exponential"), "needs factor. Write, for example, --schedule exponential:factor=0.01."),
        (("--schedule", "exponential:0.5"), "needs factor. Write, for example, --schedule exponential:factor=0.01."),
        (("--schedule", "step_decay:factor=0.1"), "needs factor and every. Write, for example, --schedule step_decay:"),
        (
            ("--schedule", "exponential:factor=0"),
            "--schedule exponential:factor=0: exponential: factor must be above 0",
        ),
        (("--schedule", "cosine:rate=3"), "--schedule cosine:rate=3: give the rate with --rate."),
        (("--schedule", "constant:rate=3"), "--schedule constant:rate=3: give the rate with --rate."),
        (("--schedule", "constant:steps=3"), "constant has no settings; give the rate with --rate."),
        (("--schedule", "piecewise"), "--schedule piecewise: there is no such name."),
        (("--metrics", "acuracy"), "Did you mean 'accuracy'?"),
        (("--weights", "v"), "there is no column"),
        (("--config", "no.toml"), "no.toml: there is no such file"),
        (("--config", "bad.toml"), "bad.toml: there is no setting 'epoch' (did you mean 'epochs'?)"),
        (("--config", "kind.toml"), "kind.toml: epochs is 'many'. Give a whole number"),
        (("--config", "no_epochs.toml"), "no_epochs.toml: epochs is 0. Give 1 or more."),
        (("--config", "fewer_steps.toml"), "fewer_steps.toml: steps is -3. Give 1 or more."),
        (("--config", "cold.toml"), "cold.toml: warmup is -0.5. Give 0 or more."),
        (("--warmup", "inf"), "--warmup inf: give a number of epochs, 0 or more."),
        (("--config", "none.toml"), "batch_size must be a whole number of 1 or more, got 0."),
        (("--config", "nan.toml"), "--memory nan: give MB, 1 or more."),
        (("--seed", 2**64), "seed must be 18446744073709551615 at most"),
        (("--class-weights", "up=0,left=0,down=0"), "class_weights are [0.0, 0.0, 0.0]: no example counts"),
        (("--metrics", "rmse"), "rmse"),
        (("--non-finite", "stop"), "non_finite"),
        (("--dtype", "float16"), "float16"),
    ],
)
def test_settings_that_cannot_be_used(undertow, options, message):
    """One line that names the option or the setting; no run folder."""
    Path("bad.toml").write_text("epoch = 3\n")
    Path("kind.toml").write_text('epochs = "many"\n')
    Path("none.toml").write_text("batch_size = 0\n")
    Path("nan.toml").write_text("memory = nan\n")
    Path("no_epochs.toml").write_text("epochs = 0\n")
    Path("fewer_steps.toml").write_text("steps = -3\n")
    Path("cold.toml").write_text("warmup = -0.5\n")
    code, out, err = undertow(*TRAIN, *options)
    assert code == 2 and message in err and err.count("\n") == 1 and not Path("runs").exists(), err
    assert not out  # nothing is said of a training that does not begin
    assert "fault in Undertow" not in err


def test_a_run_that_is_replaced_stays_until_the_new_one_is_there(undertow):
    """--overwrite with a training that diverges at once leaves the old run as it was, and the record beside it."""
    assert undertow(*TRAIN, "--epochs", 2)[0] == 0
    before = weights("runs/t")
    for _ in range(2):
        code, _, err = undertow(*TRAIN, "--overwrite", "--optimizer", "sgd", "--rate", "1e30")
        assert code == 2 and "kept in runs/t-diverged." in err and "to be replaced is still in runs/t." in err
        assert weights("runs/t") == before and sorted(x.name for x in Path("runs").iterdir()) == ["t", "t-diverged"]
    assert "non-finite" in undertow("diagnose", "runs/t-diverged")[1]
    Path("runs/t-diverged/mine.txt").write_text("no part of a run")
    Path("runs/t-diverged/run.json").unlink()
    assert undertow(*TRAIN, "--overwrite", "--optimizer", "sgd", "--rate", "1e30")[0] == 2
    assert Path("runs/t-diverged/mine.txt").is_file() and Path("runs/t-diverged-2/run.json").is_file()
    assert undertow(*TRAIN, "--epochs", 2, "--overwrite", "--seed", 3)[0] == 0
    assert weights("runs/t") != before


def test_a_run_stays_where_another_process_trains_there(undertow):
    """--overwrite does not take the folder from under a training; afterwards it does."""
    assert undertow(*TRAIN, "--epochs", 2)[0] == 0
    before = weights("runs/t")
    hold = (
        "import sys, time; from pathlib import Path; from undertow.train.lock import FolderLock;"
        "lock = FolderLock(Path('runs/t/checkpoints')); print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "held\n"
            code, _, err = undertow(*TRAIN, "--overwrite", "--epochs", 2, "--seed", 5)
        finally:
            other.kill()
    assert code == 2 and "runs/t: another process trains there." in err
    assert weights("runs/t") == before and [x.name for x in Path("runs").iterdir()] == ["t"]
    assert undertow(*TRAIN, "--overwrite", "--epochs", 2, "--seed", 5)[0] == 0 and weights("runs/t") != before


@pytest.mark.parametrize("at", ["write_config", "_train"])
def test_a_run_comes_back_where_its_successor_cannot_be_written(undertow, monkeypatch, at):
    """A full disk after the old run was put aside, while the folder is locked by this process itself."""
    assert undertow(*TRAIN, "--epochs", 2)[0] == 0
    before = weights("runs/t")

    def refuse(*args):
        raise RunError("runs/t/config.toml cannot be written: No space left on device.")

    monkeypatch.setattr(import_module("undertow.train.table"), at, refuse)
    code, _, err = undertow(*TRAIN, "--overwrite", "--epochs", 2)
    assert code == 2 and "No space left on device" in err
    assert weights("runs/t") == before and [x.name for x in Path("runs").iterdir()] == ["t"]


def test_a_report_that_cannot_be_written_does_not_hide_that_the_run_is_saved(undertow, monkeypatch):
    def refuse(self, path):
        raise RunError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr(ut.Run, "report", refuse)
    code, out, err = undertow(*TRAIN, "--epochs", 1)
    assert code == 2 and "saved in runs/t" in out and "report.html cannot be written: No space" in err
    assert err.rstrip().endswith("The run is saved in runs/t.") and undertow("summary", "runs/t")[0] == 0


def test_settings_that_name_no_data(undertow):
    """Such as an empty config.toml in the folder of a run."""
    assert undertow(*TRAIN, "--epochs", 1)[0] == 0
    Path("runs/t/config.toml").write_text("")
    code, _, err = undertow("resume", "runs/t")
    assert code == 2 and "the settings name no file and target, nor a dataset" in err


def test_a_rate_is_looked_for_with_the_settings_of_the_training(undertow):
    """Told one by one, as `train` takes them, or in a file: columns left out, weights, task and loss count."""
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=200), "leak": rng.normal(size=200), "w": rng.uniform(0, 2, 200)}
    frame["y"] = np.round(3 * frame["x"]) + 10
    pl.DataFrame(frame).write_csv("t.csv")
    Path("told.toml").write_text('task = "regression"\nweights = "w"\nleave_out = ["leak"]\nloss = "huber:delta=2"\n')
    base = ("find-lr", "t.csv", "--target", "y", "--steps", 40, "--quiet")
    options = ("--task", "regression", "--weights", "w", "--leave-out", "leak", "--loss", "huber:delta=2")
    by_option, by_file = undertow(*base, *options), undertow(*base, "--config", "told.toml")
    assert by_option == by_file and by_option[0] in (0, 1)
    assert undertow(*base, "--leave-out", "leek")[0] == 2
