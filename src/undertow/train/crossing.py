"""A loss of the user's own that pairs each output with each target: columns against rows, which NumPy spreads out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import ShapeError
from undertow.graph import Node, total
from undertow.trace import describe_function, trace_function

ROWS: Final = 7  # of an example batch, for which the loss is traced
KEEPS: Final = ("astype", "identity", "reshape", "squeeze", "expand_dims", "getitem")  # the same numbers, if as many


def refuse_crossing(loss: Callable[..., Any], output_shape: tuple[int, ...], y: NDArray[Any]) -> None:
    """Refuse an output (m, 1) that a loss meets with a target (m,), or the other way round: that makes (m, m).

    They may have been given so, or made so by the loss: ``np.ravel(y)``, ``output[:, 0]``.

    Args:
        loss: a function of (output, y).
        output_shape: of the model's output, without the batch axis.
        y: the target, (m, …).

    Raises:
        ShapeError: ``the loss mse (net.py:3) meets an output (m, 1) with a target (m,), which makes (m, m): …``

    Source: derived here.

    Example:
        >>> refuse_crossing(lambda output, y: np.mean((output - y[:, None]) ** 2), (1,), np.zeros(4))
    """
    if not {output_shape, y.shape[1:]} <= {(1,), ()}:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = trace_function(loss, (np.zeros((ROWS, *output_shape)), np.zeros((ROWS, *y.shape[1:]), y.dtype)))
    except Exception:  # whatever the loss asks for that an example has not: the training says so
        return
    output, target = traced.graph.inputs
    for node in traced.graph.nodes:
        shapes = {_origin(x): x.spec.shape for x in node.inputs}
        met = {shapes.get(output), shapes.get(target)}
        if node.spec.shape == (ROWS, ROWS) and met == {(ROWS, 1), (ROWS,)}:
            column = shapes[output] == (ROWS, 1)
            a, b = ("(m, 1)", "(m,)") if column else ("(m,)", "(m, 1)")
            given = (shapes[output], shapes[target]) == (output.spec.shape, target.spec.shape)
            at = "" if given or not node.line else f" ({node.line})"
            remedy = f"Give {'y as y[:, None]' if column else 'y as y[:, 0]'}"
            remedy = remedy if given else "Bring both to one shape there, such as (m,) by x[:, 0]"
            raise ShapeError(
                f"the loss {describe_function(loss)} meets an output {a} with a target {b}{at}, which makes (m, m): "
                f"each output is held against each target. {remedy}; where all pairs are meant, write y[None, :]."
            )


def _origin(node: Node) -> Node:
    """The array that a node still is."""
    while node.inputs and getattr(node.op, "name", "") in KEEPS and total(node.spec.shape) == ROWS:
        (node, *_) = node.inputs
    return node
