"""Gradient clipping, by value and by global norm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from undertow import trees
from undertow.errors import TrainingError
from undertow.optim.rules import _read_number, each


@dataclass(frozen=True)
class Clip:
    """A clipping rule; called with gradients it refuses values that are not finite, then clips.

    Attributes:
        name: ``"clip_by_global_norm"``.
        apply: (gradients, parameters) → (clipped gradients, whether anything was clipped), plain NumPy without checks.
        settings: the limits by name, as plain data.

    Raises:
        TrainingError: called with a NaN or infinite gradient; the message names the parameter.

    Source: derived here.

    Example:
        >>> clip_by_value(1.0)({"w": np.array([3.0, -0.5])})
        {'w': array([ 1. , -0.5])}
    """

    name: str
    apply: Callable[[Any, Any], tuple[Any, Any]]
    settings: dict[str, float] = field(default_factory=dict)

    def __call__(self, grads: Any, params: Any = None) -> Any:
        """Clip gradients after checking that they are finite."""
        check_finite(grads, self.name)
        return self.apply(grads, params)[0]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{value:g}' for value in self.settings.values())})"


def clip_by_value(limit: float) -> Clip:
    """Clip each entry of the gradient to [−limit, limit]; this changes its direction.

    Args:
        limit: above 0.

    Returns:
        The rule.

    Raises:
        ArgumentError: ``clip_by_value: limit must be above 0 and finite, got 0.``

    Source: Mikolov, Statistical language models based on neural networks, PhD thesis, Brno 2012, sec. 3.2.2.

    Example:
        >>> clip_by_value(0.5)((np.array([2.0]), np.array([-0.1])))
        (array([0.5]), array([-0.1]))
    """
    limit = _read_number("clip_by_value", "limit", limit)

    def apply(grads: Any, params: Any) -> tuple[Any, Any]:
        clipped: Any = False
        for g in trees.flatten(grads)[0]:
            if not callable(g):
                clipped = np.logical_or(clipped, np.any(np.abs(g) > limit))
        return each(lambda g: np.clip(g, -limit, limit), grads), clipped

    return Clip("clip_by_value", apply, {"limit": limit})


def clip_by_global_norm(limit: float) -> Clip:
    """Scale all gradients by limit / ‖g‖ where the 2-norm over all parameters exceeds limit.

    The norm is computed of g / max(limit, max |g|), so that squares do not overflow.

    Args:
        limit: the largest norm, above 0.

    Returns:
        The rule.

    Raises:
        ArgumentError: ``clip_by_global_norm: limit must be above 0 and finite, got 0.``

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1.

    Example:
        >>> clip_by_global_norm(1.0)((np.array([3.0]), np.array([4.0])))
        (array([0.6]), array([0.8]))
    """
    limit = _read_number("clip_by_global_norm", "limit", limit)

    def apply(grads: Any, params: Any) -> tuple[Any, Any]:
        leaves = [g for g in trees.flatten(grads)[0] if not callable(g)]
        largest: Any = limit
        for g in leaves:
            largest = np.maximum(largest, np.max(np.abs(g)))
        total: Any = 0.0
        for g in leaves:
            scaled = g / largest
            total = total + np.sum(scaled * scaled)
        norm = largest * np.sqrt(total)
        scale = limit / np.maximum(norm, limit)
        return each(lambda g: g * scale, grads), norm > limit

    return Clip("clip_by_global_norm", apply, {"limit": limit})


def check_finite(grads: Any, what: str = "the gradient") -> None:
    """Check that gradients are finite.

    Args:
        grads: a tree of arrays.
        what: who asks, the first words of the message.

    Raises:
        TrainingError: ``clip_by_value: the gradient of layers[0].W is not finite (3 of 8 entries: NaN). …``

    Source: derived here.

    Example:
        >>> check_finite({"w": np.array([1.0])})
    """
    leaves = trees.flatten(grads)[0]
    if all(callable(g) or np.isfinite(g).all() for g in leaves):
        return
    for g, path in zip(leaves, trees.paths(grads), strict=True):
        if callable(g) or np.isfinite(g).all():
            continue
        bad = int(np.size(g) - np.count_nonzero(np.isfinite(g)))
        kind = "NaN" if np.isnan(g).any() else "infinite"
        raise TrainingError(
            f"{what}: the gradient of {path.lstrip('.') or 'the parameter'} is not finite "
            f"({bad} of {np.size(g)} entries, {kind}). Clipping cannot mend it: lower the learning rate, "
            "scale the inputs, or look for log(0) and 0/0 in the loss."
        )
