"""Compiled gradients of models: trees that hold functions beside their arrays."""

import numpy as np
import pytest

import undertow as ut
from undertow import nn, trees


def make(dtype=np.float64):
    layers = [nn.Dense(3, 4), "tanh", nn.Residual(nn.Dense(4, 4), np.tanh), nn.Dense(4, 1)]
    return nn.initialize(nn.Sequential(*layers), 0, dtype), np.random.default_rng(0).normal(size=(5, 3))


def loss(model, X):
    return np.mean(model(X) ** 2)


def test_a_gradient_of_a_model_compiles():
    model, X = make()
    wanted = ut.grad(loss)(model, X)
    for found in (
        ut.compile(ut.grad(loss))(model, X),
        ut.compile(ut.value_and_grad(loss))(model, X)[1],
        ut.value_and_grad(loss, compile=True)(model, X)[1],
    ):
        assert type(found) is type(model) and str(found) == str(wanted)
        for a, b in zip(trees.flatten(found)[0], trees.flatten(wanted)[0], strict=True):
            assert a is b if callable(b) else np.allclose(a, b, rtol=1e-12, atol=0)


def test_a_model_may_be_a_result_beside_numbers():
    model, X = make()
    same, total = ut.compile(lambda model, X: (model, np.sum(X)))(model, X)
    assert total == pytest.approx(np.sum(X)) and same.layers[1] is model.layers[1]
    np.testing.assert_array_equal(same(X), model(X))


def test_a_function_alone_is_no_result():
    with pytest.raises(ut.NonScalarError, match="returned ufunc, not numbers"):
        ut.compile(lambda f, x: f)(np.tanh, 1.0)


def test_float32_parameters_meet_float64_data():
    model, X = make(np.float32)
    value, found = ut.value_and_grad(loss, compile=True)(model, X)
    wanted_value, wanted = ut.value_and_grad(loss)(model, X)
    assert value.dtype == wanted_value.dtype == np.float64
    np.testing.assert_allclose(value, wanted_value, rtol=1e-12)
    assert found.layers[0].W.dtype == np.float32
    np.testing.assert_allclose(found.layers[0].W, wanted.layers[0].W, rtol=1e-6)
