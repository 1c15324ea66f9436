"""What a learning-rate range test says: at which rate the loss falls fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError, DataError, ShapeError

Array = NDArray[Any]
LEAST_POINTS: Final = 10
BANDWIDTH = 0.05  # of the range of log rates
LEAST_DROP = 3.0  # times the noise of the loss


@dataclass(frozen=True)
class RateSuggestion:
    """What a range test suggests.

    Attributes:
        rate: the learning rate to begin with; None where the test does not tell.
        reason: a sentence for people.
        smoothed: the smoothed losses, NaN from where the loss was no longer finite.
        lowest: the rate at which the smoothed loss is lowest; None where it does not fall.
        diverged: the first rate from which on the loss is above where it began; None where it stays below.

    Source: derived here.

    Example:
        >>> RateSuggestion(0.01, "the loss falls fastest there", np.zeros(1)).rate
        0.01
    """

    rate: float | None
    reason: str
    smoothed: Array
    lowest: float | None = None
    diverged: float | None = None


def suggest_rate(rates: ArrayLike, losses: ArrayLike) -> RateSuggestion:
    """Suggest a learning rate from a range test, in which it grows from step to step.

    Smoothing: the running median of 5 takes single jumps out. Losses that have risen by more than they ever fell then
    count as if they had risen by just that. A line is fitted around each point by least squares over the logarithm of
    the rate, with Gaussian weights whose deviation is 5 % of the range tested (at least 2 points). The value of the
    line is the smoothed loss, its slope that of the loss. The rate suggested is that of the steepest descent before
    the lowest smoothed loss. A fall that is no larger than the noise, 3 times the median distance of a loss from the
    smoothed one, is none.

    Args:
        rates: the learning rates of the steps, (n,), above 0 and rising, 10 or more of them.
        losses: the losses before those steps, (n,); the first that is not finite ends the test.

    Returns:
        The rate, the reason, and what it was read from.

    Raises:
        ShapeError: ``suggest_rate: rates are (9,), losses are (10,): …``
        DataError: ``suggest_rate: rates[3] is 0.1, not above rates[2]. …``
        ArgumentError: fewer than 10 finite losses.

    Source: Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3, for the test; the rate
    of steepest descent: Howard and Gugger, Deep Learning for Coders with fastai and PyTorch, 2020, chapter 5. The
    smoothing is derived here.

    Example:
        >>> rates = np.logspace(-5, 1, 121)
        >>> found = suggest_rate(rates, 1 / (1 + rates / 0.01) + rates**2)
        >>> 0.005 < found.rate < 0.02
        True
        >>> found.reason
        'The loss falls fastest at 0.01; it is lowest at 0.13, and has diverged at 1.1.'
    """
    x, y, all_rates = _read(rates, losses)
    steady = _running_median(y)
    start = float(np.median(steady[: max(3, len(y) // 10)]))
    fall = start - float(steady.min())
    smoothed, slopes = _fit_lines(x, np.minimum(steady, start + fall))  # what explodes would outweigh its neighbours
    whole = np.full(len(all_rates), np.nan)
    whole[: len(y)] = smoothed
    finite = all_rates[: len(y)]
    lowest = int(np.argmin(smoothed))
    noise = float(np.median(np.abs(y - smoothed)))
    above = np.flatnonzero(steady[lowest:] > start + LEAST_DROP * noise)
    diverged = float(finite[lowest + above[0]]) if len(above) else None
    if diverged is None and len(y) < len(all_rates):
        diverged = float(all_rates[len(y)])
    drop = start - float(smoothed[lowest])
    if drop <= max(LEAST_DROP * noise, 1e-6 * abs(start)):
        return RateSuggestion(None, _explain_none(finite, diverged), whole, None, diverged)
    steepest = int(np.argmin(slopes[: lowest + 1]))
    rate = float(f"{finite[steepest]:.2g}")
    return RateSuggestion(rate, _explain(rate, lowest, finite, diverged), whole, float(finite[lowest]), diverged)


def _explain(rate: float, lowest: int, rates: Array, diverged: float | None) -> str:
    """The reason for a rate."""
    fastest = f"The loss falls fastest at {rate:.2g}"
    if rate <= rates[min(2, len(rates) - 1)]:
        fastest += ", about the smallest rate tested: test smaller ones"
    if diverged is not None:
        return f"{fastest}; it is lowest at {rates[lowest]:.2g}, and has diverged at {diverged:.2g}."
    if lowest >= len(rates) - 2:
        return f"{fastest}; it still falls at {rates[-1]:.2g}, the largest rate tested: test larger ones."
    return f"{fastest}; it is lowest at {rates[lowest]:.2g}."


def _explain_none(rates: Array, diverged: float | None) -> str:
    """Why there is no rate to suggest."""
    tested = f"between {rates[0]:.2g} and {rates[-1]:.2g}"
    if diverged is None:
        return f"The loss does not fall by more than its noise {tested}: test larger rates, or with larger batches."
    return f"The loss does not fall {tested}, it only rises: test smaller rates, and scale the inputs."


def _read(rates: ArrayLike, losses: ArrayLike) -> tuple[Array, Array, Array]:
    """Logarithms of the rates and losses up to the first that is not finite, and all rates."""
    r, y = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if r.ndim != 1 or r.shape != y.shape:
        raise ShapeError(f"suggest_rate: rates are {r.shape}, losses are {y.shape}: give two of the same shape (n,).")
    wrong = ~(np.isfinite(r) & (r > 0))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataError(f"suggest_rate: rates[{i}] is {r[i]:g}. Give rates that are above 0 and finite.")
    if (wrong := np.diff(r) <= 0).any():
        i = int(np.argmax(wrong)) + 1
        raise DataError(f"suggest_rate: rates[{i}] is {r[i]:g}, not above rates[{i - 1}]. Give rates that rise.")
    finite = np.isfinite(y)
    count = len(y) if finite.all() else int(np.argmin(finite))
    if count < LEAST_POINTS:
        raise ArgumentError(
            f"suggest_rate: there are {count} losses before the first that is not finite, too few to see a curve. "
            f"Test {LEAST_POINTS} rates or more, from smaller ones on."
        )
    return np.log10(r[:count]), y[:count], r


def _running_median(y: Array) -> Array:
    """The median of each value and its two neighbours on both sides; at the ends of fewer."""
    near = np.full((len(y), 5), np.nan)
    for column, shift in enumerate(range(-2, 3)):
        first, last = max(0, -shift), len(y) - max(0, shift)
        near[first:last, column] = y[first + shift : last + shift]
    return np.asarray(np.nanmedian(near, axis=1))


def _fit_lines(x: Array, y: Array) -> tuple[Array, Array]:
    """Around each point a line by weighted least squares: its values and its slopes there."""
    width = max(BANDWIDTH * (x[-1] - x[0]), 2 * float(np.median(np.diff(x))))
    distance = x - x[:, None]
    w = np.exp(-0.5 * (distance / width) ** 2)
    w /= w.sum(axis=1, keepdims=True)
    centre, mean = (w * distance).sum(axis=1), w @ y
    offset = distance - centre[:, None]
    slope = (w * offset * (y - mean[:, None])).sum(axis=1) / (w * offset**2).sum(axis=1)
    return mean - slope * centre, slope
