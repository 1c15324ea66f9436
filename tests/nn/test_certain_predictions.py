"""Losses of probabilities where a prediction is certain: 0 log 0 is 0, by definition and in gradients."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn

# Losses of probabilities: predictions that are certain and right, the target, the value, the gradient by definition.
CERTAIN = [
    ("binary_cross_entropy", {}, [[0.0], [1.0]], [[0.0], [1.0]], 0.0, [[0.5], [-0.5]]),
    ("binary_cross_entropy", {"pos_weight": 3.0}, [[0.0], [1.0]], [[0.0], [1.0]], 0.0, [[0.5], [-1.5]]),
    ("binary_focal", {}, [[0.0], [1.0]], [[0.0], [1.0]], 0.0, [[0.0], [0.0]]),
    ("categorical_cross_entropy", {}, [[0.0, 1.0], [0.5, 0.5]], [1, 0], np.log(2) / 2, [[0.0, -0.5], [-1.0, 0.0]]),
    ("categorical_cross_entropy", {}, [[0.0, 1.0]], [[0.0, 1.0]], 0.0, [[0.0, -1.0]]),
    ("categorical_focal", {}, [[0.0, 1.0]], [1], 0.0, [[0.0, 0.0]]),
    ("kullback_leibler", {}, [[0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]], 0.0, [[-1.0, -1.0, 0.0]]),
    ("poisson", {"log_input": False}, [[0.0], [2.0]], [[0.0], [2.0]], 1 - np.log(2), [[0.5], [0.0]]),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", ["numpy", "compiled"])
@pytest.mark.parametrize(("name", "settings", "p", "y", "expected", "gradient"), CERTAIN)
def test_0_log_0_is_0(name, settings, p, y, expected, gradient, how, dtype):
    """A probability of 0 or 1 that is right costs nothing, and its gradient is that of the definition beside it."""
    p, y = np.array(p, dtype), np.array(y)
    y = y.astype(dtype) if y.dtype.kind == "f" else y
    loss = nn.LOSSES[name].function
    with np.errstate(all="raise"):
        assert loss(p, y, **settings) == pytest.approx(expected, abs=1e-7)
        value, ct = ut.value_and_grad(lambda q: loss(q, y, **settings), compile=how == "compiled")(p)
    assert value == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(ct, gradient, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_certain_prediction_that_is_wrong_costs_what_the_smallest_number_costs(dtype):
    """Not infinitely much, which one example would make of the loss of all."""
    most = -np.log(np.finfo(dtype).tiny)
    assert nn.binary_cross_entropy(np.array([0.0], dtype), np.array([1.0], dtype)) == pytest.approx(most)
    assert nn.categorical_cross_entropy(np.array([[1.0, 0.0]], dtype), np.array([1])) == pytest.approx(most)


@pytest.mark.parametrize(
    ("name", "end", "y"),
    [("binary_cross_entropy", nn.sigmoid, np.array([[1.0], [0.0]])), ("categorical_cross_entropy", nn.softmax, [0, 1])],
)
def test_a_saturated_end_costs_nothing_where_it_is_right(name, end, y):
    """Logits so large that p is 1 to the last bit: evaluated by NumPy it is as finite as compiled."""
    z = np.array([[50.0], [-800.0]]) if name.startswith("binary") else np.array([[800.0, 0.0], [0.0, 800.0]])
    loss = nn.LOSSES[name].function
    for compile in (False, True):
        value, ct = ut.value_and_grad(lambda z: loss(end(z), np.asarray(y)), compile=compile)(z)
        assert value == pytest.approx(0.0, abs=1e-20)
        np.testing.assert_allclose(ct, 0, atol=1e-20)


def test_the_target_has_its_gradient_where_it_is_0():
    """By a soft target the cross-entropy is linear, with the slope −log p, also at 0."""
    p = np.array([[0.25, 0.75]])
    np.testing.assert_allclose(
        ut.grad(lambda y: nn.categorical_cross_entropy(p, y))(np.array([[0.0, 1.0]])), -np.log(p), rtol=1e-12
    )
