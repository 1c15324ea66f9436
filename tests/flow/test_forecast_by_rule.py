"""What a forecast says of a gradient that Adam bears and gradient descent does not: both are trained."""

from __future__ import annotations

import pytest

import undertow as ut
from undertow import nn, optim

DIGITS = ut.data.load_digits()


@pytest.mark.parametrize(("depth", "told"), [(1, False), (4, True)])
def test_a_forecast_tells_what_gradient_descent_does_not_bear(depth: int, told: bool) -> None:
    model = nn.Sequential(*[x for _ in range(depth) for x in (nn.Dense(64, 64), "sigmoid")], nn.Dense(64, 10))
    found = ut.flow.forecast(model, DIGITS.X)
    assert found.fine
    assert ("such as Adam, bear that; gradient descent hardly does" in str(found)) == told
    settings = {"loss": "categorical_cross_entropy", "epochs": 15, "validation": 0.2, "progress": False}
    adam, descent = (
        ut.train(model, (DIGITS.X, DIGITS.y), optimizer=rule, **settings) for rule in (optim.adam(3e-3), optim.sgd(0.1))
    )
    assert adam.history[-1]["validation_accuracy"] > 0.8
    assert ("vanishing" in [x.kind for x in descent.findings]) == told
