"""Optimizers around optimizers: lookahead, an average of the weights, accumulated gradients, a scale on the rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from undertow import trees
from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.optim.clipping import Clip, Clipped
from undertow.optim.fitting import is_number
from undertow.optim.names import name_leaves
from undertow.optim.rules import Optimizer, each, number, select, zeros
from undertow.optim.settings import is_ours, read_amount, read_count, read_number, read_share


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


def clip_trained(clip: Clip, optimizer: Optimizer, grads: Any, params: Any) -> Clipped:
    """Clip the gradients of those parameters that an optimizer moves; the others stay as they are, and count nowhere.

    Args:
        clip: the rule.
        optimizer: that gets the gradients.
        grads: a tree of arrays.
        params: a tree of the same structure.

    Returns:
        What the rule gives, with the whole tree of gradients.

    Source: derived here.

    Example:
        >>> import numpy as np
        >>> from undertow.optim import clip_by_global_norm, grouped, sgd
        >>> grads = {"a": np.array([3.0]), "b": np.array([4.0])}
        >>> clip_trained(clip_by_global_norm(1.5), grouped(sgd(), {"b": "frozen"}), grads, grads).grads
        {'a': array([1.5]), 'b': array([4.])}
    """
    if optimizer.trains is None:
        return clip.apply_with_factor(grads, params)
    (leaves, rebuild), weights = trees.flatten(grads), trees.flatten(params)[0]
    names = name_leaves(params)
    moved = [n for n, w in zip(names, weights, strict=True) if is_number(w) and optimizer.trains(n, w)]
    by_name, weight = dict(zip(names, leaves, strict=True)), dict(zip(names, weights, strict=True))
    found = clip.apply_with_factor({n: by_name[n] for n in moved}, {n: weight[n] for n in moved})
    by_name.update(found.grads)
    return Clipped(rebuild([by_name[n] for n in names]), found.factor, found.finite)


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


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """The description of an optimizer as plain data; ``own`` where that does not make it again."""
    own = {} if is_ours(optimizer.update) else {"own": True}
    return {"name": optimizer.name, **optimizer.settings, **own}


@explain_keywords
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

    settings = {"optimizer": describe_optimizer(optimizer), "k": k, "alpha": alpha}
    return Optimizer("lookahead", init, update, settings, optimizer.trains)


@explain_keywords
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

    settings = {"optimizer": describe_optimizer(optimizer), "decay": decay, "corrected": bool(corrected)}
    return Optimizer("averaged", init, update, settings, optimizer.trains)


def average_of(state: Any, model: Any = None) -> Any:
    """Return the averaged parameters from the state of an optimizer that `averaged` made, wherever in it they are.

    Args:
        state: of an optimizer.
        model: a tree with the parameters' names. In training the average is a dict of arrays by name; with a model
            it is put into a copy of that, whose running statistics stay.

    Returns:
        A tree like the parameters that the optimizer was given, or like the model.

    Raises:
        ArgumentError: ``the state holds no average. Make the optimizer with undertow.optim.averaged.``; a model that
            lacks some of the parameters, or has others.

    Source: derived here.

    Example:
        >>> from undertow.optim import sgd
        >>> average_of(averaged(sgd(0.1)).init(3.0))
        3.0
        >>> average_of(averaged(sgd(0.1)).init({"layers[0].W": 3.0}), {"layers": [{"W": 1.0, "f": abs}]})
        {'layers': [{'W': 3.0, 'f': <built-in function abs>}]}
    """
    found = _find(state, AveragedState)
    if found is None:
        raise ArgumentError("the state holds no average. Make the optimizer with undertow.optim.averaged.")
    if model is None:
        return found.average
    leaves, rebuild = trees.flatten(model)
    average = dict(zip(name_leaves(found.average), trees.flatten(found.average)[0], strict=True))
    names = [name or "parameter" if isinstance(found.average, dict) else name for name in name_leaves(model)]
    moved = [is_number(w) and t for w, t in zip(leaves, trees.unmarked(model, "not_trained"), strict=True)]
    wanted = {name: np.shape(w) for name, w, t in zip(names, leaves, moved, strict=True) if t}
    there = {name: np.shape(w) for name, w in average.items() if is_number(w)}
    if wanted != there:
        differs = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        raise ArgumentError(
            f"the average and the model differ in {', '.join(differs[:4])}. Give the model that was trained."
        )
    return rebuild([average[name] if t else w for name, w, t in zip(names, leaves, moved, strict=True)])


@explain_keywords
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
        mean = mean if clip is None else clip_trained(clip, optimizer, mean, params).grads
        new, inside = inner(mean, state.inner, params, scale)

        def keep(a: Any, b: Any) -> Any:
            return each(lambda a, b: select(due, a, b), a, b)

        rest = AccumulatedState(select(due, 0.0, t), keep(zeros(params), total), keep(inside, state.inner))
        return keep(new, params), rest

    settings = {"optimizer": describe_optimizer(optimizer), "n": n}
    if clip is not None:
        settings["clip"] = {"name": clip.name, **clip.settings}
    return Optimizer("accumulate", init, update, settings, optimizer.trains)


@explain_keywords
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

    return Optimizer("scaled", init, update, {"optimizer": describe_optimizer(optimizer)}, optimizer.trains)


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
