"""Products of stacks of matrices as one product of tall ones.

NumPy multiplies each matrix of a stack for itself: of ``x @ W`` with x (m, 24, 32) these are m small products, and of
the gradient by W m matrices that are added up. Written as (24 m, 32) there is one product of each, with long sums.
"""

from __future__ import annotations

import math
from typing import Any

from undertow import primitives as P
from undertow.compile.access import layout_of, reshaped
from undertow.compile.repeats import again
from undertow.compile.rewriting import swapped
from undertow.graph import Graph, Node
from undertow.trace import Tracer


def flatten_stacks(graph: Graph, trace: Any) -> Graph:
    """Write a stack's products with one matrix, and sums of its products, as one product, where nothing is copied.

    Args:
        graph: made by `expand`.
        trace: makes a trace in which nodes stand for another.

    Returns:
        A graph of the same inputs and outputs.
    """
    readers: dict[Node, int] = {}
    for x in (*graph.outputs, *[x for node in graph.nodes for x in node.inputs]):
        readers[x] = readers.get(x, 0) + 1
    summed = {node.inputs[0] for node in graph.nodes if _adds_stack(node) and readers[node.inputs[0]] == 1}
    moved: dict[Node, Node] = {}
    for node in graph.nodes:
        inputs = tuple([moved[x] for x in node.inputs])
        made = None
        if node.op is P.sum_ and node.inputs[0] in summed:
            made = _sum_of_products(*[Tracer(x, trace(node)) for x in inputs[0].inputs])
        elif node.op is P.matmul and node not in summed:
            made = _by_one_matrix(*[Tracer(x, trace(node)) for x in inputs])
        if made is not None:
            made.node.name = made.node.name or node.name
        moved[node] = made.node if made is not None else node if inputs == node.inputs else again(node, inputs)
    return Graph(graph.inputs, tuple([moved[x] for x in graph.outputs]), title=graph.title)


def _adds_stack(node: Node) -> bool:
    """Tell whether a node adds up all products of a stack."""
    if node.op is not P.sum_ or node.inputs[0].op is not P.matmul or node.params.get("keepdims"):
        return False
    product = node.inputs[0]
    a, b = product.inputs
    stack = tuple(product.spec.shape[:-2])
    same = a.spec.shape[:-2] == stack == b.spec.shape[:-2]
    return (
        len(stack) > 0 and same and 0 not in product.spec.shape and sorted(node.params["axis"]) == [*range(len(stack))]
    )


def _sum_of_products(a: Any, b: Any) -> Any:
    """Σ aᵢ bᵢ as the product of the aᵢ side by side and the bᵢ below each other."""
    left = _as_one(P.transpose(a, axes=swapped(a.ndim)))
    right = _as_one(b)
    return None if left is None or right is None else P.matmul(P.transpose(left, axes=(1, 0)), right)


def _by_one_matrix(a: Any, b: Any) -> Any:
    """The aᵢ below each other by b."""
    if a.ndim < 3 or b.ndim != 2 or 0 in a.shape or 0 in b.shape:
        return None
    tall = _as_one(a)
    return None if tall is None else P.reshape(P.matmul(tall, b), shape=(*a.shape[:-1], b.shape[1]))


def _as_one(x: Any) -> Any:
    """The matrices of a stack below each other; None where they would have to be copied."""
    shape = math.prod(x.shape[:-1]), x.shape[-1]
    return None if reshaped(layout_of(x.node), shape) is None else P.reshape(x, shape=shape)
