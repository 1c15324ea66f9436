"""From one table to training and validation arrays, the encoder fitted on the training part alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Never

import numpy as np
from numpy.typing import NDArray

from undertow.data.as_frame import as_frame
from undertow.data.batches import read_fraction, split
from undertow.data.columns import ScalingOption, read_numbers
from undertow.data.decimals import Decimal
from undertow.data.encoder import TabularEncoder
from undertow.data.folds import split_groups, split_time
from undertow.data.late import pl
from undertow.data.layouts import read_written
from undertow.data.missing import Missing, mark_and_type, read_missing
from undertow.data.number_target import TargetScaling, check_number_target
from undertow.data.option_names import refuse_options
from undertow.data.roles import Roles, read_group_column, read_time_column, read_weight_column
from undertow.data.target import choose_task, drop_missing_target, find_target
from undertow.data.target_checks import check_one_value, check_single_rows
from undertow.data.target_layout import read_target_layout, with_layout
from undertow.data.tasks import Task
from undertow.data.text_columns import AsText, read_as_text
from undertow.data.wording import Origin, count
from undertow.errors import DataError


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """A table ready to train on.

    Args:
        encoder: fitted on the training rows.
        train: X float32 (m, n_features), y int64 (m,) or float32 (m, 1).
        validation: the same for the rows held out; None where none are.
        report: what was decided, as plain sentences: the encoder's, and what the held-out rows brought.
        train_weights, validation_weights: float32 (m,) where the table has a column of weights, else None.
    """

    encoder: TabularEncoder
    train: tuple[NDArray[np.float32], NDArray[np.generic]]
    validation: tuple[NDArray[np.float32], NDArray[np.generic]] | None
    report: list[str]
    train_weights: NDArray[np.float32] | None = None
    validation_weights: NDArray[np.float32] | None = None


def encode_table(
    frame: Any,
    target: str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    task: Task | None = None,
    max_categories: int = 50,
    origin: Origin | None = None,
    weights: str | None = None,
    groups: str | None = None,
    time: str | None = None,
    leave_out: str | Sequence[str] = (),
    scaling: ScalingOption | Mapping[str, ScalingOption] = "standard",
    categories: Literal["one_hot", "codes"] = "one_hot",
    min_count: int = 1,
    dates: Literal["auto", "days", "parts"] = "auto",
    target_scaling: TargetScaling = "standard",
    decimal: Decimal = "auto",
    as_text: AsText = (),
    missing: Missing = (),
    **others: Never,
) -> EncodedTable:
    """Split a table, fit the encoder on its training rows, and encode both parts.

    Args:
        frame: the table, a polars or pandas DataFrame.
        target: the column to predict; rows without it are dropped and reported.
        validation: the fraction of rows held out, 0 ≤ fraction < 1; classes keep their shares.
        seed: of the split.
        task: as in ``TabularEncoder.fit``.
        max_categories: as in ``TabularEncoder.fit``.
        origin: where the rows came from (``read_table_with_origin``), for messages.
        weights: the column that says how much each row counts; no feature.
        groups: a column such as the patient: rows of one group are never on both sides; no feature.
        time: the column by which the last share of the rows is held out; a feature too.
        leave_out: columns that are no features, such as numbers of rows; a name, or several.
        scaling: as in ``TabularEncoder.fit``.
        categories: as in ``TabularEncoder.fit``.
        min_count: as in ``TabularEncoder.fit``.
        dates: as in ``TabularEncoder.fit``.
        target_scaling: as in ``TabularEncoder.fit``.
        decimal: as in ``TabularEncoder.fit``.
        as_text: as in ``TabularEncoder.fit``.
        missing: as in ``TabularEncoder.fit``.
        **others: nothing: an option that is not there gets an error that says which was meant.

    Returns:
        The ``EncodedTable``.

    Raises:
        DataError: as ``TabularEncoder.fit``.
        ArgumentError: a fraction or seed out of range.

    Example:
        >>> frame = pl.DataFrame({"x": range(10), "y": ["a", "b"] * 5})
        >>> table = encode_table(frame, "y", validation=0.2)
        >>> table.train[0].shape, table.validation[1].tolist()
        ((8, 1), [0, 1])
    """
    refuse_options(others, encode_table)
    marks = read_missing(missing)
    frame = mark_and_type(as_frame(frame), marks, read_as_text(as_text))
    roles = Roles(target, weights, groups, time, leave_out)
    frame, layout, written = read_target_layout(frame, target, task, origin, decimal)
    found, why = choose_task(frame, target, task, roles.left_out)
    roles.check(frame.columns)
    n_rows = frame.height
    frame, origin, said = drop_missing_target(frame, target, origin)
    check_one_value(frame[target], found == "classification", n_rows - frame.height)
    _check_values(frame, target, found, origin)
    rows, held_out, how = _split_rows(frame, roles, validation, seed, found, origin, decimal)

    train_frame, train_origin = frame[rows], None if origin is None else origin.take(rows)
    _check_train_target(train_frame[target], frame[target])
    encoder = TabularEncoder.fit(
        train_frame, target, task=found, max_categories=max_categories, origin=train_origin, scaling=scaling,
        categories=categories, min_count=min_count, dates=dates, left_out=roles.left_out, target_scaling=target_scaling,
        beside=frame[held_out], beside_origin=None if origin is None else origin.take(held_out), decimal=decimal,
        as_text=as_text, missing=marks,
    )  # fmt: skip
    # The encoder was told the task and saw complete rows only: the reasons are those of the whole table.
    encoder = replace(
        encoder,
        target=with_layout(encoder.target, layout),
        report=[why, *written, *said, *encoder.report[1:], *how],
    )
    # The training rows bring nothing that the encoder has not reported.
    X = encoder.transform(train_frame, origin=train_origin, report=[])
    train = (X, encoder.encode_target(train_frame, origin=train_origin))
    weight = None if weights is None else read_weight_column(frame[weights], origin)
    train_weights = None if weight is None else _check_weights(weight[rows], str(weights))
    if held_out.size == 0:
        return EncodedTable(encoder, train, None, encoder.report, train_weights)
    held_frame, held_origin = frame[held_out], None if origin is None else origin.take(held_out)
    said = []
    X = encoder.transform(held_frame, origin=held_origin, report=said)
    held = (X, encoder.encode_target(held_frame, origin=held_origin))
    report = encoder.report + [f"Validation rows: {line}" for line in said]
    return EncodedTable(encoder, train, held, report, train_weights, None if weight is None else weight[held_out])


def _check_train_target(train: pl.Series, whole: pl.Series) -> None:
    """DataError where only rows that are held out have other values of the target."""
    if train.n_unique() == 1 < whole.n_unique():
        raise DataError(
            f"target {whole.name!r} holds one value only ({train[0]}) in the {count(len(train), 'row')} to train on; "
            "the others are held out. Give more rows, or hold out fewer for validation."
        )


def _split_rows(
    frame: pl.DataFrame,
    roles: Roles,
    fraction: float,
    seed: int,
    task: Task,
    origin: Origin | None,
    decimal: Decimal,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """The rows to train on, those held out, and a sentence where a column decided it."""
    if roles.groups is not None:
        names = read_group_column(frame[roles.groups], origin).to_numpy().astype(str)
        rows, held = split_groups(names, fraction, seed)
        how = f"whole groups of {roles.groups!r} ({np.unique(names[held]).size} of {np.unique(names).size})"
    elif roles.time is not None:
        rows, held = split_time(read_time_column(read_written(frame[roles.time], decimal), origin), fraction)
        how = f"the last ones by {roles.time!r}"
    else:
        if task == "classification" and read_fraction(fraction):
            check_single_rows(find_target(frame, roles.target))
        labels = find_target(frame, roles.target).cast(pl.String).to_numpy() if task == "classification" else None
        rows, held = split(frame.height, fraction, seed, stratify=labels)
        return rows, held, []
    if held.size == 0:
        return rows, held, []
    return rows, held, [f"Validation: {held.size / frame.height:.1%} of the rows, {how}."]


def _check_weights(weights: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """DataError where no training row counts."""
    if not weights.any():
        raise DataError(f"weights {name!r} are 0 in every row to train on. Give some rows a weight above 0.")
    return weights


def _check_values(frame: pl.DataFrame, target: str, task: Task, origin: Origin | None) -> None:
    """Find what is wrong in any row before rows are held out, so that the first is named and all are counted."""
    for series in frame:
        if series.dtype.is_float():
            read_numbers(series, "number", origin)
    if task == "regression":
        check_number_target(frame[target], origin)
