"""Live progress: one updating line in a terminal, one updating text in a notebook, plain lines elsewhere."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from undertow.trace.where import frames_of_ours
from undertow.train.columns import is_number, is_share, scores

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

REFRESH_SECONDS = 0.1
NOTEBOOK_SECONDS = 0.5  # between two updates that travel to a browser
ALL_LINES: Final = 20  # so many epochs have a line each; of later ones a line every few seconds
LINE_SECONDS = 2.0
NOTEBOOK_LINES: Final = 40  # that an updating text holds


def format_row(row: dict[str, Any], epochs: int | None, steps: int | None = None) -> str:
    """Format a row of the history as people read it.

    Args:
        row: loss, accuracy, … by name; what is not there is left out. Metrics of the user's own are shown by name.
        epochs: how many epochs there are to be; None where a number of steps or of seconds decides.
        steps: how many steps there are to be, where their number decides.

    Returns:
        One line.

    Source: derived here.

    Example:
        >>> format_row({"epoch": 3, "loss": 0.25, "accuracy": 0.9, "examples_per_second": 12000.0}, 20)
        'epoch  3/20   loss 0.2500   accuracy 90.0%   12,000 examples/s'
        >>> format_row({"epoch": 2, "step": 500, "loss": 0.25, "validation_loss": 0.5, "validation_f1": 0.8}, None, 900)
        'epoch 2   step 500/900   loss 0.2500   validation loss 0.5000, f1 80.0%'
    """
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}" if epochs else f"epoch {row['epoch']}"]
    if not epochs and row.get("step") is not None:
        total = "" if steps is None else f"{steps:,}"
        parts.append(f"step {row['step']:>{len(total)},}" + (total and f"/{total}"))
    shown = [name for name in scores(row) if is_number(row[name])]
    own = [_format(name, row[name]) for name in shown if not name.startswith("validation_")]
    held = [_format(name.removeprefix("validation_"), row[name]) for name in shown if name.startswith("validation_")]
    parts += own
    if held:
        parts.append("validation " + ", ".join(held))
    if row.get("examples_per_second"):
        parts.append(f"{row['examples_per_second']:,.0f} examples/s")
    if row.get("left") is not None:
        minutes, seconds = divmod(round(max(row["left"], 0)), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
    return "   ".join(parts)


def _format(name: str, value: float) -> str:
    """A column and its value: loss 0.2500, accuracy 90.0%, cost 12,340."""
    if is_share(name):
        number = f"{value:.1%}"
    elif value == 0 or 1e-3 <= abs(value) < 1e3:
        number = f"{value:.4f}"
    else:
        number = f"{value:.4g}"
    return f"{name.replace('_', ' ')} {number}"


def make_console(stderr: bool = False) -> Console:
    """A console on the standard output whose broken pipe is an error for the caller; rich's own ends the program."""
    from rich.console import Console

    class LastingConsole(Console):
        def on_broken_pipe(self) -> None:
            """Raise the BrokenPipeError that is being handled."""
            raise

    return LastingConsole(highlight=False, stderr=stderr)


class _Notebook:
    """A text in the output of a notebook's cell that is replaced in its place.

    Args:
        display: IPython's ``display``.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        self.lines: list[str] = []
        self.left_out = 0
        self.shown = ""
        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def add(self, line: str) -> None:
        """Add a line that stays; of many the first and the last are kept."""
        self.lines.append(line)
        if len(self.lines) > NOTEBOOK_LINES:
            del self.lines[1]
            self.left_out += 1

    def show(self, live: str = "") -> None:
        """Show the lines, and below them the one that changes."""
        gap = [f"… {self.left_out} lines more …"] if self.left_out else []
        text = "\n".join([*self.lines[:1], *gap, *self.lines[1:], *([live] if live else [])])
        if text != self.shown:
            self.handle.update({"text/plain": text}, raw=True)
            self.shown = text


def _find_display() -> Callable[..., Any] | None:
    """IPython's display, where there is one."""
    try:
        display: Callable[..., Any] = importlib.import_module("IPython.display").display
    except ImportError:
        return None
    return display


class Progress:
    """Show training as it goes. Where showing fails, training goes on unseen.

    Each epoch has a line, up to 20; of later ones those are shown that come 2 seconds after the last line or later.
    The first and the last epoch always have theirs.

    Args:
        show: False shows nothing.
        epochs: how many epochs there are to be; None where a number of steps or of seconds decides.
        n_examples: examples an epoch; None where it is not known.
        console: where to; the standard output unless told.
        steps: how many steps there are to be, where their number decides.
        seconds: how long training may take, where time decides.
    """

    def __init__(
        self,
        show: bool,
        epochs: int | None,
        n_examples: int | None,
        console: Console | None = None,
        *,
        steps: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self.given = console
        self.show = show
        self.epochs = epochs
        self.steps = steps
        self.seconds = seconds
        self.n_examples = n_examples
        self.clock = time.perf_counter
        self.started = self.shown = self.clock()
        self.live: Live | None = None
        self.notebook: _Notebook | None = None
        self.n_lines = 0
        self.line_shown = self.started
        self.waiting: dict[str, Any] | None = None  # the row of the last epoch, where its line was left out
        self.begun: tuple[int, int, float] | None = None  # examples, steps and time from which on speed is measured
        self.epoch = self.before = self.seen = 0  # the epoch going on, examples before it and of it

    @cached_property
    def console(self) -> Console:
        """Where to; made when something is to be shown, for that loads rich."""
        return self.given or make_console()

    def __enter__(self) -> Progress:
        if self.show and self.console.is_jupyter:
            if (display := _find_display()) is not None:
                self._try(lambda: setattr(self, "notebook", _Notebook(display)))
        elif self.show and self.console.is_terminal:
            from rich.live import Live
            from rich.text import Text

            self.live = Live(Text(""), console=self.console, auto_refresh=False)
            self._try(self.live.start)
        return self

    def __exit__(self, *_: object) -> None:
        self._print_waiting()
        if (notebook := self.notebook) is not None:
            self._try(notebook.show)
        if (live := self.live) is not None:
            self._try(lambda: live.update("", refresh=True))
            self._try(live.stop)

    def _try(self, show: Callable[[], Any]) -> None:
        """Show something, unless the output has failed before."""
        if self.show:
            try:
                show()
            except (OSError, ValueError):  # a closed pipe, a full disk, a closed stream: no reason to lose a training
                self.show = False

    def after_step(self, epoch: int, seen: int, loss: float, step: int | None = None) -> None:
        """Update the line that changes, ten times a second at most.

        Args:
            epoch: its number, from 1.
            seen: examples of this epoch so far.
            loss: of the last step.
            step: how many steps the run has done, if known.
        """
        if epoch != self.epoch:
            # Of a resumed run only what is trained now tells how fast it is.
            self.before = self.before + self.seen if self.epoch else (epoch - 1) * (self.n_examples or 0)
            self.epoch = epoch
        self.seen = seen
        now, done = self.clock(), self.before + seen
        if self.begun is None:
            self.begun = (0, 0, self.started) if epoch == 1 else (done, step or 0, now)
        pause = NOTEBOOK_SECONDS if self.notebook else REFRESH_SECONDS
        if (self.live is None and self.notebook is None) or now - self.shown < pause:
            return
        self.shown = now
        rate = (done - self.begun[0]) / max(now - self.begun[2], 1e-9)
        row: dict[str, Any] = {"epoch": epoch, "step": step, "loss": loss, "examples_per_second": rate}
        row["left"] = self._seconds_left(done, rate, step, now)
        line = format_row(row, self.epochs, self.steps)
        if (notebook := self.notebook) is not None:
            self._try(lambda: notebook.show(line))
        elif (live := self.live) is not None:
            from rich.text import Text

            text = Text(line, overflow="ellipsis", no_wrap=True)
            self._try(lambda: live.update(text, refresh=True))

    def _seconds_left(self, done: int, rate: float, step: int | None, now: float) -> float | None:
        """How long it will take at most, as things are."""
        left = []
        _, steps_before, begun = self.begun or (0, 0, self.started)
        if self.epochs and self.n_examples and rate:
            left.append((self.epochs * self.n_examples - done) / rate)
        if self.steps and step and step > steps_before:
            left.append((self.steps - step) * (now - begun) / (step - steps_before))
        if self.seconds:
            left.append(self.seconds - (now - self.started))
        return min(left) if left else None

    def after_epoch(self, row: dict[str, Any]) -> None:
        """Print the line that stays, unless one was printed just now and others are to come."""
        now = self.clock()
        ends = row["epoch"] == self.epochs or (self.steps is not None and row.get("step") == self.steps)
        if self.n_lines < ALL_LINES or ends or now - self.line_shown >= LINE_SECONDS:
            self.n_lines, self.line_shown, self.waiting = self.n_lines + 1, now, None
            self._print_row(row)
        else:
            self.waiting = dict(row)  # callbacks may change it

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._print_waiting()
        self._print(text)

    def tell(self, text: str) -> None:
        """Print a sentence that matters; where nothing is shown, it is a warning."""
        if self.show:
            self.say(text)
        else:
            warnings.warn(text, UserWarning, stacklevel=frames_of_ours())

    def _print_waiting(self) -> None:
        """Print the line of the last epoch if it was left out."""
        if (row := self.waiting) is not None:
            self.waiting = None
            self._print_row(row)

    def _print_row(self, row: dict[str, Any]) -> None:
        if self.show or self.notebook is not None:
            self._print(format_row(row, self.epochs, self.steps))

    def _print(self, text: str) -> None:
        if (notebook := self.notebook) is not None:
            notebook.add(text)
            self._try(notebook.show)
        elif self.show:
            from rich.text import Text

            self._try(lambda: self.console.print(Text(text), soft_wrap=True))
