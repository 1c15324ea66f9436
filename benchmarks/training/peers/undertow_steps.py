"""Undertow: a model of `undertow.nn` and layers of a user's own in plain NumPy; its step, or its whole epoch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.training.peers import NotMeasured
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, NORM_EPSILON, Layer, Workload
from numpy.typing import NDArray

import undertow as ut
from undertow import trees
from undertow.nn import categorical_cross_entropy_with_logits
from undertow.train import derive, step

Array = NDArray[Any]


@dataclass(eq=False)
class LayerNorm:
    """A user's layer: h = gain · (x − mean) / √(variance + ε) + bias, over the columns."""

    fan_in: int
    fan_out: int
    gain: Any
    bias: Any

    def __call__(self, x: Any) -> Any:
        centred = x - np.mean(x, axis=1, keepdims=True)
        variance = np.mean(centred * centred, axis=1, keepdims=True)
        return centred / np.sqrt(variance + NORM_EPSILON) * self.gain + self.bias


def gelu(z: Any) -> Any:
    """A user's activation: h = z Φ(z), with the exact Φ."""
    from scipy.special import erf

    return 0.5 * z * (1 + erf(z * 0.5**0.5))


def build(layers: Sequence[Layer], params: Iterator[Array]) -> list[Any]:
    """Make the layers with their parameters."""
    made: list[Any] = []
    for layer in layers:
        if layer[0] == "dense":
            made.append(ut.nn.Dense(layer[1], layer[2], W=next(params), b=next(params)))
        elif layer[0] == "layer_norm":
            made.append(LayerNorm(layer[1], layer[1], next(params), next(params)))
        elif layer[0] == "residual":
            made.append(ut.nn.Residual(*build(layer[1], params)))
        else:
            made.append(gelu if layer[0] == "gelu" else layer[0])
    return made


def loss_of(model: Any, X: Any, y: Any) -> Any:
    """The loss of a model on a batch."""
    return categorical_cross_entropy_with_logits(model(X), y)


class UndertowTraining:
    """The training: one `Step`, which keeps what it compiled; a session for each beginning."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        if workload.optimizer == "momentum":
            optimizer = ut.optim.momentum(workload.rate, MOMENTUM)
        else:
            optimizer = ut.optim.adam(workload.rate, BETA1, BETA2, EPSILON)
        clip = None if workload.clip is None else ut.optim.clip_by_global_norm(workload.clip)
        self.step: Any = step.make_step(loss_of, optimizer, clip)
        self.reset()

    def reset(self) -> None:
        self.model: Any = ut.nn.Sequential(*build(self.workload.layers, iter(self.workload.initial())))
        self.state = self.step.init(self.model)
        # Compiled steps come as sessions on all examples; an Undertow without them has single steps only.
        self.session: Any = None
        if hasattr(self.step, "open"):
            self.session = self.step.open(self.model, self.state, *self.workload.data, self.workload.batch)

    def epoch(self, order: Array) -> list[float]:
        if self.session is not None:
            return self.session.run(order, self.workload.batch).tolist()
        losses = []
        for X, y in self.workload.batches(order):
            loss, self.model, self.state = self.step(self.model, self.state, X, y)
            losses.append(loss)
        return losses

    def profile(self) -> dict[str, float]:
        """What a step consists of: seconds of its products and of its other kernels, bytes that these move."""
        kernels = self.session.resident.prepare(self.workload.batch).profile(30).kernels
        others = [kernel for kernel in kernels if not kernel.kind]
        return {
            "products": sum(kernel.seconds for kernel in kernels if kernel.kind),
            "others": sum(kernel.seconds for kernel in others),
            "moved": sum(kernel.moved for kernel in others),
        }

    def parameters(self) -> list[Array]:
        if self.session is not None:
            self.model, self.state = self.session.values()
        return derive.numbers_of(trees.flatten(self.model)[0])


def make(workload: Workload, variant: str) -> UndertowTraining:
    return UndertowTraining(workload)


def product(a: Array, b: Array) -> Callable[[], Any]:
    """A product as compiled programs compute it: by a kernel of their own or by the BLAS they found."""
    try:
        compiled = importlib.import_module("undertow.compile").compile(np.matmul)
    except ImportError:
        raise NotMeasured("this Undertow does not compile") from None
    return lambda: compiled(a, b)
