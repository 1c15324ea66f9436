"""Networks that regularisation of a reasonable strength does not hold back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, healthy, network, pick

from undertow import nn, optim

Rng = np.random.Generator


def regularised(rng: Rng) -> Iterator[Case]:
    """Dropout, penalties, clipping that hardly ever acts, weights of classes."""
    task = data.digits(rng)
    n, k = task.n_in, task.n_out
    wide = optim.clip_by_global_norm(10.0)
    for what, hidden, activation, more in (
        ("dropout", [48, 48], "relu", {"dropout": 0.2}),
        ("l2", [32, 32], "tanh", {"l2": 1e-3}),
        ("l1", [32], "relu", {"l1": 1e-4}),
        ("max norm", [32, 32], "relu", {"max_norm": 3.0}),
        ("clipping", [32, 32], "gelu", {"clip": wide}),
        ("mixup", [32], "relu", {"mixup": 0.2}),
        ("accumulation", [32], "tanh", {"accumulate": 2, "batch_size": 8}),
    ):
        dropout = more.pop("dropout", 0.0)
        model = network(n, hidden, k, activation, dropout=dropout)
        yield healthy(task, model, what, **{"optimizer": optim.adam(2e-3), "batch_size": 16, "epochs": 12, **more})
    task = data.cancer(rng)
    yield healthy(
        task,
        network(task.n_in, [16], 2, "tanh"),
        "weights of classes",
        class_weights="balanced",
        optimizer=optim.adam(2e-3),
        batch_size=32,
        epochs=10,
    )
    task = data.cancer_binary(rng)
    yield healthy(
        task,
        network(task.n_in, [16], 1, "relu", end="sigmoid"),
        "sigmoid at the end",
        optimizer=optim.adam(2e-3),
        batch_size=32,
        epochs=10,
    )


def firm(rng: Rng) -> Iterator[Case]:
    """As strong as practitioners set it: each costs some of the training loss, and nothing on rows held out."""
    tasks = (data.digits, data.blobs, data.teacher)
    for what, activation, more in (
        ("l2", "relu", {"l2": 5e-3}),
        ("l1", "tanh", {"l1": 5e-4}),
        ("max norm", "relu", {"max_norm": 2.0}),
        ("decay", "gelu", {"optimizer": optim.adamw(3e-3, decay=0.1)}),
    ):
        task = pick(rng, tasks)(rng)
        settings = {"optimizer": optim.adam(3e-3), "batch_size": 32, "epochs": 15, **more}
        yield healthy(task, network(task.n_in, [32, 32], task.n_out, activation), f"firm {what}", **settings)
    for layer, width in ((nn.Dropout(0.5), 96), (nn.Noise(0.5), 32)):
        task = pick(rng, tasks)(rng)
        model = nn.Sequential(nn.Dense(task.n_in, width), "relu", layer, nn.Dense(width, task.n_out))
        yield healthy(task, model, f"{layer}", optimizer=optim.adam(3e-3), batch_size=32, epochs=15)
    task = data.diabetes(rng, 160)  # noisy rows, where a strong penalty is what helps
    yield healthy(
        task, network(task.n_in, [16], 1, "tanh"), "a strong penalty against noise", optimizer=optim.adam(5e-3),
        batch_size=16, epochs=40, l2=0.03,
    )  # fmt: skip
    task = pick(rng, tasks)(rng)
    loss = {"name": task.loss, "label_smoothing": 0.2}
    model = network(task.n_in, [32], task.n_out, "relu")
    yield healthy(task, model, "smoothed labels", loss=loss, optimizer=optim.adam(3e-3), batch_size=32, epochs=12)
