"""What is shown while a table is read in pieces."""

import io
import sys
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from rich.console import Console

from undertow.cli import main
from undertow.data import stream_table, table_pieces
from undertow.data.reading import watch_reading
from undertow.train import reading_progress, table_data
from undertow.train.rate import RateSuggestion
from undertow.train.reading_progress import ReadingProgress
from undertow.train.table import resume_table, train_table
from undertow.train.table_settings import TableSettings, read_config


@pytest.fixture
def table(tmp_path):
    """A CSV file that is read in several pieces of 64 KiB."""
    rng = np.random.default_rng(0)
    rows = [f"{i},{a:.6f},{b:.6f},{'yes' if a > b else 'no'}" for i, (a, b) in enumerate(rng.normal(size=(20_000, 2)))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["time,a,b,y", *rows]) + "\n")
    return path


def test_every_pass_is_told_from_its_beginning_to_its_end(table):
    told = []
    with watch_reading(lambda what, share: told.append((what, share))):
        stream_table(table, "y", memory=1e6, time="time")
    stream_table(table, "y", memory=1e6)  # nobody watches any more
    passes = list(dict.fromkeys(what for what, _ in told))
    assert passes == ["which columns are numbers", "which rows are the latest", "what is in the columns"]
    for what in passes:
        shares = [share for name, share in told if name == what]
        assert shares == sorted(shares) and shares[-1] == 1.0
        assert len(shares) > 2 and 0 < shares[0] < 1


@pytest.fixture
def unhurried(monkeypatch):
    """Let the first word come at once, and every line of a log."""
    monkeypatch.setattr(reading_progress, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(reading_progress, "LINE_SECONDS", 0.0)


def test_a_log_has_lines_and_a_terminal_a_bar_that_goes(table, unhurried):
    log = io.StringIO()
    with ReadingProgress(True, Console(file=log, force_terminal=False)):
        stream_table(table, "y", memory=1e6)
    lines = log.getvalue().splitlines()
    assert "  reading: which columns are numbers, 100%" in lines and "  reading: what is in the columns, 100%" in lines
    screen = io.StringIO()
    with ReadingProgress(True, Console(file=screen, force_terminal=True, width=80)):
        stream_table(table, "y", memory=1e6)
    assert "reading: what is in the columns" in screen.getvalue() and screen.getvalue().endswith("\x1b[2K")


def test_what_takes_no_time_or_is_to_be_quiet_shows_nothing(table, unhurried, monkeypatch):
    shown = io.StringIO()
    with ReadingProgress(False, Console(file=shown, force_terminal=True)):
        stream_table(table, "y", memory=1e6)
    monkeypatch.setattr(reading_progress, "SILENT_SECONDS", 60.0)
    with ReadingProgress(True, Console(file=shown, force_terminal=True)):
        stream_table(table, "y", memory=1e6)
    assert shown.getvalue() == ""


def test_an_output_that_fails_does_not_stop_reading(table, unhurried):
    class Closed(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    with ReadingProgress(True, Console(file=Closed(), force_terminal=False)) as progress:
        found = stream_table(table, "y", memory=1e6)
    assert found.train.n_examples > 0 and not progress.show


def test_training_and_resuming_tell_of_reading(table, unhurried, tmp_path, capsys):
    """Where the table is larger than the memory that is allowed; --quiet shows nothing."""
    settings = TableSettings(data=str(table), target="y", memory=1, steps=2, hidden=[2], checkpoint_every=1)
    train_table(settings, tmp_path / "run", say=lambda _: None)
    assert "reading: what is in the columns, 100%" in capsys.readouterr().out
    resume_table(tmp_path / "run", steps=3, say=lambda _: None)
    assert "reading: what is in the columns, 100%" in capsys.readouterr().out
    train_table(settings, tmp_path / "quiet", progress=False, say=lambda _: None)
    assert "reading" not in capsys.readouterr().out


def call(monkeypatch, capsys, *arguments):
    """Standard output and error of a command."""
    monkeypatch.setattr(sys, "argv", ["undertow", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    return capsys.readouterr()


def test_commands_tell_of_reading(table, unhurried, tmp_path, monkeypatch, capsys):
    """Before the result where that is a word, beside it where results go to the output; --quiet shows nothing."""
    rate = ("find-lr", table, "--target", "y", "--memory", 1, "--hidden", "2", "--steps", 20, "--high", 1)
    monkeypatch.setattr(
        sys.modules["undertow.train.table"],
        "find_learning_rate",
        lambda *_, **__: RateSuggestion(0.01, "", np.zeros(1)),
    )
    told = call(monkeypatch, capsys, *rate)
    assert "reading: what is in the columns, 100%" in told.out and "try: --rate 0.01" in told.out
    assert "reading:" not in call(monkeypatch, capsys, *rate, "--quiet").out
    settings = TableSettings(data=str(table), target="y", memory=1, steps=2, hidden=[2])
    train_table(settings, tmp_path / "run", say=lambda _: None, progress=False)
    monkeypatch.setattr(table_pieces, "_IN_MEMORY", 1000)
    capsys.readouterr()
    told = call(monkeypatch, capsys, "evaluate", tmp_path / "run", table, "--memory", 1)
    assert "reading: which columns are numbers, 100%" in told.err and "reading: the rows, 100%" in told.err
    assert "reading:" not in told.out and "accuracy" in told.out and "how well it remembers" in told.err
    quiet = call(monkeypatch, capsys, "evaluate", tmp_path / "run", table, "--memory", 1, "--quiet")
    assert "reading:" not in quiet.err
    predict = ("predict", tmp_path / "run", table, "--out", tmp_path / "p.csv", "--memory", 1)
    found = call(monkeypatch, capsys, *predict)
    assert "reading: the rows, 100%" in found.err and "20000 predictions in" in found.out
    assert "reading:" not in call(monkeypatch, capsys, *predict, "--quiet").err
    before = ("diagnose", table, "--before", "--target", "y", "--hidden", "2")
    monkeypatch.setattr(import_module("undertow.flow.before"), "TableSettings", partial(TableSettings, memory=1))
    assert "reading: what is in the columns, 100%" in call(monkeypatch, capsys, *before).out
    assert "reading:" not in call(monkeypatch, capsys, *before, "--quiet").out


def test_a_file_of_another_size_is_not_read_again_to_tell_whether_it_is_that_of_the_training(
    table, tmp_path, monkeypatch, capsys
):
    """One of the same size is; so is any file where an older run does not know the size."""
    settings = TableSettings(data=str(table), target="y", steps=2, hidden=[2])
    train_table(settings, tmp_path / "run", say=lambda _: None, progress=False)
    assert read_config(tmp_path / "run" / "config.toml").data_bytes == table.stat().st_size
    digests = []
    whole = table_data.digest_of
    monkeypatch.setattr(table_data, "digest_of", lambda files: digests.append(files) or whole(files))
    other, same = tmp_path / "other.csv", tmp_path / "same.csv"
    other.write_text("".join(table.read_text().splitlines(keepends=True)[:5000]))
    same.write_text(table.read_text().replace("yes", "no ", 1))
    assert "remembers" not in call(monkeypatch, capsys, "evaluate", tmp_path / "run", other).err and digests == []
    assert "remembers" not in call(monkeypatch, capsys, "evaluate", tmp_path / "run", same).err and digests == [[same]]
    assert "remembers" in call(monkeypatch, capsys, "evaluate", tmp_path / "run", table).err
    config = tmp_path / "run" / "config.toml"
    config.write_text("".join(x for x in config.read_text().splitlines(keepends=True) if "data_bytes" not in x))
    digests.clear()
    call(monkeypatch, capsys, "evaluate", tmp_path / "run", other)
    assert digests == [[other]]
