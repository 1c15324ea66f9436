"""The graph as data: order, users, symbols, and a verifier that finds every kind of broken graph."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import primitives as P
from undertow.errors import GraphError
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, Spec, ancestors, verify
from undertow.simplify import RULES, Rule

F8 = np.dtype(np.float64)
m = Dim("m")


def argument(*shape: Any, dtype: Any = F8) -> Node:
    return Node(INPUT, (), {}, Spec(shape, np.dtype(dtype)))


def apply(op: Any, *inputs: Node, **params: Any) -> Node:
    return Node(op, inputs, params, op.infer(*[x.spec for x in inputs], **params))


def diamond() -> tuple[Node, Node, Node, Node, Node]:
    x, y = argument(m, 3), argument(3)
    total = apply(P.add, x, y)
    product = apply(P.multiply, total, x)
    return x, y, total, product, apply(P.subtract, product, total)


# ---- order ---------------------------------------------------------------------------------------


def test_nodes_come_in_an_order_in_which_they_can_be_computed() -> None:
    """Inputs first, then every node after all it reads, each once, and nothing that no output needs."""
    x, y, total, product, out = diamond()
    unused = apply(P.exp, total)
    graph = Graph((x, y), (out,))
    assert graph.nodes == (x, y, total, product, out)
    assert unused not in graph.nodes
    assert len(graph) == 5


def test_any_random_graph_is_ordered() -> None:
    """In graphs of 200 random nodes no node stands before one of its inputs."""
    for seed in range(5):
        choose = random.Random(seed)
        nodes = [argument(3), argument(3)]
        for _ in range(200):
            nodes.append(apply(P.add, choose.choice(nodes), choose.choice(nodes)))
        graph = Graph(tuple(nodes[:2]), (nodes[-1], choose.choice(nodes)))
        place = {node: i for i, node in enumerate(graph.nodes)}
        assert len(place) == len(graph)
        assert all(place[x] < place[node] for node in graph.nodes for x in node.inputs)
        verify(graph)


def test_arguments_that_nothing_uses_stay() -> None:
    """An unused argument is still an argument."""
    x, y = argument(2), argument(3)
    assert Graph((x, y), (apply(P.exp, y),)).nodes[:2] == (x, y)
    assert verify(Graph((x, y), (x,))).outputs == (x,)


def test_ancestors_are_each_named_once_oldest_first() -> None:
    """Shared nodes are not repeated, whatever the number of paths to them."""
    *_, out = nodes = diamond()
    assert ancestors([out]) == list(nodes)
    assert ancestors([nodes[2], out, out]) == list(nodes)
    assert ancestors([]) == []


def test_users_name_a_reader_once_for_each_reading() -> None:
    """x * x reads x twice."""
    x = argument(3)
    square = apply(P.multiply, x, x)
    out = apply(P.add, square, x)
    assert Graph((x,), (out,)).users() == {x: [square, square, out], square: [out], out: []}


def test_symbols_tell_where_a_size_is_read() -> None:
    """Each symbol is mapped to an input, an axis of it and the count there."""
    graph = Graph((argument(4), argument(3, Dim("m", 2)), argument(m)), (argument(4),))
    assert graph.symbols() == {"m": (1, 1, 2)}


def test_fifty_doublings_of_a_shared_value_stay_fifty_nodes() -> None:
    """x + x of x + x of …: 2⁵⁰ paths are walked as 50 nodes."""
    x = top = argument()
    for _ in range(50):
        top = apply(P.add, top, top)
    assert len(Graph((x,), (top,))) == 51
    with np.errstate(all="ignore"):

        def f(x: Any) -> Any:
            for _ in range(50):
                x = x + x
            return x

        assert ut.grad(f)(1.0) == 2.0**50
        assert ut.backprop(f, 1.0)(1.0) == (2.0**50, 2.0**50)


# ---- verify --------------------------------------------------------------------------------------


def test_a_right_graph_is_returned_as_it_is() -> None:
    """verify can stand around any graph."""
    x, y, *_, out = diamond()
    graph = Graph((x, y), (out,))
    assert verify(graph) is graph


def shuffled() -> Graph:
    x, y, *_, out = diamond()
    graph = Graph((x, y), (out,))
    graph.nodes = (*graph.nodes[:2], *reversed(graph.nodes[2:]))
    return graph


def twice() -> Graph:
    x, y, *_, out = diamond()
    graph = Graph((x, y), (out,))
    graph.nodes = (*graph.nodes, out)
    return graph


def foreign_argument() -> Graph:
    x, *_, out = diamond()
    return Graph((x,), (out,))


def missing_output() -> Graph:
    x, y, *_, out = diamond()
    graph = Graph((x, y), (out,))
    graph.outputs = (out, apply(P.exp, x))
    return graph


def wrong_shape() -> Graph:
    x, y = argument(m, 3), argument(3)
    return Graph((x, y), (Node(P.add, (x, y), {}, Spec((3,), F8)),))


def wrong_symbol() -> Graph:
    x = argument(m, 3)
    return Graph((x,), (Node(P.exp, (x,), {}, Spec((Dim("n"), 3), F8)),))


def wrong_dtype() -> Graph:
    x = argument(3, dtype=np.float32)
    return Graph((x,), (Node(P.exp, (x,), {}, Spec((3,), F8)),))


def unhashable() -> Graph:
    x = argument(3)
    return Graph((x,), (Node(P.sum_, (x,), {"axis": [0], "keepdims": False}, Spec((), F8)),))


def lying_constant() -> Graph:
    return Graph((), (Node(CONSTANT, (), {}, Spec((3,), F8), np.zeros(4)),))


def bad_operands() -> Graph:
    x, y = argument(3), argument(4)
    return Graph((x, y), (Node(P.add, (x, y), {}, Spec((3,), F8)),))


BROKEN = [
    (shuffled, "before it is made"),
    (twice, "made twice"),
    (foreign_argument, "argument of another graph"),
    (missing_output, "not among the nodes"),
    (wrong_shape, r"should be \(m, 3\)"),
    (wrong_symbol, r"should be \(m, 3\)"),
    (wrong_dtype, r"should be \(3,\) float32"),
    (unhashable, "cannot be hashed"),
    (lying_constant, r"value of shape \(4,\)"),
    (bad_operands, "sizes 3 and 4"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN, ids=[make.__name__ for make, _ in BROKEN])
def test_verify_finds_every_kind_of_broken_graph(broken: Any, message: str) -> None:
    """Each broken invariant is an error that names it."""
    with pytest.raises(ut.UndertowError, match=message) as caught:
        verify(broken())
    assert broken is bad_operands or isinstance(caught.value, GraphError)


def test_the_tests_verify_every_graph_that_a_pass_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that makes a node of a wrong shape is found as soon as it fires: conftest.py is at work."""

    def bad(s: Any, x: Node) -> Any:
        return s(Node(P.exp, (x,), {}, Spec((7,), F8)))

    monkeypatch.setitem(RULES, "cos", [Rule("bad", "cos(x) = exp(x)", "exact", bad)])
    monkeypatch.setattr(P, "broadcast_to", lambda x, shape: x)  # nobody repairs the shape
    with pytest.raises(GraphError, match="should be"):
        ut.backprop(lambda x: np.sum(np.cos(x)), np.ones(3))
