"""Weights that do not move: by a schedule that is spent before the loss has come down, or from the first step on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from undertow.flow.directions import paces_of
from undertow.flow.findings import Finding
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import Course, show
from undertow.flow.rules.registry import Rule


def ended_early(flow: Flow, rule: Rule, course: Course) -> Finding | None:
    """The finding of a schedule that has spent nearly all of its rates while the loss was still coming down.

    Told is a loss that fell in the last quarter of these rates, beyond the scatter of the steps, and in all that
    follows by no more than twice as much, though that is longer than all that went before; or any that ends high
    where these were a dozen steps, in which noise hides the fall. In a loop of one's own whose
    update rule is not known, how far steps go by the size of the gradient tells its rates.

    Args:
        flow: the record.
        rule: with the limits ``spent``, ``early``, ``few``, ``falls`` and ``high``.
        course: of the loss.

    Returns:
        The finding, or None.

    Source: derived here; that rates must add up to infinity to come from any beginning to a minimum: Robbins and Monro,
        A stochastic approximation method, Annals of Mathematical Statistics 22, 1951, eq. 6.
    """
    rates, loss = np.nan_to_num(flow.scalars["rate"].astype(np.float64)), flow.scalars["loss"].astype(np.float64)
    known = bool(rates.any()) or not flow.of_loop
    rates = rates if known else paces_of(flow)
    if course.diverged or not rates.sum() > 0 or not rates.max() > rates.min():
        return None
    spent = np.cumsum(rates) / rates.sum()
    half, late, last = (int(x) + 1 for x in np.searchsorted(spent, [rule.spent * part for part in (0.5, 0.75, 1.0)]))
    before, then = loss[half:late], loss[late:last]
    if last > rule.early * len(rates) or not course.end > rule.high * course.reference:
        return None
    rate, step, n = float(rates.max()), int(flow.steps[last - 1]), int(flow.steps[-1])
    if known and last <= rule.few:
        seen = (
            f"so the weights stand where these few steps have brought them: the loss is {show(course.end)} at the end"
        )
    elif min(len(before), len(then)) < 3:
        return None
    else:
        fall = float(before.mean() - then.mean())
        error = math.sqrt(before.var() / len(before) + then.var() / len(then))
        since = float(then.mean()) - course.end
        if not (fall > max(rule.falls * course.reference, 2 * error) and since < 2 * fall):
            return None
        seen = (
            f"where the loss still fell: it came from {show(float(before.mean()))} to {show(float(then.mean()))} with "
            f"a quarter of these rates, and is {show(course.end)} at the end"
        )
    return rule.found(
        "warning",
        f"A schedule spends {rule.spent:.0%} of all its learning rates by step {step} of {n}, {seen}.",
        [
            ("learning rate, the largest" if known else "step by the gradient, the largest", rate, None),
            ("the same in the middle of all steps", float(np.median(rates)), f"not far below {rate:g}"),
            ("loss at the end", course.end, f"well below {show(course.reference)}"),
        ],
        [R.lasting_schedule(flow), R.more_epochs(flow)],
        step=step,
    )


def never_moved(flow: Flow, rule: Rule, layer: FlowLayer | None, counted: Sequence[int]) -> Finding:
    """The finding of weights that no step changes at all, which no rate mends.

    Args:
        flow: the record.
        rule: that finds it.
        layer: where to say it.
        counted: the layers whose weights have not moved; a bias that begins at 0 is none of them, and may have.

    Returns:
        The finding, which says why: no gradient, or no step.

    Source: derived here.
    """
    sizes = flow.stat("dW.rms")[:, list(counted)]
    sizes = sizes[~np.isnan(sizes)]
    largest = float(sizes.max()) if sizes.size else None
    why = "all are frozen, or the learning rate is 0 at every step."
    remedy = R.mend_data("Look at what the optimizer is told.", "print(run.settings['optimizer'])")
    if largest == 0:
        why = "the gradient by all of them is 0, so the loss does not change with them."
        remedy = R.mend_data(
            "Look for what has no slope between the weights and the loss: np.clip, np.sign, np.round, argmax, a "
            "comparison, stop_gradient, relu where z is below 0 for every example.",
            "print(ut.check_gradient(loss, params, X, y, raises=False))",
        )
    elif not flow.settings.get("optimizer"):  # a loop of one's own
        why = "all are frozen, the rate is 0, or the loop goes on with the weights it began with."
        remedy = R.mend_data(
            "Give the next step the weights that this one made.",
            "params = ut.trees.map(lambda w, g: w - rate * g, params, gradient)",
        )
    return rule.found(
        "error",
        f"No weight has moved in {int(flow.steps[-1])} steps: {why}",
        [
            ("sum of the update ratios of all steps", 0.0, "above 1"),
            *([("largest RMS of dW", largest, "above 0")] if largest is not None else []),
            *([("learning rate", rate, None)] if (rate := R.rate_of(flow)) is not None else []),
        ],
        [remedy],
        layers=[] if layer is None else [layer],
        step=1,
    )


def left_out(flow: Flow, rule: Rule) -> Finding | None:
    """The finding of parameters that the update of a loop of one's own leaves out, while it moves others.

    Args:
        flow: the record.
        rule: that finds it.

    Returns:
        The finding; None where all move, where the gradient by those that do not is 0, or where `undertow.train` made
        the steps, which leaves out what it is told to.

    Source: derived here.
    """
    if flow.settings.get("optimizer"):
        return None
    update, dW = flow.stat("update.rms"), flow.stat("dW.rms")
    moved = np.nanmax(np.nan_to_num(update), axis=0) > 0
    still = ~np.isnan(update).any(axis=0) & ~moved & ((dW > 0).mean(axis=0) > 0.5)
    if not moved.any() or not still.any():
        return None
    layers = [layer for layer, stands in zip(flow.layers, still, strict=True) if stands]
    names = ", ".join(layer.label for layer in layers[:4]) + (f" and {len(layers) - 4} more" if len(layers) > 4 else "")
    return rule.found(
        "warning",
        f"In {int(flow.steps[-1])} steps {names} {'has' if len(layers) == 1 else 'have'} not moved, though there is a "
        f"gradient, and others have: the update leaves {'it' if len(layers) == 1 else 'them'} out, or its steps are "
        "lost in rounding.",
        [
            ("largest RMS of the update there", 0.0, "above 0"),
            ("largest RMS of dW there", float(np.nanmax(dW[:, still])), None),
        ],
        [
            R.mend_data(
                "Update all of the parameters; one that is to stay needs no gradient: leave it out of them.",
                "params = ut.trees.map(lambda w, g: w - rate * g, params, gradient)",
            )
        ],
        layers=layers,
        step=1,
    )
