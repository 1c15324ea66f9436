"""Fits that stop being finite: the step is named, and the parameters before it are kept."""

import itertools
from importlib import import_module

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from undertow import trees
from undertow.sklearn import FitDiverged, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore")
V, v = load_diabetes(return_X_y=True)
V, v = V * 20, v / 50


def roots(z, y):
    """Its gradient is NaN where the output is 0, while the loss is a number."""
    return np.mean((z - y) ** 2 + np.sqrt((0 * z) ** 2 * z**2))


@pytest.mark.parametrize("more", [{}, {"max_iter": 1}, {"max_iter": 1, "batch_size": len(v)}, {"early_stopping": True}])
def test_a_gradient_that_is_not_finite_is_named_and_no_parameter_is_lost(more):
    """In the step where it was, also in the last one, after which no loss tells of it."""
    with pytest.raises(FitDiverged, match=r"Epoch 1, step 1: the gradient of layers\[0\]\.W is not") as caught:
        MLPRegressor(loss=roots, random_state=0, **more).fit(V, v)
    assert all(np.isfinite(x).all() for x in trees.flatten(caught.value.run.model)[0] if not callable(x))
    with pytest.raises(FitDiverged, match="Epoch 1, step 1: the gradient of"):
        MLPRegressor(loss=roots, random_state=0).partial_fit(V, v)


def test_lbfgs_is_not_told_to_lower_a_rate():
    with pytest.raises(FitDiverged, match=r"Scale X and y to mean 0 and deviation 1, .* or use another solver\.$"):
        MLPRegressor(loss=roots, solver="lbfgs", random_state=0).fit(V, v)


def test_a_step_that_diverges_is_counted_where_callbacks_are_asked_after_each():
    """As where many steps are done at once."""

    class Ask:
        def on_step_end(self, epoch, step, loss, model):
            return None

    told = []
    for callbacks in ((), (Ask(),)):
        with pytest.raises(FitDiverged) as caught:
            MLPRegressor(solver="sgd", learning_rate_init=3e3, batch_size=20, random_state=0, callbacks=callbacks).fit(
                V, v
            )
        told.append(str(caught.value))
    assert told[0] == told[1] and "step 1:" not in told[0]


def test_a_rate_that_changes_after_the_last_step_hides_no_message():
    """The step that spoilt the parameters cannot be gone back to by then."""
    model = MLPRegressor(solver="sgd", learning_rate="invscaling", batch_size=64, max_iter=1, dtype="float32",
                         learning_rate_init=1e38)  # fmt: skip
    with pytest.raises(FitDiverged, match="come out of layer 1, Dense"):
        model.fit(V[:64], v[:64])


def test_an_epoch_has_one_validation_score(monkeypatch):
    """Also where the last step of the last epoch spoils the parameters: its score is known by then."""
    asked = itertools.count()
    module = import_module("undertow.sklearn.fitting")
    monkeypatch.setattr(module, "is_finite", lambda model: next(asked) > 0)  # not right after the last step
    with pytest.warns(ConvergenceWarning, match="The model is that of the best epoch before"):
        model = MLPRegressor(random_state=0, early_stopping=True, max_iter=3).fit(V, v)
    assert len(model.validation_scores_) == len(model.loss_curve_) == 3
