"""Highway networks: h = t φ(x W + b) + (1 − t) x, with gates that begin nearly closed; layers of one's own."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import undertow as ut
from undertow import nn


@dataclass
class Highway:
    """A layer of Srivastava et al., Highway networks, 2015, eq. 3."""

    size: int
    gate: float
    W: np.ndarray | None = None
    V: np.ndarray | None = None
    b: np.ndarray | None = None
    c: np.ndarray | None = None
    static = ("size", "gate")

    def initial(self, rng, dtype, follows):
        W, V = ((rng.normal(size=(self.size, self.size)) / np.sqrt(self.size)).astype(dtype) for _ in range(2))
        return replace(self, W=W, V=V, b=np.zeros(self.size, dtype), c=np.full(self.size, self.gate, dtype))

    def __call__(self, x):
        t = ut.sigmoid(x @ self.V + self.c)
        return t * np.tanh(x @ self.W + self.b) + (1 - t) * x


@pytest.mark.parametrize(("gate", "learns"), [(-4.0, True), (-2.0, False)])
def test_fifty_layers_learn_where_gates_begin_closed_enough(gate, learns):
    """Gates carry (1 − σ(c))⁵⁰ of δ: 0.4 for −4, 0.002 for −2; the first layer's tanh has no part in it."""
    digits = ut.data.load_digits()
    layers = [Highway(32, gate) for _ in range(50)]
    model = nn.Sequential(nn.Dense(64, 32), "tanh", *layers, nn.Dense(32, 10))
    settings = {"loss": "categorical_cross_entropy", "epochs": 6, "validation": 0.2, "seed": 3, "progress": False}
    run = ut.train(model, (digits.X, digits.y), optimizer=ut.optim.momentum(0.02, 0.9), **settings)
    delta = run.flow.stat("delta.rms")[0]
    carried = (1 - 1 / (1 + np.exp(-gate))) ** 49
    assert 0.3 < (delta[1] / delta[50]) / carried < 30  # what goes through the gates adds to it
    assert (run.history[-1]["validation_accuracy"] > 0.7) == learns
    assert [x.kind for x in run.findings] == ["vanishing"] * (not learns)
    assert learns or "no layer holds the size of what passes" in run.findings[0].cause
