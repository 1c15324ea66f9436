"""Text of several lines, as a notebook shows it."""

from __future__ import annotations

from typing import Any


class Text(str):
    r"""A str that IPython shows line by line as the value of a cell, where it shows others as ``'a\\nb'``.

    Source: derived here.

    Example:
        >>> Text("a") == "a"
        True
    """

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))
