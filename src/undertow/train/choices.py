"""What is chosen where a training on a table is told nothing: plain rules, found by benchmarks/tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_FEW: Final = {"classification": 1000, "regression": 2000}  # rows of a table that is small for its task
_FOLDS: Final = 5
_LARGE: Final = 20_000
_LARGEST_TWICE: Final = 60_000  # rows up to which a second training is worth its time
_DROPOUT: Final = 0.2  # of a network that has more than one layer
_FEW_ROWS: Final = 200
_AVERAGED: Final = 20  # the share of the epochs over which parameters are averaged, as 1 over it
_LONGEST: Final = 0.95
_NEARLY_ALL: Final = 0.05  # of the variance
_NEARLY_SURE: Final = 0.2  # of the entropy
_MOSTLY: Final = 0.2  # of the variance
_ALIKE: Final = 0.8  # what is left of rows that were trained on, to what is left of others
_LITTLE, _MUCH = 0.01, 0.1  # decay
_MANY: Final = 10  # columns are many from a tenth of the rows on
_RATES: Final = {"classification": (0.003, 0.005), "regression": (0.01, 0.01)}  # of one hidden layer, of two


@dataclass(frozen=True)
class Choice:
    """Settings chosen for a table, see `undertow.train` for what each means.

    Attributes:
        hidden, activation, dropout: of the network.
        optimizer, rate, decay, schedule, warmup: of the updates; the warm-up in epochs.
        batch_size, epochs, early_stopping: how long it trains.
    """

    hidden: list[int]
    activation: str
    dropout: float
    optimizer: str
    rate: float
    decay: float
    schedule: str
    warmup: float
    batch_size: int
    epochs: int
    early_stopping: int


def choose_validation(n: int) -> float:
    """Choose the share of rows to hold out.

    Args:
        n: the rows of the table.

    Returns:
        The share. Of large tables a smaller one says as much: the standard error of an accuracy measured on k
        rows is at most 1/(2 √k), 0.5 % for 10,000.

    Source: derived here.

    Example:
        >>> choose_validation(150), choose_validation(5_000), choose_validation(1_000_000)
        (0.2, 0.15, 0.02)
    """
    if n < 1000:
        return 0.2
    return 0.15 if n <= 60_000 else max(0.02, round(10_000 / n, 2))


def choose_refit(n: int) -> bool:
    """Choose whether to train again on all rows, those held out too.

    Args:
        n: the rows of the table.

    Returns:
        Whether. The rows that were held out to find the number of epochs are a fifth of a small table and a seventh
        of a larger one, and worth more than a second training costs; of more than 60,000 they are a smaller share.

    Source: Goodfellow et al., Deep Learning, 2016, section 7.8, algorithm 7.2.

    Example:
        >>> choose_refit(150), choose_refit(50_000), choose_refit(500_000)
        (True, True, False)
    """
    return n <= _LARGEST_TWICE


def choose_folds(n: int) -> int:
    """Choose how many parts of a table's rows are held out in turn, to find epochs, temperature and weight decay.

    Args:
        n: rows to train on, those of the first part left out.

    Returns:
        Five of a small table, where one part is too few rows to tell; 1 of a larger one, where one is enough.

    Source: T. Hastie, R. Tibshirani and J. Friedman, The Elements of Statistical Learning, 2009, section 7.10.

    Example:
        >>> choose_folds(120), choose_folds(5_000)
        (5, 1)
    """
    return _FOLDS if n < _FEW["classification"] else 1


def choose_average(n: int, epochs: int | None) -> float:
    """Choose by how much an epoch counts less than the next in the average of the parameters.

    Args:
        n: rows to train on.
        epochs: the most there are to be; None where they are not bounded.

    Returns:
        The factor; 0 averages nothing. The average reaches back over a twentieth of the epochs, 1/(1 - factor), but not
        over more than 20: enough steps that what single batches change cancels out, few enough to lag behind little.

    Source: derived here, by the measurements in docs/defaults.md.

    Example:
        >>> choose_average(1000, 100), choose_average(1000, 50), choose_average(1000, 20), choose_average(50_000, 40)
        (0.8, 0.6, 0.0, 0.0)
    """
    if n >= _LARGE or epochs is None:
        return 0.0
    return round(min(_LONGEST, max(0.0, 1 - _AVERAGED / epochs)), 2)


def choose_other(
    decay: float | None, dropout: float, unexplained: float, task: str = "regression", trained: float = 0.0
) -> dict[str, float]:
    """Choose a training to try beside the first one.

    Args:
        decay: of the first one; None where its optimizer has none.
        dropout: of the first one.
        unexplained: what it leaves, on rows held out: the share of the target's variance, or of the entropy of classes.
        task: ``"regression"`` or ``"classification"``.
        trained: the share of the variance that it leaves on the rows trained on, without dropout; 0 where not known.

    Returns:
        Settings that differ. Of a number, no dropout where nearly all is explained, since its noise would be most of
        what is left, and where most is explained, and rows that were not trained on are told nearly as well as others:
        what is left is not noise that was learned; else more weight decay, which keeps what is fitted to noise small.
        Of classes, more decay too, but little of it where nearly all is explained, or no dropout where it is little
        already. None where there is no more, or no less.

    Source: derived here, by the measurements in docs/defaults.md.

    Example:
        >>> choose_other(0.01, 0.1, 0.02), choose_other(0.01, 0.1, 0.4), choose_other(0.2, 0.1, 0.4)
        ({'dropout': 0.0}, {'decay': 0.3}, {'decay': 0.6})
        >>> choose_other(0.01, 0.2, 0.15, trained=0.14), choose_other(0.01, 0.2, 0.15, trained=0.08)
        ({'dropout': 0.0}, {'decay': 0.3})
        >>> choose_other(0.01, 0.1, 0.15, "classification"), choose_other(0.01, 0.1, 0.4, "classification")
        ({'dropout': 0.0}, {'decay': 1.0})
        >>> choose_other(0.5, 0.1, 0.15, "classification"), choose_other(1.0, 0.1, 0.4, "classification")
        ({'decay': 0.01}, {})
    """
    if task == "classification":
        if unexplained >= _NEARLY_SURE:
            return {"decay": 1.0} if decay is not None and decay < 1 else {}
        if decay is not None and decay >= _MUCH:
            return {"decay": _LITTLE}
        return {"dropout": 0.0} if dropout else {}
    alike = unexplained < _MOSTLY and trained > _ALIKE * unexplained
    if dropout and (unexplained < _NEARLY_ALL or alike):
        return {"dropout": 0.0}
    more = 0.0 if decay is None else round(min(1.0, max(0.3, 3 * decay)), 2)
    return {"decay": more} if decay is not None and more > decay else {}


def share_dropout(dropout: float, n_hidden: int) -> float:
    """Share the dropout of two hidden layers among more.

    Args:
        dropout: of each of one or two.
        n_hidden: hidden layers.

    Returns:
        The dropout of each: the more than two they are, the less, for their noise adds up; 0 of none.

    Source: derived here, by the measurements in docs/defaults.md.

    Example:
        >>> share_dropout(0.2, 1), share_dropout(0.2, 4), share_dropout(0.2, 0)
        (0.2, 0.1, 0.0)
    """
    return round(dropout * min(1.0, 2 / n_hidden), 3) if n_hidden else 0.0


def choose_other_of_many(n: int, dropout: float, early: bool, n_hidden: int = 2) -> dict[str, float] | None:
    """Choose a training to try beside the first one on a large table, of which decay says little.

    Args:
        n: rows to train on.
        dropout: of the first one.
        early: whether the first one ended before its last epoch, since rows held out were told worse and worse.
        n_hidden: hidden layers, which share the dropout of two.

    Returns:
        Settings that differ: dropout where noise was learned without any. None of a table that is not large, for which
        `choose_other` chooses.

    Source: derived here, by the measurements in docs/defaults.md.

    Example:
        >>> choose_other_of_many(30_000, 0.0, True), choose_other_of_many(30_000, 0.0, False)
        ({'dropout': 0.2}, {})
        >>> choose_other_of_many(30_000, 0.0, True, n_hidden=8), choose_other_of_many(30_000, 0.0, True, n_hidden=0)
        ({'dropout': 0.05}, {})
        >>> choose_other_of_many(3_000, 0.2, True) is None
        True
    """
    if n < _LARGE:
        return None
    shared = share_dropout(_DROPOUT, n_hidden)
    return {"dropout": shared} if early and not dropout and shared else {}


def choose_settings(n: int, p: int, task: str, n_classes: int = 1) -> Choice:
    """Choose the settings of a network for a table.

    Args:
        n: rows to train on, 1 or more.
        p: encoded features.
        task: ``"classification"`` or ``"regression"``.
        n_classes: classes; 1 for a regression.

    Returns:
        The settings.

    Source: derived here, by the measurements in docs/defaults.md; warm-up and cosine: Loshchilov and Hutter, ICLR
        2017 and 2019.

    Example:
        >>> choose_settings(1000, 20, "regression").batch_size
        32
    """
    # About 40 updates an epoch on small tables, large batches only where an epoch has many updates anyway.
    batch = int(min(256, max(16, 2 ** round(math.log2(max(n, 1) / 40)))))
    # One hidden layer separates the classes of small tables as well as two, and is better calibrated. Functions
    # (friedman1 to 3, skewed) and classes of more rows, which lie in several clusters each, take a second one, with
    # more dropout; width only where there are rows to fill it.
    small, large = n < _FEW[task], n >= _LARGE
    hidden = [128] if small and task == "classification" else [256, 128] if large else [128, 64]
    return Choice(
        hidden=hidden,
        activation="silu",  # smooth: better than relu on most tables, most on small ones
        dropout=0.0 if large else 0.1 if small else _DROPOUT,
        optimizer="adamw",
        rate=_RATES[task][len(hidden) - 1],  # steep: the cosine leaves time to settle, and the average evens out
        # Many columns for the rows: small weights are all that keeps the network from the noise. With few columns,
        # such a decay would keep it from functions that begin slowly, such as two spirals. More rows make more steps,
        # each of which shrinks the weights: in all it stays the same.
        decay=round(max(0.01, min(1.0, (_MANY * p / n) ** 2) * min(1.0, _FEW_ROWS / n)), 2),
        schedule="cosine",  # down to 0 at the last epoch: the last ones settle
        warmup=2.0,
        batch_size=batch,
        epochs=40 if large else 100,
        early_stopping=10 if large else 30,
    )
