"""Records the gradient flow of a fit, as `undertow.train` does of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertow.flow import FlowLayer, Recorder
from undertow.flow.facts import measure_facts
from undertow.flow.layers import read_layers
from undertow.flow.looks import N_EXAMPLES, due_mark, is_round, take_look
from undertow.flow.names import CLASSES_AT_MOST, FEATURES_AT_MOST
from undertow.flow.restraints import measure_restraints
from undertow.flow.training import N_HELD, keep_held_out, note_if_scaled
from undertow.train.objective import Target
from undertow.train.task import Task

if TYPE_CHECKING:
    from undertow.sklearn.learner import Learner
    from undertow.train.session import NotFinite

Array = NDArray[Any]


class FitRecorder(Recorder):
    """Records the steps of a fit; of further calls of ``partial_fit`` as well.

    Args:
        layers: what is looked at.
        rates: the learning rate, if there is a single one.

    Attributes:
        epochs: how many were recorded.
    """

    def __init__(self, layers: tuple[FlowLayer, ...], rate: float = np.nan) -> None:
        super().__init__(layers)
        self.rate, self.epochs, self.done = rate, 0, 0
        self.sample: tuple[Array, Target] | None = None
        self.incremental = False
        self.task: Task | None = None
        self.held: tuple[Array, Array] | None = None
        self.names: dict[str, Any] = {}

    def begin(self, learner: Learner, task: Task, held: tuple[Array, Array] | None, settings: dict[str, Any]) -> None:
        """Measure what is to be known before the first step."""
        X, y = learner.some(4096), learner.target.y[:4096]
        weights = learner.target.weights
        keys = learner.keys_of(N_EXAMPLES)
        rows = slice(N_EXAMPLES)
        self.sample = X[rows], Target(y[rows], None if weights is None else weights[rows], keys)
        self.flow.settings, self.task, self.held = settings, task, held
        if not self.flow.facts:
            with np.errstate(all="ignore"):
                facts = measure_facts(learner.model, task, (X, y), held, self.names.get("features"))
            n, size = len(learner.target.y), learner.batch_size
            facts |= {"names": self.names} if self.names else {}
            self.flow.facts |= facts | {"n_examples": n, "batch_size": size, "smallest_batch": n % size or size}
            self._look(learner)
            note_if_scaled(self.flow, learner.step.gradient, learner.values(), *self.sample)

    def after_run(self, session: Any) -> None:
        """Take over what steps told."""
        self.add_steps(session.told, session.results, self.done + 1, self.epochs + 1, self.rate)
        self.done += sum(len(part.values) for part in session.told)

    def end_epoch(self, learner: Learner) -> None:
        """Count an epoch, and look closely if it is due."""
        self.epochs += 1
        mark = due_mark(self.flow.looks[-1].step, self.done)
        if mark is not None:
            self._look(learner, noise=is_round(mark))

    def end(self, learner: Learner, history: list[dict[str, Any]], stopped: str) -> None:
        """Look once more."""
        flow = self.current()
        flow.history, flow.stopped = history, "finished" if stopped == "converged" else stopped
        due = 2 * flow.looks[-1].step if self.incremental else flow.looks[-1].step + 1  # of very many calls, few look
        if stopped != "diverged" and self.done >= max(due, 1):
            self._look(learner)
            self._judge(learner)

    def _judge(self, learner: Learner) -> None:
        """Measure what regularisation costs, where there is any, and keep outputs for rows that were held out."""
        assert self.sample is not None and self.task is not None
        flow, model, held = self.flow, learner.values(), None
        if self.held is not None:
            held = self.held[0][:N_HELD], self.held[1][:N_HELD]
            with np.errstate(all="ignore"):
                keep_held_out(flow, np.asarray(model(held[0])), held[1])
        train = self.sample[0], self.sample[1].y
        found = measure_restraints(model, self.task, flow.settings, self.layers, train, held)
        if found is not None:
            flow.facts["restraints"] = found

    def fail(self, learner: Learner, error: NotFinite) -> str:
        """Find where what is not finite came from, and say it."""
        self.add_steps(error.told, error.results, self.done + 1, self.epochs + 1, self.rate)
        place = (learner.step.gradient.loss_function, learner.model, error.X, error.y)
        step = self.done + len(error.losses) + 1
        return self.trace_back(*place, step=step, epoch=self.epochs + 1, loss=error.loss)

    def _look(self, learner: Learner, noise: bool = True) -> None:
        assert self.sample is not None
        X, target = self.sample
        model = learner.values()
        look = take_look(
            learner.step.gradient, self.layers, model, X, target, step=self.done, epoch=self.epochs, noise=noise
        )
        self.flow.looks.append(look)


def open_recorder(estimator: Any, model: Any, X: Array, rate: Any, incremental: bool) -> FitRecorder:
    """Make the recorder of a fit, or go on with that of the calls of ``partial_fit`` before.

    Args:
        estimator: the estimator, which keeps it.
        model: with its parameters.
        X: a few examples.
        rate: the learning rate.
        incremental: whether this is ``partial_fit``.

    Returns:
        The recorder.

    Source: derived here.
    """
    recorder = getattr(estimator, "_recorder", None) if incremental else None
    layers = read_layers(model, X)
    if recorder is None or recorder.layers != layers:
        recorder = FitRecorder(layers, float(rate) if isinstance(rate, int | float) else np.nan)
    recorder.incremental, recorder.names = incremental, _names_of(estimator)
    estimator._recorder = recorder
    return recorder


def _names_of(estimator: Any) -> dict[str, Any]:
    """What the data call their classes and columns, see `undertow.flow.names.read_names`."""
    classes = np.ravel(getattr(estimator, "classes_", ()))[:CLASSES_AT_MOST]
    features = getattr(estimator, "feature_names_in_", ())[:FEATURES_AT_MOST]
    found = {"classes": [str(x) for x in classes], "features": [[str(x), str(x)] for x in features]}
    return {name: value for name, value in found.items() if value}
