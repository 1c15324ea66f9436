"""Whether what a network gives for an example depends on the others of its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from undertow.graph import INPUT, Graph, Node, evaluate
from undertow.nn import Sequential
from undertow.nn.layer import show_item

Array = NDArray[Any]
ROWS: Final = 16  # examples that are tried
TIMES: Final = 3.0  # by how much numbers of the one that is changed grow
FAR: Final = {4: 1e-4, 8: 1e-8}  # change of the others by the size of what is given, beyond rounding, by bytes
REDUCED: Final = ("mean", "sum", "max", "min", "var", "std", "prod", "logsumexp", "median", "norm", "nanmean", "ptp")
OVER: Final = ("softmax", "log_softmax", "reshape", "cumsum", "sort")
GROWN: Final = 2  # by how much inputs are larger, behind which a normalisation by the batch gives the same
NORMAL: Final = 0.05  # behind a normalisation by the batch, means of columns by their deviation, and how these differ


def changed_example(X: Array) -> Array | None:
    """Make a batch in which the first example is another one; None where all are the same.

    Args:
        X: (m, …).

    Returns:
        The same shape and dtype; of numbers three times those of the example that differs most, else that itself.

    Source: derived here.

    Example:
        >>> changed_example(np.array([[1.0], [2.0], [1.0]])).tolist()
        [[6.0], [2.0], [1.0]]
    """
    if len(X) < 3:
        return None
    rows = X.reshape(len(X), -1)
    far = np.abs(rows - rows[0]).sum(axis=1) if X.dtype.kind in "fiu" else (rows != rows[0]).sum(axis=1)
    if not far.any():
        return None
    other = X.copy()
    other[0] = X[int(np.argmax(far))] * (X.dtype.type(TIMES) if X.dtype.kind == "f" else 1)
    return other


def others_change(before: Any, after: Any) -> float:
    """Return by how much rows but the first differ, by the size of all; 0 where that is rounding, or not known."""
    a, b = np.asarray(before), np.asarray(after)
    if a.shape != b.shape or a.ndim < 1 or len(a) < 3 or a.dtype.kind != "f":
        return 0.0
    size = float(np.abs(a).max(initial=0.0))
    change = float(np.abs(a[1:] - b[1:]).max(initial=0.0))
    return change / size if np.isfinite(change) and change > FAR.get(a.itemsize, 1e-2) * size > 0 else 0.0


def find_mixing(model: Any, X: Array) -> dict[str, Any] | None:
    """Find what makes predictions for an example depend on the others of its batch.

    Args:
        model: with its parameters; called as for predictions, where BatchNorm takes its running statistics.
        X: examples, (m, …).

    Returns:
        The ``change`` of what is given for other examples when one is changed, by the size of all; the ``place`` of the
        item of the model that makes it, its path and name, or ``""``. None where it does not.

    Source: derived here.

    Example:
        >>> from undertow.nn import Dense, initialize
        >>> X = np.random.default_rng(0).normal(size=(8, 3))
        >>> model = initialize(Sequential(Dense(3, 4), lambda h: h - h.mean(axis=0), Dense(4, 1)))
        >>> find_mixing(model, X)["place"], find_mixing(model.layers[0], X)
        ('layers[1], <lambda>', None)
    """
    with suppress(Exception), np.errstate(all="ignore"):  # a function of the user's own may ask for other batches
        X = np.asarray(X[:ROWS])
        other = changed_example(X)
        if other is None:
            return None
        given = np.asarray(model(X))
        change = others_change(given, model(other)) if len(given) == len(X) else 0.0
        return {"change": change, "place": _first_item(model, X, other)} if change else None
    return None


def _first_item(model: Any, X: Array, other: Array) -> str:
    """The first item of a sequence behind which other examples differ."""
    if type(model) is not Sequential:
        return ""
    a, b = X, other
    for i, item in enumerate(model.layers):
        a, b = np.asarray(item(a)), np.asarray(item(b))
        if others_change(a, b):
            return f"layers[{i}], {show_item(item)}"
    return ""


def find_mixing_program(
    graph: Graph, given: Sequence[Any], inputs: Node, products: Sequence[Node]
) -> dict[str, Any] | None:
    """Find the operation in a loss of one's own that mixes examples, before the last layer.

    What goes over the examples and back to each of them counts: a mean, a largest number, a softmax along axis 0, or a
    reshape. Products do not, by which a network may be meant to look at neighbours; nor does a normalisation over the
    batch, which gives columns of mean 0 and deviation 1.

    Args:
        graph: the forward pass.
        given: what goes into it.
        inputs: the node of the network's inputs, (m, …).
        products: the nodes of its layers, see `undertow.flow.products`.

    Returns:
        The ``operation``, its ``line`` and the ``change``, as of `find_mixing`; None where there is none.

    Source: derived here.
    """
    with suppress(Exception), np.errstate(all="ignore"):
        place = graph.inputs.index(inputs)
        X = np.asarray(given[place])
        other = changed_example(X)
        if other is None or X.ndim < 2:
            return None
        nodes = [x for x in graph.nodes if x.op is not INPUT]
        runs = [
            dict(zip([*graph.inputs, *nodes], [*values, *evaluate(graph, values, nodes)], strict=True))
            for values in ([x if i == place else y for i, y in enumerate(given)] for x in (X, other, X * GROWN))
        ]
        mixed = [x for x in nodes if x.spec.shape[:1] == X.shape[:1] and others_change(runs[0][x], runs[1][x])]
        later = next((others_change(runs[0][z], runs[1][z]) for z in products if z in mixed), 0.0)
        if not mixed or not later or mixed[0].index > max(z.index for z in products):
            return None
        culprit = _culprit(mixed[0], len(X))
        last = next(z for z in products if z in mixed)
        if culprit is None or _normalised(mixed, last, runs[0], runs[2]):
            return None
        return {"operation": culprit.op.name, "line": culprit.line, "change": later}
    return None


def _culprit(node: Node, m: int) -> Node | None:
    """What goes over the examples: a node itself, or what one of its inputs was reduced by."""
    if getattr(node.op, "name", "") in OVER or _reduces(node, m):  # there may be as many units as examples
        return node
    waiting, seen = [x for x in node.inputs if x.spec.shape[:1] != (m,)], set[Node]()
    while waiting:
        x = waiting.pop()
        if x in seen or x.op is INPUT:
            continue
        seen.add(x)
        if _reduces(x, m) or (getattr(x.op, "name", "") == "reshape" and x.inputs[0].spec.shape[:1] == (m,)):
            return x
        waiting += [y for y in x.inputs if y.spec.shape[:1] != (m,)]
    return None


def _reduces(node: Node, m: int) -> bool:
    """Whether a node goes over the examples, and leaves them out."""
    over = bool(node.inputs) and node.inputs[0].spec.shape[:1] == (m,)
    return over and getattr(node.op, "name", "") in REDUCED and 0 in tuple(node.params.get("axis") or ())


def _normalised(mixed: Sequence[Node], last: Node, values: Mapping[Node, Any], grown: Mapping[Node, Any]) -> bool:
    """Whether what is mixed before a layer has columns of mean 0 and one deviation, also for larger inputs."""
    for node in mixed:
        x = np.asarray(values[node], np.float64)
        if node.index < last.index and x.ndim > 1:
            flat = x.reshape(-1, x.shape[-1])
            mean, deviation = np.abs(flat.mean(axis=0)), flat.std(axis=0)
            varied = deviation > NORMAL * deviation.max()
            mean, deviation = mean[varied], deviation[varied]
            # what is added to deviations leaves less to columns that hardly vary: most have the largest one
            most = (1 + NORMAL) * np.median(deviation) if len(mean) else 0.0
            if len(mean) > 1 and (mean < NORMAL * deviation).all() and deviation.max() < most:
                # where only the mean is taken away, columns that had one deviation keep it
                wide = np.asarray(grown[node], np.float64).reshape(flat.shape).std(axis=0)[varied]
                if np.median(np.abs(wide / deviation - 1)) < NORMAL:
                    return True
    return False
