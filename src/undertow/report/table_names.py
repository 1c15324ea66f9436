"""What a training on a table was to predict, and from which columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from undertow.flow.names import names_of, read_names, shorten
from undertow.report.recorded import Recorded

CHARACTERS: Final = 1500  # of a list of names
LEFT_OUT_AT_MOST: Final = 12  # columns that are listed with the reason


def find_names(found: Recorded) -> dict[str, Any]:
    """Find the names of the table that a training was on.

    Args:
        found: what there is of the training.

    Returns:
        As `undertow.flow.names.read_names`; ``{}`` where it was on no table.

    Source: derived here.

    Example:
        >>> find_names(Recorded())
        {}
    """
    names = {} if found.run is None else read_names(found.run.extras.get("encoder"))
    if not names and found.flow is not None:
        names = names_of(found.flow)
    return names if names.get("target") else {}


def purpose_words(found: Recorded) -> str:
    """Say what was to be predicted from how many columns, as a part of a sentence.

    Args:
        found: what there is of the training.

    Returns:
        ``" to predict 'price' from 4 columns"``; empty where it was on no table.

    Source: derived here.

    Example:
        >>> purpose_words(Recorded())
        ''
    """
    names = find_names(found)
    if not names:
        return ""
    n = len(names["columns"])
    return f" to predict {names['target']!r} from {n:,} column{'s' * (n != 1)}"


def table_rows(found: Recorded) -> Iterator[list[str]]:
    """List what a report's settings say of a table.

    Args:
        found: what there is of the training.

    Yields:
        ``[name, value]``: the target, its classes, the columns that were used, those that were not with the reason.

    Source: derived here.

    Example:
        >>> list(table_rows(Recorded()))
        []
    """
    names = find_names(found)
    if not names:
        return
    yield ["target", str(names["target"])]
    if names["classes"]:
        yield [f"classes ({len(names['classes'])})", list_all(names["classes"])]
    yield [f"columns used ({len(names['columns'])})", list_all(names["columns"])]
    left_out = names.get("left_out") or {}
    for name in list(left_out)[:LEFT_OUT_AT_MOST]:
        yield [f"column left out: {shorten(name)}", str(left_out[name]).removeprefix(f"{name!r}: ")]
    more = list(left_out)[LEFT_OUT_AT_MOST:]
    if more:
        yield [f"columns left out as well ({len(more)})", list_all(more)]


def list_all(names: list[str]) -> str:
    """Join names by commas, up to 1500 characters.

    Args:
        names: of columns or classes.

    Returns:
        The text.

    Source: derived here.

    Example:
        >>> list_all(["a", "b"]), list_all(["x" * 900, "y" * 900])[-6:]
        ('a, b', 'xxx, …')
    """
    text, shown = "", 0
    for name in names:
        longer = f"{text}, {name}" if shown else name
        if shown and len(longer) > CHARACTERS:
            return f"{text}, …"
        text, shown = longer, shown + 1
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"
