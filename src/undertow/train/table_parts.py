"""Small tables: parts of the rows are held out in turn, which tell more than the one by which the first is measured.

Of a table of few rows a fifth is so few that by their loss alone a training ends too early or too late, and is sure of
what it does not know. All rows, each held out once, tell epochs, temperature and weight decay better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.data import k_folds
from undertow.data.wording import count
from undertow.nn import Dense
from undertow.train.diverged import Diverged
from undertow.train.run import Run
from undertow.train.table_data import Table
from undertow.train.table_other import choose_beside, find_spread, tell_changes
from undertow.train.table_refit import Chosen
from undertow.train.table_settings import TableSettings
from undertow.train.table_setup import prepare
from undertow.train.table_words import summarize
from undertow.train.temperature import fit_temperature, mean_cross_entropy


@dataclass(frozen=True)
class Found:
    """What the parts tell of settings.

    Attributes:
        loss: on the rows held out, the mean over all; the lowest there is.
        epochs: after which it is that.
        temperature: what scores are divided by for it; 1 where they are not.
    """

    loss: float
    epochs: int
    temperature: float = 1.0

    def __str__(self) -> str:
        cooled = f" and with scores divided by {self.temperature:g}" if self.temperature != 1 else ""
        return f"loss {self.loss:.4f} after {count(self.epochs, 'epoch')}{cooled}"


def try_in_parts(
    first: Run, settings: TableSettings, table: Table, progress: bool, say: Callable[[Any], Any]
) -> Chosen:
    """Choose epochs, temperature and, where these are to be tried, other settings, by parts held out in turn.

    Nothing of it is kept: where the process is killed, it is done again.

    Args:
        first: the run of the first training, which held out the first part.
        settings: complete, of the first.
        table: what it was trained on, with rows held out.
        progress: whether to show a training with other settings that is kept.
        say: called with sentences.

    Returns:
        What is to be trained on all rows. Its run is the one that tells how good that is: the first, or one that held
        out the same rows with the other settings.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.

    Source: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning, 2009, section 7.10.
    """
    parts = deal_parts(table, settings)
    say(f"  {summarize(first, table)}. Now {len(parts)} such parts in turn:")
    try:
        found = measure_in_parts(settings, parts)
    except Diverged:
        say("  One of them diverged, so the first part alone decides.")
        return Chosen(first, settings)
    chosen = Chosen(first, _settle(settings, found), found.epochs)
    say(f"  {found}.")
    changes = (
        choose_beside(settings, table, found.loss / (find_spread(settings, table) or 1.0)) if settings.other else {}
    )
    if not changes:
        return chosen
    others = replace(settings, **changes)
    said = tell_changes(settings, changes)
    try:
        other = measure_in_parts(others, parts)
        if other.loss >= found.loss:
            say(f"  With {said}: {other}; not better.")
            return chosen
        say(f"  With {said}: {other}; better, and taken.")
        return Chosen(_train(others, table, progress), _settle(others, other), other.epochs)
    except Diverged:
        say(f"  With {said} it diverged, so the first settings stay.")
        return chosen


def deal_parts(table: Table, settings: TableSettings) -> list[Table]:
    """Divide the rows of a table anew, so that each is held out once.

    Args:
        table: in memory, with rows held out.
        settings: folds, and the seed.

    Returns:
        The table, and folds − 1 others: the rows that it trains on are dealt into as many parts, classes in their
        shares, each of which one of them holds out.

    Source: as `undertow.data.k_folds`.
    """
    train, held = table.train, table.validation
    assert settings.folds is not None and held is not None
    labels = train[1] if table.classifies else None
    found = [table]
    for rows, part in k_folds(len(train[0]), settings.folds - 1, settings.seed or 0, stratify=labels):
        others = tuple(np.concatenate([column[rows], more]) for column, more in zip(train, held, strict=True))
        found.append(
            replace(table, train=others, validation=tuple(column[part] for column in train), n_rows=len(others[0]))
        )
    return found


def measure_in_parts(settings: TableSettings, parts: Sequence[Table]) -> Found:
    """Train on each of several divisions to the end of the schedule, and find when the rows held out are told best.

    Args:
        settings: complete.
        parts: tables of the same rows, of which each holds out others.

    Returns:
        The lowest of the mean losses after each epoch; of classes also that at the end, with the temperature that
        suits all rows best, where it is lower.

    Raises:
        Diverged: one of the trainings did.
        KeyboardInterrupt: Ctrl-C ended one.

    Source: as `try_in_parts`, and `fit_temperature`.
    """
    plain = replace(settings, early_stopping=0, metrics=[])  # their losses are all that is asked for
    runs = [_train(plain, part, progress=False) for part in parts]
    counts = [_counts(run, part) for run, part in zip(runs, parts, strict=True)]
    sizes = np.array([each.sum() for each in counts])
    losses = np.array([[row["validation_loss"] for row in run.history] for run in runs], float)
    with np.errstate(invalid="ignore"):
        means = sizes[sizes > 0] @ losses[sizes > 0] / sizes.sum()
    means = np.where(np.isnan(means), np.inf, means)
    if np.isinf(means).all():  # rows held out that weigh nothing
        return Found(np.inf, len(means))
    best = Found(float(means.min()), int(means.argmin()) + 1)
    if not _gives_scores(settings, runs[0]):
        return best
    scores = np.concatenate([run.outputs(part.validation[0]) for run, part in zip(runs, parts, strict=True)])
    y = np.concatenate([part.validation[1] for part in parts])
    every = np.concatenate(counts)
    temperature = round(fit_temperature(scores, y, every), 2)
    if temperature == 1:
        return best
    cooled = Found(mean_cross_entropy(scores / temperature, y, every), len(means), temperature)
    return min(best, cooled, key=lambda found: found.loss)


def _gives_scores(settings: TableSettings, run: Run) -> bool:
    """Whether a network ends in scores of classes, whose cross-entropy it was trained for."""
    plain = settings.loss == "categorical_cross_entropy" and not settings.label_smoothing
    return plain and isinstance(run.model.layers[-1], Dense)


def _counts(run: Run, part: Table) -> NDArray[Any]:
    """How much each row held out counts in the validation loss, with the weights of classes that were trained with."""
    _, y, *weights = part.validation
    by_class = run.settings.get("class_weight_values")  # what "balanced" came to for the rows trained on
    counts = np.ones(len(y)) if by_class is None else np.array(by_class)[y]
    return np.asarray(counts * (np.ravel(weights[0]) if weights else 1.0))


def _settle(settings: TableSettings, found: Found) -> TableSettings:
    """The settings with the temperature that was found."""
    return settings if found.temperature == 1 else replace(settings, refit_temperature=found.temperature)


def _train(settings: TableSettings, table: Table, progress: bool) -> Run:
    """Train in memory alone, without a record of the gradient flow."""
    _, _, set_up = prepare(table, replace(settings, flow=False))
    run = set_up(None, progress).fit()
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    return run
