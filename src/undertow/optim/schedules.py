"""Learning rates that fall: constant, in steps, exponential, polynomial, with the inverse root of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.optim.schedule import Schedule, describe, read_list
from undertow.optim.settings import read_amount, read_count, read_number


@explain_keywords
def constant(rate: float) -> Schedule:
    """Keep one rate.

    Args:
        rate: above 0.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``constant: rate must be above 0 and finite, got 0.``

    Source: derived here.

    Example:
        >>> constant(0.1)(7)
        0.1
    """
    rate = read_number("constant", "rate", rate)
    return describe("constant", lambda t: rate + 0.0 * t, rate=rate)


@explain_keywords
def piecewise(rates: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """Steps of any kind: rates[i] from step boundaries[i − 1] up to, and without, step boundaries[i].

    Args:
        rates: one more than boundaries, each 0 or more.
        boundaries: rising numbers of steps, 1 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``piecewise: 2 rates need 1 boundaries, got 2.``; boundaries that do not rise.

    Source: derived here.

    Example:
        >>> schedule = piecewise([0.1, 0.01], boundaries=[100])
        >>> schedule(99), schedule(100)
        (0.1, 0.01)
    """
    values = read_list("piecewise", "rates", rates)
    steps = [read_count("piecewise", "a boundary", step) for step in _read_steps(boundaries)]
    if len(values) != len(steps) + 1:
        raise ArgumentError(f"piecewise: {len(values)} rates need {len(values) - 1} boundaries, got {len(steps)}.")
    if sorted(set(steps)) != steps:
        raise ArgumentError(f"piecewise: boundaries must rise, got {steps}.")

    def rate(t: Any) -> Any:
        found: Any = values[0] + 0.0 * t
        for bound, value in zip(steps, values[1:], strict=True):
            found = np.where(t < float(bound), found, value)
        return found

    return describe("piecewise", rate, rates=values, boundaries=steps)


@explain_keywords
def step_decay(rate: float, factor: float, every: int) -> Schedule:
    """Multiply the rate by a factor every so many steps: rate · factor^⌊t / every⌋.

    Args:
        rate: the first, above 0.
        factor: above 0; 0.1 and 0.5 are usual.
        every: how many steps lie between two changes.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``step_decay: every must be a whole number of 1 or more, got 0.``

    Source: He et al., Deep residual learning for image recognition, CVPR 2016, sec. 3.4.

    Example:
        >>> [step_decay(1.0, 0.5, every=10)(t) for t in (0, 9, 10, 20)]
        [1.0, 1.0, 0.5, 0.25]
    """
    rate, factor = read_number("step_decay", "rate", rate), read_number("step_decay", "factor", factor)
    every = read_count("step_decay", "every", every)
    return describe("step_decay", lambda t: rate * factor ** np.floor(t / every), rate=rate, factor=factor, every=every)


@explain_keywords
def exponential(rate: float, factor: float, steps: int = 1) -> Schedule:
    """Decay without steps: rate · factor^(t / steps).

    Args:
        rate: the first, above 0.
        factor: by which it changes over so many steps, above 0.
        steps: 1 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``exponential: factor must be above 0 and finite, got 0.``

    Source: derived here.

    Example:
        >>> exponential(1.0, 0.25, steps=10)(5)
        0.5
    """
    rate, factor = read_number("exponential", "rate", rate), read_number("exponential", "factor", factor)
    steps = read_count("exponential", "steps", steps)
    return describe("exponential", lambda t: rate * factor ** (t / steps), rate=rate, factor=factor, steps=steps)


@explain_keywords
def polynomial(rate: float, steps: int, end: float = 0.0, power: float = 1.0) -> Schedule:
    """Fall along a power: end + (rate − end) · (1 − t / steps)^power, and end from there on.

    Args:
        rate: the first, above 0.
        steps: until the end, 1 or more.
        end: the last rate, 0 or more.
        power: above 0; 1 is a straight line.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``polynomial: steps must be a whole number of 1 or more, got 0.``

    Source: Chen et al., DeepLab, TPAMI 40, 2018, sec. 4.1.1 (the "poly" policy, end 0).

    Example:
        >>> [polynomial(1.0, steps=4, power=2.0)(t) for t in (0, 2, 4, 9)]
        [1.0, 0.25, 0.0, 0.0]
    """
    rate, end = read_number("polynomial", "rate", rate), read_amount("polynomial", "end", end)
    steps, power = read_count("polynomial", "steps", steps), read_number("polynomial", "power", power)

    def of(t: Any) -> Any:
        return end + (rate - end) * (1.0 - np.minimum(t, float(steps)) / steps) ** power

    return describe("polynomial", of, rate=rate, steps=steps, end=end, power=power)


@explain_keywords
def inverse_square_root(rate: float, warmup: int = 1) -> Schedule:
    """Rise in a straight line, then fall with the root of the step: rate · min((t + 1) / warmup, √(warmup / (t + 1))).

    Args:
        rate: the highest, reached at step warmup − 1; above 0.
        warmup: how many steps it rises, 1 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``inverse_square_root: warmup must be a whole number of 1 or more, got 0.``

    Source: Vaswani et al., Attention is all you need, NeurIPS 2017, eq. 3; there rate is 1 / √(width · warmup), and
        the first step has the number 1.

    Example:
        >>> [inverse_square_root(1.0, warmup=4)(t) for t in (0, 3, 15)]
        [0.25, 1.0, 0.5]
    """
    rate = read_number("inverse_square_root", "rate", rate)
    warmup = read_count("inverse_square_root", "warmup", warmup)

    def of(t: Any) -> Any:
        return rate * np.minimum((t + 1.0) / warmup, np.sqrt(warmup / (t + 1.0)))

    return describe("inverse_square_root", of, rate=rate, warmup=warmup)


def _read_steps(boundaries: Any) -> Sequence[Any]:
    if not isinstance(boundaries, list | tuple | np.ndarray):
        raise ArgumentError(f"piecewise: boundaries must be a list of numbers of steps, got {boundaries!r:.80}.")
    return boundaries  # type: ignore[return-value]
