"""Networks of which units are dead, stuck or not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, fill, makes, network, pick, put

from undertow import nn, optim

Rng = np.random.Generator


def below_zero(shape: Any, rng: Rng, dtype: Any = np.float32) -> Any:
    """Weights that are all negative."""
    return -np.abs(rng.standard_normal(shape) * np.sqrt(2 / shape[-2])).astype(dtype)


@makes("dead-units")
def dead_units(rng: Rng) -> Iterator[Case]:
    """Many units of a layer give 0 for every example."""
    may = "plateau vanishing rank-collapse"
    for activation, share, place, depth in (("relu", 0.6, 0, 2), ("relu", 0.75, 2, 3), ("relu6", 0.6, 2, 2)):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng)
        model = network(task.n_in, [32] * depth, task.n_out, activation)
        bias = np.where(rng.uniform(size=32) < share, -30.0, 0.0)
        settings = {"optimizer": optim.sgd(0.05), "batch_size": 32, "epochs": 6}
        yield broken(
            task,
            put(model, place, fill(model.layers[place], 0, bias)),
            settings,
            "dead-units",
            may,
            f"layers[{place}]",
            f"biases of −30 in {share:.0%} of a layer, {depth} × 32 {activation}",
            model=model,
            worse="seen",
        )
    may += " step-too-large oscillation born-dead-layer exploding initial-loss over-fitting"
    for activation, rule, rate, depth in (
        ("relu", optim.adam, 0.15, 2),
        ("relu", optim.adam, 0.1, 4),
        ("relu", optim.rmsprop, 0.1, 3),
        ("relu6", optim.adam, 0.2, 2),
        ("relu", optim.adamw, 0.2, 3),
        ("relu", optim.lion, 0.03, 3),
    ):
        task = pick(rng, (data.digits, data.blobs, data.friedman))(rng)
        width = pick(rng, (24, 32))
        settings = {"optimizer": rule(rate * between(rng, 0.8, 1.25)), "batch_size": 32, "epochs": 10}
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation),
            settings,
            "dead-units",
            may,
            what=f"{rule.__name__} at {rate}, {depth} × {width} {activation}",
            worse="seen",
            optimizer=optim.lion(3e-4) if rule is optim.lion else rule(2e-3),
        )


@makes("born-dead-layer")
def born_dead_layer(rng: Rng) -> Iterator[Case]:
    """A whole layer gives 0 for every example, from the first step on: nothing below it learns."""
    may = "dead-units vanishing plateau rank-collapse step-too-small"
    for activation, place, depth, bias in (
        ("relu", 0, 1, -50.0),
        ("relu", 2, 2, -20.0),
        ("relu", 4, 3, -30.0),
        ("relu6", 2, 3, -100.0),
        ("relu", 6, 5, -15.0),
    ):
        task = pick(rng, (*data.MANY, data.friedman))(rng)
        width = pick(rng, (16, 32))
        model = network(task.n_in, [width] * depth, task.n_out, activation)
        rule = pick(rng, (optim.adam(1e-3), optim.sgd(0.03), optim.momentum(0.01)))
        yield broken(
            task,
            put(model, place, fill(model.layers[place], 0, bias)),
            {"optimizer": rule, "batch_size": 32, "epochs": 10},
            "born-dead-layer",
            may,
            f"layers[{place}]",
            f"biases of {bias:g}, {depth} × {width} {activation}",
            model=model,
        )
    for activation, first in (("relu", "sigmoid"), ("relu", "relu"), ("relu6", "softplus")):
        task = pick(rng, data.MANY)(rng)
        layers = [nn.Dense(task.n_in, 32), first, nn.Dense(32, 32), activation, nn.Dense(32, task.n_out)]
        model = nn.Sequential(*layers)
        yield broken(
            task,
            put(model, 2, nn.Dense(32, 32, init=below_zero)),
            {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 10},
            "born-dead-layer",
            may,
            "layers[2]",
            f"negative weights after {first}, {activation}",
            model=model,
        )


@makes("saturation")
def saturation(rng: Rng) -> Iterator[Case]:
    """Most units lie in the flat parts of their activation."""
    may = "vanishing exploding plateau rank-collapse over-fitting step-too-small"
    for activation, depth, deviation in (
        ("tanh", 2, 3.0),
        ("tanh", 4, 2.0),
        ("sigmoid", 2, 8.0),
        ("hard_tanh", 3, 2.0),
        ("lecun_tanh", 2, 3.0),
        ("softsign", 2, 20.0),
    ):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng)
        width = pick(rng, (24, 32))
        model = network(task.n_in, [width] * depth, task.n_out, activation, init=nn.normal(deviation=deviation))
        rule = pick(rng, (optim.adam(1e-3), optim.sgd(0.02)))
        yield broken(
            task,
            model,
            {"optimizer": rule, "batch_size": 32, "epochs": 10},
            "saturation",
            may,
            what=f"weights of {deviation}, {depth} × {width} {activation}",
            model=network(task.n_in, [width] * depth, task.n_out, activation),
        )
    for activation, place, bias in (("tanh", 2, 6.0), ("sigmoid", 0, -12.0), ("tanh", 4, -8.0)):
        task = pick(rng, (data.digits, data.blobs))(rng)
        depth = 1 if activation == "sigmoid" else 3
        model = network(task.n_in, [32] * depth, task.n_out, activation)
        rule = optim.sgd(0.2 if activation == "sigmoid" else 0.02)
        yield broken(
            task,
            put(model, place, fill(model.layers[place], 0, bias)),
            {"optimizer": rule, "batch_size": 32, "epochs": 10},
            "saturation",
            may + " identical-units",
            f"layers[{place}]",
            f"biases of {bias:g} in one layer, {depth} × 32 {activation}",
            model=model,
        )


def _log(h: Any) -> Any:
    return np.log(h)


def _root(h: Any) -> Any:
    return np.sqrt(np.maximum(h, 0))


def _inverse(h: Any) -> Any:
    return 1 / np.maximum(h, 0)


def _exponential(h: Any) -> Any:
    return np.exp(h * h * 90)  # so large that exp itself is not finite, rather than a square of it in the loss


def _power(h: Any) -> Any:
    return h**1.5


def relative_error(p: Any, y: Any) -> Any:
    """The mean of ((p − y) / y)², which no target of 0 allows."""
    return np.mean(((p[:, 0] - y) / y) ** 2)


@makes("non-finite")
def non_finite(rng: Rng) -> Iterator[Case]:
    """A value is not a number, in weights, in a function of the user's, or in the loss."""
    may = "step-too-large exploding dead-units plateau rank-collapse initial-loss"
    functions = (
        ("log of what is below 0", _log),
        ("root of 0", _root),
        ("division by 0", _inverse),
        ("exp of a square", _exponential),
        ("a broken power of what is below 0", _power),
    )
    for i, (what, function) in enumerate(functions):
        task = pick(rng, (data.digits, data.blobs, data.friedman))(rng)
        before = [nn.Dense(task.n_in, 24), "tanh"] if i % 2 else []
        width = 24
        layers = [
            *before,
            nn.Dense(24 if before else task.n_in, width),
            nn.Lambda(function, function.__name__, keeps_width=True),
        ]
        model = nn.Sequential(*layers, nn.Dense(width, task.n_out))
        at = len(layers) - 1
        yield broken(
            task,
            model,
            {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 5},
            "non-finite",
            may,
            (f"layers[{at}]", f"layers[{at - 1}]"),
            what,
            model=put(model, at, nn.ACTIVATIONS["tanh"]),
        )
    for place, value in ((0, np.nan), (2, np.inf), (4, np.nan)):
        task = pick(rng, (data.digits, data.blobs))(rng)
        model = network(task.n_in, [24, 24], task.n_out, "relu")
        filled = nn.initialize(model)
        bad = np.array(filled.layers[place].W)
        bad[tuple(rng.integers(bad.shape))] = value
        layer = nn.Dense(*bad.shape, W=bad)
        yield broken(
            task,
            put(model, place, layer),
            {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 5},
            "non-finite",
            may,
            f"layers[{place}]",
            f"{value} in the weights of layer {place // 2 + 1}",
            model=model,
        )
    task = data.friedman(rng)
    counts = task.with_data(y=np.round(task.y * 2).astype(np.float32))
    yield broken(
        counts,
        network(10, [24], 1, "relu"),
        {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 5, "loss": relative_error},
        "non-finite",
        may,
        what="division by targets of 0 in a loss of one's own",
        loss="mean_squared_error",
    )
