"""The course of the loss: where it begins, where it stands still, where training and validation part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.linear import expected_skill, learned_as_linear
from undertow.flow.rules.measures import (
    BLOCKS,
    Course,
    course_of,
    end_of_rates,
    held_out_skill,
    held_out_slope,
    output_layer,
    show,
)
from undertow.flow.rules.movement import movement_of
from undertow.flow.rules.nothing import compare_with_chance, tell_signal
from undertow.flow.rules.registry import Rule, rule

REFERENCE = {False: "that of a constant output is {}", True: "it was {} before training"}
NEARLY = 0.97  # of the loss of a constant output, above which a network uses nothing of its inputs
FELL = 0.85  # loss at the end by that at which it stood, below which it has fallen since
SUMMED = (
    "Look at the function before the last layer: a mean in the place of a sum, or a sum by the root of how many it "
    "adds.",
    "h = np.sum(h, axis=1) / np.sqrt(h.shape[1])  # of h before the sum",
)
BEGINS_SMALL = "with biases of 0, the output then begins small"
SKILL = "skill on rows held out, in deviations of chance"


@rule(
    "initial-loss",
    classes=(1.8, "loss before training by ln C, for classes"),
    numbers=(4.0, "loss before training by the variance of the target, for numbers"),
    gain=(3.0, "RMS · √inputs of the output's weights, or size of its outputs by what its weights explain"),
    far=(100.0, "loss by ln C or the variance that is told whatever it comes from"),
    loop=(4.0, "of a loop of one's own, for classes: loss before training by that of a last layer of 0"),
)
def find_initial_loss(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss before training is far above that of a network which knows nothing: ln C, the variance of the target.

    In a loop of one's own a last layer of 0 tells what that is, as it answers the same for all examples.
    What makes it so must be the output layer, by large weights or biases, or the loss must be very far off: behind many
    layers outputs are somewhat larger by nature. Then the layer that makes the most of what it is given is named.

    Source: Karpathy, A recipe for training neural networks, 2019 (verify loss at init); ln C: Bishop 2006, eq. 4.108,
        at equal probabilities.
    """
    output, target = flow.facts.get("output") or {}, flow.facts.get("target") or {}
    constant, initial = output.get("expected_loss"), course_of(flow).initial
    if flow.of_loop:
        yield from _of_loop(flow, rule, initial)
        return
    if R.is_number(output.get("initial_loss")):  # without the noise that layers draw
        initial = min(initial, output["initial_loss"])
    classes, squares = target.get("kind") == "classes", "squared_error" in str(output.get("loss"))
    if not constant or not math.isfinite(initial) or (classes and not output.get("uniform_loss")):
        return
    wanted = max(constant, output.get("uniform_loss") or 0.0)
    last = output_layer(flow)
    gain, surplus = _output_gain(flow, last)
    given = _given_to_output(flow, last)
    if initial < (rule.classes if classes else rule.numbers) * wanted:
        return
    biased = surplus > rule.gain and math.isnan(given)  # else what comes in is larger than what the layer before gives
    between = not gain > rule.gain and bool(last) and given > rule.gain and surplus > rule.gain
    if not (gain > rule.gain or biased or between or initial > rule.far * wanted):
        return
    size = output.get("output_rms")
    name = f"ln {target['n_classes']} = {show(wanted)}" if classes else show(wanted)
    name += ", the variance of the target," if squares else ""
    rows: list[tuple[object, ...]] = [
        ("loss before training", initial, f"near {show(wanted)}"), ("RMS of the output", size, "near 1 or below"),
    ]  # fmt: skip
    why = ""
    if math.isfinite(gain):
        rows.append(("gain of the output's weights, RMS · √inputs", gain, "near 1"))
        why = f", because its weights multiply by {show(gain)}" if gain > rule.gain else ""
    if not why and biased:
        why = f", because its biases are large: the weights explain {show(1 / surplus)} of it"
    if between:
        why = (
            f", because what comes into its layer has an RMS of {show(given)}, {show(surplus)} times that of what "
            f"layer {last} gives: a function between them, such as a sum over many, makes it so large"
        )
        rows.append((f"RMS of what layer {last} gives", given / surplus, f"near {show(given)}, which comes in"))
    grower = None if why or last is None or not given > rule.gain else _grower(flow, last)
    if grower is not None:
        why = (
            f", because what comes into its layer has an RMS of {show(given)}, which layer {grower + 1} makes so large"
        )
        rows.append((f"RMS of what layer {grower + 1} gives", flow.looks[0].layers[grower]["h_rms"], "near 1"))
    yield rule.found(
        "error" if grower is not None and course_of(flow).diverged else "warning",
        f"The loss is {show(initial)} before training, where {name} is that of a network which knows nothing: the "
        "output "
        f"has an RMS of {'?' if size is None or not math.isfinite(size) else show(size)}{why}.",
        rows,
        [R.normalise(flow), R.other_initialiser(flow, "glorot_uniform"), R.clip(flow)]
        if grower is not None
        else _smaller_output(flow, between, classes),
        layers=[flow.layers[i] for i in (grower, last) if i is not None],
        step=0,
    )


def _smaller_output(flow: Flow, between: bool, classes: bool) -> list[Remedy]:
    """What makes outputs begin small, where no layer before the last one is the cause."""
    found = [R.mend_data(*SUMMED)] if between else []
    found += [R.start_at_frequencies(flow)] if classes else []
    return found if between else [*found, R.other_initialiser(flow, "glorot_uniform", BEGINS_SMALL)]


def _of_loop(flow: Flow, rule: Rule, initial: float) -> Iterator[Finding]:
    """The finding of a loop of one's own."""
    zero = flow.facts.get("at_zero", math.nan)
    known = (flow.facts.get("target") or {}).get("kind") == "classes" and 0 < zero < math.inf
    if not known or not rule.loop * zero <= initial < math.inf:
        return
    last = [layer for layer in flow.layers if layer.path in (flow.facts.get("outputs") or ())][-1:]
    yield rule.found(
        "warning",
        f"The loss is {show(initial)} before training, where that of a last layer of 0, which answers the same for all "
        f"examples, is {show(zero)}: the network begins by being sure, and wrong.",
        [("loss before training", initial, f"near {show(zero)}")],
        [R.other_initialiser(flow, "glorot_uniform", BEGINS_SMALL)],
        layers=last,
        step=0,
    )


def _given_to_output(flow: Flow, last: int | None) -> float:
    """The size of what comes into the output layer before training, as its weights tell; NaN where it is not known."""
    gain, surplus = _output_gain(flow, last)
    row = flow.looks[0].layers[last] if flow.looks and last is not None else {}
    if not gain > 0 or (surplus > 2 and (row.get("b_rms") or 0.0) > 0.5 * row["z_rms"]):
        return math.nan
    return float(row["z_rms"] / gain)


def _grower(flow: Flow, last: int) -> int | None:
    """The layer before the output that gives the most for what it is given; None where none is known to give more."""
    sizes = [row.get("h_rms") or math.nan for row in flow.looks[0].layers[:last]]
    entering = [(flow.facts.get("columns") or {}).get("rms") or math.nan, *sizes]
    growth = [b / a for a, b in zip(entering, sizes, strict=False)]
    known = [i for i, x in enumerate(growth) if x > 1]
    return max(known, key=growth.__getitem__) if known else None


def _output_gain(flow: Flow, last: int | None) -> tuple[float, float]:
    """The gain of the output's weights, and the size of its outputs by what these make of its inputs."""
    if last is None or not flow.looks or not flow.layers[last].fan_in:
        return math.nan, math.nan
    row = flow.looks[0].layers[last]
    if row.get("W_rms") is None or row.get("z_rms") is None:
        return math.nan, math.nan
    gain = row["W_rms"] * math.sqrt(flow.layers[last].fan_in or 1)
    before = flow.looks[0].layers[last - 1].get("h_rms") if last else (flow.facts.get("columns") or {}).get("rms")
    explained = gain * (before or math.nan)
    return gain, row["z_rms"] / explained if explained else math.nan


@rule(
    "plateau",
    share=(0.4, "share of the steps for which the loss stands still"),
    before=(0.6, "the same where it falls afterwards"),
    still=(0.02, "by how much of the loss of a constant output it changes at most meanwhile, beside noise"),
    trend=(0.03, "by how much of it a straight line through these steps may fall in any case"),
    slow=(0.08, "the same where the loss falls much slower than over the whole training"),
    pace=(0.3, "how much slower: its fall a step by that of the whole training"),
    level=(0.85, "loss at which it stands by that of a constant output; below, it may have converged"),
    steps=(60, "fewest steps"),
    epochs=(5, "epochs from which on their mean losses are judged, in which the choice of batches cancels"),
    learns=(4.0, "skill on rows held out from which on a loss that seems to stand in fewer epochs is only noisy"),
    fits=(3.0, "skill on rows held out from which on a loss that stands still to the end may be all there is to learn"),
    slope=(1.7, "slope of targets over predictions there, or its inverse, up to which, and twice its error, it is"),
    skill=(2.0, "skill on rows held out, in deviations of chance, below which outputs say nothing of targets"),
    rows=(50, "fewest rows held out that can tell"),
    power=(5.0, "skill on rows held out that a linear function must have there, so that they can, if it explains any"),
    enough=(100, "fewest steps that can tell"),
    moved=(0.1, "sum of the update ratios of all steps, below which a training has not gone far enough to tell"),
    rise=(0.03, "of a loop of one's own: rise of the loss, by that before training, for targets dealt out anew, too"),
    dealt=(400, "rows of its last batches that can tell, wherever the loss began"),
    unused=(1.0, "skill in them, in deviations of chance, below which inputs are not used"),
    nothing=(1e-6, "rise for them, by the loss, up to which it is what float32 rounds, whatever its deviation"),
)
def find_plateau(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss stands still for a large part of the training, or ends, near that of a network which knows nothing.

    A training that has converged stands still too, but far below; one that stood still and fell later had a plateau.
    Where targets are noisy, a training may converge near that: then, on rows held out, outputs go with targets beyond
    chance, and these change by as much as is predicted (of one that is held up, they change by far more), or a
    linear function, which surely explains something, explains no more of them.
    A loss that comes down from a bad beginning need not stand still: nothing is learned where it ends near that of a
    constant output and where, on rows held out, outputs go with targets no better than if these were dealt out anew
    (labels of other rows, inputs that say nothing). A training that has only begun is told apart by that: outputs go
    with targets long before the loss is low. Of a loop of one's own no row is held out: if its loss stands, the
    last batches tell, with their targets dealt out anew, whether inputs are used: wherever the loss began, if targets
    are classes or meet squares. One that trains against another,
    follows targets that are trained themselves, or is given what drifts, as that which a generator makes for a
    discriminator, has no beginning to be held against.

    Source: Fukumizu and Amari, Local minima and plateaus in hierarchical structures of multilayer perceptrons, Neural
        Networks 13, 2000, section 1; Goodfellow et al. 2016, section 8.2.3; without any skill: Hoeffding, A
        combinatorial central limit theorem, Annals of Mathematical Statistics 22, 1951, theorems 2 and 3; Zhang et
        al., Understanding deep learning requires rethinking generalization, ICLR 2017, section 2.
    """
    course = course_of(flow)
    if course.diverged or course.moving or len(course.loss) < rule.steps or len(course.smooth) < 5:
        return
    found = _still(flow, rule, course) or _without_skill(flow, rule, course) or _without_use(flow, rule, course)
    if found is not None:
        yield found


def _without_skill(flow: Flow, rule: Rule, course: Course) -> Finding | None:
    """The finding of a training that ends near the loss of a constant output, and whose outputs say nothing."""
    skill, n = held_out_skill(flow)
    least, reference = _between(flow, course)
    if not (_is_chance(flow, rule) and course.end > least + rule.level * (reference - least)):
        return None
    if flow.steps[-1] < rule.enough or not movement_of(flow).path > rule.moved:
        return None
    signal, rows = tell_signal(flow)
    return rule.found(
        "warning",
        f"After {int(flow.steps[-1])} steps the loss is {show(course.end)}, where that of a constant output is "
        f"{show(reference)}, and on {n} rows held out the outputs go with the targets no better than if these "
        f"were dealt out anew: nothing of the inputs is used.{signal}",
        [
            ("loss at the end", course.end, f"well below {show(reference)}"),
            (SKILL, skill, f"above {rule.skill:g}"),
            *rows,
        ],
        [
            *R.use_words(flow),
            *compare_with_chance(flow),
            R.other_rate(flow, 3.0),
            R.more_epochs(flow),
        ],
        step=int(flow.steps[-1]),
    )


def _without_use(flow: Flow, rule: Rule, course: Course) -> Finding | None:
    """The finding of a loop of one's own whose loss stands, wherever it began, and is the same for other targets."""
    dealt, smooth = flow.facts.get("dealt"), course.smooth
    if dealt is None or dealt.get("rows", 0) < rule.dealt or flow.steps[-1] < rule.enough:
        return None
    if not movement_of(flow).path > rule.moved:
        return None
    quarter = max(len(smooth) // 4, 1)
    fall = float(smooth[-2 * quarter : -quarter].mean() - smooth[-quarter:].mean())
    noise = 4 * course.spread / math.sqrt(max(len(course.loss) / 4, 1))
    size = abs(course.end)
    skill = dealt["skill"] if dealt["rise"] > rule.nothing * size else 0.0
    if fall > rule.still * size + noise or skill >= rule.unused or dealt["rise"] > rule.rise * size:
        return None
    signal, rows = tell_signal(flow)
    return rule.found(
        "warning",
        f"The loss stands at {show(course.end)} in the last quarter, and in the last batches it is as good as the same "
        f"if their targets are dealt out anew: nothing of the inputs is used.{signal}",
        [
            ("rise of the loss for targets in other orders", dealt["rise"], f"above {show(rule.rise * size)}"),
            ("that rise, in deviations of chance", skill, f"above {rule.unused:g}"),
            *rows,
        ],
        [
            *compare_with_chance(flow),
            R.mend_data("A smaller penalty, if the loss has one.", "loss = data_loss + 1e-4 * penalty"),
            R.other_rate(flow, 3.0),
        ],
        step=int(flow.steps[-1]),
    )


def _between(flow: Flow, course: Course) -> tuple[float, float]:
    """The least loss that there can be, and that of a constant output: of counts both may lie below 0."""
    told = (flow.facts.get("output") or {}).get("counts")
    return (told["least"], told["constant"]) if told else (0.0, course.reference)


def _still(flow: Flow, rule: Rule, course: Course) -> Finding | None:
    """The finding of a loss that stands still for long."""
    smooth = course.smooth
    level, reference = rule.level, course.reference
    noise = 4 * course.spread / math.sqrt(max(len(course.loss) / len(smooth), 1))
    if len(course.epochs) >= rule.epochs:
        pieces = np.array_split(course.epochs, min(len(course.epochs), BLOCKS))
        smooth, noise = np.array([piece.mean() for piece in pieces]), 0.0
    elif held_out_skill(flow)[0] > rule.learns:
        return None
    start, length = _longest_still(smooth, rule.still * abs(reference) + noise)
    stretch = smooth[start : start + length]
    height = float(stretch.mean())
    if length < 3:
        return None
    falls = -float(np.polyfit(np.arange(length), stretch, 1)[0])
    whole = (course.initial - course.end) / len(smooth)
    allowed = rule.slow if falls < rule.pace * whole else rule.trend
    if falls * length > allowed * abs(reference):
        return None
    fell = course.end < FELL * height
    if (
        length / len(smooth) < (rule.before if fell else rule.share)
        or height < level * reference
        or height > 1.5 * reference
        # of a loss without targets, such as a log likelihood, nobody knows how far it can fall
        or (flow.facts.get("targets") is False and height < NEARLY * reference)
    ):
        return None
    skill = held_out_skill(flow)[0]
    most = rule.slope * (1 + 2 / max(skill, rule.fits))  # the slope has a standard error of itself by the skill
    fits = skill > rule.fits and 1 / most < held_out_slope(flow) < most
    dealt = flow.facts.get("dealt") or {"skill": 0.0, "rise": 0.0}  # of a loop of one's own
    fits = fits or (dealt["skill"] > rule.fits and dealt["rise"] > rule.rise * abs(reference))
    if (fits or learned_as_linear(flow, course)) and not fell and end_of_rates(flow) is None:
        return None
    step = int(flow.steps[min(start * len(flow) // len(smooth), len(flow) - 1)])
    return _tell_still(flow, rule, course, height, length / len(smooth), step)


def _tell_still(flow: Flow, rule: Rule, course: Course, height: float, share: float, step: int) -> Finding:
    """The finding of a loss that stands at a height for a share of the training from a step on."""
    reference, fell = course.reference, course.end < FELL * height
    used = "nothing" if height > NEARLY * reference else "little"
    cause = (
        f"The loss stands at {show(height)} for {share:.0%} of the training from step {step} on; "
        f"{REFERENCE[course.constant is None].format(show(reference))}, so {used} of the inputs is used meanwhile."
    )
    rows = [
        ("loss while it stands still", height, f"well below {show(reference)}"),
        ("share of the steps", share, f"below {rule.share:g}"),
        ("loss at the end", course.end, None),
    ]
    remedies = [
        *R.use_words(flow), R.other_rate(flow, 3.0), R.normalise(flow), R.other_initialiser(flow, "he_normal"),
        R.more_epochs(flow),
    ]  # fmt: skip
    moved = used == "little" or movement_of(flow).path > rule.moved
    if moved and not fell and _is_chance(flow, rule):
        cause += f" On {held_out_skill(flow)[1]} rows held out the outputs go with the targets by chance alone."
        rows.append((SKILL, held_out_skill(flow)[0], f"above {rule.skill:g}"))
    signal, told = tell_signal(flow)
    if moved and not fell and (_is_chance(flow, rule) or (signal and not held_out_skill(flow)[1])):
        cause, rows = cause + signal, [*rows, *told]
        # what is learned is the training rows, one by one; or nothing is there to be learned
        words = len(R.use_words(flow))  # come first: what was left out may be the signal
        place = words if used == "little" or "no signal" in signal else len(remedies)
        remedies[place:place] = compare_with_chance(flow)
    return rule.found("note" if fell else "warning", cause, rows, remedies, step=step)


def _is_chance(flow: Flow, rule: Rule) -> bool:
    """Whether outputs for rows held out go with their targets by chance, though so many rows would tell."""
    skill, n = held_out_skill(flow)
    few = expected_skill(flow) < rule.power  # to tell what there is to learn from nothing; NaN where it is not known
    return n >= rule.rows and skill < rule.skill and not few


def _longest_still(smooth: np.ndarray[tuple[int], np.dtype[np.float64]], band: float) -> tuple[int, int]:
    """The longest stretch within which the loss stays in a band: where it begins, and how long it is."""
    best = (0, 0)
    for start in range(len(smooth)):
        low = high = smooth[start]
        end = start
        while end < len(smooth):
            low, high = min(low, smooth[end]), max(high, smooth[end])
            if high - low > band:
                break
            end += 1
        if end - start > best[1]:
            best = (start, end - start)
    return best
