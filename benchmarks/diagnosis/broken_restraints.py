"""Networks that regularisation holds back: penalties, decay and bounds on weights, noise, smoothed targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from benchmarks.diagnosis import data
from benchmarks.diagnosis.case import Case, between, broken, makes, network, pick

from undertow import nn, optim

Rng = np.random.Generator
MAY = (
    "plateau rank-collapse vanishing dead-units born-dead-layer identical-units step-too-large step-too-small "
    "oscillation saturation"
)
TASKS = (data.digits, data.blobs, data.teacher)


@makes("over-regularised")
def over_regularised(rng: Rng) -> Iterator[Case]:
    """Far more regularisation than the data ask for."""
    adam = {"optimizer": optim.adam(3e-3), "batch_size": 32, "epochs": 15}
    for name, amount, off, activation in (
        ("l2", 1.0, 0.0, "tanh"),
        ("l2", 0.5, 0.0, "relu"),
        ("l1", 0.1, 0.0, "gelu"),
        ("l1", 0.05, 0.0, "relu"),
        ("max_norm", 0.05, None, "tanh"),
        ("max_norm", 0.15, None, "silu"),
    ):
        task = pick(rng, TASKS)(rng)
        amount *= between(rng, 0.8, 1.25)
        yield broken(
            task,
            network(task.n_in, [24, 24], task.n_out, activation),
            {**adam, name: amount},
            "over-regularised",
            MAY,
            what=f"{name} of {amount:.2g}, {activation}",
            **{name: off},
        )
    for decay, rate, activation in ((50.0, 2e-3, "relu"), (15.0, 3e-3, "tanh")):
        task = pick(rng, TASKS)(rng)
        yield broken(
            task,
            network(task.n_in, [24, 24], task.n_out, activation),
            {**adam, "optimizer": optim.adamw(rate, decay=decay)},
            "over-regularised",
            MAY,
            what=f"a decay of {decay:g}, {activation}",
            optimizer=optim.adamw(rate, decay=0.01),
        )
    yield from _noise(rng, adam)


def _noise(rng: Rng, adam: dict[str, object]) -> Iterator[Case]:
    """Layers that draw numbers, and targets that say nothing."""
    for layer, activation in ((nn.Dropout(0.95), "relu"), (nn.Dropout(0.9), "tanh"), (nn.Noise(10.0), "relu")):
        task = pick(rng, TASKS)(rng)
        model = network(task.n_in, [24, 24], task.n_out, activation)
        first, act, second, act2, last = model.layers
        yield broken(
            task,
            nn.Sequential(first, act, layer, second, act2, layer, last),
            adam,
            "over-regularised",
            MAY,
            what=f"{layer}, {activation}",
            model=model,
        )
    task = pick(rng, TASKS)(rng)
    yield broken(
        task,
        network(task.n_in, [24], task.n_out, "relu"),
        {**adam, "loss": {"name": task.loss, "label_smoothing": 0.97}},
        "over-regularised",
        MAY,
        what="label smoothing of 0.97",
        loss=task.loss,
    )
