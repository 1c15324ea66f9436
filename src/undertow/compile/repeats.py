"""Values that a graph computes twice: simpler operations of a loss are those of its gradient, too."""

from __future__ import annotations

from typing import Any

from undertow.compile.statistics import is_statistics
from undertow.graph import CONSTANT, INPUT, Graph, Node


def merge_repeats(graph: Graph) -> Graph:
    """Let every value be computed once.

    Args:
        graph: made by `expand`: a softmax is several operations by then, and so is a logarithm of one.

    Returns:
        A graph of the same inputs and outputs, in the same order.
    """
    known: dict[Any, Node] = {}
    moved: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.op is INPUT or is_statistics(node):
            moved[node] = again(node, tuple(moved[x] for x in node.inputs)) if node.inputs else node
            continue
        inputs = tuple(moved[x] for x in node.inputs)
        found = known.setdefault(_key(node, inputs), node)
        if found is node and inputs != node.inputs:
            found = known[_key(node, inputs)] = again(node, inputs)
        found.name = found.name or node.name
        moved[node] = found
    return Graph(graph.inputs, tuple(moved[x] for x in graph.outputs), title=graph.title)


def again(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the same operation on other inputs."""
    new = Node(node.op, inputs, node.params, node.spec, node.value)
    new.line, new.name, new.backward = node.line, node.name, node.backward
    return new


def _key(node: Node, inputs: tuple[Node, ...]) -> Any:
    """What two nodes have in common that compute the same; arrays are constants of their own."""
    if node.op is CONSTANT:
        return node if node.spec.shape != () else (CONSTANT, type(node.value), node.spec, repr(node.value))
    return node.op, inputs, tuple(sorted(node.params.items(), key=lambda item: item[0])), node.spec
