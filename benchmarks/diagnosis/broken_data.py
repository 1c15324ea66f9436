"""Networks whose data, targets or loss are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, fill, makes, network, pick, put

from undertow import nn, optim

Rng = np.random.Generator
STEPS = {"batch_size": 32, "epochs": 12}


@makes("initial-loss")
def initial_loss(rng: Rng) -> Iterator[Case]:
    """The loss before training is far above that of knowing nothing."""
    may = "step-too-large exploding dead-units over-fitting saturation oscillation"
    for deviation, activation, depth in ((3.0, "relu", 2), (4.0, "tanh", 1), (2.0, "gelu", 3), (6.0, "sigmoid", 1)):
        task = pick(rng, (data.digits, data.blobs, data.cancer, data.teacher))(rng)
        model = network(task.n_in, [32] * depth, task.n_out, activation)
        loud = put(model, -1, nn.Dense(32, task.n_out, init=nn.normal(deviation=deviation)))
        yield broken(
            task,
            loud,
            {**STEPS, "optimizer": optim.adam(between(rng, 1e-3, 2e-3))},
            "initial-loss",
            may,
            f"layers[{2 * depth}]",
            f"last weights of {deviation}, {depth} × 32 {activation}",
            model=model,
            worse="start",
        )
    for make_task, bias, activation in (
        (data.digits, 12.0, "relu"),
        (data.cancer_binary, 8.0, "tanh"),
        (data.blobs, 15.0, "silu"),
        (data.friedman, 20.0, "relu"),
    ):
        task = make_task(rng)
        model = network(task.n_in, [24, 24], task.n_out, activation)
        offset = np.zeros(task.n_out)
        offset[0] = bias
        yield broken(
            task,
            put(model, -1, fill(model.layers[-1], 0, offset)),
            {**STEPS, "optimizer": optim.adam(1e-3)},
            "initial-loss",
            may + " plateau",
            "layers[4]",
            f"a last bias of {bias:g}, {activation}",
            model=model,
            worse="start",
        )


@makes("input-not-scaled")
def input_not_scaled(rng: Rng) -> Iterator[Case]:
    """Columns of very different sizes, or far from 0."""
    may = (
        "saturation dead-units born-dead-layer exploding initial-loss step-too-large plateau rank-collapse oscillation"
    )
    may += " vanishing identical-units step-too-small over-fitting non-finite"
    for what, make_task, factor, offset, activation, rule in (
        ("columns × 1000", data.digits, 1000.0, 0.0, "tanh", optim.adam(1e-3)),
        ("columns × 300", data.blobs, 300.0, 0.0, "relu", optim.sgd(0.03)),
        ("columns about 2000", data.teacher, 10.0, 2000.0, "relu", optim.adam(1e-3)),
        ("columns about 10 000", data.friedman, 300.0, 10_000.0, "tanh", optim.adam(2e-3)),
        ("columns of 10⁻⁴", data.teacher, 1e-4, 0.0, "tanh", optim.sgd(0.05)),
    ):
        task = make_task(rng)
        X = (task.X.astype(np.float64) * factor + offset).astype(np.float32)
        yield broken(
            task.with_data(X),
            network(task.n_in, [24, 24], task.n_out, activation),
            {**STEPS, "optimizer": rule},
            "input-not-scaled",
            may,
            what=f"{what}, {activation}",
            data=task.data,
        )
    for what, make_task, activation in (
        ("sizes from 10⁻³ to 10⁴", data.blobs, "relu"),
        ("sizes from 10⁻³ to 10⁴", data.friedman, "gelu"),
    ):
        task = make_task(rng)
        sizes = np.geomspace(1e-3, 1e4, task.n_in)[rng.permutation(task.n_in)].astype(np.float32)
        yield broken(
            task.with_data(task.X * sizes),
            network(task.n_in, [24, 24], task.n_out, activation),
            {**STEPS, "optimizer": optim.adam(1e-3)},
            "input-not-scaled",
            may,
            what=f"{what}, {activation}",
            data=task.data,
        )
    for name, activation in (("wine", "tanh"), ("breast_cancer", "relu")):
        X, y = data._load(name)
        X = X[:, :].astype(np.float32)
        task = data.Task(name, X, y, int(y.max()) + 1, data.CATEGORICAL)
        yield broken(
            task,
            network(X.shape[1], [24, 24], task.n_out, activation),
            {**STEPS, "optimizer": optim.sgd(0.03)},
            "input-not-scaled",
            may,
            what=f"columns as they come, {activation}",
            data=(data.scaled(X), y),
        )


@makes("constant-columns")
def constant_columns(rng: Rng) -> Iterator[Case]:
    """Columns that are the same in every row."""
    for make_task, count, value, activation in (
        (data.blobs, 3, 0.0, "relu"),
        (data.friedman, 1, 1.0, "tanh"),
        (data.iris, 2, -0.5, "gelu"),
        (data.digits, 10, 0.0, "silu"),
        (data.teacher, 4, 2.0, "tanh"),
        (data.cancer, 5, 1.0, "relu"),
    ):
        task = make_task(rng)
        places = rng.integers(0, task.n_in + 1, count)
        X = np.insert(task.X, places, np.float32(value), axis=1)
        few = task.name == "breast_cancer"
        yield broken(
            task.with_data(X),
            network(X.shape[1], [24], task.n_out, activation),
            {**STEPS, "epochs": 6 if few else 12, "optimizer": optim.adam(2e-3)},
            "constant-columns",
            what=f"{count} columns of {value:g}, {activation}",
            worse="",
        )


@makes("target-not-scaled")
def target_not_scaled(rng: Rng) -> Iterator[Case]:
    """Numbers to be predicted that are far from 0, or of another size than what a network gives."""
    may = (
        "initial-loss step-too-large exploding plateau oscillation dead-units born-dead-layer step-too-small saturation"
    )
    may += " non-finite rank-collapse"
    for make_task, factor, offset, activation, rule in (
        (data.friedman, 1000.0, 0.0, "relu", optim.adam(2e-3)),
        (data.friedman, 5.0, 500.0, "tanh", optim.adam(2e-3)),
        (data.several, 1e5, 0.0, "silu", optim.adam(2e-3)),
        (data.linear, 200.0, 1000.0, "relu", optim.sgd(0.01)),
        (data.sine, 1e4, -3e4, "tanh", optim.adam(3e-3)),
        (data.diabetes, 77.0, 152.0, "gelu", optim.adam(2e-3)),
        (data.friedman, 3e-4, 0.0, "tanh", optim.sgd(0.01)),
        (data.linear, 3000.0, 0.0, "elu", optim.momentum(0.01)),
    ):
        task = make_task(rng)
        y = (task.y.astype(np.float64) * factor + offset).astype(np.float32)
        yield broken(
            task.with_data(y=y),
            network(task.n_in, [24, 24], task.n_out, activation),
            {**STEPS, "epochs": 20, "optimizer": rule},
            "target-not-scaled",
            may,
            what=f"y × {factor:g} + {offset:g}, {activation}",
            data=task.data,
        )


@makes("imbalanced-classes")
def imbalanced_classes(rng: Rng) -> Iterator[Case]:
    """One class is so rare that it hardly counts."""
    for make_task, rare, share, activation in (
        (data.moons, (1,), 0.01, "relu"),
        (data.blobs, (0,), 0.01, "tanh"),
        (data.teacher, (2,), 0.01, "gelu"),
        (data.cancer, (0,), 0.02, "relu"),
        (data.cancer_binary, (0,), 0.02, "silu"),
        (data.rings, (0, 1), 0.01, "tanh"),
        (data.blobs, (0, 1, 2, 3), 0.008, "relu"),
    ):
        task = make_task(rng, 1200)
        rows = rng.permutation(len(task.X))
        apart = np.concatenate([rows[task.y[rows] == k][:40] for k in np.unique(task.y)])  # to judge by, all alike
        rest = np.setdiff1d(rows, apart)
        left: list[Any] = [rest[~np.isin(task.y[rest], rare)]]
        for label in rare:
            left.append(rest[task.y[rest] == label][: max(round(share * len(left[0])), 3)])
        settings = {**STEPS, "epochs": 10 if "cancer" in task.name else 15, "optimizer": optim.adam(2e-3)}
        yield broken(
            task.rows(rng.permutation(np.concatenate(left))),
            network(task.n_in, [24], task.n_out, activation),
            {**settings, "validation": (task.X[apart], task.y[apart])},
            "imbalanced-classes",
            "plateau initial-loss over-fitting",
            what=f"{len(rare)} classes of {share:.1%}, {activation}",
            worse="seen",
            data=(task.X[rest], task.y[rest]),
        )


@makes("loss-activation-mismatch")
def mismatch(rng: Rng) -> Iterator[Case]:
    """The end of the network does not go with the loss, or cannot reach the targets."""
    may = "plateau saturation vanishing dead-units born-dead-layer step-too-small initial-loss rank-collapse"
    for loss, make_task, activation in (
        ("mean_squared_error", data.digits, "relu"),
        ("half_squared_error", data.blobs, "tanh"),
        ("huber", data.digits, "gelu"),
    ):
        task = make_task(rng)
        hot = task.with_data(y=task.one_hot())
        yield broken(
            hot,
            network(task.n_in, [24, 24], task.n_out, activation, end="softmax"),
            {**STEPS, "optimizer": optim.sgd(0.05), "loss": loss},
            "loss-activation-mismatch",
            may,
            what=f"softmax and {loss}, {activation}",
            loss="categorical_cross_entropy",
            data=task.data,
        )
    for end, make_task in (
        ("relu", data.friedman),
        ("relu", data.several),
        ("sigmoid", data.friedman),
        ("tanh", data.linear),
        ("sigmoid", data.diabetes),
    ):
        task = make_task(rng)
        factor = 4.0 if end == "tanh" else 1.0
        wide = task.with_data(y=task.y * np.float32(factor))
        yield broken(
            wide,
            network(task.n_in, [24], task.n_out, "tanh", end=end),
            {**STEPS, "optimizer": optim.adam(2e-3)},
            "loss-activation-mismatch",
            may + (" target-not-scaled" if factor > 1 else ""),
            what=f"{end} before a number",
            model=network(task.n_in, [24], task.n_out, "tanh"),
        )
    task = data.cancer_binary(rng)
    numbers = task.with_data(y=task.y.astype(np.float32))
    yield broken(
        numbers,
        network(task.n_in, [24], 1, "relu", end="sigmoid"),
        {**STEPS, "optimizer": optim.sgd(0.02), "loss": "mean_squared_error"},
        "loss-activation-mismatch",
        may,
        what="sigmoid and a squared error of two classes",
        worse="",
        loss="binary_cross_entropy",
        data=task.data,
    )


@makes("leakage")
def leakage(rng: Rng) -> Iterator[Case]:
    """Rows held out that were trained on."""
    for make_task, share, activation in (
        (data.digits, 1.0, "relu"),
        (data.blobs, 0.5, "tanh"),
        (data.friedman, 0.3, "gelu"),
        (data.iris, 0.8, "relu"),
        (data.teacher, 0.2, "silu"),
    ):
        task = make_task(rng)
        n = len(task.X) * 4 // 5
        copied = rng.permutation(n)[: round(share * 100)]
        fresh = np.arange(n, min(n + 100 - len(copied), len(task.X)))
        held = np.concatenate([copied, fresh])
        yield broken(
            task.rows(np.arange(n)),
            network(task.n_in, [24], task.n_out, activation),
            {**STEPS, "optimizer": optim.adam(2e-3), "validation": (task.X[held], task.y[held])},
            "leakage",
            what=f"{share:.0%} of the rows held out, {activation}",
            worse="",
        )
    for make_task, share in ((data.blobs, 0.25), (data.friedman, 0.15)):  # some rows twice, before they are split
        task = make_task(rng)
        n = len(task.X)
        rows = np.concatenate([np.arange(n), rng.permutation(n)[: round(share * n)]])
        yield broken(
            task.rows(rng.permutation(rows)),
            network(task.n_in, [16], task.n_out, "tanh"),
            {**STEPS, "optimizer": optim.adam(3e-3)},
            "leakage",
            what=f"{share:.0%} of the rows twice",
            worse="",
        )
    for make_task in (data.diabetes, data.rings):  # each row twice, before they are split
        task = make_task(rng)
        twice = task.rows(rng.permutation(np.repeat(np.arange(len(task.X)), 2)))
        yield broken(
            twice,
            network(task.n_in, [16], task.n_out, "tanh"),
            {**STEPS, "epochs": 8 if task.n_out == 1 else 20, "optimizer": optim.adam(5e-3)},
            "leakage",
            what="every row twice",
            worse="",
        )
