"""scikit-learn: the loop of its own MLPClassifier, an epoch a call of ``partial_fit``."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.training.peers import NotMeasured
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, Workload
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

Array = NDArray[Any]


class SklearnTraining:
    """The training; initial parameters are put over those that a first call drew."""

    def __init__(self, workload: Workload) -> None:
        self.workload, self.start = workload, workload.initial()
        adam = workload.optimizer == "adam"
        self.model = MLPClassifier(
            tuple(workload.widths[1:-1]), solver="adam" if adam else "sgd", alpha=0.0, batch_size=workload.batch,
            learning_rate_init=workload.rate, momentum=MOMENTUM, nesterovs_momentum=False, shuffle=False,
            beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON,
        )  # fmt: skip
        X, y = workload.data
        self.model.partial_fit(X[: workload.batch], y[: workload.batch], classes=np.arange(workload.widths[-1]))
        self.reset()

    def reset(self) -> None:
        for own, start in zip(self.parameters(), self.start, strict=True):
            own[...] = start
        self.model.__dict__.pop("_optimizer", None)  # with its velocities and moments
        self.model.loss_curve_.clear()

    def epoch(self, order: Array) -> list[float]:
        """Do an epoch; scikit-learn keeps one loss for all its steps, their mean."""
        X, y = self.workload.data
        self.model.partial_fit(X[order], y[order])
        return [float(self.model.loss_curve_[-1])] * (len(order) // self.workload.batch)

    def first_losses(self, order: Array) -> list[float]:
        """The losses of single steps: a call each."""
        for X, y in self.workload.batches(order):
            self.model.partial_fit(X, y)
        return [float(loss) for loss in self.model.loss_curve_]

    def parameters(self) -> list[Array]:
        layers = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [p for layer in layers for p in layer]


def make(workload: Workload, variant: str) -> SklearnTraining:
    if any(layer[0] not in ("dense", "relu") for layer in workload.layers):
        raise NotMeasured("MLPClassifier has no such layers")
    if workload.name in ("XL", "W"):
        raise NotMeasured("not asked of scikit-learn")
    return SklearnTraining(workload)
