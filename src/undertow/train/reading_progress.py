"""What is shown while a large table is read, before training begins and when it is evaluated."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from undertow.data.reading import watch_reading
from undertow.train.progress import make_console

if TYPE_CHECKING:
    from rich.console import Console

SILENT_SECONDS = 1.0  # what is read sooner is not worth a word
LINE_SECONDS = 10.0  # between two lines of a log


class ReadingProgress:
    """Show how far reading has come: a bar in a terminal, a line every ten seconds elsewhere.

    Args:
        show: False shows nothing.
        console: where to; the standard output unless told.
        stderr: whether to the standard error, where results go to the output.
    """

    def __init__(self, show: bool, console: Console | None = None, stderr: bool = False) -> None:
        self.show, self.given, self.stderr = show, console, stderr
        self.clock = time.perf_counter
        self.line_shown = self.clock()
        self.started = self.line_shown
        self.bars: Any = None
        self.tasks: dict[str, Any] = {}
        self.stack = ExitStack()

    @cached_property
    def console(self) -> Console:
        """Where to; made when something is to be shown, for that loads rich."""
        return self.given or make_console(self.stderr)

    def __enter__(self) -> ReadingProgress:
        if self.show:
            self.stack.enter_context(watch_reading(self.tell))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()
        if self.bars is not None:
            self._try(self.bars.stop)

    def tell(self, what: str, share: float) -> None:
        """Show which share of something is done."""
        if self.show and self.clock() - self.started >= SILENT_SECONDS:
            self._try(lambda: self._tell(what, share))

    def _tell(self, what: str, share: float) -> None:
        if not self.console.is_terminal:
            now = self.clock()
            if now - self.line_shown >= LINE_SECONDS:
                self.line_shown = now
                self.console.print(f"  reading: {what}, {share:.0%}")
            return
        if self.bars is None:
            from rich.progress import Progress

            self.bars = Progress(console=self.console, transient=True)
            self.bars.start()
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(f"  reading: {what}", total=1.0)
        self.bars.update(self.tasks[what], completed=share)

    def _try(self, show: Any) -> None:
        """Show something, unless the output has failed before: no reason to lose a training."""
        try:
            show()
        except (OSError, ValueError):
            self.show = False
