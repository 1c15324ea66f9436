"""`stop_gradient` of trees: the parameters of a network that another one follows, as constants."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut


@dataclass
class Net:
    W: Any
    name: str = "net"

    def __call__(self, x):
        return np.tanh(x @ self.W)


X = np.random.default_rng(0).normal(size=(5, 3))
W = np.random.default_rng(1).normal(size=(3, 2))


@pytest.mark.parametrize("compile", [False, True])
def test_what_a_network_is_to_follow_is_a_constant(compile):
    """The gradient is that of a loss in which the target is plain numbers."""

    def loss(net, X):
        return np.mean((2 * net(X) - ut.stop_gradient(net)(X)) ** 2)

    _, gradient = ut.value_and_grad(loss, compile=compile)(Net(W), X)
    h = np.tanh(X @ W)
    np.testing.assert_allclose(gradient.W, X.T @ (2 * (2 * h - h) * 2 * (1 - h**2) / h.size), rtol=1e-12)


def test_each_leaf_of_a_tree_is_stopped_and_others_stay():
    def loss(p):
        held = ut.stop_gradient({"pair": (p["a"], [p["b"], 2.0]), "none": None, "name": "n"})
        assert held["none"] is None and held["name"] == "n"
        return np.sum(p["a"] * held["pair"][0]) + p["b"] * held["pair"][1][0] * held["pair"][1][1]

    gradient = ut.grad(loss)({"a": np.array([1.0, 2.0]), "b": 3.0})
    np.testing.assert_array_equal(gradient["a"], [1.0, 2.0])
    assert gradient["b"] == 6.0


def test_numbers_in_a_list_are_an_array_as_before():
    np.testing.assert_array_equal(ut.stop_gradient([1.0, 2.0]), np.array([1.0, 2.0]))
    with pytest.raises(ut.errors.DTypeError, match="x is complex128 numbers"):
        ut.stop_gradient({"z": np.ones(2) * 1j})
