"""Steps that are too large or too small, that swing to and fro, or are always cut down."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.linear import loss_of_linear
from undertow.flow.rules.measures import (
    Array,
    Course,
    course_of,
    end_of_rates,
    first_row,
    held_end,
    is_full_batch,
    rescales,
    show,
    show_times,
    trained,
)
from undertow.flow.rules.mixed import find_unmixed
from undertow.flow.rules.movement import begin_if_scaled, measured_by, movement_of
from undertow.flow.rules.rates import ended_early, left_out, never_moved
from undertow.flow.rules.registry import Rule, rule


@rule(
    "step-too-large",
    peak=(3.0, "highest loss by the larger of the first one and that of a constant output"),
    high=(10.0, "the same that is told though the loss comes down later"),
    ratio=(0.1, "update ratio (RMS of the update by that of W) in the first steps that is too large"),
    turned=(0.5, "update ratio in the first steps by which weights are lost"),
    lost=(1.5, "update ratio in the first steps by which nothing of the weights is left"),
    little=(
        0.4,
        "loss at the end by that of a constant output, of steps or on rows held out, above which that did harm",
    ),
    huge=(1.0, "update ratio of a training that diverges"),
    fails=(0.05, "share of the constant output's loss that is learned at least in a training that works"),
    left=(0.6, "loss at the end by that of a constant output, below which the steps were not too large after all"),
    always=(0.04, "mean update ratio of all steps, from which on weights are turned over again and again"),
    steps=(100, "fewest steps for that"),
    examples=(16, "examples a step for which this holds; of fewer, single steps cancel by the root of the share"),
    begin=(0.25, "largest update ratio of the first steps that goes with it"),
    rest=(0.15, "loss at the end, of steps or on rows held out, by that of a constant output, above which it did harm"),
    falling=(0.9, "loss of the last quarter by that of the quarter before, below which it does not stand yet"),
    beyond=(2.0, "or by how many standard errors it lies below it"),
)
def find_large_steps(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss rises or diverges, or stays where it was while weights are turned over.

    Judged by the loss: that it climbs above its beginning (the mean of some steps, not of a single batch), stops being
    finite after it rose, or hardly falls. How far an update moves W for its size is second evidence; about 0.001 is
    usual. Where it is forty times that all the way, weights never settle, and the loss stands above what could be had:
    it no longer falls, and is no lower than that of a linear function, also on rows held out, where one is known to
    explain something. A single layer, as a rule a linear function itself, is left out of that.
    Where the first steps leave nothing of the weights, rows held out tell as well: classes that can be told apart are
    learned by heart at any rate, but by weights so large that what is wrong is wrong by far.
    The loss of two loops that train against each other is no measure, and counts only where it is not finite.

    Source: Goodfellow et al., Deep Learning, 2016, section 11.4.1 (the U of the learning rate); LeCun et al., Efficient
        BackProp, 1998, section 5 (beyond 2/λ the error diverges).
    """
    course, move = course_of(flow), movement_of(flow)
    if not len(course.loss) or move.layer is None or (course.moving and not course.diverged):
        return
    start = max(course.initial, course.constant or 0.0)
    start = start if start > 0 else math.inf  # a loss that can be negative has no scale of its own
    curve = course.smooth if len(course.smooth) > 4 and not course.diverged else course.loss[1:]
    if course.constant is None and curve is course.smooth:  # few rows, which the first batch lacks, may make most of it
        curve = np.array([np.median(piece) for piece in np.array_split(course.loss, min(len(curve), 10))])
    peak = float(curve.max(initial=course.loss[0])) / start
    rose, fails = peak > rule.peak, course.fails(rule.fails)
    left = course.end > rule.left * course.reference
    if math.isnan(move.begin) and not (course.diverged or course.end > rule.high * start):
        return  # of weights that begin at 0 the loss alone can tell
    size = flow.facts.get("batch_size") or rule.examples
    turns = flow.steps[-1] >= rule.steps and len(measured_by(flow)) > 1  # a single layer is the linear function itself
    always = rule.always * math.sqrt(max(rule.examples / size, 1)) if turns else math.inf
    # of a bound on weights that takes them back after a step nothing can be told but by the loss
    first = 0.0 if flow.settings.get("max_norm") else move.first
    if not (
        (course.diverged and _made_by_training(flow) and (rose or move.largest > rule.huge))
        or (rose and (fails or (first > rule.ratio and (left or peak > rule.high))))
        or (first > rule.turned and left)
        or (first > rule.lost and max(course.end, held_end(flow)) > rule.little * course.reference)
        or (min(move.mean / always, first / rule.begin) > 1 and _never_settles(flow, rule, course))
    ):
        return
    row, held = first_row(flow.scalars["loss"] > rule.peak * start), held_end(flow)
    rate = R.rate_of(flow)
    climbs = f"the loss climbs to {show(peak * start)} from {show(course.initial)}"
    what = climbs if peak > 1.2 else "the loss stays high"
    if course.diverged:
        what += " and stops being finite"
    mover = move.layer.label.partition(",")[0]
    if math.isfinite(move.first):
        what += f"; in the first steps an update is up to {show_times(move.first)} the weights of a layer"
    ratios = [
        ("largest update ratio of the first 20 steps", move.first, "near 0.001"),
        *([(f"update ratio of {mover} at the beginning, the median", move.ratio, "near 0.001")] if move.ratio else []),
        ("mean update ratio of all steps", move.mean, "near 0.001"),
    ]
    yield rule.found(
        "error" if course.diverged or fails else "warning",
        f"At {_rate(rate)} {what}.",
        [
            ("loss before training", course.initial, None),
            ("highest loss", peak * start, f"not above {show(start)}"),
            ("loss at the end", course.end, f"below {show(course.reference)}"),
            *([("loss of rows held out, at the end", held, f"near {show(course.end)}")] if held > course.end else []),
            *(row for row in ratios if math.isfinite(row[1])),
            ("learning rate", rate, None),
            *_if_scaled(flow, rule),
        ],
        [*R.less_momentum(flow), *R.calmer_rates(flow, move.begin, course.loss), *R.clip_where_it_helps(flow)],
        layers=[move.layer],
        step=1 if row is None else int(flow.steps[row]),
    )


def _never_settles(flow: Flow, rule: Rule, course: Course) -> bool:
    """Whether the loss stands, and higher than it must: what is noise in the targets no rate takes away.

    It falls where the last quarter lies below the one before by more than the scatter of their pieces explains.
    """
    quarter = max(len(course.smooth) // 4, 1)
    before, last = course.smooth[-2 * quarter : -quarter], course.smooth[-quarter:]
    end = max(course.end, held_end(flow))
    stands = not len(before) or last.mean() > rule.falling * before.mean()
    if not stands:
        error = math.sqrt((before.var() + last.var()) / quarter)
        stands = before.mean() - last.mean() < rule.beyond * error
    lower = end < loss_of_linear(flow, course)
    rest = rule.left if course.constant is None else rule.rest  # of a loss before training, which may be far above it
    return bool(stands and end > rest * course.reference and not lower)


def _if_scaled(flow: Flow, rule: Rule) -> list[tuple[object, ...]]:
    """How large the first step would be for data that are scaled, where they are not."""
    ratio = begin_if_scaled(flow)
    if "dW_if_scaled" not in flow.facts or not math.isfinite(ratio):
        return []
    text = "largest update ratio of the first step, if columns and targets were scaled"
    return [(text, ratio, f"below {rule.turned:g}, above which the rate is too high whatever the data are")]


def _made_by_training(flow: Flow) -> bool:
    """Whether what is not finite came about by steps, and not from data or a function's edge at the first of them."""
    told = flow.facts.get("non_finite") or {}
    return told.get("where") not in ("data", "parameters") and (told.get("step") or 2) > 1


@rule(
    "step-too-small",
    path=(0.05, "sum of the update ratios of all steps, below which weights have hardly moved"),
    ratio=(
        5e-4,
        "update ratio at the beginning that is too small; above, the steps were too few, if nothing is learned",
    ),
    fall=(0.1, "share of the first loss by which it falls in a training that works"),
    steps=(10, "fewest steps"),
    spent=(0.9, "share of the sum of all rates by which a schedule counts as spent"),
    early=(1 / 3, "share of the steps in which it is spent that is too early"),
    few=(12, "steps in which it is spent that are too few for a loss to come down, wherever it stands then"),
    falls=(0.02, "fall of the loss in the last quarter of these, by that of a constant output, that shows it"),
    high=(0.2, "loss at the end by that of a constant output, above which this did harm"),
)
def find_small_steps(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The weights have hardly moved at the end of the training, and the loss neither.

    The sum over all steps of RMS(update) / RMS(W) bounds how far weights can have come; a gradient must be there. Where
    that is 0, all is frozen, or the rate is. A loss that begins low by luck, but above that of a linear function, is no
    sign that nothing is left to learn. Weights may also have moved first and stood then: a schedule spent nearly all of
    its rates early, while the loss was still coming down, or in a dozen steps. Of a loop of one's own, parameters that
    have a gradient and stay as they are while others move are told as well.

    Source: Goodfellow et al., Deep Learning, 2016, section 11.4.1; the update ratio: derived here; that rates must add
        up to infinity: Robbins and Monro, A stochastic approximation method, Annals of Mathematical Statistics 22,
        1951, eq. 6.
    """
    course, move = course_of(flow), movement_of(flow)
    if move.layer is None or course.diverged or not len(flow) or flow.steps[-1] < rule.steps:
        return
    begin, end = course.loss[: max(len(course.loss) // 20, 1)].mean(), course.end
    if len(course.epochs) > 1:
        begin, end = course.epochs[[0, -1]]
    fall = float(begin - end) / max(abs(course.initial), 1e-12)
    above = course.constant is not None and course.end > (1 - rule.fall) * course.constant
    high = course.end > 0.5 * course.reference or course.end > loss_of_linear(flow, course, at_least=True)
    short = move.path < rule.path and rule.ratio <= move.ratio and fall < rule.fall and above
    if not (short or (move.path < rule.path and move.ratio < rule.ratio and (fall < rule.fall or above) and high)):
        still = ended_early(flow, rule, course) or left_out(flow, rule)
        if still is not None:
            yield still
        return
    if move.path == 0:
        yield never_moved(flow, rule, move.layer, measured_by(flow) or trained(flow))
        return
    rate = R.rate_of(flow)
    ended = end_of_rates(flow)
    at = _rate(rate)
    if ended is not None:
        at = f"a schedule that brings the learning rate from {rate:g} to nearly 0 by step {ended}"
    few = ", which are too few," if short else ""
    larger = R.other_rate(flow, 10.0 ** min(max(round(math.log10(3e-3 / max(move.ratio, 1e-12))), 1), 8))
    smaller = [R.other_batch_size(flow, 32)] if short and (flow.facts.get("batch_size") or 0) > 64 else []
    yield rule.found(
        "warning" if short else "error",
        f"At {at} an update is {show(move.ratio)} of the "
        f"weights, and all {int(flow.steps[-1])} steps{few} together {show(move.path)} of them at most: the loss has "
        f"{'fallen' if fall > 0 else 'risen'} by {abs(fall):.1%}.",
        [
            ("update ratio at the beginning", move.ratio, "near 0.001"),
            ("sum of the update ratios of all steps", move.path, "above 1"),
            ("fall of the loss", float(fall), None),
            ("learning rate", rate, None),
        ],
        [*smaller, R.more_epochs(flow, 10), larger] if short else [larger, R.more_epochs(flow)],
        layers=[move.layer],
        step=1,
    )


@rule(
    "oscillation",
    swing=(0.08, "swing of the loss, from one turn to the next, by the loss of a constant output"),
    full=(0.05, "swing on full batches by the loss itself, where that is above 4 % of the constant output's"),
    stuck=(
        0.2,
        "swing on smaller batches by the loss itself, where that is above 5 % and comes down by less than 30 %",
    ),
    rises=(0.3, "share of the way up and down that leads up"),
    rises_full=(0.2, "the same on full batches, where no rise comes from the choice of examples"),
    turns=(6, "fewest turns in the last two thirds of the training"),
    noise=(1.5, "swing by what the choice of batches explains"),
    order=(0.3, "share of the targets' variance that lies between batches, from which on these are not mixed"),
    batches=(20, "fewest batches that can tell"),
    uneven=(0.3, "deviation of the loss of single steps by its mean, with which that does harm"),
    high=(0.3, "or loss by that before training, above which it does"),
    own=(0.1, "such a share of the inputs by that of the targets, below which targets move by themselves"),
)
def find_oscillation(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss swings to and fro without coming down much, more than the choice of batches explains.

    Judged are the last two thirds of the training. On full batches every rise of the loss is a step too far, with
    dropout or noise one by more than a loss differs from the next but one; on smaller batches the mean loss of whole
    epochs is judged, or of pieces of the training where there are few epochs, beside what chance explains. In a loop of
    one's own batches may follow the order of rows that are sorted: the network then learns one kind after the other,
    and forgets those before.

    Source: LeCun et al., Efficient BackProp, 1998, section 5 (between 1/λ and 2/λ the error oscillates); Goh, Why
        momentum really works, Distill 2017 (the ripples of large momentum).
    """
    course = course_of(flow)
    unmixed = find_unmixed(flow, rule, course)
    if unmixed is not None:
        yield unmixed
        return
    curve, what, noise = _curve(flow, course)
    if len(curve) < 8 or course.diverged or course.moving:
        return
    part = curve[len(curve) // 3 :]
    moves = np.diff(part)
    turning = np.flatnonzero(np.sign(moves[1:]) != np.sign(moves[:-1])) + 1
    if len(turning) < rule.turns:
        return
    swing = float(np.median(np.abs(np.diff(part[turning]))))
    rises = float(moves[moves > 0].sum() / np.abs(moves).sum())
    level, mean = max(abs(course.reference), 1e-12), float(part.mean())
    if course.best < 0:  # a loss that falls below 0 has no size but its fall
        level = max(level, course.initial - course.best)
    large = swing > rule.swing * level
    quarter = max(len(part) // 4, 1)
    falls = part[-quarter:].mean() < 0.7 * part[:quarter].mean()
    own = (rule.full if course.full_batch else rule.stuck) * mean
    steady = swing > own and mean > (0.04 if course.full_batch else 0.05) * level and (course.full_batch or not falls)
    limit = rule.swing * level if large else own
    least = rule.rises_full if course.full_batch else rule.rises
    if not (large or steady) or rises < least or swing < rule.noise * noise:
        return
    rate = R.rate_of(flow)
    first = len(flow) // 3
    yield rule.found(
        "warning",
        f"The loss swings by {show(swing)} at a mean of {show(mean)}, with {len(turning)} turns from {what} to "
        f"{what}, and "
        f"{rises:.0%} of its way leads up: at {_rate(rate)} steps overshoot the valley.",
        [
            ("swing of the loss between turns", swing, f"below {show(limit)}"),
            ("share of the way that leads up", rises, "near 0"),
            ("turns", len(turning), None),
            ("learning rate", rate, None),
        ],
        [*R.less_momentum(flow), R.other_rate(flow, 0.2), *R.clip_where_it_helps(flow)],
        step=int(flow.steps[first]) if len(flow) else None,
    )


def _curve(flow: Flow, course: Course) -> tuple[Array, str, float]:
    """The loss as free of the choice of batches as can be, of what it is told, and the noise that is left."""
    if course.full_batch:
        return course.loss, "step", 0.0
    if is_full_batch(flow) and len(course.loss) > 4:  # what is drawn differs as much from the next loss but one
        return course.loss, "step", 3 * float(np.median(np.abs(course.loss[2:] - course.loss[:-2]))) / 0.954
    rows = np.array([row["loss"] for row in flow.history if R.is_number(row.get("loss"))], np.float64)
    pieces = rows
    n_pieces = min(40, len(course.loss) // 10)
    if len(rows) < 12 and n_pieces:  # without the highest, which may be that of a last batch of a single row
        split = np.array_split(course.loss, n_pieces)
        pieces = np.array([np.sort(x)[: max(len(x) - 1, 1)].mean() for x in split])
    count = max(len(course.loss) / max(len(pieces), 1), 1)
    by_epoch = len(rows) >= 12
    # over a whole epoch the choice of batches cancels, unless each step draws numbers or normalises over its batch
    told = str((flow.facts.get("output") or {}).get("model"))
    draws = any(name in told for name in ("Dropout", "Noise", "BatchNorm")) or flow.facts.get("normalised_by_batch")
    share = 1 if by_epoch and not draws else 3 if by_epoch else 4
    return pieces, "epoch" if by_epoch else "piece", share * course.spread / math.sqrt(count)


def _rate(rate: float | None) -> str:
    return "this learning rate" if rate is None else f"a learning rate of {rate:g}"


@rule(
    "always-clipped",
    share=(0.9, "share of steps whose gradient is clipped"),
    factor=(0.5, "median factor by which it is multiplied, at most"),
    rescaled=(0.2, "the same with adam and its kin, which undo a factor that stays the same"),
    steps=(20, "fewest steps"),
)
def find_always_clipped(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient is clipped in nearly every step, so the limit and not the gradient decides how far a step goes.

    Source: Pascanu et al. 2013, section 3.2 (a limit of half to ten times the average norm).
    """
    clip = flow.settings.get("clip") or {}
    limit = clip.get("limit")
    factors = flow.scalars["clip"][np.isfinite(flow.scalars["clip"])]
    norms = flow.scalars["grad_norm"][np.isfinite(flow.scalars["grad_norm"])]
    if min(len(factors), len(norms)) < rule.steps:
        return
    norm = float(np.median(norms))
    share, factor = float(np.mean(factors < 1 - 1e-6)), float(np.median(factors))
    if share < rule.share or factor > (rule.rescaled if rescales(flow) else rule.factor):
        return
    yield rule.found(
        "warning",
        f"The gradient is clipped in {share:.0%} of the steps, to {show(factor)} of its size in the middle: its "
        "norm is "
        f"{show(norm)}, the limit {limit if limit is None else f'{limit:g}'}.",
        [
            ("share of steps that are clipped", share, "below 0.1"),
            ("factor in the middle", factor, "1"),
            ("norm of the gradient, the median", norm, None if limit is None else f"near the limit {limit:g} or below"),
        ],
        [R.clip(flow, float(f"{2 * norm:.1g}"))],
        step=int(flow.steps[0]),
    )
