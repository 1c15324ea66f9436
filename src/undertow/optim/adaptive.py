"""Rules that divide each entry of the gradient by its usual size: adagrad, rmsprop, adadelta."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from undertow.keywords import explain_keywords
from undertow.optim.rules import Optimizer, each, make_optimizer, zeros
from undertow.optim.schedule import Rate, read_rate
from undertow.optim.settings import read_amount, read_flag, read_number, read_share


class AdagradState(NamedTuple):
    """The sums of squares: a tree like the parameters."""

    total: Any


class RMSpropState(NamedTuple):
    """The mean squares v, and where they are used the means and the velocities (else empty)."""

    v: Any
    mean: Any
    velocity: Any


class AdadeltaState(NamedTuple):
    """The mean squares of gradients, v, and of steps, u: trees like the parameters."""

    v: Any
    u: Any


@explain_keywords
def adagrad(rate: Rate = 0.01, epsilon: float = 1e-10, *, initial: float = 0.0, decay: float = 0.0) -> Optimizer:
    """Adagrad: G ← G + g²; θ ← θ − rate · g / (√G + ε).

    ε stands outside the root, and G begins at 0, as in PyTorch; optax puts ε (1e-7) into the root and begins at 0.1.

    Args:
        rate: the learning rate, above 0, or a schedule.
        epsilon: added to the root, above 0.
        initial: what G begins with, 0 or more.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `AdagradState`.

    Raises:
        ArgumentError: ``adagrad: epsilon must be above 0 and finite, got 0.``

    Source: Duchi et al., Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12,
        2011, figure 1 (the diagonal form).

    Example:
        >>> rule = adagrad(0.5)
        >>> rule.update(np.array([4.0, -0.1]), rule.init(np.ones(2)), np.ones(2))[0].round(6)
        array([0.5, 1.5])
    """
    rate, decay = read_rate("adagrad", rate), read_amount("adagrad", "decay", decay)
    epsilon, initial = read_number("adagrad", "epsilon", epsilon), read_amount("adagrad", "initial", initial)

    def init(params: Any) -> AdagradState:
        return AdagradState(each(lambda w: w + initial, zeros(params)))

    def direct(grads: Any, state: AdagradState, params: Any) -> tuple[Any, AdagradState]:
        total = each(lambda total, g: total + g * g, state.total, grads)
        return each(lambda g, total: g / (np.sqrt(total) + epsilon), grads, total), AdagradState(total)

    return make_optimizer("adagrad", init, direct, {"epsilon": epsilon, "initial": initial}, rate, decay)


@explain_keywords
def rmsprop(
    rate: Rate = 0.01,
    beta: float = 0.99,
    epsilon: float = 1e-8,
    *,
    momentum: float = 0.0,
    centered: bool = False,
    decay: float = 0.0,
) -> Optimizer:
    """RMSprop: v ← β v + (1 − β) g²; u = g / (√v + ε); θ ← θ − rate · u.

    Centered: a ← β a + (1 − β) g, and v − a² (no less than 0) takes the place of v in the root. With momentum μ:
    b ← μ b + u takes the place of u. ε stands outside the root, as in PyTorch; optax puts it inside.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta: the decay of the mean square, 0 ≤ β < 1.
        epsilon: added to the root, above 0.
        momentum: μ, 0 ≤ μ < 1; 0 keeps no velocity.
        centered: whether to divide by the standard deviation instead of the root mean square.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `RMSpropState`.

    Raises:
        ArgumentError: ``rmsprop: beta must be 0 or more and less than 1, got 1.``

    Source: Tieleman and Hinton, Lecture 6.5, Coursera: Neural networks for machine learning, 2012; centered and
        with momentum: Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850, eq. 38–41.

    Example:
        >>> rule = rmsprop(0.1, beta=0.75)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.8])
    """
    rate, decay = read_rate("rmsprop", rate), read_amount("rmsprop", "decay", decay)
    beta, epsilon = read_share("rmsprop", "beta", beta), read_number("rmsprop", "epsilon", epsilon)
    mu, centered = read_share("rmsprop", "momentum", momentum), read_flag("rmsprop", "centered", centered)

    def init(params: Any) -> RMSpropState:
        return RMSpropState(zeros(params), zeros(params) if centered else (), zeros(params) if mu else ())

    def direct(grads: Any, state: RMSpropState, params: Any) -> tuple[Any, RMSpropState]:
        v = each(lambda v, g: beta * v + (1 - beta) * (g * g), state.v, grads)
        mean, velocity, square = state.mean, state.velocity, v
        if centered:
            mean = each(lambda a, g: beta * a + (1 - beta) * g, mean, grads)
            square = each(lambda v, a: np.maximum(v - a * a, 0.0), v, mean)  # rounding may leave less than 0
        u = each(lambda g, s: g / (np.sqrt(s) + epsilon), grads, square)
        if mu:
            u = velocity = each(lambda b, u: mu * b + u, velocity, u)
        return u, RMSpropState(v, mean, velocity)

    settings = {"beta": beta, "epsilon": epsilon, "momentum": mu, "centered": centered}
    return make_optimizer("rmsprop", init, direct, settings, rate, decay)


@explain_keywords
def adadelta(rate: Rate = 1.0, beta: float = 0.9, epsilon: float = 1e-6, *, decay: float = 0.0) -> Optimizer:
    """Adadelta: v ← β v + (1 − β) g²; δ = g · √(u + ε) / √(v + ε); u ← β u + (1 − β) δ²; θ ← θ − rate · δ.

    ε stands in the roots, as in the paper, PyTorch and optax. The paper has no rate: it is 1.

    Args:
        rate: by what the step is multiplied, above 0, or a schedule.
        beta: the decay of the mean squares, the paper's ρ, 0 ≤ β < 1.
        epsilon: added to the mean squares, above 0; the first steps have about its root for their size.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `AdadeltaState`.

    Raises:
        ArgumentError: ``adadelta: beta must be 0 or more and less than 1, got 1.``

    Source: Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, algorithm 1.

    Example:
        >>> rule = adadelta(beta=0.75)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.998])
    """
    rate, decay = read_rate("adadelta", rate), read_amount("adadelta", "decay", decay)
    beta, epsilon = read_share("adadelta", "beta", beta), read_number("adadelta", "epsilon", epsilon)

    def direct(grads: Any, state: AdadeltaState, params: Any) -> tuple[Any, AdadeltaState]:
        v = each(lambda v, g: beta * v + (1 - beta) * (g * g), state.v, grads)
        steps = each(lambda g, u, v: g * (np.sqrt(u + epsilon) / np.sqrt(v + epsilon)), grads, state.u, v)
        return steps, AdadeltaState(v, each(lambda u, d: beta * u + (1 - beta) * (d * d), state.u, steps))

    def init(params: Any) -> AdadeltaState:
        return AdadeltaState(zeros(params), zeros(params))

    return make_optimizer("adadelta", init, direct, {"beta": beta, "epsilon": epsilon}, rate, decay)
