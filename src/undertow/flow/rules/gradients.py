"""Gradients that vanish or explode on their way from the output to the first layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.products import by_layers
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.linear import learned_as_linear
from undertow.flow.rules.measures import (
    at_first_look,
    course_of,
    early,
    first_row,
    late,
    rescales,
    show,
)
from undertow.flow.rules.profile import Profile, profile_of, profile_of_blocks
from undertow.flow.rules.registry import RULES, Rule, rule
from undertow.flow.rules.turns import find_growth_through_time, find_through_time
from undertow.nn.initialisers import default_initialiser

SQUASHING = ("sigmoid", "tanh", "lecun_tanh", "hard_tanh", "hard_sigmoid", "softsign", "softmax")
FEW: Final = 4  # layers from which on what shrinks or grows from one to the next is a trend
LITTLE: Final = 1.1  # by how much the weights of a layer may multiply the gradient, more or less, without being a cause
SHORT: Final = 5.0  # by how much weights are too small that make it vanish in fewer


def update_of(flow: Flow, profile: Profile) -> float:
    """The update ratio of the first layer with weights by that of the last; NaN where there is none."""
    moved = by_layers(flow, early(flow, "ratio"))
    found = [moved[layer.number - 1] for layer in profile.layers if moved[layer.number - 1] >= 0]
    return float(found[0] / found[-1]) if len(found) > 1 and 0 < found[-1] < math.inf else math.nan


@dataclass(frozen=True)
class Blame:
    """Which layer is the cause.

    Attributes:
        at: its index in the profile.
        weights: whether its weights are, rather than its activation.
        alone: whether its weights stand out from those of the others.
        gain: of its weights: by how much they multiply the norm of what passes.
        usual: that of the right initialiser.
    """

    at: int
    weights: bool
    alone: bool
    gain: float
    usual: float


def blame(profile: Profile, sign: int) -> Blame:
    """Find the layer that changes the gradient most: by its weights, or by the slope of its activation.

    Between layers l + 1 and l the norm is multiplied by the gain of W(l + 1), RMS · √fan_in, and by the slopes of the
    activation of l. Of a few layers that stand out, the worst is the cause; where all are alike, it is the first.
    """
    gains = profile.W * np.sqrt([x.fan_in or math.nan for x in profile.layers])
    before = [None, *(x.activation for x in profile.layers)]
    usual = np.array([usual_gain(act, x) for act, x in zip(before, profile.layers, strict=False)])
    with np.errstate(all="ignore"):
        change = np.log(profile.sizes[:-1] / profile.sizes[1:]) * sign
        by_weights = np.log(gains[1:] / usual[1:]) * sign
    change[~np.isfinite(change)] = -np.inf
    steep = change > math.log(5)
    for large in (steep, steep & (by_weights > math.log(5))):  # the latter where activations do their part elsewhere
        few = 0 < large.sum() <= (len(change) + 1) // 2
        if len(change) > 2 and few and change[large].sum() > 0.6 * change[change > 0].sum():
            worst = int(np.argmax(np.where(large, change, -np.inf)))
            odd = bool(by_weights[worst] > math.log(1.5))
            at = worst + 1 if odd else worst
            return Blame(at, odd, odd, float(gains[at]), float(usual[at]))
    told = (gains[1:], usual[1:], by_weights, change)
    middle = [float(np.median(x[np.isfinite(x)])) if np.isfinite(x).any() else math.nan for x in told]
    weights = middle[2] > max(middle[3] / 2, math.log(LITTLE)) and not profile.normalised and not profile.blocks
    return Blame(0, weights, False, middle[0], middle[1])


def usual_gain(activation: str | None, layer: FlowLayer) -> float:
    """RMS · √fan_in of the weights that the default initialiser gives after this activation."""
    if activation in ("relu", "leaky_relu", "prelu", "relu6", "elu", "celu", "gelu", "silu", "mish"):
        return math.sqrt(2)
    fans = (layer.fan_in or 1) + (layer.fan_out or 1)
    return 1.0 if activation in ("selu", "lecun_tanh") else math.sqrt(2 * (layer.fan_in or 1) / fans)


@rule(
    "vanishing",
    layers=(3, "fewest layers that must be comparable; of three it must be the weights that shrink it"),
    ratio=(0.02, "‖δ‖ of the first layer by that of the last before the output, below which it vanishes"),
    whole=(0.01, "the same by that of the output, where next to nothing is learned"),
    part=(0.2, "the ratio itself that must hold with this: not only the output's weights are small"),
    update=(0.1, "update ratio of the first layer by that of the last, below which the first layers lag"),
    learned=(0.3, "share of the constant output's loss that must be learned for the lag to be without consequence"),
    begin=(1e-3, "ratio before training that counts where one layer alone makes it, or the loss stood meanwhile"),
    delay=(0.2, "share of the steps for which it stood: that a tenth of the constant output's loss was learned"),
    alone=(2e-3, "ratio below which it is told even where the training learns"),
)
def find_vanishing(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient shrinks geometrically on its way back, and the first layers do not learn.

    Judged is δ = ∂L/∂z of whole layers (RMS · √units), first against last along the stream: branches of residual blocks
    and normalisations are left out, weights of different sizes do not matter. The gradient by the weights is shown
    beside it, because it can be the same in all layers while δ vanishes. It must hold in the middle of the first 50
    steps, and have a consequence: the first layers are updated less for their size, or the loss does not fall. With
    an optimizer that divides by the gradient's size (adam and its kin) only the second counts: it may raise the
    gradient before long, so what is seen before training counts as well where the loss stood still for a fifth of the
    training, or a network fails to learn what a linear function does. A gradient that becomes 0 all at once did not
    shrink on its way: units have died. A single layer whose weights are far too small is told in any case, and so are
    those of three layers. The whole way is judged and not the change of one layer: how deep a stack can learn is a
    matter of how many depth scales it has, however long these are.
    Where steps have made most of it, a smaller learning rate is the first remedy; so it is where a training that
    does not learn has a gradient that shrinks to next to nothing in its last fifth. Where a function on the way is
    flat, such as sign or round, no gradient comes through at all: that is told of the program, whatever the numbers
    are. In a loop of one's own a weight that meets what it has made, as in a recurrent network, is judged from its
    last call back to its first, where next to nothing is learned.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010,
        section 4.2.2 and figures 6 to 9; Schoenholz et al., Deep information propagation, ICLR 2017, section 5.
    """
    if flow.facts.get("blocked"):
        yield _blocked(flow, rule, flow.facts["blocked"])
        return
    through_time = find_through_time(flow, rule)
    if through_time is not None:
        yield through_time
        return
    profile, course = profile_of(flow, early, rule.layers), course_of(flow)
    if profile is None:
        return
    by_all = profile.whole < rule.whole and profile.ratio < rule.part
    small = profile.ratio < rule.ratio or (by_all and course.fails())
    failing = course.fails(rule.learned)
    lagging = update_of(flow, profile) < rule.update and not rescales(flow)
    begin = profile_of(flow, at_first_look, rule.layers)
    if profile.ratio == 0 and begin is not None and begin.ratio > rule.ratio:
        return  # it was cut off by units that died, and did not shrink on its way
    made = None  # by the steps
    if not (small and (failing or lagging or profile.ratio < rule.alone)):
        stood = course.delay(0.1) >= rule.delay or (failing and not learned_as_linear(flow, course))
        if begin is not None and begin.ratio < rule.begin and (stood or blame(begin, -1).alone):
            profile, lagging = begin, True
        else:
            made = profile_of(flow, late, rule.layers) if failing else None
            if made is None or not 0 < made.ratio < rule.alone:
                return
            profile = made
    at = blame(profile, -1)
    if len(profile.layers) < FEW and not (at.weights and at.gain < at.usual / SHORT):
        return
    first, last = profile.layers[0], profile.layers[-1]
    row = first_row(profile.steps < math.log10(rule.ratio))
    sound = None  # else steps have made it so, or more of it than was there before
    if begin is not None and (begin.ratio > min(rule.part, math.sqrt(profile.ratio)) or made is not None):
        sound = begin.whole
    step = 0 if begin and begin.ratio < rule.ratio else int(flow.steps[row or 0]) if len(flow) else 0
    which = "steps" if made else "the first steps"
    why = _why(profile, at, -1) if sound is None else f"{which} made it so, before them it was {show(sound)}"
    yield rule.found(
        "error" if course.fails() else "warning" if failing or lagging else "note",
        f"From layer {last.number} back to layer {first.number} the gradient shrinks to {show(profile.whole)} of its "
        f"size, by a factor of {show(profile.factor)} a layer: {why}.",
        [*_evidence(flow, profile, at), *([] if sound is None else [("the same before training", sound, None)])],
        [*([] if sound is None else [R.other_rate(flow, 0.1)]), *_remedies(flow, profile, at)],
        layers=_shown(profile, at),
        step=step if sound is None else max(step, 2),
    )


def vanishes_beside(flow: Flow, saturated: float) -> bool:
    """Tell whether the gradient vanishes over layers that are not saturated already.

    From a layer to the one before it, δ is multiplied by the slope of the latter's activation. Where that one is
    saturated, the step is left out; what the other steps multiply by is held against the threshold of vanishing.

    Args:
        flow: the record.
        saturated: the share of a layer's values in the flat parts, from which on it is saturated.

    Returns:
        The answer; False where nothing vanishes, and where every layer is saturated.

    Source: derived here.

    Example:
        >>> vanishes_beside(Flow.empty(()), 0.5)
        False
    """
    limits = RULES["vanishing"]
    profile = profile_of(flow, early, limits.layers)
    if profile is None or not profile.ratio < limits.ratio:
        return False
    share = early(flow, "saturated")[[x.number - 1 for x in profile.layers]]
    with np.errstate(all="ignore"):
        change = np.log(profile.sizes[:-2] / profile.sizes[1:-1])
    return float(change[~(share[:-2] >= saturated)].sum()) < math.log(limits.ratio)


def _blocked(flow: Flow, rule: Rule, told: list[dict[str, Any]]) -> Finding:
    """The finding of parameters before a function that is flat."""
    paths = [x["path"] for x in told]
    worst = told[-1]
    at = worst.get("line") or worst.get("layer")
    layers = [x for x in flow.layers if x.weights in paths or x.bias in paths]
    named = f"{', '.join(paths[:4])}{f' and {len(paths) - 4} more' if len(paths) > 4 else ''}"
    return rule.found(
        "error" if course_of(flow).fails() else "warning",
        f"No gradient passes {worst['operation']}{f' ({at})' if at else ''}, which is flat but for jumps: {named} "
        f"{'stay' if len(paths) > 1 else 'stays'} as before training.",
        [("operation", worst["operation"], "one with a slope"), ("parameters without a gradient", len(paths), "0")],
        [
            R.mend_data(
                "A function with a slope in its place; or the flat one forward, and backward as if it were not there.",
                "h = x + ut.stop_gradient(np.sign(x) - x)  # for h = np.sign(x)",
            )
        ],
        layers=layers[::-1],
        step=0,
    )


@rule(
    "exploding",
    layers=(4, "fewest layers that must be comparable"),
    ratio=(15.0, "‖δ‖ of the first layer by that of the last before the output, above which it explodes"),
    forward=(1e3, "RMS of z in the layer where it is largest by that in the first, above which the values explode"),
    initial=(3.0, "loss before training by that of a constant output, or highest loss by it, which is a consequence"),
    fallen=(30.0, "or by the lowest loss, in a loop of one's own in which the values grow as much as the gradient"),
    update=(10.0, "update ratio of the first layer by that of the last, which is a consequence"),
    long=(1e3, "ratio that is told in any case"),
)
def find_exploding(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient, or the values themselves, grow geometrically from layer to layer.

    Judged like vanishing with the sign turned, before the first step: what grows in training is a step that is too
    large. A consequence must be visible: the training diverges or does not learn, the loss before training is far above
    that of a constant output, or the loss climbs far above it, or the first layers are updated far more for their size
    than the last. The whole way is judged and not the change of one layer: residual blocks that are not scaled each
    multiply by √2 only. In a loop of one's own a weight that meets what it has made is judged from its last call back
    to its first.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013, section 2.1; He et al.,
        Delving deep into rectifiers, ICCV 2015, eq. 9 and 13; De and Smith, Batch normalization biases residual
        blocks towards the identity function, NeurIPS 2020, section 3; behind BatchNorm: Yang et al., A mean field
        theory of batch normalization, ICLR 2019, section 3.
    """
    through_time = find_growth_through_time(flow, rule)
    if through_time is not None:
        yield through_time
        return
    measure = at_first_look if flow.looks else early
    profile, course = profile_of(flow, measure, rule.layers), course_of(flow)
    if profile is None:
        profile = profile_of_blocks(flow, measure, rule.layers)
    if profile is None:
        return
    z = measure(flow, "z.rms")
    first, last = profile.layers[0], profile.layers[-1]
    with np.errstate(all="ignore"):
        grown = z[[x.number - 1 for x in profile.layers]] / z[first.number - 1]
    place = int(
        np.argmax(np.where(np.isnan(grown), -np.inf, grown))
    )  # a normalisation behind it hides it from the last
    top, forward = profile.layers[place], float(grown[place])
    back = not profile.ratio < rule.ratio
    if not back and not forward >= rule.forward:
        return
    off = course.constant is not None and course.initial > rule.initial * course.constant
    if course.constant is None and forward > rule.ratio:  # of a loop of one's own: by the loss that it comes down to
        off = course.initial > rule.fallen * course.best > 0
    far = update_of(flow, profile) > rule.update and not rescales(flow)
    climbs = len(course.loss) > 0 and float(course.loss.max()) > rule.initial * course.initial > 0
    if not (course.diverged or off or climbs or far or course.fails() or profile.ratio > rule.long):
        return
    at = blame(profile, 1)
    what = (
        f"From layer {last.number} back to layer {first.number} the gradient grows {show(profile.whole)} times, by a "
        f"factor of {show(profile.factor)} a {'block' if profile.blocks else 'layer'}"
    )
    if not back:
        what = f"From layer {first.number} to layer {top.number} the values z grow {show(forward)} times"
    yield rule.found(
        "error" if course.diverged or course.fails() else "warning",
        f"{what}: {_why(profile, at, 1)}.",
        [*_evidence(flow, profile, at), ("RMS of z, the largest by that in the first layer", forward, "near 1")],
        _remedies_of_growth(flow, profile),
        layers=_shown(profile, at),
        step=0 if flow.looks else 1,
    )


def _squashing(profile: Profile) -> list[str]:
    """The activations that flatten, where their layers make at least half of what the gradient loses."""
    with np.errstate(all="ignore"):
        lost = -np.log(profile.sizes[:-1] / profile.sizes[1:])
    flat = np.array([x.activation in SQUASHING for x in profile.layers[:-1]], bool)
    known = np.isfinite(lost)
    if not lost[flat & known].sum() >= 0.5 * lost[known].sum():
        return []
    return [x.activation for x in profile.layers if x.activation in SQUASHING]


def _why(profile: Profile, at: Blame, sign: int) -> str:
    """What it comes from."""
    layer = profile.layers[at.at]
    squashing = _squashing(profile)
    if at.weights:
        whose = "the weights multiply" if at.at == 0 else f"the weights of layer {layer.number} multiply"
        return f"{whose} the norm of what passes by about {show(at.gain)}, where {show(at.usual)} holds it"
    if sign > 0 and profile.normalised == "BatchNorm":
        return (
            "BatchNorm makes it grow in a stack without residual blocks, whatever the weights are, with relu by "
            f"√(π/(π − 1)) = {math.sqrt(math.pi / (math.pi - 1)):.3g} a layer"
        )
    if sign < 0 and "sigmoid" in squashing:
        return "the slope of sigmoid is 1/4 at most"
    if sign < 0 and squashing:
        return f"{squashing[0]} flattens, so its slope is below 1"
    blocks = profile.blocks or sum(x.kind == "Residual" for x in profile.layers)
    if sign > 0 and 2 * blocks > len(profile.layers):
        return f"each of the {blocks} residual blocks adds to what passes, and nothing scales what is added or the sum"
    return "no layer holds the size of what passes"


def _evidence(flow: Flow, profile: Profile, at: Blame) -> list[tuple[object, ...]]:
    """The numbers, those of the weights beside those of δ."""
    first, last = profile.layers[0], profile.layers[-1]
    dW, update = by_layers(flow, early(flow, "dW.rms")), update_of(flow, profile)
    rows: list[tuple[object, ...]] = [
        (f"‖δ‖ in layer {first.number} by that in layer {last.number}", profile.whole, "between 0.1 and 10"),
        (f"change of ‖δ‖ a {'block' if profile.blocks else 'layer'}", profile.factor, "near 1"),
    ]
    with np.errstate(all="ignore"):
        by_weights = float(dW[first.number - 1] / dW[last.number - 1])
    if math.isfinite(by_weights):
        rows.append((f"RMS of dW in layer {first.number} by that in layer {last.number}", by_weights, "near 1"))
    if math.isfinite(update):
        rows.append((f"update ratio of layer {first.number} by that of layer {last.number}", update, "near 1"))
    if math.isfinite(at.gain) and not profile.normalised:
        rows.append(("gain of the weights, RMS · √inputs", at.gain, at.usual))
    return rows


def _remedies(flow: Flow, profile: Profile, at: Blame) -> list[Remedy]:
    """What helps a gradient that vanishes; for stacks of sigmoids in the order in which it was measured to help.

    On digits, with 6 to 30 layers of 64 units and three update rules, the share of right answers rose from 0.10 to 0.97
    with BatchNorm, 0.94 with residual blocks (never below 0.87 and 0.90), 0.96 with tanh and 0.91 with relu (0.10 where
    the rate was high) in the median, and not at all with LayerNorm: it leaves what all examples have in common, which
    sigmoid makes large. Measured by ``python -m benchmarks.diagnosis.sigmoids``.
    """
    squashing = next((x.activation for x in profile.layers if x.activation in SQUASHING), None)
    found = []
    if at.weights:
        found.append(R.other_initialiser(flow, _right(profile)))
    if squashing in R.POSITIVE:
        rows = flow.facts.get("batch_size") or R.LEAST_BATCH
        by_batch = [R.normalise(flow, "BatchNorm")] if rows >= R.LEAST_BATCH else []
        to = "relu" if len(profile.layers) <= R.RELU_DEPTH else "tanh"
        return [*found, *by_batch, R.add_residual(flow), R.other_activation(flow, to, squashing)]
    if squashing:
        found.append(R.other_activation(flow, "relu", squashing))
    return [*found, R.normalise(flow), R.add_residual(flow)]


def _remedies_of_growth(flow: Flow, profile: Profile) -> list[Remedy]:
    """What helps a gradient that explodes; behind a normalisation other weights would change nothing."""
    rest = [R.clip(flow), R.other_rate(flow, 0.1)]
    if profile.blocks:
        by = f"h = h + block(h) / np.sqrt({profile.blocks})  # or begin with last weights of 0 in each block"
        return [R.mend_data("What a block adds, by the root of how many there are.", by), R.normalise(flow), *rest]
    if profile.normalised:
        return [R.add_residual(flow), *rest]
    return [R.other_initialiser(flow, _right(profile)), R.normalise(flow), *rest]


def _right(profile: Profile) -> str:
    """The initialiser that suits the activations."""
    found = [x.activation for x in profile.layers[:-1] if x.activation]
    return default_initialiser(max(set(found), key=found.count) if found else None)


def _shown(profile: Profile, at: Blame) -> list[FlowLayer]:
    """The layers, the cause first."""
    cause = profile.layers[at.at]
    return [cause, *(x for x in profile.layers if x is not cause)]
