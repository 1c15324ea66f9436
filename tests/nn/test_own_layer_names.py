"""A layer of the user's own is named by its settings, not by its numbers."""

from dataclasses import dataclass, replace

import numpy as np

import undertow as ut
from undertow import nn


@dataclass
class Gated:
    size: int
    rate: float = 0.5
    gain: np.ndarray | None = None

    def initial(self, rng, dtype, follows):
        return replace(self, gain=np.ones(self.size, dtype))

    def __call__(self, x):
        return x * np.tanh(self.gain)


@dataclass
class Named(Gated):
    def __repr__(self):
        return f"Named({self.size})"


def test_arrays_stay_out_of_names():
    model = nn.initialize(nn.Sequential(Gated(3), Named(3), nn.Dense(3, 1)), 0)
    assert repr(model) == "Sequential(Gated(size=3, rate=0.5), Named(3), Dense(3, 1))"
    assert "array" not in str(model.summary(3)) and "Gated(size=3, rate=0.5)" in str(model.summary(3))
    run = ut.train(model, (np.ones((8, 3)), np.ones(8)), loss="mean_squared_error", epochs=1, progress=False)
    assert "array" not in repr(run)
