"""The simplifier itself: equal values computed once, dead ones dropped, numbers folded, people's names kept."""

from __future__ import annotations

from typing import Any

import numpy as np

import undertow as ut
from undertow.graph import CONSTANT, INPUT, Graph, evaluate
from undertow.simplify import Simplified, simplify
from undertow.trace import trace_function

X = np.linspace(-1, 1, 12).reshape(4, 3)


def simplified(f: Any, *args: Any, **how: Any) -> Simplified:
    return simplify(trace_function(f, args).graph, **how)


def operations(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if node.op not in (INPUT, CONSTANT)]


def test_equal_expressions_are_computed_once() -> None:
    """Written twice, under two names, with equal numbers and parameters: one node."""

    def f(x: Any) -> Any:
        a = np.tanh(x * 2.0)
        b = np.tanh(x * 2.0)
        return np.sum(a, axis=1) + np.sum(b, axis=1)

    assert sorted(operations(simplified(f, X).graph)) == ["add", "multiply", "sum", "tanh"]


def test_what_only_looks_equal_stays() -> None:
    """Other numbers, other axes, other dtypes, 0.0 and −0.0, 1 and True: no value takes another's place."""
    pairs: list[Any] = [
        lambda x: np.sum(x, axis=0)[:1] + np.sum(x, axis=1)[:1],
        lambda x: x * 2.0 - x * 2.0000000000000004,
        lambda x: np.arctan2(0.0, x) - np.arctan2(-0.0, x),
        lambda x: x.astype(np.float32) * 1.0 - x,
        lambda x: 1 / (x * 0.0) - 1 / (x * -0.0),
        lambda x: np.copysign(1.0, x * 0.0) + np.copysign(1.0, x * -0.0),
        lambda x: x[0] - x[-1],
        lambda x: x[:, 1] - x[:, -1],
    ]
    for f in pairs:
        try:
            graph = simplified(f, X).graph
        except ut.UnsupportedError:
            continue
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(evaluate(graph, [X])[0], f(X))


def test_dead_nodes_are_dropped_and_arguments_kept() -> None:
    """What no output needs is gone; an argument that nothing needs any more is still an argument."""

    def f(x: Any, unused: Any) -> Any:
        np.exp(x)
        return np.sum(x) + np.sum(np.zeros_like(unused))

    graph = simplified(f, X, X).graph
    assert len(graph.inputs) == 2
    assert "exp" not in operations(graph)


def test_operations_on_numbers_are_done_once() -> None:
    """The seed of the backward pass and the numbers that meet it become one number, of the right dtype."""
    for dtype in (np.float64, np.float32):
        bp = ut.backprop(lambda x: -np.sum(x * 2.0) * 3.0, X.astype(dtype))
        assert "constants" in {rule.name for rule in bp.rules}
        gradient = bp()[1]
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(gradient, np.full_like(X, -6.0))
        assert not [op for op in operations(bp.graph) if op in ("negative", "divide")] or "loss" in bp.source


def test_numbers_are_not_folded_into_infinity_or_nan() -> None:
    """1 / 0 and inf − inf stay where the user wrote them, and warn there."""

    def f(x: Any) -> Any:
        zero = np.zeros_like(x[0, 0])
        return np.sum(x) * (np.float64(1.0) / (zero + 0.0))

    with np.errstate(all="ignore"):
        value = evaluate(simplified(f, np.abs(X)).graph, [np.abs(X)])[0]
    assert value == np.inf


def test_names_and_lines_are_carried_over() -> None:
    """A value that a rule rewrites keeps the name that the user gave it, and the line."""

    def f(x: Any) -> Any:
        p = 1 / (1 + np.exp(-x))
        total = np.sum(p)
        return total

    graph = simplified(f, X).graph
    (p,) = [node for node in graph.nodes if node.name == "p"]
    assert p.op.name == "sigmoid"
    assert p.line == f"test_engine.py:{f.__code__.co_firstlineno + 1}"
    assert graph.outputs[0].name == "total"


def test_watched_values_keep_a_node_of_their_own() -> None:
    """ut.watch names a value for people to see: no rule may rewrite it away."""

    def f(x: Any) -> Any:
        a = ut.watch(x * 3.0, "seen")
        return np.sum(a * 2.0 + a * 5.0)

    bp = ut.backprop(f, X)
    np.testing.assert_allclose(bp.values()["seen"], 3 * X)
    np.testing.assert_allclose(bp.values()["dseen"], np.full_like(X, 7.0))
    np.testing.assert_allclose(bp()[1], np.full_like(X, 21.0))


def test_moved_tells_where_each_value_went() -> None:
    """Every old node has a new one of the same shape and dtype, and the value is the same."""

    def f(x: Any) -> Any:
        e = np.exp(x)
        p = e / np.sum(e, axis=1, keepdims=True)
        return -np.sum(np.log(p))

    graph = trace_function(f, (X,)).graph
    found = simplify(graph)
    assert set(found.moved) == set(graph.nodes)
    before = evaluate(graph, [X], graph.nodes)
    places = Graph(found.graph.inputs, tuple(found.moved[node] for node in graph.nodes))
    for node, a, b in zip(graph.nodes, before, evaluate(places, [X]), strict=True):
        new = found.moved[node]
        assert (new.spec.shape, new.spec.dtype) == (node.spec.shape, node.spec.dtype)
        np.testing.assert_allclose(b, a, rtol=1e-13)


def test_rules_are_counted_and_placed() -> None:
    """A rule that fires twice is listed once, with how often and where first."""

    def f(x: Any) -> Any:
        a = -np.negative(x)
        b = -np.negative(x + 1)
        return np.sum(a * b)

    (fired,) = [rule for rule in simplified(f, X).fired if rule.name == "double negation"]
    assert fired.count == 2
    assert fired.at == "a"
    assert str(fired) == "double negation: −(−x) = x  [exact] at a (2 times)"


def test_simplifying_twice_changes_nothing_more() -> None:
    """The second pass over a backward pass finds nothing of consequence: as many nodes, the same bits."""

    def loss(params: Any, X: Any, y: Any) -> Any:
        W1, b1, W2, b2 = params
        h1 = np.tanh(X @ W1 + b1)
        z2 = h1 @ W2 + b2
        p = np.exp(z2) / np.sum(np.exp(z2), axis=1, keepdims=True)
        return -np.mean(np.sum(y * np.log(p), axis=1))

    rng = np.random.default_rng(0)
    params = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=(5, 2)), rng.normal(size=2)
    args = params, X, np.eye(2)[[0, 1, 1, 0]]
    bp = ut.backprop(loss, *args)
    again = simplify(bp.graph, final=True)
    assert len(again.graph) == len(bp.graph)
    values = [*params, *args[1:]]
    for a, b in zip(evaluate(bp.graph, values), evaluate(again.graph, values), strict=True):
        np.testing.assert_array_equal(a, b)


def test_printed_rules_have_a_line_each() -> None:
    bp = ut.backprop(lambda w, X: np.mean(1 / (1 + np.exp(-(X @ w)))), np.ones(3), np.ones((5, 3)))
    lines = str(bp.rules).splitlines()
    assert lines == [str(rule) for rule in bp.rules] and len(lines) > 1
    assert any(line.startswith("sigmoid: 1 / (1 + exp(−z)) = σ(z)") for line in lines)
