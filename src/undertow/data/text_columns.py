"""Columns of numbers that are names: postcodes, article numbers. They stay texts where somebody says so."""

from __future__ import annotations

from collections.abc import Sequence

from undertow.data.wording import list_names, suggest_name
from undertow.errors import ArgumentError, DataError

AsText = str | Sequence[str]


def read_as_text(given: AsText) -> tuple[str, ...]:
    """The names of the columns that stay texts.

    Args:
        given: a name, or several.

    Returns:
        The names.

    Raises:
        ArgumentError: ``as_text names 3. Give names of columns.``

    Source: derived here.

    Example:
        >>> read_as_text("postcode"), read_as_text(["postcode", "article"])
        (('postcode',), ('postcode', 'article'))
    """
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"as_text names {name!r}. Give names of columns.")
    return names


def check_as_text(names: Sequence[str], columns: Sequence[str], target: str) -> None:
    """Refuse columns that cannot stay texts.

    Args:
        names: from `read_as_text`.
        columns: of the table.
        target: the column to predict.

    Raises:
        DataError: ``there is no column 'zipcode' (did you mean 'zip code'?) for as_text. …``
        ArgumentError: ``as_text names 'class', the column to predict. …``

    Source: derived here.

    Example:
        >>> check_as_text(["zip"], ["zip", "price"], "price")
    """
    for name in names:
        if name == target:
            raise ArgumentError(
                f"as_text names {name!r}, the column to predict. Name features; numbers to predict are classes with "
                "task='classification' (--task classification)."
            )
        if name not in columns:
            found = suggest_name(name, list(columns))
            raise DataError(f"there is no column {found} for as_text. The columns are {list_names(columns)}.")
