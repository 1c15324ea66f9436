"""The reference meaning of a graph: NumPy, one node after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from undertow.errors import ShapeError
from undertow.graph.node import CONSTANT, INPUT, Graph, Node
from undertow.graph.spec import Dim, resolve, show_shape


def measure_sizes(graph: Graph, values: Sequence[Any]) -> dict[str, int]:
    """Read the symbolic sizes off the values of the inputs, and check every shape against its spec.

    Raises:
        ShapeError: an input has another shape than the one traced, or two inputs disagree on a size.
    """
    sizes: dict[str, int] = {}
    for node, value in zip(graph.inputs, values, strict=True):
        shape, wanted = np.shape(value), node.spec.shape
        fits = len(shape) == len(wanted)
        for size, want in zip(shape, wanted, strict=False):
            if isinstance(want, Dim):
                number = sizes.setdefault(want.symbol, size // want.count)
                want = number * want.count
            fits = fits and size == want
        if not fits:
            known = ", ".join(f"{name} = {number}" for name, number in sizes.items())
            raise ShapeError(
                f"argument {node.name or '?'} is {show_shape(shape)}, but the function was traced with "
                f"{show_shape(wanted)}{f' where {known}' if known else ''}. Trace again for another shape."
            )
    return sizes


def evaluate(graph: Graph, values: Sequence[Any], keep: Sequence[Node] | None = None) -> list[Any]:
    """Compute a graph with NumPy.

    Args:
        graph: the program.
        values: one array or number for each input, in order.
        keep: the nodes to return; the graph's outputs unless told.

    Returns:
        The values of ``keep``. Others are let go after their last use.
    """
    sizes = measure_sizes(graph, values)
    wanted = graph.outputs if keep is None else tuple(keep)
    last_use: dict[Node, int] = {}
    for position, node in enumerate(graph.nodes):
        for x in node.inputs:
            last_use[x] = position
    for node in wanted:
        last_use.pop(node, None)
    env: dict[Node, Any] = dict(zip(graph.inputs, values, strict=True))
    for position, node in enumerate(graph.nodes):
        if node.op is CONSTANT:
            env[node] = node.value
        elif node.op is not INPUT:
            params = {key: resolve(value, sizes) for key, value in node.params.items()}
            value = node.op.forward(*[env[x] for x in node.inputs], **params)
            env[node] = value.item() if node.spec.weak and hasattr(value, "item") else value
        for x in node.inputs:
            if last_use.get(x) == position:
                env.pop(x, None)
    return [env[node] for node in wanted]
