"""What a function changes of its arguments is lost when it is traced: the user is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from undertow import trees
from undertow.graph import Node
from undertow.trace.tracer import Tracer
from undertow.trace.where import is_ours


def changed_arguments(names: Sequence[str], given: Sequence[list[Any]], args: Sequence[Any]) -> dict[str, Any]:
    """Find what a function has written to, or put in the place of, among the leaves of its arguments.

    Args:
        names: of the arguments.
        given: for each the leaves that it had: the node, or the static value.
        args: the arguments as they are now that the function has returned.

    Returns:
        The leaves that are another array now, such as ``params['W1']``, each with that array's node.

    Source: derived here.
    """
    changes: dict[str, Any] = {}
    for name, row, arg in zip(names, given, args, strict=True):
        leaves, paths = trees.flatten(arg)[0], trees.paths(arg)
        if len(leaves) != len(row):
            changes[name] = None  # there are other leaves than before
            continue
        for old, new, path in zip(row, leaves, paths, strict=True):
            node = new.node if isinstance(new, Tracer) else new
            if isinstance(old, Node) and node is not old:
                changes[f"{name}{path}"] = node
    return changes


def warn_of_changes(f: Callable[..., Any], code: CodeType | None, lost: Sequence[str]) -> None:
    """Warn where a function changes arguments and does not return what they are then.

    Args:
        f: the function that was traced.
        code: its code, which says where it stands.
        lost: the leaves that it changes so.

    Source: derived here.
    """
    if not lost or code is None or is_ours(code.co_filename):
        return
    name = getattr(f, "__name__", type(f).__name__)
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    warnings.warn_explicit(
        f"{name} changes its argument {lost[0]}{more} in place. The program that is made of it does not: it gives "
        f"back what {name} returns, and leaves its arguments as they are. Return the new values too, and go on with "
        "those.",
        UserWarning,
        code.co_filename,
        code.co_firstlineno,
    )
