"""PyTorch: eager with its fused optimizers, or with the loss compiled by ``torch.compile``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks.training.peers import NotMeasured
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, NORM_EPSILON, Workload, apply
from numpy.typing import NDArray
from torch.nn import functional

Array = NDArray[Any]

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


class Words:
    """The network in PyTorch's words; weights lie as in ``nn.Linear``, (fan_out, fan_in)."""

    dense = staticmethod(functional.linear)
    relu, tanh = staticmethod(torch.relu), staticmethod(torch.tanh)
    gelu = staticmethod(functional.gelu)

    @staticmethod
    def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
        return functional.layer_norm(x, x.shape[-1:], gain, bias, NORM_EPSILON)


class TorchTraining:
    """The training."""

    def __init__(self, workload: Workload, compiled: bool) -> None:
        self.workload = workload
        self.X, self.y = map(torch.from_numpy, workload.data)
        self.start = [torch.tensor(p.T if p.ndim == 2 else p).contiguous() for p in workload.initial()]
        self.params = [p.clone().requires_grad_() for p in self.start]

        def loss(params: list[Any], X: Any, y: Any) -> Any:
            return functional.cross_entropy(apply(workload.layers, Words, iter(params), X), y)

        self.loss: Callable[..., Any] = torch.compile(loss, dynamic=False) if compiled else loss
        self.reset()

    def reset(self) -> None:
        with torch.no_grad():
            for p, start in zip(self.params, self.start, strict=True):
                p.copy_(start)
        rate = self.workload.rate
        if self.workload.optimizer == "momentum":
            self.optimizer: Any = torch.optim.SGD(self.params, rate, momentum=MOMENTUM, fused=True)
        else:
            self.optimizer = torch.optim.Adam(self.params, rate, (BETA1, BETA2), EPSILON, fused=True)

    def epoch(self, order: Array) -> list[float]:
        losses = []
        for rows in torch.from_numpy(order).split(self.workload.batch):
            self.optimizer.zero_grad()
            loss = self.loss(self.params, self.X[rows], self.y[rows])
            loss.backward()
            if self.workload.clip is not None:
                torch.nn.utils.clip_grad_norm_(self.params, self.workload.clip, foreach=True)
            self.optimizer.step()
            losses.append(loss.item())
        return losses

    def parameters(self) -> list[Array]:
        found = [p.detach().numpy() for p in self.params]
        return [p.T if p.ndim == 2 else p for p in found]


def make(workload: Workload, variant: str) -> TorchTraining:
    if variant == "compile" and shutil.which(os.environ.get("CXX", "g++")) is None:
        raise NotMeasured("torch.compile needs a C++ compiler: g++, or the one that CXX names")
    return TorchTraining(workload, variant == "compile")


def product(a: Array, b: Array) -> Callable[[], Any]:
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    out = torch.from_numpy(np.empty_like(a))
    return lambda: torch.mm(left, right, out=out)
