"""Which way the steps of a loop of one's own go by the gradient, and how far."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from undertow.flow.record import Flow

Array = NDArray[Any]
TOLD: Final = 1e-7  # size of a step by that of the weights, from which on float64 has eight digits of it
PLAIN: Final = -0.9999  # cosine of step and gradient, below which the step is the gradient times a rate
SUMMED: Final = 1e-6  # how far the cosine of a step and the summed gradients is from −1 where it goes by the sum
ROUNDED: Final = 1e3  # size of a step by the last digit of the weights, below which its direction is one of rounding
MOSTLY: Final = 0.99  # share of the steps that are so
UP: Final = 0.9  # share of the steps that go up the gradient, from which on all are meant to
FEW: Final = 12  # steps elsewhere, after which none is expected to go along the sum
WINDOW: Final = 5  # steps of which the middle one counts


def note_direction(
    facts: dict[str, Any],
    grads: dict[str, Any],
    params: dict[str, Any],
    new: dict[str, Any],
    sums: dict[str, Array] | None = None,
) -> None:
    """Count the steps that go up the gradient, or along the sum of all so far, and keep the mean cosine with it.

    Args:
        facts: of the record, whose ``directions`` are kept.
        grads: by the paths of the parameters.
        params: before the step.
        new: after it.
        sums: of the gradients of all steps so far, by these paths, to which those of this step are added; None for
            steps that are not held against them.

    Source: derived here.

    Example:
        >>> facts = {}
        >>> note_direction(facts, {"w": np.ones(2)}, {"w": np.zeros(2)}, {"w": np.array([-0.1, -0.1])})
        >>> facts["directions"]["up"], round(facts["directions"]["cosine"], 6)
        (0, -1.0)
    """
    inner = moved = size = rounded = along = total = lost = 0.0
    with np.errstate(all="ignore"):
        for path, g in grads.items():
            step, wide = np.subtract(new[path], params[path], dtype=np.float64), np.asarray(g, np.float64)
            inner += float(np.vdot(step, wide))
            moved, size = moved + float(np.vdot(step, step)), size + float(np.vdot(wide, wide))
            error = eps_of(params[path]) * float(np.linalg.norm(params[path]))
            rounded, lost = rounded + (ROUNDED * error) ** 2, lost + error**2
            if sums is not None:
                sums[path] = held = sums[path] + wide if path in sums else wide.copy()
                along, total = along + float(np.vdot(step, held)), total + float(np.vdot(held, held))
        cosine = inner / math.sqrt(moved * size) if 0 < moved * size < math.inf else math.nan
        summed = along / math.sqrt(moved * total) if 0 < moved * total < math.inf else math.nan
    if math.isfinite(cosine):
        start = {"steps": 0, "up": 0, "plain": 0, "cosine": 0.0, "summed": 0, "apart": 0}
        told = facts.setdefault("directions", start)
        told["steps"] += 1
        told["up"] += int(cosine > 0)
        told["plain"] += int(cosine < PLAIN or moved < rounded)
        near = SUMMED + lost / moved
        told["summed"] += int(cosine > PLAIN and moved >= rounded and 1 + summed < near)
        told["apart"] += int(1 + summed > 100 * near)
        told["cosine"] += (cosine - told["cosine"]) / told["steps"]


def goes_by_sums(facts: dict[str, Any]) -> bool:
    """Tell whether steps may go along the sum of all gradients, which takes memory and time to hold.

    Args:
        facts: of the record.

    Returns:
        False once a dozen steps have clearly gone elsewhere, unless more went along the sum.

    Source: derived here.

    Example:
        >>> goes_by_sums({}), goes_by_sums({"directions": {"summed": 0, "apart": 12}})
        (True, False)
    """
    told = facts.get("directions")
    return not told or told["apart"] < max(FEW, told["summed"])


def eps_of(x: Any) -> float:
    """Return the last digit of numbers of this dtype, by 1."""
    dtype = np.asarray(x).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def is_plain(facts: dict[str, Any]) -> bool:
    """Tell whether all steps are the gradient times a rate, but for those that are lost in rounding.

    Args:
        facts: of the record.

    Returns:
        The answer.

    Source: derived here.

    Example:
        >>> is_plain({"directions": {"steps": 10, "plain": 10, "up": 0, "cosine": -1.0}}), is_plain({})
        (True, False)
    """
    told = facts.get("directions") or {"steps": 0, "plain": 0, "cosine": 0.0}
    return bool(told["plain"] > 0 and told["plain"] >= MOSTLY * told["steps"] and told["cosine"] < 0)


def climbs(flow: Flow) -> bool:
    """Tell whether a loop makes large what it measures, and that is below 0, as a log likelihood is.

    Args:
        flow: the record.

    Returns:
        The answer.

    Source: derived here.

    Example:
        >>> climbs(Flow.empty(()))
        False
    """
    told, loss = flow.facts.get("directions") or {}, flow.scalars["loss"]
    return bool(told and told["up"] >= UP * told["steps"] and len(loss) and loss[0] < 0)


def rates_of(flow: Flow) -> Array:
    """Return the rate of each step of a loop that goes by w − rate · gradient, as far as rounding tells it.

    Args:
        flow: the record.

    Returns:
        (s,), to six digits; NaN where a step is lost in the digits of the weights.

    Source: derived here.
    """
    moved, size = (flow.scalars[name] for name in ("update_norm", "weight_norm"))
    with np.errstate(all="ignore"):
        rates = np.where((moved > TOLD * size) | (moved == 0), moved / flow.scalars["grad_norm"], np.nan)
        digits = 10.0 ** (5 - np.floor(np.log10(np.where(rates > 0, rates, 1.0))))
        return np.asarray(np.round(rates * digits) / digits)


def paces_of(flow: Flow) -> Array:
    """Return how far each step goes by the size of the gradient, also where an update rule makes other steps of it.

    Args:
        flow: the record.

    Returns:
        (s,), the middle of some steps, so that a gradient which is small once does not tell.

    Source: derived here.

    Example:
        >>> paces_of(Flow.empty(())).tolist()
        []
    """
    with np.errstate(all="ignore"):
        paces = np.nan_to_num(flow.scalars["update_norm"] / flow.scalars["grad_norm"], posinf=0.0)
    if not len(paces):
        return np.zeros(0)
    around = np.pad(paces.astype(np.float64), WINDOW // 2, mode="edge")
    return np.asarray(np.median(sliding_window_view(around, WINDOW), axis=-1))
