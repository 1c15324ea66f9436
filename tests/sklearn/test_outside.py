"""What a loss of one's own reads from outside while an estimator is fitted."""

import warnings

import numpy as np

from undertow.sklearn import MLPRegressor

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 3)), RNG.normal(size=50)


def fit(function, *callbacks):
    settings = {"hidden_layer_sizes": (4,), "activation": "tanh", "batch_size": 50, "solver": "sgd", "momentum": 0.0}
    model = MLPRegressor(
        **settings, learning_rate_init=0.05, alpha=0.0, max_iter=4, random_state=0, loss=function, callbacks=callbacks
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(X, Y)
    return model, [str(x.message) for x in said if "from outside, and it is not what it was" in str(x.message)]


def test_each_epoch_of_a_fit_has_the_loss_as_it_is_then():
    """Full batches down factor · mean (z − y)²: a factor of 0 stops the weights where two epochs have brought them."""
    read = {"factor": 1.0}

    class Stop:
        def on_epoch_end(self, info):
            read["factor"] = 1.0 if info.epoch < 2 else 0.0

    fitted, told = fit(lambda z, y: read["factor"] * np.mean((z - y) ** 2), Stop())
    assert len(told) == 1 and "reads read from outside" in told[0]
    plain, told = fit(lambda z, y: np.mean((z - y) ** 2))
    assert told == [] and fitted.loss_curve_[2:] == [0.0, 0.0]
    np.testing.assert_allclose(fitted.loss_curve_[:2], plain.loss_curve_[:2], rtol=1e-12)
    error = np.mean((fitted.predict(X) - Y) ** 2)  # what the third epoch began with
    np.testing.assert_allclose(error, plain.loss_curve_[2], rtol=1e-6)
