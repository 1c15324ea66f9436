"""The history as a frame, as pictures, and as the lines of a running training; what a range test says."""

import io
import math
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from undertow.errors import ArgumentError, DataError, RunError, ShapeError
from undertow.train import progress as progress_module
from undertow.train.columns import frame, read_columns
from undertow.train.plot import plot_history, plot_text
from undertow.train.progress import ALL_LINES, Progress, format_row
from undertow.train.rate import suggest_rate

HISTORY = [
    {
        "epoch": i, "step": 10 * i, "loss": 2.0 ** -i, "accuracy": 1 - 0.5**i, "validation_loss": 1.5 * 2.0 ** -i,
        "validation_accuracy": 1 - 0.6**i, "rate": 0.1, "clipped": 1 / i, "seconds": 0.5 * i,
    }
    for i in range(1, 11)
]  # fmt: skip


def hide(monkeypatch, *names):
    """Let importing a library fail, as where it is not installed."""
    for name in [*names, *(known for known in sys.modules if known.split(".")[0] in names)]:
        monkeypatch.setitem(sys.modules, name, None)


# The frame


def test_a_frame_holds_the_rows():
    table = frame(HISTORY)
    assert table.columns == list(HISTORY[0]) and table.to_dicts() == HISTORY


def test_rows_may_have_different_columns_and_types():
    rows = [{"epoch": 1, "loss": 1}, {"epoch": 2, "loss": 0.5, "f1": 0.25}, {"epoch": 3, "loss": math.nan}]
    table = frame(rows)
    assert table["f1"].to_list() == [None, 0.25, None] and table["loss"].to_list()[:2] == [1.0, 0.5]
    assert math.isnan(table["loss"][2]) and frame([]).shape == (0, 0)
    assert read_columns(iter(rows))["f1"] == [None, 0.25, None]


def test_pandas_holds_the_same():
    pandas = pytest.importorskip("pandas")
    table = frame(HISTORY, "pandas")
    assert isinstance(table, pandas.DataFrame) and table.to_dict("records") == HISTORY


def test_what_is_no_history_or_not_installed(monkeypatch):
    for wrong in ("history", 3, [1], {"loss": 1}):
        with pytest.raises(ArgumentError, match=r"not a list of rows\. Give run\.history"):
            frame(wrong)
    with pytest.raises(ArgumentError, match="no kind 'panda'"):
        frame(HISTORY, "panda")
    hide(monkeypatch, "pandas")
    with pytest.raises(ArgumentError, match=r"pip install pandas"):
        frame(HISTORY, "pandas")


# Pictures


def test_a_figure_has_a_panel_for_each_quantity():
    pytest.importorskip("matplotlib")
    figure = plot_history(HISTORY)
    loss, accuracy, rate, clipped = figure.axes
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["loss", "accuracy (%)", "learning rate", "clipped steps (%)"]
    assert clipped.get_xlabel() == "epoch" and loss.get_yscale() == "log" and accuracy.get_yscale() == "linear"
    training, validation = loss.get_lines()
    assert training.get_ydata().tolist() == [row["loss"] for row in HISTORY]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert training.get_color() != validation.get_color()
    assert accuracy.get_lines()[0].get_ydata()[0] == 50 and rate.get_lines()[0].get_ydata()[0] == 0.1


def test_a_figure_shows_the_columns_asked_for():
    """Values that are not there leave a gap in the numbers, not in the line; two scores share a panel."""
    pytest.importorskip("matplotlib")
    rows = [{"step": 5, "f1": 0.5, "recall": 0.25}, {"step": 10, "f1": None, "recall": 0.5}, {"step": 15, "f1": 0.75}]
    (axes,) = plot_history(rows, ["f1", "recall"]).axes
    assert axes.get_ylabel() == "share (%)" and axes.get_xlabel() == "step"
    first, second = axes.get_lines()
    assert first.get_xdata().tolist() == [5, 15] and second.get_ydata().tolist() == [25, 50]
    assert first.get_label() == "f1" and first.get_color() != second.get_color()


def test_a_figure_shows_itself_in_a_notebook():
    """Without pyplot, and one column alone is named in full."""
    pytest.importorskip("matplotlib")
    figure = plot_history(HISTORY, "validation_loss")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.axes[0].get_ylabel() == "validation loss" and figure.axes[0].get_legend() is None


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_figure_is_written_by_its_suffix(tmp_path, suffix, start):
    pytest.importorskip("matplotlib")
    path = plot_history(HISTORY, "loss", tmp_path / "new" / f"loss{suffix}")
    assert path.read_bytes().startswith(start)


def test_figures_that_cannot_be_made(tmp_path, monkeypatch):
    for arguments, message in (
        (([],), "no rows"),
        ((HISTORY, "f1"), "no column 'f1' of numbers. It has epoch, step, loss"),
        ((HISTORY, None, tmp_path / "loss.bmp"), "loss.bmp is no .png, .svg or .pdf"),
        (([{"epoch": 1}],), "no column to show"),
    ):
        with pytest.raises(ArgumentError, match=message):
            plot_history(*arguments)
    hide(monkeypatch, "matplotlib")
    with pytest.raises(ArgumentError, match=r"pip install matplotlib"):
        plot_history(HISTORY)


def test_a_figure_in_a_place_that_is_none(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file is a file, not a folder"):
        plot_history(HISTORY, path=tmp_path / "file" / "loss.png")


def test_a_drawing_for_the_terminal():
    """A falling loss falls from the upper left to the lower right; factors of 2 make a straight line."""
    text = plot_text([{"epoch": i, "loss": 2.0**-i} for i in range(11)], width=11, height=11)
    lines = text.splitlines()
    assert [line.index("●") for line in lines[:11]] == sorted(line.index("●") for line in lines[:11])
    assert len({line.index("●") - i for i, line in enumerate(lines[:11])}) == 1
    assert lines[0].startswith("1 ") and lines[10].startswith("0.000977")
    assert lines[12].endswith("0 … 10 epoch, logarithmic") and lines[13] == "● loss"


def test_a_drawing_of_two_columns():
    text = plot_text(HISTORY)
    assert text.splitlines()[-1] == "● loss   ○ validation loss"
    both = text.count("◉")
    assert text.count("●") - 1 + both == text.count("○") - 1 + both == 10
    assert "◉" in plot_text([{"loss": 1.0, "validation_loss": 1.0}])


@given(values=st.lists(st.floats(), min_size=1, max_size=50), width=st.integers(10, 40), height=st.integers(2, 12))
def test_any_numbers_can_be_drawn(values, width, height):
    """Also none that is finite, one alone, and the largest there are: the drawing keeps to its size."""
    lines = plot_text([{"loss": value} for value in values], width=width, height=height).splitlines()
    assert len(lines) in (1, height + 3)
    if len(lines) > 1:
        assert "●" in "".join(lines[:height])
        assert max(map(len, lines[:height])) <= width + 12


def test_drawings_that_cannot_be_made():
    for settings_, message in (
        ({"width": 3}, "width must be a whole number of 10 or more"),
        ({"columns": ["loss", "accuracy", "step", "seconds", "epoch"]}, "5 columns are too many"),
        ({"columns": "f1"}, "no column 'f1'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            plot_text(HISTORY, **settings_)
    with pytest.raises(ArgumentError, match="no rows"):
        plot_text([])


# Lines


def test_a_line_holds_all_that_was_measured():
    row = {
        "epoch": 7, "step": 1200, "loss": 12345.678, "accuracy": 0.5, "top_3_accuracy": 0.75, "cost": 2e-5,
        "learning_rate": 0.1, "validation_loss": 0.25, "validation_auc": 0.875, "validation_r2": None,
        "sizes": [1, 2], "left": 3725,
    }  # fmt: skip
    assert format_row(row, 10) == (
        "epoch  7/10   loss 1.235e+04   accuracy 50.0%   top 3 accuracy 75.0%   cost 2e-05   "
        "validation loss 0.2500, auc 0.8750   1:02:05 left"
    )
    assert format_row({"epoch": 7, "step": 1200, "loss": 0.5}, None, 20000) == (
        "epoch 7   step  1,200/20,000   loss 0.5000"
    )
    assert format_row({"epoch": 7, "step": 1200, "loss": math.nan}, None) == "epoch 7   step 1,200   loss nan"


def run_epochs(progress, count, seconds):
    """Epochs that take so many seconds each, by a clock of our own."""
    now = 0.0
    progress.clock = lambda: now
    progress.started = progress.shown = progress.line_shown = 0.0
    for epoch in range(1, count + 1):
        now += seconds
        progress.after_step(epoch, 50, 0.5)
        progress.after_epoch({"epoch": epoch, "step": epoch, "loss": 1 / epoch})


def log_lines(epochs, count, seconds, **more):
    stream = io.StringIO()
    with Progress(True, epochs, 100, Console(file=stream, width=200), **more) as progress:
        run_epochs(progress, count, seconds)
    return [int(re.match(r"epoch +(\d+)", line)[1]) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("epochs", "count", "seconds", "wanted"),
    [
        (ALL_LINES, ALL_LINES, 0.001, [*range(1, 21)]),
        (1000, 1000, 0.001, [*range(1, 21), 1000]),
        (100, 100, 0.25, [*range(1, 21), *range(28, 101, 8)]),
        (100, 100, 5.0, [*range(1, 101)]),
        (1000, 57, 0.001, [*range(1, 21), 57]),  # a callback ended it
        (None, 57, 0.001, [*range(1, 21), 57]),
    ],
)
def test_a_log_file_has_few_lines_but_the_first_and_the_last(epochs, count, seconds, wanted):
    found = log_lines(epochs, count, seconds)
    assert found == (wanted if wanted[-1] == count else [*wanted, count])


def test_a_sentence_comes_after_the_line_of_its_epoch():
    stream = io.StringIO()
    with Progress(True, 1000, 100, Console(file=stream, width=200)) as progress:
        run_epochs(progress, 30, 0.001)
        progress.say("Stopped.")
    assert [line[:10] for line in stream.getvalue().splitlines()[-3:]] == ["epoch   20", "epoch   30", "Stopped."]


def test_a_line_that_waits_tells_what_was_so_whatever_a_callback_does_to_its_row():
    stream = io.StringIO()
    with Progress(True, 1000, 100, Console(file=stream, width=200)) as progress:
        run_epochs(progress, 30, 0.001)
        row = {"epoch": 31, "step": 31, "loss": 0.5}
        progress.after_epoch(row)
        row["loss"] = "changed"
    assert stream.getvalue().splitlines()[-1].split()[:4] == ["epoch", "31/1000", "loss", "0.5000"]


def live_line(epochs, step, **more):
    stream = io.StringIO()
    with Progress(True, epochs, 100, Console(file=stream, force_terminal=True, width=100), **more) as progress:
        progress.clock = lambda: progress.started + 10.0
        progress.after_step(1, 50, 0.5, step)
    return stream.getvalue()


def test_the_time_left_is_told_for_epochs_steps_and_seconds():
    """Half an epoch in 10 seconds: 10 epochs take 190 more; 20 of 100 steps: 40 more; of 25 seconds 15 are left."""
    assert "3:10 left" in live_line(10, 20)
    assert "step  20/100" in live_line(None, 20, steps=100) and "0:40 left" in live_line(None, 20, steps=100)
    assert "0:15 left" in live_line(None, 20, seconds=25)
    assert "left" not in live_line(None, 20)


def test_a_resumed_run_is_as_fast_as_it_is_now():
    """Epochs 1 to 8 were trained before: 100 examples in 10 seconds leave 50 of this epoch and 200 of the last."""
    stream = io.StringIO()
    with Progress(True, 10, 200, Console(file=stream, force_terminal=True, width=100)) as progress:
        for now, seen in ((0.0, 50), (10.0, 150)):
            progress.clock = lambda now=now: progress.started + now
            progress.after_step(9, seen, 0.5)
    assert "10 examples/s" in stream.getvalue() and "0:25 left" in stream.getvalue()


def test_a_stream_of_unknown_length_has_a_speed():
    stream = io.StringIO()
    with Progress(True, 10, None, Console(file=stream, force_terminal=True, width=100)) as progress:
        progress.clock = lambda: progress.started
        progress.after_step(1, 70, 0.5)
        progress.clock = lambda: progress.started + 10.0
        progress.after_step(2, 30, 0.5)
    assert "10 examples/s" in stream.getvalue() and "left" not in stream.getvalue()


class Display:
    """What IPython's display does: it shows, and gives a handle that replaces what was shown."""

    def __init__(self):
        self.texts = []

    def __call__(self, data, raw, display_id):
        self.update(data, raw)
        return self

    def update(self, data, raw):
        assert raw
        self.texts.append(data["text/plain"])


def test_a_notebook_has_one_text_that_is_replaced(monkeypatch):
    """Not a line a step: few updates, the last of which holds the lines that stay; of many, the first and the last."""
    display = Display()
    monkeypatch.setattr(progress_module, "_find_display", lambda: display)
    stream = io.StringIO()
    with Progress(True, 100, 100, Console(file=stream, force_jupyter=True, width=200)) as progress:
        run_epochs(progress, 100, 5.0)
        progress.say("Done.")
    assert stream.getvalue() == ""
    lines = display.texts[-1].splitlines()
    assert lines[0].startswith("epoch   1/100") and lines[1] == "… 61 lines more …"
    assert lines[-2].startswith("epoch 100/100") and lines[-1] == "Done." and len(lines) == 41
    assert any("left" in text for text in display.texts) and "left" not in display.texts[-1]


def test_a_notebook_without_ipython_has_plain_lines(monkeypatch):
    hide(monkeypatch, "IPython")
    stream = io.StringIO()
    with Progress(True, 2, 100, Console(file=stream, force_jupyter=False, width=200)) as progress:
        assert progress_module._find_display() is None
        run_epochs(progress, 2, 1.0)
    assert len(stream.getvalue().splitlines()) == 2


# Range tests

RATES = np.logspace(-5, 1, 121)
FALL = 1 / (1 + RATES / 0.01)  # its slope over log rate is steepest at 0.01


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_a_range_test_finds_the_steepest_descent(noise):
    """Within a factor of 3, whatever the noise, and whatever comes after the fall."""
    rng = np.random.default_rng(0)
    for after in (RATES**2, np.exp(3 * RATES) - 1, 0 * RATES, np.where(RATES > 1, np.nan, 0)):
        for _ in range(5):
            found = suggest_rate(RATES, FALL + after + noise * rng.standard_normal(121))
            assert 0.01 / 3 < found.rate < 0.01 * 3
            assert found.rate < found.lowest


def test_a_range_test_of_small_batches_finds_the_fall_and_not_the_noise_before_it():
    """Steps of 200 small batches, whose noise is half of the loss and falls with it; noise alone is no fall."""
    rng = np.random.default_rng(1)
    rates = np.logspace(-6, 1, 200)
    curve = 0.1 + 0.9 / (1 + rates / 1e-3) + np.where(rates > 0.5, (rates / 0.5) ** 2 - 1, 0)
    found = [suggest_rate(rates, curve * (1 + 0.5 * rng.standard_normal(200))).rate for _ in range(100)]
    assert sum(rate is not None and 1e-4 < rate < 1e-2 for rate in found) >= 85
    noise = [suggest_rate(rates, 1 + 0.3 * rng.standard_normal(200)).rate for _ in range(100)]
    assert sum(rate is not None for rate in noise) <= 4


def test_a_single_jump_does_not_count():
    losses = FALL + RATES**2
    for i in (5, 60, 75):
        jump = losses.copy()
        jump[i] = -50.0
        assert 0.005 < suggest_rate(RATES, jump).rate < 0.02


def test_a_range_test_says_what_it_saw():
    rng = np.random.default_rng(0)
    for losses, rate, message in (
        (FALL + RATES**2, True, "it is lowest at 0.13, and has diverged at 1.1"),
        (FALL, True, "still falls at 10, the largest rate tested: test larger ones"),
        (1 / (1 + RATES / 1e-7), True, "about the smallest rate tested: test smaller ones"),
        (np.where(RATES > 1, np.inf, FALL), True, "has diverged at 1.1"),
        (2.3 + RATES, False, "only rises: test smaller rates"),
        (
            2.3 + RATES - 0.1 * FALL + 0.3 * rng.standard_normal(121),
            False,
            "noise between 1e-05 and 10, and has diverged at",
        ),
        (2.3 + 0 * RATES, False, "does not fall by more than its noise"),
        (2.3 + 0.1 * rng.standard_normal(121), False, "does not fall by more than its noise"),
    ):
        found = suggest_rate(RATES, losses)
        assert (found.rate is not None) is rate and message in found.reason, found.reason


@settings(max_examples=30)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100), factor=st.floats(1e-3, 1e3))
def test_a_range_test_knows_no_units(scale, shift, factor):
    """Another unit of the loss or of the rate changes nothing but the unit of the suggestion."""
    losses = FALL + RATES**2 + 0.02 * np.random.default_rng(0).standard_normal(121)
    found, wanted = suggest_rate(factor * RATES, shift + scale * losses), suggest_rate(RATES, losses)
    assert found.rate == pytest.approx(factor * wanted.rate, rel=0.06)  # both are rounded to two digits


@pytest.mark.parametrize(
    ("rates", "losses", "error", "message"),
    [
        (RATES, FALL[1:], ShapeError, r"rates are \(121,\), losses are \(120,\)"),
        (-RATES, FALL, DataError, r"rates\[0\] is -1e-05"),
        (RATES[::-1], FALL, DataError, r"rates\[1\] is .*, not above rates\[0\]"),
        (RATES[:9], FALL[:9], ArgumentError, "there are 9 losses"),
        (RATES, np.where(RATES > 2e-5, np.nan, FALL), ArgumentError, "too few to see a curve"),
    ],
)
def test_range_tests_that_tell_nothing_are_refused(rates, losses, error, message):
    with pytest.raises(error, match=message):
        suggest_rate(rates, losses)
