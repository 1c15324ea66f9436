"""What an update rule is, and the family of gradient descent: sgd, momentum, nesterov, lion.

``init(params)`` makes a state, ``update(grads, state, params)`` new parameters and state. Both are pure: the
caller's arrays are never written to. Hyperparameters are Python floats, which NumPy 2 lets take on the dtype of
the arrays, so that float32 parameters stay float32.

A rule here gives a direction u only. `make_optimizer` adds what all have in common:
θ ← θ − rate · (u + decay · θ), with a rate that is a number or a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from undertow import trees
from undertow.habits import OPTIMIZERS, missing_attribute
from undertow.keywords import explain_keywords
from undertow.optim.fitting import check_calls, check_numbers, is_number, unchecked
from undertow.optim.schedule import Rate, Schedule, read_rate
from undertow.optim.settings import is_ours, read_amount, read_share, show
from undertow.primitives import Traced, astype, spec_of, where


@dataclass(frozen=True)
class Optimizer:
    """An update rule.

    Attributes:
        name: ``"adam"``.
        init: ``init(params)`` → the state before the first step.
        update: ``update(grads, state, params)`` → (new parameters, new state); those of `undertow.optim` take a
            fourth argument, ``scale``, by which the rate is multiplied.
        settings: the hyperparameters by name, as plain data; `build_optimizer` reads them.
        trains: (name, array) → whether a parameter ever moves; None where all do. Gradients of the others are neither
            clipped nor counted in a norm.
        schedule: the learning rate as a function of the step's number, from which it is recorded, a function of the
            user's own too; None where it is one number, or there are several.

    Source: derived here.

    Example:
        >>> sgd(0.5).update(np.array([1.0]), (), np.array([3.0]))
        (array([2.5]), ())
    """

    name: str
    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    trains: Callable[[str, Any], bool] | None = None
    schedule: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "update", check_calls(self.name, self.init, self.update))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute("an Optimizer", name, OPTIMIZERS)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle a built-in optimizer by its settings."""
        from undertow.optim.registry import OPTIMIZERS, WRAPPERS, build_optimizer

        known = is_ours(self.update) and self.name in OPTIMIZERS | WRAPPERS
        if known:
            return build_optimizer, ({"name": self.name, **self.settings},)
        return Optimizer, (self.name, self.init, unchecked(self.update), self.settings, self.trains, self.schedule)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={show(value)}' for key, value in self.settings.items())})"


class MomentumState(NamedTuple):
    """The velocities v: a tree like the parameters."""

    v: Any


class LionState(NamedTuple):
    """The running means m of the gradients: a tree like the parameters."""

    m: Any


class ScheduledState(NamedTuple):
    """The number of steps t that a schedule is asked for, and the state of the rule itself."""

    t: Any
    inner: Any


def each(rule: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a rule to the numbers of trees; other leaves (activation functions, names, flags) stay as they are.

    Args:
        rule: a function of one leaf of each tree.
        tree: the tree whose other leaves are kept.
        rest: trees of the same structure.

    Returns:
        A tree of that structure.

    Source: derived here.

    Example:
        >>> each(lambda x: 2 * x, (1.5, abs, "relu", True))
        (3.0, <built-in function abs>, 'relu', True)
    """
    return trees.map(lambda x, *others: rule(x, *others) if is_number(x) else x, tree, *rest)


def zeros(params: Any) -> Any:
    """Return a tree of zeros like the parameters; a Python float gives a Python float."""
    check_numbers(params)
    return each(lambda w: w * 0.0, params)


def number(x: Any, like: Any) -> Any:
    """Return a number that does not change the dtype of the array it meets.

    NumPy's functions make float64 of Python floats, which would turn float32 parameters into float64 ones.
    """
    return astype(x, dtype=spec_of(like).dtype) if isinstance(x, Traced) else float(x)


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition (one truth value) holds, else b, both of one dtype; Python floats stay such."""
    if isinstance(condition, Traced):
        return astype(where(condition, a, b), dtype=spec_of(b).dtype)
    return a if condition else b


@explain_keywords
def make_optimizer(
    name: str,
    init: Callable[[Any], Any],
    direct: Callable[[Any, Any, Any], tuple[Any, Any]],
    settings: dict[str, Any],
    rate: float | Schedule,
    decay: float = 0.0,
) -> Optimizer:
    """Make an optimizer of a rule that gives a direction u: θ ← θ − rate · (u + decay · θ).

    Args:
        name: of the rule.
        init: parameters → state.
        direct: (gradients, state, parameters) → (u, new state).
        settings: of the rule, without rate and decay.
        rate: the learning rate, as `read_rate` gives it.
        decay: decoupled weight decay, 1 a unit of rate.

    Returns:
        The optimizer. With a schedule its state is a `ScheduledState` around that of the rule.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 1, with the decay
        multiplied by the whole rate.

    Example:
        >>> halve = make_optimizer("halve", lambda params: (), lambda g, s, w: (w, s), {}, 0.5)
        >>> halve.update(np.array([9.0]), (), np.array([3.0]))
        (array([1.5]), ())
    """

    def step(grads: Any, state: Any, params: Any, rate: Any) -> tuple[Any, Any]:
        u, state = direct(grads, state, params)
        if decay:
            return each(lambda w, u: w - number(rate, w) * (u + decay * w), params, u), state
        return each(lambda w, u: w - number(rate, w) * u, params, u), state

    described = {"rate": rate, **settings, **({"decay": decay} if decay else {})}
    if not isinstance(rate, Schedule):

        def update(grads: Any, state: Any, params: Any, scale: Any = 1.0) -> tuple[Any, Any]:
            return step(grads, state, params, rate * scale)

        return Optimizer(name, init, update, described)

    def init_scheduled(params: Any) -> ScheduledState:
        return ScheduledState(0.0, init(params))

    def update_scheduled(grads: Any, state: ScheduledState, params: Any, scale: Any = 1.0) -> tuple[Any, Any]:
        new, inner = step(grads, state.inner, params, rate(state.t) * scale)
        return new, ScheduledState(state.t + 1.0, inner)

    return Optimizer(name, init_scheduled, update_scheduled, described | {"rate": rate.settings}, schedule=rate)


@explain_keywords
def sgd(rate: Rate = 0.01, *, decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent: θ ← θ − rate · g.

    Args:
        rate: the learning rate, above 0, or a schedule.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is empty.

    Raises:
        ArgumentError: ``sgd: rate must be above 0 and finite, got -1.``

    Source: Goodfellow et al., Deep Learning, 2016, algorithm 8.1.

    Example:
        >>> sgd(0.1).update({"w": np.float32([1.0])}, (), {"w": np.float32([2.0])})[0]
        {'w': array([1.9], dtype=float32)}
    """
    rate, decay = read_rate("sgd", rate), read_amount("sgd", "decay", decay)
    return make_optimizer("sgd", lambda params: (), lambda grads, state, params: (grads, state), {}, rate, decay)


@explain_keywords
def momentum(rate: Rate = 0.01, beta: float = 0.9, *, decay: float = 0.0) -> Optimizer:
    """Gradient descent with momentum: v ← β v + g; θ ← θ − rate · v.

    This is PyTorch's form. Goodfellow's v holds the rate already; with a constant rate both are the same.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta: how much of the velocity is kept, 0 ≤ β < 1.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

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
    return _make_momentum("momentum", rate, beta, decay, ahead=False)


@explain_keywords
def nesterov(rate: Rate = 0.01, beta: float = 0.9, *, decay: float = 0.0) -> Optimizer:
    """Nesterov's accelerated gradient: v ← β v + g; θ ← θ − rate · (g + β v).

    The gradient is taken at the point looked ahead to, which is what θ stands for here: Nesterov's own θ is
    behind it by rate · β v. PyTorch and optax use this form too.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta: how much of the velocity is kept, 0 ≤ β < 1.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is a `MomentumState`.

    Raises:
        ArgumentError: ``nesterov: beta must be 0 or more and less than 1, got 1.``

    Source: Sutskever et al., On the importance of initialization and momentum, ICML 2013, eq. 3–4, with the change
        of variable of Bengio et al., Advances in optimizing recurrent networks, ICASSP 2013, eq. 7.

    Example:
        >>> rule = nesterov(0.1, beta=0.5)
        >>> rule.update(2.0, rule.init(1.0), 1.0)
        (0.7, MomentumState(v=2.0))
    """
    return _make_momentum("nesterov", rate, beta, decay, ahead=True)


def _make_momentum(name: str, rate: Rate, beta: float, decay: float, ahead: bool) -> Optimizer:
    rate, beta = read_rate(name, rate), read_share(name, "beta", beta)
    decay = read_amount(name, "decay", decay)

    def direct(grads: Any, state: MomentumState, params: Any) -> tuple[Any, MomentumState]:
        v = each(lambda v, g: beta * v + g, state.v, grads)
        return each(lambda g, v: g + beta * v, grads, v) if ahead else v, MomentumState(v)

    return make_optimizer(name, lambda params: MomentumState(zeros(params)), direct, {"beta": beta}, rate, decay)


@explain_keywords
def lion(rate: Rate = 1e-4, beta1: float = 0.9, beta2: float = 0.99, *, decay: float = 0.0) -> Optimizer:
    """Lion: θ ← θ − rate · (sign(β₁ m + (1 − β₁) g) + decay · θ); m ← β₂ m + (1 − β₂) g.

    Every entry moves by rate, so that a rate 3 to 10 times smaller than Adam's is usual.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the share of m in the direction, 0 ≤ β₁ < 1.
        beta2: the decay of the mean, 0 ≤ β₂ < 1.
        decay: decoupled weight decay, 0 or more.

    Returns:
        The optimizer; its state is a `LionState`.

    Raises:
        ArgumentError: ``lion: beta1 must be 0 or more and less than 1, got 1.``

    Source: Chen et al., Symbolic discovery of optimization algorithms, NeurIPS 2023, algorithm 2.

    Example:
        >>> rule = lion(0.25)
        >>> rule.update(np.array([2.0, -8.0, 0.0]), rule.init(np.ones(3)), np.ones(3))[0]
        array([0.75, 1.25, 1.  ])
    """
    rate, decay = read_rate("lion", rate), read_amount("lion", "decay", decay)
    beta1, beta2 = read_share("lion", "beta1", beta1), read_share("lion", "beta2", beta2)

    def direct(grads: Any, state: LionState, params: Any) -> tuple[Any, LionState]:
        u = each(lambda m, g: np.sign(beta1 * m + (1 - beta1) * g), state.m, grads)
        return u, LionState(each(lambda m, g: beta2 * m + (1 - beta2) * g, state.m, grads))

    settings = {"beta1": beta1, "beta2": beta2}
    return make_optimizer("lion", lambda params: LionState(zeros(params)), direct, settings, rate, decay)
