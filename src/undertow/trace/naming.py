"""What values are called: by local variables, by attributes of ``self``, by entries of dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
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
    found = frame.f_locals
    for name, value in found.items():
        if isinstance(value, Traced):
            _name(name, value, returned)
    for name, value in found.items():
        for entry, held in _entries(name, value):
            if isinstance(held, Traced) and held.tape.open:  # type: ignore[attr-defined]  # not one of another trace
                _name(entry, held, returned)


def _entries(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a dictionary, or the attributes of ``self``, newest first."""
    if name == "self" and not isinstance(value, Traced):
        value = getattr(value, "__dict__", None)
    if type(value) is dict:
        for entry in islice(reversed(value), _ENTRIES):
            if isinstance(entry, str) and entry.isidentifier():
                yield entry, value[entry]


def _name(name: str, value: Any, returned: Any) -> None:
    if name.startswith(("_", ".")):
        return
    node = value._node
    if node.name is None or not node.name.isidentifier():
        node.name = f"{name}?" if value is returned else name
