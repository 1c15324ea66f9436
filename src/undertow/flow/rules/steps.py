"""Steps that are too large or too small, that swing to and fro, or are always cut down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import Array, Course, course_of, early, first_row, show, trained
from undertow.flow.rules.registry import Rule, rule


@dataclass(frozen=True)
class Movement:
    """How far the weights move.

    Attributes:
        layer: the layer whose weights move most for their size at the beginning; None where there is none.
        ratio: RMS of its update by that of W, the median of the first steps.
        largest: the largest such number of any layer at any step.
        path: the sum of these ratios over all steps, for the layer where it is largest.
    """

    layer: FlowLayer | None
    ratio: float
    largest: float
    path: float


def movement_of(flow: Flow) -> Movement:
    """Measure how far the weights move."""
    chosen = [i for i in trained(flow) if flow.layers[i].kind != "parameter"] or trained(flow)
    if not chosen:
        return Movement(None, math.nan, math.nan, math.nan)
    at = early(flow, "ratio")[chosen]
    rows = flow.stat("ratio")[:, chosen].astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    n_steps = int(flow.steps[-1]) if len(flow) else 0
    path = float(rows.mean(axis=0).max() * n_steps) if len(rows) else math.nan
    finite = np.where(np.isfinite(at), at, -1.0)
    worst = int(np.argmax(finite))
    largest = float(rows.max(initial=0.0)) if len(rows) else math.nan
    return Movement(flow.layers[chosen[worst]], float(at[worst]), largest, path)


@rule(
    "step-too-large",
    peak=(3.0, "highest loss by the larger of the first one and that of a constant output"),
    ratio=(0.1, "update ratio (RMS of the update by that of W) at the beginning that is too large"),
    huge=(1.0, "update ratio that turns weights over in a step"),
    fails=(0.05, "share of the constant output's loss that is learned at least in a training that works"),
)
def find_large_steps(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss rises or diverges, or stays where it was while weights are turned over.

    Judged by the loss: that it climbs above its beginning, stops being finite after it rose, or never falls. How far
    an update moves W for its size is second evidence; about 0.001 is usual.

    Source: Goodfellow et al., Deep Learning, 2016, section 11.4.1 (the U of the learning rate); Bottou, Stochastic
        gradient descent tricks, 2012, section 4.3; LeCun et al., Efficient BackProp, 1998, section 5 (2/λ diverges).
    """
    course, move = course_of(flow), movement_of(flow)
    if not len(course.loss) or move.layer is None:
        return
    start = max(course.initial, course.constant or 0.0, 1e-12)
    after = course.loss[1:]
    peak = float(after.max(initial=course.loss[0])) / start
    rose = peak > rule.peak
    overflow = course.diverged and _made_by_training(flow) and (rose or move.largest > rule.huge)
    fails = course.fails(rule.fails)
    if not (
        overflow
        or (rose and (move.ratio > rule.ratio or fails))
        or (fails and move.ratio > rule.ratio and _climbs(course))
        or (move.ratio > rule.huge and fails)
    ):
        return
    row = first_row(flow.scalars["loss"] > rule.peak * start)
    rate = R.rate_of(flow)
    what = f"the loss climbs to {show(peak * start)} from {show(course.initial)}" if peak > 1.2 else "the loss does not fall"
    if course.diverged:
        what += " and stops being finite"
    rows = [
        ("loss before training", course.initial, None),
        ("highest loss", peak * start, f"not above {show(start)}"),
        ("loss at the end", course.end, f"below {show(course.reference)}"),
        (f"update ratio of layer {move.layer.number} at the beginning", move.ratio, "near 0.001"),
        ("learning rate", rate, None),
    ]
    factor = 0.1 if move.ratio < 1 or not math.isfinite(move.ratio) else 10 ** -math.ceil(math.log10(move.ratio / 0.01))
    yield rule.found(
        "error" if course.diverged or fails else "warning",
        f"At a learning rate of {'its schedule' if rate is None else f'{rate:g}'} {what}; an update is "
        f"{show(move.ratio)} of the weights of layer {move.layer.number}.",
        rows,
        [R.other_rate(flow, factor), R.clip(flow)],
        layers=[move.layer],
        step=1 if row is None else int(flow.steps[row]),
    )


def _made_by_training(flow: Flow) -> bool:
    """Whether what is not finite came about by steps, and not from data or a function's edge at the first of them."""
    told = flow.facts.get("non_finite") or {}
    return told.get("where") not in ("data", "parameters") and (told.get("step") or 2) > 1


def _climbs(course: Course) -> bool:
    """Whether the loss is clearly higher after the first steps than before them."""
    head = course.loss[1 : max(len(course.loss) // 4, 3)]
    return bool(len(head)) and float(head.max()) > 1.5 * max(course.initial, course.reference)


@rule(
    "step-too-small",
    path=(0.05, "sum of the update ratios of all steps, below which weights have hardly moved"),
    fall=(0.1, "share of the first loss by which it falls in a training that works"),
    steps=(10, "fewest steps"),
)
def find_small_steps(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The weights have hardly moved at the end of the training, and the loss neither.

    The sum over all steps of RMS(update) / RMS(W) bounds how far weights can have come; a gradient must be there.

    Source: Goodfellow et al., Deep Learning, 2016, section 11.4.1; the update ratio: derived here.
    """
    course, move = course_of(flow), movement_of(flow)
    if move.layer is None or course.diverged or not len(flow) or flow.steps[-1] < rule.steps:
        return
    fall = (course.loss[: max(len(course.loss) // 20, 1)].mean() - course.end) / max(abs(course.initial), 1e-12)
    if not (move.path < rule.path and fall < rule.fall):
        return
    if not course.end > 0.5 * course.reference:
        return
    rate = R.rate_of(flow)
    yield rule.found(
        "error",
        f"At a learning rate of {'its schedule' if rate is None else f'{rate:g}'} an update is {show(move.ratio)} of the "
        f"weights, and all {int(flow.steps[-1])} steps together {show(move.path)} of them at most: the loss has fallen by "
        f"{fall:.1%}.",
        [
            ("update ratio at the beginning", move.ratio, "near 0.001"),
            ("sum of the update ratios of all steps", move.path, "above 1"),
            ("fall of the loss", float(fall), None),
            ("learning rate", rate, None),
        ],
        [R.other_rate(flow, 10.0 ** min(max(round(math.log10(3e-3 / max(move.ratio, 1e-12))), 1), 8)), R.more_epochs(flow)],
        layers=[move.layer],
        step=1,
    )


@rule(
    "oscillation",
    alternates=(0.7, "share of steps after which the loss turns from falling to rising or back, on full batches"),
    swing=(0.05, "size of a swing by the loss of a constant output"),
    net=(0.2, "how much of the way up and down the loss comes down in the end, at most"),
    noise=(4.0, "spread of the loss between neighbouring steps by what batches of this size explain"),
)
def find_oscillation(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss swings to and fro without coming down, more than the choice of batches explains.

    With full batches every rise of the loss is a step too far. With smaller ones, the mean loss of whole epochs is
    judged, and the spread within them against the mean loss by √(batch size).

    Source: LeCun et al., Efficient BackProp, 1998, section 5 (between 1/λ and 2/λ the error oscillates); Goh, Why
        momentum really works, Distill 2017 (the ripples of large momentum).
    """
    course = course_of(flow)
    curve, what = _curve(flow, course)
    if len(curve) < 8 or course.diverged:
        return
    half = curve[len(curve) // 2 :]
    moves = np.diff(half)
    way = float(np.abs(moves).sum())
    net = float(curve[len(curve) // 2] - half[-max(len(half) // 5, 1) :].mean())
    swing = float(np.median(np.abs(moves)))
    level = max(abs(course.reference), 1e-12)
    turns = float(np.mean(np.sign(moves[1:]) != np.sign(moves[:-1]))) if len(moves) > 1 else 0.0
    rises = float(moves[moves > 0].sum()) / max(way, 1e-12)
    if not (swing > rule.swing * level and rises > 0.3 and net < rule.net * way):
        return
    rate = R.rate_of(flow)
    yield rule.found(
        "warning",
        f"From {what} to {what} the loss changes by {show(swing)}, up in {rises:.0%} of the way, and comes down by "
        f"{show(net)} in the second half of the training: steps overshoot the valley.",
        [
            (f"change of the loss from {what} to {what}", swing, f"below {show(rule.swing * level)}"),
            ("share of the way that leads up", rises, "near 0"),
            ("share of turns", turns, "near 0"),
            ("learning rate", rate, None),
        ],
        [R.other_rate(flow, 0.2), R.clip(flow)],
        step=int(flow.steps[len(flow) // 2]) if len(flow) else None,
    )


def _curve(flow: Flow, course: Course) -> tuple[Array, str]:
    """The loss that is free of the choice of batches: of steps with full batches, else of epochs."""
    if course.full_batch:
        return course.loss, "step"
    rows = [row["loss"] for row in flow.history if R.is_number(row.get("loss"))]
    return np.array(rows, np.float64), "epoch"


@rule(
    "always-clipped",
    share=(0.9, "share of steps whose gradient is clipped"),
    factor=(0.5, "median factor by which it is multiplied"),
    steps=(20, "fewest steps"),
)
def find_always_clipped(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient is clipped in nearly every step, so the limit and not the gradient decides how far a step goes.

    Source: Pascanu et al. 2013, section 3.2 (the limit from the average norm of the gradient: from half to ten times it).
    """
    clip = flow.settings.get("clip") or {}
    limit = clip.get("limit")
    factors = flow.scalars["clip"][np.isfinite(flow.scalars["clip"])]
    norms = flow.scalars["grad_norm"][np.isfinite(flow.scalars["grad_norm"])]
    if min(len(factors), len(norms)) < rule.steps:
        return
    norm = float(np.median(norms))
    share, factor = float(np.mean(factors < 1 - 1e-6)), float(np.median(factors))
    if share < rule.share or factor > rule.factor:
        return
    new = float(f"{2 * norm:.1g}")
    yield rule.found(
        "warning",
        f"The gradient is clipped in {share:.0%} of the steps, to {show(factor)} of its size in the middle: its norm is "
        f"{show(norm)}, the limit {limit if limit is None else f'{limit:g}'}.",
        [
            ("share of steps that are clipped", share, "below 0.1"),
            ("factor in the middle", factor, "1"),
            ("norm of the gradient, the median", norm, None if limit is None else f"near the limit {limit:g} or below"),
        ],
        [R.clip(flow, new)],
        step=int(flow.steps[0]),
    )
