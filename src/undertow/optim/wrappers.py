"""Optimizers around optimizers: lookahead, an average of the weights, accumulated gradients, a scale on the rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from undertow.errors import ArgumentError
from undertow.optim.clipping import Clip
from undertow.optim.rules import Optimizer, each, number, select, zeros
from undertow.optim.settings import read_amount, read_count, read_number, read_share


class LookaheadState(NamedTuple):
    """The number of steps t, the slow weights, and the state of the rule inside."""

    t: Any
    slow: Any
    inner: Any


class AveragedState(NamedTuple):
    """The number of steps t, the average of the weights, and the state of the rule inside."""

    t: Any
    average: Any
    inner: Any


class AccumulatedState(NamedTuple):
    """The number of gradients t since the last update, their sum, and the state of the rule inside."""

    t: Any
    total: Any
    inner: Any


class ScaledState(NamedTuple):
    """What the rate is multiplied by, and the state of the rule inside."""

    scale: Any
    inner: Any


Update = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def scaled_update(optimizer: Optimizer) -> Update:
    """Return ``update(grads, state, params, scale)`` of any optimizer.

    For one whose update takes no scale, θ + scale · (θ_new − θ) is used, which is the same where the step is
    proportional to the rate.
    """
    if "scale" in inspect.signature(optimizer.update).parameters:
        return optimizer.update

    def update(grads: Any, state: Any, params: Any, scale: Any = 1.0) -> tuple[Any, Any]:
        new, state = optimizer.update(grads, state, params)
        if isinstance(scale, float) and scale == 1.0:
            return new, state
        return each(lambda w, new: w + number(scale, w) * (new - w), params, new), state

    return update


def read_optimizer(rule: str, optimizer: Any) -> Optimizer:
    """Return an optimizer; ArgumentError for anything else."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{rule}: optimizer is {optimizer!r:.80}. Give an Optimizer such as undertow.optim.adam().")
    return optimizer


def describe_inner(optimizer: Optimizer) -> dict[str, Any]:
    """The description of an optimizer that is inside another."""
    return {"name": optimizer.name, **optimizer.settings}


def lookahead(optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> Optimizer:
    """Lookahead: slow weights φ follow the fast ones θ: after every k steps φ ← φ + α (θ − φ); θ ← φ.

    Args:
        optimizer: what moves the fast weights; its state goes on at a synchronisation.
        k: how many steps lie between two synchronisations, 1 or more.
        alpha: how far the slow weights move, above 0 to 1.

    Returns:
        The optimizer; its state is a `LookaheadState`.

    Raises:
        ArgumentError: ``lookahead: k must be a whole number of 1 or more, got 0.``

    Source: Zhang et al., Lookahead optimizer: k steps forward, 1 step back, NeurIPS 2019, algorithm 1.

    Example:
        >>> from undertow.optim import sgd
        >>> rule = lookahead(sgd(1.0), k=2, alpha=0.5)
        >>> w, state = 8.0, rule.init(8.0)
        >>> for _ in range(2):
        ...     w, state = rule.update(1.0, state, w)
        >>> w
        7.0
    """
    inner = scaled_update(read_optimizer("lookahead", optimizer))
    k, alpha = read_count("lookahead", "k", k), read_number("lookahead", "alpha", alpha)
    if alpha > 1:
        raise ArgumentError(f"lookahead: alpha must be at most 1, got {alpha:g}.")

    def init(params: Any) -> LookaheadState:
        return LookaheadState(0.0, params, optimizer.init(params))

    def update(grads: Any, state: LookaheadState, params: Any, scale: Any = 1.0) -> tuple[Any, LookaheadState]:
        fast, new = inner(grads, state.inner, params, scale)
        t = state.t + 1.0
        due = t % float(k) == 0.0
        slow = each(lambda slow, fast: select(due, slow + alpha * (fast - slow), slow), state.slow, fast)
        return each(lambda slow, fast: select(due, slow, fast), slow, fast), LookaheadState(t, slow, new)

    settings = {"optimizer": describe_inner(optimizer), "k": k, "alpha": alpha}
    return Optimizer("lookahead", init, update, settings)


def averaged(optimizer: Optimizer, decay: float = 0.999, *, corrected: bool = True) -> Optimizer:
    """Keep an exponential moving average of the weights beside them: a ← d a + (1 − d) θ. Training does not see it.

    Corrected, dₜ = decay · (1 − decay^(t−1)) / (1 − decayᵗ), t = 1, 2, …: then a is the weighted mean of the
    weights after steps 1 to t alone, as Adam's corrected moments are. Else d = decay, and a
    begins with the initial weights.

    Args:
        optimizer: what moves the weights.
        decay: 0 ≤ decay < 1; the average reaches back about 1 / (1 − decay) steps.
        corrected: whether the initial weights are left out.

    Returns:
        The optimizer; its state is an `AveragedState`, of which `average_of` reads the average.

    Raises:
        ArgumentError: ``averaged: decay must be 0 or more and less than 1, got 1.``

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control Optim. 30, 1992
        (the idea); the correction as in Kingma and Ba, Adam, ICLR 2015, sec. 3 and 7.2.

    Example:
        >>> from undertow.optim import sgd
        >>> rule = averaged(sgd(1.0), decay=0.5)
        >>> w, state = 8.0, rule.init(8.0)
        >>> for _ in range(2):
        ...     w, state = rule.update(3.0, state, w)
        >>> w, average_of(state)
        (2.0, 3.0)
    """
    inner = scaled_update(read_optimizer("averaged", optimizer))
    decay = read_share("averaged", "decay", decay)

    def init(params: Any) -> AveragedState:
        return AveragedState(0.0, params, optimizer.init(params))

    def update(grads: Any, state: AveragedState, params: Any, scale: Any = 1.0) -> tuple[Any, AveragedState]:
        new, inside = inner(grads, state.inner, params, scale)
        t = state.t + 1.0
        share = (1.0 - decay) / (1.0 - decay**t) if corrected else 1.0 - decay
        average = each(lambda a, w: a + share * (w - a), state.average, new)
        return new, AveragedState(t, average, inside)

    settings = {"optimizer": describe_inner(optimizer), "decay": decay, "corrected": bool(corrected)}
    return Optimizer("averaged", init, update, settings)


def average_of(state: Any) -> Any:
    """Return the averaged parameters from the state of an optimizer that `averaged` made, wherever in it they are.

    Args:
        state: of an optimizer.

    Returns:
        A tree like the parameters. A `Step` gives its optimizer a dict of arrays by name.

    Raises:
        ArgumentError: ``the state holds no average. Make the optimizer with undertow.optim.averaged.``

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> average_of(averaged(sgd(0.1)).init(3.0))
        3.0
    """
    found = _find(state, AveragedState)
    if found is None:
        raise ArgumentError("the state holds no average. Make the optimizer with undertow.optim.averaged.")
    return found.average


def accumulate(optimizer: Optimizer, n: int, clip: Clip | None = None) -> Optimizer:
    """Collect n gradients, and update with their mean at every n-th step; the steps between change no parameter.

    Args:
        optimizer: what updates. Its schedule counts updates, not steps.
        n: how many gradients make one, 1 or more.
        clip: clips their mean; the clip of a step would clip each one.

    Returns:
        The optimizer; its state is an `AccumulatedState`.

    Raises:
        ArgumentError: ``accumulate: n must be a whole number of 1 or more, got 0.``

    Source: derived here: the mean of the gradients of n batches of one size is that of the batch they make together.

    Example:
        >>> from undertow.optim import sgd
        >>> rule = accumulate(sgd(1.0), n=2)
        >>> w, state = rule.update(2.0, rule.init(8.0), 8.0)
        >>> w, rule.update(4.0, state, w)[0]
        (8.0, 5.0)
    """
    inner = scaled_update(read_optimizer("accumulate", optimizer))
    n = read_count("accumulate", "n", n)
    if clip is not None and not isinstance(clip, Clip):
        raise ArgumentError(f"accumulate: clip is {clip!r:.80}. Give a rule such as clip_by_global_norm(1.0).")

    def init(params: Any) -> AccumulatedState:
        return AccumulatedState(0.0, zeros(params), optimizer.init(params))

    def update(grads: Any, state: AccumulatedState, params: Any, scale: Any = 1.0) -> tuple[Any, AccumulatedState]:
        total = each(lambda total, g: total + g, state.total, grads)
        t = state.t + 1.0
        due = t == float(n)
        mean = each(lambda total: total / n, total)
        mean = mean if clip is None else clip.apply(mean, params)
        new, inside = inner(mean, state.inner, params, scale)

        def keep(a: Any, b: Any) -> Any:
            return each(lambda a, b: select(due, a, b), a, b)

        rest = AccumulatedState(select(due, 0.0, t), keep(zeros(params), total), keep(inside, state.inner))
        return keep(new, params), rest

    settings = {"optimizer": describe_inner(optimizer), "n": n}
    if clip is not None:
        settings["clip"] = {"name": clip.name, **clip.settings}
    return Optimizer("accumulate", init, update, settings)


def scaled(optimizer: Optimizer) -> Optimizer:
    """Multiply the rate of an optimizer by a number in its state, which `with_scale` sets between steps.

    Args:
        optimizer: any; one of your own whose update takes no ``scale`` moves by that share of its step.

    Returns:
        The optimizer; its state is a `ScaledState` whose scale is 1.

    Raises:
        ArgumentError: ``scaled: optimizer is 'adam'. Give an Optimizer such as undertow.optim.adam().``

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> rule = scaled(sgd(1.0))
        >>> rule.update(2.0, with_scale(rule.init(8.0), 0.5), 8.0)
        (7.0, ScaledState(scale=0.5, inner=()))
    """
    inner = scaled_update(read_optimizer("scaled", optimizer))

    def init(params: Any) -> ScaledState:
        return ScaledState(1.0, optimizer.init(params))

    def update(grads: Any, state: ScaledState, params: Any, scale: Any = 1.0) -> tuple[Any, ScaledState]:
        new, inside = inner(grads, state.inner, params, state.scale * scale)
        return new, ScaledState(state.scale, inside)

    return Optimizer("scaled", init, update, {"optimizer": describe_inner(optimizer)})


def with_scale(state: Any, scale: float) -> Any:
    """Return the state of an optimizer that `scaled` made, with another scale.

    Args:
        state: a `ScaledState`.
        scale: 0 or more; 1 leaves the rate as it is.

    Returns:
        The new state.

    Raises:
        ArgumentError: ``the state has no scale. Make the optimizer with undertow.optim.scaled.``

    Source: derived here.

    Example:
        >>> with_scale(ScaledState(1.0, ()), 0.1)
        ScaledState(scale=0.1, inner=())
    """
    if not isinstance(state, ScaledState):
        raise ArgumentError("the state has no scale. Make the optimizer with undertow.optim.scaled.")
    return state._replace(scale=read_amount("with_scale", "scale", scale))


def _find(state: Any, kind: type) -> Any:
    """The first part of a state that is of a kind."""
    if isinstance(state, kind):
        return state
    parts = list(state.values()) if isinstance(state, dict) else state if isinstance(state, tuple | list) else ()
    return next((found for part in parts if (found := _find(part, kind)) is not None), None)
