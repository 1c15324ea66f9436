"""The workloads: networks, data and initial parameters, the same for every system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# ("dense", fan_in, fan_out), ("relu",), ("tanh",), ("gelu",), ("layer_norm", width), ("residual", layers)
Layer = tuple[Any, ...]

MOMENTUM: Final = 0.9
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
NORM_EPSILON: Final = 1e-5


@dataclass(frozen=True)
class Workload:
    """A network with its data and its optimizer.

    Attributes:
        name: what the command line calls it.
        title: what it is, in a few words.
        layers: the network.
        batch: examples a step.
        rows: examples in all.
        optimizer: "momentum" (v ← 0.9 v + g; w ← w − rate v) or "adam".
        rate: the learning rate.
        clip: the largest global norm of the gradient, or None.
        rounds: measure no more rounds than that.
        checked: how many first losses must agree.
        epochs: above 0: measured as a whole process that trains so long.
    """

    name: str
    title: str
    layers: tuple[Layer, ...]
    batch: int
    rows: int
    optimizer: str
    rate: float
    clip: float | None = None
    rounds: int = 100
    checked: int = 10
    epochs: int = 0

    @property
    def widths(self) -> list[int]:
        """The columns of the input and of each dense layer's output."""
        dense = list(walk_dense(self.layers))
        return [dense[0][1], *(layer[2] for layer in dense)]

    @property
    def flops(self) -> int:
        """Floating-point operations of a step's matrix products: forward, dW, and dx where something needs it."""
        products = 3 * sum(fan_in * fan_out for _, fan_in, fan_out in walk_dense(self.layers))
        if self.layers[0][0] == "dense":  # nobody asks for the gradient by the data
            products -= self.layers[0][1] * self.layers[0][2]
        return 2 * self.batch * products

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.rows // self.batch

    @cached_property
    def data(self) -> tuple[Array, Array]:
        """Inputs (rows, width) float32 and integer labels (rows,): those of a random linear teacher."""
        if self.epochs:
            return load_digits(self.rows)
        rng = np.random.default_rng(1)
        X = rng.standard_normal((self.rows, self.widths[0]), dtype=np.float32)
        teacher = rng.standard_normal((self.widths[0], self.widths[-1]), dtype=np.float32)
        return X, np.argmax(X @ teacher, axis=1)

    def initial(self) -> list[Array]:
        """New initial parameters: of each layer in turn W and b, or gain and bias."""
        rng = np.random.default_rng(2)
        he = any(layer[0] == "relu" for layer in self.layers)
        made: list[Array] = []
        for layer in walk(self.layers):
            if layer[0] == "dense":
                scale = np.float32((2 if he else 1) / layer[1]) ** np.float32(0.5)
                made.append(rng.standard_normal(layer[1:], dtype=np.float32) * scale)
                made.append(np.zeros(layer[2], np.float32))
            elif layer[0] == "layer_norm":
                made += [np.ones(layer[1], np.float32), np.zeros(layer[1], np.float32)]
        return made

    def order(self, epoch: int) -> Array:
        """The order of the examples in an epoch: whole batches only."""
        return np.random.default_rng((3, epoch)).permutation(self.rows)[: self.steps * self.batch]

    def batches(self, order: Array) -> Iterator[tuple[Array, Array]]:
        """Give the batches of an order."""
        X, y = self.data
        for first in range(0, len(order) - self.batch + 1, self.batch):
            rows = order[first : first + self.batch]
            yield X[rows], y[rows]


def walk(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Give the layers, residual blocks opened."""
    for layer in layers:
        if layer[0] == "residual":
            yield from walk(layer[1])
        else:
            yield layer


def walk_dense(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Give the dense layers."""
    return (layer for layer in walk(layers) if layer[0] == "dense")


def apply(layers: Sequence[Layer], words: Any, params: Iterator[Any], x: Any) -> Any:
    """Apply a network in the words of a library: dense(x, W, b), relu, tanh, gelu, layer_norm(x, gain, bias)."""
    for layer in layers:
        kind: str = layer[0]
        if kind == "residual":
            x = x + apply(layer[1], words, params, x)
        elif kind in ("dense", "layer_norm"):
            x = getattr(words, kind)(x, next(params), next(params))
        else:
            function: Callable[[Any], Any] = getattr(words, kind)
            x = function(x)
    return x


def perceptron(*widths: int) -> tuple[Layer, ...]:
    """Dense layers with ReLU between them."""
    layers: list[Layer] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [("dense", fan_in, fan_out), ("relu",)]
    return tuple(layers[:-1])


def load_digits(rows: int) -> tuple[Array, Array]:
    """The first rows of the handwritten digits, of the file that the runner made or from scikit-learn."""
    import os

    if path := os.environ.get("BENCHMARK_DIGITS"):
        pixels = np.load(path)[:rows]
        return pixels[:, :-1] / np.float32(16), pixels[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits as load

    digits = load()
    return (digits.data[:rows] / 16).astype(np.float32), digits.target[:rows].astype(np.int64)


_BLOCK: Layer = ("residual", (("layer_norm", 64), ("dense", 64, 64), ("tanh",)))
_GELU = tuple(layer for width in (16, *[256] * 7) for layer in (("dense", width, 256), ("gelu",), ("layer_norm", 256)))

WORKLOADS: Final[dict[str, Workload]] = {
    w.name: w
    for w in (
        Workload("S", "4-16-3 ReLU", perceptron(4, 16, 3), 32, 8192, "momentum", 0.05),
        Workload("M", "64-128-64-10 ReLU", perceptron(64, 128, 64, 10), 64, 8192, "momentum", 0.05),
        Workload("L", "784-512-512-10 ReLU", perceptron(784, 512, 512, 10), 128, 8192, "momentum", 0.01),
        Workload(
            "XL", "2048⁴-10 ReLU", perceptron(2048, 2048, 2048, 2048, 10), 512, 2048, "momentum", 0.01,
            rounds=3, checked=4,
        ),
        Workload(
            "D", "30 × [LayerNorm, Dense 64, tanh, residual]", (_BLOCK,) * 30 + (("dense", 64, 10),), 64, 8192,
            "adam", 1e-3, clip=1.0,
        ),
        Workload("E", "8 × [Dense 256, GELU, LayerNorm]", (*_GELU, ("dense", 256, 10)), 256, 8192, "adam", 1e-3),
        Workload("W", "10000-64-10 ReLU", perceptron(10_000, 64, 10), 256, 2048, "momentum", 1e-4),
        Workload(
            "F", "digits, 64-128-64-10, 50 epochs, a whole process", perceptron(64, 128, 64, 10), 64, 1792,
            "adam", 1e-3, rounds=3, epochs=50,
        ),
    )
}  # fmt: skip


def find_workload(name: str) -> Workload:
    """A workload by its name: of `WORKLOADS`, or ``deep-N``, N of D's blocks."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    layers = (_BLOCK,) * int(name.removeprefix("deep-")) + (("dense", 64, 10),)
    return Workload(name, "blocks of D", layers, 64, 2048, "adam", 1e-3, clip=1.0)
