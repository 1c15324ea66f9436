"""Metrics by name, and a user's own function as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from undertow.errors import ArgumentError
from undertow.graph import show_shape
from undertow.spelling import did_you_mean
from undertow.trace import describe_function
from undertow.train import metrics_labels as of_labels
from undertow.train import metrics_scores as of_scores
from undertow.train import metrics_values as of_values
from undertow.train.callbacks import takes
from undertow.train.metric import TASKS, Array, Metric, Predictions, check_task

METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        of_labels.ACCURACY,
        of_labels.BALANCED_ACCURACY,
        of_labels.SUBSET_ACCURACY,
        *(make(average) for make in (of_labels.precision, of_labels.recall, of_labels.f1)
          for average in (None, *of_labels.AVERAGES)),
        of_labels.top_k_accuracy(5),
        of_labels.MATTHEWS,
        of_labels.CONFUSION_MATRIX,
        of_scores.AUC,
        of_scores.AVERAGE_PRECISION,
        of_scores.LOG_LOSS,
        of_scores.BRIER,
        of_scores.expected_calibration_error(),
        of_values.R2,
        of_values.EXPLAINED_VARIANCE,
        of_values.MEAN_ABSOLUTE_ERROR,
        of_values.MEAN_SQUARED_ERROR,
        of_values.ROOT_MEAN_SQUARED_ERROR,
        of_values.MEAN_ABSOLUTE_PERCENTAGE_ERROR,
    )
}  # fmt: skip
SHORT_NAMES: Final = {
    "acc": "accuracy",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mcc": "matthews_correlation",
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "roc_auc": "auc",
    "ece": "expected_calibration_error",
}
_TOP_K = re.compile(r"top_(\d+)_accuracy")


def find_metric(metric: str | Metric | Callable[..., Any]) -> Metric:
    """Find a metric by its name, or make one of a function.

    Args:
        metric: a name of ``METRICS`` or ``SHORT_NAMES``, ``"top_3_accuracy"`` for any number, ``"f1_of_1"``,
            ``"recall_of_1"`` or ``"precision_of_1"`` for class 1 alone, a `Metric`, or a function (y, prediction) →
            number, see `own_metric`.

    Returns:
        The metric; its name is the one given.

    Raises:
        ArgumentError: ``there is no metric 'acuracy'. Did you mean 'accuracy'? …``

    Source: derived here.

    Example:
        >>> find_metric("rmse").better, find_metric("top_3_accuracy").name
        ('low', 'top_3_accuracy')
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        if metric in METRICS:
            return METRICS[metric]
        if metric in SHORT_NAMES:
            return replace(METRICS[SHORT_NAMES[metric]], name=metric)
        if (found := _TOP_K.fullmatch(metric)) and int(found[1]):
            return of_labels.top_k_accuracy(int(found[1]))
        if found := of_labels.OF_CLASS.fullmatch(metric):
            return of_labels.of_class(found[1], int(found[2]))
        hint = did_you_mean(metric, [*METRICS, *SHORT_NAMES])
        raise ArgumentError(
            f"there is no metric {metric!r}. {hint}There are {', '.join(METRICS)}; and any function (y, prediction)."
        )
    if callable(metric):
        return own_metric(metric)
    raise ArgumentError(f"a metric is {metric!r}. Give a name such as 'accuracy', or a function (y, prediction).")


def is_told_by_name(metric: Metric) -> bool:
    """Tell whether `find_metric` finds the same metric by its name: none of the user's own, whatever it is called."""
    patterns = (_TOP_K, of_labels.OF_CLASS)
    known = metric.name in METRICS or metric.name in SHORT_NAMES or any(x.fullmatch(metric.name) for x in patterns)
    return known and metric.init is not _All


def read_metrics(metrics: Any, task: str, n_classes: int | None = None) -> list[Metric]:
    """Read what a caller wants to have measured.

    Args:
        metrics: a name, a `Metric`, a function, or a dict of own functions by name; or several of these.
        task: the task that they are for, see `find_task`.
        n_classes: how many classes there are, where that is known.

    Returns:
        The metrics, each of which goes with the task and gives one number.

    Raises:
        ArgumentError: an unknown one, one that does not go with the task or of a class that is not there,
            ``two metrics are named 'cost'. …``

    Source: derived here.

    Example:
        >>> [metric.name for metric in read_metrics(["f1", "auc"], "binary")]
        ['f1', 'auc']
    """
    if metrics is None:
        return []
    if isinstance(metrics, str | Metric | Mapping) or callable(metrics):
        found = _read_one(metrics)
    elif isinstance(metrics, Iterable):
        found = [one for metric in metrics for one in _read_one(metric)]
    else:
        raise ArgumentError(f"metrics is {metrics!r}. Give names, such as ('accuracy',), or None.")
    names = [metric.name for metric in found]
    for metric in found:
        check_task(metric, task)
        of_class = of_labels.OF_CLASS.fullmatch(metric.name) if is_told_by_name(metric) else None
        if of_class and n_classes is not None and int(of_class[2]) >= n_classes:
            raise ArgumentError(
                f"{metric.name}: there is no class {of_class[2]}. There are {n_classes}, the last is {n_classes - 1}: "
                f"write {of_class[1]}_of_{n_classes - 1}."
            )
        if metric.name == "confusion_matrix":
            raise ArgumentError(
                "confusion_matrix is a table, and numbers are wanted here. "
                "After training, METRICS['confusion_matrix'](run.predictions(X, y)) gives it."
            )
        if names.count(metric.name) > 1:
            raise ArgumentError(f"two metrics are named {metric.name!r}. Give a dict of functions by other names.")
        if metric.name == "loss" or metric.name.startswith("validation_"):
            raise ArgumentError(f"a metric is named {metric.name!r}, which is a column of its own. Rename it.")
    return found


def _read_one(metric: Any) -> list[Metric]:
    """A metric, or those of a dict, each by its name there."""
    if isinstance(metric, Mapping):
        return [_rename(value, str(name)) for name, value in metric.items()]
    return [find_metric(metric)]


def _rename(metric: Any, name: str) -> Metric:
    """A metric, or a function that need not have a name, by another name."""
    known = isinstance(metric, str | Metric) or not callable(metric)
    return replace(find_metric(metric), name=name) if known else own_metric(metric, name)


@dataclass
class _All:
    """Chunks of targets, predictions and weights, kept for a function that wants all at once."""

    targets: list[Array] = field(default_factory=list)
    predictions: list[Array] = field(default_factory=list)
    weights: list[Array | None] = field(default_factory=list)


def own_metric(
    function: Callable[..., Any], name: str | None = None, better: str | None = None, share: bool = False
) -> Metric:
    """Make a metric of a function of all targets and predictions; both are kept until it is called.

    Args:
        function: (y, prediction) → a number. A prediction is a label where there are classes, else the model's
            outputs. Where weights are given it is called with ``sample_weight=`` as well, as scikit-learn's take it.
        name: the column that it fills; the function's own unless told.
        better: ``"high"`` or ``"low"``, so that early stopping knows.
        share: whether it is read as a percentage.

    Returns:
        The metric.

    Raises:
        ArgumentError: a function without a name, one that takes other arguments, one that gives no number.

    Source: derived here.

    Example:
        >>> worst = own_metric(lambda y, prediction: np.max(np.abs(y - prediction)), name="worst", better="low")
        >>> worst(Predictions("regression", np.array([[1.0], [2.0]]), values=np.array([[1.5], [4.0]])))
        2.0
    """
    name = str(name or getattr(function, "__name__", type(function).__name__))
    if name == "<lambda>":
        raise ArgumentError("a metric is a lambda, which has no name. Give it in a dict: {'name': function}.")
    if better not in (None, "high", "low"):
        raise ArgumentError(f"{name}: better is {better!r}. Give 'high', 'low' or None.")
    if not takes(function, 2) and not takes(function, 2, "sample_weight"):
        raise ArgumentError(f"a metric is called with (y, prediction), but {describe_function(function)} takes others.")

    def add(state: _All, data: Predictions) -> _All:
        found = data.values if data.labels is None else data.labels
        if found is None:
            raise ArgumentError("these predictions hold neither labels nor values. Use make_predictions.")
        state.targets.append(np.array(data.targets if data.labels is None else data.target_labels))
        state.predictions.append(np.array(found))
        state.weights.append(data.weights)
        return state

    def result(state: _All) -> float:
        if not state.targets:
            return float("nan")
        y, prediction = np.concatenate(state.targets), np.concatenate(state.predictions)
        weighted = any(w is not None for w in state.weights)
        return _call(function, name, y, prediction, _join_weights(state) if weighted else None)

    return Metric(name, TASKS, better, _All, add, result, share)


def _join_weights(state: _All) -> Array:
    """All weights; ones for chunks that had none."""
    pairs = zip(state.weights, state.targets, strict=True)
    return np.concatenate([np.ones(len(y)) if w is None else w for w, y in pairs])


def _call(function: Callable[..., Any], name: str, y: Array, prediction: Array, weights: Array | None) -> float:
    """Call a user's function, and read the number that it gives."""
    if weights is not None and not takes(function, 2, "sample_weight"):
        raise ArgumentError(
            f"the metric {name} takes no sample_weight, but the examples have weights. "
            "Let it take (y, prediction, sample_weight), or leave the weights out."
        )
    weighted = weights is not None or not takes(function, 2)
    own = {"sample_weight": np.ones(len(y)) if weights is None else weights} if weighted else {}
    try:
        found = function(y, prediction, **own)
    except Exception as error:
        labels = ", both labels of classes" if prediction.dtype.kind not in "f" else ""
        raise ArgumentError(
            f"the metric {name} ended with {type(error).__name__}: {error}. It is called with (y, prediction), the "
            f"target first: y is {show_shape(y.shape)}, prediction {show_shape(prediction.shape)}{labels}."
        ) from error
    try:
        return float(found)
    except (TypeError, ValueError):
        kind = f"an array of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise ArgumentError(f"the metric {name} gave {kind}. Let it return one number.") from None


def measure(metrics: Sequence[Metric], predictions: Predictions) -> dict[str, float]:
    """Compute several metrics of data that are all there.

    Args:
        metrics: from `read_metrics`.
        predictions: from `make_predictions`.

    Returns:
        The numbers by name.

    Raises:
        ArgumentError: a metric that does not go with the task.

    Source: derived here.

    Example:
        >>> from undertow.train.metric import make_predictions
        >>> measure(read_metrics(["r2", "mae"], "regression"), make_predictions("regression", [1.0, 3.0], [1.0, 2.0]))
        {'r2': -1.0, 'mae': 0.5}
    """
    return {metric.name: metric(predictions) for metric in metrics}


def find_direction(column: str, metrics: Iterable[Metric] = ()) -> str | None:
    """Tell whether a column of the history is to rise or to fall.

    Args:
        column: ``"validation_loss"``, ``"f1"``, …
        metrics: the metrics of the run, for names of one's own.

    Returns:
        ``"high"``, ``"low"``, or None where it is not known.

    Source: derived here.

    Example:
        >>> find_direction("validation_f1"), find_direction("loss"), find_direction("seconds")
        ('high', 'low', None)
    """
    name = column.removeprefix("validation_")
    if name == "loss":
        return "low"
    for metric in metrics:
        if metric.name == name:
            return metric.better
    if name in METRICS or name in SHORT_NAMES or _TOP_K.fullmatch(name):
        return find_metric(name).better
    return None
