"""Layers that say less than they could: units that are copies of one another, outputs of low rank."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from undertow.flow.findings import Finding
from undertow.flow.layers import FlowLayer
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import NORMS, cosine_before, course_of, early, inner_layers, show
from undertow.flow.rules.registry import Rule, rule


@rule(
    "identical-units",
    share=(0.5, "share of a layer's living units that equal another one"),
    units=(2, "fewest units of a layer"),
)
def find_identical(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Units of a hidden layer are equal: with the same weights in and out they get the same gradient, and stay equal.

    Judged before training and at the end. A hidden layer whose weights are all 0 counts; an output layer that begins at
    0 does not, nor does the last layer of a residual branch. In a loop of one's own, where only arrays are known, two
    of them must have an axis of the same length along which slices are equal, and those of the gradient too: the
    columns of what makes the units, and the rows of what reads them, or the entries of a vector that does.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.4 (breaking symmetry).
    """
    yield from _alike_arrays(flow, rule)
    blocks = {layer.path for layer in flow.layers if layer.kind == "Residual"}
    found = []
    for i, layer in inner_layers(flow):
        if layer.weights is None or not flow.looks:
            continue
        rows = [look.layers[i] for look in flow.looks if look.layers[i].get("units")]
        if not rows or rows[0]["units"] < rule.units:
            continue
        alike = [row["identical"] / row["units"] if row.get("identical") is not None else 0.0 for row in rows]
        zero = rows[0].get("W_rms") == 0 and layer.within not in blocks and layer.fan_in is not None
        flat = min(rows[0].get("saturated") or 0.0, rows[-1].get("saturated") or 0.0) > 0.9  # equal, as far as is seen
        if flat and not zero and not is_constant(flow, i):
            continue
        if (
            (zero and rows[-1].get("W_rms") == 0)
            or min(alike[0], alike[-1]) >= rule.share
            or (zero and alike[-1] >= rule.share)
        ):
            found.append((layer, alike, zero, rows[0]["units"]))
    if not found:
        return
    layer, alike, zero, units = found[0]
    what = "all weights are 0" if zero else f"{alike[0]:.0%} of the {units} units equal another one"
    cause = (
        f"In layer {layer.number} {what} before training: equal units get equal gradients, so those that are equal "
        "learn no more than one unit could."
    )
    scaled = zero and layer.kind in NORMS
    if scaled:
        cause = (
            f"In layer {layer.number} all gains are 0 before training: {layer.kind} gives the same for every example, "
            "and nothing before it gets a gradient."
        )
    yield rule.found(
        "error" if course_of(flow).fails() or zero else "warning",
        cause,
        [
            (f"share of equal units in {x.label}, before training and at the end", f"{a[0]:.2f}, {a[-1]:.2f}", "0")
            for x, a, _, _ in found
        ],
        [
            R.begin_gains(flow)
            if scaled
            else R.other_initialiser(flow, "he_normal" if layer.activation == "relu" else "glorot_uniform",
                                "random numbers make units differ"),
        ],
        layers=[x for x, *_ in found],
        step=0,
    )  # fmt: skip


def _alike_arrays(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """The arrays of a loop of one's own between which units are equal."""
    looks = [look.layers for look in flow.looks]
    arrays = [i for i, x in enumerate(flow.layers) if looks and all(row[i].get("alike") for row in looks)]
    lengths: dict[int, dict[int, float]] = {}
    for i in arrays:
        for axis in (0, 1):
            told = [row[i]["alike"][axis] for row in looks]
            if told[0]["n"] >= rule.units and min(x["share"] for x in told) >= rule.share:
                lengths.setdefault(told[0]["n"], {})[i] = told[-1]["share"]
    wide = [i for i in arrays if min(x["n"] for x in looks[0][i]["alike"]) >= rule.units]  # matrices, not biases alone
    lengths = {n: x for n, x in lengths.items() if not x.keys().isdisjoint(wide)}
    n, chosen = max(lengths.items(), key=lambda x: len(x[1]), default=(0, {}))
    if len(chosen) < 2:
        return
    if len(chosen.keys() & set(wide)) > 1:
        chosen = {i: share for i, share in chosen.items() if i in wide}  # biases between them follow
    layers = [flow.layers[i] for i in chosen]
    zero = all(looks[-1][i].get(f"{q}_rms") == 0 for i in chosen for q in ("W", "dW"))
    what = "all weights are 0, and so is their gradient" if zero else f"the {n} units between them are equal"
    names = [x.name for x in layers]
    yield rule.found(
        "error",
        f"In {', '.join(names[:-1])} and {names[-1]} {what}, before training and after it: equal units get equal "
        "gradients, so those that are equal learn no more than one unit could.",
        [
            (f"share of equal units in {flow.layers[i].name}, weights and gradient", share, "0")
            for i, share in chosen.items()
        ],
        [R.mend_data("Begin with random weights.", "W = rng.normal(size=W.shape) / np.sqrt(W.shape[0])")],
        layers=layers,
        step=0,
    )


def is_constant(flow: Flow, i: int) -> bool:
    """Whether all weights of a layer have one size at the beginning."""
    rms, largest = early(flow, "W.rms")[i], early(flow, "W.max")[i]
    return bool(abs(largest - rms) <= 1e-3 * rms)


@rule(
    "rank-collapse",
    units=(8, "fewest units of a layer; one that has fewer counts where the network does not learn well"),
    narrow=(
        0.7,
        "share of the constant output's loss that is learned by a network for which such a layer is wide enough",
    ),
    rank=(1.5, "effective rank of what a layer gives, below which it has collapsed over many layers"),
    few=(2.0, "the same for a layer that stays below it to the end, where targets need at least three directions"),
    alone=(2.2, "the same for a layer that takes it away alone"),
    fall=(0.34, "the same by that of what goes in, below which the layer itself is the cause"),
    inputs=(3.0, "smallest effective rank of what goes in"),
    learned=(0.3, "share of the constant output's loss whose learning shows that a fall over many layers does no harm"),
    half=(0.5, "the same where the layer stays below what the targets need"),
    drowned=(0.01, "1 − mean cosine between what a layer gives for different examples, by that of what goes in"),
    apart=(0.9, "mean cosine of what goes in, below which examples differ"),
)
def find_rank_collapse(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """What a layer gives lies nearly on one line for all examples, though what goes into the network does not.

    Judged by the effective rank about the mean before training: a network that has learned few classes needs few
    directions, so what it is at the end only tells whether it has stayed. One layer may take the rank away; or it
    falls from layer to layer in a deep stack, which counts where the network does not learn, or where it stays below
    the C − 1 directions that C classes need. A layer may also give nearly the same for all examples, as behind a large
    bias: what differs between them is then no tenth of what is common, though it was about as much before. (A relu
    alone brings 1 − cosine down to two thirds, a sigmoid to a sixteenth.) Where the inputs are the targets as well,
    narrow layers are meant. So may a function between two layers take it away, as a mean along the wrong axis does.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007; Daneshmand et al., Batch normalization provably avoids
        rank collapse for randomly initialised deep networks, NeurIPS 2020, section 3.
    """
    if not flow.looks or flow.looks[0].step:
        return
    first = flow.looks[0].layers
    entering = next((row["rank_of_input"] for row in first if row.get("rank_of_input") is not None), 0.0)
    found = [] if entering < rule.inputs else _collapsed(flow, rule)
    between = None if entering < rule.inputs else _lost_between(flow, rule)
    if between is not None:
        yield between
        return
    if not found:
        return
    worst = max(found, key=lambda x: x.alone)
    layer, rank, before = worst.layer, worst.rank, worst.before
    row = first[layer.number - 1]
    units = layer.shape[-1] if layer.shape else 0
    room = before or entering
    wanted = room if units < rule.units else min(room, units)
    what = f"of {show(before)} that go in" if worst.alone else f"of {show(entering)} in X, lost from layer to layer"
    what += f", with {units} {'unit' if units == 1 else 'units'}" if units < rule.units else ""
    cause = (
        f"What layer {layer.number} gives has an effective rank of {show(rank)} {what}: for all that comes after, "
        "nearly all examples lie on one line."
    )
    if worst.drowned:
        cause = (
            f"What layer {layer.number} gives is nearly the same for all examples, with a mean cosine of "
            f"{row.get('correlation'):.6g} between them, though what goes in is not: what differs is small beside "
            "what is common, and nearly all examples lie on one line through 0."
        )
    yield rule.found(
        "error" if course_of(flow).fails() else "warning",
        cause,
        [
            (f"effective rank of what {layer.label} gives", rank, f"near {show(wanted)}"),
            ("effective rank of X", entering, None),
            ("mean cosine between examples there", row.get("correlation"), "well below 1"),
            *((f"effective rank of what {x.layer.label} gives", x.rank, None) for x in found if x is not worst),
        ],
        [R.widen(flow, 16)] if units < rule.units else  # nothing else brings back what one unit cannot hold
        [R.other_initialiser(flow, "orthogonal"), R.normalise(flow, "BatchNorm"), R.add_residual(flow)],
        layers=[layer, *(x.layer for x in found if x is not worst)],
        step=0,
    )  # fmt: skip


def _lost_between(flow: Flow, rule: Rule) -> Finding | None:
    """The finding of a function between two layers that leaves nearly one number of each example."""
    first, last, course = flow.looks[0].layers, flow.looks[-1].layers, course_of(flow)
    for i, (before, layer) in enumerate(itertools.pairwise(flow.layers)):
        gave, given = first[i].get("rank") or 0.0, first[i + 1].get("rank_of_input")
        beside = before.path.rpartition("[")[0] == layer.path.rpartition("[")[0] and layer.kind == "Dense"
        wide = min(first[i].get("units") or 0, layer.fan_in or 0) >= rule.units
        if not (beside and wide and given is not None and gave >= rule.inputs and course.fails(rule.narrow)):
            continue
        end = last[i + 1].get("rank_of_input") or 0.0
        if given < min(rule.fall * min(gave, layer.fan_in or 0), rule.rank) and end < 2 * rule.rank:
            return rule.found(
                "error" if course.fails() else "warning",
                f"What comes into layer {layer.number} has an effective rank of {show(given)}, of {show(gave)} that "
                f"layer {before.number} gives: a function between them leaves nearly "
                f"{'the same for all examples' if given < 1 else 'one number of each example'}.",
                [
                    (f"effective rank of what comes into {layer.label}", given, f"near {show(gave)}"),
                    (f"effective rank of what {before.label} gives", gave, None),
                ],
                [
                    R.mend_data(
                        "Look along which axis the function between goes: axis 0 is examples.",
                        "print(h.shape, function(h).shape, function(h)[:3])",
                    )
                ],
                layers=[layer],
                step=0,
            )
    return None


@dataclass(frozen=True)
class Collapsed:
    """A layer whose output has collapsed.

    Attributes:
        layer: which one.
        rank: effective rank of what it gives before training.
        before: that of what goes in.
        alone: whether the layer itself is the cause, rather than a fall over many.
        drowned: whether what differs between examples is nothing beside what is common.
    """

    layer: FlowLayer
    rank: float
    before: float
    alone: bool
    drowned: bool


def _collapsed(flow: Flow, rule: Rule) -> list[Collapsed]:
    """The layers that have collapsed before training, and not come back."""
    first, last, course = flow.looks[0].layers, flow.looks[-1].layers, course_of(flow)
    meant = bool((flow.facts.get("target") or {}).get("is_input"))  # an autoencoder is narrow so as to be short of room
    narrow = _directions(flow) >= 3 and course.fails(rule.half) and not meant
    found = []
    for i, layer in inner_layers(flow):
        rank, before, units = (first[i].get(name) or 0.0 for name in ("rank", "rank_of_input", "units"))
        few = units < rule.units
        if (layer.kind == "watched" and units == 1) or (few and meant) or layer.fan_in == 1:
            continue  # a number for each example is no layer that could be wider, and makes a line of any weights
        if not rank or (few and not course.fails(rule.narrow)):
            continue
        end = last[i].get("rank") or 0.0
        most = rule.fall * (before if few else min(before, units))
        alone = before >= rule.inputs and rank < min(most, rule.alone) and end < 0.5 * before
        drowned = not few and max(_left_apart(flow, i, row, rule.apart) for row in (first, last)) < rule.drowned
        lost = not meant and course.fails(rule.learned) and rank < rule.rank and end < 2 * rule.rank
        if alone or drowned or lost or (narrow and max(rank, end) < rule.few):
            found.append(Collapsed(layer, float(rank), float(before), alone or drowned, drowned))
    return found


def _left_apart(flow: Flow, i: int, rows: list[dict[str, Any]], most: float) -> float:
    """1 − mean cosine between what a layer gives, by that of what goes in; 1 where that is more alike than told."""
    before, after = cosine_before(flow, i, rows), rows[i].get("correlation")
    return 1.0 if after is None or before > most else (1 - after) / (1 - before)


def _directions(flow: Flow) -> int:
    """The directions in which targets differ: C − 1 for classes, one for each number to predict."""
    target = flow.facts.get("target") or {}
    return int(target["n_classes"]) - 1 if target.get("kind") == "classes" else len(target.get("std") or ())
