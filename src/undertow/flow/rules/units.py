"""Units that give nothing: dead ones, layers that were never alive, those in the flat part of their activation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from undertow.flow.findings import Finding
from undertow.flow.layers import FlowLayer
from undertow.flow.record import RELUS, Flow, Look
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import cosine_before, course_of, early, first_row, inner_layers, show
from undertow.flow.rules.registry import Rule, rule

STRAIGHT: Final = ("hard_tanh", "hard_sigmoid")  # whose slope is the same everywhere but in the flat parts


def shares(look: Look, i: int, name: str) -> float | None:
    """The share of the units of a layer of which something holds; None where it was not counted."""
    row = look.layers[i]
    if row.get(name) is None or not row.get("units"):
        return None
    return float(row[name] / row["units"])


def units_in(flow: Flow, i: int) -> int:
    """How many units a layer has, as far as the last look tells."""
    return int(flow.looks[-1].layers[i].get("units") or 0)


def course_of_share(flow: Flow, i: int, name: str) -> list[tuple[int, float]]:
    """The share at each look: (step, share)."""
    found = [(look.step, shares(look, i, name)) for look in flow.looks]
    return [(step, share) for step, share in found if share is not None]


@rule(
    "born-dead-layer",
    share=(0.95, "share of a layer's units that give 0 for every example before the first step"),
    revived=(0.5, "share at the last look below which it has come alive by itself"),
    chance=(0.05, "probability that one of so many layers of so few units is born dead, from which on they are narrow"),
    units=(8, "units of the layer itself, below which that is the cause"),
)
def find_born_dead(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """A whole layer of relu units gives 0 for every example before training, so no gradient ever passes it.

    Layers behind the first such layer follow from it and are named after it. A layer whose weights are all 0 is a
    matter of identical units. Of narrow layers, one is so by chance, whatever the initialiser: each of N units gives 0
    for inputs of one direction with probability ½, so that of all layers one does with 1 − Π (1 − 2⁻ᴺ).

    Source: Lu et al., Dying ReLU and initialization, Communications in Computational Physics 28, 2020, section 1 and
        theorem 3.3.
    """
    W = early(flow, "W.rms")
    found = []
    for i, layer in enumerate(flow.layers):
        course = course_of_share(flow, i, "dead")
        if course and course[0][0] == 0 and course[0][1] >= rule.share and course[-1][1] >= rule.revived and W[i] != 0:
            found.append((i, layer, course))
    if not found:
        return
    i, layer, course = found[0]
    z_mean, z_rms = early(flow, "z.mean")[i], early(flow, "z.rms")[i]
    chance = _chance_of_birth(flow)
    narrow = chance > rule.chance and 0 < units_in(flow, i) < rule.units
    by_chance = (
        f" With {units_in(flow, i)} units that is chance: of layers as narrow as these one is born so with a "
        f"probability of up to {chance:.0%}."
    )
    yield rule.found(
        "error",
        f"{course[0][1]:.0%} of the units of layer {layer.number} give 0 for every example from the beginning: z is "
        f"{show(float(z_mean))} in the mean, so no gradient passes the {layer.activation} and nothing before it "
        f"learns.{by_chance if narrow else ''}",
        [
            (f"dead units of layer {layer.number} before the first step", course[0][1], "below 0.25"),
            (f"dead units of layer {layer.number} at the end", course[-1][1], "below 0.25"),
            ("mean of z", float(z_mean), "near 0"),
            ("RMS of z", float(z_rms), "near 1"),
        ],
        [
            R.widen(flow, 16)
            if narrow
            else R.other_initialiser(flow, "he_normal", "with biases of 0, half of the values pass"),
            R.other_activation(flow, "leaky_relu", layer.activation or "relu"),
            R.normalise(flow),
        ],
        layers=[layer, *(x for _, x, _ in found[1:])],
        step=0,
    )


def _chance_of_birth(flow: Flow) -> float:
    """How probable it is that one of the layers of relu units gives 0 for all inputs of one direction."""
    widths = [math.prod(x.shape) for x in flow.layers if x.activation in RELUS and x.shape]
    return 1 - math.prod(1 - 0.5**n for n in widths)


@rule(
    "dead-units",
    share=(0.25, "share of a layer's units that give 0 for every example, beyond those that do by nature"),
    units=(4, "fewest units that have died, unless all have"),
    known=(0.02, "loss at the end by that of a constant output, below which units that died were not needed"),
    held=(0.25, "loss on rows held out by that of a constant output, below which these are learned, too"),
    most=(0.5, "share of a layer's units that may have died then"),
)
def find_dead_units(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """A quarter of a layer's relu units give 0 for every example, beyond those that do so by nature.

    About half of all relu outputs are 0 in a healthy network; a unit is dead only if it is 0 over a whole pass. A few
    dead units cost nothing, nor do those that died in the training of a network that has learned its rows, and those
    held out. In deep layers all examples look alike, and units are dead from the beginning by nature: if two examples
    have a mean cosine c, z of a unit is √c · a + √(1 − c) · b with a common to all, so that all of n examples lie below
    0 with a probability of Φ(−√(2 ln n) √((1 − c) / c)). Where examples differ in few directions it is more: then so
    many of the units count as natural as random directions have no example on their side.

    Source: Maas et al., Rectifier nonlinearities improve neural network acoustic models, ICML 2013, section 2; what is
        natural: derived here.
    """
    found: list[tuple[FlowLayer, list[tuple[int, float]], float]] = []
    learned = _learned(flow, rule)
    for i, layer in inner_layers(flow):
        course = course_of_share(flow, i, "dead")
        if not course or (round(course[-1][1] * units_in(flow, i)) < rule.units and course[-1][1] < 1):
            continue
        natural = _natural_share(cosine_before(flow, i, flow.looks[0].layers), flow.looks[0].n_examples)
        natural = max(natural, flow.looks[0].layers[i].get("dead_by_nature") or 0.0)
        spared = course[0][1] < natural + rule.share and course[-1][1] < rule.most and learned
        if course[-1][1] >= natural + rule.share and not spared:
            found.append((layer, course, natural))
    if not found:
        return
    cause, course, natural = found[0]
    end = course[-1][1]
    step = next(step for step, share in course if share >= min(natural + rule.share, end))
    n_units = cause.shape[-1] if cause.shape else 0
    severity = "error" if end >= 0.95 or course_of(flow).fails() else "note" if learned else "warning"
    others = R.other_activation(flow, "leaky_relu", cause.activation or "relu"), R.normalise(flow)
    yield rule.found(
        severity,
        f"{end:.0%} of the {n_units} units of layer {cause.number} give 0 for every example at the end, "
        f"{course[0][1]:.0%} did before training: what leads to them gets no gradient any more.",
        [
            *(
                (f"dead units of {layer.label}, at the end", c[-1][1], f"{c[0][1]:.0%} at the beginning")
                for layer, c, _ in found
            ),
            (f"dead units of layer {cause.number} by nature, as alike as its inputs are", natural, None),
            ("learning rate", R.rate_of(flow), None),
        ],
        [R.other_initialiser(flow, "he_normal", "with biases of 0, half of the values pass"), *others]
        if course[0][1] >= natural + rule.share  # no step has killed them
        else [R.other_rate(flow, 0.1), others[0], R.other_initialiser(flow, "he_normal"), others[1]],
        layers=[layer for layer, *_ in found],
        step=step,
    )


def _learned(flow: Flow, rule: Rule) -> bool:
    """Whether next to nothing is left to learn, of the rows trained on and of those held out."""
    course = course_of(flow)
    held = [float(row["validation_loss"]) for row in flow.history[-3:] if R.is_number(row.get("validation_loss"))]
    most = max(held, default=0.0)
    return course.end < rule.known * course.reference and most < rule.held * course.reference


def _natural_share(cosine: float, n: int) -> float:
    """The share of a layer's units that give 0 for all of n examples whose inputs have this mean cosine."""
    if cosine <= 0 or n < 2:
        return 0.0
    reach = math.sqrt(2 * math.log(n) * max(1 - cosine, 0.0) / cosine)
    return 0.5 * math.erfc(reach / math.sqrt(2))


@rule(
    "saturation",
    share=(0.5, "share of a layer's values in the flat parts of its activation, from which on it is told"),
    hard=(0.85, "the same of functions that are straight in between: of these as much of the gradient passes then"),
    late=(0.75, "the same at the end, for a layer that was not saturated at the beginning"),
    learned=(0.7, "share of the constant output's loss that must be learned for late saturation to be no harm"),
)
def find_saturation(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Most values of a hidden layer lie in the flat parts of sigmoid, tanh and their kin, where the slope is below 4 %.

    Judged before training, and at the end where the network did not learn: one that has learned may be sure of itself.
    The output layer is left out. A gradient that vanishes over the other layers alone does not follow from it, and is
    told first.

    Source: Glorot and Bengio 2010, section 3; LeCun et al., Efficient BackProp, 1998, sections 4.4 and 4.6.
    """
    found: list[tuple[FlowLayer, float, float, int]] = []
    course = course_of(flow)
    begin, rows = early(flow, "saturated"), flow.stat("saturated")
    for i, layer in inner_layers(flow):
        looks = [(look.step, look.layers[i].get("saturated")) for look in flow.looks]
        values: list[tuple[int, Any]] = [(step, x) for step, x in looks if x is not None]
        if not values:
            continue
        first = values[0][1] if values[0][0] == 0 else float(begin[i])
        last = float(rows[-1, i]) if len(rows) and rows[-1, i] == rows[-1, i] else values[-1][1]
        share = rule.hard if layer.activation in STRAIGHT else rule.share
        if (first >= share and (last >= share / 2 or course.diverged)) or (
            last >= max(rule.late, share) and course.fails(rule.learned)
        ):
            row = first_row(rows[:, i] >= share)
            step = 0 if first >= share else values[-1][0] if row is None else int(flow.steps[row])
            found.append((layer, float(first), float(last), step))
    if not found:
        return
    layer, first, last, step = found[0]
    step = min(x[3] for x in found)
    i = flow.layers.index(layer)
    z = float(early(flow, "z.rms")[i])
    share = rule.hard if layer.activation in STRAIGHT else rule.share
    when = "before training already" if first >= share else f"at step {step}"
    yield rule.found(
        "error" if course.fails() else "warning",
        f"{max(first, last):.0%} of the values of layer {layer.number} lie in the flat parts of {layer.activation}, "
        f"{when}: z has an RMS of {show(z)}, and almost no gradient passes.",
        [
            *((f"saturated share of {x.label}", max(a, b), f"below {share:g}") for x, a, b, _ in found),
            (f"RMS of z in layer {layer.number}", z, "near 1"),
        ],
        [
            R.other_initialiser(flow, "glorot_uniform", "z then begins with a size near 1"),
            R.normalise(flow),
            R.scale_inputs(flow),
            R.other_activation(flow, "relu", layer.activation or "tanh"),
        ],
        layers=[x for x, *_ in found],
        step=step,
    )
