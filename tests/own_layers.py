"""Layers of a user's own, and a model of every layer: tests of several files use them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertow import nn


@nn.register_layer
@dataclass
class Gate:
    size: int
    power: float = 1.0
    gain: Any = None
    static = ("power",)

    def shapes(self):
        return {"gain": (self.size,)}

    def initial(self, rng, dtype, follows):
        return dataclasses.replace(self, gain=np.ones(self.size, dtype))

    def __call__(self, x):
        return x * np.tanh(self.gain) ** self.power


@nn.register_layer
@dataclass
class Twice:
    inner: Any
    factor: float = 2.0

    def __call__(self, x):
        return self.factor * self.inner(self.inner(x))


@dataclass
class Own:
    W: Any

    def __call__(self, x):
        return x @ self.W


def every_layer():
    return nn.Sequential(
        nn.EmbedColumns(5, {1: (7, 3)}), nn.Dense(7, 8, init="he_uniform"), nn.BatchNorm(8, momentum=0.2), "tanh",
        nn.Dropout(0.3), nn.Residual(nn.Dense(8, 6), nn.Dropout(0.2), "tanh", projection="auto", scale=0.5),
        nn.Parallel(nn.Dense(6, 3, bias=False), nn.Sequential(nn.Dense(6, 2), nn.PReLU(2)), combine="concat"),
        nn.Concat(nn.LayerNorm(5, epsilon=1e-3)), nn.RMSNorm(10), nn.Reshape((2, -1)), nn.Flatten(),
        nn.Scale(10, start=0.5), nn.Noise(0.1), nn.leaky_relu(slope=0.1), Gate(10, 3.0), Twice(nn.Dense(10, 10)),
        nn.Residual(nn.Dense(10, 10), "softmax"), nn.Parallel("relu", "tanh", combine="add"),
        nn.Dense(10, 2, init=nn.normal(deviation=0.1)),
    )  # fmt: skip


@nn.register_layer
@dataclass
class Switch:
    """A field without a default and one with, both of which may be None."""

    inner: Any
    activation: Any = "tanh"
    slope: float = 0.5
    static = ("slope",)

    def __call__(self, x):
        x = x if self.inner is None else self.inner(x)
        return x if self.activation is None else np.tanh(x)
