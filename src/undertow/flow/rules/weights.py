"""Layers that say less than they could: units that are copies of one another, outputs of low rank."""

from __future__ import annotations

import math
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
        if (zero and rows[-1].get("W_rms") == 0) or min(alike[0], alike[-1]) >= rule.share or (
            zero and alike[-1] >= rule.share
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


@rule(
    "rank-collapse",
    units=(8, "fewest units of a layer"),
    rank=(1.5, "effective rank of what a layer gives, below which it has collapsed"),
    fall=(0.34, "the same as a share of what goes into the layer"),
)
def find_rank_collapse(flow: Flow, rule: Rule) -> Iterator[Finding]:
    """What a layer gives lies nearly on one line for all examples, though what goes into the network does not.

    Judged by the effective rank before training, and at the end where the network did not learn: one that has learned
    few classes needs few directions.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007; Daneshmand et al., Batch normalization provably avoids
        rank collapse for randomly initialised deep networks, NeurIPS 2020, section 3.
    """
    if not flow.looks:
        return
    first, last = flow.looks[0], flow.looks[-1]
    look = first if first.step == 0 else None
    failing = course_of(flow).fails()
    found = []
    for i, layer in inner_layers(flow):
        rows = [x.layers[i] for x in (look, last if failing else None) if x is not None]
        for row in rows:
            rank, before, units = row.get("rank"), row.get("rank_of_input"), row.get("units") or 0
            if rank and before and units >= rule.units and rank < rule.rank and rank < rule.fall * before:
                found.append((layer, float(rank), float(before), 0 if row is rows[0] and look else last.step))
                break
    if not found or not failing:
        return
    layer, rank, before, step = found[0]
    i = flow.layers.index(layer)
    cosine = flow.looks[0].layers[i].get("correlation")
    gain = float(early(flow, "W.rms")[i])
    rows = [
        *((f"effective rank of what {x.label} gives", r, f"near that of what goes in, {show(b)}") for x, r, b, _ in found),
        ("mean cosine between examples", cosine, "well below 1"),
    ]
    if math.isfinite(gain):
        rows.append((f"RMS of W in layer {layer.number}", gain, None))
    yield rule.found(
        "warning",
        f"What layer {layer.number} gives has an effective rank of {show(rank)} of {show(before)} that go in: for the layers "
        "after it nearly all examples look the same.",
        rows,
        [R.normalise(flow, "BatchNorm"), R.add_residual(flow), R.other_initialiser(flow, "orthogonal")],
        layers=[x for x, *_ in found],
        step=step,
    )
