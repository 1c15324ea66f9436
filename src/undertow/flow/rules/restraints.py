"""Regularisation that is too strong: penalties, decay and bounds that keep weights small, noise, smoothed targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.restraints import decay_of
from undertow.flow.rules import remedies as R
from undertow.flow.rules.linear import learned_as_linear, loss_of_linear
from undertow.flow.rules.measures import NORMS, Course, at_first_look, course_of, show
from undertow.flow.rules.movement import movement_of
from undertow.flow.rules.registry import RULES, Rule, rule

EXACT: Final = 1e-5  # changes of a loss below this part of it are rounding
MOST_DROPPED: Final = 0.5  # sum of the rates of many layers that is offered in place of theirs
NAMES: Final = {"l2": "the penalty l2={}", "l1": "the penalty l1={}", "max_norm": "the bound max_norm={}"}


@dataclass(frozen=True)
class Restraint:
    """A setting that holds a training back.

    Attributes:
        strength: how much of the loss of a constant output it costs, or how sure it is; the larger, the earlier told.
        cause: a part of a sentence: ``"the weight decay of 50 …"``.
        rows: evidence.
        remedy: the setting to change.
        layers: where it acts.
    """

    strength: float
    cause: str
    rows: list[tuple[Any, ...]]
    remedy: Remedy
    layers: list[FlowLayer]


@rule(
    "over-regularised",
    gain=(0.15, "fall of the loss, by that of a constant output, if all weights were as many times larger as is best"),
    sure=(3.0, "that fall in standard errors"),
    high=(
        0.4,
        "loss by that of a constant output, above which a fall that is sure is enough where weights have shrunk",
    ),
    linear=(2.0, "loss by that of a linear function, above which a fall at all is enough then"),
    part=(0.5, "or share of what a linear function learns, below which it is"),
    falls=(0.03, "fall of a loop's loss in the last quarter by what larger weights would gain, above which it goes on"),
    balance=(0.25, "what a penalty takes back of what the loss would gain by larger weights, from which on it decides"),
    memory=(1.0, "sum of rate · decay over all steps, from which on decay and not the beginning decides of weights"),
    bound=(0.5, "share of units whose weights have the largest norm that is allowed"),
    shrunk=(0.5, "RMS of a layer's weights at the end by that before training, below which it has been shrunk"),
    gone=(0.15, "the same where next to nothing is learned, so that larger weights cannot tell"),
    fails=(0.1, "share of the constant output's loss that is learned at least by a network that is not held down"),
    half=(0.5, "the same of the loss with noise, below which noise has done harm"),
    signal=(0.3, "share of the variance of the outputs that comes from inputs, below which noise drowns it"),
    strong=(1.0, "variance of a layer's noise by the mean square of what it disturbs, below which it drowns nothing"),
    gap=(0.4, "loss with noise less that without, by that of a constant output, from which on noise is most of it"),
    together=(2.0, "the same of all layers that draw numbers together, where none does so alone"),
    moved=(0.3, "sum of the update ratios of all steps, below which a training has only begun"),
    steps=(100, "fewest steps for noise to be judged"),
    told=(0.25, "share of what labels say that smoothed ones still say"),
    cost=(
        1.0,
        "penalty on the weights before training, by the loss of a constant output, that makes them go; or at the end, "
        "where next to nothing is learned",
    ),
)
def find_strong_restraints(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Regularisation keeps the network from learning: a penalty, decay or bound on weights, noise, smoothed targets.

    Of weights: rows held out (or, without these, rows trained on) would have a clearly lower loss if the same weights
    were all larger, or a surely lower one where they have shrunk and the loss is high, or any lower one where that is
    twice the loss of a linear function too, or less than half of what that learns is learned, or weights have shrunk to
    nothing; and it is the regularisation that holds them there: at the end a penalty takes back what larger weights
    would gain (at a minimum both are equal), where weights are gone or go to keep them would cost more than there is to
    gain, decay had the time to make weights forget where they began, or units lie at their bound. Of noise: the loss
    with it stays high, and outputs for the same row differ more by the numbers drawn than outputs for different rows
    do, or most of the loss is gone without it. Of smoothed targets: they tell next to nothing of the class, ln K less
    their entropy, by ln K. In a loop of one's own the terms of the loss that are made of parameters alone, and
    cost least where these are 0, are its penalty: told is one that takes back what larger weights would gain in the
    last batches, where these would gain much and the loss no longer falls, or where next to nothing is learned.

    Source: Goodfellow et al., Deep Learning, 2016, section 7.1.1 (eq. 7.13: what a penalty leaves of each direction)
        and 7.12 (dropout); Srivastava et al., Dropout, JMLR 15, 2014, section 7.3 and figure 9 (too few units are kept)
        and 5.1 (the bound); Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, section 2;
        Szegedy et al., Rethinking the inception architecture, CVPR 2016, section 7.
    """
    course = course_of(flow)
    if flow.facts.get("penalty"):
        yield from _own_penalty(flow, rule, course)
        return
    found = (
        [] if course.diverged or not len(flow) else [*_small_weights(flow, rule, course), *_noise(flow, rule, course)]
    )
    found += _smoothed(flow, rule)
    if not found:
        return
    found.sort(key=lambda x: -x.strength)
    told = "; ".join(x.cause for x in found)
    loss = (flow.facts.get("restraints") or {}).get("loss")  # without the penalty, which steps tell with it
    failed = course.fails() if loss is None else loss > 0.95 * course.reference
    yield rule.found(
        "error" if failed else "warning",
        f"Regularisation is too strong to learn well: {told}.",
        [row for x in found for row in x.rows],
        [x.remedy for x in found],
        layers=list({layer.path: layer for x in found for layer in x.layers}.values()),
        step=1,
    )


def _own_penalty(flow: Flow, rule: Rule, course: Course) -> Iterator[Finding]:
    """The finding of a penalty that a loop of one's own adds to its loss."""
    told = flow.facts["penalty"]
    nothing, loss, push, pull = (told[name] for name in ("nothing", "loss", "push", "pull"))
    push = push if push > EXACT * abs(loss) else 0.0
    if course.diverged or course.moving or not nothing > 0 or not pull > 0 or flow.steps[-1] < rule.steps:
        return
    gain, share = (loss - told["least"]) / nothing, pull / (push + pull)
    small = gain >= rule.gain and told["sure"] >= rule.sure and not _falls_on(course, told, rule.falls * gain * nothing)
    gone = loss > (1 - rule.fails) * nothing and told["begin"] >= rule.cost * nothing
    if not (small or gone) or share < rule.balance or movement_of(flow).path < rule.moved:
        return
    at = f" ({told['line']})" if told["line"] else ""
    effect = (
        f"with all weights {told['factor']:g} times as large, the rest of the loss would be {show(told['least'])} "
        f"instead of {show(loss)}"
        if small
        else f"it was {show(told['begin'])} before training, where {show(nothing)} is to be gained, and the rest of "
        f"the loss is {show(loss)}"
    )
    yield rule.found(
        "error" if gone else "warning",
        f"Regularisation is too strong to learn well: the penalty that the loss adds{at} holds the weights down: "
        f"{effect}.",
        [
            ("loss at the end, without the penalty", loss, f"well below {show(nothing)}"),
            ("the same with larger weights", told["least"], f"not below {show(loss)}"),
            ("penalty before training and at the end", f"{show(told['begin'])}, {show(told['end'])}", None),
            (
                "rise of the penalty for weights that grow e-fold, by the fall of the rest and this together",
                share, f"below {rule.balance:g}",
            ),
        ],
        [R.mend_data("A penalty a hundred times as small.", "loss = data_loss + 0.01 * penalty")],
        step=1,
    )  # fmt: skip


def _falls_on(course: Course, told: dict[str, Any], most: float) -> bool:
    """Whether the loss still falls by more than this in the last quarter, and not since its penalty does."""
    quarter = len(course.loss) // 4
    before, last = course.loss[-2 * quarter : -quarter], course.loss[-quarter:]
    error = math.sqrt((before.var() + last.var()) / quarter)
    of_penalty = max(told["begin"] - told["end"], 0.0) / 2  # in a quarter, of what comes down fast and then slowly
    return bool(before.mean() - last.mean() - of_penalty > max(most, 2 * error))


def _small_weights(flow: Flow, rule: Rule, course: Course) -> Iterator[Restraint]:
    """What keeps the weights smaller than rows held out would have them."""
    told = flow.facts.get("restraints") or {}
    larger, reference = told.get("larger"), abs(course.reference)
    if not larger or not R.is_number(told.get("loss")) or not reference or not flow.looks:
        return
    gain = (told["loss"] - larger["loss"]) / reference
    begin = at_first_look(flow, "W.rms")
    end = np.array([row.get("W_rms") or 0.0 for row in flow.looks[-1].layers])
    free = [x.kind not in NORMS for x in [*flow.layers[1:], flow.layers[-1]]]  # the size of others means nothing
    with np.errstate(all="ignore"):
        left = np.where((begin > 0) & free, end / begin, 1)
    shrunk = float(np.nanmin(left, initial=1.0))
    where = "rows held out" if told.get("held") else "rows trained on"
    small = gain >= rule.gain and larger["gain"] >= rule.sure
    fails = told["loss"] > (1 - rule.fails) * reference or course.fails(rule.fails)  # few rows held out may be easier
    gone = fails and shrunk < rule.gone and not learned_as_linear(flow, course)  # little may be all there is to learn
    held = told["loss"] > rule.high * reference and shrunk < rule.shrunk and larger["gain"] >= rule.sure
    linear = loss_of_linear(flow, course)
    far = told["loss"] > max(rule.high * reference, rule.linear * linear)
    far = far or reference - told["loss"] < rule.part * (reference - linear)  # where targets are noisy
    below = far and shrunk < rule.shrunk
    going = fails and course.penalty >= rule.cost * reference  # it takes more than all that there is to gain
    if not (small or gone or held or going or (below and larger["gain"] > 0)):
        return
    layers = [flow.layers[int(np.nanargmin(left))]] if shrunk < rule.shrunk else []
    rows: list[tuple[Any, ...]] = [
        (f"loss on {where}", told["loss"], f"well below {show(reference)}"),
        (f"the same with all weights times {larger['factor']:g}", larger["loss"], f"not below {show(told['loss'])}"),
        ("RMS of the weights at the end by that before training, the least of all layers", shrunk, "near 1 or above"),
        *([("loss of a linear function that nothing holds", linear, None)] if below else []),
    ]
    if going:
        rows.append(("penalty on the weights at the end", course.penalty, f"well below {show(reference)}"))
    effect = (
        f"it has shrunk weights to {show(shrunk)} of what they were, and nothing is learned"
        if gone
        else f"at the end it is {show(course.penalty)}, where {show(reference)} is to be gained, and nothing is learned"
        if going
        else f"with all weights {larger['factor']:g} times as large, the loss on {where} would be "
        f"{show(larger['loss'])} instead of {show(told['loss'])}"
    )
    for what, extra, remedy in _holders(flow, rule, told, reference if gone or going else math.inf):
        yield Restraint(
            max(gain, rule.gain), f"{what} holds the weights down: {effect}", [*rows, *extra], remedy, layers
        )
        rows = []


def _holders(
    flow: Flow, rule: Rule, told: dict[str, Any], most: float
) -> Iterator[tuple[str, list[tuple[Any, ...]], Remedy]]:
    """The settings that hold weights where they are, each with its evidence, the strongest first.

    Args:
        flow: the record.
        rule: the limits.
        told: what was measured at the end.
        most: the loss that can be gained at most, where weights are gone.
    """
    settings = flow.settings
    push = max(told.get("push") or 0.0, 0.0)
    push = push if push > EXACT * abs(told["loss"]) else 0.0
    for name, pull in sorted((told.get("pull") or {}).items(), key=lambda x: -x[1]):
        share, now = pull / (push + pull), float(settings[name])
        cost = _penalty_before(flow, name) * now / most
        if max(share / rule.balance, cost / rule.cost) >= 1:
            text = f"rise of the penalty {name} for weights that grow e-fold, by the fall of the loss and this together"
            remedy = R.weaker_penalty(flow, name, float(f"{now / 100:.1g}"))
            what = NAMES[name].format(f"{now:g}")
            if name == "l2" and settings.get("alpha"):  # of an estimator, which divides it by the size of a batch
                what = f"the penalty alpha={settings['alpha']:g}, l2={now:g},"
            rows: list[tuple[Any, ...]] = [(text, share, f"below {rule.balance:g}")]
            if cost >= rule.cost:
                text = f"penalty {name} on the weights before training, by the loss of a constant output"
                rows.append((text, cost, f"well below {rule.cost:g}"))
            yield what, rows, remedy
    decay, rates = decay_of(settings.get("optimizer")), flow.scalars["rate"]
    rates = rates[np.isfinite(rates)]
    memory = decay * float(rates.mean()) * int(flow.steps[-1]) if decay and len(rates) else 0.0
    if memory >= rule.memory:
        text = "sum of rate · decay over all steps, by e to which decay alone shrinks weights"
        remedy = R.weaker_decay(flow, decay, float(f"{decay / 100:.1g}"))
        yield f"the weight decay of {decay:g}", [(text, memory, f"below {rule.memory:g}")], remedy
    if (told.get("at_bound") or 0.0) >= rule.bound:
        limit = float(settings["max_norm"])
        remedy = R.weaker_penalty(flow, "max_norm", max(3.0, float(f"{10 * limit:.1g}")))
        rows = [("share of units whose weights lie at their bound", told["at_bound"], f"below {rule.bound:g}")]
        yield NAMES["max_norm"].format(f"{limit:g}"), rows, remedy


def _penalty_before(flow: Flow, name: str) -> float:
    """A penalty on the weights before training, by its factor: ½ Σ W², or Σ |W| as normal numbers have it."""
    begin = at_first_look(flow, "W.rms")
    sizes = np.array([(x.fan_in or 0) * (x.fan_out or 0) for x in flow.layers], np.float64)
    each = begin**2 / 2 if name == "l2" else begin * math.sqrt(2 / math.pi)
    return float(np.nansum(sizes * each))


def _noise(flow: Flow, rule: Rule, course: Course) -> Iterator[Restraint]:
    """Layers that draw numbers, where these drown what the inputs say."""
    told, reference = flow.facts.get("restraints") or {}, abs(course.reference)
    if not told.get("noise") or not reference or flow.steps[-1] < rule.steps:
        return
    if any(RULES["exploding"].find(flow, RULES["exploding"])):
        return  # what makes all differences larger from layer to layer makes that of any noise so
    noisy, quiet, signal = told["noisy_loss"], told["quiet_loss"], told["signal"]
    gap = (noisy - quiet) / reference
    strength = {i: _strength(flow, x) for i, x in enumerate(told["noise"])}
    worst = told["noise"][max(strength, key=lambda i: strength[i])]
    alone = max(strength.values()) >= rule.strong
    many = not alone and sum(strength.values()) >= rule.together
    if many and any(RULES["vanishing"].find(flow, RULES["vanishing"])):
        return  # nothing of the inputs comes through as it is
    drowned = signal < rule.signal and movement_of(flow).path > rule.moved and (alone or many)
    if not noisy > (1 - rule.half) * reference or not (drowned or gap >= rule.gap):
        return
    kind, now = worst["kind"], worst["value"]
    most = MOST_DROPPED / len(strength) if many else 0.2
    to = float(f"{min(now / 2, most) if kind == 'Dropout' else now / 10:.1g}")
    name = f"{kind}({now:g})"
    if many:
        alike = len({(x["kind"], x["value"]) for x in told["noise"]}) == 1
        name = f"{name} in {len(strength)} places" if alike else f"noise in {len(strength)} places, {name} at most,"
    how = (
        f"{1 - signal:.0%} of the variance of the outputs comes from the numbers that it draws, {signal:.0%} from the "
        "inputs"
        if drowned
        else f"the loss is {show(noisy)} with it and {show(quiet)} without"
    )
    yield Restraint(
        max(1 - signal, gap),
        f"{name} drowns what the inputs say: {how}",
        [
            ("loss on rows trained on, with noise", noisy, f"below {show((1 - rule.half) * reference)}"),
            ("the same without", quiet, None),
            ("share of the variance of the outputs that comes from the inputs", signal, f"above {rule.signal:g}"),
        ],
        R.weaker_noise(flow, kind, now, to),
        [layer for layer in flow.layers if layer.path == worst.get("behind")],
    )


def _strength(flow: Flow, told: dict[str, Any]) -> float:
    """The variance of a layer's noise by the mean square of what it disturbs: p / (1 − p) of dropout."""
    if told["kind"] == "Dropout":
        return float(told["value"] / (1 - told["value"]))
    row = next((flow.looks[-1].layers[i] for i, x in enumerate(flow.layers) if x.path == told.get("behind")), None)
    size = (flow.facts.get("columns") or {}).get("rms") if row is None else row.get("h_rms")
    return float(told["value"] / (size or 1.0)) ** 2


def _smoothed(flow: Flow, rule: Rule) -> Iterator[Restraint]:
    """Targets that are smoothed until they say next to nothing."""
    amount = (flow.settings.get("loss_settings") or {}).get("label_smoothing") or 0.0
    target = flow.facts.get("target") or {}
    classes = int(target.get("n_classes") or 2)
    if not amount or target.get("kind") not in ("classes", None):
        return
    rest = amount / classes
    right = 1 - amount + rest
    entropy = -right * math.log(right) - (classes - 1) * rest * math.log(rest)
    left = 1 - entropy / math.log(classes)
    if left < rule.told:
        yield Restraint(
            1 - left,
            f"label smoothing of {amount:g} leaves {left:.1%} of what a label says: the right class has a target of "
            f"{show(right)}, each other one {show(rest)}",
            [
                ("share of what labels say that smoothed ones say", left, f"above {rule.told:g}"),
                ("largest probability that is learned", right, "near 1"),
            ],
            R.less_smoothing(flow, amount),
            [],
        )
