"""The command line under trouble: outputs that fail, interrupts, damaged runs, and files of a user's that misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import undertow as ut
from command_line import make_runner

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(ut.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-c", "from undertow.cli import main; main()"]
TRAIN = ("train", "good.csv", "--target", "y", "--epochs", 2, "--hidden", "4")


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    """Run `undertow …` in this process, in a folder with a table: the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    kinds = np.where(x > 0, "up", "down")
    pl.DataFrame({"x": x, "c": np.tile(["r", "b"], 30), "y": kinds}).write_csv("good.csv")
    return make_runner(capsys, monkeypatch)


def process(*args: object, **options) -> subprocess.CompletedProcess[str]:
    """Run `undertow …` as a process of its own, with its output read unless options say otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, "text": True, **options}
    return subprocess.run([*COMMAND, *map(str, args)], timeout=600, **options)


def refused(found: tuple[int, str, str], *parts: str) -> None:
    """One line on the standard error with these parts, exit code 2."""
    code, _, err = found
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err, err
    assert "fault in Undertow" not in err
    for part in parts:
        assert part in err, err


def test_a_fault_of_our_own_is_told_in_brief(undertow, monkeypatch):
    """LLVM quotes every line that it refuses: 30,000 characters hide what was asked for."""

    def break_down(*args, **options):
        raise RuntimeError("refused: " + "line " * 10_000)

    monkeypatch.delenv("UNDERTOW_DEBUG", raising=False)
    monkeypatch.setattr(import_module("undertow.compile.resident"), "Program", break_down)
    code, _, err = undertow(*TRAIN, "--quiet")
    assert code == 2 and err.startswith("error: RuntimeError: refused: line ") and "UNDERTOW_DEBUG=1" in err
    assert len(err) < 700 and err.count("\n") == 1


def change_weights(folder: str, name: str, value: float) -> None:
    """Write a value into the weights of a run."""
    file = Path(folder) / "model.safetensors"
    with safe_open(file, framework="numpy") as opened:
        header, tensors = opened.metadata(), {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    tensors[name][0] = value
    save_file(tensors, file, metadata=header)


def test_weights_that_are_no_numbers_are_found_when_a_run_is_loaded(undertow):
    """NaN in the file of weights is damage, not a prediction of NaN."""
    undertow(*TRAIN, "--quiet")
    change_weights("runs/good", "layers[0].W", float("nan"))
    for command in (("predict", "runs/good", "good.csv", "--probabilities"), ("explain", "runs/good")):
        refused(undertow(*command), "model.safetensors is damaged: layers[0].W holds NaN")


def test_an_encoder_of_another_model_is_found(undertow):
    """A record with three classes beside a model of two outputs does not fit."""
    undertow(*TRAIN, "--quiet")
    record = json.loads(Path("runs/good/run.json").read_text())
    record["extras"]["encoder"]["target"]["classes"] = ["a", "b", "c"]
    Path("runs/good/run.json").write_text(json.dumps(record))
    refused(undertow("predict", "runs/good", "good.csv", "--probabilities"), "do not fit (outputs: 2 and 3)")


def test_predictions_are_written_whole_or_not_at_all(undertow):
    """The input is not overwritten, a folder or a name too long is refused, and what was there stays."""
    undertow(*TRAIN, "--quiet")
    before = Path("good.csv").read_bytes()
    refused(undertow("predict", "runs/good", "good.csv", "--out", "./good.csv"), "is the file that is read")
    assert Path("good.csv").read_bytes() == before
    Path("folder.csv").mkdir()
    refused(undertow("predict", "runs/good", "good.csv", "--out", "folder.csv"), "folder.csv is a folder")
    refused(undertow("predict", "runs/good", "good.csv", "--out", "x" * 300 + ".csv"), "File name too long")
    refused(undertow("predict", "runs/good", "good.csv", "--out", "good.csv/p.csv"), "good.csv is a file")
    Path("link.parquet").symlink_to("found.parquet")
    assert undertow("predict", "runs/good", "good.csv", "--out", "link.parquet")[0] == 0
    assert Path("link.parquet").is_symlink() and pl.read_parquet("found.parquet").height == 60
    assert not list(Path().glob(".undertow*"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits and devices of Unix")
def test_a_full_disk_leaves_the_predictions_that_were_there(undertow, tmp_path):
    """Where the disk is full while predictions are written, the older file is untouched; a device stays one."""
    undertow(*TRAIN, "--quiet")
    big = pl.concat([pl.read_csv("good.csv")] * 60)
    big.write_csv("big.csv")
    Path("found.csv").write_text("older\n")
    shell = f"ulimit -f 4; exec {sys.executable} -c 'from undertow.cli import main; main()' "
    command = [
        "bash",
        "-c",
        shell + "predict runs/good big.csv --out found.csv",
    ]
    found = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert found.returncode == 2 and "found.csv cannot be written: File too large" in found.stderr
    assert Path("found.csv").read_text() == "older\n" and not list(Path().glob(".undertow*"))
    full = Path("full.parquet")
    full.symlink_to("/dev/full")
    refused(undertow("predict", "runs/good", "good.csv", "--out", "full.parquet"), "No space left on device")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("out", "reason"),
    [("good.csv/run", "good.csv is a file, not a folder"), ("x" * 300, "File name too long"), ("/proc/x", "/proc/x")],
)
def test_a_place_where_no_run_can_be_saved_is_found_before_training(undertow, out, reason):
    """The folder is tried before the first epoch; nothing is left of the trial."""
    before = sorted(Path().rglob("*"))
    code, printed, err = undertow(*TRAIN, "--out", out)
    refused((code, printed, err), reason)
    assert "epoch" not in printed and sorted(Path().rglob("*")) == before


def test_a_training_that_fails_leaves_an_empty_folder_alone(undertow):
    """An empty folder is replaced only when the run is there."""
    Path("runs/good").mkdir(parents=True)
    refused(undertow(*TRAIN, "--metrics", "acuracy", "--quiet"), "accuracy")
    assert Path("runs/good").is_dir() and not list(Path("runs/good").iterdir())
    assert undertow(*TRAIN, "--quiet")[0] == 0 and (Path("runs/good") / "run.json").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--target", "Y"), "did you mean 'y'"),
        (("--activation", "foo"), "--activation foo"),
        (("--hidden", "10000000000000"), "60,000,000,000,002 parameters"),
        (("--hidden", "1" + "0" * 30), "parameters, more than"),
        (("--epochs", "0"), "--epochs"),
        (("--nosuch", "0"), "--nosuch"),
        (("--task", "regression"), "good.csv, row 2: target 'y'"),
    ],
)
def test_options_are_read_before_anything_is_done(undertow, options, part):
    """A wrong option is one line, comes before any report, and before the run that is there already."""
    Path("runs/good").mkdir(parents=True)
    Path("runs/good/notes.txt").write_text("mine")
    if part.startswith("6") or "more than" in part:
        Path("runs/good/notes.txt").unlink()
    code, out, err = undertow(*TRAIN, *options, "--quiet")
    refused((code, out, err), part)
    assert "rows to train on" not in out or "parameters" in err


def test_help_is_plain(undertow):
    """Defaults in brackets are not eaten as markup."""
    code, out, _ = undertow("train", "--help")
    assert code == 0 and "[default: runs/<name>]" in " ".join(out.split())
    code, out, err = undertow()
    assert code == 2 and "Usage" in out and not err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of Unix")
def test_a_run_is_saved_whatever_becomes_of_the_output(undertow):
    """A closed pipe, a full disk and an output without δ do not lose a trained run."""
    reading, writing = os.pipe()
    os.close(reading)
    found = process(*TRAIN, "--out", "a", stdout=writing)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, "") and Path("a/run.json").exists()
    with open("/dev/full", "w") as full:
        found = process(*TRAIN, "--out", "b", stdout=full)
    assert found.returncode == 2 and "No space left on device" in found.stderr and "saved in b" in found.stderr
    assert found.stderr.count("\n") == 1 and Path("b/run.json").exists()
    found = process(*TRAIN, "--out", "c", env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
    assert (found.returncode, found.stderr) == (0, "") and "held-out accuracy" in found.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_interrupts_end_training_and_the_run_is_saved(undertow, pause):
    """The first Ctrl-C ends training; the second, while the run is saved, does nothing. Exit code 130."""
    command = [*COMMAND, *map(str, TRAIN[:4]), "--epochs", "1000000", "--hidden", "64"]
    with open("out", "w") as printed, open("err", "w") as failed:
        found = subprocess.Popen(command, env=ENVIRONMENT, stdout=printed, stderr=failed)
        while "\nepoch" not in Path("out").read_text() and found.poll() is None:
            time.sleep(0.05)
        found.send_signal(signal.SIGINT)
        time.sleep(pause)
        found.send_signal(signal.SIGINT)
        found.wait(600)
    out, err = Path("out").read_text(), Path("err").read_text()
    assert found.returncode == 130 and "Traceback" not in err
    assert "Interrupted" in out and "saved in runs/good" in out
    assert out.endswith("interrupted; go on with: undertow resume runs/good\n")
    assert ut.load("runs/good").stopped == "interrupted"


SUBJECTS = {
    "text.py": "def loss(w): return 'a'\nw = 1.0\n",
    "waits.py": "async def loss(w): return w\nw = 1.0\n",
    "yields.py": "def loss(w): yield w\nw = 1.0\n",
    "complexes.py": "def loss(w): return w\nimport numpy as np\nw = np.array([1j])\n",
    "constant.py": "import numpy as np\nw = np.ones(3)\ndef loss(w):\n    return 3.0\n",
    "nofloats.py": "def loss(w): return 1.0\nw = 'abc'\n",
    "below/sibling.py": "x = 1\ny = x / 0\n",
    "below/imports.py": "import sibling\ndef loss(w): return w\n",
    "relative.py": "from . import other\ndef loss(w): return w\n",
    "exits.py": "class Stop(BaseException): pass\nraise Stop('now')\n",
    "mute.py": "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute\n",
    "imported.py": "from os.path import join\nfrom numpy import sum\ndef cost(w): return w\n",
    "nan.py": "import numpy as np\nw = np.array([-1.0])\ndef loss(w):\n    return np.sum(np.log(w))\n",
    "named.py": "import numpy as np\nw, X = np.ones(2), np.ones((3, 2))\n"
    "def loss(w, *, X, **others):\n    return np.sum(np.tanh(X @ w))\n",
    "closes.py": "import sys\nw = 1.0\nsys.stdout.close()\ndef loss(w): return w * w\n",
}


@pytest.fixture
def subjects(undertow):
    """The same, in a folder of Python files that misbehave."""
    for name, text in SUBJECTS.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    Path("nul.py").write_bytes(b"x = 1\0\n")
    Path("d.py").mkdir()
    return undertow


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("text.py:loss", ["loss (text.py:1) returned str"]),
        ("waits.py:loss", ["loss (waits.py:1) returned coroutine"]),
        ("yields.py:loss", ["loss (yields.py:1) returned generator"]),
        ("complexes.py:loss", ["argument w of loss (complexes.py:1) is complex128"]),
        ("nofloats.py:loss", ["w holds no floats to differentiate by"]),
        ("below/imports.py:loss", ["below/sibling.py:2: ZeroDivisionError"]),
        ("relative.py:loss", ["relative.py:1: ImportError", "with the name of the package"]),
        ("exits.py:loss", ["exits.py:2: Stop: now"]),
        ("mute.py:loss", ["mute.py:3: Mute: (its text cannot be made)"]),
        ("imported.py:loss", ["the file has no function 'loss'. It has cost."]),
        ("d.py:loss", ["d.py: this is a folder"]),
        ("if.py:", ["if.py: which function?"]),
        ("x" * 300 + ".py:loss", ["there is no such file"]),
        ("x" * 300, ["there is no such folder"]),
        ("nul.py:loss", ["nul.py: ", "null bytes"]),
    ],
)
@pytest.mark.parametrize("command", ["explain", "check"])
def test_a_file_that_misbehaves_is_named(subjects, command, what, parts):
    """Whatever a user's file does, the message names the user's own file and line."""
    refused(subjects(command, what), *parts)


def test_a_loss_that_does_not_depend_on_its_parameters_is_noted(subjects):
    """`explain` and `check` say which gradient is zero because no path leads there."""
    code, _, err = subjects("explain", "constant.py:loss")
    assert code == 0 and "the loss does not depend on w" in err
    code, out, _ = subjects("check", "constant.py:loss")
    assert code == 0 and "does not change with w" in out


def test_a_check_needs_a_finite_loss_and_a_tolerance(subjects):
    """NaN is no wrong gradient; a negative tolerance or NaN is no tolerance."""
    refused(subjects("check", "nan.py:loss"), "loss (nan.py:3) is nan at these arguments")
    for tolerance in ("-1", "nan"):
        refused(subjects("check", "named.py:loss", "--tolerance", tolerance), "tolerance must be")


def test_parameters_by_keyword_are_arguments_too(subjects):
    """A keyword-only parameter is found, keeps its name and its batch; `**others` asks for nothing."""
    code, out, _ = subjects("explain", "named.py:loss")
    assert code == 0 and "def forward(w, X)" in out and "(m,)" in out
    assert subjects("check", "named.py:loss")[0] == 0


def test_prints_of_a_file_into_a_closed_pipe_end_quietly(subjects):
    """A file that prints without end into a closed pipe ends quietly; one that closes the output is told of it."""
    Path("prints.py").write_text("while True: print('x' * 1000)\n")
    reading, writing = os.pipe()
    os.close(reading)
    found = process("explain", "prints.py:loss", stdout=writing)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, "")
    found = process("explain", "closes.py:loss")
    assert (
        found.returncode == 2 and found.stderr.count("\n") == 1 and "standard output cannot be written" in found.stderr
    )


def test_a_training_that_diverges_says_why_before_its_error(undertow):
    """Its findings are printed; record, report and the last finite model are kept, before any checkpoint too."""
    bad = (*TRAIN, "--optimizer", "sgd", "--rate", "1e30", "--quiet")
    code, printed, err = undertow(*bad)
    assert code == 2 and err.startswith("error: the loss became ") and err.count("\n") == 1
    assert "error: step-too-large" in printed and "non-finite" in printed and "--rate" in printed
    assert "undertow diagnose runs/good" in err
    assert "non-finite" not in undertow(*bad, "--no-flow", "--out", "plain")[1] and Path("plain/run.json").is_file()
    assert "non-finite" in undertow("diagnose", "runs/good", "--quiet")[1] and Path("runs/good/report.html").is_file()
    code, printed, _ = undertow("diagnose", "runs/good", "--try", "--epochs", 2, "--quiet")
    assert code == 0 and "A smaller learning rate" in " ".join(printed.split())
    for command in (("predict", "runs/good", "good.csv"), ("evaluate", "runs/good", "good.csv")):
        code, _, err = undertow(*command)
        assert code == 0 and err.startswith("note: the training of this run diverged, so its predictions")
    refused(undertow("resume", "runs/good"), "runs/good: this training diverged before its first checkpoint")
    refused(undertow(*TRAIN, "--quiet"), "runs/good exists already.")
    assert undertow(*TRAIN, "--quiet", "--overwrite", "--epochs", 1)[0] == 0


def test_a_first_training_that_diverges_late_leaves_its_checkpoints(undertow):
    """NaN after some epochs: the folder holds them, and resume meets the same end."""
    frame = pl.DataFrame({"x": np.linspace(-1, 1, 40), "y": np.linspace(-1e3, 1e3, 40)})
    frame.write_csv("late.csv")
    told = ("--optimizer", "sgd", "--rate", "0.9", "--hidden", "8", "--epochs", 60, "--activation", "relu")
    code, _, err = undertow(
        "train", "late.csv", "--target", "y", *told, "--schedule", "exponential:factor=3", "--quiet"
    )
    assert code == 2 and "kept in runs/late" in err
    assert len(Path("runs/late/history.jsonl").read_text().splitlines()) > 0
    code, _, again = undertow("resume", "runs/late", "--quiet")
    assert code == 2 and again.split(":")[1] == err.split(":")[1]


@pytest.mark.parametrize("command", ["diagnose", "report", "resume", "summary"])
def test_a_folder_that_is_none_is_named(undertow, command):
    """Neither a name that is not there nor a file is taken for a run without a record."""
    refused(undertow(command, "no/run"), "no/run: there is no such folder.")
    refused(undertow(command, "good.csv"), "good.csv: this is a file, no folder.")


def test_a_run_that_was_not_recorded_is_told_in_options(undertow):
    assert undertow(*TRAIN, "--quiet", "--no-flow", "--out", "plain")[0] == 0
    code, _, error = undertow("diagnose", "plain")
    assert code == 2 and "plain holds no record of its gradient flow. Train without --no-flow." in error


def test_what_cannot_be_written_is_known_before_remedies_are_tried(undertow):
    """A wrong name of the file ends the command before it prints or trains anything."""
    undertow(*TRAIN, "--quiet")
    found = undertow("diagnose", "runs/good", "--try", "--out", "found.txt")
    refused(found, "--out found.txt: give a file that ends in .json.")
    assert not found[1]


def test_without_remedies_none_is_tried(undertow):
    """A training that is well is not trained once more for nothing."""
    settings = ("--hidden", 8, "--epochs", 30, "--norm", "batch", "--quiet", "--overwrite")
    undertow(*TRAIN, *settings)
    assert "nothing wrong was found" in undertow("diagnose", "runs/good")[1]
    code, printed, _ = undertow("diagnose", "runs/good", "--try", "--out", "found.json")
    assert (
        code == 0 and "no remedy is tried: nothing is to be mended." in printed and "First the training" not in printed
    )
    assert json.loads(Path("found.json").read_text())["trials"] is None


def test_a_forecast_names_remedies(undertow):
    """The options that mend what a forecast warns of follow it."""
    deep = ("--hidden", ",".join(["16"] * 12), "--activation", "sigmoid")
    _, printed, _ = undertow("diagnose", "good.csv", "--before", "--target", "y", *deep)
    assert "vanishes: " in printed and "--activation relu" in " ".join(printed.split())
    assert "--activation" not in undertow("diagnose", "good.csv", "--before", "--target", "y", "--hidden", "8")[1]


def test_the_module_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "undertow", "--version"], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert result.returncode == 0 and result.stdout == f"undertow {ut.__version__}\n"


def test_ctrl_c_while_the_commands_are_loaded(undertow, monkeypatch):
    """Importing takes a moment, in which someone may change their mind: no traceback."""
    monkeypatch.setattr(import_module("undertow.cli.start"), "load_commands", interrupt)
    assert undertow("train", "good.csv", "--target", "y") == (130, "", "interrupted\n")


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["z" * 3000, "a\0b.csv", "good.csv/inner.csv"])
def test_what_can_name_no_file_is_refused(undertow, name):
    """Too long a name, a zero byte, a file as a folder: by each command, and in a file of settings."""
    undertow(*TRAIN, "--out", "run", "--quiet")
    refused(undertow("train", name, "--target", "y"))
    for command in ("predict", "evaluate"):
        refused(undertow(command, "run", name))
    Path("c.toml").write_text(f"data = {json.dumps(name)}\ntarget = 'y'\n")
    refused(undertow("train", "--config", "c.toml"))


def test_a_word_without_an_end_is_cut(undertow):
    """What is wrong stays in sight."""
    Path("c.toml").write_text(f"data = 'good.csv'\ntarget = 'y'\noptimizer = '{'z' * 5000}'\n")
    found = undertow("train", "--config", "c.toml")
    refused(found, "zzz…", "adamw")
    assert len(found[2]) < 1000
