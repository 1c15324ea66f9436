"""The same training and test rows for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from benchmarks.tables.sets import Task


def split_rows(frame: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold out a share of the rows, drawn anew for each seed."""
    order = np.random.default_rng([seed, 77]).permutation(frame.height)
    n = round(frame.height * share)
    return frame[np.sort(order[n:])], frame[np.sort(order[:n])]


def read_task(file: Path) -> Task:
    """Read a CSV file; a target of texts is one of classes."""
    frame = pl.read_csv(file, infer_schema_length=None, try_parse_dates=True)
    classifies = frame["target"].dtype == pl.String
    return Task(file.stem, frame if classifies else frame.with_columns(pl.col("target").cast(pl.Float64)), classifies)
