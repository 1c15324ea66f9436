"""Update rules by the names and with the arithmetic of scikit-learn's solvers; others are `undertow.optim`'s."""

from __future__ import annotations

from typing import Any

from numpy import sqrt

from undertow.errors import ArgumentError
from undertow.optim import OPTIMIZERS, AdamState, MomentumState, Optimizer, Schedule, adam, momentum, nesterov, sgd
from undertow.optim.rules import each, zeros
from undertow.spelling import did_you_mean


def adam_of_sklearn(rate: float, beta1: float, beta2: float, epsilon: float) -> Optimizer:
    """Adam with ε added to the root of the uncorrected mean square, which is how scikit-learn has it.

    θ ← θ − rate · √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε).

    Args:
        rate: the learning rate.
        beta1: the decay of the mean.
        beta2: the decay of the mean square.
        epsilon: added to the root.

    Returns:
        The optimizer; its state is an `AdamState`.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, the end of section 2.

    Example:
        >>> import numpy as np
        >>> rule = adam_of_sklearn(0.1, 0.9, 0.999, 1e-8)
        >>> rule.update(np.array([5.0]), rule.init(np.array([1.0])), np.array([1.0]))[0].round(6)
        array([0.9])
    """

    def init(params: Any) -> AdamState:
        return AdamState(0.0, zeros(params), zeros(params))

    def update(grads: Any, state: AdamState, params: Any, scale: Any = 1.0) -> tuple[Any, AdamState]:
        t = state.t + 1.0
        m = each(lambda m, g: beta1 * m + (1 - beta1) * g, state.m, grads)
        v = each(lambda v, g: beta2 * v + (1 - beta2) * (g * g), state.v, grads)
        step = rate * scale * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        new = each(lambda w, m, v: w - step * (m / (sqrt(v) + epsilon)), params, m, v)
        return new, AdamState(t, m, v)

    return Optimizer("adam", init, update, {"rate": rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon})


def sgd_of_sklearn(rate: float, beta: float, is_nesterov: bool) -> Optimizer:
    """Gradient descent with a velocity that holds the rate: u ← β u − rate · g; a later rate leaves u as it is.

    θ ← θ + u, or with Nesterov's momentum θ ← θ + β u − rate · g.

    Args:
        rate: the learning rate.
        beta: the momentum.
        is_nesterov: whether it is Nesterov's.

    Returns:
        The optimizer; its state is a `MomentumState`.

    Source: Sutskever et al., On the importance of initialization and momentum, ICML 2013, eq. 1 to 4.

    Example:
        >>> import numpy as np
        >>> rule = sgd_of_sklearn(0.1, 0.5, True)
        >>> rule.update(np.array([1.0]), rule.init(np.array([0.0])), np.array([0.0]))[0]
        array([-0.15])
    """

    def init(params: Any) -> MomentumState:
        return MomentumState(zeros(params))

    def update(grads: Any, state: MomentumState, params: Any, scale: Any = 1.0) -> tuple[Any, MomentumState]:
        step = rate * scale
        u = each(lambda u, g: beta * u - step * g, state.v, grads)
        if is_nesterov:
            new = each(lambda w, u, g: w + (beta * u - step * g), params, u, grads)
        else:
            new = each(lambda w, u: w + u, params, u)
        return new, MomentumState(u)

    return Optimizer("nesterov" if is_nesterov else "momentum", init, update, {"rate": rate, "beta": beta})


def choose_optimizer(settings: Any) -> Optimizer:
    """Make the optimizer that the settings of an estimator ask for.

    Args:
        settings: the estimator.

    Returns:
        The optimizer.

    Raises:
        ArgumentError: ``there is no solver 'adamm'. …``

    Source: derived here.

    Example:
        >>> from undertow.sklearn import MLPClassifier
        >>> choose_optimizer(MLPClassifier(solver="lion", learning_rate_init=0.01))
        lion(rate=0.01, beta1=0.9, beta2=0.99)
    """
    wanted = settings.solver if settings.optimizer is None else settings.optimizer
    if isinstance(wanted, Optimizer):
        if settings.schedule is not None:
            raise ArgumentError(
                f"the optimizer {wanted!r} has a rate of its own. Give it the schedule: adam(schedule)."
            )
        return wanted
    if settings.schedule is not None and not isinstance(settings.schedule, Schedule):
        raise ArgumentError(f"schedule is {settings.schedule!r}. Give one such as undertow.optim.cosine(0.1, 1000).")
    rate, schedule = float(settings.learning_rate_init), settings.schedule
    if wanted == "adam":
        betas = float(settings.beta_1), float(settings.beta_2), float(settings.epsilon)
        return adam_of_sklearn(rate, *betas) if schedule is None else adam(schedule, *betas)
    if wanted == "sgd":
        beta = float(settings.momentum)
        if schedule is None:
            return sgd_of_sklearn(rate, beta, bool(settings.nesterovs_momentum))
        if beta == 0:
            return sgd(schedule)
        return (nesterov if settings.nesterovs_momentum else momentum)(schedule, beta)
    if wanted not in OPTIMIZERS:
        raise ArgumentError(
            f"there is no solver {wanted!r}. {did_you_mean(wanted, ('lbfgs', *OPTIMIZERS))}"
            f"Use lbfgs, one of {', '.join(OPTIMIZERS)}, or an Optimizer."
        )
    return OPTIMIZERS[wanted](rate if schedule is None else schedule)
