"""Networks that a reasonable practitioner calls healthy: they learn, at a usual rate, without wasting units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from benchmarks.diagnosis import data, healthy_restraints
from benchmarks.diagnosis.case import HEALTHY, Case, between, healthy, makes, network, pick

from undertow import nn, optim

Rng = np.random.Generator


@makes(HEALTHY)
def make(rng: Rng) -> Iterator[Case]:
    """Between eighty and a hundred networks."""
    for group in (
        _activations,
        _optimizers,
        _deep,
        _normalised,
        _numbers,
        _linear,
        _lengths,
        healthy_restraints.regularised,
        healthy_restraints.firm,
        _shapes,
        _as_they_come,
    ):
        yield from group(rng)


def _activations(rng: Rng) -> Iterator[Case]:
    """Networks of one to four hidden layers, with adam."""
    names = (
        "relu",
        "tanh",
        "gelu",
        "silu",
        "elu",
        "selu",
        "leaky_relu",
        "mish",
        "softsign",
        "lecun_tanh",
        "celu",
        "softplus",
        "hard_tanh",
        "relu6",
    )
    for i, name in enumerate(names):
        task = data.CLASSES[i % len(data.CLASSES)](rng)
        depth, width = pick(rng, (1, 2, 3, 4)) if name != "softplus" else 2, pick(rng, (16, 24, 32, 48))
        model = network(task.n_in, [width] * depth, task.n_out, name)
        rate, batch = between(rng, 1e-3, 4e-3), pick(rng, (16, 32))
        few = task.name in ("wine", "breast_cancer", "breast_cancer, one output")  # which a network soon knows by heart
        yield healthy(
            task,
            model,
            f"{depth} × {width} {name}",
            optimizer=optim.adam(rate),
            batch_size=batch,
            epochs=6 if few else 12,
        )
    for depth in (1, 2):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng)
        model = network(task.n_in, [32] * depth, task.n_out, "sigmoid")
        yield healthy(
            task,
            model,
            f"{depth} × 32 sigmoid",
            optimizer=optim.adam(between(rng, 4e-3, 1e-2)),
            batch_size=16,
            epochs=20,
        )


def _optimizers(rng: Rng) -> Iterator[Case]:
    """Every update rule at a rate that is usual for it."""
    rules = (
        (optim.sgd, 0.03, 0.1),
        (optim.momentum, 5e-3, 0.03),
        (optim.nesterov, 5e-3, 0.03),
        (optim.rmsprop, 8e-4, 2e-3),
        (optim.adagrad, 0.02, 0.05),
        (optim.adam, 1e-3, 3e-3),
        (optim.adamw, 1e-3, 3e-3),
        (optim.amsgrad, 1e-3, 3e-3),
        (optim.nadam, 1e-3, 2e-3),
        (optim.radam, 2e-3, 5e-3),
        (optim.lion, 1e-4, 4e-4),
    )
    for i, (rule, low, high) in enumerate(rules):
        task = (data.MANY[i % 4] if i % 3 else pick(rng, (data.friedman, data.linear)))(rng)
        rate, name = between(rng, low, high), rule.__name__
        if not task.classifies and name in ("sgd", "momentum", "nesterov"):
            rate /= 3  # a squared error is steeper than a cross-entropy
        activation = pick(rng, ("relu", "tanh", "gelu"))
        model = network(task.n_in, [32, 32], task.n_out, activation)
        yield healthy(
            task,
            model,
            f"{name} at {rate:.2g}, 2 × 32 {activation}",
            optimizer=rule(rate),
            batch_size=16,
            epochs=6 if task.name == "breast_cancer" else 12,
        )


def _deep(rng: Rng) -> Iterator[Case]:
    """Deep networks, built so that they can be trained."""
    task = data.digits(rng)
    for depth, activation in ((5, "relu"), (6, "tanh"), (8, "relu"), (8, "selu"), (6, "gelu")):
        model = network(task.n_in, [32] * depth, 10, activation)
        yield healthy(
            task,
            model,
            f"{depth} × 32 {activation}",
            optimizer=optim.adam(between(rng, 1e-3, 2e-3)),
            batch_size=16,
            epochs=12,
        )
    for depth, activation in ((10, "relu"), (15, "tanh"), (20, "gelu"), (30, "relu"), (40, "tanh")):
        task = pick(rng, (data.digits, data.blobs))(rng, 500)
        width = 24 if depth < 30 else 16
        blocks = [
            nn.Residual(nn.LayerNorm(width), nn.Dense(width, width), activation, scale=depth**-0.5)
            for _ in range(depth - 1)
        ]
        model = nn.Sequential(nn.Dense(task.n_in, width), activation, *blocks, nn.Dense(width, task.n_out))
        epochs = 12 if depth < 30 else 8
        yield healthy(
            task,
            model,
            f"{depth} residual {activation} with LayerNorm",
            batch_size=16,
            epochs=epochs,
            optimizer=optim.adam(between(rng, 8e-4, 2e-3)),
            clip=optim.clip_by_global_norm(10.0),
        )
    task = data.blobs(rng)
    for depth, activation in ((8, "tanh"), (12, "silu")):
        blocks = [nn.Residual(nn.Dense(24, 24), activation, nn.Dense(24, 24), scale=0.3) for _ in range(depth // 2)]
        model = nn.Sequential(nn.Dense(12, 24), *blocks, nn.Dense(24, 5))
        yield healthy(
            task, model, f"{depth} deep residual {activation}", optimizer=optim.adam(1e-3), batch_size=32, epochs=12
        )


def _normalised(rng: Rng) -> Iterator[Case]:
    """Normalisation in networks that are not deep."""
    for norm, activation, depth in (
        (nn.BatchNorm, "relu", 2),
        (nn.BatchNorm, "tanh", 4),
        (nn.BatchNorm, "gelu", 6),
        (nn.BatchNorm, "sigmoid", 3),
        (nn.LayerNorm, "relu", 3),
        (nn.LayerNorm, "sigmoid", 2),
        (nn.LayerNorm, "silu", 5),
        (nn.RMSNorm, "tanh", 3),
        (nn.RMSNorm, "relu", 2),
    ):
        task = pick(rng, (data.digits, data.blobs, data.teacher))(rng, 640)
        model = network(task.n_in, [32] * depth, task.n_out, activation, norm=norm)
        yield healthy(
            task,
            model,
            f"{depth} × {norm.__name__} {activation}",
            optimizer=optim.adam(between(rng, 1e-3, 3e-3)),
            batch_size=32,
            epochs=12,
        )


def _numbers(rng: Rng) -> Iterator[Case]:
    """Regression with several losses."""
    for loss, make_task, activation in (
        ("mean_squared_error", data.friedman, "relu"),
        ("mean_squared_error", data.sine, "tanh"),
        ("mean_squared_error", data.several, "silu"),
        ("half_squared_error", data.friedman, "tanh"),
        ("huber", data.friedman, "gelu"),
        ("mean_absolute_error", data.linear, "relu"),
        ("log_cosh", data.several, "elu"),
        ("mean_squared_error", data.linear, "leaky_relu"),
        ("huber", data.friedman, "softplus"),
    ):
        task = make_task(rng)
        depth, width = pick(rng, (1, 2, 3)), pick(rng, (16, 32, 64))
        model = network(task.n_in, [width] * depth, task.n_out, activation)
        yield healthy(
            task,
            model,
            f"{loss}, {depth} × {width} {activation}",
            loss=loss,
            optimizer=optim.adam(between(rng, 2e-3, 6e-3)),
            batch_size=pick(rng, (16, 32)),
            epochs=60 if task.name == "sine" else 25,
        )
    task = data.diabetes(rng)  # three hundred and fifty rows: few epochs of a small network
    yield healthy(task, network(10, [8], 1, "tanh"), "8 tanh", optimizer=optim.adam(5e-3), batch_size=16, epochs=15)
    task = data.friedman(rng)
    yield healthy(
        task,
        network(10, [16, 16], 1, "tanh"),
        "momentum, 2 × 16 tanh",
        optimizer=optim.momentum(0.01),
        batch_size=32,
        epochs=25,
    )


def _linear(rng: Rng) -> Iterator[Case]:
    """Without hidden layers."""
    for make_task in (data.iris, data.wine, data.cancer_binary, data.blobs):
        task = make_task(rng)
        yield healthy(
            task,
            nn.Sequential(nn.Dense(task.n_in, task.n_out)),
            "logistic regression",
            optimizer=optim.sgd(0.1),
            batch_size=16,
            epochs=20,
        )
    for make_task in (data.linear, data.diabetes):
        task = make_task(rng)
        yield healthy(
            task,
            nn.Sequential(nn.Dense(task.n_in, 1)),
            "linear regression",
            optimizer=optim.sgd(0.01),
            batch_size=16,
            epochs=20,
        )
    task = data.cancer(rng)
    model = nn.Sequential(nn.Dense(task.n_in, 2), "softmax")
    yield healthy(task, model, "softmax at the end", optimizer=optim.adam(5e-3), batch_size=32, epochs=15)


def _lengths(rng: Rng) -> Iterator[Case]:
    """Short and long, large batches and small ones, schedules."""
    task = data.digits(rng, 1200)
    model = network(task.n_in, [32], 10, "relu")
    yield healthy(task, model, "3 epochs", optimizer=optim.adam(3e-3), batch_size=16, epochs=3)
    task = data.teacher(rng)
    yield healthy(
        task, network(10, [16], 3, "tanh"), "80 epochs", optimizer=optim.adam(2e-3), batch_size=32, epochs=80, l2=2e-3
    )
    task = data.blobs(rng)
    yield healthy(
        task,
        network(12, [24], 5, "relu"),
        "all rows a step",
        optimizer=optim.momentum(0.05),
        batch_size=600,
        epochs=80,
        l2=1e-3,
    )
    task = data.friedman(rng)
    yield healthy(
        task, network(10, [16], 1, "tanh"), "batches of 4", optimizer=optim.adam(1e-3), batch_size=4, epochs=10
    )
    for schedule, name in (
        (optim.cosine(5e-3, 500), "cosine"),
        (optim.one_cycle(8e-3, 500), "one cycle"),
        (optim.warmup(optim.constant(3e-3), 50), "warm-up"),
        (optim.step_decay(4e-3, 0.5, 150), "step decay"),
    ):
        task = pick(rng, (data.digits, data.teacher, data.friedman))(rng)
        model = network(task.n_in, [24, 24], task.n_out, pick(rng, ("relu", "tanh")))
        yield healthy(task, model, name, optimizer=optim.adam(schedule), batch_size=16, epochs=14)
    task = data.teacher(rng)
    model = network(10, [64, 64], 3, "relu")
    yield healthy(task, model, "early stopping", optimizer=optim.adam(2e-3), batch_size=32, epochs=60, early_stopping=3)
    task = data.rings(rng)
    yield healthy(
        task, network(2, [24, 24], 3, "tanh"), "40 epochs", optimizer=optim.adam(3e-3), batch_size=32, epochs=40
    )
    task = data.moons(rng)
    yield healthy(
        task, network(2, [16, 16], 2, "relu"), "40 epochs", optimizer=optim.adam(3e-3), batch_size=32, epochs=40
    )


def _shapes(rng: Rng) -> Iterator[Case]:
    """Other architectures."""
    task = data.digits(rng)
    n, k = task.n_in, task.n_out
    branch = nn.Parallel(nn.Sequential(nn.Dense(n, 16), "relu"), nn.Sequential(nn.Dense(n, 16), "tanh"))
    yield healthy(
        task,
        nn.Sequential(branch, nn.Dense(32, k)),
        "two branches",
        optimizer=optim.adam(3e-3),
        batch_size=16,
        epochs=12,
    )
    model = nn.Sequential(nn.Dense(n, 32), nn.PReLU(), nn.Dense(32, k))
    yield healthy(task, model, "PReLU", optimizer=optim.adam(3e-3), batch_size=16, epochs=12)
    model = nn.Sequential(nn.Concat(nn.Dense(n, 24), "relu"), nn.Dense(n + 24, k))
    yield healthy(task, model, "concatenated with its input", optimizer=optim.adam(2e-3), batch_size=16, epochs=10)
    model = network(n, [64, 32, 16], k, "relu")
    yield healthy(task, model, "narrowing", optimizer=optim.adam(2e-3), batch_size=16, epochs=12)
    model = network(n, [32, 32], k, "tanh", init="orthogonal")
    yield healthy(task, model, "orthogonal weights", optimizer=optim.adam(2e-3), batch_size=16, epochs=12)
    model = nn.Sequential(nn.Dense(n, 32, bias=False), nn.BatchNorm(32), "relu", nn.Dense(32, k))
    yield healthy(task, model, "without biases", optimizer=optim.momentum(0.02), batch_size=40, epochs=12)


def _as_they_come(rng: Rng) -> Iterator[Case]:
    """Data that are not brought to mean 0 and deviation 1, but are near enough."""
    task = data.digits(rng)
    X, y = data._load("digits")
    rows = rng.permutation(len(X))[:900]
    pixels = task.with_data((X[rows] / 16).astype(np.float32), y[rows])
    yield healthy(
        pixels,
        network(64, [32], 10, "relu"),
        "pixels from 0 to 1",
        "constant-columns",
        optimizer=optim.adam(3e-3),
        batch_size=16,
        epochs=12,
    )
    small = task.with_data((X[rows] / 16 - 0.5).astype(np.float32), y[rows])
    yield healthy(
        small,
        network(64, [32, 32], 10, "tanh"),
        "pixels from −½ to ½",
        "constant-columns",
        optimizer=optim.adam(3e-3),
        batch_size=16,
        epochs=12,
    )
    task = data.friedman(rng)
    spread = task.with_data(
        task.X * rng.uniform(0.3, 3, 10).astype(np.float32) + rng.uniform(-1, 1, 10).astype(np.float32)
    )
    yield healthy(
        spread,
        network(10, [32], 1, "tanh"),
        "columns of about the same size",
        optimizer=optim.adam(4e-3),
        batch_size=16,
        epochs=25,
    )
    near = task.with_data(y=(2.5 * task.y + 1).astype(np.float32))
    yield healthy(
        near, network(10, [32], 1, "relu"), "targets of about 1", optimizer=optim.adam(5e-3), batch_size=16, epochs=25
    )
    task = data.blobs(rng)
    share = np.where(task.y == 0, 1.0, rng.uniform(0.5, 1, 5)[task.y])
    uneven = task.rows(np.flatnonzero(rng.uniform(size=len(share)) < share))
    yield healthy(
        uneven,
        network(12, [32], 5, "relu"),
        "classes of uneven size",
        optimizer=optim.adam(3e-3),
        batch_size=16,
        epochs=12,
    )
    X = (rng.uniform(size=(700, 9)) < rng.uniform(0.3, 0.7, 9)).astype(np.float32)
    party = (X - X.mean(axis=0)) @ rng.standard_normal(9) + 0.3 * rng.standard_normal(700) > 0
    votes = data.Task("votes", X, party.astype(int), 2, data.CATEGORICAL)
    yield healthy(
        votes, network(9, [16], 2, "tanh"), "rows that repeat by nature", optimizer=optim.adam(1e-2), batch_size=16,
        epochs=20,
    )  # fmt: skip
