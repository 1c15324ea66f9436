"""Options of several commands, and how their texts are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.errors import ArgumentError

RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show the training on a page while it goes on.")]
WatchStay = Annotated[bool, typer.Option("--watch-stay", help="So, and after its end until Ctrl-C.")]
Controlled = Annotated[bool, typer.Option("--control", help="Let a page pause and stop it, and change the rate.")]
Memory = Annotated[
    float | None,
    typer.Option(help="MB that all of the process may take; larger files are read in pieces. 260 or more.", min=1),
]
Metrics = Annotated[str | None, typer.Option(help="What to measure: names separated by commas: auc,f1_of_yes.")]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def text(help: str) -> Any:
    """Make an option that is a text."""
    return typer.Option(help=help, show_default=False)


def read_seconds(given: str | None) -> float | None:
    """Read a time: ``"30s"``, ``"10m"``, ``"1.5h"``, or seconds."""
    if given is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", given.strip().lower())
    if not found or found[2] not in _UNITS or not float(found[1]):
        raise ArgumentError(f"--time-budget {given}: give a time such as 30s, 10m or 2h.")
    return float(found[1]) * _UNITS[found[2]]


def read_sizes(given: str | None) -> list[int] | None:
    """Read the sizes of hidden layers, ``"128,64"``; an empty text means none."""
    if given is None:
        return None
    try:
        sizes = [int(part) for part in given.split(",") if part.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise ArgumentError(f"--hidden {given}: give sizes separated by commas, for example 128,64.")
    return sizes


def read_names(given: str | None) -> list[str] | None:
    """Read names that are separated by commas."""
    return None if given is None else [part.strip() for part in given.split(",") if part.strip()]


def read_clip(clip: str | None, value: float | None) -> str | None:
    """Read the two options for clipping."""
    if clip is not None and value is not None:
        raise ArgumentError("choose one of --clip (global norm) and --clip-value.")
    return clip if value is None else f"value={value:g}"


def limit_memory(megabytes: float | None, note: Callable[[str], Any]) -> Callable[[], None]:
    """Keep within a limit for all of the process, before tables are touched; what is returned tells at the end."""
    if megabytes is None or not megabytes >= 1:
        return lambda: None
    from undertow.data.footprint import keep_small, tell_least, tell_peak

    limit = megabytes * 1e6
    keep_small()
    for sentence in tell_least(limit):
        note(sentence)
    return lambda: note(tell_peak(limit))
