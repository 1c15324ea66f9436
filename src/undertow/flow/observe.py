"""What a step measures of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.flow.layers import FlowLayer
from undertow.flow.record import FLAT
from undertow.train.step import Observer


def make_observer(layers: Sequence[FlowLayer]) -> Observer:
    """Make the function that a step calls to measure its layers."""

    def observe(seen: Any, grads: Any, params: Any, new: Any) -> dict[str, Any]:
        told: dict[str, Any] = {}

        def measure(name: str, x: Any) -> None:
            add = np.mean
            told[f"{name}.ss"] = add(x * x)
            told[f"{name}.s"] = add(x)
            told[f"{name}.max"] = np.max(np.abs(x))

        for i, layer in enumerate(layers):
            if layer.path in seen and layer.kind != "parameter":
                z, delta = seen[layer.path]
                measure(f"{i}.z", z)
                measure(f"{i}.delta", delta)
                h, name = (z, "z") if layer.h_path == layer.path else (seen[layer.h_path][0], "h")
                if name == "h":
                    measure(f"{i}.h", h)
                told[f"{i}.{name}.zeros"] = np.mean(h == 0)
                if layer.activation in FLAT:
                    low, high = FLAT[layer.activation]
                    told[f"{i}.{name}.flat"] = np.mean((h < low) | (h > high))
            if layer.weights in params:
                measure(f"{i}.W", params[layer.weights])
                measure(f"{i}.dW", grads[layer.weights])
                measure(f"{i}.update", new[layer.weights] - params[layer.weights])
            if layer.bias in params:
                measure(f"{i}.db", grads[layer.bias])
        return told

    return observe
