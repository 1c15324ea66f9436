"""What a person reads of a graph: one operation a line, the user's names, shapes and lines."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

import undertow as ut
from undertow import api
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, Spec, label_nodes, show, show_constant
from undertow.trace import trace_function


def loss(params: Any, X: Any, y: Any) -> Any:
    W1, b1, W2, b2 = params
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    z2 = h1 @ W2 + b2
    p = np.exp(z2) / np.sum(np.exp(z2), axis=1, keepdims=True)
    return -np.mean(np.sum(y * np.log(p), axis=1))


ARGS = ((np.ones((4, 5)), np.ones(5), np.ones((5, 3)), np.ones(3)), np.ones((8, 4)), np.ones((8, 3)))

FORWARD = """
loss(W1: float64 (4, 5), b1: float64 (5,), W2: float64 (5, 3), b2: float64 (3,), X: float64 (m, 4), y: float64 (m, 3))
    t1 = matmul(X, W1)                      (m, 5)  float64  line 2
    z1 = add(t1, b1)                        (m, 5)  float64  line 2
    h1 = tanh(z1)                           (m, 5)  float64  line 3
    t2 = matmul(h1, W2)                     (m, 3)  float64  line 4
    z2 = add(t2, b2)                        (m, 3)  float64  line 4
    t3 = exp(z2)                            (m, 3)  float64  line 5
    t4 = exp(z2)                            (m, 3)  float64  line 5
    t5 = sum(t4, axis=(1,), keepdims=True)  (m, 1)  float64  line 5
    p = divide(t3, t5)                      (m, 3)  float64  line 5
    t6 = log(p)                             (m, 3)  float64  line 6
    t7 = multiply(y, t6)                    (m, 3)  float64  line 6
    t8 = sum(t7, axis=(1,))                 (m,)    float64  line 6
    t9 = mean(t8, axis=(0,))                ()      float64  line 6
    t10 = negative(t9)                      ()      float64  line 6
    return t10
"""

SQUARES = """
squares(w: float64 (3,))
    t1 = multiply(w, w)                 (3,)  float64  line 1
    t2 = sum(t1, axis=(0,))             ()    float64  line 1

    t3 = broadcast_to(1.0, shape=(3,))  (3,)  float64  line 1
    t4 = multiply(t3, w)                (3,)  float64  line 1
    t5 = multiply(t3, w)                (3,)  float64  line 1
    dw = add(t4, t5)                    (3,)  float64  line 1
    return t2, dw
"""


def squares(w: Any) -> Any:
    return np.sum(w * w)


def read(graph: Graph, f: Any) -> str:
    """Print with lines counted from the function's own, so that a test may move in its file."""
    first = f.__code__.co_firstlineno
    return re.sub(r"test_show\.py:(\d+)", lambda found: f"line {int(found[1]) - first}", str(graph))


def test_the_lessons_network_as_a_person_reads_it() -> None:
    """Names, operations, shapes with the batch size m, dtypes and lines, in aligned columns."""
    graph = trace_function(loss, ARGS, batch=(1, 2)).graph
    assert read(graph, loss) == FORWARD.strip("\n")


def test_a_differentiated_graph_names_the_cotangents() -> None:
    """The value whose cotangent a node is stands in its label, and the user's line beside it."""
    traced = trace_function(squares, (np.ones(3),))
    graph, _ = api.differentiate_graph(traced.graph, traced.graph.inputs)
    wanted = SQUARES.strip("\n").splitlines()
    found = read(graph, squares).splitlines()
    assert [line.split() for line in found] == [line.split() for line in wanted]


def test_labels_are_unique_even_if_names_are_not() -> None:
    """Two values of one name never print the same label."""
    x = Node(INPUT, (), {}, Spec((2,), np.dtype(np.float64)))
    y = Node(INPUT, (), {}, Spec((2,), np.dtype(np.float64)))
    x.name = y.name = "x"
    labels = label_nodes(Graph((x, y), (x, y)))
    assert labels[x] == "x"
    assert len(set(labels.values())) == 2


def test_constants_print_as_numbers_or_as_shape_and_dtype() -> None:
    """A number stands where it is used; a large array does not flood the page."""
    assert show_constant(0.5) == "0.5"
    assert show_constant(np.float32(0.5)) == "0.5"
    assert show_constant(np.zeros((784, 512), np.float32)) == "<float32 (784, 512)>"
    text = str(trace_function(lambda x: np.sum(x * 0.5 + np.arange(3.0)), (np.ones(3),)).graph)
    assert "multiply(x, 0.5)" in text
    assert "<float64 (3,)>" in text


def test_sizes_and_absent_parameters() -> None:
    """A symbolic size in a parameter prints as m; parameters that are None are left out."""
    graph = trace_function(lambda X: np.reshape(X, (-1, 2)), (np.ones((5, 4)),), batch=(0,)).graph
    assert "shape=(2 * m, 2)" in str(graph)
    assert "None" not in str(graph)
    size = Node(ut.primitives.size, (), {"dim": Dim("m")}, Spec((), np.dtype(np.int64), weak=True))  # type: ignore[attr-defined]
    assert "size(dim=m)" in show(Graph((), (size,)))


def test_a_graph_without_operations_prints() -> None:
    """Nothing to align is no error."""
    two = Node(CONSTANT, (), {}, Spec((), np.dtype(np.float64), weak=True), 2.0)
    assert show(Graph((), (two,), title="two")) == "two()\n    return 2.0"
