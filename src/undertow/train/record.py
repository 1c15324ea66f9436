"""Records: plain data as JSON, with numbers that are not finite, and back without a change."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

NOT_FINITE = ("nan", "inf", "-inf")


def write_record(value: Any, indent: int | None = None, exact: bool = True) -> str:
    """Write plain data as JSON that every reader takes.

    Args:
        value: dicts, lists, texts, numbers, truth values, None; arrays become lists, tuples too.
        indent: spaces to indent by, or None for one line of ASCII.
        exact: False makes texts of keys that are none.

    Returns:
        The JSON.

    Raises:
        TypeError, ValueError: it is no plain data, or would not come back as it is.

    Source: RFC 8259, section 6: JSON has no NaN and no infinity.

    Example:
        >>> write_record({"loss": float("inf"), "epoch": 3})
        '{"loss": {"float": "inf"}, "epoch": 3}'
    """
    try:
        plain = _to_json(value, exact)
        text = json.dumps(plain, indent=indent, ensure_ascii=indent is None, allow_nan=False)
        text.encode()  # a lone surrogate is no text of a file
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return text


def read_record(text: str | bytes) -> Any:
    """Read what `write_record` wrote.

    Args:
        text: JSON.

    Returns:
        The data.

    Raises:
        ValueError: it is no JSON.

    Source: RFC 8259.

    Example:
        >>> read_record('{"loss": {"float": "inf"}, "epoch": 3}')
        {'loss': inf, 'epoch': 3}
    """
    try:
        return json.loads(text, object_hook=_from_json)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _to_json(value: Any, exact: bool) -> Any:
    """Plain data for JSON; numbers that are not finite become objects, which `_from_json` reads."""
    if isinstance(value, dict):
        if exact and not all(isinstance(key, str) for key in value):
            key = next(key for key in value if not isinstance(key, str))
            raise TypeError(f"the key {key!r} is no text")
        if _is_not_finite(value):
            raise ValueError(f"{value!r} would come back as a number")
        return {str(key): _to_json(item, exact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item, exact) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _to_json(value.tolist(), exact)
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    return value


def _from_json(value: dict[str, Any]) -> Any:
    """Undo `_to_json` for one object."""
    return float(value["float"]) if _is_not_finite(value) else value


def _is_not_finite(value: dict[Any, Any]) -> bool:
    """Whether an object stands for a number that is not finite."""
    return set(value) == {"float"} and value["float"] in NOT_FINITE
