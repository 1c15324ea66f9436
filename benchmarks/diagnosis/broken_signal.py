"""Networks whose signal or gradient is lost on its way through the layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, fill, makes, network, pick, put

from undertow import nn, optim

Rng = np.random.Generator


def narrow_uniform(shape: Any, rng: Rng, dtype: Any = np.float32) -> Any:
    """U(±1/√n): how weights were drawn before Glorot, whose variance is a third of what keeps a signal."""
    return rng.uniform(-1, 1, shape).astype(dtype) / np.sqrt(np.float32(shape[-2]))


def one_direction(shape: Any, rng: Rng, dtype: Any = np.float32) -> Any:
    """Weights that let one direction of what comes in through."""
    u, v = rng.standard_normal(shape[-2]), rng.standard_normal(shape[-1])
    return (np.outer(u, v) / np.sqrt(shape[-2])).astype(dtype)


FOLLOWS = "rank-collapse plateau step-too-small identical-units"


@makes("vanishing")
def vanishing(rng: Rng) -> Iterator[Case]:
    """The gradient shrinks by a factor in every layer, or by a large one in one of them."""
    for activation, depth, init in (
        ("sigmoid", 10, "auto"),
        ("sigmoid", 20, "auto"),
        ("sigmoid", 8, narrow_uniform),
        ("tanh", 20, narrow_uniform),
        ("tanh", 12, nn.normal(deviation=0.02)),
        ("relu", 10, nn.normal(deviation=0.05)),
        ("relu", 20, "glorot_uniform"),
        ("gelu", 12, nn.uniform(limit=0.1)),
        ("softsign", 15, narrow_uniform),
        ("elu", 15, nn.normal(deviation=0.03)),
        ("hard_sigmoid", 8, "auto"),
    ):
        task = pick(rng, data.MANY)(rng, 500) if depth < 20 else data.digits(rng, 500)
        width = pick(rng, (24, 32))
        settings = {"optimizer": optim.adam(between(rng, 5e-4, 2e-3)), "batch_size": 32, "epochs": 8}
        if pick(rng, (0, 0, 1)):
            settings["optimizer"] = optim.momentum(between(rng, 0.01, 0.03))
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation, init=init),
            settings,
            "vanishing",
            FOLLOWS,
            what=f"{depth} × {width} {activation}, small weights"
            if init != "auto"
            else f"{depth} × {width} {activation}",
            model=network(task.n_in, [width] * 3, task.n_out, "relu"),
        )
    for activation, place, depth in (("tanh", 4, 4), ("relu", 2, 3), ("gelu", 4, 5)):
        task = data.digits(rng)
        model = network(task.n_in, [32] * depth, 10, activation)
        weak = model
        for at in (place, place + 2):  # a single one would soon grow
            weak = put(weak, at, nn.Dense(32, model.layers[at].fan_out, init=nn.normal(deviation=1e-6)))
        settings = {"optimizer": optim.sgd(0.05), "batch_size": 32, "epochs": 8}
        yield broken(
            task,
            weak,
            settings,
            "vanishing",
            FOLLOWS,
            (f"layers[{place}]", f"layers[{place + 2}]"),
            f"two layers of tiny weights, {depth} × 32 {activation}",
            model=model,
        )


@makes("exploding")
def exploding(rng: Rng) -> Iterator[Case]:
    """Signal and gradient grow by a factor in every layer, or by a large one in one of them."""
    may = (
        "initial-loss step-too-large non-finite dead-units born-dead-layer oscillation saturation plateau rank-collapse"
    )
    may += " always-clipped over-fitting"
    for activation, depth, deviation in (
        ("relu", 8, 0.8),
        ("relu", 15, 0.5),
        ("leaky_relu", 10, 0.6),
        ("elu", 8, 0.7),
        ("gelu", 12, 0.6),
        ("silu", 10, 0.9),
        ("identity", 10, 0.5),
    ):
        task = pick(rng, (data.digits, data.blobs, data.friedman))(rng, 500)
        settings: dict[str, Any] = {"optimizer": optim.sgd(between(rng, 1e-3, 1e-2)), "batch_size": 32, "epochs": 8}
        if pick(rng, (0, 1)):
            settings["optimizer"] = optim.adam(1e-3)
        model = network(task.n_in, [32] * depth, task.n_out, activation, init=nn.normal(deviation=deviation))
        yield broken(
            task,
            model,
            settings,
            "exploding",
            may,
            what=f"{depth} × 32 {activation}, weights of {deviation}",
            model=network(task.n_in, [32] * 3, task.n_out, "relu"),
        )
    task = data.digits(rng, 500)
    blocks = [nn.Residual(nn.Dense(24, 24), "relu", nn.Dense(24, 24)) for _ in range(16)]
    steady = [nn.Residual(nn.LayerNorm(24), nn.Dense(24, 24), "relu", nn.Dense(24, 24), scale=0.25) for _ in range(6)]
    settings = {"optimizer": optim.momentum(0.01), "batch_size": 32, "epochs": 6}
    yield broken(
        task,
        nn.Sequential(nn.Dense(task.n_in, 24), *blocks, nn.Dense(24, 10)),
        settings,
        "exploding",
        may,
        what="16 residual blocks that are not scaled",
        model=nn.Sequential(nn.Dense(task.n_in, 24), *steady, nn.Dense(24, 10)),
    )
    for activation, place, deviation in (("relu", 2, 60.0), ("leaky_relu", 4, 80.0), ("silu", 4, 50.0)):
        task = data.digits(rng)
        model = network(task.n_in, [32] * 4, 10, activation)
        strong = put(model, place, nn.Dense(32, 32, init=nn.normal(deviation=deviation)))
        settings = {"optimizer": optim.sgd(0.03), "batch_size": 32, "epochs": 8}
        yield broken(
            task,
            strong,
            settings,
            "exploding",
            may,
            f"layers[{place}]",
            f"one layer of huge weights, 4 × 32 {activation}",
            model=model,
        )


@makes("rank-collapse")
def rank_collapse(rng: Rng) -> Iterator[Case]:
    """What a layer gives for all examples lies nearly on a line."""
    may = "vanishing plateau dead-units step-too-small born-dead-layer"
    for activation, place, depth in (
        ("tanh", 2, 3),
        ("relu", 2, 4),
        ("gelu", 4, 4),
        ("leaky_relu", 0, 2),
        ("tanh", 4, 4),
    ):
        task = pick(rng, (data.digits, data.blobs))(rng)
        model = network(task.n_in, [32] * depth, task.n_out, activation)
        flat = put(model, place, nn.Dense(model.layers[place].fan_in, 32, init=one_direction))
        settings = {"optimizer": optim.sgd(between(rng, 0.015, 0.025)), "batch_size": 32, "epochs": 5}
        yield broken(
            task,
            flat,
            settings,
            "rank-collapse",
            may + " saturation",
            f"layers[{place}]",
            f"weights of rank 1, {depth} × 32 {activation}",
            model=model,
        )
    yield from _narrow(rng, may)


def _narrow(rng: Rng, may: str) -> Iterator[Case]:
    """Bottlenecks, depth, and biases beside which the signal is nothing."""
    for activation in ("tanh", "relu"):
        task = pick(rng, (data.digits, data.blobs))(rng)
        layers = [nn.Dense(task.n_in, 32), activation, nn.Dense(32, 1), activation, nn.Dense(1, 32), activation]
        model = nn.Sequential(*layers, nn.Dense(32, task.n_out))
        settings = {"optimizer": optim.adam(2e-3), "batch_size": 32, "epochs": 12}
        yield broken(
            task,
            model,
            settings,
            "rank-collapse",
            may + " identical-units",
            ("layers[2]", "layers[4]"),
            f"a bottleneck of one unit, {activation}",
            model=network(task.n_in, [32, 16, 32], task.n_out, activation),
        )
    for activation, depth in (("relu", 30), ("identity", 30)):
        task = data.digits(rng, 400)
        model = network(
            task.n_in, [24] * depth, 10, activation, init="he_normal" if activation == "relu" else "lecun_normal"
        )
        settings = {"optimizer": optim.adam(1e-4), "batch_size": 32, "epochs": 10}
        yield broken(
            task,
            model,
            settings,
            "rank-collapse",
            may + " exploding initial-loss",
            what=f"{depth} × 24 {activation}",
            model=network(task.n_in, [24] * 4, 10, "relu"),
            optimizer=optim.adam(3e-3),
        )
    task = data.blobs(rng)
    model = network(12, [32, 32, 32], 5, "softplus")
    drowned = put(model, 2, fill(model.layers[2], 0, 300.0))
    yield broken(
        task,
        drowned,
        {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 8},
        "rank-collapse",
        may + " initial-loss exploding step-too-large oscillation",
        "layers[2]",
        "biases of 300, softplus",
        model=model,
    )


@makes("identical-units")
def identical_units(rng: Rng) -> Iterator[Case]:
    """Units that begin equal stay equal."""
    may = "rank-collapse plateau vanishing saturation step-too-small"
    for activation, depth, place, value in (
        ("tanh", 1, 0, 0.1),
        ("relu", 2, 0, 0.05),
        ("sigmoid", 2, 2, 0.0),
        ("gelu", 2, 0, 0.1),
        ("tanh", 3, 4, 0.05),
        ("leaky_relu", 3, 2, 0.03),
        ("silu", 1, 0, 0.1),
        ("elu", 2, 2, 0.02),
    ):
        task = pick(rng, (data.digits, data.blobs, data.teacher, data.rings))(rng)
        width = pick(rng, (16, 24, 32))
        model = network(task.n_in, [width] * depth, task.n_out, activation)
        same = nn.Dense(model.layers[place].fan_in, width, init=nn.constant(value=value))
        settings = {"optimizer": optim.adam(between(rng, 1e-3, 3e-3)), "batch_size": 32, "epochs": 10}
        equal = put(
            put(model, place, same),
            place + 2,
            nn.Dense(width, model.layers[place + 2].fan_out, init=nn.constant(value=0.1)),
        )
        yield broken(
            task,
            equal,
            settings,
            "identical-units",
            may,
            (f"layers[{place}]", f"layers[{place + 2}]"),
            f"constant weights, {depth} × {width} {activation}",
            model=model,
        )
    for activation in ("tanh", "softsign"):
        task = pick(rng, (data.digits, data.friedman))(rng)
        settings = {"optimizer": optim.momentum(0.02), "batch_size": 32, "epochs": 10}
        model = network(task.n_in, [24, 24], task.n_out, activation, init="zeros")
        yield broken(
            task,
            model,
            settings,
            "identical-units",
            may,
            what=f"weights of 0, 2 × 24 {activation}",
            model=network(task.n_in, [24, 24], task.n_out, activation),
        )
