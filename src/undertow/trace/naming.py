"""What values are called: by local variables, attributes of ``self``, entries of dictionaries and lists."""

from __future__ import annotations

from itertools import islice
from types import FrameType
from typing import Any

from undertow.graph import INPUT
from undertow.primitives import Traced

_ENTRIES = 64  # of one dictionary, the newest ones: this is done again at every operation
_ITEMS = 4  # of one list, the last ones
_HOLDERS = (dict, list)


def name_values(frame: FrameType, returned: Any = None) -> None:
    """Give each traced value that a function holds the name it has there, unless it has one of a person's choosing.

    ``z1 = …``, ``self.z1 = …``, ``cache["z1"] = …`` and ``self.cache["z1"] = …`` each name a value z1; where several
    do, a variable comes first. ``h[t] = …`` and ``h.append(…)`` name it h, and what has one name is numbered later.
    Arguments in a list that has a name, as in ``W, b = params``, are W_0, W_1, … unless they are taken out to a name.
    What a function returns keeps its name there only until the caller gives it one.

    Args:
        frame: of the function.
        returned: what it is about to return to another function of the user's; None where it does not.
    """
    holders: list[tuple[str, Any]] = []
    for name, value in frame.f_locals.items():
        if isinstance(value, Traced):
            _name(name, value, returned)
        elif type(value) in _HOLDERS:
            holders.append((name, value))
        elif name == "self" and type(inside := getattr(value, "__dict__", None)) is dict:
            holders.append(("", inside))
            holders += [(key, held) for key, held in inside.items() if type(held) in _HOLDERS]
    for holder, values in holders:
        if type(values) is list and values and isinstance(values[0], Traced) and holder.isidentifier():
            _name_arguments(holder, values)
        for key in islice(reversed(values), _ENTRIES) if type(values) is dict else range(-min(len(values), _ITEMS), 0):
            value = values[key]
            if not isinstance(value, Traced) or not value.tape.open:  # type: ignore[attr-defined]  # of another trace
                continue
            if isinstance(key, str):
                _name(key, value, returned)
            elif value._node.op is not INPUT:  # type: ignore[attr-defined]  # the function may unpack it to a name yet
                _name(holder, value, returned)


def _name_arguments(holder: str, values: list[Any]) -> None:
    """Name the arguments in a list by their places; a local name may replace that yet, a list of another name not."""
    for place, value in enumerate(values[:_ENTRIES]):
        node = getattr(value, "_node", None)
        if node is not None and node.op is INPUT and (node.name or "").endswith("?") and node.name[-2:] != "??":
            node.name = f"{holder}_{place}??"


def _name(name: str, value: Any, returned: Any) -> None:
    node = value._node
    if (node.name is None or not node.name.isidentifier()) and name.isidentifier() and name[0] != "_":
        node.name = f"{name}?" if value is returned else name
