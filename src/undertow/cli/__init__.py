"""The command line: reads arguments and calls the library; every error is one line and exit code 2."""

from undertow.cli import about_losses, about_runs, training  # noqa: F401 (they add their commands)
from undertow.cli.app import app, attempt, fail, main
from undertow.cli.output import Page, say

_ORDER = ["train", "resume", "predict", "evaluate", "summary", "export", "find-lr", "explain", "check", "bench"]
app.registered_commands.sort(key=lambda info: _ORDER.index(str(info.name or getattr(info.callback, "__name__", ""))))

__all__ = ["Page", "app", "attempt", "fail", "main", "say"]
