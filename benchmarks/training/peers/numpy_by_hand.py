"""NumPy by hand: a written backward pass, arrays made once, updates in place on one flat vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, NORM_EPSILON, Layer, Workload
from numpy.typing import NDArray

Array = NDArray[Any]


class Dense:
    """z = x W + b."""

    def __init__(self, batch: int, params: list[Array], grads: list[Array], first: bool) -> None:
        (self.W, self.b), (self.dW, self.db), self.first = params, grads, first
        self.z = np.empty((batch, self.W.shape[1]), self.W.dtype)
        self.dx = np.empty((batch, self.W.shape[0]), self.W.dtype)

    def forward(self, x: Array) -> Array:
        self.x = x
        np.matmul(x, self.W, out=self.z)
        self.z += self.b
        return self.z

    def backward(self, d: Array) -> Array:
        np.matmul(self.x.T, d, out=self.dW)
        np.sum(d, axis=0, out=self.db)
        return d if self.first else np.matmul(d, self.W.T, out=self.dx)


class Relu:
    """h = max(z, 0), written over z."""

    def forward(self, z: Array) -> Array:
        self.h = np.maximum(z, 0, out=z)
        return self.h

    def backward(self, d: Array) -> Array:
        d *= self.h > 0
        return d


class Tanh:
    """h = tanh z, written over z."""

    def forward(self, z: Array) -> Array:
        self.h = np.tanh(z, out=z)
        return self.h

    def backward(self, d: Array) -> Array:
        slope = self.h * self.h
        np.subtract(1, slope, out=slope)
        slope *= d  # into a new array: a residual block still needs d
        return slope


class Gelu:
    """h = z Φ(z), with the exact Φ."""

    def __init__(self) -> None:
        from scipy.special import erf

        self.erf = erf

    def forward(self, z: Array) -> Array:
        self.z = z
        self.phi = self.erf(z * 0.5**0.5)
        self.phi += 1
        self.phi *= 0.5
        return z * self.phi

    def backward(self, d: Array) -> Array:
        slope = self.z * self.z
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= (2 * np.pi) ** -0.5
        slope *= self.z
        slope += self.phi
        slope *= d
        return slope


class LayerNorm:
    """h = gain · (x − mean) / √(variance + ε) + bias, over the columns."""

    def __init__(self, params: list[Array], grads: list[Array]) -> None:
        (self.gain, self.bias), (self.d_gain, self.d_bias) = params, grads

    def forward(self, x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", centred, centred)[:, None] / x.shape[1]
        self.r = 1 / np.sqrt(variance + NORM_EPSILON)
        centred *= self.r
        self.normal = centred
        h = centred * self.gain
        h += self.bias
        return h

    def backward(self, d: Array) -> Array:
        np.einsum("ij,ij->j", d, self.normal, out=self.d_gain)
        np.sum(d, axis=0, out=self.d_bias)
        dn = d * self.gain
        along = np.einsum("ij,ij->i", dn, self.normal)[:, None] / d.shape[1]
        dn -= dn.mean(axis=1, keepdims=True)
        dn -= self.normal * along
        dn *= self.r
        return dn


class Residual:
    """h = x + f(x)."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers

    def forward(self, x: Array) -> Array:
        h = x
        for layer in self.layers:
            h = layer.forward(h)
        return x + h

    def backward(self, d: Array) -> Array:
        before = d
        for layer in reversed(self.layers):
            d = layer.backward(d)
        return before + d


def build(layers: Sequence[Layer], batch: int, take: Callable[[], tuple[list[Array], list[Array]]]) -> list[Any]:
    """Make the layers; ``take`` gives the next two parameters with their gradients."""
    simple = {"relu": Relu, "tanh": Tanh, "gelu": Gelu}
    made: list[Any] = []
    for layer in layers:
        if layer[0] == "dense":
            made.append(Dense(batch, *take(), first=not made))
        elif layer[0] == "layer_norm":
            made.append(LayerNorm(*take()))
        elif layer[0] == "residual":
            made.append(Residual(build(layer[1], batch, take)))
        else:
            made.append(simple[layer[0]]())
    return made


class ByHand:
    """The training."""

    def __init__(self, workload: Workload) -> None:
        self.workload, initial = workload, workload.initial()
        self.start = np.concatenate([p.ravel() for p in initial])
        self.w, self.g, self.m, self.v, self.scratch = (np.zeros_like(self.start) for _ in range(5))
        ends = np.cumsum([p.size for p in initial])[:-1]
        self.params, grads = (
            [part.reshape(p.shape) for part, p in zip(np.split(flat, ends), initial, strict=True)]
            for flat in (self.w, self.g)
        )
        pairs = iter(range(0, len(initial), 2))

        def take() -> tuple[list[Array], list[Array]]:
            i = next(pairs)
            return self.params[i : i + 2], grads[i : i + 2]

        self.layers = build(workload.layers, workload.batch, take)
        self.rows = np.arange(workload.batch)
        self.reset()

    def reset(self) -> None:
        self.w[:], self.m[:], self.v[:], self.t = self.start, 0, 0, 0

    def epoch(self, order: Array) -> list[float]:
        return [self.step(X, y) for X, y in self.workload.batches(order)]

    def parameters(self) -> list[Array]:
        return self.params

    def step(self, X: Array, y: Array) -> float:
        z = X
        for layer in self.layers:
            z = layer.forward(z)
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - z[self.rows, y]))
        p /= total
        p[self.rows, y] -= 1
        p *= 1 / len(y)
        for layer in reversed(self.layers):
            p = layer.backward(p)
        self.update()
        return loss

    def update(self) -> None:
        g, rate, scratch = self.g, self.workload.rate, self.scratch
        if self.workload.clip is not None:
            g *= min(1.0, self.workload.clip / max(float(np.dot(g, g)) ** 0.5, 1e-30))
        if self.workload.optimizer == "momentum":
            self.m *= MOMENTUM
            self.m += g
            self.w -= np.multiply(self.m, rate, out=scratch)
            return
        self.t += 1
        self.m *= BETA1
        self.m += np.multiply(g, 1 - BETA1, out=scratch)
        self.v *= BETA2
        np.multiply(g, g, out=scratch)
        scratch *= 1 - BETA2
        self.v += scratch
        np.multiply(self.v, 1 / (1 - BETA2**self.t), out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += EPSILON
        np.divide(self.m, scratch, out=scratch)
        scratch *= rate / (1 - BETA1**self.t)
        self.w -= scratch


def make(workload: Workload, variant: str) -> ByHand:
    return ByHand(workload)


def product(a: Array, b: Array) -> Callable[[], Any]:
    c = np.empty_like(a)
    return lambda: np.matmul(a, b, out=c)
