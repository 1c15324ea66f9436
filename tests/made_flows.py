"""Records of trainings that never took place: healthy unless told, so that one thing at a time can be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow.flow import Flow, FlowLayer, Look
from undertow.flow.record import SCALARS, STATS


def made_layers(n: int, width: int, activation: str, n_out: int = 10) -> tuple[FlowLayer, ...]:
    """Dense layers, one after the other; the last has no activation."""
    found = []
    for i in range(n):
        last = i == n - 1
        out = n_out if last else width
        path = f"layers[{2 * i}]"
        found.append(
            FlowLayer(
                i + 1, path, f"Dense({width}, {out})", "Dense", path if last else f"layers[{2 * i + 1}]",
                None if last else activation, (out,), width, out, f"{path}.W", f"{path}.b",
            )
        )  # fmt: skip
    return tuple(found)


def made_look(layers: tuple[FlowLayer, ...], step: int, loss: float, changes: dict[int, dict[str, Any]]) -> Look:
    """A look at a healthy network, with other numbers for some layers."""
    rows = []
    for i, layer in enumerate(layers):
        relu, flat = layer.activation == "relu", layer.activation in ("tanh", "sigmoid")
        rows.append({
            "histograms": {}, "units": layer.shape[0], "dead": 0 if relu else None, "dead_units": [],
            "saturated_units": 0 if flat else None, "saturated": 0.02 if flat else None, "zeros": 0.5,
            "rank": 8.0, "rank_of_input": 8.0, "constant_units": 0, "identical": 0, "z_rms": 1.0, "h_rms": 0.7,
            "delta_rms": 0.01, "dW_rms": 0.01, "W_rms": 0.2, "h_mean": 0.3, "correlation": 0.5,
            **changes.get(i, {}),
        })  # fmt: skip
    return Look(step, 0 if step == 0 else 1, 512, loss, 20.0, rows)


def made_flow(
    n: int = 4, *, width: int = 32, activation: str = "relu", loss: Any = None, delta: Any = None,
    stats: dict[str, Any] | None = None, first: dict[int, dict[str, Any]] | None = None,
    last: dict[int, dict[str, Any]] | None = None, facts: dict[str, Any] | None = None, **settings: Any,
) -> Flow:  # fmt: skip
    """Make a record.

    Args:
        n: layers.
        width: of the hidden ones.
        activation: after each but the last.
        loss: of each step; falls from ln 10 unless given.
        delta: ‖δ‖ of each layer, (n,) or (steps, n); the same in all unless given.
        stats: what replaces other numbers, by name: (n,) or (steps, n).
        first, last: what replaces numbers of layers at the two looks.
        facts: what replaces facts; ``output``, ``target`` and ``columns`` are merged.
        **settings: what replaces settings.
    """
    layers = made_layers(n, width, activation)
    curve = np.log(10) * np.exp(-np.arange(100) / 30) + 0.05 if loss is None else np.asarray(loss, float)
    s = len(curve)
    root = np.sqrt([layer.shape[0] for layer in layers])
    numbers = {
        "z.rms": 1.0, "z.mean": 0.0, "z.max": 3.0, "h.rms": 0.7, "h.mean": 0.3, "h.max": 3.0, "dW.rms": 0.01,
        "W.rms": np.sqrt(2 / width), "W.max": 0.6, "ratio": 4e-3, "zeros": 0.5,
        "nonfinite": 0.0, "saturated": 0.02 if activation in ("tanh", "sigmoid") else np.nan,
        "delta.rms": np.broadcast_to(np.ones(n) * 0.03 if delta is None else delta, (s, n)) / root, **(stats or {}),
    }  # fmt: skip
    numbers.setdefault("update.rms", np.asarray(numbers["ratio"]) * numbers["W.rms"])
    values = np.full((s, len(STATS), n), np.nan, np.float32)
    for name, value in numbers.items():
        values[:, STATS.index(name), :] = value
    steps = np.arange(1, s + 1)
    scalars = {name: np.full(s, 1.0) for name in SCALARS} | {"loss": curve, "rate": np.full(s, 0.01)}
    known = {
        "n_examples": 640, "n_validation": 64, "n_features": width, "shared_rows": 0, "normalised_by_batch": [],
        "batch_size": 64, "smallest_batch": 64,
        "columns": {"constant": [], "n_constant": 0, "largest": 4.0, "worst": 0, "rms": 1.0, "std_median": 1.0,
                    "mean_range": [-0.1, 0.1], "std_range": [0.9, 1.1], "mean_by_std": 0.05},
        "target": {"kind": "classes", "n_classes": 10, "counts": [64] * 10, "priors": [0.1] * 10},
        "output": {"activation": None, "loss": "categorical_cross_entropy_with_logits", "logits": True,
                   "expected_loss": np.log(10), "uniform_loss": np.log(10), "initial_loss": float(curve[0]),
                   "output_rms": 0.7},
    }  # fmt: skip
    for name, value in (facts or {}).items():
        known[name] = {**known[name], **value} if name in ("columns", "target", "output") else value
    told = {
        "loss": "categorical_cross_entropy_with_logits", "task": "categorical", "logits": True, "clip": None,
        "optimizer": {"name": "sgd", "rate": 0.01}, "epochs": 10, "batch_size": 64, "example_shape": [width],
        **settings,
    }  # fmt: skip
    history = [{"epoch": i + 1, "loss": float(part.mean())} for i, part in enumerate(np.array_split(curve, min(10, s)))]
    begin = {
        i: {name.replace(".", "_"): float(values[0, STATS.index(name), i]) for name in ("delta.rms", "W.rms", "z.rms")}
        for i in range(n)
    }
    looks = [
        made_look(layers, at, float(loss), {i: {**begin[i], **(changes or {}).get(i, {})} for i in range(n)})
        for at, loss, changes in ((0, curve[0], first), (s, curve[-1], first if last is None else last))
    ]
    return Flow(layers, steps, (steps - 1) // 10 + 1, scalars, values, looks, known, told, history, "finished")
