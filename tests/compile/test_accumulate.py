"""Sums of products: each is added to the first one's memory."""

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import run_compiled
from undertow.compile.expand import expand
from undertow.compile.planner import make_plan
from undertow.graph import evaluate
from undertow.trace import trace_function


def normal(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def products(graph):
    """What the calls of products say, those that are added to others with a plus."""
    return [call.what for call in make_plan(expand(graph, {}), 1).calls if " × " in call.what]


def two(a, b, c, d):
    return a @ b + c @ d


def three_and_more(a, b, c, d):
    return np.tanh(d.T @ c.T + (c @ d).T + b.T @ a.T * 1.0 + 1)


def used_again(a, b, c, d):
    first = a @ b
    return first + c @ d, np.sum(first)


def both_are_results(a, b, c, d):
    first = a @ b
    return first + c @ d, first


def twice_the_same(a, b, c, d):
    first = a @ b
    return first + first, c @ d + c @ d


def two_sums(a, b, c, d):
    return (a @ b + c @ d) + (c @ d * 2 + a @ b)


def chain(a, b, c, d):
    total = a @ b
    for _ in range(5):
        total = total + np.tanh(c) @ d
        c = c * 0.5
    return total, c


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("f", "folded"),
    [(two, 1), (three_and_more, None), (used_again, 0), (both_are_results, 0), (twice_the_same, None),
     (two_sums, None), (chain, 5)],
)  # fmt: skip
@pytest.mark.parametrize("size", [7, 70])
def test_sums_of_products(f, folded, size, threads):
    values = normal((size, 5), (5, size), (size, 9), (9, size))
    graph = trace_function(f, values).graph
    for mine, wanted in zip(run_compiled(graph, values, threads), evaluate(graph, values), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-12)
    if folded is not None:
        assert sum(what.startswith("+") for what in products(graph)) == folded


def test_batches_vectors_and_other_shapes():
    for shapes in (
        [(3, 4, 5), (3, 5, 6), (4, 7), (7, 6)],  # one of the two is added to every part of the other
        [(3, 4, 5), (3, 5, 6), (3, 4, 7), (3, 7, 6)],
        [(4, 5), (5,), (4, 7), (7,)],
        [(4, 1), (1, 6), (1, 7), (7, 6)],
        [(5,), (5,), (7,), (7,)],
        [(0, 5), (5, 3), (0, 2), (2, 3)],
        [(2, 0), (0, 3), (2, 2), (2, 3)],
    ):
        values = normal(*shapes)
        graph = trace_function(two, values).graph
        for mine, wanted in zip(run_compiled(graph, values), evaluate(graph, values), strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=1e-12, err_msg=str(shapes))


def rnn(weights, x):
    W, U = weights
    h = np.zeros((x.shape[0], U.shape[0]))
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ W + h @ U)
    return np.mean(h * h)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_recurrent_network_needs_one_place_for_a_gradient(threads):
    """The gradient by weights of 80 kB, a sum of 12 products, takes less than 5 places."""
    weights, x = [w / 10 for w in normal((50, 100), (100, 100))], normal((16, 12, 50))[0]
    ut.set_threads(threads)
    try:
        compiled = ut.value_and_grad(rnn, compile=True)
        value, found = compiled(weights, x)
        again = compiled(weights, x)
    finally:
        ut.set_threads(None)
    wanted_value, wanted = ut.value_and_grad(rnn)(weights, x)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-12)
    for mine, other, same in zip(found, wanted, again[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-14)
        np.testing.assert_array_equal(mine, same)
    graph = ut.backprop(rnn, weights, x).graph
    assert make_plan(expand(graph, {name: 16 for name in graph.symbols()}), 1).arena < 5 * 80_000
