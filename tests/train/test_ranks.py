"""The area under the ROC curve and average precision of many examples: in bounded memory, as scikit-learn has them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from undertow.train.metric import make_predictions
from undertow.train.metrics import METRICS
from undertow.train.ranks import MOST

measures = pytest.importorskip("sklearn.metrics")
N = 900_000
assert N > MOST


def draw(spread, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(N) < 0.2).astype(np.int64)
    return y, (spread * (y - 0.5) + rng.logistic(size=N)).astype(np.float32)


def feed(metric, task, outputs, y, weights=None, chunk=50_000):
    state = metric.init()
    for first in range(0, len(y), chunk):
        rows = slice(first, first + chunk)
        w = None if weights is None else weights[rows]
        state = metric.add(state, make_predictions(task, outputs[rows], y[rows], w))
    return state


@pytest.mark.parametrize("spread", [0.0, 2.0, 12.0, 30.0])
@pytest.mark.parametrize("task", ["binary", "categorical"])
def test_many_examples_have_scikit_learns_figures(spread, task):
    y, z = draw(spread)
    outputs = z if task == "binary" else np.stack([-z / 2, z / 2], axis=1)
    found = METRICS["auc"].result(feed(METRICS["auc"], task, outputs, y))
    assert found == pytest.approx(measures.roc_auc_score(y, z), abs=2e-6)
    found = METRICS["average_precision"].result(feed(METRICS["average_precision"], task, outputs, y))
    wanted = [measures.average_precision_score(y, z)]
    wanted += [measures.average_precision_score(1 - y, -z)] if task == "categorical" else []
    assert found == pytest.approx(np.mean(wanted), abs=2e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scores_of_any_size_are_told_apart(scale):
    y, z = draw(2.0)
    found = METRICS["auc"].result(feed(METRICS["auc"], "binary", z * np.float32(scale), y))
    assert found == pytest.approx(measures.roc_auc_score(y, z), abs=2e-6)


def test_weights_count():
    y, z = draw(2.0)
    w = np.random.default_rng(1).integers(0, 3, N).astype(float)
    found = METRICS["auc"].result(feed(METRICS["auc"], "binary", z, y, w))
    assert found == pytest.approx(measures.roc_auc_score(y, z, sample_weight=w), abs=2e-6)


def test_a_score_that_is_no_number_is_not_left_out():
    y, z = draw(2.0)
    z[5] = np.nan
    assert math.isnan(METRICS["auc"].result(feed(METRICS["auc"], "binary", z, y)))


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_what_is_kept_does_not_grow(outputs):
    rng = np.random.default_rng(0)
    state, sizes = METRICS["auc"].init(), []
    task = "binary" if outputs == 1 else "categorical"
    for _ in range(60):
        z = rng.normal(size=(50_000, outputs)).astype(np.float32) * 5
        y = rng.integers(0, max(outputs, 2), 50_000)
        state = METRICS["auc"].add(state, make_predictions(task, z[:, 0] if outputs == 1 else z, y))
        parts = [*state.targets, *state.scores, *state.weights, *(state.sums or [])]
        sizes.append(sum(array.nbytes for array in parts))
    assert max(sizes) < 12e6 + outputs * 5e6
    assert METRICS["auc"].result(state) == pytest.approx(0.5, abs=1e-3)
