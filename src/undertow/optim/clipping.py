"""Gradient clipping: by value, by the norm of a tensor, a layer or all, and by the norm of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.optim.finite import check_finite
from undertow.optim.fitting import is_number
from undertow.optim.names import layer_of, name_leaves
from undertow.optim.norm import Norm, measure, to_dtype
from undertow.optim.rules import each
from undertow.optim.settings import build, is_ours, read_number, show
from undertow.primitives import spec_of


class Clipped(NamedTuple):
    """What clipping gives.

    Attributes:
        grads: the clipped gradients.
        factor: one number: the smallest factor by which an entry was multiplied; 1 where nothing was clipped.
        finite: one truth value: whether all gradients were finite before.
    """

    grads: Any
    factor: Any
    finite: Any


@dataclass(frozen=True)
class Clip:
    """A clipping rule; called with gradients it refuses values that are not finite, then clips.

    Attributes:
        name: ``"clip_by_global_norm"``.
        rule: (gradients, parameters) → `Clipped`; plain NumPy without checks, traceable.
        settings: the limits by name, as plain data; `build_clip` reads them.

    Raises:
        TrainingError: called with a NaN or infinite gradient; the message names the parameter.

    Source: derived here.

    Example:
        >>> clip_by_value(1.0)({"w": np.array([3.0, -0.5])})
        {'w': array([ 1. , -0.5])}
        >>> clip_by_value(1.0).apply_with_factor({"w": np.array([2.0, -0.5])}).factor
        np.float64(0.5)
    """

    name: str
    rule: Callable[[Any, Any], Clipped]
    settings: dict[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle a built-in rule by its settings."""
        known = is_ours(self.rule) and self.name in CLIPS
        return (build_clip, ({"name": self.name, **self.settings},)) if known else super().__reduce__()

    def apply(self, grads: Any, params: Any = None) -> Any:
        """Clip gradients without a check; only `clip_adaptive` needs the parameters."""
        return self.rule(grads, params).grads

    def apply_with_factor(self, grads: Any, params: Any = None) -> Clipped:
        """Clip gradients without a check, and tell by how much."""
        return self.rule(grads, params)

    def __call__(self, grads: Any, params: Any = None) -> Any:
        """Clip gradients after checking that they are finite."""
        check_finite(grads, self.name)
        return self.apply(grads, params)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(show(value) for value in self.settings.values())})"


@explain_keywords
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
    limit = read_number("clip_by_value", "limit", limit)

    def rule(grads: Any, params: Any) -> Clipped:
        largest: Any = limit
        for g in _arrays(grads):
            largest = np.maximum(largest, np.max(np.abs(g), initial=0.0))
        factor = limit / np.maximum(largest, limit)
        return Clipped(each(lambda g: np.clip(g, -limit, limit), grads), factor, np.isfinite(largest))

    return Clip("clip_by_value", rule, {"limit": limit})


@explain_keywords
def clip_by_global_norm(limit: float) -> Clip:
    """Scale all gradients by limit / ‖g‖ where the 2-norm over all parameters exceeds limit.

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
    return _clip_groups("clip_by_global_norm", limit, lambda names: [""] * len(names))


@explain_keywords
def clip_by_norm(limit: float) -> Clip:
    """Scale the gradient of each array by limit / ‖g‖ where its own 2-norm exceeds limit.

    Args:
        limit: the largest norm, above 0.

    Returns:
        The rule.

    Raises:
        ArgumentError: ``clip_by_norm: limit must be above 0 and finite, got 0.``

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1, for each
        array by itself.

    Example:
        >>> clip_by_norm(1.0)((np.array([3.0, 4.0]), np.array([0.5])))
        (array([0.6, 0.8]), array([0.5]))
    """
    return _clip_groups("clip_by_norm", limit, lambda names: names)


@explain_keywords
def clip_by_layer_norm(limit: float) -> Clip:
    """Scale the gradients of each layer by limit / ‖g‖ where the 2-norm over its W and b together exceeds limit.

    A layer is what differs in the last part of its name only: ``layers[0].W`` and ``layers[0].b``. Arrays at the top of
    a tree are one layer.

    Args:
        limit: the largest norm, above 0.

    Returns:
        The rule.

    Raises:
        ArgumentError: ``clip_by_layer_norm: limit must be above 0 and finite, got 0.``

    Source: derived here.

    Example:
        >>> grads = {"layers": [{"W": np.array([3.0]), "b": np.array([4.0])}, {"W": np.array([0.5])}]}
        >>> clip_by_layer_norm(1.0)(grads)["layers"]
        [{'W': array([0.6]), 'b': array([0.8])}, {'W': array([0.5])}]
    """
    return _clip_groups("clip_by_layer_norm", limit, lambda names: [layer_of(name) for name in names])


def _clip_groups(name: str, limit: float, group: Callable[[list[str]], list[str]]) -> Clip:
    """A clip that bounds the norm of each group of arrays; ``group`` makes of their names those of their groups."""
    limit = read_number(name, "limit", limit)

    def rule(grads: Any, params: Any) -> Clipped:
        leaves, rebuild = trees.flatten(grads)
        places: dict[str, list[int]] = {}
        for i, (g, key) in enumerate(zip(leaves, group(name_leaves(grads)), strict=True)):
            if is_number(g):
                places.setdefault(key, []).append(i)
        new, smallest, finite = list(leaves), 1.0, True
        for chosen in places.values():
            norm = measure([leaves[i] for i in chosen])
            for i in chosen:
                new[i], factor = _bound(leaves[i], norm, limit)
            smallest, finite = np.minimum(smallest, factor), np.logical_and(finite, np.isfinite(norm.root))
        return Clipped(rebuild(new), smallest, finite)

    return Clip(name, rule, {"limit": limit})


def _bound(g: Any, norm: Norm, limit: Any) -> tuple[Any, Any]:
    """(g · factor, factor) with the factor limit / norm where the norm is above the limit, else 1.

    Where the norm is near the end of the range, limit / norm would lose digits: g comes into the norm's unit first.
    """
    root, unit = norm
    exceeds = root > limit * unit
    scale = np.where(exceeds, limit / np.where(exceeds, root, 1.0), 1.0)
    clipped = (g * to_dtype(np.where(exceeds, unit, 1.0), g)) * to_dtype(scale, g)
    return clipped, scale * np.where(exceeds, unit, 1.0)


@explain_keywords
def clip_adaptive(limit: float = 0.01, epsilon: float = 1e-3) -> Clip:
    """Scale the gradient of each unit by limit · max(‖w‖, ε) / ‖g‖ where ‖g‖ exceeds limit · max(‖w‖, ε).

    A unit is a column of W (fan_in, fan_out): all that leads to one output. Of a vector, the whole is one unit.

    Args:
        limit: the largest norm of a gradient as a share of the norm of its weights, above 0.
        epsilon: what weights of norm 0 count as, above 0.

    Returns:
        The rule; it needs the parameters.

    Raises:
        ArgumentError: ``clip_adaptive: limit must be above 0 and finite, got 0.``; without the parameters.

    Source: Brock et al., High-performance large-scale image recognition without normalization, ICML 2021, eq. 3.

    Example:
        >>> clip_adaptive(0.5)(np.array([[6.0, 0.1], [8.0, 0.1]]), np.array([[3.0, 3.0], [4.0, 4.0]]))
        array([[1.5, 0.1],
               [2. , 0.1]])
    """
    limit = read_number("clip_adaptive", "limit", limit)
    epsilon = read_number("clip_adaptive", "epsilon", epsilon)

    def rule(grads: Any, params: Any) -> Clipped:
        if params is None:
            raise ArgumentError("clip_adaptive compares gradients with weights. Give it the parameters too.")
        smallest: Any = 1.0
        finite: Any = True

        def bound(g: Any, w: Any) -> Any:
            nonlocal smallest, finite
            ndim = spec_of(g).ndim
            axis = tuple(range(ndim - 1)) if ndim > 1 else None
            norm, (root, unit) = measure([g], axis), measure([w], axis)
            clipped, factor = _bound(g, norm, limit * np.maximum(root / unit, epsilon))
            smallest = np.minimum(smallest, np.min(factor, initial=1.0))
            finite = np.logical_and(finite, np.all(np.isfinite(norm.root)))
            return clipped

        return Clipped(each(bound, grads, params), smallest, finite)

    return Clip("clip_adaptive", rule, {"limit": limit, "epsilon": epsilon})


CLIPS: Final[dict[str, Callable[..., Clip]]] = {
    make.__name__: make
    for make in (clip_by_value, clip_by_norm, clip_by_global_norm, clip_by_layer_norm, clip_adaptive)
}


def build_clip(settings: Any) -> Clip | None:
    """Make a clipping rule of its settings, such as a saved run holds.

    Args:
        settings: ``{"name": …, "limit": …}``, or None for no clipping.

    Returns:
        The rule, or None.

    Raises:
        ArgumentError: ``there is no clipping rule 'clip'. Use one of …``; a setting that is missing, unknown or out of
            range.

    Source: derived here.

    Example:
        >>> build_clip({"name": "clip_by_norm", "limit": 2.0})
        clip_by_norm(2)
    """
    return None if settings is None else build("a clipping rule", "name", settings, CLIPS)


def _arrays(grads: Any) -> list[Any]:
    return [g for g in trees.flatten(grads)[0] if is_number(g)]
