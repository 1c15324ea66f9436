"""The course of the loss: where it begins, where it stands still, where training and validation part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import course_of, output_layer, show
from undertow.flow.rules.registry import Rule, rule


@rule(
    "initial-loss",
    classes=(1.8, "loss before training by ln C, for classes"),
    numbers=(4.0, "loss before training by the variance of the target, for numbers"),
    gain=(3.0, "RMS · √inputs of the output's weights, or size of its outputs by what its weights explain"),
    far=(100.0, "loss by ln C or the variance that is told whatever it comes from"),
)
def find_initial_loss(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss before training is far above that of a network which knows nothing: ln C, the variance of the target.

    What makes it so must be the output layer, by large weights or biases, or the loss must be very far off: behind many
    layers outputs are somewhat larger by nature.

    Source: Karpathy, A recipe for training neural networks, 2019 (verify loss at init); ln C: Bishop 2006, eq. 4.108,
        at equal probabilities.
    """
    output, target = flow.facts.get("output") or {}, flow.facts.get("target") or {}
    constant, initial = output.get("expected_loss"), course_of(flow).initial
    if not constant or not math.isfinite(initial):
        return
    classes = target.get("kind") == "classes"
    wanted = max(constant, output.get("uniform_loss") or 0.0)
    last = output_layer(flow)
    gain, surplus = _output_gain(flow, last)
    if initial < (rule.classes if classes else rule.numbers) * wanted:
        return
    if not (gain > rule.gain or surplus > rule.gain or initial > rule.far * wanted):
        return
    size = output.get("output_rms")
    name = f"ln {target['n_classes']} = {show(wanted)}" if classes else f"{show(wanted)}, the variance of the target,"
    rows: list[tuple[object, ...]] = [
        ("loss before training", initial, f"near {show(wanted)}"), ("RMS of the output", size, "near 1 or below"),
    ]  # fmt: skip
    why = ""
    if math.isfinite(gain):
        rows.append(("gain of the output's weights, RMS · √inputs", gain, "near 1"))
        why = f", because its weights multiply by {show(gain)}" if gain > rule.gain else ""
    if not why and surplus > rule.gain:
        why = f", because its biases are large: the weights explain {show(1 / surplus)} of it"
    yield rule.found(
        "warning",
        f"The loss is {show(initial)} before training, where {name} is that of a network which knows nothing: the "
        "output "
        f"has an RMS of {'?' if size is None else show(size)}{why}.",
        rows,
        [
            *([R.start_at_frequencies(flow)] if classes else []),
            R.other_initialiser(flow, "glorot_uniform", "with biases of 0, the output then begins small"),
        ],
        layers=[] if last is None else [flow.layers[last]],
        step=0,
    )


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
    steps=(30, "fewest steps"),
)
def find_plateau(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The loss stands still for a large part of the training, near that of a network which knows nothing.

    A training that has converged stands still too, but far below; one that stood still and fell later had a plateau.

    Source: Fukumizu and Amari, Local minima and plateaus in hierarchical structures of multilayer perceptrons, Neural
        Networks 13, 2000, section 1; Goodfellow et al. 2016, section 8.2.3.
    """
    course = course_of(flow)
    smooth = course.smooth
    if course.diverged or len(course.loss) < rule.steps or len(smooth) < 5:
        return
    level, reference = rule.level, course.reference
    noise = 4 * course.spread / math.sqrt(max(len(course.loss) / len(smooth), 1))
    start, length = _longest_still(smooth, rule.still * abs(reference) + noise)
    stretch = smooth[start : start + length]
    height = float(stretch.mean())
    if length < 3:
        return
    falls = -float(np.polyfit(np.arange(length), stretch, 1)[0])
    whole = (course.initial - course.end) / len(smooth)
    allowed = rule.slow if falls < rule.pace * whole else rule.trend
    if falls * length > allowed * abs(reference):
        return
    fell = course.end < 0.85 * height
    if (
        length / len(smooth) < (rule.before if fell else rule.share)
        or height < level * reference
        or height > 1.5 * reference
    ):
        return
    step = int(flow.steps[min(start * len(flow) // len(smooth), len(flow) - 1)])
    yield rule.found(
        "note" if fell else "warning",
        f"The loss stands at {show(height)} for {length / len(smooth):.0%} of the training from step {step} on; "
        "that of a "
        f"constant output is {show(reference)}, so nothing of the inputs is used meanwhile.",
        [
            ("loss while it stands still", height, f"well below {show(reference)}"),
            ("share of the steps", length / len(smooth), f"below {rule.share:g}"),
            ("loss at the end", course.end, None),
        ],
        [R.other_rate(flow, 3.0), R.normalise(flow), R.other_initialiser(flow, "he_normal"), R.more_epochs(flow)],
        step=step,
    )


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


@rule(
    "over-fitting",
    rise=(0.3, "by how much of its best the validation loss rises"),
    useless=(0.75, "validation loss at the end by that of a constant output, from which on nothing useful is left"),
    size=(0.1, "rise by the loss of a constant output"),
    sure=(2.0, "rise in standard errors of the validation loss that counts though the loss stays below that"),
    fall=(0.5, "training loss at the end by that at the best epoch, at most"),
    epochs=(3, "fewest epochs after the best one"),
    by_heart=(0.15, "training loss at the end by that of a constant output, below which rows are known by heart"),
)
def find_over_fitting(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The validation loss rose clearly after its best epoch while the training loss fell on, or never fell with it.

    The rise must be larger than the noise of the validation loss, from epoch to epoch and by the choice of rows. A
    training that stops early and keeps its best model is left alone.

    Source: Prechelt, Early stopping — but when?, 1998, sections 2 and 3; Goodfellow et al. 2016, section 7.8.
    """
    rows = [row for row in flow.history if R.is_number(row.get("validation_loss")) and R.is_number(row.get("loss"))]
    if flow.settings.get("early_stopping") is not None or len(rows) < 2 + rule.epochs:
        return
    held = np.array([row["validation_loss"] for row in rows])
    train = np.array([row["loss"] for row in rows])
    best = int(np.argmin(held))
    tail = max(min(len(held) - best - 1, max(len(held) // 5, 2)), 1)
    end, trained, reference = float(held[-tail:].mean()), float(train[-tail:].mean()), abs(course_of(flow).reference)
    up = end - float(held[best])
    n_held = max(flow.facts.get("n_validation") or 0, 1)
    error = 2 * end / math.sqrt(n_held)  # the spread of an example's loss is about twice its mean
    clear = up > rule.size * reference and (end > rule.useless * reference or up > rule.sure * error)
    noise = float(np.median(np.abs(np.diff(held)))) * 2
    rose = clear and up > max(rule.rise * held[best], noise)
    parted = rose and len(held) - 1 - best >= rule.epochs and trained < rule.fall * train[best]
    lasting = float(np.median(held[-max(len(held) // 5, 3) :]))
    if not parted and not (lasting > rule.useless * reference and trained < rule.by_heart * reference):
        return
    epoch, step = int(rows[best]["epoch"]), rows[best].get("step")
    yield rule.found(
        "warning",
        f"The validation loss was lowest at epoch {epoch} with {show(held[best])} and is {show(end)} at the end, "
        f"while the training loss went from {show(train[best])} to {show(train[-1])}: the network learns the training "
        "rows by heart.",
        [
            ("validation loss, best", float(held[best]), None),
            ("validation loss, at the end", end, f"near {show(float(held[best]))}, below {show(reference)}"),
            ("training loss, then and at the end", f"{show(train[best])}, {show(train[-1])}", None),
        ],
        [R.stop_early(flow), R.drop_units(flow), R.regularise(flow)],
        step=None if step is None else int(step),
    )
