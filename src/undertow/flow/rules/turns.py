"""Gradients that vanish or explode through the steps of a recurrent network, in a loop of one's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import Array, at_first_look, course_of, early, show
from undertow.flow.rules.registry import Rule

FEWEST = 5  # calls
LEARNED = 0.05  # share of the loss of a network that knows nothing that is learned in a training that works
HELD = "W = np.linalg.qr(rng.normal(size=W.shape))[0]  # orthogonal: it holds the length of what passes"


@dataclass(frozen=True)
class Way:
    """The way of a gradient back through the calls of a weight.

    Attributes:
        ratio: δ at the first call by that at the last.
        values: z at the last call by that at the first.
        first, last: these calls.
    """

    ratio: float
    values: float
    first: FlowLayer
    last: FlowLayer

    @property
    def steps(self) -> int:
        """How many calls lie between."""
        return self.last.turn[0] - self.first.turn[0] if self.first.turn and self.last.turn else 1


def ways_through_time(flow: Flow, measure: Callable[[Flow, str], Array]) -> list[Way]:
    """Measure the ways through the calls of weights that meet what they have made, of five calls or more.

    Args:
        flow: the record.
        measure: when: `early` or `at_first_look`.

    Returns:
        A way for each such weight; none where nothing comes to its last call.
    """
    delta, z = measure(flow, "delta.rms"), measure(flow, "z.rms")
    calls = [(i, layer) for i, layer in enumerate(flow.layers) if layer.turn and layer.turn[1] >= FEWEST]
    found = []
    for (i, first), (j, last) in itertools.product(calls, calls):
        pair = first.turn and last.turn and first.turn[0] < last.turn[0] == last.turn[1] == first.turn[1]
        if pair and first.reads == last.reads and delta[j] > 0:
            with np.errstate(all="ignore"):
                found.append(Way(float(delta[i] / delta[j]), float(z[j] / z[i]), first, last))
    return found


def find_through_time(flow: Flow, rule: Rule) -> Finding | None:
    """The finding of a gradient that shrinks from the last call of a weight to its first, where nothing is learned.

    Args:
        flow: the record.
        rule: with the limit ``ratio``.

    Returns:
        The finding; None where there are fewer than five calls, or something is learned.

    Source: Bengio, Simard and Frasconi, Learning long-term dependencies with gradient descent is difficult, IEEE
        Transactions on Neural Networks 5, 1994, section 4; Pascanu et al., On the difficulty of training recurrent
        neural networks, ICML 2013, section 2.1.
    """
    course = course_of(flow)
    if course.diverged or course.moving or course.end < (1 - LEARNED) * _loss_of_nothing(flow):
        return None
    found = ways_through_time(flow, early)
    if not found or not max(x.ratio for x in found) < rule.ratio:  # a single way past is enough
        return None
    return _told(
        flow, rule, found[0], "error", "shrinks to {} of its size",
        "what came early in a sequence is not learned from",
        [
            R.mend_data("An orthogonal weight: it holds the length of what passes through it.", HELD),
            R.mend_data(
                "A gate that carries what was there: the gradient then has a way past (LSTM, GRU).",
                "z = 1 / (1 + np.exp(-(x @ U_z + h @ W_z)))\nh = z * h + (1 - z) * np.tanh(x @ U + h @ W)",
            ),
        ],
    )  # fmt: skip


def find_growth_through_time(flow: Flow, rule: Rule) -> Finding | None:
    """The finding of a gradient that grows from the last call of a weight to its first, with a visible consequence.

    Args:
        flow: the record.
        rule: with the limits ``ratio`` and ``initial``.

    Returns:
        The finding; None where there are fewer than five calls, or no harm is done.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013, section 2.1 and, for the
        limit of its norm, 3.2.
    """
    course, nothing = course_of(flow), _loss_of_nothing(flow)
    ways = ways_through_time(flow, at_first_look if flow.looks else early)
    # where each call has a loss of its own, the first call's δ sums up those of all
    found = [x for x in ways if x.ratio > rule.ratio * max(1.0, x.steps / 4)]
    if not found or course.moving:
        return None
    off = course.initial > rule.initial * nothing > 0
    climbs = len(course.loss) > 0 and float(course.loss.max()) > rule.initial * max(course.initial, nothing) > 0
    if not (course.diverged or off or climbs or course.end > (1 - LEARNED) * nothing):
        return None
    return _told(
        flow, rule, max(found, key=lambda x: x.ratio), "error" if course.diverged else "warning", "grows {} times",
        "one step may throw the weights anywhere",
        [
            R.mend_data("An orthogonal weight: it holds the length of what passes through it.", HELD),
            R.clip(flow),
            R.other_rate(flow, 0.1),
        ],
    )  # fmt: skip


def _loss_of_nothing(flow: Flow) -> float:
    """The loss of a network that knows nothing, as far as it is known."""
    zero = flow.facts.get("at_zero", math.nan)  # the loss with a last layer of 0
    reference = course_of(flow).reference
    return min(reference, zero) if zero > 0 else reference


def _told(flow: Flow, rule: Rule, way: Way, severity: str, change: str, harm: str, remedies: list[Remedy]) -> Finding:
    """A finding of what becomes of the gradient through time."""
    first, n = way.first, way.last.turn[1] if way.last.turn else 0
    factor = way.ratio ** (1 / way.steps)
    W = next((x for x in flow.layers if x.kind == "parameter" and x.weights == first.reads), None)
    name = W.name if W is not None else "the weight"
    size = at_first_look if flow.looks else early
    gain = float(size(flow, "W.rms")[W.number - 1] * np.sqrt(first.fan_in or 1)) if W is not None else np.nan
    return rule.found(
        severity,
        f"Over the {n} calls of {name}, from the last back to the first, the gradient "
        f"{change.format(show(way.ratio))}, by a factor of {show(factor)} a call: {harm}.",
        [
            (f"‖δ‖ at the first call of {name} by that at the last", way.ratio, "between 0.1 and 10"),
            ("change of ‖δ‖ a call", factor, "near 1"),
            (f"RMS of z at the last call of {name} by that at the first", way.values, "near 1"),
            *([(f"gain of {name}, RMS · √inputs", gain, "1")] if np.isfinite(gain) else []),
        ],
        remedies,
        layers=[first, way.last],
        step=0,
    )
