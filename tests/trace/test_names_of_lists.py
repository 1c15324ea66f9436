"""Parameters in lists are called by the list, unless the function gives them names of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import undertow as ut

X = np.linspace(-1, 1, 12).reshape(4, 3)
LISTS = ([np.ones((3, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)])
NAMES = ["W_0", "W_1", "b_0", "b_1"]


def unpacked(params: Any, X: Any) -> Any:
    W, b = params
    h = X
    for i in range(len(W)):
        h = np.tanh(h @ W[i] + b[i])
    return np.sum(h)


def by_key(params: Any, X: Any) -> Any:
    h = X
    for i in range(2):
        h = np.tanh(h @ params["W"][i] + params["b"][i])
    return np.sum(h)


def taken_out(params: Any, X: Any) -> Any:
    weights, biases = params
    again = weights
    h = X
    for W, b in zip(again, biases, strict=True):
        h = np.tanh(h @ W + b)
    return np.sum(h)


@dataclass
class Layers:
    W: list[Any]
    b: list[Any]


@pytest.mark.parametrize(
    ("f", "params", "names"),
    [
        (unpacked, LISTS, NAMES),
        (by_key, {"W": LISTS[0], "b": LISTS[1]}, NAMES),
        (lambda net, X: unpacked((net.W, net.b), X), Layers(*LISTS), NAMES),
        (taken_out, LISTS, ["W1", "W2", "b1", "b2"]),
        (lambda layers, X: np.sum(np.tanh(X @ layers[0]) @ layers[1]), LISTS[0], ["layers_0", "layers_1"]),
    ],
)
def test_parameters_in_lists_have_the_name_of_the_list(f: Any, params: Any, names: list[str]) -> None:
    """A name of its own that an array has in a loop comes before that."""
    bp = ut.backprop(f, params, X)
    assert [node.name for node in bp.graph.inputs] == [*names, "X"]
    value, gradient = bp()
    again = bp.backward(bp.forward(params, X)[1])  # the source
    found, plain = ut.value_and_grad(f)(params, X)
    assert value == pytest.approx(found, rel=1e-14)
    for a, b, c in zip(*(ut.trees.flatten(tree)[0] for tree in (gradient, again, plain)), strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-12)
        np.testing.assert_allclose(b, c, rtol=1e-12)
