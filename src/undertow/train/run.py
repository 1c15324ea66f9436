"""A run: the trained model, how it came about, and what can be asked of it."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.data.arrays import as_arrays, read_array
from undertow.data.source import read_weights
from undertow.errors import ArgumentError, DataError, RunError, ShapeError
from undertow.habits import RUNS, missing_attribute
from undertow.nn import LOSSES, Loss, build_loss, sigmoid, softmax
from undertow.nn.layer import show_item
from undertow.train.forward import Forward
from undertow.train.metric import CLASSES, Metric, Predictions, find_task
from undertow.train.metrics import read_metrics
from undertow.train.task import Examples, Task


def read_versions() -> dict[str, str]:
    """Return the versions of what trains, by name."""
    own = sys.modules[__name__.partition(".")[0]].__version__  # importlib.metadata loads what reads e-mail
    return {"undertow": own, "numpy": np.__version__, "python": platform.python_version()}


ENDS: Final = {"callback": "stopped early"}  # what the word alone does not tell; early stopping is one


@dataclass(eq=False)
class Run:
    """What training leaves behind.

    Attributes:
        model: the trained model.
        history: a row (dict) an epoch: epoch, step, loss, accuracy, validation_loss,
            validation_accuracy, seconds, examples_per_second. Without classes or validation their
            columns are absent. ``loss`` is the mean over the epoch's steps; the others are measured at
            its end, ``accuracy`` on at most 4096 training examples.
        gradient_history: gradient sizes by layer at the first step of each epoch, with ``epoch``.
        settings: how it was trained, as plain data.
        stopped: ``"finished"``, ``"interrupted"``, ``"callback"`` or ``"diverged"``.
        versions: of Python, NumPy and Undertow.
        extras: plain data that a caller wants to be saved with the run.
        forward: computes the model's outputs on many rows, compiled.
        own_loss: the loss that it was trained with, if that is a function of the user's own; it is not saved.
        own_metrics: the metrics that are functions of the user's own; they are not saved.
        record: what `flow` is made of: a recorder, or the folder of the run.
        folder: where it was loaded from, or kept as it went; None where there is none.
    """

    model: Any
    history: list[dict[str, Any]] = field(default_factory=list)
    gradient_history: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    stopped: str = "finished"
    versions: dict[str, str] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    forward: Forward = field(default_factory=Forward, repr=False)
    own_loss: Loss | None = field(default=None, repr=False)
    own_metrics: list[Metric] = field(default_factory=list, repr=False)
    record: Any = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute("a run", name, RUNS)

    def __repr__(self) -> str:
        epochs = "1 epoch" if len(self.history) == 1 else f"{len(self.history)} epochs"
        last = f", loss {self.history[-1]['loss']:.4g}" if self.history else ""
        return f"Run({show_item(self.model)}, {epochs}, {ENDS.get(self.stopped, self.stopped)}{last})"

    def _repr_html_(self) -> str:
        return str(import_module("undertow.report.notebook").run_html(self))

    @property
    def gradient_sizes(self) -> list[dict[str, Any]]:
        """Gradient sizes by layer, first to last, at the first step of the last epoch."""
        if not self.gradient_history:
            return []
        last = self.gradient_history[-1]["epoch"]
        return [row for row in self.gradient_history if row["epoch"] == last]

    @property
    def flow(self) -> Any:
        """How the gradient flowed, layer by layer, step by step: an `undertow.flow.Flow`.

        Raises:
            RunError: nothing was recorded: the run was trained with ``flow=False``.
        """
        if self.record is None:
            raise RunError("this run holds no record of its gradient flow. Train with flow=True.")
        flow = import_module("undertow.flow").read_flow(self.record)
        if isinstance(self.record, Path):  # it is read once
            self.record = flow
        flow.history = flow.history or self.history
        return flow

    @property
    def findings(self) -> list[Any]:
        """What is wrong with the training, the worst first: a list of `undertow.flow.Finding`; a healthy one has none.

        Where it is shown it tells each in a line; in a notebook, each is to unfold.

        Raises:
            RunError: nothing was recorded.
        """
        found: list[Any] = import_module("undertow.flow").diagnose(self.flow)
        return found

    def _as_table(self, X: Any) -> Any:
        """What reads tables, where this run was trained on one and X is one: a frame, columns by name, or a file."""
        is_table = isinstance(X, str | Path | dict) or type(X).__module__.partition(".")[0] in ("pandas", "polars")
        is_table |= isinstance(X, list | tuple) and len(X) > 0 and isinstance(X[0], dict)
        return import_module("undertow.train.predictions") if is_table and self.extras.get("encoder") else None

    def outputs(self, X: ArrayLike) -> NDArray[Any]:
        """Compute what the model itself gives for X (m, …): logits, probabilities or values.

        Args:
            X: inputs as the model takes them; of a table, what its encoder made of it.

        Raises:
            DataError: X holds values that are not finite, or no numbers.
            ShapeError: X has another width than the model takes, or more or fewer axes than in training.
        """
        rows = read_array(X, "X")
        if rows.ndim < 2:
            raise ShapeError(
                f"X is {rows.shape}. Give it a row an example and a column a feature: X[None] for one example."
            )
        example = self.settings.get("example_shape")
        if example is not None and len(example) != rows.ndim - 1:  # Dense takes further axes as rows, others do not
            wanted = ", ".join(["m", *map(str, example)])
            raise ShapeError(f"X is {rows.shape}, but it was ({wanted}) in training. Give X as many axes.")
        rows = rows.astype(self.settings.get("dtype", "float32"), copy=False)
        return self.forward(self.model, rows)

    def predict(self, X: ArrayLike, threshold: Any = None) -> NDArray[Any]:
        """Predict for X (m, …): int64 labels (m,) where the loss is one of classes, else the outputs.

        Args:
            X: inputs. A run that was trained on a table also takes tables with the columns that it had: a polars or
                pandas frame, a dictionary of columns or of one row, a list of rows that are dictionaries, the path of a
                file. It then predicts what stands in the target's column, (m,): texts, booleans, numbers.
            threshold: of two classes, above which probability one is predicted: ``0.2``, that of the rarer one of a
                table and of class 1 of arrays, or ``{"yes": 0.2}``. None for the likelier class.

        Raises:
            ArgumentError: there are not two classes, or no probabilities of them.
            DataError: X holds values that are not finite, or no numbers; the table does not fit the encoder.
            ShapeError: X has another width than the model takes.
        """
        if tables := self._as_table(X):
            found: NDArray[Any] = tables.predict_table(self, X, threshold=threshold)
            return found
        outputs = self.outputs(X)
        task = self._task(outputs)
        if threshold is None:
            return task.decide(outputs)
        limit = self._find_threshold(threshold, task)
        decided: NDArray[Any] = limit.apply(task.pair(outputs, np.zeros(len(outputs)))).labels
        return decided

    def _find_threshold(self, given: Any, task: Task) -> Any:
        """The threshold of the classes 0 and 1."""
        if find_task(task.loss.task, task.output_shape) == "multilabel":
            raise ArgumentError(
                "a threshold decides between two classes, but this run tells of several things whether "
                "each is there. Compare run.predict_probability(X) with one for each."
            )
        classes = range(task.n_classes or 0)
        record = Run(None)  # of which no class is known to be rare, so that it is class 1
        return import_module("undertow.train.threshold").read_threshold(given, record, task.loss, classes)

    def predict_probability(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the probability of each class, (m, K); for a binary loss that of class 1, (m, 1) or (m,).

        Args:
            X: inputs; or a table, see `predict`, for which each class has its column, in the order of the encoder.

        Raises:
            ArgumentError: the run's loss is not one of classes.
            DataError: X holds values that are not finite, or no numbers.
            ShapeError: X has another width than the model takes.
        """
        if tables := self._as_table(X):
            found: NDArray[Any] = tables.predict_table(self, X, probabilities=True)
            return found
        outputs = self.outputs(X)
        task = self._task(outputs)
        if not task.classifies or not task.loss.knows_probabilities:
            knows = "probabilities" if task.classifies else "classes"
            raise ArgumentError(f"this run was trained with {task.loss.name}, which knows no {knows}. Use predict(X).")
        if not task.loss.logits:
            return outputs
        p = softmax(outputs) if task.loss.task == "categorical" else sigmoid(outputs)
        return np.asarray(p)

    def evaluate(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        weights: Any = None,
        metrics: Any = None,
        threshold: Any = None,
    ) -> dict[str, Any]:
        """Measure the model on data.

        Args:
            X: inputs, (m, …); or a table, see `predict`, that has the column of the target, and maybe of the weights.
            y: targets, (m,) or (m, K); None for a table.
            weights: of the examples, (m,), or None.
            metrics: see `train`; None for those that it was trained with, which of a table are measured beside the
                usual ones of its task.
            threshold: as `predict` takes it; the loss knows none.

        Returns:
            The loss and each metric by its name; of a table what `undertow evaluate` prints:
            `undertow.train.predictions.evaluate_table`.

        Raises:
            DataError, ShapeError: as in training.
            ArgumentError: the run was loaded, and its loss is a function of the user's own; there is no target.
        """
        if y is None and weights is None and (tables := self._as_table(X)):
            measured: dict[str, Any] = tables.evaluate_table(self, X, metrics, threshold=threshold)
            return measured
        if y is None:
            raise ArgumentError("evaluate takes inputs and their targets. Call run.evaluate(X, y).")
        task, kind, (rows, targets, w) = self._read(X, y, weights)
        chosen = self.read_metrics(metrics, kind, n_classes=task.n_classes)
        if threshold is None:
            return task.evaluate(self.model, [(rows, targets, w)], chosen, self.forward)
        found = self._find_threshold(threshold, task).apply(task.pair(self.outputs(rows), targets, w))
        measured = task.evaluate(self.model, [(rows, targets, w)], (), self.forward)
        return measured | {metric.name: float(metric(found)) for metric in chosen}

    def read_metrics(
        self, metrics: Any, kind: str, usual: Sequence[str] = (), n_classes: int | None = None
    ) -> list[Metric]:
        """Read the metrics to measure: those that are told, else those that the run was trained with.

        Args:
            metrics: see `train`, or None.
            kind: of the task, see `undertow.train.metric.find_task`.
            usual: names of metrics that are measured first where none are told.
            n_classes: how many classes there are, where that is known.

        Raises:
            ArgumentError: an unknown one, or one that does not go with the task.
        """
        if metrics is not None:
            return read_metrics(metrics, kind, n_classes)
        own = {metric.name: metric for metric in self.own_metrics}
        asked = self.settings.get("metrics", ["accuracy"] if kind in CLASSES else [])
        lost = [name for name in self.settings.get("own_metrics", ()) if name not in own]
        if lost:
            warnings.warn(
                f"this run was trained with metrics of your own, which are not saved and so not measured: "
                f"{', '.join(lost)}. Give them: metrics=, or set run.own_metrics.",
                UserWarning,
                stacklevel=3,
            )
        names = [*usual, *(name for name in asked if name not in usual and name not in lost)]
        return read_metrics([own.get(name, name) for name in names], kind)

    def predictions(self, X: ArrayLike, y: ArrayLike, weights: Any = None) -> Predictions:
        """Pair predictions with their targets, as metrics take them: ``METRICS["confusion_matrix"](predictions)``.

        Args:
            X: inputs, (m, …).
            y: targets, (m,) or (m, K).
            weights: of the examples, (m,), or None.

        Returns:
            The predictions, with labels and probabilities where there are classes.

        Raises:
            DataError, ShapeError, ArgumentError: as in training.
        """
        _, _, (rows, targets, w) = self._read(X, y, weights)
        return self.pair(self.outputs(rows), targets, w)

    def pair(self, outputs: NDArray[Any], targets: NDArray[Any], weights: Any = None) -> Predictions:
        """Pair outputs of the model with their targets, both as training knows them; see `predictions`."""
        return self._task(outputs).pair(outputs, targets, weights)

    def _read(self, X: ArrayLike, y: ArrayLike, weights: Any) -> tuple[Task, str, Examples]:
        """The task, its kind, and examples with their targets as the loss takes them."""
        rows, targets = as_arrays((X, y), "evaluation")
        rows = rows.astype(self.settings.get("dtype", "float32"), copy=False)
        if not len(rows):
            raise DataError("there are no examples to evaluate on. Give at least one.")
        task = self._task(np.asarray(self.model(rows[:1])))
        w = None if weights is None else read_weights(weights, len(rows))
        if task.loss.task == "own" and (self.own_loss is None or w is not None):
            name = self.settings.get("loss", "a loss of your own")
            raise ArgumentError(
                f"{name} gives one number for a batch, so examples cannot be weighed. Leave weights out."
                if self.own_loss is not None
                else f"this run was trained with a loss of your own ({name}), which is not saved. Compute it of "
                "run.outputs(X), or set run.own_loss."
            )
        return task, find_task(task.loss.task, task.output_shape), (rows, task.read_target(targets), w)

    def plot(self, columns: Any = None, path: str | Path | None = None) -> Any:
        """Draw the history, see `undertow.train.plot_history`."""
        from undertow.train.plot import plot_history

        return plot_history(self.history, columns, path)

    def frame(self, kind: str = "polars") -> Any:
        """Return the history as a frame, see `undertow.train.frame`."""
        from undertow.train.columns import frame

        return frame(self.history, kind)

    def export(self, path: str | Path, **options: Any) -> Path:
        """Write the model for programs that know nothing of Undertow, see `undertow.export.export`.

        Args:
            path: ``model.py``, which needs only NumPy, or ``model.onnx``.
            options: as `undertow.export.export_source` and `undertow.export.export_onnx` take them.

        Returns:
            The path.
        """
        return import_module("undertow.export").export(self, path, **options)

    def report(self, path: str | Path = "report.html", **options: Any) -> Path:
        """Write a report as one HTML page, see `undertow.report.report_run`.

        Args:
            path: the file.
            options: as `undertow.report.report_run` takes them.

        Returns:
            The path.
        """
        written: Path = import_module("undertow.report").report_run(self, path, **options)
        return written

    def try_remedies(self, X: Any = None, y: Any = None, **options: Any) -> Any:
        """Train again, shortly, with each remedy of the findings, and compare: see `undertow.flow.try_remedies`."""
        return import_module("undertow.flow").try_remedies(self, X, y, **options)

    def _task(self, outputs: NDArray[Any]) -> Task:
        name = self.settings.get("loss", "")
        if name not in LOSSES:
            loss = self.own_loss or Loss(name, lambda output, y: output, "own")
            return Task(loss, outputs.shape[1:], outputs.dtype)
        loss = build_loss({"name": name, **self.settings.get("loss_settings", {})})
        return Task(loss, outputs.shape[1:], outputs.dtype)

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Save to a new folder, see `undertow.train.checkpoint.save`."""
        from undertow.train.checkpoint import save

        return save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Load from a folder, see `undertow.train.load`."""
        from undertow.train.checkpoint import load

        return load(path)
