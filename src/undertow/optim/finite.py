"""What is done where a gradient is not finite: an error that names it, the update left out, or zeros."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError, TrainingError
from undertow.optim.fitting import is_number
from undertow.optim.norm import measure
from undertow.optim.rules import each, select

NON_FINITE: Final = ("raise", "skip", "zero")


def read_policy(policy: Any) -> str:
    """Return the name of what is done where a gradient is not finite.

    Args:
        policy: ``"raise"``: training ends with an error that names the parameter; ``"skip"``: the step changes nothing;
            ``"zero"``: entries that are not finite count as 0.

    Returns:
        The name.

    Raises:
        ArgumentError: ``non_finite is 'ignore'. Use one of raise, skip, zero.``

    Source: derived here.

    Example:
        >>> read_policy("skip")
        'skip'
    """
    if policy not in NON_FINITE:
        raise ArgumentError(f"non_finite is {policy!r:.80}. Use one of {', '.join(NON_FINITE)}.")
    return str(policy)


def all_finite(grads: Any) -> Any:
    """Tell whether all gradients are finite, as one truth value that traces; one pass over them.

    Args:
        grads: a tree of arrays.

    Returns:
        A truth value.

    Source: derived here: a norm that cannot overflow is finite exactly where all entries are.

    Example:
        >>> bool(all_finite({"W": np.ones(3), "b": np.array([np.inf])}))
        False
    """
    root, _ = measure([g for g in trees.flatten(grads)[0] if is_number(g)])
    return np.isfinite(root)


def keep_if(finite: Any, new: Any, old: Any) -> Any:
    """Return the new parameters (or the new state) where the gradients were finite, else the old ones, bit by bit.

    Args:
        finite: one truth value, such as `all_finite` gives.
        new: a tree of arrays and Python floats.
        old: a tree of the same structure.

    Returns:
        A tree of that structure.

    Source: derived here.

    Example:
        >>> keep_if(False, (np.array([np.nan]), 2.0), (np.array([3.0]), 1.0))
        (array([3.]), 1.0)
    """
    return each(lambda a, b: select(finite, a, b), new, old)


def zero_non_finite(grads: Any) -> Any:
    """Put 0 in place of entries that are NaN or infinite.

    Args:
        grads: a tree of arrays.

    Returns:
        A tree of the same structure.

    Source: derived here.

    Example:
        >>> zero_non_finite((np.array([1.0, np.nan, -np.inf]),))
        (array([1., 0., 0.]),)
    """
    return each(lambda g: np.where(np.isfinite(g), g, 0.0), grads)


def check_finite(grads: Any, what: str = "") -> None:
    """Check that gradients are finite.

    Args:
        grads: a tree of arrays.
        what: who asks, the first word of the message, or empty.

    Raises:
        TrainingError: ``clip_by_value: the gradient of layers[0].W is not finite (3 of 8 entries: NaN). …``

    Source: derived here.

    Example:
        >>> check_finite({"w": np.array([1.0])})
    """
    leaves = trees.flatten(grads)[0]
    if all(not is_number(g) or np.isfinite(g).all() for g in leaves):
        return
    for g, path in zip(leaves, trees.paths(grads), strict=True):
        if not is_number(g) or np.isfinite(g).all():
            continue
        bad = int(np.size(g) - np.count_nonzero(np.isfinite(g)))
        kind = "NaN" if np.isnan(g).any() else "infinite"
        raise TrainingError(
            f"{what}{': ' * bool(what)}the gradient of {path.lstrip('.') or 'the parameter'} is not finite "
            f"({bad} of {np.size(g)} entries, {kind}). Clipping cannot mend it: lower the learning rate, "
            "scale the inputs, or look for log(0) and 0/0 in the loss."
        )
