"""Another training beside the first: rows held out say which of the two suits a table.

How much of a number is noise decides whether dropout and weight decay help or harm. The size of a table does not tell,
and is all that is known before the first training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.train.choices import choose_other
from undertow.train.diverged import Diverged
from undertow.train.run import Run
from undertow.train.table_data import Table
from undertow.train.table_settings import TableSettings
from undertow.train.table_setup import prepare
from undertow.train.table_words import summarize

_SURE: Final = 1.0  # standard errors by which the other network must be better


def try_other(
    first: Run, settings: TableSettings, table: Table, progress: bool, say: Callable[[Any], Any]
) -> tuple[Run, TableSettings] | None:
    """Train another time on the rows that the first was trained on, and compare it on those held out.

    It is kept in memory alone: where the process is killed, it is trained again.

    Args:
        first: the run of the first one.
        settings: complete, of the first.
        table: what it was trained on, with rows held out.
        progress: whether to show it.
        say: called with sentences.

    Returns:
        Its run and its settings where it is better by more than the error of that; None where the first one stays.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.

    Source: derived here.
    """
    X, y = table.validation[:2]
    losses = _squares(first, X, y)
    spread = float(np.var(np.asarray(y, np.float64)))
    chosen = choose_other(settings.decay or 0.0, settings.dropout or 0.0, float(np.mean(losses)) / (spread or 1.0))
    others = replace(settings, **chosen, flow=False)
    ((name, value),) = chosen.items()
    said = f"{name} {value:g} in place of {getattr(settings, name) or 0:g}"
    say(f"  {summarize(first, table)}. Once more, with {said}:")
    _, _, set_up = prepare(table, others)
    try:
        run = set_up(None, progress).fit()
    except Diverged:
        say("  It diverged, so the first one stays.")
        return None
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    gain, error = _compare(losses, _squares(run, X, y), table.validation[2] if len(table.validation) > 2 else None)
    if gain > _SURE * error:
        say("  It is better on the rows held out, and taken.")
        return run, replace(settings, **chosen)
    say("  It is not surely better on the rows held out: the first one stays.")
    return None


def _squares(run: Run, X: Any, y: Any) -> NDArray[np.float64]:
    """The squared error of each row, of the scaled target."""
    return (np.ravel(run.predict(X)).astype(np.float64) - np.ravel(y)) ** 2


def _compare(first: NDArray[np.float64], other: NDArray[np.float64], weights: Any) -> tuple[float, float]:
    """By how much the mean of the second losses is less than that of the first, and the standard error of that."""
    w = np.ones_like(first) if weights is None else np.ravel(weights).astype(np.float64)
    gains = (first - other) * w / np.mean(w)
    return float(np.mean(gains)), float(np.std(gains) / np.sqrt(max(len(gains) - 1, 1)))
