"""What values are called: by local variables, by attributes of ``self``, by entries of dictionaries."""

from __future__ import annotations

from itertools import islice
from types import FrameType
from typing import Any

from undertow.primitives import Traced

_ENTRIES = 64  # of one dictionary, the newest ones: this is done again at every operation


def name_values(frame: FrameType, returned: Any = None) -> None:
    """Give each traced value that a function holds the name it has there, unless it has one of a person's choosing.

    ``z1 = …``, ``self.z1 = …`` and ``cache["z1"] = …`` each name a value z1; where several do, a variable comes first.
    What a function returns keeps its name there only until the caller gives it one.

    Args:
        frame: of the function.
        returned: what it is about to return to another function of the user's; None where it does not.
    """
    holders: list[Any] = []
    for name, value in frame.f_locals.items():
        if isinstance(value, Traced):
            _name(name, value, returned)
        elif name == "self":
            holders.append(getattr(value, "__dict__", None))
        elif type(value) is dict:
            holders.append(value)
    for holder in holders:
        for name in islice(reversed(holder), _ENTRIES) if type(holder) is dict else ():
            value = holder[name]
            if isinstance(value, Traced) and isinstance(name, str) and value.tape.open:  # type: ignore[attr-defined]
                _name(name, value, returned)


def _name(name: str, value: Any, returned: Any) -> None:
    node = value._node
    if (node.name is None or not node.name.isidentifier()) and name.isidentifier() and name[0] != "_":
        node.name = f"{name}?" if value is returned else name
