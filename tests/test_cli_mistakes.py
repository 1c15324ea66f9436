"""What somebody new to the command line gets wrong: the message names it and the remedy, which works."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from command_line import make_runner

N = 80
TRAIN = ("train", "flats.csv", "--target", "Price [EUR]", "--epochs", 2, "--hidden", "4", "--quiet")


@pytest.fixture
def undertow(capsys, monkeypatch, tmp_path):
    """Run `undertow …` in this process, in a folder with a table: the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    area = rng.uniform(30, 120, N)
    city = rng.choice(["Berlin", "Köln"], N)
    frame = pl.DataFrame({"area (m²)": area, "City": city, "Price [EUR]": area * 40 + rng.normal(0, 50, N)})
    frame.write_csv("flats.csv")
    frame.write_parquet("flats.parquet")
    frame.head(9).with_columns(pl.col("area (m²)") + 1).write_csv("others.csv")
    return make_runner(capsys, monkeypatch)


def refused(found: tuple[int, str, str], *parts: str) -> None:
    """One line on the standard error with these parts, exit code 2."""
    code, _, err = found
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    for part in parts:
        assert part in err, err


@pytest.mark.parametrize("table", ["flats.csv", "flats.parquet"])
def test_a_training_without_a_target_names_the_columns_to_choose_from(undertow, table):
    refused(undertow("find-lr", table), "Name it with --target.", "'Price [EUR]'")
    refused(undertow("train", table), "Name it with --target.", "'area (m²)', 'City', 'Price [EUR]'")


def test_a_table_that_cannot_be_read_has_no_columns_to_name(undertow, tmp_path):
    (tmp_path / "bytes.csv").write_bytes(b"a\xff\x00\n")
    refused(undertow("train", "bytes.csv"), "Name it with --target.\n")


def test_a_pattern_that_the_shell_has_spread_out_is_to_be_quoted(undertow):
    refused(undertow("train", "flats.csv", "others.csv", "--target", "x"), "unexpected: others.csv", "quote")


def test_help_is_no_command(undertow):
    refused(undertow("help"), "undertow --help")


@pytest.mark.parametrize("rate", ["-1", "0", "nan", "inf"])
def test_a_rate_that_is_none_is_told_by_its_option(undertow, rate):
    refused(undertow(*TRAIN, "--rate", rate), f"--rate {rate}: give a number above 0.")


def test_a_batch_of_more_rows_than_there_are_is_told(undertow):
    _, out, _ = undertow(*TRAIN, "--batch-size", 500, "--validation", 0.25)
    assert "batches of 500, more than the 60 rows: an epoch is a single step." in out
    _, out, _ = undertow(*TRAIN, "--batch-size", 60, "--validation", 0.25, "--overwrite")
    assert "batches of 60.\n" in out


def test_a_table_is_not_what_diagnose_takes_unless_before_any_training(undertow):
    refused(undertow("diagnose", "flats.csv"), "this is a file, no folder", "--before and --target")
    code, out, _ = undertow("diagnose", "flats.csv", "--before", "--target", "Price [EUR]")
    assert code == 0 and "Before training" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--before", "--try"], "--try trains, and --before trains nothing"),
        (["--before", "--epochs", "3"], "--epochs trains"),
        (["--epochs", "3"], "--epochs says how long each trial is. Add --try"),
        (["--time-budget", "9s"], "--time-budget says how long each trial is. Add --try"),
    ],
)
def test_options_of_trials_are_not_passed_over_where_none_is_made(undertow, options, said):
    refused(undertow("diagnose", "runs/any", *options), said)


def test_a_byte_of_an_older_encoding_is_told_with_the_letter_that_it_is(undertow, tmp_path):
    (tmp_path / "old.csv").write_bytes((tmp_path / "flats.csv").read_text(encoding="utf-8").encode("cp1252"))
    found = undertow("train", "old.csv", "--target", "City")
    refused(found, "0xb2 is not UTF-8", "Windows-1252", "'²'", "in Excel as CSV UTF-8")


def test_figures_of_the_rows_of_the_training_are_said_to_be_of_these(undertow):
    undertow(*TRAIN, "--refit")
    code, _, err = undertow("evaluate", "runs/flats", "flats.csv")
    assert code == 0 and "how well it remembers" in err and "undertow summary runs/flats" in err
    assert "remembers" not in undertow("evaluate", "runs/flats", "others.csv")[2]
    assert ", before training again on all rows." in undertow("summary", "runs/flats")[1]


def test_a_program_of_the_users_own_is_not_written_over(undertow, tmp_path):
    undertow(*TRAIN)
    own = tmp_path / "mine.py"
    own.write_text("print('mine')\n")
    refused(undertow("export", "runs/flats", "mine.py"), "mine.py is a program that no export wrote")
    assert own.read_text() == "print('mine')\n"
    for _ in range(2):  # what an export wrote may be written again
        assert undertow("export", "runs/flats", "model.py")[0] == 0


def test_an_exported_program_says_what_is_wrong_with_its_file(undertow, tmp_path):
    undertow(*TRAIN)
    undertow("export", "runs/flats", "model.py")
    (tmp_path / "old.csv").write_bytes((tmp_path / "flats.csv").read_text(encoding="utf-8").encode("cp1252"))
    for name, told in (
        ("none.csv", "none.csv cannot be read: No such file"),
        ("old.csv", "old.csv is neither UTF-8 nor UTF-16"),
    ):
        done = subprocess.run([sys.executable, "model.py", name], capture_output=True, text=True, timeout=600)
        assert done.returncode == 1 and done.stderr.startswith(f"model.py: {told}") and done.stderr.count("\n") == 1


def test_a_training_that_had_come_to_its_end_is_not_said_to_go_on(undertow):
    undertow(*TRAIN)
    code, out, _ = undertow("resume", "runs/flats", "--quiet")
    assert code == 0 and "  stands after epoch 2, " in out and "goes on" not in out and "come to its end" in out
    assert "  goes on after epoch 2, " in undertow("resume", "runs/flats", "--epochs", 4, "--quiet")[1]


def test_two_losses_of_one_file_have_examples_of_their_own(undertow, tmp_path):
    lines = (
        "import numpy as np",
        "def first(W, X): return np.mean((X @ W) ** 2)",
        "def second(w): return np.sum(w ** 4)",
        "def example(): return np.ones((3, 2)), np.ones((5, 3))",
        "def second_example(): return (np.arange(1.0, 4.0),)",
    )
    (tmp_path / "net.py").write_text("\n".join(lines))
    for name in ("first", "second"):
        assert undertow("check", f"net.py:{name}")[0] == 0
    for command in ("check", "explain"):
        assert "loss_example() or example()" in " ".join(undertow(command, "--help")[1].split())


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (
            ("train", "flats.csv", "--target", "City", "--exclude", "id"),
            ["No such option: --exclude. Use --leave-out."],
        ),
        (
            ("predict", "runs/a", "flats.csv", "--layers", "3"),
            ["option: --layers. undertow predict --help lists them."],
        ),
        (("export", "runs/a", "--onnx", "a.onnx"), ["No such option: --onnx. undertow export --help lists them."]),
        (("predict", "runs/a"), ["Missing argument 'data'. undertow predict --help shows an example."]),
        (("train", "flats.csv", "--epoch", "3"), ["No such option: --epoch (Possible options: --epochs)"]),
    ],
)
def test_an_option_that_is_not_there_says_which_is_or_where_they_are(undertow, call, parts):
    refused(undertow(*call), *parts)
