"""What is measured in every step of a training: the numbers of which a record is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from undertow.compile.statistics import Measure
from undertow.flow.layers import FlowLayer
from undertow.flow.record import FLAT
from undertow.train.step import Observer

BASIC: Final = ("ss", "s", "max")
SMALL: Final = 32  # gradients are multiplied by 2 to this power before they are squared: of 1e-29 to 4e9


def make_observer(layers: Sequence[FlowLayer]) -> Observer:
    """Make the observer of a step that measures these layers.

    Args:
        layers: made by `read_layers`.

    Returns:
        A function for `make_step`. What it measures is named ``"0.delta.ss"``: the place of the layer, from 0; z, h,
        delta, dW, db, W (before the update) or update; ss (sum of squares), s (sum), max (largest magnitude; not
        finite where an element is not). Of h also flat (how many elements lie in the flat parts of the activation), or
        where it has none, zeros (how many are 0). Where h is z, there is no ``"0.h.ss"``.

    Source: derived here.

    Example:
        >>> layer = FlowLayer(1, "layers[0]", "Dense(2, 1)", "Dense", "layers[0]", weights="layers[0].W")
        >>> W = np.array([[3.0], [4.0]])
        >>> found = make_observer([layer])({}, {"layers[0].W": W}, {"layers[0].W": W}, {"layers[0].W": 2 * W})
        >>> list(found)
        ['0.dW', '0.W', '0.update']
    """

    def observe(
        seen: dict[str, Any], grads: dict[str, Any], params: dict[str, Any], new: dict[str, Any]
    ) -> dict[str, Measure]:
        found: dict[str, Measure] = {}
        reached = any(layer.kind == "parameter" for layer in layers)
        for i, layer in enumerate(layers):
            reached = reached or layer.weights is not None  # else nothing before it is trained, and asks for a delta
            if layer.path in seen and layer.kind != "parameter":  # its name may be that of a watched value
                z, delta = seen[layer.path]
                found[f"{i}.z"] = Measure(z)
                if layer.h_path in seen and layer.h_path != layer.path:
                    h, flat = seen[layer.h_path][0], FLAT.get(layer.activation or "")
                    found[f"{i}.h"] = (
                        Measure(h, (*BASIC, "zeros")) if flat is None else Measure(h, (*BASIC, "flat"), flat)
                    )
                if reached:
                    found[f"{i}.delta"] = Measure(delta, BASIC, shift=SMALL)
            for name, path in (("dW", layer.weights), ("db", layer.bias)):
                if path in grads:
                    found[f"{i}.{name}"] = Measure(grads[path], BASIC, shift=SMALL)
            if layer.weights in params:
                old = params[layer.weights]
                found[f"{i}.W"] = Measure(old)
                found[f"{i}.update"] = Measure(np.subtract(new[layer.weights], old), BASIC, shift=SMALL)
        return {name: x for name, x in found.items() if getattr(x.array, "dtype", None) in (np.float32, np.float64)}

    return observe
