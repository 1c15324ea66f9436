"""Whether a target is a class or a number, by its type and what is known of its values."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from undertow.data.late import pl
from undertow.data.target_checks import (
    ALWAYS_CLASSES,
    FEW_DISTINCT,
    ROWS_EACH,
    look_like_counts,
    need_rows,
    number_classes,
)
from undertow.data.wording import count
from undertow.errors import DataError

Task = Literal["classification", "regression"]
_ROWS_OF_MANY = 10  # of each number on average, where they are many
TASKS: tuple[Task, ...] = ("classification", "regression")


def name_task(
    target: str,
    dtype: pl.DataType,
    whole: bool,
    n_distinct: int,
    n: int,
    seen: tuple[NDArray[np.float64], NDArray[np.generic]] | None = None,
    names: bool = False,
) -> tuple[Task, str]:
    """The task that is set by the type of a target, whether its numbers are whole, and how many differ.

    Args:
        target: its name.
        dtype: its type.
        whole: whether its numbers are.
        n_distinct: how many differ.
        n: how many there are.
        seen: the numbers that differ, ascending, and how often each stands there; None where they are too many.
        names: whether rows that are alike tell that they are names of classes, see `undertow.data.ordered`.
    """
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "classification", f"Target {target!r}: texts, so classification."
    if dtype == pl.Boolean:
        return "classification", f"Target {target!r}: booleans, so classification."
    if not dtype.is_numeric():
        raise DataError(
            f"target {target!r} holds values of the type {dtype}, which cannot be predicted. "
            "Convert the column to numbers or texts."
        )
    if not whole:
        return "regression", f"Target {target!r}: numbers with fractions, so regression."
    found = f"Target {target!r}: {n_distinct} distinct whole numbers in {count(n, 'row')}"
    codes = dtype.is_integer() and seen is not None and number_classes(seen[0])
    other = "; if they are classes, choose task='classification' (--task classification)"
    amounts = "; if they are amounts, choose task='regression' (--task regression)"
    alike = f"{found}; rows that are alike have the same one, and else any other, so classification{amounts}."
    if n_distinct > FEW_DISTINCT and codes and names and n >= _ROWS_OF_MANY * n_distinct:
        return "classification", alike
    if n_distinct > FEW_DISTINCT:
        may_be = codes and n >= ROWS_EACH[False] * n_distinct
        return "regression", f"{found}, so regression{other if may_be else ''}."
    if n_distinct > ALWAYS_CLASSES and n < ROWS_EACH[codes] * n_distinct:
        return "regression", f"{found}: too few rows of each to be classes, so regression."
    if seen is not None and look_like_counts(*seen):
        return (
            "regression",
            f"{found}, from {seen[0][0]:g} on and ever rarer: counts of something, so regression{other}.",
        )
    if seen is not None and need_rows(seen[0]):
        return ("classification", alike) if names else ("regression", f"{found}, so regression{other}.")
    may_be = n_distinct > ALWAYS_CLASSES or n < 2 * n_distinct
    return "classification", f"{found}, so classification{amounts if may_be else ''}."
