"""Which parameters a loss depends on only by way of functions that are flat, such as sign and round."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from undertow import primitives as P
from undertow.errors import UndertowError
from undertow.flow.origin import OURS, trace_loss
from undertow.graph import ancestors
from undertow.train.derive import flat_after, number_paths, passes, trained_numbers

MEANT: Final = "stop_gradient"  # who writes it wants no gradient there, nor at an operation of one's own


def find_unread(loss_function: Any, model: Any, X: Any, target: Any) -> list[str]:
    """Find the parameters that a loss does not read.

    Args:
        loss_function: a function of (model, X, target).
        model: with its parameters.
        X: the inputs of a batch.
        target: what else belongs to it.

    Returns:
        The paths of those that are arrays of floats and trained.

    Source: derived here.

    Example:
        >>> find_unread(lambda w, X, y: np.sum(w["a"]), {"a": np.ones(2), "b": np.ones(2)}, (), ())
        ['b']
    """
    with np.errstate(all="ignore"):
        try:
            graph, _, params, _ = trace_loss(loss_function, model, X, target)
        except UndertowError:
            return []
    known, paths = set(ancestors([graph.outputs[0]])), number_paths(model)
    trained = [(paths[i], params[i]) for i in trained_numbers(model)]
    return [path for path, x in trained if x not in known and x.spec.dtype.kind == "f" and x.spec.shape]


def find_blocked(loss_function: Any, model: Any, X: Any, target: Any) -> list[dict[str, Any]]:
    """Find the parameters that get no gradient because what comes after them is flat.

    Args:
        loss_function: a function of (model, X, target).
        model: with its parameters.
        X: the inputs of a batch.
        target: what else belongs to it.

    Returns:
        For each such parameter: its ``path``, the ``operation`` that is flat and comes last on the way to the loss,
        the ``line`` of the user's code that calls it, the ``layer`` (the path) in which it is called. Those behind
        `undertow.stop_gradient`, and those that the loss does not read, are left out.

    Source: derived here.

    Example:
        >>> found = find_blocked(lambda w, X, y: np.sum(w["b"] * np.round(w["a"])), {"a": 1.2, "b": 2.0}, (), ())
        >>> [(x["path"], x["operation"]) for x in found]
        [('a', 'round')]
    """
    with np.errstate(all="ignore"):
        try:
            graph, _, params, seen = trace_loss(loss_function, model, X, target)
        except UndertowError:
            return []
    loss = graph.outputs[0]
    behind = ancestors([loss])
    live = {loss}
    for node in reversed(behind):
        if node in live:
            live.update(x for position, x in enumerate(node.inputs) if passes(node, position))
    known, found = set(behind), []
    paths = number_paths(model)
    for path, param in [(paths[i], params[i]) for i in trained_numbers(model)]:
        if param in live or param not in known or param.spec.dtype.kind != "f":
            continue
        flat = flat_after(param, behind)
        if flat and not any(x.op.name == MEANT or P.REGISTRY.get(x.op.name) is not x.op for x in flat):
            last = flat[-1]
            layer = next((place for place, index in seen if index >= last.index), None)
            ours = layer is not None and str(Path(last.file or "").parent) == OURS  # its line tells less than the layer
            line = None if ours else last.line
            found.append({"path": path, "operation": last.op.name, "line": line, "layer": layer})
    return found
