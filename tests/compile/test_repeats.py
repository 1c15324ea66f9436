"""Values that a loss and its gradient have in common once they are written in simpler operations."""

from collections import Counter

import numpy as np
import pytest

import undertow as ut
from undertow.compile.expand import expand
from undertow.nn import categorical_cross_entropy_with_logits
from undertow.trace import trace_function


def operations(graph):
    return Counter(getattr(node.op, "name", "") for node in graph.nodes)


def test_a_loss_and_its_gradient_take_one_exponential_and_one_maximum():
    z, y = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32), np.arange(32) % 3
    f = ut.compile(ut.value_and_grad(lambda z: categorical_cross_entropy_with_logits(z, y)))
    value, gradient = f(z)
    found = operations(f.program.plan.graph)
    assert (found["exp"], found["max"], found["log"]) == (1, 1, 1)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(value, -np.mean(np.log(p[np.arange(32), y])), rtol=1e-6)
    np.testing.assert_allclose(gradient, (p - np.eye(3)[y]) / 32, atol=1e-7)


@pytest.mark.parametrize(
    ("f", "counts"),
    [
        (lambda x: np.exp(x) + np.exp(x) * 2.0, {"exp": 1}),
        (lambda x: (x + 0.0) * (x + -0.0), {"add": 2}),  # zeros of other signs
        (lambda x: (x + 1.0) * (x + np.float64(1.0)), {"add": 2}),  # one makes float64 of it
        (lambda x: np.sum(x, axis=0) + np.sum(x, axis=1), {"sum": 2}),
        (lambda x: (x + np.ones(3)) * (x + np.ones(3)), {"add": 2}),  # arrays are not compared
    ],
)
def test_only_what_is_the_same_is_computed_once(f, counts):
    x = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
    graph = expand(trace_function(f, (x,)).graph, {})
    found = operations(graph)
    assert {name: found[name] for name in counts} == counts
    np.testing.assert_allclose(ut.compile(f)(x), f(x), rtol=1e-6)
