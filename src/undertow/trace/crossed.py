"""A column that data given as a row spread to a square: each output is held against each target."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from undertow.graph import INPUT, Dim, Graph, Node, show_shape
from undertow.trace.where import frames_of_ours


def warn_of_squares(graph: Graph, wrt: Sequence[Node]) -> str | None:
    """Warn where something computed of the parameters, (m, 1), meets data of shape (m,) as they were given.

    NumPy makes (m, m) of it, and the gradient is one of all pairs. Whoever means all pairs writes ``y[None, :]``, which
    is another shape, and is told nothing.

    Args:
        graph: of the function, traced for any batch size m.
        wrt: the inputs that stand for parameters.

    Returns:
        What was said; None where there is nothing of the kind.

    Source: derived here.
    """
    depends = set(wrt)
    for node in graph.nodes:  # oldest first
        if not depends.isdisjoint(node.inputs):
            depends.add(node)
        shape = node.spec.shape
        if len(shape) != 2 or shape[0] != shape[1] or not isinstance(shape[0], Dim) or len(node.inputs) != 2:
            continue
        column = next((x for x in node.inputs if x.spec.shape == (shape[0], 1) and x in depends), None)
        row = next((x for x in node.inputs if x.spec.shape == shape[:1] and x.op is INPUT), None)
        if column is not None and row is not None:
            name = row.name or "y"
            what = column.name if column.name and column.name.isidentifier() else "what it meets"
            said = (
                f"{node.line or graph.title}: {name} is {show_shape(row.spec.shape)}, and {what} "
                f"{show_shape(column.spec.shape)}: together they make {show_shape(shape)}, each held against each. "
                f"Write {name}[:, None]; where all pairs are meant, write {name}[None, :]."
            )
            warnings.warn(said, UserWarning, stacklevel=frames_of_ours())
            return said
    return None
