"""What a record's files hold is what a record can hold: found when they are read, not where it is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.flow.record import Look


def read_look(row: dict[str, Any]) -> Look:
    """Make a look of a line of its file.

    Args:
        row: plain data.

    Returns:
        The look.

    Raises:
        ValueError, TypeError: it is none.

    Source: derived here.

    Example:
        >>> read_look({"step": 0, "epoch": 0, "n_examples": 4, "loss": 1.0, "noise_scale": None, "layers": []}).step
        0
    """
    look = Look(**row)
    for name in ("step", "epoch", "n_examples"):
        if type(getattr(look, name)) is not int:
            raise ValueError(f"a look's {name} is {getattr(look, name)!r:.40}")
    for number in (look.loss, look.noise_scale):
        if number is not None and not isinstance(number, int | float):
            raise ValueError(f"a look's number is {number!r:.40}")
    for layer in look.layers:
        for name, value in layer.items():
            if name != "histograms":
                _check_numbers(value, f"a look's {name}")
                continue
            for found in (value or {}).values():
                if found is not None:
                    _check_histogram(found)
    return look


def _check_histogram(found: dict[str, Any]) -> None:
    """ValueError unless there are edges and a count between each two of them; counts may be none at all."""
    edges, counts = np.array(found["edges"]), np.array(found["counts"])
    sound = all(x.dtype.kind in "iuf" and x.ndim == 1 and np.isfinite(x).all() for x in (edges, counts) if x.size)
    if not sound or (counts.size and len(edges) != len(counts) + 1) or (counts < 0).any():
        raise ValueError("a histogram is none")


def check_facts(facts: dict[str, Any]) -> None:
    """Check the facts that are arrays.

    Args:
        facts: of a record.

    Raises:
        ValueError, TypeError, KeyError: they are none.

    Source: derived here.

    Example:
        >>> check_facts({"held_out": {"outputs": [[1.0]], "targets": [{}]}})
        Traceback (most recent call last):
        ValueError: the targets of held_out are no numbers
    """
    for name, parts in (("held_out", ("outputs", "targets")), ("example", ("X", "y"))):
        found: Any = facts.get(name)
        for part in parts if found is not None else ():
            if np.array(found[part]).dtype.kind not in "biuf":
                raise ValueError(f"the {part} of {name} are no numbers")


def _check_numbers(value: Any, what: str) -> None:
    """ValueError unless there are only numbers, and lists of them."""
    if isinstance(value, list):
        for part in value:
            _check_numbers(part, what)
    elif value is not None and not isinstance(value, int | float):
        raise ValueError(f"{what}: {value!r:.40} is no number")
