"""Python code in lines that fit: broken only where Python may go on in the next line, so that it can be pasted."""

from __future__ import annotations

import io
import tokenize
from typing import Final

INDENT: Final = 4  # of what goes on, beyond the line that it belongs to


def fold_code(code: str, width: int) -> str:
    """Break lines that are too long, after commas and operators within brackets.

    Args:
        code: Python.
        width: characters a line may have; a piece that cannot be broken stays longer.

    Returns:
        Code that means the same; what is no Python stays as it is.

    Source: derived here.

    Example:
        >>> print(fold_code("run = train(model, (X, y), epochs=10, batch_size=64)", 34))
        run = train(model, (X, y),
            epochs=10, batch_size=64)
    """
    lines = code.split("\n")
    if all(len(line) <= width for line in lines):
        return code
    try:
        places = _places(code)
    except (tokenize.TokenError, SyntaxError):
        return code
    return "\n".join(_fold(line, places.get(number, []), width) for number, line in enumerate(lines, 1))


def _places(code: str) -> dict[int, list[int]]:
    """Where each line may be broken: columns after which there is a comma or an operator within brackets."""
    found: dict[int, list[int]] = {}
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type != tokenize.OP:
            continue
        depth += (token.string in "([{") - (token.string in ")]}")
        if depth and token.string in (",", "+", "-", "*", "/", "@", "=="):
            found.setdefault(token.end[0], []).append(token.end[1])
    return found


def _fold(line: str, places: list[int], width: int) -> str:
    """Break one line at the last place that fits, again and again."""
    margin = " " * (len(line) - len(line.lstrip()) + INDENT)
    parts: list[str] = []
    begin = 0
    while len(line) - begin + (len(margin) if parts else 0) > width:
        room = width - (len(margin) if parts else 0)
        later = [x for x in places if x > begin]
        fitting = [x for x in later if x - begin <= room]
        if not later or later[-1] >= len(line):
            break
        at = fitting[-1] if fitting else later[0]
        parts.append(line[begin:at])
        begin = at + (len(line[at:]) - len(line[at:].lstrip()))
    return "\n".join([*parts[:1], *(margin + part for part in parts[1:]), (margin if parts else "") + line[begin:]])
