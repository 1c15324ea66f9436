"""Layers that say less than they could: units that are copies of one another, outputs of low rank."""

from __future__ import annotations

from collections.abc import Iterator

from undertow.flow.findings import Finding
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.measures import course_of, early, inner_layers, show
from undertow.flow.rules.registry import Rule, rule


@rule(
    "identical-units",
    share=(0.5, "share of a layer's living units that equal another one"),
    units=(2, "fewest units of a layer"),
)
def find_identical(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """Units of a hidden layer are equal: with the same weights in and out they get the same gradient, and stay equal.

    Judged before training and at the end. A hidden layer whose weights are all 0 counts; an output layer that begins at
    0 does not, nor does the last layer of a residual branch.

    Source: Goodfellow et al., Deep Learning, 2016, section 8.4 (breaking symmetry).
    """
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
    yield rule.found(
        "error" if course_of(flow).fails() or zero else "warning",
        f"In layer {layer.number} {what} before training: equal units get equal gradients, so the layer learns no more "
        f"than one unit could.",
        [
            (f"share of equal units in {x.label}, before training and at the end", f"{a[0]:.2f}, {a[-1]:.2f}", "0")
            for x, a, _, _ in found
        ],
        [
            R.other_initialiser(flow, "he_normal" if layer.activation == "relu" else "glorot_uniform",
                                "random numbers make units differ"),
        ],
        layers=[x for x, *_ in found],
        step=0,
    )  # fmt: skip


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
    alone=(2.2, "the same for a layer that takes it away alone"),
    fall=(0.34, "the same by that of what goes in, below which the layer itself is the cause"),
    inputs=(3.0, "smallest effective rank of what goes in"),
    learned=(0.3, "share of the constant output's loss whose learning shows that a fall over many layers does no harm"),
)
def find_rank_collapse(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """What a layer gives lies nearly on one line for all examples, though what goes into the network does not.

    Judged by the effective rank about the mean before training: a network that has learned few classes needs few
    directions, so what it is at the end only tells whether it has stayed. One layer may take the rank away; or it
    falls from layer to layer in a deep stack, which counts where the network does not learn.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007; Daneshmand et al., Batch normalization provably avoids
        rank collapse for randomly initialised deep networks, NeurIPS 2020, section 3.
    """
    if not flow.looks or flow.looks[0].step:
        return
    first, last = flow.looks[0].layers, flow.looks[-1].layers
    entering = next((row["rank_of_input"] for row in first if row.get("rank_of_input") is not None), 0.0)
    failing = course_of(flow).fails(rule.learned)
    found = []
    for i, layer in inner_layers(flow):
        rank, before, units = (first[i].get(name) or 0.0 for name in ("rank", "rank_of_input", "units"))
        few = units < rule.units
        if not rank or entering < rule.inputs or (few and not course_of(flow).fails(rule.narrow)):
            continue
        end = last[i].get("rank") or 0.0
        most = rule.fall * (before if few else min(before, units))
        alone = before >= rule.inputs and rank < min(most, rule.alone)
        if (alone and end < 0.5 * before) or (failing and rank < rule.rank and end < 2 * rule.rank):
            found.append((layer, float(rank), float(before), alone))
    if not found:
        return
    layer, rank, before, alone = max(found, key=lambda x: x[3])
    row = first[layer.number - 1]
    units = layer.shape[-1] if layer.shape else 0
    what = f"of {show(before)} that go in" if alone else f"of {show(entering)} in X, lost from layer to layer"
    what += f", with {units} {'unit' if units == 1 else 'units'}" if units < rule.units else ""
    yield rule.found(
        "error" if course_of(flow).fails() else "warning",
        f"What layer {layer.number} gives has an effective rank of {show(rank)} {what}: for all that comes after, "
        "nearly all examples lie on one line.",
        [
            (f"effective rank of what {layer.label} gives", rank, f"near {show(min(before or entering, units))}"),
            ("effective rank of X", entering, None),
            ("mean cosine between examples there", row.get("correlation"), "well below 1"),
            *((f"effective rank of what {x.label} gives", r, None) for x, r, *_ in found if x is not layer),
        ],
        [
            *([R.widen(flow, 16)] if units < rule.units else []),
            R.other_initialiser(flow, "orthogonal"), R.normalise(flow, "BatchNorm"), R.add_residual(flow),
        ],
        layers=[layer, *(x for x, *_ in found if x is not layer)],
        step=0,
    )  # fmt: skip
