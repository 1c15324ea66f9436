"""What `train` is given and cannot use is said before the first step, in the words of who gave it."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, DataError, DTypeError, NonScalarError, RunError, ShapeError
from undertow.train import Diverged, Run, make_gradient, train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)


@dataclass
class Linear:
    W: Any

    def __call__(self, x):
        return x @ self.W


@dataclass
class NotCallable:
    W: Any


def subtract(output, target):
    return np.mean((output - target) ** 2)


def fit(model=None, data=None, **settings):
    settings = {"loss": "categorical_cross_entropy", "epochs": 2, "progress": False, **settings}
    return train(nn.Sequential(nn.Dense(4, 2)) if model is None else model, data or (X, LABELS), **settings)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": 3}, ArgumentError, "the model is int, not callable"),
        ({"model": "abc"}, ArgumentError, "the model is str"),
        ({"model": [nn.Dense(4, 2)]}, ArgumentError, "the model is list"),
        ({"model": nn.Dense}, ArgumentError, "the class Dense"),
        ({"model": NotCallable(X)}, ArgumentError, "NotCallable, not callable"),
        ({"model": nn.Sequential()}, ArgumentError, "no parameters to train"),
        ({"model": Linear(np.ones((3, 2)))}, ShapeError, r"X of shape \(m, 4\): x @ W \(test_train_arguments.py:\d+\)"),
        ({"model": Linear(None)}, ArgumentError, "no parameters to train|cannot be applied"),
        ({"dtype": "foo"}, DTypeError, "'foo'"),
        ({"metrics": 3}, ArgumentError, "metrics is 3"),
        ({"callbacks": 3}, ArgumentError, "callback"),
        ({"callbacks": lambda: None}, ArgumentError, r"called with \(info\)"),
        ({"loss": lambda output: 1.0}, ArgumentError, r"cannot be called with \(output, y\)"),
        ({"loss": lambda output, y: 3.0}, ArgumentError, "does not depend on the model's parameters"),
        (
            {"loss": lambda output, y: output},
            NonScalarError,
            r"<lambda> \(test_train_arguments.py:\d+\) returned an array",
        ),
        ({"loss": subtract}, ShapeError, r"output - target \(test_train_arguments.py:\d+\): output is \(36, 2\)"),
        ({"loss": [3]}, ArgumentError, "there is no loss"),
        ({"validation": (X[:5], LABELS[:4])}, ShapeError, "validation data: X is"),
        ({"validation": (X[:5] * np.nan, LABELS[:5])}, DataError, r"the validation X\[0, 0\] is NaN"),
        ({"validation": ()}, DataError, "validation data must be a pair"),
        ({"validation": X}, ArgumentError, "validation is ndarray"),
    ],
)
def test_what_cannot_be_trained_is_named(settings, error, message):
    """Models, losses, callbacks and validation data: the message is ours and names what was given."""
    with pytest.raises(error, match=message):
        fit(**settings)


def test_callbacks_may_be_one_or_none():
    """A bare function and None serve as callbacks."""
    rows = []
    fit(callbacks=lambda info: rows.append(info.row))
    assert len(rows) == 2 and len(fit(callbacks=None).history) == 2


def test_training_does_not_warn_and_names_the_usual_rate():
    """An overflow is told once, as Diverged; NumPy's warnings do not come before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Diverged, match=r"below 1e\+30 \(0.01 is usual with sgd\)"):
            fit(data=(X, X[:, :2]), loss="mean_squared_error", optimizer=ut.optim.sgd(1e30), epochs=9)


def test_parameters_that_the_last_step_ruined_are_found():
    """The loss before the only step is finite, the parameters after it are not."""
    with pytest.raises(Diverged, match="the parameters are not finite after epoch 1, step 1"):
        fit(optimizer=ut.optim.sgd(1e300), epochs=1, batch_size=64, validation=None)


def test_what_was_trained_is_kept_when_the_epoch_is_interrupted_at_its_end():
    """Ctrl-C in a callback after an epoch ends training, and the run has the epoch."""

    def interrupt(info):
        raise KeyboardInterrupt

    run = fit(callbacks=interrupt, epochs=5)
    assert run.stopped == "interrupted" and len(run.history) == 1


def test_public_softmax_and_sigmoid_are_the_activations():
    """`ut.softmax` as the last layer makes probabilities, so that the loss does not take them for logits."""
    for last, loss, width in ((ut.softmax, "categorical_cross_entropy", 2), (ut.sigmoid, "binary_cross_entropy", 1)):
        run = fit(nn.Sequential(nn.Dense(4, width), last), loss=loss)
        assert run.settings["loss"] == loss and not run.settings["logits"]


def test_a_bias_is_true_or_false():
    """An activation as third argument of Dense is refused with the way to write it."""
    with pytest.raises(ArgumentError, match=r"bias must be True or False, got 'relu'.*Sequential"):
        nn.Dense(4, 2, "relu")


def test_labels_train_by_the_graph_that_explain_shows():
    """Integer labels give softmax − one-hot, with no sum over the target."""

    def loss(model, X, y):
        return nn.categorical_cross_entropy_with_logits(model(X), y)

    gradient = make_gradient(loss)
    model = nn.initialize(nn.Sequential(nn.Dense(4, 2)), 0)
    gradient(model, X, LABELS)
    (program,) = gradient.programs.values()
    explained = ut.backprop(loss, model, X, LABELS)
    assert str(program.graph) == str(explained.graph)
    assert "(softmax(z, axis=1) - y1) / m" in explained.source
    run = fit(model, validation=None, epochs=1, batch_size=40, optimizer=ut.optim.sgd(0.5))
    np.testing.assert_allclose(
        run.model.layers[0].W, model.layers[0].W - 0.5 * gradient(model, X, LABELS)[1].layers[0].W, rtol=1e-5, atol=1e-7
    )


def test_a_run_of_nan_is_not_saved(tmp_path):
    """What could not be loaded is not saved."""
    model = nn.initialize(nn.Dense(2, 2), 0)
    model.W[0, 0] = np.nan
    with pytest.raises(RunError, match="W holds NaN"):
        Run(model).save(tmp_path / "run")


def test_rows_of_another_width_and_images_are_told_with_the_batch_as_m_and_a_remedy_that_works():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 20)
    settings = {"loss": "categorical_cross_entropy", "epochs": 1, "progress": False}
    with pytest.raises(ut.ShapeError, match=r"layer 1, Dense\(5, 3\): x is \(m, 4\)\. Give x 5 columns, or use Dense"):
        ut.train(ut.nn.Sequential(ut.nn.Dense(5, 3)), (rng.normal(size=(20, 4)), y), **settings)
    images = rng.normal(size=(20, 8, 8))
    with pytest.raises(ut.ShapeError, match=r"x is \(m, 8, 8\)\. Give x 64 columns, one row .*put Flatten\(\) before"):
        ut.train(ut.nn.Sequential(ut.nn.Dense(64, 3)), (images, y), **settings)
    ut.train(ut.nn.Sequential(ut.nn.Flatten(), ut.nn.Dense(64, 3)), (images, y), **settings)


def test_weights_that_are_all_0_are_refused():
    """A mean with weights that sum to 0 is no number, of training as of what is held out."""
    weights = np.zeros(len(X))
    with pytest.raises(DataError, match="the weights of all 36 examples to train on are 0: none counts"):
        fit(data=(X, LABELS, weights), validation=0.1)
    with pytest.raises(DataError, match="the weights of all 5 examples held out are 0: none counts"):
        fit(data=(X, LABELS, weights + 1), validation=(X[:5], LABELS[:5], weights[:5]))
    weights[3] = 1
    assert np.isfinite([row["loss"] for row in fit(data=(X, LABELS, weights), validation=None).history]).all()


def test_inputs_with_other_axes_than_in_training_are_refused():
    """A Dense layer takes what is between as rows, and the largest of the places would have been a class."""
    run = fit()
    with pytest.raises(ShapeError, match=r"X is \(1, 40, 4\), but it was \(m, 4\) in training"):
        run.predict(X[None])
    with pytest.raises(ShapeError, match=r"X is \(2, 20, 4\), but it was \(m, 4\) in training"):
        run.predict_probability(X.reshape(2, 20, 4))
    assert run.predict(X[:1]).shape == (1,)
