"""How far the weights of a training move, for their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules.measures import EARLY, Array, at_first_look, early, rescales, trained


@dataclass(frozen=True)
class Movement:
    """How far the weights move, for their size: that of W, or of a small initialisation where W is smaller.

    Attributes:
        layer: the layer whose weights move most for their size at the beginning; None where there is none. The numbers
            are NaN where all weights begin at 0, as those of a linear model may.
        ratio: RMS of its update by that of W, the median of the first steps.
        begin: the largest such number of any layer in the very first step, before anything could grow.
        first: the same in the first 20 steps.
        largest: the same at any step.
        path: the sum of these ratios over all steps, for the layer where it is largest.
        mean: the same by the number of steps.
    """

    layer: FlowLayer | None
    ratio: float = math.nan
    begin: float = math.nan
    first: float = math.nan
    largest: float = math.nan
    path: float = math.nan
    mean: float = math.nan


def measured_by(flow: Flow) -> list[int]:
    """The layers whose weights tell how far weights move; of a loop of one's own, the parameters that do."""
    begin = at_first_look(flow, "W.rms") if flow.looks else early(flow, "W.rms")
    chosen = [i for i in trained(flow) if flow.layers[i].kind != "parameter"]
    return chosen or [i for i in trained(flow) if begin[i] > 0]  # biases begin at 0


def least_sizes(flow: Flow) -> Array:
    """The sizes below which weights are small, 0.3 / √inputs: what begins smaller grows to it in any case.

    Args:
        flow: the record.

    Returns:
        A number for each entry, (layers,); 0 where it is not known how many numbers go in.

    Source: derived here.
    """
    fans = flow.facts.get("fan_in") or {}
    return np.array([0.3 / math.sqrt(x.fan_in or fans.get(x.path) or math.inf) for x in flow.layers])


def movement_of(flow: Flow) -> Movement:
    """Measure how far the weights move."""
    chosen = measured_by(flow)
    if not chosen and len(flow) and trained(flow):
        return Movement(flow.layers[trained(flow)[0]])  # all begin at 0, and have no size to move by
    if not chosen or not len(flow):
        return Movement(None)
    small = least_sizes(flow)[chosen]
    with np.errstate(all="ignore"):
        W, update = (flow.stat(name)[:, chosen].astype(np.float64) for name in ("W.rms", "update.rms"))
        rows = update / np.maximum(W, small)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if (flow.settings.get("accumulate") or 1) > 1:  # only every so many steps end in an update
        rows = rows[(rows > 0).any(axis=1)]
    if not len(rows):
        return Movement(None)
    at = np.median(rows[:EARLY], axis=0)
    worst = int(np.argmax(at))
    n_updates = int(flow.steps[-1]) // (flow.settings.get("accumulate") or 1)
    mean = float(rows.mean(axis=0).max())
    return Movement(
        flow.layers[chosen[worst]], float(at[worst]), float(rows[0].max()), float(rows[:20].max()), float(rows.max()),
        mean * n_updates, mean,
    )  # fmt: skip


def begin_if_scaled(flow: Flow) -> float:
    """Return what the largest update ratio of the very first step would be for columns and targets that are scaled.

    Rules that divide by the gradient's size do the same step whatever its size is; those that do not, one that is as
    many times smaller as the gradient is.

    Args:
        flow: the record.

    Returns:
        The ratio; NaN where it is not known.

    Source: derived here.
    """
    told, move = flow.facts.get("dW_if_scaled"), movement_of(flow)
    if told is None or rescales(flow):
        return move.begin
    now, begin = at_first_look(flow, "dW.rms"), at_first_look(flow, "W.rms")
    update = flow.stat("update.rms")[0].astype(np.float64)
    clip = flow.scalars["clip"][0]
    with np.errstate(all="ignore"):
        ratio = (
            update / np.maximum(begin, least_sizes(flow)) * np.array([math.nan if x is None else x for x in told]) / now
        )
        ratio /= clip if 0 < clip < 1 else 1.0
    layers = [i for i in trained(flow) if flow.of_loop or flow.layers[i].kind != "parameter"]
    chosen = [i for i in layers if math.isfinite(ratio[i])]
    return float(ratio[chosen].max()) if chosen else math.nan
