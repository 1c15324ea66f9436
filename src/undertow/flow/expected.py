"""What is expected of a layer: theory and measurement side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from undertow.flow.layers import FlowLayer


class Pair(NamedTuple):
    """A number as theory has it, and as the untrained pass gave it; NaN where it cannot be had.

    Attributes:
        predicted: by mean-field theory.
        measured: with these weights, on these examples.
    """

    predicted: float
    measured: float

    @property
    def best(self) -> float:
        """What was measured; where it is beyond what float32 holds, what theory says."""
        tiny = self.measured == 0 and 0 < self.predicted < 1e-18
        return self.measured if math.isfinite(self.measured) and not tiny else self.predicted


@dataclass(frozen=True)
class LayerForecast:
    """What is expected of a layer.

    Attributes:
        layer: which one.
        z: root mean square of what it gives.
        h: the same after its activation.
        chi: by how much the square of the length of δ changes on its way here from the next layer of the main path;
            NaN for the last layer, and within a block.
        delta: root mean square of δ = ∂L/∂z, by that of the last layer.
        length: |δ| of an example, all units together, by that of the last layer.
        cosine: between the z of different examples, on average.
        sigma_w2: fan_in times the mean square of the weights; NaN where there are none.
        note: why there is no theory for it, or empty.
    """

    layer: FlowLayer
    z: Pair
    h: Pair
    chi: Pair
    delta: Pair
    length: Pair
    cosine: Pair
    sigma_w2: float = math.nan
    note: str = ""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.layer.label
