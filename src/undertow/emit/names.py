"""From the engine's names to those people read: z1 stays z1, and its cotangent is dz1."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

from undertow.graph import Node
from undertow.primitives import REGISTRY

_RESERVED = frozenset(
    {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "scipy", "copy", "forward", "backward", "cache"}
)


def reader_name(node: Node) -> str | None:
    """Return what people call a value: its own name, or ``dz1`` for the cotangent of z1; else None."""
    if node.name:
        return node.name
    return f"d{node.ct_of}" if node.ct_of else None


def helpers() -> dict[str, str]:
    """Map the functions without a NumPy name, which the source has to define, to their definitions."""
    texts = [primitive.helper for primitive in REGISTRY.values() if primitive.helper]
    return {text.split("(", 1)[0].removeprefix("def "): text for text in texts}


class Names:
    """Hands out Python identifiers, each once.

    Args:
        reserved: names that must stay free: helpers, sizes.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.taken = {*_RESERVED, *reserved}
        self.numbers: dict[str, int] = {}

    def claim(self, wish: str) -> str:
        """Return the wish, made a legal identifier that nothing else is called."""
        name = re.sub(r"\W", "_", wish)
        if not name or not (name[0].isalpha() or name[0] == "_"):
            name = f"v{name}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def number(self, letter: str) -> str:
        """Return the next free of t1, t2, … for a value that nobody named."""
        while True:
            self.numbers[letter] = self.numbers.get(letter, 0) + 1
            name = f"{letter}{self.numbers[letter]}"
            if name not in self.taken:
                self.taken.add(name)
                return name
