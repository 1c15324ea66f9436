"""Update rules: ``init(params)`` makes a state, ``update(grads, state, params)`` new parameters and state.

Both are pure: the caller's arrays are never written to. Hyperparameters are Python floats, which NumPy 2
lets take on the dtype of the arrays, so that float32 parameters stay float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError


@dataclass(frozen=True)
class Optimizer:
    """An update rule.

    Attributes:
        name: ``"adam"``.
        init: ``init(params)`` → the state before the first step.
        update: ``update(grads, state, params)`` → (new parameters, new state).
        settings: the hyperparameters by name, as plain data.

    Source: derived here.

    Example:
        >>> sgd(0.5).update(np.array([1.0]), (), np.array([3.0]))
        (array([2.5]), ())
    """

    name: str
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]
    settings: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value:g}' for key, value in self.settings.items())})"


class MomentumState(NamedTuple):
    """The velocities v: a tree like the parameters."""

    v: Any


class AdamState(NamedTuple):
    """The number of steps t, and the moments m and v: trees like the parameters."""

    t: Any
    m: Any
    v: Any


def each(rule: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a rule to the numbers of trees; other leaves (activation functions) stay as they are.

    Args:
        rule: a function of one leaf of each tree.
        tree: the tree whose other leaves are kept.
        rest: trees of the same structure.

    Returns:
        A tree of that structure.

    Source: derived here.

    Example:
        >>> each(lambda x: 2 * x, (1.5, abs))
        (3.0, <built-in function abs>)
    """
    return trees.map(lambda x, *others: x if callable(x) else rule(x, *others), tree, *rest)


def sgd(rate: float = 0.01) -> Optimizer:
    """Stochastic gradient descent: θ ← θ − rate · g.

    Args:
        rate: the learning rate, above 0.

    Returns:
        The optimizer; its state is empty.

    Raises:
        ArgumentError: ``sgd: rate must be above 0 and finite, got -1.``

    Source: Goodfellow et al., Deep Learning, 2016, algorithm 8.1.

    Example:
        >>> sgd(0.1).update({"w": np.float32([1.0])}, (), {"w": np.float32([2.0])})[0]
        {'w': array([1.9], dtype=float32)}
    """
    rate = _read_number("sgd", "rate", rate)

    def init(params: Any) -> tuple[()]:
        return ()

    def update(grads: Any, state: tuple[()], params: Any) -> tuple[Any, tuple[()]]:
        return each(lambda w, g: w - rate * g, params, grads), state

    return Optimizer("sgd", init, update, {"rate": rate})


def momentum(rate: float = 0.01, beta: float = 0.9) -> Optimizer:
    """Gradient descent with momentum: v ← β v + g; θ ← θ − rate · v.

    This is PyTorch's form. Goodfellow's v holds the rate already; with a constant rate both are the same.

    Args:
        rate: the learning rate, above 0.
        beta: how much of the velocity is kept, 0 ≤ β < 1.

    Returns:
        The optimizer; its state is a `MomentumState`.

    Raises:
        ArgumentError: ``momentum: beta must be 0 or more and less than 1, got 1.``

    Source: Sutskever et al., On the importance of initialization and momentum, ICML 2013, eq. 1–2.

    Example:
        >>> rule = momentum(0.1, beta=0.5)
        >>> w, state = rule.update(2.0, rule.init(1.0), 1.0)
        >>> rule.update(2.0, state, w)
        (0.5, MomentumState(v=3.0))
    """
    rate, beta = _read_number("momentum", "rate", rate), _read_share("momentum", "beta", beta)

    def init(params: Any) -> MomentumState:
        return MomentumState(each(lambda w: w * 0.0, params))

    def update(grads: Any, state: MomentumState, params: Any) -> tuple[Any, MomentumState]:
        v = each(lambda v, g: beta * v + g, state.v, grads)
        return each(lambda w, v: w - rate * v, params, v), MomentumState(v)

    return Optimizer("momentum", init, update, {"rate": rate, "beta": beta})


def adam(rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam: steps scaled by running means of the gradient and of its square, both corrected for their start.

    t ← t + 1; m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
    θ ← θ − rate · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).

    Args:
        rate: the learning rate, above 0.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.

    Returns:
        The optimizer; its state is an `AdamState`.

    Raises:
        ArgumentError: ``adam: beta1 must be 0 or more and less than 1, got 1.``

    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.

    Example:
        >>> rule = adam(0.1)
        >>> w, state = rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))
        >>> w.round(6), state.t
        (array([0.9]), 1.0)
    """
    rate, epsilon = _read_number("adam", "rate", rate), _read_number("adam", "epsilon", epsilon)
    beta1, beta2 = _read_share("adam", "beta1", beta1), _read_share("adam", "beta2", beta2)

    def init(params: Any) -> AdamState:
        return AdamState(0.0, each(lambda w: w * 0.0, params), each(lambda w: w * 0.0, params))

    def update(grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        t = state.t + 1.0
        m = each(lambda m, g: beta1 * m + (1 - beta1) * g, state.m, grads)
        v = each(lambda v, g: beta2 * v + (1 - beta2) * (g * g), state.v, grads)
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        new = each(lambda w, m, v: w - rate * (m / c1) / (np.sqrt(v / c2) + epsilon), params, m, v)
        return new, AdamState(t, m, v)

    return Optimizer("adam", init, update, {"rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon})


OPTIMIZERS: Final[dict[str, Callable[..., Optimizer]]] = {"sgd": sgd, "momentum": momentum, "adam": adam}


def find_optimizer(optimizer: str | Optimizer | None) -> Optimizer:
    """Return an optimizer; a name gives it with its defaults, None gives adam.

    Args:
        optimizer: an `Optimizer`, a key of ``OPTIMIZERS``, or None.

    Returns:
        The optimizer.

    Raises:
        ArgumentError: ``there is no optimizer 'adamw'. Use one of sgd, momentum, adam.``

    Source: derived here.

    Example:
        >>> find_optimizer("sgd")
        sgd(rate=0.01)
    """
    if optimizer is None:
        return adam()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ArgumentError(f"there is no optimizer {optimizer!r}. Use one of {', '.join(OPTIMIZERS)}.")
        return OPTIMIZERS[optimizer]()
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"optimizer is {optimizer!r}. Give an Optimizer such as undertow.optim.adam(1e-3).")
    return optimizer


def _read_number(rule: str, name: str, value: float) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < float(value) < math.inf:
        raise ArgumentError(f"{rule}: {name} must be above 0 and finite, got {value!r}.")
    return float(value)


def _read_share(rule: str, name: str, value: float) -> float:
    """A number of 0 or more and less than 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= float(value) < 1:
        raise ArgumentError(f"{rule}: {name} must be 0 or more and less than 1, got {value!r}.")
    return float(value)
