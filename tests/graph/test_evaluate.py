"""The reference meaning of a graph: NumPy's numbers, checked shapes, values let go after their last use."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from undertow.errors import ShapeError
from undertow.graph import INPUT, Dim, Graph, Node, Spec, evaluate, measure_sizes
from undertow.trace import trace_function

F8 = np.dtype(np.float64)
m = Dim("m")
RNG = np.random.default_rng(0)


def net(W: Any, b: Any, X: Any) -> Any:
    z = X @ W + b
    return np.sum(np.tanh(z), axis=1) / X.shape[0], z


ARGS = (RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=(5, 4)))


def argument(name: str, *shape: Any) -> Node:
    node = Node(INPUT, (), {}, Spec(shape, F8))
    node.name = name
    return node


@pytest.mark.parametrize("rows", [1, 5, 17])
def test_a_graph_means_what_numpy_computes_for_any_batch(rows: int) -> None:
    """The same graph, evaluated for other batch sizes, gives the bits of the function itself."""
    graph = trace_function(net, ARGS, batch=(2,)).graph
    X = RNG.normal(size=(rows, 4))
    for found, wanted in zip(evaluate(graph, [*ARGS[:2], X]), net(*ARGS[:2], X), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_any_node_can_be_kept() -> None:
    """keep returns inner values, in the order asked for, and an argument is as good as any."""
    graph = trace_function(net, ARGS, batch=(2,)).graph
    z = next(node for node in graph.nodes if node.name == "z")
    found = evaluate(graph, ARGS, [z, graph.inputs[1], z])
    np.testing.assert_array_equal(found[0], ARGS[2] @ ARGS[0] + ARGS[1])
    assert found[1] is ARGS[1]
    assert found[2] is found[0]


def test_sizes_are_read_off_the_arguments() -> None:
    """m is what stands in its place, multiples of it divided."""
    graph = Graph((argument("x", m, 2), argument("y", Dim("m", 3))), (argument("x", 1),))
    assert measure_sizes(graph, [np.zeros((4, 2)), np.zeros(12)]) == {"m": 4}
    assert measure_sizes(graph, [np.zeros((0, 2)), np.zeros(0)]) == {"m": 0}


WRONG: list[tuple[list[Any], list[str]]] = [
    ([np.zeros((3, 3)), np.zeros(3), np.zeros((5, 4))], ["W", r"\(3, 3\)", r"\(4, 3\)"]),
    ([np.zeros((4, 3)), np.zeros((3, 1)), np.zeros((5, 4))], ["b", r"\(3, 1\)", r"\(3,\)"]),
    ([np.zeros((4, 3)), 1.0, np.zeros((5, 4))], ["b", r"\(\)", r"\(3,\)"]),
    ([np.zeros((4, 3)), np.zeros(3), np.zeros((5, 3))], ["X", r"\(5, 3\)", r"\(m, 4\)"]),
    ([np.zeros((4, 3)), np.zeros(3), np.zeros(4)], ["X", r"\(4,\)", r"\(m, 4\)"]),
]


@pytest.mark.parametrize(("values", "words"), WRONG)
def test_an_argument_of_another_shape_is_an_error_with_both_shapes(values: list[Any], words: list[str]) -> None:
    """The message names the argument, its shape and the one traced."""
    graph = trace_function(net, ARGS, batch=(2,)).graph
    with pytest.raises(ShapeError, match=".*".join(words)):
        evaluate(graph, values)


def test_two_arguments_that_disagree_on_the_batch_size() -> None:
    """X has 5 rows and y 6: the error says which number m stood for."""
    x, y = argument("X", m, 2), argument("y", m)
    with pytest.raises(ShapeError, match=r"argument y is \(6,\).*\(m,\) where m = 5"):
        measure_sizes(Graph((x, y), (x,)), [np.zeros((5, 2)), np.zeros(6)])
    twice = argument("t", Dim("m", 2))
    with pytest.raises(ShapeError, match=r"argument t is \(7,\)"):
        measure_sizes(Graph((twice,), (twice,)), [np.zeros(7)])


def test_too_few_or_too_many_values() -> None:
    """A value for each argument, neither more nor fewer."""
    graph = trace_function(net, ARGS).graph
    for values in (ARGS[:2], (*ARGS, 1.0)):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            evaluate(graph, values)


def test_python_numbers_stay_python_numbers() -> None:
    """What NumPy would not promote by stays a plain int or float between operations."""
    graph = trace_function(lambda a, x: (a * 2 + 1) * x, (3.0, np.float32([1, 2]))).graph
    (found,) = evaluate(graph, [3.0, np.float32([1, 2])])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [7, 14])


class Watched(np.ndarray):
    """An array that can be referred to weakly."""


@dataclass(frozen=True, eq=False)
class Watch:
    """An operation that counts how many of its results are alive."""

    name: str = "watch"
    made: list[weakref.ref[Any]] = field(default_factory=list)
    alive: list[int] = field(default_factory=list)

    def forward(self, x: Any) -> Any:
        out = np.tanh(np.asarray(x)).view(Watched)
        self.made.append(weakref.ref(out))
        self.alive.append(sum(ref() is not None for ref in self.made))
        return out

    def infer(self, x: Spec) -> Spec:
        return x


def test_values_are_let_go_after_their_last_use() -> None:
    """In a chain of 50 steps never more than two inner arrays are alive at once; what is kept stays."""
    x = argument("x", 3)
    watch = Watch()
    chain = [x]
    for _ in range(50):
        chain.append(Node(watch, (chain[-1],), {}, x.spec))
    gc.disable()
    try:
        evaluate(Graph((x,), (chain[-1],)), [np.ones(3)])
        assert len(watch.alive) == 50
        assert max(watch.alive) <= 2
        watch.alive.clear()
        found = evaluate(Graph((x,), (chain[-1],)), [np.ones(3)], chain[1:11])
        assert len(found) == 10
        assert max(watch.alive) <= 12
    finally:
        gc.enable()


def test_kept_values_and_arguments_are_not_written_to() -> None:
    """Evaluating twice gives the same bits: nothing computes in place."""
    graph = trace_function(net, ARGS, batch=(2,)).graph
    before = [x.copy() for x in ARGS]
    first, second = evaluate(graph, ARGS), evaluate(graph, ARGS)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(ARGS, before, strict=True):
        np.testing.assert_array_equal(a, b)
