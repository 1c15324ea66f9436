"""The column to predict: its task, and its way to numbers and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from undertow.data.columns import find_places, read_numbers, read_texts
from undertow.data.header import offer_no_header, tell_names_below
from undertow.data.late import pl
from undertow.data.layouts import has_layout, read_layout
from undertow.data.likeness import tell_likeness
from undertow.data.number_target import (
    NumberTarget,
    TargetScaling,
    check_present,
    check_scaling,
    fit_numbers,
    has_curve,
    read_curve,
)
from undertow.data.ordered import names_classes
from undertow.data.parse import parse_booleans, parse_numbers
from undertow.data.state import Label, fail, read_label, read_list, read_number, read_object, read_text
from undertow.data.target_checks import FEW_DISTINCT, MAY_BE_CLASSES, check_texts, need_rows, tell_alike
from undertow.data.tasks import TASKS, Task, name_task
from undertow.data.wording import Origin, count, list_names, name_row, shorten, suggest_name
from undertow.errors import ArgumentError, DataError, ShapeError

_UNBALANCED_SHARE, _UNBALANCED_RATIO = 0.8, 10
_SEVERAL = " Several take a network each, or one for all in Python: ut.train(model, (X, Y))."


@dataclass(frozen=True)
class ClassTarget:
    """A target of classes; index i stands for ``classes[i]``.

    Args:
        name: the table's column.
        classes: the labels, sorted, all of one type: str, int, bool or float.
    """

    name: str
    classes: tuple[Label, ...]

    def encode(self, series: pl.Series, origin: Origin | None) -> NDArray[np.int64]:
        """Class indices, int64 (m,); DataError at the first missing or unknown label."""
        check_present(series, origin)
        if isinstance(self.classes[0], str):
            places = find_places(read_texts(series, origin), tuple(str(label) for label in self.classes))
        else:
            places = _find_number_places(series, self.classes)
        unknown = np.flatnonzero(places < 0)
        if unknown.size:
            at = int(unknown[0])
            raise DataError(
                f"{name_row(at, origin)}: target {self.name!r} is {shorten(series[at])}, a class that "
                f"training did not have ({count(unknown.size, 'such row')}). Give {list_names(self.classes)}."
            )
        return places

    def decode(self, outputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """Labels (m,) of class indices (m,), or of the largest of the scores (m, n_classes)."""
        n_classes = len(self.classes)
        if outputs.ndim == 2:
            if outputs.shape[1] != n_classes:
                raise ShapeError(
                    f"decode: the scores are {outputs.shape}, but there are {n_classes} classes. "
                    f"Give scores (m, {n_classes}), or class indices (m,)."
                )
            if np.issubdtype(outputs.dtype, np.inexact) and np.isnan(outputs).any():
                row = int(np.isnan(outputs).any(axis=1).argmax())
                raise ArgumentError(f"decode: the scores of row {row + 1} hold NaN: the model's output is broken.")
            outputs = outputs.argmax(axis=1)
        if outputs.ndim != 1 or not np.issubdtype(outputs.dtype, np.integer):
            raise ArgumentError(
                f"decode: expected class indices (m,) as integers or scores (m, {n_classes}), "
                f"got {outputs.dtype} {outputs.shape}."
            )
        if outputs.size and not (int(outputs.min()) >= 0 and int(outputs.max()) < n_classes):
            raise ArgumentError(f"decode: class indices must lie in 0 … {n_classes - 1}.")
        kind = object if isinstance(self.classes[0], str) else None
        labels: NDArray[np.generic] = np.array(self.classes, dtype=kind)[outputs]
        return labels

    def to_json_dict(self) -> dict[str, object]:
        """The target as JSON values."""
        return {"name": self.name, "task": "classification", "classes": list(self.classes)}


Target = ClassTarget | NumberTarget


def check_frame(frame: object) -> None:
    """DataError where a table is no polars DataFrame."""
    if not isinstance(frame, pl.DataFrame):
        kind = f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
        raise DataError(f"a table must be a polars DataFrame, got a {kind}. Use read_table, or as_frame.")


def find_target(frame: pl.DataFrame, name: str, origin: Origin | None = None) -> pl.Series:
    """The target column with missing values null; DataError that suggests a name where it is not there."""
    check_frame(frame)
    if not isinstance(name, str):
        raise ArgumentError(f"target is {name!r:.60}. Give the name of the column to predict.{_SEVERAL}")
    if name not in frame.columns:
        file = "" if origin is None else f"{origin.file}: "
        hint = (
            " If these are several, separate them by commas, semicolons, tabs or bars (|)." if frame.width == 1 else ""
        )
        hint += _SEVERAL * ({part.strip() for part in name.split(",")} <= set(frame.columns))
        raise DataError(
            f"{file}there is no column {suggest_name(name, frame.columns)} to predict. "
            f"The columns are {list_names(frame.columns)}.{hint}"
            f"{tell_names_below(frame, name, origin) or offer_no_header(frame)}"
        )
    series = frame[name]
    return series.fill_nan(None) if series.dtype.is_float() else series


def drop_missing_target(
    frame: pl.DataFrame, target: str, origin: Origin | None = None
) -> tuple[pl.DataFrame, Origin | None, list[str]]:
    """Leave out the rows whose target is missing.

    Args:
        frame: the table.
        target: the column to predict.
        origin: where its rows came from.

    Returns:
        The rows that have a target, their origin, and a sentence with the count where rows were dropped.

    Raises:
        DataError: there is no such column, or every value of it is missing.

    Example:
        >>> frame, _, said = drop_missing_target(pl.DataFrame({"x": [1, 2], "y": [None, 4.0]}), "y")
        >>> frame.rows(), said
        ([(2, 4.0)], ["Target 'y': 1 row without a value was dropped."])
    """
    kept, origin = keep_present_target(frame, target, origin)
    if frame.height and kept.height == 0:
        raise DataError(f"target {target!r}: every value is missing. Fill the column to predict.")
    return kept, origin, tell_dropped(target, frame.height - kept.height)


def keep_present_target(frame: pl.DataFrame, target: str, origin: Origin | None) -> tuple[pl.DataFrame, Origin | None]:
    """The rows that have a target, and their origin; DataError where there is no such column."""
    series = find_target(frame, target, origin)
    kept = np.flatnonzero(series.is_not_null().to_numpy())
    if kept.size == frame.height:
        return frame, origin
    return frame[kept], None if origin is None else origin.take(kept)


def tell_dropped(target: str, n_dropped: int) -> list[str]:
    """A sentence where rows without a target were dropped."""
    if n_dropped == 0:
        return []
    verb = "was" if n_dropped == 1 else "were"
    return [f"Target {target!r}: {count(n_dropped, 'row')} without a value {verb} dropped."]


def find_task(frame: pl.DataFrame, target: str, left_out: Collection[str] = ()) -> tuple[Task, str]:
    """The task that a target column sets, and the sentence that says why.

    Texts, booleans and whole numbers with at most 10 distinct values, one of them below 10, are classes, and so are up
    to 3 others. So are up to 20, and up to 100 that are 0, 1, 2, … or 1, 2, 3, … without a gap, with 10 rows or more on
    average, where rows that are alike tell so, see `undertow.data.ordered.names_classes`. Numbers with fractions and
    other whole numbers (ages, counts, years, prices) are a regression; so are counts of things, and whole numbers of
    which each stands in less than 2 rows on average, or in less than 5 where they are floats, unless there are 3 or
    fewer.

    Args:
        frame: the table.
        target: the column to predict.
        left_out: columns that are no features, and not looked at.

    Returns:
        "classification" or "regression", and a sentence for the report.

    Raises:
        DataError: ``there is no column 'prize' (did you mean 'price'?) to predict. …``, or the column
            holds nothing or a type that cannot be predicted.

    Example:
        >>> find_task(pl.DataFrame({"x": [1, 2], "y": ["cat", "dog"]}), "y")
        ('classification', "Target 'y': texts, so classification.")
    """
    series = find_target(frame, target)
    present = series.drop_nulls()
    if present.is_empty():
        raise DataError(f"target {target!r}: every value is missing. Fill the column to predict.")
    dtype = series.dtype
    if not dtype.is_numeric():
        return name_task(target, dtype, True, 0, 0)
    numbers = present.cast(pl.Float64).to_numpy()
    whole = bool(np.all(np.isfinite(numbers) & (numbers == np.floor(numbers))))
    n_distinct = present.n_unique()
    seen = np.unique(numbers, return_counts=True) if whole and n_distinct <= MAY_BE_CLASSES else None
    looks = seen is not None and need_rows(seen[0])
    names = looks and names_classes(frame.drop(*left_out, strict=False).with_columns(series), target)
    return name_task(target, dtype, whole, n_distinct, len(present), seen, names)


def choose_task(
    frame: pl.DataFrame, target: str, task: Task | None, left_out: Collection[str] = ()
) -> tuple[Task, str]:
    """The task asked for, or the one that the target sets; and the sentence that says so."""
    check_task(task)
    found, why = find_task(frame, target, left_out)
    if task is None:
        check_texts(frame[target], target)
    return (found, why) if task is None or task == found else (task, f"Target {target!r}: {task}, as asked for.")


def check_task(task: Task | None) -> None:
    """ArgumentError where there is no such task."""
    if task is not None and task not in TASKS:
        raise ArgumentError(f"task must be 'classification' or 'regression', got {task!r}.")


def fit_target(
    series: pl.Series, task: Task, origin: Origin | None, scaling: TargetScaling = "standard"
) -> tuple[Target, list[str]]:
    """Classes, or mean and standard deviation, of a target without missing values.

    Args:
        series: the target of the training rows.
        task: what it sets.
        origin: where its rows came from, for messages.
        scaling: of numbers, see ``TabularEncoder.fit``.

    Returns:
        The fitted target, and sentences for the report.

    Raises:
        DataError: ``target 'y' holds one class only ('cat'). …`` or the like.
        ArgumentError: no such scaling.
    """
    check_scaling(scaling)
    return _fit_classes(series, origin) if task == "classification" else fit_numbers(series, origin, scaling)


def _fit_classes(series: pl.Series, origin: Origin | None) -> tuple[ClassTarget, list[str]]:
    counts = count_labels(series, origin)
    if counts["label"].dtype == pl.Float64 and are_whole(counts["label"]):
        labels = series.cast(pl.Int64).rename("label")  # Float64 has not every whole number
        counts = labels.value_counts(name="n").sort("label").with_columns(pl.col("n").cast(pl.Int64))
    return fit_class_target(series.name, counts)


def count_labels(series: pl.Series, origin: Origin | None) -> pl.DataFrame:
    """How often each label stands in a target: columns ``label`` (Boolean, Float64 or String) and ``n``, sorted."""
    if series.dtype == pl.Boolean:
        labels = series
    elif series.dtype.is_numeric():
        labels = pl.Series(series.name, read_numbers(series, "number", origin))
    else:
        labels = read_texts(series, origin)
    counts = labels.rename("label").value_counts(name="n").sort("label")
    return counts.with_columns(pl.col("n").cast(pl.Int64))


def are_whole(labels: pl.Series) -> bool:
    """Whether numbers are integers of 64 bits."""
    numbers = labels.to_numpy()
    return bool(np.all((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**63)))


def fit_class_target(name: str, counts: pl.DataFrame) -> tuple[ClassTarget, list[str]]:
    """The classes of a target from the counts of its labels; DataError where there is but one."""
    classes: list[Label] = counts["label"].to_list()
    n_rows = int(counts["n"].sum())
    if len(classes) < 2:
        raise DataError(
            f"target {name!r} holds one class only ({classes[0]!r}): there is nothing to tell apart. "
            "Give rows of at least two classes."
        )
    like = tell_likeness([str(label) for label in classes]) if len(classes) > FEW_DISTINCT else ""
    said = [
        f"Target {name!r}: {len(classes)} classes, {list_names(classes)}.{like}",
        *tell_alike(f"Target {name!r}", classes),
    ]
    singles = [label for label, n in zip(classes, counts["n"].to_list(), strict=True) if n == 1]
    if len(singles) > max(FEW_DISTINCT, n_rows // 2):
        said.append(
            f"Target {name!r}: {len(classes)} classes in {n_rows} rows, most with a single training "
            "row: is this the column to predict?"
        )
    elif singles:
        classes_with = "class" if len(singles) == 1 else "classes"
        said.append(f"Target {name!r}: a single training row for the {classes_with} {list_names(singles)}.")
    return ClassTarget(name, tuple(classes)), said + _describe_balance(name, counts)


def _describe_balance(name: str, counts: pl.DataFrame) -> list[str]:
    """A sentence where one class has most of the rows, or some many times those of another."""
    ordered = counts.sort("n", "label", descending=[True, False])
    most, n_most = ordered.row(0)
    least, n_least = ordered.row(-1)
    share = n_most / int(counts["n"].sum())
    if share < _UNBALANCED_SHARE and n_most < _UNBALANCED_RATIO * n_least:
        return []
    return [
        f"Target {name!r}: unbalanced: {most!r} has {n_most / n_least:.3g} times the rows of {least!r}. Whoever always "
        f"says {most!r} is right in {share:.1%} of the rows."
    ]


def _find_number_places(series: pl.Series, classes: Sequence[Label]) -> NDArray[np.int64]:
    """The places of booleans or numbers in ``classes`` (sorted); −1 where they are none of them."""
    if series.dtype == pl.String:
        parse = parse_booleans if isinstance(classes[0], bool) else parse_numbers
        series = parse(series)
    elif not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return np.full(len(series), -1, dtype=np.int64)
    known = np.array(classes)
    if not series.dtype.is_integer():
        series = series.cast(pl.Float64).fill_null(float("nan"))
    values = series.to_numpy()
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places, -1).astype(np.int64)


def read_target(value: object, where: str) -> Target:
    """A target from its JSON record; RunError where the record is damaged."""
    task = value.get("task") if isinstance(value, dict) else None
    if task == "regression":
        record = read_object(value, where, ("name", "task", "mean", "scale", *has_layout(value), *has_curve(value)))
        return NumberTarget(
            read_text(record["name"], where),
            read_number(record["mean"], f"{where}, mean"),
            read_number(record["scale"], f"{where}, scale", positive=True),
            read_layout(record, "number", where),
            read_curve(record, where),
        )
    record = read_object(value, where, ("name", "task", "classes"))
    if task != "classification":
        raise fail(where, "the task is unknown")
    classes = [read_label(entry, f"{where}, classes") for entry in read_list(record["classes"], where)]
    if len(classes) < 2 or len({type(label) for label in classes}) > 1:
        raise fail(where, "expected two or more classes of one type")
    if any(not a < b for a, b in pairwise(classes)):  # type: ignore[operator]
        raise fail(where, "the classes are not sorted, or one stands twice")
    return ClassTarget(read_text(record["name"], where), tuple(classes))
