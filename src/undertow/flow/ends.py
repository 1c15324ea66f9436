"""What stands at the end of a network twice: probabilities made of bounded scores, or of probabilities."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.graph import Graph, Node
from undertow.nn import Sequential
from undertow.nn.loss_record import Loss
from undertow.nn.structure import drop_final_activation, final_activation
from undertow.simplify import simplify
from undertow.trace import trace_function

Array = NDArray[Any]
MOVES: Final = ("reshape", "transpose", "expand_dims", "squeeze", "astype", "copy")  # what only moves or copies numbers
AGAIN: Final = {"softmax": ("softmax", "log_softmax", "logsumexp"), "sigmoid": ("sigmoid", "softplus")}
SQUASHES: Final = ("softmax", "log_softmax", "logsumexp", "sigmoid", "softplus")


def activation_before(model: Any) -> str | None:
    """Return the name of the built-in activation that stands right before the last one, or None.

    Args:
        model: a layer or a container.

    Returns:
        ``"relu"``, …, or None.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense
        >>> activation_before(Sequential(Dense(4, 3), "relu", "softmax")), activation_before(Sequential("softmax"))
        ('relu', None)
    """
    if type(model) is not Sequential or final_activation(model) is None:
        return None
    return final_activation(drop_final_activation(model))


def are_shares(outputs: Array) -> bool:
    """Tell whether the rows of outputs are probabilities: none below 0, with a sum of 1, and not all the same.

    Args:
        outputs: (m, K).

    Returns:
        The answer; False for a single column.

    Source: derived here.

    Example:
        >>> are_shares(np.array([[0.2, 0.8], [0.5, 0.5]])), are_shares(np.array([[1.0, 2.0]]))
        (True, False)
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2 or not outputs.min(initial=0.0) >= 0:
        return False
    return bool(np.abs(outputs.sum(axis=1) - 1).max(initial=0.0) < 1e-4)


def squashed_by(loss: Loss, outputs: Array, y: Array) -> str | None:
    """Return what a loss of one's own makes of outputs first: the name of a softmax or sigmoid, or of its logarithm.

    Args:
        loss: the loss.
        outputs: of some examples, (m, …).
        y: what belongs to them.

    Returns:
        ``"log_softmax"``, ``"softplus"``, …; None where it does nothing of the kind, or cannot be traced.

    Source: derived here.

    Example:
        >>> shares = lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        >>> own = Loss("own", lambda z, y: -np.mean(y * np.log(shares(z))), "own")
        >>> squashed_by(own, np.ones((2, 3)), np.eye(3)[:2])
        'log_softmax'
    """
    graph = read_loss(loss, outputs, y)
    if graph is None:
        return None
    same, largest = {graph.inputs[0]}, set()
    for node in graph.nodes:
        if node.inputs and node.inputs[0] in same:
            if node.op.name in SQUASHES:
                return str(node.op.name)
            if node.op.name == "max":
                largest.add(node)
            elif node.op.name in MOVES or (node.op.name == "subtract" and node.inputs[1] in largest):
                same.add(node)  # what is the same for all scores of a row changes no probability
        elif node.inputs and node.inputs[0] in largest and node.op.name in MOVES:
            largest.add(node)
    return None


def read_loss(loss: Loss, outputs: Array, y: Array) -> Graph | None:
    """Trace a loss and bring it to its simplest form; None where it asks for values."""
    try:
        return simplify(trace_function(loss.function, (outputs, y)).graph).graph
    except UndertowError:
        return None


def squashed_twice(graph: Graph) -> dict[str, Any] | None:
    """Find probabilities that a program makes of probabilities: a softmax of a softmax, a sigmoid of a sigmoid.

    Args:
        graph: the forward pass of a loss, simplified.

    Returns:
        The names of both operations, ``first`` and ``again``, the ``line`` of the second, and ``n``, how many
        probabilities there are in a row (2 for a sigmoid); None where there are none.

    Source: derived here.

    Example:
        >>> shares = lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        >>> traced = trace_function(lambda z: -np.mean(np.log(shares(shares(z)))), (np.ones((2, 3)),))
        >>> found = squashed_twice(simplify(traced.graph).graph)
        >>> found["first"], found["again"], found["n"]
        ('softmax', 'log_softmax', 3)
    """
    made: dict[Node, str] = {}  # what is a softmax or sigmoid, moved or not
    for node in graph.nodes:
        name = node.op.name
        before = made.get(node.inputs[0]) if node.inputs else None
        if before is not None and name in AGAIN[before]:
            n = node.inputs[0].spec.shape[-1] if before == "softmax" else 2
            return {"first": before, "again": name, "line": node.line, "n": n}
        if name in AGAIN:
            made[node] = name
        elif before is not None and name in MOVES:
            made[node] = before
    return None
