"""What a learning-rate range test says: at which rate the loss falls fastest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.errors import ArgumentError, DataError, ShapeError

Array = NDArray[Any]
LEAST_POINTS: Final = 10
BANDWIDTH = 0.05  # of the range of log rates
LEAST_DROP = 3.0  # times the noise of the loss; less where a smoothed loss averages more than 16 of them
BEGUN = 0.1  # share of the fall after which it has begun


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
    the lowest smoothed loss, and after the last point at which less than a tenth of the fall was done: before, where
    the loss stands still but for its noise, slopes are noise. The noise is the median distance of a loss from the
    smoothed one. A fall is none that is below 3 times that, or below 12 times that by the root of how many losses a
    smoothed one averages, which noise alone reaches in one or two tests of a hundred.

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
    certain = min(LEAST_DROP, 12.0 / math.sqrt(_averaged(x)))
    if drop <= max(certain * noise, 1e-6 * abs(start)):
        falls = drop > 1e-3 * float(steady.max() - start)
        return RateSuggestion(None, _explain_none(finite, diverged, falls), whole, None, diverged)
    begin = _begin(smoothed[: lowest + 1], start, drop, certain * np.abs(y - smoothed)[: lowest + 1])
    steepest = begin + int(np.argmin(slopes[begin : lowest + 1]))
    rate = float(f"{finite[steepest]:.2g}")
    return RateSuggestion(rate, _explain(rate, lowest, finite, diverged), whole, float(finite[lowest]), diverged)


def _begin(smoothed: Array, start: float, drop: float, doubt: Array) -> int:
    """The point from which on the loss falls for good; 0 where it falls before by more than the noise there."""
    still = np.flatnonzero(smoothed >= start - BEGUN * drop)
    if not len(still):
        return 0
    last = int(still[-1])
    return last if float(smoothed[: last + 1].max()) - start <= float(np.median(doubt[: last + 1])) else 0


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


def _explain_none(rates: Array, diverged: float | None, falls: bool) -> str:
    """Why there is no rate to suggest."""
    tested = f"between {rates[0]:.2g} and {rates[-1]:.2g}"
    if diverged is None:
        return f"The loss does not fall by more than its noise {tested}: test larger rates, or with larger batches."
    if falls:
        return (
            f"The loss does not fall by more than its noise {tested}, and has diverged at {diverged:.2g}: test with "
            "more steps, or with larger batches."
        )
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


def _width(x: Array) -> float:
    """The deviation of the weights by which neighbours count."""
    return max(BANDWIDTH * float(x[-1] - x[0]), 2 * float(np.median(np.diff(x))))


def _averaged(x: Array) -> float:
    """How many losses a smoothed one averages: (Σ w)² / Σ w² of Gaussian weights."""
    return 2 * math.sqrt(math.pi) * _width(x) / float(np.median(np.diff(x)))


def _fit_lines(x: Array, y: Array) -> tuple[Array, Array]:
    """Around each point a line by weighted least squares: its values and its slopes there."""
    width = _width(x)
    distance = x - x[:, None]
    w = np.exp(-0.5 * (distance / width) ** 2)
    w /= w.sum(axis=1, keepdims=True)
    centre, mean = (w * distance).sum(axis=1), w @ y
    offset = distance - centre[:, None]
    slope = (w * offset * (y - mean[:, None])).sum(axis=1) / (w * offset**2).sum(axis=1)
    return mean - slope * centre, slope
