"""Rules of two moments: adam and what came of it (amsgrad, adamw, adamax, nadam, radam, lamb)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from undertow.keywords import explain_keywords
from undertow.optim.norm import norm_of
from undertow.optim.rules import Optimizer, each, make_optimizer, number, select, zeros
from undertow.optim.schedule import Rate, Schedule, read_rate
from undertow.optim.settings import read_amount, read_number, read_share


class AdamState(NamedTuple):
    """The number of steps t, and the moments m and v: trees like the parameters."""

    t: Any
    m: Any
    v: Any


class AMSGradState(NamedTuple):
    """The number of steps t, the moments m and v, and the largest v so far: trees like the parameters."""

    t: Any
    m: Any
    v: Any
    largest: Any


class NAdamState(NamedTuple):
    """The number of steps t, the product of all μ so far, and the moments m and v: trees like the parameters."""

    t: Any
    product: Any
    m: Any
    v: Any


def _read(name: str, rate: Rate, beta1: float, beta2: float, epsilon: float) -> tuple[float | Schedule, dict[str, Any]]:
    """The rate, and the settings that all these rules have."""
    return read_rate(name, rate), {
        "beta1": read_share(name, "beta1", beta1),
        "beta2": read_share(name, "beta2", beta2),
        "epsilon": read_number(name, "epsilon", epsilon),
    }


def _init(params: Any) -> AdamState:
    return AdamState(0.0, zeros(params), zeros(params))


def _moments(state: Any, grads: Any, beta1: float, beta2: float) -> tuple[Any, Any, Any]:
    """(t, m, v) after these gradients."""
    m = each(lambda m, g: beta1 * m + (1 - beta1) * g, state.m, grads)
    v = each(lambda v, g: beta2 * v + (1 - beta2) * (g * g), state.v, grads)
    return state.t + 1.0, m, v


def _corrected(m: Any, v: Any, c1: Any, c2: Any, epsilon: float) -> Any:
    """(m / c1) / (√(v / c2) + ε), ordered to divide once for each parameter (Kingma and Ba, end of section 2)."""
    root = c2**0.5
    return each(lambda m, v: m * (root / c1) / (np.sqrt(v) + epsilon * root), m, v)


def _direct_as_adam(beta1: float, beta2: float, epsilon: float) -> Callable[[Any, Any, Any], tuple[Any, AdamState]]:
    """Adam's direction."""

    def direct(grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        t, m, v = _moments(state, grads, beta1, beta2)
        return _corrected(m, v, 1 - beta1**t, 1 - beta2**t, epsilon), AdamState(t, m, v)

    return direct


@explain_keywords
def adam(rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam: steps scaled by running means of the gradient and of its square, both corrected for their start.

    t ← t + 1; m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
    θ ← θ − rate · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).

    Args:
        rate: the learning rate, above 0, or a schedule.
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
    rate, settings = _read("adam", rate, beta1, beta2, epsilon)
    return make_optimizer("adam", _init, _direct_as_adam(**settings), settings, rate)


@explain_keywords
def adamw(
    rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, *, decay: float = 0.01
) -> Optimizer:
    """AdamW: Adam with decoupled weight decay: θ ← θ − rate · (u + decay · θ), u being Adam's direction.

    The decay is multiplied by the rate, as in PyTorch and optax. In the paper only a schedule's factor multiplies it.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.
        decay: decoupled weight decay, 0 or more.

    Returns:
        The optimizer; its state is an `AdamState`.

    Raises:
        ArgumentError: ``adamw: decay must be 0 or more and finite, got -1.``

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2.

    Example:
        >>> rule = adamw(0.1, decay=0.5)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.85])
    """
    rate, settings = _read("adamw", rate, beta1, beta2, epsilon)
    decay = read_amount("adamw", "decay", decay)
    return make_optimizer("adamw", _init, _direct_as_adam(**settings), settings, rate, decay)


@explain_keywords
def amsgrad(
    rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, *, decay: float = 0.0
) -> Optimizer:
    """AMSGrad: Adam whose mean square never shrinks: s ← max(s, v); u = (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε).

    The largest v is kept before its correction, as in PyTorch; optax keeps the largest corrected v. The paper
    corrects neither moment.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `AMSGradState`.

    Raises:
        ArgumentError: ``amsgrad: beta1 must be 0 or more and less than 1, got 1.``

    Source: Reddi et al., On the convergence of Adam and beyond, ICLR 2018, algorithm 2.

    Example:
        >>> rule = amsgrad(0.1)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.9])
    """
    rate, settings = _read("amsgrad", rate, beta1, beta2, epsilon)
    decay = read_amount("amsgrad", "decay", decay)
    b1, b2, eps = settings.values()

    def init(params: Any) -> AMSGradState:
        return AMSGradState(0.0, zeros(params), zeros(params), zeros(params))

    def direct(grads: Any, state: AMSGradState, params: Any) -> tuple[Any, AMSGradState]:
        t, m, v = _moments(state, grads, b1, b2)
        c1, c2 = 1 - b1**t, 1 - b2**t
        largest = each(np.maximum, state.largest, v)
        u = _corrected(m, largest, c1, c2, eps)
        return u, AMSGradState(t, m, v, largest)

    return make_optimizer("amsgrad", init, direct, settings, rate, decay)


@explain_keywords
def adamax(
    rate: Rate = 2e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, *, decay: float = 0.0
) -> Optimizer:
    """AdaMax: Adam by the largest gradient of late in place of the mean square.

    m ← β₁ m + (1 − β₁) g; v ← max(β₂ v, |g| + ε); θ ← θ − rate · (m / (1 − β₁ᵗ)) / v. The place of ε is PyTorch's and
    optax's; the paper has none, Keras adds it to v.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the largest gradient, 0 ≤ β₂ < 1.
        epsilon: added to the gradient's size, above 0.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `AdamState`.

    Raises:
        ArgumentError: ``adamax: beta1 must be 0 or more and less than 1, got 1.``

    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 2.

    Example:
        >>> rule = adamax(0.1)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.9])
    """
    rate, settings = _read("adamax", rate, beta1, beta2, epsilon)
    decay = read_amount("adamax", "decay", decay)
    b1, b2, eps = settings.values()

    def direct(grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        t = state.t + 1.0
        m = each(lambda m, g: b1 * m + (1 - b1) * g, state.m, grads)
        v = each(lambda v, g: np.maximum(b2 * v, np.abs(g) + eps), state.v, grads)
        share = 1 / (1 - b1**t)
        return each(lambda m, v: m * number(share, m) / v, m, v), AdamState(t, m, v)

    return make_optimizer("adamax", _init, direct, settings, rate, decay)


@explain_keywords
def nadam(
    rate: Rate = 2e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    *,
    slowness: float = 0.004,
    decay: float = 0.0,
) -> Optimizer:
    """NAdam: Adam with Nesterov's look ahead, whose momentum grows from β₁/2 to β₁.

    μₜ = β₁ (1 − ½ · 0.96^(ψ t)); Pₜ = μ₁ μ₂ … μₜ; m and v as in Adam;
    u = (μₜ₊₁ m / (1 − Pₜ₊₁) + (1 − μₜ) g / (1 − Pₜ)) / (√(v / (1 − β₂ᵗ)) + ε).

    This is PyTorch's form, with the paper's schedule of μ; optax keeps μ at β₁.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.
        slowness: ψ, 0 or more: how fast μ grows; PyTorch's momentum_decay.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is a `NAdamState`.

    Raises:
        ArgumentError: ``nadam: beta1 must be 0 or more and less than 1, got 1.``

    Source: Dozat, Incorporating Nesterov momentum into Adam, ICLR 2016 workshop, algorithm 2 and section 3.

    Example:
        >>> rule = nadam(0.1)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(3)
        array([0.894])
    """
    rate, settings = _read("nadam", rate, beta1, beta2, epsilon)
    decay, psi = read_amount("nadam", "decay", decay), read_amount("nadam", "slowness", slowness)
    b1, b2, eps = settings.values()

    def init(params: Any) -> NAdamState:
        return NAdamState(0.0, 1.0, zeros(params), zeros(params))

    def direct(grads: Any, state: NAdamState, params: Any) -> tuple[Any, NAdamState]:
        t, m, v = _moments(state, grads, b1, b2)
        mu = b1 * (1 - 0.5 * 0.96 ** (psi * t))
        following = b1 * (1 - 0.5 * 0.96 ** (psi * (t + 1.0)))
        product = state.product * mu
        of_m, of_g = following / (1 - product * following), (1 - mu) / (1 - product)
        ahead = each(lambda m, g: of_m * m + of_g * g, m, grads)
        return _corrected(ahead, v, 1.0, 1 - b2**t, eps), NAdamState(t, product, m, v)

    return make_optimizer("nadam", init, direct, {**settings, "slowness": psi}, rate, decay)


@explain_keywords
def radam(
    rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, *, decay: float = 0.0
) -> Optimizer:
    """RAdam: Adam that leaves the second moment out until enough gradients make it reliable, and warms up by that.

    ρ∞ = 2 / (1 − β₂) − 1; ρₜ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ); m and v as in Adam; m̂ = m / (1 − β₁ᵗ).
    Where ρₜ > 5: r = √((ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ)), u = r · m̂ · √(1 − β₂ᵗ) / (√v + ε);
    else u = m̂.

    The bound 5 and the place of ε are PyTorch's. The paper has the bound 4 and no ε; optax adds ε to √(v / (1 − β₂ᵗ)).

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.
        decay: decoupled weight decay, 0 or more: rate · decay · θ is subtracted too.

    Returns:
        The optimizer; its state is an `AdamState`.

    Raises:
        ArgumentError: ``radam: beta1 must be 0 or more and less than 1, got 1.``

    Source: Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020, algorithm 2.

    Example:
        >>> rule = radam(0.1)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.5])
    """
    rate, settings = _read("radam", rate, beta1, beta2, epsilon)
    decay = read_amount("radam", "decay", decay)
    b1, b2, eps = settings.values()
    last = 2 / (1 - b2) - 1

    def direct(grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        t, m, v = _moments(state, grads, b1, b2)
        c1, c2 = 1 - b1**t, 1 - b2**t
        rho = last - 2 * t * b2**t / c2
        reliable = rho > 5.0
        share = (rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho) if last > 5 else 0.0
        factor = np.sqrt(np.maximum(share * c2, 0.0))

        def u(m: Any, v: Any) -> Any:
            mean = m / c1
            return select(reliable, mean * number(factor, m) / (np.sqrt(v) + eps), mean)

        return each(u, m, v), AdamState(t, m, v)

    return make_optimizer("radam", _init, direct, settings, rate, decay)


@explain_keywords
def lamb(
    rate: Rate = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-6, *, decay: float = 0.0
) -> Optimizer:
    """LAMB: each array moves by a share of its own norm, for very large batches.

    r = Adam's direction + decay · θ; u = r · ‖θ‖ / ‖r‖ for each array (r where a norm is 0); θ ← θ − rate · u.

    Args:
        rate: the learning rate, above 0, or a schedule.
        beta1: the decay of the mean, 0 ≤ β₁ < 1.
        beta2: the decay of the mean square, 0 ≤ β₂ < 1.
        epsilon: added to the root, above 0.
        decay: weight decay inside r, 0 or more.

    Returns:
        The optimizer; its state is an `AdamState`.

    Raises:
        ArgumentError: ``lamb: beta1 must be 0 or more and less than 1, got 1.``

    Source: You et al., Large batch optimization for deep learning: training BERT in 76 minutes, ICLR 2020,
        algorithm 2, with φ(x) = x.

    Example:
        >>> rule = lamb(0.1)
        >>> rule.update(np.array([5.0, 7.0]), rule.init(np.array([3.0, 4.0])), np.array([3.0, 4.0]))[0].round(3)
        array([2.646, 3.646])
    """
    rate, settings = _read("lamb", rate, beta1, beta2, epsilon)
    decay = read_amount("lamb", "decay", decay)
    adam_direct = _direct_as_adam(**settings)

    def trust(w: Any, r: Any) -> Any:
        ours, its = norm_of(w), norm_of(r)
        ratio = np.where((ours > 0) & (its > 0), ours / np.where(its > 0, its, 1.0), 1.0)
        return r * number(ratio, r)

    def direct(grads: Any, state: AdamState, params: Any) -> tuple[Any, AdamState]:
        r, state = adam_direct(grads, state, params)
        if decay:
            r = each(lambda w, r: r + decay * w, params, r)
        return each(trust, params, r), state

    return make_optimizer("lamb", _init, direct, {**settings, **({"decay": decay} if decay else {})}, rate)
