"""The command line: reads arguments and calls the library; every error is one line and exit code 2."""

from typing import Any

from undertow.cli.start import load_commands, main

__all__ = ["Page", "app", "attempt", "fail", "main", "say"]


def __getattr__(name: str) -> Any:
    """Import typer and the commands when one of their names is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(load_commands())
    return globals()[name]
