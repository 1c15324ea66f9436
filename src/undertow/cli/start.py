"""Where the command line starts: a plain predict at once, all else with typer."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from undertow.cli.predicting import predict_plainly

_INTERRUPTED = 130  # the exit code
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_COMMANDS = [
    "train",
    "resume",
    "predict",
    "evaluate",
    "summary",
    "export",
    "find-lr",
    "diagnose",
    "report",
    "watch",
    "explain",
    "check",
    "bench",
]


def load_commands() -> dict[str, Any]:
    """Import typer and all commands; what `undertow.cli` has by name."""
    from undertow.cli import (  # noqa: F401 (they add their commands)
        about_losses,
        about_runs,
        diagnosing,
        training,
        watching,
    )
    from undertow.cli.app import app, attempt, fail
    from undertow.cli.output import Page, say

    app.registered_commands.sort(
        key=lambda info: _COMMANDS.index(str(info.name or getattr(info.callback, "__name__", "")))
    )
    return {"app": app, "attempt": attempt, "fail": fail, "Page": Page, "say": say}


@contextmanager
def warn_in_notes() -> Iterator[None]:
    """Print warnings as notes, but for those of the user's own files: where they were given is inside of us."""
    usual = warnings.formatwarning

    def write(message: Any, category: Any, filename: str, lineno: int, line: str | None = None) -> str:
        inside = "site-packages" in filename or filename == sys.argv[0] or filename.startswith(_PACKAGE + os.sep)
        if inside and issubclass(category, UserWarning):
            return f"note: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = write
    try:
        yield
    finally:
        warnings.formatwarning = usual


def run(arguments: list[str]) -> int:
    """Run a command; return the exit code."""
    with warn_in_notes():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    try:
        if predict_plainly(arguments):
            return 0
    except BaseException as error:
        failure = error

        def fail_again() -> None:
            raise failure

        return int(load_commands()["attempt"](fail_again))
    loaded = load_commands()
    return int(loaded["attempt"](lambda: loaded["app"](args=arguments, standalone_mode=False)))


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without δ shows ? in its place
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the commands are loaded
        print("interrupted", file=sys.stderr)
        code = _INTERRUPTED
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is done: a late Ctrl-C changes no exit code
    atexit.register(gc.freeze)  # to look for garbage at the end takes longer than to predict a row
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # what is left cannot be written: Python would try again at its end, and complain
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
