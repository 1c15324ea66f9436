"""The parts of a tabular encoder from its record, each checked."""

from __future__ import annotations

from typing import Final

from undertow.data.column_record import read_column
from undertow.data.columns import Column
from undertow.data.state import fail, read_list, read_text, read_version
from undertow.data.target import Target, read_target

_RECORD: Final = "table encoder"

EncoderParts = tuple[Target, tuple[Column, ...], dict[str, str], list[str], tuple[str, ...]]


def read_encoder(value: object, version: int) -> EncoderParts:
    """Target, columns, those that were dropped, report and marks of missing values from a JSON record.

    Args:
        value: as ``TabularEncoder.to_json_dict`` gives it.
        version: that it should have.

    Returns:
        The arguments of a ``TabularEncoder``.

    Raises:
        RunError: the record is damaged.
    """
    optional = ["missing"] if isinstance(value, dict) and "missing" in value else []
    record = read_version(value, _RECORD, version, ("target", "columns", "dropped", "report", *optional))
    target = read_target(record["target"], f"{_RECORD}, target")
    columns = tuple(
        read_column(entry, f"{_RECORD}, column {number}")
        for number, entry in enumerate(read_list(record["columns"], f"{_RECORD}, columns"), start=1)
    )
    dropped_record = record["dropped"]
    if not isinstance(dropped_record, dict):
        raise fail(f"{_RECORD}, dropped", "expected an object")
    dropped = {
        read_text(name, f"{_RECORD}, dropped"): read_text(reason, f"{_RECORD}, dropped")
        for name, reason in dropped_record.items()
    }
    names = [target.name, *(column.name for column in columns), *dropped]
    if len(set(names)) != len(names):
        raise fail(_RECORD, "a column stands twice")
    if not columns:
        raise fail(_RECORD, "no feature column is left")
    report, missing = (
        [read_text(line, f"{_RECORD}, {name}") for line in read_list(record.get(name, []), f"{_RECORD}, {name}")]
        for name in ("report", "missing")
    )
    return target, columns, dropped, report, tuple(missing)
