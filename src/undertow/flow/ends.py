"""What stands at the end of a network twice: probabilities made of bounded scores, or of probabilities."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.errors import UndertowError
from undertow.nn import Sequential
from undertow.nn.loss_record import Loss
from undertow.nn.structure import drop_final_activation, final_activation
from undertow.simplify import simplify
from undertow.trace import trace_function

Array = NDArray[Any]
MOVES: Final = ("reshape", "transpose", "expand_dims", "squeeze", "astype", "copy")  # what only moves or copies numbers
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
    try:
        graph = simplify(trace_function(loss.function, (outputs, y)).graph).graph
    except UndertowError:  # it asks for values
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
