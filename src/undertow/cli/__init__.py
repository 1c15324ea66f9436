"""The command line: reads arguments and calls the library; every error is one line and exit code 2."""

import sys
from typing import Any

from undertow.cli.start import load_commands, main
from undertow.lazy import LazyPackage

__all__ = ["Page", "app", "attempt", "fail", "main", "say"]
LAZY_NAMES = frozenset(__all__)
sys.modules[__name__].__class__ = LazyPackage  # `app` stays the program, also where its module was imported first


def __getattr__(name: str) -> Any:
    """Import typer and the commands when one of their names is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals().update(load_commands())
    return globals()[name]
