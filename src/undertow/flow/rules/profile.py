"""How large the gradient is along the stream of a network, from its first layer to its last."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow.flow.layers import FlowLayer
from undertow.flow.products import KIND as PRODUCT
from undertow.flow.products import by_layers
from undertow.flow.record import Flow
from undertow.flow.rules.measures import Array, carriers, norms, stream


@dataclass(frozen=True)
class Profile:
    """How large the gradient is along the stream.

    Attributes:
        layers: the entries that can be compared, first to last.
        sizes: ‖δ‖ of an example in each: RMS · √units.
        W: RMS of the weights of each; NaN where it has none.
        ratio: the first size by that of the last layer before the output: a small or large output layer is no trend.
        factor: of one layer, the geometric mean on that way.
        whole: the first size by that of the output.
        steps: log10 of ``ratio`` at each recorded step.
        normalised: the kind of normalisation behind most of the layers, or "".
        blocks: of how many blocks that add to what passes the layers are, one of each.
    """

    layers: list[FlowLayer]
    sizes: Array
    W: Array
    ratio: float
    factor: float
    whole: float
    steps: Array
    normalised: str = ""
    blocks: int = 0


def profile_of(flow: Flow, measure: Callable[[Flow, str], Array], fewest: float) -> Profile | None:
    """Measure the profile; None where too few layers can be compared, or nothing flows.

    Args:
        flow: the record.
        measure: when: `early` or `at_first_look`.
        fewest: layers.
    """
    sizes = norms(flow, measure(flow, "delta.rms"))
    chosen = stream(flow)
    places = carriers(flow, chosen)
    chosen = [i for i, k in zip(chosen, places, strict=True) if not math.isnan(sizes[k])]
    places = [k for k in places if not math.isnan(sizes[k])]
    if len(chosen) < max(fewest, 3) or not sizes[places[-1]] > 0:
        return None
    return _profile(flow, measure, chosen, places)


def _profile(
    flow: Flow, measure: Callable[[Flow, str], Array], chosen: list[int], places: list[int], blocks: int = 0
) -> Profile:
    """The profile of some layers, whose gradients are read at these places."""
    sizes = norms(flow, measure(flow, "delta.rms"))[places]
    delta = norms(flow, flow.stat("delta.rms").astype(np.float64))[:, places]
    with np.errstate(all="ignore"):
        steps = np.log10(delta[:, 0] / delta[:, -2])
        ratio, whole = (float(sizes[0] / sizes[k]) for k in (-2, -1))
        if sizes[-2] == 0:
            ratio = 1.0
    factor = ratio ** (1 / (len(chosen) - 2)) if math.isfinite(ratio) else math.inf
    layers = [flow.layers[i] for i in chosen]
    behind = [flow.layers[k].kind for i, k in zip(chosen, places, strict=True) if k != i]
    most = max(set(behind), key=behind.count) if 2 * len(behind) > len(chosen) else ""
    W = by_layers(flow, measure(flow, "W.rms"))[chosen]
    return Profile(layers, sizes, W, ratio, factor, whole, steps, most, blocks)


def profile_of_blocks(flow: Flow, measure: Callable[[Flow, str], Array], fewest: float) -> Profile | None:
    """Measure the profile of a loop of one's own whose layers stand in residual blocks, which pass what they are given.

    Of layers that are alike there is one in each block, so the gradients in them are as that of the stream there. Where
    a block has several, as queries, keys and values are, what reads parameters of the same name but for numbers is
    alike, and that kind counts by which the gradient grows least: what it does on the stream it does in all of them.

    Args:
        flow: the record.
        measure: when: `early` or `at_first_look`.
        fewest: blocks.

    Returns:
        The profile; None where there are too few such layers, or nothing flows.

    Source: derived here.
    """
    groups: dict[Any, list[int]] = {}
    roles = [re.sub(r"\d+", "", layer.reads or "") for layer in flow.layers]
    for i, layer in enumerate(flow.layers):
        if layer.kind == PRODUCT and layer.within is not None and layer.turn is None:
            role = roles[i] if roles.count(roles[i]) > 1 else ""  # names that come once tell no kinds
            groups.setdefault((layer.fan_in, layer.fan_out, layer.activation, role), []).append(i)
    sizes = measure(flow, "delta.rms")
    fit = [x for x in groups.values() if len(x) >= fewest and np.isfinite(sizes[x]).all() and sizes[x].min() > 0]
    most = max(map(len, fit), default=0)
    found = [_profile(flow, measure, x, x, blocks=len(x)) for x in fit if len(x) == most]
    return min(found, key=lambda x: x.ratio, default=None)
