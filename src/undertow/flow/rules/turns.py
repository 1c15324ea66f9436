"""Gradients that vanish through the steps of a recurrent network, in a loop of one's own."""

from __future__ import annotations

import math

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import course_of, early, show
from undertow.flow.rules.registry import Rule

FEWEST = 5  # calls
LEARNED = 0.05  # share of the loss of a network that knows nothing that is learned in a training that works
HELD = "W = np.linalg.qr(rng.normal(size=W.shape))[0]  # orthogonal: it holds the length of what passes"


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
    course, delta = course_of(flow), early(flow, "delta.rms")
    zero = flow.facts.get("at_zero", math.nan)  # the loss with a last layer of 0, which knows nothing
    nothing = min(course.reference, zero) if zero > 0 else course.reference
    if course.diverged or course.moving or course.end < (1 - LEARNED) * nothing:
        return None
    calls = [(i, layer) for i, layer in enumerate(flow.layers) if layer.turn and layer.turn[1] >= FEWEST]
    found = []
    for i, first in calls:
        for j, last in calls:
            pair = first.turn and last.turn and first.turn[0] == 1 and last.turn[0] == last.turn[1] == first.turn[1]
            if pair and first.reads == last.reads and delta[j] > 0:
                found.append((float(delta[i] / delta[j]), first, last))
    if not found or not max(x[0] for x in found) < rule.ratio:  # a single way past is enough
        return None
    ratio, first, last = found[0]
    n = last.turn[1] if last.turn else 0
    factor = ratio ** (1 / (n - 1))
    W = next((x for x in flow.layers if x.kind == "parameter" and x.weights == first.reads), None)
    name = W.name if W is not None else "the weight"
    gain = float(early(flow, "W.rms")[W.number - 1] * np.sqrt(first.fan_in or 1)) if W is not None else np.nan
    return rule.found(
        "error",
        f"Over the {n} calls of {name}, from the last back to the first, the gradient shrinks to {show(ratio)} of its "
        f"size, by a factor of {show(factor)} a call: what came early in a sequence is not learned from.",
        [
            (f"‖δ‖ at the first call of {name} by that at the last", ratio, "between 0.1 and 10"),
            ("change of ‖δ‖ a call", factor, "near 1"),
            *([(f"gain of {name}, RMS · √inputs", gain, "1")] if np.isfinite(gain) else []),
        ],
        [
            R.mend_data("An orthogonal weight: it holds the length of what passes through it.", HELD),
            R.mend_data(
                "A gate that carries what was there: the gradient then has a way past (LSTM, GRU).",
                "z = 1 / (1 + np.exp(-(x @ U_z + h @ W_z)))\nh = z * h + (1 - z) * np.tanh(x @ U + h @ W)",
            ),
        ],
        layers=[first, last],
        step=0,
    )
