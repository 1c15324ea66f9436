"""Products whose sums the threads share: each adds up the terms of its own examples, as it made them.

A weight's gradient is a sum over the examples of a batch, which threads have shared among them so far. Were they to
share the rows of the result instead, each would need the examples of all, and would have to wait for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.compile.expand import ShapesOnly
from undertow.compile.repeats import again
from undertow.compile.scalars import kind_of
from undertow.graph import Graph, Node
from undertow.trace import Tracer

FLOPS = 20_000  # operations below which it does not pay
THREADS = 8  # above which too many parts would have to be added up
BYTES = 1 << 19  # that all parts may have


def split_products(graph: Graph, threads: int) -> Graph:
    """Write xᵀ y as a sum of products of equal parts of the rows, one for each thread.

    Args:
        graph: made by `expand`.
        threads: that take part.

    Returns:
        A graph of the same inputs and outputs; lines and names are carried over.
    """
    if not 1 < threads <= THREADS:
        return graph
    users: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        for x in node.inputs:
            users.setdefault(x, []).append(node)
    moved: dict[Node, Node] = {}
    for node in graph.nodes:
        inputs = tuple(moved.get(x, x) for x in node.inputs)
        if _pays(node, users.get(node, []), threads):
            moved[node] = _split(node, inputs[0].inputs[0], inputs[1], threads)
        elif moved and node.inputs:  # all that come later, so that the order stays
            moved[node] = again(node, inputs)
    return Graph(graph.inputs, tuple(moved.get(x, x) for x in graph.outputs), title=graph.title) if moved else graph


def _pays(node: Node, users: list[Node], threads: int) -> bool:
    """Tell whether a node is such a product, of sizes for which less has to go from one processor to another."""
    if node.op is not P.matmul or kind_of(node.spec.dtype) not in ("f32", "f64"):
        return False  # NumPy does products of others
    if any(len(x.spec.shape) != 2 or x.spec.dtype != node.spec.dtype for x in node.inputs):
        return False
    a, b = node.inputs
    if a.op is not P.transpose or b.op is P.transpose or len(a.inputs[0].spec.shape) != 2:
        return False
    if any(user.op is P.add and any(x.op in (P.matmul, P.add) for x in user.inputs if x is not node) for user in users):
        return False  # sums of products are added up in one place
    shapes: Any = a.spec.shape, b.spec.shape
    (m, k), n = shapes[0], shapes[1][1]
    parts = threads * m * n * node.spec.dtype.itemsize
    return k % threads == 0 and 2 * m * n * k >= FLOPS and m * n <= k * (m + n) and parts <= BYTES


def _split(node: Node, x: Node, y: Node, threads: int) -> Node:
    """Write the sum."""
    trace = ShapesOnly(node)
    k: Any = x.spec.shape[0]
    parts = [P.reshape(Tracer(v, trace), shape=(threads, k // threads, *v.spec.shape[1:])) for v in (x, y)]
    product: Any = np.matmul(P.transpose(parts[0], axes=(0, 2, 1)), parts[1])
    product.node.name = node.name
    total = product[0]
    for i in range(1, threads):
        total = total + product[i]
    total.node.name = node.name
    return total.node
