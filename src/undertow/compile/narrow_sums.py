"""Sums over an axis before few columns: many rows are added up beside each other."""

from __future__ import annotations

import math
from typing import Any

from undertow import primitives as P
from undertow.compile.access import layout_of, whole
from undertow.compile.repeats import again
from undertow.graph import Graph, Node
from undertow.trace import Tracer

COLUMNS = 48  # three vectors of float32


def split_narrow_sums(graph: Graph, trace: Any) -> Graph:
    """Write sums over an axis in the middle, before few columns, as sums of parts that fill vectors.

    Args:
        graph: made by `expand`.
        trace: makes a trace in which nodes stand for another.

    Returns:
        A graph of the same inputs and outputs.
    """
    moved: dict[Node, Node] = {}
    for node in graph.nodes:
        inputs = tuple([moved[x] for x in node.inputs])
        made = _narrow_sum(Tracer(inputs[0], trace(node)), **node.params) if node.op is P.sum_ else None
        if made is not None:
            made.node.name = made.node.name or node.name
        moved[node] = made.node if made is not None else node if inputs == node.inputs else again(node, inputs)
    return Graph(graph.inputs, tuple([moved[x] for x in graph.outputs]), title=graph.title)


def _narrow_sum(x: Any, axis: tuple[int, ...], keepdims: bool = False) -> Any:
    """Add up as many rows as fill vectors beside each other, then these; None where that is of no use."""
    if len(axis) != 1 or 0 in x.shape or not 0 < axis[0] < x.ndim - 1:
        return None
    (i,), shape = axis, x.shape
    before, n, columns = math.prod(shape[:i]), shape[i], math.prod(shape[i + 1 :])
    beside = COLUMNS // columns
    if before == 1 or columns == 1 or beside < 3 or n < 4 * beside or layout_of(x.node) != whole(x.node):
        return None
    m, before_it = n // beside * beside, [slice(None)] * i
    most = P.reshape(x[(*before_it, slice(0, m))], shape=(before, m // beside, beside * columns))
    most = P.reshape(P.sum_(most, axis=(1,), keepdims=False), shape=(before, beside, columns))
    total = P.sum_(most, axis=(1,), keepdims=False)
    if m < n:
        rest = P.reshape(x[(*before_it, slice(m, n))], shape=(before, n - m, columns))
        total = total + P.sum_(rest, axis=(1,), keepdims=False)
    return P.reshape(total, shape=(*shape[:i], *([1] if keepdims else []), *shape[i + 1 :]))
