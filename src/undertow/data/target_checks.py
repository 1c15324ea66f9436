"""Targets that cannot be learned as they are, and what to do about each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl
from undertow.data.missing import OddTexts
from undertow.data.nearly import NearlyWritten
from undertow.data.parse import mark_missing
from undertow.data.wording import count, list_names, shorten
from undertow.errors import DataError

FEW_DISTINCT = 20
_FEW_SURE, _SMALL = 10, 10  # so many different whole numbers, the least below that, are classes without a look at rows
MAY_BE_CLASSES = 100  # so many numbers 0, 1, 2, … may be classes
ALWAYS_CLASSES = 3  # so few different whole numbers are classes, however few the rows
ROWS_EACH = {True: 2, False: 5}  # rows that a class has at least on average; of texts and of 1, 2, 3, …; of the rest
_GROUPS = 6  # of labels that are alike are named
_LEAST_COUNTS, _RAREST = 6, 0.01


def has_few_of_each(n_distinct: int, n: int) -> bool:
    """Whether texts differ too much to be classes, as far as their number tells."""
    return n_distinct > FEW_DISTINCT or (n_distinct > ALWAYS_CLASSES and n < ROWS_EACH[True] * n_distinct)


def number_classes(numbers: NDArray[np.float64]) -> bool:
    """Whether ascending whole numbers are 0, 1, 2, … or 1, 2, 3, … without a gap, as numbers of classes are."""
    return bool(numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1)


def need_rows(numbers: NDArray[np.float64]) -> bool:
    """Whether whole numbers are classes only where rows tell so, see `undertow.data.ordered`: many, or none is small.

    Args:
        numbers: that differ, ascending.

    Source: derived here.

    Example:
        >>> need_rows(np.arange(3.0, 9.0)), need_rows(np.arange(11.0)), need_rows(np.arange(2019.0, 2025.0))
        (False, True, True)
    """
    return len(numbers) > _FEW_SURE or (len(numbers) > ALWAYS_CLASSES and bool(numbers[0] >= _SMALL))


def look_like_counts(numbers: NDArray[np.float64], n: NDArray[np.generic]) -> bool:
    """Whether whole numbers are counts, of visits or goals, rather than names of classes.

    They begin with 0 or 1, are six or more, and the larger ones are ever rarer, but for chance: classes that are
    numbered so would be in the order of their frequencies. The largest is below 1 % of the rows.

    Args:
        numbers: that differ, ascending.
        n: how often each stands there.

    Source: derived here; chance is two standard deviations of a Poisson count.

    Example:
        >>> look_like_counts(np.arange(6.0), np.array([700, 200, 60, 30, 8, 2]))
        True
        >>> look_like_counts(np.arange(6.0), np.array([100, 110, 90, 105, 95, 100]))
        False
    """
    if len(numbers) < _LEAST_COUNTS or numbers[0] not in (0, 1) or n[-1] >= _RAREST * int(n.sum()):
        return False
    first = int(np.argmax(n))
    falls = n[first + 1 :] <= n[first:-1] + 2 * np.sqrt(n[first:-1])
    return 3 * first <= len(numbers) and bool(falls.all())


def tell_alike(what: str, classes: Sequence[object], each: str = "class") -> list[str]:
    """Say which texts differ in case or spaces alone: they are learned as different ones.

    Args:
        what: whose they are, as a sentence begins.
        classes: labels, or the categories of a column.
        each: what one of them is called.

    Returns:
        A sentence, or none.

    Source: derived here.

    Example:
        >>> tell_alike("Target 'sold'", ["No", "Yes", "no"])
        ["Target 'sold': 'No', 'no' differ in case or spaces alone. Write them alike if they are one class."]
    """
    groups: dict[str, list[str]] = {}
    for label in classes:
        if isinstance(label, str):
            groups.setdefault(" ".join(label.casefold().split()), []).append(label)
    alike = [labels for labels in groups.values() if len(labels) > 1]
    if not alike:
        return []
    named = "; ".join(list_names(labels) for labels in alike[:_GROUPS])
    more = f"; … ({len(alike)} groups in all)" if len(alike) > _GROUPS else ""
    end = f"{each} each" if len(alike) > 1 else each
    return [f"{what}: {named}{more} differ in case or spaces alone. Write them alike if they are one {end}."]


def check_texts(series: pl.Series, target: str) -> None:
    """DataError for texts that are hardly classes: numbers with a stray text, and texts of which each is another."""
    present = series.drop_nulls()
    if series.dtype != pl.String or present.n_unique() <= max(FEW_DISTINCT, len(present) / 2):
        return
    numbers = present.cast(pl.Float64, strict=False)
    odd = present.filter(numbers.is_null())
    nearly = NearlyWritten(target)
    nearly.update(mark_missing(series), None, [], None)
    if nearly.mostly and nearly.n_numbers > len(present) - len(odd):
        raise DataError(
            f"target {target!r} holds {nearly.what}, but {nearly.count_others()}. Correct them, or leave them empty "
            f"where they are unknown.{nearly.others.offer()}"
        )
    if odd.is_empty():
        raise DataError(
            f"target {target!r} holds texts, all of which are numbers, such as {present[0]!r:.60}: "
            f"{present.n_unique()} different ones in {count(len(present), 'row')}. Give it as a column of numbers, not "
            "as texts; if these are classes, say so: task='classification'."
        )
    if 2 * len(odd) < len(present):
        others = OddTexts()
        others.update(odd)
        raise DataError(
            f"target {target!r} holds numbers, but {len(odd)} of {count(len(present), 'value')} are none, first "
            f"{odd[0]!r:.60}. Correct them, or leave them empty where they are unknown.{others.offer()}"
        )
    raise DataError(
        f"target {target!r} holds {present.n_unique()} distinct texts in {count(len(present), 'row')}, such as "
        f"{present[0]!r:.60}: classes need several rows each. Numbers are read where all are written alike, such as "
        "1234.5 or $1,234.50; if these are classes, say so: task='classification'."
    )


def check_one_value(labels: pl.Series, classifies: bool, n_dropped: int) -> None:
    """DataError where all rows that have a target have the same, and others were dropped since they have none.

    Args:
        labels: the target, none missing.
        classifies: whether it is a class.
        n_dropped: rows without a value.
    """
    if n_dropped and labels.n_unique() == 1:
        raise same_value(labels.name, labels[0], classifies, n_dropped)


def same_value(name: str, value: object, classifies: bool, n_dropped: int) -> DataError:
    """The error for a target of one value beside rows without any, to be raised by the caller."""
    what, verb = ("class" if classifies else "value"), ("was" if n_dropped == 1 else "were")
    return DataError(
        f"target {name!r} holds one {what} only ({shorten(value)}), and {count(n_dropped, 'row')} without a value "
        f"{verb} dropped: there is nothing to learn. If an empty field stands for another value, such as 'no' or 0, "
        "write it there."
    )


def check_single_rows(labels: pl.Series) -> None:
    """DataError where each class stands in one row, so that none can be held out.

    Args:
        labels: the target of a classification, none missing.
    """
    n = len(labels)
    if n < 2 or labels.n_unique() < n:
        return
    remedy = "Give more rows of each, or hold out none: validation=0 (--validation 0)."
    if labels.dtype.is_numeric():
        remedy = (
            f"If they are amounts, choose task='regression' (--task regression). If they are classes: {remedy.lower()}"
        )
    raise DataError(
        f"target {labels.name!r}: each of its {n} {'numbers' if labels.dtype.is_numeric() else 'classes'} stands in a "
        f"single row, so as a class none can be held out. {remedy}"
    )
