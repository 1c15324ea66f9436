"""Learning rates that rise and fall: cosine, with restarts, one cycle, and a warm-up before any other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.optim.schedule import Schedule, describe
from undertow.optim.schedules import constant
from undertow.optim.settings import read_amount, read_count, read_number, read_share


@explain_keywords
def cosine(rate: float, steps: int, end: float = 0.0) -> Schedule:
    """Fall along half a cosine: end + (rate − end) · (1 + cos(π t / steps)) / 2, and end from there on.

    Args:
        rate: the first, above 0.
        steps: until the end, 1 or more.
        end: the last rate, 0 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``cosine: steps must be a whole number of 1 or more, got 0.``

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, eq. 5.

    Example:
        >>> [round(cosine(1.0, steps=4)(t), 6) for t in (0, 2, 4, 9)]
        [1.0, 0.5, 0.0, 0.0]
    """
    rate, end = read_number("cosine", "rate", rate), read_amount("cosine", "end", end)
    steps = read_count("cosine", "steps", steps)
    return describe("cosine", lambda t: _anneal(rate, end, np.minimum(t / steps, 1.0)), rate=rate, steps=steps, end=end)


@explain_keywords
def cosine_restarts(rate: float, steps: int, growth: float = 1.0, end: float = 0.0) -> Schedule:
    """Fall along half a cosine again and again, in rounds of steps, steps · growth, steps · growth², …

    Args:
        rate: the first of every round, above 0.
        steps: of the first round, 1 or more.
        growth: by which each round is longer than the last, 1 or more.
        end: what each round falls to, 0 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``cosine_restarts: growth must be 1 or more and finite, got 0.5.``

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, eq. 5 and
        section 3 (growth is T_mult).

    Example:
        >>> schedule = cosine_restarts(1.0, steps=2, growth=2)
        >>> [round(schedule(t), 6) for t in (0, 1, 2, 4, 6)]
        [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    name = "cosine_restarts"
    rate, end, growth = (
        read_number(name, "rate", rate),
        read_amount(name, "end", end),
        read_number(name, "growth", growth),
    )
    steps = read_count(name, "steps", steps)
    if growth < 1:
        raise ArgumentError(f"{name}: growth must be 1 or more and finite, got {growth:g}.")

    def begin(round_: Any) -> Any:
        return steps * (growth**round_ - 1.0) / (growth - 1.0)

    def of(t: Any) -> Any:
        if growth == 1:
            return _anneal(rate, end, t % steps / steps)
        n = np.floor(np.log(t / steps * (growth - 1.0) + 1.0) / math.log(growth))
        n = np.where(begin(n) > t, n - 1.0, np.where(begin(n + 1.0) <= t, n + 1.0, n))  # the logarithm is rounded
        return _anneal(rate, end, (t - begin(n)) / (steps * growth**n))

    return describe(name, of, rate=rate, steps=steps, growth=growth, end=end)


@explain_keywords
def one_cycle(rate: float, steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 250000) -> Schedule:
    """Rise to the rate along half a cosine, fall to next to nothing along another, and stay there.

    Args:
        rate: the highest, above 0.
        steps: of the whole cycle, 2 or more.
        rise: the share of the cycle that rises, 0 to less than 1; it ends at step rise · steps − 1.
        start: the first rate as a share of the highest, 0 or more.
        end: the last rate as a share of the highest, 0 or more.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``one_cycle: rise must be 0 or more and less than 1, got 1.``

    Source: Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates,
        arXiv:1708.07120, sec. 3; with PyTorch's cosines and shares (OneCycleLR) in place of straight lines.

    Example:
        >>> schedule = one_cycle(1.0, steps=10)
        >>> [round(schedule(t), 2) for t in (0, 2, 9)]
        [0.04, 1.0, 0.0]
    """
    name = "one_cycle"
    rate, rise = read_number(name, "rate", rate), read_share(name, "rise", rise)
    start, end = read_amount(name, "start", start), read_amount(name, "end", end)
    steps = read_count(name, "steps", steps, 2)
    top = max(rise * steps - 1.0, 0.0)
    last = steps - 1.0

    def of(t: Any) -> Any:
        fall = _anneal(rate, rate * end, np.minimum((t - top) / (last - top), 1.0))
        return fall if top == 0 else np.where(t <= top, _anneal(rate * start, rate, np.minimum(t / top, 1.0)), fall)

    return describe(name, of, rate=rate, steps=steps, rise=rise, start=start, end=end)


@explain_keywords
def warmup(then: Schedule | float, steps: int, start: float | None = None) -> Schedule:
    """Rise in a straight line from start to the first rate of another schedule, which begins when the rise ends.

    Unless told, the rates of the rise are k / (steps + 1) of that first rate, k = 1 … steps: equal stairs, and the
    first step is none in vain. optax's ``warmup_cosine_decay_schedule`` is mostly begun at 0, at which the first step
    changes nothing; torch's ``LinearLR`` refuses 0 and begins at a third.

    Args:
        then: the schedule that follows, asked for t − steps; or a rate that stays.
        steps: of the rise. Step 0 has the rate start, step ``steps`` the first of the other; 0 is the other from the
            first step on.
        start: the first rate, 0 or more; a stair of the rise unless told. With 0 the first step changes nothing.

    Returns:
        The schedule.

    Raises:
        ArgumentError: ``warmup: steps must be a whole number of 0 or more, got -1.``

    Source: Goyal et al., Accurate, large minibatch SGD, arXiv:1706.02677, sec. 2.2, which begins above 0 as well.

    Example:
        >>> schedule = warmup(cosine(1.0, steps=100), steps=4)
        >>> [round(schedule(t), 3) for t in (0, 1, 3, 4, 104)]
        [0.2, 0.4, 0.8, 1.0, 0.0]
        >>> warmup(1.0, steps=4, start=0.0)(1)
        0.25
    """
    name = "warmup"
    steps = read_count(name, "steps", steps, 0)
    start = None if start is None else read_amount(name, "start", start)
    if not isinstance(then, Schedule):
        if callable(then):
            raise ArgumentError(
                f"{name}: then is {then!r}. Give a schedule, or make one of a function with undertow.optim.of_function."
            )
        fixed = read_number(name, "then", then)
        return _warm(lambda t: fixed, fixed, steps, start, fixed) if steps else constant(fixed)
    return then if steps == 0 else _warm(then, then(0.0), steps, start, then.settings)


def _warm(after: Any, first: float, steps: int, given: float | None, described: Any) -> Schedule:
    start = first / (steps + 1) if given is None else given

    def of(t: Any) -> Any:
        rising = start + (first - start) * (t / steps)
        return np.where(t < float(steps), rising, after(_at_least_0(t - float(steps))))

    return describe("warmup", of, then=described, steps=steps, start=start)


def _at_least_0(t: Any) -> Any:
    """A schedule is never asked for a step before the first."""
    return np.maximum(t, 0.0)


def _anneal(first: float, last: float, share: Any) -> Any:
    """Half a cosine from first to last; share is 0 to 1."""
    return last + (first - last) * (0.5 + 0.5 * np.cos(math.pi * share))
