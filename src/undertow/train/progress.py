"""Live progress: one updating line an epoch in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

REFRESH_SECONDS = 0.1


def format_row(row: dict[str, Any], epochs: int) -> str:
    """Format a row of the history as people read it.

    Args:
        row: loss, accuracy, … by name; what is not there is left out.
        epochs: how many epochs there are to be.

    Returns:
        One line.

    Source: derived here.

    Example:
        >>> format_row({"epoch": 3, "loss": 0.25, "accuracy": 0.9, "examples_per_second": 12000.0}, 20)
        'epoch  3/20   loss 0.2500   accuracy 90.0%   12,000 examples/s'
    """
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", f"loss {row['loss']:.4f}"]
    if row.get("accuracy") is not None:
        parts.append(f"accuracy {row['accuracy']:.1%}")
    if row.get("validation_loss") is not None:
        part = f"validation loss {row['validation_loss']:.4f}"
        if row.get("validation_accuracy") is not None:
            part += f", accuracy {row['validation_accuracy']:.1%}"
        parts.append(part)
    if row.get("examples_per_second"):
        parts.append(f"{row['examples_per_second']:,.0f} examples/s")
    if row.get("left") is not None:
        minutes, seconds = divmod(round(row["left"]), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "   ".join(parts)


class LastingConsole(Console):
    """A console whose broken pipe is an error for the caller; rich's own ends the program."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        raise


class Progress:
    """Show training as it goes. Where showing fails, training goes on unseen.

    Args:
        show: False shows nothing.
        epochs: how many epochs there are to be.
        n_examples: examples an epoch.
        console: where to; the standard output unless told.
    """

    def __init__(self, show: bool, epochs: int, n_examples: int, console: Console | None = None) -> None:
        self.console = console or LastingConsole(highlight=False)
        self.show = show
        self.epochs = epochs
        self.n_examples = n_examples
        self.started = self.shown = time.perf_counter()
        self.live: Live | None = None

    def __enter__(self) -> Progress:
        if self.show and self.console.is_terminal:
            self.live = Live(Text(""), console=self.console, auto_refresh=False)
            self._try(self.live.start)
        return self

    def __exit__(self, *_: object) -> None:
        if (live := self.live) is not None:
            self._try(lambda: live.update(Text(""), refresh=True))
            self._try(live.stop)

    def _try(self, show: Callable[[], Any]) -> None:
        """Show something, unless the output has failed before."""
        if self.show:
            try:
                show()
            except (OSError, ValueError):  # a closed pipe, a full disk, a closed stream: no reason to lose a training
                self.show = False

    def after_step(self, epoch: int, seen: int, loss: float) -> None:
        """Update the line of this epoch, ten times a second at most."""
        if self.live is None or (now := time.perf_counter()) - self.shown < REFRESH_SECONDS:
            return
        self.shown = now
        done = (epoch - 1) * self.n_examples + seen
        rate = done / (now - self.started)
        left = (self.epochs * self.n_examples - done) / rate
        row = {"epoch": epoch, "loss": loss, "examples_per_second": rate, "left": left}
        live, text = self.live, Text(format_row(row, self.epochs), overflow="ellipsis", no_wrap=True)
        self._try(lambda: live.update(text, refresh=True))

    def after_epoch(self, row: dict[str, Any]) -> None:
        """Print the line that stays."""
        self.say(format_row(row, self.epochs))

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._try(lambda: self.console.print(Text(text), soft_wrap=True))
