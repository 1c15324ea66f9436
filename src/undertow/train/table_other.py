"""Another training beside the first: rows held out say which of the two suits a table.

How much of a target is noise decides whether dropout and weight decay help or harm. The size of a table does not tell,
and is all that is known before the first training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.nn import class_weights
from undertow.train.choices import choose_other, choose_other_of_many
from undertow.train.diverged import Diverged
from undertow.train.run import Run
from undertow.train.table_data import Table
from undertow.train.table_refit import Chosen
from undertow.train.table_settings import TableSettings
from undertow.train.table_setup import prepare, read_class_weights
from undertow.train.table_words import summarize


def try_other(first: Run, settings: TableSettings, table: Table, progress: bool, say: Callable[[Any], Any]) -> Chosen:
    """Train another time on the rows that the first was trained on, and compare it on those held out.

    It is kept in memory alone: where the process is killed, it is trained again.

    Args:
        first: the run of the first one.
        settings: complete, of the first.
        table: what it was trained on, with rows held out.
        progress: whether to show it.
        say: called with sentences.

    Returns:
        Its run and its settings where it is better, else those of the first one.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.

    Source: derived here.
    """
    loss, most = _measure(first, settings, table), find_spread(settings, table)
    trained = 0.0 if table.classifies else _squares(first, table.train)
    chosen: dict[str, Any] | None = choose_other_of_many(
        table.n_rows, settings.dropout or 0.0, _ended_early(first, settings), len(settings.hidden or ())
    )
    if chosen is None:
        chosen = choose_beside(settings, table, loss / (most or 1.0), trained / (most or 1.0))
    if not chosen:
        share = loss / (most or 1.0)
        left = (
            f"loss {loss:.4f}, {share:.1%} of the classes' entropy" if table.classifies else f"{share:.1%} unexplained"
        )
        say(f"  {summarize(first, table)}{';' if table.classifies else ','} {left}: no other settings to try.")
        return Chosen(first, settings)
    others = replace(settings, **chosen, flow=False)
    say(f"  {summarize(first, table)}. Once more, with {tell_changes(settings, chosen)}:")
    _, _, set_up = prepare(table, others)
    try:
        run = set_up(None, progress).fit()
    except Diverged:
        say("  It diverged, so the first one stays.")
        return Chosen(first, settings)
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    other = _measure(run, settings, table)
    better = other < loss
    judged = f"; loss {other:.4f} after {loss:.4f}" if table.classifies else ""  # it may fall where no more are right
    say(f"  {summarize(run, table)}{judged}: {'better, and taken' if better else 'not better'}.")
    return Chosen(run, replace(settings, **chosen)) if better else Chosen(first, settings)


def choose_beside(settings: TableSettings, table: Table, unexplained: float, trained: float = 0.0) -> dict[str, Any]:
    """Choose settings to try beside those of a first training, see `choose_other`."""
    task = "classification" if table.classifies else "regression"
    chosen: dict[str, Any] = choose_other(settings.decay, settings.dropout or 0.0, unexplained, task, trained)
    return chosen


def tell_changes(settings: TableSettings, chosen: dict[str, Any]) -> str:
    """Say which settings are others."""
    said = [f"{name} {value:g} in place of {getattr(settings, name) or 0:g}" for name, value in chosen.items()]
    return " and ".join(said)


def _ended_early(run: Run, settings: TableSettings) -> bool:
    """Whether early stopping ended a training, not its last epoch."""
    return settings.epochs is not None and len(run.history) < settings.epochs


def _measure(run: Run, settings: TableSettings, table: Table) -> float:
    """The loss on rows held out: of classes that trained, of the epoch that the run holds; of numbers the squares."""
    if not table.classifies:
        return _squares(run, table.validation)
    losses = [row["validation_loss"] for row in run.history]
    return float(np.nanmin(losses) if settings.early_stopping and not np.isnan(losses).all() else losses[-1])


def find_spread(settings: TableSettings, table: Table) -> float:
    """What is to be explained: the variance of a scaled number that was held out, or the entropy of the classes."""
    if not table.classifies:
        return float(np.var(np.asarray(table.validation[1], np.float64)))
    _, y, *weights = table.train
    by_class = read_class_weights(settings.class_weights, table)
    counts = np.ones(len(y)) if by_class is None else class_weights(y, by_class, table.n_outputs)
    totals = np.bincount(y, weights=counts * (np.ravel(weights[0]) if weights else 1.0))  # as they count in the loss
    shares = totals[totals > 0] / np.sum(totals)
    return float(-np.sum(shares * np.log(shares)))


def _squares(run: Run, rows: tuple[Any, ...]) -> float:
    """The mean of the squared errors on rows, of the scaled target, each row as its weight counts."""
    X, y, *weights = rows
    errors = np.ravel(run.predict(X)).astype(np.float64) - np.ravel(y)
    return float(np.average(errors**2, weights=np.ravel(weights[0]) if weights else None))
