"""A column that data given as a row spread to a square: each output is held against each target."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from undertow import trees
from undertow.graph import CONSTANT, INPUT, Dim, Graph, Node, ancestors, show_shape
from undertow.trace.function import argument_names
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
            return _say(node, column, row.name or "y", graph.title)
    return None


def warn_of_square_values(
    f: Callable[..., Any], args: Sequence[Any], places: Sequence[int], own: Sequence[Node], output: Node
) -> None:
    """Warn as `warn_of_squares` does, of a function that was recorded with values.

    There m is a number like others: it counts as that of examples where another argument has as many rows.

    Args:
        f: the function.
        args: what it was called with.
        places: of the arguments that stand for parameters.
        own: the nodes of these.
        output: what it gave.

    Source: derived here.
    """
    data = [(i, x) for i, arg in enumerate(args) if i not in places for x in trees.flatten(arg)[0]]
    arrays = [(i, x) for i, x in data if isinstance(x, np.ndarray) and x.ndim and len(x) > 1]
    tables = {len(x) for _, x in arrays if x.ndim > 1}
    rows = [(i, x) for i, x in arrays if x.ndim == 1 and len(x) in tables]
    if not rows:
        return
    for node in ancestors([output]):
        shape = node.spec.shape
        if len(shape) != 2 or shape[0] != shape[1] or len(node.inputs) != 2:
            continue
        column = next((x for x in node.inputs if x.spec.shape == (shape[0], 1) and x.op is not CONSTANT), None)
        given = next((x for x in node.inputs if x.op is CONSTANT and x.spec.shape == shape[:1]), None)
        if column is None or given is None or given in own:
            continue
        place = next((i for i, x in rows if np.array_equal(x, given.value)), None)  # the constant is a copy
        if place is not None:
            _say(node, column, argument_names(f, len(args))[place], getattr(f, "__name__", "f"))
            return


def _say(node: Node, column: Node, name: str, title: str) -> str:
    """Warn, and return what was said."""
    shape = node.spec.shape
    what = column.name if column.name and column.name.isidentifier() else "what it meets"
    said = (
        f"{node.line or title}: {name} is {show_shape(shape[:1])}, and {what} {show_shape(column.spec.shape)}: "
        f"together they make {show_shape(shape)}, each held against each. Write {name}[:, None]; where all pairs are "
        f"meant, write {name}[None, :]."
    )
    warnings.warn(said, UserWarning, stacklevel=frames_of_ours())
    return said
