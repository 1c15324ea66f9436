"""Networks that are trained with steps of the wrong size, for too long, or with too little data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, makes, network, pick

from undertow import nn, optim

Rng = np.random.Generator


@makes("step-too-large")
def step_too_large(rng: Rng) -> Iterator[Case]:
    """The loss grows, or jumps about far above what a smaller rate reaches."""
    may = "oscillation exploding dead-units born-dead-layer saturation non-finite plateau rank-collapse initial-loss"
    may += " over-fitting vanishing identical-units"
    for rule, rate, usual, activation, depth in (
        (optim.sgd, 8.0, 0.05, "relu", 2),
        (optim.sgd, 20.0, 0.05, "tanh", 1),
        (optim.momentum, 1.5, 0.02, "relu", 3),
        (optim.adam, 0.5, 2e-3, "tanh", 2),
        (optim.adam, 1.0, 2e-3, "gelu", 3),
        (optim.rmsprop, 0.3, 1e-3, "silu", 2),
        (optim.nesterov, 2.0, 0.02, "elu", 2),
        (optim.lion, 0.1, 3e-3, "tanh", 2),
    ):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng)
        width = pick(rng, (16, 32))
        rate *= between(rng, 0.8, 1.25)
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation),
            {"optimizer": rule(rate), "batch_size": 32, "epochs": 10},
            "step-too-large",
            may,
            what=f"{rule.__name__} at {rate:.2g}, {depth} × {width} {activation}",
            optimizer=rule(usual),
        )
    for make_task, rate, hidden in ((data.linear, 1.5, []), (data.friedman, 1.0, [32]), (data.several, 0.8, [16, 16])):
        task = make_task(rng)
        yield broken(
            task,
            network(task.n_in, list(hidden), task.n_out, "tanh"),
            {"optimizer": optim.sgd(rate * between(rng, 0.9, 1.2)), "batch_size": 32, "epochs": 10},
            "step-too-large",
            may,
            what=f"sgd at {rate:g}, squared error, {len(hidden)} hidden layers",
            optimizer=optim.sgd(0.02),
        )


@makes("step-too-small")
def step_too_small(rng: Rng) -> Iterator[Case]:
    """The weights hardly move in the whole training."""
    for rule, rate, usual, activation, depth in (
        (optim.adam, 1e-7, 2e-3, "relu", 2),
        (optim.adam, 1e-6, 2e-3, "tanh", 1),
        (optim.sgd, 1e-6, 0.05, "relu", 3),
        (optim.sgd, 1e-5, 0.05, "gelu", 2),
        (optim.momentum, 1e-6, 0.02, "tanh", 4),
        (optim.rmsprop, 1e-7, 1e-3, "elu", 2),
        (optim.adamw, 5e-7, 2e-3, "silu", 1),
        (optim.lion, 1e-8, 3e-4, "relu", 2),
    ):
        task = pick(rng, data.ALL)(rng)
        width = pick(rng, (16, 32, 48))
        if not task.classifies and rule in (optim.sgd, optim.momentum):
            usual /= 3
        rate *= between(rng, 0.7, 1.4)
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation),
            {"optimizer": rule(rate), "batch_size": 32, "epochs": 12},
            "step-too-small",
            "plateau",
            what=f"{rule.__name__} at {rate:.2g}, {depth} × {width} {activation}",
            optimizer=rule(usual),
        )


@makes("oscillation")
def oscillation(rng: Rng) -> Iterator[Case]:
    """The loss goes up and down, step after step, above what a calmer training reaches."""
    may = "step-too-large plateau dead-units over-fitting exploding"
    for make_task, hidden, activation, rule, rate, beta, usual in (
        (data.linear, [], "tanh", optim.momentum, 0.1, 0.99, optim.momentum(0.02)),
        (data.diabetes, [], "tanh", optim.momentum, 0.25, 0.99, optim.momentum(0.02)),
        (data.friedman, [16], "tanh", optim.momentum, 0.07, 0.99, optim.momentum(0.03)),
        (data.several, [24], "tanh", optim.momentum, 0.07, 0.99, optim.momentum(0.03)),
        (data.linear, [16], "gelu", optim.momentum, 0.05, 0.99, optim.momentum(0.02)),
        (data.several, [], "tanh", optim.adam, 1.0, 0.95, optim.adam(0.05)),
        (data.diabetes, [], "tanh", optim.adam, 1.0, 0.97, optim.adam(0.05)),
        (data.friedman, [24, 24], "silu", optim.momentum, 0.04, 0.99, optim.momentum(0.02)),
    ):
        task = make_task(rng, 400)
        rate *= between(rng, 0.9, 1.1)
        settings = {"optimizer": rule(rate, beta), "batch_size": 400, "epochs": 60}
        yield broken(
            task,
            network(task.n_in, list(hidden), task.n_out, activation),
            settings,
            "oscillation",
            may,
            what=f"{rule.__name__} {beta} at {rate:.2g}, all rows a step, {len(hidden)} hidden layers",
            optimizer=usual,
        )


@makes("plateau")
def plateau(rng: Rng) -> Iterator[Case]:
    """The loss stands still where it began, or soon after, far above what can be reached."""
    task = data.digits(rng)
    shuffled = task.with_data(y=rng.permutation(task.y))
    adam = {"optimizer": optim.adam(1e-3), "batch_size": 32, "epochs": 6}
    yield broken(
        shuffled,
        network(task.n_in, [8], 10, "tanh"),
        {**adam, "optimizer": optim.sgd(0.01)},
        "plateau",
        "over-fitting",
        what="labels that belong to other rows",
        data=task.data,
    )
    for bits, width in ((10, 16), (12, 24)):
        codes = rng.permutation(2**bits)[:700]
        X = ((codes[:, None] >> np.arange(bits)) & 1).astype(np.float32) * 2 - 1
        parity = data.Task("parity", X, (np.prod(X, axis=1) > 0).astype(np.int64), 2, data.CATEGORICAL)
        easy = ((X[:, 0] > 0) | (X[:, 1] > 0)).astype(np.int64)
        yield broken(
            parity,
            network(bits, [width], 2, "tanh"),
            {**adam, "optimizer": optim.sgd(0.02), "epochs": 12},
            "plateau",
            "over-fitting",
            what=f"parity of {bits} bits",
            data=(X, easy),
        )
    yield from _held_back(rng, adam)


def _held_back(rng: Rng, adam: dict[str, Any]) -> Iterator[Case]:
    """Networks that a rate or their data keep from learning."""
    task = data.digits(rng)
    yield broken(
        task,
        network(task.n_in, [24], 10, "relu"),
        {**adam, "optimizer": optim.sgd(optim.step_decay(0.05, 1e-3, 4)), "epochs": 12},
        "plateau",
        "step-too-small",
        what="a rate that falls a thousandfold after four steps",
        optimizer=optim.sgd(0.05),
    )
    for make_task, hidden, activation in ((data.friedman, [16], "gelu"), (data.linear, [8, 8], "tanh")):
        task = make_task(rng)
        yield broken(
            task.with_data(y=rng.permutation(task.y)),
            network(task.n_in, hidden, 1, activation),
            {**adam, "optimizer": optim.sgd(2e-3), "epochs": 10},
            "plateau",
            "over-fitting",
            what=f"numbers that belong to other rows, {activation}",
            data=task.data,
            optimizer=optim.sgd(0.02),
        )
    task = data.blobs(rng)
    noise = task.with_data(rng.standard_normal(task.X.shape).astype(np.float32))
    yield broken(
        noise,
        network(12, [8], 5, "relu"),
        {**adam, "optimizer": optim.sgd(0.01), "epochs": 8},
        "plateau",
        "over-fitting",
        what="inputs that say nothing",
        data=task.data,
    )


@makes("over-fitting")
def over_fitting(rng: Rng) -> Iterator[Case]:
    """A large network learns few rows by heart: the loss on others rises."""
    for make_task, rows, activation, depth, width, epochs in (
        (data.diabetes, 100, "relu", 2, 64, 200),
        (data.teacher, 90, "tanh", 3, 64, 150),
        (data.diabetes, 60, "gelu", 3, 64, 150),
        (data.moons, 50, "relu", 3, 64, 600),
        (data.blobs, 80, "silu", 2, 64, 150),
        (data.rings, 60, "leaky_relu", 3, 64, 300),
        (data.diabetes, 200, "tanh", 2, 64, 150),
    ):
        task = make_task(rng, rows + 200)
        held = (task.X[rows:], task.y[rows:])
        few = task.rows(np.arange(rows))
        if task.classifies:
            wrong = rng.uniform(size=rows) < 0.25
            few = few.with_data(y=np.where(wrong, rng.integers(0, task.n_out, rows), few.y))
        else:
            few = few.with_data(y=few.y + rng.standard_normal(rows).astype(np.float32))
        settings = {
            "optimizer": optim.adam(between(rng, 2e-3, 4e-3)),
            "batch_size": 16,
            "epochs": epochs,
            "validation": held,
        }
        yield broken(
            few,
            network(task.n_in, [width] * depth, task.n_out, activation),
            settings,
            "over-fitting",
            "dead-units",
            what=f"{rows} rows, {depth} × {width} {activation}",
            worse="seen",
            early_stopping=8,
        )


@makes("always-clipped")
def always_clipped(rng: Rng) -> Iterator[Case]:
    """The limit lies far below the usual gradient, so that clipping sets the size of every step."""
    for rule, clip, activation, depth, rate in (
        (optim.sgd, optim.clip_by_global_norm(1e-3), "relu", 2, 0.05),
        (optim.sgd, optim.clip_by_global_norm(0.01), "tanh", 3, 0.05),
        (optim.momentum, optim.clip_by_global_norm(2e-3), "gelu", 2, 0.01),
        (optim.sgd, optim.clip_by_value(1e-5), "relu", 1, 0.05),
        (optim.momentum, optim.clip_by_value(1e-5), "tanh", 2, 0.01),
        (optim.sgd, optim.clip_by_norm(5e-4), "silu", 2, 0.05),
        (optim.nesterov, optim.clip_by_layer_norm(1e-3), "elu", 3, 0.01),
    ):
        task = pick(rng, (*data.MANY, data.friedman))(rng)
        rate = rate if task.classifies else rate / 3
        width = pick(rng, (16, 32))
        settings = {"optimizer": rule(rate), "clip": clip, "batch_size": 32, "epochs": 12}
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation),
            settings,
            "always-clipped",
            "step-too-small plateau",
            what=f"{clip!r}, {rule.__name__}, {depth} × {width} {activation}",
            clip=None,
        )


@makes("tiny-batch-normalisation")
def tiny_batches(rng: Rng) -> Iterator[Case]:
    """Mean and variance of a column, from two or three examples."""
    may = "plateau oscillation step-too-large rank-collapse vanishing over-fitting"
    for batch, activation, depth in (
        (2, "relu", 2),
        (2, "tanh", 3),
        (3, "gelu", 2),
        (2, "sigmoid", 1),
        (2, "silu", 4),
        (3, "relu", 5),
    ):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng, 360)
        width = pick(rng, (16, 24))
        settings = {"optimizer": optim.adam(between(rng, 1e-3, 3e-3)), "batch_size": batch, "epochs": 5}
        yield broken(
            task,
            network(task.n_in, [width] * depth, task.n_out, activation, norm=nn.BatchNorm),
            settings,
            "tiny-batch-normalisation",
            may,
            what=f"batches of {batch}, {depth} × {width} {activation}",
            batch_size=24,
            epochs=20,
        )
