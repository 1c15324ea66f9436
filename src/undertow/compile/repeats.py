"""Values that a graph computes twice: simpler operations of a loss are those of its gradient, too."""

from __future__ import annotations

from typing import Any

from undertow import primitives as P
from undertow.compile.rewriting import is_transposed, swapped
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
        key = _key(node, inputs)
        found = (
            known.get(key) or _turned(node, inputs, known) or (node if inputs == node.inputs else again(node, inputs))
        )
        known[key] = found
        if node.op is P.matmul:
            known.setdefault(_factors(inputs), found)
        found.name = found.name or node.name
        moved[node] = found
    return Graph(graph.inputs, tuple(moved[x] for x in graph.outputs), title=graph.title)


def again(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the same operation on other inputs."""
    new = Node(node.op, inputs, node.params, node.spec, node.value)
    new.line, new.name, new.backward = node.line, node.name, node.backward
    return new


def _factors(inputs: tuple[Node, ...]) -> Any:
    """Name a product by what its factors are, behind a transposition, and whether there is one."""
    return P.matmul, tuple((x.inputs[0], True) if is_transposed(x) else (x, False) for x in inputs)


def _turned(node: Node, inputs: tuple[Node, ...], known: dict[Any, Node]) -> Node | None:
    """Return bᵀ aᵀ as the transposed a b, which is there already; None if it is not."""
    if node.op is not P.matmul or any(x.spec.ndim != node.spec.ndim for x in inputs):
        return None
    _, factors = _factors(inputs)
    found = known.get((P.matmul, tuple((x, not turned) for x, turned in reversed(factors))))
    if found is None or found.spec.dtype != node.spec.dtype:
        return None
    made = Node(P.transpose, (found,), {"axes": swapped(node.spec.ndim)}, node.spec)
    made.line, made.backward = node.line, node.backward
    return made


def _key(node: Node, inputs: tuple[Node, ...]) -> Any:
    """What two nodes have in common that compute the same; arrays are constants of their own."""
    if node.op is CONSTANT:
        return node if node.spec.shape != () else (CONSTANT, type(node.value), node.spec, repr(node.value))
    return node.op, inputs, tuple(sorted(node.params.items(), key=lambda item: item[0])), node.spec
