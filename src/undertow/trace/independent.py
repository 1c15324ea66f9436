"""A result that does not depend on what it is differentiated by: its gradient is 0, which is seldom meant."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from undertow.trace.function import argument_names, describe_function
from undertow.trace.where import frames_of_ours


def warn_of_independence(f: Callable[..., Any], places: Sequence[int], n_arguments: int, was_read: bool = False) -> str:
    """Warn that a function never uses the arguments that it is differentiated by.

    Args:
        f: the function.
        places: of these arguments.
        n_arguments: how many it was called with.
        was_read: whether it asked for their numbers, in a branch or by ``int``.

    Returns:
        What was said; nothing of a function that is itself a gradient, which is constant where a function is linear.

    Source: HIPS autograd, which warns so too.

    Example:
        >>> with warnings.catch_warnings(record=True) as seen:
        ...     warnings.simplefilter("always")
        ...     said = warn_of_independence(lambda w, x: x * x, [0], 2)
        >>> print(seen[0].message)
        the result of <lambda> does not depend on w, so the gradient by w is 0. Compute it of the argument w: what ...
    """
    if hasattr(f, "differentiated"):
        return ""
    names = argument_names(f, n_arguments)
    named = " and ".join(dict.fromkeys(names[i] for i in places))
    arguments = "arguments" if len(places) > 1 else "argument"
    said = (
        f"the result of {describe_function(f)} does not depend on {named}, so the gradient by {named} is 0. Compute "
        f"it of the {arguments} {named}: what was computed before the call is a constant in it."
    )
    if was_read:
        said = (
            f"the result of {describe_function(f)} is a constant here: it depends on {named} at most by way of a "
            "branch or a whole number, such as if or int(), which has no slope, so the gradient by "
            f"{named} is 0. Compute it of the {arguments} {named} where a gradient is wanted."
        )
    warnings.warn(said, UserWarning, stacklevel=frames_of_ours())
    return said
