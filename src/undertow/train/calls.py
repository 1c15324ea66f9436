"""What a user's function can be called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def takes(function: Callable[..., Any], count: int, *names: str) -> bool:
    """Tell whether a function can be called with this many arguments.

    Args:
        function: the function.
        count: how many by position.
        names: of those by name.

    Returns:
        False where its signature forbids it.

    Source: derived here.

    Example:
        >>> takes(lambda a, b: a, 2), takes(lambda: 0, 1), takes(lambda a, *, w: a, 1, "w")
        (True, False, True)
    """
    try:
        inspect.signature(function).bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:  # a function written in C may have no signature to read
        return True
    return True
