"""Records of trainings that never were: the size of every number is known by a formula."""

import numpy as np

from undertow.flow.layers import FlowLayer
from undertow.flow.record import STATS, Flow, Look


def make_layers(n_layers, width=64):
    last = n_layers - 1
    return tuple(
        FlowLayer(
            number=i + 1,
            path=f"layers[{2 * i}]",
            name=f"Dense({width}, {10 if i == last else width})",
            kind="Dense",
            h_path=f"layers[{2 * i + (i < last)}]",
            activation="tanh" if i < last else None,
            shape=(10 if i == last else width,),
            fan_in=width,
            fan_out=10 if i == last else width,
            weights=f"layers[{2 * i}].W",
            bias=f"layers[{2 * i}].b",
        )
        for i in range(n_layers)
    )


def make_histogram(rng, scale, n=2000):
    counts, edges = np.histogram(rng.normal(scale=scale, size=n), bins=40)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def make_look(rng, layers, step, epoch, fade):
    entries = []
    for i, layer in enumerate(layers):
        depth = len(layers) - 1 - i
        scales = {"z": 1.0, "h": 0.6, "delta": 1e-3 * fade**depth, "W": 0.1, "dW": 1e-2 * fade**depth}
        dead = 3 if i == 1 else 0
        entries.append(
            {
                "histograms": {name: make_histogram(rng, scale) for name, scale in scales.items()},
                "units": layer.fan_out, "dead": dead, "dead_units": list(range(dead)), "saturated_units": 1,
                "zeros": 0.0, "saturated": 0.1, "rank": 30.0 / (1 + i), "rank_of_input": 31.0 / (1 + i),
                "constant_units": 0, "identical": 0, "z_rms": 1.0, "h_rms": 0.6, "delta_rms": scales["delta"],
                "dW_rms": scales["dW"], "W_rms": 0.1, "h_mean": 0.01, "correlation": 0.2,
            }
        )  # fmt: skip
    return Look(step, epoch, 512, 2.3 / (1 + epoch), 40.0 + epoch, entries)


def make_flow(n_steps=300, n_layers=12, n_epochs=6, fade=0.5, seed=0):
    """A record in which delta shrinks by `fade` from each layer to the one before it, and learning lessens that."""
    rng = np.random.default_rng(seed)
    layers = make_layers(n_layers)
    steps = np.arange(1, n_steps + 1)
    epochs = 1 + (steps - 1) * n_epochs // max(n_steps, 1)
    share = (steps / max(n_steps, 1))[:, None]
    depth = np.arange(n_layers - 1, -1, -1)[None, :]
    noise = np.exp(0.2 * rng.standard_normal((n_steps, n_layers)))
    factors = 10.0 ** (np.log10(fade) * (1 - 0.6 * share) * depth) * noise
    values = np.full((n_steps, len(STATS), n_layers), np.nan, np.float32)
    for name, size in {"z": 1.0, "h": 0.6, "delta": 1e-3, "dW": 1e-2, "db": 1e-2, "W": 0.1, "update": 1e-4}.items():
        rms = size * (factors if name in ("delta", "dW", "db") else noise)
        values[:, STATS.index(f"{name}.rms")] = rms
        values[:, STATS.index(f"{name}.mean")] = 0.1 * rms
        values[:, STATS.index(f"{name}.max")] = 4 * rms
    values[:, STATS.index("ratio")] = 1e-3 * noise
    values[:, STATS.index("zeros")] = 0.0
    values[:, STATS.index("saturated")] = np.clip(0.3 * noise * share, 0, 1)
    values[:, STATS.index("saturated"), -1] = np.nan  # the last layer has no activation
    values[:, STATS.index("nonfinite")] = 0
    loss = 2.3 * np.exp(-2 * steps / max(n_steps, 1)) * np.exp(0.05 * rng.standard_normal(n_steps))
    scalars = {
        "loss": loss,
        "rate": np.full(n_steps, 1e-3),
        "grad_norm": 0.5 * loss,
        "clip": np.minimum(1.0, 0.5 / np.maximum(0.5 * loss, 1e-9)),
        "update_norm": np.full(n_steps, 1e-2),
        "weight_norm": np.full(n_steps, 8.0),
    }
    at_ends = [0, *(e for e in (1, 2, 4, 8, 16, 32) if e <= n_epochs), n_epochs]
    looks = [make_look(rng, layers, e * n_steps // n_epochs, e, fade) for e in dict.fromkeys(at_ends)]
    per_epoch = [
        {
            "epoch": e,
            "step": e * n_steps // n_epochs,
            "loss": 2.3 * np.exp(-2 * e / n_epochs),
            "accuracy": 1 - 0.9 * np.exp(-2 * e / n_epochs),
            "validation_loss": 2.35 * np.exp(-1.6 * e / n_epochs),
            "validation_accuracy": 1 - 0.9 * np.exp(-1.6 * e / n_epochs),
            "seconds": 0.5 * e,
            "examples_per_second": 20000.0,
        }
        for e in range(1, n_epochs + 1)
    ]
    settings = {
        "loss": "categorical_cross_entropy_with_logits", "task": "categorical", "logits": True, "loss_settings": {},
        "optimizer": {"name": "adam", "rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08},
        "clip": {"name": "clip_by_global_norm", "limit": 0.5}, "epochs": n_epochs, "batch_size": 64, "seed": 0,
        "validation": 0.1, "dtype": "float32", "metrics": ["accuracy"], "n_examples": 4500, "n_validation": 500,
    }  # fmt: skip
    return Flow(layers, steps, epochs, scalars, values, looks, {}, settings, per_epoch, "finished")
