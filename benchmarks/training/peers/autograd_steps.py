"""HIPS autograd: gradients of plain NumPy code, updates in place."""

from __future__ import annotations

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from autograd.scipy.special import erf, logsumexp
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, NORM_EPSILON, Workload, apply
from numpy.typing import NDArray

Array = NDArray[Any]


class Words:
    """The network in NumPy's words."""

    tanh = staticmethod(anp.tanh)

    @staticmethod
    def dense(x: Any, W: Any, b: Any) -> Any:
        return anp.dot(x, W) + b

    @staticmethod
    def relu(z: Any) -> Any:
        return anp.maximum(z, 0)

    @staticmethod
    def gelu(z: Any) -> Any:
        return 0.5 * z * (1 + erf(z * 0.5**0.5))

    @staticmethod
    def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
        centred = x - anp.mean(x, axis=1, keepdims=True)
        variance = anp.mean(centred * centred, axis=1, keepdims=True)
        return centred / anp.sqrt(variance + NORM_EPSILON) * gain + bias


class AutogradTraining:
    """The training."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        labels = np.eye(workload.widths[-1], dtype=np.float32)

        def loss(params: Any, X: Any, y: Any) -> Any:
            z = apply(workload.layers, Words, iter(params), X)
            return anp.mean(logsumexp(z, axis=1) - anp.sum(labels[y] * z, axis=1))

        self.value_and_grad = value_and_grad(loss)
        self.reset()

    def reset(self) -> None:
        self.params = self.workload.initial()
        self.m = [np.zeros_like(p) for p in self.params]
        self.v = [np.zeros_like(p) for p in self.params]
        self.t = 0

    def epoch(self, order: Array) -> list[float]:
        losses = []
        for X, y in self.workload.batches(order):
            loss, grads = self.value_and_grad(self.params, X, y)
            losses.append(float(loss))
            if self.workload.clip is not None:
                norm = sum(float(np.vdot(g, g)) for g in grads) ** 0.5
                grads = [g * (self.workload.clip / max(norm, self.workload.clip)) for g in grads]
            self.update(grads)
        return losses

    def update(self, grads: list[Array]) -> None:
        self.t += 1
        rate = self.workload.rate
        c1, c2 = 1 - BETA1**self.t, 1 - BETA2**self.t
        for w, g, m, v in zip(self.params, grads, self.m, self.v, strict=True):
            if self.workload.optimizer == "momentum":
                m *= MOMENTUM
                m += g
                w -= rate * m
            else:
                m *= BETA1
                m += (1 - BETA1) * g
                v *= BETA2
                v += (1 - BETA2) * (g * g)
                w -= rate * (m / c1) / (np.sqrt(v / c2) + EPSILON)

    def parameters(self) -> list[Array]:
        return self.params


def make(workload: Workload, variant: str) -> AutogradTraining:
    return AutogradTraining(workload)
