"""A deep network whose gradient vanishes in the course of a training is told so, one that learns slowly is not."""

import numpy as np
import pytest
from benchmarks.diagnosis import broken_signal  # noqa: F401 (its networks enter)
from benchmarks.diagnosis.case import make_cases
from sklearn.datasets import load_digits

import undertow as ut
from undertow.flow.diagnose import explains
from undertow.flow.findings import Finding


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    return ((X - X.mean(axis=0)) / (X.std(axis=0) + 1e-3)).astype(np.float32), y


def train(digits, optimizer):
    layers = [x for k in range(60) for x in (ut.nn.Dense(64, 64), "tanh")]
    model = ut.nn.Sequential(*layers, ut.nn.Dense(64, 10))
    settings = {"batch_size": 32, "epochs": 15, "seed": 0, "progress": False}
    return ut.train(model, digits, loss="categorical_cross_entropy_with_logits", optimizer=optimizer, **settings)


def sizes(run):
    """‖δ‖ of the first layer by that of the last before the output, at each step."""
    delta = run.flow.stat("delta.rms")
    return delta[:, 0] / delta[:, -2]


def test_what_steps_make_vanish_is_told_with_the_step(digits):
    run = train(digits, ut.optim.momentum(0.01, 0.9))
    ratio = sizes(run)
    assert np.median(ratio[:50]) > 0.02 and np.median(ratio[-len(ratio) // 4 :]) < 1e-4
    assert run.flow.scalars["loss"][-50:].mean() > 0.7 * np.log(10)
    (found,) = [x for x in run.findings if x.kind == "vanishing"]
    assert found.step > 2 and "steps made it so" in found.cause and ratio[found.step - 1] < 0.05
    assert found.remedies[0].name == "rate"


def test_a_deep_network_that_learns_slowly_is_told_nothing(digits):
    run = train(digits, ut.optim.sgd(0.01))
    assert run.flow.scalars["loss"][-50:].mean() < 0.7 * np.log(10) and np.median(sizes(run)[-100:]) > 0.1
    assert run.findings == []


def test_of_a_rank_that_was_lost_before_training_what_vanishes_later_follows():
    lost, later, first = (Finding(kind, "warning", "", step=step) for kind, step in
                          (("rank-collapse", 0), ("vanishing", 60), ("vanishing", 0)))  # fmt: skip
    assert explains(lost, later) and not explains(later, lost)
    assert explains(first, lost) and not explains(lost, first)


def test_what_vanished_before_training_is_told_though_adam_raised_it_where_a_line_learns_more():
    """20 layers of 32 tanh units with weights that are too small, of the bench; squares of a linear function beside."""
    (case,) = [x for x in make_cases(86420, "vanishing") if x.name.startswith("20 × 32 tanh, small weights")]
    run = ut.train(**case.train_arguments())
    ratio, learned = sizes(run), 1 - run.history[-1]["loss"] / np.log(10)
    assert ratio[0] < 1e-3 < 0.02 < np.median(ratio[:50])
    X, y = (np.asarray(x) for x in case.train_arguments()["data"])
    design, Y = np.c_[X, np.ones(len(X))], np.eye(10)[y] - 0.1
    left = Y - design @ np.linalg.lstsq(design, Y, rcond=None)[0]
    assert learned < 0.3 < 1 - np.sum(left**2) / np.sum(Y**2)
    assert [x.kind for x in run.findings] == ["vanishing"]
