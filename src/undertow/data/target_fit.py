"""The target of a table that comes in pieces: its task, its classes, or its mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from undertow.data.column_statistics import NumberStatistics
from undertow.data.columns import read_numbers
from undertow.data.decimals import Decimal
from undertow.data.late import pl
from undertow.data.layouts import LayoutsSeen
from undertow.data.number_target import (
    TargetScaling,
    bend,
    check_number_target,
    find_curve,
    fit_number_target,
    take_logarithms,
)
from undertow.data.ordered import names_classes, take_plain
from undertow.data.parse import mark_missing
from undertow.data.target import (
    Target,
    are_whole,
    count_labels,
    fit_class_target,
)
from undertow.data.target_checks import MAY_BE_CLASSES, need_rows, same_value
from undertow.data.target_layout import choose_target_layout, with_layout
from undertow.data.tasks import Task, name_task
from undertow.data.wording import Origin
from undertow.errors import DataError

MOST_CLASSES = 65_536

_SAMPLE = 10_000  # numbers of a stream that are kept: enough to tell whether they are skewed
_TOGETHER = 64  # parts whose rows are joined


@dataclass(eq=False)
class TargetFit:
    """What was seen of a target, part by part.

    Args:
        name: of the column.
        task: asked for; None where the target decides.
        scaling: of numbers.
        decimal: see ``LayoutsSeen.choose``.

    Example:
        >>> found = TargetFit("y", None)
        >>> for labels in (["b", "a"], ["a", "c"]):
        ...     found.update(pl.Series("y", labels), None)
        >>> found.decide()[0].classes
        ('a', 'b', 'c')
    """

    name: str
    task: Task | None
    scaling: TargetScaling = "standard"
    decimal: Decimal = "auto"
    dtype: pl.DataType | None = None
    whole: bool = True
    overflowed: bool = False
    numbers: NumberStatistics = field(default_factory=lambda: NumberStatistics(_SAMPLE))
    counts: pl.DataFrame | None = None
    layouts: LayoutsSeen = field(default_factory=lambda: LayoutsSeen(1))
    n_texts: int = 0
    rows: list[pl.DataFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layouts.take = partial(take_logarithms, curve=find_curve(self.scaling))

    def update(self, labels: pl.Series, origin: Origin | None) -> None:
        """Add a part without missing values."""
        if labels.is_empty():
            return
        if self.dtype is None:
            self.dtype = labels.dtype
        if labels.dtype == pl.String and self.task != "classification":
            self.layouts.update(mark_missing(labels))
            self.n_texts += len(labels)
        written = bool(self.layouts.names) and not self.layouts.plain
        if self.task == "regression" and not written:
            check_number_target(labels, origin)
        if not written and (labels.dtype.is_numeric() or self.task == "regression"):
            numbers = read_numbers(labels, "number", origin)
            self.whole &= bool(np.all(numbers == np.floor(numbers)))
            self.numbers.update(bend(numbers, find_curve(self.scaling), self.name, origin))
        if not self.overflowed:
            self._count(count_labels(labels, origin))

    def look_at(self, frame: pl.DataFrame, most: int) -> None:
        """Keep some rows of a part that was added, where they may tell whether whole numbers name classes."""
        seen = self._seen() if self.whole else None
        if seen is not None and need_rows(seen[0]):
            some = frame.gather_every(-(-frame.height // most) or 1)
            self.rows.append(take_plain(some))
            if len(self.rows) == _TOGETHER:  # a part of few rows takes more memory than its rows
                self.rows = [pl.concat(self.rows).rechunk()]

    def _count(self, counts: pl.DataFrame) -> None:
        if self.counts is not None:
            counts = pl.concat([self.counts, counts]).group_by("label").agg(pl.sum("n")).sort("label")
        self.counts = counts
        self.overflowed = counts.height > MOST_CLASSES

    def _seen(self) -> tuple[NDArray[np.float64], NDArray[np.generic]] | None:
        """The numbers that differ, ascending, and how often each stands there; None where they are many, or texts."""
        counts = self.counts
        if counts is None or counts.height > MAY_BE_CLASSES or not counts["label"].dtype.is_numeric():
            return None
        counts = counts.sort("label")
        return counts["label"].cast(pl.Float64).to_numpy(), counts["n"].to_numpy()

    def decide(self, n_dropped: int = 0) -> tuple[Target, list[str]]:
        """The fitted target, and the sentences that say what was decided, where so many rows had none."""
        assert self.dtype is not None
        n_distinct = 0 if self.counts is None else self.counts.height
        layout, written = choose_target_layout(
            self.layouts, self.name, self.task, n_distinct, self.n_texts, self.decimal
        )
        if layout:
            target, said = fit_number_target(self.name, self.layouts.numbers[layout], self.scaling)
            return with_layout(target, layout), [f"Target {self.name!r}: regression.", written, *said]
        task, why = self.task, f"Target {self.name!r}: {self.task}, as asked for."
        seen = self._seen()
        unsure = bool(self.rows) and seen is not None and need_rows(seen[0])
        names = unsure and names_classes(pl.concat(self.rows), self.name)
        found, reason = name_task(self.name, self.dtype, self.whole, n_distinct, self.numbers.n, seen, names)
        if self.task in (None, found):  # told again by a resumed run, it is for the same reason
            task, why = found, reason
        if task == "regression" or self.counts is None:
            target, said = fit_number_target(self.name, self.numbers, self.scaling, self.whole)
            return target, [why, *said]
        if self.overflowed:
            raise DataError(
                f"target {self.name!r} has more than {MOST_CLASSES} classes. Name another column, or train on numbers."
            )
        counts = self.counts
        if n_dropped and counts.height == 1:
            raise same_value(self.name, counts["label"][0], True, n_dropped)
        if counts["label"].dtype == pl.Float64 and are_whole(counts["label"]):
            counts = counts.with_columns(pl.col("label").cast(pl.Int64))
        classes, said = fit_class_target(self.name, counts)
        return classes, [why, *said]
