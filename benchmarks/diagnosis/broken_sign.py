"""Networks that are trained to make large what is to be small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, makes, network

from undertow import optim

Rng = np.random.Generator


def turned_entropy(p: Any, y: Any) -> Any:
    return np.mean(np.sum(y * np.log(p), axis=1))


def turned_square(p: Any, y: Any) -> Any:
    return -np.mean((p - y) ** 2)


@makes("turned-sign")
def turned_sign(rng: Rng) -> Iterator[Case]:
    """A loss of one's own from which the minus was forgotten, or that has one too many."""
    may = "non-finite step-too-large saturation dead-units exploding plateau over-fitting"
    for make_task, activation, rule in (
        (data.digits, "relu", optim.sgd(between(rng, 0.03, 0.1))),
        (data.blobs, "tanh", optim.adam(between(rng, 2e-3, 5e-3))),
        (data.teacher, "gelu", optim.momentum(between(rng, 0.01, 0.03))),
    ):
        task = make_task(rng)
        hot = task.with_data(y=task.one_hot())
        yield broken(
            hot,
            network(task.n_in, [24], task.n_out, activation, end="softmax"),
            {"optimizer": rule, "batch_size": 32, "epochs": 12, "loss": turned_entropy},
            "turned-sign",
            may,
            what=f"Σ y ln p without its minus, {activation}",
            loss="categorical_cross_entropy",
        )
    for make_task, activation, rule in (
        (data.friedman, "relu", optim.adam(between(rng, 2e-3, 5e-3))),
        (data.several, "tanh", optim.sgd(between(rng, 0.02, 0.05))),
        (data.linear, "silu", optim.adam(between(rng, 2e-3, 5e-3))),
    ):
        task = make_task(rng)
        task = task.with_data(y=task.y.reshape(len(task.y), -1))
        yield broken(
            task,
            network(task.n_in, [24], task.n_out, activation),
            {"optimizer": rule, "batch_size": 32, "epochs": 12, "loss": turned_square},
            "turned-sign",
            may,
            what=f"a squared error with a minus, {activation}",
            loss="mean_squared_error",
        )
