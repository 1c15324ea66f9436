"""Metrics at their limits: no examples, the classes of margin losses, targets and probabilities that are none."""

import math

import numpy as np
import pytest

from undertow.errors import DataError
from undertow.train.metric import make_predictions
from undertow.train.metrics import METRICS, find_metric


@pytest.mark.parametrize("name", [name for name in METRICS if name != "confusion_matrix"])
def test_of_no_examples_every_metric_is_nan(name):
    """Alone; as a chunk between others they change nothing."""
    metric, rng = METRICS[name], np.random.default_rng(0)
    for task in set(metric.tasks) - {"own"}:
        columns = () if task == "binary" else (3,)
        empty = make_predictions(task, np.zeros((0, *columns)), np.zeros((0, *columns)))
        assert math.isnan(metric(empty))
        some = make_predictions(task, rng.normal(size=(9, *columns)), rng.integers(0, 2, (9, *columns)))
        assert metric.result(metric.add(metric.add(metric.init(), empty), some)) == metric(some)


def test_targets_of_margin_losses_are_classes():
    """-1 is the class 0; it was another number to the log loss."""
    z, signs = np.array([0.5, -1.0, 2.0, -0.3]), np.array([1, -1, -1, 1])
    classes = make_predictions("binary", z, [1, 0, 0, 1])
    for name in ("accuracy", "f1", "auc", "log_loss", "brier_score", "expected_calibration_error", "mcc"):
        assert find_metric(name)(make_predictions("binary", z, signs)) == find_metric(name)(classes)


@pytest.mark.parametrize(
    ("task", "outputs", "y", "logits", "message"),
    [
        ("binary", [0.3, 1.0], [0, 2], True, r"y\[1\] is 2, but targets are 0, 1 or a probability\. Give the classes"),
        ("binary", [0.3, 1.0], [math.nan, 1], True, r"y\[0\] is nan, but targets are 0, 1"),
        ("multilabel", [[0.3, 1.0]], [[1, 7]], True, r"y\[0, 1\] is 7, but targets"),
        ("binary", [0.3, 1.7], [0, 1], False, r"the outputs hold 1\.7, but probabilities are 0 to 1\. .* logits=True"),
        ("categorical", [[-2.0, 3.0]], [1], False, r"the outputs hold -2, but probabilities"),
        ("binary", [0.3, 1.0], ["a", "b"], True, r"y is of <U1, but a binary task wants numbers\. Give np\.unique"),
        ("regression", [0.3, 1.0], ["1", "2"], True, r"a regression task wants numbers\. Give y\.astype\(float\)"),
    ],
)
def test_what_is_no_target_and_no_probability_is_told(task, outputs, y, logits, message):
    with pytest.raises(DataError, match=message):
        make_predictions(task, outputs, y, logits=logits)


def test_probabilities_that_rounding_puts_beyond_1_and_a_model_that_diverged_are_measured():
    assert METRICS["accuracy"](make_predictions("binary", np.float32([1 + 1e-6, 0]), [1, 0], logits=False)) == 1
    assert math.isnan(METRICS["log_loss"](make_predictions("binary", [math.nan, math.inf], [1, 0], logits=False)))
