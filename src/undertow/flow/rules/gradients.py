"""Gradients that vanish or explode on their way from the output to the first layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from undertow.flow.findings import Finding, Remedy
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import (
    Array,
    at_first_look,
    course_of,
    early,
    first_row,
    norms,
    rescales,
    show,
    stream,
)
from undertow.flow.rules.registry import Rule, rule
from undertow.nn.initialisers import default_initialiser

SQUASHING = ("sigmoid", "tanh", "lecun_tanh", "hard_tanh", "hard_sigmoid", "softsign", "softmax")


@dataclass(frozen=True)
class Profile:
    """How large the gradient is along the stream at the beginning.

    Attributes:
        layers: the entries that can be compared, first to last.
        sizes: ‖δ‖ of an example in each: RMS · √units, the median of the first steps.
        ratio: the first by the last.
        before: the same before the first step.
        factor: of one layer, the geometric mean.
        steps: log10 of the ratio at each recorded step.
        update: the update ratio of the first layer with weights by that of the last.
    """

    layers: list[FlowLayer]
    sizes: Array
    ratio: float
    before: float
    factor: float
    steps: Array
    update: float


def profile_of(flow: Flow) -> Profile | None:
    """Measure the profile; None where fewer than three layers can be compared, or nothing flows."""
    chosen = stream(flow)
    sizes = norms(flow, early(flow, "delta.rms"))
    chosen = [i for i in chosen if not math.isnan(sizes[i])]
    if len(chosen) < 3 or not sizes[chosen[-1]] > 0:
        return None
    delta = norms(flow, flow.stat("delta.rms").astype(np.float64))
    with np.errstate(all="ignore"):
        steps = np.log10(delta[:, chosen[0]] / delta[:, chosen[-1]])
        ratio = float(sizes[chosen[0]] / sizes[chosen[-1]])
    moved = early(flow, "ratio")
    with_weights = [i for i in chosen if moved[i] >= 0]
    update = math.nan
    if len(with_weights) > 1 and 0 < moved[with_weights[-1]] < math.inf:
        update = float(moved[with_weights[0]] / moved[with_weights[-1]])
    factor = ratio ** (1 / (len(chosen) - 1)) if math.isfinite(ratio) else math.inf
    first = norms(flow, at_first_look(flow, "delta.rms"))[[chosen[0], chosen[-1]]]
    before = float(first[0] / first[1]) if first[1] > 0 else ratio
    return Profile([flow.layers[i] for i in chosen], sizes[chosen], ratio, before, factor, steps, update)


@dataclass(frozen=True)
class Blame:
    """Which layer is the cause.

    Attributes:
        at: its index in the profile.
        weights: whether its weights are, rather than its activation.
        gain: of its weights: by how much they multiply the norm of what passes.
        usual: that of the right initialiser.
    """

    at: int
    weights: bool
    gain: float
    usual: float


def blame(flow: Flow, profile: Profile, sign: int) -> Blame:
    """Find the layer that changes the gradient most: by its weights, or by the slope of its activation.

    Between layers l + 1 and l the norm is multiplied by the gain of W(l + 1), RMS · √fan_in, and by the slopes of the
    activation of l. One layer that stands out is the cause; where all are alike, it is the first.
    """
    W = early(flow, "W.rms")
    index = {layer.path: i for i, layer in enumerate(flow.layers)}
    gains = [W[index[x.path]] * math.sqrt(x.fan_in) if x.fan_in else math.nan for x in profile.layers]
    usual = [usual_gain(profile.layers[i - 1].activation if i else None, x) for i, x in enumerate(profile.layers)]
    with np.errstate(all="ignore"):
        change = np.log(profile.sizes[:-1] / profile.sizes[1:]) * sign
        by_weights = np.log(np.array(gains[1:]) / np.array(usual[1:])) * sign
    change[~np.isfinite(change)] = -np.inf
    worst = int(np.argmax(change))
    rest = np.delete(change, worst)
    odd = by_weights[worst] > math.log(1.5)
    stands_out = len(rest) > 1 and change[worst] > 0.6 * change[change > 0].sum() and change[worst] > math.log(5)
    if stands_out:
        at = worst + 1 if odd else worst
    else:
        at, odd = 0, bool(np.nanmedian(by_weights) > math.log(1.3))
        gain = float(np.nanmedian(gains[1:]))
        return Blame(at, odd, gain, float(np.nanmedian(usual[1:])))
    return Blame(at, bool(odd), float(gains[at]), float(usual[at]))


def usual_gain(activation: str | None, layer: FlowLayer) -> float:
    """RMS · √fan_in of the weights that the default initialiser gives after this activation."""
    if activation in ("relu", "leaky_relu", "prelu", "relu6", "elu", "celu", "gelu", "silu", "mish"):
        return math.sqrt(2)
    fans = (layer.fan_in or 1) + (layer.fan_out or 1)
    return 1.0 if activation in ("selu", "lecun_tanh") else math.sqrt(2 * (layer.fan_in or 1) / fans)


@rule(
    "vanishing",
    layers=(4, "fewest layers that must be comparable"),
    ratio=(1e-2, "‖δ‖ of the first layer by that of the last, below which it vanishes"),
    factor=(0.65, "largest change of ‖δ‖ a layer, the geometric mean"),
    update=(0.1, "update ratio of the first layer by that of the last, below which the first layers lag"),
    learned=(0.3, "share of the constant output's loss that must be learned for the lag to be without consequence"),
    alone=(1e-4, "ratio below which it is told even where the training learns"),
)
def find_vanishing(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient shrinks geometrically on its way back, and the first layers do not learn.

    Judged is δ = ∂L/∂z of whole layers (RMS · √units), first against last along the stream: branches of residual blocks
    and normalisations are left out, weights of different sizes do not matter. The gradient by the weights is shown
    beside it, because it can be the same in all layers while δ vanishes. It must hold in the middle of the first 50
    steps, and have a consequence: the first layers are updated less for their size, or the loss does not fall. With
    an optimizer that divides by the gradient's size (adam and its kin) only the second counts.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010,
        section 4.2.2 and figures 6 to 9.
    """
    profile, course = profile_of(flow), course_of(flow)
    if profile is None or len(profile.layers) < rule.layers:
        return
    if not (profile.ratio < rule.ratio and profile.factor < rule.factor):
        return
    failing = course.fails(rule.learned)
    lagging = profile.update < rule.update and not rescales(flow)
    if not (failing or lagging or profile.ratio < rule.alone):
        return
    at = blame(flow, profile, -1)
    first, last = profile.layers[0], profile.layers[-1]
    severity = "error" if course.fails() else "warning" if failing or lagging else "note"
    row = first_row(profile.steps < math.log10(rule.ratio))
    yield rule.found(
        severity,
        f"From layer {last.number} back to layer {first.number} the gradient shrinks to {show(profile.ratio)} of its "
        f"size, by a factor of {show(profile.factor)} a layer: {_why(profile, at, -1)}.",
        _evidence(flow, profile, at),
        _remedies(flow, profile, at),
        layers=_shown(profile, at),
        step=None if row is None else int(flow.steps[row]),
    )


@rule(
    "exploding",
    layers=(4, "fewest layers that must be comparable"),
    ratio=(30.0, "‖δ‖ of the first layer by that of the last, above which it explodes"),
    forward=(1e3, "RMS of z in the last layer by that in the first, above which the values explode"),
    factor=(1.25, "smallest change of ‖δ‖ a layer, the geometric mean"),
    initial=(3.0, "loss before training by that of a constant output, which is a consequence"),
    update=(10.0, "update ratio of the first layer by that of the last, which is a consequence"),
    alone=(1e4, "ratio above which it is told in any case"),
)
def find_exploding(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The gradient, or the values themselves, grow geometrically from layer to layer.

    Judged like vanishing, with the sign turned. A consequence must be visible: the training diverges or does not learn,
    the loss before training is far above that of a constant output, or the first layers are updated far more for
    their size than the last.

    Source: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013, section 2.1; He et al.,
        Delving deep into rectifiers, ICCV 2015, eq. 9 and 13.
    """
    profile, course = profile_of(flow), course_of(flow)
    if profile is None or len(profile.layers) < rule.layers:
        return
    z = early(flow, "z.rms")
    index = {layer.path: i for i, layer in enumerate(flow.layers)}
    first, last = profile.layers[0], profile.layers[-1]
    with np.errstate(all="ignore"):
        forward = float(z[index[last.path]] / z[index[first.path]])
    back = not min(profile.ratio, profile.before) < rule.ratio and not profile.factor < rule.factor
    ahead = not forward < rule.forward and math.isfinite(z[index[first.path]])
    if not (back or ahead):
        return
    off = course.constant is not None and course.initial > rule.initial * course.constant
    far = profile.update > rule.update and not rescales(flow)
    if not (course.diverged or off or far or course.fails() or profile.ratio > rule.alone):
        return
    at = blame(flow, profile, 1)
    rows = first_row(~(profile.steps < math.log10(rule.ratio)))
    if back:
        what = (
            f"From layer {last.number} back to layer {first.number} the gradient grows {show(profile.ratio)} "
            "times, by a "
            f"factor of {show(profile.factor)} a layer"
        )
    else:
        what = f"From layer {first.number} to layer {last.number} the values z grow {show(forward)} times"
    yield rule.found(
        "error" if course.diverged or course.fails() else "warning",
        f"{what}: {_why(profile, at, 1)}.",
        [*_evidence(flow, profile, at), ("RMS of z in the last layer by that in the first", forward, "near 1")],
        [R.other_initialiser(flow, _right(profile, at)), R.normalise(flow), R.clip(flow), R.other_rate(flow, 0.1)],
        layers=_shown(profile, at),
        step=None if rows is None else int(flow.steps[rows]),
    )


def _why(profile: Profile, at: Blame, sign: int) -> str:
    """What it comes from."""
    layer = profile.layers[at.at]
    squashing = [x.activation for x in profile.layers if x.activation in SQUASHING]
    if at.weights:
        whose = "the weights multiply" if at.at == 0 else f"the weights of layer {layer.number} multiply"
        return f"{whose} the norm of what passes by about {show(at.gain)}, where {show(at.usual)} holds it"
    if sign < 0 and "sigmoid" in squashing:
        return "the slope of sigmoid is 1/4 at most"
    if sign < 0 and squashing:
        return f"{squashing[0]} flattens, so its slope is below 1"
    return "no layer holds the size of what passes"


def _evidence(flow: Flow, profile: Profile, at: Blame) -> list[tuple[object, ...]]:
    """The numbers, those of the weights beside those of δ."""
    first, last = profile.layers[0], profile.layers[-1]
    index = {layer.path: i for i, layer in enumerate(flow.layers)}
    dW = early(flow, "dW.rms")
    rows: list[tuple[object, ...]] = [
        (f"‖δ‖ in layer {first.number} by that in layer {last.number}", profile.ratio, "between 0.1 and 10"),
        ("change of ‖δ‖ a layer", profile.factor, "near 1"),
    ]
    with np.errstate(all="ignore"):
        by_weights = float(dW[index[first.path]] / dW[index[last.path]])
    if math.isfinite(by_weights):
        rows.append((f"RMS of dW in layer {first.number} by that in layer {last.number}", by_weights, "near 1"))
    if math.isfinite(profile.update):
        rows.append((f"update ratio of layer {first.number} by that of layer {last.number}", profile.update, "near 1"))
    if math.isfinite(at.gain):
        rows.append(("gain of the weights, RMS · √inputs", at.gain, at.usual))
    return rows


def _remedies(flow: Flow, profile: Profile, at: Blame) -> list[Remedy]:
    """What helps a gradient that vanishes."""
    squashing = next((x.activation for x in profile.layers if x.activation in SQUASHING), None)
    found = []
    if at.weights:
        found.append(R.other_initialiser(flow, _right(profile, at)))
    if squashing:
        found.append(R.other_activation(flow, "relu", squashing))
    return [*found, R.normalise(flow), R.add_residual(flow)]


def _right(profile: Profile, at: Blame) -> str:
    """The initialiser that suits the activations."""
    found = [x.activation for x in profile.layers[:-1] if x.activation]
    return default_initialiser(max(set(found), key=found.count) if found else None)


def _shown(profile: Profile, at: Blame) -> list[FlowLayer]:
    """The layers, the cause first."""
    cause = profile.layers[at.at]
    return [cause, *(x for x in profile.layers if x is not cause)]
