"""What a table calls its classes and columns, kept with a record, so that findings can say them instead of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from undertow.data import TabularEncoder
from undertow.errors import UndertowError
from undertow.flow.record import Flow

CLASSES_AT_MOST: Final = 1000
FEATURES_AT_MOST: Final = 2000
LONGEST: Final = 40  # characters of a name that are shown


def read_names(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Read the names of a table off the record of its encoder.

    Args:
        record: of `undertow.data.TabularEncoder.to_json_dict`, such as ``run.extras["encoder"]``; None where there is
            no table.

    Returns:
        Plain data: ``target``, ``classes`` (of a target of classes), ``columns`` of the table that are used,
        ``features`` (for each column of X its name, and the column of the table that it comes from) and ``left_out``,
        columns with the reason; ``{}`` where there is no table.

    Source: derived here.

    Example:
        >>> import polars as pl
        >>> columns = {"age": [20.0, 40.0, 35.0], "city": ["Oslo", "Rome", "Oslo"], "buys": ["no", "yes", "no"]}
        >>> table = pl.DataFrame(columns)
        >>> names = read_names(TabularEncoder.fit(table, "buys").to_json_dict())
        >>> names["target"], names["classes"], names["columns"], names["features"][1]
        ('buys', ['no', 'yes'], ['age', 'city'], ['city=Oslo', 'city'])
    """
    try:
        encoder = TabularEncoder.from_json_dict(record) if record else None
    except UndertowError:
        encoder = None
    if encoder is None:
        return {}
    features = [[name, column.name] for column in encoder.columns for name in column.feature_names]
    return {
        "target": encoder.target.name,
        "classes": [str(label) for label in encoder.classes[:CLASSES_AT_MOST]],
        "columns": [column.name for column in encoder.columns if column.feature_names],
        "features": features[:FEATURES_AT_MOST],
        "left_out": dict(encoder.dropped),
    }


def names_of(flow: Flow) -> dict[str, Any]:
    """Return the names that a record holds, ``{}`` where it holds none."""
    found = flow.facts.get("names")
    return found if isinstance(found, dict) else {}


def name_class(flow: Flow, k: int) -> str:
    """Say which class one is: by its name in the table, else by its number.

    Args:
        flow: the record.
        k: the number, from 0.

    Returns:
        ``"'benign'"``, or ``"3"``.

    Source: derived here.

    Example:
        >>> flow = Flow.empty(())
        >>> flow.facts = {"names": {"classes": ["benign", "malign"]}}
        >>> name_class(flow, 1), name_class(Flow.empty(()), 1)
        ("'malign'", '1')
    """
    classes = names_of(flow).get("classes") or []
    if not 0 <= k < len(classes):
        return str(k)
    text = str(classes[k])
    return text if text.lstrip("-").isdigit() else f"'{shorten(text)}'"


def name_feature(flow: Flow, i: int) -> str:
    """Say which column of X one is: by its name where X was made of a table, else by its number.

    Args:
        flow: the record.
        i: the number, from 0.

    Returns:
        ``"'age'"``, or ``"3"``.

    Source: derived here.

    Example:
        >>> flow = Flow.empty(())
        >>> flow.facts = {"names": {"features": [["age", "age"], ["city=Oslo", "city"]]}}
        >>> name_feature(flow, 1), name_feature(Flow.empty(()), 1)
        ("'city=Oslo'", '1')
    """
    features = names_of(flow).get("features") or []
    return f"'{shorten(str(features[i][0]))}'" if 0 <= i < len(features) else str(i)


def shorten(text: str) -> str:
    """Cut a name after 40 characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
