"""From one table to training and validation arrays, the encoder fitted on the training part alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from undertow.data.batches import split
from undertow.data.columns import read_numbers
from undertow.data.encoder import TabularEncoder, drop_missing_target
from undertow.data.late import pl
from undertow.data.target import Task, check_number_target, choose_task, find_target
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
    """

    encoder: TabularEncoder
    train: tuple[NDArray[np.float32], NDArray[np.generic]]
    validation: tuple[NDArray[np.float32], NDArray[np.generic]] | None
    report: list[str]


def encode_table(
    frame: pl.DataFrame,
    target: str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    task: Task | None = None,
    max_categories: int = 50,
    origin: Origin | None = None,
) -> EncodedTable:
    """Split a table, fit the encoder on its training rows, and encode both parts.

    Args:
        frame: the table, a polars DataFrame.
        target: the column to predict; rows without it are dropped and reported.
        validation: the fraction of rows held out, 0 ≤ fraction < 1; classes keep their shares.
        seed: of the split.
        task: as in ``TabularEncoder.fit``.
        max_categories: as in ``TabularEncoder.fit``.
        origin: where the rows came from (``read_table_with_origin``), for messages.

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
    found, why = choose_task(frame, target, task)
    frame, origin, said = drop_missing_target(frame, target, origin)
    _check_values(frame, target, found, origin)
    labels = find_target(frame, target).cast(pl.String).to_numpy() if found == "classification" else None
    rows, held_out = split(frame.height, validation, seed, stratify=labels)

    train_frame, train_origin = frame[rows], None if origin is None else origin.take(rows)
    if train_frame[target].n_unique() == 1 < frame[target].n_unique():
        raise DataError(
            f"target {target!r} holds one value only ({train_frame[target][0]}) in the {count(len(rows), 'row')} to "
            "train on; the others are held out. Give more rows, or hold out fewer for validation."
        )
    encoder = TabularEncoder.fit(train_frame, target, task=found, max_categories=max_categories, origin=train_origin)
    # The encoder was told the task and saw complete rows only: the reasons are those of the whole table.
    encoder = replace(encoder, report=[why, *said, *encoder.report[1:]])
    silent: list[str] = []  # the training rows bring nothing that the encoder has not reported
    X = encoder.transform(train_frame, origin=train_origin, report=silent)
    train = (X, encoder.encode_target(train_frame, origin=train_origin))
    if held_out.size == 0:
        return EncodedTable(encoder, train, None, encoder.report)
    held_frame, held_origin = frame[held_out], None if origin is None else origin.take(held_out)
    said = []
    X = encoder.transform(held_frame, origin=held_origin, report=said)
    held = (X, encoder.encode_target(held_frame, origin=held_origin))
    report = encoder.report + [f"Validation rows: {line}" for line in said]
    return EncodedTable(encoder, train, held, report)


def _check_values(frame: pl.DataFrame, target: str, task: Task, origin: Origin | None) -> None:
    """Find what is wrong in any row before rows are held out, so that the first is named and all are counted."""
    for series in frame:
        if series.dtype.is_float():
            read_numbers(series, "number", origin)
    if task == "regression":
        check_number_target(frame[target], origin)
