"""Strict reading of a JSON record: every value is checked, so a damaged record is one clear error."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TypeVar

from undertow.errors import RunError

Label = bool | int | float | str
_INT64_MAX = 2**63 - 1


def fail(where: str, what: str) -> RunError:
    """The error for a damaged record, to be raised by the caller."""
    return RunError(f"{where}: {what}. The encoder's record is damaged: restore the file or train again.")


def read_object(value: object, where: str, keys: Collection[str]) -> dict[str, object]:
    """A dictionary with exactly these keys."""
    if not isinstance(value, dict):
        raise fail(where, f"expected an object, found {type(value).__name__}")
    missing = [key for key in keys if key not in value]
    unknown = [str(key) for key in value if key not in keys]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing)
        parts += [f"has {len(unknown)} unknown entries, first {unknown[0][:40]!r}"] if unknown else []
        raise fail(where, " and ".join(parts))
    return value


def read_list(value: object, where: str) -> list[object]:
    """A list."""
    if not isinstance(value, list):
        raise fail(where, f"expected a list, found {type(value).__name__}")
    return value


def read_text(value: object, where: str) -> str:
    """A string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise fail(where, f"expected text, found {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise fail(where, "the text is no valid Unicode") from None
    return value


def read_flag(value: object, where: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise fail(where, f"expected true or false, found {type(value).__name__}")
    return value


def read_number(value: object, where: str, positive: bool = False) -> float:
    """A finite number; with ``positive``, one above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail(where, f"expected a number, found {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or (positive and number <= 0):
        raise fail(where, f"expected a finite number{' above zero' * positive}")
    return number


Choice = TypeVar("Choice", bound=str)


def read_choice(value: object, where: str, choices: Collection[Choice], what: str) -> Choice:
    """One of some texts."""
    for choice in choices:
        if value == choice:
            return choice
    raise fail(where, f"the {what} is unknown")


def read_label(value: object, where: str) -> Label:
    """A class label: text, true or false, a 64-bit integer or a finite number."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
            raise fail(where, "the integer does not fit 64 bits")
        return value
    return read_number(value, where) if isinstance(value, float) else read_text(value, where)


def read_distinct_texts(value: object, where: str) -> tuple[str, ...]:
    """A list of different strings."""
    texts = tuple(read_text(entry, where) for entry in read_list(value, where))
    if len(set(texts)) != len(texts):
        raise fail(where, "a text stands twice")
    return texts


def read_version(value: object, where: str, known: int, names: Sequence[str]) -> dict[str, object]:
    """A record of a version, with these entries beside; RunError where it is another one's, or damaged."""
    version = value.get("version") if isinstance(value, dict) else None
    if type(version) is int and version != known:
        raise RunError(
            f"{where}: version {str(version)[:20]} is unknown, {known} is read. "
            "Train again, or use the Undertow that wrote it."
        )
    record = read_object(value, where, ("version", *names))
    if type(version) is not int:
        raise fail(where, "the version is no whole number")
    return record
