"""The same training and test rows for all."""

from __future__ import annotations

import numpy as np
import polars as pl


def split_rows(frame: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold out a share of the rows, drawn anew for each seed."""
    order = np.random.default_rng([seed, 77]).permutation(frame.height)
    n = round(frame.height * share)
    return frame[np.sort(order[n:])], frame[np.sort(order[:n])]
