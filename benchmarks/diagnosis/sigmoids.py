"""Which remedies help deep stacks of sigmoids, measured on digits: python -m benchmarks.diagnosis.sigmoids

A line for each update rule and remedy: the share of rows held out that are right after 20 epochs, by depth.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np

import undertow as ut
from undertow import nn, optim
from undertow.flow import changes

DEPTHS: Final = (6, 12, 20, 30)
WIDTH: Final = 64
RULES: Final = {
    "momentum(0.01)": optim.momentum(0.01),
    "momentum(0.1)": optim.momentum(0.1),
    "adam(0.001)": optim.adam(1e-3),
}
REMEDIES: Final[dict[str, Callable[[Any], Any]]] = {
    "none": lambda model: model,
    "BatchNorm": lambda model: changes.with_normalisation(model, "batch"),
    "residual blocks": changes.with_residuals,
    "tanh": lambda model: changes.with_activation(model, "tanh"),
    "relu": lambda model: changes.with_initialisation(changes.with_activation(model, "relu"), "auto"),
    "LayerNorm": lambda model: changes.with_normalisation(model, "layer"),
    "weights of σ_w² = 16": lambda model: changes.with_initialisation(model, {"name": "lecun_normal", "gain": 4.0}),
}


def stack(depth: int) -> nn.Sequential:
    """Sigmoids of one width, with Glorot's weights."""
    sizes = [64, *[WIDTH] * depth]
    hidden = [item for a, b in pairwise(sizes) for item in (nn.Dense(a, b, init="glorot_uniform"), "sigmoid")]
    return nn.Sequential(*hidden, nn.Dense(WIDTH, 10))


def right(model: Any, rule: Any) -> float:
    """The share of right answers on rows held out, the best of the last three epochs; 0 where it diverges."""
    digits = ut.data.load_digits()
    data = digits.X[:1000].astype(np.float32), digits.y[:1000]
    settings = {"loss": "categorical_cross_entropy", "epochs": 20, "batch_size": 50, "validation": 0.2}
    try:
        run = ut.train(model, data, optimizer=rule, progress=False, **settings)
    except ut.TrainingError:
        return 0.0
    return float(max(row["validation_accuracy"] for row in run.history[-3:]))


def main() -> None:
    print("rule", "remedy", *DEPTHS, sep=" | ")
    for name, rule in RULES.items():
        for remedy, change in REMEDIES.items():
            print(name, remedy, *(f"{right(change(stack(d)), rule):.2f}" for d in DEPTHS), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
